"""Relax a candidate with an interatomic potential, SevenNet or CHGNet, through ase.

ase is used directly: atomate2's force-field maker adds some seconds of imports to every job, returns
unconverged structures without a word, and does not carry the vocabulary's frozen atoms, regions and
notes. The maker around this function is in ``surfshift.workflows.flows``.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.vocabulary import Relaxation
from ..structures.bonding import find_bonds
from ..structures.errors import SurfshiftError
from .files import write_atomically
from .interatomic import embedded, model_name

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

    from ..structures.vocabulary import AtomicStructure, Candidate
    from .study import RelaxSettings

SYMMETRY_TOLERANCE_ANG = 0.01
MAX_MOVE_ANG = 4.0
"""An atom that moves farther has left its site; no candidate is meant to change that much."""

COARSE_FMAX_EV_PER_ANG = 0.3
"""Down to this force FIRE is used, which goes downhill from any start; LBFGS, which is faster near a minimum but
may climb where the energy is not convex, finishes."""


class RelaxationError(SurfshiftError):
    """Base of every refusal of a relaxation."""


class NotConvergedError(RelaxationError):
    """Forces are still too large after the allowed number of steps."""


class ExplodedError(RelaxationError):
    """Energy or forces are not finite, or an atom moved so far that the structure is another one."""


class DesorbedError(RelaxationError):
    """An atom has lost all its bonds."""


def relax_candidate(
    candidate: Candidate,
    settings: RelaxSettings,
    *,
    calculator: Calculator | None = None,
    checkpoint: Path | None = None,
) -> Relaxation:
    """Relax the atoms of a candidate, and the cell of a bulk if asked.

    Parameters
    ----------
    candidate
        The structure as built.
    settings
        Model, force threshold and mode; see ``RelaxSettings``.
    calculator
        Any ase calculator instead of SevenNet.
    checkpoint
        File that holds the geometry of the last step; a relaxation of the same candidate that was cut off goes on
        there. Beside it a file with the suffix ``.log`` takes a line per step: time, energy (eV), largest force
        (eV/angstrom).

    Raises
    ------
    NotConvergedError, ExplodedError, DesorbedError
    """
    atoms = candidate.structure.to_ase()
    atoms.calc = embedded(settings.model) if calculator is None else calculator
    frozen = candidate.frozen_atoms if candidate.kind == "slab" and settings.mode == "fixed-bottom" else ()
    if checkpoint is not None:
        _take_up(atoms, candidate, checkpoint)
    moves = candidate.kind == "slab" or settings.relax_bulk_positions
    moves_cell = candidate.kind == "bulk" and settings.relax_bulk_cell
    if moves or moves_cell:
        atoms.set_constraint(_constraints(atoms, frozen, moves_atoms=moves, moves_cell=moves_cell))
    n_steps, is_converged = 0, False
    if moves or moves_cell:
        n_steps, is_converged = _optimise(atoms, candidate, settings, with_cell=moves_cell, checkpoint=checkpoint)
    energy, force = _checked_energy_and_force(atoms, candidate)
    if not (moves or moves_cell):
        is_converged = force <= settings.fmax_ev_per_ang
    elif not is_converged:
        raise NotConvergedError(
            f"{candidate.name}: the largest force is {force:.3f} eV/A after {n_steps} steps, wanted were "
            f"{settings.fmax_ev_per_ang} eV/A; raise relax.max_steps or relax.fmax_ev_per_ang"
        )
    relaxed = candidate.structure
    if n_steps > 0 or not np.array_equal(atoms.get_positions(), candidate.structure.to_ase().get_positions()):
        relaxed = relaxed.moved_to(atoms.get_positions(), np.array(atoms.cell) if moves_cell else None)
    notes = (*candidate.notes, *_checked_changes(candidate, candidate.structure, relaxed))
    return Relaxation(
        start_id=candidate.id,
        candidate=candidate.model_copy(update={"structure": relaxed, "notes": notes}),
        energy_ev=energy,
        max_force_ev_per_ang=force,
        n_steps=n_steps,
        is_converged=is_converged,
        model=model_name(settings.model) if calculator is None else _method(calculator),
    )


def _method(calculator: Calculator) -> str:
    return str(getattr(calculator, "method", type(calculator).__name__))


def _take_up(atoms: Atoms, candidate: Candidate, checkpoint: Path) -> None:
    """Move the atoms to where an earlier relaxation of the same candidate was."""
    try:
        saved = json.loads(checkpoint.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if isinstance(saved, dict) and saved.get("start_id") == candidate.id and len(saved["positions"]) == len(atoms):
        atoms.set_cell(saved["cell"])
        atoms.set_positions(saved["positions"])


def _keep(atoms: Atoms, candidate: Candidate, checkpoint: Path) -> None:
    saved = {"start_id": candidate.id, "cell": atoms.cell.tolist(), "positions": atoms.get_positions().tolist()}
    write_atomically(checkpoint, json.dumps(saved))


def _constraints(atoms: Atoms, frozen: tuple[int, ...], *, moves_atoms: bool, moves_cell: bool) -> list[Any]:
    """Frozen atoms stay; where none is, the symmetry of the start is kept, so that equivalent sites stay so.

    A slab's vacuum is part of its cell, so its space group has exactly the operations of the slab.
    """
    from ase.constraints import FixAtoms, FixSymmetry

    if frozen:
        return [FixAtoms(indices=list(frozen))]
    symmetry = FixSymmetry(atoms, symprec=SYMMETRY_TOLERANCE_ANG, adjust_cell=moves_cell, verbose=False)
    return [symmetry] if moves_atoms else [symmetry, FixAtoms(indices=list(range(len(atoms))))]


def _optimise(
    atoms: Atoms, candidate: Candidate, settings: RelaxSettings, *, with_cell: bool, checkpoint: Path | None = None
) -> tuple[int, bool]:
    """Number of steps, and whether forces (and stresses, with the cell) came below the threshold."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import FIRE, LBFGS

    target: Any = FrechetCellFilter(atoms) if with_cell else atoms
    n_steps, is_converged = 0, False
    stages: tuple[tuple[Any, float], ...] = (
        (FIRE, max(settings.fmax_ev_per_ang, COARSE_FMAX_EV_PER_ANG)),
        (LBFGS, settings.fmax_ev_per_ang),
    )
    for optimiser, fmax in stages:
        log = None if checkpoint is None else checkpoint.with_suffix(".log")
        with optimiser(target, logfile=log) as run:
            for reached in run.irun(fmax=fmax, steps=settings.max_steps - n_steps):
                is_converged = bool(reached)
                _checked_energy_and_force(atoms, candidate)
                if checkpoint is not None:
                    _keep(atoms, candidate, checkpoint)
            n_steps += run.nsteps
        if n_steps >= settings.max_steps:
            is_converged = is_converged and fmax <= settings.fmax_ev_per_ang
            break
    return n_steps, is_converged


