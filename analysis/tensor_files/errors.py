"""Why a file of computed tensors is refused: every known failure has a name.

The first line of each class is its meaning, ``reaction`` what to do about it; the table in docs/engines.md is
checked against both.
"""

from __future__ import annotations

from typing import ClassVar

from ...structures.errors import SurfshiftError


class TensorFileError(SurfshiftError):
    """Base of every refusal of a file of computed tensors."""

    reaction: ClassVar[str] = "read the message"


class UnreadableFileError(TensorFileError):
    """The file is missing, cannot be opened, or is not a file of any known kind."""

    reaction = "check the path and the kind of file"


class UnsupportedVersionError(TensorFileError):
    """The file says that it is of a version of its format that is not known."""

    reaction = "write it again in version 1 of the format"


class TruncatedOutputError(TensorFileError):
    """The file ends before the program said that it was done."""

    reaction = "run again with more time, memory or disk"


class UnconvergedOutputError(TensorFileError):
    """A self-consistent field stopped at its limit of cycles."""

    reaction = "allow more cycles, or change the mixing"


class UnconvergedResponseError(TensorFileError):
    """The linear response to the magnetic field did not converge."""

    reaction = "raise the cutoff, or loosen the threshold of the response by at most a factor of ten"


class UnconvergedGeometryError(TensorFileError):
    """The atoms were still moving when the run ended."""

    reaction = "relax first, then compute tensors in a static run"


class BadNumberError(TensorFileError):
    """Where a number should stand there is NaN, an overflow (``*****``) or other text."""

    reaction = "run again; a field of stars means that a value was too large for its column"


class InconsistentFileError(TensorFileError):
    """Two places of a file, or two files, contradict each other."""

    reaction = "run again, or give files of one run"


class UnknownUnitError(TensorFileError):
    """A quantity has a unit that is not known."""

    reaction = "convert it to the unit that the message names"


class MissingTensorsError(TensorFileError):
    """The file holds no tensors, or not those that are asked for."""

    reaction = "compute what is missing, or merge the file that has it"


class WrongStructureError(TensorFileError):
    """The file is for another cell or another composition."""

    reaction = "give the file of this structure"


class WrongAtomOrderError(TensorFileError):
    """The atoms of the file cannot be mapped one to one onto the atoms of the structure."""

    reaction = "give the structure that was computed"


class UnequalEquivalentsError(TensorFileError):
    """Atoms that symmetry makes equivalent have different tensors."""

    reaction = "raise cutoff and k-points, switch the program's symmetry off, or lower symmetry_tolerance_ang"
