import json

import pytest
from ase.calculators.lj import LennardJones
from surfshift.analysis.coatings.energies import refusal
from surfshift.workflows.phase_energies import (
    compute_ordered,
    compute_phase,
    compute_phases,
    write_ordered_cells,
)


@pytest.mark.slow
def test_sevennet_relaxes_lithium_fluoride_near_its_density(tmp_path):
    path = tmp_path / "rows.jsonl"
    said = []
    rows = compute_phases(path, ["LiF"], report=said.append)
    assert rows[0]["density_g_cm3"] == pytest.approx(2.64, rel=0.05)
    assert rows[0]["space_group"] == "Fm-3m"
    # a line that was being written when the run was killed is passed over, and finished phases are not repeated
    with path.open("a") as file:
        file.write('{"name": "LiCl", "form')
    said.clear()
    assert compute_phases(path, ["LiF"], report=said.append)[0] == rows[0]
    assert said == []


def test_a_relaxation_ends_at_the_minimum_of_its_calculator():
    """Argon's parameters make rock salt an ionless crystal; only the mechanics are tested here."""
    row = compute_phase(
        "LiF",
        geometry=LennardJones(sigma=1.9, epsilon=0.5, rc=8.0, smooth=True),
        energy=LennardJones(sigma=1.9, epsilon=0.5, rc=8.0, smooth=True),
    )
    assert row["max_force_ev_per_ang"] < 0.3
    assert row["space_group"] == row["start_space_group"] == "Fm-3m"
    assert row["n_atoms"] == 2
    assert json.loads(json.dumps(row)) == row


def ordered_row(number, energy):
    return {
        "name": f"LiXY-ordered-{number}", "formula": "LiCl", "grade": "model", "ordered_from": "LiXY",
        "source": "made up", "rounding": "nothing", "energy_per_atom_ev": energy, "space_group": "Fm-3m",
        "start_space_group": "P1", "volume_change": 0.02, "density_g_cm3": 2.0, "known_density_g_cm3": None,
        "lattice": [[3, 0, 0], [0, 3, 0], [0, 0, 3]], "elements": ["Li", "Cl"],
        "frac_coords": [[0, 0, 0], [0.5, 0.5, 0.5]],
    }  # fmt: skip


def test_finished_cells_of_a_disordered_crystal_are_not_computed_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [ordered_row(1, -4.0), ordered_row(2, -4.1)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert compute_ordered(path, "LiXY", n_cells=2) == rows


def test_the_lowest_cell_of_an_ordered_crystal_is_kept(tmp_path):
    path = tmp_path / "cells.json"
    write_ordered_cells([ordered_row(1, -4.0), ordered_row(2, -4.1)], path)
    kept = json.loads(path.read_text())
    assert [cell["name"] for cell in kept] == ["LiXY-ordered-2"]
    assert kept[0]["frac_coords"] == [[0, 0, 0], [0.5, 0.5, 0.5]]


def test_an_ordered_cell_may_gain_symmetry_but_not_another_volume():
    row = ordered_row(1, -4.0)
    assert refusal(row) is None
    assert "volume" in (refusal(row | {"volume_change": 0.5}) or "")
    assert "space group" in (refusal({key: value for key, value in row.items() if key != "ordered_from"}) or "")
