"""Which further DFT calculation would tell the explanations apart: expected information gain with the data at hand.

A calculation not yet made would move the predicted lines of one candidate. Its outcome is drawn from what is known
before it: for sites computed once, the prediction with the part of its error that the better method removes; for sites
never computed, lines as the other candidates have them. The measured data are weighed again under every draw. With
Z_hd the evidence of explanation h under draw d and pi_h its prior, draws count as sum_h pi_h Z_hd, and the gain is the
mutual information of explanation and outcome, in bits (Lindley 1956). It says nothing on calculations whose lines no
measurement shows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..vocabulary import CalculationGain, PeakList
from .peaks import peak_evidences
from .rival import kernel_widths
from .sites import listing_probability, site_table
from .spectrum_screen import SpectrumScreen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ..vocabulary import PredictedSite
    from .search import Problem

_SHARE_DRAWS = 12


class Plan(NamedTuple):
    """A calculation that could be made.

    Attributes
    ----------
    name, protocol
        What it is called, and the protocol it would use.
    candidate_id
        The candidate whose sites would be computed; with ``new_sites`` it has none yet.
    site_error_factor
        Error of the new shifts and couplings over the present ones.
    basis
        Where that factor comes from.
    new_sites
        Multiplicities of the sites of each isotope that would be computed for the first time; empty for a better
        protocol.
    candidate_name
        Name of the candidate.
    cpu_hours
        Estimated cost.
    distances
        Distance of each new site to hydrogen, angstrom, which CP and TRAPDOR hang on; without it as others have it.
    """

    name: str
    protocol: str
    candidate_id: str
    candidate_name: str
    site_error_factor: float
    basis: str
    new_sites: dict[str, tuple[int, ...]]
    cpu_hours: float | None
    distances: dict[str, tuple[float | None, ...]] | None = None


def calculation_gains(
    problem: Problem,
    explanations: Mapping[tuple[str, ...], float],
    none_probability: float,
    plans: Sequence[Plan],
    *,
    draws: int = 64,
) -> tuple[CalculationGain, ...]:
    """Calculations by what they are expected to say, best first.

    Parameters
    ----------
    problem
        The match, with its measurements.
    explanations
        Probability of each explanation by the ids of its candidates.
    none_probability
        Probability of something unlisted; it stays one of the explanations.
    plans
        Calculations to compare.
    draws
        Outcomes drawn per calculation.

    Raises
    ------
    ValueError
        If there is no explanation.
    """
    if not explanations:
        raise ValueError("no explanation was given; pass those of an Assignment that are still alive")
    groups = list(explanations)
    prior = np.array([*(explanations[group] for group in groups), max(none_probability, 1e-12)])
    prior = prior / prior.sum()
    base = _evidences(problem, problem.sites, groups)
    found = []
    for plan in plans:
        rng = np.random.default_rng(problem.settings.seed)
        if plan.new_sites:
            wider, log_prior = _with_new(problem, groups, base, prior, plan.candidate_id)
        else:
            wider, log_prior = groups, np.log(prior[:-1]) - base
        log_none = math.log(prior[-1])
        values = np.zeros((draws, len(wider) + 1))
        for d in range(draws):
            if plan.new_sites:
                sites = {**problem.sites, plan.candidate_id: invented_sites(problem, plan, rng)}
            else:
                sites = {**problem.sites, plan.candidate_id: _redrawn(problem, plan, rng)}
            values[d, :-1] = log_prior + _evidences(problem, sites, wider)
            values[d, -1] = log_none
        gain, entropy = _information(values)
        n_sites = sum(len(counts) for counts in plan.new_sites.values()) or len(
            [s for s in problem.sites[plan.candidate_id] if s.isotope in problem.isotopes]
        )
        found.append(
            CalculationGain(
                name=plan.name,
                kind="sites" if plan.new_sites else "protocol",
                candidate_name=plan.candidate_name,
                protocol=plan.protocol,
                n_sites=max(1, n_sites),
                site_error_factor=plan.site_error_factor,
                basis=plan.basis,
                gain_bits=gain,
                entropy_bits=entropy,
                cpu_hours=plan.cpu_hours,
            )
        )
    return tuple(sorted(found, key=lambda gain: (-gain.gain_bits, gain.name)))


def _information(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mutual information and entropy, bits, from log joint weights (draws, explanations)."""
    top = float(values.max())
    joint = np.exp(values - top)
    weight = joint.sum(axis=1)
    if not weight.sum() > 0:
        return 0.0, 0.0
    posterior = joint / np.clip(weight[:, None], 1e-300, None)
    share = weight / weight.sum()
    before = _entropy(share @ posterior)
    after = float(share @ np.array([_entropy(row) for row in posterior]))
    return max(0.0, before - after), before


def _entropy(probabilities: NDArray[np.float64]) -> float:
    kept = probabilities[probabilities > 0]
    return max(0.0, float(-(kept * np.log2(kept)).sum()))


def _evidences(
    problem: Problem, sites: Mapping[str, Sequence[PredictedSite]], groups: Sequence[tuple[str, ...]]
) -> NDArray[np.float64]:
    """Log evidence (g,) of explanations; exact for peak lists, approximate for spectra."""
    names = sorted({name for group in groups for name in group})
    total = np.zeros(len(groups))
    for isotope in problem.isotopes:
        if not problem.lists[isotope]:
            continue
        table = site_table(isotope, [sites[name] for name in names], problem.references.get(isotope))
        rows = [np.flatnonzero(np.isin(table.member, [names.index(name) for name in group])) for group in groups]
        total += peak_evidences(
            table, rows, problem.lists[isotope], problem.settings, may_be_absent=problem.n_samples > 1
        )
    if problem.tasks:
        total += _spectral(problem, [sites[name] for name in names], names, groups)
    return total


