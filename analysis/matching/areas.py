"""What the areas of a peak list say of populations, summed over the ways in which lines hide under one another.

Given which line lies under which peak, the expected area of a peak is a sum over its lines of population times atoms,
times the gain of the list. Errors of areas are normal and relative to what was measured, and the gain has the
scale-free prior dg / g, so that it is integrated exactly and only ratios of areas count.
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
_MAX_WAYS = 96
"""Most ways of hiding lines that are kept for one list."""

_MIN_OPTION = 0.005


class AreaData(NamedTuple):
    """Areas of those peaks of one list that sites gave, under all ways to give them.

    ``area`` and ``error`` (j,) are measured; ``expected`` (a, j, m) is the area per unit population of each
    member, and ``weight`` (a,) the probability of each way; over all data of one list weights sum to 1.
    """

    area: NDArray[np.float64]
    error: NDArray[np.float64]
    expected: NDArray[np.float64]
    weight: NDArray[np.float64]


def area_data(
    table: SiteTable,
    peak_list: PeakList,
    fit: PeakFit,
    *,
    start: int,
    shares: NDArray[np.float64],
    settings: MatchSettings,
) -> tuple[AreaData, ...]:
    """Expected and measured areas of one list, one entry per set of peaks; empty if areas cannot count atoms.

    Sites without a peak of their own hide under one of the others, to which they add, or were missed. ``shares``
    (n,) is each site's part of its candidate's atoms; ``start`` is the list's first column in ``fit.assignments``.
    Peaks of the background and peaks without an area are left out.
    """
    if peak_list.experiment.is_surface_selective or not len(table):
        return ()
    n_peaks, n_members = len(peak_list.peaks), int(table.member.max()) + 1
    columns = fit.assignments[:, start : start + n_peaks]
    kinds, inverse = np.unique(columns, axis=0, return_inverse=True)
    chances = np.bincount(inverse.ravel(), fit.weights, len(kinds))
    order = np.argsort(-chances, kind="stable")[:_MAX_ASSIGNMENTS]
    order = order[chances[order] > _MIN_ASSIGNMENT]
    kinds, weights = kinds[order], np.asarray(chances[order], dtype=np.float64)
    signal = shares * visibility(table, peak_list, settings)
    own = kinds != UNASSIGNED
    expected = np.zeros((len(kinds), n_peaks, n_members))
    way, peak = np.nonzero(own)
    site = kinds[way, peak]
    expected[way, peak, table.member[site]] = signal[site]
    shown = np.zeros((len(kinds), len(table)), dtype=bool)
    shown[way, site] = True
    closeness = _closeness(table, peak_list, fit, settings)
    listed = listing_probability(table, peak_list, settings)
    root, weights, expected = _hide(table, shown, weights, expected, listed=listed, closeness=closeness, signal=signal)
    used, code = np.unique(own & np.array([p.area is not None for p in peak_list.peaks]), axis=0, return_inverse=True)
    kind, weights, expected = _distinct(code.ravel()[root].astype(np.int64), weights, expected)
    total = float(weights.sum())
    found = []
    for index, chosen in enumerate(used):
        rows = np.flatnonzero(kind == index)
        if chosen.sum() < 2 or not len(rows):
            continue
        picked = [peak_list.peaks[j] for j in np.flatnonzero(chosen)]
        found.append(
            AreaData(
                np.array([p.area or 0.0 for p in picked]),
                np.array([p.area_error or 0.0 for p in picked]),
                expected[rows][:, chosen],
                weights[rows] / total,
            )
        )
    return tuple(found)


def _hide(
    table: SiteTable,
    shown: NDArray[np.bool_],
    weights: NDArray[np.float64],
    expected: NDArray[np.float64],
    *,
    listed: NDArray[np.float64],
    closeness: NDArray[np.float64],
    signal: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Let every site without a peak of its own (not ``shown``, (a, n)) hide or be missed, in the likeliest ways.

    Returns the assignment (b,) each way starts from, its weight (b,) and its expected areas (b, j, m).
    """
    root = np.arange(len(weights), dtype=np.int64)
    for site in range(len(table)):
        if shown[:, site].all() or not signal[site]:
            continue
        near = closeness[:, site]
        hidden = listed[site] * (1.0 - np.prod(1.0 - near)) * near / max(float(near.sum()), 1e-300)
        missed = 1.0 - float(listed[site])
        hidden, missed = hidden / (hidden.sum() + missed), missed / (hidden.sum() + missed)
        options = np.flatnonzero(hidden > _MIN_OPTION)
        if not len(options):
            continue
        free = ~shown[root, site]
        roots, values, shapes = [root], [np.where(free, weights * missed, weights)], [expected]
        for peak in options:
            added = expected[free]
            added[:, peak, table.member[site]] += signal[site]
            roots.append(root[free])
            values.append(weights[free] * hidden[peak])
            shapes.append(added)
        root, weights, expected = np.concatenate(roots), np.concatenate(values), np.concatenate(shapes)
        root, weights, expected = _distinct(root, weights, expected)
    return root, weights, expected


