"""What ``surfshift status`` shows: once, again and again, or as JSON."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType

    from .queue.folder import RunFolder
    from .queue.records import Snapshot
    from .study import StudyFile


UNATTENDED = (
    "No process looks after this run, and what is shown as running may have been cut off. "
    "'surfshift resume STUDY.yaml' goes on."
)


def show_status(
    console: Console, run: RunFolder, study: StudyFile, *, watch_seconds: float | None = None, as_json: bool = False
) -> None:
    """Print the state of a run; with ``watch_seconds`` a live view until no job runs, lines without a terminal.

    With ``as_json`` and watching, one object is printed at every look.
    """
    looks = _looks(run, watch_seconds)
    if as_json:
        from .cli_json import status_json

        for now, is_unattended in looks:
            print(status_json(now, _spent(study, now), is_unattended=is_unattended), flush=True)
    elif watch_seconds is None:
        for now, is_unattended in looks:
            console.print(_drawn(study, now, is_unattended=is_unattended))
    elif not console.is_terminal:
        for now, is_unattended in looks:
            _print_line(console, now, is_unattended=is_unattended)
    else:
        from rich.live import Live

        with Live(console=console, auto_refresh=False) as live:
            for now, is_unattended in looks:
                live.update(_drawn(study, now, is_unattended=is_unattended), refresh=True)


def _looks(run: RunFolder, watch_seconds: float | None) -> Iterator[tuple[Snapshot, bool]]:
    """The jobs, and whether some are left that no process looks after: once, or until no job runs."""
    from .queue.records import snapshot

    controller = run.controller()
    while True:
        has_runner = run.has_runner  # asked first: a runner that ends in between has ended its jobs
        now = snapshot(controller)
        yield now, now.is_active and not has_runner
        if watch_seconds is None or not now.is_active:
            return
        time.sleep(watch_seconds)


def _print_line(console: Console, now: Snapshot, *, is_unattended: bool) -> None:
    from .progress import summary

    line = f"{summary(now)}. {UNATTENDED}" if is_unattended else summary(now)
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _spent(study: StudyFile, now: Snapshot) -> str:
    from .hpc.spending import spending
    from .hpc.workers import cluster_of

    workers = cluster_of(study)
    return str(spending(now, workers.placement.limits if workers else None))


def _drawn(study: StudyFile, now: Snapshot, *, is_unattended: bool) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from .progress import clock, summary

    table = Table("job", "status", "time", "why it failed", box=None)
    is_cluster = study.run.hpc is not None
    for job in now.jobs:
        took = "" if job.seconds is None else clock(job.seconds)
        status = "in the scheduler's queue" if job.is_queued and is_cluster else job.status.value
        table.add_row(Text(job.name), status, took, Text(job.reason.splitlines()[0] if job.reason else ""))
    lines = [summary(now), _spent(study, now), *([UNATTENDED] if is_unattended else [])]
    return Group(table, *map(Text, lines))
