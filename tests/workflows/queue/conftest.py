"""A run folder with an awkward name, and jobs of a second or less that the queue's processes can import."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

JOBS = '''
import os, signal, time
from pathlib import Path
from jobflow import Flow, Response, job

@job
def note(folder, word, seconds=0.0):
    """Append a word to a file, so that a test can count how often this ran."""
    with open(Path(folder, "ran.txt"), "a") as file:
        file.write(word + "\\n")
    time.sleep(seconds)
    return word

@job
def fan_out(folder, n, seconds=0.0):
    jobs = [note(folder, f"leaf {k}", seconds) for k in range(n)]
    for k, made in enumerate(jobs):
        made.name = f"leaf (x)-t0+{k} '\\"$HOME"
    return Response(output=n, addition=Flow(jobs))

@job
def refuse():
    raise ValueError("the gap is 0.10 eV, below 1.0 eV")

@job
def die_twice(folder):
    deaths = Path(folder, "deaths.txt")
    count = len(deaths.read_text()) if deaths.exists() else 0
    if count < 2:
        deaths.write_text("x" * (count + 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return count

@job
def always_die():
    os.kill(os.getpid(), signal.SIGKILL)

@job
def fill_disk():
    raise OSError(28, "No space left on device")
'''


@pytest.fixture
def tiny_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "tiny_jobs.py").write_text(JOBS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    paths = [str(folder), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    yield importlib.import_module("tiny_jobs")
    sys.modules.pop("tiny_jobs", None)


@pytest.fixture
def run_path(tmp_path: Path) -> Path:
    return tmp_path / 'a run "with" it\'s $HOME'
