"""How often the matching is right, over many simulated samples with known truth.

Run from a checkout with the package installed:

    python benchmarks/matching_calibration.py --draws 200

Candidates are synthetic: every one has a bulk-like 31P and 27Al line and two of its own on each nucleus, drawn
at random. A sample takes one candidate, moves all its lines by an offset drawn from the reference's covariance, each
line by a site error drawn from the reference, CQ by its own error, and adds 1.5 ppm noise. Lines closer than
the resolution are listed as one peak.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np
from surfshift.analysis.matching import MatchSettings, match
from surfshift.analysis.vocabulary import Assignment, Method, Peak, PeakList, PredictedSite, Reference, Verdict
from surfshift.structures.vocabulary import Region

FIELD_TESLA = 9.4
NOISE_PPM = 1.5
RESOLUTION_PPM = 2.0
METHOD = Method(engine="synthetic", engine_version="1", functional="none", protocol="none", protocol_hash="0")


def reference(isotope: str, *, slope: float, zero_ppm: float, pivot: float, site_error_ppm: float) -> Reference:
    """Reference with an uncertainty of 1.5 ppm at its pivot and 0.05 in the slope."""
    at_pivot, slope_sd = 1.5, 0.05
    covariance = ((slope_sd**2, -pivot * slope_sd**2), (-pivot * slope_sd**2, at_pivot**2 + (pivot * slope_sd) ** 2))
    return Reference(
        isotope=isotope,
        method=METHOD,
        slope=slope,
        intercept_ppm=zero_ppm,
        covariance=covariance,
        sigma_mean_ppm=pivot,
        site_error_ppm=site_error_ppm,
        compounds=(),
    )


REFERENCES = {
    "31P": reference("31P", slope=-0.9, zero_ppm=270.0, pivot=320.0, site_error_ppm=1.6),
    "27Al": reference("27Al", slope=-1.0, zero_ppm=560.0, pivot=515.0, site_error_ppm=2.0),
}


def site(
    name: str, isotope: str, index: int, delta_ppm: float, cq_mhz: float = 0.0, *, count: int = 2
) -> PredictedSite:
    """One predicted site; the shielding follows from the reference."""
    ref = REFERENCES[isotope]
    return PredictedSite(
        candidate_id=name,
        candidate_name=name,
        isotope=isotope,
        atom_indices=tuple(range(100 * index, 100 * index + count)),
        region=Region.SURFACE,
        sigma_iso_ppm=(delta_ppm - ref.intercept_ppm) / ref.slope,
        delta_iso_ppm=delta_ppm,
        delta_error_ppm=ref.site_error_ppm,
        zeta_csa_ppm=10.0,
        eta_csa=0.5,
        cq_mhz=cq_mhz,
        cq_error_mhz=float(np.hypot(0.1 * cq_mhz, 0.34)) if cq_mhz else 0.0,
        eta_q=0.4,
        distance_to_h_ang=3.0,
    )


def candidate(name: str, rng: np.random.Generator) -> list[PredictedSite]:
    """A bulk-like line and two own lines on 31P and on 27Al."""
    sites = [
        site(name, "31P", 0, -25.0 + rng.normal(0.0, 0.7)),
        site(name, "27Al", 10, 44.5 + rng.normal(0.0, 1.0), 4.1),
    ]
    for index in (1, 2):
        sites.append(site(name, "31P", index, rng.uniform(-38.0, 0.0)))
        sites.append(site(name, "27Al", 10 + index, rng.uniform(5.0, 75.0), rng.uniform(3.0, 8.0)))
    return sites


def bulk() -> list[PredictedSite]:
    """The bulk alone: one line per nucleus."""
    return [site("bulk", "31P", 0, -25.0), site("bulk", "27Al", 10, 44.5, 4.1)]


def twin_of(sites: list[PredictedSite], name: str, rng: np.random.Generator) -> list[PredictedSite]:
    """A candidate whose lines lie within about 0.3 ppm of another's."""
    return [
        site(name, s.isotope, s.atom_indices[0] // 100, s.delta_iso_ppm + rng.normal(0.0, 0.3), s.cq_mhz) for s in sites
    ]


def sample(parts: list[tuple[float, list[PredictedSite]]], rng: np.random.Generator) -> list[PeakList]:
    """Peak lists of a mixture given as (population, sites); areas carry 5 % errors."""
    lists = []
    for isotope, ref in REFERENCES.items():
        offset = rng.multivariate_normal([0.0, 0.0], np.array(ref.covariance))
        lines = []
        for population, sites in parts:
            atoms = sum(s.multiplicity for s in sites)
            for s in sites:
                if s.isotope == isotope:
                    delta = s.delta_iso_ppm + offset @ [s.sigma_iso_ppm, 1.0] + rng.normal(0.0, s.delta_error_ppm)
                    cq = abs(s.cq_mhz + rng.normal(0.0, 1.0) * s.cq_error_mhz)
                    lines.append([float(delta), float(cq), population * s.multiplicity / atoms])
        lines.sort()
        merged = [lines[0]]
        for delta, cq, area in lines[1:]:
            last = merged[-1]
            if delta - last[0] < RESOLUTION_PPM:
                total = last[2] + area
                merged[-1] = [
                    (last[0] * last[2] + delta * area) / total,
                    (last[1] * last[2] + cq * area) / total,
                    total,
                ]
            else:
                merged.append([delta, cq, area])
        peaks = []
        for index, (delta, cq, area) in enumerate(merged):
            quadrupolar = {"cq_mhz": abs(cq + rng.normal(0.0, 0.4)), "cq_error_mhz": 0.4} if isotope == "27Al" else {}
            peaks.append(
                Peak(
                    label=f"{isotope} {index}",
                    delta_iso_ppm=delta + rng.normal(0.0, NOISE_PPM),
                    delta_error_ppm=NOISE_PPM,
                    area=area * float(np.exp(rng.normal(0.0, 0.05))),
                    area_error=0.05 * area,
                    **quadrupolar,
                )
            )
        lists.append(
            PeakList(name=isotope, isotope=isotope, field_tesla=FIELD_TESLA, mas_rate_hz=12500.0, peaks=tuple(peaks))
        )
    return lists


def outcome(assignment: Assignment, truth: set[str]) -> str:
    """One word for a verdict against the truth."""
    if assignment.verdict is Verdict.NONE:
        return "none"
    if assignment.verdict is Verdict.IDENTIFIED:
        return "identified right" if set(assignment.members) == truth else "identified wrong"
    return "one of, with truth" if truth <= set(assignment.members) else "one of, without truth"


def run(case: str, draws: int, *, seed: int = 1, n_candidates: int = 5) -> tuple[Counter[str], list[bool], float]:
    """Outcomes of one case, whether 90 % population intervals held the truth, and seconds per match.

    Cases: ``single`` (truth in the list), ``left out``, ``twin`` (a near-identical candidate in the list),
    ``surface`` (bulk always present plus one surface), ``surface left out``, ``pair`` (two candidates mixed).
    """
    rng = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    covered: list[bool] = []
    seconds = 0.0
    for _ in range(draws):
        library = {f"X{i}": candidate(f"X{i}", rng) for i in range(n_candidates)}
        settings = MatchSettings()
        parts = [(1.0, library["X0"])]
        truth = {"X0": 1.0}
        if case == "pair":
            share = rng.uniform(0.3, 0.7)
            parts = [(share, library["X0"]), (1.0 - share, library["X1"])]
            truth = {"X0": share, "X1": 1.0 - share}
        if case.startswith("surface"):
            library["bulk"] = bulk()
            settings = MatchSettings(always_present=("bulk",))
            share = rng.uniform(0.3, 0.7)
            parts = [(share, library["bulk"]), (1.0 - share, library["X0"])]
            truth = {"bulk": share, "X0": 1.0 - share}
        lists = sample(parts, rng)
        if case.endswith("left out"):
            del library["X0"]
        if case == "twin":
            library["twin"] = twin_of(library["X0"], "twin", rng)
        start = time.perf_counter()
        result = match(library, lists, REFERENCES, settings)
        seconds += time.perf_counter() - start
        counts[outcome(result, set(truth))] += 1
        if case in {"pair", "surface"}:
            covered += [
                population.low <= truth[population.candidate_name] <= population.high
                for population in result.populations
                if population.candidate_name in truth
            ]
    return counts, covered, seconds / draws


CASES = ("single", "left out", "twin", "surface", "surface left out", "pair")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200, help="samples per case")
    parser.add_argument("--candidates", type=int, default=5, help="candidates in the list")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    given = parser.parse_args()
    columns = ("identified right", "identified wrong", "one of, with truth", "one of, without truth", "none")
    print("| case | " + " | ".join(columns) + " | 90 % intervals hold | s per match |")
    print("|---" * (len(columns) + 3) + "|")
    for case in given.cases:
        counts, covered, seconds = run(case, given.draws, n_candidates=given.candidates)
        shares = " | ".join(f"{counts[column] / given.draws:.0%}" for column in columns)
        holds = f"{np.mean(covered):.0%}" if covered else ""
        print(f"| {case} | {shares} | {holds} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
