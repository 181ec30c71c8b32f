"""From a free induction decay to a spectrum: apodisation, zero filling, Fourier transform, phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from ...structures.vocabulary import Frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray


class FidSettings(Frozen):
    """How a free induction decay is transformed; None takes what the file's processing parameters say.

    ``line_broadening_hz`` is the full width that exponential apodisation adds (negative sharpens); ``points`` the
    length after zero filling; ``phase_zero_deg`` and ``phase_first_deg`` the phases over the whole window.
    """

    line_broadening_hz: float | None = None
    points: int | None = Field(default=None, ge=8)
    phase_zero_deg: float | None = None
    phase_first_deg: float | None = None


def transform(
    fid: NDArray[np.complex128],
    *,
    dwell_s: float,
    line_broadening_hz: float = 0.0,
    points: int | None = None,
    group_delay_points: float = 0.0,
    phase_zero_deg: float = 0.0,
    phase_first_deg: float = 0.0,
) -> NDArray[np.complex128]:
    """Spectrum with descending frequency, shape (points,), of a complex decay, shape (n,).

    The frequency of point i is ``centre + (points / 2 - i) / (points * dwell)``. A group delay of a digital filter
    is taken out as the first-order phase that it is. ``phase_first_deg`` runs from 0 at the first point to its
    value past the last, as in TopSpin.
    """
    time = dwell_s * np.arange(len(fid))
    shaped = np.conj(fid) * np.exp(-np.pi * line_broadening_hz * np.maximum(0.0, time - group_delay_points * dwell_s))
    if group_delay_points == 0:
        shaped[0] *= 0.5  # the sum over points is a trapezoid; a whole first point would lift the baseline
    length = points or 2 ** int(np.ceil(np.log2(max(8, 2 * len(fid)))))
    filled = np.zeros(length, dtype=complex)
    kept = min(len(shaped), length)
    filled[:kept] = shaped[:kept]
    index = np.arange(length)
    spectrum = np.fft.fftshift(np.fft.fft(filled))
    turn = 2.0 * np.pi * group_delay_points * (index - length // 2) / length
    phase = np.deg2rad(phase_zero_deg + phase_first_deg * index / length)
    return np.asarray(spectrum * np.exp(1j * (turn + phase)), dtype=complex)
