"""Run the jobs of a folder in the foreground until none is left."""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import signal
import sqlite3
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

from jobflow_remote.config.base import LogLevel
from jobflow_remote.jobs.runner import Runner
from jobflow_remote.jobs.state import JobState

from .errors import DiskFullError, InterruptedRunError
from .folder import PROJECT_NAME, RunFolder
from .processes import LocalProcesses, processes_in, stop_processes, threads_per_job
from .records import JobStatus, Snapshot, is_disk_full, snapshot
from .repair import Repairs, repair, retry_killed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobflow_remote.remote.queue import QueueManager

POLL_SECONDS = 0.5
MIN_FREE_BYTES = 64 * 2**20
"""Below this much free space a run stops, while the queue can still be written."""

STEPS = [state.value for state in (JobState.CHECKED_OUT, JobState.UPLOADED, JobState.RUN_FINISHED, JobState.DOWNLOADED)]


class StudyRunner(Runner):
    """jobflow-remote's runner, with jobs of the local worker as plain processes and without waiting times."""

    def __init__(self, run: RunFolder, *, parallel_jobs: int) -> None:
        run.use_project()
        super().__init__(PROJECT_NAME, log_level=LogLevel.INFO)
        log = logging.getLogger("jobflow_remote")
        for handler in list(log.handlers):
            if type(handler) is logging.StreamHandler:
                log.removeHandler(handler)
        self._local = LocalProcesses(self.get_host("local"), run.jobs, n_threads=threads_per_job(parallel_jobs))

    def get_queue_manager(self, worker_name: str) -> QueueManager:
        """Processes for the local worker, jobflow-remote's own managers for others."""
        return self._local if worker_name == "local" else super().get_queue_manager(worker_name)

    def step(self) -> None:
        """Take in what has ended, start what can start."""
        self.check_run_status()
        self.advance_state(STEPS)
        self.checkout()
        self.refresh_num_current_jobs()
        self.advance_state(STEPS)

    def cleanup(self) -> None:
        """Close stores and the log file."""
        super().cleanup()
        log = logging.getLogger("jobflow_remote")
        for handler in list(log.handlers):
            log.removeHandler(handler)
            handler.close()


def run_jobs(
    run: RunFolder,
    *,
    parallel_jobs: int,
    on_change: Callable[[Snapshot], None] = lambda _: None,
    on_repair: Callable[[Repairs], None] = lambda _: None,
    retry_failed: bool = False,
) -> Snapshot:
    """Run every job that can run, whatever state the queue was left in; a failed job stops no other.

    Parameters
    ----------
    run
        A folder into which a flow was submitted.
    parallel_jobs
        Jobs side by side.
    on_change
        Called with the state of all jobs about twice a second.
    on_repair
        Called once with what had to be put in order.
    retry_failed
        Also start failed jobs again.

    Raises
    ------
    AlreadyRunningError
        If another process runs the jobs of this folder.
    DiskFullError
        If no space is left; what is finished is kept.
    InterruptedRunError
        After Ctrl-C or a polite kill; the running jobs are stopped, what is finished is kept.
    """
    with run.only_runner(), _full_disk_named(run), _signals_raise():
        run.write_project(parallel_jobs=parallel_jobs)
        with _warnings_into_log():
            runner = StudyRunner(run, parallel_jobs=parallel_jobs)
            try:
                on_repair(repair(run, runner.job_controller, retry_failed=retry_failed))
                return _loop(run, runner, on_change)
            except BaseException:
                stop_processes(process for found in processes_in(run.jobs).values() for process in found)
                raise
            finally:
                runner.cleanup()


def _loop(run: RunFolder, runner: StudyRunner, on_change: Callable[[Snapshot], None]) -> Snapshot:
    while True:
        if shutil.disk_usage(run.path).free < MIN_FREE_BYTES:
            _refuse_full_disk(run, None)
        runner.step()
        retry_killed(run, runner.job_controller)
        now = snapshot(runner.job_controller)
        on_change(now)
        if any(is_disk_full(job.reason) for job in now.of(JobStatus.FAILED)):
            _refuse_full_disk(run, None)
        if not now.is_active:
            return now
        time.sleep(POLL_SECONDS)


def _refuse_full_disk(run: RunFolder, cause: BaseException | None) -> NoReturn:
    raise DiskFullError(
        f"the disk of {run.path} is full; finished work is kept. Free some space, then go on with 'surfshift resume'"
    ) from cause


@contextlib.contextmanager
def _full_disk_named(run: RunFolder) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            _refuse_full_disk(run, error)
        raise
    except sqlite3.OperationalError as error:
        if is_disk_full(str(error)):
            _refuse_full_disk(run, error)
        raise


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into an error that stops the jobs on its way out."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _: Any) -> None:
        raise InterruptedRunError(
            f"stopped by {signal.Signals(number).name}; finished work is kept. Go on with 'surfshift resume'"
        )

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _warnings_into_log() -> Iterator[None]:
    """jobflow-remote warns of every step that it repeats; that belongs into its log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
