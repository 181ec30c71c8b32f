"""Evidence of spectra: line shapes of all sites of a subset, fitted with populations, offsets and errors at once.

The unknowns of a site are the same as for peak lists (shared offset, shift error, CQ error), and their posterior
from the peak lists is the prior here. Amplitudes of candidates are non-negative, the baseline is linear, and
broadenings are tried from wide to narrow, which also leads the fit past false minima. The evidence is Laplace's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..constants import isotope as nucleus_of
from ..lines import broadened, shape
from .populations import AmplitudeData
from .sites import visibility

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..vocabulary import PredictedSite, Spectrum
    from .settings import MatchSettings
    from .sites import SiteTable

CQ_STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Deviations of CQ, in its errors, at which line shapes are simulated; between them they are interpolated."""

_ITERATIONS = 8
_REFINEMENTS = 3


class Grid(NamedTuple):
    """A spectrum as it is fitted: averaged axis (p,), intensity (p,), error of a point (one number)."""

    axis: NDArray[np.float64]
    intensity: NDArray[np.float64]
    error: float


class SpectrumFit(NamedTuple):
    """Result of fitting the spectra of one isotope with one subset.

    Attributes
    ----------
    log_evidence
        Laplace evidence, up to a constant of the data.
    log_occam
        What the evidence lies below the likelihood of the best fit.
    latent
        Offsets, site errors and CQ errors at the optimum, (2 + 2n,).
    broadening_ppm
        Broadening chosen for the spectra.
    amplitudes
        Amplitude estimate of the members per spectrum.
    baselines
        Constant and slope of the baseline per spectrum, on the axis scaled to -1 .. 1.
    tests
        (value, degrees of freedom) of chi-square checks: residuals per spectrum, then the deviations from the prior.
    """

    log_evidence: float
    log_occam: float
    latent: NDArray[np.float64]
    broadening_ppm: float
    amplitudes: tuple[AmplitudeData, ...]
    baselines: tuple[NDArray[np.float64], ...]
    tests: tuple[tuple[float, float], ...]


class Kernel(NamedTuple):
    """A broadened shape ready to be placed: bin borders (q + 1,) in ppm, cumulative area and density there, its CQ."""

    borders: NDArray[np.float64]
    cumulative: NDArray[np.float64]
    density: NDArray[np.float64]
    cq_mhz: float


class ShapeStore:
    """Broadened line shapes of sites by condition, simulated once and shared by all subsets."""

    def __init__(self) -> None:
        self._kernels: dict[tuple[object, ...], Kernel] = {}

    def get(self, site: PredictedSite, spectrum: Spectrum, step: int, broadening: float) -> Kernel:
        """Shape of a site in the conditions of a spectrum, CQ off by ``CQ_STEPS[step]`` of its errors."""
        cq = max(0.05 * abs(site.cq_mhz), abs(site.cq_mhz) + CQ_STEPS[step] * site.cq_error_mhz)
        key = (
            spectrum.field_tesla,
            spectrum.mas_rate_hz,
            site.isotope,
            site.zeta_csa_ppm,
            site.eta_csa,
            cq,
            site.eta_q,
        )
        if (*key, broadening) not in self._kernels:
            unit = broadened(
                shape(
                    site.isotope,
                    field_tesla=spectrum.field_tesla,
                    mas_rate_hz=spectrum.mas_rate_hz,
                    zeta_csa_ppm=site.zeta_csa_ppm,
                    eta_csa=site.eta_csa,
                    cq_mhz=cq,
                    eta_q=site.eta_q,
                ),
                broadening,
            )
            borders = np.append(unit.axis_ppm - 0.5 * unit.step_ppm, unit.axis_ppm[-1] + 0.5 * unit.step_ppm)
            padded = np.concatenate([[0.0], unit.density, [0.0]])
            self._kernels[(*key, broadening)] = Kernel(
                borders,
                np.concatenate([[0.0], np.cumsum(unit.density) * unit.step_ppm]),
                0.5 * (padded[1:] + padded[:-1]),
                cq,
            )
        return self._kernels[(*key, broadening)]


def grid_of(spectrum: Spectrum, settings: MatchSettings) -> Grid:
    """A spectrum averaged to at most ``max_spectrum_points`` points, with the error of one point."""
    axis, intensity = np.array(spectrum.axis_ppm), np.array(spectrum.intensity)
    block = math.ceil(len(axis) / settings.max_spectrum_points)
    count = len(axis) // block
    axis = axis[: count * block].reshape(count, block).mean(axis=1)
    intensity = intensity[: count * block].reshape(count, block).mean(axis=1)
    tallest = float(np.abs(intensity - np.median(intensity)).max())
    error = math.hypot(spectrum.noise / math.sqrt(block), settings.model_error_fraction * tallest)
    return Grid(axis, intensity, error)


