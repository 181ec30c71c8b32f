"""From weighed explanations to an Assignment: verdict, populations, attributions and what stays unexplained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..vocabulary import (
    Assignment,
    Attribution,
    FittedCurve,
    PeakList,
    Population,
    SamplePopulations,
    SubsetEvidence,
    Unexplained,
    Verdict,
)
from .peaks import UNASSIGNED
from .populations import weighted_quantile
from .samples import changes_of, reference_fits, spectral_attributions
from .sites import second_order_shifts
from .spectra import curve_parts

if TYPE_CHECKING:
    from ..vocabulary import Peak
    from .search import Problem, SubsetFit, Weighed
    from .sites import SiteTable

_MIN_WEIGHT = 1e-3
_MIN_ATTRIBUTION = 1e-6
_ABSENT = 0.03
"""Probability of being present below which a candidate's population is said to be zero."""

_MAX_SUBSETS = 30
_MAX_ODD_SHARE = 0.5
_MIN_BESIDE = 0.5


def assignment_of(problem: Problem, weighed: list[Weighed]) -> Assignment:
    """The Assignment of a solved problem; ``weighed`` comes most probable first."""
    best = next(item for item in weighed if item.fit is not None)
    if best.fit is None:
        raise ValueError("no explanation was tried")
    verdict, members, probability, statement = _verdict(problem, weighed, best.fit)
    attributions, background = _attributions(problem, weighed)
    curves, leftover = _curves(problem, best.fit)
    populations = _populations(problem, weighed)
    attributions += spectral_attributions(
        problem, best.fit, {p.candidate_name: p.probability_present for p in populations}
    )
    return Assignment(
        verdict=verdict,
        statement=statement,
        members=members,
        probability=min(1.0, probability),
        populations=populations,
        subsets=tuple(
            SubsetEvidence(
                candidate_names=_names(problem, item.fit) if item.fit is not None else (),
                log_evidence=item.log_evidence,
                probability=min(1.0, item.probability),
            )
            for index, item in enumerate(weighed)
            if index < _MAX_SUBSETS or item.fit is None
        ),
        attributions=attributions,
        unexplained=background + leftover,
        curves=curves,
        offsets_ppm=_offsets(best.fit),
        reference_fits=reference_fits(problem, best.fit),
        samples=tuple(
            SamplePopulations(sample=name, populations=_populations(problem, weighed, index))
            for index, name in enumerate(problem.samples)
            if problem.n_samples > 1
        ),
        changes=changes_of(problem, weighed),
        fit_probability=problem.fit_probability(best.fit),
        warnings=tuple(problem.warnings),
    )


def _names(problem: Problem, fit: SubsetFit) -> tuple[str, ...]:
    return tuple(problem.names[problem.ids[i]] for i in fit.members)


def _phrase(problem: Problem, fit: SubsetFit) -> str:
    """The explanation in words: what is found, and what is always present beside it."""
    extra = [problem.names[problem.ids[i]] for i in fit.members if i not in problem.always]
    return " with ".join(extra) if extra else "nothing beside it"


def _verdict(problem: Problem, weighed: list[Weighed], best: SubsetFit) -> tuple[Verdict, tuple[str, ...], float, str]:
    settings = problem.settings
    fit_probability = problem.fit_probability(best)
    known = " and ".join(problem.names[problem.ids[i]] for i in problem.always)
    beside = f"Besides {known}, which is always present: " if known else ""
    # beside peak lists a bad fit is counted in the probability of something unlisted
    if problem.tasks and fit_probability < settings.min_fit_probability:
        return (
            Verdict.NONE,
            (),
            1.0 - fit_probability,
            f"{beside}None of these. The best explanation, {_phrase(problem, best)}, does not fit: data as far from it "
            f"would arise with p = {fit_probability:.2g} only. Add candidates or check the referencing.",
        )
    whole = [item for item in weighed if item.fit is not None and _worst_list(problem, item.fit)[1] <= _MAX_ODD_SHARE]
    p_none = 1.0 - sum(item.probability for item in whole)
    if p_none >= settings.none_probability:
        orphan, odd = _worst_list(problem, best)
        subject = " with ".join(_names(problem, best))
        partial = (
            f" {subject} gives no line for {orphan}: what was measured there belongs to something else."
            if odd > _MAX_ODD_SHARE
            else ""
        )
        rest = (
            f" The best explanation of everything, {_phrase(problem, whole[0].fit)}, reaches "
            f"{whole[0].probability:.2f}."
            if whole and whole[0].fit is not None
            else ""
        )
        return (
            Verdict.NONE,
            (),
            p_none,
            f"{beside}None of these explains everything; something not in the list has probability {p_none:.2f}."
            f"{partial}{_kept(problem, weighed)}{rest} Add candidates.",
        )
    best = next(item.fit for item in whole if item.fit is not None)
    fit_probability = problem.fit_probability(best)
    p_best = whole[0].probability
    fits = f"the measured values agree with it (p = {fit_probability:.2g})"
    if p_best > settings.identified_probability:
        return (
            Verdict.IDENTIFIED,
            _names(problem, best),
            p_best,
            f"{beside}{_phrase(problem, best)} is identified (probability {p_best:.2f}); {fits}.",
        )
    credible: list[Weighed] = []
    reached, wanted = 0.0, settings.group_probability * (1.0 - p_none)
    for item in whole:
        if reached < wanted:
            credible.append(item)
            reached += item.probability
    shared = set.intersection(*(set(item.fit.members) for item in credible if item.fit is not None))
    found = [problem.names[problem.ids[i]] for i in sorted(shared) if i not in problem.always]
    choices = "; or ".join(
        f"{_phrase(problem, item.fit)} ({item.probability:.2f})" for item in credible[:6] if item.fit is not None
    )
    more = f"; or {len(credible) - 6} more" if len(credible) > 6 else ""
    common = f" All of them hold {' and '.join(found)}." if found and len(credible) > 1 else ""
    members = sorted({i for item in credible if item.fit is not None for i in item.fit.members})
    return (
        Verdict.ONE_OF,
        tuple(problem.names[problem.ids[i]] for i in members),
        reached,
        f"{beside}One of these, which the data do not tell apart: {choices}{more}.{common} "
        f"Something not in the list has probability {p_none:.2f}.",
    )


