"""Regions by bonds, and the atoms that a relaxation holds."""

import numpy as np
import pytest
from surfshift.structures.bonding import find_bonds
from surfshift.structures.enumeration import bulk_candidate
from surfshift.structures.hydroxylation import hydroxylate
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.regions import FreezeError, freeze_bottom, tag_regions
from surfshift.structures.slabs import cut_slabs
from surfshift.structures.terminations import missing_bonds
from surfshift.structures.vocabulary import Region

BERLINITE = build_crystal(load_crystal("AlPO4_berlinite"))
THICK = cut_slabs(BERLINITE, (1, 0, 0), thickness_ang=14.0, parent="AlPO4_berlinite")[0]
DEPTH = {Region.ADSORBATE: 0, Region.SURFACE: 1, Region.SUBSURFACE: 2, Region.BULK: 3}


def test_atoms_with_broken_bonds_are_surface_and_all_regions_occur() -> None:
    broken = {bond.atom for bond in missing_bonds(THICK.structure, BERLINITE, (1, 0, 0))}
    assert {THICK.regions[i] for i in broken} == {Region.SURFACE}
    assert set(THICK.regions) == {Region.SURFACE, Region.SUBSURFACE, Region.BULK}


def test_regions_lie_in_layers_from_the_outside_in() -> None:
    heights = THICK.structure.cart_coords[:, 2] - THICK.structure.lattice[2, 2] / 2
    means = [
        np.mean([abs(z) for z, region in zip(heights, THICK.regions, strict=True) if region is wanted])
        for wanted in (Region.BULK, Region.SUBSURFACE, Region.SURFACE)
    ]
    assert means == sorted(means)
    assert means[2] > means[0] + 4.0


def test_linked_cations_differ_by_one_region_at_most() -> None:
    bonds = find_bonds(THICK.structure)
    for i, own in enumerate(bonds):
        if THICK.structure.oxidation_states[i] > 0:
            for bond in own:
                for other in bonds[bond.j]:
                    assert abs(DEPTH[THICK.regions[i]] - DEPTH[THICK.regions[other.j]]) <= 1


def test_anions_take_the_outermost_region_of_their_cations() -> None:
    bonds = find_bonds(THICK.structure)
    for i, own in enumerate(bonds):
        if THICK.structure.oxidation_states[i] < 0:
            assert DEPTH[THICK.regions[i]] == min(DEPTH[THICK.regions[bond.j]] for bond in own)


def test_water_makes_its_hosts_surface_even_where_no_bond_was_broken() -> None:
    (wet,) = hydroxylate(THICK, BERLINITE)
    n_dry = len(THICK.structure)
    regions = tag_regions(wet.structure, exposed=(), added=range(n_dry, len(wet.structure)))
    bonds = find_bonds(wet.structure)
    for i in range(n_dry, len(wet.structure)):
        assert regions[i] is Region.ADSORBATE
        for bond in bonds[i]:
            assert regions[bond.j] in (Region.SURFACE, Region.ADSORBATE)
    assert wet.regions[:n_dry] == THICK.regions


def test_bulk_is_bulk() -> None:
    assert set(bulk_candidate("AlPO4_berlinite").regions) == {Region.BULK}
    assert set(tag_regions(BERLINITE, exposed=())) == {Region.BULK}


def test_frozen_bottom_is_the_lowest_part() -> None:
    held = freeze_bottom(THICK, depth_ang=4.0)
    heights = THICK.structure.cart_coords[:, 2]
    free = sorted(set(range(len(heights))) - set(held.frozen_atoms))
    assert heights[list(held.frozen_atoms)].max() <= heights.min() + 4.0 < heights[free].min()
    assert held.structure == THICK.structure
    assert held.id != THICK.id


@pytest.mark.parametrize("depth", [-1.0, 100.0])
def test_impossible_depth_is_refused(depth: float) -> None:
    with pytest.raises(FreezeError, match="choose one between 0"):
        freeze_bottom(THICK, depth_ang=depth)


def test_bulk_has_no_bottom() -> None:
    with pytest.raises(FreezeError, match="no bottom"):
        freeze_bottom(bulk_candidate("LiOH"), depth_ang=1.0)
