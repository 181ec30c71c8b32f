"""Lines that stand out of the noise, for a first look at a spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..vocabulary import Spectrum


@dataclass(frozen=True)
class FoundLine:
    """A maximum: position and full width at half height in ppm, height in units of the noise."""

    position_ppm: float
    width_ppm: float
    height_over_noise: float


def find_lines(spectrum: Spectrum, *, min_over_noise: float = 6.0, max_lines: int = 20) -> tuple[FoundLine, ...]:
    """Maxima of a spectrum that rise by ``min_over_noise`` above their surroundings, tallest first.

    The position is the vertex of the parabola through the highest point and its neighbours. A quadrupolar line shape
    can have several maxima; these are not sites.
    """
    from scipy.signal import find_peaks, peak_widths

    axis = np.asarray(spectrum.axis_ppm)
    values = np.asarray(spectrum.intensity)
    level = spectrum.noise
    tops, found = find_peaks(values, prominence=min_over_noise * level)
    if not len(tops):
        return ()
    _, _, left, right = peak_widths(values, tops, rel_height=0.5)
    points = np.arange(len(axis))
    lines = []
    for k, top in enumerate(tops):
        before, here, after = values[top - 1 : top + 2]
        bend = before - 2.0 * here + after
        shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
        position = float(np.interp(top + shift, points, axis))
        width = float(np.interp(right[k], points, axis) - np.interp(left[k], points, axis))
        lines.append(FoundLine(position, width, float(found["prominences"][k]) / level))
    return tuple(sorted(lines, key=lambda line: -line.height_over_noise)[:max_lines])
