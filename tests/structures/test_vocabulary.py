"""The frozen models: round trips, refusals, hashes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure
from surfshift.structures.enumeration import bulk_candidate
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.slabs import cut_slabs
from surfshift.structures.vocabulary import AtomicStructure, Candidate, Region, as_tensor3

BERLINITE = build_crystal(load_crystal("AlPO4_berlinite"))


def test_json_round_trip_is_exact() -> None:
    assert AtomicStructure.model_validate_json(BERLINITE.model_dump_json()) == BERLINITE
    slab = cut_slabs(BERLINITE, (1, 0, 0), thickness_ang=4.0, parent="x")[0]
    back = Candidate.model_validate_json(slab.model_dump_json())
    assert back == slab
    assert back.id == slab.id


def test_pymatgen_and_ase_hold_the_same_atoms() -> None:
    again = AtomicStructure.from_pymatgen(BERLINITE.to_pymatgen())
    assert again.elements == BERLINITE.elements
    assert again.oxidation_states == BERLINITE.oxidation_states
    np.testing.assert_allclose(BERLINITE.to_ase().positions, BERLINITE.cart_coords)
    np.testing.assert_allclose(again.cart_coords, BERLINITE.cart_coords)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 17), st.integers(0, 2))
def test_id_sees_moved_atoms_but_not_lattice_translations(atom: int, axis: int) -> None:
    coords = BERLINITE.cart_coords.copy()
    coords[atom] += BERLINITE.lattice[axis]
    assert BERLINITE.moved_to(coords).content_id == BERLINITE.content_id
    coords[atom, axis] += 0.01
    assert BERLINITE.moved_to(coords).content_id != BERLINITE.content_id


def test_frozen_and_closed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        BERLINITE.elements = ("H",)  # type: ignore[misc]
    with pytest.raises(ValidationError, match="extra"):
        AtomicStructure.model_validate({**BERLINITE.model_dump(), "colour": "red"})


def test_wrong_lengths_are_refused() -> None:
    with pytest.raises(ValidationError, match="equally many"):
        AtomicStructure(lattice_ang=as_tensor3(np.eye(3)), elements=("H",), frac_coords=(), oxidation_states=(1.0,))
    with pytest.raises(ValidationError, match="one region per atom"):
        Candidate(name="x", kind="bulk", structure=BERLINITE, parent="x", regions=(Region.BULK,))
    with pytest.raises(ValidationError, match="Miller"):
        Candidate.model_validate({**bulk_candidate(BERLINITE).model_dump(), "kind": "slab"})
    with pytest.raises(ValueError, match="shape"):
        as_tensor3(np.eye(2))


def test_structures_without_states_or_order_are_refused() -> None:
    with pytest.raises(ValueError, match="no oxidation state for F, Li"):
        AtomicStructure.from_pymatgen(Structure(Lattice.cubic(4.0), ["Li", "F"], [(0, 0, 0), (0.5, 0.5, 0.5)]))
    with pytest.raises(ValueError, match="partial occupancies"):
        AtomicStructure.from_pymatgen(Structure(Lattice.cubic(4.0), [{"Li+": 0.5}], [(0, 0, 0)]))
