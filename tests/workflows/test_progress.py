"""What a run tells while it goes on."""

from __future__ import annotations

import io

from rich.console import Console
from surfshift.workflows.progress import Progress
from surfshift.workflows.queue.records import JobRecord, JobStatus, Snapshot


def test_a_job_that_put_another_in_its_place_is_told_once() -> None:
    """Both have one uuid; the first is done while the second waits, runs and ends."""
    plan = JobRecord(uuid="a", name="plan", status=JobStatus.DONE, started=0.0, ended=1.0)
    out = io.StringIO()
    with Progress(Console(file=out, width=200), "study") as progress:
        for before in (JobStatus.RUNNING, JobStatus.DONE):
            progress.update(Snapshot(jobs=(plan.model_copy(update={"status": before}),), is_active=True))
        for status in (JobStatus.WAITING, JobStatus.WAITING, JobStatus.RUNNING, JobStatus.DONE, JobStatus.DONE):
            last = JobRecord(uuid="a", index=2, name="average", status=status)
            progress.update(Snapshot(jobs=(plan, last), is_active=True))
    told = out.getvalue()
    assert [told.count(f"{word} {name}") for word in ("started ", "done    ") for name in ("plan", "average")] == [
        1
    ] * 4
