"""What status says of a run that a process looks after, and of one whose process is gone."""

import fcntl
import io
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from jobflow import Flow, job
from rich.console import Console
from surfshift.workflows import cli_status
from surfshift.workflows.cli_status import UNATTENDED, show_status
from surfshift.workflows.queue.folder import RunFolder
from surfshift.workflows.queue.runner import run_jobs
from surfshift.workflows.study import StudyFile

STUDY = StudyFile.model_validate({"study": "small", "crystal": "AlPO4_berlinite", "nmr": {"isotopes": ["31P"]}})


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.write_project(parallel_jobs=1)
    run.submit(Flow([job(abs)(-1)]), {"study": "small"})
    return run


def shown(run: RunFolder, *, watch_seconds: float | None = None, is_terminal: bool = False) -> str:
    console = Console(file=io.StringIO(), width=200, force_terminal=is_terminal)
    show_status(console, run, STUDY, watch_seconds=watch_seconds)
    printed: str = console.file.getvalue()  # type: ignore[attr-defined]
    return printed


def is_unattended(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> bool:
    capsys.readouterr()
    show_status(Console(), run, STUDY, as_json=True)
    found: bool = json.loads(capsys.readouterr().out)["is_unattended"]
    return found


def test_jobs_that_no_process_looks_after_are_said_so(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert UNATTENDED in shown(run)
    assert is_unattended(run, capsys)
    with run.only_runner():
        assert UNATTENDED not in shown(run)
        assert not is_unattended(run, capsys)
    assert is_unattended(run, capsys)
    run_jobs(run, parallel_jobs=1)
    assert UNATTENDED not in shown(run)
    assert not is_unattended(run, capsys)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_watching_ends_when_no_job_runs(run: RunFolder, monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool) -> None:
    def work(_: float) -> None:
        run_jobs(run, parallel_jobs=1)

    monkeypatch.setattr(cli_status, "time", SimpleNamespace(sleep=work))
    printed = shown(run, watch_seconds=1.0, is_terminal=is_terminal)
    before, after = (printed.index(counts) for counts in ("0 done, 0 running, 1 left", "1 done, 0 running, 0 left"))
    assert before < printed.index(UNATTENDED) < after
    assert printed.count(UNATTENDED) == 1


def test_a_look_at_the_lock_does_not_keep_a_runner_away(run: RunFolder) -> None:
    with run.only_runner():
        pass
    with (run.path / ".runner").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        freed = threading.Thread(target=lambda: (time.sleep(0.05), fcntl.flock(file, fcntl.LOCK_UN)))
        freed.start()
        with run.only_runner():
            assert run.has_runner
        freed.join()
    assert not run.has_runner
