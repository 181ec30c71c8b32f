"""Every crystal of the library: bulk, three low-index facets, and a hydroxylated slab of oxides and phosphates."""

from __future__ import annotations

import pytest
from surfshift.structures.bonding import find_bonds
from surfshift.structures.facets import bulk_operations
from surfshift.structures.library import crystal_names, disordered_crystal_names
from surfshift.structures.library_surfaces import MAX_SLAB_ATOMS, build_surfaces, ordered_bulk, takes_up_water

QUICK = ("AlPO4_cristobalite", "Li2O", "Li2PO2N", "Li4P2O7", "LiAlCl4", "LiOH", "TiP2O7", "ZrO2_monoclinic")


def check(name: str) -> None:
    bulk = ordered_bulk(name)
    made = build_surfaces(name, bulk)
    assert made.problems == ()
    indices = [miller for miller, _ in made.facets]
    assert len(set(indices)) == 3
    turns = [rotation for rotation, _ in bulk_operations(bulk)]
    images = [{tuple(s * h for h in miller @ turn) for turn in turns for s in (1, -1)} for miller in indices]
    # no facet is a symmetry image of another one
    assert all(tuple(other) not in images[k] for k in range(3) for other in indices[k + 1 :])
    for _, slabs in made.facets:
        assert slabs
        assert all(len(slab.structure) <= MAX_SLAB_ATOMS for slab in slabs)
    assert (made.hydroxylated is not None) == takes_up_water(bulk)
    if made.hydroxylated is not None:
        structure = made.hydroxylated.structure
        hydrogens = [i for i, element in enumerate(structure.elements) if element == "H"]
        bonds = find_bonds(structure)
        assert hydrogens
        assert all([structure.elements[bond.j] for bond in bonds[i]] == ["O"] for i in hydrogens)


@pytest.mark.parametrize("name", QUICK)
def test_surfaces_of_some_crystals(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*crystal_names(), *disordered_crystal_names()])
def test_surfaces_of_every_crystal(name: str) -> None:
    check(name)


def test_an_atom_budget_that_leaves_no_facet_is_a_problem() -> None:
    made = build_surfaces("TiP2O7", ordered_bulk("TiP2O7"), max_atoms=20)
    assert made.facets == ()
    assert "only 0 facets within 20 atoms" in made.problems[0]
