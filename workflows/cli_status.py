"""What ``surfshift status`` shows: once, again and again, or as JSON."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    from .cli_json import status_json
    from .queue.records import snapshot

    controller = run.controller()

    def look() -> tuple[Snapshot, bool]:
        has_runner = run.has_runner  # asked first: a runner that ends in between has ended its jobs
        now = snapshot(controller)
        return now, now.is_active and not has_runner

    now, is_unattended = look()
    if as_json:
        print(status_json(now, _spent(study, now), is_unattended=is_unattended), flush=True)
        while watch_seconds is not None and now.is_active:
            time.sleep(watch_seconds)
            now, is_unattended = look()
            print(status_json(now, _spent(study, now), is_unattended=is_unattended), flush=True)
        return
    if watch_seconds is None:
        console.print(_drawn(study, now, is_unattended=is_unattended))
        return
    if not console.is_terminal:
        _print_line(console, now, is_unattended=is_unattended)
        while now.is_active:
            time.sleep(watch_seconds)
            now, is_unattended = look()
            _print_line(console, now, is_unattended=is_unattended)
        return
    from rich.live import Live

    with Live(_drawn(study, now, is_unattended=is_unattended), console=console, auto_refresh=False) as live:
        while now.is_active:
            time.sleep(watch_seconds)
            now, is_unattended = look()
            live.update(_drawn(study, now, is_unattended=is_unattended), refresh=True)


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
