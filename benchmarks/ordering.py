"""Ordered ensembles of disordered electrolytes: time, ranking, and duplicates by an independent matcher.

python benchmarks/ordering.py                              # LATP x = 0.3 and cubic LLZO, Ewald
python benchmarks/ordering.py LLZTO --sevennet 4           # any disordered crystal, the best four ranked by SevenNet
"""

from __future__ import annotations

import argparse
import time

from pymatgen.analysis.structure_matcher import StructureMatcher
from surfshift.structures.library import build_disordered, load_crystal
from surfshift.structures.ordering import OrderedEnsemble, order_structure


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


def main() -> None:
    """Order the named crystals and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["LATP_x0.3", "LLZO_cubic"])
    parser.add_argument("--sevennet", type=int, default=0, help="rank so many of the best with SevenNet")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("| crystal | atoms | rounding | split | distinct met | kept | spread (eV) | wall s | cpu s | duplicates |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in given.names:
        wall, cpu = time.perf_counter(), time.process_time()
        disordered = build_disordered(load_crystal(name))
        if given.sevennet:
            from surfshift.workflows.ordering import sevennet_energy

            ensemble = order_structure(
                disordered, n_orderings=given.sevennet, seed=given.seed, evaluate=sevennet_energy(), method="7net-0"
            )
        else:
            ensemble = order_structure(disordered, seed=given.seed)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        energies = [o.ewald_ev if o.energy_ev is None else o.energy_ev for o in ensemble.orderings]
        print(
            f"| {name} | {len(ensemble.orderings[0].structure)} | {ensemble.rounding} | {ensemble.split} "
            f"| {ensemble.n_sampled} | {len(energies)} | {max(energies) - min(energies):.2f} | {wall:.1f} | {cpu:.1f} "
            f"| {duplicates(ensemble)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
