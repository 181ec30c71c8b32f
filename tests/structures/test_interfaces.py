"""Interfaces: common cells, what is strained, layers, gaps, and refusals with the nearest match."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from surfshift.structures.assembly import AtomBudgetError
from surfshift.structures.bonding import closest_pair, covalent_distance, unit_is_whole
from surfshift.structures.enumeration import bulk_candidate
from surfshift.structures.interfaces import (
    InterfaceError,
    InterfaceSettings,
    build_interfaces,
    in_plane_supercell,
    plan_interfaces,
)
from surfshift.structures.lattice_matching import NoMatchError, find_matches
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.slabs import cut_slabs
from surfshift.structures.vocabulary import AtomicStructure, Candidate, Layer

LICL = build_crystal(load_crystal("LiCl"))
LIF = build_crystal(load_crystal("LiF"))
LI3PO4 = build_crystal(load_crystal("Li3PO4_beta"))
SUBSTRATE = cut_slabs(LICL, (1, 0, 0), thickness_ang=5.0, parent="LiCl")
FILM = cut_slabs(LIF, (1, 0, 0), thickness_ang=4.0, parent="LiF")
PHOSPHATE = cut_slabs(LI3PO4, (0, 1, 0), thickness_ang=5.0, parent="Li3PO4_beta")
LIMITS = InterfaceSettings(max_strain=0.05, max_area_ang2=125.0, n_shifts=3)


def square(a: float) -> np.ndarray:
    return np.diag([a, a])


@settings(max_examples=20)
@given(a=st.floats(3.0, 6.0), stretch=st.floats(-0.04, 0.04))
def test_a_stretched_square_matches_itself_with_that_strain(a: float, stretch: float) -> None:
    found = find_matches(square(a), square(a * (1 + stretch)), max_strain=0.05, max_area_ang2=a * a * 1.01)
    assert len(found) == 1
    assert found[0].area_ang2 == pytest.approx(a * a)
    assert found[0].strain == pytest.approx((1 / (1 + stretch) - 1,) * 2, abs=1e-6)
    turned = find_matches(
        square(a), square(a * (1 + stretch)), max_strain=0.05, max_area_ang2=a * a * 1.2, strained="substrate"
    )
    assert turned[0].area_ang2 == pytest.approx((a * (1 + stretch)) ** 2)
    assert turned[0].strain == pytest.approx((stretch, stretch), abs=1e-6)
    shared = find_matches(
        square(a), square(a * (1 + stretch)), max_strain=0.05, max_area_ang2=a * a * 1.2, strained="both"
    )
    assert (1 + shared[0].strain[0]) ** 2 * (1 + stretch) == pytest.approx(1.0, abs=1e-6)


def test_known_coincidence_of_two_squares() -> None:
    # 5 x 5 and 4 x 4 cells of squares of 4 and 5 angstrom coincide; no smaller common cell is unstrained
    found = find_matches(square(5.0), square(4.0), max_strain=1e-6, max_area_ang2=401.0)
    assert found[0].area_ang2 == pytest.approx(400.0)


@pytest.mark.parametrize("matrix", [[[1, 0], [0, 1]], [[2, 1], [0, 1]], [[1, 1], [-1, 2]]])
def test_supercell_keeps_density_and_atoms(matrix: list[list[int]]) -> None:
    slab = PHOSPHATE[0].structure
    n = abs(round(float(np.linalg.det(matrix))))
    grown = in_plane_supercell(slab, np.array(matrix))
    assert len(grown) == n * len(slab)
    area = np.linalg.norm(np.cross(*grown.lattice[:2])) / np.linalg.norm(np.cross(*slab.lattice[:2]))
    assert area == pytest.approx(n)
    assert closest_pair(grown)[2] == pytest.approx(closest_pair(slab)[2], abs=1e-6)
    assert unit_is_whole(grown, "P", "O", 4)


def check_interface(candidate: Candidate, substrate: Candidate, film: Candidate) -> None:
    structure, record = candidate.structure, candidate.interface_record
    assert record is not None
    assert structure.total_charge == pytest.approx(0.0)
    i, j, distance = closest_pair(structure)
    assert distance >= 0.75 * covalent_distance(structure.elements[i], structure.elements[j])
    layers = np.array([layer == Layer.FILM for layer in record.layers])
    heights = structure.cart_coords[:, 2]
    assert heights[layers].mean() > heights[~layers].mean()
    assert heights[layers].min() - heights[~layers].max() == pytest.approx(record.gap_ang, abs=1e-6)
    for slab, part, matrix in (
        (substrate, ~layers, record.substrate_matrix),
        (film, layers, record.film_matrix),
    ):
        n = abs(round(float(np.linalg.det(matrix))))
        found = Counter(e for e, inside in zip(structure.elements, part, strict=True) if inside)
        assert found == {e: n * count for e, count in Counter(slab.structure.elements).items()}
    assert set(record.near_interface) <= set(range(len(structure)))
    assert {record.layers[k] for k in record.near_interface} == {Layer.SUBSTRATE, Layer.FILM}
    assert Candidate.model_validate_json(candidate.model_dump_json()) == candidate


def test_film_takes_up_the_strain_and_the_substrate_stays() -> None:
    (candidate, *_) = build_interfaces(SUBSTRATE[:1], FILM[:1], LIMITS)
    check_interface(candidate, SUBSTRATE[0], FILM[0])
    record = candidate.interface_record
    assert record is not None
    assert record.strained == "film"
    assert max(abs(value) for value in record.strain) <= 0.05
    lower = SUBSTRATE[0].structure
    area = np.linalg.norm(np.cross(*lower.lattice[:2]))
    assert record.area_ang2 / area == pytest.approx(round(record.area_ang2 / area), abs=1e-6)
    # the substrate's nearest neighbours are as far apart as in the slab
    kept = [k for k, layer in enumerate(record.layers) if layer == Layer.SUBSTRATE]
    part = candidate.structure.model_copy(
        update={
            "elements": tuple(candidate.structure.elements[k] for k in kept),
            "frac_coords": tuple(candidate.structure.frac_coords[k] for k in kept),
            "oxidation_states": tuple(candidate.structure.oxidation_states[k] for k in kept),
        }
    )
    assert closest_pair(part)[2] == pytest.approx(closest_pair(lower)[2], abs=1e-6)
    assert any("film strained" in note for note in candidate.notes)


def test_same_crystal_grows_on_itself_in_registry() -> None:
    """LiCl on LiCl without strain: the best shift puts Li above Cl, as the crystal goes on."""
    asked = InterfaceSettings(max_strain=0.001, max_area_ang2=20.0, n_shifts=4)
    (candidate, *_) = build_interfaces(SUBSTRATE[:1], SUBSTRATE[:1], asked)
    structure, record = candidate.structure, candidate.interface_record
    assert record is not None
    distances = structure.model_copy(update={"periodic": (True,) * 3}).to_pymatgen().distance_matrix
    across = [
        (structure.elements[i], structure.elements[j])
        for i in range(len(structure))
        for j in range(len(structure))
        if record.layers[i] != record.layers[j] and distances[i, j] < 3.0
    ]
    assert across
    assert {frozenset(pair) for pair in across} == {frozenset({"Li", "Cl"})}


def test_an_energy_model_ranks_and_is_named() -> None:
    def energy(structure: AtomicStructure) -> float:
        return -float(np.ptp(structure.cart_coords[:, 2]))

    (candidate, *_) = build_interfaces(SUBSTRATE[:1], FILM[:1], LIMITS, energy=energy, energy_name="height")
    record = candidate.interface_record
    assert record is not None
    assert record.score_model == "height"
    lower, upper = (np.ptp(s.structure.cart_coords[:, 2]) for s in (SUBSTRATE[0], FILM[0]))
    height = np.ptp(candidate.structure.cart_coords[:, 2])
    assert record.score_ev_per_ang2 * record.area_ang2 == pytest.approx(lower + upper - height, abs=1e-6)


def test_the_gap_follows_the_energy_model_to_its_minimum() -> None:
    (ionic, *_) = build_interfaces(SUBSTRATE[:1], FILM[:1], LIMITS)
    assert ionic.interface_record is not None
    assert ionic.interface_record.scan == ()
    wanted = ionic.interface_record.gap_ang + 0.75
    height = sum(float(np.ptp(s.structure.cart_coords[:, 2])) for s in (SUBSTRATE[0], FILM[0])) + wanted

    def spring(structure: AtomicStructure) -> float:
        return (float(np.ptp(structure.cart_coords[:, 2])) - height) ** 2

    (candidate, *_) = build_interfaces(SUBSTRATE[:1], FILM[:1], LIMITS, energy=spring, energy_name="spring")
    check_interface(candidate, SUBSTRATE[0], FILM[0])
    record = candidate.interface_record
    assert record is not None
    assert abs(record.gap_ang - wanted) <= 0.1 + 1e-9
    assert len(record.scan) > LIMITS.n_scored
    assert min(one.score_ev_per_ang2 for one in record.scan) == pytest.approx(record.score_ev_per_ang2)
    best = min(record.scan, key=lambda one: one.score_ev_per_ang2)
    assert best.gap_ang == pytest.approx(record.gap_ang)
    kept = LIMITS.model_copy(update={"gap_ang": wanted})
    (fixed, *_) = build_interfaces(SUBSTRATE[:1], FILM[:1], kept, energy=spring, energy_name="spring")
    assert fixed.interface_record is not None
    assert fixed.interface_record.gap_ang == wanted
    assert len(fixed.interface_record.scan) == LIMITS.n_scored


def test_no_match_names_the_nearest_and_that_works() -> None:
    with pytest.raises(NoMatchError, match=r"smallest strain found is ([\d.]+) % at (\d+) A2") as caught:
        plan_interfaces(SUBSTRATE[:1], FILM[:1], InterfaceSettings(max_strain=0.01, max_area_ang2=60.0))
    words = str(caught.value).split("smallest strain found is ")[1].split()
    strain, area = float(words[0]), float(words[3])
    allowed = InterfaceSettings(max_strain=(strain + 0.06) / 100, max_area_ang2=area + 1.0)
    assert plan_interfaces(SUBSTRATE[:1], FILM[:1], allowed)


def test_atom_budget_is_checked_before_building() -> None:
    with pytest.raises(AtomBudgetError, match="set max_atoms="):
        build_interfaces(SUBSTRATE[:1], FILM[:1], LIMITS.model_copy(update={"max_atoms": 10}))


def test_a_bulk_is_refused() -> None:
    with pytest.raises(InterfaceError, match="bulk"):
        plan_interfaces([bulk_candidate("LiCl")], FILM, LIMITS)
