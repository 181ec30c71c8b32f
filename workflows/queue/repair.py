"""Bring a queue back into order after its runner, its jobs or both were killed at any moment.

The steps of jobflow-remote are not transactions, so a kill can leave documents locked, a process
without an owner, an output that was not taken in, or half of the jobs that a finished job asked for.
Each of these has one answer here; finished work is never thrown away, and nothing runs twice at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...structures.vocabulary import Frozen
from .processes import processes_in
from .records import is_disk_full, job_output

if TYPE_CHECKING:
    from jobflow_remote import JobController

    from .folder import RunFolder

MAX_KILLS = 2
"""A job that is killed by a signal runs again this many times."""

STARTED_STATES = ("CHECKED_OUT", "UPLOADED", "SUBMITTED", "RUNNING", "RUN_FINISHED")
WAITING_STATES = ("CHECKED_OUT", "UPLOADED")
"""Prepared by the runner but not started yet: nothing is lost when these are prepared again."""

FAILED_STATES = ("FAILED", "REMOTE_ERROR")

LOCAL = "local"
"""The worker whose jobs are processes of this machine."""


class Repairs(Frozen):
    """Names of the jobs that were still running, that had finished unseen, and that start again."""

    adopted: tuple[str, ...] = ()
    finished: tuple[str, ...] = ()
    reset: tuple[str, ...] = ()


def job_folder(run: RunFolder, document: dict[str, Any]) -> Path:
    """Folder of a job, in the run folder where it is now."""
    from jobflow_remote.remote.data import get_job_path

    return Path(get_job_path(document["uuid"], document["index"], run.jobs))


def set_job(controller: JobController, document: dict[str, Any], **values: Any) -> None:
    """Set fields of a job's document; a double underscore in a name stands for a dot."""
    fields = {name.replace("__", "."): value for name, value in values.items()}
    controller.jobs.update_one({"uuid": document["uuid"], "index": document["index"]}, {"$set": fields})


def reset_job(controller: JobController, document: dict[str, Any], *, keep_files: bool = False) -> None:
    """Let a job start again; its folder is emptied first, unless its files are a start for the next try."""
    from jobflow_remote.jobs.data import get_reset_job_base_dict

    set_job(
        controller,
        document,
        **get_reset_job_base_dict(),
        state="READY",
        remote__prerun_cleanup=not keep_files,
        remote__process_id=None,
    )


def repair(run: RunFolder, controller: JobController, *, retry_failed: bool = False) -> Repairs:
    """Make the queue fit what is really there. Only the holder of the folder's runner lock may call this.

    Parameters
    ----------
    run, controller
        The run folder and the way into its queue.
    retry_failed
        Also start jobs again that failed for a reason of their own.
    """
    unlocked = {"$set": {"lock_id": None, "lock_time": None}}
    controller.jobs.update_many({"lock_id": {"$ne": None}}, unlocked)
    controller.flows.update_many({"lock_id": {"$ne": None}}, unlocked)
    alive = processes_in(run.jobs)
    adopted, finished, reset = [], [], []
    fields = ["uuid", "index", "state", "run_dir", "error", "remote", "job.name"]
    states = [*STARTED_STATES, *FAILED_STATES, "DOWNLOADED"]
    _repair_cluster_jobs(controller, retry_failed=retry_failed)
    query = {"state": {"$in": states}, "worker": LOCAL}
    for document in list(controller.jobs.find(query, projection=fields)):
        folder, name = job_folder(run, document).resolve(), document["job"]["name"]
        output = job_output(folder)
        state = document["state"]
        if document.get("run_dir"):
            set_job(controller, document, run_dir=str(folder))
        if state in STARTED_STATES and folder in alive:
            pid = min(process.pid for process in alive[folder])
            set_job(controller, document, state="RUNNING", remote__process_id=str(pid))
            adopted.append(name)
        elif state == "FAILED":
            is_cut_off = output is None or is_disk_full(document.get("error") or "")
            if retry_failed or is_cut_off:
                reset_job(controller, document, keep_files=is_cut_off)
                reset.append(name)
        elif output is None:
            # displacements, chunks and steps that are done are in the folder
            reset_job(controller, document, keep_files=True)
            if state not in WAITING_STATES:
                reset.append(name)
        else:
            remove_half_added_jobs(controller, document, output)
            set_job(
                controller,
                document,
                state="DOWNLOADED",
                run_dir=str(folder),
                remote__retry_time_limit=None,
                remote__step_attempts=0,
            )
            finished.append(name)
    if retry_failed:
        controller.db["kills"].delete_many({})
        controller.db["failures"].delete_many({})
    for flow in list(controller.flows.find({"state": {"$ne": "COMPLETED"}}, projection=["uuid", "jobs"])):
        controller.refresh_children(flow["jobs"])
        controller.update_flow_state(flow["uuid"])
    return Repairs(adopted=tuple(adopted), finished=tuple(finished), reset=tuple(reset))


