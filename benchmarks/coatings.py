"""Coatings: energy errors by chemistry, windows against literature, pymatgen as the oracle, speed of a screening.

``python benchmarks/coatings.py windows|energies|oracle|speed [--energies sevennet|experiment]``
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from surfshift.analysis.coatings.corrections import measured_energies
from surfshift.analysis.coatings.energies import TableIndex, amounts_of, experiment_table, shipped_table
from surfshift.analysis.coatings.page import write_page
from surfshift.analysis.coatings.ranking import rank
from surfshift.analysis.coatings.reactions import System, make_reactant, reaction_curve
from surfshift.analysis.coatings.screening import Screener, Settings, electrode_of, formula_of
from surfshift.analysis.coatings.windows import published_windows
from surfshift.workflows.screening import screen_all

HUNDRED_FROM = ("Li", "Al", "P", "O", "Nb", "Zr", "Ti", "F", "Cl", "S", "N", "La", "Si", "Y", "B", "C", "Ta", "Br", "I")


def table_of(level):
    return shipped_table() if level == "sevennet" else experiment_table()


def windows(level):
    screener = Screener(TableIndex(table_of(level)), Settings())
    print("| compound | reduction | published | oxidation | published | known phases present | missing |")
    print("|---|---|---|---|---|---|---|")
    errors = []
    for formula, published in published_windows().items():
        low, high = published.reduction_v, published.oxidation_v
        try:
            window = screener.window(formula_of(formula))
        except Exception as error:
            print(f"| {formula} | {error} | | | | | |")
            continue
        coverage = screener.coverage(formula)
        ends = [(s.voltage_v, s.error_v) for s in (window.reduction, window.oxidation)]
        errors += [(ends[0][0] - low, formula, "reduction"), (ends[1][0] - high, formula, "oxidation")]
        texts = [f"{v:.2f} ± {e:.2f}" for v, e in ends]
        print(
            f"| {formula} | {texts[0]} | {low:.2f} | {texts[1]} | {high:.2f} | {coverage.n_known_present} of {coverage.n_known} "  # noqa: E501
            f"| {', '.join(coverage.missing)} |"
        )
        print(f"<!-- {window.reduction.reaction} ; {window.oxidation.reaction} ; above hull {window.above_hull_ev} -->")
    values = np.array([e for e, _, _ in errors])
    print(f"\n{len(values)} ends: median error {np.median(np.abs(values)):.2f} V, mean {values.mean():+.2f} V, worst:")
    for error, formula, side in sorted(errors, key=lambda item: -abs(item[0]))[:8]:
        print(f"  {formula} {side} {error:+.2f} V")


def energies():
    table = shipped_table()
    print(
        f"{len(table.phases)} phases of {len({p.formula for p in table.phases})} formulas, {len(table.failed)} refused"
    )
    corrections = table.corrections
    for chemistry, count in sorted(corrections.counts.items(), key=lambda item: -item[1]):
        before = corrections.uncorrected_error_ev_per_atom[chemistry]
        print(f"| {chemistry} | {count} | {before:.3f} | {corrections.error_ev_per_atom[chemistry]:.3f} |")
    print(dict(zip(corrections.terms, corrections.values_ev, strict=True)))
    measured, best = measured_energies(), TableIndex(table).best
    errors = sorted(
        (
            (p.energy_ev_per_atom - measured[f].energy_ev / measured[f].n_atoms, f)
            for f, p in best.items()
            if f in measured
        ),
        key=lambda item: -abs(item[0]),
    )
    for error, formula in errors[:20]:
        print(f"  {formula} {error:+.3f} eV/atom, {best[formula].name}, {best[formula].grade}")
    for name, why in table.failed.items():
        print(f"  refused {name}: {why}")


def oracle(level):
    """Every closed and open reaction of some pairs against pymatgen's classes on the same energies."""
    from pymatgen.analysis.interface_reactions import InterfacialReactivity
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    index = TableIndex(table_of(level))
    pairs = [
        ("AlPO4", "Li"),
        ("AlPO4", "Li2O"),
        ("LiNbO3", "Li3PS4"),
        ("LiTi2P3O12", "Li"),
        ("LiAlO2", "LiTi2P3O12"),
        ("Li3PO4", "LiCoO2"),
        ("Li3PO4", "Li7La3Zr2O12"),
        ("LiF", "Li7La3Zr2O12"),
        ("AlPO4", "LiTi2P3O12"),
        ("Li2TiO3", "LiCoO2"),
    ]
    worst, ours, theirs = 0.0, 0.0, 0.0
    for first, second in pairs:
        one, two = amounts_of(first), amounts_of(second)
        space = index.space({*one, *two, "Li"})
        began = time.perf_counter()
        system = System(space, space.samples(64, 1))
        curve = reaction_curve(system, make_reactant(space, first, one), make_reactant(space, second, two))
        ours += time.perf_counter() - began
        began = time.perf_counter()
        entries = [
            PDEntry(Composition(f), e * sum(amounts_of(f).values()))
            for f, e in zip(space.formulas, space.energies_ev, strict=True)
        ]
        reactivity = InterfacialReactivity(Composition(first), Composition(second), PhaseDiagram(entries), norm=True)
        kinks = [(k[1], k[2]) for k in reactivity.get_kinks()]
        theirs += time.perf_counter() - began
        mine = np.interp(
            [x for x, _ in kinks], [k.share for k in curve.kinks], [k.energy_ev_per_atom for k in curve.kinks]
        )
        gap = float(np.abs(mine - [e for _, e in kinks]).max())
        worst = max(worst, gap)
        print(
            f"{first} + {second}: {len(kinks)} kinks in pymatgen, {len(curve.kinks)} here, largest difference {1000 * gap:.3f} meV/atom"  # noqa: E501
        )
    print(f"largest {1000 * worst:.3f} meV/atom; {ours:.2f} s here with 64 samples, {theirs:.2f} s in pymatgen without")


