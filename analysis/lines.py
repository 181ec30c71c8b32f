"""Powder line shapes of single sites, simulated with mrsimulator.

A shape depends only on the anisotropies, the field and the spinning rate; the isotropic shift moves it. So a
shape is simulated once about zero shift (and kept), and placed on any axis afterwards. Spin-1/2 nuclei
show their shift anisotropy with sidebands; half-integer quadrupolar nuclei show the central transition to second order.
Integer spins (6Li) are treated as if their quadrupole coupling were zero.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..structures.errors import SurfshiftError
from .constants import isotope as nucleus_of
from .constants import larmor_mhz
from .tensors import second_order_width_ppm

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .vocabulary import PredictedSite

INFINITE_SPINNING_HZ = math.inf
"""Spinning rate of the sideband-free limit."""

_INTEGRATION_DENSITY = 70
_MAX_SIDEBANDS = 256
_MAX_POINTS = 32768
_RESOLUTION_PPM = 0.05


class LineShapeError(SurfshiftError):
    """Parameters for which no line shape exists."""


class Shape(NamedTuple):
    """A line shape about zero isotropic shift: ascending ppm axis (n,) and density per ppm (n,), of unit area."""

    axis_ppm: NDArray[np.float64]
    density: NDArray[np.float64]

    @property
    def step_ppm(self) -> float:
        """Spacing of the axis."""
        return float(self.axis_ppm[1] - self.axis_ppm[0])

    @property
    def centre_of_gravity_ppm(self) -> float:
        """First moment of the shape, ppm from the isotropic shift."""
        return float(self.axis_ppm @ self.density / self.density.sum())


def shape(
    isotope: str,
    *,
    field_tesla: float,
    mas_rate_hz: float = INFINITE_SPINNING_HZ,
    zeta_csa_ppm: float = 0.0,
    eta_csa: float = 0.0,
    cq_mhz: float = 0.0,
    eta_q: float = 0.0,
) -> Shape:
    """Line shape about zero isotropic shift, with unit area over all of its sidebands.

    Parameters
    ----------
    isotope, field_tesla
        Nucleus and field in tesla.
    mas_rate_hz
        Spinning rate at the magic angle in Hz; 0 is a static powder, ``math.inf`` shows no sidebands.
    zeta_csa_ppm, eta_csa
        Shift anisotropy after Haeberlen on the shift scale.
    cq_mhz, eta_q
        Quadrupolar coupling; its sign does not matter. The tensors are taken as coaxial.

    Raises
    ------
    LineShapeError
        If a value is not finite or out of range.
    """
    numbers = (field_tesla, zeta_csa_ppm, eta_csa, cq_mhz, eta_q)
    if not all(math.isfinite(value) for value in numbers) or field_tesla <= 0 or not mas_rate_hz >= 0:
        raise LineShapeError(
            f"a {isotope} line needs finite parameters, a field above 0 and a spinning rate of at least 0; got field "
            f"{field_tesla} T, rate {mas_rate_hz} Hz, zeta {zeta_csa_ppm} ppm, CQ {cq_mhz} MHz"
        )
    csa = (round(zeta_csa_ppm, 3), round(min(1.0, max(0.0, eta_csa)), 4))
    efg = (round(abs(cq_mhz), 5), round(min(1.0, max(0.0, eta_q)), 4))
    return _shape(isotope, float(field_tesla), float(mas_rate_hz), csa, efg)


@lru_cache(maxsize=4096)
def _shape(isotope: str, field: float, rate: float, csa: tuple[float, float], efg: tuple[float, float]) -> Shape:
    (zeta, _), (cq, eta_q) = csa, efg
    nucleus = nucleus_of(isotope)
    larmor = larmor_mhz(nucleus, field)
    is_central = nucleus.is_half_integer_quadrupolar and cq > 0
    static = 2.0 * abs(zeta)
    if is_central:
        static += second_order_width_ppm(nucleus, cq_mhz=cq, eta=eta_q, larmor_mhz=larmor, is_spinning=False)
    rate_ppm = rate / larmor
    has_sidebands = 0 < rate_ppm < 4.0 * static
    if static < _RESOLUTION_PPM:
        half = 1.0
    elif rate_ppm == 0 or has_sidebands:
        half = 1.2 * static + 8.0 * rate_ppm
    else:
        half = 1.2 * static
    half = max(half, 1.0)
    count = int(min(_MAX_POINTS, max(256, 2 ** math.ceil(math.log2(2.0 * half / _RESOLUTION_PPM)))))
    rate_used = rate if has_sidebands or rate_ppm == 0 else math.inf
    axis, density = _simulate(isotope, field, rate_used, csa, efg, half_ppm=half, count=count)
    total = density.sum() * (axis[1] - axis[0])
    if not total > 0:
        raise LineShapeError(f"the {isotope} line with zeta {zeta} ppm and CQ {cq} MHz came out without intensity")
    density = density / total
    axis.setflags(write=False)
    density.setflags(write=False)
    return Shape(axis, density)


def _simulate(
    isotope: str,
    field: float,
    rate: float,
    csa: tuple[float, float],
    efg: tuple[float, float],
    *,
    half_ppm: float,
    count: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    with warnings.catch_warnings():
        # mrsimulator 1.0 defines classes inside an enum, which Python 3.11 and later announce as a change
        warnings.simplefilter("ignore", DeprecationWarning)
        from mrsimulator import Simulator, Site, SpinSystem
        from mrsimulator.method import SpectralDimension
        from mrsimulator.method.lib import BlochDecayCTSpectrum, BlochDecaySpectrum

    nucleus = nucleus_of(isotope)
    is_central = nucleus.is_half_integer_quadrupolar
    coupling = {"quadrupolar": {"Cq": efg[0] * 1e6, "eta": efg[1]}} if is_central and efg[0] > 0 else {}
    site = Site(
        isotope=isotope if is_central or not nucleus.is_quadrupolar else "1H",
        isotropic_chemical_shift=0.0,
        shielding_symmetric={"zeta": -csa[0], "eta": csa[1]},  # shielding scale: opposite sign of the shift
        **coupling,
    )
    # An integer spin without coupling has the shape of a spin 1/2; only the Larmor frequency matters then.
    stand_in = nucleus_of(site.isotope.symbol)
    field_in = field * abs(nucleus.gamma_rad_per_s_t / stand_in.gamma_rad_per_s_t)
    make = BlochDecayCTSpectrum if is_central else BlochDecaySpectrum
    width_hz = 2.0 * half_ppm * larmor_mhz(nucleus, field)
    method = make(
        channels=[site.isotope.symbol],
        magnetic_flux_density=field_in,
        rotor_frequency=rate,
        spectral_dimensions=[SpectralDimension(count=count, spectral_width=width_hz, reference_offset=0.0)],
    )
    simulator = Simulator(spin_systems=[SpinSystem(sites=[site])], methods=[method])
    simulator.config.integration_density = _INTEGRATION_DENSITY
    sidebands = 64
    if 0 < rate < math.inf:
        needed = 2.0 * width_hz / rate
        sidebands = min(_MAX_SIDEBANDS, 2 ** max(6, math.ceil(math.log2(needed))))
    simulator.config.number_of_sidebands = sidebands
    simulator.run()
    result = simulator.methods[0].simulation
    axis = np.asarray(result.x[0].coordinates.value, dtype=float)
    density = np.asarray(result.y[0].components[0].real, dtype=float)
    if axis[0] > axis[-1]:
        axis, density = axis[::-1], density[::-1]
    # mrsimulator divides hertz by the frequency of the reference compound, which differs by up to 0.1 %
    axis = axis * (2.0 * half_ppm / count / float(axis[1] - axis[0]))
    return axis.copy(), np.clip(density, 0.0, None)


def broadened(unit: Shape, fwhm_ppm: float) -> Shape:
    """A shape convolved with a Gaussian of the given full width at half maximum in ppm, on a wider axis."""
    if not fwhm_ppm > 0 or not math.isfinite(fwhm_ppm):
        raise LineShapeError(f"a broadening above 0 ppm is needed, got {fwhm_ppm}")
    from scipy.signal import fftconvolve

    sigma = fwhm_ppm / 2.3548200450309493
    axis, density = unit.axis_ppm, unit.density
    # a step of a tenth of the width resolves the Gaussian; points are shared out so that area and centre stay
    factor = 0.1 * fwhm_ppm / unit.step_ppm
    if factor > 1:
        coarse = axis[0] + np.arange(int((len(axis) - 1) / factor) + 2) * factor * unit.step_ppm
        position = np.arange(len(axis)) / factor
        left = position.astype(int)
        share = position - left
        shared = np.zeros(len(coarse))
        np.add.at(shared, left, density * (1.0 - share))
        np.add.at(shared, left + 1, density * share)
        axis, density = coarse, shared / factor
    step = float(axis[1] - axis[0])
    reach = math.ceil(5.0 * sigma / step) + 1
    kernel = np.exp(-0.5 * ((np.arange(2 * reach + 1, dtype=float) - reach) * step / sigma) ** 2)
    kernel /= kernel.sum()
    wide = axis[0] + step * np.arange(-reach, len(axis) + reach)
    return Shape(wide, np.clip(fftconvolve(density, kernel, mode="full"), 0.0, None))


def place(unit: Shape, axis_ppm: ArrayLike, delta_iso_ppm: float) -> NDArray[np.float64]:
    """Mean density per ppm of a shape within each interval of an ascending axis, shape (m,).

    The cumulative area is interpolated, so the sum over the axis times its spacing is exactly the area that lies
    inside the axis: 1 when the window holds all of the line, less when some lies outside.
    """
    axis = np.asarray(axis_ppm, dtype=float)
    middle = 0.5 * (axis[1:] + axis[:-1])
    edges = np.concatenate([[axis[0] - (middle[0] - axis[0])], middle, [axis[-1] + (axis[-1] - middle[-1])]])
    step = unit.step_ppm
    cumulative = np.concatenate([[0.0], np.cumsum(unit.density) * step])
    borders = np.concatenate([unit.axis_ppm - 0.5 * step, [unit.axis_ppm[-1] + 0.5 * step]])
    area = np.interp(edges - delta_iso_ppm, borders, cumulative)
    result: NDArray[np.float64] = np.diff(area) / np.diff(edges)
    return result


def line(
    site: PredictedSite,
    axis_ppm: ArrayLike,
    field_tesla: float,
    mas_rate_hz: float = INFINITE_SPINNING_HZ,
    broadening_ppm: float = 1.0,
    *,
    delta_iso_ppm: float | None = None,
) -> NDArray[np.float64]:
    """Line of one site on an ascending ppm axis, intensity per ppm, shape (m,), of unit area over all frequencies.

    Parameters
    ----------
    site
        Isotropic shift, shift anisotropy and quadrupolar coupling of the site.
    axis_ppm
        Ascending axis (m,), ppm. Intensity outside of it is not folded back: the area on the axis is then below 1.
    field_tesla, mas_rate_hz
        Field in tesla and spinning rate in Hz (0 static, ``math.inf`` without sidebands).
    broadening_ppm
        Full width at half maximum of the Gaussian broadening, ppm.
    delta_iso_ppm
        Isotropic shift to use in place of the site's own.
    """
    axis = np.asarray(axis_ppm, dtype=float)
    if axis.ndim != 1 or len(axis) < 2 or not (np.diff(axis) > 0).all():
        raise LineShapeError("the axis of a line must be one-dimensional and ascending, with at least 2 points")
    unit = shape(
        site.isotope,
        field_tesla=field_tesla,
        mas_rate_hz=mas_rate_hz,
        zeta_csa_ppm=site.zeta_csa_ppm,
        eta_csa=site.eta_csa,
        cq_mhz=site.cq_mhz,
        eta_q=site.eta_q,
    )
    position = site.delta_iso_ppm if delta_iso_ppm is None else delta_iso_ppm
    return place(broadened(unit, broadening_ppm), axis, position)
