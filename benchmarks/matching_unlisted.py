"""How well the evidence of something unlisted is judged, beside what an observer would know who knew the truth's kind.

    python benchmarks/matching_unlisted.py --seed 3 --samples 12 52 816 --draws 2000

Each sample has one true candidate left out of the list. Whoever knew how candidates are drawn could weigh "one more
candidate, drawn so" as a mean over draws from that very distribution (matching_samples.py). That is printed beside what
the match makes of the listed candidates alone: free lines, and siblings. All are log evidences of the peaks' positions
and couplings, areas aside, relative to the best explanation by listed candidates; with the effective number of draws.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from surfshift.analysis.matching import MatchSettings, beside, search
from surfshift.analysis.matching.beside import mean_evidence, with_parts
from surfshift.analysis.matching.peaks import peak_evidences
from surfshift.analysis.matching.search import Problem
from surfshift.analysis.matching.siblings import Siblings
from surfshift.analysis.matching.sites import site_table

sys.path.insert(0, str(Path(__file__).resolve().parent))
import matching_samples as samples

SETTINGS = MatchSettings(max_members=4, size_ratio=1.0, least_population=0.1)


def ideal(problem: Problem, members: tuple[int, ...], drawn: list[samples.Sites]) -> tuple[float, float]:
    """Log mean evidence of the peaks beside each drawn candidate, and the effective number of draws."""
    listed = [problem.sites[key] for key in problem.ids]
    total = np.zeros(len(drawn))
    for isotope in problem.isotopes:
        table = site_table(isotope, [*listed, *drawn], problem.references[isotope])
        rows = [np.flatnonzero(table.member == g) for g in range(len(listed) + len(drawn))]
        fixed = [rows[i] for i in members]
        subsets = [np.concatenate([np.zeros(0, dtype=np.int64), *fixed, own]) for own in rows[len(listed) :]]
        total += peak_evidences(table, subsets, problem.lists[isotope], problem.settings)
    weights = np.exp(total - total.max())
    return float(total.max() + np.log(weights.mean())), float(weights.sum() ** 2 / (weights**2).sum())


def know_the_kind(n_parts: int = 300) -> None:
    """Let matches weigh something unlisted by candidates drawn as those of the samples are, not by siblings.

    What the match then says is nearly what an observer would say who knew how candidates come about, and only not
    which one is missing: the sites of one nucleus are still drawn independently of those of the others.
    """

    def drawn(*arguments: Any) -> Siblings[tuple[Any, ...]]:
        lists = arguments[2]
        rng = np.random.default_rng(5)
        isotopes = [isotope for isotope, several in lists.items() if several]
        found: dict[str, dict[int, list[tuple[Any, ...]]]] = {isotope: {} for isotope in isotopes}
        counts: list[dict[str, int]] = []
        while len(counts) < n_parts or any(
            number and len(parts) < n_parts for by_number in found.values() for number, parts in by_number.items()
        ):
            sites = samples.surface("drawn", rng)
            by_isotope = {isotope: tuple(s for s in sites if s.isotope == isotope) for isotope in isotopes}
            counts.append({isotope: len(own) for isotope, own in by_isotope.items()})
            for isotope, own in by_isotope.items():
                parts = found[isotope].setdefault(len(own), [])
                if len(parts) < (n_parts if own else 1):
                    parts.append(own)
        return Siblings(tuple(counts), found)

    search.draw_siblings = drawn
    beside._FIRST = 60


def main() -> None:
    """Print the evidences of each sample."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--samples", type=int, nargs="+", default=[12, 52, 816, 34, 393])
    parser.add_argument("--missing-share", type=float, default=0.3, help="as in the calibration that drew the samples")
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--subsets", type=int, default=3, help="how many subsets beside something unlisted are shown")
    given = parser.parse_args()
    print("| sample | beside | free lines | siblings | candidates drawn like the missing one | effective draws |")
    print("|---" * 6 + "|")
    for index in given.samples:
        sample = samples.draw(np.random.default_rng([given.seed, index]), missing_share=given.missing_share)
        if sample.missing is None:
            print(f"| {index} | nothing is missing | | | | |")
            continue
        problem = Problem(sample.library, sample.lists, samples.REFERENCES, SETTINGS)
        best = max(problem.screen.search(SETTINGS.max_members, beside_unknown=False).values())
        free = problem.screen.search(SETTINGS.max_members - 1, beside_unknown=True)
        near = sorted(free, key=lambda members: -free[members])[:16]
        siblings = {m: mean_evidence(problem, parts) for m, parts in with_parts(problem, near, slice(None)).items()}
        rng = np.random.default_rng(index)
        drawn = [samples.surface("drawn", rng) for _ in range(given.draws)]
        for members in sorted(near, key=lambda m: -siblings[m])[: given.subsets]:
            value, effective = ideal(problem, members, drawn)
            names = " + ".join(problem.ids[i] for i in members) or "nothing"
            shown = " | ".join(f"{one - best:.1f}" for one in (free[members], siblings[members], value))
            print(f"| {index} | {names} | {shown} | {effective:.0f} |", flush=True)


if __name__ == "__main__":
    main()
