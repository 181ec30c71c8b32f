"""Units and nodes of facets: what stays whole, and what is refused."""

import numpy as np
import pytest
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.nodes import UnitError, facet_nodes
from surfshift.structures.slabs import cut_slabs
from surfshift.structures.vocabulary import AtomicStructure, as_tensor3

BERLINITE = build_crystal(load_crystal("AlPO4_berlinite"))


def chain_crystal() -> AtomicStructure:
    """Chains -P-O-P-O- along a, each P with two O of its own, and one Li per P beside it."""
    lattice = [[3.0, 0.0, 0.0], [0.0, 6.0, 0.0], [0.0, 0.0, 6.5]]
    cart = [
        [0.0, 0.0, 0.0],
        [1.5, 0.6, 0.3],
        [0.0, -0.9, 1.2],
        [0.0, -0.8, -1.25],
        [0.4, 3.0, 3.2],
    ]
    frac = np.array(cart) @ np.linalg.inv(np.array(lattice))
    return AtomicStructure(
        lattice_ang=as_tensor3(lattice),
        elements=("P", "O", "O", "O", "Li"),
        frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in frac),
        oxidation_states=(5.0, -2.0, -2.0, -2.0, 1.0),
    )


def test_units_and_single_atoms_make_up_the_cell() -> None:
    nodes = facet_nodes(BERLINITE, (1, 0, 0))
    assert sorted(set(nodes.kinds)) == ["Al", "PO4"]
    assert nodes.sizes.sum() == len(nodes.elements) == 18
    assert nodes.node_charges.sum() == pytest.approx(0.0)
    assert set(np.round(nodes.node_charges, 6)) == {3.0, -3.0}
    assert np.all((nodes.heights > -0.011) & (nodes.heights < nodes.facet.spacing_ang))


def test_bonds_between_nodes_are_the_weak_ones() -> None:
    nodes = facet_nodes(BERLINITE, (0, 0, 1))
    names = {
        frozenset((nodes.elements[i], nodes.elements[j]))
        for i, j in zip(nodes.bond_atoms, nodes.bond_partners, strict=True)
    }
    assert names == {frozenset(("Al", "O"))}
    assert len(nodes.bond_atoms) == 2 * 4 * nodes.kinds.count("Al")
    # the partner of every bond lies where the image says: Al-O is 1.74 angstrom
    places = nodes.coords[nodes.bond_partners] + nodes.bond_images @ nodes.facet.slab_cell
    lengths = np.linalg.norm(places - nodes.coords[nodes.bond_atoms], axis=1)
    np.testing.assert_allclose(lengths, 1.74, atol=0.02)


def test_chain_is_whole_along_its_facets_and_cut_at_its_bridges_across() -> None:
    crystal = chain_crystal()
    along = facet_nodes(crystal, (0, 0, 1))
    assert sorted(along.kinds) == ["Li", "PO3"]
    assert along.endless.tolist() == [kind == "PO3" for kind in along.kinds]
    across = facet_nodes(crystal, (1, 0, 0))
    assert sorted(across.kinds) == ["Li", "O", "PO2"]
    assert not across.endless.any()
    for slab in cut_slabs(crystal, (0, 0, 1), thickness_ang=10.0, parent="x", every=True):
        assert slab.slab_info is not None
        assert not any(pair == "P-O" for pair, _ in slab.slab_info.broken_bonds)


def test_isolated_octahedra_are_kept_on_request_and_linked_ones_refused() -> None:
    corundum = build_crystal(load_crystal("Al2O3_corundum"))
    with pytest.raises(UnitError, match="no isolated unit"):
        facet_nodes(corundum, (0, 0, 1), keep=("AlO6",))
    with pytest.raises(UnitError, match="no Zr-O bond"):
        facet_nodes(corundum, (0, 0, 1), keep=("ZrO6",))
    with pytest.raises(UnitError, match="write for example"):
        facet_nodes(corundum, (0, 0, 1), keep=("octahedra",))
