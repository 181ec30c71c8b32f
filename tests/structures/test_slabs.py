"""Slabs against the crystal they come from, against symmetry, and against pymatgen's own cut."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core.surface import SlabGenerator
from surfshift.structures.bonding import closest_pair, find_bonds, find_units, unit_is_whole
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.slabs import AtomBudgetError, SlabError, cut_slabs
from surfshift.structures.symmetry import distinct_sites
from surfshift.structures.terminations import (
    CutSystem,
    MillerError,
    NotACutError,
    missing_bonds,
    orient,
    reduce_miller,
)
from surfshift.structures.vocabulary import AtomicStructure, Candidate

BERLINITE = build_crystal(load_crystal("AlPO4_berlinite"))
CORUNDUM = build_crystal(load_crystal("Al2O3_corundum"))
FACETS = [(0, 0, 1), (1, 0, 0), (1, 0, 1), (0, 1, 1), (1, 1, 0), (1, 0, 2), (1, 1, 1), (1, 1, 2), (2, 1, 0)]


def cut(bulk: AtomicStructure, miller: tuple[int, int, int], thickness: float = 4.0) -> tuple[Candidate, ...]:
    return cut_slabs(bulk, miller, thickness_ang=thickness, parent="x")


@pytest.mark.parametrize("miller", FACETS)
def test_every_po4_stays_whole_and_the_slab_is_stoichiometric_and_neutral(miller: tuple[int, int, int]) -> None:
    for slab in cut(BERLINITE, miller):
        assert slab.structure.formula == "AlPO4"
        assert slab.structure.total_charge == pytest.approx(0.0)
        assert unit_is_whole(slab.structure, "P", "O", 4)
        assert closest_pair(slab.structure)[2] == pytest.approx(1.535, abs=0.003)


@settings(max_examples=12, deadline=None)
@given(
    miller=st.tuples(st.integers(-2, 2), st.integers(-2, 2), st.integers(-2, 2)).filter(any),
    thickness=st.floats(1.0, 9.0),
    name=st.sampled_from(["AlPO4_cristobalite", "Li3PO4_beta", "LiOH", "LiAlO2_gamma"]),
)
def test_any_facet_is_neutral_whole_thick_enough_and_bulk_like(
    miller: tuple[int, int, int], thickness: float, name: str
) -> None:
    bulk = build_crystal(load_crystal(name))
    volume_per_atom = abs(np.linalg.det(bulk.lattice)) / len(bulk)
    for slab in cut(bulk, miller, thickness):
        structure = slab.structure
        assert structure.total_charge == pytest.approx(0.0)
        assert structure.formula == bulk.formula
        assert len(structure) * volume_per_atom / slab.area_ang2 >= thickness - 1e-6
        assert unit_is_whole(structure, "P", "O", 4)
        assert unit_is_whole(structure, "H", "O", 1)
        # every bond of the slab is a bond of the bulk: those kept and those lost make up the bulk's
        lost = missing_bonds(structure, bulk, slab.miller or miller)
        kept = sum(len(bonds) for bonds in find_bonds(structure))
        assert kept + len(lost) == len(structure) / len(bulk) * sum(len(bonds) for bonds in find_bonds(bulk))
        assert slab.n_undercoordinated == len({bond.atom for bond in lost})
        spare = structure.lattice[2, 2] - np.ptp(structure.cart_coords[:, 2])
        assert spare == pytest.approx(15.0, abs=1e-6)
        middle = (structure.cart_coords[:, 2].max() + structure.cart_coords[:, 2].min()) / 2
        assert middle == pytest.approx(structure.lattice[2, 2] / 2)
        np.testing.assert_allclose(structure.lattice[2, :2], 0.0, atol=1e-12)
        np.testing.assert_allclose(structure.lattice[:2, 2], 0.0, atol=1e-12)


def chain_chirality(structure: AtomicStructure) -> set[float]:
    """Triple products of the bonds of every chain Al-O-P-O: they change sign in a mirror."""
    bonds = find_bonds(structure)
    return {
        round(float(np.linalg.det([first.vector_ang, second.vector_ang, third.vector_ang])), 1) + 0.0
        for i, element in enumerate(structure.elements)
        if element == "Al"
        for first in bonds[i]
        for second in bonds[first.j]
        if structure.elements[second.j] == "P"
        for third in bonds[second.j]
        if third.j != first.j
    }


@pytest.mark.parametrize("miller", FACETS)
def test_handedness_of_the_crystal_is_kept(miller: tuple[int, int, int]) -> None:
    right = chain_chirality(BERLINITE)
    left = {-value for value in right}
    assert right != left
    mirrored = BERLINITE.moved_to(BERLINITE.cart_coords * [1, 1, -1], BERLINITE.lattice * [1, 1, -1])
    assert chain_chirality(mirrored) == left
    inside = chain_chirality(cut(BERLINITE, miller, 9.0)[0].structure)
    assert inside <= right
    assert not inside <= left


def test_symmetric_slab_keeps_the_axis_that_swaps_its_faces() -> None:
    for slab in cut(BERLINITE, (1, 0, 0)):
        assert slab.dipole_e_ang == pytest.approx(0.0, abs=0.01)
        assert not slab.notes
        orbits = distinct_sites(slab.structure, elements=["Al", "P"])
        n_atoms = sum(e in ("Al", "P") for e in slab.structure.elements)
        assert len(orbits) <= n_atoms / 2 + 1
        assert any(np.linalg.det(np.array(r)) > 0 and r[2][2] < -0.999 for o in orbits for r in o.rotations)


def test_polar_facet_keeps_one_cut_and_says_so() -> None:
    (slab,) = cut(BERLINITE, (0, 0, 1))
    assert abs(slab.dipole_e_ang) > 1.0
    assert "polar" in slab.notes[0]
    with_polar = cut_slabs(BERLINITE, (1, 0, 0), thickness_ang=4.0, parent="x", keep_polar=True)
    assert len(with_polar) >= len(cut(BERLINITE, (1, 0, 0)))


def test_terminations_are_distinct_and_thickness_makes_no_new_ones() -> None:
    matcher = StructureMatcher(primitive_cell=False, scale=False, stol=0.02)
    slabs = [s.structure.model_copy(update={"periodic": (True,) * 3}) for s in cut(BERLINITE, (1, 0, 0), 8.0)]
    assert len(slabs) == len(cut(BERLINITE, (1, 0, 0), 4.0)) == 2
    assert not any(matcher.fit(a.to_pymatgen(), b.to_pymatgen()) for a in slabs for b in slabs if a is not b)


def test_symmetry_equivalent_facets_have_the_same_slabs() -> None:
    matcher = StructureMatcher(primitive_cell=False, scale=False, stol=0.02)
    first = [s.structure.model_copy(update={"periodic": (True,) * 3}) for s in cut(BERLINITE, (1, 0, 0))]
    second = [s.structure.model_copy(update={"periodic": (True,) * 3}) for s in cut(BERLINITE, (0, 1, 0))]
    assert len(first) == len(second)
    assert all(matcher.fit(a.to_pymatgen(), b.to_pymatgen()) for a, b in zip(first, second, strict=True))


def test_corundum_001_is_the_cut_of_an_independent_generator() -> None:
    """The aluminium-terminated nonpolar face, the known stable one, from pymatgen's slab generator."""
    slab = cut(CORUNDUM, (0, 0, 1), 12.0)[0].structure
    generator = SlabGenerator(CORUNDUM.to_pymatgen(), (0, 0, 1), 10.0, 15.0, primitive=True, center_slab=True)
    oracle = [s for s in generator.get_slabs(symmetrize=False) if abs(s.dipole[2]) < 1e-3]

    def layers(heights: np.ndarray) -> np.ndarray:
        return np.round(np.diff(np.sort(heights)), 3)

    same_size = [s for s in oracle if len(s) == len(slab)]
    assert same_size
    heights = [layers(np.array([site.coords @ s.normal for site in s])) for s in same_size]
    assert any(np.allclose(layers(slab.cart_coords[:, 2]), h, atol=0.01) for h in heights)


