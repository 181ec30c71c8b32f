"""Glass by melt and quench: molecular dynamics of a random packing, resumable and reproducible.

The run is cut into chunks. Each chunk draws its random forces from a generator seeded with the run's seed and
the chunk's number, and ends by writing its state: a run that was interrupted goes on to the same end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field, model_validator

from ..structures.errors import SurfshiftError
from ..structures.vocabulary import AtomicStructure, Frozen
from .dynamics import TOO_HOT, check_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

ROUGH_FMAX_EV_PER_ANG = 2.0
"""Down to this force a relaxation goes safely downhill (FIRE), below it fast (LBFGS)."""

STEPS_KEPT = 5
"""Steps of a relaxation between two states on disk."""


class GlassError(SurfshiftError):
    """A glass that cannot be packed, or a run folder that belongs to another run or cannot be read."""


class MeltQuenchSettings(Frozen):
    """A melt-quench run.

    Attributes
    ----------
    seed
        Of the first velocities and the thermostat.
    melt_k, final_k
        Temperatures, kelvin; ``melt_steps`` are run at ``melt_k`` and ``quench_steps`` on the way down, linearly.
    timestep_fs, friction_per_fs
        Of the Langevin dynamics.
    chunk_steps
        Steps between two states on disk.
    """

    seed: int = 1
    melt_k: float = Field(default=3500.0, gt=0.0)
    final_k: float = Field(default=300.0, gt=0.0)
    melt_steps: int = Field(default=400, ge=0)
    quench_steps: int = Field(default=800, ge=1)
    timestep_fs: float = Field(default=2.0, gt=0.0, le=5.0)
    friction_per_fs: float = Field(default=0.01, gt=0.0)
    chunk_steps: int = Field(default=50, ge=1)

    @model_validator(mode="after")
    def _cools(self) -> Self:
        if self.final_k >= self.melt_k:
            raise ValueError(f"the melt at {self.melt_k} K is not above the end at {self.final_k} K")
        return self

    @property
    def quench_rate_k_per_ps(self) -> float:
        """Cooling rate, K/ps."""
        return (self.melt_k - self.final_k) / (self.quench_steps * self.timestep_fs * 1e-3)

    def temperature_k(self, step: int) -> float:
        """Target temperature of a step, kelvin."""
        share = min(max(step - self.melt_steps, 0) / self.quench_steps, 1.0)
        return self.melt_k + share * (self.final_k - self.melt_k)


def melt_quench(
    start: AtomicStructure,
    settings: MeltQuenchSettings,
    folder: str | Path,
    calculator: Calculator,
    *,
    max_chunks: int | None = None,
    report: Callable[[str], None] | None = None,
) -> AtomicStructure | None:
    """Run, or go on with, a melt-quench at constant volume.

    Parameters
    ----------
    start
        Packing whose worst clashes are relaxed before the dynamics.
    settings
        The schedule; kept in the folder.
    folder
        Holds ``state.extxyz`` with positions and momenta, ``run.json`` and ``log.csv``.
    calculator
        Any ase calculator.
    max_chunks
        Stop after so many chunks of this call; the next call goes on.
    report
        Called with a line per chunk.

    Returns
    -------
    The structure at the end of the quench, not relaxed, or ``None`` when ``max_chunks`` ended the call before that.

    Raises
    ------
    GlassError
        If the folder holds a run with other settings or another start.
    BlewUpError
        If energies, temperatures or distances are those of no real motion; the state before them is kept.
    """
    run, atoms, step = _open_run(start, settings, Path(folder), calculator)
    last = settings.melt_steps + settings.quench_steps
    done = 0
    while step < last:
        if max_chunks is not None and done >= max_chunks:
            return None
        step = _run_chunk(atoms, settings, step, last)
        check_frame(atoms, step=step, hottest_k=TOO_HOT * settings.temperature_k(step - settings.chunk_steps))
        done += 1
        _save(run, atoms, settings, step)
        if report is not None:
            report(
                f"step {step} of {last}: {atoms.get_temperature():.0f} K, wanted {settings.temperature_k(step):.0f} K"
            )
    return start.moved_to(atoms.get_positions())


def relax_glass(
    structure: AtomicStructure,
    calculator: Calculator,
    *,
    fmax_ev_per_ang: float = 0.05,
    max_steps: int = 200,
    folder: str | Path | None = None,
    moves_cell: bool = True,
) -> tuple[AtomicStructure, float, float, int]:
    """Relax positions, and the cell unless told not to, of a quenched structure.

    Parameters
    ----------
    structure
        The end of the quench.
    calculator
        Any ase calculator; with stress, where the cell moves.
    fmax_ev_per_ang, max_steps
        When to stop.
    folder
        Where the state is kept after every few steps; a call that finds one there goes on from it.
    moves_cell
        Whether the cell relaxes too.

    Returns
    -------
    The structure, its energy in eV, the largest force left in eV per angstrom, and the number of steps of all calls.
    """
    from ase.filters import FrechetCellFilter
    from ase.optimize import FIRE, LBFGS

    atoms, n_steps = structure.to_ase(), 0
    atoms.set_initial_charges(None)
    state = None if folder is None else Path(folder) / "relaxed.extxyz"
    if state is not None and state.is_file():
        kept = read_state(state)
        atoms.set_cell(kept.cell)
        atoms.set_positions(kept.get_positions())
        n_steps = int(kept.info["step"])
    atoms.calc = calculator
    stages: tuple[tuple[Any, float], ...] = (
        (FIRE, max(fmax_ev_per_ang, ROUGH_FMAX_EV_PER_ANG)),
        (LBFGS, fmax_ev_per_ang),
    )
    for optimiser, fmax in stages:
        run = optimiser(FrechetCellFilter(atoms) if moves_cell else atoms, logfile=None, maxstep=0.1)
        for _ in run.irun(fmax=fmax, steps=max_steps - n_steps):
            if state is not None and run.nsteps % STEPS_KEPT == 0:
                _write_state(state, atoms, n_steps + run.nsteps)
        n_steps += run.nsteps
    if state is not None:
        _write_state(state, atoms, n_steps)
    force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    return structure.moved_to(atoms.get_positions(), np.array(atoms.cell)), _energy(atoms), force, n_steps


def _energy(atoms: Atoms) -> float:
    return float(atoms.get_potential_energy())


def _write_state(path: Path, atoms: Atoms, step: int) -> None:
    """Positions, cell and step, so that an interruption leaves the old or the new state."""
    from ase import Atoms
    from ase.io import write

    bare = Atoms(atoms.get_chemical_symbols(), positions=atoms.get_positions(), cell=atoms.cell, pbc=True)
    if atoms.has("momenta"):
        bare.set_momenta(atoms.get_momenta())
    bare.info["step"] = step
    fresh = path.with_suffix(".new")
    write(fresh, bare, format="extxyz")
    fresh.replace(path)


def crystal_entry(structure: AtomicStructure, *, formula: str, formula_units: int, source: str, note: str) -> str:
    """An entry of the crystal library, as YAML, for a structure without symmetry.

    The density is that of the cell. Positions are given to 1e-5 of the cell, its lengths and angles to five digits.
    """
    from textwrap import wrap

    given = structure.to_pymatgen()
    a, b, c, alpha, beta, gamma = given.lattice.parameters
    numbers: dict[str, int] = {}
    lines = [
        f"  formula: {formula}",
        "  space_group: P1",
        "  space_group_number: 1",
        f"  cell: [{a:.5f}, {b:.5f}, {c:.5f}, {alpha:.4f}, {beta:.4f}, {gamma:.4f}]",
        f"  formula_units: {formula_units}",
        f"  density_g_cm3: {float(given.density):.3f}",
        "  sites:",
    ]
    for element, place, state in zip(
        structure.elements, structure.frac_coords, structure.oxidation_states, strict=True
    ):
        numbers[element] = numbers.get(element, 0) + 1
        xyz = ", ".join(f"{value % 1.0:.5f}" for value in place)
        label = f"{element}{numbers[element]}"
        lines.append(f"    - {{label: {label}, element: {element}, xyz: [{xyz}], oxidation_state: {state:g}}}")
    lines += [f"  source: {source}", "  grade: model", "  note: >-", *(f"    {line}" for line in wrap(note, 115))]
    return "\n".join(lines) + "\n"


def _open_run(
    start: AtomicStructure, settings: MeltQuenchSettings, folder: Path, calculator: Calculator
) -> tuple[Path, Atoms, int]:
    from ase.optimize import FIRE

    folder.mkdir(parents=True, exist_ok=True)
    identity = {"settings": settings.model_dump(), "start": start.content_id}
    described = folder / "run.json"
    if described.is_file():
        if json.loads(described.read_text(encoding="utf-8")) != identity:
            raise GlassError(
                f"{str(folder)!r} holds a run with other settings or another start; give an empty folder, or the "
                "settings in its run.json"
            )
    else:
        described.write_text(json.dumps(identity, indent=1) + "\n", encoding="utf-8")
    state = folder / "state.extxyz"
    if state.is_file():
        atoms = read_state(state, calculator)
        return folder, atoms, int(atoms.info["step"])
    atoms = start.to_ase()
    atoms.set_initial_charges(None)
    atoms.calc = calculator
    FIRE(atoms, logfile=None, maxstep=0.1).run(fmax=2.0, steps=150)
    atoms.set_momenta(_thermal_momenta(atoms, settings))
    _save(folder, atoms, settings, 0)
    return folder, read_state(state, calculator), 0


def _thermal_momenta(atoms: Atoms, settings: MeltQuenchSettings) -> NDArray[np.float64]:
    """Maxwell-Boltzmann momenta at the melt's temperature without drift, shape (n, 3), ase units."""
    from ase import units

    masses = atoms.get_masses()[:, None]
    rng = np.random.default_rng([settings.seed, 2**31])
    momenta = rng.normal(size=(len(atoms), 3)) * np.sqrt(masses * units.kB * settings.melt_k)
    result: NDArray[np.float64] = momenta - masses * momenta.sum(axis=0) / masses.sum()
    return result


