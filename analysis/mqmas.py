"""Isotropic dimension of multiple-quantum experiments on half-integer quadrupolar nuclei."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..structures.errors import SurfshiftError
from .constants import isotope as nucleus_of
from .constants import larmor_mhz
from .disorder import TYPICAL_ETA
from .tensors import second_order_shift_ppm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from .kernels import SiteShape


ISOTROPIC_SHARE = -10.0 / 17.0
"""Second-order shift in the isotropic dimension over that of the central transition."""

LEAST_MHZ, MOST_MHZ = 0.02, 1.5
"""Quadrupole frequency 3 CQ / (2 I (2 I - 1)) below and above which less than half is excited and converted, with
pulses of about 100 kHz: nothing without a coupling, little where it is 15 times the pulses. A rough guard, not a curve
of efficiency; intensities of MQMAS are not populations."""


class NotQuadrupolarError(SurfshiftError):
    """MQMAS asked of a nucleus that has no central transition."""


def triple_quantum_position_ppm(
    isotope: str, *, delta_iso_ppm: float, cq_mhz: float, eta: float, field_tesla: float
) -> float:
    """Position of a site in the sheared isotropic dimension of 3QMAS, ppm.

    delta_iso - (10/17) delta_Q for every spin, with delta_Q (negative) the second-order shift of the central
    transition, on the scale where the chemical shift has slope 1 (Massiot et al., Solid State Nucl. Magn. Reson. 6
    (1996) 73; Amoureux and Fernandez, ibid. 10 (1998) 211).

    Raises
    ------
    NotQuadrupolarError
        If the nucleus has no central transition.
    """
    nucleus = nucleus_of(isotope)
    if not nucleus.is_half_integer_quadrupolar:
        raise NotQuadrupolarError(
            f"{isotope} has spin {nucleus.spin}: MQMAS needs a half-integer spin above 1/2, for example 27Al"
        )
    induced = second_order_shift_ppm(nucleus, cq_mhz=cq_mhz, eta=eta, larmor_mhz=larmor_mhz(nucleus, field_tesla))
    return delta_iso_ppm + ISOTROPIC_SHARE * induced


def excitation(isotope: str, cq_mhz: ArrayLike) -> NDArray[np.float64]:
    """Share of a site's signal, 0 to 1, that MQMAS is taken to show for a coupling; 1 in a wide middle range."""
    spin = nucleus_of(isotope).spin
    frequency = np.maximum(3.0 * np.abs(np.asarray(cq_mhz, dtype=float)) / (2.0 * spin * (2.0 * spin - 1.0)), 1e-9)
    return np.asarray(1.0 / (1.0 + (LEAST_MHZ / frequency) ** 2) / (1.0 + (frequency / MOST_MHZ) ** 4))


class IsotropicKernels:
    """Transforms of sites in the isotropic dimension: no anisotropy, only a position that moves with CQ.

    As ``kernels.SiteKernels``. A disordered site has the distribution of positions that a Czjzek distribution of
    couplings gives: its squared coupling is 4 sigma^2 times a chi-square of five degrees of freedom, so that the
    transform is (1 + 2 i theta)^(-5/2).
    """

    def __init__(
        self, sites: Sequence[SiteShape], isotope: str, field_tesla: float, *, frequencies: NDArray[np.float64]
    ) -> None:
        nucleus = nucleus_of(isotope)
        larmor = larmor_mhz(nucleus, field_tesla)
        eta = [TYPICAL_ETA if site.is_disordered else site.eta_q for site in sites]
        self.per_square = np.array(
            [
                ISOTROPIC_SHARE * second_order_shift_ppm(nucleus, cq_mhz=1.0, eta=value, larmor_mhz=larmor)
                for value in eta
            ]
        )
        self.is_disordered = np.array([site.is_disordered for site in sites], dtype=bool)
        self.frequencies = frequencies

    def evaluate(self, cq_mhz: NDArray[np.float64]) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """Transforms about zero shift (n, f) of all sites with the CQ given (n,), and derivatives per MHz (n, f)."""
        turn = 2j * math.pi * np.outer(self.per_square * cq_mhz**2, self.frequencies)
        by_turn = turn * (2.0 / np.maximum(np.abs(cq_mhz), 1e-9))[:, None]
        spread = 1.0 + turn / 2.5
        value = np.where(self.is_disordered[:, None], spread**-2.5, np.exp(-turn))
        slope = np.where(self.is_disordered[:, None], -(spread**-3.5), -np.exp(-turn))
        return value, slope * by_turn


def triple_quantum_line(axis_ppm: ArrayLike, position_ppm: float, fwhm_ppm: float) -> NDArray[np.float64]:
    """Isotropic projection of one site, density per ppm (m,): all anisotropies refocus, the broadening stays."""
    sigma = fwhm_ppm / 2.3548200450309493
    x = (np.asarray(axis_ppm, dtype=float) - position_ppm) / sigma
    return np.asarray(np.exp(-0.5 * x**2) / (sigma * math.sqrt(2.0 * math.pi)))