def _distinct(
    root: NDArray[np.int64], weights: NDArray[np.float64], expected: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Ways of one root that expect the same areas taken together, and the likeliest of all."""
    flat = expected.reshape(len(expected), -1)
    # equal rows have equal projections; unequal ones do not, for numbers without a simple relation
    projected = flat @ np.sqrt(np.arange(2.0, flat.shape[1] + 2.0))
    key = np.round(projected / max(float(projected.max()), 1e-300), 9) + 2.0 * root
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    merged = np.asarray(np.bincount(inverse.ravel(), weights), dtype=np.float64)
    root, expected = root[first], expected[first]
    keep = np.argsort(-merged, kind="stable")[:_MAX_WAYS]
    keep = keep[merged[keep] > 1e-4 * merged[keep[0]]]
    return root[keep], merged[keep], expected[keep]


def _closeness(table: SiteTable, peak_list: PeakList, fit: PeakFit, settings: MatchSettings) -> NDArray[np.float64]:
    """Probability (j, n) that each site, had it no peak of its own, hides under each peak.

    Offsets are as fitted; the site's own errors too if another list of the isotope can have fixed them.
    """
    n = len(table)
    shift = table.delta + table.offset_rows @ fit.mean[:2]
    offset = ((table.offset_rows @ fit.covariance[:2, :2]) * table.offset_rows).sum(axis=1)
    cq, shift_variance, cq_variance = table.cq, offset + table.delta_error**2, table.cq_error**2
    if fit.assignments.shape[1] > len(peak_list.peaks):
        shift, cq = shift + fit.mean[2 : 2 + n], cq + fit.mean[2 + n :]
        shift_variance, cq_variance = np.diagonal(fit.covariance)[2:].reshape(2, n)
    induced, slope = second_order_shifts(table, peak_list.field_tesla)
    squared = settings.resolution_ppm(table.isotope) ** 2
    rows = []
    for peak in peak_list.peaks:
        near = np.ones(n)
        if peak.delta_iso_ppm is not None:
            kernel = squared + (peak.delta_error_ppm or 0.0) ** 2
            near *= _overlap(peak.delta_iso_ppm - shift, kernel, shift_variance)
        elif peak.position_ppm is not None:
            kernel = squared + (peak.position_error_ppm or 0.0) ** 2
            near *= _overlap(peak.position_ppm - shift - induced, kernel, shift_variance + slope**2 * cq_variance)
        if peak.cq_mhz is not None:
            kernel = settings.cq_resolution_mhz**2 + (peak.cq_error_mhz or 0.0) ** 2
            near *= _overlap(peak.cq_mhz - cq, kernel, cq_variance)
        rows.append(near)
    return np.array(rows)


def _overlap(distance: NDArray[np.float64], kernel: float, variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the uncertain distance of the chance exp(-d^2 / 2 kernel) that two lines are taken for one."""
    total = kernel + variance
    result: NDArray[np.float64] = np.sqrt(kernel / total) * np.exp(-0.5 * distance**2 / total)
    return result


def area_log_likelihood(
    populations: NDArray[np.float64], alternatives: Sequence[AreaData], settings: MatchSettings
) -> NDArray[np.float64]:
    """Log density (s,) of the areas of one list for populations (s, m), over that of areas flat on their simplex.

    With a probability ``settings.area_outlier`` areas say nothing. Both densities have the scale-free prior of the
    total. For one way, with a = sum A E / V and b = sum E^2 / V over the peaks, integrating the gain leaves
    exp(a^2 / 2 b) sqrt(b) / a; a is linear in the populations and b is quadratic, so peaks need no loop.
    """
    parts = [_one_set(populations, data, settings) for data in alternatives]
    missing = 1.0 - sum(float(data.weight.sum()) for data in alternatives)
    if missing > 1e-9:
        # in the rest of the ways too few peaks are left to compare
        parts.append(np.full(len(populations), math.log(missing)))
    sharp = np.logaddexp.reduce(parts, axis=0)
    result: NDArray[np.float64] = np.logaddexp(
        sharp + math.log1p(-settings.area_outlier), math.log(settings.area_outlier)
    )
    return result


def _one_set(populations: NDArray[np.float64], data: AreaData, settings: MatchSettings) -> NDArray[np.float64]:
    variance = data.error**2 + (settings.area_error_fraction * data.area) ** 2
    variance = np.maximum(variance, (1e-6 * float(data.area.max())) ** 2)
    count, n_members = len(data.area), data.expected.shape[2]
    used = populations[:, :n_members]
    along = np.einsum("ajm,j->ma", data.expected, data.area / variance)
    first, second = np.triu_indices(n_members)
    square = np.einsum("ajm,ajn,j->mna", data.expected, data.expected, 1.0 / variance)[first, second]
    square = np.where(first == second, 1.0, 2.0)[:, None] * square
    a = np.maximum(used @ along, 1e-150)
    b = np.maximum((used[:, first] * used[:, second]) @ square, 1e-290)
    limit = float((data.area**2 / variance).sum())
    constant = count * math.log(float(data.area.sum())) - 0.5 * float(np.log(variance).sum())
    constant -= 0.5 * (count - 1) * math.log(2.0 * math.pi) + math.lgamma(count)
    # a^2 / b cannot exceed its limit, so that nothing overflows
    ratio = a / np.sqrt(b)
    density = (np.exp(0.5 * (ratio**2 - limit)) / ratio) @ data.weight
    result: NDArray[np.float64] = constant + np.log(density + 1e-300)
    return result
