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
from collections import deque
from typing import TYPE_CHECKING, Any, NoReturn

from jobflow_remote.config.base import LogLevel
from jobflow_remote.jobs.runner import Runner
from jobflow_remote.jobs.state import JobState

from ...structures.errors import nearest
from ..hpc.errors import UnknownWorkerError
from .errors import ClusterSilentError, DiskFullError, InterruptedRunError
from .folder import PROJECT_NAME, RunFolder
from .processes import LocalProcesses, processes_in, stop_processes, threads_per_job
from .react import Reaction, react
from .records import JobStatus, JobWatch, Snapshot, is_disk_full
from .repair import LOCAL, Repairs, repair, retry_killed
from .scripts import PilotManager, QuotingQueueManager, without_stdin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobflow_remote.remote.queue import QueueManager

    from ..hpc.resources import Limits
    from ..hpc.workers import WorkersFile

POLL_SECONDS = 0.5
CLUSTER_POLL_SECONDS = 5.0
MAX_SILENT_POLLS = 60
MIN_FREE_BYTES = 64 * 2**20
"""Below this much free space a run stops, while the queue can still be written."""

CHECKOUT_PORTION = 50
"""Jobs that are prepared at once for a worker without a limit of its own; the rest waits for the next step."""

STEPS = (JobState.RUN_FINISHED, JobState.DOWNLOADED, JobState.CHECKED_OUT, JobState.UPLOADED)
PREPARED = (JobState.CHECKED_OUT, JobState.UPLOADED)


