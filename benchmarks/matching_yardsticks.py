"""What other ways of comparing computed with measured lines say of the same samples.

Each gets help that it would not have in practice: the number of true candidates (nearest-peak and DP4-style), and
an alarm level for "none of these" that is set afterwards to 5 % false alarms on the very samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matching_samples import Sample, Sites

MIN_PROPORTION = 0.05
"""Proportion above which magnetstein is taken to name a candidate."""


def all_of(sample: Sample, *, with_magnetstein: bool) -> dict[str, dict[str, Any]]:
    """Candidates named, misfit, and populations where the method has them."""
    found = {"nearest-peak RMSE": nearest_peak(sample), "DP4-style": dp4_style(sample)}
    if with_magnetstein:
        found["magnetstein"] = magnetstein(sample)
    return found


def _deviations(sites: Sites, sample: Sample) -> np.ndarray:
    """Difference of each line's shift to the nearest peak of its nucleus, in site errors and noise."""
    values = []
    for peak_list in sample.lists:
        shifts = np.array([peak.delta_iso_ppm for peak in peak_list.peaks])
        noise = peak_list.peaks[0].delta_error_ppm
        for site in sites:
            if site.isotope == peak_list.isotope:
                gap = np.abs(shifts - site.delta_iso_ppm).min()
                values.append(gap / np.hypot(site.delta_error_ppm, noise))
    return np.array(values) if values else np.full(1, 10.0)


def nearest_peak(sample: Sample) -> dict[str, Any]:
    """Names as many candidates as there are, those with the least root mean square distance to the nearest peaks."""
    rms = {name: float(np.sqrt(np.mean(_deviations(sites, sample) ** 2))) for name, sites in sample.library.items()}
    order = sorted(rms, key=lambda name: rms[name])
    return {"named": order[: len(sample.truth)], "misfit": rms[order[min(len(sample.truth), len(order)) - 1]]}


def dp4_style(sample: Sample) -> dict[str, Any]:
    """Products of Student tail probabilities of all lines, as in DP4 (its 11.38 degrees of freedom are recalled).

    Names the candidates that together hold 95 % of the probability, and at least as many as there are.
    """
    from scipy.stats import t

    logs = {
        name: float(np.log(np.clip(2.0 * t.sf(_deviations(sites, sample), 11.38), 1e-12, None)).sum())
        for name, sites in sample.library.items()
    }
    top = max(logs.values())
    weights = {name: float(np.exp(value - top)) for name, value in logs.items()}
    total = sum(weights.values())
    order = sorted(weights, key=lambda name: -weights[name])
    named: list[str] = []
    reached = 0.0
    for name in order:
        if reached < 0.95 or len(named) < len(sample.truth):
            named.append(name)
            reached += weights[name] / total
    lines = {name: len(_deviations(sites, sample)) for name, sites in sample.library.items()}
    return {"named": named, "misfit": -max(logs[name] / lines[name] for name in order)}


def magnetstein(sample: Sample) -> dict[str, Any]:
    """Wasserstein proportions of the candidates' stick spectra (all nuclei on one axis, far apart)."""
    import pulp
    from magnetstein import NMRSpectrum, estimate_proportions

    names = list(sample.library)
    isotopes = [peak_list.isotope for peak_list in sample.lists]
    start = {isotope: 1000.0 * i for i, isotope in enumerate(isotopes)}
    spectra = []
    for name in names:
        sticks = [
            (start[s.isotope] + s.delta_iso_ppm, float(s.multiplicity))
            for s in sample.library[name]
            if s.isotope in start
        ]
        spectra.append(NMRSpectrum(confs=sticks or [(-1000.0, 1.0)], protons=1, label=name))
    measured = NMRSpectrum(
        confs=[
            (start[peak_list.isotope] + float(peak.delta_iso_ppm or 0.0), float(peak.area or 1.0))
            for peak_list in sample.lists
            for peak in peak_list.peaks
        ]
    )
    for spectrum in [*spectra, measured]:
        spectrum.trim_negative_intensities()
        spectrum.normalize()
    answer = estimate_proportions(
        measured,
        spectra,
        MTD=5.0,
        MTD_th=5.0,
        solver=pulp.PULP_CBC_CMD(msg=False),
        what_to_compare="area",
        verbose=False,
    )
    proportions = dict(zip(names, np.asarray(answer["proportions"], dtype=float).tolist(), strict=True))
    total = sum(proportions.values()) or 1.0
    proportions = {name: value / total for name, value in proportions.items()}
    return {
        "named": [name for name, value in proportions.items() if value > MIN_PROPORTION],
        "populations": proportions,
        "misfit": float(answer["Wasserstein distance"]),
    }