def speed(level, n_coatings=100):
    """Coatings x 4 electrolytes x 3 electrodes on two processes."""
    table = table_of(level)
    index = TableIndex(table)
    pool = [f for f in sorted(index.best) if len(amounts_of(f)) > 1 and set(amounts_of(f)) <= set(HUNDRED_FROM)]
    coatings = [pool[k] for k in np.linspace(0, len(pool) - 1, n_coatings).astype(int)]
    pairs = [
        ((e, formula_of(e)), electrode_of(d)) for e in ("LATP", "LLZO", "LPSCl", "LYC") for d in ("Li", "LCO", "LNO")
    ]
    with tempfile.TemporaryDirectory() as folder:
        began, before = time.perf_counter(), time.process_time()
        results, refused = screen_all(coatings, pairs, table, Settings(), folder=Path(folder), workers=2)
        computed = time.perf_counter() - began
        groups = {}
        for result in results:
            groups.setdefault((result.electrolyte_name, result.electrode_name), []).append(result)
        ranked = {key: rank(group) for key, group in groups.items()}
        path = Path(folder) / "x.html"
        page = write_page(results, ranked, refused=refused, table=table, settings=Settings(), path=path)
        size = page.stat().st_size / 1e6
        total = time.perf_counter() - began
        began = time.perf_counter()
        screen_all(coatings, pairs, table, Settings(), folder=Path(folder), workers=2)
        again = time.perf_counter() - began
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = time.process_time() - before
    cpu = own + children.ru_utime + children.ru_stime
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{len(coatings)} coatings, {len(results)} combinations, {len(refused)} refused: {computed:.1f} s (with the page {total:.1f} s), "  # noqa: E501
        f"CPU {cpu:.1f} s in all, page {size:.1f} MB, once more from the disk {again:.1f} s, memory {memory:.2f} GB, largest worker {children.ru_maxrss / 1e6:.2f} GB"  # noqa: E501
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["windows", "energies", "oracle", "speed"])
    parser.add_argument("--energies", default="sevennet", choices=["sevennet", "experiment"])
    parser.add_argument("--coatings", type=int, default=100)
    options = parser.parse_args()
    if options.what == "windows":
        windows(options.energies)
    elif options.what == "energies":
        energies()
    elif options.what == "oracle":
        oracle(options.energies)
    else:
        speed(options.energies, options.coatings)
