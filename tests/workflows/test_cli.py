"""The command line as a user meets it: one message per error, documented exit codes, fast help."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
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
    for command in ("run", "resume", "status", "report", "init", "doctor", "spectrum", "reference", "match"):
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


def test_spectrum_reads_draws_and_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    axis = np.linspace(-60, 20, 600)
    values = 100 * np.exp(-0.5 * ((axis + 24.5) / 1.5) ** 2) + rng.normal(size=600)
    (tmp_path / "p.txt").write_text("\n".join(f"{x:.5f} {y:.5f}" for x, y in zip(axis, values, strict=True)))
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "spectrum", "p.txt") == EXIT_BAD_INPUT
    assert "give isotope" in capsys.readouterr().err
    options = ["--isotope", "31P", "--field-tesla", "9.4", "--mas-rate-hz", "12500"]
    assert call(monkeypatch, "spectrum", "p.txt", *options, "--baseline", "cubic") == EXIT_BAD_INPUT
    assert "polynomial, als" in capsys.readouterr().err
    assert call(monkeypatch, "spectrum", "p.txt", *options, "--csdm", "p.csdf") == 0
    told = capsys.readouterr().out
    for part in ("31P", "9.4 T", "12500 Hz", "600, 20.00 to -60.00 ppm", "-24.5", "p.png", "p.csdf"):
        assert part in told
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert call(monkeypatch, "spectrum", "p.csdf", "--picture", "again.png") == 0
    assert "-24.5" in capsys.readouterr().out


def test_reference_from_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "\n".join(f"c{k},{500 + 5 * k},{100 - 5 * k + (-1) ** k}" for k in range(8))
    (tmp_path / "own.csv").write_text(f"compound,sigma_ppm,delta_ppm\n{rows}\n")
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "reference", "own.csv", "--isotope", "27Al", "--engine", "castep") == EXIT_BAD_INPUT
    assert "--functional" in capsys.readouterr().err
    options = ["--isotope", "27Al", "--engine", "castep", "--functional", "PBE", "--protocol", "600eV"]
    assert call(monkeypatch, "reference", "own.csv", *options, "--out", "own.json", "--picture", "own.png") == 0
    told = capsys.readouterr().out
    assert "8 compounds" in told
    assert "castep/PBE/600eV" in told
    (made,) = json.loads((tmp_path / "own.json").read_text())
    assert made["slope"] == pytest.approx(-1.0, abs=0.03)
    assert (tmp_path / "own.png").read_bytes().startswith(b"\x89PNG")
    assert call(monkeypatch, "reference", "own.csv", *options, "--isotope", "31P") == EXIT_BAD_INPUT
    assert "one isotope" in capsys.readouterr().err


def test_reference_from_the_shipped_tensors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "reference", "--isotope", "27Al", "--isotope", "31P") == 0
    told = capsys.readouterr().out
    assert told.count("shift = ") == 2
    assert "AlPO4 berlinite" in told
    assert call(monkeypatch, "reference", "--isotope", "17O") == EXIT_BAD_INPUT
    assert "no 17O reference" in capsys.readouterr().err
