"""A study of 60 jobs through a real Slurm, SSH and this machine, with everything broken on purpose meanwhile.

``python benchmarks/reliability.py --jobs 60`` as root, on a machine with Slurm, munge and an SSH server (Debian). The
run's folder and the far worker's folder are small disks in memory, so that they can be filled. Every job appends a
line to a file of its own when it starts and when it ends; from these it is counted what ran how often.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jobflow import Flow
from surfshift.workflows.hpc.resources import Request
from surfshift.workflows.hpc.templates import render
from surfshift.workflows.hpc.workers import StepSettings, WorkersFile, load_workers
from surfshift.workflows.queue.folder import RunFolder
from surfshift.workflows.queue.processes import processes_in, stop_processes
from surfshift.workflows.queue.records import JobStatus, snapshot
from surfshift.workflows.queue.store import close_clients

if TYPE_CHECKING:
    from collections.abc import Callable

JOBS = '''
import os, time
from pathlib import Path
from jobflow import job

def say(folder, number, word):
    descriptor = os.open(Path(folder, f"{number:03d}"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{word}\\n".encode())
    os.close(descriptor)

@job
def work(folder, number, seconds, slow_first=0.0):
    """Say so, take some time, write some data, say so."""
    say(folder, number, "start")
    left = Path("left")
    if slow_first and not left.exists():
        left.touch()
        time.sleep(slow_first)
    time.sleep(seconds)
    with open("data", "wb") as file:
        file.write(bytes(300_000))
    say(folder, number, "end")
    return {"number": number, "square": number**2}
'''

RUNNER = """
import json, os, signal, sys
from pathlib import Path
from surfshift.workflows.hpc.workers import load_workers
from surfshift.workflows.queue import runner, store
from surfshift.workflows.queue.folder import RunFolder

folder, workers, log, kill_at = Path(sys.argv[1]), load_workers(Path(sys.argv[2])), sys.argv[3], int(sys.argv[4])
runner.CLUSTER_POLL_SECONDS = 1.0
writes = 0

def dying(name):
    plain = getattr(store.LockedCollection, name)
    def call(self, *arguments, **options):
        global writes
        writes += 1
        result = plain(self, *arguments, **options)
        if writes == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

if kill_at:
    for name in ("update_one", "insert_many", "find_one_and_update"):
        setattr(store.LockedCollection, name, dying(name))

def note(kind, **what):
    with open(log, "a") as file:
        file.write(json.dumps({"kind": kind, **what}) + "\\n")

runner.run_jobs(
    RunFolder(folder), parallel_jobs=2, workers=workers, retry_failed=len(sys.argv) > 5,
    on_failure=lambda r: note("failure", job=r.job, failure=r.failure.value, again=r.runs_again),
    on_repair=lambda r: note("repair", adopted=len(r.adopted), finished=len(r.finished), reset=len(r.reset)),
)
"""


def helpers() -> Any:
    """What the tests start a private Slurm and SSH server with."""
    file = Path(__file__).resolve().parents[1] / "tests" / "workflows" / "hpc" / "conftest.py"
    spec = importlib.util.spec_from_file_location("private_slurm", file)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{file} is missing")
    module = importlib.util.module_from_spec(spec)
    sys.modules["private_slurm"] = module
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Any:
    """A disk in memory that can be filled."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        stop_processes(process for found in processes_in(folder).values() for process in found)
        subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(folder: Path, keep_bytes: int) -> Path:
    """Fill a disk up to some bytes; returns the file that does."""
    file = folder / "filling"
    with file.open("wb") as written:
        left = shutil.disk_usage(folder).free - keep_bytes
        with contextlib.suppress(OSError):
            while left > 0:
                left -= written.write(bytes(min(left, 2**20)))
                written.flush()
    return file


