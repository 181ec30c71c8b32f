"""The references that ship with the project: computed compounds, published shifts and their fit."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, ValidationError, model_validator

from ..structures.errors import SurfshiftError
from ..structures.vocabulary import Frozen, Grade
from .constants import isotope as nucleus_of
from .reference_fit import (
    MixedMethodsError,
    ReferenceFitError,
    check_one_method,
    fit_reference,
    fitted_shift,
    residuals_ppm,
    rmse_ppm,
)
from .vocabulary import Method, Reference, ReferenceCompound, SiteTensors

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ComputedCompound",
    "MixedMethodsError",
    "PublishedShift",
    "ReferenceFileError",
    "ReferenceFitError",
    "ReferenceLibrary",
    "ReferenceMissingError",
    "available_libraries",
    "build_library",
    "fit_reference",
    "fitted_shift",
    "library_file_name",
    "load_reference",
    "published_shifts",
    "read_library",
    "residuals_ppm",
    "rmse_ppm",
    "save_library",
]


class ReferenceMissingError(SurfshiftError):
    """No shipped reference fits the method or the isotope."""


class ReferenceFileError(SurfshiftError):
    """A reference file that cannot be read or written."""


class PublishedShift(Frozen):
    """One published shift: of a crystal of the library, or of a gas-phase molecule.

    ``error_ppm`` is one standard deviation; ``cq_mhz`` and ``eta_q`` are given where published; ``environment`` is
    what the site is bonded to in the known structure, for example ``AlO4``.
    """

    compound: str
    crystal: str | None = None
    molecule: str | None = None
    isotope: str
    delta_ppm: float
    error_ppm: float = Field(gt=0)
    cq_mhz: float | None = None
    eta_q: float | None = None
    grade: Grade
    source: str
    environment: str = ""

    @model_validator(mode="after")
    def _one_structure(self) -> Self:
        if (self.crystal is None) == (self.molecule is None):
            raise ValueError(f"{self.compound}: give either a crystal of the library or a molecule")
        return self


class ComputedCompound(Frozen):
    """The computed tensors of one compound, all its elements.

    ``structure_name`` is the crystal's name in the crystal library or the molecule's formula, as in
    ``PublishedShift``; ``sites`` are the symmetry-distinct sites.
    """

    compound: str
    structure_name: str
    sites: tuple[SiteTensors, ...] = Field(min_length=1)

    def sigma_iso_ppm(self, element: str) -> float | None:
        """Mean isotropic shielding of an element over its atoms, ppm; None if it has none."""
        total, count = 0.0, 0
        for site in self.sites:
            if site.element == element:
                total += site.sigma_iso_ppm * len(site.atom_indices)
                count += len(site.atom_indices)
        return total / count if count else None


class ReferenceLibrary(Frozen):
    """Computed reference compounds of one method; the content of a shipped reference file.

    ``command`` is the command that computed them, ``note`` what a reader must know.
    """

    method: Method
    compounds: tuple[ComputedCompound, ...] = Field(min_length=1)
    command: str
    note: str = ""

    @model_validator(mode="after")
    def _one_method(self) -> Self:
        used = [site.method for compound in self.compounds for site in compound.sites]
        check_one_method([self.method, *used], what="the reference library")
        return self

    @property
    def file_name(self) -> str:
        """Name of the file that this library belongs in."""
        return library_file_name(self.method)

    def matched(self, isotope: str) -> tuple[ReferenceCompound, ...]:
        """Compounds that are both computed and published for an isotope.

        Isotopes of one element share their shift scale, so a published 7Li shift also serves 6Li.
        """
        element = nucleus_of(isotope).element
        computed = {compound.structure_name: compound for compound in self.compounds}
        matched = []
        for shift in published_shifts():
            if nucleus_of(shift.isotope).element != element:
                continue
            compound = computed.get(shift.crystal or shift.molecule or "")
            sigma = compound.sigma_iso_ppm(element) if compound is not None else None
            if sigma is not None:
                matched.append(
                    ReferenceCompound(
                        name=shift.compound,
                        sigma_iso_ppm=sigma,
                        delta_iso_ppm=shift.delta_ppm,
                        delta_error_ppm=shift.error_ppm,
                        source=shift.source,
                        grade=shift.grade,
                        environment=shift.environment,
                    )
                )
        return tuple(matched)

    def reference(self, isotope: str) -> Reference:
        """The fitted reference of an isotope.

        Raises
        ------
        ReferenceMissingError
            If no computed compound has a published shift of the isotope's element.
        """
        matched = self.matched(isotope)
        if not matched:
            element = nucleus_of(isotope).element
            wanted = [s.compound for s in published_shifts() if nucleus_of(s.isotope).element == element]
            raise ReferenceMissingError(
                f"no {isotope} reference for {self.method.key}: none of its computed compounds "
                f"({', '.join(c.structure_name for c in self.compounds)}) has a published shift; "
                + (f"compute one of: {', '.join(wanted)}" if wanted else "no published shift is on file, fit your own")
            )
        return fit_reference(isotope, self.method, matched)


@cache
def published_shifts() -> tuple[PublishedShift, ...]:
    """The published shifts on file."""
    import yaml

    text = (files(f"{__package__}.data") / "published_shifts.yaml").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = yaml.safe_load(text)["shifts"]
    return tuple(PublishedShift.model_validate(row) for row in rows)


def library_file_name(method: Method) -> str:
    """File name of a method's reference library: one file per engine and protocol."""
    return f"reference_{method.engine}_{method.protocol}.json"


