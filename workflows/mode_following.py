"""From a saddle point to a minimum: displace along the most imaginary mode, relax, and look again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..structures.vocabulary import AtomicStructure, Frozen, Vector3
from .phonons import (
    PhononError,
    PhononSettings,
    Vibrations,
    commensurate_points,
    force_engine,
    run_partial_hessian,
    run_phonons,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray
    from phonopy import Phonopy

    from .phonons import Report

    Array = NDArray[np.float64]

AMPLITUDES_ANG = (0.1, 0.3)
LEAST_GAIN_EV = 1e-4
"""A structure that is not lower by this much per cell is the old one."""


class NotFollowedError(PhononError):
    """An imaginary mode along which no lower structure was found."""


class FollowedMode(Frozen):
    """One round: the mode that was followed and what it brought.

    ``gain_ev`` is how much the energy per cell of the round's start fell; ``repeats`` the supercell the mode needed.
    """

    frequency_thz: float
    wave_vector: Vector3
    repeats: tuple[int, int, int]
    amplitude_ang: float
    gain_ev: float


class Followed(Frozen):
    """Where the following ended: the structure, its vibrations and the rounds; ``is_minimum`` if none is imaginary."""

    structure: AtomicStructure
    vibrations: Vibrations
    rounds: tuple[FollowedMode, ...]
    moving: tuple[int, ...]

    @property
    def is_minimum(self) -> bool:
        """Whether no imaginary mode is left."""
        return not self.vibrations.imaginary


def follow_imaginary(
    structure: AtomicStructure,
    settings: PhononSettings,
    folder: Path | str,
    *,
    moving: Sequence[int] = (),
    calculator: Calculator | None = None,
    model: str = "",
    max_rounds: int = 4,
    max_steps: int = 300,
    report: Report | None = None,
) -> Followed:
    """Follow imaginary modes until none is left or the rounds are used up; the cell does not change.

    Parameters
    ----------
    structure
        A relaxed structure, perhaps a saddle point.
    settings
        A mode at a wave vector of the supercell makes the cell larger by the repeats it needs.
    folder
        Forces of round k are kept in its subfolder ``round-k``.
    moving
        Atoms of a partial Hessian; all atoms with phonopy if empty.
    calculator, model
        As in ``run_phonons``.
    max_rounds, max_steps
        Most modes that are followed, and most steps of each relaxation.

    Raises
    ------
    NotFollowedError
        If no displacement along the mode leads to a lower structure, or the mode lies between the wave vectors of the
        supercell.
    UnrelaxedError, PhononFolderError, ForcesError
    """
    engine = force_engine(calculator)
    rounds: list[FollowedMode] = []
    now, sizes, atoms_moving = structure, settings.supercell, tuple(sorted(moving))
    while True:
        here = settings.model_copy(update={"supercell": sizes})
        place = Path(folder) / f"round-{len(rounds)}"
        if atoms_moving:
            shapes, vibrations = run_partial_hessian(
                now, atoms_moving, here, place, calculator=calculator, model=model, report=report
            )
        else:
            phonons, vibrations = run_phonons(now, here, place, calculator=calculator, model=model, report=report)
        if not vibrations.imaginary or len(rounds) == max_rounds:
            return Followed(structure=now, vibrations=vibrations, rounds=tuple(rounds), moving=atoms_moving)
        if atoms_moving:
            wave_vector, repeats, start = (0.0, 0.0, 0.0), (1, 1, 1), now
            shape = np.zeros((len(now), 3))
            shape[list(atoms_moving)] = shapes[0]
        else:
            wave_vector, repeats, start, shape = _softest(phonons, vibrations, now, here)
        amplitude, end, gain = _downhill(
            start, shape, settings=here, engine=engine, moving=atoms_moving, max_steps=max_steps
        )
        gain /= math.prod(repeats)
        rounds.append(
            FollowedMode(
                frequency_thz=vibrations.imaginary[0].frequency_thz,
                wave_vector=wave_vector,
                repeats=repeats,
                amplitude_ang=amplitude,
                gain_ev=gain,
            )
        )
        if report is not None:
            report(f"followed {vibrations.imaginary[0].frequency_thz:.2f} THz: {1000 * gain:.2f} meV lower")
        now = end
        sizes = (sizes[0] // repeats[0], sizes[1] // repeats[1], sizes[2] // repeats[2])


class PhononRun(Frozen):
    """Phonons with all that they follow from.

    Attributes
    ----------
    structure, settings
        The structure that vibrates, after following, and the settings that its cell needs.
    vibrations
        Its frequencies.
    forces_ev_per_ang
        Of the displacements, shape (n_displacements, n_atoms of the supercell, 3), for ``phonons_from_forces``.
    rounds
        Imaginary modes that were followed.
    problem
        Why an imaginary mode could not be followed; empty otherwise.
    """

    structure: AtomicStructure
    settings: PhononSettings
    vibrations: Vibrations
    forces_ev_per_ang: tuple[tuple[Vector3, ...], ...]
    rounds: tuple[FollowedMode, ...] = ()
    problem: str = ""


def follow_and_keep(
    structure: AtomicStructure,
    settings: PhononSettings,
    folder: Path | str,
    *,
    calculator: Calculator | None = None,
    model: str = "",
    max_rounds: int = 0,
    report: Report | None = None,
) -> PhononRun:
    """Phonons, with up to ``max_rounds`` imaginary modes followed; arguments and errors as of ``follow_imaginary``.

    A mode that cannot be followed is told in ``problem``, with the phonons of the structure that was given.
    """
    rounds: tuple[FollowedMode, ...] = ()
    end, problem, place = structure, "", Path(folder) / "round-0"
    if max_rounds:
        try:
            followed = follow_imaginary(
                structure,
                settings,
                folder,
                calculator=calculator,
                model=model,
                max_rounds=max_rounds,
                report=report,
            )
        except NotFollowedError as error:
            problem = str(error)
        else:
            end, rounds = followed.structure, followed.rounds
            place = Path(folder) / f"round-{len(rounds)}"
            for done in rounds:
                sizes = tuple(n // k for n, k in zip(settings.supercell, done.repeats, strict=True))
                settings = settings.model_copy(update={"supercell": sizes})
    phonons, vibrations = run_phonons(end, settings, place, calculator=calculator, model=model, report=report)
    return PhononRun(
        structure=end,
        settings=settings,
        vibrations=vibrations,
        forces_ev_per_ang=tuple(tuple((x, y, z) for x, y, z in one) for one in np.array(phonons.forces).tolist()),
        rounds=rounds,
        problem=problem,
    )


def _softest(
    phonons: Phonopy, vibrations: Vibrations, structure: AtomicStructure, settings: PhononSettings
) -> tuple[Vector3, tuple[int, int, int], AtomicStructure, Array]:
    """Softest mode at a wave vector of the supercell: the cell that holds it and its real displacements there."""
    exact = set(commensurate_points(settings.supercell))
    modes = [mode for mode in vibrations.imaginary if mode.wave_vector in exact]
    if not modes:
        worst = vibrations.imaginary[0]
        raise NotFollowedError(
            f"the imaginary mode of {worst.frequency_thz:.2f} THz at {worst.wave_vector} lies between the wave vectors "
            f"of the supercell {settings.supercell}, between which frequencies are interpolated; take a larger one"
        )
    q = modes[0].wave_vector
    # the smallest repeat that holds the wave: the denominator of q, which divides the supercell
    repeats = tuple(
        next(n for n in range(1, size + 1) if abs(n * x - round(n * x)) < 1e-4)
        for x, size in zip(q, settings.supercell, strict=True)
    )
    repeat = (repeats[0], repeats[1], repeats[2])
    modulation = phonons.run_modulations(repeat, [[list(q), 0, 1.0, 0.0]])
    cell = modulation.supercell
    wave = np.asarray(modulation.modulations[0])
    shape = wave.real if np.abs(wave.real).max() >= np.abs(wave.imag).max() else wave.imag
    # phonopy repeats each atom before the next one, as np.repeat does; oxidation states follow
    n_copies = math.prod(repeat)
    if list(cell.symbols) != list(np.repeat(structure.elements, n_copies)):
        raise NotFollowedError("the modulated cell lists its atoms in an unknown order; this is a fault of the program")
    start = AtomicStructure(
        lattice_ang=tuple(map(tuple, np.asarray(cell.cell).tolist())),
        elements=tuple(cell.symbols),
        frac_coords=tuple(map(tuple, np.asarray(cell.scaled_positions).tolist())),
        oxidation_states=tuple(float(x) for x in np.repeat(structure.oxidation_states, n_copies)),
        periodic=structure.periodic,
    )
    return q, repeat, start, shape / np.linalg.norm(shape, axis=1).max()


def _downhill(
    start: AtomicStructure,
    shape: Array,
    *,
    settings: PhononSettings,
    engine: Calculator,
    moving: tuple[int, ...],
    max_steps: int,
) -> tuple[float, AtomicStructure, float]:
    """Amplitude, relaxed structure and gain in eV of the best of the displacements along +-shape."""
    from ase.constraints import FixAtoms
    from ase.optimize import FIRE

    atoms = start.to_ase()
    atoms.calc = engine
    before = float(atoms.get_potential_energy())
    best: tuple[float, AtomicStructure, float] | None = None
    for amplitude in AMPLITUDES_ANG:
        for sign in (1.0, -1.0):
            moved = start.to_ase()
            moved.positions += sign * amplitude * shape
            moved.calc = engine
            if moving:
                moved.set_constraint(FixAtoms(indices=[k for k in range(len(moved)) if k not in moving]))
            if not FIRE(moved, logfile=None).run(fmax=0.5 * settings.max_force_ev_per_ang, steps=max_steps):
                continue
            gain = before - float(moved.get_potential_energy())
            if gain > LEAST_GAIN_EV and (best is None or gain > best[2] + LEAST_GAIN_EV):
                best = (sign * amplitude, start.moved_to(moved.get_positions()), gain)
        if best is not None:
            return best
    raise NotFollowedError(
        f"displacing by up to {AMPLITUDES_ANG[-1]} A along the imaginary mode led to no lower structure within "
        f"{max_steps} steps; the mode may be noise of the forces: relax further or displace atoms farther"
    )
