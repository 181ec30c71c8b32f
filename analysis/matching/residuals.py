"""Whether a residual still holds lines: the predictive check of a fitted spectrum."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .spectra import Grid

_WIDTHS = (1.0, 2.5)
_COHERENT = 6.0
"""What line shapes are off is the same over a line's width, and this much larger than the error of a point."""


def residual_probabilities(grid: Grid, residual: NDArray[np.float64], fwhm_ppm: float) -> float:
    """Probability that noise alone, over all places, gives a feature of a line's width as strong as the strongest.

    The residual (p,) is compared with Gaussians of one and of 2.5 line widths. Its spread is that of the noise plus
    the error of the line shapes, which is coherent over a line.
    """
    from scipy.stats import norm

    lowest = 1.0
    for factor in _WIDTHS:
        sigma = max(0.5, factor * fwhm_ppm / 2.3548200450309493 / grid.step)
        reach = min(math.ceil(3.0 * sigma), (len(residual) - 1) // 2)
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        seen = np.convolve(residual, kernel, mode="same")
        spread = grid.noise**2 * np.convolve(np.ones(len(residual)), kernel**2, mode="same")
        spread = spread + (_COHERENT * np.convolve(grid.model, kernel, mode="same")) ** 2
        strongest = float((np.abs(seen) / np.sqrt(spread)).max())
        places = max(1.0, len(residual) / (2.0 * sigma))
        single = 2.0 * float(norm.sf(strongest))
        lowest = min(lowest, -math.expm1(places * math.log1p(-min(single, 1.0 - 1e-16))))
    return min(1.0, len(_WIDTHS) * lowest)
