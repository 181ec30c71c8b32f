"""Regions without signal, and the noise in them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_WINDOW = 16
"""Fewest points of a stretch that is judged as a whole."""

WINDOWS = 64
"""Into about how many stretches a long spectrum is cut."""

LENGTHS_PER_WINDOW = 40
"""A stretch holds this many correlation lengths, else its own parabola follows the noise."""

LEAST_WINDOWS = 12
"""Fewest stretches, however long the noise is correlated."""

PARABOLA_TAKES = 4.5
"""Variance that a parabola takes from correlated noise, times window over correlation length: 3 times the ratio of the
summed to the summed squared autocorrelation, which is 1 for a band-limited and 2 for a Lorentzian one."""

LEAST_QUIET = 4
"""With fewer quiet stretches than this the noise is an upper bound."""

FLOOR = 1e-4
"""Smallest noise as a part of the tallest point, so that a simulation without noise can be used."""


@dataclass(frozen=True)
class NoiseEstimate:
    """Noise of one point and where it was measured.

    Attributes
    ----------
    level
        Standard deviation of one point.
    quiet
        Shape (n,), bool: points in the regions without signal.
    correlation_points
        How many neighbouring points carry one independent value: 1 for white noise, 2 after zero filling once.
    is_upper_bound
        Whether too little of the window is free of signal to trust the level.
    """

    level: float
    quiet: NDArray[np.bool_]
    correlation_points: float
    is_upper_bound: bool

    def regions(self, axis_ppm: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
        """Signal-free regions (low, high) in ppm."""
        edges = np.flatnonzero(np.diff(np.concatenate([[0], self.quiet.astype(int), [0]])))
        return tuple((float(axis_ppm[a]), float(axis_ppm[b - 1])) for a, b in zip(edges[::2], edges[1::2], strict=True))


def estimate_noise(intensity: NDArray[np.float64]) -> float:
    """Standard deviation of one point's noise, from the regions without signal; see ``measure_noise``."""
    return measure_noise(intensity).level


def measure_noise(intensity: NDArray[np.float64]) -> NoiseEstimate:
    """Noise and signal-free regions of a spectrum, shape (n,).

    The spectrum is cut into stretches, and the standard deviation of each about its own parabola is taken. Stretches
    are
    quiet while their deviation is what the common noise makes probable: the level starts at the lower quartile and is
    the root mean square of the stretches within three standard errors, until nothing changes. Stretches whose mean lies
    off a smooth baseline through the others hold broad signal; they stay out of the regions.
    """
    values = np.asarray(intensity, dtype=float)
    size = min(max(MIN_WINDOW, len(values) // WINDOWS), max(4, len(values) // 2))
    tallest = float(np.abs(values - np.median(values)).max())
    while True:
        count = max(1, len(values) // size)
        cut = values[: count * size].reshape(count, size)
        degree = 2 if size >= MIN_WINDOW else 1
        basis = np.linalg.qr(np.vander(np.linspace(-1.0, 1.0, size), degree + 1))[0]
        residual = cut - (cut @ basis) @ basis.T
        spread = np.sqrt((residual**2).sum(axis=1) / (size - degree - 1))
        alive = spread > 1e-9 * tallest  # zeros that pad a spectrum are no noise
        if not alive.any():
            return NoiseEstimate(FLOOR * tallest, np.ones(len(values), dtype=bool), 1.0, is_upper_bound=True)
        quiet, level, length = _quiet_stretches(spread, residual, alive, size)
        if size >= LENGTHS_PER_WINDOW * length or 2 * size > len(values) // LEAST_WINDOWS:
            break
        size *= 2
    means = cut.mean(axis=1)
    flat = _on_baseline(means, quiet, level * math.sqrt(length / size))
    mask = np.zeros(len(values), dtype=bool)
    mask[: count * size] = np.repeat(flat, size)
    if flat[-1]:
        mask[count * size :] = True
    return NoiseEstimate(
        level=max(level, FLOOR * tallest),
        quiet=mask,
        correlation_points=max(1.0, length),
        is_upper_bound=int(quiet.sum()) < min(LEAST_QUIET, count),
    )


def _quiet_stretches(
    spread: NDArray[np.float64], residual: NDArray[np.float64], alive: NDArray[np.bool_], size: int
) -> tuple[NDArray[np.bool_], float, float]:
    """Which stretches hold noise alone, its level, and its correlation length in points."""
    level = float(np.quantile(spread[alive], 0.25))
    quiet = alive & (spread <= level)
    length = 1.0
    for _ in range(50):
        length = _correlation_length(residual[quiet])
        error = level / math.sqrt(2.0 * max(2.0, size / length - 2.0))
        chosen = alive & (np.abs(spread - level) < 3.0 * error)
        if not chosen.any():
            break
        updated = float(np.sqrt(np.mean(spread[chosen] ** 2)))
        done = bool((chosen == quiet).all())
        quiet, level = chosen, updated
        if done:
            break
    # the parabola takes three values' worth of variance, each as long as the noise is correlated
    taken = min(0.6, PARABOLA_TAKES * (length - 1.0) / size)
    return quiet, level / math.sqrt(1.0 - taken), length


def _correlation_length(residual: NDArray[np.float64]) -> float:
    """One plus twice the summed squared autocorrelation of neighbours, until it is lost in its own scatter."""
    if not len(residual):
        return 1.0
    size = residual.shape[1]
    variance = float(np.mean(residual**2))
    if variance <= 0:
        return 1.0
    total = 1.0
    scatter = 2.0 / math.sqrt(residual.size)
    for lag in range(1, max(2, size // 4)):
        rho = float(np.mean(residual[:, lag:] * residual[:, :-lag])) / variance
        if abs(rho) < scatter + 2.0 / size:
            break
        total += 2.0 * rho**2
    return total


def _on_baseline(means: NDArray[np.float64], quiet: NDArray[np.bool_], error: float) -> NDArray[np.bool_]:
    """Quiet stretches whose mean lies on a smooth baseline (up to a cubic) through the quiet stretches."""
    kept = quiet.copy()
    x = np.linspace(-1.0, 1.0, len(means))
    for _ in range(20):
        n_kept = int(kept.sum())
        if n_kept < LEAST_QUIET:
            return quiet
        order = min(3, n_kept // 4)
        line = np.polyval(np.polyfit(x[kept], means[kept], order), x)
        off = means - line
        typical = max(error, 1.4826 * float(np.median(np.abs(off[kept]))))
        updated = quiet & (np.abs(off) < 4.0 * typical)
        if (updated == kept).all() or int(updated.sum()) < LEAST_QUIET:
            break
        kept = updated
    return kept
