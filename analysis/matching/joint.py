"""Spectra of one or more samples, fitted with the sites of a subset all at once.

The unknowns are, per isotope, the shared offset and each site's shift and CQ error (their prior is the posterior of the
peak lists) and by which factor its line is wider than the others; per spectrum two broadenings, a linear baseline
and a gain; and populations, which all spectra of a sample that count atoms share. Surface-selective spectra have
weights of their own. Line shapes come from the kernel tables. The fit runs from smoothed to full resolution, which
leads it past false minima, by Gauss-Newton steps with amplitudes and baselines solved for exactly (variable projection,
Kaufman's form).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .amplitudes import Amplitudes, solve_amplitudes
from .populations import AmplitudeForm
from .residuals import residual_probabilities
from .sites import visibility
from .spectra import Channel, SpectrumFit, baseline_columns, broadening_prior

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .settings import MatchSettings
    from .sites import SiteTable
    from .spectra import Grid, KernelStore, SpectrumTask

_ITERATIONS = 15
_SMOOTH_ITERATIONS = 5
_SMOOTHINGS = (1.5, 3.5, 0.5)
"""Smoothing of the starts, in site errors (full width at half maximum)."""

_CONVERGED = 0.03
_RELATIVE = 3e-3
"""Fits that are far from the data need not be exact: part of the excess misfit at which they may stop."""

_LORENTZIAN_SHARE = 0.2
_RESTARTS, _SUSPECT = 16, 0.1
_REARRANGEMENTS, _PROPOSALS, _FAR = 4, 6, 1.7


class JointFit(NamedTuple):
    """Result of fitting all spectra with one subset.

    ``log_evidence`` is that of the optimum with latents and baselines integrated out (Laplace), amplitudes still at the
    optimum; ``form`` is the likelihood of the amplitudes around it. ``misfit`` is half the squared residual, and
    ``objective`` that with half the squared deviation from the prior.
    """

    log_evidence: float
    objective: float
    misfit: float
    form: AmplitudeForm
    spectra: dict[str, SpectrumFit]


class _State(NamedTuple):
    objective: float
    amplitudes: Amplitudes
    columns: list[NDArray[np.float64]]
    residuals: list[NDArray[np.float64]]
    values: list[tuple[NDArray[np.complex128], NDArray[np.complex128]]]


class JointModel:
    """All spectra with the sites of one subset.

    The parameters are one vector: for each isotope its latents (2 + 3n), then two logarithms of widths per spectrum.
    """

    def __init__(
        self,
        tables: dict[str, SiteTable],
        tasks: Sequence[SpectrumTask],
        shares: dict[str, NDArray[np.float64]],
        priors: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
        *,
        settings: MatchSettings,
        store: KernelStore,
        n_members: int,
    ) -> None:
        self.tasks, self.n_members, self.settings = tasks, n_members, settings
        self.tables, self.shares, self.priors, self.store = tables, shares, priors, store
        self.isotopes = sorted({task.spectrum.isotope for task in tasks})
        self.channels = []
        for task in tasks:
            table = tables[task.spectrum.isotope]
            signals = shares[task.spectrum.isotope] * visibility(table, task.spectrum, settings)
            self.channels.append(Channel(task, table, signals, store, n_members))
        self.slices: dict[str, slice] = {}
        start, means, blocks = 0, [], []
        for isotope in self.isotopes:
            mean, covariance = _with_widths(*priors[isotope], settings.width_spread)
            self.slices[isotope] = slice(start, start + len(mean))
            start += len(mean)
            means.append(mean)
            blocks.append(np.linalg.inv(covariance + 1e-9 * np.eye(len(mean))))
        self.widths = [slice(start + 2 * k, start + 2 * k + 2) for k in range(len(tasks))]
        size = start + 2 * len(tasks)
        self.precision = np.zeros((size, size))
        for isotope, block in zip(self.isotopes, blocks, strict=True):
            self.precision[self.slices[isotope], self.slices[isotope]] = block
        for task, where in zip(tasks, self.widths, strict=True):
            middle, sd = broadening_prior(task.grid, settings, settings.resolution_ppm(task.spectrum.isotope))
            means.append(np.array([middle, middle + math.log(_LORENTZIAN_SHARE)]))
            self.precision[where, where] = np.eye(2) / sd**2
        self.mean = np.concatenate(means)
        self.groups = np.array([task.group for task in tasks])

    def columns_of(self, k: int) -> NDArray[np.int64]:
        """Parameters on which spectrum k depends."""
        where = self.slices[self.tasks[k].spectrum.isotope]
        return np.concatenate([np.arange(where.start, where.stop), np.arange(*self.widths[k].indices(10**6))])

    def state(
        self, parameters: NDArray[np.float64], before: Amplitudes | None, smoothing: dict[str, float] | None
    ) -> _State:
        """Objective with the best amplitudes and baselines."""
        deviation = parameters - self.mean
        objective = 0.5 * float(deviation @ self.precision @ deviation)
        columns, values, targets = [], [], []
        for k, channel in enumerate(self.channels):
            isotope = self.tasks[k].spectrum.isotope
            extra = smoothing[isotope] if smoothing else 0.0
            value = channel.transforms(parameters[self.slices[isotope]], parameters[self.widths[k]], extra)
            values.append(value)
            columns.append(channel.whiten(channel.columns(value[0])))
            targets.append(channel.whiten(_smoothed(channel.grid, extra)) if extra else channel.target)
        found = solve_amplitudes(columns, targets, self.groups, before)
        residuals = [
            target - amplitude @ column
            for target, amplitude, column in zip(targets, found.by_spectrum, columns, strict=True)
        ]
        objective += 0.5 * sum(float(r @ r) for r in residuals)
        return _State(objective, found, columns, residuals, values)

    def curvature(
        self, parameters: NDArray[np.float64], state: _State
    ) -> tuple[list[NDArray[np.float64]], NDArray[np.float64], NDArray[np.float64]]:
        """Jacobians (q, p) per spectrum, and the normal matrix and gradient of the parameters, prior included."""
        normal = self.precision.copy()
        gradient = self.precision @ (parameters - self.mean)
        jacobians = []
        for k, channel in enumerate(self.channels):
            latent = parameters[self.slices[self.tasks[k].spectrum.isotope]]
            jacobian = channel.jacobian(
                *state.values[k], state.amplitudes.by_spectrum[k], latent, parameters[self.widths[k]]
            )
            where = self.columns_of(k)
            normal[np.ix_(where, where)] += jacobian @ jacobian.T
            gradient[where] -= jacobian @ state.residuals[k]
            jacobians.append(jacobian)
        return jacobians, normal, gradient

    def step(self, parameters: NDArray[np.float64], state: _State) -> NDArray[np.float64]:
        """Gauss-Newton step of the parameters, with what the active amplitudes can follow projected out."""
        jacobians, normal, gradient = self.curvature(parameters, state)
        reduced = self.reduced(jacobians, normal, state)
        change = -np.linalg.solve(reduced, gradient)
        limit = 1.0
        for k, channel in enumerate(self.channels):
            widths = change[self.widths[k]]
            latent = change[self.slices[self.tasks[k].spectrum.isotope]]
            n = len(channel.table)
            if n:
                moved = np.abs(channel.table.offset_rows @ latent[:2] + latent[2 : 2 + n]).max()
                reach = 2.0 * max(math.exp(parameters[self.widths[k]][0]), channel.grid.step)
                limit = min(limit, reach / max(float(moved), 1e-12))
            limit = min(limit, 0.7 / max(float(np.abs(widths).max()), 1e-12))
        return np.asarray(change * limit)

    def reduced(
        self, jacobians: list[NDArray[np.float64]], normal: NDArray[np.float64], state: _State
    ) -> NDArray[np.float64]:
        """Normal matrix of the parameters once the active amplitudes are free to follow them."""
        tangents = state.amplitudes.tangents(state.columns, self.groups)
        size = tangents[0].shape[0] if tangents else 0
        cross, inner = np.zeros((len(normal), size)), 1e-9 * np.eye(size)
        for k, jacobian in enumerate(jacobians):
            cross[self.columns_of(k)] += jacobian @ tangents[k].T
            inner += tangents[k] @ tangents[k].T
        inner += 1e-9 * np.diag(np.diagonal(inner))
        result = normal - cross @ np.linalg.solve(inner, cross.T) + 1e-9 * np.diag(np.diagonal(normal))
        return np.asarray(result)

    def optimise(
        self,
        parameters: NDArray[np.float64],
        iterations: int,
        smoothing: dict[str, float] | None = None,
        hopeless_above: float = math.inf,
    ) -> tuple[NDArray[np.float64], _State]:
        """Gauss-Newton steps until the objective hardly changes, or will not come below ``hopeless_above``."""
        state = self.state(parameters, None, smoothing)
        expected = sum(len(channel.grid.axis) for channel in self.channels)
        for left in reversed(range(iterations)):
            change = self.step(parameters, state)
            if smoothing:
                # widths would grow to stand in for lines that are still in the wrong place
                for where in self.widths:
                    change[where] = 0.0
            gain = 0.0
            for _ in range(4):
                attempt = self.state(parameters + change, state.amplitudes, smoothing)
                gain = state.objective - attempt.objective
                if gain > 0:
                    parameters, state = parameters + change, attempt
                    break
                change = 0.3 * change
            if gain < max(_CONVERGED, _RELATIVE * (state.objective - expected)):
                break
            if left < iterations - 2 and state.objective - gain * left > hopeless_above:
                break
        return parameters, state

    def fit(self, hopeless_above: float = math.inf, *, is_thorough: bool = False) -> JointFit:
        """Best fit from smoothed to full resolution, and what its evidence needs.

        A fit that cannot reach an objective of ``hopeless_above`` at its pace stops where it is. A thorough fit starts
        from several smoothings, against false minima, and keeps the best.
        """
        hopeless = hopeless_above
        best: tuple[NDArray[np.float64], _State] | None = None
        for factor in _SMOOTHINGS if is_thorough else _SMOOTHINGS[:1]:
            smoothing = {
                channel.task.spectrum.isotope: factor * float(np.median(channel.table.delta_error))
                if len(channel.table)
                else 0.0
                for channel in self.channels
            }
            start, _ = self.optimise(self.mean.copy(), _SMOOTH_ITERATIONS, smoothing)
            found = self.optimise(start, _ITERATIONS, None, hopeless_above)
            if best is None or found[1].objective < best[1].objective:
                best = found
            hopeless_above = min(hopeless_above, best[1].objective + 1.0)
        if best is None:
            raise ValueError("no start was tried")
        if is_thorough and best[1].objective <= hopeless:
            best = self._restarted(*self._rearranged(*best))
        return self.result(*best)

    def _restarted(self, parameters: NDArray[np.float64], state: _State) -> tuple[NDArray[np.float64], _State]:
        """Fit isotopes that are not well explained yet alone, from random site errors, and all again from there."""
        attempt = parameters.copy()
        for isotope in self.isotopes:
            if not len(self.tables[isotope]) or self._is_explained(isotope, parameters, state):
                continue
            alone = JointModel(
                self.tables,
                [task for task in self.tasks if task.spectrum.isotope == isotope],
                self.shares,
                self.priors,
                settings=self.settings,
                store=self.store,
                n_members=self.n_members,
            )
            own = np.concatenate(
                [np.arange(*self.slices[isotope].indices(len(parameters)))]
                + [
                    np.arange(where.start, where.stop)
                    for where, task in zip(self.widths, self.tasks, strict=True)
                    if task.spectrum.isotope == isotope
                ]
            )
            best = alone.optimise(parameters[own], _ITERATIONS)
            rng = np.random.default_rng(self.settings.seed)
            factor = np.linalg.cholesky(np.linalg.inv(alone.precision))
            for _ in range(_RESTARTS):
                start = alone.mean + factor @ rng.normal(size=len(own))
                start[2 + 2 * len(self.tables[isotope]) :] = parameters[own][2 + 2 * len(self.tables[isotope]) :]
                found = alone.optimise(start, _ITERATIONS, None, best[1].objective)
                if found[1].objective < best[1].objective - _CONVERGED:
                    best = alone._rearranged(*found)
            attempt[own] = best[0]
        if np.array_equal(attempt, parameters):
            return parameters, state
        moved, fresh = self.optimise(attempt, _ITERATIONS)
        return self._rearranged(moved, fresh) if fresh.objective < state.objective else (parameters, state)

    def _is_explained(self, isotope: str, parameters: NDArray[np.float64], state: _State) -> bool:
        """Whether residuals and deviations of an isotope are no larger than they should be."""
        from scipy.stats import chi2

        where = self.slices[isotope]
        deviation = parameters[where] - self.mean[where]
        square = float(deviation @ self.precision[where, where] @ deviation)
        if chi2.sf(square, 2.0 + 2.0 * len(self.tables[isotope])) < _SUSPECT:
            return False
        left = [r for r, task in zip(state.residuals, self.tasks, strict=True) if task.spectrum.isotope == isotope]
        return all(float(chi2.sf(float(r @ r), len(r))) > _SUSPECT for r in left)

    def _rearranged(self, parameters: NDArray[np.float64], state: _State) -> tuple[NDArray[np.float64], _State]:
        """Try whether sites that went far from their predictions sit under each other's lines."""
        for _ in range(_REARRANGEMENTS):
            before = state.objective
            for attempt in self._proposals(parameters):
                moved, found = self.optimise(attempt, _ITERATIONS, None, state.objective)
                if found.objective < state.objective - _CONVERGED:
                    parameters, state = moved, found
                    break
            if state.objective >= before - 0.5:
                break
        return parameters, state

    def _proposals(self, parameters: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Other starts, most plausible first: two sites exchanged, or one site back at its prediction."""
        found: list[tuple[float, NDArray[np.float64]]] = []
        tables = {channel.task.spectrum.isotope: channel.table for channel in self.channels}
        for isotope, table in tables.items():
            n, where = len(table), self.slices[isotope]
            latent = parameters[where]
            scale = np.concatenate([table.delta_error, table.cq_error])
            for s in range(n):
                own = latent[[2 + s, 2 + n + s]] / scale[[s, n + s]]
                if np.abs(own).max() > _FAR:
                    attempt = parameters.copy()
                    attempt[where][[2 + s, 2 + n + s, 2 + 2 * n + s]] = 0.0
                    found.append((-0.5 * float(own @ own), attempt))
                for t in range(s):
                    pair = latent.copy()
                    rows = table.offset_rows @ latent[:2]
                    step = table.delta[t] + rows[t] - table.delta[s] - rows[s]
                    pair[2 + s], pair[2 + t] = latent[2 + t] + step, latent[2 + s] - step
                    step = table.cq[t] - table.cq[s]
                    pair[2 + n + s], pair[2 + n + t] = latent[2 + n + t] + step, latent[2 + n + s] - step
                    pair[2 + 2 * n + s], pair[2 + 2 * n + t] = latent[2 + 2 * n + t], latent[2 + 2 * n + s]
                    old, new = latent[2 : 2 + 2 * n] / scale, pair[2 : 2 + 2 * n] / scale
                    change = 0.5 * float(new @ new - old @ old)
                    if change < -1.0:
                        attempt = parameters.copy()
                        attempt[where] = pair
                        found.append((change, attempt))
        return [attempt for _, attempt in sorted(found, key=lambda pair: pair[0])[:_PROPOSALS]]

    def result(self, parameters: NDArray[np.float64], state: _State) -> JointFit:
        """Laplace evidence of the parameters at an optimum, and the likelihood of the amplitudes around it."""
        m, count = self.n_members, len(self.channels)
        jacobians, normal, _ = self.curvature(parameters, state)
        cross = np.zeros((len(parameters), count, m))
        own = np.zeros((count, m, count, m))
        pull = np.zeros((count, m))
        for k, columns in enumerate(state.columns):
            cross[self.columns_of(k), k] = jacobians[k] @ columns.T
            own[k, :, k] = columns @ columns.T
            pull[k] = columns @ state.residuals[k]
        flat = cross.reshape(len(parameters), count * m)
        matrix = own.reshape(count * m, count * m)
        matrix = matrix - flat.T @ np.linalg.solve(normal, flat)
        volumes = []
        for channel in self.channels:
            fraction = np.bincount(channel.table.member, channel.signals, m).mean() if len(channel.table) else 1.0
            volumes.append(channel.grid.frame / max(float(fraction), 1e-6))
        mean = np.array(state.amplitudes.by_spectrum).reshape(count, m)
        form = AmplitudeForm(mean, matrix.reshape(count, m, count, m),
                             pull, self.groups, np.array(volumes))  # fmt: skip
        log_evidence = -state.objective
        log_evidence += 0.5 * float(np.linalg.slogdet(self.precision)[1] - np.linalg.slogdet(normal)[1])
        misfit = 0.5 * sum(float(r @ r) for r in state.residuals)
        spread = np.asarray(np.linalg.inv(self.reduced(jacobians, normal, state)), dtype=float)
        spectra = self._spectra(parameters, state, normal, spread)
        return JointFit(log_evidence, state.objective, misfit, form, spectra)

    def _spectra(
        self,
        parameters: NDArray[np.float64],
        state: _State,
        normal: NDArray[np.float64],
        spread: NDArray[np.float64],
    ) -> dict[str, SpectrumFit]:
        from scipy.stats import chi2

        result = {}
        for isotope in self.isotopes:
            chosen = [k for k, task in enumerate(self.tasks) if task.spectrum.isotope == isotope]
            where = self.slices[isotope]
            deviation = parameters[where] - self.mean[where]
            prior = self.precision[where, where]
            informed = normal[where, where] - prior
            effective = max(1.0, float(np.trace(np.linalg.solve(normal[where, where], informed))))
            probabilities = []
            baselines = []
            for k in chosen:
                channel = self.channels[k]
                rest = channel.grid.intensity - state.amplitudes.by_spectrum[k] @ channel.columns(state.values[k][0])
                design = baseline_columns(channel.grid.axis)
                coefficients = np.linalg.lstsq(design * channel.weight[:, None], rest * channel.weight, rcond=None)[0]
                baselines.append(np.asarray(coefficients, dtype=float))
                width = math.exp(parameters[self.widths[k]][0])
                probabilities.append(residual_probabilities(channel.grid, rest - design @ coefficients, width))
            probabilities.append(float(chi2.sf(float(deviation @ prior @ deviation), effective)))
            result[isotope] = SpectrumFit(
                latent=parameters[where].copy(),
                latent_sd=np.sqrt(np.diagonal(spread))[where],
                offset_covariance=spread[where, where][:2, :2].copy(),
                broadenings=tuple(
                    (math.exp(g), math.exp(lo)) for g, lo in (parameters[self.widths[k]] for k in chosen)
                ),
                amplitudes=tuple(state.amplitudes.by_spectrum[k] for k in chosen),
                baselines=tuple(baselines),
                probabilities=tuple(probabilities),
            )
        return result


def _with_widths(
    mean: NDArray[np.float64], covariance: NDArray[np.float64], spread: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Prior of offsets and errors (2 + 2n), extended by the relative widths of the n sites."""
    n = (len(mean) - 2) // 2
    wider = np.zeros((len(mean) + n, len(mean) + n))
    wider[: len(mean), : len(mean)] = covariance
    wider[len(mean) :, len(mean) :] = spread**2 * np.eye(n)
    return np.concatenate([mean, np.zeros(n)]), wider


def _smoothed(grid: Grid, fwhm_ppm: float) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(grid.intensity, fwhm_ppm / 2.3548200450309493 / grid.step, mode="nearest"))
