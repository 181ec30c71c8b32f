"""Split water on slabs: where the groups go, what stays neutral and symmetric, what is refused."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from surfshift.structures.bonding import find_bonds, unit_is_whole, usual_coordination
from surfshift.structures.enumeration import bulk_candidate
from surfshift.structures.hydroxyl_groups import HYDROXYL_ANGLE_DEG, separations
from surfshift.structures.hydroxylation import (
    CoverageError,
    HydroxylationError,
    hydroxylate,
    possible_coverages,
)
from surfshift.structures.importing import read_structure
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.slabs import cut_slabs
from surfshift.structures.symmetry import distinct_sites
from surfshift.structures.vocabulary import AtomicStructure, Candidate, Region

BERLINITE = build_crystal(load_crystal("AlPO4_berlinite"))
CRISTOBALITE = build_crystal(load_crystal("AlPO4_cristobalite"))
DRY = cut_slabs(BERLINITE, (1, 0, 0), thickness_ang=4.0, parent="AlPO4_berlinite")


def counts(structure: AtomicStructure) -> Counter[str]:
    return Counter(structure.elements)


def check_water(wet: Candidate, dry: Candidate) -> None:
    """Neutral, dry + n H2O, whole units, every H in one hydroxyl group of the right shape, no contact too close."""
    structure = wet.structure
    added = counts(structure)
    added.subtract(counts(dry.structure))
    assert structure.total_charge == pytest.approx(0.0)
    assert added["H"] == 2 * added["O"] > 0
    assert f"+{added['O']}H2O" in wet.name
    assert all(n == 0 for e, n in added.items() if e not in "OH")
    bonds = find_bonds(structure)
    distances = structure.model_copy(update={"periodic": (True,) * 3}).to_pymatgen().distance_matrix
    for i, element in enumerate(structure.elements):
        if element != "H":
            continue
        (bond,) = bonds[i]
        assert bond.length_ang == pytest.approx(0.97)
        (other,) = [b for b in bonds[bond.j] if structure.elements[b.j] != "H"]
        cosine = -bond.vector_ang @ other.vector_ang / bond.length_ang / other.length_ang
        assert np.degrees(np.arccos(cosine)) == pytest.approx(HYDROXYL_ANGLE_DEG, abs=0.5)
        near = [j for j in range(len(structure)) if j not in (i, bond.j) and distances[i, j] < 1.45]
        assert not near


@pytest.mark.parametrize("dry", DRY, ids=lambda c: c.name)
def test_full_coverage_heals_every_broken_bond(dry: Candidate) -> None:
    (wet,) = hydroxylate(dry, BERLINITE)
    check_water(wet, dry)
    assert wet.n_undercoordinated == 0
    usual = usual_coordination(BERLINITE)
    bonds = find_bonds(wet.structure)
    for i, element in enumerate(wet.structure.elements):
        if element in ("Al", "P"):
            assert len(bonds[i]) == usual[element] == 4
        if element == "O":
            assert len(bonds[i]) == 2
    assert unit_is_whole(wet.structure, "P", "O", 4)


@pytest.mark.parametrize("dry", DRY, ids=lambda c: c.name)
def test_pairs_are_al_oh_and_p_oh(dry: Candidate) -> None:
    for coverage in possible_coverages(dry, BERLINITE):
        for wet in hydroxylate(dry, BERLINITE, coverage=coverage):
            structure, bonds = wet.structure, find_bonds(wet.structure)
            partners = Counter(
                structure.elements[b.j]
                for i, element in enumerate(structure.elements)
                if element == "H"
                for b in bonds[bonds[i][0].j]
                if structure.elements[b.j] != "H"
            )
            assert partners["Al"] == partners["P"] == counts(structure)["H"] / 2


@pytest.mark.parametrize("dry", DRY, ids=lambda c: c.name)
def test_both_faces_stay_equivalent(dry: Candidate) -> None:
    for coverage in possible_coverages(dry, BERLINITE):
        for wet in hydroxylate(dry, BERLINITE, coverage=coverage):
            assert wet.dipole_e_ang == pytest.approx(0.0, abs=0.01)
            orbits = distinct_sites(wet.structure, elements=["H"])
            assert len(orbits) == counts(wet.structure)["H"] / 2
            assert all(len(orbit.atom_indices) == 2 for orbit in orbits)


def test_variants_are_distinct_and_named_apart() -> None:
    half = hydroxylate(DRY[0], BERLINITE, coverage=0.5)
    assert len(half) == 2
    assert len({wet.id for wet in half}) == len({wet.name for wet in half}) == 2
    hosts = [set(wet.decoration.split(" into ")[1].split(", ")) for wet in half]
    assert hosts[0] != hosts[1]
    (first,) = hydroxylate(DRY[0], BERLINITE, coverage=0.5, max_variants=1)
    assert "1 further" in first.notes[-1]


@settings(max_examples=10, deadline=None)
@given(
    miller=st.sampled_from([(1, 0, 0), (1, 1, 0), (1, 0, 1), (0, 0, 1), (0, 1, 1)]),
    crystal=st.sampled_from(["AlPO4_cristobalite", "AlPO4_berlinite"]),
    rank=st.integers(0, 10),
    data=st.data(),
)
def test_any_coverage_on_any_facet_is_sound(
    miller: tuple[int, int, int], crystal: str, rank: int, data: st.DataObject
) -> None:
    bulk = build_crystal(load_crystal(crystal))
    slabs = cut_slabs(bulk, miller, thickness_ang=3.0, parent=crystal)
    dry = slabs[rank % len(slabs)]
    coverage = data.draw(st.sampled_from([c for c in possible_coverages(dry, bulk) if c == 1.0 or c <= 0.25]))
    for wet in hydroxylate(dry, bulk, coverage=coverage, max_variants=2):
        check_water(wet, dry)
        assert unit_is_whole(wet.structure, "P", "O", 4)


def test_water_compensates_a_polar_slab() -> None:
    (dry,) = cut_slabs(BERLINITE, (0, 0, 1), thickness_ang=7.0, parent="x")
    (wet,) = hydroxylate(dry, BERLINITE)
    assert abs(wet.dipole_e_ang) < abs(dry.dipole_e_ang) / 2
    assert sum(note.startswith("polar") for note in wet.notes) == 1
    assert f"{wet.dipole_e_ang:+.2f}" in wet.notes[0]


def test_added_atoms_are_adsorbates_and_the_slab_below_keeps_its_place() -> None:
    (wet,) = hydroxylate(DRY[1], BERLINITE)
    n_dry = len(DRY[1].structure)
    assert set(wet.regions[n_dry:]) == {Region.ADSORBATE}
    assert Region.ADSORBATE not in wet.regions[:n_dry]
    shift = wet.structure.cart_coords[:n_dry] - DRY[1].structure.cart_coords
    np.testing.assert_allclose(shift - shift[0], 0.0, atol=1e-9)
    spare = wet.structure.lattice[2, 2] - np.ptp(wet.structure.cart_coords[:, 2])
    assert spare == pytest.approx(15.0)


def test_hydroxylated_slab_survives_a_cif_round_trip(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (wet,) = hydroxylate(DRY[0], BERLINITE)
    path = tmp_path / "wet.cif"
    wet.structure.to_pymatgen().to(str(path))
    back = read_structure(path)
    assert counts(back) == counts(wet.structure)
    np.testing.assert_allclose(sorted(back.cart_coords[:, 2]), sorted(wet.structure.cart_coords[:, 2]), atol=1e-4)
    assert Candidate.model_validate_json(wet.model_dump_json()) == wet


@pytest.mark.parametrize(("coverage", "nearest"), [(0.4, "0.5"), (0.9, "1"), (1.5, "1"), (-1.0, "0.5"), (0.0, "0.5")])
def test_impossible_coverage_names_the_nearest(coverage: float, nearest: str) -> None:
    with pytest.raises(CoverageError, match=f"nearest is {nearest}$"):
        hydroxylate(DRY[0], BERLINITE, coverage=coverage)


def test_only_dry_slabs_are_hydroxylated() -> None:
    (wet,) = hydroxylate(DRY[0], BERLINITE)
    with pytest.raises(HydroxylationError, match="not a dry slab"):
        hydroxylate(wet, BERLINITE)
    with pytest.raises(HydroxylationError, match="not a dry slab"):
        hydroxylate(bulk_candidate("AlPO4_berlinite"), BERLINITE)
    with pytest.raises(HydroxylationError, match="not a slab"):
        possible_coverages(bulk_candidate("AlPO4_berlinite"), BERLINITE)


def test_layered_crystal_without_broken_bonds_has_nothing_to_hydroxylate() -> None:
    lioh = build_crystal(load_crystal("LiOH"))
    slab = cut_slabs(lioh, (0, 0, 1), thickness_ang=4.0, parent="LiOH")[0]
    assert slab.n_undercoordinated == 0
    with pytest.raises(HydroxylationError, match="nothing to split water over"):
        hydroxylate(slab, lioh)
    assert possible_coverages(slab, lioh) == ()


def test_anions_shared_by_two_cations_do_not_put_two_oxygens_in_one_place() -> None:
    corundum = build_crystal(load_crystal("Al2O3_corundum"))
    for dry in cut_slabs(corundum, (0, 1, 2), thickness_ang=4.0, parent="Al2O3"):
        for coverage in possible_coverages(dry, corundum):
            try:
                found = hydroxylate(dry, corundum, coverage=coverage, max_variants=2)
            except HydroxylationError as error:
                assert "without clashes" in str(error)  # noqa: PT017 (either outcome is right, a bad structure is not)
                continue
            for wet in found:
                oxygens = np.array([e == "O" for e in wet.structure.elements])
                places = wet.structure.cart_coords[oxygens]
                apart = separations(wet.structure, places, places) + 9.0 * np.eye(len(places))
                assert apart.min() >= 2.2


def test_separations_are_those_of_ase() -> None:
    atoms = DRY[0].structure.to_ase()
    coords = DRY[0].structure.cart_coords
    np.testing.assert_allclose(
        separations(DRY[0].structure, coords, coords), atoms.get_all_distances(mic=True), atol=1e-9
    )


def test_a_coverage_with_too_many_choices_is_refused_before_any_is_made() -> None:
    wide = cut_slabs(BERLINITE, (1, 0, 0), thickness_ang=4.0, parent="AlPO4_berlinite", min_width_ang=24.0)[0]
    coverages = possible_coverages(wide, BERLINITE)
    assert len(coverages) > 20
    with pytest.raises(HydroxylationError, match="choices of sites, more than the 5000") as refused:
        hydroxylate(wide, BERLINITE, coverage=coverages[len(coverages) // 2])
    named = [float(word) for word in str(refused.value).rsplit("coverages ", 1)[1].split(", ")]
    assert named[-1] == 1.0
    assert hydroxylate(wide, BERLINITE, coverage=1.0)


@pytest.mark.parametrize(
    ("name", "miller", "reach_ang"),
    [("Li3YBr6", (1, 1, 1), 2.5), ("Li3InCl6", (1, 1, 0), 2.6), ("LiF", (1, 0, 0), 2.2)],
)
def test_oxygen_of_a_hydroxyl_sits_as_near_as_oxygen_does(
    name: str, miller: tuple[int, int, int], reach_ang: float
) -> None:
    """Not where the larger halide ion was: there it would have no bond to its cation."""
    bulk = build_crystal(load_crystal(name))
    slab = cut_slabs(bulk, miller, thickness_ang=3.0, parent=name, reconstruct=True)[0]
    (wet, *_) = hydroxylate(slab, bulk, coverage=possible_coverages(slab, bulk)[0], max_variants=1)
    bonds = find_bonds(wet.structure)
    oxygen = [k for k in range(len(slab.structure), len(wet.structure)) if wet.structure.elements[k] == "O"]
    assert oxygen
    for k in oxygen:
        hosts = [bond for bond in bonds[k] if wet.structure.elements[bond.j] != "H"]
        assert hosts
        assert min(bond.length_ang for bond in hosts) < reach_ang