def _kept(problem: Problem, weighed: list[Weighed]) -> str:
    """Which candidates are probably present beside what is not in the list, in words."""
    kept = [
        f"{problem.names[problem.ids[index]]} ({chance:.2f})"
        for item in weighed
        if item.fit is None
        for index, chance in sorted(item.beside.items(), key=lambda pair: -pair[1])
        if chance > _MIN_BESIDE and index not in problem.always
    ]
    return f" Beside it there would be {', '.join(kept)}." if kept else ""


def _worst_list(problem: Problem, fit: SubsetFit) -> tuple[str, float]:
    """The peak list of which an explanation leaves most without a site, and the expected share of its peaks so left.

    An odd peak may be an impurity's; a list of which more than half is odd has not been explained, and whatever gave it
    is something that nobody proposed.
    """
    worst, share = "", 0.0
    for isotope in problem.isotopes:
        start = 0
        for peak_list in problem.lists[isotope]:
            stop = start + len(peak_list.peaks)
            found = fit.peaks[isotope]
            odd = (found.assignments[:, start:stop] == UNASSIGNED).mean(axis=1)
            expected = float(odd @ found.weights / found.weights.sum())
            if expected > share:
                worst, share = peak_list.name, expected
            start = stop
    return worst, share


def _populations(problem: Problem, weighed: list[Weighed], sample: int = 0) -> tuple[Population, ...]:
    """Posterior populations of a sample over all explanations made of candidates, with 90 % intervals.

    An interval ends at the 95th percentile of the population that the candidate has where it is present, so that it
    holds whether or not it is, and begins at the 5th percentile of all, which is zero unless its absence is improbable.
    """
    kept = [(item.fit, item.probability) for item in weighed if item.fit is not None and item.probability > 0]
    total = sum(probability for _, probability in kept)
    if total <= 0:
        kept = [(item.fit, 1.0) for item in weighed if item.fit is not None][:1]
        total = 1.0
    results = []
    for index, key in enumerate(problem.ids):
        values, weights, present = [], [], 0.0
        for fit, probability in kept:
            share = probability / total
            if index in fit.members and fit.populations is None:
                present += probability
                values.append(np.full(1, 1.0 / len(fit.members)))
                weights.append(np.array([share]))
            elif index in fit.members and fit.populations is not None:
                column = fit.members.index(index)
                present += probability
                found = fit.by_sample[sample]
                values.append(found.samples[:, column])
                weights.append(share * found.weights)
            else:
                values.append(np.zeros(1))
                weights.append(np.array([share]))
        value, weight = np.concatenate(values), np.concatenate(weights)
        is_in = value > 0
        high = weighted_quantile(value[is_in], weight[is_in], 0.95) if present / total >= _ABSENT else 0.0
        results.append(
            Population(
                candidate_id=key,
                candidate_name=problem.names[key],
                mean=float(value @ weight / weight.sum()),
                low=weighted_quantile(value, weight, 0.05),
                high=high,
                probability_present=min(1.0, present),
            )
        )
    return tuple(sorted(results, key=lambda population: (-population.probability_present, population.candidate_name)))


