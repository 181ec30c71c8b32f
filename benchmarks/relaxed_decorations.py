"""Whether decorations stay where they were put: some tens of steps of SevenNet on decorated slabs.

python benchmarks/relaxed_decorations.py [NAME ...] [--steps 25] [--model 7net-0]

Covalent bonds (of H, C, Si and P) before and after are compared; "moved" is how far an added atom went at most.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np
from surfshift.structures.bonding import find_bonds, find_carbon_bonds
from surfshift.structures.candidate_checks import candidate_problems
from surfshift.structures.decorations.decorate import decorate
from surfshift.structures.decorations.settings import (
    Carbonate,
    DecorationSettings,
    Fragment,
    GraftedSilane,
    IonAdatoms,
    IonVacancies,
    MolecularWater,
    OpenBridges,
    ProtonExchange,
    SplitWater,
)
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.slabs import cut_slabs
from surfshift.workflows.interatomic import sevennet

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from surfshift.structures.vocabulary import AtomicStructure, Candidate

# crystal, facet, thickness (angstrom), decorations one after the other
CASES: dict[str, tuple[str, tuple[int, int, int], float, tuple[DecorationSettings, ...]]] = {
    "split water": ("AlPO4_berlinite", (1, 0, 0), 4.0, (SplitWater(),)),
    "opened bridge": ("AlPO4_berlinite", (1, 0, 0), 4.0, (OpenBridges(),)),
    "water": ("AlPO4_berlinite", (1, 0, 0), 4.0, (MolecularWater(),)),
    "silane": ("AlPO4_berlinite", (1, 0, 0), 4.0, (SplitWater(), GraftedSilane(faces="upper", supercell="auto"))),
    "ether": ("AlPO4_berlinite", (1, 0, 0), 4.0, (Fragment(faces="upper", supercell="auto"),)),
    "proton exchange": ("LLZO_tetragonal", (0, 0, 1), 5.0, (ProtonExchange(),)),
    "carbonate": ("LLZO_tetragonal", (0, 0, 1), 5.0, (Carbonate(),)),
    "lithium hydroxide": ("Li3PO4_beta", (0, 1, 0), 5.0, (IonAdatoms(),)),
    "vacancy and proton": ("Li3PO4_beta", (0, 1, 0), 5.0, (IonVacancies(),)),
    "lithium carbonate": ("Li3PO4_beta", (0, 1, 0), 5.0, (Carbonate(form="li2co3"),)),
}


def covalent_bonds(structure: AtomicStructure) -> set[tuple[int, int]]:
    """Pairs of atoms bonded to H, C, Si or P."""
    found = {(min(i, j), max(i, j)) for i, j, _ in find_carbon_bonds(structure)}
    for i, bonds in enumerate(find_bonds(structure)):
        if structure.elements[i] in {"H", "C", "Si", "P"}:
            found |= {(min(i, bond.j), max(i, bond.j)) for bond in bonds}
    return found


def relaxed(candidate: Candidate, calculator: Calculator, steps: int) -> tuple[AtomicStructure, list[float]]:
    """The structure after some steps, and largest force before, after, and the energy gained (eV)."""
    from ase.optimize import FIRE

    atoms = candidate.structure.to_ase()
    atoms.set_initial_charges(None)
    atoms.calc = calculator
    energy, force = atoms.get_potential_energy(), np.linalg.norm(atoms.get_forces(), axis=1).max()
    FIRE(atoms, logfile=None, maxstep=0.1).run(fmax=0.05, steps=steps)
    after = np.linalg.norm(atoms.get_forces(), axis=1).max()
    return candidate.structure.moved_to(atoms.get_positions()), [force, after, energy - atoms.get_potential_energy()]


def named(structure: AtomicStructure, pairs: set[tuple[int, int]]) -> str:
    """Bonds in words."""
    return " ".join(f"{structure.elements[i]}{i}-{structure.elements[j]}{j}" for i, j in sorted(pairs)) or "none"


def main() -> None:
    """Decorate, relax, and print one line per case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=", ".join(CASES))
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--model", default="7net-0")
    given = parser.parse_args()
    calculator = sevennet(given.model)
    print(
        "| slab | decoration | atoms | force before, after (eV/A) | gained (eV) | moved (A) | lost | formed | CPU s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in given.names or CASES:
        start = time.process_time()
        crystal, miller, thickness, wanted = CASES[name]
        bulk = build_crystal(load_crystal(crystal))
        slab = cut_slabs(bulk, miller, thickness_ang=thickness, parent=crystal)[0]
        parent = made = slab
        for settings in wanted:
            parent, made = made, decorate(made, bulk, settings)[0]
        problems = candidate_problems(made, bulk, parent=parent)
        after, (before, force, gained) = relaxed(made, calculator, given.steps)
        record = made.decoration_record
        added = [k for k, own in enumerate(record.parent_atoms) if own is None] if record else []
        moved = np.linalg.norm(after.cart_coords - made.structure.cart_coords, axis=1)
        old, new = covalent_bonds(made.structure), covalent_bonds(after)
        broken = candidate_problems(made.model_copy(update={"structure": after}), bulk, parent=parent)
        print(
            f"| {slab.name} | {name}{' PROBLEM ' + '; '.join(problems) if problems else ''} | {len(after)} "
            f"| {before:.1f}, {force:.2f} | {gained:.2f} | {moved[added].max(initial=0.0):.2f} "
            f"| {named(after, old - new)} | {named(after, new - old)}{' ' + '; '.join(broken) if broken else ''} "
            f"| {time.process_time() - start:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
