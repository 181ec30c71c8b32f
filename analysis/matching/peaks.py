"""Evidence of peak lists: which site gave which peak, summed over assignments.

Every site of a candidate that is present gives a peak of its own with a listing probability, or hides under
another peak, or is missed; peaks that no site gave come from a broad background, or, where something unlisted is
allowed, from its lines. Shift offsets of the reference, site errors and CQ errors are Gaussian, so the evidence of
one assignment is exact (sequential conditioning, as in tracking many targets at once: Bar-Shalom and Li, 1995); the sum
runs over the best assignments, kept in a beam. A site gives at most one peak per list, and its error is the same in all
lists. Given the offsets, sites are independent: an assignment carries the Gaussian of the two offsets, and of
each site the mean, slope and covariance of its two errors given the offsets (Rao-Blackwellised).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .rival import log_flat_density
from .sites import listing_probability, second_order_shifts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..vocabulary import PeakList
    from .rival import Rival
    from .settings import MatchSettings
    from .sites import SiteTable

UNASSIGNED = -1
"""Index of the background in place of a site."""

_LOG_TWO_PI = math.log(2.0 * math.pi)


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


class _Observed(NamedTuple):
    """One list against all sites; j peaks, n sites, r values per peak (missing ones padded so that they say nothing).

    ``residual`` (j, n, r) at zero latents; ``offset_rows`` (j, n, r, 2) and ``site_rows`` (j, n, r, 2) are the
    derivatives with respect to the offsets and to the site's shift and CQ errors; ``variance`` and ``merge`` (j, r)
    are squared measuring error and squared resolution; ``log_eta``, ``eta_chi2`` (j, n) the part of eta;
    ``width`` (j,) the number of real values; ``log_flat`` (j,) the density of a background peak.
    """

    residual: NDArray[np.float64]
    offset_rows: NDArray[np.float64]
    site_rows: NDArray[np.float64]
    variance: NDArray[np.float64]
    merge: NDArray[np.float64]
    log_eta: NDArray[np.float64]
    eta_chi2: NDArray[np.float64]
    width: NDArray[np.int64]
    log_flat: NDArray[np.float64]


class _Given(NamedTuple):
    """A list against the sites of each assignment as it stands, given the offsets (a, j, n, ...)."""

    residual: NDArray[np.float64]
    rows: NDArray[np.float64]
    spread: NDArray[np.float64]


class _State(NamedTuple):
    """Gaussian of b assignments: offsets, and each site's two errors given the offsets."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    site_mean: NDArray[np.float64]
    site_slope: NDArray[np.float64]
    site_covariance: NDArray[np.float64]

    def rows(self, index: NDArray[np.int64]) -> _State:
        """The assignments at ``index``."""
        return _State(*(part[index] for part in self))


def fit_peaks(
    table: SiteTable,
    lists: Sequence[PeakList],
    settings: MatchSettings,
    *,
    rivals: Sequence[Rival] | None = None,
) -> PeakFit:
    """Fit the peak lists of one isotope with the sites of one subset.

    ``rivals``, one per list, is the hypothesis that something not in the list is present beside the subset: it gives
    any number of lines of its own. Without it, a peak that no site gave is an impurity's, at ``unexplained_rate``.
    """
    beam = _Beam(table, settings)
    for index, peak_list in enumerate(lists):
        beam.take(peak_list, rivals[index] if rivals is not None else None)
    return beam.result()


