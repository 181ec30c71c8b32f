"""What the programs of a study need on this machine, looked at before anything is submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .engines.dft.errors import ProgramMissingError
from .engines.inputs.upf import MissingPotentialError
from .queue.errors import EnvironmentProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..structures.vocabulary import Candidate
    from .hpc.workers import Step, WorkersFile
    from .study import StudyFile


class EngineNotReadyError(EnvironmentProblemError):
    """A program, licence or pseudopotential that the study needs is not on this machine."""


def runs_here(step: Step, workers: WorkersFile | None) -> bool:
    """Whether the jobs of a step are processes of this machine, whose files can be looked at."""
    return workers is None or workers.is_local(step)


def check_engines(study: StudyFile, candidates: Sequence[Candidate], workers: WorkersFile | None) -> None:
    """Refuse a study whose periodic NMR engine cannot run here; a worker elsewhere is left to its jobs.

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
    from .engines.periodic import RUNS, launch_words
    from .potentials import require_potentials

    settings = study.nmr.periodic
    if settings is None or not runs_here("gipaw", workers):
        return
    elements = dict.fromkeys(element for candidate in candidates for element in candidate.structure.elements)
    try:
        require_potentials(settings.engine, list(elements))
        for run in RUNS[settings.engine]:
            launch_words(run)
    except (MissingPotentialError, ProgramMissingError) as error:
        raise EngineNotReadyError(
            f"nmr.engine: {settings.engine} cannot run on this machine, nothing was submitted: {error}"
        ) from error
