"""What dipolar couplings to other nuclei do: build-up of cross polarisation, dephasing in REDOR and TRAPDOR.

Everything follows from sums of r^-6 over the neighbours of a site, through Van Vleck's second moments: no orientations,
no spin dynamics beyond them. Where theory only bounds a number, the error says so.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .constants import isotope as nucleus_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from ..structures.vocabulary import AtomicStructure

REACH_ANG = 12.0
"""Neighbours farther than that are left out: they add some percent to the sum of a site without near ones."""

_MU0_OVER_4PI, _HBAR = 1e-7, 1.054571817e-34

CP_FACTOR_LOG_SD = math.log(3.0)
"""Standard deviation of the logarithm of a rate of cross polarisation: the constant before the second moments, spinning
and mismatch are not known to better than a factor of three."""

REDOR_ERROR_FRACTION = 0.1
"""Relative error of a computed dephasing beside that of its approximation: distances, pulses and motion."""


GEOMETRY_ERROR = 0.25
"""Error of a full dephasing from not knowing directions; it falls with the square of the dephasing."""


def dipolar_coupling_hz(first: str, second: str, distance_ang: float) -> float:
    """Size of the dipolar coupling constant of two nuclei, mu0 hbar gamma gamma' / (8 pi^2 r^3), in Hz."""
    product = abs(nucleus_of(first).gamma_rad_per_s_t * nucleus_of(second).gamma_rad_per_s_t)
    return _MU0_OVER_4PI * _HBAR * product / (distance_ang * 1e-10) ** 3 / (2.0 * math.pi)


def second_moment(observed: str, partner: str, sum_per_ang6: float) -> float:
    """Van Vleck second moment of a site by unlike (or like, for two equal isotopes) spins, (rad/s)^2.

    4/15 S(S+1) or 3/5 I(I+1), times (mu0/4 pi gamma gamma' hbar)^2 times the sum of r^-6 in angstrom^-6 (Van Vleck,
    Phys. Rev. 74 (1948) 1168).
    """
    spin = nucleus_of(partner).spin
    factor = 3.0 / 5.0 if observed == partner else 4.0 / 15.0
    omega = 2.0 * math.pi * dipolar_coupling_hz(observed, partner, 1.0)
    return factor * spin * (spin + 1.0) * omega**2 * sum_per_ang6


def sums_over_neighbours(structure: AtomicStructure, atom: int, elements: Collection[str]) -> dict[str, float]:
    """Sum of r^-6, angstrom^-6, from an atom to all atoms of each element within ``REACH_ANG``, images included."""
    lattice, periodic = np.asarray(structure.lattice, dtype=float), np.array(structure.periodic)
    frac = np.asarray(structure.frac_coords, dtype=float)
    shifts = _shifts(lattice, periodic)
    found = {}
    for element in elements:
        chosen = [k for k, own in enumerate(structure.elements) if own == element]
        if not chosen:
            found[element] = 0.0
            continue
        difference = frac[chosen] - frac[atom]
        difference -= np.where(periodic, np.round(difference), 0.0)
        square = ((((difference[:, None] + shifts[None]) @ lattice) ** 2).sum(axis=2)).ravel()
        square = square[(square > 1e-6) & (square < REACH_ANG**2)]
        found[element] = float((square**-3).sum())
    return found


def hydrogen_sum(structure: AtomicStructure, atom: int) -> float:
    """Sum of r^-6 between hydrogens, angstrom^-6, about the hydrogen nearest to an atom; 0 without hydrogen."""
    from ase.geometry import get_distances

    hydrogens = [k for k, own in enumerate(structure.elements) if own == "H"]
    if not hydrogens:
        return 0.0
    cart = np.asarray(structure.frac_coords, dtype=float) @ np.asarray(structure.lattice, dtype=float)
    _, lengths = get_distances(cart[[atom]], cart[hydrogens], cell=structure.lattice, pbc=structure.periodic)
    order = np.argsort(lengths[0], kind="stable")
    nearest = next((hydrogens[k] for k in order.tolist() if hydrogens[k] != atom), hydrogens[0])
    return sums_over_neighbours(structure, nearest, ("H",))["H"]


