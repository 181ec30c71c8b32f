"""The page's numbers: the lines add up to the fit, and broadening and areas are those of the lines."""

from __future__ import annotations

import numpy as np
from surfshift.analysis.given import GivenPhase
from surfshift.analysis.given_phases import given_sites
from surfshift.analysis.matching import match
from surfshift.analysis.mqmas import triple_quantum_position_ppm
from surfshift.analysis.vocabulary import Experiment, Peak, PeakList, StudyResult
from surfshift.workflows.view.data import page_data, structure_data


def test_lines_at_the_fitted_populations_are_the_fit(result: StudyResult) -> None:
    data = page_data(result)
    chart = data["charts"][0]
    populations = {c["id"]: c["population"]["mean"] for c in data["candidates"]}
    total = sum(populations[key] * np.array(line) for key, line in chart["lines"].items()) + np.array(chart["baseline"])
    assert chart["fitted"] == sorted(populations)
    np.testing.assert_allclose(total, chart["measured"], atol=2e-3)
    assert np.max(np.abs(chart["measured"])) == 1.0


def test_a_candidate_without_a_fitted_part_gets_the_area_of_its_population(result: StudyResult) -> None:
    assert result.assignment is not None
    first, second = result.candidates
    (curve,) = result.assignment.curves
    one = curve.model_copy(update={"parts": {first.id: curve.parts[first.id]}})
    populations = tuple(
        p if p.candidate_id == first.id else p.model_copy(update={"mean": 0.0}) for p in result.assignment.populations
    )
    changed = result.model_copy(
        update={"assignment": result.assignment.model_copy(update={"curves": (one,), "populations": populations})}
    )
    chart = page_data(changed)["charts"][0]
    areas = {key: sum(line) for key, line in chart["lines"].items()}
    assert chart["fitted"] == [first.id]
    np.testing.assert_allclose(areas[second.id], areas[first.id], rtol=0.02)


def test_surface_selective_experiments_see_what_is_near_hydrogen(result: StudyResult) -> None:
    near, far = (s.model_copy(update={"distance_to_h_ang": d}) for s, d in zip(result.sites, (2.0, 12.0), strict=True))
    peaks = result.measurements[1].model_copy(update={"experiment": Experiment.TRAPDOR})
    chart = page_data(result.model_copy(update={"sites": (near, far), "measurements": (peaks,)}))["charts"][0]
    areas = {key: sum(line) for key, line in chart["lines"].items()}
    assert areas[near.candidate_id] > 100 * areas[far.candidate_id]


def test_structures_have_whole_polyhedra(result: StudyResult) -> None:
    scene = structure_data(result.candidates[0], {})
    positions = np.array(scene["positions"])
    bonds: dict[int, int] = {}
    for i, j in scene["sticks"]:
        assert 1.4 < np.linalg.norm(positions[i] - positions[j]) < 1.9
        for end in (i, j):
            bonds[end] = bonds.get(end, 0) + 1
    cations = [k for k, element in enumerate(scene["elements"]) if element != "O"]
    assert {bonds[k] for k in cations} == {4}


def test_given_phases_and_mqmas_are_drawn_where_they_lie() -> None:
    phase = GivenPhase.model_validate(
        {
            "phase": "published",
            "formula": "AlPO4",
            "source": "made for this test",
            "lines": [
                {"isotope": "27Al", "delta_iso_ppm": 44.5, "delta_error_ppm": 1.0, "cq_mhz": 4.1, "cq_error_mhz": 0.1}
            ],
        }
    )
    sites = given_sites(phase, ["27Al"])
    place = triple_quantum_position_ppm("27Al", delta_iso_ppm=44.5, cq_mhz=4.1, eta=0.0, field_tesla=9.4)
    coupling = {"cq_mhz": 4.1, "cq_error_mhz": 0.1, "eta_q": 0.0, "eta_error": 0.1}
    peaks = (Peak(label="a", delta_iso_ppm=44.5, delta_error_ppm=1.0, **coupling),)
    measured = PeakList(name="3Q", isotope="27Al", field_tesla=9.4, experiment="mqmas", peaks=peaks)
    result = StudyResult(
        name="x", relaxations=(), tensors={}, references=(), sites=sites, measurements=(measured,), provenance={},
        assignment=match({phase.id: sites}, [measured], {}), given=(phase,),
    )  # fmt: skip
    data = page_data(result)
    (shown,) = data["candidates"]
    assert (shown["kind"], shown["name"], shown["atoms"]) == ("given", "published", 6)
    assert shown["population"]["mean"] == 1.0
    (chart,) = data["charts"]
    line = np.array(chart["lines"][phase.id])
    axis = chart["start"] + chart["step"] * np.arange(len(line))
    assert abs(axis[line.argmax()] - place) < 2 * chart["step"]
    assert abs(chart["bands"][0]["x"] - place) < 1e-9
