"""Start, resume, look at and report a study: what the command line does, without the command line."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .adaptive import first_settings
from .candidates import check_candidates, load_inputs
from .collect import collect, start_state, write_results
from .files import write_atomically
from .flows import CandidateMaker, RelaxMaker, StudyMaker, nmr_maker
from .hpc.workers import cluster_of
from .proposals import propose
from .queue.errors import RunFolderError
from .queue.folder import RunFolder
from .queue.records import Snapshot, snapshot
from .requirements import check_engines, runs_here

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..analysis.vocabulary import StudyResult
    from .progress import Progress
    from .study import StudyFile


@dataclass(frozen=True)
class Outcome:
    """What a run ended with."""

    result: StudyResult
    report: Path
    snapshot: Snapshot


def run_folder(study: StudyFile, study_path: Path, folder: Path | None = None) -> RunFolder:
    """The folder of a study's run: as given, else ``NAME-run`` beside the study file."""
    return RunFolder((folder or study_path.resolve().parent / f"{study.study}-run").expanduser().resolve())


def check_fits(run: RunFolder, study: StudyFile) -> None:
    """Refuse a run folder whose jobs belong to another study file.

    Raises
    ------
    RunFolderError
        If the crystal, candidates, relaxation or NMR settings are others than those of the run.
    """
    state = run.state()
    if state.get("job_hash") != study.job_hash:
        raise RunFolderError(
            f"{run.path} holds the run of a study file with another crystal, candidates, relax or nmr block; its jobs "
            "do not fit this one. Undo the change, choose another folder with --folder, or start over with "
            "'surfshift run --fresh', which moves the old run aside"
        )


def move_aside(run: RunFolder) -> Path | None:
    """Stop what still runs in a run folder and rename the folder; returns the new name."""
    from .queue.processes import processes_in, stop_processes
    from .queue.store import close_clients

    if not run.path.exists():
        return None
    with run.only_runner():
        stop_processes(process for found in processes_in(run.jobs).values() for process in found)
        close_clients(run.queue)
        aside = run.path.with_name(f"{run.path.name}-before-{time.strftime('%Y%m%d-%H%M%S')}")
        shutil.move(run.path, aside)
    return aside


def start(run: RunFolder, study: StudyFile, study_path: Path, *, say: Callable[[str], None]) -> None:
    """Check everything, then put the jobs of a study into the queue of an empty run folder."""
    inputs = load_inputs(study)
    proposed = propose(study)
    candidates = proposed.candidates
    check_candidates(study, candidates)
    say(f"{len(candidates)} candidates: {', '.join(candidate.name for candidate in candidates)}")
    for line in proposed.left_out:
        say(f"not built: {line}")
    for name, twin in proposed.duplicates:
        say(f"same structure, dropped: {name} = {twin}")
    workers = cluster_of(study)
    check_engines(study, candidates, workers)
    settings = first_settings(study, inputs.measurements, candidates) if study.run.adaptive else study.nmr
    maker = CandidateMaker(
        relax_maker=RelaxMaker(settings=study.relax),
        site_maker=nmr_maker(
            settings,
            study.run.memory_per_job_mb,
            checks_potentials=runs_here("gipaw", workers),
            motion=study.motion,
            motion_model=study.relax.model,
        ),
    )
    parts = StudyMaker(name=study.study, candidate_maker=maker).parts(candidates)
    if workers is not None:
        from .hpc.place import place_candidate

        for part, candidate in zip(parts, candidates, strict=True):
            place_candidate(part, candidate, study, workers)
    with run.only_runner():
        run.write_project(parallel_jobs=study.run.parallel_jobs, workers=workers)
        write_atomically(run.path / "study.yaml", study_path.read_text(encoding="utf-8"))
        adaptive = {"adaptive": True} if study.run.adaptive else {}
        run.submit(parts, start_state(study, study_path) | adaptive)


def go_on(
    run: RunFolder,
    study: StudyFile,
    progress: Progress,
    *,
    retry_failed: bool = False,
    complete: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Run what is left of a submitted study and report.

    An adaptive run goes on stage by stage; with ``complete`` everything that it left out is computed too.
    """
    from .queue.runner import run_jobs
    from .stages import add_jobs, next_jobs, set_adaptive, was_adaptive

    inputs = load_inputs(study)
    if complete and was_adaptive(run):
        set_adaptive(run, is_adaptive=False)
    while True:
        with progress:
            last = run_jobs(
                run,
                parallel_jobs=study.run.parallel_jobs,
                on_change=progress.update,
                on_repair=progress.repaired,
                retry_failed=retry_failed,
                workers=cluster_of(study),
                on_failure=progress.failed,
            )
        retry_failed = False
        jobs = next_jobs(run, study, inputs, last, say=say)
        if not jobs:
            break
        add_jobs(run, jobs)
    result = collect(run, study, inputs, last)
    _write_averages(run, study)
    return Outcome(result=result, report=write_results(run, result), snapshot=last)


def _write_averages(run: RunFolder, study: StudyFile) -> None:
    if study.motion is not None:
        from .averages import write_averages

        write_averages(run, study)


def report_again(run: RunFolder, study: StudyFile, *, is_thorough: bool = False) -> Outcome:
    """Predict, match and report from what is finished, without running a job; ``is_thorough`` as for ``collect``."""
    check_fits(run, study)
    inputs = load_inputs(study)
    last = snapshot(run.controller())
    result = collect(run, study, inputs, last, is_thorough=is_thorough)
    _write_averages(run, study)
    return Outcome(result=result, report=write_results(run, result), snapshot=last)
