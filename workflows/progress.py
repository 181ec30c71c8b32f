"""What a run is doing: a live table on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from .queue.records import JobRecord, JobStatus, Snapshot

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from .queue.react import Reaction
    from .queue.repair import Repairs

MAX_LISTED = 6


def clock(seconds: float) -> str:
    """Seconds as ``12 s``, ``3 min 05 s`` or ``2 h 07 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def summary(snapshot: Snapshot) -> str:
    """Counts of a run in one line."""
    words = [f"{snapshot.count(JobStatus.DONE)} done", f"{snapshot.count(JobStatus.RUNNING)} running"]
    words.append(f"{snapshot.count(JobStatus.WAITING) - len(snapshot.blocked)} left")
    if failed := snapshot.count(JobStatus.FAILED):
        words.append(f"{failed} failed")
    if snapshot.blocked:
        words.append(f"{len(snapshot.blocked)} cannot start")
    return ", ".join(words)


class Progress:
    """Shows a run while it goes on; used as a context manager."""

    def __init__(self, console: Console, study: str) -> None:
        self._console = console
        self._study = study
        self._begun = time.time()
        self._known: dict[tuple[str, int], JobStatus] = {}
        self._first_seen: dict[tuple[str, int], float] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(console=self._console, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def repaired(self, repairs: Repairs) -> None:
        """Say what an earlier run left behind."""
        for word, names in (
            ("still running, waiting for it", repairs.adopted),
            ("had finished, taken in", repairs.finished),
            ("was cut off, starts again", repairs.reset),
        ):
            for name in names:
                self._line(f"{word}: {name}")

    def failed(self, reaction: Reaction) -> None:
        """Say what was done about a job that failed on a cluster."""
        word = "again   " if reaction.runs_again else "given up"
        self._line(f"{word} {reaction.job}: {reaction.message.splitlines()[0]}")

    def update(self, snapshot: Snapshot) -> None:
        """Show a new state."""
        for job in snapshot.jobs:
            if job.status is JobStatus.RUNNING:
                self._first_seen.setdefault(job.key, time.time())
            if self._known.get(job.key) is not job.status:
                first = not self._known or job.key not in self._known
                self._known[job.key] = job.status
                self._changed(job, snapshot, first_look=first)
        if self._live is not None:
            self._live.update(self._table(snapshot))

    def _changed(self, job: JobRecord, snapshot: Snapshot, *, first_look: bool) -> None:
        if job.status is JobStatus.DONE and not (first_look and job.key not in self._first_seen):
            took = f" ({clock(job.seconds)})" if job.seconds is not None else ""
            self._line(f"done     {job.name}{took}  [{summary(snapshot)}]")
        elif job.status is JobStatus.FAILED:
            self._line(f"failed   {job.name}: {job.reason.splitlines()[0] if job.reason else 'no reason given'}")
        elif job.status is JobStatus.RUNNING and self._live is None:
            self._line(f"started  {job.name}")

    def _line(self, text: str) -> None:
        self._console.print(
            f"{clock(time.time() - self._begun):>12}  {text}", markup=False, highlight=False, soft_wrap=True
        )

    def _table(self, snapshot: Snapshot) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for job in snapshot.of(JobStatus.RUNNING):
            elapsed = time.time() - self._first_seen.get(job.key, time.time())
            table.add_row("submitted" if job.is_queued else "running", Text(job.name), clock(elapsed))
        waiting = snapshot.of(JobStatus.WAITING)
        for job in waiting[:MAX_LISTED]:
            table.add_row("left", Text(job.name, style="dim"), "")
        if len(waiting) > MAX_LISTED:
            table.add_row("", Text(f"and {len(waiting) - MAX_LISTED} more", style="dim"), "")
        done = snapshot.count(JobStatus.DONE) + snapshot.count(JobStatus.FAILED)
        head = Text(f"{self._study}: {summary(snapshot)}, {clock(time.time() - self._begun)}", style="bold")
        return Group(head, ProgressBar(total=max(1, len(snapshot.jobs)), completed=done, width=60), table)
