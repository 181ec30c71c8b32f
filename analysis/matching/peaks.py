"""Evidence of peak lists: which site gave which peak, summed over assignments.

Every site of a candidate that is present gives a peak of its own with a listing probability, or hides under
another peak, or is missed; peaks that no site gave come from a broad background. Shift offsets of the reference,
site errors and CQ errors are Gaussian, so the evidence of one assignment is exact (sequential conditioning, as in
tracking many targets at once: Bar-Shalom and Li, 1995); the sum runs over the best assignments, kept in a beam.
A site gives at most one peak per list, and its error is the same in all lists.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .sites import listing_probability, second_order_shifts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..vocabulary import Peak, PeakList
    from .settings import MatchSettings
    from .sites import SiteTable

UNASSIGNED = -1
"""Index of the background in place of a site."""


class PeakFit(NamedTuple):
    """Result of fitting the peak lists of one isotope with one subset.

    Attributes
    ----------
    log_evidence
        Log of the summed assignments.
    assignments
        (b, p) site of each peak, ``UNASSIGNED`` for the background, in b assignments over all lists in order.
    weights
        (b,) posterior probability of each assignment.
    discrepancy
        Of the best assignment: sum of squared standardised innovations, background peaks counted with the size at which
        a peak is given to the background, missed lines with theirs.
    n_data
        Number of measured values behind it.
    worst
        Largest discrepancy of one peak and the number of its values.
    missable
        (m, 2) probability and discrepancy of each line that may be missed, for the predictive check.
    offset
        Posterior mean (2,) of the reference's standard-normal offsets in the best assignment.
    mean, covariance
        Posterior of offsets, site errors and CQ errors in the best assignment: (2 + 2n,), (2 + 2n, 2 + 2n).
    """

    log_evidence: float
    assignments: NDArray[np.int64]
    weights: NDArray[np.float64]
    discrepancy: float
    n_data: int
    worst: tuple[float, int]
    missable: NDArray[np.float64]
    offset: NDArray[np.float64]
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


class _Observation(NamedTuple):
    """One peak against all sites: residual at zero latents (n, r), rows on the four latents (n, r, 4), noise (r,)."""

    residual: NDArray[np.float64]
    rows: NDArray[np.float64]
    variance: NDArray[np.float64]
    merge: NDArray[np.float64]
    log_background: float


def fit_peaks(
    table: SiteTable, lists: Sequence[PeakList], settings: MatchSettings, *, unknown_allowed: bool = False
) -> PeakFit:
    """Fit the peak lists of one isotope with the sites of one subset.

    ``unknown_allowed`` is the hypothesis that something not in the list is present: the background then gives any
    number of peaks at no cost, and, if there are sites, each peak belongs to either with equal probability.
    """
    n_sites = len(table)
    dim = 2 + 2 * n_sites
    mean = np.zeros((1, dim))
    covariance = np.zeros((1, dim, dim))
    covariance[0] = np.diag(np.concatenate([np.ones(2), table.delta_error**2, table.cq_error**2]))
    log_weight = np.zeros(1)
    discrepancy = np.zeros(1)
    worst = np.zeros((1, 2))
    assignments = np.zeros((1, 0), dtype=np.int64)
    latent = np.stack(
        [np.zeros(n_sites), np.ones(n_sites), 2 + np.arange(n_sites), 2 + n_sites + np.arange(n_sites)], 1
    )
    latent = latent.astype(np.int64)
    n_data, missable = 0, []
    log_share = math.log(0.5) if unknown_allowed and n_sites else 0.0
    for peak_list in lists:
        listed = listing_probability(table, peak_list, settings)
        log_listed = np.log(np.clip(listed, 1e-12, None))
        observations = [_observation(table, peak, peak_list, settings) for peak in peak_list.peaks]
        used = np.zeros((len(log_weight), n_sites), dtype=bool)
        for observed in observations:
            width = observed.variance.size
            n_data += width
            log_clutter = observed.log_background + (
                log_share if unknown_allowed else math.log(settings.unexplained_rate)
            )
            gain, chi2, innovation_inverse, innovation = _innovations(observed, mean, covariance, latent)
            score = np.where(used, -np.inf, log_weight[:, None] + log_listed + gain + log_share)
            everything = np.concatenate([score, (log_weight + log_clutter)[:, None]], axis=1)
            flat = np.argsort(everything, axis=None)[::-1][: settings.beam_width]
            flat = flat[np.isfinite(everything.ravel()[flat])]
            hypothesis, site = np.divmod(flat, n_sites + 1)
            is_site = site < n_sites
            # squared deviation at which the best site would lose the peak to the background
            threshold = _threshold(observed, covariance[0], latent, log_listed, log_clutter)
            step = np.where(is_site, 0.0, threshold)
            chosen = np.flatnonzero(is_site)
            step[chosen] = chi2[hypothesis[chosen], site[chosen]]
            mean, covariance = mean[hypothesis].copy(), covariance[hypothesis].copy()
            for row in chosen:
                h, s = hypothesis[row], site[row]
                h_rows = np.zeros((width, dim))
                h_rows[:, latent[s]] = observed.rows[s]
                cross = covariance[row] @ h_rows.T
                gain_matrix = cross @ innovation_inverse[h, s]
                mean[row] += gain_matrix @ innovation[h, s]
                covariance[row] -= gain_matrix @ cross.T
            log_weight = everything.ravel()[flat]
            discrepancy = discrepancy[hypothesis] + step
            worst = worst[hypothesis]
            larger = step - width > worst[:, 0] - worst[:, 1]
            worst = np.where(larger[:, None], np.stack([step, np.full(len(step), float(width))], 1), worst)
            used = used[hypothesis].copy()
            used[chosen, site[chosen]] = True
            assigned = np.where(is_site, site, UNASSIGNED)
            assignments = np.concatenate([assignments[hypothesis], assigned[:, None]], axis=1)
        if n_sites:
            hidden = _nearness(observations, mean, covariance, latent)
            penalty = np.where(used, 0.0, np.log1p(-listed[None, :] * (1.0 - hidden)))
            log_weight = log_weight + penalty.sum(axis=1)
            discrepancy = discrepancy - 2.0 * penalty.sum(axis=1)
            missable.append(np.stack([1.0 - listed, -2.0 * np.log1p(-listed)], axis=1))
        if not unknown_allowed:
            clutter_cost = -2.0 * math.log(settings.unexplained_rate)
            missable.append(np.array([[settings.unexplained_rate, clutter_cost]]))
    best = int(np.argmax(log_weight))
    top = float(log_weight[best])
    weights = np.exp(log_weight - top)
    return PeakFit(
        log_evidence=top + math.log(float(weights.sum())),
        assignments=assignments,
        weights=weights / weights.sum(),
        discrepancy=float(discrepancy[best]),
        n_data=n_data,
        worst=(float(worst[best, 0]), int(worst[best, 1])),
        missable=np.concatenate(missable) if missable else np.zeros((0, 2)),
        offset=mean[best, :2].copy(),
        mean=mean[best].copy(),
        covariance=covariance[best].copy(),
    )


def _observation(table: SiteTable, peak: Peak, peak_list: PeakList, settings: MatchSettings) -> _Observation:
    """Linear model of one peak: latents are the two offsets, the site's shift error and its CQ error."""
    n = len(table)
    residuals, rows, variances, merges = [], [], [], []
    log_background = 0.0
    shift_range = settings.shift_range_ppm(table.isotope)
    resolution = settings.resolution_ppm(table.isotope)
    zeros, ones = np.zeros(n), np.ones(n)
    offset = table.offset_rows
    if peak.delta_iso_ppm is not None and peak.delta_error_ppm is not None:
        residuals.append(peak.delta_iso_ppm - table.delta)
        rows.append(np.column_stack([offset, ones, zeros]))
        variances.append(peak.delta_error_ppm**2)
        merges.append(resolution**2)
        log_background -= math.log(shift_range)
    elif peak.position_ppm is not None and peak.position_error_ppm is not None:
        induced, slope = second_order_shifts(table, peak_list.field_tesla)
        residuals.append(peak.position_ppm - table.delta - induced)
        rows.append(np.column_stack([offset, ones, slope]))
        variances.append(peak.position_error_ppm**2)
        merges.append(resolution**2)
        log_background -= math.log(shift_range)
    if peak.cq_mhz is not None and peak.cq_error_mhz is not None:
        residuals.append(peak.cq_mhz - table.cq)
        rows.append(np.column_stack([zeros, zeros, zeros, ones]))
        variances.append(peak.cq_error_mhz**2)
        merges.append(settings.cq_resolution_mhz**2)
        log_background -= math.log(settings.cq_range_mhz)
    if peak.eta_q is not None and peak.eta_error is not None:
        residuals.append(peak.eta_q - table.eta)
        rows.append(np.zeros((n, 4)))
        variances.append(peak.eta_error**2 + settings.eta_model_error**2)
        merges.append(1.0)
    return _Observation(
        residual=np.stack(residuals, axis=1),
        rows=np.stack(rows, axis=1),
        variance=np.array(variances),
        merge=np.array(merges),
        log_background=log_background,
    )


