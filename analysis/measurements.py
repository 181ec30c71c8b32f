"""Measured peak lists from CSV files; spectra are read in ``spectra_io``, whose names this module passes on.

A peak list is a CSV file whose header uses the field names of ``Peak``. Lines that begin with ``#`` are comments.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

from pydantic import ValidationError

from ..structures.errors import nearest
from .constants import isotope as nucleus_of
from .spectra_io import (
    BadSpectrumError,
    MeasurementError,
    MissingFieldError,
    MissingFileError,
    UnknownColumnError,
    estimate_noise,
    read_spectrum,
)
from .vocabulary import Experiment, Peak, PeakList, check_experiment

__all__ = [
    "BadSpectrumError",
    "MeasurementError",
    "MissingFieldError",
    "MissingFileError",
    "UnknownColumnError",
    "estimate_noise",
    "read_peaks",
    "read_spectrum",
]


def read_peaks(
    path: Path | str,
    isotope: str,
    field_tesla: float | None,
    *,
    mas_rate_hz: float = 0.0,
    experiment: Experiment | str = Experiment.ONE_PULSE,
    name: str = "",
    source: str = "",
) -> PeakList:
    """Read a peak list from a CSV file with a header.

    Parameters
    ----------
    path
        File with columns named as the fields of ``Peak``; an empty cell means not given.
    isotope, field_tesla, mas_rate_hz, experiment
        What was measured: nucleus, field in tesla, spinning rate in Hz, kind of experiment.
    name
        Name of the measurement; by default the file's.

    Raises
    ------
    MissingFileError, MissingFieldError, UnknownColumnError, MeasurementError, UnknownNucleusError
        With the file, the line and what to do.
    """
    where = Path(path)
    field, kind = _conditions(isotope, field_tesla, experiment, str(where))
    lines = [line for line in _read(where).splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) < 2:
        raise MeasurementError(f"{where}: a peak list needs a header and at least one peak; it has {len(lines)} lines")
    rows = csv.reader(lines, skipinitialspace=True)
    header = [column.strip() for column in next(rows)]
    known = list(Peak.model_fields)
    for column in header:
        if column not in known:
            raise UnknownColumnError(f"{where}: unknown column {column!r}; {nearest(column, known)}")
    if len(set(header)) != len(header):
        raise MeasurementError(f"{where}: a column stands twice in the header {', '.join(header)}; keep one")
    peaks = []
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise MeasurementError(f"{where}: peak {number} has {len(row)} cells, the header {len(header)} columns")
        cells = {column: cell.strip() for column, cell in zip(header, row, strict=True) if cell.strip()}
        peaks.append(_peak(cells, where, number))
    return PeakList(
        name=name or where.stem,
        isotope=isotope,
        field_tesla=field,
        mas_rate_hz=mas_rate_hz,
        experiment=kind,
        peaks=tuple(peaks),
        source=source or where.name,
    )


def _peak(cells: dict[str, str], where: Path, number: int) -> Peak:
    values: dict[str, str | float] = {}
    for column, cell in cells.items():
        if column in {"label", "source"}:
            values[column] = cell
            continue
        try:
            values[column] = float(cell)
        except ValueError as error:
            raise MeasurementError(f"{where}: peak {number}: {column} is {cell!r}, which is no number") from error
    values.setdefault("label", f"peak {number}")
    try:
        return Peak.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise MeasurementError(
            f"{where}: peak {number}: {place + ': ' if place else ''}{first['msg'].removeprefix('Value error, ')}"
        ) from error


def _conditions(
    isotope: str, field_tesla: float | None, experiment: Experiment | str, where: str
) -> tuple[float, Experiment]:
    nucleus_of(isotope)
    if field_tesla is None or not math.isfinite(field_tesla) or field_tesla <= 0:
        raise MissingFieldError(
            f"{where}: field_tesla is {field_tesla}; give the magnetic field in tesla (9.4 for a 400 MHz magnet)"
        )
    try:
        kind = Experiment(experiment)
    except ValueError as error:
        raise MeasurementError(
            f"{where}: unknown experiment {str(experiment)!r}; {nearest(str(experiment), list(Experiment))}"
        ) from error
    try:
        check_experiment(isotope, kind)
    except ValueError as error:
        raise MeasurementError(f"{where}: {error}") from error
    return field_tesla, kind


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise MissingFileError(f"cannot read the measurement {path}: {reason}; check the path in the study") from error
