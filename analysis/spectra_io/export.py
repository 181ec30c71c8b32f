"""Spectra written as CSDM files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..constants import isotope as nucleus_of
from ..constants import reference_of_field
from .csdm import APPLICATION, SUFFIXES
from .errors import MeasurementError

if TYPE_CHECKING:
    from ..vocabulary import Spectrum

UNIFORM = 1e-6
"""Largest deviation of an axis from equal steps, in steps, that is still written as a linear dimension."""


def write_csdm(spectrum: Spectrum, path: Path | str) -> Path:
    """Write a spectrum as CSDM; ``load_raw`` and other CSDM programs read it back.

    The axis is a frequency over the reference compound's frequency in the field of the measurement (``origin_offset``),
    so that every CSDM program can show it in ppm. The conditions stand in the ``application`` block.

    Raises
    ------
    MeasurementError
        If the suffix is not one of CSDM's, or the file cannot be written.
    """
    import csdmpy

    target = Path(path)
    if target.suffix not in SUFFIXES:
        raise MeasurementError(f"{target}: a CSDM file ends in .csdf (text) or .csdfe (binary); choose such a name")
    axis = np.asarray(spectrum.axis_ppm)
    reference = reference_of_field(nucleus_of(spectrum.isotope), spectrum.field_tesla)
    steps = np.diff(axis)
    step = float(axis[-1] - axis[0]) / (len(axis) - 1)
    common = {"origin_offset": f"{reference * 1e6!r} Hz", "quantity_name": "frequency", "label": spectrum.isotope}
    if np.abs(steps - step).max() < UNIFORM * step:
        start = float(axis[0]) * reference
        dimension = csdmpy.LinearDimension(
            count=len(axis), increment=f"{step * reference!r} Hz", coordinates_offset=f"{start!r} Hz", **common
        )
    else:
        dimension = csdmpy.MonotonicDimension(coordinates=[f"{x * reference!r} Hz" for x in axis.tolist()], **common)
    values = csdmpy.as_dependent_variable(np.asarray(spectrum.intensity), unit="", name=spectrum.name)
    conditions = spectrum.model_dump(mode="json", exclude={"axis_ppm", "intensity", "kind"})
    data = csdmpy.CSDM(dimensions=[dimension], dependent_variables=[values], application={APPLICATION: conditions})
    data.description = f"{spectrum.isotope} {spectrum.experiment.value} spectrum, {spectrum.field_tesla:g} T"
    try:
        data.save(str(target))
    except OSError as error:
        raise MeasurementError(f"cannot write {target}: {error.strerror}; check the folder") from error
    return target
