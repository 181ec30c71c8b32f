"""Populations of the candidates in a subset: sampled on the simplex, weighted by areas and spectra.

A population is a candidate's share of the atoms of the matched isotopes; shares of a subset sum to 1. The prior is flat
on the simplex; each measurement has a gain of its own, which is profiled out, so only ratios count.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .areas import AreaData, Ways
    from .settings import MatchSettings


class Effort(Enum):
    """How much is done for the populations of one explanation.

    ``GLANCE`` draws once from the prior; ``ROUGH`` once more where the data lead; ``FULL`` goes on until the draws are
    good, and seeks the ways in which lines hide. Short of that hidden lines count by their means and variances.
    """

    GLANCE = 0
    ROUGH = 1
    FULL = 2


class AmplitudeForm(NamedTuple):
    """Log likelihood of the amplitudes (k, m) of the members in k spectra about their optimum, to second order.

    Attributes
    ----------
    mean
        Optimum (k, m).
    precision
        Second derivatives with all other unknowns integrated out, (k, m, k, m).
    pull
        First derivatives at the optimum (k, m): not zero where populations are shared or zero.
    groups
        (k,) spectra of one group share populations.
    volumes
        (k,) range of the flat prior of each gain.
    """

    mean: NDArray[np.float64]
    precision: NDArray[np.float64]
    pull: NDArray[np.float64]
    groups: NDArray[np.int64]
    volumes: NDArray[np.float64]


class PopulationFit(NamedTuple):
    """Samples of the populations (s, m), their weights (s,), and the log evidence of the populations' data."""

    samples: NDArray[np.float64]
    weights: NDArray[np.float64]
    log_evidence: float


def fit_populations(
    n_members: int,
    areas: Sequence[Sequence[AreaData]],
    form: AmplitudeForm | None,
    settings: MatchSettings,
    *,
    effort: Effort = Effort.FULL,
    before: Sequence[PopulationFit] = (),
) -> tuple[PopulationFit, ...]:
    """Posterior of the populations of each sample by adaptive importance sampling with a fixed seed.

    ``areas`` holds the lists of area data of each sample. The gains are integrated out exactly for each
    draw of the populations. Draws come from Student distributions around the optimum, on the simplex, and from the flat
    prior, and are weighted back. Log evidences are equal in all samples: that of all data together. Less than full
    ``effort`` takes fewer draws. ``before`` is an earlier, rougher fit to begin with.
    """
    n_samples = len(areas)
    n_groups = max(n_samples, 0 if form is None or not len(form.groups) else int(form.groups.max()) + 1)
    has_data = any(areas) or (form is not None and len(form.groups) > 0)
    if n_members <= 1 or not has_data:
        single = np.ones((1, n_groups, max(n_members, 1)))
        ways = _ways(areas, single, settings)
        value = float(_log_likelihood(single, areas, ways, form, settings)[0]) if n_members else 0.0
        if n_members <= 1:
            return tuple(PopulationFit(single[:, 0], np.ones(1), value) for _ in range(n_samples))
    rng = np.random.default_rng(settings.seed)
    count = (settings.n_population_samples if effort is Effort.FULL else _ROUGH) * (n_members - 1)
    if not has_data:
        flat = _flat(rng, (count, n_groups), n_members, settings)
        return tuple(PopulationFit(flat[:, g], np.full(count, 1.0 / count), 0.0) for g in range(n_samples))
    ways = [[data.start for data in lists] for lists in areas]
    proposal = _start(n_members, n_groups, form)
    samples, log_proposal = np.zeros((0, n_groups, n_members)), np.zeros(0)
    if before and n_groups == n_samples and form is None:
        samples, weight = np.stack([found.samples for found in before], axis=1), before[0].weights
    else:
        samples = _flat(rng, (count, n_groups), n_members, settings)
        log_weight = _log_likelihood(samples, areas, ways, form, settings)
        weight = _normalised(log_weight)
    if proposal is None:
        proposal = _moments(samples, weight)
    is_full = effort is Effort.FULL
    sought = (1 if before else _SEARCHES) if any(areas) and is_full else 0
    for index in range(_ADAPTATIONS + sought if is_full else effort.value):
        if index >= max(sought, 1) and 1.0 / float(weight @ weight) > 0.3 * count:
            break
        if index < sought:
            ways = _ways(areas, samples[rng.choice(len(weight), _DRAWS, p=weight)], settings)
        samples, log_proposal = _draw(rng, (count, n_groups), n_members, proposal, settings)
        log_weight = _log_likelihood(samples, areas, ways, form, settings) - log_proposal
        weight = _normalised(log_weight)
        proposal = _moments(samples, weight)
    top = float(log_weight.max())
    log_evidence = top + math.log(float(np.exp(log_weight - top).mean()))
    return tuple(PopulationFit(samples[:, g], weight, log_evidence) for g in range(n_samples))


