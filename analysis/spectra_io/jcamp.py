"""JCAMP-DX spectra. The axis is made here: the one that nmrglue guesses was up to 90 ppm off."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ..constants import field_of_reference
from ..constants import isotope as nucleus_of
from .errors import BadSpectrumError, MissingFileError, NoFrequencyError, TruncatedFileError, UnknownFormatError
from .raw import RawSpectrum, ascending, experiment_of, isotope_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = {".jdx", ".dx", ".jcamp"}


def is_jcamp(path: Path) -> bool:
    """Whether a file says that it is JCAMP-DX."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return b"##TITLE" in stream.read(512).upper() or path.suffix.lower() in SUFFIXES


def read_jcamp(path: Path, *, reference_mhz: float | None = None) -> RawSpectrum:
    """Read a one-dimensional NMR spectrum from JCAMP-DX (XYDATA or NTUPLES, also inside a LINK block).

    Bruker's own exports give the axis as ``$OFFSET - i * $SWP / $SF / n``; others as FIRST and LAST in ppm, or in Hz
    over the frequency of 0 ppm.

    Raises
    ------
    MissingFileError, UnknownFormatError, TruncatedFileError, NoFrequencyError, BadSpectrumError
        With the file and what to do.
    """
    header, parts = _load(path)
    kind = _first(header, "DATATYPE").upper()
    if "FID" in kind:
        raise UnknownFormatError(
            f"{path} holds a free induction decay; export the processed spectrum, or give the Bruker folder"
        )
    if kind and "NMR" not in kind:
        raise UnknownFormatError(f"{path} holds data of type {kind!r}; an NMR SPECTRUM is needed")
    points = len(parts[0])
    axis, reference, notes = _axis(path, header, points, reference_mhz)
    values = np.asarray(parts[0] + (1j * parts[1] if len(parts) > 1 else 0.0), dtype=np.complex128)
    axis, values = ascending(axis, values, str(path))
    isotope = isotope_of(_first(header, ".OBSERVENUCLEUS") or _first(header, "$NUC1"))
    rate = _float(header, "$MASR") or 0.0
    return RawSpectrum(
        axis_ppm=axis,
        values=values,
        has_imaginary=len(parts) > 1,
        file_format="JCAMP-DX",
        isotope=isotope,
        field_tesla=field_of_reference(nucleus_of(isotope), reference) if isotope and reference else None,
        mas_rate_hz=rate if rate > 0 else None,
        experiment=experiment_of(_first(header, "$PULPROG") or _first(header, ".PULSESEQUENCE")),
        reference_mhz=reference,
        title=_first(header, "TITLE"),
        notes=notes,
    )


def _load(path: Path) -> tuple[dict[str, Any], list[NDArray[np.float64]]]:
    from nmrglue.fileio import jcampdx

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header, data = jcampdx.read(str(path))
    except OSError as error:
        raise MissingFileError(f"cannot read the measurement {path}: {error}; check the path") from error
    except Exception as error:
        raise TruncatedFileError(f"{path} is damaged or cut off, its JCAMP-DX data cannot be read: {error}") from error
    if data is None:
        kinds = [key.removeprefix("_datatype_") for key in header if key not in {"_datatype_LINK", "_datatype_NA"}]
        raise UnknownFormatError(
            f"{path} holds {' and '.join(kinds) or 'no type of data'}, and no one-dimensional NMR SPECTRUM (XYDATA or "
            "NTUPLES)"
        )
    parts = [np.asarray(part, dtype=float) for part in (data if isinstance(data, list) else [data])]
    promised = _promised_points(header)
    if any(part.ndim != 1 or part.size == 0 for part in parts):
        raise BadSpectrumError(f"{path} holds data of shape {parts[0].shape}; one one-dimensional spectrum is needed")
    if promised is not None and any(len(part) != promised for part in parts):
        raise TruncatedFileError(
            f"{path} is cut off: {' and '.join(str(len(part)) for part in parts)} points where the header promises "
            f"{promised}; copy it again"
        )
    return header, parts


def _first(header: dict[str, Any], key: str) -> str:
    found = header.get(key)
    return str(found[0]).strip() if isinstance(found, list) and found else ""


def _float(header: dict[str, Any], key: str) -> float | None:
    try:
        return float(_first(header, key).replace(",", "."))
    except ValueError:
        return None


def _columns(header: dict[str, Any], key: str) -> list[str]:
    return [word.strip() for word in _first(header, key).split(",")]


def _promised_points(header: dict[str, Any]) -> int | None:
    plain = _float(header, "NPOINTS")
    if plain is not None:
        return int(plain)
    try:
        return int(float(_columns(header, "VARDIM")[0]))
    except ValueError:
        return None


def _axis(
    path: Path, header: dict[str, Any], points: int, reference_mhz: float | None
) -> tuple[NDArray[np.float64], float | None, tuple[str, ...]]:
    offset, sweep, spectrometer = (_float(header, key) for key in ("$OFFSET", "$SWP", "$SF"))
    if None not in {offset, sweep, spectrometer} and offset is not None and sweep and spectrometer:
        return offset - np.arange(points) * sweep / spectrometer / points, spectrometer, ()
    first, last, unit = _ends(header)
    if first is None or last is None or first == last:
        raise NoFrequencyError(f"{path}: FIRST and LAST of the axis are missing or equal; export the spectrum again")
    observe = reference_mhz or _float(header, ".OBSERVEFREQUENCY")
    line = np.linspace(first, last, points)
    if unit == "PPM":
        return line, observe, ()
    if unit not in {"HZ", "KHZ"}:
        raise NoFrequencyError(
            f"{path}: the axis is in {unit or 'no unit'}; an axis in ppm or Hz is needed, export the spectrum again"
        )
    if not observe:
        raise NoFrequencyError(
            f"{path}: the axis is in {unit} and there is no .OBSERVE FREQUENCY; give reference_mhz, the frequency of "
            "0 ppm in MHz"
        )
    return line * (1000.0 if unit == "KHZ" else 1.0) / observe, observe, ()


def _ends(header: dict[str, Any]) -> tuple[float | None, float | None, str]:
    """First and last value of the axis and its unit."""
    if "FIRSTX" in header:
        return _float(header, "FIRSTX"), _float(header, "LASTX"), _first(header, "XUNITS").upper()
    symbols = _columns(header, "SYMBOL")
    place = symbols.index("X") if "X" in symbols else 0
    try:
        first, last, unit = (_columns(header, key)[place] for key in ("FIRST", "LAST", "UNITS"))
        return float(first), float(last), unit.upper()
    except (IndexError, ValueError):
        return None, None, ""
