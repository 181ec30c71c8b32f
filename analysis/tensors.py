"""Conventions of shielding, shift and field-gradient tensors, converted by name.

Shielding becomes shift through ``slope`` (negative), so a shift tensor is ``intercept + slope * sigma``.
Only the symmetric part of a tensor enters anisotropy and line shapes; the isotropic part is trace / 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from ..structures.errors import SurfshiftError
from ..structures.vocabulary import Frozen
from .constants import BARN_AU_TO_MHZ, Isotope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    TensorLike = NDArray[np.float64] | Sequence[Sequence[float]]


class TensorError(SurfshiftError):
    """A tensor of the wrong shape, not finite, or a nucleus that has no such interaction."""


class HaeberlenShift(Frozen):
    """Chemical shift tensor after Haeberlen, on the shift scale, ppm.

    Principal values are ordered |dzz - iso| >= |dxx - iso| >= |dyy - iso|;
    ``zeta_ppm = dzz - iso`` (with sign) and ``eta = (dyy - dxx) / zeta``.
    """

    iso_ppm: float
    zeta_ppm: float
    eta: float = Field(ge=0, le=1)

    def principal_values(self) -> NDArray[np.float64]:
        """Shape (3,): dxx, dyy, dzz in ppm, in Haeberlen's order."""
        half = 0.5 * self.zeta_ppm
        return self.iso_ppm + np.array([-half * (1 + self.eta), -half * (1 - self.eta), self.zeta_ppm])


class HerzfeldBergerShift(Frozen):
    """Chemical shift tensor after Herzfeld and Berger (Maryland), ppm.

    With d11 >= d22 >= d33: ``span_ppm = d11 - d33`` and ``skew = 3 (d22 - iso) / span``.
    """

    iso_ppm: float
    span_ppm: float = Field(ge=0)
    skew: float = Field(ge=-1, le=1)

    def principal_values(self) -> NDArray[np.float64]:
        """Shape (3,): d11 >= d22 >= d33 in ppm."""
        d22 = self.iso_ppm + self.skew * self.span_ppm / 3.0
        rest = 3.0 * self.iso_ppm - d22
        return np.array([(rest + self.span_ppm) / 2.0, d22, (rest - self.span_ppm) / 2.0])


class Quadrupole(Frozen):
    """Quadrupolar coupling: CQ in MHz with the sign of Q * Vzz, and the asymmetry eta."""

    cq_mhz: float
    eta: float = Field(ge=0, le=1)


def _checked(tensor: TensorLike) -> NDArray[np.float64]:
    array = np.asarray(tensor, dtype=float)
    if array.shape != (3, 3) or not np.isfinite(array).all():
        raise TensorError(f"a tensor needs 3 x 3 finite numbers, got shape {array.shape}: {array.tolist()}")
    return array


def _unit_interval(value: float) -> float:
    return float(min(1.0, max(0.0, value)))


def isotropic(tensor: TensorLike) -> float:
    """Trace / 3 of a (3, 3) tensor, in its own unit."""
    return float(np.trace(_checked(tensor)) / 3.0)


def symmetric_part(tensor: TensorLike) -> NDArray[np.float64]:
    """(T + T^t) / 2 of a (3, 3) tensor."""
    array = _checked(tensor)
    return 0.5 * (array + array.T)


def _principal(tensor: TensorLike) -> NDArray[np.float64]:
    return np.asarray(np.linalg.eigvalsh(symmetric_part(tensor)), dtype=float)


def shift_tensor(shielding_ppm: TensorLike, *, slope: float, intercept_ppm: float) -> NDArray[np.float64]:
    """Chemical shift tensor (3, 3) in ppm from a shielding tensor in ppm: intercept on the diagonal + slope * sigma."""
    return intercept_ppm * np.eye(3) + slope * _checked(shielding_ppm)


def haeberlen_from_values(principal_ppm: Sequence[float] | NDArray[np.float64]) -> HaeberlenShift:
    """Haeberlen parameters from three principal shifts in ppm, in any order."""
    values = np.asarray(principal_ppm, dtype=float)
    iso = float(values.mean())
    yy, xx, zz = sorted(values - iso, key=abs)
    eta = 0.0 if zz == 0.0 else _unit_interval((yy - xx) / zz)
    return HaeberlenShift(iso_ppm=iso, zeta_ppm=float(zz), eta=eta)


