"""Assignments of peaks to sites that the areas bear out.

Which site gave which peak is first decided by positions alone. In a mixture of several candidates there are then
more good assignments than can be kept, and the one that also has the right areas is often not among them. So
assignments are sought once more at populations drawn from what is known, each peak's area helping to choose. What is
found enters with its weight by positions; areas are weighed afterwards, in the populations' evidence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .peaks import fit_subsets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..vocabulary import PeakList
    from .areas import AreaData
    from .peaks import PeakFit
    from .populations import PopulationFit
    from .search import Problem, SubsetFit
    from .settings import MatchSettings
    from .sites import SiteTable

_TOO_LARGE = 1.6
"""A line that alone is so much larger than a peak does not lie under it."""

_SEEN, _GAIN_ERROR = 0.9, 0.1
"""A line with this chance to lie under some peak, or more, counts as seen; error of the gain that comes of it."""

_LEAST = -12.0
"""Least log density, relative to areas that say nothing, that a guide gives."""

_GUIDES = 2
"""Draws of the populations, from what is known of them and as many from the flat prior, at which assignments are sought
that fit the areas."""


def guide_of(data: AreaData, populations: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each peak's area says for each owner (j, n + 1), over unrelated areas, at given populations (m,).

    Owners are the sites and, at last, the background. All other lines lie under the peaks with their chances,
    independently, and enter by mean and variance.
    """
    lines = data.signal * populations[data.member]
    missed = 1.0 - data.hidden.sum(axis=0)
    # areas are parts of their sum, so that the lines that are seen sum to 1
    for _ in range(2):
        fits = lines[None, :] < _TOO_LARGE * data.area[:, None] + 2.0 * np.sqrt(data.variance)[:, None]
        chance = data.hidden * fits
        chance = chance / np.maximum(chance.sum(axis=0) + missed, 1e-12)
        total = float((np.minimum(chance.sum(axis=0) / _SEEN, 1.0) * lines).sum())
        lines = lines / max(total, 1e-12)
    mean = (chance * lines).sum(axis=1)
    spread = (chance * (1.0 - chance) * lines**2).sum(axis=1)
    mean_given = mean[:, None] + (1.0 - chance) * lines
    variance = data.variance[:, None] + np.maximum(spread[:, None] - chance * (1.0 - chance) * lines**2, 0.0)
    variance += (_GAIN_ERROR * mean_given) ** 2
    value = -0.5 * (data.area[:, None] - mean_given) ** 2 / variance - 0.5 * np.log(2.0 * np.pi * variance)
    has_area = np.asarray(data.start.used.any(axis=0))
    value = np.where(has_area[:, None], value - np.log(len(data.area)), 0.0)
    return np.concatenate([np.maximum(value, _LEAST), np.zeros((len(value), 1))], axis=1)


def guided(problem: Problem, fits: Sequence[SubsetFit], rough: Sequence[Sequence[PopulationFit]]) -> list[SubsetFit]:
    """Fits with further assignments that the areas bear out at populations drawn from rough ones."""
    rng = np.random.default_rng(problem.settings.seed)
    draws, areas = [], []
    for fit, guess in zip(fits, rough, strict=True):
        areas.append(problem.areas_of(fit))
        count = len(fit.members)
        if count < 2:
            draws.append(np.ones((1, problem.n_samples, max(count, 1))))
            continue
        index = rng.choice(len(guess[0].weights), _GUIDES, p=guess[0].weights)
        drawn = np.stack([found.samples[index] for found in guess], axis=1)
        draws.append(np.concatenate([drawn, rng.dirichlet(np.ones(count), size=(_GUIDES, problem.n_samples))]))
    peaks: dict[str, list[PeakFit]] = {}
    for isotope in problem.isotopes:
        lists = problem.lists[isotope]
        n_sites = [len(fit.tables[isotope]) for fit in fits]
        guides = [
            [
                [
                    np.zeros((len(peak_list.peaks), n + 1))
                    if data is None
                    else guide_of(data, population[problem.sample_of[peak_list.name]])
                    for peak_list, data in zip(lists, several[isotope], strict=True)
                ]
                for population in populations
            ]
            if any(data is not None for data in several[isotope])
            else []
            for several, populations, n in zip(areas, draws, n_sites, strict=True)
        ]
        peaks[isotope] = _with_guided(
            problem.screen.tables[isotope],
            [problem.screen.rows_of(isotope, fit.members) for fit in fits],
            [fit.peaks[isotope] for fit in fits],
            guides,
            lists=lists,
            settings=problem.settings,
            may_be_absent=problem.n_samples > 1,
        )
    return [
        fit._replace(
            log_evidence=sum(peaks[isotope][g].log_evidence for isotope in problem.isotopes),
            peaks={isotope: peaks[isotope][g] for isotope in problem.isotopes},
        )
        for g, fit in enumerate(fits)
    ]


def _with_guided(
    table: SiteTable,
    rows: Sequence[NDArray[np.int64]],
    fits: Sequence[PeakFit],
    guides: Sequence[Sequence[Sequence[NDArray[np.float64]]]],
    *,
    lists: Sequence[PeakList],
    settings: MatchSettings,
    may_be_absent: bool,
) -> list[PeakFit]:
    """Fits (g) of subsets with further assignments, those found under their guides.

    ``guides`` holds for each subset any number of guides, each with one array (j, n + 1) per list; ``rows`` the rows of
    ``table`` of each subset.
    """
    owner = [g for g, several in enumerate(guides) for _ in several]
    if not owner or not lists:
        return list(fits)
    flat = [guide for several in guides for guide in several]
    more = fit_subsets(table, [rows[g] for g in owner], lists, settings, guides=flat, may_be_absent=may_be_absent)
    found: list[list[PeakFit]] = [[fit] for fit in fits]
    for g, fit in zip(owner, more, strict=True):
        found[g].append(fit)
    return [_united(several) for several in found]


def _united(fits: Sequence[PeakFit]) -> PeakFit:
    """The first fit with the assignments of all."""
    assignments = np.concatenate([fit.assignments for fit in fits])
    log_weights = np.concatenate([np.log(np.maximum(fit.weights, 1e-300)) + fit.log_evidence for fit in fits])
    _, first = np.unique(assignments, axis=0, return_index=True)
    first = first[np.argsort(-log_weights[first], kind="stable")]
    top = float(log_weights[first[0]])
    weights = np.exp(log_weights[first] - top)
    total = float(weights.sum())
    return fits[0]._replace(
        log_evidence=top + float(np.log(total)), assignments=assignments[first], weights=weights / total
    )
