"""How near the mixtures that a match may use come to a sample without errors: a measure that needs no match.

The lines of a sample are taken as predicted, without noise, errors or missed lines, those nearer than the resolution
as one. Every mixture of listed candidates is then moved onto them as cheaply as the errors of DFT allow, and what
that costs is a chi-square:

- each peak is given by one line, which pays ((peak - line - offset) / site error)^2 in the shift and likewise in CQ;
- further lines may lie under it, paying only for what they are farther off than the resolution;
- a line may be missed, which costs -2 ln of its probability; a peak without a line pays 25 for each of its values;
- the two offsets of a nucleus (intercept and slope of its reference) pay their squares in standard deviations;
- areas pay ((area - gain * predicted) / (error of areas * area))^2, with a gain for each list and free populations.

The smallest chi-square over mixtures, assignments, populations, offsets and gains is sought by alternation from several
starts, so that it may come out too large (which makes a sample count as more different than it is), never too small.
A sample lies out of reach of the list if it exceeds the 95th percentile of chi-square of as many values.

    python benchmarks/matching_reach.py calibration.jsonl --missing-share 0.3 --reach reach.jsonl
    python benchmarks/matching_reach.py calibration.jsonl --reach reach.jsonl --summarise

The first takes the samples of which a candidate is missing in random order, and can be stopped and called again; the
second prints how many of those out of reach were noticed.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any, NamedTuple

import matching_samples as samples
import numpy as np
from scipy.optimize import linear_sum_assignment, nnls
from scipy.stats import chi2
from surfshift.analysis.matching import MatchSettings
from surfshift.analysis.matching.sites import SiteTable, listing_probability, site_table
from surfshift.analysis.vocabulary import Peak, PeakList

AREA_ERROR = float(np.hypot(samples.AREA_ERROR, samples.AREA_SCATTER))
UNEXPLAINED = 25.0
"""Cost of each value of a peak that no line gives: as of a line five site errors away."""
SEEN = 0.45
"""Lines with at least this probability to be listed are among those of the sample."""
STAGES = ((25, 1), (8, 5), (40, 2), (6, 8))
"""How many of the nearest mixtures are sought anew, and from how many starts each."""
DOUBTFUL = 1.5
"""The last two stages are for samples whose chi-square is below this times the limit."""
LEVEL = 0.95


class Reach(NamedTuple):
    """Smallest chi-square over the mixtures allowed, the number of values behind it, and the mixture it belongs to."""

    chi_square: float
    n_values: int
    members: tuple[str, ...]

    @property
    def limit(self) -> float:
        """Chi-square that as many values exceed by chance in 5 %."""
        return _limit(self.n_values)

    @property
    def is_out(self) -> bool:
        """Whether no mixture of listed candidates comes within the errors."""
        return self.chi_square > self.limit


class _Peaks(NamedTuple):
    """Peaks of one isotope without errors: values (j,) each, and the width in values."""

    isotope: str
    shift: np.ndarray
    cq: np.ndarray
    area: np.ndarray
    has_cq: bool


def _frame(isotope: str) -> PeakList:
    return PeakList(
        name=isotope,
        isotope=isotope,
        field_tesla=samples.FIELD_TESLA,
        mas_rate_hz=12500.0,
        peaks=(Peak(delta_iso_ppm=0.0, delta_error_ppm=1.0),),
    )


def exact_peaks(parts: list[tuple[float, samples.Sites]]) -> list[_Peaks]:
    """Peaks of a mixture given as (population, sites), as predicted."""
    found = []
    for isotope, reference in samples.REFERENCES.items():
        table = site_table(isotope, [sites for _, sites in parts], reference)
        if not len(table):
            continue
        seen = listing_probability(table, _frame(isotope), MatchSettings()) > SEEN
        atoms = np.array([sum(s.multiplicity for s in sites) for _, sites in parts], dtype=float)
        population = np.array([p for p, _ in parts])
        area = population[table.member] * table.multiplicity / atoms[table.member]
        if seen.any():
            lines = np.array(samples._merge(isotope, np.column_stack([table.delta, table.cq, area])[seen], merged=True))
            found.append(_Peaks(isotope, lines[:, 0], lines[:, 1], lines[:, 2] / lines[:, 2].sum(), isotope == "27Al"))
    return found


class _Problem:
    """Lines of one mixture against the peaks of one isotope."""

    def __init__(self, peaks: _Peaks, table: SiteTable, share: np.ndarray) -> None:
        self.peaks, self.table, self.share = peaks, table, share
        listed = listing_probability(table, _frame(peaks.isotope), MatchSettings())
        self.missed = -2.0 * np.log1p(-listed)
        self.resolution = samples.RESOLUTION_PPM[peaks.isotope]
        self.cq_main = self.cq_extra = np.zeros((len(table), len(peaks.shift)))
        if peaks.has_cq:
            away = np.abs(table.cq[:, None] - peaks.cq[None, :])
            self.cq_main = (away / table.cq_error[:, None]) ** 2
            beyond = np.maximum(away - samples.CQ_RESOLUTION_MHZ, 0.0)
            self.cq_extra = (beyond / table.cq_error[:, None]) ** 2
        self.width = 2 if peaks.has_cq else 1
        self.place(np.zeros(2))

    def place(self, offset: np.ndarray) -> None:
        """Costs of every line at every peak for these offsets (in their standard deviations)."""
        self.offset = offset
        table, peaks = self.table, self.peaks
        away = peaks.shift[None, :] - (table.delta + table.offset_rows @ offset)[:, None]
        tau = table.delta_error[:, None]
        self.main = (away / tau) ** 2 + self.cq_main
        self.extra = (np.maximum(np.abs(away) - self.resolution, 0.0) / tau) ** 2 + self.cq_extra

    def energies(self, states: np.ndarray, lines: np.ndarray) -> np.ndarray:
        """Chi-square (q,) of assignments (q, n) of lines to peaks (or, last, to none) with areas of lines (n,)."""
        n_peaks = len(self.peaks.shift)
        under = states[:, :, None] == np.arange(n_peaks)
        # the line that gives the peak pays for its place, the others for what they are beyond the resolution
        change = np.where(under, self.main - self.extra, np.inf).min(axis=1, initial=np.inf)
        empty = ~under.any(axis=1)
        cost = np.where(empty, UNEXPLAINED * self.width, change).sum(axis=1)
        cost += np.where(under, self.extra, 0.0).sum(axis=(1, 2))
        cost += np.where(states == n_peaks, self.missed, 0.0).sum(axis=1)
        predicted = (under * lines[None, :, None]).sum(axis=1) / (AREA_ERROR * self.peaks.area)
        target = np.full(predicted.shape, 1.0 / AREA_ERROR) * ~empty
        predicted = predicted * ~empty
        gain = (predicted * target).sum(axis=1) / np.maximum((predicted**2).sum(axis=1), 1e-12)
        return cost + ((gain[:, None] * predicted - target) ** 2).sum(axis=1)

    def improve(self, state: np.ndarray, lines: np.ndarray) -> np.ndarray:
        """Assignment from which no other place of one line is cheaper, then no exchange of two."""
        n, n_peaks = len(state), len(self.peaks.shift)
        rows = np.arange(n)
        empty_cost = UNEXPLAINED * self.width
        change = self.main - self.extra
        while True:
            # with the gain held: cost of each peak as it is, with one line more and with one fewer
            c, gain = lines[:, None] / (AREA_ERROR * self.peaks.area), 0.0
            under = state[:, None] == np.arange(n_peaks)
            summed = (under * c).sum(axis=0)
            filled = under.any(axis=0)
            if filled.any():
                gain = float(summed[filled].sum() / AREA_ERROR / max(float((summed[filled] ** 2).sum()), 1e-12))
            c, summed = gain * c, gain * summed
            extra = (under * self.extra).sum(axis=0)
            inside = np.where(under, change, np.inf)
            two = np.sort(np.concatenate([inside, np.full((2, n_peaks), np.inf)]), axis=0)[:2]
            goal = 1.0 / AREA_ERROR
            cost = np.where(filled, extra + np.where(filled, two[0], 0.0) + (summed - goal) ** 2, empty_cost)
            more = extra + self.extra + np.minimum(two[0], change) + (summed + c - goal) ** 2 - cost
            is_alone = under.sum(axis=0) == 1
            left = np.where(inside <= two[0], two[1], two[0])
            fewer = extra - self.extra + left + (summed - c - goal) ** 2
            fewer = np.where(is_alone, empty_cost, fewer) - cost
            leave = np.append(fewer, -self.missed[:, None], axis=1)[rows, state]
            delta = leave[:, None] + np.append(more, self.missed[:, None], axis=1)
            delta[rows, state] = 0.0
            s, j = np.unravel_index(int(np.argmin(delta)), delta.shape)
            if delta[s, j] < -1e-9:
                state = state.copy()
                state[s] = j
                continue
            pairs = np.array(list(itertools.combinations(range(n), 2)), dtype=int).reshape(-1, 2)
            pairs = pairs[state[pairs[:, 0]] != state[pairs[:, 1]]]
            swapped = np.repeat(state[None], len(pairs) + 1, axis=0)
            index = np.arange(len(pairs))
            swapped[index, pairs[:, 0]], swapped[index, pairs[:, 1]] = state[pairs[:, 1]], state[pairs[:, 0]]
            energies = self.energies(swapped, lines)
            best = int(np.argmin(energies))
            if energies[best] > energies[-1] - 1e-6:
                return state
            state = swapped[best]

    def best_offset(self, state: np.ndarray) -> np.ndarray:
        """Offsets that suit the lines which give the peaks."""
        main = []
        for j in range(len(self.peaks.shift)):
            under = np.flatnonzero(state == j)
            if len(under):
                main.append((under[np.argmin((self.main - self.extra)[under, j])], j))
        if not main:
            return np.zeros(2)
        s, j = np.array(main).T
        rows = self.table.offset_rows[s] / self.table.delta_error[s, None]
        away = (self.peaks.shift[j] - self.table.delta[s]) / self.table.delta_error[s]
        return np.linalg.solve(rows.T @ rows + np.eye(2), rows.T @ away)

    def area_rows(self, state: np.ndarray, n_members: int) -> tuple[np.ndarray, np.ndarray]:
        """Area of each peak that has a line per unit population (j, m), and those measured, over their errors."""
        n_peaks = len(self.peaks.shift)
        rows = np.zeros((n_peaks + 1, n_members))
        np.add.at(rows, (state, self.table.member), self.share)
        filled = np.isin(np.arange(n_peaks), state)
        error = AREA_ERROR * self.peaks.area
        return (rows[:n_peaks] / error[:, None])[filled], np.full(int(filled.sum()), 1.0 / AREA_ERROR)


def _populations(
    rows: list[tuple[np.ndarray, np.ndarray]], start: np.ndarray, least: float, steps: int = 6
) -> np.ndarray:
    """Populations (m,) that suit the areas best, none below ``least``, with a gain for each list."""
    n = len(start)
    mixing = (1.0 - n * least) * np.eye(n) + least
    w = start
    for _ in range(steps):
        stacked, target = [], []
        for row, goal in rows:
            predicted = row @ w
            gain = float(predicted @ goal) / max(float(predicted @ predicted), 1e-12)
            stacked.append(gain * row)
            target.append(goal)
        v, _ = nnls(np.concatenate(stacked) @ mixing, np.concatenate(target))
        if v.sum() <= 0:
            return w
        w = mixing @ v / v.sum()
    return w


class _Mixture:
    """One mixture of listed candidates against the peaks of all isotopes."""

    def __init__(self, peaks: list[_Peaks], groups: list[samples.Sites], least: float) -> None:
        atoms = np.array([sum(s.multiplicity for s in sites) for sites in groups], dtype=float)
        self.n, self.least, self.constant = len(groups), least, 0.0
        self.problems = []
        shown = {part.isotope: part for part in peaks}
        for isotope, reference in samples.REFERENCES.items():
            table = site_table(isotope, groups, reference)
            part = shown.get(isotope)
            if part is not None and len(table):
                self.problems.append(_Problem(part, table, table.multiplicity / atoms[table.member]))
            elif part is not None:
                self.constant += UNEXPLAINED * len(part.shift) * (2 if part.has_cq else 1)
            elif len(table):
                # nothing of this nucleus is seen: all lines must be missed
                listed = listing_probability(table, _frame(isotope), MatchSettings())
                self.constant += float(-2.0 * np.log1p(-listed).sum())

    def chi_square(self, start: np.ndarray, *, is_rough: bool = False, is_free: bool = False) -> float:
        """Smallest chi-square found by alternation from these populations; rough: lines stay where they are nearest.

        ``is_free`` begins with every line at the peak that suits it, several at one, rather than one to one.
        """
        w, best = start, np.inf
        for problem in self.problems:
            problem.place(np.zeros(2))
        states = [_free(problem) if is_free else _nearest(problem) for problem in self.problems]
        for _ in range(1 if is_rough else 8):
            total = self.constant
            if not is_rough:
                for k, problem in enumerate(self.problems):
                    states[k] = problem.improve(states[k], w[problem.table.member] * problem.share)
                    problem.place(problem.best_offset(states[k]))
            if self.n > 1:
                rows = [p.area_rows(s, self.n) for p, s in zip(self.problems, states, strict=True)]
                w = _populations(rows, w, self.least)
            for k, problem in enumerate(self.problems):
                lines = w[problem.table.member] * problem.share
                total += float(problem.energies(states[k][None], lines)[0]) + float(problem.offset @ problem.offset)
            if total > best - 1e-3:
                break
            best = total
        return min(best, total)


def _free(problem: _Problem) -> np.ndarray:
    return np.argmin(np.concatenate([problem.main, problem.missed[:, None]], axis=1), axis=1)


def _nearest(problem: _Problem) -> np.ndarray:
    """Lines given to peaks one to one as cheaply as possible, the others to where they cost least."""
    state = np.argmin(np.concatenate([problem.extra, problem.missed[:, None]], axis=1), axis=1)
    rows, columns = linear_sum_assignment(np.minimum(problem.main, UNEXPLAINED * problem.width))
    state[rows] = columns
    return state


def reach(sample: samples.Sample, *, max_members: int, least_population: float, seed: int = 0) -> Reach:
    """How near mixtures of up to ``max_members`` listed candidates come to a sample without errors."""
    parts = [(population, sample.everything[name]) for name, population in sample.truth.items()]
    peaks = exact_peaks(parts)
    n_values = sum(len(p.shift) * (2 if p.has_cq else 1) + len(p.shift) - 1 for p in peaks)
    rng = np.random.default_rng(seed)
    names = sorted(sample.library)
    subsets = [members for size in range(1, max_members + 1) for members in itertools.combinations(names, size)]
    mixtures = {m: _Mixture(peaks, [sample.library[name] for name in m], least_population) for m in subsets}
    equal = {m: np.full(len(m), 1.0 / len(m)) for m in subsets}
    found = {m: mixture.chi_square(equal[m], is_rough=True) for m, mixture in mixtures.items()}
    limit = _limit(n_values)
    for stage, (count, starts) in enumerate(STAGES):
        if stage > 1 and min(found.values()) > DOUBTFUL * limit:
            break
        for members in sorted(found, key=lambda m: found[m])[:count]:
            for start in range(starts if len(members) > 1 else 2):
                if found[members] < limit:
                    # within reach; how far within does not matter
                    return Reach(found[members], n_values, members)
                left = 1.0 - len(members) * least_population
                w = least_population + left * rng.dirichlet(np.ones(len(members)))
                w = equal[members] if starts == 1 else w
                found[members] = min(found[members], mixtures[members].chi_square(w, is_free=start % 2 == 1))
    best = min(found, key=lambda m: found[m])
    return Reach(found[best], n_values, best)


def _limit(n_values: int) -> float:
    return float(chi2.ppf(LEVEL, n_values))


def summarise(records: list[dict[str, Any]], reached: dict[tuple[int, int], dict[str, Any]]) -> None:
    """Print how many missing truths were noticed, by both measures of what differs by more than the DFT error."""
    found = [(r, reached[r["seed"], r["index"]]) for r in records if (r["seed"], r["index"]) in reached]
    listed = [r for r in records if r["missing"] is None]
    print(f"{len(found)} samples with a candidate missing, {len(listed)} with all listed\n")
    print("| missing truths | number | none of these | something unlisted above 0.2 |\n|---|---|---|---|")
    groups = {
        "1.5 DFT errors from the other true ones and one more": [r for r, _ in found if r["distance"] > 1.5],
        "out of reach of mixtures": [r for r, f in found if f["chi_square"] > f["limit"]],
        "out of reach by half the limit more": [r for r, f in found if f["chi_square"] > 1.5 * f["limit"]],
        "out of reach by twice the limit": [r for r, f in found if f["chi_square"] > 2.0 * f["limit"]],
        "within reach": [r for r, f in found if f["chi_square"] <= f["limit"]],
        "truth listed (false alarms)": listed,
    }
    for name, group in groups.items():
        if group:
            none = np.mean([r["outcome"] == "none" for r in group])
            print(f"| {name} | {len(group)} | {none:.1%} | {np.mean([r['p_none'] >= 0.2 for r in group]):.1%} |")


def main() -> None:
    """Measure samples of records, or summarise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, help="records of matching_calibration.py")
    parser.add_argument("--reach", type=Path, required=True, help="file of what was measured; added to")
    parser.add_argument("--missing-share", type=float, default=0.3, help="as the records were made")
    parser.add_argument("--summarise", action="store_true")
    given = parser.parse_args()
    records = [json.loads(line) for line in given.records.read_text(encoding="utf-8").splitlines()]
    lines = given.reach.read_text(encoding="utf-8").splitlines() if given.reach.exists() else []
    reached = {(f["seed"], f["index"]): f for f in map(json.loads, lines)}
    if given.summarise:
        summarise(records, reached)
        return
    missing = [r for r in records if r["missing"] is not None]
    np.random.default_rng(5).shuffle(missing)
    for r in missing:
        if (r["seed"], r["index"]) in reached:
            continue
        sample = samples.draw(np.random.default_rng([r["seed"], r["index"]]), missing_share=given.missing_share)
        if sample.missing != r["missing"] or set(sample.truth) != set(r["truth"]):
            parser.error("the samples of these records are drawn differently: give the --missing-share they had")
        found = reach(sample, max_members=4, least_population=0.1)
        line = {"seed": r["seed"], "index": r["index"], **found._asdict(), "limit": found.limit}
        with given.reach.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
