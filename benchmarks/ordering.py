"""Ordered ensembles of disordered electrolytes: time, ranking, and duplicates by an independent matcher.

python benchmarks/ordering.py                              # LATP x = 0.3 and cubic LLZO, Ewald
python benchmarks/ordering.py LLZTO --sevennet 4           # any disordered crystal, the best four ranked by SevenNet
python benchmarks/ordering.py LLZTO --sevennet 4 --steps 5 # each relaxed by five steps before its energy is taken
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from pymatgen.analysis.structure_matcher import StructureMatcher
from surfshift.structures.library import build_disordered, load_crystal
from surfshift.structures.ordering import OrderedEnsemble, order_structure

if TYPE_CHECKING:
    from surfshift.structures.vocabulary import AtomicStructure

MODEL = "7net-0"


def duplicates(ensemble: OrderedEnsemble) -> int:
    """Pairs of orderings that the matcher takes for one structure."""
    matcher = StructureMatcher(primitive_cell=False, scale=False, ltol=0.01, stol=0.02)
    built = [ordering.structure.to_pymatgen() for ordering in ensemble.orderings]
    # one structure has one Coulomb energy: only near-equal ones need the matcher, whose time grows steeply
    return sum(
        abs(ensemble.orderings[i].ewald_ev - ensemble.orderings[j].ewald_ev) < 0.02 and matcher.fit(built[i], built[j])
        for j in range(len(built))
        for i in range(j)
    )


class Timed:
    """SevenNet's energy, with the number of calls and the time they took."""

    def __init__(self, max_steps: int) -> None:
        from surfshift.workflows.energies import relaxed_energy

        self.evaluate = relaxed_energy(model=MODEL, max_steps=max_steps)
        self.n_calls, self.wall_s, self.cpu_s = 0, 0.0, 0.0

    def __call__(self, structure: AtomicStructure) -> tuple[float, AtomicStructure]:
        """Energy in eV, and the structure that has it."""
        wall, cpu = time.perf_counter(), time.process_time()
        found = self.evaluate(structure)
        self.n_calls += 1
        self.wall_s += time.perf_counter() - wall
        self.cpu_s += time.process_time() - cpu
        return found


def agreement(ensemble: OrderedEnsemble) -> float:
    """Kendall's tau of the two rankings: 1 the same, 0 unrelated, -1 reversed."""
    from scipy.stats import kendalltau

    return float(kendalltau([o.ewald_ev for o in ensemble.orderings], [o.energy_ev for o in ensemble.orderings])[0])


def main() -> None:
    """Order the named crystals and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["LATP_x0.3", "LLZO_cubic"])
    parser.add_argument("--sevennet", type=int, default=0, help="rank so many of the best with SevenNet")
    parser.add_argument("--steps", type=int, default=0, help="relaxation steps before SevenNet's energy is taken")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(
        "| crystal | atoms | rounding | split | seed | distinct met | kept | Ewald spread (eV) | SevenNet spread (eV) |"
    )
    print("  tau | all: wall s, cpu s | of it SevenNet: calls, wall s, cpu s | duplicates |")
    for name in given.names:
        disordered = build_disordered(load_crystal(name))
        energy = Timed(given.steps) if given.sevennet else None
        wall, cpu = time.perf_counter(), time.process_time()
        ensemble = order_structure(
            disordered,
            n_orderings=given.sevennet or 8,
            seed=given.seed,
            evaluate=energy,
            method=f"{MODEL}, {given.steps} steps" if energy else "",
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        coulomb = [o.ewald_ev for o in ensemble.orderings]
        found = [o.energy_ev for o in ensemble.orderings if o.energy_ev is not None]
        ranked = f"{max(found) - min(found):.2f} | {agreement(ensemble):+.2f}" if found else "- | -"
        used = f"{energy.n_calls}, {energy.wall_s:.0f}, {energy.cpu_s:.0f}" if energy else "-"
        print(
            f"| {name} | {len(ensemble.orderings[0].structure)} | {ensemble.rounding} | {ensemble.split} "
            f"| {ensemble.seed} | {ensemble.n_sampled} | {len(coulomb)} | {max(coulomb) - min(coulomb):.2f} | {ranked} "
            f"| {wall:.0f}, {cpu:.0f} | {used} | {duplicates(ensemble)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
