"""Simple corrections on request: phase of zero and first order, and the baseline over signal-free regions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ...structures.vocabulary import Frozen
from .errors import CorrectionError
from .noise import measure_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .raw import RawSpectrum

STIFFEST = 1e14
"""Largest penalty with which the banded equations of ``als`` are still solved accurately."""


class Correction(Frozen):
    """What is changed in a spectrum before it is used; by default nothing.

    Attributes
    ----------
    phase_zero_deg, phase_first_deg
        The spectrum is multiplied by exp(i (phase_zero + phase_first (x - pivot) / width)), with the width of the
        whole window.
    pivot_ppm
        Where the first-order phase is zero; by default the tallest point.
    baseline
        ``polynomial`` through the signal-free regions, or ``als``: asymmetrically reweighted penalised least squares
        over the whole window (arPLS, Baek et al., Analyst 140 (2015) 250).
    order
        Order of the polynomial.
    smoothness
        Penalty of the second derivative in ``als`` for 1000 points; it grows with the fourth power of their number, so
        that a spectrum with more points gets the same baseline.
    regions_ppm
        Signal-free regions (low, high); by default found from the noise.
    """

    phase_zero_deg: float = 0.0
    phase_first_deg: float = 0.0
    pivot_ppm: float | None = None
    baseline: Literal["none", "polynomial", "als"] = "none"
    order: int = Field(default=3, ge=0, le=8)
    smoothness: float = Field(default=1e7, gt=0)
    regions_ppm: tuple[tuple[float, float], ...] = ()

    @model_validator(mode="after")
    def _regions_are_ordered(self) -> Self:
        for low, high in self.regions_ppm:
            if low >= high:
                raise ValueError(f"the region {low:g} to {high:g} ppm is empty; give the lower edge first")
        return self

    @property
    def changes_phase(self) -> bool:
        """Whether a phase is applied."""
        return self.phase_zero_deg != 0.0 or self.phase_first_deg != 0.0


@dataclass(frozen=True)
class Corrected:
    """A corrected spectrum, and what was taken away: the baseline (n,) or None, and the regions it was fitted to."""

    raw: RawSpectrum
    baseline: NDArray[np.float64] | None
    fitted: NDArray[np.bool_] | None


def apply_correction(raw: RawSpectrum, correction: Correction, where: str) -> Corrected:
    """Change phase, then baseline.

    Raises
    ------
    CorrectionError
        If there is no imaginary part for a phase, or no signal-free region for a polynomial.
    """
    notes = list(raw.notes)
    values = raw.values
    if correction.changes_phase:
        values = _phased(raw, correction, where)
        notes.append(
            f"phase changed by {correction.phase_zero_deg:g} degrees, and {correction.phase_first_deg:g} degrees over "
            "the window"
        )
    if correction.baseline == "none":
        return Corrected(replace(raw, values=values, notes=tuple(notes)), None, None)
    baseline, fitted = _baseline(raw.axis_ppm, values.real, correction, where)
    what = (
        f"of order {correction.order}"
        if correction.baseline == "polynomial"
        else f"smoothness {correction.smoothness:g}"
    )
    notes.append(f"baseline taken away: {correction.baseline} {what}")
    return Corrected(replace(raw, values=values - baseline, notes=tuple(notes)), baseline, fitted)


def _phased(raw: RawSpectrum, correction: Correction, where: str) -> NDArray[np.complex128]:
    if not raw.has_imaginary:
        raise CorrectionError(
            f"{where}: the phase cannot be changed without an imaginary part; export both parts, or read the fid"
        )
    axis = raw.axis_ppm
    pivot = correction.pivot_ppm
    if pivot is None:
        pivot = float(axis[int(np.argmax(np.abs(raw.values)))])
    angle = correction.phase_zero_deg + correction.phase_first_deg * (axis - pivot) / (axis[-1] - axis[0])
    return np.asarray(raw.values * np.exp(1j * np.deg2rad(angle)), dtype=complex)


def _baseline(
    axis: NDArray[np.float64], intensity: NDArray[np.float64], correction: Correction, where: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Baseline (n,) and the points it was fitted to."""
    if correction.regions_ppm:
        chosen = np.zeros(len(axis), dtype=bool)
        for low, high in correction.regions_ppm:
            chosen |= (axis >= low) & (axis <= high)
    else:
        chosen = measure_noise(intensity).quiet
    if correction.baseline == "polynomial":
        if int(chosen.sum()) < 3 * (correction.order + 1):
            raise CorrectionError(
                f"{where}: {int(chosen.sum())} points are free of signal, too few for a baseline of order "
                f"{correction.order}; give regions_ppm inside {axis[0]:g} to {axis[-1]:g} ppm, or a lower order"
            )
        scaled = 2.0 * (axis - axis[0]) / (axis[-1] - axis[0]) - 1.0
        fitted = np.polynomial.Chebyshev.fit(scaled[chosen], intensity[chosen], correction.order, domain=[-1, 1])
        return np.asarray(fitted(scaled), dtype=float), chosen
    from pybaselines import Baseline

    penalty = min(STIFFEST, correction.smoothness * (len(axis) / 1000.0) ** 4)
    found, parameters = Baseline(axis).arpls(intensity, lam=penalty, max_iter=100)
    return np.asarray(found, dtype=float), np.asarray(parameters["weights"] > 0.5)