_ADAPTATIONS = 4
_SEARCHES, _DRAWS, _ROUGH = 2, 8, 100
"""How often the ways in which lines hide are sought anew, at how many draws of the populations; and how many draws per
candidate a rough fit takes."""

_DOF = 4.0
_FLAT_SHARE = 0.1
_WIDE_SHARE = 0.25
_WIDE = 3.0


def _ways(
    areas: Sequence[Sequence[AreaData]], samples: NDArray[np.float64], settings: MatchSettings
) -> list[list[Ways]]:
    """Ways in which lines hide in every list, given some draws (q, g, m) of the populations."""
    return [
        [data.ways(samples[:, group], settings.area_outlier) for data in lists] for group, lists in enumerate(areas)
    ]


def _log_volume(n_members: int, settings: MatchSettings) -> float:
    """Log of the part of the simplex in which no population is below the least."""
    left = 1.0 - n_members * settings.least_population
    if left <= 0:
        raise ValueError(f"{n_members} candidates cannot each have a population of {settings.least_population}")
    return (n_members - 1) * math.log(left)


def _flat(
    rng: np.random.Generator, size: tuple[int, int], n_members: int, settings: MatchSettings
) -> NDArray[np.float64]:
    """Draws (s, g, m) from the prior of the populations."""
    least = settings.least_population
    return least + (1.0 - n_members * least) * rng.dirichlet(np.ones(n_members), size=size)


def _normalised(log_weight: NDArray[np.float64]) -> NDArray[np.float64]:
    weight = np.exp(log_weight - log_weight.max())
    return np.asarray(weight / weight.sum())