class Study:
    """The jobs, where they run, and what became of them."""

    def __init__(self, base: Path, slurm: Any, login: Any, n_jobs: int, seed: int) -> None:
        self.base, self.slurm, self.n_jobs = base, slurm, n_jobs
        self.random = random.Random(seed)
        self.told, self.log = base / "told", base / "log.jsonl"
        self.told.mkdir()
        code = base / "code"
        code.mkdir()
        (code / "reliability_jobs.py").write_text(JOBS)
        sys.path.insert(0, str(code))
        paths = os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])])
        os.environ |= {"PYTHONPATH": paths, "SLURM_CONF": slurm.environment["SLURM_CONF"]}
        (base / "setup.sh").write_text(f"export PYTHONPATH='{paths}'\n")
        self.workers = self._workers(login)
        self.run = RunFolder(base / "disk" / "run")
        self.submit()

    def _workers(self, login: Any) -> WorkersFile:
        shared = {
            "python": sys.executable,
            "setup": str(self.base / "setup.sh"),
            "cores_per_node": "4",
            "memory_gb_per_node": "4",
            "pilot_jobs": "1",
            "pilot_hours": "0.1",
            "max_hours": "0.2",
            "launch": "",
        }
        data = yaml.safe_load(render("slurm", {**shared, "name": "near", "work_dir": str(self.base / "near")}))
        over_ssh = {"host": "127.0.0.1", "port": str(login.port), "user": "root", "key_file": str(login.key)}
        far_disk = {"name": "far", "work_dir": str(self.base / "far" / "work")}
        data["workers"] |= yaml.safe_load(render("slurm", {**shared, **over_ssh, **far_disk}))["workers"]
        data["workers"]["near-pilot"]["batch"]["max_wait"] = 5
        (self.base / "workers.yaml").write_text(yaml.safe_dump(data))
        return load_workers(self.base / "workers.yaml")

    def submit(self) -> None:
        """Spread the jobs over the workers; two of them run into their time limit at first."""
        reliability_jobs = importlib.import_module("reliability_jobs")

        places = ["near", "far", "near-pilot", "local", "near-pilot", "far"]
        flows = []
        for number in range(self.n_jobs):
            worker = "near" if number in {0, 6} else places[number % len(places)]
            slow = 600.0 if number in {0, 6} else 0.0
            made = reliability_jobs.work(str(self.told), number, self.random.uniform(0.2, 3.0), slow)
            made.name = f"job {number}"
            if worker == "local":
                made.config.manager_config.update({"worker": "local"})
            else:
                steps = {"nmr": StepSettings(worker=worker)}
                placement = self.workers.placement.model_copy(update={"steps": steps})
                placed = self.workers.model_copy(update={"placement": placement})
                request = Request(cores=1, memory_gb=0.6, hours=1 / 60 if slow else 0.1)
                made.config.manager_config.update(placed.run_config("nmr", request))
            flows.append(Flow([made]))
        self.run.write_project(parallel_jobs=2, workers=self.workers)
        self.run.submit(flows, {"study": "reliability"})
        close_clients(self.run.queue)

    def start_runner(self, *, kill_at_write: int = 0, retry_failed: bool = False) -> subprocess.Popen[bytes]:
        """A runner as ``surfshift resume`` starts it; it may kill itself after so many writes to the queue."""
        words = [str(self.run.path), str(self.base / "workers.yaml"), str(self.log), str(kill_at_write)]
        words += ["retry"] if retry_failed else []
        with (self.base / "runner.out").open("ab") as out:
            return subprocess.Popen([sys.executable, "-c", RUNNER, *words], stdout=out, stderr=out)

    def lines(self) -> dict[int, Counter[str]]:
        """How often each job said that it starts and ends."""
        return {int(file.name): Counter(file.read_text().split()) for file in sorted(self.told.glob("[0-9]*"))}

    def n_ended(self) -> int:
        """Number of jobs that ended."""
        return sum(words["end"] > 0 for words in self.lines().values())

    def kill_node(self) -> None:
        """SIGKILL to slurmd, its steps and all jobs of the node; the node comes back when Slurm has noticed."""
        os.kill(int((self.slurm.folder / "slurmd.pid").read_text()), signal.SIGKILL)
        for line in self.slurm.call("ps", "-eo", "pid,args").splitlines():
            if "slurmstepd: [" in line:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(line.split()[0]), signal.SIGKILL)
        for folder in ("near", "far"):
            stop_processes(process for found in processes_in(self.base / folder).values() for process in found)
        self.slurm.wait_for_node("down")
        self.slurm.start_node()
        node = self.slurm.call("sinfo", "-h", "-o", "%n").strip()
        time.sleep(3)
        self.slurm.call("scontrol", "update", f"NodeName={node}", "State=RESUME")
        self.slurm.wait_for_node("idle", "mixed", "allocated")

    def cancel(self, n: int) -> list[str]:
        """``scancel`` of running jobs; not of those that wait for their time limit, nor of pilots."""
        shown = self.slurm.call("squeue", "-h", "-o", "%i %j %T").splitlines()
        running = [line.split() for line in shown if "RUNNING" in line or "PENDING" in line]
        plain = [(job, name) for job, name, *_ in running if name.startswith("job") and name not in {"job_0", "job_6"}]
        for job, _ in plain[:n]:
            self.slurm.call("scancel", job)
        return [name for _, name in plain[:n]]


