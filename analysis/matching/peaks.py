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
    beam = _Beam(table, settings, unknown_allowed=unknown_allowed)
    for peak_list in lists:
        beam.take(peak_list)
    return beam.result()


class _Beam:
    """The best assignments so far, each with its exact Gaussian posterior of the latents."""

    def __init__(self, table: SiteTable, settings: MatchSettings, *, unknown_allowed: bool) -> None:
        n = len(table)
        self.table, self.settings, self.unknown_allowed = table, settings, unknown_allowed
        self.latent = np.stack([np.zeros(n), np.ones(n), 2 + np.arange(n), 2 + n + np.arange(n)], 1).astype(np.int64)
        start = np.concatenate([np.ones(2), table.delta_error**2, table.cq_error**2])
        self.mean = np.zeros((1, len(start)))
        self.covariance = np.diag(start)[None].copy()
        self.log_weight = np.zeros(1)
        self.discrepancy = np.zeros(1)
        self.worst = np.zeros((1, 2))
        self.assignments = np.zeros((1, 0), dtype=np.int64)
        self.used = np.zeros((1, n), dtype=bool)
        self.n_data = 0
        self.missable: list[NDArray[np.float64]] = []
        # known candidates and unknown compounds give a peak with equal probability
        self.log_share = math.log(0.5) if unknown_allowed and n else 0.0

    def take(self, peak_list: PeakList) -> None:
        """Assign the peaks of one list, then count the sites that should have shown and did not."""
        listed = listing_probability(self.table, peak_list, self.settings)
        observations = [_observation(self.table, peak, peak_list, self.settings) for peak in peak_list.peaks]
        self.used = np.zeros((len(self.log_weight), len(self.table)), dtype=bool)
        for observed in observations:
            self._assign(observed, np.log(np.clip(listed, 1e-12, None)))
        if len(self.table):
            hidden = _nearness(observations, self.mean, self.covariance, self.latent)
            penalty = np.where(self.used, 0.0, np.log1p(-listed[None, :] * (1.0 - hidden))).sum(axis=1)
            self.log_weight = self.log_weight + penalty
            self.discrepancy = self.discrepancy - 2.0 * penalty
            self.missable.append(np.stack([1.0 - listed, -2.0 * np.log1p(-listed)], axis=1))
        if not self.unknown_allowed:
            rate = self.settings.unexplained_rate
            self.missable.append(np.array([[rate, -2.0 * math.log(rate)]]))

    def _assign(self, observed: _Observation, log_listed: NDArray[np.float64]) -> None:
        """Extend every assignment by every site and by the background; keep the best."""
        n_sites, width = len(self.table), observed.variance.size
        self.n_data += width
        log_clutter = observed.log_background + (
            self.log_share if self.unknown_allowed else math.log(self.settings.unexplained_rate)
        )
        gain, chi2, inverse, innovation = _innovations(observed, self.mean, self.covariance, self.latent)
        score = np.where(self.used, -np.inf, self.log_weight[:, None] + log_listed + gain + self.log_share)
        everything = np.concatenate([score, (self.log_weight + log_clutter)[:, None]], axis=1)
        flat = np.argsort(everything, axis=None)[::-1][: self.settings.beam_width]
        flat = flat[np.isfinite(everything.ravel()[flat])]
        hypothesis, site = np.divmod(flat, n_sites + 1)
        chosen = np.flatnonzero(site < n_sites)
        step = np.full(len(flat), _threshold(observed, self.covariance[0], self.latent, log_listed, log_clutter))
        step[chosen] = chi2[hypothesis[chosen], site[chosen]]
        mean, covariance = self.mean[hypothesis].copy(), self.covariance[hypothesis].copy()
        for row in chosen:
            h, s = hypothesis[row], site[row]
            cross = covariance[row][:, self.latent[s]] @ observed.rows[s].T
            gain_matrix = cross @ inverse[h, s]
            mean[row] += gain_matrix @ innovation[h, s]
            covariance[row] -= gain_matrix @ cross.T
        self.mean, self.covariance = mean, covariance
        self.log_weight = everything.ravel()[flat]
        self.discrepancy = self.discrepancy[hypothesis] + step
        worst = self.worst[hypothesis]
        larger = step - width > worst[:, 0] - worst[:, 1]
        self.worst = np.where(larger[:, None], np.stack([step, np.full(len(step), float(width))], 1), worst)
        self.used = self.used[hypothesis].copy()
        self.used[chosen, site[chosen]] = True
        assigned = np.where(site < n_sites, site, UNASSIGNED)
        self.assignments = np.concatenate([self.assignments[hypothesis], assigned[:, None]], axis=1)

    def result(self) -> PeakFit:
        """Sum and posterior over the assignments kept, most probable first."""
        order = np.argsort(-self.log_weight, kind="stable")
        best, top = int(order[0]), float(self.log_weight[order[0]])
        weights = np.exp(self.log_weight[order] - top)
        return PeakFit(
            log_evidence=top + math.log(float(weights.sum())),
            assignments=self.assignments[order],
            weights=weights / weights.sum(),
            discrepancy=float(self.discrepancy[best]),
            n_data=self.n_data,
            worst=(float(self.worst[best, 0]), int(self.worst[best, 1])),
            missable=np.concatenate(self.missable) if self.missable else np.zeros((0, 2)),
            mean=self.mean[best].copy(),
            covariance=self.covariance[best].copy(),
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
    inverse = np.asarray(np.linalg.inv(total), dtype=float)
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
