"""Measured peak lists and spectra from plain files.

A peak list is a CSV file whose header uses the field names of ``Peak``; a spectrum is a text file with two
columns, ppm and intensity. Lines that begin with ``#`` are comments.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from ..structures.errors import SurfshiftError, nearest
from .constants import isotope as nucleus_of
from .vocabulary import Experiment, Peak, PeakList, Spectrum

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_POINTS = 8
"""Fewest points of a spectrum."""


class MeasurementError(SurfshiftError):
    """A measurement that cannot be used as it is."""


class MissingFileError(MeasurementError):
    """The file of a measurement does not exist or cannot be read."""


class MissingFieldError(MeasurementError):
    """A measurement without a magnetic field."""


class UnknownColumnError(MeasurementError):
    """A column of a peak list that is not a property of a peak."""


class BadSpectrumError(MeasurementError):
    """A spectrum with too few points, values that are no numbers, or an axis that turns back."""


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


def read_spectrum(
    path: Path | str,
    isotope: str,
    field_tesla: float | None,
    *,
    mas_rate_hz: float = 0.0,
    experiment: Experiment | str = Experiment.ONE_PULSE,
    noise: float | None = None,
    name: str = "",
    source: str = "",
) -> Spectrum:
    """Read a spectrum from a text file with two columns: ppm and intensity.

    Columns are separated by blanks, tabs, commas or semicolons; the axis may ascend or descend. ``noise`` is the
    standard deviation of one point; by default it is estimated from the regions without signal.

    Raises
    ------
    MissingFileError, MissingFieldError, BadSpectrumError, UnknownNucleusError
        With the file, the line and what to do.
    """
    where = Path(path)
    field, kind = _conditions(isotope, field_tesla, experiment, str(where))
    axis, intensity = _two_columns(_read(where), where)
    if len(axis) < MIN_POINTS:
        raise BadSpectrumError(f"{where}: {len(axis)} points; a spectrum needs at least {MIN_POINTS}")
    step = np.diff(axis)
    if (step < 0).all():
        axis, intensity = axis[::-1], intensity[::-1]
    elif not (step > 0).all():
        turn = int(np.flatnonzero(np.sign(step) != np.sign(step[0] or 1.0))[0]) + 1
        raise BadSpectrumError(
            f"{where}: the ppm axis turns back or repeats at data point {turn + 1} ({axis[turn]:g} ppm); "
            "export one spectrum with an axis that only rises or only falls"
        )
    if not np.ptp(intensity) > 0:
        raise BadSpectrumError(f"{where}: all intensities are equal; the file holds no spectrum")
    level = estimate_noise(intensity) if noise is None else noise
    if not level > 0 or not math.isfinite(level):
        raise BadSpectrumError(f"{where}: the noise comes out as {level:g}; give the noise of one point yourself")
    return Spectrum(
        name=name or where.stem,
        isotope=isotope,
        field_tesla=field,
        mas_rate_hz=mas_rate_hz,
        experiment=kind,
        axis_ppm=tuple(axis.tolist()),
        intensity=tuple(intensity.tolist()),
        noise=level,
        source=source or where.name,
    )


def estimate_noise(intensity: NDArray[np.float64]) -> float:
    """Standard deviation of one point's noise, from the quietest parts of a spectrum.

    The spectrum is cut into stretches; the slope of each is removed, and the median over the quieter half of the
    stretches is taken, so that lines may fill up to half of the window. A floor of 1e-4 of the tallest point keeps
    a noiseless simulation usable.
    """
    values = np.asarray(intensity, dtype=float)
    size = max(8, len(values) // 32)
    deviations = []
    for start in range(0, len(values) - size + 1, size):
        part = values[start : start + size]
        x = np.linspace(-1.0, 1.0, size)
        residual = part - np.polyval(np.polyfit(x, part, 1), x)
        deviations.append(math.sqrt(float(residual @ residual) / (size - 2)))
    quiet = np.sort(deviations)[: max(1, len(deviations) // 2)]
    return max(float(np.median(quiet)), 1e-4 * float(np.abs(values - np.median(values)).max()))


def _conditions(
    isotope: str, field_tesla: float | None, experiment: Experiment | str, where: str
) -> tuple[float, Experiment]:
    nucleus_of(isotope)
    if field_tesla is None or not math.isfinite(field_tesla) or field_tesla <= 0:
        raise MissingFieldError(
            f"{where}: field_tesla is {field_tesla}; give the magnetic field in tesla (9.4 for a 400 MHz magnet)"
        )
    try:
        return field_tesla, Experiment(experiment)
    except ValueError as error:
        raise MeasurementError(
            f"{where}: unknown experiment {str(experiment)!r}; {nearest(str(experiment), list(Experiment))}"
        ) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise MissingFileError(f"cannot read the measurement {path}: {reason}; check the path in the study") from error


def _two_columns(text: str, where: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows: list[tuple[float, float]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        body = line.split("#", 1)[0].replace(",", " ").replace(";", " ").split()
        if not body:
            continue
        try:
            pair = [float(word) for word in body]
        except ValueError as error:
            raise BadSpectrumError(
                f"{where}, line {number}: {line.strip()!r} is not two numbers; put a # before text lines"
            ) from error
        if len(pair) != 2:
            raise BadSpectrumError(f"{where}, line {number}: {len(pair)} columns; ppm and intensity are needed")
        if not all(math.isfinite(value) for value in pair):
            raise BadSpectrumError(f"{where}, line {number}: {line.strip()!r} holds a value that is not finite")
        rows.append((pair[0], pair[1]))
    array = np.array(rows, dtype=float).reshape(-1, 2)
    return array[:, 0].copy(), array[:, 1].copy()