def read_state(path: Path, calculator: Calculator | None = None) -> Atoms:
    """Atoms with momenta as they were written: a fresh run starts from the same digits as a resumed one."""
    from ase.io import read

    atoms = read(path, index=-1, format="extxyz")
    if isinstance(atoms, list):
        raise GlassError(f"{str(path)!r} holds no single state; remove it, and the run starts anew")
    atoms.calc = calculator
    return atoms


def _run_chunk(atoms: Atoms, settings: MeltQuenchSettings, step: int, last: int) -> int:
    from ase import units
    from ase.md.langevin import Langevin

    dynamics = Langevin(
        atoms,
        timestep=settings.timestep_fs * units.fs,
        temperature_K=settings.temperature_k(step),
        friction=settings.friction_per_fs / units.fs,
        rng=np.random.default_rng([settings.seed, step]),
        fixcm=False,
    )
    for k in range(step, min(step + settings.chunk_steps, last)):
        dynamics.set_temperature(temperature_K=settings.temperature_k(k))
        dynamics.run(1)
    return min(step + settings.chunk_steps, last)


def _save(folder: Path, atoms: Atoms, settings: MeltQuenchSettings, step: int) -> None:
    """Write the state so that an interruption leaves the old or the new one, and read it back."""
    energy, temperature = _energy(atoms), float(atoms.get_temperature())
    _write_state(folder / "state.extxyz", atoms, step)
    kept = read_state(folder / "state.extxyz")
    atoms.set_positions(kept.get_positions())
    atoms.set_momenta(kept.get_momenta())
    log = folder / "log.csv"
    if step == 0 or not log.is_file():
        log.write_text("step,target_k,temperature_k,energy_ev\n", encoding="utf-8")
    with log.open("a", encoding="utf-8") as lines:
        lines.write(f"{step},{settings.temperature_k(step):.1f},{temperature:.1f},{energy:.4f}\n")
