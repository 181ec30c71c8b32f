"""Facets: which are distinct, and in-plane supercells, against pymatgen's point groups and brute force."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from surfshift.structures.facets import (
    InPlaneCellError,
    MillerError,
    cells_of,
    distinct_facets,
    in_plane_supercell,
    orient,
    reduced,
    sublattices,
)
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.vocabulary import AtomicStructure

BERLINITE = build_crystal(load_crystal("AlPO4_berlinite"))
CORUNDUM = build_crystal(load_crystal("Al2O3_corundum"))


def orbit(bulk: AtomicStructure, hkl: tuple[int, int, int]) -> set[tuple[int, ...]]:
    """Indices that the Laue group makes of one, from the Cartesian operations of pymatgen's analyser."""
    structure = bulk.to_pymatgen()
    reciprocal = np.linalg.inv(bulk.lattice).T
    vector = np.array(hkl) @ reciprocal
    images = set()
    for operation in SpacegroupAnalyzer(structure).get_point_group_operations(cartesian=True):
        index = operation.rotation_matrix @ vector @ np.linalg.inv(reciprocal)
        images |= {tuple(np.rint(index).astype(int)), tuple(np.rint(-index).astype(int))}
    return images


@pytest.mark.parametrize("bulk", [BERLINITE, CORUNDUM], ids=["berlinite", "corundum"])
def test_every_facet_belongs_to_exactly_one_distinct_one(bulk: AtomicStructure) -> None:
    facets = distinct_facets(bulk, 2)
    orbits = [orbit(bulk, facet) for facet in facets]
    everything = {hkl for hkl in product(range(-2, 3), repeat=3) if np.gcd.reduce(hkl) == 1}
    assert all(sum(index in images for images in orbits) == 1 for index in everything)
    assert facets[0] in {(1, 0, 0), (0, 0, 1)}


def test_012_and_102_differ_in_a_rhombohedral_crystal() -> None:
    facets = distinct_facets(CORUNDUM, 2)
    first, second = orbit(CORUNDUM, (0, 1, 2)), orbit(CORUNDUM, (1, 0, 2))
    assert sum(facet in first for facet in facets) == sum(facet in second for facet in facets) == 1
    assert not first & second


def test_no_facet_below_index_one() -> None:
    with pytest.raises(MillerError, match="use 1 or more"):
        distinct_facets(CORUNDUM, 0)


@pytest.mark.parametrize(("n_cells", "expected"), [(1, 1), (2, 3), (3, 4), (4, 7), (6, 12)])
def test_number_of_sublattices_is_the_sum_of_divisors(n_cells: int, expected: int) -> None:
    found = list(sublattices(n_cells))
    assert len(set(found)) == len(found) == expected
    assert all(cells_of(matrix) == n_cells for matrix in found)


@given(
    a=st.floats(2.0, 9.0),
    b=st.floats(2.0, 9.0),
    angle=st.floats(40.0, 140.0),
    matrix=st.tuples(st.tuples(*[st.integers(-4, 4)] * 2), st.tuples(*[st.integers(-4, 4)] * 2)).filter(
        lambda m: m[0][0] * m[1][1] != m[0][1] * m[1][0]
    ),
)
def test_reduction_keeps_the_lattice_and_finds_its_shortest_vector(
    a: float, b: float, angle: float, matrix: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    plane = np.array([[a, 0.0], [b * np.cos(np.radians(angle)), b * np.sin(np.radians(angle))]])
    result = reduced(plane, matrix)
    change = np.array(result) @ np.linalg.inv(np.array(matrix))
    np.testing.assert_allclose(change, np.rint(change), atol=1e-9)
    assert abs(np.linalg.det(change)) == pytest.approx(1.0)
    assert np.linalg.det(np.array(result)) > 0
    vectors = np.array([(i, j) for i in range(-12, 13) for j in range(-12, 13) if (i, j) != (0, 0)]) @ np.array(matrix)
    shortest = np.linalg.norm(vectors @ plane, axis=1).min()
    assert np.linalg.norm(np.array(result) @ plane, axis=1).min() <= shortest + 1e-6


def test_wide_cells_are_wide_and_no_smaller_one_is() -> None:
    plane = orient(BERLINITE, (0, 0, 1)).slab_cell[:2]
    matrix = in_plane_supercell(plane, min_width_ang=8.0)
    a, b = np.array(matrix) @ plane
    width = np.linalg.norm(np.cross(a, b)) / max(np.linalg.norm(a), np.linalg.norm(b))
    assert width >= 8.0
    assert cells_of(matrix) == 4  # a 2x2 cell of the hexagonal lattice is 8.56 angstrom wide, three cells are 7.4


def test_hexagonal_plane_gets_a_right_angle_in_two_cells() -> None:
    plane = orient(BERLINITE, (0, 0, 1)).slab_cell[:2]
    matrix = in_plane_supercell(plane, orthogonal=True)
    a, b = np.array(matrix) @ plane
    assert a @ b == pytest.approx(0.0, abs=1e-6)
    assert cells_of(matrix) == 2


def test_impossible_cells_are_refused_with_the_nearest() -> None:
    plane = np.array([[3.0, 0.0], [1.234567, 4.0]])
    with pytest.raises(InPlaneCellError, match="degrees off"):
        in_plane_supercell(plane, orthogonal=True, max_cells=5)
    with pytest.raises(InPlaneCellError, match="the widest is"):
        in_plane_supercell(plane, min_width_ang=100.0, max_cells=5)
