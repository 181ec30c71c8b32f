"""How fast the embedded queue takes in and finishes trivial jobs, and how both grow.

``python benchmarks/queue_throughput.py 500 2000``; jobs are finished in the runner's own process, so that the figures
are those of the queue and not of starting Python.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from jobflow import Flow, Response, job
from jobflow_remote.remote.queue import QueueManager
from monty.serialization import dumpfn
from qtoolkit.core.data_objects import SubmissionResult, SubmissionStatus
from surfshift.workflows.queue.folder import RunFolder
from surfshift.workflows.queue.records import snapshot
from surfshift.workflows.queue.runner import StudyRunner


@job
def nothing(number: int) -> int:
    """Return a number."""
    return number


class Instant(QueueManager):
    """Writes a job's result at once, in the form in which a job's process writes it."""

    def __init__(self) -> None:
        self.scheduler_io = self.host = self.timeout_exec = None

    def submit(self, *_: Any, work_dir: Any = None, **__: Any) -> SubmissionResult:
        """Finish a job."""
        folder = Path(work_dir)
        data = json.loads((folder / "jfremote_in.json").read_bytes())
        now = datetime.now(UTC)
        uuid = data["job"]["uuid"]
        result = {"response": Response(), "error": None, "start_time": now, "end_time": now}
        dumpfn(result, folder / "jfremote_out.json")
        output = [{"uuid": uuid, "index": 1, "output": 1, "metadata": {}, "hosts": [], "name": "nothing"}]
        (folder / "remote_job_data.json").write_text(json.dumps(output))
        return SubmissionResult(job_id=uuid, exit_code=0, stdout="", stderr="", status=SubmissionStatus("SUCCESSFUL"))

    def get_jobs_list(self, *_: Any, **__: Any) -> list[Any]:
        """No job runs any more."""
        return []


def measure(n_jobs: int) -> None:
    """Submit and finish trivial jobs, and print what it took."""
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder) / "run")
        run.write_project(parallel_jobs=64)
        started = time.process_time()
        run.submit(Flow([nothing(k) for k in range(n_jobs)]), {"study": "x"})
        submitted = time.process_time() - started
        runner = StudyRunner(run, parallel_jobs=64)
        runner._local = Instant()
        done = 0
        started = time.process_time()
        while done < n_jobs:
            runner.step()
            done = sum(record.status.value == "done" for record in snapshot(runner.job_controller).jobs)
        finished = time.process_time() - started
        runner.cleanup()
        memory = process.memory_info().rss / 1e6
        disk = sum(file.stat().st_size for file in run.queue.rglob("*") if file.is_file()) / 1e6
        print(
            f"| {n_jobs} | {submitted:.1f} | {n_jobs / submitted:.0f} | {finished:.1f} | {n_jobs / finished:.1f} "
            f"| {memory:.0f} | {disk:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    print("| jobs | submission, cpu s | jobs/s | processing, cpu s | jobs/s | memory, MB | disk, MB |")
    print("|---|---|---|---|---|---|---|")
    for word in sys.argv[1:] or ["500"]:
        measure(int(word))
