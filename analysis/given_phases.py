"""Given phases from YAML and CSV files, and the lines that a match weighs.

A YAML file holds one phase (keys of ``GivenPhase``) or a list of them under ``phases``. A CSV file holds a line per
row, with the columns ``phase``, ``formula``, ``source`` and the fields of ``GivenLine``.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ..structures.errors import SurfshiftError, nearest
from ..structures.vocabulary import Region
from .disorder import TYPICAL_ETA, typical_coupling
from .given import GivenLine, GivenPhase
from .vocabulary import PredictedSite

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

CZJZEK_ERROR = 0.1
"""Relative error of a given Czjzek sigma without ``cq_error_mhz``."""

_CSV_OWN = ("phase", "formula", "source")


class GivenPhaseError(SurfshiftError):
    """A file of given phases that cannot be used."""


def is_phase_file(path: Path) -> bool:
    """Whether a YAML or CSV file holds given phases, by its keys or columns."""
    kind = path.suffix.lower()
    try:
        if kind in {".yaml", ".yml"}:
            import yaml

            data = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
            return isinstance(data, dict) and bool({"phase", "phases"} & set(data))
        if kind == ".csv":
            rows = _rows(path)
            return bool(rows) and "phase" in [cell.strip() for cell in rows[0]]
    except (OSError, UnicodeDecodeError, ValueError, csv.Error):
        return False
    except Exception as error:
        if type(error).__module__.startswith("yaml"):
            return False
        raise
    return False


def read_given_phases(path: Path) -> tuple[GivenPhase, ...]:
    """Phases of a YAML or CSV file.

    Raises
    ------
    GivenPhaseError
        With the file, the phase and the key.
    """
    kind = path.suffix.lower()
    if kind not in {".yaml", ".yml", ".csv"}:
        raise GivenPhaseError(f"{path}: phases with given lines are read from YAML or CSV files")
    entries = _from_csv(path) if kind == ".csv" else _from_yaml(path)
    if not entries:
        raise GivenPhaseError(f"{path} holds no phase; give 'phases:' with at least one")
    phases = []
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            raise GivenPhaseError(
                f"{path}, phase {number}: a block of keys (phase, formula, source, lines) is expected"
            )
        try:
            phases.append(GivenPhase.model_validate(entry))
        except ValidationError as error:
            raise GivenPhaseError(f"{path}, {entry.get('phase') or f'phase {number}'}: {_told(error)}") from error
    names = [phase.phase for phase in phases]
    for name in names:
        if names.count(name) > 1:
            raise GivenPhaseError(f"{path}: the phase {name!r} is given {names.count(name)} times; name each once")
    return tuple(phases)


def given_sites(phase: GivenPhase, isotopes: Collection[str]) -> tuple[PredictedSite, ...]:
    """Lines of a phase as sites of a match; they carry no shielding, and atoms are counted through."""
    found, start = [], 0
    for line in phase.lines:
        atoms = tuple(range(start, start + line.atoms))
        start += line.atoms
        if line.isotope not in isotopes:
            continue
        cq, cq_error, eta = line.cq_mhz, line.cq_error_mhz or 0.0, line.eta_q
        if line.czjzek_mhz > 0:
            cq, eta = typical_coupling(line.czjzek_mhz), TYPICAL_ETA
            cq_error = line.cq_error_mhz or CZJZEK_ERROR * cq
        found.append(
            PredictedSite(
                candidate_id=phase.id,
                candidate_name=phase.phase,
                isotope=line.isotope,
                atom_indices=atoms,
                region=Region.BULK,
                sigma_iso_ppm=None,
                delta_iso_ppm=line.delta_iso_ppm,
                delta_error_ppm=line.delta_error_ppm,
                zeta_csa_ppm=line.zeta_csa_ppm,
                eta_csa=line.eta_csa,
                cq_mhz=cq,
                cq_error_mhz=cq_error,
                eta_q=eta,
                distance_to_h_ang=line.distance_to_h_ang,
                environment=line.label,
                width_ppm=line.width_ppm,
                is_disordered=line.czjzek_mhz > 0,
            )
        )
    return tuple(found)


def missing_isotopes(phase: GivenPhase, isotopes: Iterable[str]) -> tuple[str, ...]:
    """Isotopes of the phase's elements of which it gives no line; a missing line would count against it."""
    from .constants import isotope as nucleus_of

    return tuple(n for n in isotopes if nucleus_of(n).element in phase.elements and n not in phase.isotopes)


def _told(error: ValidationError) -> str:
    """The first problem with its place, a hint for unknown keys."""
    listed = error.errors(include_url=False)
    # a mistyped key also leaves the right one missing
    first = next((e for e in listed if e["type"] == "extra_forbidden"), listed[0])
    place = ".".join(str(part + 1) if isinstance(part, int) else part for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = [*GivenLine.model_fields] if "lines" in first["loc"] else [*GivenPhase.model_fields]
        return f"unknown key {place}; {nearest(str(first['loc'][-1]), known)}"
    if first["type"] == "missing":
        return f"the key {place} is required"
    return f"{place + ': ' if place else ''}{first['msg'].removeprefix('Value error, ')}"


def _from_yaml(path: Path) -> Sequence[Any]:
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise GivenPhaseError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(data, dict):
        raise GivenPhaseError(f"{path}: a block of keys is expected, with 'phases:' or a single phase")
    if "phases" not in data:
        return [data]
    if extra := sorted(set(data) - {"phases"}):
        raise GivenPhaseError(f"{path}: unknown key {extra[0]!r} beside 'phases'")
    listed = data["phases"]
    if not isinstance(listed, list):
        raise GivenPhaseError(f"{path}: 'phases' must be a list")
    return listed


def _rows(path: Path) -> list[list[str]]:
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return list(csv.reader((x for x in lines if x.strip() and not x.lstrip().startswith("#")), skipinitialspace=True))


def _from_csv(path: Path) -> list[dict[str, Any]]:
    try:
        rows = _rows(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GivenPhaseError(f"{path} cannot be read as CSV: {error}") from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    known = [*_CSV_OWN, *GivenLine.model_fields]
    for column in header:
        if column not in known:
            raise GivenPhaseError(f"{path}: unknown column {column!r}; {nearest(column, known)}")
    for column in ("phase", "isotope"):
        if column not in header:
            raise GivenPhaseError(f"{path}: the column {column!r} is missing")
    entries: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(header):
            raise GivenPhaseError(f"{path}, row {number}: {len(row)} cells, the header has {len(header)} columns")
        cells: dict[str, Any] = {k: c.strip() for k, c in zip(header, row, strict=True) if c.strip()}
        if "phase" not in cells:
            raise GivenPhaseError(f"{path}, row {number}: no phase is named")
        entry = entries.setdefault(cells["phase"], {"phase": cells["phase"], "lines": []})
        for key in ("formula", "source"):
            if key in cells and entry.setdefault(key, cells[key]) != cells[key]:
                raise GivenPhaseError(f"{path}, row {number}: another {key} of {cells['phase']} stands further up")
        entry["lines"].append({key: value for key, value in cells.items() if key not in _CSV_OWN})
    return list(entries.values())
