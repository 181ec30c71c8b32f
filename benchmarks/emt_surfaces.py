"""Surface energies of seven metals with ase's EMT, by this program's sums and from ase, against published ones.

Usage: python benchmarks/emt_surfaces.py [--layers 9]
"""

from __future__ import annotations

import argparse

import numpy as np
from ase.build import bulk, fcc100, fcc111
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from surfshift.analysis.thermodynamics.surface import (
    J_PER_M2,
    Reservoir,
    SlabEnergy,
    State,
    SurfaceSystem,
    surface_free_energies,
)

PUBLISHED = {
    "Al": (1.199, 1.143, 1.160),
    "Cu": (1.952, 1.790, 1.825),
    "Ag": (1.172, 1.246, 1.250),
    "Au": (1.283, 1.506, 1.500),
    "Ni": (2.011, 2.380, 2.450),
    "Pd": (1.920, 2.003, 2.050),
    "Pt": (2.299, 2.489, 2.475),
}
"""(111) by full-charge-density LDA, and two compilations of measurements extrapolated to the cold solid; J/m2.
L. Vitos et al., Surf. Sci. 411, 186 (1998), table 1, recalled."""


def main() -> None:
    """Relax, sum, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=9)
    layers = parser.parse_args().layers
    print("metal  a / A   (111)   (100)  J/m2   LDA (111)  measured     EMT / measured")
    for metal, (theory, *measured) in PUBLISHED.items():
        crystal = bulk(metal)
        crystal.calc = EMT()
        BFGS(FrechetCellFilter(crystal), logfile=None).run(fmax=1e-4)
        edge = (4.0 * crystal.get_volume()) ** (1 / 3)
        found = []
        for build in (fcc111, fcc100):
            slab = build(metal, (1, 1, layers), a=edge, vacuum=8.0, periodic=True)
            slab.calc = EMT()
            BFGS(slab, logfile=None).run(fmax=0.003)
            area = float(np.linalg.norm(np.cross(slab.cell[0], slab.cell[1])))
            energy, inside = float(slab.get_potential_energy()), float(crystal.get_potential_energy())
            system = SurfaceSystem(
                slabs=(SlabEnergy(name=metal, composition={metal: layers}, energy_ev=energy, area_ang2=area),),
                reservoirs=(Reservoir(name=metal, kind="bulk", composition={metal: 1}, energy_ev=inside),),
            )
            gamma = J_PER_M2 * surface_free_energies(system, State()).gamma_ev_per_ang2[0]
            assert abs(gamma - J_PER_M2 * (energy - layers * inside) / (2.0 * area)) < 1e-10
            found.append(gamma)
        print(
            f"{metal:5} {edge:7.3f} {found[0]:7.3f} {found[1]:7.3f} {theory:13.2f} {measured[0]:7.2f}, "
            f"{measured[1]:.2f} {found[0] / measured[0]:12.2f}"
        )


if __name__ == "__main__":
    main()