def broadenings(spectra: Sequence[Spectrum], settings: MatchSettings, resolution_ppm: float) -> tuple[float, ...]:
    """Broadenings to try, widest first, ppm."""
    if settings.broadenings_ppm:
        return tuple(sorted(settings.broadenings_ppm, reverse=True))
    step = max(float(np.mean(np.diff(spectrum.axis_ppm))) for spectrum in spectra)
    narrowest = max(0.3 * resolution_ppm, 2.0 * step)
    return tuple(float(width) for width in np.geomspace(max(4.0 * resolution_ppm, 2.0 * narrowest), narrowest, 5))


def fit_spectra(
    table: SiteTable,
    spectra: Sequence[Spectrum],
    shares: NDArray[np.float64],
    prior: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    settings: MatchSettings,
    store: ShapeStore,
    n_members: int,
) -> SpectrumFit:
    """Fit all spectra of one isotope with the sites of one subset.

    Parameters
    ----------
    table, shares
        Sites and each site's part of its candidate's atoms (n,).
    prior
        Mean (2 + 2n,) and covariance of offsets, site errors and CQ errors, after the peak lists.
    store
        Line shapes, shared between calls.
    n_members
        Number of candidates in the subset.
    """
    model = _Model(table, spectra, shares, prior, settings=settings, store=store, n_members=n_members)
    widths = broadenings(spectra, settings, settings.resolution_ppm(table.isotope))
    latent = prior[0].copy()
    # wide and tolerant first, so that lines find their place; then true errors from narrow to wide
    for width in widths[:-1]:
        latent, _ = model.optimise(latent, width, tolerance=max(1.0, 2.0 * width / widths[-1]))
    tried: dict[float, SpectrumFit] = {}
    for width in reversed(widths):
        latent, tried[width] = model.optimise(latent, width)
        if tried[width].log_evidence < max(fit.log_evidence for fit in tried.values()) - 20.0:
            break
    # halve the steps of the grid about its best width
    for _ in range(_REFINEMENTS if len(tried) > 1 else 0):
        best = max(tried.values(), key=lambda fit: fit.log_evidence)
        order = sorted(tried)
        place = order.index(best.broadening_ppm)
        for neighbour in order[max(0, place - 1) : place] + order[place + 1 : place + 2]:
            width = math.sqrt(best.broadening_ppm * neighbour)
            tried[width] = model.optimise(best.latent, width)[1]
    return max(tried.values(), key=lambda fit: fit.log_evidence)


class _State(NamedTuple):
    """Per spectrum: amplitudes (m,), whitened residual (p,), derivatives (p, latent) and columns (p, m).

    All have the baseline projected out, ``projected`` the amplitudes as well.
    """

    objective: float
    amplitudes: list[NDArray[np.float64]]
    residuals: list[NDArray[np.float64]]
    projected: list[NDArray[np.float64]]
    free: list[NDArray[np.float64]]
    designs: list[NDArray[np.float64]]


