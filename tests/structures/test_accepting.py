"""The public names come from one place, and structures of ase and pymatgen do as well as the project's own."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import surfshift.structures as public
from surfshift.structures import bonding, facets, hydroxylation, library_surfaces, nodes, slabs, symmetry, terminations
from surfshift.structures.accepting import NoStructureError, as_disordered
from surfshift.structures.decorations.decorate import decorate
from surfshift.structures.decorations.settings import MolecularWater
from surfshift.structures.library import build_disordered
from surfshift.structures.ordering import choose_supercell
from surfshift.structures.percolation import widest_path
from surfshift.structures.undercoordination import undercoordinated_atoms

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from surfshift.structures.disorder import DisorderedStructure


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


def test_no_public_function_takes_structures_of_this_project_alone(repo_root: Path) -> None:
    refusing, taking = [], 0
    for path in sorted((repo_root / "structures").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            for argument in (*node.args.args, *node.args.kwonlyargs):
                kind = ast.unparse(argument.annotation) if argument.annotation else ""
                taking += kind == "StructureLike"
                if kind == "AtomicStructure":
                    refusing.append(f"{path.name}: {node.name}({argument.arg})")
    assert refusing == []
    assert taking > 40


CALLS: dict[str, Callable[[Any], Any]] = {
    "bonds": lambda bulk: [[(b.i, b.j) for b in own] for own in bonding.find_bonds(bulk)],
    "coordination": lambda bulk: bonding.coordination_numbers(bulk).tolist(),
    "units": lambda bulk: len(bonding.find_units(bulk)),
    "facets": lambda bulk: facets.distinct_facets(bulk, 1),
    "orientation": lambda bulk: facets.orient(bulk, (1, 0, 0)).spacing_ang,
    "operations": lambda bulk: len(symmetry.symmetry_operations(bulk)),
    "cached operations": lambda bulk: len(facets.bulk_operations(bulk)),
    "cached bonds": lambda bulk: nodes.bond_table(bulk).atoms.tolist(),
    "dipole": slabs.slab_dipole,
    "same": lambda bulk: slabs.same_structure(bulk, bulk),
    "water": library_surfaces.takes_up_water,
    "path": lambda bulk: widest_path(bulk, "Al").radius_ang,
    "supercell": lambda bulk: choose_supercell(bulk, (1, 1, 1), 100),
}


@pytest.mark.parametrize("name", CALLS)
def test_functions_of_a_crystal_take_foreign_ones(
    name: str, foreign: object, berlinite: public.AtomicStructure
) -> None:
    theirs, ours = CALLS[name](foreign), CALLS[name](berlinite)
    assert theirs == (pytest.approx(ours) if isinstance(ours, float) else ours)


def test_functions_of_a_slab_and_its_crystal_take_foreign_crystals(
    foreign: object, berlinite: public.AtomicStructure
) -> None:
    (dry, *_) = public.cut_slabs(berlinite, (1, 0, 0), thickness_ang=4.0, parent="b")
    assert undercoordinated_atoms(dry, [foreign]) == undercoordinated_atoms(dry, [berlinite]) != ()
    ours = terminations.missing_bonds(dry.structure, berlinite, (1, 0, 0))
    theirs = terminations.missing_bonds(dry.structure.to_ase(), foreign, (1, 0, 0))
    assert [(b.atom, b.partner) for b in theirs] == [(b.atom, b.partner) for b in ours] != []
    assert hydroxylation.possible_coverages(dry, foreign) == hydroxylation.possible_coverages(dry, berlinite)
    wet = MolecularWater(max_variants=1)
    assert [c.id for c in decorate(dry, foreign, wet)] == [c.id for c in decorate(dry, berlinite, wet)]


def test_partial_occupancies_come_from_pymatgen_too() -> None:
    ours = public_disordered()
    theirs = as_disordered(ours.to_pymatgen(), name=ours.name)
    assert theirs.composition == pytest.approx(ours.composition)
    assert choose_supercell(ours.to_pymatgen(), (1, 1, 1), 500)[0] == choose_supercell(ours, (1, 1, 1), 500)[0]
    assert as_disordered(ours) is ours


def public_disordered() -> DisorderedStructure:
    return build_disordered(public.load_crystal("LATP_x0.3"))


@pytest.mark.parametrize("wrong", [None, "file.cif", np.eye(3), {"lattice": 1}])
def test_what_is_no_structure_is_told(wrong: object) -> None:
    with pytest.raises(NoStructureError, match="is no structure"):
        public.as_structure(wrong)
    with pytest.raises(NoStructureError, match="is no structure"):
        as_disordered(wrong)
    with pytest.raises(NoStructureError, match="is no structure"):
        bonding.find_bonds(wrong)


def test_every_public_name_exists_and_importing_them_is_light() -> None:
    for name in public.__all__:
        assert getattr(public, name).__name__ == name
        assert name in dir(public)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = public.nothing
    code = "import sys, surfshift.structures; assert not {'numpy', 'pymatgen', 'ase', 'pydantic'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