def _predicted(
    observed: _Observation, mean: NDArray[np.float64], covariance: NDArray[np.float64], latent: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Innovation (b, n, r) and covariance of the prediction (b, n, r, r) of one peak by every site."""
    innovation = observed.residual - np.einsum("nrk,bnk->bnr", observed.rows, mean[:, latent])
    blocks = covariance[:, latent[:, :, None], latent[:, None, :]]
    spread = np.einsum("nrk,bnkl,nsl->bnrs", observed.rows, blocks, observed.rows, optimize=True)
    return innovation, spread


def _innovations(
    observed: _Observation, mean: NDArray[np.float64], covariance: NDArray[np.float64], latent: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Log density (b, n), squared standardised innovation (b, n), inverse (b, n, r, r), innovation (b, n, r)."""
    innovation, spread = _predicted(observed, mean, covariance, latent)
    total = spread + np.diag(observed.variance)
    inverse = np.linalg.inv(total)
    chi2 = np.einsum("bnr,bnrs,bns->bn", innovation, inverse, innovation)
    width = observed.variance.size
    density = -0.5 * (chi2 + np.linalg.slogdet(total)[1] + width * math.log(2.0 * math.pi))
    return density, chi2, inverse, innovation


def _threshold(
    observed: _Observation,
    covariance: NDArray[np.float64],
    latent: NDArray[np.int64],
    log_listed: NDArray[np.float64],
    log_clutter: float,
) -> float:
    """Squared deviation at which the most likely site loses the peak to the background; at least its values' number."""
    width = observed.variance.size
    if not len(latent):
        return float(width)
    blocks = covariance[latent[:, :, None], latent[:, None, :]]
    spread = np.einsum("nrk,nkl,nsl->nrs", observed.rows, blocks, observed.rows) + np.diag(observed.variance)
    height = log_listed - 0.5 * (np.linalg.slogdet(spread)[1] + width * math.log(2.0 * math.pi))
    return max(float(width), 2.0 * (float(height.max()) - log_clutter))


def _nearness(
    observations: Sequence[_Observation],
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
    latent: NDArray[np.int64],
) -> NDArray[np.float64]:
    """How well each site would hide under the nearest peak of the list, (b, n) between 0 and 1."""
    nearness = np.zeros((len(mean), len(latent)))
    for observed in observations:
        innovation, spread = _predicted(observed, mean, covariance, latent)
        total = spread + np.diag(observed.variance + observed.merge)
        chi2 = np.einsum("bnr,bnrs,bns->bn", innovation, np.linalg.inv(total), innovation)
        nearness = np.maximum(nearness, np.exp(-0.5 * chi2))
    return nearness
