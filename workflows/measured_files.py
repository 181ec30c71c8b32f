"""Measurements for ``surfshift match``: files named on the command line, and manifests of many."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ..analysis.matching.settings import MatchSettings
from ..analysis.vocabulary import Peak
from ..structures.errors import nearest
from ..structures.vocabulary import Frozen
from .study import MeasuredSettings
from .study_yaml import Lines, StudyError, explain, parse_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLUMNS = (
    "file",
    "isotope",
    "field_tesla",
    "mas_rate_hz",
    "experiment",
    "sample",
    "name",
    "reference_mhz",
    "row",
    "part",
)
"""Columns of a manifest in CSV; an empty cell means not given."""

_NUMBERS = {"field_tesla": float, "mas_rate_hz": float, "reference_mhz": float, "row": int}


class Manifest(Frozen):
    """A manifest in YAML: the measurements as in a study file, and how to weigh the candidates."""

    measured: tuple[MeasuredSettings, ...]
    matching: MatchSettings = MatchSettings()


class ManifestError(StudyError):
    """Measured files, or a manifest of them, that cannot be used."""


def gather(files: Sequence[Path], options: Mapping[str, Any]) -> tuple[tuple[MeasuredSettings, ...], MatchSettings]:
    """Settings of every measurement.

    A ``.yaml`` file is a manifest (``measured:`` as in a study file, ``matching:``), a CSV file with a column ``file``
    too. A CSV file whose columns are those of a peak list is one; anything else is a spectrum. ``options`` (isotope,
    field_tesla, mas_rate_hz, experiment, reference_mhz, row, sample) hold for files that are named alone, and for
    those of a CSV manifest where its cell is empty.

    Raises
    ------
    ManifestError
        If a file is missing or a manifest cannot be used; names the place.
    """
    found: list[MeasuredSettings] = []
    matching = MatchSettings()
    given = {key: value for key, value in options.items() if value is not None}
    for file in files:
        path = file.expanduser()
        if not path.exists():
            raise ManifestError(f"there is no measured file {path}; check the path")
        if path.suffix.lower() in {".yaml", ".yml"}:
            manifest = _read_yaml(path)
            found += manifest.measured
            matching = manifest.matching
            continue
        header = _header(path)
        if "file" in header:
            found += _read_csv(path, header, given)
        else:
            found.append(_settings({**given, "file": str(path)}, path, is_peaks=_is_peak_list(header), where=str(path)))
    if not found:
        raise ManifestError("nothing measured was given; name spectra, peak lists or a manifest")
    return tuple(found), matching


def _read_yaml(path: Path) -> Manifest:
    data, lines = parse_yaml(path)
    try:
        manifest = Manifest.model_validate(data, context={"folder": path.resolve().parent})
    except ValidationError as error:
        raise ManifestError(explain(error, Manifest, path, lines)) from error
    _require_files(manifest.measured, lines, path)
    return manifest


def _require_files(measured: Sequence[MeasuredSettings], lines: Lines, path: Path) -> None:
    missing = [
        f"  {lines.place(('measured', k))}: there is no file {m.path}"
        for k, m in enumerate(measured)
        if not m.path.exists()
    ]
    if missing:
        raise ManifestError("\n".join([f"{path} cannot be used:", *missing]))


def _read_csv(path: Path, header: list[str], given: Mapping[str, Any]) -> list[MeasuredSettings]:
    for column in header:
        if column not in COLUMNS:
            raise ManifestError(f"{path}: unknown column {column!r}; {nearest(column, COLUMNS)}")
    rows = csv.reader(_lines(path)[1:], skipinitialspace=True)
    found = []
    for number, cells in enumerate(rows, start=1):
        where = f"{path}, measurement {number}"
        if len(cells) != len(header):
            raise ManifestError(f"{where}: {len(cells)} cells, the header has {len(header)} columns")
        row = {key: cell.strip() for key, cell in zip(header, cells, strict=True) if cell.strip()}
        if "file" not in row:
            raise ManifestError(f"{where}: no file is named")
        values: dict[str, Any] = {**given, **row}
        for key, kind in _NUMBERS.items():
            if key in row:
                try:
                    values[key] = kind(row[key])
                except ValueError as error:
                    raise ManifestError(f"{where}: {key} is {row[key]!r}, which is no number") from error
        file = path.resolve().parent / Path(row["file"]).expanduser()
        if not file.exists():
            raise ManifestError(f"{where}: there is no file {file}")
        found.append(_settings({**values, "file": str(file)}, file, is_peaks=_is_peak_list(_header(file)), where=where))
    if not found:
        raise ManifestError(f"{path}: the manifest has a header and no measurement")
    return found


def _settings(values: Mapping[str, Any], file: Path, *, is_peaks: bool, where: str) -> MeasuredSettings:
    own = {key: value for key, value in values.items() if key != "file"}
    if is_peaks:
        for key in ("isotope", "field_tesla"):
            if key not in own:
                raise ManifestError(
                    f"{where}: a list of peaks does not state its {key}; give --{key.replace('_', '-')}, or a manifest"
                )
        own = {key: value for key, value in own.items() if key not in {"reference_mhz", "row", "part"}}
    own["peaks" if is_peaks else "spectrum"] = file.resolve()
    try:
        return MeasuredSettings.model_validate(own)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise ManifestError(f"{where}: {key}: {first['msg'].removeprefix('Value error, ')}") from error


def is_peak_file(path: Path) -> bool:
    """Whether a file is a CSV list of peaks, by its columns."""
    return _is_peak_list(_header(path))


def _is_peak_list(header: list[str]) -> bool:
    return bool(set(header) & {"delta_iso_ppm", "position_ppm", "cq_mhz"}) or (
        bool(header) and set(header) <= set(Peak.model_fields)
    )


def _header(path: Path) -> list[str]:
    """Column names of a CSV file; empty for anything else."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return []
    lines = _lines(path)
    return [cell.strip() for cell in next(csv.reader(lines[:1]), [])] if lines else []


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read as text: {error}") from error
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