class _Beam:
    """The best assignments so far, each with its exact Gaussian posterior of the latents."""

    def __init__(self, table: SiteTable, settings: MatchSettings) -> None:
        n = len(table)
        self.table, self.settings = table, settings
        errors = np.zeros((1, n, 2, 2))
        errors[0, :, 0, 0], errors[0, :, 1, 1] = table.delta_error**2, table.cq_error**2
        self.state = _State(
            np.zeros((1, 2)), np.eye(2)[None].copy(), np.zeros((1, n, 2)), np.zeros((1, n, 2, 2)), errors
        )
        self.log_weight = np.zeros(1)
        self.discrepancy = np.zeros(1)
        self.worst = np.zeros((1, 2))
        self.assignments = np.zeros((1, 0), dtype=np.int64)
        self.n_data = 0
        self.missable: list[NDArray[np.float64]] = []

    def take(self, peak_list: PeakList, rival: Rival | None) -> None:
        """Assign the peaks of one list, then count the sites that should have shown and did not."""
        n_sites, n_peaks = len(self.table), len(peak_list.peaks)
        listed = listing_probability(self.table, peak_list, self.settings)
        log_listed = np.log(np.clip(listed, 1e-12, None))
        observed = _observe(self.table, peak_list, self.settings)
        given = _given(observed, self.state)
        self.n_data += int(observed.width.sum())
        # per assignment: which one it grew from, which sites it has used, how many peaks it gave away
        root = np.arange(len(self.log_weight))
        used = np.zeros((len(root), n_sites), dtype=bool)
        odd = np.zeros(len(root))
        log_clutter = math.log(self.settings.unexplained_rate) + observed.log_flat
        if rival is not None:
            log_clutter = math.log(rival.mean_lines / (rival.mean_lines + rival.shape)) + rival.log_density
            self.log_weight = self.log_weight - rival.shape * math.log1p(rival.mean_lines / rival.shape)
        threshold = _thresholds(observed, given, self.state, log_listed, log_clutter)
        for j in range(n_peaks):
            clutter = log_clutter[j] + (np.log(rival.shape + odd) if rival is not None else 0.0)
            everything = np.empty((len(root), n_sites + 1))
            everything[:, n_sites] = self.log_weight + clutter
            if n_sites:
                rows, spread = given.rows[root, j], given.spread[root, j] + np.diag(observed.variance[j])
                innovation, along, total = _predict(given.residual[root, j], rows, spread, self.state)
                inverse, log_det = _inverse(total)
                chi2 = _quadratic(innovation, inverse) + observed.eta_chi2[j]
                gain = -0.5 * (chi2 + log_det + innovation.shape[2] * _LOG_TWO_PI) + observed.log_eta[j]
                everything[:, :n_sites] = np.where(used, -np.inf, self.log_weight[:, None] + log_listed + gain)
            flat = everything.ravel()
            keep = np.argsort(-flat, kind="stable")[: self.settings.beam_width]
            keep = keep[np.isfinite(flat[keep])]
            parent, site = np.divmod(keep, n_sites + 1)
            chosen = np.flatnonzero(site < n_sites)
            step = np.full(len(keep), threshold[j])
            mean, covariance = self.state.mean[parent], self.state.covariance[parent]
            root, used, odd = root[parent], used[parent], odd[parent] + (site == n_sites)
            if len(chosen):
                at = (parent[chosen], site[chosen])
                step[chosen] = chi2[at]
                cross = along[at]
                gain_matrix = np.einsum("krq,krs->kqs", cross, inverse[at])
                mean[chosen] += np.einsum("kqs,ks->kq", gain_matrix, innovation[at])
                covariance[chosen] -= np.einsum("kqs,ksp->kqp", gain_matrix, cross)
                used[chosen, site[chosen]] = True
            self.state = self.state._replace(mean=mean, covariance=covariance)
            self.log_weight = flat[keep]
            self._count(parent, step, int(observed.width[j]))
            assigned = np.where(site < n_sites, site, UNASSIGNED)
            self.assignments = np.concatenate([self.assignments[parent], assigned[:, None]], axis=1)
        if n_sites:
            hidden = _hiding(observed, given, root, self.state)
            penalty = np.where(used, 0.0, np.log1p(-listed * (1.0 - hidden))).sum(axis=1)
            self.log_weight = self.log_weight + penalty
            self.discrepancy = self.discrepancy - 2.0 * penalty
            self.missable.append(np.stack([1.0 - listed, -2.0 * np.log1p(-listed)], axis=1))
        if rival is None:
            rate = self.settings.unexplained_rate
            self.missable.append(np.array([[rate, -2.0 * math.log(rate)]]))
        self._settle(observed, given, root)

    def _count(self, parent: NDArray[np.int64], step: NDArray[np.float64], width: int) -> None:
        """Add a peak's discrepancy and keep the worst peak of each assignment."""
        self.discrepancy = self.discrepancy[parent] + step
        worst = self.worst[parent]
        larger = step - width > worst[:, 0] - worst[:, 1]
        self.worst = np.where(larger[:, None], np.stack([step, np.full(len(step), float(width))], 1), worst)

    def _settle(self, observed: _Observed, given: _Given, root: NDArray[np.int64]) -> None:
        """Update the errors of the sites that were given peaks, once the list is done."""
        state = self.state
        site_mean, slope = state.site_mean[root], state.site_slope[root]
        site_covariance = state.site_covariance[root]
        n_peaks = len(observed.residual)
        columns = self.assignments[:, self.assignments.shape[1] - n_peaks :]
        for j in range(n_peaks):
            rows = np.flatnonzero(columns[:, j] != UNASSIGNED)
            if not len(rows):
                continue
            s = columns[rows, j]
            total = given.spread[root[rows], j, s] + np.diag(observed.variance[j])
            inverse, _ = _inverse(total)
            cross = np.einsum("kzy,kry->kzr", site_covariance[rows, s], observed.site_rows[j, s])
            gain = np.einsum("kzr,krs->kzs", cross, inverse)
            site_mean[rows, s] += np.einsum("kzr,kr->kz", gain, given.residual[root[rows], j, s])
            slope[rows, s] -= np.einsum("kzr,krq->kzq", gain, given.rows[root[rows], j, s])
            site_covariance[rows, s] -= np.einsum("kzr,kyr->kzy", gain, cross)
        self.state = state._replace(site_mean=site_mean, site_slope=slope, site_covariance=site_covariance)

    def result(self) -> PeakFit:
        """Sum and posterior over the assignments kept, most probable first."""
        order = np.argsort(-self.log_weight, kind="stable")
        best, top = int(order[0]), float(self.log_weight[order[0]])
        weights = np.exp(self.log_weight[order] - top)
        mean, covariance = _latents(self.state, best)
        return PeakFit(
            log_evidence=top + math.log(float(weights.sum())),
            assignments=self.assignments[order],
            weights=weights / weights.sum(),
            discrepancy=float(self.discrepancy[best]),
            n_data=self.n_data,
            worst=(float(self.worst[best, 0]), int(self.worst[best, 1])),
            missable=np.concatenate(self.missable) if self.missable else np.zeros((0, 2)),
            mean=mean,
            covariance=covariance,
        )


