"""Dipoles taken away by moving ions: Tasker's charge, whole units, nothing charged, composition as declared."""

import numpy as np
import pytest
from surfshift.structures.bonding import closest_pair, unit_is_whole
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.reconstruction import ReconstructionError, zero_dipole_variants
from surfshift.structures.slabs import AtomBudgetError, cut_slabs, slab_dipole
from surfshift.structures.symmetry import symmetry_operations
from surfshift.structures.terminations import CutSystem, missing_bonds
from surfshift.structures.vocabulary import AtomicStructure, Candidate, as_tensor3

BERLINITE = build_crystal(load_crystal("AlPO4_berlinite"))


def rock_salt() -> AtomicStructure:
    """LiF, whose (111) planes carry one charge each."""
    a = 4.027
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    places = np.vstack([fcc, (fcc + 0.5) % 1.0])
    return AtomicStructure(
        lattice_ang=as_tensor3((np.eye(3) * a).tolist()),
        elements=("Li",) * 4 + ("F",) * 4,
        frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in places),
        oxidation_states=(1.0,) * 4 + (-1.0,) * 4,
    )


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_berlinite_001_moves_half_of_a_plane_whatever_the_thickness(layers: int) -> None:
    slabs = cut_slabs(BERLINITE, (0, 0, 1), layers=layers, parent="x", reconstruct=True)
    assert {slab.slab_info.move.split(" in ")[0] for slab in slabs if slab.slab_info} == {
        "1 of the 2 outermost Al", "1 of the 2 outermost PO4",
    }  # fmt: skip
    for slab in slabs:
        assert slab.slab_info is not None
        assert slab_dipole(slab.structure) == pytest.approx(0.0, abs=1e-6)
        assert slab.structure.total_charge == pytest.approx(0.0)
        assert slab.structure.formula == "AlPO4"
        assert len(slab.structure) == 36 * layers
        assert slab.slab_info.tasker == 3
        assert not slab.slab_info.excess
        assert unit_is_whole(slab.structure, "P", "O", 4)
        assert "polar" not in " ".join(slab.notes)
        # what the occupancy counts is what the built atoms lost
        lost = missing_bonds(slab.structure, BERLINITE, (0, 0, 1))
        assert slab.slab_info.n_broken_bonds == len(lost)
        assert slab.n_undercoordinated == len({bond.atom for bond in lost})


def test_rock_salt_111_is_the_textbook_case() -> None:
    """Half of the outermost plane goes to the other face (Tasker 1979), so both faces end in half a plane."""
    slabs = cut_slabs(rock_salt(), (1, 1, 1), layers=6, parent="LiF", reconstruct=True)
    assert slabs
    for slab in slabs:
        assert slab.slab_info is not None
        assert slab.slab_info.tasker == 3
        assert slab_dipole(slab.structure) == pytest.approx(0.0, abs=1e-6)
        heights = np.round(slab.structure.cart_coords[:, 2], 2)
        counts = [int((heights == z).sum()) for z in np.unique(heights)]
        assert counts[0] == counts[-1] == 1
        assert set(counts[1:-1]) == {2}
    assert any(slab.slab_info is not None and slab.slab_info.has_equal_faces for slab in slabs)


def test_equal_faces_are_equal_by_symmetry() -> None:
    for slab in cut_slabs(BERLINITE, (0, 0, 1), layers=1, parent="x", reconstruct=True):
        assert slab.slab_info is not None
        swaps = any(rotation[2, 2] < 0 for rotation, _ in symmetry_operations(slab.structure))
        assert swaps == slab.slab_info.has_equal_faces


def test_facets_without_a_polar_cut_get_no_reconstruction() -> None:
    system = CutSystem(rock_salt(), (1, 0, 0))
    windows = system.windows(layers=2)
    assert {window.tasker for window in windows} == {1}
    assert zero_dipole_variants(system, windows) == ()
    assert {w.tasker for w in CutSystem(rock_salt(), (1, 1, 1)).windows(layers=3)} == {3}


def test_polar_crystal_keeps_its_dipole_and_says_so() -> None:
    """beta-Li3PO4 is polar along its c axis: no whole number of ions takes the dipole away."""
    bulk = build_crystal(load_crystal("Li3PO4_beta"))
    slabs = cut_slabs(bulk, (0, 0, 1), layers=1, parent="x", reconstruct=True)
    assert slabs
    for slab in slabs:
        assert abs(slab.dipole_e_ang) < 0.05 or any("polar" in note for note in slab.notes)


def test_off_stoichiometric_slabs_are_neutral_flat_and_declared() -> None:
    bulk = build_crystal(load_crystal("LiAlO2_gamma"))
    plain = cut_slabs(bulk, (1, 0, 0), layers=2, parent="x")
    slabs = cut_slabs(bulk, (1, 0, 0), layers=2, parent="x", off_stoichiometric=True)
    extra = [slab for slab in slabs if slab.name.rsplit("-", 1)[1].startswith("s")]
    assert extra
    assert [s.id for s in slabs if s not in extra] == [s.id for s in plain]
    for slab in extra:
        info = slab.slab_info
        assert info is not None
        assert slab.structure.total_charge == pytest.approx(0.0)
        assert slab_dipole(slab.structure) == pytest.approx(0.0, abs=0.05)
        assert info.excess
        counts = {e: slab.structure.elements.count(e) for e in ("Li", "Al", "O")}
        declared = dict(info.excess)
        for element, n in (("Li", 1), ("Al", 1), ("O", 2)):
            assert counts[element] == round(info.n_formula * n) + declared.get(element, 0)
        word = "Li-rich" if counts["Li"] * 3 > counts["Al"] + counts["O"] else "Li-poor"
        assert any(note.startswith((word, "off stoichiometry")) for note in slab.notes)


def test_ion_that_the_crystal_lacks_is_refused() -> None:
    with pytest.raises(ReconstructionError, match="no single Li ion"):
        cut_slabs(BERLINITE, (1, 0, 0), layers=1, parent="x", off_stoichiometric=True)


def test_moves_need_room_within_the_atom_budget() -> None:
    with pytest.raises(AtomBudgetError, match="36 atoms, more than the 20"):
        cut_slabs(BERLINITE, (0, 0, 1), layers=1, parent="x", reconstruct=True, max_atoms=20)


def test_reconstruction_survives_json_and_has_no_clash() -> None:
    for slab in cut_slabs(BERLINITE, (1, 0, 1), layers=2, parent="x", reconstruct=True):
        assert Candidate.model_validate_json(slab.model_dump_json()) == slab
        assert closest_pair(slab.structure)[2] > 1.5
