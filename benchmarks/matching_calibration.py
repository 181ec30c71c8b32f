"""How often the matching is right, over many simulated samples with known truth, next to three yardsticks.

    python benchmarks/matching_calibration.py --samples 1000 --records calibration.jsonl
    python benchmarks/matching_calibration.py --summarise calibration.jsonl

A sample is a mixture of one to four of eight candidates with 31P, 27Al and 1H lines (matching_samples.py), with an
offset drawn from the reference's covariance, site errors, CQ errors, noise, lines that merge or are missed, and areas.
In a part of the samples one true candidate is left out of the list. ``--dft-error 0`` is the other world, in which the
predictions are exact but the fit does not know it. Every sample has a seed of its own; records are written one per line
as they come, and samples in the file are not run again, so that a run can be stopped and several be put together.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from surfshift.analysis.matching import match
from surfshift.analysis.vocabulary import Assignment, Verdict

sys.path.insert(0, str(Path(__file__).resolve().parent))
import matching_samples as samples
import matching_unlisted
import matching_yardsticks as yardsticks

FAR, FARTHER = 1.5, 2.0
"""A missing candidate counts as different from what the list could give if ``distance`` exceeds the first, and as
farther than twice the DFT error beyond the second: with 1 the predictions of the two would scatter about each other as
two computations of one structure do (twice the variance of one, sqrt(2) = 1.4)."""

SETTINGS = matching_unlisted.SETTINGS
"""One to four candidates are drawn equally often, each with at least a tenth, and that is told to the match; everything
else is as by default."""


def outcome(assignment: Assignment, truth: set[str]) -> str:
    """One word for a verdict against the truth."""
    if assignment.verdict is Verdict.NONE:
        return "none"
    if assignment.verdict is Verdict.IDENTIFIED:
        return "identified right" if set(assignment.members) == truth else "identified wrong"
    return "one of, with truth" if truth <= set(assignment.members) else "one of, without truth"


def record(sample: samples.Sample, *, with_magnetstein: bool) -> dict[str, Any]:
    """Match one sample and say how it went."""
    start = time.process_time()
    answer = match(sample.library, sample.lists, samples.REFERENCES, SETTINGS)
    seconds = time.process_time() - start
    truth = set(sample.truth)
    populations = [
        {
            "name": p.candidate_name,
            "true": sample.truth.get(p.candidate_name, 0.0),
            "mean": p.mean,
            "low": p.low,
            "high": p.high,
            "present": p.probability_present,
        }
        for p in answer.populations
    ]
    away = 0.0
    if sample.missing is not None:
        rest = [sample.everything[name] for name in truth if name != sample.missing]
        strangers: list[list[samples.Sites]] = [[], *([v] for k, v in sample.library.items() if k not in truth)]
        away = min(samples.distance(sample.everything[sample.missing], rest + other) for other in strangers)
    return {
        "truth": sample.truth,
        "missing": sample.missing,
        "distance": away,
        "outcome": outcome(answer, truth),
        "named": list(answer.members),
        "p_none": sum(s.probability for s in answer.subsets if not s.candidate_names),
        "fit_probability": answer.fit_probability,
        "populations": populations,
        "p_truth": sum(s.probability for s in answer.subsets if set(s.candidate_names) == truth),
        "subsets": [[*s.candidate_names, s.probability] for s in answer.subsets[:12]],
        "seconds": seconds,
        "yardsticks": yardsticks.all_of(sample, with_magnetstein=with_magnetstein),
    }


def summarise(records: list[dict[str, Any]]) -> None:
    """Print the tables."""
    listed = [r for r in records if r["missing"] is None]
    missing = [r for r in records if r["missing"] is not None]
    far = [r for r in missing if r["distance"] > FAR]
    print(f"{len(records)} samples, {np.mean([r['seconds'] for r in records]):.2f} cpu s per match\n")
    words = ("identified right", "identified wrong", "one of, with truth", "one of, without truth", "none")
    print("| samples | number | " + " | ".join(words) + " |\n|---" + "|---" * (len(words) + 1) + "|")
    groups: dict[str, list[dict[str, Any]]] = {"truth listed": listed}
    for size in range(1, 5):
        groups[f"truth listed, {size} candidate(s)"] = [r for r in listed if len(r["truth"]) == size]
    groups["one left out, beyond the DFT error"] = far
    groups[f"one left out, {FARTHER:g} times the DFT error or more away"] = [r for r in far if r["distance"] > FARTHER]
    groups["one left out, within the DFT error"] = [r for r in missing if r["distance"] <= FAR]
    for name, group in groups.items():
        if group:
            shares = [f"{np.mean([r['outcome'] == word for r in group]):.1%}" for word in words]
            print(f"| {name} | {len(group)} | " + " | ".join(shares) + " |")
    _intervals(listed)
    _presence(listed)
    print("| method | truth named | names given | population error | false alarms | missing found (beyond DFT error) |")
    print("|---" * 6 + "|")
    calls = [r for r in listed if r["outcome"] != "none"]
    misses = [abs(p["mean"] - p["true"]) for r in listed for p in r["populations"] if p["true"] > 0]
    print(
        f"| surfshift | {np.mean([r['outcome'] in ('identified right', 'one of, with truth') for r in listed]):.1%} | "
        f"{np.mean([len(r['named']) for r in calls]):.1f} | {np.mean(misses):.3f} | "
        f"{np.mean([r['outcome'] == 'none' for r in listed]):.1%} | "
        f"{np.mean([r['outcome'] == 'none' for r in far]) if far else float('nan'):.1%} |"
    )
    by_method: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = defaultdict(list)
    for r in records:
        for name, found in r["yardsticks"].items():
            by_method[name].append((r, found))
    for name, pairs in by_method.items():
        inside = [(r, f) for r, f in pairs if r["missing"] is None]
        outside = [(r, f) for r, f in pairs if r["missing"] is not None and r["distance"] > FAR]
        named = np.mean([set(r["truth"]) <= set(f["named"]) for r, f in inside])
        size = np.mean([len(f["named"]) for _, f in inside])
        error = [
            abs(f["populations"].get(k, 0.0) - v)
            for r, f in inside
            if "populations" in f
            for k, v in r["truth"].items()
        ]
        # the alarm goes off above the 95th percentile of the samples without a missing candidate: 5 % false alarms
        level = np.quantile([f["misfit"] for _, f in inside], 0.95)
        found = np.mean([f["misfit"] > level for _, f in outside]) if outside else float("nan")
        off = f"{np.mean(error):.3f}" if error else ""
        print(f"| {name} | {named:.1%} | {size:.1f} | {off} | 5 % (set so) | {found:.1%} |")


def _intervals(listed: list[dict[str, Any]]) -> None:
    """How often 90 % intervals of populations hold the truth, in several selections."""
    rows = [(r, p) for r in listed for p in r["populations"] if len(r["truth"]) > 1]
    selections = {
        "of true candidates in mixtures": [(r, p) for r, p in rows if p["true"] > 0],
        **{
            f"of true candidates in mixtures of {size}": [
                (r, p) for r, p in rows if p["true"] > 0 and len(r["truth"]) == size
            ]
            for size in (2, 3, 4)
        },
        "of candidates said to be present (above 0.5) in mixtures": [(r, p) for r, p in rows if p["present"] > 0.5],
        "of all candidates in mixtures": rows,
    }
    print("\n| populations | number | held | truth below | truth above | mean width | mean error |")
    print("|---" * 7 + "|")
    for name, chosen in selections.items():
        if chosen:
            true, low, high, mean = (np.array([p[key] for _, p in chosen]) for key in ("true", "low", "high", "mean"))
            print(
                f"| {name} | {len(chosen)} | {np.mean((low <= true) & (true <= high)):.1%} | "
                f"{np.mean(true < low):.1%} | "
                f"{np.mean(true > high):.1%} | {np.mean(high - low):.3f} | {np.mean(abs(mean - true)):.3f} |"
            )


PRESENCE_BINS = (0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0 + 1e-9)


def presence(listed: list[dict[str, Any]]) -> list[tuple[float, float, int]]:
    """Said and true share of candidates present, and their number, by bins of the probability said."""
    pairs = np.array([(p["present"], p["true"] > 0) for r in listed for p in r["populations"]], dtype=float)
    found = []
    for low, high in itertools.pairwise(PRESENCE_BINS):
        chosen = pairs[(pairs[:, 0] >= low) & (pairs[:, 0] < high)]
        if len(chosen):
            found.append((float(chosen[:, 0].mean()), float(chosen[:, 1].mean()), len(chosen)))
    return found


def _presence(listed: list[dict[str, Any]]) -> None:
    print("\n| probability of presence, said | share present | candidates |\n|---|---|---|")
    for said, true, number in presence(listed):
        print(f"| {said:.3f} | {true:.3f} | {number} |")
    print()


def picture(records: list[dict[str, Any]], path: Path) -> None:
    """Draw how reliable probabilities of presence and population intervals are."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    listed = [r for r in records if r["missing"] is None]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 4.2), constrained_layout=True)
    said, true, number = (np.array(part) for part in zip(*presence(listed), strict=True))
    error = np.sqrt(np.maximum(true * (1.0 - true), 1.0 / (number + 4.0) / 4.0) / number)
    left.plot([0, 1], [0, 1], color="0.7", lw=1)
    left.errorbar(said, true, yerr=error, fmt="o", color="#20639b")
    for x, y, n in zip(said, true, number, strict=True):
        left.annotate(f"{n}", (x, y), textcoords="offset points", xytext=(7, -11), fontsize=8, color="0.35")
    left.set(xlabel="probability of being present", ylabel="share that is present", title="Presence of a candidate")
    rows = [p for r in listed if len(r["truth"]) > 1 for p in r["populations"] if p["present"] > 0.5]
    true, mean, low, high = (np.array([p[key] for p in rows]) for key in ("true", "mean", "low", "high"))
    held = (low <= true) & (true <= high)
    for mask, colour, name in ((held, "#3caea3", "held"), (~held, "#d1495b", "not held")):
        error = np.clip(np.stack([mean - low, high - mean])[:, mask], 0.0, None)
        label = f"{name}: {mask.sum()}"
        right.errorbar(true[mask], mean[mask], yerr=error, fmt=".", color=colour, lw=0.8, label=label)
    right.plot([0, 1], [0, 1], color="0.7", lw=1)
    right.set(xlabel="true population", ylabel="population, 90 % interval", title="Candidates said to be present")
    right.legend(frameon=False)
    figure.savefig(path, dpi=130)


