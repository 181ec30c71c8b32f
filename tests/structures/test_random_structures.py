"""Random crystals as a user may bring them, random facets and decorations: what every result must fulfil."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.io.cif import CifWriter
from scipy.spatial.transform import Rotation
from surfshift.structures.candidate_checks import candidate_problems, closeness
from surfshift.structures.decorations.decorate import decorate
from surfshift.structures.decorations.settings import (
    Carbonate,
    IonAdatoms,
    IonVacancies,
    MolecularWater,
    OpenBridges,
    ProtonExchange,
    SplitWater,
)
from surfshift.structures.errors import SurfshiftError
from surfshift.structures.hydroxylation import possible_coverages
from surfshift.structures.importing import OxidationStateError, read_structure
from surfshift.structures.library import build_crystal, crystal_names, load_crystal
from surfshift.structures.slabs import cut_slabs
from surfshift.structures.vocabulary import AtomicStructure, as_tensor3

if TYPE_CHECKING:
    from surfshift.structures.decorations.settings import DecorationSettings
    from surfshift.structures.vocabulary import Candidate

MANY = int(os.environ.get("SURFSHIFT_EXAMPLES", "500"))
"""Examples of the slow tests."""

MAX_BULK_ATOMS = 72
MAX_SLAB_ATOMS = 150
REGUESSED_ATOMS = 40
"""Slabs up to this size are also read from files that state no oxidation states; guessing takes long for large ones."""

SMALL = ("AlPO4_berlinite", "Li3PO4_beta", "LiAlO2_gamma", "LiOH", "TiO2_rutile", "Li2O", "Li3PS4_beta", "LiNbO3")


@cache
def library_crystal(name: str) -> AtomicStructure:
    return build_crystal(load_crystal(name))


@cache
def affordable_names() -> tuple[str, ...]:
    return tuple(name for name in crystal_names() if len(library_crystal(name)) <= MAX_BULK_ATOMS)


class Disguise(NamedTuple):
    """How a crystal of the library is made look like a user's file."""

    cell: tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
    strain: tuple[float, ...]
    displacement_ang: float
    shift: tuple[float, float, float]
    angles: tuple[float, float, float]
    seed: int


