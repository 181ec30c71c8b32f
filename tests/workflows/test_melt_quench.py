"""Melt-quench with a cheap potential: reproducible, resumable, cooling."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.calculators.lj import LennardJones
from surfshift.structures.bonding import closest_pair
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.network import network_statistics
from surfshift.structures.vocabulary import AtomicStructure, Crystal
from surfshift.workflows.dynamics import BlewUpError
from surfshift.workflows.energies import relaxed_energy
from surfshift.workflows.glass import Glass, GlassSettings, make_glass
from surfshift.workflows.melt_quench import (
    GlassError,
    MeltQuenchSettings,
    crystal_entry,
    melt_quench,
    relax_glass,
)
from surfshift.workflows.packing import random_lipon, random_phosphate
from surfshift.workflows.pair_potential import aluminophosphate_calculator

SHORT = MeltQuenchSettings(melt_k=200.0, final_k=10.0, melt_steps=20, quench_steps=40, chunk_steps=20)


def argon() -> AtomicStructure:
    places = [(x / 3, y / 3, z / 3) for x in range(3) for y in range(3) for z in range(3)]
    edge = 11.5
    return AtomicStructure(
        lattice_ang=((edge, 0.0, 0.0), (0.0, edge, 0.0), (0.0, 0.0, edge)),
        elements=("Ar",) * 27,
        frac_coords=tuple(places),
        oxidation_states=(0.0,) * 27,
    )


def potential() -> LennardJones:
    return LennardJones(sigma=3.4, epsilon=0.0104, rc=5.5)


class Exploding(LennardJones):  # type: ignore[misc]
    """A potential whose energy is not a number from the fortieth evaluation on."""

    n_calls = 0

    def calculate(self, *given: object, **named: object) -> None:
        """As Lennard-Jones, but for the energy."""
        super().calculate(*given, **named)
        self.n_calls += 1
        if self.n_calls > 40:
            self.results["energy"] = float("nan")


def test_interrupted_run_ends_where_an_uninterrupted_one_ends(tmp_path: Path) -> None:
    whole = melt_quench(argon(), SHORT, tmp_path / "whole", potential())
    assert melt_quench(argon(), SHORT, tmp_path / "cut", potential(), max_chunks=1) is None
    resumed = melt_quench(argon(), SHORT, tmp_path / "cut", potential())
    assert whole is not None
    assert resumed is not None
    np.testing.assert_allclose(resumed.cart_coords, whole.cart_coords, atol=1e-9)
    assert not np.allclose(whole.cart_coords, argon().cart_coords, atol=0.05)


def test_run_cools_down(tmp_path: Path) -> None:
    melt_quench(argon(), SHORT.model_copy(update={"quench_steps": 200}), tmp_path, potential())
    rows = [line.split(",") for line in (tmp_path / "log.csv").read_text().splitlines()[1:]]
    assert float(rows[-1][1]) == pytest.approx(10.0)
    assert float(rows[-1][2]) < 0.5 * float(rows[0][2])


def test_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    melt_quench(argon(), SHORT, tmp_path, potential(), max_chunks=1)
    with pytest.raises(GlassError, match="other settings"):
        melt_quench(argon(), SHORT.model_copy(update={"seed": 2}), tmp_path, potential())


def test_packing_has_whole_tetrahedra_its_density_and_no_clash() -> None:
    packed = random_phosphate(6, 2.2, seed=4)
    assert float(packed.to_pymatgen().density) == pytest.approx(2.2, rel=1e-3)
    assert packed.total_charge == pytest.approx(0.0)
    distances = packed.to_pymatgen().distance_matrix
    oxygen = [k for k, e in enumerate(packed.elements) if e == "O"]
    for k, element in enumerate(packed.elements):
        if element == "P":
            assert sum(distances[k, oxygen] < 1.6) == 4
    _, _, length = closest_pair(packed)
    assert length > 1.1


def test_a_quench_that_blows_up_is_refused_and_the_state_before_it_stays(tmp_path: Path) -> None:
    with pytest.raises(BlewUpError, match="blew up at step 40"):
        melt_quench(argon(), SHORT, tmp_path, Exploding(sigma=3.4, epsilon=0.0104, rc=5.5))
    state = (tmp_path / "state.extxyz").read_text(encoding="utf-8")
    assert "step=20" in state
    assert len((tmp_path / "log.csv").read_text(encoding="utf-8").splitlines()) == 3
    # a sane potential goes on from there
    assert melt_quench(argon(), SHORT, tmp_path, potential()) is not None


def test_lipon_is_packed_neutral_with_its_tetrahedra() -> None:
    packed = random_lipon(8, 3, 2.2, n_bridges=2, seed=1)
    assert {e: packed.elements.count(e) for e in ("Li", "P", "O", "N")} == {"Li": 23, "P": 8, "O": 27, "N": 3}
    assert packed.total_charge == pytest.approx(0.0)
    assert float(packed.to_pymatgen().density) == pytest.approx(2.2, rel=1e-3)
    found = network_statistics(packed)
    assert found.units == {"PO3": 2, "PO3N": 3, "PO4": 3}
    assert found.nitrogen == {"Na": 3}
    with pytest.raises(GlassError, match="make no LiPON"):
        random_lipon(2, 3, 2.2, n_bridges=0, seed=1)


def test_a_glass_is_quenched_relaxed_and_reported_and_resumes(tmp_path: Path) -> None:
    start = random_phosphate(4, 2.0, seed=3)
    quench = MeltQuenchSettings(melt_k=1000.0, melt_steps=30, quench_steps=60, timestep_fs=1.0, chunk_steps=30)
    settings = GlassSettings(quench=quench, max_relax_steps=40, moves_cell=False)
    lines: list[str] = []
    calculator = aluminophosphate_calculator()
    made = make_glass(start, settings, tmp_path, calculator, calculator, models=("pair", "pair"), report=lines.append)
    assert [line.split(":")[0] for line in lines] == ["step 30 of 90", "step 60 of 90", "step 90 of 90"]
    assert made.network.coordination["P"] == {4: 4}
    assert made.network.density_g_cm3 == pytest.approx(2.0, rel=1e-3)
    assert made.max_force_ev_per_ang < 5.0
    assert not np.allclose(made.structure.cart_coords, made.quenched.cart_coords, atol=0.01)
    again = make_glass(start, settings, tmp_path, calculator, calculator, models=("pair", "pair"))
    assert again.n_relax_steps == made.n_relax_steps
    np.testing.assert_allclose(again.structure.cart_coords, made.structure.cart_coords, atol=1e-6)
    assert Glass.model_validate_json(made.model_dump_json()) == made
    candidate = made.candidate("AlPO4_glass")
    assert candidate.structure == made.structure
    assert "pair" in candidate.notes[0]


def test_packing_that_cannot_be_is_refused() -> None:
    with pytest.raises(GlassError, match="do not pack"):
        random_phosphate(4, 9.0, seed=1)


def test_energy_of_a_calculator_relaxes_in_the_fixed_cell() -> None:
    moved = argon().moved_to(argon().cart_coords + np.random.default_rng(0).normal(0.0, 0.1, (27, 3)))
    as_built, same = relaxed_energy(calculator=potential())(moved)
    relaxed, found = relaxed_energy(calculator=potential(), max_steps=50)(moved)
    assert relaxed < as_built
    np.testing.assert_allclose(same.cart_coords, moved.cart_coords)
    np.testing.assert_allclose(found.lattice, moved.lattice)


def test_relaxation_of_the_end_takes_forces_and_stress_away() -> None:
    stretched = argon().moved_to(argon().cart_coords * 0.93, argon().lattice * 0.93)
    relaxed, energy, force, n_steps = relax_glass(stretched, potential(), fmax_ev_per_ang=0.001)
    assert 0 < n_steps <= 200
    assert force <= 0.001
    atoms = stretched.to_ase()
    atoms.calc = potential()
    assert energy < atoms.get_potential_energy()
    assert not np.allclose(relaxed.lattice, stretched.lattice)


def test_interrupted_relaxation_goes_on_where_it_was(tmp_path: Path) -> None:
    stretched = argon().moved_to(argon().cart_coords * 0.93, argon().lattice * 0.93)
    _, first, _, n_first = relax_glass(stretched, potential(), fmax_ev_per_ang=0.001, max_steps=5, folder=tmp_path)
    assert n_first == 5
    _, last, force, n_last = relax_glass(stretched, potential(), fmax_ev_per_ang=0.001, folder=tmp_path)
    assert last < first
    assert force <= 0.001
    assert 5 < n_last <= 200


def test_written_entry_builds_the_same_structure() -> None:
    packed = build_crystal(load_crystal("AlPO4_berlinite"))
    text = crystal_entry(packed, formula="AlPO4", formula_units=3, source="Model, test", note="word " * 40)
    crystal = Crystal.model_validate({"name": "written", **yaml.safe_load("e:\n" + text)["e"]})
    built = build_crystal(crystal)
    assert built.elements == packed.elements
    assert built.oxidation_states == packed.oxidation_states
    delta = np.array(built.frac_coords) - np.array(packed.frac_coords)
    assert np.abs(delta - np.round(delta)).max() < 1e-5
    np.testing.assert_allclose(np.linalg.norm(built.lattice, axis=1), np.linalg.norm(packed.lattice, axis=1), atol=1e-4)
