"""``surfshift match`` as a user meets it: spectra made from a library's own tensors, and everything that can be bad."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from surfshift.analysis.match_library import CandidateTensors
from surfshift.analysis.prediction import predict_sites
from surfshift.analysis.references import available_libraries
from surfshift.analysis.vocabulary import Method, SiteTensors, StudyResult
from surfshift.structures.enumeration import bulk_candidate
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.symmetry import distinct_sites
from surfshift.structures.vocabulary import Candidate
from surfshift.workflows.cli import EXIT_BAD_INPUT, EXIT_FAILED_JOBS, main

SHIPPED = next(library for library in available_libraries() if library.method.protocol == "fast")
FIELD = "9.4"


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["surfshift", "match", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def computed(candidate: Candidate, shift_ppm: float, coupling: float, method: Method) -> tuple[SiteTensors, ...]:
    """Tensors as a calculation would give them: shieldings near those of berlinite, moved; made for these tests."""
    sites = []
    for orbit in distinct_sites(candidate.structure, elements={"Al", "P"}):
        sigma = {"Al": 521.1, "P": 334.6}[orbit.element] - shift_ppm
        efg = {"Al": 0.117 * coupling, "P": 0.0}[orbit.element] * np.diag([-0.3, -0.7, 1.0])
        sites.append(
            SiteTensors(
                structure_id=candidate.structure.content_id,
                element=orbit.element,
                atom_indices=orbit.atom_indices,
                shielding_ppm=orbit.expand(sigma * np.eye(3)),
                efg_au=orbit.expand(efg),
                method=method,
            )
        )
    return tuple(sites)


def entry(
    name: str, crystal: str, shift_ppm: float, coupling: float, method: Method = SHIPPED.method
) -> CandidateTensors:
    made = bulk_candidate(build_crystal(load_crystal(crystal)), name=name)
    return CandidateTensors(candidate=made, tensors=computed(made, shift_ppm, coupling, method))


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    for name, crystal, shift, coupling in (
        ("near", "AlPO4_berlinite", 0.0, 1.0),
        ("far", "AlPO4_cristobalite", 25.0, 3.0),
    ):
        text = entry(name, crystal, shift, coupling).model_dump_json()
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return folder


def peaks(path: Path, *rows: str, header: str = "label,delta_iso_ppm,delta_error_ppm") -> str:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(path)


def spectrum(path: Path, centre: float = -24.5, **changes: object) -> str:
    """Two-column spectrum with one line and noise."""
    axis = np.linspace(-80.0, 40.0, 600)
    y = 100.0 * np.exp(-0.5 * ((axis - centre) / 1.5) ** 2) + np.random.default_rng(0).normal(size=600)
    if changes.get("reverse"):
        axis, y = axis[::-1], y[::-1]
    if changes.get("nan"):
        y[300] = np.nan
    if changes.get("silent"):
        y = np.random.default_rng(0).normal(size=600)
    if changes.get("negative"):
        y = y - 60.0 * np.exp(-0.5 * ((axis - 5.0) / 1.5) ** 2)
    if changes.get("points"):
        axis = np.arange(600.0)
    header = str(changes.get("header", "ppm intensity"))
    np.savetxt(path, np.stack([axis, y], axis=1), header=header)
    return str(path)


PHOSPHORUS = ("--isotope", "31P", "--field-tesla", FIELD, "--mas-rate-hz", "12500", "--experiment", "one-pulse")


def test_a_library_of_files_is_matched_without_any_study(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    measured = peaks(tmp_path / "p.csv", "one,-25.5,0.5")
    code = call(monkeypatch, measured, *PHOSPHORUS, "--library", str(library), "--out", str(out), "--max-members", "1")
    printed = capsys.readouterr().out
    assert code == 0
    result = StudyResult.model_validate_json((out / "result.json").read_bytes())
    assert result.assignment is not None
    assert result.assignment.populations[0].candidate_name == "near"
    assert result.assignment.subsets[0].candidate_names == ("near",)
    assert "2 candidate structures" in printed
    assert (out / "paragraph.txt").read_text(encoding="utf-8").strip() in printed
    assert {c.name for c in result.candidates} == {"near", "far"}
    assert result.relaxations == ()
    with (out / "table-sites.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.sites)
    assert float(rows[0]["delta_iso_ppm"]) == pytest.approx(result.sites[0].delta_iso_ppm)
    for name in (
        "report.html",
        "report-evidence.png",
        "report-corner-31P.png",
        "table-evidence.csv",
        "table-sensitivity.csv",
    ):
        assert (out / name).stat().st_size > 100
    assert "without p" not in {s.change for s in result.sensitivities}
    assert {s.change[:13] for s in result.sensitivities} == {"31P reference"}
    # the result is a library again
    again = tmp_path / "again"
    code = call(monkeypatch, measured, *PHOSPHORUS, "--library", str(out), "--out", str(again), "--quick")
    assert code == 0
    repeated = json.loads((again / "result.json").read_text(encoding="utf-8"))
    assert {c["name"] for c in repeated["candidates"]} == {"near", "far"}


def test_magres_without_reference_is_matched_with_wide_priors_and_says_so(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "magres"
    folder.mkdir()
    (folder / "AlPO-14.magres").write_bytes((shared_data / "parsers/castep/AlPO-14.magres").read_bytes())
    out = tmp_path / "out"
    measured = peaks(tmp_path / "p.csv", "a,-21,1", "b,-26,1")
    code = call(monkeypatch, measured, *PHOSPHORUS, "--library", str(folder), "--out", str(out), "--quick")
    printed = capsys.readouterr().out
    assert code == 0
    assert "no 31P compound was computed with castep" in printed
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "wide prior instead of a reference" in page
    result = StudyResult.model_validate_json((out / "result.json").read_bytes())
    assert result.references[0].is_wide
    assert [site.multiplicity for site in result.sites] == [2, 2, 2, 2]


def test_mixed_protocols_are_refused_by_name(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = SHIPPED.method.model_copy(update={"protocol": "balanced", "protocol_hash": "feed"})
    foreign = entry("foreign", "AlPO4_cristobalite", 5.0, 1.0, other)
    moved = foreign.candidate.structure.moved_to(foreign.candidate.structure.cart_coords + 0.3)
    candidate = foreign.candidate.model_copy(update={"structure": moved})
    text = CandidateTensors(candidate=candidate, tensors=computed(candidate, 5.0, 1.0, other)).model_dump_json()
    (library / "foreign.json").write_text(text, encoding="utf-8")
    measured = peaks(tmp_path / "p.csv", "one,-25.5,0.5")
    out = tmp_path / "out"
    assert call(monkeypatch, measured, *PHOSPHORUS, "--library", str(library), "--out", str(out)) == EXIT_BAD_INPUT
    message = capsys.readouterr().err
    assert "mixes 2 methods" in message
    assert other.key in message
    assert SHIPPED.method.key in message
    assert "foreign" in message
    assert not out.exists()


def test_references_of_another_method_are_refused_with_the_line_to_type(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from surfshift.analysis.reference_table import write_references

    reference = SHIPPED.reference("31P")
    other = reference.model_copy(update={"method": reference.method.model_copy(update={"functional": "pbe0"})})
    file = write_references([other], tmp_path / "own.json")
    measured = peaks(tmp_path / "p.csv", "one,-25.5,0.5")
    arguments = (measured, *PHOSPHORUS, "--library", str(library), "--references", str(file))
    assert call(monkeypatch, *arguments, "--out", str(tmp_path / "out")) == EXIT_BAD_INPUT
    message = capsys.readouterr().err
    assert "pbe0" in message
    assert "surfshift reference TABLE.csv --isotope 31P --engine cluster" in message


@pytest.mark.parametrize(
    "case",
    [
        ({"points": True, "header": "point intensity"}, "point"),
        ({"header": "Hz intensity"}, "Hz"),
        ({"nan": True}, "nan"),
        ({"silent": True}, "no signal"),
    ],
)
def test_bad_spectra_are_refused_with_one_message(
    tmp_path: Path,
    library: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: tuple[dict[str, object], str],
) -> None:
    changes, told = case
    measured = spectrum(tmp_path / "s.txt", **changes)
    out = tmp_path / "out"
    code = call(monkeypatch, measured, *PHOSPHORUS, "--library", str(library), "--out", str(out))
    message = capsys.readouterr().err
    assert code == EXIT_BAD_INPUT, message
    assert message.startswith("surfshift: ")
    assert told.lower() in message.lower()
    assert "Traceback" not in message
    assert not out.exists()


def test_a_reversed_axis_and_negative_intensity_are_handled_and_said(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    turned, straight = spectrum(tmp_path / "a.txt", reverse=True), spectrum(tmp_path / "b.txt", negative=True)
    results = []
    for number, measured in enumerate((turned, straight)):
        out = tmp_path / f"out{number}"
        code = call(monkeypatch, measured, *PHOSPHORUS, "--library", str(library), "--out", str(out), "--quick")
        assert code == 0
        results.append(StudyResult.model_validate_json((out / "result.json").read_bytes()))
    printed = capsys.readouterr().out
    assert "negative intensity down to 6" in printed
    axis = results[0].measurements[0].axis_ppm  # type: ignore[union-attr]
    assert axis[0] < axis[-1]
    assert results[0].assignment is not None
    # a single line could be anything's, so the verdict may be "none"; among the candidates it is the near one's
    best = next(subset for subset in results[0].assignment.subsets if subset.candidate_names)
    assert best.candidate_names == ("near",)
    assert results[0].assignment.attributions[0].measurement == "a"


@pytest.mark.parametrize(
    "case",
    [
        (("no.csv",), "there is no measured file"),
        (("p.csv", "--isotope", "31Pb"), "31Pb"),
        (("p.csv", "--isotope", "29Si"), "Si"),
        (("bare",), "does not state its isotope"),
        (("p.csv", "--isotope", "31P", "--always", "nera"), "did you mean 'near'?"),
        (("p.csv", "--isotope", "31P", "--experiment", "trapdoor"), "experiment"),
        (("p.csv", "--isotope", "31P", "--library", "nowhere"), "nowhere"),
        (("p.csv", "--isotope", "31P", "--oxidation-states", "Al"), "ELEMENT=CHARGE"),
        (("m.yaml",), "line 2"),
        (("m.csv",), "measurement 1"),
    ],
)
def test_bad_arguments_are_refused_with_one_message(
    tmp_path: Path,
    library: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: tuple[tuple[str, ...], str],
) -> None:
    arguments, told = case
    monkeypatch.chdir(tmp_path)
    peaks(tmp_path / "p.csv", "one,-25.5,0.5")
    (tmp_path / "m.yaml").write_text(
        "measured:\n  - {peaks: gone.csv, isotope: 31P, field_tesla: 9.4}\n", encoding="utf-8"
    )
    (tmp_path / "m.csv").write_text("file,isotope,field_tesla\ngone.csv,31P,9.4\n", encoding="utf-8")
    if arguments == ("bare",):
        arguments = ("p.csv",)
    given = [*arguments, "--field-tesla", FIELD] if "p.csv" in arguments else list(arguments)
    if "--library" not in given:
        given += ["--library", str(library)]
    assert call(monkeypatch, *given) == EXIT_BAD_INPUT
    message = capsys.readouterr().err
    assert told in message
    assert "Traceback" not in message
    assert not (tmp_path / "match-report").exists()


def test_a_nucleus_that_the_file_contradicts_is_refused(
    tmp_path: Path,
    library: Path,
    shared_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = next((shared_data / "parsers/bruker").rglob("acqus")).parent
    code = call(monkeypatch, str(folder), *PHOSPHORUS[:2], "--library", str(library), "--out", str(tmp_path / "out"))
    assert code == EXIT_BAD_INPUT
    message = capsys.readouterr().err
    assert "31P was asked for" in message
    assert "1H" in message


def test_more_sites_than_data_is_said_and_an_incomplete_candidate_is_left_out(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    half = entry("half", "AlPO4_berlinite", 3.0, 1.2)
    moved = half.candidate.structure.moved_to(half.candidate.structure.cart_coords + 0.2)
    candidate = half.candidate.model_copy(update={"structure": moved})
    tensors = tuple(t for t in computed(candidate, 3.0, 1.2, SHIPPED.method) if t.element == "Al")
    text = CandidateTensors(candidate=candidate, tensors=tensors).model_dump_json()
    (library / "half.json").write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    measured = peaks(tmp_path / "p.csv", "one,-25.5,0.5")
    code = call(monkeypatch, measured, *PHOSPHORUS, "--library", str(library), "--out", str(out), "--quick")
    printed = capsys.readouterr().out
    assert code == EXIT_FAILED_JOBS
    assert "half: left out of the matching, its tensors of P" in printed
    assert "few data: 1 measured values" in printed


def test_a_manifest_of_two_samples_gives_populations_of_each(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Peak lists of two mixtures of the same candidates; the areas change."""
    reference = SHIPPED.reference("31P")
    shifts = {}
    for name, crystal, shift, coupling in (
        ("near", "AlPO4_berlinite", 0.0, 1.0),
        ("far", "AlPO4_cristobalite", 25.0, 3.0),
    ):
        made = entry(name, crystal, shift, coupling)
        (site,) = predict_sites(made.candidate, made.tensors, {"31P": reference}, ["31P"])
        shifts[name] = site.delta_iso_ppm
    header = "label,delta_iso_ppm,delta_error_ppm,area,area_error"
    for sample, share in (("before", 0.8), ("after", 0.4)):
        rows = [f"{n},{shifts[n]},0.3,{a},0.02" for n, a in (("near", share), ("far", 1.0 - share))]
        peaks(tmp_path / f"{sample}.csv", *rows, header=header)
    manifest = tmp_path / "both.csv"
    manifest.write_text(
        "file,isotope,field_tesla,experiment,sample\nbefore.csv,31P,9.4,one-pulse,before\nafter.csv,31P,9.4,one-pulse,after\n",
        encoding="utf-8",
    )
    out = tmp_path / "out"
    assert call(monkeypatch, str(manifest), "--library", str(library), "--out", str(out), "--quick") == 0
    found = StudyResult.model_validate_json((out / "result.json").read_bytes()).assignment
    assert found is not None
    assert [s.sample for s in found.samples] == ["before", "after"]
    before, after = ({p.candidate_name: p for p in s.populations} for s in found.samples)
    assert before["near"].low < 0.8 < before["near"].high
    assert after["near"].low < 0.4 < after["near"].high
    change = next(c for c in found.changes if c.candidate_name == "near")
    assert (change.before, change.after) == ("before", "after")
    assert change.low < -0.4 < change.high < 0.0
    # each list says nothing on the areas with a prior probability of 5 %
    assert change.probability_increase < 0.1
    assert (out / "table-changes.csv").is_file()
    assert "Sample by sample" in (out / "report.html").read_text(encoding="utf-8")