def _checked_energy_and_force(atoms: Atoms, candidate: Candidate) -> tuple[float, float]:
    energy = float(atoms.get_potential_energy())
    force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    moved = _largest_move(candidate.structure, atoms.get_scaled_positions(wrap=False), np.array(atoms.cell))
    if not (np.isfinite(energy) and np.isfinite(force)):
        raise ExplodedError(f"{candidate.name}: energy or forces are not finite; the structure is not physical")
    if moved > MAX_MOVE_ANG:
        raise ExplodedError(
            f"{candidate.name}: an atom moved by {moved:.1f} A (at most {MAX_MOVE_ANG} A make sense); the structure "
            "as built is not near any stable one, leave this termination out with candidates.surfaces[].keep"
        )
    return energy, force


def _largest_move(start: AtomicStructure, frac: NDArray[np.float64], cell: NDArray[np.float64]) -> float:
    return float(np.linalg.norm((frac - np.array(start.frac_coords)) @ cell, axis=1).max())


def _checked_changes(candidate: Candidate, start: AtomicStructure, end: AtomicStructure) -> tuple[str, ...]:
    """Notes on bonds that broke or formed."""
    before, after = _bond_counts(start), _bond_counts(end)
    lost = [k for k, bonds in enumerate(find_bonds(end)) if not bonds and any(k in pair[:2] for pair in before)]
    if lost:
        named = ", ".join(f"{end.elements[k]}{k}" for k in lost)
        raise DesorbedError(
            f"{candidate.name}: {named} lost all bonds while relaxing; this termination does not hold, leave it out "
            "with candidates.surfaces[].keep"
        )
    notes = []
    for word, changed in (("broke", before - after), ("formed", after - before)):
        if changed:
            named = ", ".join(f"{end.elements[i]}{i}-{end.elements[j]}{j}" for i, j in sorted(changed.elements()))
            notes.append(f"relaxation {word} {changed.total()} bonds: {named}")
    return tuple(notes)


def _bond_counts(structure: AtomicStructure) -> Counter[tuple[int, int]]:
    """How often each pair of atoms is bonded, cation first."""
    return Counter(
        (bond.i, bond.j)
        for bonds in find_bonds(structure)
        for bond in bonds
        if structure.oxidation_states[bond.i] > 0 > structure.oxidation_states[bond.j]
    )
