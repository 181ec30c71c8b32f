"""Spectra as they are fitted: grids, the lines of a subset's sites on them with derivatives, and fitted curves."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..kernels import SiteKernels, SiteShape, Synthesis, broadening_transform
from ..mqmas import IsotropicKernels
from ..satellites import SatelliteKernels
from ..vocabulary import Experiment
from .sites import visibility

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..vocabulary import PredictedSite, Spectrum
    from .settings import MatchSettings
    from .sites import SiteTable


Kernels = SiteKernels | IsotropicKernels | SatelliteKernels

MQMAS_ERROR_FRACTION = 0.25
"""Error of a line's height in an isotropic projection, whose intensities depend on the coupling and the pulses."""


class Grid(NamedTuple):
    """A spectrum as it is fitted: uniform axis (p,), intensity (p,), error of each point (p,), and its two parts.

    ``noise`` is the error of a point from noise, ``model`` (p,) what the line shapes may be off; ``block`` is the
    number of measured points averaged into one.
    """

    axis: NDArray[np.float64]
    intensity: NDArray[np.float64]
    error: NDArray[np.float64]
    noise: float
    model: NDArray[np.float64]
    block: int

    @property
    def step(self) -> float:
        """Spacing of the axis, ppm."""
        return float(self.axis[-1] - self.axis[0]) / (len(self.axis) - 1)

    @property
    def frame(self) -> float:
        """Largest area a line could have: width times height of the spectrum."""
        return float(np.ptp(self.axis)) * float(np.ptp(self.intensity))


class SpectrumFit(NamedTuple):
    """Result of fitting the spectra of one isotope with one subset.

    Attributes
    ----------
    latent
        Offsets, site errors, CQ errors and logarithms of relative widths at the optimum, (2 + 3n,).
    latent_sd
        Posterior standard deviations of the latents, (2 + 3n,).
    offset_covariance
        Posterior covariance of the first two latents, the offsets, (2, 2).
    broadenings
        Gaussian and Lorentzian full widths at half maximum per spectrum, ppm.
    amplitudes
        Amplitudes (m,) of the members per spectrum.
    baselines
        Constant and slope of the baseline per spectrum, on the axis scaled to -1 .. 1.
    probabilities
        Predictive p-values: structure of the residual per spectrum, then the deviations from the prior.
    """

    latent: NDArray[np.float64]
    latent_sd: NDArray[np.float64]
    offset_covariance: NDArray[np.float64]
    broadenings: tuple[tuple[float, float], ...]
    amplitudes: tuple[NDArray[np.float64], ...]
    baselines: tuple[NDArray[np.float64], ...]
    probabilities: tuple[float, ...]

    @property
    def broadening_ppm(self) -> float:
        """Mean Gaussian broadening of the spectra, ppm."""
        return float(np.mean([gaussian for gaussian, _ in self.broadenings]))