def test_units_are_found_by_bond_strength() -> None:
    assert {len(unit.atoms) for unit in find_units(BERLINITE)} == {5}
    assert len(find_units(BERLINITE)) == 3
    assert find_units(CORUNDUM) == ()
    assert find_units(build_crystal(load_crystal("LiAlO2_gamma"))) == ()
    assert {len(unit.atoms) for unit in find_units(build_crystal(load_crystal("LiOH")))} == {2}


@pytest.mark.parametrize("miller", [(0, 0, 0), (0.5, 0, 1), (1, 0), (True, 0, 0), (1, 0, 0, 0)])
def test_impossible_miller_index_is_refused(miller: tuple[float, ...]) -> None:
    with pytest.raises(MillerError, match="Miller index"):
        cut_slabs(BERLINITE, miller, thickness_ang=4.0, parent="x")  # type: ignore[arg-type]


def test_miller_index_is_reduced() -> None:
    assert reduce_miller((2, 0, -2)) == (1, 0, -1)
    assert cut(BERLINITE, (2, 0, 0))[0].structure == cut(BERLINITE, (1, 0, 0))[0].structure


@pytest.mark.parametrize(("thickness", "vacuum"), [(0.0, 15.0), (4.0, -1.0)])
def test_lengths_must_be_positive(thickness: float, vacuum: float) -> None:
    with pytest.raises(SlabError, match="positive"):
        cut_slabs(BERLINITE, (1, 0, 0), thickness_ang=thickness, vacuum_ang=vacuum, parent="x")