CELLS = [
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((2, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((1, 0, 0), (0, 1, 0), (0, 0, 2)),
    ((1, 1, 0), (-1, 1, 0), (0, 0, 1)),
    ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    ((1, 0, 0), (0, 1, 0), (1, -1, 1)),
]

disguises = st.builds(
    Disguise,
    cell=st.sampled_from(CELLS),
    strain=st.one_of(st.just((0.0,) * 6), st.tuples(*[st.floats(-0.015, 0.015)] * 6)),
    displacement_ang=st.sampled_from([0.0, 0.0, 0.01, 0.04]),
    shift=st.tuples(*[st.floats(0.0, 1.0)] * 3),
    angles=st.tuples(*[st.floats(0.0, 6.0)] * 3),
    seed=st.integers(0, 1000),
)


def disguised(bulk: AtomicStructure, disguise: Disguise) -> AtomicStructure:
    """The crystal in another cell, with another origin, turned, strained and its atoms displaced."""
    from ase.build import make_supercell

    atoms = bulk.to_ase()
    atoms = make_supercell(atoms, np.array(disguise.cell))
    rng = np.random.default_rng(disguise.seed)
    xx, yy, zz, yz, xz, xy = disguise.strain
    deform = np.eye(3) + np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    turn = Rotation.from_euler("zyz", disguise.angles).as_matrix()
    frac = atoms.get_scaled_positions() + np.array(disguise.shift)
    lattice = np.array(atoms.cell) @ deform @ turn.T
    moves = rng.normal(size=frac.shape)
    moves *= disguise.displacement_ang / np.linalg.norm(moves, axis=1)[:, None]
    frac = (frac + moves @ np.linalg.inv(lattice)) % 1.0
    return AtomicStructure(
        lattice_ang=as_tensor3(lattice),
        elements=tuple(atoms.get_chemical_symbols()),
        frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in frac),
        oxidation_states=tuple(float(q) for q in atoms.get_initial_charges()),
    )


def written_and_read(structure: AtomicStructure, *, with_states: bool) -> AtomicStructure:
    """What is left of a structure in a CIF."""
    given = structure.model_copy(update={"periodic": (True,) * 3}).to_pymatgen()
    if not with_states:
        given.remove_oxidation_states()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "written.cif"
        path.write_text(str(CifWriter(given, significant_figures=8)), encoding="utf-8")
        return read_structure(path)


def check_cif_round_trip(structure: AtomicStructure) -> None:
    """The structure comes back from a CIF, oxidation states included; guessed ones are neutral at least."""
    read = written_and_read(structure, with_states=True)
    matcher = StructureMatcher(primitive_cell=False, scale=False, stol=0.01, attempt_supercell=False)
    assert matcher.fit(read.to_pymatgen(), structure.model_copy(update={"periodic": (True,) * 3}).to_pymatgen())
    kinds = sorted(zip(structure.elements, structure.oxidation_states, strict=True))
    assert sorted(zip(read.elements, read.oxidation_states, strict=True)) == kinds
    if len(structure) <= REGUESSED_ATOMS:
        try:
            guessed = written_and_read(structure, with_states=False)
        except OxidationStateError as error:
            assert "oxidation_states" in str(error)  # noqa: PT017 (refused by name, and the message says what to give)
            event("oxidation states of a bare file refused")
            return
        assert guessed.total_charge == pytest.approx(0.0, abs=1e-3)
        assert sorted(guessed.elements) == sorted(structure.elements)


def check_slabs(name: str, disguise: Disguise, miller: tuple[int, int, int], thickness: float, kind: str) -> None:
    bulk = disguised(library_crystal(name), disguise)
    assume(len(bulk) <= 2 * MAX_BULK_ATOMS)
    options = {"reconstruct": kind == "reconstruct", "every": kind == "every", "off_stoichiometric": kind == "other"}
    try:
        slabs = cut_slabs(bulk, miller, thickness_ang=thickness, parent=name, max_atoms=MAX_SLAB_ATOMS, **options)
    except SurfshiftError as error:
        event(f"slab refused: {type(error).__name__}")
        return
    assert slabs
    for slab in slabs:
        assert candidate_problems(slab, bulk) == ()
        assert slab.slab_info is not None
        assert slab.slab_info.thickness_ang >= thickness - 1e-6 or kind == "other"
    check_cif_round_trip(slabs[len(slabs) // 2].structure)


def decorations(slab: Candidate, bulk: AtomicStructure, draw: st.DrawFn) -> DecorationSettings:
    """A decoration at a coverage that may fit."""
    coverages = [c for c in possible_coverages(slab, bulk) if c == 1.0 or c <= 0.34]
    options: list[DecorationSettings] = [
        MolecularWater(per_face=1, max_variants=1),
        MolecularWater(per_face=1, second_layer=1, max_variants=1),
        MolecularWater(coverage=1.0, max_variants=1),
        OpenBridges(max_variants=1),
        *(SplitWater(coverage=c, max_variants=2) for c in coverages),
    ]
    if "Li" in bulk.elements:
        options += [
            ProtonExchange(max_variants=1),
            IonVacancies(max_variants=1),
            IonVacancies(compensation="anion", max_variants=1),
            IonAdatoms(max_variants=1),
            Carbonate(max_variants=1),
            Carbonate(form="li2co3", max_variants=1),
        ]
    return draw(st.sampled_from(options))


def check_decorated(name: str, disguise: Disguise, miller: tuple[int, int, int], draw: st.DrawFn) -> None:
    bulk = disguised(library_crystal(name), disguise)
    try:
        slabs = cut_slabs(bulk, miller, thickness_ang=3.0, parent=name, max_atoms=MAX_SLAB_ATOMS, reconstruct=True)
    except SurfshiftError as error:
        event(f"slab refused: {type(error).__name__}")
        return
    slab = slabs[draw(st.integers(0, len(slabs) - 1))]
    asked = decorations(slab, bulk, draw)
    try:
        made = decorate(slab, bulk, asked)
    except SurfshiftError as error:
        event(f"{asked.kind} refused: {type(error).__name__}")
        return
    event(f"{asked.kind} made")
    for candidate in made:
        assert candidate.decoration_record is not None
        assert candidate_problems(candidate, bulk, parent=slab) == ()
    check_cif_round_trip(made[0].structure)


low_index = st.sampled_from([hkl for hkl in product(range(-2, 3), repeat=3) if any(hkl)])
kinds = st.sampled_from(["plain", "reconstruct", "every", "other"])
quiet = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(quiet, max_examples=8)
@given(st.sampled_from(SMALL), disguises, low_index, st.floats(1.0, 5.0), kinds)
def test_slabs_of_a_users_crystal_are_sound(
    name: str, disguise: Disguise, miller: tuple[int, int, int], thickness: float, kind: str
) -> None:
    check_slabs(name, disguise, miller, thickness, kind)


@settings(quiet, max_examples=6)
@given(st.sampled_from(SMALL), disguises, low_index, st.data())
def test_decorated_slabs_of_a_users_crystal_are_sound(
    name: str, disguise: Disguise, miller: tuple[int, int, int], data: st.DataObject
) -> None:
    check_decorated(name, disguise, miller, data.draw)


@pytest.mark.slow
@settings(quiet, max_examples=MANY)
@given(st.sampled_from(affordable_names()), disguises, low_index, st.floats(1.0, 7.0), kinds)
def test_slabs_of_any_library_crystal_are_sound(
    name: str, disguise: Disguise, miller: tuple[int, int, int], thickness: float, kind: str
) -> None:
    check_slabs(name, disguise, miller, thickness, kind)


@pytest.mark.slow
@settings(quiet, max_examples=MANY)
@given(st.sampled_from(affordable_names()), disguises, low_index, st.data())
def test_decorated_slabs_of_any_library_crystal_are_sound(
    name: str, disguise: Disguise, miller: tuple[int, int, int], data: st.DataObject
) -> None:
    check_decorated(name, disguise, miller, data.draw)


def test_a_distorted_crystal_is_another_one_and_its_pairs_stay_apart() -> None:
    """The disguise does what it says, so that the tests above see more than the library."""
    bulk = library_crystal("AlPO4_berlinite")
    plain = Disguise(CELLS[1], (0.0,) * 6, 0.04, (0.1, 0.2, 0.3), (1.0, 2.0, 3.0), 1)
    other = disguised(bulk, plain)
    assert len(other) == 2 * len(bulk)
    assert abs(closeness(other) - closeness(bulk)) < 0.06
    matcher = StructureMatcher(primitive_cell=True, scale=False)
    assert matcher.fit(other.to_pymatgen(), bulk.to_pymatgen())
    assert matcher.get_rms_dist(other.to_pymatgen(), bulk.to_pymatgen())[0] > 1e-3
