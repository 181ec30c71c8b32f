"""Every crystal of the library: its bulk, three low-index facets, and a hydroxylated slab of oxides and phosphates.

python benchmarks/library.py [NAME ...] [--max-atoms 250]

Disordered crystals are ordered first (Ewald, seed 0). A row passes when each facet gives slabs within the atom budget
and bulk, slabs and hydroxylated slab are neutral, without a clash, with whole units and the composition declared.
"""

from __future__ import annotations

import argparse
import time

from surfshift.structures.library import crystal_names, disordered_crystal_names
from surfshift.structures.library_surfaces import MAX_SLAB_ATOMS, build_surfaces, ordered_bulk


def main() -> None:
    """Print one line per crystal, and how many fail."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--max-atoms", type=int, default=MAX_SLAB_ATOMS)
    given = parser.parse_args()
    print("| crystal | bulk atoms | facets: slabs (atoms of the smallest) | hydroxylated | CPU s | result |")
    print("|---|---|---|---|---|---|")
    n_failed = 0
    start = time.process_time()
    for name in given.names or (*crystal_names(), *disordered_crystal_names()):
        began = time.process_time()
        bulk = ordered_bulk(name)
        made = build_surfaces(name, bulk, max_atoms=given.max_atoms)
        n_failed += bool(made.problems)
        facets = ", ".join(
            f"({''.join(map(str, miller))}) {len(slabs)} ({min(len(s.structure) for s in slabs)})"
            for miller, slabs in made.facets
        )
        wet = made.hydroxylated
        water = f"{wet.name.removeprefix(name)} ({len(wet.structure)})" if wet else "-"
        result = f"FAIL: {'; '.join(made.problems)}" if made.problems else "pass"
        seconds = time.process_time() - began
        print(f"| {name} | {len(bulk)} | {facets} | {water} | {seconds:.1f} | {result} |", flush=True)
    print(f"\n{n_failed} failed, {time.process_time() - start:.0f} CPU s")


if __name__ == "__main__":
    main()
