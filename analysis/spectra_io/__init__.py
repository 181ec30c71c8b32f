"""Measured spectra from files: Bruker, JCAMP-DX, CSDM, ssNake and text, read into one ``Spectrum``.

In the order in which data flow: a format module reads a file into a ``RawSpectrum`` (axis, intensities, what the file
states); ``correction`` changes phase and baseline on request; ``noise`` finds the regions without signal; ``read``
settles the conditions of the measurement and refuses what cannot be used; ``picture`` shows what was done.
"""

from .correction import Correction
from .errors import (
    BadSpectrumError,
    ConflictingConditionsError,
    CorrectionError,
    MeasurementError,
    MissingConditionError,
    MissingFieldError,
    MissingFileError,
    NoFrequencyError,
    NoSignalError,
    TruncatedFileError,
    UnknownColumnError,
    UnknownFormatError,
    WrongNucleusError,
)
from .export import write_csdm
from .fid import FidSettings
from .lines import FoundLine, find_lines
from .noise import NoiseEstimate, estimate_noise, measure_noise
from .picture import draw_readout
from .raw import RawSpectrum
from .read import Readout, load_raw, read_spectrum, read_with_details

__all__ = [
    "BadSpectrumError",
    "ConflictingConditionsError",
    "Correction",
    "CorrectionError",
    "FidSettings",
    "FoundLine",
    "MeasurementError",
    "MissingConditionError",
    "MissingFieldError",
    "MissingFileError",
    "NoFrequencyError",
    "NoSignalError",
    "NoiseEstimate",
    "RawSpectrum",
    "Readout",
    "TruncatedFileError",
    "UnknownColumnError",
    "UnknownFormatError",
    "WrongNucleusError",
    "draw_readout",
    "estimate_noise",
    "find_lines",
    "load_raw",
    "measure_noise",
    "read_spectrum",
    "read_with_details",
    "write_csdm",
]
