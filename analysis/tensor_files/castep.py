"""Whether a CASTEP run finished: its .castep file, read beside the .magres file that holds the tensors."""

from __future__ import annotations

import re
from pathlib import Path

from ...structures.vocabulary import Frozen
from .errors import (
    TruncatedOutputError,
    UnconvergedOutputError,
    UnconvergedResponseError,
    UnreadableFileError,
)
from .magres import read_magres
from .result import UNKNOWN, PeriodicTensors
from .text import number, read_text

_VERSION = re.compile(r"CASTEP version\s{1,4}([0-9.]{1,12})")
_TOTAL = re.compile(r"^Total time\s{1,40}=\s{1,40}(\S{1,20})\s{1,4}s", re.MULTILINE)
_NO_GROUND_STATE = (
    "max. SCF cycles performed but system has not reached the groundstate",
    "electronic minimisation did not converge",
)
_NO_RESPONSE = "first order wavefunctions not fully converged"


class CastepRun(Frozen):
    """What a finished .castep file says: the version, and the wall time in seconds."""

    version: str
    total_seconds: float


def read_castep_output(path: str | Path) -> CastepRun:
    """Refuse a .castep file of a run that did not finish or converge.

    Raises
    ------
    UnreadableFileError, TruncatedOutputError, UnconvergedOutputError, UnconvergedResponseError, BadNumberError
    """
    return parse_castep_output(read_text(path), name=str(path))


def parse_castep_output(text: str, *, name: str = "castep text") -> CastepRun:
    """Judge the text of a .castep file; see ``read_castep_output``.

    Raises
    ------
    UnreadableFileError, TruncatedOutputError, UnconvergedOutputError, UnconvergedResponseError, BadNumberError
    """
    if "CASTEP" not in text:
        raise UnreadableFileError(f"{name} does not name CASTEP; give the .castep file of the run")
    if any(words in text for words in _NO_GROUND_STATE):
        raise UnconvergedOutputError(
            f"{name}: the ground state did not converge; raise max_scf_cycles, or set elec_method : edft"
        )
    if _NO_RESPONSE in text:
        raise UnconvergedResponseError(
            f"{name}: the first-order wavefunctions did not converge; raise magres_max_cg_steps, or magres_conv_tol "
            "by at most a factor of ten"
        )
    total = _TOTAL.findall(text)
    if not total:
        raise TruncatedOutputError(
            f"{name} states no total time, so CASTEP did not finish; {TruncatedOutputError.reaction}"
        )
    versions = _VERSION.findall(text)
    return CastepRun(
        version=versions[-1] if versions else UNKNOWN, total_seconds=number(total[-1], f"{name}, total time")
    )


def read_castep(magres: str | Path, castep: str | Path | None = None) -> PeriodicTensors:
    """Tensors of a CASTEP run; the .castep file, where given, must say that the run finished.

    Raises
    ------
    TensorFileError
        Any of the named refusals of this package.
    """
    if castep is not None:
        read_castep_output(castep)
    return read_magres(Path(magres))
