"""Energies of real, cheap surfaces: Cu3Au and its rivals in the EMT potential, relaxed once per session."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from surfshift.analysis.thermodynamics.surface import Phase, Reservoir, SlabEnergy, SurfaceSystem

if TYPE_CHECKING:
    from collections.abc import Callable

A_CU3AU = 3.74


def relaxed(atoms: Atoms, *, with_cell: bool) -> Atoms:
    atoms.calc = EMT()
    BFGS(FrechetCellFilter(atoms) if with_cell else atoms, logfile=None).run(fmax=0.005, steps=200)
    return atoms


def cu3au(a: float) -> Atoms:
    return Atoms(
        "AuCu3", scaled_positions=[(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)], cell=[a] * 3, pbc=True
    )


def layered(a: float, layers: int, *, starts_with_gold: bool) -> Atoms:
    """(001) slab of alternating CuAu and Cu2 planes; an odd number of planes makes both faces alike."""
    atoms = Atoms(cell=[a, a, a * layers / 2 + 12.0], pbc=True)
    for k in range(layers):
        z = 6.0 + k * a / 2
        has_gold = (k % 2 == 0) == starts_with_gold
        plane = [("Au", 0, 0), ("Cu", a / 2, a / 2)] if has_gold else [("Cu", 0, a / 2), ("Cu", a / 2, 0)]
        atoms += Atoms([p[0] for p in plane], positions=[(p[1], p[2], z) for p in plane])
    return atoms


@pytest.fixture(scope="session")
def cu3au_system() -> SurfaceSystem:
    crystal = relaxed(cu3au(A_CU3AU), with_cell=True)
    gold = relaxed(bulk("Au"), with_cell=True)
    copper = relaxed(bulk("Cu"), with_cell=True)
    a = float(crystal.cell.lengths()[0])
    slabs = []
    for name, starts_with_gold in (("CuAu", True), ("Cu2", False)):
        slab = relaxed(layered(a, 7, starts_with_gold=starts_with_gold), with_cell=False)
        slabs.append(
            SlabEnergy(
                name=name,
                composition=dict(Counter(slab.get_chemical_symbols())),
                energy_ev=float(slab.get_potential_energy()),
                area_ang2=a * a,
                miller=(0, 0, 1),
                error_ev_per_ang2=0.002,
            )
        )
    return SurfaceSystem(
        slabs=tuple(slabs),
        reservoirs=(
            Reservoir(
                name="Cu3Au",
                kind="bulk",
                composition={"Cu": 3, "Au": 1},
                energy_ev=float(crystal.get_potential_energy()),
                error_ev=0.3,
            ),
            Reservoir(
                name="Au",
                kind="solid",
                composition={"Au": 1},
                energy_ev=float(gold.get_potential_energy()),
            ),
        ),
        competing=(
            Phase(name="fcc gold", composition={"Au": 1}, energy_ev=float(gold.get_potential_energy())),
            Phase(name="fcc copper", composition={"Cu": 1}, energy_ev=float(copper.get_potential_energy())),
        ),
        shared_error_ev_per_ang2=0.01,
    )


@pytest.fixture(scope="session")
def water_system() -> Callable[..., SurfaceSystem]:
    """A surface that takes up two waters per face with a given energy; numbers of the size of AlPO4."""

    def make(uptake_ev: float = -1.0, *, water_error_ev: float = 0.15, own_error: float = 0.0) -> SurfaceSystem:
        bulk_energy, water_energy, area = -45.0, -14.2, 55.0
        dry = SlabEnergy(
            name="dry",
            composition={"Al": 8, "P": 8, "O": 32},
            energy_ev=8 * bulk_energy + 2 * area * 0.06,
            area_ang2=area,
            error_ev_per_ang2=own_error,
        )
        wet = SlabEnergy(
            name="wet",
            composition={"Al": 8, "P": 8, "O": 36, "H": 8},
            energy_ev=dry.energy_ev + 4 * (water_energy + uptake_ev),
            area_ang2=area,
            error_ev_per_ang2=own_error,
        )
        return SurfaceSystem(
            slabs=(dry, wet),
            reservoirs=(
                Reservoir(name="AlPO4", kind="bulk", composition={"Al": 1, "P": 1, "O": 4}, energy_ev=bulk_energy),
                Reservoir(
                    name="H2O",
                    kind="gas",
                    composition={"H": 2, "O": 1},
                    energy_ev=water_energy,
                    error_ev=water_error_ev,
                ),
            ),
        )

    return make