def test_energies_enter_as_a_prior_only_when_they_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two candidates whose lines cannot be told apart: without energies they share, with them the lower one has it."""
    folder = tmp_path / "library"
    folder.mkdir()
    for name, crystal in (("low", "AlPO4_berlinite"), ("high", "AlPO4_cristobalite")):
        text = entry(name, crystal, 0.0, 1.0).model_dump_json()
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    given = [peaks(tmp_path / "p.csv", "one,-25.5,0.5"), *PHOSPHORUS, "--library", str(folder), "--quick"]

    def found(out: str, *options: str) -> tuple[float, str]:
        assert call(monkeypatch, *given, "--max-members", "1", "--out", str(tmp_path / out), *options) == 0
        capsys.readouterr()
        result = StudyResult.model_validate_json((tmp_path / out / "result.json").read_bytes())
        assert result.assignment is not None
        own = [s.probability for s in result.assignment.subsets if s.candidate_names == ("low",)]
        return own[0], " ".join(result.assignment.warnings)

    plain, said = found("plain")
    assert "energ" not in said
    weighed, said = found(
        "weighed", "--energies", "low=0,high=0.5", "--energy-error-ev", "0.1", "--energy-temperature-k", "300"
    )
    assert weighed > plain + 0.2
    assert "energ" in said


@pytest.mark.parametrize(
    "case",
    [
        (("--energies", "near=0,far=0.5"), "needs --energy-error-ev"),
        (("--energy-error-ev", "0.1"), "belong to --energies"),
        (("--energies", "near=0,far", "--energy-error-ev", "0.1", "--energy-temperature-k", "300"), "holds 'far'"),
        (("--energies", "near=0,far=1", "--energy-error-ev", "0", "--energy-temperature-k", "300"), "error_ev"),
        (("--energies", "near=0,fra=1", "--energy-error-ev", "0.1", "--energy-temperature-k", "300"), "'fra'"),
    ],
)
def test_energies_that_say_too_little_are_refused(
    tmp_path: Path,
    library: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: tuple[tuple[str, ...], str],
) -> None:
    options, told = case
    measured = peaks(tmp_path / "p.csv", "one,-25.5,0.5")
    out = tmp_path / "out"
    assert (
        call(monkeypatch, measured, *PHOSPHORUS, "--library", str(library), "--out", str(out), *options)
        == EXIT_BAD_INPUT
    )
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_a_phase_with_given_lines_is_weighed_beside_computed_candidates(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    phosphate = (
        "phase: Li3PO4\nformula: Li3PO4\nsource: a <paper>\n"
        "lines: [{isotope: 31P, delta_iso_ppm: 9.5, delta_error_ppm: 0.5, label: PO4}]\n"
    )
    (library / "known.yaml").write_text(phosphate, encoding="utf-8")
    out = tmp_path / "out"
    header = "label,delta_iso_ppm,delta_error_ppm,area,area_error"
    measured = peaks(tmp_path / "p.csv", "one,-25.5,0.5,0.7,0.05", "two,9.6,0.3,0.3,0.05", header=header)
    code = call(monkeypatch, measured, *PHOSPHORUS, "--library", str(library), "--out", str(out), "--quick")
    printed = capsys.readouterr().out
    assert code == 0
    assert "1 phase with measured lines (Li3PO4)" in printed
    result = StudyResult.model_validate_json((out / "result.json").read_bytes())
    assert result.assignment is not None
    given = next(p for p in result.assignment.populations if p.candidate_name == "Li3PO4")
    assert given.low < 0.3 < given.high
    assert given.candidate_id == result.given[0].id
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Phases with given lines" in page
    assert "a &lt;paper&gt;" in page
    with (out / "table-sites.csv").open(encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["candidate_name"] == "Li3PO4")
    assert row["sigma_iso_ppm"] == ""
    # a phase that gives no line of a measured nucleus is left out and named
    (library / "known.yaml").write_text(phosphate.replace("31P, delta", "7Li, delta"), encoding="utf-8")
    (library / "known.yaml").write_text(
        (library / "known.yaml").read_text(encoding="utf-8").replace("label: PO4", "atoms: 3"), encoding="utf-8"
    )
    assert call(monkeypatch, measured, *PHOSPHORUS, "--library", str(library), "--out", str(out), "--quick") == (
        EXIT_FAILED_JOBS
    )
    assert "it gives no line of 31P" in capsys.readouterr().out


def test_a_candidate_named_as_disordered_needs_enough_atoms_and_the_right_name(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = peaks(tmp_path / "p.csv", "one,-25.5,0.5")
    common = (measured, *PHOSPHORUS, "--library", str(library), "--out", str(tmp_path / "out"), "--quick")
    assert call(monkeypatch, *common, "--disordered", "nearer") == EXIT_BAD_INPUT
    assert "--disordered names 'nearer', which is no candidate" in capsys.readouterr().err
    assert call(monkeypatch, *common, "--disordered", "near") == EXIT_BAD_INPUT
    assert "no environment has 5 atoms" in capsys.readouterr().err
    assert call(monkeypatch, *common, "--disordered", "glass=snapshot*") == EXIT_BAD_INPUT
    assert "'snapshot*', which is no candidate" in capsys.readouterr().err
    assert call(monkeypatch, *common, "--disordered", "far=nea*") == EXIT_BAD_INPUT
    assert "give the candidates together a name" in capsys.readouterr().err
    assert call(monkeypatch, *common, "--disordered", "both=*") == 0
    result = StudyResult.model_validate_json((tmp_path / "out/result.json").read_bytes())
    assert result.assignment is not None
    assert [p.candidate_name for p in result.assignment.populations] == ["both"]
    (site,) = result.sites
    # 31P has no coupling, only the spread of its shifts
    assert (site.multiplicity, site.is_disordered) == (7, False)
    assert site.width_ppm > 10.0
    assert call(monkeypatch, *common, "--experiment", "mqmas") == EXIT_BAD_INPUT
    assert "31P has spin 0.5" in capsys.readouterr().err
