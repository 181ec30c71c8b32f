"""Populations of the candidates in a subset: sampled on the simplex, weighted by areas and spectra.

A population is a candidate's share of the atoms of the matched isotopes; shares of a subset sum to 1. The prior is flat
on the simplex; each measurement has a gain of its own, which is profiled out, so only ratios count.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .peaks import UNASSIGNED
from .sites import listing_probability, second_order_shifts, visibility

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..vocabulary import PeakList
    from .peaks import PeakFit
    from .settings import MatchSettings
    from .sites import SiteTable


_MAX_ASSIGNMENTS = 24
_MIN_ASSIGNMENT = 0.003


class AreaData(NamedTuple):
    """Areas of one list under one assignment of its peaks.

    ``expected`` (j, m) is the area per unit population, ``spread`` (j, m) its variance from not knowing under
    which peak a site without its own hides; ``area`` (j,) and ``error`` (j,) are measured; ``weight`` is the
    probability of the assignment.
    """

    expected: NDArray[np.float64]
    spread: NDArray[np.float64]
    area: NDArray[np.float64]
    error: NDArray[np.float64]
    weight: float


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


def area_data(
    table: SiteTable,
    peak_list: PeakList,
    fit: PeakFit,
    *,
    start: int,
    shares: NDArray[np.float64],
    settings: MatchSettings,
) -> tuple[AreaData, ...]:
    """Expected and measured areas of one list, one entry per likely assignment; empty if areas cannot count atoms.

    Sites without a peak of their own add to the peaks they would hide under. ``shares`` (n,) is each site's
    part of its candidate's atoms; ``start`` is the list's first column in ``fit.assignments``. Peaks of the
    background and peaks without an area are left out.
    """
    if peak_list.experiment.is_surface_selective or not len(table):
        return ()
    signal = shares * visibility(table, peak_list, settings)
    closeness = _closeness(table, peak_list, fit, settings)
    listed = listing_probability(table, peak_list, settings)
    columns = fit.assignments[:, start : start + len(peak_list.peaks)]
    kinds, inverse = np.unique(columns, axis=0, return_inverse=True)
    weights = np.bincount(inverse.ravel(), fit.weights, len(kinds))
    order = [int(i) for i in np.argsort(weights)[::-1][:_MAX_ASSIGNMENTS] if weights[i] > _MIN_ASSIGNMENT]
    total = sum(float(weights[i]) for i in order)
    found = [
        _areas_of(
            table,
            peak_list,
            kinds[i],
            weight=float(weights[i]) / total,
            signal=signal,
            closeness=closeness,
            listed=listed,
        )
        for i in order
    ]
    return tuple(data for data in found if data is not None)


def _areas_of(
    table: SiteTable,
    peak_list: PeakList,
    assignment: NDArray[np.int64],
    *,
    weight: float,
    signal: NDArray[np.float64],
    closeness: NDArray[np.float64],
    listed: NDArray[np.float64],
) -> AreaData | None:
    chosen = [j for j, peak in enumerate(peak_list.peaks) if peak.area is not None and assignment[j] != UNASSIGNED]
    if len(chosen) < 2:
        return None
    n_members = int(table.member.max()) + 1
    expected, spread = np.zeros((2, len(peak_list.peaks), n_members))
    own = {int(site): j for j, site in enumerate(assignment) if site != UNASSIGNED}
    for site in range(len(table)):
        if site in own:
            expected[own[site], table.member[site]] += signal[site]
            continue
        nearest = float(closeness[:, site].max())
        # a site without a peak of its own hides under a near one, or was missed
        is_hidden = listed[site] * nearest / max(listed[site] * nearest + 1.0 - listed[site], 1e-12)
        if is_hidden > 1e-6:
            part = is_hidden * closeness[:, site] / closeness[:, site].sum()
            expected[:, table.member[site]] += signal[site] * part
            spread[:, table.member[site]] += signal[site] ** 2 * part * (1.0 - part)
    area = np.array([peak_list.peaks[j].area or 0.0 for j in chosen])
    error = np.array([peak_list.peaks[j].area_error or 0.0 for j in chosen])
    return AreaData(expected[chosen], spread[chosen], area, error, weight)


def _closeness(table: SiteTable, peak_list: PeakList, fit: PeakFit, settings: MatchSettings) -> NDArray[np.float64]:
    """Probability (j, n) that each site hides under each peak, from the fitted positions and what they leave open."""
    n = len(table)
    shift = table.delta + table.offset_rows @ fit.mean[:2] + fit.mean[2 : 2 + n]
    cq = table.cq + fit.mean[2 + n :]
    induced, _ = second_order_shifts(table, peak_list.field_tesla)
    variance = np.diagonal(fit.covariance)[2:]
    resolution = settings.resolution_ppm(table.isotope)
    rows = []
    for peak in peak_list.peaks:
        near = np.ones(n)
        if peak.delta_iso_ppm is not None:
            near *= _overlap(peak.delta_iso_ppm - shift, resolution, variance[:n])
        elif peak.position_ppm is not None:
            near *= _overlap(peak.position_ppm - shift - induced, resolution, variance[:n])
        if peak.cq_mhz is not None:
            near *= _overlap(peak.cq_mhz - cq, settings.cq_resolution_mhz, variance[n:])
        rows.append(near)
    return np.array(rows)


def _overlap(distance: NDArray[np.float64], resolution: float, variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the uncertain distance of the chance exp(-d^2 / 2 resolution^2) that two lines are taken for one."""
    total = resolution**2 + variance
    result: NDArray[np.float64] = resolution / np.sqrt(total) * np.exp(-0.5 * distance**2 / total)
    return result


