"""Your own reference compounds from a CSV file, and references as JSON files that a study can use."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, TypeAdapter, ValidationError

from ..structures.errors import nearest
from ..structures.vocabulary import Frozen, Grade
from .coupling_fit import MIN_PAIRS, NO_RELATIVE_PART, CouplingFit, fit_couplings
from .reference_fit import MixedMethodsError, fit_reference
from .references import ReferenceFileError
from .vocabulary import Method, Reference, ReferenceCompound

if TYPE_CHECKING:
    from collections.abc import Sequence

NUMBERS = ("sigma_ppm", "sigma_error_ppm", "delta_ppm", "delta_error_ppm", "cq_computed_mhz", "cq_published_mhz")
WORDS = ("compound", "source", "grade", "method")

DEFAULT_SHIFT_ERROR_PPM = 0.5
"""Standard deviation of a published shift whose row gives none, ppm."""


class ReferenceTable(Frozen):
    """Compounds read from a CSV file: shifts for the line, and couplings where both are given."""

    compounds: tuple[ReferenceCompound, ...] = Field(min_length=1)
    couplings_mhz: tuple[tuple[float, float], ...] = ()


def read_reference_table(path: Path | str, method: Method) -> ReferenceTable:
    """Read compounds for a reference.

    The header names the columns: ``compound``, ``sigma_ppm`` and ``delta_ppm`` are needed; ``sigma_error_ppm``,
    ``delta_error_ppm`` (0.5 ppm where it is empty), ``cq_computed_mhz``, ``cq_published_mhz``, ``source``, ``grade``
    and ``method`` may follow. A ``method`` column guards against mixing: each row must name the method's key. Lines
    that begin with ``#`` are comments.

    Raises
    ------
    ReferenceFileError
        If the file or one of its rows cannot be used; names the line.
    MixedMethodsError
        If a row was computed with another method.
    """
    where = Path(path)
    try:
        lines = where.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReferenceFileError(f"cannot read the compounds {where}: {error}; check the path") from error
    numbered = [
        (n, line) for n, line in enumerate(lines, start=1) if line.strip() and not line.lstrip().startswith("#")
    ]
    if len(numbered) < 2:
        raise ReferenceFileError(
            f"{where}: a header and at least one compound are needed; it has {len(numbered)} lines"
        )
    header = [column.strip() for column in next(csv.reader([numbered[0][1]]))]
    for column in header:
        if column not in (*NUMBERS, *WORDS):
            raise ReferenceFileError(f"{where}: unknown column {column!r}; {nearest(column, [*NUMBERS, *WORDS])}")
    missing = [column for column in ("compound", "sigma_ppm", "delta_ppm") if column not in header]
    if missing:
        raise ReferenceFileError(f"{where}: the column {missing[0]} is missing; the header has {', '.join(header)}")
    compounds: list[ReferenceCompound] = []
    couplings: list[tuple[float, float]] = []
    for number, line in numbered[1:]:
        place = f"{where}, line {number}"
        cells = next(csv.reader([line], skipinitialspace=True))
        if len(cells) != len(header):
            raise ReferenceFileError(f"{place}: {len(cells)} cells, the header has {len(header)} columns")
        row = {key: cell.strip() for key, cell in zip(header, cells, strict=True) if cell.strip()}
        _check_method(row, method, place)
        values = {key: _number(row[key], key, place) for key in NUMBERS if key in row}
        if {"cq_computed_mhz", "cq_published_mhz"} <= values.keys():
            couplings.append((values["cq_computed_mhz"], values["cq_published_mhz"]))
        if {"sigma_ppm", "delta_ppm"} <= values.keys():
            compounds.append(_compound(row, values, [c.name for c in compounds], place))
    if not compounds:
        raise ReferenceFileError(f"{where}: no row has both sigma_ppm and delta_ppm; at least one is needed")
    return ReferenceTable(compounds=tuple(compounds), couplings_mhz=tuple(couplings))


def _check_method(row: dict[str, str], method: Method, place: str) -> None:
    given = row.get("method")
    if given is not None and given != method.key:
        raise MixedMethodsError(
            f"{place}: computed with {given!r}, the reference is for {method.key!r}: shifts compare only within one "
            "method; keep the rows of one method, or name that method"
        )


def _number(cell: str, key: str, place: str) -> float:
    try:
        value = float(cell)
    except ValueError as error:
        raise ReferenceFileError(f"{place}: {key} is {cell!r}, which is no number") from error
    if not math.isfinite(value):
        raise ReferenceFileError(f"{place}: {key} is {cell!r}; a finite number is needed")
    return value


def _compound(row: dict[str, str], values: dict[str, float], taken: Sequence[str], place: str) -> ReferenceCompound:
    name = row.get("compound", "")
    if not name:
        raise ReferenceFileError(f"{place}: the compound has no name")
    number = sum(other == name or other.startswith(f"{name} (") for other in taken) + 1
    try:
        return ReferenceCompound(
            name=name if number == 1 else f"{name} ({number})",
            sigma_iso_ppm=values["sigma_ppm"],
            sigma_error_ppm=values.get("sigma_error_ppm", 0.0),
            delta_iso_ppm=values["delta_ppm"],
            delta_error_ppm=values.get("delta_error_ppm", DEFAULT_SHIFT_ERROR_PPM),
            source=row.get("source", ""),
            grade=Grade(row.get("grade", Grade.RECALLED.value)),
        )
    except ValueError as error:
        raise ReferenceFileError(f"{place}: {str(error).splitlines()[0]}") from error


def reference_from_table(isotope: str, method: Method, table: ReferenceTable) -> tuple[Reference, CouplingFit | None]:
    """The reference of a table; its coupling errors are fitted where at least five couplings are given.

    Raises
    ------
    ReferenceFitError, UnknownNucleusError
        As ``fit_reference``.
    """
    reference = fit_reference(isotope, method, table.compounds)
    if len(table.couplings_mhz) < MIN_PAIRS:
        return reference, None
    couplings = fit_couplings([c for c, _ in table.couplings_mhz], [p for _, p in table.couplings_mhz])
    changed = {
        "cq_factor": couplings.factor,
        "cq_error_mhz": couplings.error_mhz,
        "cq_error_fraction": max(couplings.factor_error, NO_RELATIVE_PART),
    }
    return Reference.model_validate({**reference.model_dump(), **changed}), couplings


_FILE = TypeAdapter(tuple[Reference, ...])


def write_references(references: Sequence[Reference], path: Path | str) -> Path:
    """Write references as JSON for ``nmr.references`` of a study.

    Raises
    ------
    ReferenceFileError
        If the file cannot be written.
    """
    target = Path(path)
    try:
        target.write_bytes(_FILE.dump_json(tuple(references), indent=1) + b"\n")
    except OSError as error:
        raise ReferenceFileError(f"cannot write {target}: {error.strerror}; check the folder") from error
    return target


def read_references(path: Path | str) -> dict[str, Reference]:
    """References of a JSON file by isotope.

    Raises
    ------
    ReferenceFileError
        If the file is missing, is no list of references, or names an isotope twice.
    MixedMethodsError
        If its references come from different methods.
    """
    source = Path(path)
    try:
        found = _FILE.validate_json(source.read_bytes())
    except OSError as error:
        raise ReferenceFileError(f"cannot read the references {source}: {error.strerror}; check the path") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ReferenceFileError(
            f"{source} holds no list of references ({place or 'file'}: {first['msg']}); write one with 'surfshift "
            "reference'"
        ) from error
    keys = sorted({reference.method.key for reference in found})
    if len(keys) > 1:
        raise MixedMethodsError(f"{source} mixes the methods {'; '.join(keys)}; keep the references of one method")
    by_isotope = {reference.isotope: reference for reference in found}
    if len(by_isotope) != len(found):
        raise ReferenceFileError(f"{source} holds two references of one isotope; keep one of each")
    return by_isotope
