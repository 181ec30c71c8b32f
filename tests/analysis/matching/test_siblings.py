"""Siblings: what they are made of, and that their mean evidence is what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from surfshift.analysis.matching import MatchSettings, match
from surfshift.analysis.matching.beside import mean_evidence, with_parts
from surfshift.analysis.matching.search import Problem
from surfshift.analysis.matching.siblings import SIBLING_ID

if TYPE_CHECKING:
    from types import ModuleType

SETTINGS = MatchSettings(max_members=3, n_siblings=16)


def sample_problem(samples: ModuleType, settings: MatchSettings = SETTINGS) -> tuple[Problem, object]:
    sample = samples.draw(np.random.default_rng([7, 1]), n_candidates=4, largest=2, missing_share=1.0)
    return Problem(sample.library, sample.lists, samples.REFERENCES, settings), sample


def test_siblings_have_the_numbers_of_sites_of_candidates_and_wider_errors(samples: ModuleType) -> None:
    problem, _ = sample_problem(samples)
    listed = [
        {isotope: sum(s.isotope == isotope for s in problem.sites[key]) for isotope in problem.siblings.parts}
        for key in problem.ids
    ]
    assert list(problem.siblings.counts) == listed
    errors = {
        (s.isotope, s.delta_iso_ppm): (s.delta_error_ppm, s.cq_error_mhz) for own in problem.sites.values() for s in own
    }
    widest = {i: max(e for (own, _), (e, _) in errors.items() if own == i) for i in problem.siblings.parts}
    n_of_no_kind = n_sites = 0
    for isotope, by_number in problem.siblings.parts.items():
        assert set(by_number) == {count[isotope] for count in listed}
        for number, parts in by_number.items():
            assert len(parts) == (16 if number else 1)
            for part in parts:
                sites = problem.member_sites[part]
                assert len(sites) == number
                n_sites += number
                for site in sites:
                    if (isotope, site.delta_iso_ppm) not in errors:
                        n_of_no_kind += 1
                        assert site.delta_error_ppm > 2.0 * widest[isotope]
                        continue
                    shift_error, cq_error = errors[isotope, site.delta_iso_ppm]
                    assert site.candidate_id == SIBLING_ID
                    assert site.delta_error_ppm > shift_error
                    assert site.cq_error_mhz > cq_error or not site.cq_mhz
    # three in ten are of no kind that was seen
    assert 0.2 < n_of_no_kind / n_sites < 0.4


def test_the_mean_over_parts_is_that_over_all_siblings_made_of_them(samples: ModuleType) -> None:
    """Every template with every combination of its parts, weighed as a whole."""
    problem, _ = sample_problem(samples)
    beside = (0,)
    parts = with_parts(problem, [beside], slice(None))[beside]
    few = {key: values[:3] for key, values in parts.items()}
    whole, weights = [], []
    for count in problem.siblings.counts:
        choices = [problem.siblings.parts[isotope][n][:3] for isotope, n in count.items()]
        grid = np.stack(np.meshgrid(*choices, indexing="ij"), axis=-1).reshape(-1, len(choices)).tolist()
        members = [problem.sibling_of(chosen) for chosen in grid]
        fits = problem.fit_lists([(*beside, member) for member in members])
        whole += [fit.log_evidence for fit in fits]
        weights += [1.0 / len(grid) / len(problem.siblings.counts)] * len(grid)
    expected = np.log(np.exp(np.array(whole) - max(whole)) @ np.array(weights)) + max(whole)
    assert mean_evidence(problem, few) == pytest.approx(expected, abs=1e-8)


def test_a_sibling_counts_as_one_member_whose_lines_share_a_population(samples: ModuleType) -> None:
    problem, _ = sample_problem(samples)
    count = problem.siblings.counts[-1]
    chosen = [problem.siblings.parts[isotope][n][0] for isotope, n in count.items()]
    sibling = problem.sibling_of(chosen)
    assert len(problem.member_sites[sibling]) == sum(count.values())
    (fit,) = problem.fit_lists([(0, sibling)])
    for isotope, table in fit.tables.items():
        assert set(table.member.tolist()) <= {0, 1}
        assert int((table.member == 1).sum()) == count[isotope]
        np.testing.assert_array_equal(
            table.delta[table.member == 1], problem.screen.tables[isotope].delta[problem.screen.rows[isotope][sibling]]
        )


def test_a_missing_termination_is_noticed_and_a_listed_one_is_not_called_missing(samples: ModuleType) -> None:
    """Over ten samples each, the mean log odds of something unlisted differ by far."""
    odds = {True: [], False: []}
    for index in range(10):
        for is_missing in (True, False):
            sample = samples.draw(
                np.random.default_rng([11, index]), n_candidates=5, largest=2, missing_share=float(is_missing)
            )
            answer = match(sample.library, sample.lists, samples.REFERENCES, SETTINGS)
            chance = sum(s.probability for s in answer.subsets if not s.candidate_names)
            odds[is_missing].append(np.log(max(chance, 1e-9) / max(1.0 - chance, 1e-9)))
    assert np.median(odds[True]) > 0.0
    assert np.median(odds[False]) < -2.5


def test_matching_is_reproducible(samples: ModuleType) -> None:
    _, sample = sample_problem(samples)
    first, second = (match(sample.library, sample.lists, samples.REFERENCES, SETTINGS) for _ in range(2))
    assert first == second
