"""Spectra in text files: two columns, or TopSpin's one-column export (totxt)."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..vocabulary import Experiment
from .errors import BadSpectrumError, MissingFileError, NoFrequencyError
from .raw import RawSpectrum, ascending, isotope_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

AxisUnit = Literal["ppm", "hz", "khz", "points"]

CONDITION = re.compile(r"^\s*(isotope|field_tesla|mas_rate_hz|experiment|reference_mhz|axis_unit)\s*[:=]\s*(\S+)\s*$")
TOPSPIN_EDGES = re.compile(r"LEFT\s*=\s*([-\d.eE+]+)\s*ppm.*RIGHT\s*=\s*([-\d.eE+]+)\s*ppm", re.IGNORECASE)
# A heading of columns, not a remark such as "12.5 kHz MAS".
HEADING = re.compile(r"^(axis|x|shift|delta|frequency|freq|points?|ppm|hz|khz)\b", re.IGNORECASE)
UNIT = re.compile(r"\b(ppm|hz|khz|points?)\b", re.IGNORECASE)

WIDEST_PPM = 20000.0
"""No axis in ppm is wider; what is, is in hertz."""


def read_text_spectrum(
    path: Path, *, axis_unit: AxisUnit | None = None, reference_mhz: float | None = None
) -> RawSpectrum:
    """Read a spectrum from text: axis and intensity in two columns, separated by blanks, commas or semicolons.

    Lines that begin with ``#`` are comments; in them ``# field_tesla: 9.4`` (likewise isotope, mas_rate_hz, experiment,
    reference_mhz, axis_unit) states a condition, and a unit named there counts. Without any unit the axis is in ppm,
    unless it counts points or is wider than any shift range.

    Raises
    ------
    MissingFileError, BadSpectrumError, NoFrequencyError
        With the file, the line and what to do.
    """
    text = _read(path)
    stated, edges, comment_unit = _comments(text)
    rows = _rows(text, path, one_column=edges is not None)
    if edges is not None:
        intensity = rows[:, 0]
        axis = np.linspace(edges[0], edges[1], len(rows)) if len(rows) else np.zeros(0)
        unit: str = "ppm"
    else:
        axis, intensity = rows[:, 0].copy(), rows[:, 1].copy()
        unit = axis_unit or str(stated.get("axis_unit") or comment_unit or _guessed_unit(axis))
    reference = reference_mhz or _number(stated, "reference_mhz", path)
    axis = _in_ppm(axis, unit.lower(), reference, path)
    axis, values = ascending(axis, intensity, str(path))
    kind = str(stated.get("experiment", ""))
    if kind and kind not in set(Experiment):
        raise BadSpectrumError(f"{path}: unknown experiment {kind!r} in a comment; known: {', '.join(Experiment)}")
    return RawSpectrum(
        axis_ppm=axis,
        values=values,
        has_imaginary=False,
        file_format="text",
        isotope=isotope_of(stated.get("isotope", "")),
        field_tesla=_number(stated, "field_tesla", path),
        mas_rate_hz=_number(stated, "mas_rate_hz", path),
        experiment=Experiment(kind) if kind else None,
        reference_mhz=reference,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise MissingFileError(f"cannot read the measurement {path}: {reason}; check the path in the study") from error


def _comments(text: str) -> tuple[dict[str, Any], tuple[float, float] | None, str | None]:
    """Conditions, edges of a TopSpin export, and the unit that comments name."""
    stated: dict[str, Any] = {}
    edges = unit = None
    for line in text.splitlines():
        if not line.lstrip().startswith("#"):
            continue
        body = line.lstrip(" #")
        condition = CONDITION.match(body)
        if condition:
            stated[condition.group(1)] = condition.group(2)
            continue
        found = TOPSPIN_EDGES.search(body)
        if found:
            edges = (float(found.group(1)), float(found.group(2)))
        named = UNIT.search(body) if HEADING.match(body) else None
        if named and unit is None:
            unit = named.group(1).lower()
    return stated, edges, unit


def _number(stated: dict[str, Any], key: str, path: Path) -> float | None:
    if key not in stated:
        return None
    try:
        return float(stated[key])
    except ValueError as error:
        raise BadSpectrumError(f"{path}: the comment says {key}: {stated[key]!r}, which is no number") from error


def _rows(text: str, path: Path, *, one_column: bool) -> NDArray[np.float64]:
    width = 1 if one_column else 2
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        body = line.split("#", 1)[0].replace(",", " ").replace(";", " ").split()
        if not body:
            continue
        try:
            values = [float(word) for word in body]
        except ValueError as error:
            raise BadSpectrumError(
                f"{path}, line {number}: {line.strip()!r} is not two numbers; put a # before text lines"
            ) from error
        if len(values) != width:
            raise BadSpectrumError(
                f"{path}, line {number}: {len(values)} columns; "
                + ("one intensity per line follows LEFT and RIGHT" if one_column else "ppm and intensity are needed")
            )
        if not all(math.isfinite(value) for value in values):
            raise BadSpectrumError(f"{path}, line {number}: {line.strip()!r} holds a value that is not finite")
        rows.append(values)
    return np.array(rows, dtype=float).reshape(-1, width)


def _guessed_unit(axis: NDArray[np.float64]) -> str:
    if len(axis) < 2:
        return "ppm"
    steps = np.abs(np.diff(axis))
    if min(axis[0], axis[-1]) in {0.0, 1.0} and (steps == 1.0).all() and len(axis) > 64:
        return "points"
    return "hz" if float(np.ptp(axis)) > WIDEST_PPM else "ppm"


def _in_ppm(axis: NDArray[np.float64], unit: str, reference_mhz: float | None, path: Path) -> NDArray[np.float64]:
    if unit == "ppm":
        return axis
    if unit.startswith("point"):
        raise NoFrequencyError(
            f"{path}: the axis counts points ({axis[0]:g} to {axis[-1]:g}), so no position in ppm is known; export it "
            "with an axis in ppm, or give axis_unit='ppm' if these are ppm"
        )
    if unit not in {"hz", "khz"}:
        raise BadSpectrumError(f"{path}: unknown axis unit {unit!r}; known: ppm, hz, khz, points")
    if not reference_mhz:
        raise NoFrequencyError(
            f"{path}: the axis is in {unit} ({axis[0]:g} to {axis[-1]:g}); give reference_mhz, the frequency of 0 ppm "
            "in MHz, or axis_unit='ppm' if these are ppm"
        )
    return axis * (1000.0 if unit == "khz" else 1.0) / reference_mhz
