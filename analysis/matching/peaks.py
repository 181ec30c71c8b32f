"""Evidence of peak lists: which site gave which peak, summed over assignments.

Every site of a candidate that is present gives a peak of its own with a listing probability, or hides under
another peak, or is missed; peaks that no site gave come from a broad background, or, where something unlisted is
allowed, from its lines. Shift offsets of the reference, site errors and CQ errors are Gaussian, so the evidence of
one assignment is exact (sequential conditioning, as in tracking many targets at once: Bar-Shalom and Li, 1995); the sum
runs over the best assignments, kept in a beam. A site gives at most one peak per list, and its error is the same in all
lists. Given the offsets, sites are independent (Rao-Blackwellised): an assignment carries the Gaussian of the two
offsets o, and of each site the mean, slope and covariance of its two errors given its own offset t = a . o.
A peak then says of the offsets only t, through a precision and a weighted residual, so that trying a site is scalar.
Many subsets are fitted side by side, as rows of the same arrays.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .rival import log_flat_density
from .sites import dephasings, listing_probability, second_order_shifts

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

_EMPTY = (np.zeros(0), np.zeros((0, 0)))

_CHUNK = 128
"""Subsets fitted side by side."""


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

    ``residual`` (j, n, r) at zero latents; ``is_shift`` (j, r) 1 where a value moves with the offset; ``rows``
    (j, n, r, 2) derivatives with respect to the site's shift and CQ errors; ``variance`` and ``merge`` (j, r)
    squared measuring error and squared resolution; ``log_eta``, ``eta_chi2`` (j, n) the part of eta; ``width``
    (j,) number of real values; ``log_flat`` (j,) density of a background peak.
    """

    residual: NDArray[np.float64]
    is_shift: NDArray[np.float64]
    rows: NDArray[np.float64]
    variance: NDArray[np.float64]
    merge: NDArray[np.float64]
    log_eta: NDArray[np.float64]
    eta_chi2: NDArray[np.float64]
    width: NDArray[np.int64]
    log_flat: NDArray[np.float64]


