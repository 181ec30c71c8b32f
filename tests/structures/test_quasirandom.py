"""Quasirandom cells: randomness against counted neighbours, symmetry, neutrality, and what is refused."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from surfshift.structures.disorder import DisorderedSite, DisorderedStructure, SiteSpecies
from surfshift.structures.library import build_disordered, load_crystal
from surfshift.structures.ordering import OrderedEnsemble, OrderingError
from surfshift.structures.quasirandom import order_quasirandom, substituted_labels

LATP = build_disordered(load_crystal("LATP_x0.3"))
LLZTO = build_disordered(load_crystal("LLZTO"))
FAST = {"n_moves": 10_000, "n_starts": 2}


def rock_salt(cation: dict[str, float]) -> DisorderedStructure:
    species = tuple(SiteSpecies(element=e, oxidation_state=2.0, occupancy=n) for e, n in cation.items())
    oxide = (SiteSpecies(element="O", oxidation_state=-2.0, occupancy=1.0),)
    sites = []
    for label, held, first in (("M", species, (0.0, 0.0, 0.0)), ("X", oxide, (0.5, 0.5, 0.5))):
        for shift in ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)):
            x, y, z = (float(v) for v in (np.array(first) + shift) % 1.0)
            sites.append(DisorderedSite(label=label, frac_coords=(x, y, z), species=held))
    lattice = ((4.2, 0.0, 0.0), (0.0, 4.2, 0.0), (0.0, 0.0, 4.2))
    return DisorderedStructure(name="rock salt", lattice_ang=lattice, sites=tuple(sites))


def share_of_unlike_neighbours(ensemble: OrderedEnsemble, a: str, b: str, reach_ang: float) -> list[float]:
    """Share of b among the nearest a and b ions around a, by pymatgen's periodic neighbours."""
    shares = []
    for ordering in ensemble.orderings:
        structure = ordering.structure.to_pymatgen()
        near = [
            neighbour.species_string.rstrip("0123456789+-")
            for site in structure
            if site.specie.symbol == a
            for neighbour in structure.get_neighbors(site, reach_ang)
        ]
        metals = [symbol for symbol in near if symbol in (a, b)]
        shares.append(metals.count(b) / len(metals))
    return shares


def test_random_alloy_has_as_many_unlike_neighbours_as_chance_gives() -> None:
    ensemble = order_quasirandom(rock_salt({"Mg": 0.5, "Ni": 0.5}), supercell=(2, 2, 2), n_orderings=3, seed=3)
    # 12 nearest metals at 2.97 angstrom, 6 next ones at 4.2
    assert share_of_unlike_neighbours(ensemble, "Mg", "Ni", 3.1) == pytest.approx([0.5] * 3, abs=0.03)
    assert share_of_unlike_neighbours(ensemble, "Mg", "Ni", 4.3) == pytest.approx([0.5] * 3, abs=0.05)
    assert all(o.ewald_ev < 0 and o.energy_ev is None for o in ensemble.orderings)


def test_more_tries_come_closer_to_chance() -> None:
    errors = []
    for iterations in (20, 10_000):
        ensemble = order_quasirandom(
            rock_salt({"Mg": 0.5, "Ni": 0.5}), supercell=(2, 2, 2), n_orderings=1, iterations=iterations
        )
        errors.append(ensemble.orderings[0].short_range_order or 0.0)
    assert errors[1] < errors[0]


@pytest.mark.parametrize(("disordered", "pair"), [(LATP, ("Al", "Ti")), (LLZTO, ("Zr", "Ta"))], ids=["LATP", "LLZTO"])
def test_library_crystals_are_neutral_distinct_and_keep_their_counts(
    disordered: DisorderedStructure, pair: tuple[str, str]
) -> None:
    ensemble = order_quasirandom(disordered, n_orderings=3, **FAST)
    assert len(ensemble.orderings) == 3
    orders = [o.short_range_order for o in ensemble.orderings]
    assert orders == sorted(orders, key=lambda v: v or 0.0)
    for ordering in ensemble.orderings:
        assert ordering.structure.total_charge == pytest.approx(0.0, abs=1e-9)
        for element in pair:
            used = sum(c.used for c in ensemble.counts if c.element == element)
            assert ordering.structure.elements.count(element) == used
    matcher = StructureMatcher(primitive_cell=False, scale=False, ltol=0.01, stol=0.02)
    framework = [o.structure.to_pymatgen() for o in ensemble.orderings]
    for structure in framework:
        structure.remove_species([s for s in structure.composition.elements if s.symbol == "Li"])
    assert not any(matcher.fit(a, b) for a, b in combinations(framework, 2))
    assert OrderedEnsemble.model_validate_json(ensemble.model_dump_json()) == ensemble


def test_same_seed_gives_the_same_cells() -> None:
    first, again = (order_quasirandom(LATP, n_orderings=2, seed=5, **FAST) for _ in range(2))
    assert first == again


def test_energy_is_recorded_and_does_not_rank() -> None:
    ensemble = order_quasirandom(
        rock_salt({"Mg": 0.5, "Ni": 0.5}),
        supercell=(2, 1, 1),
        n_orderings=3,
        evaluate=lambda structure: (-float(structure.frac_coords[0][0]), structure),
    )
    assert all(o.energy_ev is not None for o in ensemble.orderings)
    orders = [o.short_range_order or 0.0 for o in ensemble.orderings]
    assert orders == sorted(orders)


def test_vacancies_by_chance_when_asked() -> None:
    """Every second cation missing, charge balanced by its oxidation state."""
    disordered = rock_salt({"Mg": 0.5}).model_copy()
    sites = tuple(
        s
        if s.label == "X"
        else s.model_copy(update={"species": (s.species[0].model_copy(update={"oxidation_state": 4.0}),)})
        for s in disordered.sites
    )
    half = disordered.model_copy(update={"sites": sites})
    assert substituted_labels(half) == ()
    ensemble = order_quasirandom(half, sublattices=["M"], supercell=(2, 2, 1), n_orderings=2)
    assert {o.structure.elements.count("Mg") for o in ensemble.orderings} == {8}


@pytest.mark.parametrize(
    ("name", "sublattices", "words"),
    [
        ("LLZO_cubic", (), "nothing to substitute at random"),
        ("LLZO_cubic", ("Li1",), "exclude each other"),
        ("LLZO_cubic", ("Li2",), "positions of Li2 and Li1"),
        ("LLZTO", ("Zr",), "no disordered site 'Zr'"),
    ],
)
def test_what_chance_cannot_place_is_refused(name: str, sublattices: tuple[str, ...], words: str) -> None:
    with pytest.raises(OrderingError, match=words):
        order_quasirandom(build_disordered(load_crystal(name)), sublattices=sublattices)
