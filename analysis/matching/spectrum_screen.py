"""Which subsets of many candidates deserve an exact fit of the spectra.

A candidate's contribution to a coarse spectrum has a mean and a covariance over its unknown site errors: the lines
smeared by them, and how they would move together. Taken as Gaussian, the likelihood of a subset with given
populations costs one small linear solve per spectrum. Partners of a subset are scored roughly for all candidates at
once, with one matrix for all of them, so that hundreds of subsets grow by every candidate in a second or two.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..kernels import Synthesis, broadening_transform
from .sites import site_table, visibility
from .spectra import broadening_prior, site_shape, spectrum_kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..vocabulary import PredictedSite, Reference
    from .settings import MatchSettings
    from .spectra import SpectrumTask

_BINS = 48
_CHUNK = 300
_PARENTS, _LATER_PARENTS = 400, 60
_PARTNERS = 40
_RESCORED = 400
_KEPT = 0.6
_NEW_SHARES = (0.1, 0.25, 0.4, 0.6)
_SHIFT_NODES, _CQ_NODES = 7, 3
_COHERENT = 2.0


class _Coarse(NamedTuple):
    """One spectrum in bins: data (b,), covariance of noise and baseline (b, b); mean and covariance of candidates."""

    data: NDArray[np.float64]
    noise: NDArray[np.float64]
    mean: NDArray[np.float32]
    covariance: NDArray[np.float32]


class SpectrumScreen:
    """Approximate likelihood of subsets of many candidates.

    Parameters
    ----------
    groups
        Sites of every candidate.
    tasks
        The spectra.
    references, settings
        As for ``match``.
    atoms
        Number of atoms of each candidate by which its sites' shares are counted.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[PredictedSite]],
        tasks: Sequence[SpectrumTask],
        references: dict[str, Reference],
        atoms: Sequence[int],
        settings: MatchSettings,
    ) -> None:
        self.count = len(groups)
        self.spectra = [
            _coarse(groups, task, references.get(task.spectrum.isotope), np.array(atoms, dtype=float), settings)
            for task in tasks
        ]
        self.averages = [coarse.covariance.mean(axis=0).astype(float) for coarse in self.spectra]

    def log_likelihood(self, subsets: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log likelihood (n,) of subsets (n, m) with populations (n, m), at the best gain of each spectrum."""
        total = np.zeros(len(subsets))
        for start in range(0, len(subsets), _CHUNK):
            part = slice(start, start + _CHUNK)
            for coarse in self.spectra:
                total[part] += self._parts(coarse, subsets[part], shares[part])
        return total

    @staticmethod
    def _parts(coarse: _Coarse, subsets: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log likelihood (n,) of one spectrum."""
        mean = np.einsum("nm,nmb->nb", shares, coarse.mean[subsets])
        covariance = coarse.noise + _gain(coarse, mean)[:, None, None] ** 2 * np.einsum(
            "nm,nmbc->nbc", shares**2, coarse.covariance[subsets]
        )
        right = np.stack([np.broadcast_to(coarse.data, mean.shape), mean], axis=2)
        solved = np.linalg.solve(covariance, right)
        log_det = np.linalg.slogdet(covariance)[1]
        overlap = (mean * solved[:, :, 1]).sum(axis=1)
        along = (mean * solved[:, :, 0]).sum(axis=1)
        chi2 = (coarse.data * solved[:, :, 0]).sum(axis=1) - _explained(along, overlap)
        return np.asarray(-0.5 * (chi2 + log_det))

    def partners(self, subset: Sequence[int], shares: Sequence[float]) -> NDArray[np.float64]:
        """Approximate log likelihood (c,) of a subset with each candidate added, at the best of a few populations.

        What is unknown of the newcomer's sites is taken to be that of an average candidate, so that one matrix serves
        for all of them.
        """
        new = np.array(_NEW_SHARES)
        total = np.zeros((self.count, len(new)))
        for coarse, average in zip(self.spectra, self.averages, strict=True):
            own = np.asarray(shares) @ coarse.mean[list(subset)]
            spread = np.einsum("m,mbc->bc", (_KEPT * np.asarray(shares)) ** 2, coarse.covariance[list(subset)])
            gain = float(_gain(coarse, own[None])[0])
            covariance = coarse.noise + gain**2 * (spread + (1.0 - _KEPT) ** 2 * average)
            inverse = np.linalg.inv(covariance)
            others = coarse.mean @ inverse.astype(np.float32)
            data, mine = inverse @ coarse.data, inverse @ own
            along = (1.0 - new) * float(own @ data) + new * (coarse.mean @ data)[:, None]
            crossing = (coarse.mean @ mine)[:, None]
            square = (others * coarse.mean).sum(axis=1)[:, None]
            overlap = (1.0 - new) ** 2 * float(own @ mine) + 2.0 * new * (1.0 - new) * crossing + new**2 * square
            chi2 = float(coarse.data @ data) - _explained(along, overlap)
            total -= 0.5 * (chi2 + float(np.linalg.slogdet(covariance)[1]))
        best: NDArray[np.float64] = total.max(axis=1)
        best[list(subset)] = -np.inf
        return best

    def survivors(self, always: tuple[int, ...], largest: int, kept: int) -> list[tuple[int, ...]]:
        """Subsets worth an exact fit, up to ``kept`` of each size, without the candidates always present.

        Singles are all scored. To each of many smaller subsets all candidates are added in turn, roughly; the best
        of what comes out is scored again.
        """
        others = [i for i in range(self.count) if i not in always]
        if always:
            even = (1.0 / len(always),) * len(always)
            start: dict[tuple[int, ...], tuple[float, tuple[float, ...]]] = {}
            start[()] = (float(self.log_likelihood(np.array([always]), np.array([even]))[0]), even)
            found = self._extend(always, start, {(): others})
        else:
            values = self.log_likelihood(np.array(others, dtype=np.int64)[:, None], np.ones((len(others), 1)))
            found = {(i,): (float(value), (1.0,)) for i, value in zip(others, values, strict=True)}
        chosen = _best(found, kept)
        for size in range(1, largest):
            scored: dict[tuple[int, ...], tuple[float, tuple[int, ...], int]] = {}
            for parent in _best(found, _PARENTS if size == 1 else _LATER_PARENTS):
                rough = self.partners((*always, *parent), found[parent][1])
                rough[list(always)] = -np.inf
                for other in np.argsort(-rough, kind="stable")[:_PARTNERS]:
                    key = tuple(sorted((*parent, int(other))))
                    if np.isfinite(rough[other]) and (key not in scored or rough[other] > scored[key][0]):
                        scored[key] = (float(rough[other]), parent, int(other))
            wanted: dict[tuple[int, ...], list[int]] = {}
            for key in sorted(scored, key=lambda key: (-scored[key][0], key))[:_RESCORED]:
                wanted.setdefault(scored[key][1], []).append(scored[key][2])
            if not wanted:
                break
            found = self._extend(always, {parent: found[parent] for parent in wanted}, wanted)
            chosen += _best(found, kept)
        return chosen

    def _extend(
        self,
        always: tuple[int, ...],
        parents: dict[tuple[int, ...], tuple[float, tuple[float, ...]]],
        partners: dict[tuple[int, ...], list[int]],
    ) -> dict[tuple[int, ...], tuple[float, tuple[float, ...]]]:
        """Best populations of every parent with one partner more."""
        subsets, shares, names = [], [], []
        for parent, (_, own) in parents.items():
            for other, new in itertools.product(partners[parent], _NEW_SHARES):
                members = (*always, *parent, other)
                subsets.append(members)
                shares.append((*((1.0 - new) * share for share in own), new))
                names.append((*parent, other))
        result: dict[tuple[int, ...], tuple[float, tuple[float, ...]]] = {}
        values = self.log_likelihood(np.array(subsets, dtype=np.int64), np.array(shares))
        for name, members, value, share in zip(names, subsets, values, shares, strict=True):
            order = np.argsort(name)
            key = tuple(name[i] for i in order)
            head = share[: len(members) - len(name)]
            if key not in result or float(value) > result[key][0]:
                result[key] = (float(value), (*head, *(share[len(head) + int(i)] for i in order)))
        return result


def _gain(coarse: _Coarse, mean: NDArray[np.floating]) -> NDArray[np.float64]:
    """Gain (n,) that gives means (n, b) the area of the data."""
    return np.asarray(max(float(coarse.data.sum()), 1e-12) / np.maximum(mean.sum(axis=1), 1e-12))


def _explained(along: NDArray[np.float64], overlap: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the best gain, not negative, takes off the squared residual."""
    return np.asarray(np.maximum(along, 0.0) ** 2 / np.maximum(overlap, 1e-300))


def _best(found: dict[tuple[int, ...], tuple[float, tuple[float, ...]]], kept: int) -> list[tuple[int, ...]]:
    return sorted(found, key=lambda subset: (-found[subset][0], subset))[:kept]


def _coarse(
    groups: Sequence[Sequence[PredictedSite]],
    task: SpectrumTask,
    reference: Reference | None,
    atoms: NDArray[np.float64],
    settings: MatchSettings,
) -> _Coarse:
    """Bins of a spectrum, and the mean and covariance over site errors of every candidate's lines in them."""
    from scipy.ndimage import gaussian_filter1d

    spectrum, grid = task.spectrum, task.grid
    bins = min(_BINS, len(grid.axis) // 2)
    block = len(grid.axis) // bins
    count = len(grid.axis) // block
    axis = grid.axis[: count * block].reshape(count, block).mean(axis=1)
    step = grid.step * block
    sigma = 2.0 * step / 2.3548200450309493
    smooth = gaussian_filter1d(grid.intensity, sigma / grid.step, mode="nearest")
    data = smooth[: count * block].reshape(count, block).mean(axis=1)
    floor = float(np.median(np.sort(data)[: max(3, count // 4)]))
    data = data - floor
    model = grid.model[: count * block].reshape(count, block).mean(axis=1)
    variance = grid.noise**2 / block + (_COHERENT * model) ** 2
    tallest = float(data.max())
    slope = np.linspace(-1.0, 1.0, count)
    noise = np.diag(variance) + (0.05 * tallest) ** 2 * (1.0 + np.outer(slope, slope))
    synthesis = Synthesis(float(axis[0]), step, count)
    f = synthesis.frequencies
    width = math.exp(broadening_prior(grid, settings, settings.resolution_ppm(spectrum.isotope))[0])
    damp = broadening_transform(f, math.hypot(width, 2.0 * step), 0.2 * width) * np.sinc(f * step)
    table = site_table(spectrum.isotope, groups, reference)
    signals = table.multiplicity / atoms[table.member] * visibility(table, spectrum, settings)
    mean = np.zeros((len(groups), count), dtype=np.float32)
    covariance = np.zeros((len(groups), count, count), dtype=np.float32)
    shift_nodes, shift_weights = np.polynomial.hermite_e.hermegauss(_SHIFT_NODES)
    cq_nodes, cq_weights = np.polynomial.hermite_e.hermegauss(_CQ_NODES)
    weights = np.outer(cq_weights / cq_weights.sum(), shift_weights / shift_weights.sum()).ravel().astype(np.float32)
    for start in range(0, len(table), _CHUNK):
        part = slice(start, min(start + _CHUNK, len(table)))
        shapes = [site_shape(site)._replace(zeta_csa_ppm=0.0) if site.cq_mhz else site_shape(site)
                  for site in table.sites[part]]  # fmt: skip
        kernels = spectrum_kernels(shapes, spectrum, synthesis)
        spread = np.sqrt(table.delta_error[part] ** 2 + (table.offset_rows[part] ** 2).sum(axis=1))
        phase = synthesis.shift_phase(table.delta[part][:, None] + spread[:, None] * shift_nodes) * damp
        if table.width[part].any():
            own = [broadening_transform(f, width, 0.0) for width in table.width[part].tolist()]
            phase = phase * np.array(own)[:, None, :]
        lines = []
        for node in cq_nodes:
            value, _ = kernels.evaluate(np.maximum(table.cq[part] + node * table.cq_error[part], 0.0))
            lines.append(synthesis.to_axis(value[:, None, :] * phase))
        drawn = np.concatenate(lines, axis=1).astype(np.float32) * signals[part, None, None].astype(np.float32)
        middle = np.einsum("k,skb->sb", weights, drawn)
        deviation = (drawn - middle[:, None]) * np.sqrt(weights)[None, :, None]
        np.add.at(mean, table.member[part], middle)
        np.add.at(covariance, table.member[part], np.matmul(deviation.transpose(0, 2, 1), deviation))
    return _Coarse(data, noise, mean, covariance)
