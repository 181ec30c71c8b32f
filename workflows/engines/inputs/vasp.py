"""Writing INCAR, KPOINTS, POSCAR and the list of POTCARs of a VASP NMR run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....analysis.constants import UnknownNucleusError, default_isotope
from ....structures.errors import nearest
from .common import (
    InputError,
    InputFiles,
    Value,
    checked_extra,
    has_dipole,
    kpoint_grid,
    species_of,
    title_of,
    vacuum_centre,
)
from .protocols import protocol_data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ....structures.vocabulary import AtomicStructure, Candidate
    from .protocols import VaspProtocol

GGA = {"pbe": "PE", "pbesol": "PS"}


def vasp_inputs(
    candidate: Candidate,
    protocol: VaspProtocol,
    *,
    potentials: Mapping[str, str] | None = None,
    extra: Mapping[str, Value] | None = None,
) -> InputFiles:
    """Inputs of one VASP run for shieldings and field gradients together.

    POTCAR is licensed and never written; ``POTCAR.spec`` lists the symbols in its order. Atoms are written in blocks
    of species, and ``order`` keeps where they came from; the reader of the OUTCAR finds them by position. A slab gets
    one k-point along its normal, and a dipole correction of energy and potential if its formal dipole is not zero.

    Parameters
    ----------
    candidate
        Bulk or slab; relax it first.
    protocol
        From ``vasp_protocol``.
    potentials
        POTCAR symbol of each element, where the protocol's own shall not be used.
    extra
        Further INCAR tags, checked against the documented ones.

    Raises
    ------
    InputError
        If an element has no potential, or an extra tag is unknown or breaks the run.
    """
    structure = candidate.structure
    species = species_of(structure)
    symbols = potcar_symbols(species, potentials)
    tags = _incar(candidate, protocol, species)
    tags |= checked_extra("vasp", ("incar",), extra or {})
    warnings = ["relax the structure first: 31P moves by a ppm for some thousandths of an angstrom"]
    if has_dipole(candidate):
        warnings.append(
            "the dipole correction acts on the ground state; the VASP wiki does not say how LCHIMAG treats it"
        )
    return InputFiles(
        files=vasp_files(candidate, tags, protocol.kpoint_spacing_per_ang, symbols),
        order=block_order(structure),
        warnings=tuple(warnings),
    )


def vasp_files(
    candidate: Candidate, tags: Mapping[str, Value], spacing_per_ang: float, symbols: Sequence[str]
) -> dict[str, str]:
    """INCAR, KPOINTS (centred at Gamma), POSCAR and the list of POTCARs."""
    structure, title = candidate.structure, title_of(candidate)
    grid = kpoint_grid(structure, spacing_per_ang)
    return {
        "INCAR": "".join(f"{key} = {_word(value)}\n" for key, value in tags.items()),
        "KPOINTS": f"{title}\n0\nGamma\n{grid[0]} {grid[1]} {grid[2]}\n0 0 0\n",
        "POSCAR": _poscar(structure, species_of(structure), block_order(structure), title),
        "POTCAR.spec": "".join(f"{symbol}\n" for symbol in symbols),
    }


def block_order(structure: AtomicStructure) -> tuple[int, ...]:
    """Atoms in the order in which VASP gets them: in blocks of elements, which come as in the structure."""
    elements = structure.elements
    return tuple(k for element in species_of(structure) for k, own in enumerate(elements) if own == element)


def potcar_symbols(species: Sequence[str], potentials: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """POTCAR symbol of each species.

    Raises
    ------
    InputError
        If one has none.
    """
    known = {**protocol_data("vasp")["potentials"], **(potentials or {})}
    missing = [element for element in species if element not in known]
    if missing:
        raise InputError(
            f"no POTCAR is chosen for {', '.join(missing)}; name one with potentials={{'{missing[0]}': SYMBOL}} "
            f"({nearest(missing[0], known)})"
        )
    return tuple(known[element] for element in species)


def quadrupole_moments_mb(species: Sequence[str]) -> tuple[float, ...]:
    """Quadrupole moment (millibarn) of each species' usually measured isotope; 0 for spin 1/2 and unknown ones."""
    moments = []
    for element in species:
        try:
            moments.append(1000.0 * default_isotope(element).quadrupole_barn)
        except UnknownNucleusError:
            moments.append(0.0)
    return tuple(moments)


def _incar(candidate: Candidate, protocol: VaspProtocol, species: Sequence[str]) -> dict[str, Value]:
    tags: dict[str, Value] = {
        "SYSTEM": title_of(candidate),
        "PREC": "Accurate",
        "ENCUT": protocol.cutoff_ev,
        "GGA": GGA[protocol.functional],
        "EDIFF": protocol.scf_tolerance_ev,
        "NELM": protocol.max_scf_cycles,
        "NELMIN": 8,
        "ALGO": "Normal",
        "ISMEAR": 0,
        "SIGMA": protocol.smearing_ev,
        "ISPIN": 1,
        "LASPH": True,
        "IBRION": -1,
        "NSW": 0,
        "LREAL": "Auto" if protocol.real_space_projectors else False,
        "LWAVE": False,
        "LCHARG": False,
        "LCHIMAG": True,
        "DQ": protocol.response_step_per_ang,
        "ICHIBARE": protocol.response_order,
        "LNMR_SYM_RED": True,
        "NLSPLINE": not protocol.real_space_projectors,
        "LEFG": True,
        "QUAD_EFG": " ".join(f"{moment:.6g}" for moment in quadrupole_moments_mb(species)),
    }
    return tags | dipole_tags(candidate)


def dipole_tags(candidate: Candidate) -> dict[str, Value]:
    """The dipole correction of energy and potential, for a slab whose formal dipole is not zero."""
    if not has_dipole(candidate):
        return {}
    middle = (vacuum_centre(candidate.structure) + 0.5) % 1.0
    return {"IDIPOL": 3, "LDIPOL": True, "DIPOL": f"0.5 0.5 {middle:.4f}"}


def _word(value: Value) -> str:
    if isinstance(value, bool):
        return ".TRUE." if value else ".FALSE."
    return f"{value:g}" if isinstance(value, float) else str(value)


def _poscar(structure: AtomicStructure, species: Sequence[str], order: Sequence[int], title: str) -> str:
    lines = [title, "1.0"]
    lines += [" ".join(f"{x:18.12f}" for x in vector) for vector in structure.lattice_ang]
    lines += [" ".join(species), " ".join(str(structure.elements.count(element)) for element in species), "Direct"]
    lines += [" ".join(f"{x:18.14f}" for x in structure.frac_coords[k]) for k in order]
    return "\n".join(lines) + "\n"