def build_library(
    computed: Sequence[ComputedCompound], *, command: str, method: Method | None = None, note: str = ""
) -> ReferenceLibrary:
    """A library from computed compounds.

    Raises
    ------
    MixedMethodsError
        If the compounds were not all computed by one method.
    ReferenceMissingError
        If there is no compound.
    """
    methods = [site.method for compound in computed for site in compound.sites]
    if not methods:
        raise ReferenceMissingError("no computed compound was given; a reference library needs at least one")
    check_one_method(methods, what="the reference library")
    return ReferenceLibrary(method=method or methods[0], compounds=tuple(computed), command=command, note=note)


def save_library(library: ReferenceLibrary, folder: Path | str) -> Path:
    """Write a library into a folder under its own file name, whole or not at all; returns the path.

    Raises
    ------
    ReferenceFileError
        If the folder cannot be written.
    """
    path = Path(folder) / library.file_name
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(library.model_dump_json(indent=1) + "\n")
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ReferenceFileError(f"cannot write {path}: {error.strerror}; nothing was changed") from error
    return path


def read_library(path: Path | str) -> ReferenceLibrary:
    """Read a reference library from a file.

    Raises
    ------
    ReferenceFileError
        If the file is missing or is not a reference library.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ReferenceFileError(f"cannot read the reference file {path}: {error.strerror}") from error
    return _parse(text, str(path))


def _parse(text: str, where: str) -> ReferenceLibrary:
    try:
        return ReferenceLibrary.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ReferenceFileError(f"{where} is not a reference library: {place or 'file'}: {first['msg']}") from error


def available_libraries(folder: Path | str | None = None) -> tuple[ReferenceLibrary, ...]:
    """All reference libraries of a folder, by default the shipped ones."""
    if folder is not None:
        return tuple(read_library(path) for path in sorted(Path(folder).glob("reference_*.json")))
    entries = sorted((files(f"{__package__}.data")).iterdir(), key=lambda entry: entry.name)
    return tuple(
        _parse(entry.read_text(encoding="utf-8"), entry.name)
        for entry in entries
        if entry.name.startswith("reference_") and entry.name.endswith(".json")
    )


def load_reference(isotope: str, method: Method, *, folder: Path | str | None = None) -> Reference:
    """The reference of an isotope for exactly this method, from the shipped files or a folder of files.

    Raises
    ------
    ReferenceMissingError
        If no library was computed with this method; says which methods exist and what to do.
    UnknownNucleusError
        If the isotope is not in the table of nuclear constants.
    """
    nucleus_of(isotope)
    libraries = available_libraries(folder)
    for library in libraries:
        if library.method.key == method.key:
            return library.reference(isotope)
    existing = "; ".join(library.method.key for library in libraries) or "none"
    raise ReferenceMissingError(
        f"no reference for {isotope} with method {method.key} (methods on file: {existing}). "
        f"Compute the reference compounds with this very protocol and save them as {library_file_name(method)}, "
        "or run the study with a protocol on file"
    )
