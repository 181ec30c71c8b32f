"""Which cation is bonded to which anion, by bond valence.

A cation and an anion are bonded when their bond valence reaches a fixed share of the cation's
charge; parameters are those of O'Keeffe and Brese, J. Am. Chem. Soc. 113, 3226 (1991), as shipped
with pymatgen. O-H bonds are told from hydrogen bonds by their length.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from .accepting import as_structure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .accepting import StructureLike

BOND_SOFTNESS_ANG = 0.37
"""The universal parameter b of the bond-valence model, angstrom."""

MIN_VALENCE_SHARE = 0.04
"""A bond carries at least this share of the cation's charge."""

MAX_HYDROGEN_BOND_ANG = {"O": 1.25, "N": 1.3, "F": 1.2, "Cl": 1.6, "S": 1.6, "H": 0.9}
"""Longest X-H distance that still is a covalent bond, angstrom."""

MAX_COVALENT_RATIO = 1.25
"""Bonds of negative carbon, as in CH3 groups, are shorter than this times the sum of the covalent radii."""


@dataclass(frozen=True)
class Bond:
    """A bond from atom ``i`` to the periodic image ``image`` of atom ``j``.

    ``vector_ang`` points from i to j, shape (3,), angstrom; ``valence`` is the bond valence.
    """

    i: int
    j: int
    image: tuple[int, int, int]
    vector_ang: NDArray[np.float64]
    length_ang: float
    valence: float


@cache
def _element_parameters(symbol: str) -> tuple[float, float]:
    from pymatgen.analysis.bond_valence import BV_PARAMS
    from pymatgen.core.periodic_table import Element

    try:
        entry = BV_PARAMS[Element(symbol)]
    except (KeyError, ValueError) as error:
        raise ValueError(f"no bond-valence parameters for element {symbol!r}; it cannot be bonded") from error
    return float(entry["r"]), float(entry["c"])


@cache
def bond_valence_length(cation: str, anion: str) -> float:
    """Length of a bond of valence one, angstrom (O'Keeffe and Brese 1991, equation 2)."""
    (r1, c1), (r2, c2) = _element_parameters(cation), _element_parameters(anion)
    return float(r1 + r2 - r1 * r2 * (np.sqrt(c1) - np.sqrt(c2)) ** 2 / (c1 * r1 + c2 * r2))


def bond_valence(cation: str, anion: str, length_ang: float) -> float:
    """Valence of a bond of the given length in angstrom."""
    return float(np.exp((bond_valence_length(cation, anion) - length_ang) / BOND_SOFTNESS_ANG))


def max_bond_length(cation: str, anion: str, charge: float) -> float:
    """Longest distance in angstrom at which the pair counts as bonded."""
    if cation == "H" and anion in MAX_HYDROGEN_BOND_ANG:
        return MAX_HYDROGEN_BOND_ANG[anion]
    if anion == "C":
        return MAX_COVALENT_RATIO * covalent_distance(cation, anion)
    return bond_valence_length(cation, anion) - BOND_SOFTNESS_ANG * float(np.log(MIN_VALENCE_SHARE * charge))


def find_bonds(structure: StructureLike) -> tuple[tuple[Bond, ...], ...]:
    """Cation-anion bonds of every atom, each bond listed from both of its ends.

    Returns
    -------
    One tuple of bonds per atom, sorted by length.
    """
    structure = as_structure(structure)
    from ase.neighborlist import primitive_neighbor_list

    elements, charges = structure.elements, structure.oxidation_states
    cations = {(e, q) for e, q in zip(elements, charges, strict=True) if q > 0}
    anions = {e for e, q in zip(elements, charges, strict=True) if q < 0}
    limits = {(c, a, q): max_bond_length(c, a, q) for c, q in cations for a in anions}
    found: list[list[Bond]] = [[] for _ in elements]
    if limits:
        centres, others, vectors, lengths, images = primitive_neighbor_list(
            "ijDdS", structure.periodic, structure.lattice, structure.cart_coords, max(limits.values())
        )
        signs = np.sign(charges)
        for k in np.flatnonzero(signs[centres] * signs[others] < 0):
            i, j, vector, length, image = centres[k], others[k], vectors[k], lengths[k], images[k]
            cation, anion = (i, j) if charges[i] > 0 else (j, i)
            key = (elements[cation], elements[anion], charges[cation])
            if length <= limits[key]:
                valence = bond_valence(key[0], key[1], float(length))
                shift = (int(image[0]), int(image[1]), int(image[2]))
                found[i].append(Bond(int(i), int(j), shift, vector, float(length), valence))
    return tuple(tuple(sorted(bonds, key=lambda bond: bond.length_ang)) for bonds in found)


def find_carbon_bonds(structure: StructureLike) -> tuple[tuple[int, int, tuple[int, int, int]], ...]:
    """Covalent bonds of carbon that are no cation-anion pairs, such as C-C and the C-O of an ether.

    Returns
    -------
    Pairs of atoms (i, j) with the periodic image of j; each bond once.
    """
    structure = as_structure(structure)
    from ase.neighborlist import primitive_neighbor_list

    if "C" not in structure.elements:
        return ()
    elements, charges = structure.elements, structure.oxidation_states
    partners = set(elements) & {"C", "O", "N", "S", "H", "F", "Cl", "Si"}
    limits = {
        tuple(sorted(("C", other))): MAX_COVALENT_RATIO * covalent_distance("C", other) for other in sorted(partners)
    }
    pairs = primitive_neighbor_list("ijdS", structure.periodic, structure.lattice, structure.cart_coords, 2.4)
    found = []
    for i, j, length, image in zip(*pairs, strict=True):
        limit = limits.get(tuple(sorted((elements[i], elements[j]))), 0.0)
        if i < j and length < limit and not charges[i] * charges[j] < 0:
            found.append((int(i), int(j), (int(image[0]), int(image[1]), int(image[2]))))
    return tuple(found)


