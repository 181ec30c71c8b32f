"""The project's own crystals: published facts, built and checked."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from .bonding import closest_pair, covalent_distance, find_bonds
from .errors import SurfshiftError, nearest
from .vocabulary import AtomicStructure, Crystal, Frozen

MAX_DENSITY_DEVIATION = 0.02
"""Largest relative difference of built and published density."""

MIN_DISTANCE_RATIO = 0.7
"""Atoms closer than this share of the sum of their covalent radii overlap."""

MAX_VALENCE_DEVIATION = 0.3
"""Largest relative difference of a cation's bond-valence sum and its oxidation state; P comes out 20 % high."""


class UnknownCrystalError(SurfshiftError):
    """A crystal name that the library does not have."""


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
        Atoms per cell by element.
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
    composition: dict[str, int]
    charge: float
    density_g_cm3: float
    published_density_g_cm3: float
    shortest_ang: float
    shortest_pair: tuple[str, str]
    bonds: tuple[BondStatistics, ...]


@cache
def _entries() -> dict[str, dict[str, Any]]:
    import yaml

    text = (files(__package__) / "data" / "crystals.yaml").read_text(encoding="utf-8")
    entries: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return entries


def crystal_names() -> tuple[str, ...]:
    """Names of all crystals of the library, sorted."""
    return tuple(sorted(_entries()))


def load_crystal(name: str) -> Crystal:
    """The published facts of a crystal.

    Raises
    ------
    UnknownCrystalError
        If the library has no crystal of that name; the message names the nearest one.
    """
    try:
        entry = _entries()[name]
    except KeyError:
        raise UnknownCrystalError(f"no crystal {name!r} in the library; {nearest(name, crystal_names())}") from None
    return Crystal.model_validate({"name": name, **entry})


def build_crystal(crystal: Crystal) -> AtomicStructure:
    """The conventional cell of a crystal, every site multiplied by the space group.

    Raises
    ------
    CrystalDataError
        If the space group does not accept the cell, or its symbol and number disagree.
    """
    from pymatgen.core.lattice import Lattice
    from pymatgen.core.periodic_table import Species
    from pymatgen.core.structure import Structure
    from pymatgen.symmetry.groups import SpaceGroup

    try:
        number = SpaceGroup(crystal.space_group).int_number
        structure = Structure.from_spacegroup(
            crystal.space_group,
            Lattice.from_parameters(*crystal.cell),
            [Species(site.element, site.oxidation_state) for site in crystal.sites],
            [site.xyz for site in crystal.sites],
            tol=1e-3,
        )
    except ValueError as error:
        raise CrystalDataError(
            f"{crystal.name}: cannot build {crystal.space_group} with cell {crystal.cell}: {error}; "
            "correct the space group, the cell or the sites"
        ) from error
    if number != crystal.space_group_number:
        raise CrystalDataError(
            f"{crystal.name}: {crystal.space_group} is space group {number}, not {crystal.space_group_number}; "
            "correct one of the two"
        )
    return AtomicStructure.from_pymatgen(structure)


def _bond_statistics(structure: AtomicStructure) -> tuple[BondStatistics, ...]:
    counts: dict[tuple[str, str], list[int]] = {}
    lengths: dict[tuple[str, str], list[float]] = {}
    sums: dict[str, list[float]] = {}
    for i, bonds in enumerate(find_bonds(structure)):
        if structure.oxidation_states[i] <= 0:
            continue
        cation = structure.elements[i]
        sums.setdefault(cation, []).append(sum(bond.valence for bond in bonds))
        anions = [structure.elements[bond.j] for bond in bonds]
        for anion in set(anions):
            counts.setdefault((cation, anion), []).append(anions.count(anion))
        for bond, anion in zip(bonds, anions, strict=True):
            lengths.setdefault((cation, anion), []).append(bond.length_ang)
    return tuple(
        BondStatistics(
            cation=pair[0],
            anion=pair[1],
            coordination=(min(counts[pair]), max(counts[pair])),
            length_ang=(min(lengths[pair]), max(lengths[pair])),
            valence_sums=(min(sums[pair[0]]), max(sums[pair[0]])),
        )
        for pair in sorted(counts)
    )


def check_crystal(crystal: Crystal) -> CrystalCheck:
    """Build a crystal and compare it with what is known about it.

    Checked are the composition against the formula and Z, the charge, the density against the
    published one (2 %), overlaps, and the bond-valence sum of every cation (30 %).

    Raises
    ------
    CrystalDataError
        If any of them fails; the message names all that fail.
    """
    from pymatgen.core.composition import Composition

    structure = build_crystal(crystal)
    built = structure.to_pymatgen()
    composition = {el: structure.elements.count(el) for el in dict.fromkeys(structure.elements)}
    expected = {str(el): round(n * crystal.formula_units) for el, n in Composition(crystal.formula).items()}
    density = float(built.density)
    i, j, shortest = closest_pair(structure)
    bonds = _bond_statistics(structure)
    charges = dict(zip(structure.elements, structure.oxidation_states, strict=True))
    problems = []
    if composition != expected:
        problems.append(f"the cell holds {composition}, but {crystal.formula_units} {crystal.formula} are {expected}")
    if abs(structure.total_charge) > 1e-6:
        problems.append(f"the cell has charge {structure.total_charge:+g}")
    if abs(density / crystal.density_g_cm3 - 1.0) > MAX_DENSITY_DEVIATION:
        problems.append(f"density {density:.3f} against published {crystal.density_g_cm3:.3f} g/cm3")
    if shortest < MIN_DISTANCE_RATIO * covalent_distance(structure.elements[i], structure.elements[j]):
        problems.append(f"{structure.elements[i]} and {structure.elements[j]} are {shortest:.3f} angstrom apart")
    problems.extend(
        f"bond-valence sum of {pair.cation} is {value:.2f}, oxidation state {charges[pair.cation]:g}"
        for pair in bonds
        for value in dict.fromkeys(pair.valence_sums)
        if not np.isclose(value, charges[pair.cation], rtol=MAX_VALENCE_DEVIATION, atol=0.0)
    )
    if problems:
        raise CrystalDataError(f"{crystal.name}: {'; '.join(problems)}; correct the entry")
    return CrystalCheck(
        name=crystal.name,
        composition=composition,
        charge=structure.total_charge,
        density_g_cm3=density,
        published_density_g_cm3=crystal.density_g_cm3,
        shortest_ang=shortest,
        shortest_pair=(structure.elements[i], structure.elements[j]),
        bonds=bonds,
    )
