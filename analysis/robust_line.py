"""A line through points with errors in both variables and scatter that may have heavy tails.

The model is y = value + slope * x + e, with e from Student's distribution of unknown scale and degrees of freedom
(Lange et al., J. Am. Stat. Assoc. 84 (1989) 881), or from the normal one for few points. Known errors of x enter by the
effective variance and York's adjusted abscissae (York et al., Am. J. Phys. 72 (2004) 367). Scale and degrees of freedom
are integrated on a grid; for each grid point the line is found by weighted least squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROBUST_POINTS = 5
"""Fewest points for which outliers are told apart from scatter."""

LEARNT_POINTS = 15
"""Fewest points from which the weight of the tails is learnt; with fewer it is that of ``FEW_POINTS_DOF``."""

FEW_POINTS_DOF = 5.0
"""Degrees of freedom of the scatter of a few points: mild tails."""

DOF_GRID = (2.1, 2.5, 3.0, 4.0, 6.0, 10.0, 30.0)
"""Degrees of freedom that are tried, each with equal prior probability."""

NORMAL_95 = 1.959964
"""Half-width of the central 95 % of a normal distribution, in standard deviations."""


@dataclass(frozen=True)
class LineFit:
    """A line about a pivot, with the scatter of points about it.

    Attributes
    ----------
    slope, value
        Slope, and value at the pivot.
    covariance
        Shape (2, 2), of (slope, value).
    scale, dof
        Of the Student distribution that has the central 68 and 95 % intervals of the scatter; ``dof`` is None where the
        scatter is taken as normal.
    deviation
        Standard deviation of the normal distribution with the same central 95 % interval.
    """

    slope: float
    value: float
    covariance: NDArray[np.float64]
    scale: float
    dof: float | None
    deviation: float


def fit_line(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    x_error: NDArray[np.float64],
    y_error: NDArray[np.float64],
    typical_scatter: float,
    prior_points: float,
    slope_prior: tuple[float, float],
) -> LineFit:
    """Fit a line; all arrays have shape (n,), and x counts from the pivot.

    ``typical_scatter`` and ``prior_points`` are the scaled inverse chi-square prior of the scatter: its typical size
    and its weight in points; ``slope_prior`` is mean and standard deviation of the slope.
    """
    scatter = typical_scatter * np.geomspace(0.05, 20.0, 61)
    dofs = _degrees_of_freedom(len(y))
    log_prior = -prior_points * (np.log(scatter) + 0.5 * (typical_scatter / scatter) ** 2)
    fits = [_lines(x, y, x_error=x_error, y_error=y_error, scatter=scatter, prior=slope_prior, dof=dof) for dof in dofs]
    log_weight = np.array([likelihood + log_prior for likelihood, _, _ in fits])
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    lines = np.array([line for _, line, _ in fits])
    covariances = np.array([covariance for _, _, covariance in fits])
    line = np.einsum("fg,fgi->i", weight, lines)
    spread = lines - line
    covariance = np.einsum("fg,fgij->ij", weight, covariances) + np.einsum("fg,fgi,fgj->ij", weight, spread, spread)
    half_68, half_95 = (_half_width(level, scatter, dofs, weight) for level in (0.6827, 0.95))
    dof = None if dofs == (None,) else _dof_of_ratio(half_95 / half_68)
    return LineFit(
        slope=float(line[0]),
        value=float(line[1]),
        covariance=covariance,
        scale=half_68 / _quantile(0.6827, dof),
        dof=dof,
        deviation=half_95 / NORMAL_95,
    )


def _degrees_of_freedom(n_points: int) -> tuple[float | None, ...]:
    if n_points < ROBUST_POINTS:
        return (None,)
    return DOF_GRID if n_points >= LEARNT_POINTS else (FEW_POINTS_DOF,)


def _lines(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    x_error: NDArray[np.float64],
    y_error: NDArray[np.float64],
    scatter: NDArray[np.float64],
    prior: tuple[float, float],
    dof: float | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """For each of g scatters: marginal log likelihood (g,), lines (g, 2) as (slope, value), covariances (g, 2, 2).

    Exact for a normal scatter without errors of x; after Laplace otherwise.
    """
    mean, sd = prior
    n_scatter = len(scatter)
    slopes = np.full(n_scatter, mean)
    weights = np.ones((n_scatter, len(x)))
    adjusted = np.broadcast_to(x, weights.shape)
    own = y_error[None, :] ** 2 + scatter[:, None] ** 2
    variance = own + (slopes[:, None] * x_error) ** 2
    for _ in range(100 if dof is not None or x_error.any() else 1):
        inverse = weights / variance
        matrix = np.empty((n_scatter, 2, 2))
        matrix[:, 0, 0] = (inverse * adjusted) @ x + 1.0 / sd**2
        matrix[:, 0, 1] = (inverse * adjusted).sum(axis=1)
        matrix[:, 1, 0] = inverse @ x
        matrix[:, 1, 1] = inverse.sum(axis=1)
        right = np.stack([(inverse * adjusted) @ y + mean / sd**2, inverse @ y], axis=1)
        lines = np.asarray(np.linalg.solve(matrix, right[:, :, None])[:, :, 0], dtype=float)
        residual = y - lines[:, :1] * x - lines[:, 1:]
        change = float(np.abs(lines[:, 0] - slopes).max())
        slopes = lines[:, 0]
        variance = own + (slopes[:, None] * x_error) ** 2
        adjusted = x + slopes[:, None] * x_error**2 * residual / variance
        if dof is not None:
            updated = (dof + 1.0) / (dof + residual**2 / variance)
            change = max(change, float(np.abs(updated - weights).max()))
            weights = updated
        if change < 1e-7:
            break
    squares = residual**2 / variance
    inverse = weights / variance
    precision = np.empty((n_scatter, 2, 2))
    precision[:, 0, 0] = (inverse * adjusted**2).sum(axis=1) + 1.0 / sd**2
    precision[:, 0, 1] = precision[:, 1, 0] = (inverse * adjusted).sum(axis=1)
    precision[:, 1, 1] = inverse.sum(axis=1)
    covariances = np.asarray(np.linalg.inv(precision), dtype=float)
    tail = squares if dof is None else (dof + 1.0) * np.log1p(squares / dof)
    likelihood = -0.5 * (tail + np.log(variance)).sum(axis=1)
    if dof is not None:
        normal = math.lgamma(0.5 * (dof + 1.0)) - math.lgamma(0.5 * dof) - 0.5 * math.log(0.5 * dof)
        likelihood += len(x) * normal
    likelihood += 0.5 * np.linalg.slogdet(covariances)[1] - 0.5 * ((lines[:, 0] - mean) / sd) ** 2
    return likelihood, lines, covariances


def _quantile(level: float, dof: float | None) -> float:
    """Half-width of the central ``level`` of a unit Student or normal distribution."""
    from scipy import special

    upper = 0.5 + 0.5 * level
    return float(special.ndtri(upper) if dof is None else special.stdtrit(dof, upper))


def _half_width(
    level: float, scatter: NDArray[np.float64], dofs: tuple[float | None, ...], weight: NDArray[np.float64]
) -> float:
    """Half-width of the central ``level`` of the scatter, averaged over the grid of scales and tails."""
    from scipy import optimize, special

    degrees = np.array([np.inf if dof is None else dof for dof in dofs])[:, None]

    def inside(half: float) -> float:
        below = -half / scatter
        tail = special.ndtr(below) if dofs == (None,) else special.stdtr(degrees, below)
        return float((weight * (1.0 - 2.0 * tail)).sum()) - level

    return float(optimize.brentq(inside, 1e-6 * scatter[0], 1e6 * scatter[-1], xtol=1e-9 * scatter[-1]))


def _dof_of_ratio(ratio: float) -> float:
    """Degrees of freedom whose 95 and 68 % half-widths have a ratio; between 1.05 and 200."""
    from scipy import optimize

    def difference(log_dof: float) -> float:
        dof = math.exp(log_dof)
        return _quantile(0.95, dof) / _quantile(0.6827, dof) - ratio

    low, high = math.log(1.05), math.log(200.0)
    if difference(low) <= 0:
        return 1.05
    if difference(high) >= 0:
        return 200.0
    return math.exp(float(optimize.brentq(difference, low, high)))


def interval_half_width(level: float, *, scale: float, dof: float | None, line_variance: float) -> float:
    """Half-width of the central predictive interval of a new point: its scatter and the line's own variance."""
    return _quantile(level, dof) * math.sqrt(scale**2 + max(0.0, line_variance))
