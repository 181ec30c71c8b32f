"""Adaptive against exhaustive runs on simulated samples: share of sites computed, and how often verdicts agree.

    OMP_NUM_THREADS=1 python benchmarks/adaptive_samples.py --samples 6

Candidates are berlinite and terminations of its surfaces; the shifts and couplings of their sites are drawn (surface
sites spread wider than bulk-like ones). A sample is bulk with one surface, in a third of the cases one that is not in
the list. 27Al and 31P peak lists come with the error of DFT per site, offset errors, noise, and lines that merge or are
missed. 1H sites exist and are not measured. Every site counts the same.
"""

from __future__ import annotations

import argparse

import numpy as np
from surfshift.analysis.matching import match
from surfshift.analysis.matching.next_experiment import _simulate
from surfshift.analysis.matching.sites import site_table
from surfshift.analysis.prediction import predict_sites
from surfshift.analysis.references import available_libraries
from surfshift.analysis.vocabulary import Peak, PeakList, PredictedSite, SiteTensors
from surfshift.structures.enumeration import bulk_candidate, enumerate_surfaces
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.vocabulary import Candidate, Region
from surfshift.workflows.adaptive import decide, scaled_none_prior
from surfshift.workflows.candidates import Inputs
from surfshift.workflows.jobs import wanted_sites
from surfshift.workflows.study import NmrSettings, StudyFile

LIBRARY = next(library for library in available_libraries() if library.method.protocol == "fast")
ISOTOPES = ("27Al", "31P")
REFERENCES = {isotope: LIBRARY.reference(isotope) for isotope in ISOTOPES}
STUDY = StudyFile(
    study="simulated", crystal="AlPO4_berlinite", nmr=NmrSettings(isotopes=("27Al", "31P", "1H"), protocol="fast")
)
WIDTH = {Region.BULK: 1.0, Region.SUBSURFACE: 3.0, Region.SURFACE: 8.0, Region.ADSORBATE: 8.0}


def candidates() -> list[Candidate]:
    """Bulk, and dry and hydroxylated terminations of three facets."""
    bulk = build_crystal(load_crystal("AlPO4_berlinite"))
    found = [bulk_candidate("AlPO4_berlinite")]
    for miller in [(1, 0, 0), (0, 0, 1), (1, 0, 1)]:
        found += enumerate_surfaces(bulk, "AlPO4_berlinite", miller, thickness_ang=5.0, hydroxylation=(0.0, 1.0))[:2]
    return found


def drawn(candidate: Candidate, rng: np.random.Generator) -> list[SiteTensors]:
    """Tensors of all sites, around those of berlinite."""
    sites = []
    for orbit in wanted_sites(candidate, STUDY.nmr):
        region = candidate.regions[orbit.atom_indices[0]]
        width = WIDTH[region] if candidate.kind == "slab" else 0.0
        sigma = {"Al": 521.1, "P": 334.6, "H": 27.0}[orbit.element] + width * rng.normal()
        cq = 0.117 * abs(1.0 + 0.1 * width * rng.normal()) if orbit.element == "Al" else 0.0
        sites.append(
            SiteTensors(
                structure_id=candidate.structure.content_id,
                element=orbit.element,
                atom_indices=orbit.atom_indices,
                shielding_ppm=orbit.expand(sigma * np.eye(3)),
                efg_au=orbit.expand(cq * np.diag([-0.3, -0.7, 1.0])),
                method=LIBRARY.method,
            )
        )
    return sites


def measured(sites: list[PredictedSite], rng: np.random.Generator) -> tuple[PeakList, ...]:
    """Peak lists of the sites of a sample."""
    lists = []
    for isotope in ISOTOPES:
        peak = Peak(delta_iso_ppm=0.0, delta_error_ppm=1.0)
        if isotope == "27Al":
            peak = peak.model_copy(update={"cq_mhz": 4.0, "cq_error_mhz": 0.4})
        frame = PeakList(name=isotope, isotope=isotope, field_tesla=14.1, mas_rate_hz=12500.0, peaks=(peak,))
        table = site_table(isotope, [sites], REFERENCES[isotope])
        peaks = _simulate(table, np.arange(len(table)), frame, STUDY.matching, rng)
        if peaks:
            lists.append(frame.model_copy(update={"peaks": peaks}))
    return tuple(lists)


def main() -> None:
    """Print one line per sample, and the sums."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    everything = candidates()
    same, shares = 0, []
    for sample in range(given.samples):
        rng = np.random.default_rng([given.seed, sample])
        tensors = {c.id: drawn(c, rng) for c in everything}
        sites = {c.id: list(predict_sites(c, tensors[c.id], REFERENCES, ISOTOPES)) for c in everything}
        hidden = everything[1 + int(rng.integers(len(everything) - 1))]
        inputs = Inputs(measured(sites[everything[0].id] + sites[hidden.id], rng), REFERENCES, ())
        listed = [c for c in everything if sample % 3 or c is not hidden]
        whole = match({c.id: sites[c.id] for c in listed}, inputs.measurements, REFERENCES, STUDY.matching)
        done: list[SiteTensors] = []
        known = {(t.structure_id, t.atom_indices[0]): t for c in listed for t in tensors[c.id]}
        while (decision := decide(STUDY, inputs, listed, done, lambda _: REFERENCES)).todo:
            done += [known[c.structure.content_id, orbit.atom_indices[0]] for c, orbit in decision.todo]
        alive = decision.alive
        none = scaled_none_prior(STUDY.matching.none_prior, len(listed), len(alive))
        part = match(
            {c.id: [s for s in sites[c.id] if s.isotope in decision.complete] for c in alive},
            [m for m in inputs.measurements if m.isotope in decision.complete],
            REFERENCES,
            STUDY.matching.model_copy(update={"none_prior": none}),
        )
        agree = part.verdict is whole.verdict and set(part.members) == set(whole.members)
        same += agree
        shares.append(len(done) / len(known))
        print(
            f"{sample}: {len(done)} of {len(known)} sites, {whole.verdict.value} {sorted(whole.members)} -> "
            f"{part.verdict.value} {sorted(part.members)}, {'same' if agree else 'OTHER'}; alive {len(alive)} of "
            f"{len(listed)}; {decision.notes[-1] if decision.notes else ''}",
            flush=True,
        )
    print(f"same verdict in {same} of {given.samples}; sites computed: {100 * float(np.mean(shares)):.0f} % on average")


if __name__ == "__main__":
    main()