def fit_populations(
    n_members: int,
    areas: Sequence[Sequence[Sequence[AreaData]]],
    form: AmplitudeForm | None,
    settings: MatchSettings,
) -> tuple[PopulationFit, ...]:
    """Posterior of the populations of each sample by adaptive importance sampling with a fixed seed.

    ``areas`` holds the lists of area data of each sample. The gains are integrated out exactly for each
    draw of the populations. Draws come from Student distributions around the optimum, on the simplex, and from the flat
    prior, and are weighted back. Log evidences are equal in all samples: that of all data together.
    """
    n_samples = len(areas)
    n_groups = max(n_samples, 0 if form is None or not len(form.groups) else int(form.groups.max()) + 1)
    has_data = any(areas) or (form is not None and len(form.groups) > 0)
    if n_members <= 1 or not has_data:
        single = np.ones((1, n_groups, max(n_members, 1)))
        value = float(_log_likelihood(single, areas, form, settings)[0]) if n_members else 0.0
        if n_members <= 1:
            return tuple(PopulationFit(single[:, 0], np.ones(1), value) for _ in range(n_samples))
    rng = np.random.default_rng(settings.seed)
    count = settings.n_population_samples * (n_members - 1)
    flat = rng.dirichlet(np.ones(n_members), size=(count, n_groups))
    even = np.full(count, 1.0 / count)
    if not has_data:
        return tuple(PopulationFit(flat[:, g], even, 0.0) for g in range(n_samples))
    samples, log_proposal = flat, np.zeros(count)
    proposal = _start(n_members, n_groups, form)
    log_weight = _log_likelihood(samples, areas, form, settings)
    weight = _normalised(log_weight)
    if proposal is None:
        proposal = _moments(samples, weight)
    for _ in range(_ADAPTATIONS):
        if 1.0 / float(weight @ weight) > 0.3 * count:
            break
        samples, log_proposal = _draw(rng, count, n_members, n_groups, proposal)
        log_weight = _log_likelihood(samples, areas, form, settings) - log_proposal
        weight = _normalised(log_weight)
        proposal = _moments(samples, weight)
    top = float(log_weight.max())
    log_evidence = top + math.log(float(np.exp(log_weight - top).mean()))
    return tuple(PopulationFit(samples[:, g], weight, log_evidence) for g in range(n_samples))


