"""Assignments that the areas bear out."""

import numpy as np
import pytest
from surfshift.analysis.matching import MatchSettings, match
from surfshift.analysis.matching.area_guide import guide_of
from surfshift.analysis.matching.areas import area_data
from surfshift.analysis.matching.peaks import fit_peaks, fit_subsets
from surfshift.analysis.matching.search import Problem
from surfshift.analysis.matching.sites import site_table
from surfshift.analysis.vocabulary import Peak, PeakList

SETTINGS = MatchSettings()


def listed(shifts, areas):
    peaks = tuple(
        Peak(label=str(s), delta_iso_ppm=s, delta_error_ppm=0.5, area=a, area_error=0.05 * a)
        for s, a in zip(shifts, areas, strict=True)
    )
    return PeakList(name="31P", isotope="31P", field_tesla=9.4, mas_rate_hz=12500.0, peaks=peaks)


def two_candidates(samples):
    """Two lines each; that of b at -22 and that of a at -20 may both have given a peak at -21."""
    a = [samples.site("a", "31P", 0, -20.0), samples.site("a", "31P", 1, 0.0)]
    return {"a": a, "b": [samples.site("b", "31P", 0, -22.0), samples.site("b", "31P", 1, -40.0)]}


def data_of(samples, peak_list, settings=SETTINGS):
    table = site_table("31P", list(two_candidates(samples).values()), samples.REFERENCES["31P"])
    fit = fit_peaks(table, [peak_list], settings)
    return table, area_data(table, peak_list, fit, start=0, shares=np.full(4, 0.5), settings=settings)


def test_a_peak_is_owned_by_a_line_of_its_area(samples):
    # populations 0.9 and 0.1: lines of 0.45 and of 0.05
    _, data = data_of(samples, listed([-20.0, 0.0, -24.0, -40.0], [0.45, 0.45, 0.05, 0.05]))
    guide = guide_of(data, np.array([0.9, 0.1]))
    assert guide.shape == (4, 5)
    # the small peak is not the large line's; under the large one either may have been found first
    assert guide[2, 2] > guide[2, 0] + 3.0
    assert guide[0, 0] > -2.0
    assert (guide[:, -1] == 0.0).all()


def test_a_guide_chooses_and_does_not_weigh(samples):
    """With room for all assignments a guide changes nothing; with room for one it decides which."""
    narrow = SETTINGS.model_copy(update={"beam_width": 1})
    rows = [np.arange(4)]
    # the near line of the large population was missed, so that the small peak at -21 is the other's
    for areas, population, owner in (((0.05, 0.05, 0.45), (0.1, 0.9), 0), ((0.05, 0.45, 0.05), (0.9, 0.1), 2)):
        peak_list = listed([-21.0, 0.0, -40.0], areas)
        table, data = data_of(samples, peak_list)
        guides = [[guide_of(data, np.array(population))]]
        plain = fit_subsets(table, rows, [peak_list], SETTINGS)[0]
        guided = fit_subsets(table, rows, [peak_list], SETTINGS, guides=guides)[0]
        assert guided.log_evidence == pytest.approx(plain.log_evidence, abs=1e-3)
        weights = {tuple(a): w for a, w in zip(plain.assignments.tolist(), plain.weights, strict=True)}
        only = fit_subsets(table, rows, [peak_list], narrow, guides=guides)[0]
        assert only.assignments[0, 0] == owner
        exact = plain.log_evidence + np.log(weights[tuple(only.assignments[0].tolist())])
        assert only.log_evidence == pytest.approx(exact, abs=1e-6)


def test_areas_that_no_candidate_explains_speak_for_something_unlisted(samples):
    """Both lines of the only candidate are there, once with equal areas and once with very unequal ones."""
    only = {"a": two_candidates(samples)["a"]}
    references = {"31P": samples.REFERENCES["31P"]}
    chances = []
    for areas in ([0.5, 0.5], [0.85, 0.15]):
        answer = match(only, [listed([-20.0, 0.0], areas)], references, SETTINGS)
        chances.append(sum(s.probability for s in answer.subsets if not s.candidate_names))
    assert chances[1] > 3.0 * chances[0]


def test_an_interval_holds_where_the_candidate_is_present(samples):
    """A candidate that may be absent: its interval starts at zero and ends where it would if it were present."""
    library = two_candidates(samples)
    library["b"] = [samples.site("b", "31P", 0, -20.5), samples.site("b", "31P", 1, 0.5)]
    problem = Problem(library, [listed([-20.2, 0.2], [0.5, 0.5])], {"31P": samples.REFERENCES["31P"]}, SETTINGS)
    answer = match(library, problem.measurements, problem.references, SETTINGS)
    for found in answer.populations:
        assert 0.1 < found.probability_present < 0.9
        assert found.low == 0.0
        # alone it is all of the sample
        assert found.high == pytest.approx(1.0)
