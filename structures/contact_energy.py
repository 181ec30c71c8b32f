"""A cheap energy of two ionic solids in contact: damped Coulomb forces and Born repulsion. It ranks, nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from .bonding import bond_valence_length
from .placement import COULOMB_EV_ANG, contact_limits, in_plane_shifts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .vocabulary import AtomicStructure

    Array = NDArray[np.float64]

CUTOFF_ANG = 6.5
DAMPING_PER_ANG = 0.2
"""Wolf's damping of the Coulomb sum (Wolf et al., J. Chem. Phys. 110, 8254 (1999)), 1/angstrom."""

BORN_EXPONENT = 9
"""Exponent of the repulsion (Born-Lande)."""

CHARGE_SHARE = 0.5
"""Formal charges are scaled by this, because bonds are partly covalent."""

TOUCH_EV = 5.0
"""Cost per unit of relative overlap of atoms that come closer than they may, eV."""


@dataclass(frozen=True)
class Contact:
    """The atoms of two slabs that face each other, in one in-plane cell, ready for any lateral shift.

    ``offsets`` are lateral vectors from an atom below to an atom above, ``rise`` their difference in height at gap
    zero; ``data`` holds product of charges, bond length and least distance of every pair.
    """

    cell: Array
    shifts: Array
    offsets: Array
    rise: Array
    data: Array

    @classmethod
    def between(cls, lower: AtomicStructure, upper: AtomicStructure) -> Contact:
        """Atoms near the upper face of ``lower`` and near the lower face of ``upper``."""
        below, above = lower.cart_coords, upper.cart_coords
        top, bottom = below[:, 2].max(), above[:, 2].min()
        near_below = np.flatnonzero(below[:, 2] > top - CUTOFF_ANG)
        near_above = np.flatnonzero(above[:, 2] < bottom + CUTOFF_ANG)
        cell = lower.lattice[:2, :2]
        kinds_below, rows_below = _kinds(lower, near_below)
        kinds_above, rows_above = _kinds(upper, near_above)
        table = np.array([[_pair_data(*first, *second) for second in kinds_below] for first in kinds_above])
        return cls(
            cell=cell,
            shifts=in_plane_shifts(lower.lattice, CUTOFF_ANG)[:, :2],
            offsets=above[near_above][:, None, :2] - below[near_below][None, :, :2],
            rise=(above[near_above, 2] - bottom)[:, None] - (below[near_below, 2] - top)[None, :],
            data=table[rows_above][:, rows_below],
        )

    def pairs(self, shift_ang: Array) -> ContactPairs:
        """All pairs within the cutoff for a lateral shift (2,) of the upper slab, angstrom."""
        frac = (self.offsets + shift_ang[:2]) @ np.linalg.inv(self.cell)
        flat = (frac - np.round(frac)) @ self.cell
        lateral2 = ((flat[:, :, None, :] + self.shifts) ** 2).sum(axis=3)
        i, j, k = np.nonzero((lateral2 < CUTOFF_ANG**2) & (self.rise[:, :, None] < CUTOFF_ANG))
        return ContactPairs(lateral2[i, j, k], self.rise[i, j], *self.data[i, j].T)


def _kinds(slab: AtomicStructure, atoms: NDArray[np.int64]) -> tuple[list[tuple[str, float]], NDArray[np.int64]]:
    species = [(slab.elements[k], slab.oxidation_states[k]) for k in atoms]
    kinds = sorted(set(species))
    return kinds, np.array([kinds.index(kind) for kind in species])


@dataclass(frozen=True)
class ContactPairs:
    """Pairs across an interface: lateral distances squared, heights at gap zero, and what is known of each pair."""

    lateral2: Array
    rise: Array
    charges: Array
    bond_lengths: Array
    least: Array

    def energy(self, gap_ang: float) -> float:
        """Energy per cell at a height between the outermost atoms, eV."""
        distances = np.sqrt(self.lateral2 + (self.rise + gap_ang) ** 2)
        near = distances < CUTOFF_ANG
        r, charges, lengths, least = distances[near], self.charges[near], self.bond_lengths[near], self.least[near]
        r = np.maximum(r, 0.5)
        damped = _damped(r) - _damped(np.array([CUTOFF_ANG]))[0]
        attractive = charges < 0
        repulsion = np.where(
            attractive,
            -charges * COULOMB_EV_ANG / BORN_EXPONENT * lengths ** (BORN_EXPONENT - 1) / r**BORN_EXPONENT,
            0.0,
        )
        overlap = np.clip(least / r - 1.0, 0.0, None)
        return float((COULOMB_EV_ANG * charges * damped + repulsion + TOUCH_EV * overlap).sum())

    @property
    def touching_gap_ang(self) -> float:
        """The height between the outermost atoms below which two atoms come closer than they may."""
        inside = self.lateral2 < self.least**2
        return float((np.sqrt(self.least[inside] ** 2 - self.lateral2[inside]) - self.rise[inside]).max(initial=-3.0))


def _damped(distances: Array) -> Array:
    from scipy.special import erfc

    damped: Array = erfc(DAMPING_PER_ANG * distances) / distances
    return damped


@cache
def _pair_data(first: str, first_charge: float, second: str, second_charge: float) -> tuple[float, float, float]:
    """Product of the scaled charges, bond length and least distance of a pair."""
    product = CHARGE_SHARE**2 * first_charge * second_charge
    length = 0.0
    if product < 0:
        cation, anion = (first, second) if first_charge > 0 else (second, first)
        # the length of a bond that carries a quarter of a cation's charge per unit of it
        length = bond_valence_length(cation, anion) + 0.25
    return product, length, contact_limits(first, first_charge, second, second_charge)[0]