def _latents(state: _State, best: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Joint posterior of offsets, site errors and CQ errors of one assignment: (2 + 2n,), (2 + 2n, 2 + 2n)."""
    n = state.site_mean.shape[1]
    offset, spread = state.mean[best], state.covariance[best]
    # all errors, shift errors first: value = own + slope @ offsets
    slope = np.concatenate([state.site_slope[best, :, 0], state.site_slope[best, :, 1]])
    own = np.concatenate([state.site_mean[best, :, 0], state.site_mean[best, :, 1]])
    linear = np.concatenate([np.eye(2), slope])
    mean = linear @ offset + np.concatenate([np.zeros(2), own])
    covariance = linear @ spread @ linear.T
    index = np.arange(n)
    for a in range(2):
        for b in range(2):
            covariance[2 + a * n + index, 2 + b * n + index] += state.site_covariance[best, :, a, b]
    return mean, covariance


def _observe(table: SiteTable, peak_list: PeakList, settings: MatchSettings) -> _Observed:
    """Linear model of every peak of a list by every site."""
    n, n_peaks = len(table), len(peak_list.peaks)
    has_shift = any(p.delta_iso_ppm is not None or p.position_ppm is not None for p in peak_list.peaks)
    has_cq = any(p.cq_mhz is not None for p in peak_list.peaks)
    r = int(has_shift) + int(has_cq)
    residual = np.zeros((n_peaks, n, r))
    offset_rows, site_rows = np.zeros((2, n_peaks, n, r, 2))
    # a padded value has density 1 for every site and does not limit merging
    variance = np.full((n_peaks, r), 1.0 / (2.0 * math.pi))
    merge = np.full((n_peaks, r), np.inf)
    log_eta, eta_chi2 = np.zeros((2, n_peaks, n))
    width = np.zeros(n_peaks, dtype=np.int64)
    resolution = settings.resolution_ppm(table.isotope)
    induced, slope = second_order_shifts(table, peak_list.field_tesla)
    for j, peak in enumerate(peak_list.peaks):
        if peak.delta_iso_ppm is not None and peak.delta_error_ppm is not None:
            residual[j, :, 0] = peak.delta_iso_ppm - table.delta
            variance[j, 0] = peak.delta_error_ppm**2
        elif peak.position_ppm is not None and peak.position_error_ppm is not None:
            residual[j, :, 0] = peak.position_ppm - table.delta - induced
            variance[j, 0] = peak.position_error_ppm**2
            site_rows[j, :, 0, 1] = slope
        if peak.delta_iso_ppm is not None or peak.position_ppm is not None:
            offset_rows[j, :, 0] = table.offset_rows
            site_rows[j, :, 0, 0] = 1.0
            merge[j, 0] = resolution**2
            width[j] += 1
        if peak.cq_mhz is not None and peak.cq_error_mhz is not None:
            residual[j, :, -1] = peak.cq_mhz - table.cq
            variance[j, -1] = peak.cq_error_mhz**2
            site_rows[j, :, -1, 1] = 1.0
            merge[j, -1] = settings.cq_resolution_mhz**2
            width[j] += 1
        if peak.eta_q is not None and peak.eta_error is not None:
            spread = peak.eta_error**2 + settings.eta_model_error**2
            eta_chi2[j] = (peak.eta_q - table.eta) ** 2 / spread
            log_eta[j] = -0.5 * math.log(2.0 * math.pi * spread)
            width[j] += 1
    flat = np.array([log_flat_density(peak, table.isotope, settings) for peak in peak_list.peaks])
    return _Observed(residual, offset_rows, site_rows, variance, merge, log_eta, eta_chi2, width, flat)


def _given(observed: _Observed, state: _State) -> _Given:
    """Every peak by every site of every assignment, as linear functions of the offsets alone."""
    rows = observed.site_rows
    residual = observed.residual - np.einsum("jnrz,anz->ajnr", rows, state.site_mean)
    slopes = observed.offset_rows + np.einsum("jnrz,anzq->ajnrq", rows, state.site_slope)
    spread = np.einsum("jnrz,anzy,jnsy->ajnrs", rows, state.site_covariance, rows, optimize=True)
    return _Given(residual, slopes, spread)


def _predict(
    residual: NDArray[np.float64], rows: NDArray[np.float64], spread: NDArray[np.float64], state: _State
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Innovation (b, n, r), its covariance with the offsets (b, n, r, 2), and its variance (b, n, r, r)."""
    innovation = residual - (rows * state.mean[:, None, None, :]).sum(axis=-1)
    p = state.covariance[:, None, None, :, :]
    along = rows[..., :1] * p[..., 0, :] + rows[..., 1:] * p[..., 1, :]
    total = spread + (along[..., :, None, :] * rows[..., None, :, :]).sum(axis=-1)
    return innovation, along, total


def _inverse(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Inverse and log determinant of stacked 1x1 or 2x2 matrices."""
    if matrix.shape[-1] == 1:
        return 1.0 / matrix, np.log(matrix[..., 0, 0])
    a, b, c = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]
    det = a * c - b * b
    inverse = np.empty_like(matrix)
    inverse[..., 0, 0], inverse[..., 1, 1] = c / det, a / det
    inverse[..., 0, 1] = inverse[..., 1, 0] = -b / det
    return inverse, np.log(det)


def _quadratic(vector: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = ((vector[..., :, None] * matrix).sum(axis=-2) * vector).sum(axis=-1)
    return result


def _thresholds(
    observed: _Observed,
    given: _Given,
    state: _State,
    log_listed: NDArray[np.float64],
    log_clutter: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Squared deviation (j,) at which the most likely site loses a peak to the background; at least its values' number."""
    width = observed.width.astype(float)
    if not len(log_listed):
        return width
    r = observed.residual.shape[2]
    noise = observed.variance[:, None, :, None] * np.eye(r)
    _, _, total = _predict(given.residual[0], given.rows[0], given.spread[0] + noise, state.rows(np.array([0])))
    _, log_det = _inverse(total)
    height = (log_listed - 0.5 * (log_det + r * _LOG_TWO_PI) + observed.log_eta).max(axis=1)
    result: NDArray[np.float64] = np.maximum(width, 2.0 * (height - log_clutter))
    return result


def _hiding(observed: _Observed, given: _Given, root: NDArray[np.int64], state: _State) -> NDArray[np.float64]:
    """Probability (b, n) that each site's line falls so near a peak of the list that it would not be told from it.

    A line at distance d of a peak hides with probability exp(-d^2 / 2 resolution^2); this is its mean over where the line
    may lie. Peaks count as independent hiding places.
    """
    shows = np.ones((len(root), given.residual.shape[2]))
    for j in range(len(observed.residual)):
        real = np.isfinite(observed.merge[j])
        kernel = np.where(real, observed.merge[j] + observed.variance[j], 1.0)
        innovation, _, spread = _predict(given.residual[root, j], given.rows[root, j], given.spread[root, j], state)
        inverse, log_det = _inverse(spread + np.diag(kernel))
        share = np.exp(0.5 * (np.log(kernel).sum() - log_det - _quadratic(innovation, inverse)))
        shows *= 1.0 - np.clip(share, 0.0, 1.0)
    return 1.0 - shows
