"""What the areas of a peak list say of populations, summed over the ways in which lines hide under one another.

Given which line lies under which peak, the expected area of a peak is a sum over its lines of population times atoms,
times the gain of the list. Errors of areas are normal and relative to what was measured, and the gain has the
scale-free prior dg / g, so that it is integrated exactly and only ratios of areas count. There are far too many ways in
which lines can hide to try them all; those are sought that the areas bear out, at populations drawn from what is known
so far, the lines not placed yet counting with the mean and the variance of what they add.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .peaks import UNASSIGNED
from .sites import listing_probability, second_order_shifts, visibility

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..vocabulary import PeakList
    from .peaks import PeakFit
    from .settings import MatchSettings
    from .sites import SiteTable


_MAX_ASSIGNMENTS = 200
_MIN_ASSIGNMENT = 1e-7
_MAX_WAYS = 24
"""Most ways of hiding lines that are kept for one list."""

_MIN_OPTION, _MIN_DOUBT = 0.005, 0.02
"""Chances of hiding below the first, and lines whose place moves less of the area than the second, are let be."""

_MIN_LEFT, _MAX_LEFT = 0.01, 12
"""Probability of all ways that were not sought out from which they count, and most assignments for them."""

_NEGLIGIBLE = 6.0
"""Ways less probable than the best by more than this, in their logarithm, are left out."""


_SINGLE_PRECISION = 2e3
"""Squared signal to noise of all areas up to which single precision errs by less than 1e-3 in the log likelihood."""


_LOG_GAMMA = np.array([0.0, *(math.lgamma(number) for number in range(1, 400))])


class Ways(NamedTuple):
    """Ways (a,) in which the sites gave the peaks of one list.

    ``shown`` (a, n) are the sites with a peak of their own and ``used`` (a, j) the peaks whose areas count;
    ``expected`` (a, j, m) is the area per unit population of each member, ``spread`` (a, j, m) its variance from
    lines not placed; ``log_weight`` (a,) is the log probability of each way.
    """

    shown: NDArray[np.bool_]
    used: NDArray[np.bool_]
    expected: NDArray[np.float64]
    spread: NDArray[np.float64]
    log_weight: NDArray[np.float64]

    def at(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Ways:
        """The ways at an index, copied."""
        return Ways(
            self.shown[index], self.used[index], self.expected[index], self.spread[index], self.log_weight[index]
        )


class AreaData(NamedTuple):
    """Areas of one list and what they may be made of.

    ``area`` and ``variance`` (j,) are measured, in parts of their sum (0 and 1 where there is none); ``hidden`` (j, n)
    is the probability that a site without a peak of its own hides under each peak, ``signal`` (n,) what it gives per
    unit population of its candidate, ``member`` (n,).
    """

    area: NDArray[np.float64]
    variance: NDArray[np.float64]
    hidden: NDArray[np.float64]
    signal: NDArray[np.float64]
    member: NDArray[np.int64]
    start: Ways

    def ways(self, populations: NDArray[np.float64], outlier: float) -> Ways:
        """The likeliest ways given some draws (q, m) of the populations.

        Sites are placed one after the other, those first whose place matters most, and the best ways kept each time.
        All other ways together enter with no line placed, by the means and variances of what lines may add.
        """
        doubt = self.signal**2 * (self.hidden * (1.0 - self.hidden)).sum(axis=0)
        ways = self.start
        score = self._scores(populations, ways, outlier)
        ways = ways.at(np.sort(np.argsort(-score, kind="stable")[:_MAX_WAYS]))
        largest = float(populations.max(axis=0)[self.member].max())
        for site in np.argsort(-doubt, kind="stable"):
            if math.sqrt(doubt[site]) * largest < _MIN_DOUBT * float(self.signal.max()):
                break
            options = np.flatnonzero(self.hidden[:, site] > _MIN_OPTION)
            free = ~ways.shown[:, site]
            if not len(options) or not free.any():
                continue
            mean = self.signal[site] * self.hidden[:, site]
            loose = ways.at(free)
            loose.expected[:, :, self.member[site]] -= mean
            loose.spread[:, :, self.member[site]] -= mean * (self.signal[site] - mean)
            missed = max(1.0 - float(self.hidden[options, site].sum()), 1e-9)
            parts = [ways.at(~free), loose._replace(log_weight=loose.log_weight + math.log(missed))]
            for peak in options:
                placed = loose.expected.copy()
                placed[:, peak, self.member[site]] += self.signal[site]
                chance = math.log(float(self.hidden[peak, site]))
                parts.append(loose._replace(expected=placed, log_weight=loose.log_weight + chance))
            ways = Ways(*(np.concatenate(part) for part in zip(*parts, strict=True)))
            if len(ways.log_weight) > _MAX_WAYS:
                ways = _distinct(ways)
                score = self._scores(populations, ways, outlier)
                ways = ways.at(np.sort(np.argsort(-score, kind="stable")[:_MAX_WAYS]))
        score = self._scores(populations, ways, outlier)
        ways = _distinct(ways.at(score > score.max() - _NEGLIGIBLE))
        ways = ways._replace(spread=np.where(ways.spread < 1e-12, 0.0, ways.spread))
        left = 1.0 - float(np.exp(ways.log_weight).sum())
        if left < _MIN_LEFT:
            return ways
        rest = self.start.at(np.arange(len(self.start.log_weight))[:_MAX_LEFT])
        rest = rest._replace(log_weight=rest.log_weight + math.log(left / float(np.exp(rest.log_weight).sum())))
        return Ways(*(np.concatenate(part) for part in zip(ways, rest, strict=True)))

    def _scores(self, populations: NDArray[np.float64], ways: Ways, outlier: float) -> NDArray[np.float64]:
        """Log probability (a,) of ways, averaged over draws of the populations."""
        ratio = self.log_ratios(populations, ways)
        sharp = np.logaddexp(ratio + math.log1p(-outlier), math.log(outlier))
        result: NDArray[np.float64] = ways.log_weight + np.logaddexp.reduce(sharp, axis=0)
        return result

    def log_ratios(self, populations: NDArray[np.float64], ways: Ways) -> NDArray[np.float64]:
        """Log density (s, a) of the areas for populations (s, m) in each way, over that of areas flat on their simplex.

        Both have the scale-free prior of the total. With a = sum A E / V and b = sum E^2 / V over the peaks,
        integrating the gain leaves exp(a^2 / 2 b) sqrt(b) / a.
        """
        kind = np.float32 if float((self.area**2 / self.variance).sum()) < _SINGLE_PRECISION else np.float64
        population: NDArray[np.floating] = populations[:, : ways.expected.shape[2]].astype(kind)
        squared = population**2
        expected: NDArray[np.floating] = np.moveaxis(ways.expected, 0, 2).astype(kind)
        spread: NDArray[np.floating] = np.moveaxis(np.maximum(ways.spread, 0.0), 0, 2).astype(kind)
        used: NDArray[np.floating] = ways.used.T.astype(kind)
        # the square of the gain, for the variance, is that of the sum
        whole: NDArray[np.floating] = (ways.expected * ways.used[:, :, None]).sum(axis=1).T.astype(kind)
        total: NDArray[np.floating] = (ways.used @ self.area).astype(kind)
        gain = (total / np.maximum(population @ whole, kind(1e-6))) ** 2
        size = (len(population), len(ways.log_weight))
        a, b, c = np.zeros(size, kind), np.zeros(size, kind), np.zeros(size, kind)
        volume = np.ones(size, kind)
        for j in range(len(self.area)):
            inverse = used[j] * kind(1.0 / self.variance[j])
            if spread[j].any():
                more = (squared @ spread[j]) * gain * inverse + kind(1.0)
                volume *= more
                inverse = inverse / more
            predicted = population @ expected[j]
            along = predicted * inverse
            a += along * kind(self.area[j])
            b += along * predicted
            c += inverse * kind(self.area[j] ** 2)
        ratio = np.maximum(a, kind(1e-12)) / np.sqrt(np.maximum(b, kind(1e-24)))
        value = kind(0.5) * (ratio * ratio - c) - np.log(ratio * np.sqrt(volume))
        count = ways.used.sum(axis=1)
        counted: NDArray[np.float64] = ways.used.astype(np.float64)
        constant: NDArray[np.float64] = count * np.log(np.maximum(counted @ self.area, 1e-300))
        constant -= 0.5 * (counted @ np.log(self.variance)) + 0.5 * (count - 1) * math.log(2.0 * math.pi)
        constant -= _LOG_GAMMA[np.clip(count, 1, len(_LOG_GAMMA) - 1)]
        result: NDArray[np.float64] = np.where(count < 2, 0.0, value.astype(np.float64) + constant)
        return result

    def log_likelihood(self, populations: NDArray[np.float64], ways: Ways, outlier: float) -> NDArray[np.float64]:
        """Log density (s,) over the flat one, summed over ways; with probability ``outlier`` areas say nothing."""
        value = self.log_ratios(populations, ways) + ways.log_weight
        top = value.max(axis=1)
        sharp = top + np.log(np.exp(value - top[:, None]).sum(axis=1))
        result: NDArray[np.float64] = np.logaddexp(sharp + math.log1p(-outlier), math.log(outlier))
        return result


def area_data(
    table: SiteTable,
    peak_list: PeakList,
    fit: PeakFit,
    *,
    start: int,
    shares: NDArray[np.float64],
    settings: MatchSettings,
    hidden: NDArray[np.float64] | None = None,
) -> AreaData | None:
    """Measured areas of one list and what they may be made of; None if they cannot count atoms.

    Sites without a peak of their own hide under one of the others, to which they add, or were missed. ``shares``
    (n,) is each site's part of its candidate's atoms; ``start`` is the list's first column in ``fit.assignments``.
    Peaks of the background and peaks without an area are left out. ``hidden`` is ``hiding``, if that is known already.
    """
    has_area = np.array([peak.area is not None for peak in peak_list.peaks])
    if not peak_list.experiment.counts_atoms or not len(table) or has_area.sum() < 2:
        return None
    area = np.array([peak.area or 0.0 for peak in peak_list.peaks])
    scale = max(float(area.sum()), 1e-300)
    error = np.array([peak.area_error or 0.0 for peak in peak_list.peaks]) / scale
    variance = error**2 + (settings.area_error_fraction * area / scale) ** 2
    n_peaks, n_members = len(peak_list.peaks), int(table.member.max(initial=-1)) + 1
    columns = fit.assignments[:, start : start + n_peaks]
    kinds, inverse = np.unique(columns, axis=0, return_inverse=True)
    chances = np.bincount(inverse.ravel(), fit.weights, len(kinds))
    order = np.argsort(-chances, kind="stable")[:_MAX_ASSIGNMENTS]
    order = order[chances[order] > _MIN_ASSIGNMENT]
    kinds, chances = kinds[order], chances[order] / chances[order].sum()
    signal = shares * visibility(table, peak_list, settings)
    way, peak = np.nonzero(kinds != UNASSIGNED)
    site = kinds[way, peak]
    expected, spread = np.zeros((2, len(kinds), n_peaks, n_members))
    expected[way, peak, table.member[site]] = signal[site]
    shown = np.zeros((len(kinds), len(table)), dtype=bool)
    shown[way, site] = True
    if hidden is None:
        hidden = hiding(table, peak_list, fit, settings)
    mean = np.zeros((2, len(table), n_peaks, n_members))
    index = np.arange(len(table))
    mean[0, index, :, table.member] = (signal * hidden).T
    mean[1, index, :, table.member] = (signal**2 * hidden * (1.0 - hidden)).T
    hides = (~shown).astype(float)
    expected += np.tensordot(hides, mean[0], 1)
    spread += np.tensordot(hides, mean[1], 1)
    ways = Ways(shown, (kinds != UNASSIGNED) & has_area, expected, spread, np.log(chances))
    return AreaData(
        area / scale, np.where(has_area, np.maximum(variance, 1e-10), 1.0), hidden, signal, table.member, ways
    )


def hiding(table: SiteTable, peak_list: PeakList, fit: PeakFit, settings: MatchSettings) -> NDArray[np.float64]:
    """Probability (j, n) that a site without a peak of its own hides under each peak."""
    near = _closeness(table, peak_list, fit, settings)
    listed = listing_probability(table, peak_list, settings)
    hidden = listed * (1.0 - np.prod(1.0 - near, axis=0)) * near / np.maximum(near.sum(axis=0), 1e-300)
    hidden = hidden / (hidden.sum(axis=0) + 1.0 - listed)
    result: NDArray[np.float64] = np.where(hidden > _MIN_OPTION, hidden, 0.0)
    return result


def _distinct(ways: Ways) -> Ways:
    """Ways that show the same sites and expect the same areas taken together."""
    flat = np.concatenate([ways.expected, ways.spread], axis=2).reshape(len(ways.log_weight), -1)
    flat = np.concatenate([flat, ways.shown, ways.used], axis=1)
    # equal rows have equal projections; unequal ones do not, for numbers without a simple relation
    key = np.round(flat @ np.sqrt(np.arange(2.0, flat.shape[1] + 2.0)), 8)
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    if len(first) == len(key):
        return ways
    top = float(ways.log_weight.max())
    merged = np.bincount(inverse.ravel(), np.exp(ways.log_weight - top))
    return ways.at(first)._replace(log_weight=top + np.log(np.maximum(merged, 1e-300)))


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
    induced, slope = second_order_shifts(table, peak_list)
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
