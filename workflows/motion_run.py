"""One flow of its own in a run folder: started, gone on with after any kind of end, and its output read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..structures.errors import SurfshiftError
from ..structures.vocabulary import content_hash
from .queue.errors import InterruptedRunError, RunFolderError
from .queue.folder import RunFolder
from .queue.records import JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from jobflow import Flow, Job

    from .progress import Progress
    from .queue.records import Snapshot


class MotionJobError(SurfshiftError):
    """A job of the flow failed; what came before it is kept."""


def run_alone(
    folder: Path,
    make: Callable[[], Flow | Job],
    identity: Mapping[str, Any],
    *,
    name: str,
    progress: Progress,
    parallel_jobs: int = 1,
    retry_failed: bool = False,
) -> Any:
    """Run a flow in a folder, or go on with it, and give back its output.

    Parameters
    ----------
    folder
        Run folder; one that holds something else is refused.
    make
        Called once, when the folder is new.
    identity
        Everything that decides the jobs, as JSON: the folder goes on only with the same.
    name
        Of the run.
    progress
        Shows the jobs.
    parallel_jobs
        Jobs side by side.
    retry_failed
        Also start failed jobs again.

    Raises
    ------
    RunFolderError
        If the folder holds another run.
    MotionJobError
        If a job failed, with its reason.
    InterruptedRunError
        After Ctrl-C or a polite kill.
    """
    from jobflow import Flow

    from .collect import versions
    from .queue.runner import run_jobs

    run = RunFolder(folder.expanduser().resolve())
    fingerprint = content_hash({"name": name, **identity})
    if not run.is_submitted:
        made = make()
        flow = made if isinstance(made, Flow) else Flow([made], output=made.output, name=name)
        output: Any = flow.output
        with run.only_runner():
            run.write_project(parallel_jobs=parallel_jobs)
            run.submit(
                flow,
                {
                    "study": name,
                    "job_hash": fingerprint,
                    "identity": dict(identity),
                    "output": output.uuid,
                    "submitted": datetime.now(UTC).isoformat(timespec="seconds"),
                    "versions": versions(),
                },
            )
    state = run.state()
    if state.get("job_hash") != fingerprint:
        raise RunFolderError(
            f"{run.path} holds the run {state.get('study')!r} with another structure or other settings; give the ones "
            f"of its {run.state_file.name}, or another folder"
        )
    try:
        with progress:
            last = run_jobs(
                run,
                parallel_jobs=parallel_jobs,
                on_change=progress.update,
                on_repair=progress.repaired,
                retry_failed=retry_failed,
            )
    except InterruptedRunError as error:
        raise InterruptedRunError(f"{str(error).split(';')[0]}; call the same command again to go on") from error
    return _output(run, str(state["output"]), last)


def _output(run: RunFolder, uuid: str, last: Snapshot) -> Any:
    from monty.json import MontyDecoder

    failed = last.of(JobStatus.FAILED)
    if failed:
        told = "; ".join(f"{job.name}: {job.reason}" for job in failed)
        raise MotionJobError(f"{told}. What is finished is kept in {run.path}; --retry-failed runs failed jobs again")
    return MontyDecoder().process_decoded(run.controller().jobstore.get_output(uuid, load=True))
