"""``surfshift screen`` and ``surfshift phases`` as a user meets them, and everything that can be bad."""

import csv
import json
import sys
from pathlib import Path

import pytest
from surfshift.analysis.coatings.energies import EnergyTable, amounts_of, shipped_table
from surfshift.analysis.vocabulary import StudyResult
from surfshift.structures.phases import build_phase, phase_names
from surfshift.workflows.cli import EXIT_BAD_INPUT, main

BETWEEN = ("--electrolyte", "LTP", "--electrode", "Li", "--samples", "8", "--processes", "1", "--no-crystals")


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["surfshift", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def screen(monkeypatch: pytest.MonkeyPatch, out: Path, *arguments: str) -> int:
    return call(monkeypatch, "screen", *BETWEEN, "--out", str(out), *arguments)


def refused(monkeypatch: pytest.MonkeyPatch, out: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The message of a refused screening; nothing may have been written that looks like a result."""
    assert screen(monkeypatch, out, *arguments) == EXIT_BAD_INPUT
    assert not list(out.glob("screening.*"))
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return " ".join((said.out + said.err).split())


def test_screen_writes_page_csv_json_and_a_library(monkeypatch, tmp_path, capsys):
    listed = tmp_path / "list.txt"
    listed.write_text("AlPO4_berlinite  # by its name\nLi3PO4\n")
    assert screen(monkeypatch, tmp_path / "out", "--coatings", str(listed)) == 0
    said = capsys.readouterr().out
    assert "known" in said
    rows = {r["coating"]: r for r in csv.DictReader((tmp_path / "out" / "screening.csv").read_text().splitlines())}
    assert set(rows) == {"AlPO4", "Li3PO4"}
    assert "Li3P:" in rows["AlPO4"]["products"]
    assert float(rows["AlPO4"]["electrode_ev_per_atom"]) < -0.3
    assert int(rows["AlPO4"]["phases"]) > 10
    loaded = json.loads((tmp_path / "out" / "screening.json").read_text())
    assert loaded["energies"]["level"] == "sevennet"
    assert [r["coating"] for r in loaded["results"]] == ["AlPO4", "Li3PO4"]
    assert "None: no tensors of an interface model" in (tmp_path / "out" / "screening.html").read_text()
    library = StudyResult.model_validate_json((tmp_path / "out" / "library" / "AlPO4" / "result.json").read_text())
    names = {c.name for c in library.candidates}
    assert names >= {"AlPO4_berlinite", "AlPO4_cristobalite", "LiTi2(PO4)3", "Li3P"}
    assert all(reference.slope == -1.0 for reference in library.references)
    # a second call computes nothing and says the same
    before = (tmp_path / "out" / "screening.csv").read_text()
    assert screen(monkeypatch, tmp_path / "out", "--coatings", str(listed)) == 0
    assert "2 of 2 coatings were finished before" in capsys.readouterr().out
    assert (tmp_path / "out" / "screening.csv").read_text() == before


def test_measured_peaks_are_matched_with_the_predicted_products(monkeypatch, tmp_path, capsys):
    """AlPO4 between LTP and lithium: peaks of AlPO4, gamma-LiAlO2 and Li3PO4 come back as these three."""
    out = tmp_path / "out"
    assert screen(monkeypatch, out, "--coating", "AlPO4") == 0
    header = "label,delta_iso_ppm,delta_error_ppm,cq_mhz,cq_error_mhz\n"
    (tmp_path / "p.csv").write_text("label,delta_iso_ppm,delta_error_ppm\na,-24.4,0.3\nb,9.6,0.3\n")
    (tmp_path / "al.csv").write_text(f"{header}a,44.3,0.5,4.1,0.3\nb,81.7,0.5,3.2,0.3\n")
    (tmp_path / "all.csv").write_text(
        "file,isotope,field_tesla,mas_rate_hz,experiment\n"
        "p.csv,31P,9.4,12500,one-pulse\nal.csv,27Al,9.4,12500,one-pulse\n"
    )
    capsys.readouterr()
    place, library = str(tmp_path / "matched"), str(out / "library" / "AlPO4")
    assert call(monkeypatch, "match", str(tmp_path / "all.csv"), "--library", library, "--out", place, "--quick") == 0
    said = capsys.readouterr().out
    result = StudyResult.model_validate_json((tmp_path / "matched" / "result.json").read_text())
    members = set(result.assignment.members)
    assert members >= {"LiAlO2_gamma", "Li3PO4_beta"}
    assert any(name.startswith("AlPO4") for name in members)
    assert "none of these" not in said


def test_a_coating_with_an_element_without_phases_is_named_and_the_others_go_on(monkeypatch, tmp_path, capsys):
    assert screen(monkeypatch, tmp_path / "out", "--coating", "LiF", "--coating", "RbF") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "not screened: RbF | LTP | Li: the table (sevennet) has no phase of Rb" in said
    rows = list(csv.DictReader((tmp_path / "out" / "screening.csv").read_text().splitlines()))
    assert [r["coating"] for r in rows] == ["LiF"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "no coating was given"),
        (("--coating", "Lithium"), "'Lithium' is no chemical formula"),
        (("--coating", "RbF"), "nothing could be screened: the table (sevennet) has no phase of Rb"),
        (("--coating", "LiF", "--electrode", "LiFe"), "no electrode 'LiFe'"),
        (("--coating", "LiF", "--electrode", "LiFePO4@4-3"), "must come first"),
        (("--coating", "LiF", "--electrolyte", "LAPT"), "did you mean 'LATP'?"),
        (("--coatings", "none.txt"), "cannot be read as a list of coatings"),
        (("--coating", "LiF", "--energies", "none.csv"), "cannot be read as a table of energies"),
        (("--coating", "LiF", "--interface", "none"), "there is no file or folder none"),
    ],
)
def test_bad_input_is_refused_with_one_message(monkeypatch, tmp_path, capsys, arguments, told):
    assert told in refused(monkeypatch, tmp_path / "out", capsys, *arguments)


def test_a_missing_key_is_named(monkeypatch, tmp_path, capsys):
    for name in ("MP_API_KEY", "PMG_MAPI_KEY"):
        monkeypatch.delenv(name, raising=False)
    told = refused(monkeypatch, tmp_path / "out", capsys, "--coating", "LiF", "--energies", "materials-project")
    assert "MP_API_KEY" in told


def test_ones_own_energies_need_every_element(monkeypatch, tmp_path, capsys):
    own = tmp_path / "mine.csv"
    own.write_text("formula,energy_ev_per_atom\nLi,-1.9\nLiF,-4.8\n")
    told = refused(monkeypatch, tmp_path / "out", capsys, "--coating", "LiF", "--energies", str(own))
    assert "energies of the elements F are missing" in told


def test_a_phase_whose_relaxation_failed_is_named(monkeypatch, tmp_path, capsys):
    """Of an element it leaves no number; of a compound it stands beside every number of its elements."""
    shipped = shipped_table()
    own = tmp_path / "mine.json"
    without = [p for p in shipped.phases if p.formula not in ("F", "Li2O")]
    failed = {"F-element": "NotConvergedError: the largest force", "Li2O-antifluorite": "NotConvergedError: stress"}
    table = shipped.model_copy(
        update={
            "phases": tuple(without),
            "failed": failed,
            "failed_formulas": {"F-element": "F2", "Li2O-antifluorite": "Li2O"},
        }
    )
    own.write_text(EnergyTable.model_validate(table).model_dump_json())
    told = refused(monkeypatch, tmp_path / "out", capsys, "--coating", "LiF", "--energies", str(own))
    assert "no phase of F (failed: F-element)" in told
    assert screen(monkeypatch, tmp_path / "out", "--coating", "Li3PO4", "--energies", str(own)) == 0
    assert "failed: Li2O-antifluorite" in " ".join(capsys.readouterr().out.split())


def test_interface_models_need_an_interface(monkeypatch, tmp_path, capsys):
    assert screen(monkeypatch, tmp_path / "out", "--coating", "AlPO4") == 0
    capsys.readouterr()
    library = str(tmp_path / "out" / "library" / "AlPO4")
    told = refused(monkeypatch, tmp_path / "other", capsys, "--coating", "AlPO4", "--interface", library)
    assert "none of the candidates" in told
    assert "is an interface with computed tensors" in told


def test_phases_are_listed_with_their_sources(monkeypatch, capsys):
    assert call(monkeypatch, "phases", "list", "Li-P") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("Li3P ") for line in lines)
    assert all(set(amounts_of(line.split()[0])) <= {"Li", "P"} for line in lines if line.strip())


def rows_of_the_shipped_table(path: Path) -> None:
    """The finished phases as they were written, from the raw energies that the table ships."""
    rows = [
        {
            "name": p.name,
            "formula": p.formula if p.name not in phase_names() else build_phase(p.name).composition.reduced_formula,
            "energy_per_atom_ev": p.raw_ev_per_atom,
            "space_group": "",
            "start_space_group": "",
            "volume_change": 0.0,
            "density_g_cm3": 1.0,
            "known_density_g_cm3": None,
        }
        | ({"ordered_from": "a disordered crystal", "grade": "model"} if "-ordered-" in p.name else {})
        for p in shipped_table().phases
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_shipped_table_follows_from_its_raw_energies(monkeypatch, tmp_path, capsys):
    rows, out = tmp_path / "rows.jsonl", tmp_path / "table.json"
    rows_of_the_shipped_table(rows)
    assert call(monkeypatch, "phases", "table", str(rows), str(out), "--version", "test") == 0
    made = EnergyTable.model_validate_json(out.read_text())
    shipped = {p.name: p.energy_ev_per_atom for p in shipped_table().phases}
    assert {p.name for p in made.phases} == set(shipped)
    assert all(p.energy_ev_per_atom == pytest.approx(shipped[p.name], abs=2e-4) for p in made.phases)
    assert "left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("compute", "rows.jsonl", "--only", "LiP-Li"), "did you mean 'LiP-LiP'"),
        (("order", "LATB_x0.3", "rows.jsonl"), "LATB_x0.3"),
        (("order", "AlPO4_berlinite", "rows.jsonl"), "is ordered already"),
        (("order", "LATP_x0.3", "rows.jsonl", "--supercell", "2"), "write three whole numbers"),
        (("table", "rows.jsonl", "table.json"), "a fit needs at least 10"),
    ],
)
def test_bad_phases_are_refused_and_nothing_is_written(monkeypatch, tmp_path, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "phases", *arguments) == EXIT_BAD_INPUT
    said = capsys.readouterr()
    assert told in " ".join((said.out + said.err).split())
    assert not list(tmp_path.iterdir())


def test_rows_of_unknown_phases_are_named(monkeypatch, tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"name": "Qq-type", "formula": "LiF", "energy_per_atom_ev": -1.0}) + "\n")
    assert call(monkeypatch, "phases", "table", str(rows), str(tmp_path / "table.json")) == EXIT_BAD_INPUT
    said = capsys.readouterr()
    assert "Qq-type" in said.out + said.err
    assert not (tmp_path / "table.json").exists()
