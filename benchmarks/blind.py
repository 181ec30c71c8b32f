"""Blind check: each candidate must be found from noisy peaks of its own, and "none of these" must come without it.

    python benchmarks/blind.py examples/alpo4/alpo4-run/report/result.json
    python benchmarks/blind.py --simulated 8

Peaks are the predicted 27Al and 31P lines of a candidate with 1.5 ppm noise on the shift and 0.3 MHz on CQ; predictions
are exact here, though the fit must allow for the errors of DFT. They are matched with all candidates, and once more
with that candidate left out. The distance is that of the candidate's lines to the nearest of the others': root mean
square over all values in units of the DFT error (best pairing, each value counted at most 5). ``--simulated`` takes
that many candidates drawn as in matching_samples.py instead of a study's.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from surfshift.analysis.matching import MatchSettings, match
from surfshift.analysis.vocabulary import Peak, PeakList, PredictedSite, StudyResult, Verdict

sys.path.insert(0, str(Path(__file__).resolve().parent))
import matching_samples as samples

if TYPE_CHECKING:
    from surfshift.analysis.vocabulary import Reference

SHIFT_NOISE_PPM = 1.5
CQ_NOISE_MHZ = 0.3
ISOTOPES = ("27Al", "31P")


def noisy_peaks(sites: list[PredictedSite], isotope: str, rng: np.random.Generator) -> PeakList:
    """One peak per site of the isotope, with noise."""
    peaks = tuple(
        Peak(
            label=f"{isotope} {number}",
            delta_iso_ppm=site.delta_iso_ppm + SHIFT_NOISE_PPM * rng.normal(),
            delta_error_ppm=SHIFT_NOISE_PPM,
            cq_mhz=abs(abs(site.cq_mhz) + CQ_NOISE_MHZ * rng.normal()) if isotope == "27Al" else None,
            cq_error_mhz=CQ_NOISE_MHZ if isotope == "27Al" else None,
        )
        for number, site in enumerate((s for s in sites if s.isotope == isotope), start=1)
    )
    return PeakList(name=isotope, isotope=isotope, field_tesla=9.4, mas_rate_hz=12500, peaks=peaks)


def main() -> int:
    """Run the check and print one row per candidate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path, nargs="?", help="result.json of a study")
    parser.add_argument("--simulated", type=int, help="number of simulated candidates instead of a study's")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--seed", type=int, default=20)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    library: dict[str, list[PredictedSite]] = {}
    references: dict[str, Reference]
    if options.simulated:
        references = dict(samples.REFERENCES)
        library = {"bulk": samples.bulk()}
        library |= {f"S{i}": samples.surface(f"S{i}", rng) for i in range(1, options.simulated)}
    elif options.result:
        result = StudyResult.model_validate_json(options.result.read_text(encoding="utf-8"))
        references = {reference.isotope: reference for reference in result.references}
        for site in result.sites:
            library.setdefault(site.candidate_id, []).append(site)
    else:
        parser.error("give the result.json of a study, or --simulated NUMBER")
    used = {isotope: references[isotope] for isotope in ISOTOPES}
    print("| true candidate | found, all candidates given | nearest other (DFT errors) | verdict when it is left out |")
    print("|---|---|---|---|")
    for truth, sites in library.items():
        found: Counter[str] = Counter()
        left_out: Counter[str] = Counter()
        name = sites[0].candidate_name
        others = {key: value for key, value in library.items() if key != truth}
        gaps = {value[0].candidate_name: samples.distance(sites, [value], references=used) for value in others.values()}
        nearest = min(gaps, key=lambda key: gaps[key])
        for _ in range(options.draws):
            measured = [noisy_peaks(sites, isotope, rng) for isotope in ISOTOPES]
            answer = match(library, measured, references, MatchSettings())
            if answer.verdict is Verdict.IDENTIFIED:
                found["found" if answer.members == (name,) else f"taken for {' + '.join(answer.members)}"] += 1
            elif answer.verdict is Verdict.ONE_OF:
                found["in the group" if name in answer.members else "not in the group"] += 1
            else:
                found["none of these"] += 1
            left_out[match(others, measured, references, MatchSettings()).verdict.value] += 1
        rows = [
            ", ".join(f"{key} {count}/{options.draws}" for key, count in c.most_common()) for c in (found, left_out)
        ]
        print(f"| {name} | {rows[0]} | {gaps[nearest]:.1f} ({nearest}) | {rows[1]} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
