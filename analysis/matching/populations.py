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


class AmplitudeData(NamedTuple):
    """Gaussian estimate of the members' amplitudes in one spectrum: mean (m,), precision (m, m)."""

    mean: NDArray[np.float64]
    precision: NDArray[np.float64]


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
    areas: Sequence[Sequence[AreaData]],
    amplitudes: Sequence[AmplitudeData],
    settings: MatchSettings,
) -> PopulationFit:
    """Posterior of the populations by importance sampling with a fixed seed.

    A first flat sample locates the posterior; the second is drawn half flat and half from a Dirichlet distribution
    with its mean and spread, and weighted back.
    """
    if n_members <= 1:
        ones = np.ones((1, max(n_members, 1)))
        single = float(_log_likelihood(ones, areas, amplitudes, settings)[0]) if n_members else 0.0
        return PopulationFit(ones, np.ones(1), single)
    rng = np.random.default_rng(settings.seed)
    count = settings.n_population_samples * (n_members - 1)
    flat = rng.dirichlet(np.ones(n_members), size=count)
    if not areas and not amplitudes:
        return PopulationFit(flat, np.full(count, 1.0 / count), 0.0)
    samples, log_proposal = flat, np.zeros(count)
    log_flat = math.lgamma(n_members)
    for _ in range(5):
        log_weight = _log_likelihood(samples, areas, amplitudes, settings) - log_proposal
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        if 1.0 / float(weight @ weight) > 0.25 * count:
            break
        mean = np.clip(weight @ samples, 1e-4, None)
        mean /= mean.sum()
        variance = weight @ (samples - mean) ** 2 + 1e-8
        concentration = float(np.clip(np.median(mean * (1 - mean) / variance) * 0.5, n_members, 1e5))
        near = rng.dirichlet(concentration * mean, size=count // 2)
        samples = np.clip(np.concatenate([flat[: count - count // 2], near]), 1e-12, None)
        samples /= samples.sum(axis=1, keepdims=True)
        log_near = _log_dirichlet(samples, concentration * mean) - log_flat
        log_proposal = np.logaddexp(math.log(0.5), math.log(0.5) + log_near)
    log_weight = _log_likelihood(samples, areas, amplitudes, settings) - log_proposal
    top = float(log_weight.max())
    weight = np.exp(log_weight - top)
    return PopulationFit(samples, weight / weight.sum(), top + math.log(float(weight.mean())))


def _log_dirichlet(samples: NDArray[np.float64], alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    norm = math.lgamma(float(alpha.sum())) - sum(math.lgamma(float(a)) for a in alpha)
    result: NDArray[np.float64] = norm + np.log(samples) @ (alpha - 1.0)
    return result


def _log_likelihood(
    samples: NDArray[np.float64],
    areas: Sequence[Sequence[AreaData]],
    amplitudes: Sequence[AmplitudeData],
    settings: MatchSettings,
) -> NDArray[np.float64]:
    """Log likelihood (s,) of populations (s, m), relative to unrelated areas (flat on their own simplex)."""
    total = np.zeros(len(samples))
    for alternatives in areas:
        groups: dict[tuple[float, ...], list[AreaData]] = {}
        for data in alternatives:
            groups.setdefault(tuple(data.area.tolist()), []).append(data)
        sharp = np.logaddexp.reduce([_area_log_likelihood(samples, group, settings) for group in groups.values()])
        total += np.logaddexp(sharp + math.log1p(-settings.area_outlier), math.log(settings.area_outlier))
    for spectrum in amplitudes:
        weighted = spectrum.precision @ spectrum.mean
        along = np.clip(samples @ weighted, 0.0, None)
        across = np.einsum("sm,mn,sn->s", samples, spectrum.precision, samples)
        best = along**2 / np.clip(across, 1e-300, None)
        total += -0.5 * (float(spectrum.mean @ weighted) - best)
    return total


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
