"""Areas of peak lists: the gain against numerical integration, hidden lines against all ways, limits of populations."""

import itertools
import math

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.integrate import quad
from surfshift.analysis.matching import MatchSettings
from surfshift.analysis.matching.areas import AreaData, Ways, area_data
from surfshift.analysis.matching.peaks import fit_peaks
from surfshift.analysis.matching.populations import fit_populations
from surfshift.analysis.matching.sites import site_table
from surfshift.analysis.vocabulary import Experiment, Peak, PeakList

SETTINGS = MatchSettings()
OUTLIER = SETTINGS.area_outlier


def listed(shifts, areas, **extra):
    peaks = tuple(
        Peak(label=str(s), delta_iso_ppm=s, delta_error_ppm=1.0, area=a, area_error=0.05 * a)
        for s, a in zip(shifts, areas, strict=True)
    )
    return PeakList(name="31P", isotope="31P", field_tesla=9.4, mas_rate_hz=12500.0, peaks=peaks, **extra)


def data_of(samples, groups, peak_list):
    table = site_table("31P", groups, samples.REFERENCES["31P"])
    fit = fit_peaks(table, [peak_list], SETTINGS)
    counts = np.bincount(table.member)
    return area_data(table, peak_list, fit, start=0, shares=1.0 / counts[table.member], settings=SETTINGS)


def two_candidates(samples):
    a = [samples.site("a", "31P", 0, -30.0), samples.site("a", "31P", 1, 10.0)]
    return [a, [samples.site("b", "31P", 0, -10.0)]]


def test_the_gain_is_integrated_over_its_scale_free_prior(samples):
    data = data_of(samples, two_candidates(samples), listed([-30.0, -10.0, 10.0], [0.28, 0.41, 0.35]))
    population = np.array([[0.6, 0.4]])
    way = Ways(*(part[:1] for part in data.start))
    expected = way.expected[0] @ population[0]
    assert (way.spread[0] < 0.02).all()
    exact = way._replace(spread=np.zeros_like(way.spread))

    def density(gain):
        square = (data.area - gain * expected) ** 2 / data.variance
        return math.exp(-0.5 * float(square.sum() + np.log(2.0 * math.pi * data.variance).sum())) / gain

    whole = quad(density, 1e-3, 10.0, points=[1.0], limit=400)[0]
    # areas flat on their simplex: (J - 1)! for parts of a total of 1
    assert float(data.log_ratios(population, exact)[0, 0]) == pytest.approx(math.log(whole / 2.0), abs=5e-3)


def test_only_ratios_of_areas_count(samples):
    areas = np.array([0.28, 0.41, 0.35])
    found = [
        data_of(samples, two_candidates(samples), listed([-30.0, -10.0, 10.0], scale * areas)) for scale in (1.0, 7.0)
    ]
    populations = np.array([[0.6, 0.4], [0.2, 0.8]])
    one, other = (data.log_likelihood(populations, data.ways(populations, OUTLIER), OUTLIER) for data in found)
    assert one == pytest.approx(other, abs=1e-4)
    assert one[0] > one[1] + 2.0


def test_hidden_lines_equal_the_sum_over_all_ways():
    """Three lines without a peak of their own, each under one of two peaks or missed: 27 ways by hand."""
    hidden = np.array([[0.5, 0.2, 0.6], [0.3, 0.6, 0.1]])
    signal, member = np.array([0.3, 0.2, 0.25]), np.array([0, 1, 1])
    own = np.array([[0.5, 0.0], [0.0, 0.4]])
    mean = np.zeros((2, 2))
    spread = np.zeros((2, 2))
    for s in range(3):
        mean[:, member[s]] += signal[s] * hidden[:, s]
        spread[:, member[s]] += signal[s] ** 2 * hidden[:, s] * (1 - hidden[:, s])
    start = Ways(np.zeros((1, 3), bool), np.ones((1, 2), bool), (own + mean)[None], spread[None], np.zeros(1))
    area = np.array([0.58, 0.42])
    data = AreaData(area, (0.08 * area) ** 2, hidden, signal, member, start)
    populations = np.array([[0.5, 0.5], [0.7, 0.3], [0.3, 0.7]])
    total = np.zeros(3)
    for places in itertools.product(range(3), repeat=3):
        weight, expected = 1.0, own.copy()
        for s, place in enumerate(places):
            weight *= hidden[place, s] if place < 2 else 1.0 - hidden[:, s].sum()
            if place < 2:
                expected[place, member[s]] += signal[s]
        way = Ways(np.zeros((1, 3), bool), np.ones((1, 2), bool), expected[None], np.zeros((1, 2, 2)), np.zeros(1))
        total += weight * np.exp(data.log_ratios(populations, way)[:, 0])
    expected = np.log((1 - OUTLIER) * total + OUTLIER)
    found = data.log_likelihood(populations, data.ways(populations, OUTLIER), OUTLIER)
    assert found == pytest.approx(expected, abs=0.05)


def test_surface_selective_lists_do_not_count_atoms(samples):
    peak_list = listed([-30.0, -10.0, 10.0], [0.28, 0.41, 0.35], experiment=Experiment.CP)
    assert data_of(samples, two_candidates(samples), peak_list) is None


def test_populations_recover_those_that_gave_the_areas(samples):
    data = data_of(samples, two_candidates(samples), listed([-30.0, -10.0, 10.0], [0.3, 0.4, 0.3]))
    found = fit_populations(2, [[data]], None, SETTINGS)[0]
    mean = float(found.weights @ found.samples[:, 0])
    spread = float(np.sqrt(found.weights @ (found.samples[:, 0] - mean) ** 2))
    assert mean == pytest.approx(0.6, abs=0.03)
    assert 0.01 < spread < 0.08


def test_the_evidence_of_a_flat_prior_above_a_least_population(samples):
    """Where the data lie inside, excluding a part of the simplex raises the evidence by the part that is left."""
    data = data_of(samples, two_candidates(samples), listed([-30.0, -10.0, 10.0], [0.3, 0.4, 0.3]))
    flat = fit_populations(2, [[data]], None, SETTINGS)[0]
    above = fit_populations(2, [[data]], None, SETTINGS.model_copy(update={"least_population": 0.1}))[0]
    kept = above.samples[above.weights > 0]
    assert kept.min() >= 0.1
    # the outlier's share of the flat prior is lost, which is small
    assert above.log_evidence - flat.log_evidence == pytest.approx(-math.log(0.8), abs=0.08)


def test_a_least_population_that_cannot_be_is_refused():
    with pytest.raises(ValidationError, match="cannot each have a population"):
        MatchSettings(max_members=8, least_population=0.15)
