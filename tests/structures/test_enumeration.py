"""The candidates of a study: names, coverages, atom budget."""

import pytest
from surfshift.structures.enumeration import AtomBudgetError, bulk_candidate, enumerate_surfaces
from surfshift.structures.hydroxylation import CoverageError
from surfshift.structures.library import UnknownCrystalError, build_crystal, load_crystal
from surfshift.structures.terminations import MillerError

BERLINITE = build_crystal(load_crystal("AlPO4_berlinite"))


def test_names_and_ids_are_unique_and_the_dry_slab_comes_first() -> None:
    found = enumerate_surfaces(
        BERLINITE, "AlPO4_berlinite", (1, 0, 0), thickness_ang=4.0, hydroxylation=(0.0, 0.5, 1.0)
    )
    assert len({c.name for c in found}) == len({c.id for c in found}) == len(found) == 8
    assert found[0].name == "AlPO4_berlinite(100)-t0"
    assert [c.name.split("+")[-1] for c in found if "-t0+" in c.name] == ["2H2Oa", "2H2Ob", "4H2O"]
    assert all(c.parent == "AlPO4_berlinite" and c.miller == (1, 0, 0) for c in found)


def test_coverage_that_fits_some_terminations_is_used_on_those() -> None:
    bulk = build_crystal(load_crystal("AlPO4_berlinite"))
    found = enumerate_surfaces(bulk, "x", (1, 0, 1), thickness_ang=4.0, hydroxylation=(0.25,))
    assert all("+1H2O" in c.name for c in found)


def test_coverage_that_fits_nothing_is_refused() -> None:
    with pytest.raises(CoverageError, match=r"nearest is 0\.5"):
        enumerate_surfaces(BERLINITE, "x", (1, 0, 0), thickness_ang=4.0, hydroxylation=(0.3,))
    lioh = build_crystal(load_crystal("LiOH"))
    with pytest.raises(CoverageError, match="no broken bonds"):
        enumerate_surfaces(lioh, "LiOH", (0, 0, 1), thickness_ang=4.0, hydroxylation=(1.0,))
    with pytest.raises(CoverageError, match="no coverage"):
        enumerate_surfaces(BERLINITE, "x", (1, 0, 0), thickness_ang=4.0, hydroxylation=())


def test_atom_budget_is_enforced() -> None:
    with pytest.raises(AtomBudgetError, match="30 atoms, more than the 29"):
        enumerate_surfaces(BERLINITE, "x", (1, 0, 0), thickness_ang=4.0, max_atoms=29)
    with pytest.raises(AtomBudgetError, match="42 atoms, more than the 40"):
        enumerate_surfaces(BERLINITE, "x", (1, 0, 0), thickness_ang=4.0, max_atoms=40)


def test_bulk_candidate_by_name_and_by_structure() -> None:
    by_name = bulk_candidate("AlPO4_berlinite")
    by_structure = bulk_candidate(BERLINITE, name="mine")
    assert (by_name.name, by_name.parent, by_structure.name) == ("AlPO4_berlinite", "AlPO4_berlinite", "mine")
    assert by_name.id == by_structure.id
    assert bulk_candidate(BERLINITE).name == "AlPO4"


def test_unknown_crystal_and_impossible_facet_are_refused() -> None:
    with pytest.raises(UnknownCrystalError, match="did you mean"):
        bulk_candidate("AlPO4_berlinit")
    with pytest.raises(MillerError):
        enumerate_surfaces(BERLINITE, "x", (0, 0, 0), thickness_ang=4.0)