class _Scalars(NamedTuple):
    """Peaks by sites as functions of the site's offset t, each (g, a, j, n) for g subsets and a assignments.

    With y the residual, g its derivative and S its covariance given t: ``precision`` g S^-1 g, ``pull`` g S^-1 y,
    ``square`` y S^-1 y, ``log_det`` of S.
    """

    precision: NDArray[np.float64]
    pull: NDArray[np.float64]
    square: NDArray[np.float64]
    log_det: NDArray[np.float64]

    def marginal(
        self, mean: NDArray[np.float64], variance: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Squared innovation and log determinant if t ~ N(mean, variance), and the step and shrinkage of t."""
        grown = 1.0 + self.precision * variance
        pull = self.pull - self.precision * mean
        square = self.square - (self.pull + pull) * mean - pull**2 * variance / grown
        return square, self.log_det + np.log(grown), pull / grown, self.precision / grown

    def at(self, *index: Any) -> _Scalars:
        """The entries at an index."""
        return _Scalars(*(part[index] for part in self))


class _State(NamedTuple):
    """Gaussian of b assignments of g subsets: offsets, and each site's two errors given its offset.

    Shapes (g, b, 2), (g, b, 2, 2), (g, b, n, 2), (g, b, n, 2) and (g, b, n, 2, 2).
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    site_mean: NDArray[np.float64]
    site_slope: NDArray[np.float64]
    site_covariance: NDArray[np.float64]


class _Pending(NamedTuple):
    """A list whose sites' errors are not yet updated, the state before it, and where each assignment grew from."""

    observed: _Observed
    root: NDArray[np.int64]


def fit_peaks(
    table: SiteTable,
    lists: Sequence[PeakList],
    settings: MatchSettings,
    *,
    rivals: Sequence[Rival] | None = None,
    may_be_absent: bool = False,
) -> PeakFit:
    """Fit the peak lists of one isotope with the sites of one subset.

    ``rivals``, one per list, is the hypothesis that something not in the list is present beside the subset: it gives
    any number of lines of its own. Without it, a peak that no site gave is an impurity's, at ``unexplained_rate``.
    With ``may_be_absent`` the lists are of several samples, and a candidate that gives no peak of a list is as likely
    to be absent from that sample as to be present and not seen.
    """
    return fit_subsets(table, [np.arange(len(table))], lists, settings, rivals=rivals, may_be_absent=may_be_absent)[0]


def fit_subsets(
    table: SiteTable,
    subsets: Sequence[NDArray[np.int64]],
    lists: Sequence[PeakList],
    settings: MatchSettings,
    *,
    rivals: Sequence[Rival] | None = None,
    guides: Sequence[Sequence[NDArray[np.float64]]] | None = None,
    may_be_absent: bool = False,
) -> list[PeakFit]:
    """Fit many subsets, each given by the rows of ``table`` that it holds; otherwise as ``fit_peaks``.

    Sites in the results count within their subset. ``guides`` holds, for every subset and list, what the area of each
    peak says for each site, and at last for the background, as its owner (j, n + 1); it decides which assignments are
    kept, and is no part of their weight.
    """
    found = []
    for start in range(0, len(subsets), _CHUNK):
        part = subsets[start : start + _CHUNK]
        columns, present = _padded(part)
        beam = _Beam(table, columns, present, settings, may_be_absent)
        for index, peak_list in enumerate(lists):
            guide = None
            if guides is not None:
                guide = np.zeros((len(part), len(peak_list.peaks), columns.shape[1] + 1))
                for g, rows in enumerate(part):
                    guide[g, :, : len(rows)] = guides[start + g][index][:, :-1]
                    guide[g, :, -1] = guides[start + g][index][:, -1]
            beam.take(peak_list, rivals[index] if rivals is not None else None, guide)
        found += beam.results()
    return found


def peak_evidences(
    table: SiteTable,
    subsets: Sequence[NDArray[np.int64]],
    lists: Sequence[PeakList],
    settings: MatchSettings,
    *,
    rivals: Sequence[Rival] | None = None,
    may_be_absent: bool = False,
) -> NDArray[np.float64]:
    """Log evidence (g,) of many subsets, each given by the rows of ``table`` that it holds; as ``fit_peaks``."""
    if not lists:
        return np.zeros(len(subsets))
    found = []
    for start in range(0, len(subsets), _CHUNK):
        part = subsets[start : start + _CHUNK]
        beam = _Beam(table, *_padded(part), settings, may_be_absent)
        for index, peak_list in enumerate(lists):
            beam.take(peak_list, rivals[index] if rivals is not None else None)
        found.append(np.logaddexp.reduce(beam.log_weight, axis=1))
    return np.concatenate(found) if found else np.zeros(0)


def _padded(subsets: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rows (g, n) of each subset, filled up with row 0, and which of them are real."""
    width = max(len(rows) for rows in subsets)
    columns, present = np.zeros((len(subsets), width), dtype=np.int64), np.zeros((len(subsets), width), dtype=bool)
    for g, rows in enumerate(subsets):
        columns[g, : len(rows)], present[g, : len(rows)] = rows, True
    return columns, present


class _Beam:
    """The best assignments so far, each with its exact Gaussian posterior of the latents.

    Subsets g hold the sites ``columns`` (g, n) of the table where ``present``; arrays run over subsets, assignments and
    sites. Assignments that do not exist have weight zero.
    """

    def __init__(
        self,
        table: SiteTable,
        columns: NDArray[np.int64],
        present: NDArray[np.bool_],
        settings: MatchSettings,
        may_be_absent: bool,
    ) -> None:
        groups, n = columns.shape
        self.table, self.settings, self.columns, self.present = table, settings, columns, present
        self.subset = np.arange(groups)[:, None]
        self.offset_rows = table.offset_rows[columns]
        a = self.offset_rows
        self.squares = np.stack([a[..., 0] ** 2, 2.0 * a[..., 0] * a[..., 1], a[..., 1] ** 2], axis=1)
        errors = np.zeros((groups, 1, n, 2, 2))
        errors[:, 0, :, 0, 0] = table.delta_error[columns] ** 2
        errors[:, 0, :, 1, 1] = table.cq_error[columns] ** 2
        self.state = _State(
            np.zeros((groups, 1, 2)),
            np.tile(np.eye(2), (groups, 1, 1, 1)),
            np.zeros((groups, 1, n, 2)),
            np.zeros((groups, 1, n, 2)),
            errors,
        )
        self.pending: _Pending | None = None
        self.may_be_absent = may_be_absent
        # in the list at hand: which assignment each grew from, which sites it has used, how many peaks it gave away
        self.root = np.zeros((groups, 1), dtype=np.int64)
        self.used = ~present[:, None, :]
        self.odd = np.zeros((groups, 1))
        self.log_weight, self.hint = np.zeros((2, groups, 1))
        self.discrepancy = np.zeros((groups, 1))
        self.worst = np.zeros((groups, 1, 2))
        self.assignments = np.zeros((groups, 1, 0), dtype=np.int64)
        self.n_data = 0
        self.listed: list[NDArray[np.float64]] = []
        self.odd_rate = math.nan

    def take(self, peak_list: PeakList, rival: Rival | None, guide: NDArray[np.float64] | None = None) -> None:
        """Assign the peaks of one list, then count the sites that should have shown and did not.

        ``guide`` (g, j, n + 1) helps to choose the assignments that are kept.
        """
        self._settle(np.tile(np.arange(self.log_weight.shape[1]), (len(self.columns), 1)))
        groups, n_sites = self.columns.shape
        listed = np.where(self.present, listing_probability(self.table, peak_list, self.settings)[self.columns], 0.0)
        log_listed = np.log(np.clip(listed, 1e-12, None))
        observed = _observe(self.table, peak_list, self.settings)
        given, near = self._given(observed)
        self.n_data += int(observed.width.sum())
        self.root = np.tile(np.arange(self.log_weight.shape[1]), (groups, 1))
        self.used = np.repeat(~self.present[:, None, :], self.root.shape[1], axis=1)
        self.odd = np.zeros(self.root.shape)
        log_clutter = math.log(self.settings.unexplained_rate) + observed.log_flat
        if rival is not None:
            log_clutter = math.log(rival.mean_lines / (rival.mean_lines + rival.shape)) + rival.log_density
            self.log_weight = self.log_weight - rival.shape * math.log1p(rival.mean_lines / rival.shape)
        constant = log_listed[:, None, :] + np.moveaxis(observed.log_eta[:, self.columns], 0, 1)
        constant = constant - 0.5 * observed.residual.shape[2] * _LOG_TWO_PI
        threshold = self._thresholds(observed, given, constant, log_clutter)
        for j in range(len(peak_list.peaks)):
            clutter = log_clutter[j] + (np.log(rival.shape + self.odd) if rival is not None else 0.0)
            square, log_det, step, shrink = given.at(self.subset, self.root, j).marginal(*self._offsets())
            square = square + observed.eta_chi2[j][self.columns][:, None, :]
            score = self.log_weight[..., None] + constant[:, j, None, :] - 0.5 * (square + log_det)
            score[self.used] = -np.inf
            everything = np.concatenate([score, (self.log_weight + clutter)[..., None]], axis=2)
            hints = None if guide is None else guide[:, j]
            self._extend(everything, (square, step, shrink), threshold[:, j], int(observed.width[j]), hints)
        if n_sites:
            hidden = self._hiding(observed, near, self.root)
            penalty = self._missed(np.where(self.used, 0.0, np.log1p(-listed[:, None, :] * (1.0 - hidden))))
            self.log_weight = self.log_weight + penalty
            self.discrepancy = self.discrepancy - 2.0 * penalty
        self.listed.append(listed)
        self.odd_rate = self.settings.unexplained_rate if rival is None else math.nan
        self.pending = _Pending(observed, self.root)

    def _extend(
        self,
        everything: NDArray[np.float64],
        update: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
        threshold: NDArray[np.float64],
        width: int,
        hints: NDArray[np.float64] | None,
    ) -> None:
        """Extend every assignment by every site and, in the last column, by the background; keep the best.

        ``everything`` (g, b, n + 1) is the log weight of each extension; ``update`` the squared innovation, the step
        and the shrinkage of the offset for each site.
        """
        groups, _, n_columns = everything.shape
        flat = everything.reshape(groups, -1)
        hinted = np.repeat(self.hint[..., None], n_columns, axis=2)
        if hints is not None:
            hinted += hints[:, None, :]
        hinted = hinted.reshape(groups, -1)
        keep = np.argsort(-(flat + hinted), axis=1, kind="stable")[:, : self.settings.beam_width]
        self.hint = np.take_along_axis(hinted, keep, axis=1)
        parent, site = np.divmod(keep, n_columns)
        is_site = site < n_columns - 1
        s = np.where(is_site, site, 0)
        grown, at = (self.subset, parent), (self.subset, parent, s)
        mean, covariance = self.state.mean[grown], self.state.covariance[grown]
        self.root, self.odd, self.used = self.root[grown], self.odd[grown] + ~is_site, self.used[grown]
        discrepancy = np.repeat(threshold[:, None], keep.shape[1], axis=1)
        if n_columns > 1:
            square, step, shrink = update
            discrepancy = np.where(is_site, square[at], discrepancy)
            along = (covariance * self.offset_rows[self.subset, s][..., None, :]).sum(axis=-1)
            mean = mean + along * np.where(is_site, step[at], 0.0)[..., None]
            shrunk = np.where(is_site, shrink[at], 0.0)[..., None, None]
            covariance = covariance - along[..., :, None] * along[..., None, :] * shrunk
            self.used[self.subset, np.arange(keep.shape[1])[None], s] |= is_site
        self.state = self.state._replace(mean=mean, covariance=covariance)
        self.log_weight = np.take_along_axis(flat, keep, axis=1)
        self._count(parent, discrepancy, width)
        assigned = np.where(is_site, site, UNASSIGNED)
        self.assignments = np.concatenate([self.assignments[grown], assigned[..., None]], axis=2)

    def _offsets(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and variance (g, b, n) of each site's offset in each assignment."""
        p = self.state.covariance
        mean = self.state.mean @ np.swapaxes(self.offset_rows, 1, 2)
        return mean, np.stack([p[..., 0, 0], p[..., 0, 1], p[..., 1, 1]], axis=-1) @ self.squares

    def _given(self, observed: _Observed) -> tuple[_Scalars, _Scalars]:
        """Every peak by every site of every assignment, as measured and as seen at the resolution."""
        rows, state = np.moveaxis(observed.rows[:, self.columns], 0, 1)[:, None], self.state
        residual = np.moveaxis(observed.residual[:, self.columns], 0, 1)[:, None]
        residual = residual - (rows * state.site_mean[:, :, None, :, None, :]).sum(axis=-1)
        tilt = observed.is_shift[:, None, :] + (rows * state.site_slope[:, :, None, :, None, :]).sum(axis=-1)
        half = rows @ state.site_covariance[:, :, None]
        spread = half @ np.swapaxes(rows, -1, -2)
        eye = np.eye(rows.shape[-2])
        kernel = np.where(np.isfinite(observed.merge), observed.merge + observed.variance, 1.0)
        measured = _scalars(residual, tilt, spread + observed.variance[:, None, :, None] * eye)
        return measured, _scalars(residual, tilt, spread + kernel[:, None, :, None] * eye)

    def _thresholds(
        self,
        observed: _Observed,
        given: _Scalars,
        constant: NDArray[np.float64],
        log_clutter: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Squared deviation (g, j) at which the likeliest site loses a peak to the background; at least the width."""
        width = np.tile(observed.width.astype(float), (len(self.columns), 1))
        if not self.columns.shape[1]:
            return width
        mean, variance = self._offsets()
        _, log_det, _, _ = given.at(slice(None), 0).marginal(mean[:, 0, None, :], variance[:, 0, None, :])
        height = np.where(self.present[:, None, :], constant - 0.5 * log_det, -np.inf).max(axis=2)
        result: NDArray[np.float64] = np.maximum(width, 2.0 * (height - log_clutter))
        return result

    def _hiding(self, observed: _Observed, near: _Scalars, root: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probability (g, b, n) that each site's line falls so near a peak of the list that it is not told from it.

        A line at distance d of a peak hides with probability exp(-d^2 / 2 resolution^2); this is its mean over where
        the line may lie. Peaks count as independent hiding places.
        """
        mean, variance = self._offsets()
        square, log_det, _, _ = near.at(self.subset, root).marginal(mean[:, :, None, :], variance[:, :, None, :])
        kernel = np.log(np.where(np.isfinite(observed.merge), observed.merge + observed.variance, 1.0)).sum(axis=1)
        share = np.exp(np.minimum(0.5 * (kernel[:, None] - log_det - square), 0.0))
        result: NDArray[np.float64] = 1.0 - np.prod(1.0 - share, axis=2)
        return result

    def _missed(self, penalties: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log probability (g, b) that the sites without a peak do not show, from that of each, (g, b, n)."""
        if not self.may_be_absent:
            return np.asarray(penalties.sum(axis=-1))
        total = np.zeros(penalties.shape[:2])
        owners = self.table.member[self.columns]
        for member in np.unique(owners):
            mine = ((owners == member) & self.present)[:, None, :]
            own = np.where(mine, penalties, 0.0).sum(axis=-1)
            is_silent = ~(self.used & mine).any(axis=-1) & mine.any(axis=-1)
            total += np.where(is_silent, np.logaddexp(own, 0.0) - math.log(2.0), own)
        return total

    def _count(self, parent: NDArray[np.int64], step: NDArray[np.float64], width: int) -> None:
        """Add a peak's discrepancy and keep the worst peak of each assignment."""
        self.discrepancy = self.discrepancy[self.subset, parent] + step
        worst = self.worst[self.subset, parent]
        larger = step - width > worst[..., 0] - worst[..., 1]
        self.worst = np.where(larger[..., None], np.stack([step, np.full(step.shape, float(width))], -1), worst)

    def _settle(self, chosen: NDArray[np.int64]) -> None:
        """Keep the ``chosen`` (g, c) assignments and update the errors of the sites given peaks of the last list."""
        if self.pending is None:
            return
        at = (self.subset, chosen)
        observed, root = self.pending.observed, self.pending.root[at]
        state = self.state
        site_mean, slope = state.site_mean[self.subset, root], state.site_slope[self.subset, root]
        errors = state.site_covariance[self.subset, root]
        n_peaks = len(observed.residual)
        self.assignments = self.assignments[at]
        columns = self.assignments[..., self.assignments.shape[2] - n_peaks :]
        for j in range(n_peaks):
            g, b = np.nonzero(columns[..., j] != UNASSIGNED)
            if not len(b):
                continue
            s = columns[g, b, j]
            own = (g, b, s)
            rows = observed.rows[j, self.columns[g, s]]
            cross = np.einsum("kzy,kry->kzr", errors[own], rows)
            total = np.einsum("krz,kzs->krs", rows, cross) + np.diag(observed.variance[j])
            gain = np.einsum("kzr,krs->kzs", cross, _inverse(total)[0])
            residual = observed.residual[j, self.columns[g, s]] - np.einsum("krz,kz->kr", rows, site_mean[own])
            tilt = observed.is_shift[j] + np.einsum("krz,kz->kr", rows, slope[own])
            site_mean[own] += np.einsum("kzr,kr->kz", gain, residual)
            slope[own] -= np.einsum("kzr,kr->kz", gain, tilt)
            errors[own] -= np.einsum("kzr,kyr->kzy", gain, cross)
        self.state = _State(state.mean[at], state.covariance[at], site_mean, slope, errors)
        self.log_weight, self.discrepancy = self.log_weight[at], self.discrepancy[at]
        self.worst, self.pending = self.worst[at], None

    def results(self, *, is_brief: bool = False) -> list[PeakFit]:
        """Sum and posterior over the assignments of each subset, most probable first; brief ones without the latter."""
        order = np.argsort(-self.log_weight, axis=1, kind="stable")
        log_weights = np.take_along_axis(self.log_weight, order, axis=1)
        assignments = np.take_along_axis(self.assignments, order[..., None], axis=1)
        if not is_brief:
            self._settle(order[:, :1])
        found = []
        for g, n in enumerate(self.present.sum(axis=1).tolist()):
            real = np.isfinite(log_weights[g])
            top = float(log_weights[g, 0])
            weights = np.exp(log_weights[g, real] - top)
            own = _State(*(part[g, 0] for part in self.state[:2]), *(part[g, 0, :n] for part in self.state[2:]))
            mean, covariance = _EMPTY if is_brief else _latents(own, self.offset_rows[g, :n])
            found.append(
                PeakFit(
                    log_evidence=top + math.log(float(weights.sum())),
                    assignments=assignments[g, real],
                    weights=weights / weights.sum(),
                    discrepancy=float(self.discrepancy[g, 0]),
                    n_data=self.n_data,
                    worst=(float(self.worst[g, 0, 0]), int(self.worst[g, 0, 1])),
                    missable=np.zeros((0, 2)) if is_brief else self._missable(g, n),
                    mean=mean,
                    covariance=covariance,
                )
            )
        return found

    def _missable(self, g: int, n: int) -> NDArray[np.float64]:
        """Probability and cost of what may be absent or odd in each list."""
        parts = [np.zeros((0, 2))]
        for listed in self.listed:
            if n:
                parts.append(np.stack([1.0 - listed[g, :n], -2.0 * np.log1p(-listed[g, :n])], axis=1))
            if not math.isnan(self.odd_rate):
                parts.append(np.array([[self.odd_rate, -2.0 * math.log(self.odd_rate)]]))
        return np.concatenate(parts)


def _latents(state: _State, offset_rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Joint posterior of offsets, site errors and CQ errors of one assignment: (2 + 2n,), (2 + 2n, 2 + 2n)."""
    n = len(state.site_mean)
    slope = np.concatenate([state.site_slope[:, k, None] * offset_rows for k in range(2)])
    own = np.concatenate([state.site_mean[:, k] for k in range(2)])
    linear = np.concatenate([np.eye(2), slope])
    mean = linear @ state.mean + np.concatenate([np.zeros(2), own])
    covariance = linear @ state.covariance @ linear.T
    index = np.arange(n)
    for a in range(2):
        for b in range(2):
            covariance[2 + a * n + index, 2 + b * n + index] += state.site_covariance[:, a, b]
    return mean, covariance


def _observe(table: SiteTable, peak_list: PeakList, settings: MatchSettings) -> _Observed:
    """Linear model of every peak of a list by every site."""
    n, n_peaks = len(table), len(peak_list.peaks)
    has_shift = any(p.delta_iso_ppm is not None or p.position_ppm is not None for p in peak_list.peaks)
    has_cq = any(p.cq_mhz is not None for p in peak_list.peaks)
    r = int(has_shift) + int(has_cq)
    residual, is_shift = np.zeros((n_peaks, n, r)), np.zeros((n_peaks, r))
    rows = np.zeros((n_peaks, n, r, 2))
    # a padded value has density 1 for every site and does not limit merging
    variance = np.full((n_peaks, r), 1.0 / (2.0 * math.pi))
    merge = np.full((n_peaks, r), np.inf)
    log_eta, eta_chi2 = np.zeros((2, n_peaks, n))
    width = np.zeros(n_peaks, dtype=np.int64)
    resolution = settings.resolution_ppm(table.isotope)
    induced, slope = second_order_shifts(table, peak_list)
    for j, peak in enumerate(peak_list.peaks):
        if peak.delta_iso_ppm is not None and peak.delta_error_ppm is not None:
            residual[j, :, 0] = peak.delta_iso_ppm - table.delta
            variance[j, 0] = peak.delta_error_ppm**2
        elif peak.position_ppm is not None and peak.position_error_ppm is not None:
            residual[j, :, 0] = peak.position_ppm - table.delta - induced
            variance[j, 0] = peak.position_error_ppm**2
            rows[j, :, 0, 1] = slope
        if peak.delta_iso_ppm is not None or peak.position_ppm is not None:
            is_shift[j, 0] = 1.0
            rows[j, :, 0, 0] = 1.0
            merge[j, 0] = resolution**2
            width[j] += 1
        if peak.cq_mhz is not None and peak.cq_error_mhz is not None:
            residual[j, :, -1] = peak.cq_mhz - table.cq
            variance[j, -1] = peak.cq_error_mhz**2
            rows[j, :, -1, 1] = 1.0
            merge[j, -1] = settings.cq_resolution_mhz**2
            width[j] += 1
        if peak.eta_q is not None and peak.eta_error is not None:
            spread = peak.eta_error**2 + settings.eta_model_error**2
            eta_chi2[j] = (peak.eta_q - table.eta) ** 2 / spread
            log_eta[j] = -0.5 * math.log(2.0 * math.pi * spread)
            width[j] += 1
    if any(peak.dephasing is not None for peak in peak_list.peaks):
        _add_dephasing(table, peak_list, log_eta, eta_chi2, width)
    flat = np.array([log_flat_density(peak, table.isotope, settings) for peak in peak_list.peaks])
    return _Observed(residual, is_shift, rows, variance, merge, log_eta, eta_chi2, width, flat)


def _add_dephasing(
    table: SiteTable,
    peak_list: PeakList,
    log_density: NDArray[np.float64],
    chi2: NDArray[np.float64],
    width: NDArray[np.int64],
) -> None:
    """Add how well each site's expected dephasing agrees with that of each peak, (j, n); a peak of anything else may
    have any from 0 to 1, and so may a site of which no distances are known.
    """
    mean, error = dephasings(table, peak_list)
    known = np.isfinite(error)
    for j, peak in enumerate(peak_list.peaks):
        if peak.dephasing is None or peak.dephasing_error is None:
            continue
        spread = np.where(known, error, 1.0) ** 2 + peak.dephasing_error**2
        chi2[j] += np.where(known, (peak.dephasing - mean) ** 2 / spread, 0.0)
        log_density[j] += np.where(known, -0.5 * np.log(2.0 * math.pi * spread), 0.0)
        width[j] += 1


def _scalars(residual: NDArray[np.float64], tilt: NDArray[np.float64], total: NDArray[np.float64]) -> _Scalars:
    inverse, log_det = _inverse(total)
    along = (inverse * tilt[..., None, :]).sum(axis=-1)
    square = ((inverse * residual[..., None, :]).sum(axis=-1) * residual).sum(axis=-1)
    return _Scalars((along * tilt).sum(axis=-1), (along * residual).sum(axis=-1), square, log_det)


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
