"""What a compound that nobody listed would show, learned from the candidates that were listed.

The rival of every explanation is that part of the sample is not in the list. Its lines are unknown, but not anywhere:
what was left out is most often a sibling of what was listed, another termination or degree of hydration of the
same crystal. The density of its lines is therefore a kernel estimate over the lines of all candidates. The
kernel's width is the one with which each candidate is best foretold from the others, so that few or uniform candidates
give a narrow density only if they bear it out; a flat part keeps room for something altogether different.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .sites import listing_probability, second_order_shifts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..vocabulary import Peak, PeakList
    from .settings import MatchSettings
    from .sites import SiteTable

_WIDTHS = (0.05, 0.1, 0.2, 0.35, 0.6, 1.0, 1.6)
"""Kernel widths tried, in standard deviations of all lines."""

WIDE = 1.3
"""Width of the distribution of lines of no kind that was seen, in standard deviations of all lines."""

_SHAPES = (2.0, 8.0)
"""Least and largest shape of the distribution of the number of a stranger's lines that is believed."""

_LEAST_SPREAD = {"shift": 0.05, "cq": 0.1}
"""Least standard deviation of all lines that is believed, as a part of the range of unknown lines."""


class Rival(NamedTuple):
    """Lines of something that is not in the list, for one peak list.

    ``log_density`` (j,) is the log density of each peak's values among such lines; the number of lines is spread
    as a Poisson number whose rate has the mean ``mean_lines`` and a Gamma distribution of this ``shape``.
    """

    log_density: NDArray[np.float64]
    mean_lines: float
    shape: float = _SHAPES[0]


def rival_of(table: SiteTable, peak_list: PeakList, settings: MatchSettings) -> Rival:
    """The rival's lines in one list; ``table`` holds the sites of all candidates.

    Given phases foretell nothing of what is missing beside computed candidates, which are siblings.
    """
    if not table.is_given.all():
        table = table.at(~table.is_given)
    if not len(table):
        flat = np.array([log_flat_density(peak, table.isotope, settings) for peak in peak_list.peaks])
        return Rival(flat, 1.0)
    listed = listing_probability(table, peak_list, settings)
    total = float(listed.sum())
    if total < 1e-3:
        # no candidate is seen in this experiment: nothing is known of what would be
        flat = np.array([log_flat_density(peak, table.isotope, settings) for peak in peak_list.peaks])
        return Rival(flat, 1.0)
    weights = listed / total
    shift_width, cq_width = kernel_widths(table, weights, settings)
    values = []
    for peak in peak_list.peaks:
        near = _log_kernel(table, peak, peak_list, shift_width=shift_width, cq_width=cq_width)
        top = float(near.max())
        kernel = top + math.log(float(weights @ np.exp(near - top)) + 1e-300)
        flat_part = math.log(settings.stranger_share) + log_flat_density(peak, table.isotope, settings)
        values.append(float(np.logaddexp(math.log1p(-settings.stranger_share) + kernel, flat_part)))
    rates = np.bincount(table.member, listed)
    rates = rates[np.bincount(table.member) > 0]
    mean = float(rates.mean())
    shape = min(max(mean**2 / max(float(rates.var()), 1e-9), _SHAPES[0]), _SHAPES[1]) if len(rates) > 2 else _SHAPES[0]
    log_density = np.array(values)
    # those that hide under other peaks do not show
    hiding = 1.0 - float(np.prod(1.0 - hiding_chance(log_density, peak_list, table.isotope, settings)))
    return Rival(log_density, max(1.0, mean * (1.0 - 0.5 * hiding)), shape)


def hiding_chance(
    log_density: NDArray[np.float64], peak_list: PeakList, isotope: str, settings: MatchSettings
) -> NDArray[np.float64]:
    """Chance (j,) that a line of the given density at each peak lies so near to it that the two are taken for one."""
    found = []
    for peak, value in zip(peak_list.peaks, log_density.tolist(), strict=True):
        log_volume = 0.0
        if peak.delta_iso_ppm is not None or peak.position_ppm is not None:
            log_volume += math.log(math.sqrt(2.0 * math.pi) * settings.resolution_ppm(isotope))
        if peak.cq_mhz is not None:
            log_volume += math.log(math.sqrt(2.0 * math.pi) * settings.cq_resolution_mhz)
        found.append(-math.expm1(-math.exp(min(value + log_volume, 3.0))))
    return np.array(found)