def break_everything(study: Study) -> list[str]:
    """Run the study to its end through all faults; returns what was done, in order."""
    done: list[str] = []
    started = time.time()

    def tell(words: str) -> None:
        done.append(f"{time.time() - started:.0f} s, {study.n_ended()} ended: {words}")
        print(done[-1], flush=True)

    def wait(runner: Any, n_ended: int) -> bool:
        """Whether the runner still lives when so many jobs have ended."""
        while study.n_ended() < n_ended and runner.poll() is None:
            time.sleep(0.3)
        return bool(runner.poll() is None)

    def restart(runner: Any, words: str, **options: Any) -> Any:
        runner.wait()
        tell(f"{words}; exit code {runner.returncode}")
        return study.start_runner(**options)

    n = study.n_jobs
    runner = study.start_runner()
    wait(runner, n // 20)
    tell(f"scancel of {', '.join(study.cancel(2)) or 'nothing, none was running'}")
    wait(runner, n // 10)
    runner.kill()
    runner = restart(runner, "kill -9 of the runner", kill_at_write=study.random.randint(20, 60))
    runner.wait()
    runner = restart(runner, "kill -9 of the database while it wrote (embedded: it is the runner's process)")
    wait(runner, n // 4)
    tell("kill -9 of slurmd, its steps and the jobs of the node")
    study.kill_node()
    tell("the node is back")
    wait(runner, n // 2)
    runner.kill()
    runner = restart(runner, "kill -9 of the runner", kill_at_write=study.random.randint(40, 120))
    runner.wait()
    runner = restart(runner, "kill -9 of the database while it wrote")
    wait(runner, 6 * n // 10)
    filling = fill(study.base / "disk", 2**20)
    runner.wait()
    tell("the disk of the run was filled")
    filling.unlink()
    runner = restart(runner, "the runner ended by itself, space was made")
    wait(runner, 7 * n // 10)
    filling = fill(study.base / "far", 0)
    tell("the disk of the far worker was filled")
    time.sleep(20)
    filling.unlink()
    tell("space was made on the far worker")
    runner_to_the_end(study, runner, tell)
    return done


def runner_to_the_end(study: Study, runner: Any, tell: Callable[[str], None]) -> None:
    """Let the run end, then ask again for what was given up."""
    runner.wait()
    for _ in range(3):
        last = snapshot(study.run.controller())
        close_clients(study.run.queue)
        tell(f"exit code {runner.returncode}; " + ", ".join(f"{last.count(status)} {status}" for status in JobStatus))
        if last.count(JobStatus.DONE) == study.n_jobs:
            break
        tell("again with --retry-failed")
        runner = study.start_runner(retry_failed=True)
        runner.wait()


def verdict(study: Study, n_jobs: int) -> bool:
    """Print what became of the jobs; True if each ended once."""
    lines = study.lines()
    before = {number: dict(words) for number, words in lines.items()}
    study.start_runner().wait()  # a further run must do nothing
    after = {number: dict(words) for number, words in study.lines().items()}
    controller = study.run.controller()
    last = snapshot(controller)
    outputs = [controller.jobstore.get_output(job.uuid) for job in last.of(JobStatus.DONE)]
    right = sum(output["square"] == output["number"] ** 2 for output in outputs)
    n_outputs = controller.jobstore.docs_store.count()
    events = [json.loads(line) for line in study.log.read_text().splitlines()]
    failures = Counter((event["failure"], event["again"]) for event in events if event["kind"] == "failure")
    starts = Counter(words["start"] for words in lines.values())
    ends = Counter(words["end"] for words in lines.values())
    print("\n| | |\n|---|---|")
    print(f"| jobs | {n_jobs}, all in the queue: {len(last.jobs) == n_jobs} |")
    print(f"| done | {last.count(JobStatus.DONE)}, with the right result in the store: {right} of {n_outputs} |")
    print(f"| ended once, twice, ... | {dict(sorted(ends.items()))} |")
    print(f"| started once, twice, ... | {dict(sorted(starts.items()))} |")
    print(f"| a further run started anything | {before != after} |")
    for (failure, again), count in sorted(failures.items()):
        print(f"| {failure} | {count} times, {'ran again by itself' if again else 'given up, ran again when asked'} |")
    repairs = [event for event in events if event["kind"] == "repair"]
    print(
        f"| repairs at a start | {len(repairs)} starts: "
        + ", ".join(f"{sum(event[word] for event in repairs)} {word}" for word in ("adopted", "finished", "reset"))
        + " |"
    )
    return last.count(JobStatus.DONE) == n_jobs == right == n_outputs and ends == {1: n_jobs} and before == after


def main() -> None:
    """Run the study and say what held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    module = helpers()
    base = Path(tempfile.mkdtemp(prefix="reliability-", dir="/tmp"))
    base.chmod(0o755)
    started = time.time()
    with contextlib.ExitStack() as stack:
        slurm = stack.enter_context(module.private_slurm())
        login = stack.enter_context(module.private_login(slurm))
        stack.enter_context(small_disk(base / "disk", 300))
        stack.enter_context(small_disk(base / "far", 80))
        study = Study(base, slurm, login, arguments.jobs, arguments.seed)
        break_everything(study)
        holds = verdict(study, arguments.jobs)
        print(f"\n{time.time() - started:.0f} s; every job ended once: {holds}")
        if not holds:
            print((base / "runner.out").read_text()[-3000:])
        close_clients(study.run.queue)
    shutil.rmtree(base, ignore_errors=True)
    raise SystemExit(0 if holds else 1)


if __name__ == "__main__":
    main()
