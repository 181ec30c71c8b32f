"""Reactions to failed jobs of a run: look at what is known, name it, and start again or give up."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from ...structures.vocabulary import Frozen
from .failures import POLICIES, Evidence, Failure, Policy, classify
from .records import JOB_OUTPUT, JOB_STORE, last_message
from .repair import FAILED_STATES, LOCAL, reset_job, set_job

if TYPE_CHECKING:
    from pathlib import Path

    from jobflow_remote.jobs.runner import Runner
    from qtoolkit.io.base import BaseSchedulerIO

    from ..hpc.resources import Limits

TAIL_CHARACTERS = 20_000


class Reaction(Frozen):
    """What was done about one failed job."""

    job: str
    failure: Failure
    runs_again: bool
    message: str


def react(runner: Runner, limits: Limits | None) -> tuple[Reaction, ...]:
    """Look at every failed job of a cluster that was not looked at yet; start it again or give it up by name.

    Parameters
    ----------
    runner
        The runner of the run, with its connections.
    limits
        What one job may ask for; without them time and memory stay as they are.
    """
    controller = runner.job_controller
    history = controller.db["failures"]
    reactions = []
    fields = ["uuid", "index", "state", "worker", "run_dir", "error", "remote", "resources", "job.name"]
    query = {"state": {"$in": list(FAILED_STATES)}, "worker": {"$ne": LOCAL}}
    for document in list(controller.jobs.find(query, projection=fields)):
        key = {"uuid": document["uuid"], "index": document["index"]}
        known = history.find_one(key) or {"failures": [], "given_up": False}
        if known["given_up"]:
            continue
        failure = classify(evidence_of(runner, document))
        policy = POLICIES[failure]
        failures = [*known["failures"], failure.value]
        again = failures.count(failure.value) <= policy.n_again
        resources = raised(
            document.get("resources"), policy, limits, runner.get_worker(document["worker"]).get_scheduler_io()
        )
        if (
            again
            and _asked_in_vain(failure, document.get("resources"), resources)
            and failures.count(failure.value) > 1
        ):
            again = False  # the limit is reached and was not enough
        history.update_one(key, {"$set": {"failures": failures, "given_up": not again}}, upsert=True)
        if again:
            if document.get("run_dir") and policy.keeps_files:
                _forget_output(runner, document)
            if resources is not None:
                set_job(controller, document, resources=resources)
            reset_job(controller, document, keep_files=policy.keeps_files)
            message = f"{failure}: {policy.reaction}"
        else:
            message = _given_up(failure, policy, failures, document)
            set_job(controller, document, state="FAILED", error=message)
        reactions.append(Reaction(job=document["job"]["name"], failure=failure, runs_again=again, message=message))
    return tuple(reactions)


def _given_up(failure: Failure, policy: Policy, failures: list[str], document: dict[str, Any]) -> str:
    noted = document.get("error") or ""
    own = last_message(noted) if "Traceback" in noted else ""
    runner_words = (
        last_message((document["remote"] or {}).get("error") or "") if failure is Failure.SUBMISSION_REFUSED else ""
    )
    tries = f" {failures.count(failure.value)} times" if policy.n_again else ""
    said = f" The job said: {own}" if own else f" {runner_words}" if runner_words else ""
    kind = "".join(word.capitalize() for word in re.split(r"\W+", failure.value))
    return f"{kind}Error: {policy.meaning}{tries}; {policy.advice}.{said}"


def evidence_of(runner: Runner, document: dict[str, Any]) -> Evidence:
    """What the queue, the job's folder and the scheduler tell about a failed job."""
    worker = document["worker"]
    remote = document.get("remote") or {}
    printed = "\n".join(_tail(runner, worker, document.get("run_dir"), name) for name in ("queue.out", "queue.err"))
    noted = document.get("error") or ""
    is_own = "Traceback" in noted  # else it is jobflow-remote's note on an output without a result
    return Evidence(
        error=noted if is_own else "",
        printed=printed,
        scheduler_state=_scheduler_state(runner, worker, remote.get("process_id")),
        runner_error="\n".join([remote.get("error") or "", "" if is_own else noted]),
    )


def _tail(runner: Runner, worker: str, folder: str | None, name: str) -> str:
    if not folder:
        return ""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text: str = runner.get_host(worker).read_text_file(f"{folder}/{name}")
        return text[-TAIL_CHARACTERS:]
    return ""


def _scheduler_state(runner: Runner, worker: str, process_id: str | None) -> str:
    """Slurm's last word on a job, which it keeps for some minutes; other schedulers tell in the job's output."""
    if not process_id or runner.get_worker(worker).scheduler_type != "slurm" or not re.fullmatch(r"\d+", process_id):
        return ""
    with contextlib.suppress(Exception):  # it is one of several hints, and a lost connection shows elsewhere
        stdout, _, code = runner.get_host(worker).execute(f"scontrol show job {process_id}", timeout=20)
        found = re.search(r"JobState=([A-Z_]+)", stdout)
        if code == 0 and found:
            return found.group(1)
    return ""


def _forget_output(runner: Runner, document: dict[str, Any]) -> None:
    """Remove what an earlier try wrote as its result, so that it is never taken for that of the next one."""
    host = runner.get_host(document["worker"])
    for name in (JOB_OUTPUT, JOB_STORE, "queue.out", "queue.err"):
        path = f"{document['run_dir']}/{name}"
        with contextlib.suppress(OSError):
            if host.exists(path):
                host.remove(path)


def _asked_in_vain(failure: Failure, before: Any, after: Any) -> bool:
    return failure in {Failure.WALLTIME, Failure.OUT_OF_MEMORY} and before is not None and before == after


def raised(resources: Any, policy: Policy, limits: Limits | None, scheduler: BaseSchedulerIO) -> dict[str, Any] | None:
    """Scheduler options that ask for more time or memory, within the limits.

    Parameters
    ----------
    resources
        Options of the last try, as qtoolkit names them; None for a pilot's jobs, which have none of their own.
    policy
        Says by how much.
    limits
        Upper limits.
    scheduler
        Kind of scheduler.
    """
    del scheduler
    if not isinstance(resources, dict) or limits is None:
        return resources if isinstance(resources, dict) else None
    result = dict(resources)
    for key in ("time", "walltime"):
        if key in result and policy.time_factor > 1:
            result[key] = _longer(str(result[key]), policy.time_factor, limits.max_hours)
    if policy.memory_factor > 1:
        cap = 1000 * limits.memory_gb_per_node
        if "mem" in result:
            result["mem"] = re.sub(r"^\d+", lambda m: _more(m.group(), policy.memory_factor, cap), str(result["mem"]))
        elif "select" in result:
            result["select"] = re.sub(
                r"(mem=|h_vmem=)(\d+)",
                lambda m: m.group(1) + _more(m.group(2), policy.memory_factor, cap),
                str(result["select"]),
            )
    return result


def _longer(clock: str, factor: float, max_hours: float) -> str:
    from ..hpc.resources import clock as as_clock

    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    return as_clock(min(factor * (hours + minutes / 60 + seconds / 3600), max_hours))


def _more(megabytes: str, factor: float, cap: float) -> str:
    return str(int(min(factor * int(megabytes), cap)))


def is_finished(folder: Path) -> bool:
    """Whether a job's folder holds the result of a run without an error."""
    from .records import job_output

    output = job_output(folder)
    return output is not None and output.get("error") is None