def _attributions(problem: Problem, weighed: list[Weighed]) -> tuple[tuple[Attribution, ...], tuple[Unexplained, ...]]:
    """Probability that each site gives each peak, over explanations and assignments; the rest is unexplained."""
    kept = [(item.fit, item.probability) for item in weighed if item.fit is not None and item.probability > _MIN_WEIGHT]
    if not kept:
        kept = [(item.fit, 1.0) for item in weighed if item.fit is not None][:1]
    total = sum(probability for _, probability in kept)
    attributions, unexplained = [], []
    for isotope in problem.isotopes:
        start = 0
        for peak_list in problem.lists[isotope]:
            areas = [peak.area for peak in peak_list.peaks]
            known = [area for area in areas if area is not None]
            weights = np.array([area or 0.0 for area in areas]) if len(known) == len(areas) else np.ones(len(areas))
            for j, peak in enumerate(peak_list.peaks):
                chances: dict[tuple[str, tuple[int, ...]], float] = {}
                sigmas: dict[tuple[str, tuple[int, ...]], float] = {}
                for fit, probability in kept:
                    table, found = fit.tables[isotope], fit.peaks[isotope]
                    # the background, UNASSIGNED, comes first
                    by_site = np.bincount(found.assignments[:, start + j] - UNASSIGNED, found.weights)[1:]
                    for site in np.flatnonzero(by_site > _MIN_ATTRIBUTION).tolist():
                        chosen = table.sites[site]
                        label = (chosen.candidate_name, chosen.atom_indices)
                        chances[label] = chances.get(label, 0.0) + float(by_site[site]) * probability / total
                        if label not in sigmas:
                            sigmas[label] = _residual_sigmas(table, site, peak, peak_list)
                label_of = peak.label or f"peak {j + 1}"
                for label, chance in sorted(chances.items(), key=lambda pair: -pair[1]):
                    if chance > 0.01:
                        attributions.append(
                            Attribution(
                                measurement=peak_list.name,
                                peak_label=label_of,
                                candidate_name=label[0],
                                atom_indices=label[1],
                                probability=min(1.0, chance),
                                residual_sigmas=sigmas[label],
                            )
                        )
                rest = max(0.0, 1.0 - sum(chances.values()))
                if rest > 0.05:
                    part = min(1.0, rest * float(weights[j] / weights.sum()))
                    unexplained.append(Unexplained(measurement=peak_list.name, where=label_of, fraction=part))
            start += len(peak_list.peaks)
    return tuple(attributions), tuple(unexplained)


def _residual_sigmas(table: SiteTable, site: int, peak: Peak, peak_list: PeakList) -> float:
    """Measured minus predicted value (shift, else position, else CQ) over its prior predictive error."""
    offset = float(table.offset_rows[site] @ table.offset_rows[site])
    error = table.delta_error[site]
    if peak.delta_iso_ppm is not None and peak.delta_error_ppm is not None:
        spread = np.sqrt(offset + error**2 + peak.delta_error_ppm**2)
        return float((peak.delta_iso_ppm - table.delta[site]) / spread)
    if peak.position_ppm is not None and peak.position_error_ppm is not None:
        induced, slope = second_order_shifts(table, peak_list)
        spread = np.sqrt(offset + error**2 + peak.position_error_ppm**2 + (slope[site] * table.cq_error[site]) ** 2)
        return float((peak.position_ppm - table.delta[site] - induced[site]) / spread)
    return float(((peak.cq_mhz or 0.0) - table.cq[site]) / np.hypot(table.cq_error[site], peak.cq_error_mhz or 0.0))


def _curves(problem: Problem, best: SubsetFit) -> tuple[tuple[FittedCurve, ...], tuple[Unexplained, ...]]:
    """Fitted curves of the best explanation, and the intensity that stands clearly above each of them."""
    curves, leftover = [], []
    for isotope, fit in best.spectra.items():
        table = best.tables[isotope]
        shares = problem.shares(table, best.members)
        for index, spectrum in enumerate(problem.spectra[isotope]):
            baseline, parts = curve_parts(
                table,
                spectrum,
                index,
                fit,
                shares=shares,
                settings=problem.settings,
                store=problem.store,
                n_members=len(best.members),
            )
            total = baseline + parts.sum(axis=0)
            curves.append(
                FittedCurve(
                    measurement=spectrum.name,
                    total=tuple(total.tolist()),
                    baseline=tuple(baseline.tolist()),
                    parts={name: tuple(part.tolist()) for name, part in zip(_names(problem, best), parts, strict=True)},
                )
            )
            axis, intensity = np.array(spectrum.axis_ppm), np.array(spectrum.intensity)
            window = max(1, round(fit.broadening_ppm / float(np.mean(np.diff(axis)))))
            smooth = np.convolve(intensity - total, np.ones(window) / window, mode="same")
            excess = np.where(smooth > 3.0 * spectrum.noise / np.sqrt(window), smooth, 0.0)
            signal = float(np.abs(intensity - baseline).sum())
            fraction = float(excess.sum()) / signal if signal > 0 else 0.0
            if fraction > 0.01:
                where = f"most near {axis[int(np.argmax(excess))]:.1f} ppm"
                leftover.append(Unexplained(measurement=spectrum.name, where=where, fraction=min(1.0, fraction)))
    return tuple(curves), tuple(leftover)


def _offsets(best: SubsetFit) -> dict[str, float]:
    """Mean shift offset of the computed sites of each isotope that the best explanation needed, ppm."""
    offsets = {}
    for isotope, table in best.tables.items():
        computed = table.offset_rows[~table.is_given]
        if len(computed):
            latent = best.spectra[isotope].latent if isotope in best.spectra else best.peaks[isotope].mean
            offsets[isotope] = float((computed @ latent[:2]).mean())
    return offsets