def test_charged_bulk_is_refused() -> None:
    charged = CORUNDUM.model_copy(update={"oxidation_states": (3.0,) * len(CORUNDUM)})
    with pytest.raises(SlabError, match="charge"):
        cut(charged, (0, 0, 1))


def test_planes_of_centred_cells_are_those_of_the_primitive_lattice() -> None:
    facet = orient(CORUNDUM, (0, 0, 1))
    assert facet.spacing_ang == pytest.approx(12.9933 / 3)
    assert len(CutSystem(CORUNDUM, (0, 0, 1)).nodes.elements) == 10
    assert facet.area_ang2 == pytest.approx(4.7602**2 * np.sqrt(3) / 2, rel=1e-6)


def test_missing_bonds_need_the_unrelaxed_cut() -> None:
    slab = cut(BERLINITE, (1, 0, 0))[0].structure
    generator = np.random.default_rng(1)
    moved = slab.moved_to(slab.cart_coords + generator.normal(0.0, 0.3, (len(slab), 3)))
    with pytest.raises(NotACutError, match="unrelaxed"):
        missing_bonds(moved, BERLINITE, (1, 0, 0))


def test_window_dipole_is_that_of_its_slab() -> None:
    windows = CutSystem(BERLINITE, (0, 0, 1)).windows(thickness_ang=3.0)
    by_faces = {(window.faces, window.n_formula): window.dipole_e_ang for window in windows}
    slabs = cut_slabs(BERLINITE, (0, 0, 1), thickness_ang=3.0, parent="x", every=True)
    assert slabs
    for slab in slabs:
        assert slab.slab_info is not None
        charges = np.array(slab.structure.oxidation_states)
        assert charges.sum() == pytest.approx(0.0)
        dipole = float(charges @ (slab.structure.cart_coords[:, 2] - 7.0))
        assert abs(dipole) > 1.0
        assert by_faces[slab.slab_info.faces, slab.slab_info.n_formula] == pytest.approx(dipole)


@pytest.mark.parametrize(("thickness", "layers"), [(None, None), (4.0, 2), (None, 0)])
def test_thickness_is_given_once(thickness: float | None, layers: int | None) -> None:
    with pytest.raises(SlabError, match=r"either|positive"):
        cut_slabs(BERLINITE, (1, 0, 0), thickness_ang=thickness, layers=layers, parent="x")


def test_atom_budget_names_what_fits_before_anything_is_built() -> None:
    with pytest.raises(AtomBudgetError, match="lattice planes thinner") as caught:
        cut_slabs(BERLINITE, (1, 0, 0), thickness_ang=30.0, parent="x", max_atoms=100)
    thinner, atoms = re.search(r"thinner: ([\d.]+) angstrom with (\d+) atoms", str(caught.value)).groups()  # type: ignore[union-attr]
    fitting = cut_slabs(BERLINITE, (1, 0, 0), thickness_ang=float(thinner), parent="x", max_atoms=100)
    assert len(fitting[0].structure) == int(atoms) <= 100
    with pytest.raises(AtomBudgetError, match="smaller in-plane cell: 2 instead of 9 primitive cells have 60 atoms"):
        cut_slabs(BERLINITE, (1, 0, 0), layers=1, parent="x", max_atoms=60, min_width_ang=20.0)


def test_every_termination_is_shown_and_the_default_ones_are_among_them() -> None:
    system = CutSystem(BERLINITE, (1, 0, 0))
    every = cut_slabs(BERLINITE, (1, 0, 0), thickness_ang=4.0, parent="x", every=True)
    shown = {face for slab in every if slab.slab_info for face in slab.slab_info.faces}
    assert shown == set(system.face_classes.ravel().tolist())
    assert {slab.id for slab in cut(BERLINITE, (1, 0, 0))} <= {slab.id for slab in every}
