"""The command line as a user meets it: one message per error, documented exit codes, fast help."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from surfshift.workflows.cli import EXIT_BAD_INPUT, EXIT_ENVIRONMENT, main
from surfshift.workflows.queue.folder import RunFolder

STUDY = """\
study: small
crystal: AlPO4_berlinite
nmr:
  isotopes: [27Al, 31P]
"""


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run a command in this process; returns the exit code."""
    monkeypatch.setattr(sys, "argv", ["surfshift", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def study_file(folder: Path, text: str = STUDY) -> str:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from surfshift.workflows.cli import main\n"
        "sys.argv = ['surfshift', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'pydantic', 'torch', 'pyscf', 'pymatgen', 'ase', 'jobflow', 'matplotlib', 'mrsimulator'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("run", "resume", "status", "report", "init", "doctor"):
        assert command in done.stdout


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (STUDY.replace("crystal", "cristal"), "did you mean 'crystal'?"),
        (STUDY.replace("AlPO4_berlinite", "AlPO4_berlinit"), "did you mean 'AlPO4_berlinite'?"),
        (STUDY.replace("31P", "31Pb"), "31Pb"),
        (STUDY.replace("31P", "29Si"), "no candidate holds 29Si"),
        (STUDY.replace("31P", "45Sc"), "Sc"),
        (STUDY + "matching: {always_present: [bulc]}\n", "did you mean 'bulk'?"),
        (STUDY + "measured:\n  - {peaks: no.csv, isotope: 31P, field_tesla: 9.4}\n", "does not exist"),
        (STUDY + "measured:\n  - {peaks: bad.csv, isotope: 31P, field_tesla: 9.4}\n", "bad.csv"),
        (STUDY + "measured:\n  - {spectrum: bad.csv, isotope: 31P, field_tesla: 9.4}\n", "bad.csv"),
        (STUDY.replace("crystal: AlPO4_berlinite", "structure: bad.csv"), "bad.csv"),
    ],
)
def test_bad_input_is_one_message_and_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    (tmp_path / "bad.csv").write_text("nonsense\n1,2\n", encoding="utf-8")
    assert call(monkeypatch, "run", study_file(tmp_path, text)) == EXIT_BAD_INPUT
    message = capsys.readouterr().err
    assert told in message
    assert message.startswith("surfshift: ")
    assert "Traceback" not in message
    assert {entry.name for entry in tmp_path.iterdir()} == {"study.yaml", "bad.csv"}


def test_debug_shows_the_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["surfshift", "run", str(tmp_path / "none.yaml"), "--debug"])
    with pytest.raises(ValueError, match="there is no study file"):
        main()


@pytest.mark.parametrize("command", ["resume", "status", "report"])
def test_without_a_run_there_is_nothing_to_go_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert call(monkeypatch, command, study_file(tmp_path)) == EXIT_BAD_INPUT
    assert "start one with 'surfshift run STUDY.yaml'" in capsys.readouterr().err


def test_a_changed_study_is_not_mixed_with_an_old_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study_file(tmp_path)
    run = RunFolder(tmp_path / "small-run")
    run.path.mkdir()
    run.state_file.write_text(json.dumps({"job_hash": "of another study"}), encoding="utf-8")
    for command in ("run", "resume", "report"):
        assert call(monkeypatch, command, path) == EXIT_BAD_INPUT
        assert "surfshift run --fresh" in capsys.readouterr().err
    run.state_file.write_text("{half", encoding="utf-8")
    assert call(monkeypatch, "resume", path) == EXIT_BAD_INPUT
    assert "cannot be read" in capsys.readouterr().err


def test_two_runners_in_one_folder_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study_file(tmp_path)
    with RunFolder(tmp_path / "small-run").only_runner():
        assert call(monkeypatch, "run", path) == EXIT_ENVIRONMENT
    assert f"process {os.getpid()} is already running" in capsys.readouterr().err


def test_init_writes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "study.yaml"
    assert call(monkeypatch, "init", str(path)) == 0
    assert "surfshift run" in capsys.readouterr().out
    assert call(monkeypatch, "init", str(path)) == EXIT_BAD_INPUT


def test_doctor_names_what_a_study_needs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code = call(monkeypatch, "doctor")
    found = capsys.readouterr().out
    for word in ("pyscf", "SevenNet weights", "memory", "disk", "nwchem"):
        assert word in found
    assert code == (EXIT_ENVIRONMENT if "MISSING" in found else 0)


def test_doctor_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from surfshift.workflows import doctor

    monkeypatch.setattr(doctor, "REQUIRED", ("no-such-package",))
    missing = next(finding for finding in doctor.examine() if finding.what == "no-such-package")
    assert missing.is_problem
    assert missing.advice == "pip install no-such-package"
