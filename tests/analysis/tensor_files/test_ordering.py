"""The proof of the atom order: any permutation and rotation is found, anything else refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from surfshift.analysis.tensor_files import errors, match_atoms, read_tensors
from surfshift.structures.vocabulary import as_tensor3

if TYPE_CHECKING:
    from pathlib import Path

    from surfshift.analysis.tensor_files import PeriodicTensors


def reordered(run: PeriodicTensors, order: list[int]) -> PeriodicTensors:
    names = ("elements", "frac_coords", "labels", "shielding_ppm", "efg_au")
    return run.model_copy(update={name: tuple(getattr(run, name)[k] for k in order) for name in names})


def rotated(run: PeriodicTensors, turn: np.ndarray) -> PeriodicTensors:
    def turned(tensors: tuple) -> tuple:
        return tuple(as_tensor3(turn @ np.array(t) @ turn.T) for t in tensors)

    return run.model_copy(
        update={
            "lattice_ang": as_tensor3(run.lattice @ turn.T),
            "shielding_ppm": turned(run.shielding_ppm),
            "efg_au": turned(run.efg_au),
        }
    )


def random_rotation(seed: int) -> np.ndarray:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(18)), st.integers(0, 1000), st.integers(-2, 2))
def test_any_order_frame_and_cell_image_is_found(run: PeriodicTensors, order: list[int], seed: int, image: int) -> None:
    other = rotated(reordered(run, order), random_rotation(seed))
    other = other.model_copy(update={"frac_coords": tuple((x + image, y, z - image) for x, y, z in other.frac_coords)})
    found = match_atoms(run, other)
    assert [order[k] for k in found.order] == list(range(18))
    back = [found.rotation @ np.array(other.shielding_ppm[k]) @ found.rotation.T for k in found.order]
    np.testing.assert_allclose(back, np.array(run.shielding_ppm), atol=1e-8)
    assert found.largest_distance_ang < 1e-9


def test_alpo14_sites_of_castep_and_vasp_pair_by_position(parsers: Path) -> None:
    castep, vasp = read_tensors(parsers / "castep/AlPO-14.magres"), read_tensors(parsers / "vasp/AlPO-14.OUTCAR")
    found = match_atoms(castep, vasp)
    assert sorted(found.order) == list(range(48))
    assert not found.is_identity
    assert found.largest_distance_ang < 1e-4
    # the same physics in both: field gradients agree, and so does the antisymmetric part of the shielding
    turn = found.rotation
    own = np.array(castep.efg_au)
    other = np.array([turn @ np.array(vasp.efg_au[k]) @ turn.T for k in found.order])
    assert np.corrcoef(own.ravel(), other.ravel())[0, 1] > 0.999
    sigma = np.array(castep.shielding_ppm)
    sigma_other = np.array([turn @ np.array(vasp.shielding_ppm[k]) @ turn.T for k in found.order])
    antisymmetric = [(s - s.transpose(0, 2, 1)).ravel() for s in (sigma, sigma_other)]
    assert np.corrcoef(*antisymmetric)[0, 1] > 0.75
    # PBE against PBEsol: the slope for 31P that the literature set of this structure shows
    phosphorus = [k for k, e in enumerate(castep.elements) if e == "P"]
    x = [castep.sigma_iso_ppm[k] for k in phosphorus]
    y = [vasp.sigma_iso_ppm[found.order[k]] for k in phosphorus]
    assert np.polyfit(x, y, 1)[0] == pytest.approx(0.919, abs=0.01)


def test_a_moved_atom_is_named(run: PeriodicTensors) -> None:
    moved = [list(f) for f in run.frac_coords]
    moved[4][2] += 0.02
    other = run.model_copy(update={"frac_coords": tuple(tuple(f) for f in moved)})
    with pytest.raises(errors.WrongAtomOrderError, match="atom 4 of the structure"):
        match_atoms(run, other)
    assert match_atoms(run, other, tolerance_ang=0.5).largest_distance_ang > 0.1


def test_swapped_species_are_refused(run: PeriodicTensors) -> None:
    swapped = tuple({"Al": "P", "P": "Al"}.get(element, element) for element in run.elements)
    with pytest.raises(errors.WrongAtomOrderError, match="no Al within"):
        match_atoms(run, run.model_copy(update={"elements": swapped}))


def test_two_atoms_on_one_place_are_refused(run: PeriodicTensors) -> None:
    oxygens = [k for k, e in enumerate(run.elements) if e == "O"]
    doubled = list(run.frac_coords)
    doubled[oxygens[1]] = doubled[oxygens[0]]
    target = run.model_copy(update={"frac_coords": tuple(doubled)})
    with pytest.raises(errors.WrongAtomOrderError, match="more than one atom"):
        match_atoms(target, run)


def test_another_composition_or_cell_is_refused(run: PeriodicTensors) -> None:
    other = run.model_copy(update={"elements": ("Ga", *run.elements[1:])})
    with pytest.raises(errors.WrongStructureError, match="Al3 O12 P3"):
        match_atoms(run, other)
    stretched = run.model_copy(update={"lattice_ang": as_tensor3(run.lattice * [[1.05], [1.0], [1.0]])})
    with pytest.raises(errors.WrongStructureError, match="another cell"):
        match_atoms(run, stretched)
    mirrored = run.model_copy(update={"lattice_ang": as_tensor3(run.lattice @ np.diag([1.0, 1.0, -1.0]))})
    with pytest.raises(errors.WrongStructureError, match="handedness"):
        match_atoms(run, mirrored)
