"""What the queue knows about its jobs, in the words of a user."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ...structures.vocabulary import Frozen

if TYPE_CHECKING:
    from pathlib import Path

    from jobflow_remote import JobController

JOB_OUTPUT = "jfremote_out.json"
JOB_STORE = "remote_job_data.json"
DISK_FULL_SIGNS = ("No space left on device", "disk is full", "Disk quota exceeded")


class JobStatus(StrEnum):
    """How far a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


STATUS_OF_STATE = {
    "SUBMITTED": JobStatus.RUNNING,
    "RUNNING": JobStatus.RUNNING,
    "RUN_FINISHED": JobStatus.RUNNING,
    "DOWNLOADED": JobStatus.RUNNING,
    "BATCH_SUBMITTED": JobStatus.RUNNING,
    "BATCH_RUNNING": JobStatus.RUNNING,
    "COMPLETED": JobStatus.DONE,
    "FAILED": JobStatus.FAILED,
    "REMOTE_ERROR": JobStatus.FAILED,
    "STOPPED": JobStatus.FAILED,
    "USER_STOPPED": JobStatus.FAILED,
}
"""jobflow-remote's states; all others are waiting for a parent or for a free place."""

QUEUED_STATES = ("SUBMITTED", "BATCH_SUBMITTED")
"""States of jobs that a scheduler or a pilot job has and has not begun."""

ACTIVE_STATES = (
    "READY",
    "CHECKED_OUT",
    "UPLOADED",
    "SUBMITTED",
    "RUNNING",
    "RUN_FINISHED",
    "DOWNLOADED",
    "BATCH_SUBMITTED",
    "BATCH_RUNNING",
)
"""States that the runner can move on from."""


class JobRecord(Frozen):
    """One job of a run. Times are seconds since 1970; ``reason`` is why it failed, ``resources`` what it asked for.

    A job that put others in its place shares its ``uuid`` with the last of them, which has the next ``index``.
    ``is_queued`` says that a scheduler, or a pilot job, has it and has not begun.
    """

    uuid: str
    name: str
    status: JobStatus
    index: int = 1
    started: float | None = None
    ended: float | None = None
    reason: str = ""
    resources: dict[str, Any] | None = None
    is_queued: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """What tells the job from all others."""
        return self.uuid, self.index

    @property
    def seconds(self) -> float | None:
        """Wall time of a finished job."""
        return None if self.started is None or self.ended is None else self.ended - self.started


class Snapshot(Frozen):
    """All jobs of a run at one moment, in the order in which they were submitted."""

    jobs: tuple[JobRecord, ...]
    is_active: bool

    def count(self, status: JobStatus) -> int:
        """Number of jobs of a status."""
        return sum(job.status is status for job in self.jobs)

    def of(self, status: JobStatus) -> tuple[JobRecord, ...]:
        """Jobs of a status."""
        return tuple(job for job in self.jobs if job.status is status)

    @property
    def blocked(self) -> tuple[JobRecord, ...]:
        """Jobs that cannot start any more, because one before them failed."""
        return () if self.is_active else self.of(JobStatus.WAITING)


def last_message(error: str) -> str:
    """The message at the end of a traceback, without the name of the exception's module."""
    lines = error.strip().splitlines()
    named = r"^[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit|Warning)(: |$)"  # the message may hold a program's output
    starts = [k for k, line in enumerate(lines) if re.match(named, line)]
    starts = starts or [k for k, line in enumerate(lines) if re.match(r"^[A-Za-z_][\w.]*(: |$)", line)]
    text = "\n".join(lines[starts[-1] :]) if starts else error.strip()
    return re.sub(r"^(?:[A-Za-z_]\w*\.)+(?=\w+(?:: |$))", "", text)


def _timestamp(value: datetime | None) -> float | None:
    return None if value is None else value.replace(tzinfo=UTC).timestamp()


def snapshot(controller: JobController) -> Snapshot:
    """All jobs of the queue as they are now."""
    fields = [
        "uuid",
        "index",
        "job.name",
        "db_id",
        "state",
        "start_time",
        "end_time",
        "error",
        "remote.error",
        "resources",
    ]
    documents = sorted(controller.jobs.find({}, projection=fields), key=lambda d: int(d["db_id"]))
    return Snapshot(
        jobs=tuple(_record(document) for document in documents),
        is_active=any(document["state"] in ACTIVE_STATES for document in documents),
    )


class JobWatch:
    """All jobs of a queue, of which only those that changed are read again.

    A store that cannot tell what changed, such as a MongoDB server, is read whole each time.
    """

    def __init__(self, controller: JobController) -> None:
        from .changes import Changes, PickyCollection

        self._controller = controller
        self._changes = Changes(controller.jobs) if isinstance(controller.jobs, PickyCollection) else None
        self._known: dict[Any, tuple[int, JobRecord, bool]] = {}

    def snapshot(self) -> Snapshot:
        """All jobs as they are now."""
        if self._changes is None:
            return snapshot(self._controller)
        changed, is_all = self._changes.take()
        if is_all:
            self._known.clear()
        for key, document in changed.items():
            if document is None:
                self._known.pop(key, None)
            else:
                self._known[key] = (int(document["db_id"]), _record(document), document["state"] in ACTIVE_STATES)
        known = sorted(self._known.values(), key=lambda entry: entry[0])
        return Snapshot(
            jobs=tuple(record for _, record, _ in known), is_active=any(is_active for _, _, is_active in known)
        )


def _record(document: dict[str, Any]) -> JobRecord:
    status = STATUS_OF_STATE.get(document["state"], JobStatus.WAITING)
    error = (document.get("error") or document["remote"].get("error") or "") if status is JobStatus.FAILED else ""
    return JobRecord(
        uuid=document["uuid"],
        index=int(document["index"]),
        name=document["job"]["name"],
        status=status,
        started=_timestamp(document.get("start_time")),
        ended=_timestamp(document.get("end_time")),
        reason=last_message(error) if error else "",
        is_queued=document["state"] in QUEUED_STATES,
        resources=document.get("resources") if isinstance(document.get("resources"), dict) else None,
    )


def job_output(folder: Path) -> dict[str, Any] | None:
    """What a job wrote when it ended, with or without error; None if it was killed before or has not ended."""
    try:
        output: dict[str, Any] = json.loads((folder / JOB_OUTPUT).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(output, dict) or "end_time" not in output:
        return None
    if output.get("error") is None and not (folder / JOB_STORE).is_file():
        return None
    return output


def is_disk_full(error: str) -> bool:
    """Whether an error text says that a disk is full."""
    return any(sign in error for sign in DISK_FULL_SIGNS)
