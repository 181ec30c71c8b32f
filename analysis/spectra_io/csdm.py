"""CSDM files (.csdf, .csdfe), as mrsimulator, RMN and this project write them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ..vocabulary import Experiment
from .errors import BadSpectrumError, MissingFileError, NoFrequencyError, TruncatedFileError, UnknownFormatError
from .raw import RawSpectrum, ascending, isotope_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = {".csdf", ".csdfe"}
APPLICATION = "surfshift"
"""Key under which the conditions of the measurement stand in a file's ``application`` block."""


def is_csdm(path: Path) -> bool:
    """Whether a file is CSDM by its suffix or its first key."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return path.suffix.lower() in SUFFIXES or b'"csdm"' in stream.read(256)


def read_csdm(path: Path, *, row: int | None = None, reference_mhz: float | None = None) -> RawSpectrum:
    """Read a spectrum from a CSDM file.

    The frequency axis becomes ppm over the dimension's ``origin_offset``, the frequency of 0 ppm. Nucleus, field and
    spinning rate are no part of the format; this project's own exports state them in their ``application`` block.

    Raises
    ------
    MissingFileError, TruncatedFileError, UnknownFormatError, NoFrequencyError, BadSpectrumError
        With the file and what to do.
    """
    data = _load(path)
    if not len(data.y) or not len(data.x):
        raise UnknownFormatError(f"{path} holds no dimension or no data; a spectrum has one of each")
    components = np.asarray(data.y[0].components)[0]
    notes: list[str] = []
    if len(data.x) == 2:
        rows = components.shape[0]
        if row is None or not 0 <= row < rows:
            raise BadSpectrumError(
                f"{path} holds {rows} spectra; say which one with row=0 to {rows - 1} (given: {row})"
            )
        components = components[row]
        notes.append(f"row {row} of {rows}")
    elif len(data.x) != 1:
        raise BadSpectrumError(f"{path} has {len(data.x)} dimensions; one spectrum, or a stack of them, is needed")
    axis, reference = _axis(path, data.x[0], reference_mhz)
    axis, values = ascending(axis, components, str(path))
    label = str(getattr(data.x[0], "label", "") or "")
    stated = _stated(data, path)
    return RawSpectrum(
        axis_ppm=axis,
        values=values,
        has_imaginary=bool(np.iscomplexobj(components) and np.any(components.imag)),
        file_format="CSDM",
        isotope=isotope_of(stated.get("isotope", "")) or next(filter(None, map(isotope_of, label.split())), None),
        field_tesla=_optional(stated, "field_tesla", path),
        mas_rate_hz=_optional(stated, "mas_rate_hz", path),
        experiment=Experiment(stated["experiment"]) if stated.get("experiment") in set(Experiment) else None,
        reference_mhz=reference,
        title=str(stated.get("name") or getattr(data.y[0], "name", "") or ""),
        notes=tuple(notes),
    )


def _load(path: Path) -> Any:
    import csdmpy

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return csdmpy.load(str(path), application=True)
    except FileNotFoundError as error:
        raise MissingFileError(f"cannot read the measurement {path}: it does not exist; check the path") from error
    except Exception as error:
        raise TruncatedFileError(f"{path} is damaged or cut off, it cannot be read as CSDM: {error}") from error


def _stated(data: Any, path: Path) -> dict[str, Any]:
    application = data.application if isinstance(data.application, dict) else {}
    stated = application.get(APPLICATION, {})
    if not isinstance(stated, dict):
        raise BadSpectrumError(f"{path}: the application block {APPLICATION!r} holds no keys")
    return stated


def _optional(stated: dict[str, Any], key: str, path: Path) -> float | None:
    value = stated.get(key)
    if value is None or isinstance(value, int | float):
        return None if value is None else float(value)
    raise BadSpectrumError(f"{path}: {key} is {value!r} in the application block; a number is needed")


def _axis(path: Path, dimension: Any, reference_mhz: float | None) -> tuple[NDArray[np.float64], float | None]:
    from astropy import units

    coordinates = dimension.coordinates
    if str(coordinates.unit) == "ppm":
        return np.asarray(coordinates.value, dtype=float), reference_mhz
    if not coordinates.unit.is_equivalent(units.Hz):
        raise UnknownFormatError(
            f"{path}: the axis is in {str(coordinates.unit) or 'points'}; a spectrum over ppm or frequency is needed"
        )
    reference = reference_mhz or float(dimension.origin_offset.to(units.MHz).value)
    if not reference:
        raise NoFrequencyError(
            f"{path}: the axis is in hertz and its origin_offset is 0; give reference_mhz, the frequency of 0 ppm"
        )
    return np.asarray(coordinates.to(units.Hz).value, dtype=float) / abs(reference), abs(reference)
