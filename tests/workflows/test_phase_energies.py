import json

import pytest
from ase.calculators.lj import LennardJones
from surfshift.workflows.phase_energies import compute_phase, compute_phases


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
