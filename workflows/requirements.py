"""What the programs of a study need on this machine, looked at before anything is submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .engines.dft.errors import ProgramMissingError
from .engines.inputs.upf import MissingPotentialError
from .queue.errors import EnvironmentProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..structures.vocabulary import Candidate
    from .engines.dft.launch import Program
    from .hpc.workers import Step, WorkersFile
    from .potentials import Engine
    from .study import StudyFile


class EngineNotReadyError(EnvironmentProblemError):
    """A program, licence or pseudopotential that the study needs is not on this machine."""


def runs_here(step: Step, workers: WorkersFile | None) -> bool:
    """Whether the jobs of a step are processes of this machine, whose files can be looked at."""
    return workers is None or workers.is_local(step)


def check_engines(study: StudyFile, candidates: Sequence[Candidate], workers: WorkersFile | None) -> None:
    """Refuse a study whose programs cannot run here; what runs on a worker elsewhere is left to its jobs.

    Parameters
    ----------
    study, candidates
        The study, and what it builds.
    workers
        Where the steps run; without them all run here.

    Raises
    ------
    EngineNotReadyError
        With every missing file of every element, or the program, and what to do.
    """
    from .engines.periodic import RUNS

    elements = list(dict.fromkeys(element for candidate in candidates for element in candidate.structure.elements))
    if runs_here("dft", workers):
        for step in study.relax.dft:
            licensed: tuple[Engine, ...] = (step.engine,) if step.engine in ("vasp", "castep") else ()
            _check(f"relax.dft: {step.engine}", licensed, [step.engine], elements)
    settings = study.nmr.periodic
    if settings is not None and runs_here("gipaw", workers):
        programs = [run.program for run in RUNS[settings.engine]]
        _check(f"nmr.engine: {settings.engine}", (settings.engine,), programs, elements)


def _check(what: str, engines: Sequence[Engine], programs: Sequence[Program], elements: Sequence[str]) -> None:
    from .engines.dft.launch import launch_line
    from .potentials import require_potentials

    try:
        for engine in engines:
            require_potentials(engine, elements)
        for program in programs:
            launch_line(program)
    except (MissingPotentialError, ProgramMissingError) as error:
        raise EngineNotReadyError(f"{what} cannot run on this machine, nothing was submitted: {error}") from error
