"""Bonds by bond valence: lengths, coordination, units, the closest pair."""

import numpy as np
import pytest
from surfshift.structures.bonding import (
    bond_valence,
    bond_valence_length,
    closest_pair,
    coordination_numbers,
    covalent_distance,
    find_bonds,
    find_units,
    unit_is_whole,
    usual_coordination,
)
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.vocabulary import AtomicStructure

BERLINITE = build_crystal(load_crystal("AlPO4_berlinite"))


@pytest.mark.parametrize(("cation", "length_ang"), [("Al", 1.651), ("Li", 1.466), ("Ti", 1.815), ("Zr", 1.937)])
def test_length_of_valence_one_is_near_the_brown_altermatt_value(cation: str, length_ang: float) -> None:
    """Brown and Altermatt, Acta Cryst. B 41, 244 (1985): an independent fit, which agrees to 0.1 angstrom."""
    assert bond_valence_length(cation, "O") == pytest.approx(length_ang, abs=0.1)


def test_bond_valence_falls_by_e_in_037_angstrom() -> None:
    length = bond_valence_length("Al", "O")
    assert bond_valence("Al", "O", length) == pytest.approx(1.0)
    assert bond_valence("Al", "O", length + 0.37) == pytest.approx(np.exp(-1.0))


def test_every_bond_is_listed_from_both_ends() -> None:
    bonds = find_bonds(BERLINITE)
    coords = BERLINITE.cart_coords
    for i, own in enumerate(bonds):
        for bond in own:
            back = [b for b in bonds[bond.j] if b.j == i and np.allclose(b.vector_ang, -bond.vector_ang)]
            assert len(back) == 1
            np.testing.assert_allclose(
                coords[bond.j] + np.array(bond.image) @ BERLINITE.lattice - coords[i], bond.vector_ang, atol=1e-9
            )


def test_coordination_of_known_crystals() -> None:
    assert usual_coordination(BERLINITE) == {"Al": 4, "P": 4, "O": 2}
    assert usual_coordination(build_crystal(load_crystal("Al2O3_corundum"))) == {"Al": 6, "O": 4}
    assert usual_coordination(build_crystal(load_crystal("Li3PO4_gamma"))) == {"Li": 4, "P": 4, "O": 4}
    lioh = build_crystal(load_crystal("LiOH"))
    assert usual_coordination(lioh) == {"Li": 4, "O": 5, "H": 1}
    assert set(coordination_numbers(lioh)) == {1, 4, 5}


def test_bonds_do_not_depend_on_the_frame() -> None:
    turn = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))[0]
    turned = BERLINITE.moved_to(BERLINITE.cart_coords @ turn.T, BERLINITE.lattice @ turn.T)
    np.testing.assert_array_equal(coordination_numbers(turned), coordination_numbers(BERLINITE))


def test_units_are_the_isolated_groups() -> None:
    assert [len(unit.atoms) for unit in find_units(BERLINITE)] == [5, 5, 5]
    for unit in find_units(BERLINITE):
        spread = np.linalg.norm(unit.offsets_ang - unit.offsets_ang.mean(axis=0), axis=1)
        assert spread.max() < 1.6
    assert find_units(build_crystal(load_crystal("Al2O3_corundum"))) == ()
    assert find_units(build_crystal(load_crystal("LiAlO2_gamma"))) == ()
    assert {len(unit.atoms) for unit in find_units(build_crystal(load_crystal("LiOH")))} == {2}


def test_unit_that_misses_a_ligand_is_not_whole() -> None:
    cut = BERLINITE.model_copy(
        update={
            "elements": BERLINITE.elements[:-1],
            "frac_coords": BERLINITE.frac_coords[:-1],
            "oxidation_states": BERLINITE.oxidation_states[:-1],
        }
    )
    assert unit_is_whole(BERLINITE, "P", "O", 4)
    assert not unit_is_whole(cut, "P", "O", 4)


def test_closest_pair_is_judged_by_the_radii() -> None:
    lioh = build_crystal(load_crystal("LiOH"))
    squeezed = AtomicStructure(
        lattice_ang=lioh.lattice_ang,
        elements=(*lioh.elements, "Li"),
        frac_coords=(*lioh.frac_coords, (0.25, 0.25, 0.0)),
        oxidation_states=(*lioh.oxidation_states, 1.0),
    )
    i, j, length = closest_pair(squeezed)
    assert {squeezed.elements[i], squeezed.elements[j]} == {"Li"}
    assert length == pytest.approx(3.549 * np.sqrt(2) / 4)
    assert covalent_distance("O", "H") == covalent_distance("H", "O") == pytest.approx(0.97)


def test_unknown_element_is_named() -> None:
    with pytest.raises(ValueError, match="'Xx'"):
        bond_valence_length("Xx", "O")
