"""Energies of structures by the SevenNet potential, for ranking what ``surfshift.structures`` builds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .interatomic import sevennet

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase.calculators.calculator import Calculator

    from ..structures.interfaces import EnergyModel
    from ..structures.vocabulary import AtomicStructure


def relaxed_energy(
    *, model: str = "7net-0", max_steps: int = 0, calculator: Calculator | None = None
) -> Callable[[AtomicStructure], tuple[float, AtomicStructure]]:
    """A function that gives energy and geometry after some steps, as ``order_structure`` wants it.

    Parameters
    ----------
    model
        Name of the SevenNet model, which is loaded once.
    max_steps
        Steps of FIRE in the fixed cell before the energy is taken; 0 takes it as built.
    calculator
        Any ase calculator instead of SevenNet.

    Returns
    -------
    A function from a structure to its energy in eV and the structure that has it.
    """
    engine = sevennet(model) if calculator is None else calculator

    def evaluate(structure: AtomicStructure) -> tuple[float, AtomicStructure]:
        from ase.optimize import FIRE

        atoms = structure.to_ase()
        atoms.calc = engine
        if max_steps > 0:
            FIRE(atoms, logfile=None, maxstep=0.1).run(fmax=0.05, steps=max_steps)
        return float(atoms.get_potential_energy()), structure.moved_to(atoms.get_positions())

    return evaluate


def sevennet_energy(model: str = "7net-l3i5") -> EnergyModel:
    """A function that gives the energy of a structure in eV, unrelaxed, as ``build_interfaces`` wants it."""
    evaluate = relaxed_energy(model=model)
    return lambda structure: evaluate(structure)[0]
