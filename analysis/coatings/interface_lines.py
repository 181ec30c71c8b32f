"""NMR lines of interface models: of the atoms at a contact, where their tensors were computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ...structures.errors import SurfshiftError
from ...structures.vocabulary import Frozen, Layer
from ..constants import default_isotope
from ..match_library import read_library
from ..prediction import predict_sites
from ..reference_fit import wide_reference
from ..references import ReferenceMissingError, load_reference

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..match_library import CandidateTensors, Library
    from ..vocabulary import Method, Reference


class InterfaceLineError(SurfshiftError):
    """A file or study without the tensors of any interface."""


class InterfaceLine(Frozen):
    """Line of one site of an interface model.

    Attributes
    ----------
    interface
        Name of the model.
    isotope, environment, side
        Nucleus, what it is bonded to, and the solid it belongs to.
    is_near
        Whether the atom lies within the depth that the interface's record calls near.
    delta_ppm, delta_error_ppm, cq_mhz, eta
        Shift with the error of a site; coupling, None for spin 1/2.
    n_atoms
        Equivalent atoms of the cell.
    origin
        Method of the tensors, and the reference.
    """

    interface: str
    isotope: str
    environment: str
    side: Literal["substrate", "film"]
    is_near: bool
    delta_ppm: float
    delta_error_ppm: float
    cq_mhz: float | None
    eta: float | None
    n_atoms: int
    origin: str


def interface_lines(paths: Sequence[Path]) -> tuple[InterfaceLine, ...]:
    """Lines of every interface in finished studies and files of candidates with tensors.

    Raises
    ------
    InterfaceLineError
        If no candidate is an interface with tensors.
    SurfshiftError
        As ``read_library``.
    """
    if not paths:
        return ()
    library = read_library(paths, ())
    found = [line for entry in library.entries for line in _lines(entry, library)]
    if not found:
        names = ", ".join(entry.candidate.name for entry in library.entries)
        raise InterfaceLineError(
            f"{', '.join(map(str, paths))}: none of the candidates ({names}) is an interface with computed tensors; "
            "give a study or files of candidates made by `surfshift.structures.interfaces` with their tensors"
        )
    return tuple(found)


def _lines(entry: CandidateTensors, library: Library) -> list[InterfaceLine]:
    record = entry.candidate.interface_record
    if record is None:
        return []
    found = []
    for element in dict.fromkeys(site.element for site in entry.tensors):
        nucleus = default_isotope(element)
        own = [site for site in entry.tensors if site.element == element]
        reference = _reference(nucleus.name, library, own[0].method)
        said = reference.note if reference.is_wide else f"{own[0].method.key}, its fitted reference"
        for site in predict_sites(entry.candidate, own, {nucleus.name: reference}, (nucleus.name,)):
            first = site.atom_indices[0]
            found.append(
                InterfaceLine(
                    interface=entry.candidate.name,
                    isotope=nucleus.name,
                    environment=site.environment,
                    side="film" if record.layers[first] is Layer.FILM else "substrate",
                    is_near=first in record.near_interface,
                    delta_ppm=round(site.delta_iso_ppm, 2),
                    delta_error_ppm=round(site.delta_error_ppm, 2),
                    cq_mhz=round(abs(site.cq_mhz), 3) if nucleus.is_quadrupolar else None,
                    eta=round(site.eta_q, 3) if nucleus.is_quadrupolar else None,
                    n_atoms=site.multiplicity,
                    origin=said,
                )
            )
    return found


def _reference(isotope: str, library: Library, method: Method) -> Reference:
    for reference in library.references:
        if reference.isotope == isotope and reference.method.key == method.key:
            return reference
    try:
        return load_reference(isotope, method)
    except ReferenceMissingError:
        return wide_reference(isotope, method)
