"""Satellite transitions under spinning: manifolds of sidebands on either side of a central transition.

Their sidebands reach as far as the quadrupole frequency, and with a small coupling (7Li, 23Na, 27Al in symmetric sites)
many of them lie in the window of a spectrum. mrsimulator simulates each pair of transitions over its whole width;
the second-order shift of a pair is then taken out, so that its transform can be interpolated between couplings.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .constants import isotope as nucleus_of
from .constants import larmor_mhz
from .kernels import SiteKernels, SiteShape, centre
from .lines import LineShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_NODES = (-4.0, -2.0, 0.0, 2.0, 4.0)
"""Couplings at which a site is simulated, in units of its error about the predicted one."""

_STEP_HZ, _MAX_POINTS, _MAX_SIDEBANDS = 60.0, 2**17, 1024
_DENSITY = 30
_LEAST_MHZ = 1e-3
_NOTHING = 1e-5


def transition_weight(spin: float, order: int) -> float:
    """Intensity of the transitions (m, m - 1) and (1 - m, -m) with m = order + 1/2, over that of the central one.

    2 (I (I + 1) - m (m - 1)) / (I + 1/2)^2 after a short pulse that excites all alike.
    """
    m = order + 0.5
    return 2.0 * (spin * (spin + 1.0) - m * (m - 1.0)) / (spin + 0.5) ** 2


def shift_ratio(spin: float, order: int) -> float:
    """Second-order isotropic shift of those transitions over that of the central one.

    (I (I + 1) - 9 m (m - 1) - 3) / (I (I + 1) - 3/4), Samoson, Chem. Phys. Lett. 119 (1985) 29.
    """
    m = order + 0.5
    return (spin * (spin + 1.0) - 9.0 * m * (m - 1.0) - 3.0) / (spin * (spin + 1.0) - 0.75)


@lru_cache(maxsize=1024)
def satellite_pattern(
    isotope: str, field_tesla: float, mas_rate_hz: float, *, cq_mhz: float, eta: float, order: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ascending axis (n,), ppm from the isotropic shift, and density per ppm (n,), of unit area, of two transitions.

    They are (m, m - 1) and (1 - m, -m) with m = order + 1/2.

    Raises
    ------
    LineShapeError
        If the sample does not spin, or spins infinitely fast.
    """
    if not 0 < mas_rate_hz < math.inf:
        raise LineShapeError(f"satellite transitions need a finite spinning rate above 0, got {mas_rate_hz} Hz")
    with warnings.catch_warnings():
        # mrsimulator 1.0 defines classes inside an enum, which Python 3.11 and later announce as a change
        warnings.simplefilter("ignore", DeprecationWarning)
        from mrsimulator import Simulator, Site, SpinSystem
        from mrsimulator.method import Method, SpectralDimension, SpectralEvent

    nucleus = nucleus_of(isotope)
    larmor = larmor_mhz(nucleus, field_tesla)
    quadrupole_hz = 3.0 * cq_mhz * 1e6 / (2.0 * nucleus.spin * (2.0 * nucleus.spin - 1.0))
    width_hz = 2.4 * order * quadrupole_hz + 8.0 * mas_rate_hz
    count = int(min(_MAX_POINTS, 2 ** math.ceil(math.log2(width_hz / _STEP_HZ))))
    query = [{"ch1": {"P": [-1], "D": [2 * order]}}, {"ch1": {"P": [-1], "D": [-2 * order]}}]
    method = Method(
        channels=[isotope],
        magnetic_flux_density=field_tesla,
        rotor_frequency=mas_rate_hz,
        spectral_dimensions=[
            SpectralDimension(count=count, spectral_width=width_hz, events=[SpectralEvent(transition_queries=query)])
        ],
    )
    site = Site(isotope=isotope, isotropic_chemical_shift=0.0, quadrupolar={"Cq": cq_mhz * 1e6, "eta": eta})
    simulator = Simulator(spin_systems=[SpinSystem(sites=[site])], methods=[method])
    simulator.config.integration_density = _DENSITY
    simulator.config.number_of_sidebands = min(
        _MAX_SIDEBANDS, 2 ** max(6, math.ceil(math.log2(1.5 * width_hz / mas_rate_hz)))
    )
    simulator.run()
    found = simulator.methods[0].simulation
    density = np.clip(np.asarray(found.y[0].components[0].real, dtype=float), 0.0, None)
    step = width_hz / larmor / count
    axis: NDArray[np.float64] = (np.arange(count, dtype=np.float64) - count // 2) * step
    if float(found.x[0].coordinates.value[0]) > 0:
        # a descending axis with zero at index count // 2
        axis, density = -axis[::-1], density[::-1]
    total = float(density.sum()) * step
    if not total > 0:
        raise LineShapeError(f"satellites of {isotope} with a CQ of {cq_mhz} MHz came out without intensity")
    axis, density = axis.copy(), density / total
    axis.setflags(write=False)
    density.setflags(write=False)
    return axis, density


class SatelliteKernels:
    """Transforms of sites with their satellite transitions, as ``kernels.SiteKernels``.

    ``share`` is the intensity of the satellites over that after a short pulse. Between couplings the transform of
    each pair of transitions is interpolated (five nodes over four errors to either side). Disordered sites have none.
    """

    def __init__(
        self,
        sites: Sequence[SiteShape],
        isotope: str,
        field_tesla: float,
        mas_rate_hz: float,
        *,
        share: float,
        frequencies: NDArray[np.float64],
        window_ppm: tuple[float, float],
    ) -> None:
        self.central = SiteKernels(
            sites, isotope, field_tesla, mas_rate_hz, frequencies=frequencies, window_ppm=window_ppm
        )
        spin = nucleus_of(isotope).spin
        self.frequencies, self.sites, self.share = frequencies, tuple(sites), share
        self.orders = tuple(range(1, round(spin + 0.5)))
        self.weights = np.array([transition_weight(spin, order) for order in self.orders])
        self.ratios = np.array([shift_ratio(spin, order) for order in self.orders])
        self.has = [self.central.is_central[s] and not site.is_disordered for s, site in enumerate(sites)]
        self.nodes = np.array([[site.cq_mhz + k * self._spread(site) for k in _NODES] for site in sites])
        # (site, node, order, f), second-order shifts taken out
        self.table = np.zeros((len(sites), len(_NODES), len(self.orders), len(frequencies)), dtype=np.complex64)
        for s, site in enumerate(sites):
            if not self.has[s]:
                continue
            eta = round(min(1.0, max(0.0, site.eta_q)), 3)
            for n, cq in enumerate(self.nodes[s].tolist()):
                for k, order in enumerate(self.orders):
                    axis, density = satellite_pattern(
                        isotope, field_tesla, mas_rate_hz, cq_mhz=round(cq, 5), eta=eta, order=order
                    )
                    at = axis + site.delta_ppm
                    # between sidebands there is nothing
                    inside = (at > window_ppm[0]) & (at < window_ppm[1]) & (density > _NOTHING * density.max())
                    phase = np.exp(-2j * math.pi * np.outer(frequencies, axis[inside]))
                    own = phase @ (density[inside] * float(axis[1] - axis[0]))
                    self.table[s, n, k] = own * np.exp(2j * math.pi * frequencies * self._shifts(cq, site.eta_q)[k])

    def _spread(self, site: SiteShape) -> float:
        """Distance of two nodes' units, kept so that no node falls to a CQ of zero."""
        return min(max(site.cq_error_mhz, 0.005 * site.cq_mhz, _LEAST_MHZ), 0.2 * max(site.cq_mhz, _LEAST_MHZ))

    def _shifts(self, cq: float, eta: float) -> NDArray[np.float64]:
        """Second-order shift (orders,) of each pair of transitions, ppm."""
        return np.asarray(self.ratios * self.central.unit * cq**2 * float(centre(eta)))

    def evaluate(self, cq_mhz: NDArray[np.float64]) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """Transforms about zero shift (n, f) of all sites with the CQ given (n,), and derivatives per MHz (n, f)."""
        value, by_cq = (part.astype(np.complex128) for part in self.central.evaluate(cq_mhz))
        inside = np.clip(np.abs(cq_mhz), self.nodes[:, 0], self.nodes[:, -1])
        for s, cq in enumerate(inside.tolist()):
            if not self.has[s]:
                continue
            weights, slopes = _quartic(self.nodes[s], cq)
            shifts = self._shifts(cq, self.sites[s].eta_q)
            turn = np.exp(-2j * math.pi * np.outer(shifts, self.frequencies)) * (self.share * self.weights)[:, None]
            middle = np.einsum("n,nkf->kf", weights, self.table[s]) * turn
            change = np.einsum("n,nkf->kf", slopes, self.table[s]) * turn
            moved = middle * (-2j * math.pi * np.outer(2.0 * shifts / cq, self.frequencies))
            value[s] += middle.sum(axis=0)
            by_cq[s] += (change + moved).sum(axis=0)
        return value, by_cq


def _quartic(nodes: NDArray[np.float64], at: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (n,) of Lagrange interpolation through all nodes, and their derivatives."""
    polynomials = [
        np.poly1d(np.delete(nodes, k), r=True) / float(np.prod(nodes[k] - np.delete(nodes, k)))
        for k in range(len(nodes))
    ]
    return np.array([p(at) for p in polynomials]), np.array([p.deriv()(at) for p in polynomials])
