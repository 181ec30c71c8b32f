"""Explanations in which something unlisted is present, alone or beside candidates of the list."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .area_guide import guided
from .populations import Effort
from .unknown import unknown_log_evidence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from .search import Problem

_NEAR = 12
"""Most subsets taken from those that fit best beside free lines; what they hold of one candidate or none comes along,
since free lines know too little of what is missing to stand alone."""

_FIRST = 8
"""Parts of siblings, of each isotope and number of sites, that every subset is weighed beside."""

_ROUGH, _FEW_DRAWS = 8, 4
"""Most subsets whose areas are looked at, and beside how many siblings."""

_BEST, _DRAWS, _WITH_CARE = 3, 16, 4
"""Most subsets that are weighed beside all parts; beside how many siblings their areas are weighed, for areas of one
sibling and of another differ by several in log evidence; and how many of these with care."""


class Beside(NamedTuple):
    """Candidates (positions in the problem's list) beside something unlisted, and the log evidence of that."""

    members: tuple[int, ...]
    log_evidence: float


def beside_unknown(problem: Problem, max_members: int, log_priors: Sequence[float]) -> list[Beside]:
    """Explanations with something unlisted: alone (with the candidates always present), then beside more candidates.

    Beside peak lists it is a sibling of the candidates or gives free lines. ``log_priors`` are those of a subset by its
    number of candidates besides those always present; they decide only which are weighed with care.
    Spectra are explained by free lines only beside the candidates always present, so with spectra nothing is grown.
    """
    screen = problem.screen
    if any(problem.spectra.values()):
        alone = float(screen.evidences([problem.always], beside_unknown=True)[0])
        return [Beside(problem.always, alone + _spectra_evidence(problem))]
    free = screen.search(max_members, beside_unknown=True)
    if not problem.siblings.counts:
        return [Beside(*item) for item in free.items()]
    siblings, gains, mean_gain = _siblings_beside(problem, free, log_priors)
    share = problem.settings.free_share
    found = []
    for members, value in free.items():
        total = value + math.log(share)
        if members in siblings:
            total = float(np.logaddexp(total, math.log1p(-share) + siblings[members]))
        found.append(Beside(members, total + gains.get(members, mean_gain)))
    return found


def _siblings_beside(
    problem: Problem, free: Mapping[tuple[int, ...], float], log_priors: Sequence[float]
) -> tuple[dict[tuple[int, ...], float], dict[tuple[int, ...], float], float]:
    """Log evidence of the peaks beside siblings, for the best subsets; what areas add to it; what they add on average.

    ``free`` is the log evidence of every subset beside free lines, by which the subsets are chosen.
    """
    prior = {members: log_priors[len(members) - len(problem.always)] for members in free}
    near = sorted(free, key=lambda m: (-free[m] - prior[m], m))[:_NEAR]
    few = {problem.always, *(tuple(sorted({*problem.always, i})) for members in near for i in members)}
    near = [*near, *sorted(few & free.keys() - set(near))]
    parts = with_parts(problem, near, slice(_FIRST))
    evidence = {members: mean_evidence(problem, parts[members]) for members in near}
    near = sorted(near, key=lambda m: (-evidence[m] - prior[m], m))[:_ROUGH]
    gains = _area_gains(problem, {m: parts[m] for m in near}, _FEW_DRAWS, 0)
    best = sorted(near, key=lambda m: (-evidence[m] - prior[m] - gains[m], m))[:_BEST]
    for members, more in with_parts(problem, best, slice(_FIRST, None)).items():
        parts[members] = {key: np.concatenate([parts[members][key], more[key]]) for key in more}
        evidence[members] = mean_evidence(problem, parts[members])
    careful = _area_gains(problem, {m: parts[m] for m in best}, _DRAWS, _WITH_CARE)
    weights = np.array([evidence[m] + prior[m] for m in best])
    undervalued = _log_mean(np.array([careful[m] - gains[m] for m in best]), weights)
    found = {m: value + undervalued for m, value in gains.items()} | careful
    return evidence, found, _log_mean(np.array([careful[m] for m in best]), weights)


_Parts = dict[tuple[str, int], "NDArray[np.float64]"]
"""Log evidence (k,) of the peak lists of an isotope beside each part with some number of sites."""


def with_parts(problem: Problem, subsets: Sequence[tuple[int, ...]], chosen: slice) -> dict[tuple[int, ...], _Parts]:
    """Log evidence of every subset beside the chosen parts of siblings."""
    found: dict[tuple[int, ...], _Parts] = {members: {} for members in subsets}
    for isotope, by_number in problem.siblings.parts.items():
        for number, members_of in by_number.items():
            parts = members_of[chosen]
            pairs = [(*members, part) for members in subsets for part in parts]
            values = problem.screen.evidences_of(isotope, pairs, beside_unknown=False) if pairs else np.zeros(0)
            for members, row in zip(subsets, values.reshape(len(subsets), len(parts)), strict=True):
                found[members][isotope, number] = row
    return found


def _by_template(problem: Problem, parts: _Parts) -> NDArray[np.float64]:
    """Log evidence (t,) of the peak lists beside siblings with the numbers of sites of each template."""
    means = {key: _log_mean(values) for key, values in parts.items()}
    return np.array([sum(means[key] for key in count.items()) for count in problem.siblings.counts])


def mean_evidence(problem: Problem, parts: _Parts) -> float:
    """Log evidence of the peak lists beside a sibling, averaged over templates and parts."""
    return _log_mean(_by_template(problem, parts))


def _area_gains(
    problem: Problem, by_subset: Mapping[tuple[int, ...], _Parts], n_draws: int, n_careful: int
) -> dict[tuple[int, ...], float]:
    """What areas add to the log evidence of subsets beside siblings: its mean over siblings that the peaks bear out.

    The best ``n_careful`` siblings of each subset are weighed with care, which gives lines that hide their due; what
    that adds on average is added to the others.
    """
    rng = np.random.default_rng(problem.settings.seed)
    pairs = [
        (*members, problem.sibling_of(_draw_parts(problem, parts, rng)))
        for members, parts in by_subset.items()
        for _ in range(n_draws)
    ]
    fits = problem.fit_lists(pairs)
    before = np.array([fit.log_evidence for fit in fits])
    rough = [problem.with_populations(fit, effort=Effort.ROUGH) for fit in fits]
    gains = (np.array([fit.log_evidence for fit in rough]) - before).reshape(len(by_subset), n_draws)
    if n_careful:
        chosen = np.argsort(-gains, axis=1, kind="stable")[:, :n_careful] + n_draws * np.arange(len(gains))[:, None]
        several = [fits[i] for i in chosen.ravel()]
        better = guided(problem, several, [rough[i].by_sample for i in chosen.ravel()])
        after = np.array([problem.with_populations(fit).log_evidence for fit in better]).reshape(chosen.shape)
        more = after - before[chosen] - gains.ravel()[chosen]
        gains += more.mean(axis=1, keepdims=True)
        gains.ravel()[chosen] = after - before[chosen]
    return {members: _log_mean(row) for members, row in zip(by_subset, gains, strict=True)}


def _draw_parts(problem: Problem, parts: _Parts, rng: np.random.Generator) -> list[int]:
    """Parts of one sibling, drawn in proportion to the evidence of the peak lists."""
    templates = _by_template(problem, parts)
    count = problem.siblings.counts[_draw(templates, rng)]
    return [problem.siblings.parts[isotope][n][_draw(parts[isotope, n], rng)] for isotope, n in count.items()]


def _draw(log_weights: NDArray[np.float64], rng: np.random.Generator) -> int:
    weights = np.exp(log_weights - log_weights.max())
    return int(rng.choice(len(weights), p=weights / weights.sum()))


def _log_mean(values: NDArray[np.float64], log_weights: NDArray[np.float64] | None = None) -> float:
    """Logarithm of the mean of exp(values), weighted."""
    weights = np.zeros(len(values)) if log_weights is None else log_weights
    return float(np.logaddexp.reduce(values + weights) - np.logaddexp.reduce(weights))


def _spectra_evidence(problem: Problem) -> float:
    """Log evidence of all spectra under the candidates always present and free lines."""
    total = 0.0
    for isotope in problem.isotopes:
        for spectrum in problem.spectra[isotope]:
            total += unknown_log_evidence(
                problem.grids[spectrum.name],
                problem.known_columns(isotope, spectrum),
                resolution_ppm=problem.settings.resolution_ppm(isotope),
                shift_range_ppm=problem.settings.shift_range_ppm(isotope),
            )
    if problem.always:
        total += problem.fit(()).spectral_occam
    return total