def _shifts(lattice: NDArray[np.float64], periodic: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Lattice translations (m, 3) that can bring a wrapped vector within ``REACH_ANG``."""
    spacing = 1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    ranges = [
        np.arange(-n, n + 1) if is_periodic else np.array([0])
        for n, is_periodic in zip(np.ceil(REACH_ANG / spacing + 0.5).astype(int), periodic, strict=True)
    ]
    return np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3).astype(float)


def pair_dephasing(periods: float) -> float:
    """Powder REDOR dS/S0 of an isolated pair of spins 1/2 after N rotor periods, at lambda = N Tr D.

    1 - sqrt(2) pi / 4 J_(1/4)(sqrt(2) lambda) J_(-1/4)(sqrt(2) lambda) (Mueller, J. Magn. Reson. A 113 (1995) 81).
    """
    from scipy.special import jv

    if periods < 1e-9:
        return 0.0
    x = math.sqrt(2.0) * periods
    return 1.0 - math.sqrt(2.0) * math.pi / 4.0 * float(jv(0.25, x) * jv(-0.25, x))


def initial_dephasing(moment: float, time_s: float) -> float:
    """First term of dS/S0 by any number of spins 1/2: 4 / (3 pi^2) (N Tr)^2 M2.

    Bertmer and Eckert, Solid State Nucl. Magn. Reson. 15 (1999) 139; holds up to about 0.2.
    """
    return 4.0 / (3.0 * math.pi**2) * time_s**2 * moment


def redor_fraction(observed: str, partner: str, sum_per_ang6: float, time_ms: float) -> tuple[float, float]:
    """dS/S0 of a site by REDOR with spins 1/2, and its error; scaled by the partner's natural abundance beforehand.

    All geometries agree in the first term. Beyond it the curve lies about between that of one pair and that of many
    weak couplings, 1 - exp(-first term): their mean is returned, with half of their distance in the error. Two partners
    on one line with the site never dephase more than half of it; ``GEOMETRY_ERROR`` covers that.
    """
    first = initial_dephasing(second_moment(observed, partner, sum_per_ang6), time_ms * 1e-3)
    many = -math.expm1(-first)
    one = pair_dephasing(math.sqrt(first * 15.0 / 16.0))
    mean = 0.5 * (many + one)
    return mean, math.hypot(REDOR_ERROR_FRACTION * mean, 0.5 * abs(many - one), GEOMETRY_ERROR * mean**2, 0.02)


def trapdor_fraction(observed: str, partner: str, sum_per_ang6: float, time_ms: float) -> tuple[float, float]:
    """dS/S0 of a site by TRAPDOR with quadrupolar spins, bounded only: the middle of what is possible, and its spread.

    At least nothing is dephased (no passage is adiabatic: weak pulses, slow spinning or a large CQ), at most all states
    of the partner are mixed: 2S / (2S + 1) of the signal, approached with the whole second moment.
    """
    spin = nucleus_of(partner).spin
    first = initial_dephasing(second_moment(observed, partner, sum_per_ang6), time_ms * 1e-3)
    most = 2.0 * spin / (2.0 * spin + 1.0) * -math.expm1(-first)
    return 0.5 * most, math.hypot(most / math.sqrt(12.0), 0.02)


def cp_rate(observed: str, sum_h: float, sum_hh: float) -> float:
    """Rate 1 / T_IS of cross polarisation from 1H, per second: M2(IS) / sqrt(M2(II)).

    The form is that of a bath of strongly coupled protons (Demco, Tegenfeldt and Waugh, Phys. Rev. B 11 (1975) 4133;
    its constant is of order one); where protons are far from each other, M2(IS) takes the place of M2(II). Good to
    ``CP_FACTOR_LOG_SD``.
    """
    unlike = second_moment(observed, "1H", sum_h)
    if unlike <= 0:
        return 0.0
    return unlike / math.sqrt(max(second_moment("1H", "1H", sum_hh), unlike))


def cp_share(rate_per_s: float, contact_ms: float, t1rho_ms: float | None) -> float:
    """Share of the full signal after a contact time, averaged over the error of the rate.

    (1 - exp(-t / T_IS)) exp(-t / T1rho): Kolodziejski and Klinowski, Chem. Rev. 102 (2002) 613, for T_IS well below
    T1rho.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    rates = rate_per_s * np.exp(CP_FACTOR_LOG_SD * nodes)
    build = float(weights @ -np.expm1(-rates * contact_ms * 1e-3)) / float(weights.sum())
    return build * (math.exp(-contact_ms / t1rho_ms) if t1rho_ms is not None else 1.0)
