"""Evidence of peak lists against direct formulas, and many subsets at once against one at a time."""

import itertools
import math

import numpy as np
import pytest
from surfshift.analysis.matching import MatchSettings
from surfshift.analysis.matching.peaks import fit_peaks, peak_evidences
from surfshift.analysis.matching.rival import kernel_widths, log_flat_density, rival_of
from surfshift.analysis.matching.sites import site_table
from surfshift.analysis.vocabulary import Experiment, Peak, PeakList

SETTINGS = MatchSettings()


def listed(*shifts, error=1.5, **extra):
    peaks = tuple(Peak(label=str(s), delta_iso_ppm=s, delta_error_ppm=error) for s in shifts)
    return PeakList(name="31P", isotope="31P", field_tesla=9.4, mas_rate_hz=12500.0, peaks=peaks, **extra)


def test_one_site_one_peak_is_the_gaussian(samples):
    reference = samples.REFERENCES["31P"]
    table = site_table("31P", [[samples.site("a", "31P", 0, -20.0)]], reference)
    found = fit_peaks(table, [listed(-17.0)], SETTINGS)
    variance = float((table.offset_rows[0] ** 2).sum()) + reference.site_error_ppm**2 + 1.5**2
    own = 0.9 * math.exp(-0.5 * 9.0 / variance) / math.sqrt(2 * math.pi * variance)
    merged = variance + SETTINGS.resolution_ppm("31P") ** 2
    scale = SETTINGS.resolution_ppm("31P") ** 2 + 1.5**2
    hidden = math.sqrt(scale / merged) * math.exp(-0.5 * 9.0 / merged)
    impurity = SETTINGS.unexplained_rate / SETTINGS.shift_range_ppm("31P") * (1 - 0.9 * (1 - hidden))
    assert found.log_evidence == pytest.approx(math.log(own + impurity), abs=1e-9)
    # offset and site error share the deviation in proportion to their variances
    assert found.mean[2] == pytest.approx(3.0 * reference.site_error_ppm**2 / variance)


def test_a_site_carries_its_error_from_list_to_list(samples):
    """Two lists with errors s each say of a site what one list with error s / sqrt(2) at their mean says."""
    table = site_table("31P", [[samples.site("a", "31P", 0, -20.0)]], samples.REFERENCES["31P"])
    twice = fit_peaks(table, [listed(-18.0), listed(-16.0).model_copy(update={"name": "b"})], SETTINGS)
    once = fit_peaks(table, [listed(-17.0, error=1.5 / math.sqrt(2))], SETTINGS)
    assert twice.mean == pytest.approx(once.mean)
    assert twice.covariance == pytest.approx(once.covariance)


def test_many_subsets_at_once_equal_one_at_a_time(samples):
    sample = samples.draw(np.random.default_rng(3), missing_share=0.0)
    first = next(x for x in sample.lists if x.isotope == "27Al")
    lists = [first, first.model_copy(update={"name": "b", "experiment": Experiment.TRAPDOR, "field_tesla": 14.1})]
    names = list(sample.everything)
    full = site_table("27Al", [sample.everything[n] for n in names], samples.REFERENCES["27Al"])
    rivals = [rival_of(full, x, SETTINGS) for x in lists]
    subsets = [*itertools.combinations(range(5), 1), *itertools.combinations(range(5), 2)]
    rows = [np.flatnonzero(np.isin(full.member, members)) for members in subsets]
    for given in (None, rivals):
        many = peak_evidences(full, rows, lists, SETTINGS, rivals=given)
        single = [
            fit_peaks(
                site_table("27Al", [sample.everything[names[i]] for i in members], samples.REFERENCES["27Al"]),
                lists,
                SETTINGS,
                rivals=given,
            ).log_evidence
            for members in subsets
        ]
        assert many == pytest.approx(single, abs=1e-9)


def test_rival_lines_lie_where_the_candidates_have_theirs(samples):
    rng = np.random.default_rng(0)
    groups = [[samples.site(f"c{i}", "31P", k, rng.normal(-20.0, 4.0)) for k in range(3)] for i in range(6)]
    table = site_table("31P", groups, samples.REFERENCES["31P"])
    near, far = rival_of(table, listed(-20.0, 40.0), SETTINGS).log_density
    flat = log_flat_density(listed(-20.0).peaks[0], "31P", SETTINGS)
    assert near > flat + 1.0
    assert math.log(SETTINGS.stranger_share) + flat - 0.1 < far < flat
    # the density of one value integrates to 1 over its range
    grid = np.linspace(-80.0, 40.0, 2401)
    values = np.concatenate([rival_of(table, listed(*part), SETTINGS).log_density for part in np.split(grid[:-1], 8)])
    assert np.exp(values).sum() * (grid[1] - grid[0]) == pytest.approx(1.0, abs=0.01)


def test_candidates_that_foretell_each_other_make_narrow_kernels(samples):
    table_of = lambda groups: site_table("31P", groups, samples.REFERENCES["31P"])  # noqa: E731
    rng = np.random.default_rng(1)
    twins = [[samples.site(f"c{i}", "31P", k, shift) for k, shift in enumerate((-40.0, 0.0))] for i in range(4)]
    mixed = [[samples.site(f"c{i}", "31P", k, rng.uniform(-40.0, 0.0)) for k in range(2)] for i in range(4)]
    weights = np.full(8, 1.0 / 8.0)
    assert kernel_widths(table_of(twins), weights, SETTINGS)[0] < kernel_widths(table_of(mixed), weights, SETTINGS)[0]
