"""The public names come from one place, and structures of ase and pymatgen do as well as the project's own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import surfshift.structures as public
from surfshift.structures.accepting import NoStructureError


@pytest.fixture(scope="module")
def berlinite() -> public.AtomicStructure:
    return public.build_crystal(public.load_crystal("AlPO4_berlinite"))


@pytest.fixture(params=["ase", "pymatgen", "pymatgen without oxidation states"])
def foreign(request: pytest.FixtureRequest, berlinite: public.AtomicStructure) -> object:
    if request.param == "ase":
        return berlinite.to_ase()
    structure = berlinite.to_pymatgen()
    if request.param.endswith("states"):
        structure.remove_oxidation_states()
    return structure


def test_a_foreign_structure_is_the_same_structure(foreign: object, berlinite: public.AtomicStructure) -> None:
    taken = public.as_structure(foreign)
    assert taken.elements == berlinite.elements
    assert taken.oxidation_states == berlinite.oxidation_states
    assert taken.content_id == berlinite.content_id
    assert public.as_structure(berlinite) is berlinite


def test_public_functions_take_foreign_structures(foreign: object, berlinite: public.AtomicStructure) -> None:
    assert public.distinct_sites(foreign) == public.distinct_sites(berlinite)
    assert public.bulk_candidate(foreign, name="b").id == public.bulk_candidate("AlPO4_berlinite", name="b").id
    given = {"thickness_ang": 4.0, "parent": "b"}
    ours, theirs = (public.cut_slabs(bulk, (1, 0, 0), **given) for bulk in (berlinite, foreign))
    assert [slab.id for slab in theirs] == [slab.id for slab in ours]
    assert len(ours) >= 1


@pytest.mark.parametrize("wrong", [None, "file.cif", np.eye(3), {"lattice": 1}])
def test_what_is_no_structure_is_told(wrong: object) -> None:
    with pytest.raises(NoStructureError, match="is no structure"):
        public.as_structure(wrong)


def test_every_public_name_exists_and_importing_them_is_light() -> None:
    for name in public.__all__:
        assert getattr(public, name).__name__ == name
        assert name in dir(public)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = public.nothing
    code = "import sys, surfshift.structures; assert not {'numpy', 'pymatgen', 'ase', 'pydantic'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
