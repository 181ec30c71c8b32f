"""Spectra that ssNake saved as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import BadSpectrumError, NoFrequencyError, TruncatedFileError, UnknownFormatError
from .raw import RawSpectrum, ascending, experiment_of

if TYPE_CHECKING:
    from pathlib import Path

REQUIRED = ("dataReal", "dataImag", "freq", "sw", "spec")


def is_ssnake(path: Path) -> bool:
    """Whether a JSON file begins as ssNake's do."""
    if not path.is_file() or path.suffix.lower() != ".json":
        return False
    with path.open("rb") as stream:
        return b'"dataReal"' in stream.read(256)


def read_ssnake(path: Path, *, row: int | None = None, reference_mhz: float | None = None) -> RawSpectrum:
    """Read a transformed spectrum from ssNake's JSON.

    The frequency axis is that of a shifted discrete Fourier transform over ``sw`` about ``freq``, in ppm over ``ref``
    (the frequency of 0 ppm), or over ``freq`` where no reference was set.

    Raises
    ------
    TruncatedFileError, UnknownFormatError, NoFrequencyError, BadSpectrumError
        With the file and what to do.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TruncatedFileError(f"{path} is damaged or cut off, it is no complete JSON: {error}") from error
    missing = [key for key in REQUIRED if key not in content]
    if missing:
        raise UnknownFormatError(f"{path}: ssNake's keys {', '.join(missing)} are missing; save the spectrum again")
    data = np.asarray(content["dataReal"], dtype=float) + 1j * np.asarray(content["dataImag"], dtype=float)
    if "hyper" in content:  # newer files hold one array per hypercomplex part; the first is the one seen
        data = data[0]
    notes = []
    if data.ndim == 2 and data.shape[0] > 1:
        if row is None or not 0 <= row < len(data):
            raise BadSpectrumError(f"{path} holds {len(data)} spectra; say which one with row=0 to {len(data) - 1}")
        notes.append(f"row {row} of {len(data)}")
        data = data[row]
    data = data.reshape(-1) if data.ndim == 2 and data.shape[0] == 1 else data
    if data.ndim != 1:
        raise BadSpectrumError(f"{path} has {data.ndim} dimensions; one spectrum, or a stack of them, is needed")
    if not content["spec"][-1]:
        raise UnknownFormatError(f"{path} holds a time signal; Fourier transform it in ssNake and save it again")
    frequency, sweep = float(content["freq"][-1]), float(content["sw"][-1])
    stated = (content.get("ref") or [None])[-1]
    reference = 1e6 * reference_mhz if reference_mhz else (frequency if stated is None else float(stated))
    if not np.isfinite(reference):
        reference = frequency
    if not reference > 0:
        raise NoFrequencyError(f"{path}: the frequency is {reference:g}; give reference_mhz, the frequency of 0 ppm")
    if reference == frequency:
        notes.append("no reference was set in ssNake, 0 ppm is the carrier: check the axis")
    offset = np.fft.fftshift(np.fft.fftfreq(len(data), 1.0 / sweep)) + frequency - reference
    axis, values = ascending(offset / reference * 1e6, data, str(path))
    metadata = content.get("metaData") or {}
    return RawSpectrum(
        axis_ppm=axis,
        values=values,
        has_imaginary=True,
        file_format="ssNake",
        experiment=experiment_of(metadata.get("Experiment Name", "")),
        reference_mhz=reference / 1e6,
        title=str(metadata.get("Sample", "")),
        notes=tuple(notes),
    )
