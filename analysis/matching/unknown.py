"""The rival of every explanation: a spectrum made of lines of compounds that are not in the list."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .spectra import baseline_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .spectra import Grid

MAX_LINES = 6
"""Most free Gaussian lines in a spectrum of unknown compounds."""


def unknown_log_evidence(
    grid: Grid, known: NDArray[np.float64], *, resolution_ppm: float, shift_range_ppm: float
) -> float:
    """Log evidence of a spectrum under known lines plus free Gaussian lines.

    Lines are added one by one where the residual is largest and then refined. Position (flat over the shift range),
    logarithm of the width (flat) and area (flat up to the area of the frame, as for candidates) are integrated after
    Laplace; the number of lines with the best evidence counts.

    Parameters
    ----------
    grid
        The spectrum as fitted.
    known
        (p, m) columns of candidates that are always present.
    resolution_ppm
        Scale of the narrowest line.
    shift_range_ppm
        Range of shifts of the nucleus; the window counts where it is wider.
    """
    from scipy.optimize import least_squares

    axis, count = grid.axis, len(grid.axis)
    span = float(np.ptp(axis))
    step = span / (count - 1)
    narrow, wide = max(1.5 * step, 0.2 * resolution_ppm), span / 4.0
    widths = np.geomspace(narrow, wide, 6)
    base = baseline_columns(axis)
    fixed = np.concatenate([known, base, -base], axis=1) / grid.error[:, None]
    target = grid.intensity / grid.error
    lower, upper = math.log(narrow), math.log(wide)

    def residual(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        return _residual(parameters, axis, fixed, target, grid.error)

    frame = span * float(np.ptp(grid.intensity))
    log_volume = math.log(max(span, shift_range_ppm)) + math.log(upper - lower) + math.log(frame)
    parameters = np.zeros(0)
    left = residual(parameters)
    best = -0.5 * float(left @ left)
    trial = np.exp(-0.5 * ((axis[:, None, None] - axis[None, ::3, None]) / widths[None, None, :]) ** 2)
    norms = np.sqrt(((trial / grid.error[:, None, None]) ** 2).sum(axis=0))
    for n_lines in range(1, MAX_LINES + 1):
        overlap = np.einsum("p,pcw->cw", left / grid.error, trial) / norms
        centre, width = np.unravel_index(int(np.argmax(overlap)), overlap.shape)
        start = np.concatenate([parameters, [axis[::3][centre], math.log(widths[width])]])
        low = np.tile([axis[0], lower - 1e-6], n_lines)
        high = np.tile([axis[-1], upper + 1e-6], n_lines)
        found = least_squares(
            residual,
            np.clip(start, low, high),
            bounds=(low, high),
            x_scale=np.tile([resolution_ppm, 0.3], n_lines),
            max_nfev=12,
        )
        parameters, left = np.asarray(found.x, dtype=float), np.asarray(found.fun, dtype=float)
        shapes = _gaussians(parameters, axis) / grid.error[:, None]
        jacobian = np.asarray(found.jac, dtype=float)
        log_det = float(np.linalg.slogdet(jacobian.T @ jacobian + 1e-6 * np.eye(2 * n_lines))[1])
        log_det += float(np.linalg.slogdet(shapes.T @ shapes + 1e-9 * np.eye(n_lines))[1])
        # equal lines can be numbered in n! ways
        occam = 1.5 * n_lines * math.log(2.0 * math.pi) - 0.5 * log_det - n_lines * log_volume
        log_evidence = -0.5 * float(left @ left) + min(occam + math.lgamma(n_lines + 1), 0.0)
        if log_evidence < best:
            break
        best = log_evidence
    return best


def _gaussians(parameters: NDArray[np.float64], axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lines (p, n) of unit area from n pairs of position and logarithm of the width."""
    centres, widths = parameters[0::2], np.exp(parameters[1::2])
    lines: NDArray[np.float64] = np.exp(-0.5 * ((axis[:, None] - centres) / widths) ** 2)
    return lines / (math.sqrt(2.0 * math.pi) * widths)


def _residual(
    parameters: NDArray[np.float64],
    axis: NDArray[np.float64],
    fixed: NDArray[np.float64],
    target: NDArray[np.float64],
    error: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Whitened residual after the best non-negative areas."""
    from scipy.optimize import nnls

    design = np.concatenate([_gaussians(parameters, axis) / error[:, None], fixed], axis=1)
    result: NDArray[np.float64] = target - design @ nnls(design, target)[0]
    return result
