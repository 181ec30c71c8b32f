"""Blind check on the candidates of a finished study: each one must be found again from noisy peaks of its own.

    python benchmarks/blind.py examples/alpo4/alpo4-run/report/result.json

Peaks are the predicted 27Al and 31P lines of a candidate with 1.5 ppm noise on the shift and 0.3 MHz on CQ. They
are matched with all candidates, and once more with that candidate left out, where the right answer is "none of
these". Candidates that the data cannot tell apart may come back as "one of these" with the right one among them.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from surfshift.analysis.matching import MatchSettings, match
from surfshift.analysis.vocabulary import Peak, PeakList, PredictedSite, StudyResult, Verdict

SHIFT_NOISE_PPM = 1.5
CQ_NOISE_MHZ = 0.3


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
    parser.add_argument("result", type=Path, help="result.json of a study")
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    result = StudyResult.model_validate_json(options.result.read_text())
    references = {reference.isotope: reference for reference in result.references}
    library: dict[str, list[PredictedSite]] = {}
    for site in result.sites:
        library.setdefault(site.candidate_id, []).append(site)
    rng = np.random.default_rng(20)
    print("| true candidate | found, all candidates given | verdict when it is left out |\n|---|---|---|")
    for truth, sites in library.items():
        found: Counter[str] = Counter()
        left_out: Counter[str] = Counter()
        name = sites[0].candidate_name
        for _ in range(options.draws):
            measured = [noisy_peaks(sites, isotope, rng) for isotope in ("27Al", "31P")]
            answer = match(library, measured, references, MatchSettings())
            if answer.verdict is Verdict.IDENTIFIED:
                found["found" if answer.members == (name,) else f"taken for {' + '.join(answer.members)}"] += 1
            elif answer.verdict is Verdict.ONE_OF:
                found["in the group" if name in answer.members else "not in the group"] += 1
            else:
                found["none of these"] += 1
            others = {key: value for key, value in library.items() if key != truth}
            left_out[match(others, measured, references, MatchSettings()).verdict.value] += 1
        rows = [
            ", ".join(f"{key} {count}/{options.draws}" for key, count in c.most_common()) for c in (found, left_out)
        ]
        print(f"| {name} | {rows[0]} | {rows[1]} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
