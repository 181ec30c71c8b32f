"""Decorated slabs: neutral, without clash, units whole, atoms accounted for, alike on both faces, refused by name."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pymatgen.io.cif import CifParser, CifWriter
from surfshift.structures.assembly import AtomBudgetError, DecorationError, NoRoomError, NoSiteError
from surfshift.structures.bonding import closest_pair, covalent_distance, find_bonds, max_bond_length, unit_is_whole
from surfshift.structures.decorations.decorate import decorate
from surfshift.structures.decorations.settings import (
    Carbonate,
    DecorationSettings,
    Drying,
    Fragment,
    GraftedSilane,
    IonAdatoms,
    IonVacancies,
    MolecularWater,
    OpenBridges,
    ProtonExchange,
    SplitWater,
    read_settings,
)
from surfshift.structures.errors import SurfshiftError
from surfshift.structures.faces import SiteCountError, slab_motions
from surfshift.structures.hydroxylation import CoverageError, HydroxylationError, hydroxylate
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.slabs import cut_slabs
from surfshift.structures.vocabulary import AtomicStructure, Candidate, Region

BERLINITE = build_crystal(load_crystal("AlPO4_berlinite"))
LI3PO4 = build_crystal(load_crystal("Li3PO4_beta"))
LI2O = build_crystal(load_crystal("Li2O"))
LICL = build_crystal(load_crystal("LiCl"))
DRY = cut_slabs(BERLINITE, (1, 0, 0), thickness_ang=4.0, parent="AlPO4_berlinite")[0]
WET = hydroxylate(DRY, BERLINITE)[0]
PHOSPHATE = cut_slabs(LI3PO4, (0, 1, 0), thickness_ang=5.0, parent="Li3PO4_beta")[0]
OXIDE = cut_slabs(LI2O, (1, 1, 0), thickness_ang=5.0, parent="Li2O")[0]
CHLORIDE = cut_slabs(LICL, (1, 0, 0), thickness_ang=6.0, parent="LiCl")[0]

CASES: dict[str, tuple[Candidate, AtomicStructure, DecorationSettings, dict[str, int]]] = {
    "split water": (DRY, BERLINITE, SplitWater(coverage=0.5), {"O": 2, "H": 4}),
    "opened bridges": (DRY, BERLINITE, OpenBridges(max_variants=1), {"O": 2, "H": 4}),
    "water on cations": (DRY, BERLINITE, MolecularWater(max_variants=1), {"O": 2, "H": 4}),
    "water in two layers": (DRY, BERLINITE, MolecularWater(second_layer=1, max_variants=1), {"O": 4, "H": 8}),
    "water on hydroxyls": (WET, BERLINITE, MolecularWater(on="hydroxyl", max_variants=1), {"O": 2, "H": 4}),
    "proton exchange": (PHOSPHATE, LI3PO4, ProtonExchange(max_variants=1), {"Li": -2, "H": 2}),
    "vacancy and proton": (PHOSPHATE, LI3PO4, IonVacancies(max_variants=1), {"Li": -2, "H": 2}),
    "vacancies of Li2O": (OXIDE, LI2O, IonVacancies(compensation="anion", max_variants=1), {"Li": -4, "O": -2}),
    "vacancies of LiCl": (CHLORIDE, LICL, IonVacancies(compensation="anion", max_variants=1), {"Li": -2, "Cl": -2}),
    "LiOH added": (PHOSPHATE, LI3PO4, IonAdatoms(max_variants=1), {"Li": 2, "O": 2, "H": 2}),
    "Li for a proton": (WET, BERLINITE, IonAdatoms(compensation="proton", max_variants=1), {"Li": 2, "H": -2}),
    "LiCl added": (
        CHLORIDE,
        LICL,
        IonAdatoms(compensation="halide", max_variants=1, supercell=(2, 2)),
        {"Li": 2, "Cl": 2},
    ),
    "carbonate": (OXIDE, LI2O, Carbonate(max_variants=1, supercell=(2, 1)), {"C": 2, "O": 4}),
    "Li2CO3 units": (DRY, BERLINITE, Carbonate(form="li2co3", max_variants=1), {"Li": 4, "C": 2, "O": 6}),
    "silane, one bond": (
        WET,
        BERLINITE,
        GraftedSilane(n_bonds=1, rest="H", remaining="hydroxyl", supercell="auto", max_variants=1),
        {"H": 4, "O": 4, "Si": 2},
    ),
    "silane, two bonds": (
        WET,
        BERLINITE,
        GraftedSilane(n_bonds=2, supercell="auto", max_variants=1),
        {"H": 8, "O": 2, "Si": 2, "C": 4},
    ),
    "dimethyl ether": (DRY, BERLINITE, Fragment(max_variants=1), {"C": 4, "O": 2, "H": 12}),
}
MADE: dict[str, tuple[Candidate, ...]] = {}


def made(case: str) -> Candidate:
    slab, bulk, asked, _ = CASES[case]
    if case not in MADE:
        MADE[case] = decorate(slab, bulk, asked)
    return MADE[case][0]


def check_sound(candidate: Candidate, slab: Candidate) -> None:
    """Neutral, no pair below 75 % of the covalent radii, all atoms accounted for, JSON and CIF round trips."""
    structure, record = candidate.structure, candidate.decoration_record
    assert structure.total_charge == pytest.approx(0.0)
    i, j, distance = closest_pair(structure)
    assert distance >= 0.75 * covalent_distance(structure.elements[i], structure.elements[j])
    assert record is not None
    assert record.parent_id == slab.id
    assert len(record.parent_atoms) == len(structure)
    for atom, parent in enumerate(record.parent_atoms):
        if parent is not None:
            assert structure.elements[atom] == slab.structure.elements[parent]
    n_cells = record.supercell[0] * record.supercell[1]
    change = Counter(structure.elements)
    change.subtract({e: n * n_cells for e, n in Counter(slab.structure.elements).items()})
    assert {e: n for e, n in change.items() if n} == record.formula_change
    n_kept = sum(parent is not None for parent in record.parent_atoms)
    assert n_kept + len(record.removed) == n_cells * len(slab.structure)
    for site in record.sites:
        heights = structure.cart_coords[list(site.atoms), 2]
        if len(heights):
            assert (heights.mean() > structure.lattice[2, 2] / 2) == (site.face == "upper")
    assert Candidate.model_validate_json(candidate.model_dump_json()) == candidate
    check_cif(structure)


def check_cif(structure: AtomicStructure) -> None:
    given = structure.model_copy(update={"periodic": (True,) * 3}).to_pymatgen()
    (read,) = CifParser.from_str(str(CifWriter(given)), site_tolerance=1e-5).parse_structures(primitive=False)
    assert read.composition == given.composition
    assert np.allclose(read.lattice.abc, given.lattice.abc, atol=1e-4)
    distances = given.lattice.get_all_distances(given.frac_coords, read.frac_coords)
    assert distances.min(axis=1).max() < 1e-3


@pytest.mark.parametrize("case", CASES)
def test_every_kind_is_sound_and_changes_the_formula_as_declared(case: str) -> None:
    slab, _, asked, change = CASES[case]
    candidate = made(case)
    check_sound(candidate, slab)
    record = candidate.decoration_record
    assert record is not None
    assert record.formula_change == change
    assert record.kind == asked.kind
    assert record.charge_balance
    assert record.per_face[0] == record.per_face[1]
    for atom in record.added:
        assert candidate.regions[atom] == Region.ADSORBATE
    if "P" in candidate.structure.elements:
        assert unit_is_whole(candidate.structure, "P", "O", 4)


@pytest.mark.parametrize("case", [case for case in CASES if case != "split water"])
def test_both_faces_are_treated_alike_where_symmetry_relates_them(case: str) -> None:
    slab, _, _, _ = CASES[case]
    assert any(rotation[2, 2] < 0 for rotation, _ in slab_motions(slab.structure))
    candidate = made(case)
    assert any(rotation[2, 2] < 0 for rotation, _ in slab_motions(candidate.structure))
    assert candidate.dipole_e_ang == pytest.approx(0.0, abs=0.02)


def test_water_binds_through_oxygen_and_its_second_layer_by_a_hydrogen_bond() -> None:
    candidate = made("water in two layers")
    structure, record = candidate.structure, candidate.decoration_record
    assert record is not None
    distances = structure.model_copy(update={"periodic": (True,) * 3}).to_pymatgen().distance_matrix
    for site in record.sites:
        oxygen, *hydrogens = site.atoms
        assert structure.elements[oxygen] == "O"
        near = [k for k in range(len(structure)) if k not in site.atoms]
        if site.label == "water":
            aluminium = [k for k in near if structure.elements[k] == "Al"]
            assert distances[oxygen, aluminium].min() < max_bond_length("Al", "O", 3.0)
        else:
            others = [k for k in near if structure.elements[k] == "H"]
            assert 1.55 < distances[oxygen, others].min() < 2.4
        for hydrogen in hydrogens:
            assert distances[oxygen, hydrogen] == pytest.approx(0.97, abs=0.02)
            assert distances[hydrogen, near].min() > 1.5


def test_opened_bridge_is_open_and_heals_as_two_hydroxyls() -> None:
    candidate = made("opened bridges")
    structure, record = candidate.structure, candidate.decoration_record
    assert record is not None
    bonds = find_bonds(structure)
    for site in record.sites:
        old, hydrogen, new, other = site.atoms
        assert old in record.moved
        partners = [Counter(structure.elements[b.j] for b in bonds[k]) for k in (old, new)]
        assert partners == [Counter({"P": 1, "H": 1}), Counter({"Al": 1, "H": 1})]
        assert bonds[hydrogen][0].j == old
        assert bonds[other][0].j == new


def test_exchanged_proton_sits_on_an_oxygen_and_points_away_from_cations() -> None:
    structure = made("proton exchange").structure
    bonds = find_bonds(structure)
    distances = structure.model_copy(update={"periodic": (True,) * 3}).to_pymatgen().distance_matrix
    cations = [k for k, q in enumerate(structure.oxidation_states) if q > 0]
    for k, element in enumerate(structure.elements):
        if element == "H":
            assert [structure.elements[b.j] for b in bonds[k]] == ["O"]
            assert bonds[k][0].length_ang == pytest.approx(0.97, abs=1e-3)
            others = [c for c in cations if c != k]
            assert distances[k, others].min() > 1.65


def test_carbonate_is_a_planar_group_of_three_oxygens() -> None:
    structure = made("carbonate").structure
    assert unit_is_whole(structure, "C", "O", 3)
    bonds = find_bonds(structure)
    for k, element in enumerate(structure.elements):
        if element == "C":
            vectors = np.array([b.vector_ang for b in bonds[k]])
            assert abs(np.linalg.det(vectors)) < 1e-3
            assert np.linalg.norm(vectors, axis=1) == pytest.approx([1.29] * 3, abs=1e-3)


@pytest.mark.parametrize(("case", "n"), [("silane, one bond", 1), ("silane, two bonds", 2)])
def test_silicon_is_fourfold_and_bonded_to_the_surface(case: str, n: int) -> None:
    candidate = made(case)
    structure, record = candidate.structure, candidate.decoration_record
    assert record is not None
    bonds = find_bonds(structure)
    for k, element in enumerate(structure.elements):
        if element == "Si":
            assert len(bonds[k]) == 4
            surface = [b for b in bonds[k] if record.parent_atoms[b.j] is not None]
            assert len(surface) == n
            for bond in surface:
                assert structure.elements[bond.j] == "O"
                assert bond.length_ang == pytest.approx(1.65, abs=0.12)
                assert {structure.elements[b.j] for b in bonds[bond.j]} in ({"Si", "Al"}, {"Si", "P"})


def test_drying_series_is_nested_and_ends_dry() -> None:
    series = decorate(DRY, BERLINITE, Drying())
    n_oxygen = [candidate.structure.elements.count("O") for candidate in series]
    assert n_oxygen == sorted(n_oxygen, reverse=True)
    assert series[0].structure == WET.structure
    assert Counter(series[-1].structure.elements) == Counter(DRY.structure.elements)
    assert series[-1].n_undercoordinated == DRY.n_undercoordinated
    for candidate in series[1:]:
        check_sound(candidate, series[0])
        record = candidate.decoration_record
        assert record is not None
        assert record.formula_change["H"] == 2 * record.formula_change["O"] < 0
    removed = [{atom.parent_atom for atom in c.decoration_record.removed} for c in series[1:] if c.decoration_record]
    assert all(earlier < later for earlier, later in pairwise(removed))


def test_variants_are_distinct() -> None:
    waters = decorate(DRY, BERLINITE, MolecularWater(max_variants=3))
    assert len({candidate.name for candidate in waters}) == len(waters) > 1
    assert len({candidate.id for candidate in waters}) == len(waters)


def test_same_settings_give_the_same_structure() -> None:
    again = decorate(*CASES["proton exchange"][:3])
    assert [candidate.id for candidate in again] == [
        c.id for c in (made("proton exchange"), *MADE["proton exchange"][1:])
    ]


def test_settings_round_trip_and_are_told_apart_by_kind() -> None:
    for _, _, asked, _ in CASES.values():
        assert read_settings(asked.model_dump()) == asked
    with pytest.raises(ValidationError, match="splitwater"):
        read_settings({"kind": "splitwater"})
    with pytest.raises(ValidationError, match="not both"):
        MolecularWater(coverage=0.5, per_face=1)


def test_a_coverage_that_does_not_fit_names_the_nearest_and_a_supercell() -> None:
    with pytest.raises(SiteCountError, match=r"coverage 0.25 of a face with 2 .* use 0.5, or the supercell \(2, 1\)"):
        decorate(DRY, BERLINITE, MolecularWater(coverage=0.25))
    with pytest.raises(SiteCountError, match="use 1 to 2"):
        decorate(DRY, BERLINITE, MolecularWater(per_face=3))


def test_auto_supercell_makes_the_coverage_fit() -> None:
    made_now = decorate(DRY, BERLINITE, MolecularWater(coverage=0.25, supercell="auto", max_variants=1))
    record = made_now[0].decoration_record
    assert record is not None
    assert record.supercell[0] * record.supercell[1] == 2
    assert record.coverage == pytest.approx(0.25)
    check_sound(made_now[0], DRY)


def test_what_a_slab_cannot_take_is_refused_with_what_would_work() -> None:
    with pytest.raises(NoSiteError, match="split water over it first"):
        decorate(DRY, BERLINITE, GraftedSilane())
    with pytest.raises(NoSiteError, match=r"no 3 hydroxyls .* use n_bonds=2"):
        decorate(WET, BERLINITE, GraftedSilane(n_bonds=3))
    with pytest.raises(NoSiteError, match="li2co3"):
        decorate(DRY, BERLINITE, Carbonate(form="co2"))
    with pytest.raises(NoSiteError, match="on='hydroxyl'"):
        decorate(WET, BERLINITE, MolecularWater())
    with pytest.raises(NoSiteError, match="isolated unit"):
        decorate(OXIDE, LI2O, OpenBridges())
    with pytest.raises(DecorationError, match="Li is not in AlPO4"):
        decorate(DRY, BERLINITE, ProtonExchange())
    with pytest.raises(DecorationError, match="no anion of charge -1"):
        decorate(DRY, BERLINITE, IonAdatoms(compensation="halide"))
    with pytest.raises(AtomBudgetError, match="set max_atoms="):
        decorate(DRY, BERLINITE, Fragment(max_atoms=40))
    with pytest.raises(NoRoomError, match="supercell"):
        decorate(WET, BERLINITE, GraftedSilane(n_bonds=1, rest="propyl"))


@settings(max_examples=8)
@given(
    miller=st.sampled_from([(1, 0, 0), (0, 0, 1), (1, 0, 1), (1, 1, 0)]),
    kind=st.sampled_from(["split_water", "molecular_water", "open_bridges", "ion_adatoms"]),
    coverage=st.sampled_from([1.0, 0.5, 0.25]),
)
def test_random_facets_and_coverages(miller: tuple[int, int, int], kind: str, coverage: float) -> None:
    slab = cut_slabs(BERLINITE, miller, thickness_ang=3.5, parent="AlPO4_berlinite")[0]
    asked = read_settings({"kind": kind, "coverage": coverage, "max_variants": 1})
    try:
        candidates = decorate(slab, BERLINITE, asked)
    except SurfshiftError as error:
        # only a coverage or a facet that has no room may be refused, and the message says what would fit
        candidates = ()
        allowed = (SiteCountError, NoRoomError, NoSiteError, CoverageError, HydroxylationError)
        hints = ("use ", "supercell", "fits", "take ", "lower the coverage")
        if not isinstance(error, allowed) or not any(hint in str(error) for hint in hints):
            raise
    for candidate in candidates:
        check_sound(candidate, slab)
        assert unit_is_whole(candidate.structure, "P", "O", 4)
