"""Every ordered crystal of the library, three low-index facets each; and random ones, in random cells."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.io.cif import CifParser, CifWriter
from surfshift.structures.bonding import closest_pair, covalent_distance, find_bonds, find_units
from surfshift.structures.enumeration import bulk_candidate
from surfshift.structures.facets import distinct_facets
from surfshift.structures.library import build_crystal, crystal_names, load_crystal
from surfshift.structures.slabs import cut_slabs
from surfshift.structures.terminations import missing_bonds
from surfshift.structures.vocabulary import AtomicStructure, Candidate, as_tensor3

MIN_DISTANCE_SHARE = 0.75
QUICK = [
    "AlPO4_berlinite",
    "AlPO4_cristobalite",
    "Li3PO4_beta",
    "LiOH",
    "LiAlO2_gamma",
    "LiAlO2_alpha",
    "Al2O3_corundum",
]


@cache
def crystal(name: str) -> AtomicStructure:
    """A built crystal."""
    return build_crystal(load_crystal(name))


def closeness(structure: AtomicStructure) -> float:
    """Distance of the closest pair over the sum of its covalent radii."""
    i, j, distance = closest_pair(structure)
    return distance / covalent_distance(structure.elements[i], structure.elements[j])


def check_slab(slab: Candidate, bulk: AtomicStructure) -> None:
    """Neutral, as close as the bulk at most, whole units, composition and lost bonds as declared, JSON round trip."""
    structure, info = slab.structure, slab.slab_info
    assert info is not None
    assert structure.total_charge == pytest.approx(0.0, abs=1e-6)
    assert closeness(structure) >= min(MIN_DISTANCE_SHARE, closeness(bulk) - 0.01)
    excess = dict(info.excess)
    n_bulk = {e: bulk.elements.count(e) for e in set(bulk.elements)}
    divisor = int(np.gcd.reduce(list(n_bulk.values())))
    for element, n in n_bulk.items():
        declared = info.n_formula * n / divisor + excess.get(element, 0)
        assert structure.elements.count(element) == pytest.approx(declared)
    # the centre of a unit keeps every ligand; units of the slab itself would not do, a bare cation binds more strongly
    in_bulk, in_slab = find_bonds(bulk), find_bonds(structure)
    in_units = {i for unit in find_units(bulk) for i in unit.atoms if bulk.oxidation_states[i] > 0}
    for element in {bulk.elements[i] for i in in_units}:
        members = {i for i, e in enumerate(bulk.elements) if e == element}
        allowed = {len(in_bulk[i]) for i in members & in_units}
        if members <= in_units:
            assert {len(in_slab[i]) for i, e in enumerate(structure.elements) if e == element} <= allowed
    # counted from the positions, not from the cut
    lost = missing_bonds(structure, bulk, slab.miller or (0, 0, 0))
    assert len(lost) == info.n_broken_bonds == sum(n for _, n in info.broken_bonds)
    assert len({bond.atom for bond in lost}) == slab.n_undercoordinated
    assert Candidate.model_validate_json(slab.model_dump_json()) == slab
    flat = abs(slab.dipole_e_ang) < 0.05
    assert flat or any("polar" in note for note in slab.notes)


def check_cif_round_trip(slab: Candidate) -> None:
    """Written as CIF and read again, every atom is where it was."""
    given = slab.structure.model_copy(update={"periodic": (True,) * 3}).to_pymatgen()
    parser = CifParser.from_str(str(CifWriter(given, significant_figures=8)))
    (read,) = parser.parse_structures(primitive=False)
    assert len(read) == len(given)
    np.testing.assert_allclose(read.lattice.abc, given.lattice.abc, atol=1e-4)
    distances = read.lattice.get_all_distances(read.frac_coords, given.frac_coords)
    nearest = distances.argmin(axis=1)
    assert distances.min(axis=1).max() < 1e-3
    assert sorted(nearest.tolist()) == list(range(len(given)))
    assert all(read[i].specie.symbol == given[int(j)].specie.symbol for i, j in enumerate(nearest))


def another_cell(bulk: AtomicStructure, matrix: np.ndarray, shift: np.ndarray, turn: np.ndarray) -> AtomicStructure:
    """The same crystal in the cell ``matrix`` @ lattice of equal volume, its origin moved, turned in space."""
    frac = np.array(bulk.frac_coords) + shift
    lattice = matrix @ bulk.lattice @ turn.T
    moved = frac @ np.linalg.inv(matrix)
    return bulk.model_copy(
        update={
            "lattice_ang": as_tensor3(lattice),
            "frac_coords": tuple((float(x), float(y), float(z)) for x, y, z in moved % 1.0),
        }
    )


def summary(bulk: AtomicStructure, miller: tuple[int, int, int]) -> np.ndarray:
    """Atoms, Tasker class, broken bonds, their strength and the dipole of every slab of a facet, whatever the axes."""
    slabs = cut_slabs(bulk, miller, thickness_ang=4.0, parent="x", every=True)
    rows = [
        (len(s.structure), i.tasker, i.n_broken_bonds, round(i.broken_strength_e, 3), abs(s.dipole_e_ang))
        for s in slabs
        if (i := s.slab_info) is not None
    ]
    return np.array(sorted(rows, key=lambda row: (*row[:4], round(row[4], 1))))


UNIMODULAR = [
    np.array(rows)
    for rows in (
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[1, 1, 0], [0, 1, 0], [0, 0, 1]],
        [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
        [[1, 0, 0], [0, 1, 0], [1, -1, 1]],
        [[1, 0, 1], [0, 1, 1], [0, 0, 1]],
    )
]


@settings(max_examples=12)
@given(
    name=st.sampled_from(QUICK),
    miller=st.tuples(*[st.integers(-1, 2)] * 3).filter(any),
    matrix=st.sampled_from(UNIMODULAR),
    shift=st.tuples(*[st.floats(0.0, 1.0)] * 3),
    angles=st.tuples(*[st.floats(0.0, 6.0)] * 3),
)
def test_terminations_do_not_depend_on_the_choice_of_the_cell(
    name: str, miller: tuple[int, int, int], matrix: np.ndarray, shift: tuple[float, ...], angles: tuple[float, ...]
) -> None:
    from scipy.spatial.transform import Rotation

    bulk = crystal(name)
    turn = Rotation.from_euler("zyz", angles).as_matrix()
    other = another_cell(bulk, matrix, np.array(shift), turn)
    # indices transform like the lattice vectors
    same = tuple(int(h) for h in matrix @ np.array(miller))
    divisor = int(np.gcd.reduce(same))
    first, second = summary(bulk, miller), summary(other, tuple(h // divisor for h in same))  # type: ignore[arg-type]
    assert first.shape == second.shape
    np.testing.assert_allclose(first, second, atol=1e-4)


@settings(max_examples=15)
@given(
    name=st.sampled_from(QUICK),
    miller=st.tuples(*[st.integers(-2, 2)] * 3).filter(any),
    thickness=st.floats(1.0, 7.0),
    reconstruct=st.booleans(),
    every=st.booleans(),
)
def test_random_facets_are_neutral_whole_and_as_declared(
    name: str, miller: tuple[int, int, int], thickness: float, reconstruct: bool, every: bool
) -> None:
    bulk = crystal(name)
    slabs = cut_slabs(bulk, miller, thickness_ang=thickness, parent=name, reconstruct=reconstruct, every=every)
    assert slabs
    assert len({slab.id for slab in slabs}) == len({slab.name for slab in slabs}) == len(slabs)
    for slab in slabs:
        check_slab(slab, bulk)
    check_cif_round_trip(slabs[0])


@settings(max_examples=8)
@given(
    name=st.sampled_from(QUICK[:5]),
    miller=st.tuples(*[st.integers(0, 1)] * 3).filter(any),
    width=st.floats(4.0, 8.0),
    orthogonal=st.booleans(),
)
def test_supercells_repeat_the_slab(name: str, miller: tuple[int, int, int], width: float, orthogonal: bool) -> None:
    from surfshift.structures.facets import InPlaneCellError

    bulk = crystal(name)
    (small, *_) = cut_slabs(bulk, miller, layers=1, parent=name)
    try:
        (large, *_) = cut_slabs(bulk, miller, layers=1, parent=name, min_width_ang=width, orthogonal=orthogonal)
    except InPlaneCellError:
        if not orthogonal:  # a wide cell always exists, a right angle does not
            raise
        return
    check_slab(large, bulk)
    times = round(large.area_ang2 / small.area_ang2)
    assert len(large.structure) == times * len(small.structure)
    assert large.n_undercoordinated == times * small.n_undercoordinated
    a, b = large.structure.lattice[:2]
    assert np.linalg.norm(np.cross(a, b)) / max(np.linalg.norm(a), np.linalg.norm(b)) >= width - 1e-6
    assert abs(a[1]) < 1e-9
    if orthogonal:
        assert a @ b == pytest.approx(0.0, abs=1e-3)
        assert large.slab_info is not None
        assert large.slab_info.is_orthogonal
    # the turned cell still knows which bonds it lost
    assert len(missing_bonds(large.structure, bulk, large.miller or miller)) == sum(
        n for _, n in (large.slab_info.broken_bonds if large.slab_info else ())
    )


@pytest.mark.parametrize("name", QUICK)
def test_three_low_index_facets(name: str) -> None:
    build_three_facets(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", crystal_names())
def test_every_crystal_gives_its_bulk_and_three_facets(name: str) -> None:
    build_three_facets(name)


def build_three_facets(name: str) -> None:
    """Bulk and slabs of the three simplest facets of a crystal."""
    bulk = crystal(name)
    assert bulk_candidate(name).structure == bulk
    facets = distinct_facets(bulk, 1)
    facets = facets if len(facets) >= 3 else distinct_facets(bulk, 2)
    for facet in facets[:3]:
        slabs = cut_slabs(bulk, facet, layers=1, parent=name, reconstruct=True)
        assert slabs
        for slab in slabs:
            check_slab(slab, bulk)
