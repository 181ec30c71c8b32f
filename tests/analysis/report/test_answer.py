"""The answer's parts of the report: tables, paragraph, next steps, samples; true to the model, texts escaped."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from surfshift.analysis.report import write_report
from surfshift.analysis.report.answer_figures import expected_lines
from surfshift.analysis.report.paragraph import paragraph
from surfshift.analysis.report.tables import tables
from surfshift.analysis.report.view import View
from surfshift.analysis.vocabulary import (
    CalculationGain,
    Experiment,
    ExperimentGain,
    PopulationChange,
    ReferenceFit,
    SamplePopulations,
    Sensitivity,
    StudyResult,
    Verdict,
)

if TYPE_CHECKING:
    from pathlib import Path

EVIL = "<script>alert(1)</script>$x$ =1+1"


@pytest.fixture(scope="module")
def answered(result: StudyResult) -> StudyResult:
    """The invented result with everything that a match adds, named badly where names are the user's."""
    kept = result.relaxations[:3]
    ids = {r.candidate.id for r in kept}
    assert result.assignment is not None
    populations = tuple(p for p in result.assignment.populations if p.candidate_id in ids)
    first = populations[0].candidate_name
    fit = ReferenceFit(
        isotope="31P",
        sigma_ppm=330.0,
        prior_covariance=((4.0, 0.0), (0.0, 0.01)),
        mean=(0.7, -0.02),
        covariance=((1.0, 0.0), (0.0, 0.008)),
    )
    change = PopulationChange(
        candidate_name=first, before=EVIL, after="after", mean=-0.2, low=-0.3, high=-0.1, probability_increase=0.01
    )
    assignment = result.assignment.model_copy(
        update={
            "populations": populations,
            "samples": tuple(SamplePopulations(sample=s, populations=populations) for s in (EVIL, "after")),
            "changes": (change,),
            "reference_fits": (fit,),
        }
    )
    sensitivity = Sensitivity(
        change=f"without {EVIL}", verdict=Verdict.NONE, members=(), probability=0.4, fit_probability=0.3
    )
    experiments = (
        ExperimentGain(
            name="27Al MQMAS 14.1 T", isotope="27Al", field_tesla=14.1, experiment=Experiment.MQMAS, gain_bits=0.8,
            entropy_bits=1.2,
        ),
        ExperimentGain(
            name="27Al TRAPDOR 9.4 T", isotope="27Al", field_tesla=9.4, experiment=Experiment.TRAPDOR, gain_bits=0.3,
            entropy_bits=1.2,
        ),
    )  # fmt: skip
    calculation = CalculationGain(
        name=f"{EVIL} with balanced", kind="protocol", candidate_name=first, protocol="balanced", n_sites=4,
        site_error_factor=0.6, basis="assumed", gain_bits=0.2, entropy_bits=1.3, cpu_hours=0.5,
    )  # fmt: skip
    return result.model_copy(
        update={
            "relaxations": kept[:2],
            "candidates": (kept[2].candidate,),
            "tensors": {key: own for key, own in result.tensors.items() if key in ids},
            "sites": tuple(site for site in result.sites if site.candidate_id in ids),
            "references": (
                result.references[0].model_copy(update={"is_wide": True, "note": EVIL}),
                *result.references[1:],
            ),
            "assignment": assignment,
            "sensitivities": (sensitivity,),
            "experiments": experiments,
            "calculations": (calculation,),
        }
    )


def read(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_tables_hold_every_number_and_no_formula(answered: StudyResult) -> None:
    found = tables(answered)
    assert answered.assignment is not None
    rows = read(found["table-populations.csv"])
    assert len(rows) == 2 * len(answered.assignment.populations)
    assert float(rows[0]["mean"]) == answered.assignment.populations[0].mean
    assert len(read(found["table-sites.csv"])) == len(answered.sites)
    evidence = read(found["table-evidence.csv"])
    assert [float(r["log_evidence"]) for r in evidence] == [s.log_evidence for s in answered.assignment.subsets]
    assert evidence[0]["candidate_names"].split(";") == list(answered.assignment.subsets[0].candidate_names)
    spectrum, curve = View(answered).spectra[0]
    fit = read(found["table-fit-1.csv"])
    assert len(fit) == len(spectrum.axis_ppm)
    assert curve is not None
    total = sum(float(v) for k, v in fit[400].items() if k.startswith("part ")) + float(fit[400]["baseline"])
    assert total == pytest.approx(float(fit[400]["fit"]), rel=1e-6)
    harmless = answered.model_copy(
        update={"sensitivities": (answered.sensitivities[0].model_copy(update={"change": "=1+1"}),)}
    )
    assert read(tables(harmless)["table-sensitivity.csv"])[0]["change"] == "'=1+1"


def test_the_paragraph_has_the_numbers_of_the_model(answered: StudyResult) -> None:
    text = paragraph(answered)
    assert answered.assignment is not None
    best = answered.assignment.subsets[0]
    assert f"(probability {best.probability:.2f})" in text
    assert "For 27Al no reference compound was computed" in text
    assert "delta(31P) = 261.1 - 0.850 sigma (2 compounds" in text
    assert "error beforehand 2.0" in text
    assert "-0.20 (-0.30 to -0.10)" in text
    assert "The verdict changes under: without" in text
    assert "27Al MQMAS 14.1 T (0.80 of 1.20 bits)" in text
    assert paragraph(answered.model_copy(update={"assignment": None})) == ""


def test_the_report_shows_all_of_it_and_escapes_it(answered: StudyResult, tmp_path: Path) -> None:
    page = write_report(answered, tmp_path).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    for words in (
        "What it hangs on",
        "Sample by sample",
        "wide prior instead of a reference",
        "For a paper",
        "(changed)",
    ):
        assert words in page
    for name in ("evidence", "samples", "corner-31P", "gains", "difference"):
        assert (tmp_path / f"report-{name}.png").stat().st_size > 5000
    for name in ("populations", "changes", "evidence", "sensitivity", "next-experiments", "next-calculations"):
        assert (tmp_path / f"table-{name}.csv").is_file()
    # a candidate that was not relaxed has a card without an energy
    assert page.count("eV per cell") == 2
    assert page.count('class="card"') == 3
    # tables of an earlier report that are not made any more go away
    write_report(answered.model_copy(update={"sensitivities": ()}), tmp_path)
    assert not (tmp_path / "table-sensitivity.csv").exists()


def test_expected_lines_carry_the_atoms_that_the_experiment_sees(answered: StudyResult) -> None:
    view = View(answered)
    mqmas, trapdor = answered.experiments
    for name, _, axis, density in expected_lines(view, mqmas):
        # every candidate's atoms of the isotope count one
        members = next(s.candidate_names for s in view.explanations if " + ".join(s.candidate_names) == name)
        assert np.trapezoid(density, axis) == pytest.approx(len(members), rel=0.02)
    dry = [curve for curve in expected_lines(view, trapdor) if curve[0] == answered.relaxations[0].candidate.name]
    assert all(float(np.max(density)) == 0.0 for *_, density in dry)
