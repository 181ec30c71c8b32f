"""The further links of a relaxation: DFT from where SevenNet ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.vocabulary import Relaxation
from .relaxation import relax_candidate

if TYPE_CHECKING:
    from pathlib import Path

    from .study import DftSettings, RelaxSettings


def relax_by_dft(relaxation: Relaxation, settings: RelaxSettings, step: DftSettings, folder: Path) -> Relaxation:
    """One step by DFT, with the same frozen atoms, symmetry and checks as SevenNet.

    The cell stays as it is unless ``relax_bulk_cell`` asks for it. A job that was cut off goes on from the last
    geometry, and from the wavefunction or density in ``folder``. A ``static`` step moves nothing; it may end with
    forces above the threshold, which ``is_converged`` and a note tell.

    Parameters
    ----------
    relaxation
        What the step before ended with.
    settings
        Of the whole relaxation.
    step
        Program, protocol and task.
    folder
        Where the program works.

    Raises
    ------
    DftError, RelaxationError
        Any named failure of the program or the relaxation.
    """
    from .engines.dft.calculator import ProgramCalculator

    candidate = relaxation.candidate
    calculator: Any = ProgramCalculator(
        step.engine, candidate, folder / step.engine, protocol=step.protocol, **step.numbers
    )
    if step.task == "static":
        return _static(relaxation, calculator, step)
    own = settings.model_copy(update={"fmax_ev_per_ang": step.fmax_ev_per_ang, "max_steps": step.max_steps})
    relaxed = relax_candidate(candidate, own, calculator=calculator, checkpoint=folder / f"{step.engine}.json")
    return relaxed.model_copy(update={"start_id": relaxation.start_id})


def _static(relaxation: Relaxation, calculator: Any, step: DftSettings) -> Relaxation:
    """Energy and forces of a candidate where it is."""
    candidate = relaxation.candidate
    atoms = candidate.structure.to_ase()
    energy = calculator.get_potential_energy(atoms)
    force = float(np.linalg.norm(calculator.get_forces(atoms), axis=1).max())
    is_converged = force <= step.fmax_ev_per_ang
    note = f"not relaxed by {calculator.method}: its largest force is {force:.3f} eV/A"
    if not is_converged:
        candidate = candidate.model_copy(update={"notes": (*candidate.notes, note)})
    return Relaxation(
        start_id=relaxation.start_id,
        candidate=candidate,
        energy_ev=energy,
        max_force_ev_per_ang=force,
        n_steps=0,
        is_converged=is_converged,
        model=calculator.method,
    )
