"""The adapters of all programs, by the name of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .castep import CastepProgram
from .cp2k import Cp2kProgram
from .pw import PwProgram
from .vasp import VaspProgram

if TYPE_CHECKING:
    from .program import DftProgram
    from .protocols import DftEngine

PROGRAMS: dict[DftEngine, type[DftProgram]] = {
    program.name: program for program in (Cp2kProgram, PwProgram, VaspProgram, CastepProgram)
}


def program_of(engine: DftEngine) -> DftProgram:
    """A new adapter of an engine."""
    return PROGRAMS[engine]()
