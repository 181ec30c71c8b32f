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
_MAX_WAYS = 40
"""Most ways of hiding lines that are kept for one list."""

_MIN_OPTION = 0.005

_SINGLE_PRECISION = 2e3


class AreaData(NamedTuple):
    """Areas of those peaks of one list that sites gave, under all ways to give them.

    ``area`` and ``error`` (j,) are measured; ``expected`` (a, j, m) is the area per unit population of each
    member, ``spread`` (a, j, m) its variance from lines of which it is not known where they hide, and ``weight``
    (a,) the probability of each way; over all data of one list weights sum to 1.
    """

    area: NDArray[np.float64]
    error: NDArray[np.float64]
    expected: NDArray[np.float64]
    spread: NDArray[np.float64]
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
    ways = _hide(table, shown, _Ways.begin(weights, expected), listed=listed, closeness=closeness, signal=signal)
    used, code = np.unique(own & np.array([p.area is not None for p in peak_list.peaks]), axis=0, return_inverse=True)
    ways = ways._replace(root=code.ravel()[ways.root].astype(np.int64)).distinct()
    total = float(ways.weight.sum())
    found = []
    for index, chosen in enumerate(used):
        rows = np.flatnonzero(ways.root == index)
        if chosen.sum() < 2 or not len(rows):
            continue
        picked = [peak_list.peaks[j] for j in np.flatnonzero(chosen)]
        found.append(
            AreaData(
                np.array([p.area or 0.0 for p in picked]),
                np.array([p.area_error or 0.0 for p in picked]),
                ways.expected[rows][:, chosen],
                ways.spread[rows][:, chosen],
                ways.weight[rows] / total,
            )
        )
    return tuple(found)


class _Ways(NamedTuple):
    """Ways (b,) to give peaks and to hide lines: the assignment each starts from, weight, areas (b, j, m), variance."""

    root: NDArray[np.int64]
    weight: NDArray[np.float64]
    expected: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def begin(cls, weight: NDArray[np.float64], expected: NDArray[np.float64]) -> _Ways:
        """One way per assignment, nothing hidden yet."""
        return cls(np.arange(len(weight), dtype=np.int64), weight, expected, np.zeros_like(expected))

    def distinct(self) -> _Ways:
        """Ways of one root that expect the same areas taken together, and the likeliest of all."""
        flat = np.concatenate([self.expected, self.spread], axis=2).reshape(len(self.root), -1)
        # equal rows have equal projections; unequal ones do not, for numbers without a simple relation
        projected = flat @ np.sqrt(np.arange(2.0, flat.shape[1] + 2.0))
        key = np.round(projected / max(float(projected.max()), 1e-300), 9) + 2.0 * self.root
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        merged = np.asarray(np.bincount(inverse.ravel(), self.weight), dtype=np.float64)
        keep = np.argsort(-merged, kind="stable")[:_MAX_WAYS]
        keep = keep[merged[keep] > 1e-4 * merged[keep[0]]]
        chosen = first[keep]
        return _Ways(self.root[chosen], merged[keep], self.expected[chosen], self.spread[chosen])


def _hide(
    table: SiteTable,
    shown: NDArray[np.bool_],
    ways: _Ways,
    *,
    listed: NDArray[np.float64],
    closeness: NDArray[np.float64],
    signal: NDArray[np.float64],
) -> _Ways:
    """Let every site without a peak of its own (not ``shown``, (a, n)) hide under a peak or be missed.

    Of the sites whose place matters most all places are tried, as long as the ways are not too many; the others
    enter by the mean and the variance of what they add to each peak.
    """
    hidden = listed * (1.0 - np.prod(1.0 - closeness, axis=0)) * closeness / np.maximum(closeness.sum(axis=0), 1e-300)
    hidden = hidden / (hidden.sum(axis=0) + 1.0 - listed)
    doubt = signal**2 * (hidden * (1.0 - hidden)).sum(axis=0)
    for site in np.argsort(-doubt, kind="stable"):
        free = ~shown[ways.root, site]
        member = table.member[site]
        options = np.flatnonzero(hidden[:, site] > _MIN_OPTION)
        if not free.any() or not len(options):
            continue
        if len(free) + free.sum() * len(options) > _MAX_WAYS:
            mean = signal[site] * hidden[:, site]
            ways.expected[free, :, member] += mean
            ways.spread[free, :, member] += signal[site] * mean * (1.0 - hidden[:, site])
            continue
        missed = 1.0 - float(hidden[options, site].sum())
        parts = [ways._replace(weight=np.where(free, ways.weight * missed, ways.weight))]
        for peak in options:
            added = ways.expected[free]
            added[:, peak, member] += signal[site]
            weight = ways.weight[free] * hidden[peak, site]
            parts.append(_Ways(ways.root[free], weight, added, ways.spread[free]))
        ways = _Ways(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    return ways


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
    exp(a^2 / 2 b) sqrt(b) / a.
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
    count, n_members = len(data.area), data.expected.shape[2]
    scale = float(data.area.sum())
    area = data.area / scale
    variance = (data.error / scale) ** 2 + (settings.area_error_fraction * area) ** 2
    variance = np.maximum(variance, 1e-10)
    # single precision errs by 1e-3 in the logarithm at this limit
    kind = np.float32 if float((area**2 / variance).sum()) < _SINGLE_PRECISION else np.float64
    used = populations[:, :n_members].astype(kind)
    squared = used**2
    expected = np.moveaxis(data.expected, 0, 2).astype(kind)
    spread = np.moveaxis(data.spread, 0, 2).astype(kind)
    # gain squared for the variance: that of the sum
    gain = np.maximum(used @ expected.sum(axis=0), 1e-9) ** -2
    size = (len(used), len(data.weight))
    a, b, c = np.zeros(size, kind), np.zeros(size, kind), np.zeros(size, kind)
    volume = np.ones(size, kind)
    for j in range(count):
        predicted = used @ expected[j]
        if spread[j].any():
            more = (squared @ spread[j]) * gain * kind(1.0 / variance[j]) + kind(1.0)
            volume *= more
            inverse = kind(1.0 / variance[j]) / more
        else:
            inverse = np.full((1, 1), 1.0 / variance[j], kind)
        along = predicted * inverse
        a += along * kind(area[j])
        b += along * predicted
        c += inverse * kind(area[j] ** 2)
    ratio = np.maximum(a, 1e-15) / np.sqrt(np.maximum(b, 1e-30))
    # a^2 / b cannot exceed c, so that nothing overflows
    density = (np.exp(kind(0.5) * (ratio * ratio - c)) / (ratio * np.sqrt(volume))) @ data.weight.astype(kind)
    constant = -0.5 * float(np.log(variance).sum()) - 0.5 * (count - 1) * math.log(2.0 * math.pi) - math.lgamma(count)
    result: NDArray[np.float64] = constant + np.log(density.astype(np.float64) + 1e-300)
    return result