def herzfeld_berger_from_values(principal_ppm: Sequence[float] | NDArray[np.float64]) -> HerzfeldBergerShift:
    """Span and skew from three principal shifts in ppm, in any order."""
    d33, d22, d11 = np.sort(np.asarray(principal_ppm, dtype=float))
    iso, span = float((d11 + d22 + d33) / 3.0), float(d11 - d33)
    skew = 0.0 if span == 0.0 else float(np.clip(3.0 * (d22 - iso) / span, -1.0, 1.0))
    return HerzfeldBergerShift(iso_ppm=iso, span_ppm=span, skew=skew)


def haeberlen(shift_ppm: TensorLike) -> HaeberlenShift:
    """Haeberlen parameters of the symmetric part of a (3, 3) shift tensor in ppm."""
    return haeberlen_from_values(_principal(shift_ppm))


def herzfeld_berger(shift_ppm: TensorLike) -> HerzfeldBergerShift:
    """Span and skew of the symmetric part of a (3, 3) shift tensor in ppm."""
    return herzfeld_berger_from_values(_principal(shift_ppm))


def to_herzfeld_berger(shift: HaeberlenShift) -> HerzfeldBergerShift:
    """The same tensor in the Herzfeld-Berger convention."""
    return herzfeld_berger_from_values(shift.principal_values())


def to_haeberlen(shift: HerzfeldBergerShift) -> HaeberlenShift:
    """The same tensor in the Haeberlen convention."""
    return haeberlen_from_values(shift.principal_values())


def quadrupole(efg_au: TensorLike, nucleus: Isotope) -> Quadrupole:
    """Quadrupolar coupling from an EFG tensor (3, 3) in atomic units.

    CQ = 234.9648 MHz * Q[barn] * Vzz[a.u.], with |Vzz| >= |Vyy| >= |Vxx| and eta = (Vxx - Vyy) / Vzz.
    The sign of CQ follows the sign convention of the EFG; compare magnitudes between codes.

    Raises
    ------
    TensorError
        If the tensor is not 3 x 3 and finite, or has a trace above 1e-3 of its largest element.
    """
    array = symmetric_part(efg_au)
    scale = float(np.abs(array).max())
    if abs(np.trace(array)) > 1e-3 * max(scale, 1e-3):
        raise TensorError(
            f"an EFG tensor is traceless; this one has trace {np.trace(array):.3g} a.u.: {array.tolist()}"
        )
    vxx, vyy, vzz = sorted(np.linalg.eigvalsh(array), key=abs)
    eta = 0.0 if vzz == 0.0 else _unit_interval((vxx - vyy) / vzz)
    return Quadrupole(cq_mhz=float(BARN_AU_TO_MHZ * nucleus.quadrupole_barn * vzz), eta=eta)


def second_order_shift_ppm(nucleus: Isotope, *, cq_mhz: float, eta: float, larmor_mhz: float) -> float:
    """Second-order quadrupolar shift of the central transition's centre of gravity, ppm (never positive).

    -(3/40) (PQ/nu0)^2 [I(I+1) - 3/4] / [I^2 (2I-1)^2] * 1e6 with PQ = CQ sqrt(1 + eta^2/3)
    (Samoson, Chem. Phys. Lett. 119 (1985) 29). Zero for nuclei without a central transition.
    """
    if not nucleus.is_half_integer_quadrupolar:
        return 0.0
    spin = nucleus.spin
    factor = (spin * (spin + 1.0) - 0.75) / (spin**2 * (2.0 * spin - 1.0) ** 2)
    return -0.075 * (cq_mhz / larmor_mhz) ** 2 * (1.0 + eta**2 / 3.0) * factor * 1e6


def second_order_width_ppm(
    nucleus: Isotope, *, cq_mhz: float, eta: float, larmor_mhz: float, is_spinning: bool = True
) -> float:
    """Full width of the central transition's second-order powder pattern, ppm.

    (nuQ/nu0)^2 [I(I+1) - 3/4] (6 + eta)^2 / 504 under fast spinning, (25 + 22 eta + eta^2) / 144 at rest,
    nuQ = 3 CQ / (2I (2I-1)) (Freude, Encyclopedia of Analytical Chemistry, 2000). Zero for nuclei without a
    central transition.
    """
    if not nucleus.is_half_integer_quadrupolar:
        return 0.0
    spin = nucleus.spin
    nu_q = 3.0 * cq_mhz / (2.0 * spin * (2.0 * spin - 1.0))
    shape = (6.0 + eta) ** 2 / 504.0 if is_spinning else (25.0 + 22.0 * eta + eta**2) / 144.0
    return (nu_q / larmor_mhz) ** 2 * (spin * (spin + 1.0) - 0.75) * shape * 1e6
