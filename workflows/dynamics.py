"""Molecular dynamics at constant volume and temperature, in chunks that are kept on disk.

Positions and momenta are the whole state of Langevin dynamics, which is why that thermostat is taken: each chunk draws
its random forces from a generator seeded with the run's seed and the chunk's number and starts from the digits that the
chunk before it left on disk, so that a run that was stopped ends as one that was not.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import Field

from ..structures.errors import SurfshiftError
from ..structures.vocabulary import AtomicStructure, Frozen
from .files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Report = Callable[[str], None]

TOO_HOT = 3.0
"""A frame this many times hotter than wanted, and beyond ten standard deviations of its fluctuation, has blown up."""

TOO_CLOSE = 0.5
"""Two atoms nearer than this share of the sum of their covalent radii have blown up."""


class DynamicsError(SurfshiftError):
    """Base of every refusal of molecular dynamics."""


class BlewUpError(DynamicsError):
    """Energies, temperatures or distances that no real motion has; nothing of the chunk is kept."""


class DynamicsFolderError(DynamicsError):
    """A folder that holds another run, or files that cannot be read."""


class DynamicsSettings(Frozen):
    """A run at constant volume and temperature.

    Attributes
    ----------
    temperature_k
        Of the thermostat, kelvin.
    timestep_fs
        About a tenth of the fastest vibration's period at most: 2 fs without hydrogen, 0.5 to 1 fs with it.
    equilibration_steps
        Steps that are never used; more are left out if the energy still drifts after them.
    steps
        Steps after these.
    friction_per_fs
        Of the Langevin thermostat.
    save_every
        Steps between two kept frames.
    chunk_steps
        Steps between two states on disk.
    seed
        Of velocities and random forces.
    """

    temperature_k: float = Field(default=300.0, gt=0, le=5000)
    timestep_fs: float = Field(default=1.0, gt=0, le=5.0)
    equilibration_steps: int = Field(default=500, ge=0)
    steps: int = Field(default=2000, ge=1)
    friction_per_fs: float = Field(default=0.01, gt=0, le=1)
    save_every: int = Field(default=10, ge=1)
    chunk_steps: int = Field(default=100, ge=1)
    seed: int = 1


class Trajectory(NamedTuple):
    """Frames after equilibration: positions (n, n_atoms, 3) in angstrom, unwrapped; energies (n,), eV; kelvin (n,).

    ``steps`` (n,) counts from the start, ``cpu_seconds`` is what the run took, equilibration included.
    """

    positions_ang: Array
    energies_ev: Array
    temperatures_k: Array
    steps: NDArray[np.int64]
    frame_fs: float
    cpu_seconds: float


def run_dynamics(
    structure: AtomicStructure,
    settings: DynamicsSettings,
    folder: Path | str,
    calculator: Calculator,
    *,
    model: str = "",
    max_chunks: int | None = None,
    report: Report | None = None,
) -> Trajectory | None:
    """Run, or go on with, molecular dynamics.

    Parameters
    ----------
    structure
        Where it starts, best relaxed. Velocities are drawn for twice the temperature, half of which becomes potential
        energy.
    folder
        Holds ``run.json`` and one file of frames per chunk.
    calculator
        Any ase calculator.
    model
        Name of what gives the forces; the calculator's class if empty.
    max_chunks
        Stop after so many chunks of this call; the next call goes on.
    report
        Called with a line per chunk.

    Returns
    -------
    The frames after equilibration, or ``None`` when ``max_chunks`` ended the call before the end.

    Raises
    ------
    BlewUpError
        If a chunk is not physical; earlier chunks stay, the bad one is not written.
    DynamicsFolderError
        If the folder holds another run or a file that cannot be read.
    """
    place = Path(folder)
    _claim(place, structure, settings, model or type(calculator).__name__)
    last = settings.equilibration_steps + settings.steps
    n_chunks = -(-last // settings.chunk_steps)
    done = 0
    for chunk in range(n_chunks):
        path = _chunk_file(place, chunk)
        if path.exists():
            continue
        if max_chunks is not None and done >= max_chunks:
            return None
        begin = chunk * settings.chunk_steps
        atoms = _start(structure, settings) if chunk == 0 else _read_frames(_chunk_file(place, chunk - 1))[-1]
        frames = _run_chunk(atoms, settings, begin, calculator)
        _write_frames(path, frames)
        done += 1
        if report is not None:
            now = frames[-1].info
            report(f"step {now['step']} of {last}: {now['kelvin']:.0f} K, {now['energy_ev']:.3f} eV")
    return _collect(place, settings, n_chunks)


def _claim(folder: Path, structure: AtomicStructure, settings: DynamicsSettings, model: str) -> None:
    """Note what the folder holds; longer runs of the same dynamics may go on in it."""
    identity = {
        "settings": settings.model_dump(mode="json", exclude={"steps"}),
        "structure": structure.content_id,
        "model": model,
    }
    head = folder / "run.json"
    if not head.exists():
        write_atomically(head, json.dumps(identity, indent=1))
        return
    try:
        known = json.loads(head.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DynamicsFolderError(f"cannot read {head}: {error}; give an empty folder") from error
    if known != identity:
        raise DynamicsFolderError(
            f"{folder} holds a run of another structure, model or settings; give an empty folder, or the settings in "
            "its run.json"
        )


def _chunk_file(folder: Path, chunk: int) -> Path:
    return folder / f"chunk-{chunk:05d}.extxyz"


def _start(structure: AtomicStructure, settings: DynamicsSettings) -> Atoms:
    from ase import units

    atoms = structure.to_ase()
    atoms.set_initial_charges(None)
    masses = atoms.get_masses()[:, None]
    momenta = np.random.default_rng([settings.seed, 2**31]).normal(size=(len(atoms), 3))
    momenta *= np.sqrt(masses * units.kB * 2.0 * settings.temperature_k)
    atoms.set_momenta(momenta - masses * momenta.sum(axis=0) / masses.sum())
    return atoms


def _run_chunk(atoms: Atoms, settings: DynamicsSettings, begin: int, calculator: Calculator) -> list[Atoms]:
    """Frames of one whole chunk, so that a longer run can go on after it."""
    from ase import units
    from ase.md.langevin import Langevin

    atoms.calc = calculator
    dynamics = Langevin(
        atoms,
        timestep=settings.timestep_fs * units.fs,
        temperature_K=settings.temperature_k,
        friction=settings.friction_per_fs / units.fs,
        rng=np.random.default_rng([settings.seed, begin]),
        fixcm=False,
    )
    frames = []
    end, started = begin + settings.chunk_steps, time.process_time()
    for step in range(begin + 1, end + 1):
        dynamics.run(1)
        if step % settings.save_every == 0 or step == end:
            frames.append(_checked_frame(atoms, settings, step))
    frames[-1].info["chunk_cpu_s"] = time.process_time() - started
    return frames


def _checked_frame(atoms: Atoms, settings: DynamicsSettings, step: int) -> Atoms:
    """A bare copy with its energy.

    Raises
    ------
    BlewUpError
        If it is not physical.
    """
    from ase import Atoms as Bare

    fluctuation = np.sqrt(2.0 / (3.0 * len(atoms)))
    # the start is at twice the temperature
    hottest = 2.0 * settings.temperature_k * max(TOO_HOT / 2.0, 1.0 + 10.0 * fluctuation)
    energy, kelvin = check_frame(atoms, step=step, hottest_k=hottest)
    bare = Bare(atoms.get_chemical_symbols(), positions=atoms.get_positions(), cell=atoms.cell, pbc=atoms.pbc)
    bare.set_momenta(atoms.get_momenta())
    bare.info.update(step=step, energy_ev=energy, kelvin=kelvin)
    return bare


def check_frame(atoms: Atoms, *, step: int, hottest_k: float) -> tuple[float, float]:
    """Energy (eV) and temperature (K) of a frame that is physical.

    Raises
    ------
    BlewUpError
        If a number is not finite, the frame is hotter than ``hottest_k``, or two atoms fuse.
    """
    energy, kelvin = float(atoms.get_potential_energy()), float(atoms.get_temperature())
    advice = "take a smaller timestep_fs, relax the start, or doubt the potential here"
    where = f"molecular dynamics blew up at step {step}"
    if not (np.isfinite(energy) and np.isfinite(atoms.get_positions()).all() and np.isfinite(kelvin)):
        raise BlewUpError(f"{where}: energy or positions are not finite; {advice}")
    if kelvin > hottest_k:
        raise BlewUpError(f"{where}: {kelvin:.0f} K where at most {hottest_k:.0f} K are credible; {advice}")
    pair = _too_close(atoms)
    if pair is not None:
        i, j, distance = pair
        raise BlewUpError(
            f"{where}: {atoms.symbols[i]}{i} and {atoms.symbols[j]}{j} are {distance:.2f} A apart; {advice}"
        )
    return energy, kelvin


def _too_close(atoms: Atoms) -> tuple[int, int, float] | None:
    from ase.data import covalent_radii
    from ase.neighborlist import neighbor_list

    radii = TOO_CLOSE * covalent_radii[atoms.numbers]
    first, second, distances = neighbor_list("ijd", atoms, list(radii))
    if not len(first):
        return None
    k = int(np.argmin(distances))
    return int(first[k]), int(second[k]), float(distances[k])


def _write_frames(path: Path, frames: list[Atoms]) -> None:
    import io

    from ase.io import write

    text = io.StringIO()
    write(text, frames, format="extxyz")
    write_atomically(path, text.getvalue())


def _read_frames(path: Path) -> list[Atoms]:
    from ase.io import read

    try:
        frames = read(path, index=":", format="extxyz")
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DynamicsFolderError(f"cannot read {path}: {error}; remove it and all later chunks") from error
    if not isinstance(frames, list) or not frames:
        raise DynamicsFolderError(f"{path} holds no frame; remove it and all later chunks")
    return frames


def _collect(folder: Path, settings: DynamicsSettings, n_chunks: int) -> Trajectory:
    frames = [frame for chunk in range(n_chunks) for frame in _read_frames(_chunk_file(folder, chunk))]
    last = settings.equilibration_steps + settings.steps
    # the end of a chunk is kept as its state even where no frame is due
    kept = [
        frame
        for frame in frames
        if settings.equilibration_steps < frame.info["step"] <= last and frame.info["step"] % settings.save_every == 0
    ]
    if not kept:
        raise DynamicsError(
            f"no frame is left after {settings.equilibration_steps} steps of equilibration; "
            "take more steps than save_every"
        )
    return Trajectory(
        positions_ang=np.array([frame.get_positions() for frame in kept]),
        energies_ev=np.array([float(frame.info["energy_ev"]) for frame in kept]),
        temperatures_k=np.array([float(frame.info["kelvin"]) for frame in kept]),
        steps=np.array([int(frame.info["step"]) for frame in kept]),
        frame_fs=settings.save_every * settings.timestep_fs,
        cpu_seconds=sum(float(frame.info.get("chunk_cpu_s", 0.0)) for frame in frames),
    )
