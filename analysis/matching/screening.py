"""Which subsets of many candidates deserve an exact fit of the spectra.

A candidate's contribution to a coarse spectrum has a mean and a covariance over its unknown site errors: the lines
smeared by them, and how they would move together. Taken as Gaussian, the likelihood of a subset with given
populations costs one small linear solve per spectrum. Partners are sought by the score (the slope of the likelihood
towards a new candidate), computed for all candidates at once, so subsets grow without trying every combination.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..kernels import SiteKernels, Synthesis, broadening_transform
from .sites import site_table, visibility
from .spectra import broadening_prior, site_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..vocabulary import PredictedSite, Reference
    from .settings import MatchSettings
    from .spectra import SpectrumTask

_BINS = 48
_CHUNK = 300
_PARENTS = 8
_PARTNERS = 24
_NEW_SHARES = (0.1, 0.25, 0.4, 0.6)
_SHIFT_NODES, _CQ_NODES = 7, 3
_COHERENT = 2.0


class _Coarse(NamedTuple):
    """One spectrum in bins: data (b,), inverse-free noise covariance (b, b), and per candidate mean and covariance."""

    data: NDArray[np.float64]
    noise: NDArray[np.float64]
    mean: NDArray[np.float32]
    covariance: NDArray[np.float32]


class Screen:
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
            _coarse(groups, task, references[task.spectrum.isotope], np.array(atoms, dtype=float), settings)
            for task in tasks
        ]

    def log_likelihood(self, subsets: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log likelihood (n,) of subsets (n, m) with populations (n, m), at the best gain of each spectrum."""
        total = np.zeros(len(subsets))
        for coarse in self.spectra:
            total += self._parts(coarse, subsets, shares)[0]
        return total

    def _parts(
        self, coarse: _Coarse, subsets: NDArray[np.int64], shares: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Log likelihood (n,), gains (n,) and whitened residuals C^-1 r (n, b)."""
        mean = np.einsum("nm,nmb->nb", shares, coarse.mean[subsets])
        area = np.maximum(mean.sum(axis=1), 1e-12)
        gain = np.maximum(coarse.data.sum(), 1e-12) / area
        spread = np.einsum("nm,nmbc->nbc", shares**2, coarse.covariance[subsets])
        covariance = coarse.noise + gain[:, None, None] ** 2 * spread
        right = np.stack([np.broadcast_to(coarse.data, mean.shape), mean], axis=2)
        solved = np.linalg.solve(covariance, right)
        log_det = 2.0 * np.log(np.diagonal(np.linalg.cholesky(covariance), axis1=1, axis2=2)).sum(axis=1)
        overlap = (mean * solved[:, :, 1]).sum(axis=1)
        along = (mean * solved[:, :, 0]).sum(axis=1)
        best = np.where(overlap > 0, np.maximum(along, 0.0) / np.maximum(overlap, 1e-300), 0.0)
        left = solved[:, :, 0] - best[:, None] * solved[:, :, 1]
        chi2 = ((coarse.data - best[:, None] * mean) * left).sum(axis=1)
        return -0.5 * (chi2 + log_det), best, left

    def partners(self, subset: Sequence[int], shares: Sequence[float]) -> NDArray[np.int64]:
        """Candidates not in the subset, most promising first: those along which the likelihood rises most."""
        subsets, populations = np.array([subset], dtype=np.int64), np.array([shares])
        score, norm = np.zeros(self.count), np.zeros(self.count)
        for coarse in self.spectra:
            _, gain, left = self._parts(coarse, subsets, populations)
            variance = np.diagonal(coarse.noise)
            score += gain[0] * (coarse.mean @ left[0])
            norm += gain[0] ** 2 * (coarse.mean**2 @ (1.0 / variance))
        rise = score / np.sqrt(np.maximum(norm, 1e-300))
        rise[list(subset)] = -np.inf
        order = np.argsort(-rise, kind="stable")
        return order[np.isfinite(rise[order])]

    def survivors(self, always: tuple[int, ...], largest: int, kept: int) -> list[tuple[int, ...]]:
        """Subsets worth an exact fit, up to ``kept`` of each size, without the candidates always present.

        Singles are all scored. Larger subsets come from the best smaller ones with their most promising partners, and
        from all combinations of the leading candidates.
        """
        others = [i for i in range(self.count) if i not in always]
        layer: dict[tuple[int, ...], tuple[float, tuple[float, ...]]] = {}
        if always:
            even = (1.0 / len(always),) * len(always)
            layer[()] = (float(self.log_likelihood(np.array([always]), np.array([even]))[0]), even)
            found = self._extend(always, layer, {(): others})
        else:
            values = np.concatenate(
                [
                    self.log_likelihood(part[:, None], np.ones((len(part), 1)))
                    for part in np.array_split(np.array(others, dtype=np.int64), math.ceil(len(others) / _CHUNK))
                ]
            )
            found = {(i,): (float(value), (1.0,)) for i, value in zip(others, values, strict=True)}
        chosen = _best(found, kept)
        leading = {i for subset in _best(found, _PARENTS) for i in subset}
        for _ in range(1, largest):
            parents = _best(found, _PARENTS)
            wanted = {
                parent: [int(i) for i in self.partners((*always, *parent), found[parent][1])[:_PARTNERS]]
                for parent in parents
            }
            leading |= {i for partners in wanted.values() for i in partners[:3]}
            for parent in parents:
                wanted[parent] = sorted({*wanted[parent], *leading} - {*parent, *always})
            found = self._extend(always, {parent: found[parent] for parent in parents}, wanted)
            if not found:
                break
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
        for start in range(0, len(subsets), _CHUNK):
            part = slice(start, start + _CHUNK)
            values = self.log_likelihood(np.array(subsets[part], dtype=np.int64), np.array(shares[part]))
            for name, members, value, share in zip(names[part], subsets[part], values, shares[part], strict=True):
                order = np.argsort(name)
                key = tuple(name[i] for i in order)
                head = share[: len(members) - len(name)]
                tail = tuple(share[len(head) + int(i)] for i in order)
                if key not in result or float(value) > result[key][0]:
                    result[key] = (float(value), (*head, *tail))
        return result


def _best(found: dict[tuple[int, ...], tuple[float, tuple[float, ...]]], kept: int) -> list[tuple[int, ...]]:
    return sorted(found, key=lambda subset: (-found[subset][0], subset))[:kept]


def _coarse(
    groups: Sequence[Sequence[PredictedSite]],
    task: SpectrumTask,
    reference: Reference,
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
        kernels = SiteKernels(
            shapes,
            spectrum.isotope,
            spectrum.field_tesla,
            spectrum.mas_rate_hz,
            frequencies=f,
            window_ppm=synthesis.window_ppm,
        )
        spread = np.sqrt(table.delta_error[part] ** 2 + (table.offset_rows[part] ** 2).sum(axis=1))
        phase = synthesis.shift_phase(table.delta[part][:, None] + spread[:, None] * shift_nodes) * damp
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