def grid_of(spectrum: Spectrum, settings: MatchSettings) -> Grid:
    """A spectrum on a uniform axis, averaged to at most ``max_spectrum_points`` points."""
    axis, intensity = np.array(spectrum.axis_ppm), np.array(spectrum.intensity)
    steps = np.diff(axis)
    if np.ptp(steps) > 0.01 * steps.mean():
        uniform = np.linspace(axis[0], axis[-1], len(axis))
        axis, intensity = uniform, np.interp(uniform, axis, intensity)
    block = math.ceil(len(axis) / settings.max_spectrum_points)
    count = len(axis) // block
    axis = axis[: count * block].reshape(count, block).mean(axis=1)
    intensity = intensity[: count * block].reshape(count, block).mean(axis=1)
    noise = spectrum.noise / math.sqrt(block)
    height = np.abs(intensity - np.median(intensity))
    smooth = np.convolve(np.pad(height, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    fraction = settings.model_error_fraction
    if spectrum.experiment is Experiment.MQMAS:
        fraction = max(fraction, MQMAS_ERROR_FRACTION)
    model = fraction * smooth
    return Grid(axis, intensity, np.hypot(noise, model), noise, model, block)


def broadening_prior(grid: Grid, settings: MatchSettings, resolution_ppm: float) -> tuple[float, float]:
    """Mean and standard deviation of the logarithm of the Gaussian broadening in ppm."""
    lowest = 2.0 * grid.step
    if settings.broadenings_ppm:
        low, high = min(settings.broadenings_ppm), max(settings.broadenings_ppm)
        return math.log(max(lowest, math.sqrt(low * high))), max(0.3, 0.5 * math.log(high / low))
    return math.log(max(lowest, 1.1 * resolution_ppm)), 0.7


def baseline_columns(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Constant and slope over an axis, (p, 2); the slope runs from -1 to 1."""
    return np.stack([np.ones_like(axis), np.linspace(-1.0, 1.0, len(axis))], axis=1)


def site_shape(site: PredictedSite) -> SiteShape:
    """What the line of a predicted site depends on."""
    return SiteShape(
        site.delta_iso_ppm,
        site.zeta_csa_ppm,
        site.eta_csa,
        abs(site.cq_mhz),
        site.cq_error_mhz,
        site.eta_q,
        site.is_disordered,
    )


def spectrum_kernels(shapes: Sequence[SiteShape], spectrum: Spectrum, synthesis: Synthesis) -> Kernels:
    """Kernels of sites under the conditions of a spectrum."""
    if spectrum.experiment is Experiment.MQMAS:
        return IsotropicKernels(shapes, spectrum.isotope, spectrum.field_tesla, frequencies=synthesis.frequencies)
    make = partial(SatelliteKernels, share=spectrum.satellites) if spectrum.satellites > 0 else SiteKernels
    return make(
        shapes,
        spectrum.isotope,
        spectrum.field_tesla,
        spectrum.mas_rate_hz,
        frequencies=synthesis.frequencies,
        window_ppm=synthesis.window_ppm,
    )


class KernelStore:
    """Kernels of a candidate's sites under the conditions of a spectrum, made once and shared by all subsets."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], tuple[tuple[PredictedSite, ...], Kernels]] = {}
        self._axes: dict[tuple[float, float, int], Synthesis] = {}

    def synthesis(self, axis: NDArray[np.float64]) -> Synthesis:
        """Synthesis on a uniform axis."""
        key = (float(axis[0]), float(axis[-1]), len(axis))
        if key not in self._axes:
            self._axes[key] = Synthesis(key[0], (key[1] - key[0]) / (key[2] - 1), key[2])
        return self._axes[key]

    def get(self, sites: tuple[PredictedSite, ...], spectrum: Spectrum, synthesis: Synthesis) -> Kernels:
        """Kernels of sites on the frequencies of a synthesis."""
        key = (tuple(map(id, sites)), spectrum.name, synthesis.start, synthesis.step, synthesis.length)
        if key not in self._kept:
            kernels = spectrum_kernels([site_shape(site) for site in sites], spectrum, synthesis)
            self._kept[key] = (sites, kernels)
        return self._kept[key][1]


class SpectrumTask(NamedTuple):
    """One spectrum to be fitted: its grid and the group of spectra whose populations it shares."""

    spectrum: Spectrum
    grid: Grid
    group: int


class Channel:
    """One spectrum with the sites of a subset."""

    def __init__(
        self, task: SpectrumTask, table: SiteTable, signals: NDArray[np.float64], store: KernelStore, n_members: int
    ) -> None:
        self.task, self.table, self.signals, self.n_members = task, table, signals, n_members
        self.grid = task.grid
        self.synthesis = store.synthesis(self.grid.axis)
        self.members = [np.flatnonzero(table.member == m) for m in range(n_members)]
        self.kernels = [
            store.get(tuple(table.sites[i] for i in group), task.spectrum, self.synthesis) for group in self.members
        ]
        f = self.synthesis.frequencies
        self.turn = -2j * math.pi * f
        self.averaging = np.sinc(f * self.grid.step) if self.grid.block > 1 else np.ones_like(f)
        self.weight = 1.0 / self.grid.error
        self.base = np.linalg.qr(baseline_columns(self.grid.axis) * self.weight[:, None])[0]
        self.target = self.whiten(self.grid.intensity)

    def whiten(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values (..., p) over the errors, without what the baseline can follow."""
        scaled = values * self.weight
        return np.asarray(scaled - (scaled @ self.base) @ self.base.T)

    def transforms(
        self, latent: NDArray[np.float64], widths: NDArray[np.float64], smoothing: float
    ) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """Transforms of the broadened lines (n, f) and their derivatives by CQ (n, f)."""
        n = len(self.table)
        position = self.table.delta + self.table.offset_rows @ latent[:2] + latent[2 : 2 + n]
        cq = self.table.cq + latent[2 + n : 2 + 2 * n]
        f = self.synthesis.frequencies
        value, by_cq = np.zeros((2, n, len(f)), dtype=complex)
        for group, kernels in zip(self.members, self.kernels, strict=True):
            if len(group):
                value[group], by_cq[group] = kernels.evaluate(cq[group])
        damp = broadening_transform(f, smoothing, math.exp(widths[1])) * self.averaging
        moved = self.synthesis.shift_phase(position) * damp * np.exp(-2.0 * self._spread(latent, widths))
        return value * moved, by_cq * moved

    def _spread(self, latent: NDArray[np.float64], widths: NDArray[np.float64]) -> NDArray[np.float64]:
        """(pi sigma f)^2 of every site's Gaussian, (n, f): the spectrum's width and the line's own, times a factor."""
        sigma = np.hypot(math.exp(widths[0]), self.table.width) * np.exp(latent[2 + 2 * len(self.table) :])
        sigma = sigma / 2.3548200450309493
        return np.asarray((math.pi * sigma[:, None] * self.synthesis.frequencies) ** 2)

    def columns(self, value: NDArray[np.complex128]) -> NDArray[np.float64]:
        """Spectra (m, p) of the members at unit population and gain."""
        summed = np.zeros((self.n_members, value.shape[1]), dtype=complex)
        np.add.at(summed, self.table.member, value * self.signals[:, None])
        return self.synthesis.to_axis(summed)

    def jacobian(
        self,
        value: NDArray[np.complex128],
        by_cq: NDArray[np.complex128],
        amplitude: NDArray[np.float64],
        latent: NDArray[np.float64],
        widths: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Whitened derivatives (2 + 3n + 2, p) by offsets, shifts, CQ and the logarithms of the widths."""
        height = (amplitude[self.table.member] * self.signals)[:, None]
        f = self.synthesis.frequencies
        lines = height * value
        by_site = -4.0 * self._spread(latent, widths) * lines
        shared = 1.0 / (1.0 + (self.table.width * math.exp(-widths[0])) ** 2)
        by_width = np.stack([shared @ by_site, -math.pi * math.exp(widths[1]) * f * lines.sum(axis=0)])
        parts = self.whiten(
            self.synthesis.to_axis(np.concatenate([self.turn * lines, height * by_cq, by_site, by_width]))
        )
        n = len(self.table)
        return np.concatenate([self.table.offset_rows.T @ parts[:n], parts])


def curve_parts(
    table: SiteTable,
    spectrum: Spectrum,
    index: int,
    fit: SpectrumFit,
    *,
    shares: NDArray[np.float64],
    settings: MatchSettings,
    store: KernelStore,
    n_members: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Baseline (p,) and parts of the members (m, p) on a spectrum's own axis; ``index`` counts within the isotope."""
    axis = np.array(spectrum.axis_ppm)
    steps = np.diff(axis)
    is_uniform = np.ptp(steps) <= 0.01 * steps.mean()
    even = axis if is_uniform else np.linspace(axis[0], axis[-1], len(axis))
    zeros = np.zeros(len(even))
    task = SpectrumTask(spectrum, Grid(even, zeros, np.ones(len(even)), 1.0, zeros, 1), 0)
    channel = Channel(task, table, shares * visibility(table, spectrum, settings), store, n_members)
    value, _ = channel.transforms(fit.latent, np.log(fit.broadenings[index]), 0.0)
    parts = fit.amplitudes[index][:, None] * channel.columns(value)
    if not is_uniform:
        parts = np.stack([np.interp(axis, even, part) for part in parts])
    # the slope of the baseline is linear in ppm
    slope = 2.0 * (axis - axis[0]) / (axis[-1] - axis[0]) - 1.0
    return fit.baselines[index][0] + fit.baselines[index][1] * slope, parts
