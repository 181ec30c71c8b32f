"""Tells each job of a flow on which worker it runs and what it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .estimate import dft_request, gipaw_request, relax_request, site_request

if TYPE_CHECKING:
    from jobflow import Flow, Job

    from ...structures.vocabulary import Candidate
    from ..study import NmrSettings, StudyFile
    from .workers import WorkersFile


def place_candidate(flow: Flow | Job, candidate: Candidate, study: StudyFile, workers: WorkersFile) -> None:
    """Set worker and resources of a candidate's jobs: its GIPAW job, or the site jobs that its flow will add.

    Parameters
    ----------
    flow
        Made by ``CandidateMaker`` for this candidate.
    candidate, study, workers
        What the estimates come from, and where each step runs.

    Raises
    ------
    HpcError
        If a step does not fit into the limits.
    """
    limits = workers.placement.limits
    made: Any = flow
    jobs: tuple[Any, ...] = made.jobs
    relaxing, tensors = jobs[: 1 + len(study.relax.dft)], jobs[1 + len(study.relax.dft) :]
    relaxing[0].config.manager_config.update(
        workers.run_config("relax", relax_request(candidate.structure, study.relax.model)[1])
    )
    for job, step in zip(relaxing[1:], study.relax.dft, strict=True):
        job.config.manager_config.update(workers.run_config("dft", dft_request(candidate, step, limits)[1]))
    if study.nmr.periodic is not None:
        for job in tensors:
            request = gipaw_request(candidate, study.nmr.periodic, limits)[1]
            job.config.manager_config.update(workers.run_config("gipaw", request))
        return
    (planning,) = tensors
    request = site_request(candidate, study.nmr, study.run.memory_per_job_mb)[2]
    planning.config.manager_config.update(workers.run_config("plan", request))
    planning.config.response_manager_config.update(workers.run_config("nmr", request))


def site_place(candidate: Candidate, nmr: NmrSettings, study: StudyFile, workers: WorkersFile) -> dict[str, Any]:
    """Worker and resources of a candidate's site jobs that are made one by one, with the settings ``nmr``.

    Raises
    ------
    HpcError
        If the largest job does not fit into the limits.
    """
    request = site_request(candidate, nmr, study.run.memory_per_job_mb)[2]
    return workers.run_config("nmr", request)
