"""Coordination numbers and bridges of networks that are known."""

from __future__ import annotations

import pytest
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.network import network_statistics


@pytest.mark.parametrize("name", ["AlPO4_berlinite", "AlPO4_cristobalite", "AlPO4_tridymite"])
def test_crystals_of_alpo4_have_a_network_without_defects(name: str) -> None:
    bulk = build_crystal(load_crystal(name))
    found = network_statistics(bulk)
    n = bulk.elements.count("P")
    assert found.coordination == {"Al": {4: n}, "P": {4: n}}
    assert found.bridges == {"Al-O-P": 4 * n}
    assert found.q == {0: n}
    assert found.n_miscoordinated == found.n_wrong_bridges == 0


def test_pyrophosphate_and_chains_have_their_q() -> None:
    pyro = network_statistics(build_crystal(load_crystal("Li4P2O7")))
    assert set(pyro.q) == {1}
    chains = network_statistics(build_crystal(load_crystal("LiPO3_chain_model")))
    assert set(chains.q) == {2}


def test_a_removed_oxygen_leaves_two_defects() -> None:
    bulk = build_crystal(load_crystal("AlPO4_berlinite"))
    gone = bulk.elements.index("O")
    kept = [k for k in range(len(bulk)) if k != gone]
    broken = bulk.model_copy(
        update={
            "elements": tuple(bulk.elements[k] for k in kept),
            "frac_coords": tuple(bulk.frac_coords[k] for k in kept),
            "oxidation_states": tuple(bulk.oxidation_states[k] for k in kept),
        }
    )
    found = network_statistics(broken)
    assert found.coordination == {"Al": {3: 1, 4: 2}, "P": {3: 1, 4: 2}}
    assert found.n_miscoordinated == 2


def test_nitrogen_between_phosphorus_is_named_as_in_the_literature() -> None:
    # chains of PO2N2 tetrahedra that share nitrogen (Du et al., Phys. Rev. B 81, 184106 (2010))
    bulk = build_crystal(load_crystal("Li2PO2N"))
    n = bulk.elements.count("P")
    found = network_statistics(bulk)
    assert found.units == {"PO2N2": n}
    assert found.nitrogen == {"Nd": n}
    assert sum(size * count for size, count in found.clusters.items()) == n
    assert min(found.clusters) > 1
    gone = bulk.elements.index("P")
    kept = [k for k in range(len(bulk)) if k != gone]
    broken = bulk.model_copy(
        update={
            name: tuple(getattr(bulk, name)[k] for k in kept)
            for name in ("elements", "frac_coords", "oxidation_states")
        }
    )
    assert network_statistics(broken).nitrogen == {"Na": 2, "Nd": n - 2}


def test_groups_of_tetrahedra_have_their_size() -> None:
    pyro = build_crystal(load_crystal("Li4P2O7"))
    assert network_statistics(pyro).clusters == {2: pyro.elements.count("P") // 2}
    alone = network_statistics(build_crystal(load_crystal("Li3PO4_beta")))
    assert set(alone.clusters) == {1}
    assert set(alone.units) == {"PO4"}