def _spectral(
    problem: Problem,
    sites: Sequence[Sequence[PredictedSite]],
    names: Sequence[str],
    groups: Sequence[tuple[str, ...]],
) -> NDArray[np.float64]:
    """Log evidence (g,) of the spectra on the screen's coarse axis, averaged over populations."""
    atoms = [max(1, sum(s.multiplicity for s in own if s.isotope in problem.isotopes)) for own in sites]
    screen = SpectrumScreen(sites, problem.tasks, problem.references, atoms, problem.settings)
    rng = np.random.default_rng(problem.settings.seed)
    found = np.zeros(len(groups))
    for k, group in enumerate(groups):
        members = np.array([[names.index(name) for name in group]] * _SHARE_DRAWS, dtype=np.int64)
        shares = rng.dirichlet(np.ones(len(group)), size=_SHARE_DRAWS)
        values = screen.log_likelihood(members, shares)
        found[k] = float(np.logaddexp.reduce(values)) - math.log(_SHARE_DRAWS)
    return found


def _redrawn(problem: Problem, plan: Plan, rng: np.random.Generator) -> tuple[PredictedSite, ...]:
    """Predictions as the better method might give them: their mean wanders by the error that it removes."""
    factor = min(plan.site_error_factor, 1.0)
    moved = math.sqrt(1.0 - factor**2)
    return tuple(
        site.model_copy(
            update={
                "delta_iso_ppm": site.delta_iso_ppm + moved * site.delta_error_ppm * rng.normal(),
                "delta_error_ppm": factor * site.delta_error_ppm,
                "cq_mhz": abs(abs(site.cq_mhz) + moved * site.cq_error_mhz * rng.normal()),
                "cq_error_mhz": factor * site.cq_error_mhz,
            }
        )
        for site in problem.sites[plan.candidate_id]
    )


def invented_sites(problem: Problem, plan: Plan, rng: np.random.Generator) -> tuple[PredictedSite, ...]:
    """Sites of a plan's candidate; those without tensors are drawn from others' sites and how candidates differ."""
    known = list(problem.sites.get(plan.candidate_id, ()))
    sites = [site for site in known if site.isotope not in plan.new_sites]
    for isotope, counts in plan.new_sites.items():
        groups = [[s for s in own if s.isotope == isotope and not s.is_given] for own in problem.sites.values()]
        if not any(groups) or isotope not in problem.references:
            continue
        table = site_table(isotope, [own for own in groups if own], problem.references[isotope])
        lists = problem.lists.get(isotope, [])
        weights = _listed(problem, table, lists)
        shift_width, cq_width = kernel_widths(table, weights / weights.sum(), problem.settings)
        for index, count in enumerate(counts):
            like = table.sites[int(rng.choice(len(table), p=weights / weights.sum()))]
            delta = like.delta_iso_ppm + shift_width * rng.normal()
            reference = problem.references[isotope]
            is_quadrupolar = like.cq_mhz != 0.0
            sites.append(
                like.model_copy(
                    update={
                        "candidate_id": plan.candidate_id,
                        "candidate_name": plan.candidate_name,
                        "atom_indices": tuple(range(count)),
                        "delta_iso_ppm": delta,
                        "sigma_iso_ppm": (delta - reference.intercept_ppm) / reference.slope,
                        "distance_to_h_ang": plan.distances[isotope][index]
                        if plan.distances
                        else like.distance_to_h_ang,
                        "cq_mhz": abs(abs(like.cq_mhz) + cq_width * rng.normal()) if is_quadrupolar else 0.0,
                    }
                )
            )
    return tuple(sites)


def _listed(problem: Problem, table: object, lists: Sequence[PeakList]) -> NDArray[np.float64]:
    total = np.full(len(table), 1e-3)  # type: ignore[arg-type]
    for peak_list in lists:
        total += listing_probability(table, peak_list, problem.settings)  # type: ignore[arg-type]
    return np.asarray(total)


def _with_new(
    problem: Problem,
    groups: Sequence[tuple[str, ...]],
    base: NDArray[np.float64],
    prior: NDArray[np.float64],
    new: str,
) -> tuple[list[tuple[str, ...]], NDArray[np.float64]]:
    """Explanations with those that hold the new candidate, and the log of their priors.

    The new one is as probable as another candidate was before any data: priors of its explanations are those of the
    explanations of the same size.
    """
    log_prior = np.log(prior[:-1]) - base
    wider, values = list(groups), log_prior.tolist()
    always = {problem.ids[i] for i in problem.always}
    sizes: dict[int, list[float]] = {}
    for group, value in zip(groups, log_prior, strict=True):
        sizes.setdefault(len(set(group) - always), []).append(float(value))
    typical = {size: float(np.median(found)) for size, found in sizes.items()}
    largest = max(typical)
    partners = sorted(groups, key=lambda group: -prior[groups.index(group)])[:6]
    for partner in [tuple(sorted(always)), *partners]:
        group = tuple(sorted({*partner, new}))
        size = len(set(group) - always)
        if group in wider or size > problem.settings.max_members:
            continue
        per_size = math.log(problem.settings.size_ratio) - math.log(max(2, len(problem.ids)))
        nearest = min(typical, key=lambda known: abs(known - size)) if typical else largest
        wider.append(group)
        values.append(typical[nearest] + (size - nearest) * per_size)
    return wider, np.array(values)
