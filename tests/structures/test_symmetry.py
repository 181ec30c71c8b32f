"""Symmetry-distinct sites, and tensors carried from one site to its equivalents."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from surfshift.structures.bonding import find_bonds
from surfshift.structures.library import build_crystal, crystal_names, load_crystal
from surfshift.structures.symmetry import SiteOrbit, distinct_sites, symmetry_operations
from surfshift.structures.vocabulary import AtomicStructure, as_tensor3

# pure Python loops over sites and operations: the largest cells would take a minute each
SMALL = [name for name in crystal_names() if load_crystal(name).formula_units * len(load_crystal(name).sites) <= 32]


def neighbour_tensor(structure: AtomicStructure, index: int) -> np.ndarray:
    """Sum of the outer products of the bonds of an atom: a tensor that turns with the crystal."""
    vectors = np.array([bond.vector_ang for bond in find_bonds(structure)[index]])
    return np.asarray(vectors.T @ vectors)


@pytest.mark.parametrize("name", SMALL)
def test_orbits_are_the_sites_of_the_asymmetric_unit(name: str) -> None:
    crystal = load_crystal(name)
    structure = build_crystal(crystal)
    orbits = distinct_sites(structure)
    assert sorted(orbit.element for orbit in orbits) == sorted(site.element for site in crystal.sites)
    assert sorted(i for orbit in orbits for i in orbit.atom_indices) == list(range(len(structure)))


@pytest.mark.parametrize("name", [name for name in SMALL if name != "Li_metal"])  # no bonds, no tensors
def test_expanded_tensors_are_those_of_the_other_sites(name: str) -> None:
    structure = build_crystal(load_crystal(name))
    for orbit in distinct_sites(structure):
        first = neighbour_tensor(structure, orbit.atom_indices[0])
        for index, tensor in zip(orbit.atom_indices, orbit.expand(first), strict=True):
            np.testing.assert_allclose(tensor, neighbour_tensor(structure, index), atol=1e-3)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31))
def test_orbits_do_not_depend_on_frame_and_origin(seed: int) -> None:
    generator = np.random.default_rng(seed)
    structure = build_crystal(load_crystal("AlPO4_berlinite"))
    turn = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    shift = generator.normal(size=3)
    moved = structure.moved_to((structure.cart_coords + shift) @ turn.T, structure.lattice @ turn.T)
    before = [orbit.atom_indices for orbit in distinct_sites(structure)]
    assert [orbit.atom_indices for orbit in distinct_sites(moved)] == before


def test_a_moved_atom_breaks_the_symmetry() -> None:
    structure = build_crystal(load_crystal("AlPO4_berlinite"))
    coords = structure.cart_coords.copy()
    coords[0] += [0.2, 0.1, 0.15]
    moved = structure.moved_to(coords)
    assert len(symmetry_operations(structure)) == 6
    assert len(symmetry_operations(moved)) == 1
    assert len(distinct_sites(moved)) == len(moved)


def test_elements_can_be_chosen() -> None:
    structure = build_crystal(load_crystal("AlPO4_berlinite"))
    assert [orbit.element for orbit in distinct_sites(structure, elements=["P"])] == ["P"]


def test_an_orbit_needs_one_rotation_per_atom() -> None:
    with pytest.raises(ValueError, match="one each"):
        SiteOrbit(element="P", atom_indices=(0, 1), rotations=(as_tensor3(np.eye(3)),))
