"""``surfshift init`` asks where there is a terminal, takes options elsewhere, and never waits for nobody."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import typer
from surfshift.workflows import cli_init
from surfshift.workflows.study import load_study

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

COMMAND = [sys.executable, "-c", "from surfshift.workflows.cli import main; main()", "init"]


def on_terminal(folder: Path, answers: Sequence[str], *arguments: str, seconds: float = 120.0) -> tuple[int, str]:
    """Run the command on a pseudo-terminal; each answer is typed when a question waits."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execve(sys.executable, [*COMMAND, *arguments], {**os.environ, "TERM": "dumb", "NO_COLOR": "1"})
    left, said, ends = list(answers), b"", time.monotonic() + seconds
    while time.monotonic() < ends:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                part = os.read(terminal, 4096)
            except OSError:
                break
            if not part:
                break
            said += part
        elif left and said.rstrip().endswith(b":"):
            os.write(terminal, (left.pop(0) + "\n").encode())
    else:
        os.kill(child, 9)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said.decode()


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Answers to the questions, in order; what is not answered takes the default."""
    answers: list[str] = []

    def prompt(text: str, default: str | None = None) -> str:
        given = answers.pop(0) if answers else ""
        assert given or default is not None, f"{text} has no default"
        return given or str(default)

    monkeypatch.setattr(typer, "prompt", prompt)
    yield answers
    assert answers == []


def test_a_study_from_questions_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "peaks.csv").write_text("delta_iso_ppm,delta_error_ppm\n-25,1\n")
    answers = ["AlPO4_berlinit", "AlPO4_cristobalite", "31P", "-", "peaks.csv", "", "9.4", "12500", "", ""]
    code, said = on_terminal(tmp_path, answers)
    assert code == 0, said
    assert "did you mean 'AlPO4_berlinite'?" in said
    study = load_study(tmp_path / "study.yaml")
    assert (study.crystal, study.nmr.isotopes, study.candidates.surfaces) == ("AlPO4_cristobalite", ("31P",), ())
    (measured,) = study.measured
    assert (measured.isotope, measured.field_tesla, measured.mas_rate_hz) == ("31P", 9.4, 12500.0)


def test_the_end_of_input_stops_and_nothing_is_written(tmp_path: Path) -> None:
    code, said = on_terminal(tmp_path, ["\x04"])
    assert code == cli_init.EXIT_INTERRUPTED
    assert "nothing was written" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stdin", [subprocess.DEVNULL, subprocess.PIPE])
def test_without_a_terminal_nothing_is_asked(tmp_path: Path, stdin: int) -> None:
    done = subprocess.run(COMMAND, cwd=tmp_path, stdin=stdin, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "[" not in done.stdout
    assert load_study(tmp_path / "study.yaml").crystal == "AlPO4_berlinite"


def test_wrong_answers_are_explained_and_asked_again(answered: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    answered += [
        "?",
        "no/such.cif",
        "AlPO4_berlinite",
        "31X",
        "7Li",
        "1H 31P",
        "1,0",
        "0 0 0",
        "1,0,0 0,0,1",
        "none.csv",
        "",
    ]
    choices = cli_init.ask()
    said = capsys.readouterr().out
    for part in (
        "LLZO_tetragonal",
        "no structure file",
        "unknown nucleus",
        "holds no Li",
        "is no facet",
        "not all zero",
    ):
        assert part in said
    assert "there is no file none.csv" in said
    assert choices.isotopes == ("1H", "31P")
    assert choices.facets == ("1,0,0", "0,0,1")
    assert choices.measured is None


def test_conditions_of_a_spectrum_can_be_left_to_its_file(
    answered: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spectrum = tmp_path / "s.txt"
    spectrum.write_text("0 1\n1 2\n")
    answered += ["", "31P", "-", str(spectrum), "27Al", "31P", "61", "nine", "9,4", "-", "echoes", "echo", ""]
    choices = cli_init.ask()
    said = capsys.readouterr().out
    for part in ("not among the nuclei", "not between", "is no number", "did you mean 'echo'?"):
        assert part in said
    assert (choices.is_peaks, choices.measured_isotope, choices.field_tesla) == (False, "31P", 9.4)
    assert (choices.mas_rate_hz, choices.experiment) == (None, "echo")
