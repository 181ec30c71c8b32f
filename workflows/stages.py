"""The stages of an adaptive run in the queue: which jobs follow those that are done, and adding them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .adaptive import SCREEN_PROTOCOL, Decision, decide
from .collect import outputs
from .files import write_atomically
from .flows import SiteMaker
from .hpc.place import site_place
from .hpc.workers import cluster_of
from .jobs import wanted_sites

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jobflow import Job

    from ..analysis.vocabulary import Reference
    from ..structures.symmetry import SiteOrbit
    from ..structures.vocabulary import Candidate
    from .candidates import Inputs
    from .queue.folder import RunFolder
    from .queue.records import Snapshot
    from .study import StudyFile


def is_adaptive(run: RunFolder) -> bool:
    """Whether a run was started adaptively and has not been asked for everything since."""
    return bool(run.state().get("adaptive", False))


def was_adaptive(run: RunFolder) -> bool:
    """Whether a run ever was adaptive, so that its queue may lack jobs."""
    return "adaptive" in run.state()


def set_adaptive(run: RunFolder, *, is_adaptive: bool) -> None:
    """Note in a run folder whether it goes on adaptively."""
    write_atomically(run.state_file, json.dumps({**run.state(), "adaptive": is_adaptive}, indent=2))


def decision_of(run: RunFolder, study: StudyFile, inputs: Inputs, snapshot: Snapshot) -> tuple[Decision, list[Job]]:
    """What an adaptive run decides from what is finished, and the jobs that follow.

    A candidate with a failed site goes no further and stops no other.
    """
    relaxations, tensors = outputs(run)
    candidates = [r.candidate for r in relaxations]
    submitted = {job.name for job in snapshot.jobs}
    while True:
        decision = decide(study, inputs, candidates, tensors, references_for(study, inputs))
        protocol = decision.stage.protocol if decision.stage else decision.protocol
        jobs = _jobs(study, decision.todo, protocol, submitted)
        stuck = {candidate.id for candidate, _ in decision.todo}
        if jobs or not stuck or snapshot.is_active:
            return decision, jobs
        candidates = [candidate for candidate in candidates if candidate.id not in stuck]


def references_for(study: StudyFile, inputs: Inputs) -> Callable[[str], Mapping[str, Reference]]:
    """References by protocol: the study's own for its protocol, those on file or wide ones for another."""
    from ..analysis.reference_fit import wide_reference
    from ..analysis.references import ReferenceMissingError, load_reference
    from .engines.cluster import method_of
    from .engines.protocols import load_protocol

    def of(protocol: str) -> Mapping[str, Reference]:
        if protocol == study.nmr.protocol:
            return inputs.references
        method = method_of(load_protocol(protocol))
        found = {}
        for isotope in {m.isotope for m in inputs.measurements}:
            try:
                found[isotope] = load_reference(isotope, method)
            except ReferenceMissingError:
                found[isotope] = wide_reference(isotope, method)
        return found

    return of


def next_jobs(
    run: RunFolder, study: StudyFile, inputs: Inputs, snapshot: Snapshot, *, say: Callable[[str], None]
) -> list[Job]:
    """Jobs that follow; none if the run is not adaptive, is decided, or waits for failed jobs."""
    if not was_adaptive(run) or snapshot.is_active:
        return []
    if is_adaptive(run):
        decision, jobs = decision_of(run, study, inputs, snapshot)
        for note in [*decision.notes[-1:], *decision.ruled_out.values()] if jobs else []:
            say(note)
        if jobs and decision.stage is not None:
            say(f"next: {len(jobs)} sites of {decision.stage.isotope} with {decision.stage.protocol}")
        return jobs
    relaxations, tensors = outputs(run)
    known = {(t.structure_id, t.atom_indices[0]) for t in tensors if t.method.protocol == study.nmr.protocol}
    todo = tuple(
        (r.candidate, orbit)
        for r in relaxations
        for orbit in wanted_sites(r.candidate, study.nmr)
        if (r.candidate.structure.content_id, orbit.atom_indices[0]) not in known
    )
    return _jobs(study, todo, study.nmr.protocol, {job.name for job in snapshot.jobs})


def _jobs(
    study: StudyFile, todo: Sequence[tuple[Candidate, SiteOrbit]], protocol: str, submitted: set[str]
) -> list[Job]:
    """Jobs of the sites that the queue does not hold yet; a failed one is not added again."""
    nmr = study.nmr.model_copy(update={"protocol": protocol})
    # the first stage's jobs, which a queue makes by itself, bear the plain name
    name = "nmr" if protocol == SCREEN_PROTOCOL else f"nmr {protocol}"
    maker = SiteMaker(name=name, settings=nmr, max_memory_mb=study.run.memory_per_job_mb)
    workers = cluster_of(study)
    places: dict[str, dict[str, Any]] = {}
    jobs = []
    for candidate, orbit in todo:
        job = maker.make(candidate, orbit)
        if job.name in submitted:
            continue
        if workers is not None:
            if candidate.id not in places:
                places[candidate.id] = site_place(candidate, nmr, study, workers)
            job.config.manager_config.update(places[candidate.id])
        jobs.append(job)
    return jobs


def add_jobs(run: RunFolder, jobs: Sequence[Job]) -> None:
    """Put further jobs into the queue of a run."""
    from jobflow import Flow

    with run.only_runner():
        run.add([Flow([job], name=job.name) for job in jobs])
