"""One vocabulary across commands: every help has examples that the parser accepts, options mean the same everywhere."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.workflows.cli import app, main
from surfshift.workflows.cli_examples import EXAMPLES
from surfshift.workflows.study import load_study
from typer.main import get_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JSON_COMMANDS = {
    "run",
    "resume",
    "status",
    "report",
    "structures",
    "doctor",
    "spectrum",
    "reference",
    "match",
    "archive",
    "hpc estimate",
    "hpc check",
    "hpc templates",
    "phases list",
    "screen",
    "motion average",
    "motion phonons",
    "motion glass",
}
WITHOUT_DATA = {"init", "view", "hpc init", "phases compute", "phases order", "phases table"}
"""Their result is a file, or a page."""


def commands(group: Any = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    for name, command in (group or get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


COMMANDS = dict(commands())


def _kind(parameter: Any) -> str:
    return f"{getattr(parameter.bare_type, '__name__', parameter.bare_type)}{' list' if parameter.multiple else ''}"


def options(command: Any) -> dict[str, Any]:
    """Options that the help shows; former names are hidden."""
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    return {name: p for p in shown for name in (*p.opts, *p.secondary_opts) if name.startswith("--")}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_examples(name: str) -> None:
    assert EXAMPLES[name], f"{name} has no example"
    assert COMMANDS[name].epilog.startswith("\b\nExamples:")
    first = COMMANDS[name].help.strip().splitlines()[0]
    assert len(first) <= 66, f"{name}: the list of commands would cut '{first}'"
    assert first.endswith("."), f"{name}: '{first}'"
    assert "--debug" in options(COMMANDS[name]), f"{name} cannot show a traceback"
    assert COMMANDS[name].help
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option" and not parameter.hidden:
            assert parameter.help, f"{name}: {parameter.name} says nothing"


@pytest.mark.parametrize("example", [e for examples in EXAMPLES.values() for e in examples])
def test_examples_are_accepted_by_the_parser(example: str) -> None:
    words = shlex.split(example)
    assert words[0] == "surfshift"
    command, given, name = get_command(app), words[1:], []
    while hasattr(command, "commands"):
        name.append(given[0])
        command, given = command.commands[given[0]], given[1:]
    assert example in EXAMPLES[" ".join(name)]
    with command.make_context(words[1], list(given)) as context:
        assert context.params


def test_examples_are_of_commands_that_exist() -> None:
    assert set(EXAMPLES) == set(COMMANDS)


def test_the_same_option_is_the_same_everywhere() -> None:
    meanings: dict[str, set[str]] = {}
    for name, command in COMMANDS.items():
        for option, parameter in options(command).items():
            meanings.setdefault(option, set()).add(_kind(parameter))
            assert option == option.lower().replace("_", "-"), f"{name} {option}"
    mixed = {option for option, kinds in meanings.items() if len(kinds) > 1}
    # one for one spectrum or reference, several for several; of screen --library says whether to write one
    assert mixed <= {"--isotope", "--library"}


def test_every_command_with_data_has_json() -> None:
    assert {name for name, command in COMMANDS.items() if "--json" in options(command)} == JSON_COMMANDS
    assert set(COMMANDS) - JSON_COMMANDS == WITHOUT_DATA


def test_options_that_can_be_repeated_say_so() -> None:
    for name, command in COMMANDS.items():
        for option, parameter in options(command).items():
            if parameter.multiple and option != "--oxidation-states":  # a list in one word
                assert "repeatable" in parameter.help, f"{name} {option}"


def test_the_help_of_all_tells_the_exit_codes() -> None:
    told = get_command(app).epilog
    assert told is not None
    for code in ("0 done", "1 done in part", "2 bad input", "3 a problem of the machine", "130 stopped"):
        assert code in " ".join(told.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_knows_commands_and_options(shell: str) -> None:
    code = "from surfshift.workflows.cli import main; main()"
    variables = {"_SURFSHIFT_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "surfshift st"}
    variables |= {"COMP_WORDS": "surfshift st", "COMP_CWORD": "1", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=variables,
        stdin=subprocess.DEVNULL,
    )
    assert "status" in done.stdout, done.stderr
    assert "structures" in done.stdout
    assert "match" not in done.stdout.replace("matching", "")


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["surfshift", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_init_fills_in_what_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "peaks.csv").write_text("delta_iso_ppm,delta_error_ppm\n-25,1\n")
    path = tmp_path / "study.yaml"
    given = ["--crystal", "AlPO4_cristobalite", "--isotope", "31P", "--miller", "0,0,1", "--miller", "1 1 0"]
    assert (
        call(monkeypatch, "init", str(path), *given, "--peaks", str(tmp_path / "peaks.csv"), "--field-tesla", "14.1")
        == 0
    )
    study = load_study(path)
    assert study.study == study.crystal == "AlPO4_cristobalite"
    assert study.nmr.isotopes == ("31P",)
    assert [surface.miller for surface in study.candidates.surfaces] == [(0, 0, 1), (1, 1, 0)]
    assert study.measured[0].field_tesla == 14.1
    assert yaml.safe_load(path.read_text())["measured"][0]["peaks"] == "peaks.csv"
    build_crystal(load_crystal("Li2O")).to_pymatgen().to(filename=str(tmp_path / "my crystal.cif"), fmt="cif")
    other = tmp_path / "other.yaml"
    assert call(monkeypatch, "init", str(other), "--structure", str(tmp_path / "my crystal.cif")) == 0
    assert load_study(other).structure == tmp_path / "my crystal.cif"
    assert load_study(other).study == "my-crystal"
    assert load_study(other).nmr.isotopes == ("7Li",)
    bulk = tmp_path / "bulk.yaml"
    assert call(monkeypatch, "init", str(bulk), "--crystal", "LLZO_tetragonal", "--bulk-only") == 0
    assert load_study(bulk).candidates.surfaces == ()
    assert load_study(bulk).nmr.isotopes == ("7Li",)  # lanthanum and zirconium are too heavy for the engine


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--crystal", "AlPO4_berlinit"], "did you mean"),
        (["--crystal", "AlPO4_berlinite", "--structure", "a.cif"], "not both"),
        (["--miller", "1,0"], "three integers"),
        (["--miller", "0,0,0"], "not all zero"),
        (["--peaks", "peaks.csv"], "--field-tesla"),
        (["--peaks", "peaks.csv", "--field-tesla", "9.4"], "does not exist"),
        (["--peaks", "peaks.csv", "--spectrum", "s.txt"], "either --peaks or --spectrum"),
        (["--field-tesla", "9.4"], "add --peaks or --spectrum"),
        (["--bulk-only", "--miller", "1,0,0"], "not both"),
        (["--isotope", "7Li"], "holds no Li"),
        (["--structure", "no.cif"], "no structure file"),
        (["--workers", "workers.yaml"], "does not exist"),
    ],
)
def test_init_refuses_what_does_not_go_together(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    told: str,
) -> None:
    assert call(monkeypatch, "init", str(tmp_path / "study.yaml"), *options) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_json_is_alone_on_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    axis = [-50 + 0.1 * k for k in range(1000)]
    rows = [f"{x} {100 / (1 + (x + 20) ** 2) + (k * 37 % 11) / 11}" for k, x in enumerate(axis)]
    (tmp_path / "powder.txt").write_text("\n".join(rows))
    given = ["spectrum", "powder.txt", "--isotope", "31P", "--field-tesla", "9.4", "--mas-rate-hz", "10000", "--json"]
    assert call(monkeypatch, *given) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["isotope"] == "31P"
    assert found["maxima"][0]["position_ppm"] == pytest.approx(-20, abs=0.1)
    assert call(monkeypatch, "reference", "--isotope", "31P", "--json") == 0
    (reference,) = json.loads(capsys.readouterr().out)
    assert reference["isotope"] == "31P"
