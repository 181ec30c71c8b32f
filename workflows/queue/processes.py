"""Jobs as processes of this machine: start, watch, stop.

A job's process has the job's folder as its working directory. That tells which process belongs to
which job even when the runner that started it is gone, and a process number that the system has
given to another program is never mistaken for a job.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from jobflow_remote.remote.queue import QueueManager
from qtoolkit.core.data_objects import QJob, QState, SubmissionResult, SubmissionStatus
from qtoolkit.io.shell import ShellIO

if TYPE_CHECKING:
    from collections.abc import Iterable

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def threads_per_job(parallel_jobs: int) -> int:
    """Threads each job may use when this many run side by side."""
    return max(1, (os.cpu_count() or 1) // parallel_jobs)


def processes_in(folder: Path) -> dict[Path, list[psutil.Process]]:
    """Live processes whose working directory is a folder or lies in it, by working directory."""
    found: dict[Path, list[psutil.Process]] = {}
    root = folder.resolve()
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            cwd = process.cwd()
        except (psutil.Error, OSError):
            continue
        if cwd and Path(cwd).is_relative_to(root):
            found.setdefault(Path(cwd), []).append(process)
    return found


def stop_processes(processes: Iterable[psutil.Process], grace_seconds: float = 3.0) -> int:
    """End processes, first politely, then by force; returns how many there were."""
    targets = list(processes)
    for process in targets:
        _signal(process, force=False)
    _, alive = psutil.wait_procs(targets, timeout=grace_seconds)
    for process in alive:
        _signal(process, force=True)
    psutil.wait_procs(alive, timeout=grace_seconds)
    return len(targets)


def _signal(process: psutil.Process, *, force: bool) -> None:
    try:
        if force:
            process.kill()
        else:
            process.terminate()
    except psutil.NoSuchProcess:
        return


class LocalProcesses(QueueManager):
    """Starts jobs directly as processes, without a shell, so that any folder name works.

    Parameters
    ----------
    host
        jobflow-remote's local host.
    jobs_folder
        Folder that holds the folders of all jobs.
    n_threads
        Threads each job may use.
    """

    def __init__(self, host: Any, jobs_folder: Path, *, n_threads: int) -> None:
        super().__init__(ShellIO(), host)
        self._jobs_folder = jobs_folder
        self._n_threads = n_threads
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def submit(self, *_: Any, work_dir: str | Path | None = None, **__: Any) -> SubmissionResult:
        """Start the job of a folder; its output goes to ``queue.out`` and ``queue.err`` there."""
        if work_dir is None:
            raise ValueError("a job needs its folder")
        folder = Path(work_dir)
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(self._n_threads))
        if paths := os.environ.get("PYTHONPATH"):
            environment["PYTHONPATH"] = os.pathsep.join(str(Path(p).resolve()) for p in paths.split(os.pathsep) if p)
        with (folder / "queue.out").open("wb") as out, (folder / "queue.err").open("wb") as err:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "surfshift.workflows.queue.execute", str(folder)],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._children[str(child.pid)] = child
        return SubmissionResult(
            job_id=str(child.pid), exit_code=0, stdout="", stderr="", status=SubmissionStatus("SUCCESSFUL")
        )

    def get_jobs_list(self, jobs: Any = None, user: str | None = None, timeout: int | None = None) -> list[QJob]:
        """The given jobs that still run, started here or by a runner before."""
        del user, timeout
        running = []
        adopted = None
        for job in map(str, jobs or ()):
            if job in self._children:
                alive = self._children[job].poll() is None
                if not alive:
                    del self._children[job]
            else:
                if adopted is None:
                    adopted = {str(p.pid) for found in processes_in(self._jobs_folder).values() for p in found}
                alive = job in adopted
            if alive:
                running.append(QJob(job_id=job, state=QState("RUNNING")))
        return running