class _Model:
    def __init__(
        self,
        table: SiteTable,
        spectra: Sequence[Spectrum],
        shares: NDArray[np.float64],
        prior: tuple[NDArray[np.float64], NDArray[np.float64]],
        *,
        settings: MatchSettings,
        store: ShapeStore,
        n_members: int,
    ) -> None:
        self.table, self.spectra, self.store, self.n_members = table, spectra, store, n_members
        self.is_plain = not nucleus_of(table.isotope).is_half_integer_quadrupolar
        self.prior_mean = prior[0]
        self.prior_precision = np.linalg.inv(prior[1] + 1e-9 * np.eye(len(prior[0])))
        self.grids = [grid_of(spectrum, settings) for spectrum in spectra]
        self.signals = [shares * visibility(table, spectrum, settings) for spectrum in spectra]
        self.bases = [np.linalg.qr(baseline_columns(grid.axis))[0] for grid in self.grids]

    def lines(
        self, k: int, latent: NDArray[np.float64], width: float, axis: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Lines (n, p) of all sites in spectrum k with derivatives in shift (per ppm) and CQ (per MHz).

        Between two simulated CQ both shapes are stretched to the CQ wanted (second-order shifts grow with its square)
        and then mixed.
        """
        n = len(self.table)
        position = self.table.delta + self.table.offset_rows @ latent[:2] + latent[2 : 2 + n]
        edges = _edges(axis)
        bins = np.diff(edges)
        value, by_shift, by_cq = np.zeros((3, n, len(axis)))
        for s, site in enumerate(self.table.sites):
            at = edges - position[s]
            if site.cq_mhz == 0.0 or self.is_plain:
                kernel = self.store.get(site, self.spectra[k], 2, width)
                value[s] = np.diff(np.interp(at, kernel.borders, kernel.cumulative)) / bins
                by_shift[s] = -np.diff(np.interp(at, kernel.borders, kernel.density, 0.0, 0.0)) / bins
                continue
            error = self.table.cq_error[s]
            where = float(np.clip(latent[2 + n + s] / error, CQ_STEPS[0], CQ_STEPS[-1])) - CQ_STEPS[0]
            left = min(int(where), len(CQ_STEPS) - 2)
            share = where - left
            pair = [self.store.get(site, self.spectra[k], index, width) for index in (left, left + 1)]
            cq = (1.0 - share) * pair[0].cq_mhz + share * pair[1].cq_mhz
            areas = []
            for kernel, part in zip(pair, (1.0 - share, share), strict=True):
                stretch = (cq / kernel.cq_mhz) ** 2
                squeezed = at / stretch
                areas.append(np.diff(np.interp(squeezed, kernel.borders, kernel.cumulative)) / bins)
                density = np.interp(squeezed, kernel.borders, kernel.density, 0.0, 0.0)
                by_shift[s] -= part * np.diff(density) / stretch / bins
                by_cq[s] -= part * np.diff(density * squeezed) * 2.0 / cq / bins
            value[s] = (1.0 - share) * areas[0] + share * areas[1]
            by_cq[s] += (areas[1] - areas[0]) / error
        return value, by_shift, by_cq

    def solve(self, latent: NDArray[np.float64], width: float, tolerance: float) -> _State:
        """Best amplitudes and baselines for given latents, with what the next step and the evidence need."""
        from scipy.optimize import nnls

        n, dim = len(self.table), len(latent)
        deviation = latent - self.prior_mean
        objective = 0.5 * float(deviation @ self.prior_precision @ deviation)
        amplitudes, residuals, projected, free, designs = [], [], [], [], []
        for k, grid in enumerate(self.grids):
            value, by_shift, by_cq = self.lines(k, latent, width, grid.axis)
            error, base = grid.error * tolerance, self.bases[k]
            columns = self.columns(value, k) / error
            columns -= base @ (base.T @ columns)
            target = grid.intensity / error
            target = target - base @ (base.T @ target)
            amplitude = nnls(columns, target)[0] if self.n_members else np.zeros(0)
            residual = target - columns @ amplitude
            height = (amplitude[self.table.member] * self.signals[k])[:, None] if n else np.zeros((0, 1))
            jacobian = np.zeros((len(grid.axis), dim))
            shift = (height * by_shift).T / error
            jacobian[:, :2] = shift @ self.table.offset_rows
            jacobian[:, 2 : 2 + n] = shift
            jacobian[:, 2 + n :] = (height * by_cq).T / error
            jacobian = jacobian - base @ (base.T @ jacobian)
            free.append(jacobian)
            # what active amplitudes and the baseline can follow is no information on the latents (Kaufman)
            followed = np.linalg.qr(columns[:, amplitude > 0])[0]
            projected.append(jacobian - followed @ (followed.T @ jacobian))
            objective += 0.5 * float(residual @ residual)
            amplitudes.append(amplitude)
            residuals.append(residual)
            designs.append(columns)
        return _State(objective, amplitudes, residuals, projected, free, designs)

    def columns(self, value: NDArray[np.float64], k: int) -> NDArray[np.float64]:
        """Sum of the lines (n, p) of each member, (p, m)."""
        columns = np.zeros((value.shape[1], self.n_members))
        np.add.at(columns.T, self.table.member, value * self.signals[k][:, None])
        return columns

    def optimise(
        self, latent: NDArray[np.float64], width: float, *, tolerance: float = 1.0
    ) -> tuple[NDArray[np.float64], SpectrumFit]:
        """Gauss-Newton steps on the latents with the amplitudes projected out, then the Laplace evidence."""
        state = self.solve(latent, width, tolerance)
        n = len(self.table)
        for _ in range(_ITERATIONS if n else 0):
            curvature, gradient = self.prior_precision.copy(), self.prior_precision @ (latent - self.prior_mean)
            for free, residual in zip(state.projected, state.residuals, strict=True):
                curvature += free.T @ free
                gradient -= free.T @ residual
            change = -np.linalg.solve(curvature, gradient)
            moved = np.abs(self.table.offset_rows @ change[:2] + change[2 : 2 + n]).max()
            change *= min(1.0, 1.5 * width / max(float(moved), 1e-12))
            gain = 0.0
            for _ in range(4):
                attempt = self.solve(latent + change, width, tolerance)
                gain = state.objective - attempt.objective
                if gain > 0:
                    latent, state = latent + change, attempt
                    break
                change = 0.35 * change
            if gain < 0.05:
                break
        return latent, self._evidence(latent, width, state)

    def _evidence(self, latent: NDArray[np.float64], width: float, state: _State) -> SpectrumFit:
        log_evidence, estimates, baselines, tests = -state.objective, [], [], []
        m = self.n_members
        informed = np.zeros_like(self.prior_precision)
        joint = self.prior_precision + sum((free.T @ free for free in state.free), np.zeros_like(informed))
        for k, grid in enumerate(self.grids):
            informed += state.projected[k].T @ state.projected[k]
            # amplitudes given any baseline: the columns have the baseline projected out
            precision = state.designs[k].T @ state.designs[k] + 1e-9 * np.eye(m)
            # for the populations the latents are unknown too
            cross = state.designs[k].T @ state.free[k]
            marginal = precision - cross @ np.linalg.solve(joint, cross.T)
            estimates.append(AmplitudeData(state.amplitudes[k], marginal + 1e-6 * np.diag(np.diagonal(precision))))
            value, _, _ = self.lines(k, latent, width, grid.axis)
            rest = grid.intensity - self.columns(value, k) @ state.amplitudes[k]
            baselines.append(np.asarray(np.linalg.lstsq(baseline_columns(grid.axis), rest, rcond=None)[0], dtype=float))
            # flat prior of each amplitude up to the area of the whole frame
            span = float(np.ptp(grid.axis)) * float(np.ptp(grid.intensity))
            occam = 0.5 * m * math.log(2.0 * math.pi) - m * math.log(span)
            if m:
                occam -= 0.5 * float(np.linalg.slogdet(precision)[1])
            log_evidence += min(occam, 0.0)
            residual = state.residuals[k]
            tests.append((float(residual @ residual), float(max(1, len(grid.axis) - m - 3))))
        curvature = self.prior_precision + informed
        log_evidence += 0.5 * float(np.linalg.slogdet(self.prior_precision)[1] - np.linalg.slogdet(curvature)[1])
        deviation = latent - self.prior_mean
        effective = float(np.trace(np.linalg.solve(curvature, informed)))
        tests.append((float(deviation @ self.prior_precision @ deviation), max(1.0, effective)))
        log_occam = log_evidence + 0.5 * sum(value for value, _ in tests[:-1])
        return SpectrumFit(log_evidence, log_occam, latent, width, tuple(estimates), tuple(baselines), tuple(tests))


def _edges(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = 0.5 * (axis[1:] + axis[:-1])
    return np.concatenate([[2.0 * axis[0] - middle[0]], middle, [2.0 * axis[-1] - middle[-1]]])


def baseline_columns(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Constant and slope over an axis, (p, 2); the slope runs from -1 to 1."""
    return np.stack([np.ones_like(axis), np.linspace(-1.0, 1.0, len(axis))], axis=1)


def curve_parts(
    table: SiteTable,
    spectrum: Spectrum,
    index: int,
    fit: SpectrumFit,
    *,
    shares: NDArray[np.float64],
    settings: MatchSettings,
    store: ShapeStore,
    n_members: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Baseline (p,) and parts of the members (m, p) on a spectrum's own axis."""
    prior = (np.zeros(2 + 2 * len(table)), np.eye(2 + 2 * len(table)))
    model = _Model(table, [spectrum], shares, prior, settings=settings, store=store, n_members=n_members)
    axis = np.array(spectrum.axis_ppm)
    value, _, _ = model.lines(0, fit.latent, fit.broadening_ppm, axis)
    parts = (model.columns(value, 0) * fit.amplitudes[index].mean).T
    return baseline_columns(axis) @ fit.baselines[index], parts
