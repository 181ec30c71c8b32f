import json

import numpy as np
import pytest
from surfshift.analysis.coatings.energies import (
    EnergyTable,
    TableIndex,
    amounts_of,
    experiment_table,
    read_table,
    reduced,
    refusal,
    shipped_table,
    table_of_totals,
)
from surfshift.analysis.coatings.errors import EmptyPhaseSpaceError, EnergyTableError, UnknownFormulaError


def test_shipped_table_round_trips_and_says_what_made_it():
    table = shipped_table()
    assert EnergyTable.model_validate_json(table.model_dump_json()) == table
    assert len(table.phases) >= 150
    assert table.provenance["potential"].startswith("7net")
    assert len(table.provenance["sha256_of_raw_energies"]) == 16
    assert all(abs(p.energy_ev_per_atom) < 5.0 for p in table.phases)


def test_shipped_energies_agree_with_measured_ones_within_their_stated_error():
    corrections = shipped_table().corrections
    assert corrections.error_ev_per_atom["all"] < 0.15
    assert corrections.error_ev_per_atom["all"] < 0.4 * corrections.uncorrected_error_ev_per_atom["all"]


def test_elements_have_no_formation_energy():
    table = shipped_table()
    lowest = TableIndex(table).best
    assert all(lowest[e].energy_ev_per_atom == pytest.approx(0.0, abs=1e-6) for e in ("Li", "O", "P", "Al", "Ti", "F"))


def test_shared_errors_move_phases_of_one_kind_together():
    space = TableIndex(shipped_table()).space({"Li", "O", "F", "Al"})
    drawn = space.samples(3000, 1)
    oxide, other, fluoride = (space.index_of(f) for f in ("Li2O", "Al2O3", "LiF"))
    together = np.corrcoef(drawn[:, oxide], drawn[:, other])[0, 1]
    apart = np.corrcoef(drawn[:, oxide], drawn[:, fluoride])[0, 1]
    assert together > apart
    assert drawn[:, 0].std() == 0.0


def test_an_element_without_phases_gives_no_number():
    with pytest.raises(EmptyPhaseSpaceError, match="no phase of Xe"):
        TableIndex(shipped_table()).space({"Li", "Xe"})


def test_coverage_counts_known_compounds_and_names_the_missing(phosphates):
    coverage = phosphates.coverage({"Li", "P", "O"})
    assert coverage.n_known >= coverage.n_known_present > 0
    assert all(f not in phosphates.best for f in coverage.missing)
    assert 0 < coverage.share <= 1


def test_experiment_is_a_level_of_its_own():
    table = experiment_table()
    assert table.level == "experiment"
    best = TableIndex(table).best
    assert 3 * best["Li2O"].energy_ev_per_atom == pytest.approx(-6.2, abs=0.05)


@pytest.mark.parametrize("text", ["", "Li3PO", "xyz", "Qq2", "Li3PO4!"])
def test_unreadable_formulas_are_refused(text):
    if text == "Li3PO":
        assert amounts_of(text) == {"Li": 3.0, "P": 1.0, "O": 1.0}
        return
    with pytest.raises(UnknownFormulaError, match="neither a phase"):
        amounts_of(text)


def test_elements_keep_their_symbol():
    assert reduced({"O": 2.0}) == "O"
    assert reduced({"Li": 4.0, "O": 2.0}) == "Li2O"


def test_a_table_of_total_energies(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("formula,energy_ev_per_atom\nLi,-1.9\nO2,-4.9\nLi2O,-4.75\n")
    table = read_table(path)
    assert table.level == "user"
    best = TableIndex(table).best
    assert 3 * best["Li2O"].energy_ev_per_atom == pytest.approx(3 * -4.75 + 2 * 1.9 + 4.9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("formula,energy\nLi,-1\n", "the columns are"),
        ("formula,energy_ev_per_atom\nLi,nan\n", "line 2: 'nan' is no energy"),
        ("formula,energy_ev_per_atom\nLi2O,-4.7\nLi,-1.9\n", "elements O are missing"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, message):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(EnergyTableError, match=message):
        read_table(path)


def test_a_missing_file_and_broken_json_are_refused(tmp_path):
    with pytest.raises(EnergyTableError, match="cannot be read"):
        read_table(tmp_path / "none.csv")
    path = tmp_path / "broken.json"
    path.write_text(json.dumps({"level": "sevennet"}))
    with pytest.raises(EnergyTableError, match="not a table of energies"):
        read_table(path)


def test_total_energies_need_every_element():
    with pytest.raises(EnergyTableError, match="elements F are missing"):
        table_of_totals([("LiF", -4.8), ("Li", -1.9)], level="user", provenance={})


def test_a_phase_that_became_another_one_is_refused():
    row = {
        "name": "x", "formula": "LiF", "grade": "recalled", "space_group": "Fm-3m", "start_space_group": "Fm-3m",
        "volume_change": 0.01, "density_g_cm3": 2.6, "known_density_g_cm3": 2.64,
    }  # fmt: skip
    assert refusal(row) is None
    assert "space group" in (refusal(row | {"space_group": "P1"}) or "")
    assert "volume" in (refusal(row | {"volume_change": 0.5}) or "")
    assert "density" in (refusal(row | {"density_g_cm3": 1.8}) or "")