def _moments(
    samples: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and covariance of the first m - 1 populations of all groups, (d,), (d, d)."""
    free = samples[:, :, :-1].reshape(len(samples), -1)
    mean = weight @ free
    deviation = free - mean
    covariance = (weight[:, None] * deviation).T @ deviation
    return mean, covariance + 1e-10 * np.eye(len(mean)) + 1e-3 * np.diag(np.diagonal(covariance))


def _start(
    n_members: int, n_groups: int, form: AmplitudeForm | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Mean and covariance of the populations from the amplitudes alone; None if a group has no spectrum."""
    if form is None or not set(range(n_groups)) <= {int(g) for g in form.groups}:
        return None
    size = n_groups * (n_members - 1)
    count = len(form.groups)
    gains = form.mean.sum(axis=1)
    if not (gains > 0).all():
        return None
    shares = form.mean / gains[:, None]
    mean = np.stack([shares[form.groups == g].mean(axis=0) for g in range(n_groups)])
    change = np.zeros((count, n_members, size + count))
    for k, group in enumerate(form.groups):
        for j in range(n_members - 1):
            change[k, j, group * (n_members - 1) + j] = gains[k]
            change[k, n_members - 1, group * (n_members - 1) + j] = -gains[k]
        change[k, :, size + k] = shares[k]
    flat = change.reshape(count * n_members, size + count)
    matrix = flat.T @ form.precision.reshape(count * n_members, -1) @ flat
    scale = np.sqrt(np.maximum(np.diagonal(matrix), 1e-12))
    # a population cannot be less certain than under the flat prior
    matrix = matrix / np.outer(scale, scale) + 1e-9 * np.eye(len(scale))
    inverse = np.linalg.inv(matrix) / np.outer(scale, scale)
    covariance = inverse[:size, :size]
    spread = np.sqrt(np.diagonal(covariance))
    shrink = np.minimum(1.0, 0.3 / spread)
    return mean[:, :-1].ravel(), covariance * np.outer(shrink, shrink) + 1e-10 * np.eye(size)


def _draw(
    rng: np.random.Generator,
    size: tuple[int, int],
    n_members: int,
    proposal: tuple[NDArray[np.float64], NDArray[np.float64]],
    settings: MatchSettings,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draws (s, g, m) from the mixture of flat, narrow and wide distributions, and its log density over the flat one.

    Draws outside the simplex are kept, with a negative population: their likelihood is zero.
    """
    (count, n_groups), (mean, covariance) = size, proposal
    free_size = len(mean)
    factor = np.linalg.cholesky(covariance)
    kind = rng.random(count)
    normal = rng.normal(size=(count, free_size)) / np.sqrt(rng.chisquare(_DOF, size=(count, 1)) / _DOF)
    scale = np.where(kind < _FLAT_SHARE + _WIDE_SHARE, _WIDE, 1.0)[:, None]
    free = mean + scale * normal @ factor.T
    flat = _flat(rng, size, n_members, settings)
    free = np.where((kind < _FLAT_SHARE)[:, None], flat[:, :, :-1].reshape(count, free_size), free)
    standard = np.linalg.solve(factor, (free - mean).T)
    square = (standard**2).sum(axis=0)
    norm = math.lgamma(0.5 * (_DOF + free_size)) - math.lgamma(0.5 * _DOF) - 0.5 * free_size * math.log(_DOF * math.pi)
    norm -= float(np.log(np.diagonal(factor)).sum())
    log_narrow = norm - 0.5 * (_DOF + free_size) * np.log1p(square / _DOF)
    log_wide = norm - free_size * math.log(_WIDE) - 0.5 * (_DOF + free_size) * np.log1p(square / _DOF / _WIDE**2)
    log_flat = n_groups * (math.lgamma(n_members) - _log_volume(n_members, settings))
    parts = [
        np.full(count, math.log(_FLAT_SHARE) + log_flat),
        math.log(_WIDE_SHARE) + log_wide,
        math.log(1.0 - _FLAT_SHARE - _WIDE_SHARE) + log_narrow,
    ]
    shaped = free.reshape(count, n_groups, n_members - 1)
    samples = np.concatenate([shaped, 1.0 - shaped.sum(axis=2, keepdims=True)], axis=2)
    return samples, np.logaddexp.reduce(parts, axis=0) - log_flat


def _log_likelihood(
    samples: NDArray[np.float64],
    areas: Sequence[Sequence[AreaData]],
    ways: Sequence[Sequence[Ways]],
    form: AmplitudeForm | None,
    settings: MatchSettings,
) -> NDArray[np.float64]:
    """Log likelihood (s,) of populations (s, g, m), areas relative to unrelated ones (flat on their simplex)."""
    total = np.zeros(len(samples))
    inside = (samples >= settings.least_population).all(axis=(1, 2))
    valid = samples[inside]
    value = np.zeros(len(valid))
    for group, lists in enumerate(areas):
        for data, chosen in zip(lists, ways[group], strict=True):
            value += data.log_likelihood(valid[:, group], chosen, settings.area_outlier)
    if form is not None and len(form.groups):
        value += _amplitude_log_likelihood(valid, form)
    total[inside] = value
    total[~inside] = -np.inf
    return total


def _amplitude_log_likelihood(samples: NDArray[np.float64], form: AmplitudeForm) -> NDArray[np.float64]:
    """Log likelihood (s,) of populations (s, g, m) with the gains integrated over their flat, positive prior."""
    from scipy.special import log_ndtr

    count = len(form.groups)
    shares = samples[:, form.groups]
    half = np.einsum("skm,kmln->skln", shares, form.precision)
    curvature = np.einsum("skln,sln->skl", half, shares)
    # data that say nothing on a gain leave its flat prior
    curvature[:, np.arange(count), np.arange(count)] += 2.0 * math.pi / form.volumes**2
    slope = np.einsum("skln,ln->sk", half, form.mean) + np.einsum("skm,km->sk", shares, form.pull)
    inverse = np.linalg.inv(curvature)
    gains = np.einsum("skl,sl->sk", inverse, slope)
    result: NDArray[np.float64] = 0.5 * (slope * gains).sum(axis=1) - 0.5 * np.linalg.slogdet(curvature)[1]
    result += 0.5 * count * math.log(2.0 * math.pi) - float(np.log(form.volumes).sum())
    spread = np.sqrt(np.maximum(inverse[:, np.arange(count), np.arange(count)], 1e-300))
    result += log_ndtr(gains / spread).sum(axis=1)
    flat = form.mean.ravel()
    result -= 0.5 * float(flat @ form.precision.reshape(len(flat), -1) @ flat) + float(form.pull.ravel() @ flat)
    return result


def weighted_quantile(values: NDArray[np.float64], weights: NDArray[np.float64], level: float) -> float:
    """Quantile of weighted samples."""
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order][min(int(np.searchsorted(cumulative, level * cumulative[-1])), len(values) - 1)])
