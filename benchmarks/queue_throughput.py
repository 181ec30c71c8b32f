"""How fast the embedded queue takes in and finishes trivial jobs, and how both grow.

``python benchmarks/queue_throughput.py 500 2000``; jobs are finished in the runner's own process, so that the figures
are those of the queue and not of starting Python. They are submitted as a study is: in flows of some jobs
(``--flow 20``; a larger number than that of the jobs makes one flow of them all).
"""

from __future__ import annotations

import argparse
import json
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
from surfshift.workflows.queue.records import JobStatus, JobWatch
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


def measure(n_jobs: int, per_flow: int) -> None:
    """Submit and finish trivial jobs, and print what it took."""
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder) / "run")
        run.write_project(parallel_jobs=64)
        started = time.process_time()
        numbers = range(n_jobs)
        flows = [Flow([nothing(k) for k in numbers[start : start + per_flow]]) for start in range(0, n_jobs, per_flow)]
        run.submit(flows, {"study": "x"})
        submitted = time.process_time() - started
        runner = StudyRunner(run, parallel_jobs=64)
        runner._local = Instant()
        done = 0
        watch = JobWatch(runner.job_controller)
        started = time.process_time()
        while done < n_jobs:
            runner.step()
            done = watch.snapshot().count(JobStatus.DONE)
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("numbers", type=int, nargs="*", default=[500])
    parser.add_argument("--flow", type=int, default=20)
    arguments = parser.parse_args()
    print("| jobs | submission, cpu s | jobs/s | processing, cpu s | jobs/s | memory, MB | disk, MB |")
    print("|---|---|---|---|---|---|---|")
    for number in arguments.numbers:
        measure(number, arguments.flow)
