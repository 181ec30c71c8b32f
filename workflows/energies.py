"""Energies of structures by the SevenNet potential, for ranking what ``surfshift.structures`` builds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .relaxation import sevennet

if TYPE_CHECKING:
    from ..structures.interfaces import EnergyModel
    from ..structures.vocabulary import AtomicStructure


def sevennet_energy(model: str = "7net-l3i5") -> EnergyModel:
    """A function that gives the energy of a structure in eV, unrelaxed; the potential is loaded once."""
    calculator = sevennet(model)

    def energy(structure: AtomicStructure) -> float:
        atoms = structure.to_ase()
        atoms.calc = calculator
        return float(atoms.get_potential_energy())

    return energy
