"""Harmonic thermodynamics of a list of modes: a crystal's mesh, a slab, or the modes of an adsorbed molecule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...structures.errors import SurfshiftError
from .gases import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

THZ_EV = 4.135667696e-3
"""Planck's constant times 1 THz, eV (CODATA 2018, exact)."""

THZ_PER_CM = 0.0299792458
"""1/cm in THz."""

LEAST_THZ = 1e-4
"""What lies below is a translation or imaginary, and counts nowhere."""

EV_PER_K_J_PER_MOL_K = 96485.33212
"""1 eV/K per cell in J/(mol K) (CODATA 2018)."""


class ImaginaryModesError(SurfshiftError):
    """A free energy was asked of a structure that is no minimum."""


def _modes(frequencies_thz: ArrayLike, weights: ArrayLike | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Energies (eV) and shares of the modes that count: those above zero.

    ``frequencies_thz`` has shape (n_q, n_modes) with ``weights`` (n_q,), or (n_modes,) without.
    """
    frequencies = np.atleast_2d(np.asarray(frequencies_thz, dtype=float))
    share = np.ones(len(frequencies)) if weights is None else np.asarray(weights, dtype=float)
    if len(share) != len(frequencies):
        raise ValueError(f"{len(share)} weights for {len(frequencies)} q points; give one each")
    shares = np.broadcast_to((share / share.sum())[:, None], frequencies.shape)
    real = frequencies > LEAST_THZ
    return frequencies[real] * THZ_EV, shares[real]


def zero_point_energy_ev(frequencies_thz: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Half the sum of h nu, eV per cell. Frequencies of zero and below are left out.

    Parameters
    ----------
    frequencies_thz
        Shape (n_q, n_modes), or (n_modes,), THz.
    weights
        Weight of each q point, shape (n_q,); equal without.
    """
    energies, shares = _modes(frequencies_thz, weights)
    return float(0.5 * (energies * shares).sum())


def vibrational_free_energy_ev(
    frequencies_thz: ArrayLike, temperature_k: float, weights: ArrayLike | None = None
) -> float:
    """Helmholtz free energy of harmonic modes with their zero-point energy, eV per cell.

    F = sum of h nu / 2 + kT ln(1 - exp(-h nu / kT)); arguments as in ``zero_point_energy_ev``.
    """
    energies, shares = _modes(frequencies_thz, weights)
    zero_point = float(0.5 * (energies * shares).sum())
    if temperature_k <= 0:
        return zero_point
    kt = BOLTZMANN_EV_PER_K * temperature_k
    return zero_point + float((kt * np.log1p(-np.exp(-energies / kt)) * shares).sum())


def vibrational_entropy_ev_per_k(
    frequencies_thz: ArrayLike, temperature_k: float, weights: ArrayLike | None = None
) -> float:
    """Entropy of harmonic modes, eV/K per cell; arguments as in ``zero_point_energy_ev``."""
    if temperature_k <= 0:
        return 0.0
    energies, shares = _modes(frequencies_thz, weights)
    x = energies / (BOLTZMANN_EV_PER_K * temperature_k)
    return float((BOLTZMANN_EV_PER_K * (x / np.expm1(x) - np.log1p(-np.exp(-x))) * shares).sum())


def heat_capacity_ev_per_k(frequencies_thz: ArrayLike, temperature_k: float, weights: ArrayLike | None = None) -> float:
    """Heat capacity at constant volume, eV/K per cell; arguments as in ``zero_point_energy_ev``."""
    if temperature_k <= 0:
        return 0.0
    energies, shares = _modes(frequencies_thz, weights)
    half = energies / (2.0 * BOLTZMANN_EV_PER_K * temperature_k)
    # (x/2)^2 / sinh^2(x/2), written so that high frequencies do not overflow
    term = np.where(half < 300.0, half / np.sinh(np.minimum(half, 300.0)), 0.0) ** 2
    return float((BOLTZMANN_EV_PER_K * term * shares).sum())


def adsorbed_free_energy_ev(
    frequencies_thz: Sequence[float], temperature_k: float, *, least_frequency_cm: float = 50.0
) -> float:
    """Vibrational free energy of an adsorbed molecule, all of whose motions are vibrations, eV.

    Frequencies below ``least_frequency_cm`` are raised to it: the entropy of a harmonic mode has no upper limit at
    zero frequency, and such hindered motions are not harmonic.

    Raises
    ------
    ImaginaryModesError
        If a frequency is imaginary (negative): the molecule does not rest there.
    """
    if any(f < 0 for f in frequencies_thz):
        raise ImaginaryModesError(
            f"the lowest mode is imaginary, {min(frequencies_thz):.2f} THz: the molecule does not rest there; follow "
            "the mode to a minimum first"
        )
    floor = least_frequency_cm * THZ_PER_CM
    return vibrational_free_energy_ev([max(f, floor) for f in frequencies_thz], temperature_k)
