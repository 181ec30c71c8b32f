"""benchmarks/matching_reach.py: which missing candidates a mixture of the listed ones can stand in for."""

import numpy as np
import pytest


def test_a_sample_is_within_reach_of_a_list_that_holds_it(samples, reaching):
    sample = samples.draw(np.random.default_rng(5), n_candidates=4, largest=2, missing_share=0.0)
    found = reaching.reach(sample, max_members=2, least_population=0.1)
    assert not found.is_out
    assert found.n_values > 8


def test_a_line_far_from_all_listed_ones_costs_as_much_as_is_unexplained(samples, reaching):
    near = [samples.site("near", "31P", 0, -24.0)]
    far = [samples.site("far", "31P", 0, -24.0 + 8.0)]
    bulk = [samples.site("bulk", "31P", 0, -24.5)]
    listed = {"bulk": bulk}
    costs = []
    for name, sites in (("near", near), ("far", far)):
        sample = samples.Sample({name: 1.0}, listed, [], {**listed, name: sites}, name)
        costs.append(reaching.reach(sample, max_members=1, least_population=0.1))
    assert [found.n_values for found in costs] == [1, 1]
    assert [found.is_out for found in costs] == [False, True]
    # the offsets of the reference (1.5 ppm at the pivot, 0.05 in the slope) and the site error share what is missing
    offset = 1.5**2 + (0.05 * (bulk[0].sigma_iso_ppm - 320.0)) ** 2
    assert costs[1].chi_square == pytest.approx(8.5**2 / (2.0**2 + offset), rel=1e-3)


def test_areas_tell_mixtures_apart_that_positions_do_not(samples, reaching):
    # the listed candidate has both lines one to one, the sample four to one
    pair = [samples.site("pair", "31P", 0, -24.0), samples.site("pair", "31P", 1, -10.0)]
    uneven = [samples.site("uneven", "31P", 0, -24.0, count=8), samples.site("uneven", "31P", 1, -10.0)]
    sample = samples.Sample({"uneven": 1.0}, {"pair": pair}, [], {"pair": pair, "uneven": uneven}, "uneven")
    found = reaching.reach(sample, max_members=1, least_population=0.1)
    assert found.n_values == 3
    assert found.is_out
    even = samples.Sample({"other": 1.0}, {"pair": pair}, [], {"pair": pair, "other": pair}, "other")
    assert reaching.reach(even, max_members=1, least_population=0.1).chi_square < 1e-6
