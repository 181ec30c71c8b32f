"""Runs of real, small jobs: done, refused, killed, taken up again; nothing is done twice."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import psutil
import pytest
from jobflow import Flow
from surfshift.workflows.hpc.errors import UnknownWorkerError
from surfshift.workflows.queue.errors import AlreadyRunningError, DiskFullError
from surfshift.workflows.queue.folder import RunFolder
from surfshift.workflows.queue.processes import processes_in
from surfshift.workflows.queue.records import JobStatus, Snapshot, snapshot
from surfshift.workflows.queue.runner import run_jobs

if TYPE_CHECKING:
    from surfshift.workflows.queue.repair import Repairs

RUN = """
import sys
from pathlib import Path
from surfshift.workflows.queue.folder import RunFolder
from surfshift.workflows.queue.runner import run_jobs
run_jobs(RunFolder(Path(sys.argv[1])), parallel_jobs=2)
"""


def submitted(run_path: Path, flow: Flow) -> RunFolder:
    run = RunFolder(run_path)
    run.write_project(parallel_jobs=2)
    run.submit(flow, {"study": "test"})
    return run


def ran(folder: Path) -> list[str]:
    return sorted((folder / "ran.txt").read_text(encoding="utf-8").split("\n")[:-1])


def wait_for(folder: Path, words: set[str]) -> None:
    while not ((folder / "ran.txt").exists() and words <= set(ran(folder))):
        time.sleep(0.05)


def test_jobs_run_grow_fail_and_recover_from_kills(tmp_path: Path, run_path: Path, tiny_jobs: ModuleType) -> None:
    flow = Flow([tiny_jobs.fan_out(str(tmp_path), 2), tiny_jobs.refuse(), tiny_jobs.die_twice(str(tmp_path))])
    seen: list[Snapshot] = []
    run = submitted(run_path, flow)

    def compare(now: Snapshot) -> None:
        assert now == snapshot(run.controller())  # what is followed is what a full look finds
        seen.append(now)

    last = run_jobs(run, parallel_jobs=2, on_change=compare)
    assert {job.name: job.status for job in last.jobs} == {
        "fan_out": JobStatus.DONE,
        "leaf (x)-t0+0 '\"$HOME": JobStatus.DONE,
        "leaf (x)-t0+1 '\"$HOME": JobStatus.DONE,
        "refuse": JobStatus.FAILED,
        "die_twice": JobStatus.DONE,
    }
    assert [job.reason for job in last.of(JobStatus.FAILED)] == ["ValueError: the gap is 0.10 eV, below 1.0 eV"]
    assert ran(tmp_path) == ["leaf 0", "leaf 1"]
    assert max(now.count(JobStatus.RUNNING) for now in seen) <= 2


def test_kill_of_the_runner_leaves_jobs_that_the_next_runner_adopts(
    tmp_path: Path, run_path: Path, tiny_jobs: ModuleType
) -> None:
    flow = Flow([tiny_jobs.note(str(tmp_path), "short"), tiny_jobs.note(str(tmp_path), "long", 4.0)])
    run = submitted(run_path, flow)
    runner = subprocess.Popen([sys.executable, "-c", RUN, str(run_path)])
    wait_for(tmp_path, {"short", "long"})
    with pytest.raises(AlreadyRunningError, match=f"process {runner.pid} is already running"):
        run_jobs(run, parallel_jobs=2)
    runner.kill()
    runner.wait()
    repairs: list[Repairs] = []
    last = run_jobs(run, parallel_jobs=2, on_repair=repairs.append)
    assert last.count(JobStatus.DONE) == 2
    assert repairs[0].reset == ()
    assert repairs[0].adopted
    assert ran(tmp_path) == ["long", "short"]


def test_kill_of_runner_and_jobs_repeats_only_what_was_cut_off(
    tmp_path: Path, run_path: Path, tiny_jobs: ModuleType
) -> None:
    flow = Flow([tiny_jobs.fan_out(str(tmp_path), 2, 2.0)])
    run = submitted(run_path, flow)
    runner = subprocess.Popen([sys.executable, "-c", RUN, str(run_path)])
    wait_for(tmp_path, {"leaf 0", "leaf 1"})
    runner.kill()
    runner.wait()
    killed = [process for found in processes_in(run.jobs).values() for process in found]
    assert len(killed) == 2
    for process in killed:
        process.kill()
    # a killed process takes a moment to go
    assert psutil.wait_procs(killed, timeout=60)[1] == []
    repairs: list[Repairs] = []
    last = run_jobs(run, parallel_jobs=2, on_repair=repairs.append)
    assert last.count(JobStatus.DONE) == 3
    assert len(repairs[0].reset) == 2
    assert ran(tmp_path) == ["leaf 0", "leaf 0", "leaf 1", "leaf 1"]
    before = ran(tmp_path)
    assert run_jobs(run, parallel_jobs=2) == last
    assert ran(tmp_path) == before


def test_a_polite_stop_ends_the_jobs_too(tmp_path: Path, run_path: Path, tiny_jobs: ModuleType) -> None:
    run = submitted(run_path, Flow([tiny_jobs.note(str(tmp_path), "endless", 600.0)]))
    runner = subprocess.Popen([sys.executable, "-c", RUN, str(run_path)], stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path, {"endless"})
    runner.send_signal(signal.SIGTERM)
    message = runner.communicate()[1]
    assert "stopped by SIGTERM; finished work is kept" in message
    left = [p for p in psutil.process_iter(["cwd"]) if (p.info["cwd"] or "").startswith(str(run.jobs))]
    assert left == []
    assert snapshot(run.controller()).is_active


def test_a_job_that_always_dies_is_given_up_by_name(run_path: Path, tiny_jobs: ModuleType) -> None:
    last = run_jobs(submitted(run_path, Flow([tiny_jobs.always_die()])), parallel_jobs=2)
    assert last.jobs[0].status is JobStatus.FAILED
    assert "JobKilledError: the process was killed 3 times" in last.jobs[0].reason


def test_a_full_disk_stops_the_run_and_resets_the_job(run_path: Path, tiny_jobs: ModuleType) -> None:
    run = submitted(run_path, Flow([tiny_jobs.fill_disk()]))
    with pytest.raises(DiskFullError, match="Free some space, then go on with 'surfshift resume'"):
        run_jobs(run, parallel_jobs=1)
    repairs: list[Repairs] = []
    with pytest.raises(DiskFullError):
        run_jobs(run, parallel_jobs=1, on_repair=repairs.append)
    assert repairs[0].reset == ("fill_disk",)


def test_too_little_space_stops_the_run_before_a_write_fails(
    run_path: Path, tiny_jobs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submitted(run_path, Flow([tiny_jobs.note(str(tmp_path), "never")]))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(DiskFullError):
        run_jobs(run, parallel_jobs=1)
    assert not (tmp_path / "ran.txt").exists()


def test_half_added_jobs_are_added_once_after_a_kill_in_between(
    tmp_path: Path, run_path: Path, tiny_jobs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submitted(run_path, Flow([tiny_jobs.fan_out(str(tmp_path), 3)]))
    kill_while_adding = RUN.replace(
        "run_jobs(RunFolder",
        "from surfshift.workflows.queue import store\n"
        "import os, signal\n"
        "plain = store.LockedCollection.insert_many\n"
        "def insert_one_and_die(self, documents, **options):\n"
        "    plain(self, documents[:1], **options)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "store.LockedCollection.insert_many = insert_one_and_die\n"
        "run_jobs(RunFolder",
    )
    killed = subprocess.run([sys.executable, "-c", kill_while_adding, str(run_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(snapshot(run.controller()).jobs) == 2
    last = run_jobs(run, parallel_jobs=2)
    assert last.count(JobStatus.DONE) == len(last.jobs) == 4
    assert ran(tmp_path) == ["leaf 0", "leaf 1", "leaf 2"]
    flow = run.controller().flows.find_one({})
    assert len(flow["ids"]) == len(flow["jobs"]) == 4
    assert flow["state"] == "COMPLETED"


def test_a_job_for_a_worker_that_there_is_not_stops_the_run_by_name(
    run_path: Path, tmp_path: Path, tiny_jobs: ModuleType
) -> None:
    job = tiny_jobs.note(str(tmp_path), "never")
    job.config.manager_config["worker"] = "locale"
    run = submitted(run_path, Flow([job, tiny_jobs.note(str(tmp_path), "here")]))
    with pytest.raises(UnknownWorkerError, match="worker 'locale', which there is not; did you mean 'local'"):
        run_jobs(run, parallel_jobs=1)


def test_a_moved_run_folder_goes_on(tmp_path: Path, run_path: Path, tiny_jobs: ModuleType) -> None:
    from surfshift.workflows.queue.store import close_clients

    run = submitted(run_path, Flow([tiny_jobs.note(str(tmp_path), "after the move")]))
    close_clients(run.queue)
    moved = RunFolder(tmp_path / "elsewhere")
    run_path.rename(moved.path)
    assert run_jobs(moved, parallel_jobs=1).count(JobStatus.DONE) == 1
    assert not run_path.exists()
