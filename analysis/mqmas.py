"""Isotropic dimension of multiple-quantum experiments on half-integer quadrupolar nuclei."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..structures.errors import SurfshiftError
from .constants import isotope as nucleus_of
from .constants import larmor_mhz
from .tensors import second_order_shift_ppm

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


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
    return delta_iso_ppm - 10.0 / 17.0 * induced


def triple_quantum_line(axis_ppm: ArrayLike, position_ppm: float, fwhm_ppm: float) -> NDArray[np.float64]:
    """Isotropic projection of one site, density per ppm (m,): all anisotropies refocus, the broadening stays."""
    sigma = fwhm_ppm / 2.3548200450309493
    x = (np.asarray(axis_ppm, dtype=float) - position_ppm) / sigma
    return np.asarray(np.exp(-0.5 * x**2) / (sigma * math.sqrt(2.0 * math.pi)))
