"""What can be wrong with a measurement, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...structures.errors import SurfshiftError

if TYPE_CHECKING:
    from collections.abc import Mapping


class MeasurementError(SurfshiftError):
    """A measurement that cannot be used as it is."""


class MissingFileError(MeasurementError):
    """The file of a measurement does not exist or cannot be read."""


class UnknownFormatError(MeasurementError):
    """A file or folder that is none of the known formats of a spectrum."""


class TruncatedFileError(MeasurementError):
    """A spectrometer's file that holds fewer points than its parameters say, or whose parameters are missing."""


class MissingConditionError(MeasurementError):
    """Conditions of the measurement that the file does not state and that were not given.

    ``missing`` holds their names, each with a value as an example.
    """

    def __init__(self, message: str, *, missing: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.missing = dict(missing or {})


class MissingFieldError(MissingConditionError):
    """A measurement without a magnetic field."""


class ConflictingConditionsError(MeasurementError):
    """A condition of the measurement that was given otherwise than the file states it."""


class WrongNucleusError(ConflictingConditionsError):
    """A file that states another nucleus than the one asked for."""


class UnknownColumnError(MeasurementError):
    """A column of a peak list that is not a property of a peak."""


class BadSpectrumError(MeasurementError):
    """A spectrum with too few points, values that are no numbers, or an axis that turns back."""


class NoFrequencyError(BadSpectrumError):
    """An axis in points or hertz that cannot become ppm without a reference frequency."""


class NoSignalError(BadSpectrumError):
    """A spectrum in which nothing stands out of the noise."""


class CorrectionError(MeasurementError):
    """A correction of phase or baseline that cannot be made."""
