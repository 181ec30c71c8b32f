"""What doctor says of licensed and foreign files, per element."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from surfshift.workflows import cli
from surfshift.workflows.engines.inputs.upf import MissingPotentialError
from surfshift.workflows.potentials import (
    UnknownElementError,
    elements_of,
    examine_potentials,
    find_potcar,
    require_potentials,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SURFSHIFT_UPF_DIR", "ESPRESSO_PSEUDO", "PMG_VASP_PSP_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def upf(folder: Path, element: str, *, gipaw: bool) -> None:
    folder.mkdir(exist_ok=True)
    tail = "<PP_GIPAW/>" if gipaw else ""
    (folder / f"{element}.UPF").write_text(f'<PP_HEADER element="{element}" functional="PBE"/>{tail}')


def found(elements: str, **options: object) -> dict[str, str]:
    return {f.what: f.found for f in examine_potentials(elements_of(elements), **options)}  # type: ignore[arg-type]


def test_nothing_is_set_up() -> None:
    entries = found("Al,P")
    assert entries["VASP POTCARs"] == "PMG_VASP_PSP_DIR is not set"
    assert entries["GIPAW UPF files"] == "SURFSHIFT_UPF_DIR is not set"
    assert "no files needed" in entries["CASTEP potentials"]
    assert not any(f.is_problem for f in examine_potentials(("Al", "P")))


def test_upf_files_per_element(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upf(tmp_path / "upf", "Al", gipaw=True)
    upf(tmp_path / "upf", "P", gipaw=False)
    monkeypatch.setenv("ESPRESSO_PSEUDO", str(tmp_path / "upf"))
    entries = found("Al P O")
    assert entries["GIPAW UPF Al"] == "Al.UPF (PBE)"
    assert entries["GIPAW UPF P"] == "P.UPF has no GIPAW data"
    assert entries["GIPAW UPF O"].startswith("no file in")
    with pytest.raises(MissingPotentialError, match=r"GIPAW UPF P: P\.UPF has no GIPAW data"):
        require_potentials("qe", ("Al", "P"))
    require_potentials("qe", ("Al",))
    require_potentials("castep", ("Al", "P"))


@pytest.mark.parametrize("tail", ["POT_GGA_PAW_PBE_54/POTCAR.Al.gz", "potpaw_PBE.54/Al/POTCAR", "Al/POTCAR"])
def test_potcars_are_found_where_pymatgen_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail: str) -> None:
    path = tmp_path / "psp" / tail
    path.parent.mkdir(parents=True)
    path.write_text("licensed")
    assert find_potcar(tmp_path / "psp", "Al") == path
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "psp"))
    entries = found("Al,Li,Hf")
    assert entries["VASP POTCAR Al"].startswith("Al in ")
    assert entries["VASP POTCAR Li"].startswith("Li_sv is not in ")
    assert entries["VASP POTCAR Hf"] == "no symbol chosen"
    with pytest.raises(MissingPotentialError, match="vasp cannot run: VASP POTCAR Li"):
        require_potentials("vasp", ("Al", "Li"))


def test_pymatgens_own_settings_file_counts(tmp_path: Path) -> None:
    (tmp_path / ".config").mkdir()
    (tmp_path / ".config" / ".pmgrc.yaml").write_text(f"PMG_VASP_PSP_DIR: {tmp_path}/none\n")
    assert found("Al")["VASP POTCARs"] == f"no folder {tmp_path}/none"


def test_doctor_prints_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upf(tmp_path / "upf", "Al", gipaw=True)
    arguments = ["surfshift", "doctor", "--json", "--elements", "Al", "--upf-folder", str(tmp_path / "upf")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code in {0, cli.EXIT_ENVIRONMENT}
    entries = {entry["what"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert entries["GIPAW UPF Al"]["mark"] == "ok"
    assert entries["Python"]["is_problem"] is False


def test_unknown_elements_are_refused() -> None:
    assert elements_of(" H, O Al,") == ("H", "O", "Al")
    with pytest.raises(UnknownElementError, match="'Aluminium' is no element symbol"):
        elements_of("Aluminium")
