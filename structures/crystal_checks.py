"""What a crystal of the library must fulfil: composition, charge, density, distances and bond valences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .bonding import covalent_distance, find_bonds
from .errors import SurfshiftError
from .vocabulary import AtomicStructure, Crystal, Frozen

if TYPE_CHECKING:
    from .disorder import DisorderedStructure

MAX_DENSITY_DEVIATION = 0.02
"""Largest relative difference of built and published density."""

MIN_DISTANCE_RATIO = 0.7
"""Atoms closer than this share of the sum of their covalent radii overlap."""

MAX_OCCUPANCY_ERROR = 0.015
"""Published occupancies are rounded: a disordered crystal may miss its formula by this share, and its charge may miss
zero by this share of the charge of its cations."""

REACH_ANG = 3.5


class CrystalDataError(SurfshiftError):
    """A crystal whose data cannot be built or contradict each other."""


class BondStatistics(Frozen):
    """Bonds of one cation element to one anion element.

    Coordination numbers count bonds of one cation to this anion; lengths in angstrom;
    ``valence_sums`` are the least and the largest bond-valence sum of a cation, over all its anions.
    """

    cation: str
    anion: str
    coordination: tuple[int, int]
    length_ang: tuple[float, float]
    valence_sums: tuple[float, float]


class CrystalCheck(Frozen):
    """What was compared when a crystal was checked.

    Attributes
    ----------
    composition
        Atoms per cell by element; not whole numbers in a disordered crystal.
    charge
        Sum of the oxidation states per cell, e.
    density_g_cm3, published_density_g_cm3
        Of the built structure and from the literature.
    shortest_ang, shortest_pair
        Distance and elements of the two atoms that are closest in terms of their covalent radii.
    bonds
        Bond lengths and coordination numbers per pair of elements.
    """

    name: str
    composition: dict[str, float]
    charge: float
    density_g_cm3: float
    published_density_g_cm3: float
    shortest_ang: float
    shortest_pair: tuple[str, str]
    bonds: tuple[BondStatistics, ...]


class _Expanded:
    """Every species of every site as an atom of its own."""

    def __init__(self, cell: DisorderedStructure) -> None:
        atoms = [(k, site, species) for k, site in enumerate(cell.sites) for species in site.species]
        self.structure = AtomicStructure(
            lattice_ang=cell.lattice_ang,
            elements=tuple(s.element for _, _, s in atoms),
            frac_coords=tuple(site.frac_coords for _, site, _ in atoms),
            oxidation_states=tuple(s.oxidation_state for _, _, s in atoms),
        )
        self.site = [k for k, _, _ in atoms]
        self.occupancy = [s.occupancy for _, _, s in atoms]
        self.is_full = [site.is_ordered for _, site, _ in atoms]
        self.is_main = [s is max(site.species, key=lambda other: other.occupancy) for _, site, s in atoms]


def _bond_statistics(atoms: _Expanded) -> tuple[tuple[BondStatistics, ...], list[tuple[float, str]]]:
    """Bonds of the main species of each site, and per element the largest relative miss of a sum, in words too."""
    structure = atoms.structure
    counts: dict[tuple[str, str], list[int]] = {}
    lengths: dict[tuple[str, str], list[float]] = {}
    sums: dict[str, list[float]] = {}
    states: dict[str, list[float]] = {}
    for i, bonds in enumerate(find_bonds(structure)):
        if structure.oxidation_states[i] <= 0 or not atoms.is_main[i]:
            continue
        cation = structure.elements[i]
        sums.setdefault(cation, []).append(sum(bond.valence * atoms.occupancy[bond.j] for bond in bonds))
        states.setdefault(cation, []).append(structure.oxidation_states[i])
        anions = [structure.elements[bond.j] for bond in bonds]
        for anion in set(anions):
            counts.setdefault((cation, anion), []).append(anions.count(anion))
        for bond, anion in zip(bonds, anions, strict=True):
            lengths.setdefault((cation, anion), []).append(bond.length_ang)
    statistics = tuple(
        BondStatistics(
            cation=pair[0],
            anion=pair[1],
            coordination=(min(counts[pair]), max(counts[pair])),
            length_ang=(min(lengths[pair]), max(lengths[pair])),
            valence_sums=(min(sums[pair[0]]), max(sums[pair[0]])),
        )
        for pair in sorted(counts)
    )
    worst = []
    for cation, values in sums.items():
        off = [abs(value / state - 1.0) for value, state in zip(values, states[cation], strict=True)]
        k = int(np.argmax(off))
        worst.append(
            (off[k], f"bond-valence sum of {cation} is {values[k]:.2f}, oxidation state {states[cation][k]:g}")
        )
    return statistics, worst


def _closest(atoms: _Expanded) -> tuple[float, tuple[str, str]]:
    """Distance and elements of the closest two atoms that can be there at the same time."""
    from ase.neighborlist import primitive_neighbor_list

    structure = atoms.structure
    first, second, lengths = primitive_neighbor_list(
        "ijd", structure.periodic, structure.lattice, structure.cart_coords, REACH_ANG
    )
    best, found = np.inf, (REACH_ANG, ("", ""))
    for i, j, length in zip(first, second, lengths, strict=True):
        pair = (structure.elements[i], structure.elements[j])
        # ions on partly filled sites keep out of each other's way, and share a site only in the mean
        n_full = atoms.is_full[i] + atoms.is_full[j]
        if n_full == 0 or (n_full == 1 and pair[0] == pair[1]):
            continue
        ratio = float(length) / covalent_distance(*pair)
        if ratio < best:
            best, found = ratio, (float(length), (min(pair), max(pair)))
    return found


def compare_with_facts(crystal: Crystal, cell: DisorderedStructure) -> CrystalCheck:
    """Compare a built cell with what is known about the crystal.

    Checked are the composition against the formula and Z, the charge, the density against the
    published one (2 %), overlaps, and the bond-valence sum of every cation (``valence_tolerance``); of elements that
    share a site, the one that has most of it.

    Raises
    ------
    CrystalDataError
        If any of them fails; the message names all that fail.
    """
    from pymatgen.core.composition import Composition

    composition = cell.composition
    expected = {str(el): float(n) * crystal.formula_units for el, n in Composition(crystal.formula).items()}
    density = float(cell.to_pymatgen().density)
    atoms = _Expanded(cell)
    shortest, pair = _closest(atoms)
    bonds, sums = _bond_statistics(atoms)
    share = 1e-6 if crystal.is_ordered else MAX_OCCUPANCY_ERROR
    positive = sum(s.occupancy * max(s.oxidation_state, 0.0) for site in cell.sites for s in site.species)
    problems = []
    if set(composition) != set(expected) or any(abs(composition[e] / expected[e] - 1.0) > share for e in expected):
        held = {element: round(n, 3) for element, n in composition.items()}
        wanted = {element: round(n, 3) for element, n in expected.items()}
        problems.append(f"the cell holds {held}, but {crystal.formula_units} {crystal.formula} are {wanted}")
    if abs(cell.total_charge) > max(share * positive, 1e-6):
        problems.append(f"the cell has charge {cell.total_charge:+g}")
    if abs(density / crystal.density_g_cm3 - 1.0) > MAX_DENSITY_DEVIATION:
        problems.append(f"density {density:.3f} against published {crystal.density_g_cm3:.3f} g/cm3")
    if pair[0] and shortest < MIN_DISTANCE_RATIO * covalent_distance(*pair):
        problems.append(f"{pair[0]} and {pair[1]} are {shortest:.3f} angstrom apart")
    problems.extend(text for deviation, text in sums if deviation > crystal.valence_tolerance)
    if problems:
        raise CrystalDataError(f"{crystal.name}: {'; '.join(problems)}; correct the entry")
    return CrystalCheck(
        name=crystal.name,
        composition=composition,
        charge=cell.total_charge,
        density_g_cm3=density,
        published_density_g_cm3=crystal.density_g_cm3,
        shortest_ang=shortest,
        shortest_pair=pair,
        bonds=bonds,
    )