_ADAPTATIONS = 4
_DOF = 4.0
_FLAT_SHARE = 0.1
_WIDE_SHARE = 0.25
_WIDE = 3.0


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
    count: int,
    n_members: int,
    n_groups: int,
    proposal: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draws (s, g, m) from the mixture of flat, narrow and wide distributions, and its log density over the flat one.

    Draws outside the simplex are kept, with a negative population: their likelihood is zero.
    """
    mean, covariance = proposal
    size = len(mean)
    factor = np.linalg.cholesky(covariance)
    kind = rng.random(count)
    normal = rng.normal(size=(count, size)) / np.sqrt(rng.chisquare(_DOF, size=(count, 1)) / _DOF)
    scale = np.where(kind < _FLAT_SHARE + _WIDE_SHARE, _WIDE, 1.0)[:, None]
    free = mean + scale * normal @ factor.T
    flat = rng.dirichlet(np.ones(n_members), size=(count, n_groups))
    free = np.where((kind < _FLAT_SHARE)[:, None], flat[:, :, :-1].reshape(count, size), free)
    standard = np.linalg.solve(factor, (free - mean).T)
    square = (standard**2).sum(axis=0)
    norm = math.lgamma(0.5 * (_DOF + size)) - math.lgamma(0.5 * _DOF) - 0.5 * size * math.log(_DOF * math.pi)
    norm -= float(np.log(np.diagonal(factor)).sum())
    log_narrow = norm - 0.5 * (_DOF + size) * np.log1p(square / _DOF)
    log_wide = norm - size * math.log(_WIDE) - 0.5 * (_DOF + size) * np.log1p(square / _DOF / _WIDE**2)
    log_flat = n_groups * math.lgamma(n_members)
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
    areas: Sequence[Sequence[Sequence[AreaData]]],
    form: AmplitudeForm | None,
    settings: MatchSettings,
) -> NDArray[np.float64]:
    """Log likelihood (s,) of populations (s, g, m), areas relative to unrelated ones (flat on their simplex)."""
    total = np.zeros(len(samples))
    inside = (samples >= 0).all(axis=(1, 2))
    valid = samples[inside]
    value = np.zeros(len(valid))
    for group, lists in enumerate(areas):
        for alternatives in lists:
            same: dict[tuple[float, ...], list[AreaData]] = {}
            for data in alternatives:
                same.setdefault(tuple(data.area.tolist()), []).append(data)
            sharp = np.logaddexp.reduce(
                [_area_log_likelihood(valid[:, group], equals, settings) for equals in same.values()]
            )
            value += np.logaddexp(sharp + math.log1p(-settings.area_outlier), math.log(settings.area_outlier))
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


def _area_log_likelihood(
    samples: NDArray[np.float64], alternatives: Sequence[AreaData], settings: MatchSettings
) -> NDArray[np.float64]:
    """Log density (s,) of relative areas, over the flat density on their simplex, summed over assignments.

    The alternatives share their peaks, and so their areas; they enter with their weights.
    """
    area, error = alternatives[0].area, alternatives[0].error
    measured = area / area.sum()
    # (a, m, j)
    expected = np.stack([data.expected.T for data in alternatives])
    spread = np.stack([data.spread.T for data in alternatives])
    used = samples[:, : expected.shape[1]]
    predicted = used @ expected
    scale = np.clip(predicted.sum(axis=2, keepdims=True), 1e-12, None)
    variance = (error / area.sum()) ** 2 + (settings.area_error_fraction * measured) ** 2
    variance = variance + (used**2 @ spread) / scale**2
    chi2 = ((measured - predicted / scale) ** 2 / variance).sum(axis=2)
    # both sides sum to 1: the density given the sum, against (j - 1)! of the flat density
    free = len(measured) - 1
    norm = 0.5 * (np.log(variance).sum(axis=2) - np.log(variance.sum(axis=2)) + free * math.log(2.0 * math.pi))
    weights = np.log([data.weight for data in alternatives])
    result: NDArray[np.float64] = np.logaddexp.reduce(weights[:, None] - 0.5 * chi2 - norm, axis=0)
    return result - math.lgamma(free + 1)


def weighted_quantile(values: NDArray[np.float64], weights: NDArray[np.float64], level: float) -> float:
    """Quantile of weighted samples."""
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order][min(int(np.searchsorted(cumulative, level * cumulative[-1])), len(values) - 1)])
