"""The pair potential of the melt: forces are the energy's gradient, and berlinite is a minimum near its crystal."""

from __future__ import annotations

import numpy as np
import pytest
from ase.optimize import FIRE
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.network import network_statistics
from surfshift.structures.vocabulary import AtomicStructure
from surfshift.workflows.pair_potential import PairPotential, aluminophosphate_calculator

BERLINITE = build_crystal(load_crystal("AlPO4_berlinite"))


def test_forces_are_the_gradient_of_the_energy() -> None:
    atoms = BERLINITE.to_ase()
    atoms.rattle(0.05, seed=3)
    symbols, places, cell = atoms.get_chemical_symbols(), atoms.get_positions(), np.array(atoms.cell)
    _, forces = PairPotential().evaluate(symbols, places, cell)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-9)
    for atom, axis in ((0, 0), (4, 1), (11, 2)):
        moved = []
        for step in (1e-4, -1e-4):
            other = places.copy()
            other[atom, axis] += step
            moved.append(PairPotential().evaluate(symbols, other, cell)[0])
        assert forces[atom, axis] == pytest.approx((moved[1] - moved[0]) / 2e-4, abs=1e-4)


def test_energy_does_not_depend_on_when_pairs_were_listed() -> None:
    atoms = BERLINITE.to_ase()
    kept = PairPotential()
    for seed in range(3):
        atoms.rattle(0.03, seed=seed)
        given = (atoms.get_chemical_symbols(), atoms.get_positions(), np.array(atoms.cell))
        assert kept.evaluate(*given)[0] == pytest.approx(PairPotential().evaluate(*given)[0], abs=1e-9)


def test_berlinite_keeps_its_network_and_its_bond_lengths() -> None:
    atoms = BERLINITE.to_ase()
    atoms.calc = aluminophosphate_calculator()
    FIRE(atoms, logfile=None).run(fmax=0.02, steps=200)
    relaxed = AtomicStructure.model_validate(BERLINITE.moved_to(atoms.get_positions()).model_dump())
    assert network_statistics(relaxed).bridges == {"Al-O-P": 12}
    distances = atoms.get_all_distances(mic=True)
    oxygen = np.array(BERLINITE.elements) == "O"
    for element, measured in (("Al", 1.736), ("P", 1.523)):
        near = np.sort(distances[np.array(BERLINITE.elements) == element][:, oxygen], axis=1)[:, :4]
        assert near.mean() == pytest.approx(measured, abs=0.03)


def test_other_elements_are_refused() -> None:
    with pytest.raises(ValueError, match="not Li"):
        PairPotential().evaluate(["Li"], np.zeros((1, 3)), 10.0 * np.eye(3))