def read(paths: list[Path]) -> list[dict[str, Any]]:
    """Records of files; a line that was cut off is left out."""
    records = []
    for line in (line for path in paths for line in path.read_text(encoding="utf-8").splitlines()):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def main() -> None:
    """Run samples or summarise records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first sample; each has a seed of its own")
    parser.add_argument(
        "--dft-error", type=float, default=1.0, help="size of the true errors, in those that are assumed"
    )
    parser.add_argument("--missing-share", type=float, default=0.2, help="share of samples with a candidate left out")
    parser.add_argument("--largest", type=int, default=4, help="most candidates in a sample")
    parser.add_argument("--records", type=Path, help="append records to this file")
    parser.add_argument("--magnetstein", action="store_true", help="also run magnetstein (needs it and pulp < 3)")
    parser.add_argument(
        "--knows-the-kind",
        action="store_true",
        help="weigh what is unlisted as an observer would who knew how candidates are drawn (matching_unlisted.py)",
    )
    parser.add_argument("--picture", type=Path, help="with --summarise: draw reliability into this file")
    parser.add_argument("--summarise", type=Path, nargs="+", help="only print the tables of these records")
    given = parser.parse_args()
    if given.summarise:
        records = read(given.summarise)
        summarise(records)
        if given.picture:
            picture(records, given.picture)
        return
    if given.knows_the_kind:
        matching_unlisted.know_the_kind()
    records = read([given.records]) if given.records and given.records.exists() else []
    done = {(r["seed"], r["index"]) for r in records}
    for index in range(given.first, given.first + given.samples):
        if (given.seed, index) in done:
            continue
        rng = np.random.default_rng([given.seed, index])
        sample = samples.draw(rng, largest=given.largest, missing_share=given.missing_share, dft_error=given.dft_error)
        if not sample.lists:
            # every line was missed: nothing was measured
            continue
        found = {"seed": given.seed, "index": index, **record(sample, with_magnetstein=given.magnetstein)}
        records.append(found)
        if given.records:
            with given.records.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(found, default=float) + "\n")
    summarise(records)


if __name__ == "__main__":
    main()
