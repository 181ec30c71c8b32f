"""Computed against published quadrupolar couplings: a factor near one, and an error with tails.

|CQ| (published) = factor * |CQ| (computed) + e. Couplings are compared by magnitude, since the sign flips near eta = 1
and between programs. In the 27Al calibration set the scatter is the same at 2 and at 10 MHz, so e does not grow with CQ
and is one Student distribution.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from ..structures.vocabulary import Frozen
from .reference_fit import ReferenceFitError
from .robust_line import fit_line, interval_half_width

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_PAIRS = 5
"""Fewest couplings of a fit."""

FACTOR_SD = 0.1
"""Prior standard deviation of the factor about 1."""

TYPICAL_ERROR = 0.1
"""Prior typical error, as a part of the median published coupling."""

NO_RELATIVE_PART = 1e-3
"""Relative error of a Reference whose coupling error is additive; the field must be above 0."""


class CouplingFit(Frozen):
    """How published couplings follow computed ones.

    ``factor`` and ``factor_error`` have no unit; ``scale_mhz`` and ``dof`` are those of the Student distribution of the
    error (normal where ``dof`` is None), ``error_mhz`` the standard deviation of the normal one with the same central
    95 % interval.
    """

    factor: float = Field(gt=0)
    factor_error: float = Field(ge=0)
    scale_mhz: float = Field(gt=0)
    dof: float | None = None
    error_mhz: float = Field(gt=0)
    n_pairs: int

    def interval(self, computed_mhz: float, level: float = 0.95) -> tuple[float, float]:
        """Central interval of the published coupling, MHz, at a computed one; not below 0."""
        size = abs(computed_mhz)
        half = interval_half_width(
            level, scale=self.scale_mhz, dof=self.dof, line_variance=(self.factor_error * size) ** 2
        )
        return max(0.0, self.factor * size - half), self.factor * size + half


def fit_couplings(
    computed_mhz: Sequence[float], published_mhz: Sequence[float], *, published_error_mhz: float = 0.05
) -> CouplingFit:
    """Fit factor and error of computed couplings; signs are ignored.

    Raises
    ------
    ReferenceFitError
        If there are fewer than five pairs, or a value is not finite.
    """
    x, y = np.abs(np.asarray(computed_mhz, dtype=float)), np.abs(np.asarray(published_mhz, dtype=float))
    if len(x) != len(y) or len(x) < MIN_PAIRS:
        raise ReferenceFitError(
            f"{len(x)} computed and {len(y)} published couplings were given; at least {MIN_PAIRS} pairs are needed"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ReferenceFitError("a coupling is not a finite number; leave that compound out")
    # Points mirrored through the origin force the line through it; every pair then counts half.
    fit = fit_line(
        np.concatenate([x, -x]),
        np.concatenate([y, -y]),
        x_error=np.zeros(2 * len(x)),
        y_error=np.full(2 * len(x), published_error_mhz),
        typical_scatter=max(0.05, TYPICAL_ERROR * float(np.median(y))),
        prior_points=4.0,
        slope_prior=(1.0, FACTOR_SD),
    )
    return CouplingFit(
        factor=fit.slope,
        factor_error=math.sqrt(2.0 * float(fit.covariance[0, 0])),
        scale_mhz=fit.scale,
        dof=fit.dof,
        error_mhz=fit.deviation,
        n_pairs=len(x),
    )
