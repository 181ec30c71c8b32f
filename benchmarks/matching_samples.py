"""Simulated samples with known truth: candidate lists like those of an AlPO4 study, and what would be measured.

Site types and their spreads follow the demo's candidates (README.md beside this file): bulk-like aluminium near
44.5 ppm and 4.1 MHz, strained or hydroxylated aluminium with couplings up to 13 MHz, five- and six-coordinated
aluminium where water adds, phosphate near -25 ppm in the bulk and up to 20 ppm higher at P-OH, hydrogen of Al-OH, P-OH
and water.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from surfshift.analysis.matching import MatchSettings
from surfshift.analysis.matching.sites import listing_probability, site_table
from surfshift.analysis.vocabulary import Method, Peak, PeakList, PredictedSite, Reference
from surfshift.structures.vocabulary import Region

FIELD_TESLA = 9.4
METHOD = Method(engine="synthetic", engine_version="1", functional="none", protocol="none", protocol_hash="0")
NOISE_PPM = {"31P": 1.5, "27Al": 1.5, "1H": 0.3}
RESOLUTION_PPM = {"31P": 2.0, "27Al": 4.0, "1H": 0.6}
CQ_RESOLUTION_MHZ = 1.0
CQ_NOISE_MHZ = 0.4
AREA_ERROR, AREA_SCATTER = 0.05, 0.10
"""Stated error of an area, and what unequal excitation adds unstated (the default prior of the match)."""
SITE_ERROR_PPM = {"31P": 2.0, "27Al": 3.0, "1H": 0.5}

ALUMINIUM = {  # shift, its spread, CQ, its spread
    "bulk-like": (44.5, 2.5, 4.1, 0.6),
    "strained": (60.0, 8.0, 9.0, 2.0),
    "AlO3OH": (50.0, 6.0, 7.0, 2.5),
    "AlO5": (22.0, 6.0, 6.0, 2.0),
    "AlO6": (-5.0, 6.0, 4.5, 1.5),
}
PHOSPHORUS = {"bulk-like": (-25.0, 2.0), "P-OH": (-14.0, 5.0), "P=O": (-20.0, 7.0)}
HYDROGEN = {"Al-OH": (1.5, 1.2), "P-OH": (6.0, 2.0), "water": (4.5, 1.5)}


def reference(isotope: str, *, slope: float, zero_ppm: float, pivot: float, at_pivot: float) -> Reference:
    """Reference with an uncertainty of ``at_pivot`` ppm at its pivot and 0.05 in the slope."""
    slope_sd = 0.05
    covariance = ((slope_sd**2, -pivot * slope_sd**2), (-pivot * slope_sd**2, at_pivot**2 + (pivot * slope_sd) ** 2))
    return Reference(
        isotope=isotope,
        method=METHOD,
        slope=slope,
        intercept_ppm=zero_ppm,
        covariance=covariance,
        sigma_mean_ppm=pivot,
        site_error_ppm=SITE_ERROR_PPM[isotope],
        compounds=(),
    )


REFERENCES = {
    "31P": reference("31P", slope=-0.88, zero_ppm=268.0, pivot=320.0, at_pivot=1.5),
    "27Al": reference("27Al", slope=-1.04, zero_ppm=582.0, pivot=521.0, at_pivot=2.0),
    "1H": reference("1H", slope=-0.97, zero_ppm=31.0, pivot=30.0, at_pivot=0.3),
}

Sites = list[PredictedSite]


class Sample(NamedTuple):
    """A simulated sample: true populations by name, the list of candidates, what was measured, what is missing."""

    truth: dict[str, float]
    library: dict[str, Sites]
    lists: list[PeakList]
    everything: dict[str, Sites]
    missing: str | None


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


def bulk() -> Sites:
    """The bulk: one line per nucleus."""
    return [site("bulk", "31P", 0, -24.5), site("bulk", "27Al", 10, 44.5, 4.1)]


def surface(name: str, rng: np.random.Generator) -> Sites:
    """A termination: two bulk-like sites and two of its own on 31P and 27Al, hydrogen if it is hydroxylated."""
    is_wet = rng.random() < 0.7
    own_al = ["AlO3OH", "AlO5", "AlO6"] if is_wet else ["strained", "strained", "AlO3OH"]
    own_p = ["P-OH", "P=O"] if is_wet else ["P=O", "P=O"]
    sites: Sites = []
    for index in range(4):
        shift, spread, cq, cq_spread = ALUMINIUM["bulk-like" if index < 2 else str(rng.choice(own_al))]
        coupling = max(0.8, rng.normal(cq, cq_spread))
        sites.append(site(name, "27Al", 10 + index, rng.normal(shift, spread), coupling))
        shift, spread = PHOSPHORUS["bulk-like" if index < 2 else str(rng.choice(own_p))]
        sites.append(site(name, "31P", index, rng.normal(shift, spread)))
    if is_wet:
        for index in range(int(rng.integers(2, 4))):
            shift, spread = HYDROGEN[str(rng.choice(list(HYDROGEN)))]
            sites.append(site(name, "1H", 20 + index, rng.normal(shift, spread)))
    return sites


def measure(
    parts: list[tuple[float, Sites]], rng: np.random.Generator, *, dft_error: float = 1.0, merged: bool = True
) -> list[PeakList]:
    """Peak lists of a mixture given as (population, sites).

    All lines of a nucleus are moved by one draw of the reference's covariance, each by its own site error, both times
    ``dft_error`` (0: the predictions are exact). Lines are missed or too broad with the listing probability, taken
    together when closer than the resolution (``merged``), and given noise.
    """
    lists = []
    for isotope, ref in REFERENCES.items():
        table = site_table(isotope, [sites for _, sites in parts], ref)
        if not len(table):
            continue
        frame = PeakList(
            name=isotope,
            isotope=isotope,
            field_tesla=FIELD_TESLA,
            mas_rate_hz=12500.0,
            peaks=(Peak(delta_iso_ppm=0.0, delta_error_ppm=1.0),),
        )
        shown = rng.random(len(table)) < listing_probability(table, frame, MatchSettings())
        if not shown.any():
            continue
        atoms = np.array([sum(s.multiplicity for s in sites) for _, sites in parts], dtype=float)
        populations = np.array([population for population, _ in parts])
        area = populations[table.member] * table.multiplicity / atoms[table.member]
        delta = table.delta + dft_error * (table.offset_rows @ rng.normal(size=2))
        delta = delta + dft_error * table.delta_error * rng.normal(size=len(table))
        cq = np.abs(table.cq + dft_error * table.cq_error * rng.normal(size=len(table)))
        lines = _merge(isotope, np.column_stack([delta, cq, area])[shown], merged=merged)
        peaks = []
        for index, (shift, coupling, size) in enumerate(lines):
            quadrupolar = (
                {"cq_mhz": abs(coupling + CQ_NOISE_MHZ * rng.normal()), "cq_error_mhz": CQ_NOISE_MHZ}
                if isotope == "27Al"
                else {}
            )
            seen = size * float(np.exp(np.hypot(AREA_ERROR, AREA_SCATTER) * rng.normal()))
            peaks.append(
                Peak(
                    label=f"{isotope} {index}",
                    delta_iso_ppm=shift + NOISE_PPM[isotope] * rng.normal(),
                    delta_error_ppm=NOISE_PPM[isotope],
                    area=seen,
                    area_error=AREA_ERROR * seen,
                    **quadrupolar,
                )
            )
        lists.append(frame.model_copy(update={"peaks": tuple(peaks)}))
    return lists


def _merge(isotope: str, lines: np.ndarray, *, merged: bool) -> list[list[float]]:
    """Lines (shift, CQ, area) as listed: those closer than the resolution are one peak at their common centre."""
    found: list[list[float]] = []
    for shift, cq, area in sorted(lines.tolist()):
        near = [
            peak
            for peak in found
            if merged and abs(peak[0] - shift) < RESOLUTION_PPM[isotope] and abs(peak[1] - cq) < CQ_RESOLUTION_MHZ
        ]
        if near:
            last = near[-1]
            total = last[2] + area
            last[0] = (last[0] * last[2] + shift * area) / total
            last[1] = (last[1] * last[2] + cq * area) / total
            last[2] = total
        else:
            found.append([shift, cq, area])
    return found


def draw(
    rng: np.random.Generator,
    *,
    n_candidates: int = 8,
    largest: int = 4,
    missing_share: float = 0.2,
    dft_error: float = 1.0,
) -> Sample:
    """A sample of 1 to ``largest`` candidates, each at least a tenth; in a share of samples one is not in the list."""
    everything = {"bulk": bulk()}
    everything |= {f"S{i}": surface(f"S{i}", rng) for i in range(1, n_candidates)}
    size = int(rng.integers(1, largest + 1))
    names = [str(name) for name in rng.choice(list(everything), size, replace=False)]
    populations = rng.dirichlet(np.ones(size))
    while populations.min() < 0.1:
        populations = rng.dirichlet(np.ones(size))
    parts = [(float(p), everything[name]) for p, name in zip(populations, names, strict=True)]
    lists = measure(parts, rng, dft_error=dft_error)
    missing = names[0] if rng.random() < missing_share else None
    library = {key: value for key, value in everything.items() if key != missing}
    return Sample(dict(zip(names, populations.tolist(), strict=True)), library, lists, everything, missing)


def distance(sites: Sites, others: list[Sites], *, references: dict[str, Reference] = REFERENCES) -> float:
    """How far the lines of one candidate lie from those that others together could give, in units of the DFT error.

    Root mean square, over the values of the lines that would be listed, of the difference to the line given by
    the best one-to-one pairing, in standard deviations of the site's shift and CQ errors; each counted at most 5. Lines
    without a partner count 5 in each value.
    """
    from scipy.optimize import linear_sum_assignment

    squares, count = 0.0, 0
    for isotope, ref in references.items():
        mine = site_table(isotope, [sites], ref)
        theirs = site_table(isotope, others, ref)
        if not len(mine):
            continue
        frame = PeakList(
            name=isotope,
            isotope=isotope,
            field_tesla=FIELD_TESLA,
            mas_rate_hz=12500.0,
            peaks=(Peak(delta_iso_ppm=0.0, delta_error_ppm=1.0),),
        )
        seen = listing_probability(mine, frame, MatchSettings()) > 0.45
        width = 2 if mine.cq.any() else 1
        count += width * int(seen.sum())
        if not len(theirs):
            squares += 25.0 * width * int(seen.sum())
            continue
        cost = np.minimum(((mine.delta[:, None] - theirs.delta[None, :]) / mine.delta_error[:, None]) ** 2, 25.0)
        if width == 2:
            cost += np.minimum(((mine.cq[:, None] - theirs.cq[None, :]) / mine.cq_error[:, None]) ** 2, 25.0)
        cost = np.concatenate([cost[seen], np.full((int(seen.sum()), int(seen.sum())), 25.0 * width)], axis=1)
        rows, columns = linear_sum_assignment(cost)
        squares += float(cost[rows, columns].sum())
    return float(np.sqrt(squares / max(count, 1)))
