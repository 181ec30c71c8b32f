"""Ordered cells of disordered crystals, against pymatgen's Ewald sum and structure matcher."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.analysis.structure_matcher import StructureMatcher
from surfshift.structures.disorder import DisorderedSite, DisorderedStructure, SiteSpecies
from surfshift.structures.importing import read_structure
from surfshift.structures.library import build_crystal, build_disordered, load_crystal
from surfshift.structures.ordering import OrderedEnsemble, OrderingError, order_structure
from surfshift.structures.ordering_search import ewald_matrix
from surfshift.structures.rounding import NotNeutralError, round_occupancies

if TYPE_CHECKING:
    from pathlib import Path

    from surfshift.structures.vocabulary import AtomicStructure

LATP = order_structure(build_disordered(load_crystal("LATP_x0.3")), n_starts=4, n_moves=20_000)
LLZO = order_structure(build_disordered(load_crystal("LLZO_cubic")), n_starts=4, n_moves=50_000, n_orderings=5)


def shortest(structure: AtomicStructure, element: str) -> float:
    sites = [k for k, e in enumerate(structure.elements) if e == element]
    distances = structure.to_pymatgen().distance_matrix[np.ix_(sites, sites)]
    return float(distances[~np.eye(len(sites), dtype=bool)].min())


def rock_salt(cation: dict[tuple[str, float], float], anion: dict[tuple[str, float], float]) -> DisorderedStructure:
    """Eight ions; every cation site and every anion site holds the given species."""
    sites = []
    for label, held, first in (("M", cation, (0.0, 0.0, 0.0)), ("X", anion, (0.5, 0.5, 0.5))):
        species = tuple(SiteSpecies(element=e, oxidation_state=q, occupancy=n) for (e, q), n in held.items())
        for shift in ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)):
            x, y, z = (float(v) for v in (np.array(first) + shift) % 1.0)
            sites.append(DisorderedSite(label=label, frac_coords=(x, y, z), species=species))
    lattice = ((5.0, 0.0, 0.0), (0.0, 5.0, 0.0), (0.0, 0.0, 5.0))
    return DisorderedStructure(name="rock salt", lattice_ang=lattice, sites=tuple(sites))


@pytest.mark.parametrize("name", ["AlPO4_berlinite", "LiAlCl4", "Li4P2O7"])
def test_matrix_gives_the_energy_of_an_independent_ewald_sum(name: str) -> None:
    crystal = build_crystal(load_crystal(name))
    charges = np.array(crystal.oxidation_states)
    energy = charges @ ewald_matrix(crystal.lattice, np.array(crystal.frac_coords)) @ charges
    assert energy == pytest.approx(float(EwaldSummation(crystal.to_pymatgen()).total_energy), rel=1e-5)


@pytest.mark.parametrize("ensemble", [LATP, LLZO], ids=["LATP", "LLZO"])
def test_ensemble_is_neutral_ranked_and_without_duplicates(ensemble: OrderedEnsemble) -> None:
    assert len(ensemble.orderings) >= 3
    energies = [ordering.ewald_ev for ordering in ensemble.orderings]
    assert energies == sorted(energies)
    assert {round(o.structure.total_charge, 9) for o in ensemble.orderings} == {0.0}
    assert len({o.structure.formula for o in ensemble.orderings}) == 1
    matcher = StructureMatcher(primitive_cell=False, scale=False, ltol=0.01, stol=0.02)
    near = [(a, b) for a, b in combinations(ensemble.orderings, 2) if abs(a.ewald_ev - b.ewald_ev) < 0.02]
    assert not any(matcher.fit(a.structure.to_pymatgen(), b.structure.to_pymatgen()) for a, b in near)
    assert OrderedEnsemble.model_validate_json(ensemble.model_dump_json()) == ensemble


def test_latp_keeps_its_framework_and_its_counts() -> None:
    structure = LATP.orderings[0].structure
    assert structure.elements.count("P") == 18
    assert structure.elements.count("Al") == structure.elements.count("Li") - 6 == 2
    assert LATP.split == "published"
    assert "Al on" in LATP.rounding


def test_llzo_lithium_keeps_its_distance_and_its_number() -> None:
    for ordering in LLZO.orderings:
        assert ordering.structure.elements.count("Li") == 56
        assert shortest(ordering.structure, "Li") > LLZO.min_distance_ang
    # 0.94 on 24d and 0.35 on 96h cannot be together: every 24d has four 96h 1.64 angstrom away
    assert LLZO.split == "free"


def test_differences_of_the_energies_are_those_of_an_independent_ewald_sum() -> None:
    first, second = (EwaldSummation(o.structure.to_pymatgen()).total_energy for o in LATP.orderings[:2])
    difference = LATP.orderings[1].ewald_ev - LATP.orderings[0].ewald_ev
    assert second - first == pytest.approx(difference, abs=0.02)


def test_search_finds_the_ground_state_of_all_arrangements() -> None:
    disordered = build_disordered(load_crystal("Li3YCl6_trigonal"))
    ensemble = order_structure(disordered, n_starts=4, n_moves=5000)
    sites = [site for site in disordered.sites if not site.is_ordered]
    full = [site for site in disordered.sites if site.is_ordered]
    frac = np.array([s.frac_coords for s in full + sites])
    matrix = ewald_matrix(disordered.lattice, frac)
    charges = [s.species[0].oxidation_state for s in full]
    every = [
        np.array([*charges, *(1.0 if k in chosen else 0.0 for k in range(len(sites)))])
        for chosen in combinations(range(len(sites)), 3)
    ]
    energies = sorted(q @ matrix @ q for q in every)
    found = EwaldSummation(ensemble.orderings[0].structure.to_pymatgen()).total_energy
    assert found == pytest.approx(energies[0], abs=0.01)


def test_same_seed_same_ensemble() -> None:
    disordered = build_disordered(load_crystal("Li3YCl6_trigonal"))
    assert order_structure(disordered, seed=3, n_moves=2000) == order_structure(disordered, seed=3, n_moves=2000)


def test_given_energy_ranks() -> None:
    def smallest_first(structure: AtomicStructure) -> tuple[float, AtomicStructure]:
        return -float(EwaldSummation(structure.to_pymatgen()).total_energy), structure

    disordered = build_disordered(load_crystal("LATP_x0.5"))
    ensemble = order_structure(
        disordered, n_orderings=3, n_starts=2, n_moves=8000, evaluate=smallest_first, method="reversed"
    )
    energies = [o.energy_ev for o in ensemble.orderings]
    assert None not in energies
    assert energies == sorted(energies, key=lambda e: e or 0.0)
    assert [o.ewald_ev for o in ensemble.orderings] == sorted((o.ewald_ev for o in ensemble.orderings), reverse=True)
    assert ensemble.method == "reversed"


@settings(max_examples=25)
@given(st.floats(min_value=0.05, max_value=0.95), st.sampled_from([2.0, 3.0, 4.0]), st.integers(0, 5))
def test_random_occupancies_give_neutral_cells_or_a_named_refusal(share: float, charge: float, seed: int) -> None:
    disordered = rock_salt({("Li", 1.0): share, ("Mg", charge): 1.0 - share}, {("O", -2.0): 1.0})
    try:
        ensemble = order_structure(disordered, seed=seed, n_starts=2, n_moves=500, max_atoms=64)
    except NotNeutralError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert "instead of" in refusal or "no whole numbers" in refusal
        return
    for ordering in ensemble.orderings:
        assert ordering.structure.total_charge == pytest.approx(0.0)
    for count in ensemble.counts:
        assert abs(count.used - count.wanted) < max(1.0, 0.1 * count.n_sites)


@settings(max_examples=25)
@given(st.integers(1, 7), st.integers(1, 3))
def test_exact_occupancies_are_kept(n_vacant: int, cells: int) -> None:
    share = n_vacant / 8
    disordered = rock_salt({("Li", 1.0): 1.0 - share}, {("F", -1.0): 1.0 - share})
    assume(float(4 * cells * share).is_integer())
    assert all(count.used == pytest.approx(count.wanted) for count in round_occupancies(disordered, cells))


@settings(max_examples=8)
@given(st.integers(0, 100))
def test_cif_round_trip(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    disordered = build_disordered(load_crystal("Li3YCl6_trigonal"))
    structure = order_structure(disordered, seed=seed, n_starts=1, n_moves=300).orderings[0].structure
    path: Path = tmp_path_factory.mktemp("cif") / "ordered.cif"
    structure.to_pymatgen().to(str(path))
    back = read_structure(path)
    assert sorted(back.elements) == sorted(structure.elements)
    assert StructureMatcher(primitive_cell=False, scale=False).fit(back.to_pymatgen(), structure.to_pymatgen())


def test_composition_that_cannot_be_neutral_names_the_nearest() -> None:
    disordered = rock_salt({("Li", 1.0): 0.25, ("Mg", 2.0): 0.75}, {("O", -2.0): 1.0})
    with pytest.raises(NotNeutralError, match=r"nearest neutral composition has .*Mg on M 1 instead of 0\.75"):
        order_structure(disordered, supercell=(1, 1, 1))


def test_odd_charges_have_no_neutral_cell() -> None:
    disordered = rock_salt({("Li", 1.0): 0.5}, {("O", -2.5): 1.0})
    with pytest.raises(NotNeutralError, match="no whole numbers of atoms"):
        order_structure(disordered, supercell=(1, 1, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_atoms": 20}, "max_atoms = 30"),
        ({"supercell": (0, 1, 1)}, "at least 1"),
        ({"min_distance_ang": 9.0, "n_moves": 200, "n_starts": 2}, "no arrangement keeps ions"),
    ],
)
def test_limits_that_cannot_be_kept_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(OrderingError, match=message):
        order_structure(build_disordered(load_crystal("Li3YCl6_trigonal")), **options)  # type: ignore[arg-type]


def test_ordered_crystal_needs_no_ordering() -> None:
    with pytest.raises(OrderingError, match="ordered already"):
        order_structure(build_disordered(load_crystal("LiF")))