def _repair_cluster_jobs(controller: JobController, *, retry_failed: bool) -> None:
    """Jobs that a scheduler has go on without the runner; only what the runner itself left half done is put in order.

    A job that was uploaded, and may have been submitted just before a kill, is submitted again: its folder's lock keeps
    the two apart.
    """
    fields = ["uuid", "index", "state", "run_dir", "worker", "error", "remote", "job.name"]
    for document in list(controller.jobs.find({"worker": {"$ne": LOCAL}}, projection=fields)):
        state = document["state"]
        if state == "CHECKED_OUT" or (state in FAILED_STATES and retry_failed):
            reset_job(controller, document, keep_files=state in FAILED_STATES)
        elif state == "DOWNLOADED":
            folder = _downloaded(controller, document)
            if (output := job_output(folder)) is not None:
                remove_half_added_jobs(controller, document, output)


def _downloaded(controller: JobController, document: dict[str, Any]) -> Path:
    from jobflow_remote.remote.data import get_local_data_path

    project: Any = controller.project
    return Path(
        get_local_data_path(
            project=project,
            worker=project.workers[document["worker"]],
            job_id=document["uuid"],
            index=document["index"],
            run_dir=document["run_dir"],
        )
    )


def remove_half_added_jobs(controller: JobController, document: dict[str, Any], output: dict[str, Any]) -> None:
    """Take back the jobs that an unfinished completion added; the completion adds them again, all of them.

    None of them can have started: they wait until the job that asked for them is completed.
    """
    added = _uuids((output.get("response") or {}).get("addition"))
    flow = controller.flows.find_one({"jobs": document["uuid"]})
    if not added or flow is None:
        return
    controller.jobs.delete_many({"uuid": {"$in": sorted(added)}})
    controller.flows.update_one(
        {"uuid": flow["uuid"]},
        {
            "$set": {
                "jobs": [uuid for uuid in flow["jobs"] if uuid not in added],
                "ids": [entry for entry in flow["ids"] if entry[1] not in added],
                "parents": {uuid: parents for uuid, parents in flow["parents"].items() if uuid not in added},
            }
        },
    )


def _uuids(flow: dict[str, Any] | None) -> set[str]:
    if flow is None:
        return set()
    if "jobs" in flow:
        return set().union(*(_uuids(job) for job in flow["jobs"]))
    return {flow["uuid"]}


def retry_killed(run: RunFolder, controller: JobController) -> list[str]:
    """Start jobs again whose process was killed, a limited number of times; returns their names.

    Raises
    ------
    OSError
        Never for a job's own error; only if the queue cannot be written.
    """
    again = []
    fields = ["uuid", "index", "state", "job.name", "error"]
    query = {"state": {"$in": list(FAILED_STATES)}, "worker": LOCAL}
    for document in list(controller.jobs.find(query, projection=fields)):
        if job_output(job_folder(run, document)) is not None:
            continue
        kills = controller.db["kills"]
        key = {"uuid": document["uuid"], "index": document["index"]}
        count = (kills.find_one(key) or {"n": 0})["n"] + 1
        if count > MAX_KILLS:
            if count == MAX_KILLS + 1:
                kills.update_one(key, {"$set": {"n": count}}, upsert=True)
                message = (
                    f"JobKilledError: the process was killed {count} times before it could end, most often because "
                    "the memory is full; lower run.parallel_jobs or raise run.memory_gb, then "
                    "'surfshift resume --retry-failed'"
                )
                set_job(controller, document, state="FAILED", error=message)
            continue
        kills.update_one(key, {"$set": {"n": count}}, upsert=True)
        reset_job(controller, document)
        again.append(document["job"]["name"])
    return again
