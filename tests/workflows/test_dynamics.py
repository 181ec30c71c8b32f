"""Langevin dynamics of EMT copper: right temperature, same end after an interruption, refusals by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from surfshift.structures.vocabulary import AtomicStructure, as_tensor3
from surfshift.workflows.dynamics import BlewUpError, DynamicsError, DynamicsFolderError, DynamicsSettings, run_dynamics

if TYPE_CHECKING:
    from pathlib import Path

SHORT = DynamicsSettings(
    timestep_fs=4.0, equilibration_steps=20, steps=60, save_every=5, chunk_steps=20, friction_per_fs=0.02
)


def structure(atoms: Atoms) -> AtomicStructure:
    return AtomicStructure(
        lattice_ang=as_tensor3(np.array(atoms.cell)),
        elements=tuple(atoms.get_chemical_symbols()),
        frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in atoms.get_scaled_positions(wrap=False)),
        oxidation_states=(0.0,) * len(atoms),
    )


def copper() -> AtomicStructure:
    return structure(bulk("Cu", cubic=True, a=3.59) * (2, 1, 1))


def test_the_thermostat_holds_its_temperature(tmp_path: Path) -> None:
    settings = DynamicsSettings(
        timestep_fs=5.0, equilibration_steps=100, steps=900, save_every=5, chunk_steps=500, friction_per_fs=0.02
    )
    found = run_dynamics(copper(), settings, tmp_path, EMT())
    assert found is not None
    assert found.positions_ang.shape == (180, 8, 3)
    assert found.frame_fs == 25.0
    assert found.steps[0] == 105
    assert found.temperatures_k.mean() == pytest.approx(300.0, rel=0.12)
    # the fluctuation of the temperature of n atoms is sqrt(2 / 3n)
    assert found.temperatures_k.std() / 300.0 == pytest.approx((2 / 24) ** 0.5, rel=0.35)


def test_a_stopped_run_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = run_dynamics(copper(), SHORT, tmp_path / "whole", EMT())
    assert run_dynamics(copper(), SHORT, tmp_path / "parts", EMT(), max_chunks=1) is None
    assert run_dynamics(copper(), SHORT, tmp_path / "parts", EMT(), max_chunks=2) is None
    parts = run_dynamics(copper(), SHORT, tmp_path / "parts", EMT())
    assert whole is not None
    assert parts is not None
    assert np.array_equal(whole.positions_ang, parts.positions_ang)
    assert len(list((tmp_path / "parts").iterdir())) == 5  # four chunks and the description, no leftovers
    longer = run_dynamics(copper(), SHORT.model_copy(update={"steps": 80}), tmp_path / "parts", EMT())
    assert longer is not None
    assert np.array_equal(longer.positions_ang[:12], whole.positions_ang)


class Breaking(EMT):  # type: ignore[misc]
    """EMT whose energy is not a number from the fifth evaluation on."""

    count = 0

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        super().calculate(*args, **kwargs)
        self.count += 1
        if self.count > 5:
            self.results["energy"] = self.results["free_energy"] = float("nan")


def test_runs_that_blow_up_are_refused_and_nothing_of_them_is_kept(tmp_path: Path) -> None:
    wild = SHORT.model_copy(update={"timestep_fs": 5.0, "save_every": 1})
    hot = bulk("Cu", cubic=True, a=3.59) * (2, 1, 1)
    hot.positions[0] += [1.2, 0.4, 0.0]
    with pytest.raises(
        BlewUpError, match=r"blew up at step \d+: \d+ K where at most \d+ K are credible; take a smaller"
    ):
        run_dynamics(structure(hot), wild, tmp_path / "hot", EMT())
    with pytest.raises(BlewUpError, match="energy or positions are not finite"):
        run_dynamics(copper(), wild, tmp_path / "nan", Breaking())
    for folder in ("hot", "nan"):
        assert [path.name for path in (tmp_path / folder).iterdir()] == ["run.json"]


def test_atoms_that_fuse_are_refused(tmp_path: Path) -> None:
    from ase.calculators.lj import LennardJones

    # so weak a repulsion lets two atoms meet
    pair = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.0]], cell=[12, 12, 12], pbc=True)
    soft = LennardJones(sigma=0.2, epsilon=1e-6, rc=3.0)
    fast = DynamicsSettings(temperature_k=4000, timestep_fs=5, equilibration_steps=0, steps=400, save_every=1, seed=3)
    pair.positions[1] = [0, 0, 1.0]
    with pytest.raises(BlewUpError, match=r"Cu0 and Cu1 are \d\.\d\d A apart"):
        run_dynamics(structure(pair), fast, tmp_path, soft)


def test_another_run_and_damaged_files_are_refused(tmp_path: Path) -> None:
    run_dynamics(copper(), SHORT, tmp_path, EMT())
    with pytest.raises(DynamicsFolderError, match="holds a run of another structure, model or settings"):
        run_dynamics(copper(), SHORT.model_copy(update={"seed": 2}), tmp_path, EMT())
    with pytest.raises(DynamicsFolderError, match="another structure, model"):
        run_dynamics(copper(), SHORT, tmp_path, EMT(), model="other")
    (tmp_path / "chunk-00001.extxyz").write_text("8\nbroken\n", encoding="utf-8")
    with pytest.raises(DynamicsFolderError, match=r"chunk-00001\.extxyz"):
        run_dynamics(copper(), SHORT, tmp_path, EMT())
    none = DynamicsSettings(timestep_fs=4.0, equilibration_steps=3, steps=2, save_every=10, chunk_steps=5)
    with pytest.raises(DynamicsError, match="no frame is left"):
        run_dynamics(copper(), none, tmp_path / "short", EMT())