def coordination_numbers(structure: StructureLike) -> NDArray[np.int64]:
    """Number of cation-anion bonds of every atom, shape (n,)."""
    structure = as_structure(structure)
    return np.array([len(bonds) for bonds in find_bonds(structure)])


def usual_coordination(bulk: StructureLike) -> dict[str, int]:
    """Most frequent coordination number of every element in a bulk crystal."""
    bulk = as_structure(bulk)
    numbers = coordination_numbers(bulk)
    return {
        element: Counter(int(n) for e, n in zip(bulk.elements, numbers, strict=True) if e == element).most_common(1)[0][
            0
        ]
        for element in dict.fromkeys(bulk.elements)
    }


@cache
def covalent_distance(first: str, second: str) -> float:
    """Sum of the covalent radii of two elements, angstrom."""
    from ase.data import atomic_numbers, covalent_radii

    return float(covalent_radii[atomic_numbers[first]] + covalent_radii[atomic_numbers[second]])


def closest_pair(structure: StructureLike) -> tuple[int, int, float]:
    """Indices and distance in angstrom of the two closest atoms, relative to the sum of their covalent radii.

    The pair with the smallest ratio of distance to radii is returned, so that O-H does not hide a clash.
    """
    structure = as_structure(structure)
    from ase.data import atomic_numbers, covalent_radii
    from ase.neighborlist import primitive_neighbor_list

    radii = np.array([covalent_radii[atomic_numbers[e]] for e in structure.elements])
    centres, others, lengths = primitive_neighbor_list(
        "ijd",
        structure.periodic,
        structure.lattice,
        structure.cart_coords,
        2.0 * float(radii.max()),
        self_interaction=False,
    )
    if len(lengths) == 0:
        return 0, 0, float("inf")
    worst = int(np.argmin(np.asarray(lengths) / (radii[centres] + radii[others])))
    return int(centres[worst]), int(others[worst]), float(lengths[worst])


def unit_is_whole(structure: StructureLike, centre: str, ligand: str, n_ligands: int) -> bool:
    """Whether every ``centre`` atom has exactly ``n_ligands`` bonds to ``ligand`` atoms."""
    structure = as_structure(structure)
    bonds: Sequence[tuple[Bond, ...]] = find_bonds(structure)
    return all(
        sum(structure.elements[bond.j] == ligand for bond in bonds[i]) == n_ligands
        for i, element in enumerate(structure.elements)
        if element == centre
    )


@dataclass(frozen=True)
class Unit:
    """Atoms held together by their strongest bonds, such as a PO4 group.

    ``offsets_ang`` are their Cartesian places from the first atom, shape (n, 3), without periodic jumps.
    """

    atoms: tuple[int, ...]
    offsets_ang: NDArray[np.float64]


def binds_unit(strength: float, anion_charge: float) -> bool:
    """Whether a bond of this Pauling strength in e makes its anion part of the cation's unit.

    It does when the strength, the cation's charge over its coordination number (Pauling, J. Am. Chem. Soc. 51,
    1010 (1929)), is at least half of the anion's charge: then the anion belongs more to this cation than to all
    others together. P-O in AlPO4 has 1.25 of 2, Al-O 0.75 of 2. An anion of charge three counts as one of two: the
    N of a P-N-P bridge is shared by two cations, and its bonds are as strong as P-O.
    """
    return strength >= 0.5 * min(abs(anion_charge), 2.0) - 1e-6


def unit_pairs(bulk: StructureLike) -> frozenset[tuple[str, str]]:
    """Cation and anion elements that isolated units of a crystal are made of, such as (P, O).

    On a slab they tell a unit's own bonds where undercoordination makes other bonds look as strong.
    """
    bulk = as_structure(bulk)
    bonds = find_bonds(bulk)
    found = set()
    for unit in find_units(bulk):
        inside = set(unit.atoms)
        found |= {
            (bulk.elements[i], bulk.elements[bond.j])
            for i in unit.atoms
            for bond in bonds[i]
            if bulk.oxidation_states[i] > 0 and bond.j in inside
        }
    return frozenset(found)


def find_units(structure: StructureLike) -> tuple[Unit, ...]:
    """Isolated groups that a cut must not break: PO4, P2O7, OH, CO3, AlCl4, YCl6 and the like.

    Which bonds count is decided by ``binds_unit``. Groups
    that run on through the crystal, such as the framework of SiO2, are no units.
    """
    structure = as_structure(structure)
    bonds = find_bonds(structure)
    charges = structure.oxidation_states
    seen: set[int] = set()
    units = []
    for start in range(len(structure)):
        if start in seen:
            continue
        places = {start: np.zeros(3)}
        queue, endless = [start], False
        while queue:
            i = queue.pop()
            for bond in bonds[i]:
                cation, anion = (i, bond.j) if charges[i] > 0 else (bond.j, i)
                if not binds_unit(charges[cation] / len(bonds[cation]), charges[anion]):
                    continue
                place = places[i] + bond.vector_ang
                if bond.j not in places:
                    places[bond.j] = place
                    queue.append(bond.j)
                elif np.linalg.norm(places[bond.j] - place) > 1e-3:
                    endless = True
        seen |= set(places)
        if len(places) > 1 and not endless:
            units.append(Unit(atoms=tuple(places), offsets_ang=np.array(list(places.values()))))
    return tuple(units)
