"""Every kind of damage is named, and sound candidates pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from surfshift.structures.candidate_checks import CandidateCheckError, candidate_problems, check_candidate
from surfshift.structures.decorations.decorate import decorate
from surfshift.structures.decorations.settings import SplitWater
from surfshift.structures.enumeration import bulk_candidate
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.slabs import cut_slabs

if TYPE_CHECKING:
    from surfshift.structures.vocabulary import AtomicStructure, Candidate

BERLINITE = build_crystal(load_crystal("AlPO4_berlinite"))
SLAB = cut_slabs(BERLINITE, (1, 0, 0), thickness_ang=4.0, parent="AlPO4_berlinite")[0]
WET = decorate(SLAB, BERLINITE, SplitWater(max_variants=1))[0]


def without(candidate: Candidate, atom: int) -> Candidate:
    structure = candidate.structure
    kept = [k for k in range(len(structure)) if k != atom]
    fewer = structure.model_copy(
        update={
            "elements": tuple(structure.elements[k] for k in kept),
            "frac_coords": tuple(structure.frac_coords[k] for k in kept),
            "oxidation_states": tuple(structure.oxidation_states[k] for k in kept),
        }
    )
    return candidate.model_copy(update={"structure": fewer})


def moved(candidate: Candidate, atom: int, vector: tuple[float, float, float]) -> Candidate:
    places = candidate.structure.cart_coords
    places[atom] += np.array(vector)
    return candidate.model_copy(update={"structure": candidate.structure.moved_to(places)})


def test_sound_candidates_have_no_problems() -> None:
    assert candidate_problems(bulk_candidate("AlPO4_berlinite"), BERLINITE) == ()
    assert candidate_problems(SLAB, BERLINITE) == ()
    assert candidate_problems(WET, BERLINITE, parent=SLAB) == ()


def test_a_lost_oxygen_is_a_charge_a_broken_unit_and_another_composition() -> None:
    oxygen = SLAB.structure.elements.index("O")
    text = "; ".join(candidate_problems(without(SLAB, oxygen), BERLINITE))
    assert "charge +2" in text
    assert "P" in text
    assert "has 3 ligands of its unit, not 4" in text
    n = SLAB.structure.elements.count("O")
    assert f"{n - 1} O for {n} declared" in text


def test_an_atom_moved_onto_another_clashes() -> None:
    aluminium = SLAB.structure.elements.index("Al")
    near = np.argsort(np.linalg.norm(SLAB.structure.cart_coords - SLAB.structure.cart_coords[aluminium], axis=1))[1]
    vector = 0.5 * (SLAB.structure.cart_coords[near] - SLAB.structure.cart_coords[aluminium])
    assert "angstrom apart" in "; ".join(candidate_problems(moved(SLAB, aluminium, tuple(vector)), BERLINITE))


def test_a_decoration_is_compared_with_its_record() -> None:
    hydrogen = WET.structure.elements.index("H")
    text = "; ".join(candidate_problems(without(WET, hydrogen), BERLINITE, parent=SLAB))
    n = WET.structure.elements.count("H")
    assert f"{n - 1} H for {n} declared" in text
    with pytest.raises(CandidateCheckError, match="leave this candidate out"):
        check_candidate(without(WET, hydrogen), BERLINITE, parent=SLAB)


def test_a_bulk_with_close_pairs_of_its_own_sets_the_limit() -> None:
    """A crystal of compressed bonds is not refused for what its bulk has."""
    squeezed: AtomicStructure = BERLINITE.moved_to(BERLINITE.cart_coords * 0.84, BERLINITE.lattice * 0.84)
    slab = cut_slabs(squeezed, (1, 0, 0), thickness_ang=3.0, parent="squeezed")[0]
    assert not [text for text in candidate_problems(slab, squeezed) if "apart" in text]
    assert [text for text in candidate_problems(slab, BERLINITE) if "apart" in text]