class StudyRunner(Runner):
    """jobflow-remote's runner, with jobs of the local worker as plain processes and without waiting times."""

    def __init__(self, run: RunFolder, *, parallel_jobs: int, workers: WorkersFile | None = None) -> None:
        run.use_project()
        super().__init__(PROJECT_NAME, log_level=LogLevel.INFO)
        log = logging.getLogger("jobflow_remote")
        for handler in list(log.handlers):
            if type(handler) is logging.StreamHandler:
                log.removeHandler(handler)
        for host in {id(host): host for host in self.hosts.values()}.values():
            without_stdin(host)
        for name, worker in self.workers.items():
            if worker.batch is not None:
                self.batch_workers[name] = PilotManager(self.hosts[name], worker.batch.jobs_handle_dir)
        self._python = workers.placement.python if workers else "python"
        self._polled = 0.0
        self._ready: dict[str, deque[dict[str, Any]]] = {}
        self._silent_polls = 0
        self._local = LocalProcesses(self.get_host("local"), run.jobs, n_threads=threads_per_job(parallel_jobs))

    def get_queue_manager(self, worker_name: str) -> QueueManager:
        """Processes for the local worker, schedulers with quoted scripts for others."""
        if worker_name == LOCAL:
            return self._local
        if worker_name not in self.queue_managers:
            scheduler, host = self.get_worker(worker_name).get_scheduler_io(), self.get_host(worker_name)
            self.queue_managers[worker_name] = QuotingQueueManager(scheduler, host, python=self._python)
        manager: QueueManager = self.queue_managers[worker_name]
        return manager

    def step(self) -> None:
        """Take in what has ended, start what can start; clusters are asked every few seconds only."""
        self.check_run_status({"worker": LOCAL})
        if len(self.workers) > 1 and time.monotonic() - self._polled > CLUSTER_POLL_SECONDS:
            self._polled = time.monotonic()
            self._ask_clusters()
        self._advance()
        self.refresh_num_current_jobs()
        self.checkout()
        self._advance()

    def _advance(self) -> None:
        """Move jobs on, one by one: to lock the first of many would read all of them for each."""
        for state in STEPS:
            for key in self._in_order({"state": state.value}):
                self.advance_state([state.value], filter=key)

    def _in_order(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        """Keys of the jobs that match a query, by priority and age."""
        found = self.job_controller.jobs.find(query, projection=["uuid", "index", "priority", "created_on"])
        in_order = sorted(found, key=lambda d: (-d["priority"], d["created_on"]))
        return [{"uuid": d["uuid"], "index": d["index"]} for d in in_order]

    def checkout(self) -> None:
        """Check out as many jobs as can start soon, so that steps stay short however many are ready."""
        jobs = self.job_controller.jobs
        for worker in self.workers:
            places = CHECKOUT_PORTION
            if limit := self.limited_workers.get(worker):
                prepared = {"state": {"$in": [state.value for state in PREPARED]}, "worker": worker}
                places = limit["max"] - limit["current"] - jobs.count_documents(prepared)
            for _ in range(places):
                if (key := self._next_ready(worker)) is None:
                    break
                self.job_controller.checkout_job(key)
        if not any(self._ready.values()):
            self._refuse_unknown_workers()

    def _refuse_unknown_workers(self) -> None:
        """Stop if jobs wait for a worker that there is not, as after a change of the workers' file.

        Raises
        ------
        UnknownWorkerError
            With the jobs' workers and those that there are.
        """
        query = {"state": JobState.READY.value, "worker": {"$nin": list(self.workers)}}
        named = {document["worker"] for document in self.job_controller.jobs.find(query, projection=["worker"])}
        if named:
            first = min(named)
            raise UnknownWorkerError(
                f"jobs of this run wait for the worker {first!r}, which there is not; {nearest(first, self.workers)}. "
                "Give it back its name in the workers' file, then go on with 'surfshift resume'"
            )

    def _next_ready(self, worker: str) -> dict[str, Any] | None:
        """Key of the next job that is ready for a worker; those that become ready meanwhile come after it."""
        ready = self._ready.setdefault(worker, deque())
        if not ready:
            ready.extend(self._in_order({"state": JobState.READY.value, "worker": worker}))
        return ready.popleft() if ready else None

    def _ask_clusters(self) -> None:
        """Take in what clusters tell; one that does not answer for a moment is asked again at the next poll.

        Raises
        ------
        ClusterSilentError
            After ``MAX_SILENT_POLLS`` polls in a row without an answer.
        OSError
            If the disk of this machine is full.
        """
        try:
            self.check_run_status({"worker": {"$ne": LOCAL}})
            if self.batch_workers:
                self.update_batch_jobs()
        except Exception as error:
            if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise
            logging.getLogger("jobflow_remote").warning("a cluster did not answer", exc_info=True)
            self._silent_polls += 1
            if self._silent_polls >= MAX_SILENT_POLLS:
                raise ClusterSilentError(
                    f"a cluster did not answer {self._silent_polls} times in a row ({error}); its jobs go on. Look "
                    "with 'surfshift hpc check', then go on with 'surfshift resume'"
                ) from error
        else:
            self._silent_polls = 0

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
    workers: WorkersFile | None = None,
    on_failure: Callable[[Reaction], None] = lambda _: None,
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
    workers
        Workers of a cluster, beside this machine.
    on_failure
        Called with what was done about each job that failed on a cluster.

    Raises
    ------
    AlreadyRunningError
        If another process runs the jobs of this folder.
    DiskFullError
        If no space is left; what is finished is kept.
    InterruptedRunError
        After Ctrl-C or a polite kill; the jobs of this machine are stopped, those of a cluster go on, and what is
        finished is kept.
    """
    with run.only_runner(), _full_disk_named(run), _signals_raise():
        run.write_project(parallel_jobs=parallel_jobs, workers=workers)
        with _warnings_into_log():
            runner = StudyRunner(run, parallel_jobs=parallel_jobs, workers=workers)
            try:
                on_repair(repair(run, runner.job_controller, retry_failed=retry_failed))
                limits = workers.placement.limits if workers else None
                return _loop(run, runner, on_change, on_failure, limits)
            except BaseException:
                stop_processes(process for found in processes_in(run.jobs).values() for process in found)
                raise
            finally:
                runner.cleanup()


def _loop(
    run: RunFolder,
    runner: StudyRunner,
    on_change: Callable[[Snapshot], None],
    on_failure: Callable[[Reaction], None],
    limits: Limits | None,
) -> Snapshot:
    watch = JobWatch(runner.job_controller)
    while True:
        if shutil.disk_usage(run.path).free < MIN_FREE_BYTES:
            _refuse_full_disk(run, None)
        runner.step()
        retry_killed(run, runner.job_controller)
        if len(runner.workers) > 1:
            for reaction in react(runner, limits):
                on_failure(reaction)
        now = watch.snapshot()
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