def log_flat_density(peak: Peak, isotope: str, settings: MatchSettings) -> float:
    """Log density of a peak's values if any line is as likely as any other within the ranges of the settings."""
    value = 0.0
    if peak.delta_iso_ppm is not None or peak.position_ppm is not None:
        value -= math.log(settings.shift_range_ppm(isotope))
    if peak.cq_mhz is not None:
        value -= math.log(settings.cq_range_mhz)
    return value


def spreads(table: SiteTable, weights: NDArray[np.float64], settings: MatchSettings) -> tuple[float, float]:
    """Standard deviation of all lines in shift (ppm) and CQ (MHz), at least a part of the range of unknown lines."""
    found = []
    for values, limit in (
        (table.delta, _LEAST_SPREAD["shift"] * settings.shift_range_ppm(table.isotope)),
        (table.cq, _LEAST_SPREAD["cq"] * settings.cq_range_mhz),
    ):
        mean = float(weights @ values)
        found.append(max(limit, math.sqrt(float(weights @ (values - mean) ** 2))))
    return found[0], found[1]


def kernel_widths(
    table: SiteTable, weights: NDArray[np.float64], settings: MatchSettings, *, wide_share: float = 0.0
) -> tuple[float, float]:
    """Widths in shift (ppm) and CQ (MHz) with which each candidate's lines are best foretold from the others'.

    Both are the same multiple of the spread of all lines; the multiple maximises the density of each candidate's lines
    under a kernel estimate from the other candidates (leave one out), of which a part may be one normal distribution as
    wide as ``WIDE`` spreads. A lone candidate foretells nothing: one spread.
    """
    scale = spreads(table, weights, settings)
    members = np.unique(table.member)
    if len(members) < 2:
        return scale
    is_quadrupolar = bool(table.cq.any())
    best, chosen = -math.inf, _WIDTHS[-1]
    foreign = table.member[:, None] != table.member[None, :]
    prior = foreign * weights[None, :]
    prior = prior / np.clip(prior.sum(axis=1, keepdims=True), 1e-12, None)

    def density(values: NDArray[np.float64], centres: NDArray[np.float64], variance: NDArray[np.float64]) -> Any:
        return np.exp(-0.5 * (values[:, None] - centres[None, :]) ** 2 / variance) / np.sqrt(variance)

    rest = np.full(len(table), settings.stranger_share / settings.shift_range_ppm(table.isotope))
    wide = density(table.delta, np.array([weights @ table.delta]), np.full((1, 1), (WIDE * scale[0]) ** 2))[:, 0]
    if is_quadrupolar:
        wide *= density(table.cq, np.array([weights @ table.cq]), np.full((1, 1), (WIDE * scale[1]) ** 2))[:, 0]
    rest = rest + wide_share * wide
    for width in _WIDTHS:
        found = density(table.delta, table.delta, (width * scale[0]) ** 2 + table.delta_error[None, :] ** 2)
        if is_quadrupolar:
            found *= density(table.cq, table.cq, (width * scale[1]) ** 2 + table.cq_error[None, :] ** 2)
        score = float(weights @ np.log((1.0 - wide_share) * (prior * found).sum(axis=1) + rest))
        if score > best:
            best, chosen = score, width
    return chosen * scale[0], chosen * scale[1]


def _log_kernel(
    table: SiteTable, peak: Peak, peak_list: PeakList, *, shift_width: float, cq_width: float
) -> NDArray[np.float64]:
    """Log density (n,) of a peak's values about each line, kernel, DFT errors and measuring errors together."""
    offset = (table.offset_rows**2).sum(axis=1)
    shift_variance = shift_width**2 + offset + table.delta_error**2
    cq_variance = cq_width**2 + table.cq_error**2
    value = np.zeros(len(table))
    if peak.delta_iso_ppm is not None and peak.delta_error_ppm is not None:
        value += _log_normal(peak.delta_iso_ppm - table.delta, shift_variance + peak.delta_error_ppm**2)
    elif peak.position_ppm is not None and peak.position_error_ppm is not None:
        induced, slope = second_order_shifts(table, peak_list)
        variance = shift_variance + slope**2 * cq_variance + peak.position_error_ppm**2
        value += _log_normal(peak.position_ppm - table.delta - induced, variance)
    if peak.cq_mhz is not None and peak.cq_error_mhz is not None:
        value += _log_normal(peak.cq_mhz - table.cq, cq_variance + peak.cq_error_mhz**2)
    return value


def _log_normal(difference: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = -0.5 * (difference**2 / variance + np.log(2.0 * math.pi * variance))
    return result
