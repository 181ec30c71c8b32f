"""What can go wrong in a run of a program, by name."""

from __future__ import annotations

from ....structures.errors import SurfshiftError


class DftError(SurfshiftError):
    """Base of every refusal of a periodic DFT run."""


class UnsupportedElementError(DftError):
    """An element without a basis set or pseudopotential in the shipped table."""


class ProgramMissingError(DftError):
    """The program is not on the PATH of the worker."""


class ProgramFailedError(DftError):
    """The program stopped with an error that has no name here."""


class ScfNotConvergedError(DftError):
    """The self-consistent field did not converge, with any of the stated settings."""


class TruncatedOutputError(DftError):
    """The output ends before its end."""


class NotFiniteOutputError(DftError):
    """The output has stars or NaN where numbers belong."""


class WrongAtomOrderError(DftError):
    """The program's atoms are not those of the input, in their order."""


class OutOfMemoryError(DftError):
    """The program could not allocate memory."""


class LicenceMissingError(DftError):
    """The program found no licence."""


class OutputDiskFullError(DftError):
    """No space was left where the program writes."""
