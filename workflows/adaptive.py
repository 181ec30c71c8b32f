"""An adaptive run: cheap tensors for all candidates, the others only for those that the measurements leave alive.

A run is a sequence of stages, one isotope with one protocol each, the isotope with most measured values per site
first. It opens with all measured isotopes of the cheapest candidate, which shows where lines lie. The other candidates
follow by what they are expected to say for their cost, few at a time (with spectra all at once). After a stage the
candidates still alive are weighed against the measurements of the isotopes that are complete; one whose probability of
being present, alone, mixed, or beside something unlisted, is below ``ALIVE_PROBABILITY`` gets no further tensors. From
the second isotope on candidates come one by one, the most probable first.

A run ends as soon as the verdict is settled: when the tensors still missing, of whole candidates or of isotopes, drawn
again and again from what other candidates show, would leave it as it is in ``SETTLED_SHARE`` of the cases. With a
better protocol than ``fast`` the study first goes through all isotopes with ``fast``; the better one is used only if it
is expected to say something (``MIN_GAIN_BITS``). Everything is decided from the finished outputs, so a run that was
killed decides the same when it goes on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .study import element_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..analysis.matching.next_calculation import Plan
    from ..analysis.matching.search import Problem, Weighed
    from ..analysis.vocabulary import Measurement, PredictedSite, Reference, SiteTensors
    from ..structures.symmetry import SiteOrbit
    from ..structures.vocabulary import Candidate
    from .candidates import Inputs
    from .study import NmrSettings, StudyFile

ALIVE_PROBABILITY = 0.02
"""A candidate less probable to be present than this gets no further tensors."""

MIN_GAIN_BITS = 0.02
"""A better protocol that is expected to say less is not used."""

SETTLED_SHARE = 0.95
"""Share of simulated outcomes that must leave the verdict as it is before the rest is not computed."""

SETTLED_DRAWS = 40

LIKELY_PROBABILITY = 0.5
"""A candidate more probable to be present than this, by its first isotope, is finished before others are begun."""

_ORDER_DRAWS = 16
"""Outcomes drawn per candidate to choose which one comes next."""

SCREEN_PROTOCOL = "fast"


@dataclass(frozen=True)
class Stage:
    """One isotope with one protocol."""

    isotope: str
    protocol: str


@dataclass
class Decision:
    """What a run does next.

    ``todo`` are the sites to compute in this stage, empty when the run is finished; ``alive`` the candidates that are
    left; ``ruled_out`` says of each other one after which isotope it went and how probable it was; ``notes`` is the
    history in words; ``complete`` are the isotopes that all living candidates have with ``protocol``, ``present`` how
    probable each candidate was to be present when last weighed.
    """

    alive: tuple[Candidate, ...]
    protocol: str
    complete: tuple[str, ...] = ()
    todo: tuple[tuple[Candidate, SiteOrbit], ...] = ()
    stage: Stage | None = None
    present: dict[str, float] = field(default_factory=dict)
    ruled_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def stages(study: StudyFile, measurements: Sequence[Measurement], n_sites: Mapping[str, int]) -> tuple[Stage, ...]:
    """Stages of a study in their order: isotopes by measured values per site, best first, then the study's protocol.

    Isotopes that were not measured say nothing on the verdict and are left out.

    Parameters
    ----------
    study
        The study.
    measurements
        What was measured.
    n_sites
        Number of sites of each isotope in all candidates.
    """
    values: dict[str, float] = {}
    for m in measurements:
        values[m.isotope] = values.get(m.isotope, 0.0) + _n_values(m)
    measured = [isotope for isotope in study.nmr.isotopes if values.get(isotope)]
    order = sorted(measured, key=lambda isotope: -values[isotope] / max(1, n_sites.get(isotope, 0)))
    protocols = list(dict.fromkeys([SCREEN_PROTOCOL, study.nmr.protocol]))
    return tuple(Stage(isotope, protocol) for protocol in protocols for isotope in order)


def first_settings(
    study: StudyFile, measurements: Sequence[Measurement], candidates: Sequence[Candidate]
) -> NmrSettings:
    """NMR settings of what is put into the queue at first: no isotope where candidates are computed few at a time."""
    found = stages(study, measurements, count_sites(study.nmr, candidates))
    if not found:
        return study.nmr
    isotopes = (found[0].isotope,) if _has_spectra(measurements, {stage.isotope for stage in found}) else ()
    return study.nmr.model_copy(update={"isotopes": isotopes, "protocol": found[0].protocol})


def _has_spectra(measurements: Sequence[Measurement], isotopes: set[str]) -> bool:
    from ..analysis.vocabulary import PeakList

    return any(not isinstance(m, PeakList) for m in measurements if m.isotope in isotopes)


def count_sites(nmr: NmrSettings, candidates: Sequence[Candidate]) -> dict[str, int]:
    """Number of symmetry-distinct sites of each isotope in all candidates."""
    from .jobs import wanted_sites

    counts = dict.fromkeys(nmr.isotopes, 0)
    for candidate in candidates:
        for orbit in wanted_sites(candidate, nmr):
            for isotope in nmr.isotopes:
                counts[isotope] += orbit.element == element_of(isotope)
    return counts


def decide(
    study: StudyFile,
    inputs: Inputs,
    candidates: Sequence[Candidate],
    tensors: Sequence[SiteTensors],
    references_of: Callable[[str], Mapping[str, Reference]],
) -> Decision:
    """The next stage, from everything that is finished.

    Parameters
    ----------
    study, inputs
        The study and its measurements.
    candidates
        All relaxed candidates.
    tensors
        All finished sites, of whichever protocol.
    references_of
        References of every measured isotope for a protocol, by its name.
    """
    if not inputs.measurements or not candidates:
        return Decision(tuple(candidates), study.nmr.protocol)
    plan = stages(study, inputs.measurements, count_sites(study.nmr, candidates))
    decision = Decision(tuple(candidates), plan[0].protocol)
    for number, stage in enumerate(plan):
        if stage.protocol != decision.protocol:
            if not _is_worth(study, inputs, decision, tensors, references_of(decision.protocol)):
                return decision
            decision.protocol, decision.complete = stage.protocol, ()
        missing = _missing(study, stage, decision.alive, tensors)
        rest = [s for s in plan[number:] if s.protocol == stage.protocol]
        if missing and not decision.complete:
            given = _Given(study, inputs, tensors, references_of(stage.protocol))
            if _has_spectra(inputs.measurements, {s.isotope for s in rest}):
                decision.todo = missing
            else:
                decision.todo = _opening(given, decision, rest) or _next_candidates(given, decision, rest, missing)
            decision.stage = stage if decision.todo else None
            return decision
        if missing:
            batch = _batch(decision, missing)
            is_known = len({c.id for c, _ in missing}) < len(decision.alive)
            given = _Given(study, inputs, tensors, references_of(stage.protocol))
            if is_known and (
                _is_settled_by_whole(given, decision, rest) or _is_settled(given, decision, decision.alive, rest)
            ):
                return decision
            decision.todo, decision.stage = batch, stage
            return decision
        decision.complete = (*decision.complete, stage.isotope)
        if number < len(plan) - 1:
            _cull(study, inputs, decision, tensors, references_of(stage.protocol))
    return decision


def own_sites(candidate: Candidate, tensors: Sequence[SiteTensors], protocol: str) -> tuple[SiteTensors, ...]:
    """Finished sites of a candidate with a protocol, by their first atom."""
    own = {
        t.atom_indices[0]: t
        for t in tensors
        if t.structure_id == candidate.structure.content_id and t.method.protocol == protocol
    }
    return tuple(own[atom] for atom in sorted(own))


def scaled_none_prior(none_prior: float, n_all: int, n_alive: int) -> float:
    """Prior of something unlisted such that its odds against any one living candidate stay what they were with all."""
    odds = none_prior / (1.0 - none_prior) * n_all / max(1, n_alive)
    return odds / (1.0 + odds)


def _n_values(measurement: Measurement) -> float:
    """Number of values of a peak list; a spectrum counts as four lines' worth."""
    from ..analysis.vocabulary import PeakList

    if not isinstance(measurement, PeakList):
        return 8.0
    names = ("delta_iso_ppm", "position_ppm", "cq_mhz", "eta_q")
    return float(sum(getattr(peak, name) is not None for peak in measurement.peaks for name in names))


def _missing(
    study: StudyFile, stage: Stage, alive: Sequence[Candidate], tensors: Sequence[SiteTensors]
) -> tuple[tuple[Candidate, SiteOrbit], ...]:
    from .jobs import wanted_sites

    nmr = study.nmr.model_copy(update={"isotopes": (stage.isotope,)})
    missing = []
    for candidate in alive:
        known = {t.atom_indices[0] for t in own_sites(candidate, tensors, stage.protocol)}
        missing += [(candidate, orbit) for orbit in wanted_sites(candidate, nmr) if orbit.atom_indices[0] not in known]
    return tuple(missing)


def _problem(
    study: StudyFile,
    inputs: Inputs,
    decision: Decision,
    tensors: Sequence[SiteTensors],
    references: Mapping[str, Reference],
) -> Problem:
    """The match of the living candidates with the measurements of the complete isotopes."""
    from ..analysis.matching.search import Problem as MatchProblem
    from ..analysis.prediction import predict_sites
    from .candidates import always_present_ids, partners_of

    n_all = len(decision.alive) + len(decision.ruled_out)
    used = {isotope: references[isotope] for isotope in decision.complete if isotope in references}
    predicted: dict[str, Sequence[PredictedSite]] = {
        candidate.id: predict_sites(
            candidate,
            own_sites(candidate, tensors, decision.protocol),
            used,
            tuple(used),
            partners=partners_of(inputs.measurements),
        )
        for candidate in decision.alive
    }
    measured = [m for m in inputs.measurements if m.isotope in used]
    settings = study.matching.model_copy(
        update={
            "always_present": always_present_ids(study, decision.alive),
            "none_prior": scaled_none_prior(study.matching.none_prior, n_all, len(decision.alive)),
        }
    )
    return MatchProblem(predicted, measured, used, settings)


def _cull(
    study: StudyFile,
    inputs: Inputs,
    decision: Decision,
    tensors: Sequence[SiteTensors],
    references: Mapping[str, Reference],
) -> None:
    """Take out the candidates that the measurements of the complete isotopes leave improbable."""
    isotope = decision.complete[-1]
    problem = _problem(study, inputs, decision, tensors, references)
    present = _present(problem, problem.weigh())
    decision.present = present
    always = {problem.ids[i] for i in problem.always}
    kept = [c for c in decision.alive if c.id in always or present[c.id] >= ALIVE_PROBABILITY]
    if not kept:
        kept = list(decision.alive)
    told = ", ".join(f"{c.name} {min(1.0, present[c.id]):.3f}" for c in decision.alive)
    decision.notes.append(f"after {isotope} with {decision.protocol}, probability of being present: {told}")
    for candidate in decision.alive:
        if candidate not in kept:
            decision.ruled_out[candidate.id] = (
                f"{candidate.name} was ruled out after {isotope} with {decision.protocol} (probability of being "
                f"present {present[candidate.id]:.3f}); its other tensors were not computed"
            )
    decision.alive = tuple(kept)


def _batch(
    decision: Decision, missing: Sequence[tuple[Candidate, SiteOrbit]]
) -> tuple[tuple[Candidate, SiteOrbit], ...]:
    """Sites of one candidate: the cheapest while none is known, which shows where lines lie; then the most probable."""
    ids = list(dict.fromkeys(candidate.id for candidate, _ in missing))
    if len(ids) == len(decision.alive):
        chosen = min(ids, key=lambda key: sum(candidate.id == key for candidate, _ in missing))
    else:
        chosen = max(ids, key=lambda key: decision.present.get(key, 0.0))
    return tuple(pair for pair in missing if pair[0].id == chosen)


@dataclass(frozen=True)
class _Given:
    """What a decision is made from: study, measurements, finished tensors, and the references of one protocol."""

    study: StudyFile
    inputs: Inputs
    tensors: Sequence[SiteTensors]
    references: Mapping[str, Reference]

    def problem(self, decision: Decision) -> Problem:
        """The match of the living candidates with the measurements of the complete isotopes."""
        return _problem(self.study, self.inputs, decision, self.tensors, self.references)


def _opening(given: _Given, decision: Decision, rest: Sequence[Stage]) -> tuple[tuple[Candidate, SiteOrbit], ...]:
    """All measured isotopes of one candidate: of those always present, else of all, the one with fewest sites."""
    from .candidates import always_present_ids
    from .jobs import wanted_sites

    always = set(always_present_ids(given.study, decision.alive))
    nmr = given.study.nmr.model_copy(update={"isotopes": tuple(stage.isotope for stage in rest)})
    first = min(decision.alive, key=lambda c: (c.id not in always, len(wanted_sites(c, nmr))))
    return tuple(pair for stage in rest for pair in _missing(given.study, stage, [first], given.tensors))


def _next_candidates(
    given: _Given,
    decision: Decision,
    rest: Sequence[Stage],
    missing: Sequence[tuple[Candidate, SiteOrbit]],
) -> tuple[tuple[Candidate, SiteOrbit], ...]:
    """Sites that follow while not all candidates have the first isotope; none if the verdict is settled.

    A candidate that is probably present by its first isotope is finished at once. The others come by expected
    information for their expected time, at most half as many at a time as are known.
    """
    from ..analysis.matching.next_calculation import calculation_gains
    from .candidates import always_present_ids
    from .costs import nmr_seconds

    lacking = {candidate.id: candidate for candidate, _ in missing}
    known = tuple(candidate for candidate in decision.alive if candidate.id not in lacking)
    if not known or set(always_present_ids(given.study, decision.alive)) & set(lacking):
        return tuple(missing)
    isotope = rest[0].isotope
    if _is_settled_by_whole(given, decision, rest):
        return ()
    partial = Decision(
        known, decision.protocol, (isotope,), ruled_out={**decision.ruled_out, **dict.fromkeys(lacking, "")}
    )
    problem = given.problem(partial)
    weighed = problem.weigh()
    present = _present(problem, weighed)
    unfinished = {
        c.id: sites
        for c in known
        if (sites := tuple(pair for stage in rest for pair in _missing(given.study, stage, [c], given.tensors)))
    }
    likely = max(unfinished, key=lambda key: present[key], default=None)
    if likely is not None and present[likely] >= LIKELY_PROBABILITY:
        return unfinished[likely]
    explanations = {
        tuple(problem.ids[i] for i in item.fit.members): item.probability
        for item in weighed
        if item.fit is not None and item.probability > 0
    }
    plans = [
        _plan(candidate, decision.protocol, {isotope: [orbit for c, orbit in missing if c.id == key]})
        for key, candidate in lacking.items()
    ]
    none = math.fsum(item.probability for item in weighed if item.fit is None)
    gains = calculation_gains(problem, explanations, none, plans, draws=_ORDER_DRAWS)
    nmr = given.study.nmr.model_copy(update={"isotopes": (isotope,), "protocol": decision.protocol})
    bits = {gain.candidate_name: gain.gain_bits for gain in gains}
    worth = {key: bits[c.name] / max(nmr_seconds(c, nmr), 1.0) for key, c in lacking.items()}
    order = sorted(lacking, key=lambda key: -worth[key])
    chosen = set(order[: max(1, len(known) // 2)])
    return tuple(pair for pair in missing if pair[0].id in chosen)


def _is_settled_by_whole(given: _Given, decision: Decision, rest: Sequence[Stage]) -> bool:
    """Whether the verdict on the candidates with all isotopes is settled; the others then leave the list."""
    lacking = {c.id for stage in rest for c, _ in _missing(given.study, stage, decision.alive, given.tensors)}
    whole = tuple(candidate for candidate in decision.alive if candidate.id not in lacking)
    if len(whole) < 2 or not lacking:
        return False
    isotopes = tuple(dict.fromkeys([*decision.complete, *(stage.isotope for stage in rest)]))
    now = Decision(whole, decision.protocol, isotopes, ruled_out={**decision.ruled_out, **dict.fromkeys(lacking, "")})
    is_settled = _is_settled(given, now, decision.alive, rest)
    decision.notes += now.notes
    if is_settled:
        for candidate in decision.alive:
            if candidate.id in lacking:
                why = f"{candidate.name} was not computed in full: the verdict is settled without it"
                decision.ruled_out[candidate.id] = why
        decision.alive, decision.complete = whole, isotopes
    return is_settled


def _present(problem: Problem, weighed: Sequence[Weighed]) -> dict[str, float]:
    """Probability of each candidate to be present, alone, mixed, or beside something unlisted."""
    present = dict.fromkeys(problem.ids, 0.0)
    for item in weighed:
        if item.fit is not None:
            for member in item.fit.members:
                present[problem.ids[member]] += item.probability
        else:
            for member, chance in item.beside.items():
                present[problem.ids[member]] += item.probability * chance
    return present


def _plan(candidate: Candidate, protocol: str, orbits: Mapping[str, Sequence[SiteOrbit]]) -> Plan:
    """The calculation of sites of a candidate that were not computed yet, with what their places alone tell."""
    from ..analysis.matching.next_calculation import Plan
    from ..analysis.prediction import distance_to_hydrogen

    counts = {isotope: tuple(len(orbit.atom_indices) for orbit in several) for isotope, several in orbits.items()}
    distances = {
        isotope: tuple(distance_to_hydrogen(candidate.structure, orbit.atom_indices[0]) for orbit in several)
        for isotope, several in orbits.items()
    }
    return Plan(candidate.name, protocol, candidate.id, candidate.name, 1.0, "", counts, None, distances)


def _is_settled(given: _Given, decision: Decision, alive: Sequence[Candidate], rest: Sequence[Stage]) -> bool:
    """Whether the tensors still missing of ``alive`` would hardly change the verdict on those of the decision.

    Never said where spectra are to come.
    """
    import numpy as np

    from ..analysis.matching.next_calculation import invented_sites
    from ..analysis.matching.search import Problem as MatchProblem
    from ..analysis.matching.verdict import assignment_of

    isotopes = {stage.isotope for stage in rest}
    if _has_spectra(given.inputs.measurements, isotopes):
        return False
    now = given.problem(decision)
    found = assignment_of(now, now.weigh())
    ruled_out = {key: why for key, why in decision.ruled_out.items() if key not in {c.id for c in alive}}
    everything = Decision(tuple(alive), decision.protocol, ruled_out=ruled_out)
    everything.complete = tuple(dict.fromkeys([*decision.complete, *isotopes]))
    if any(
        not any(own_sites_of(candidate, given.tensors, decision.protocol, isotope) for candidate in alive)
        for isotope in isotopes
    ):
        return False
    whole = given.problem(everything)
    plans = []
    for candidate in alive:
        lacking = {stage.isotope: _missing(given.study, stage, [candidate], given.tensors) for stage in rest}
        orbits = {isotope: [orbit for _, orbit in pairs] for isotope, pairs in lacking.items() if pairs}
        plans.append(_plan(candidate, decision.protocol, orbits))
    rng = np.random.default_rng(given.study.matching.seed)
    same = 0
    for draw in range(SETTLED_DRAWS):
        drawn = {
            p.candidate_id: invented_sites(whole, p, rng) if p.new_sites else whole.sites[p.candidate_id] for p in plans
        }
        problem = MatchProblem(drawn, whole.measurements, whole.references, whole.settings)
        then = assignment_of(problem, problem.weigh())
        same += then.verdict is found.verdict and set(then.members) == set(found.members)
        if draw + 1 - same > (1.0 - SETTLED_SHARE) * SETTLED_DRAWS:
            decision.notes.append(
                f"{', '.join(sorted(isotopes))}: not settled, {draw + 1 - same} of {draw + 1} simulated outcomes "
                f"change the verdict '{found.verdict.value}'"
            )
            return False
    decision.notes.append(
        f"settled: '{found.verdict.value}' stays in {same} of {SETTLED_DRAWS} simulated outcomes of the tensors of "
        f"{', '.join(sorted(isotopes))} that were not computed; measurements of isotopes that are not complete were "
        "left out of the verdict"
    )
    return True


def own_sites_of(
    candidate: Candidate, tensors: Sequence[SiteTensors], protocol: str, isotope: str
) -> tuple[SiteTensors, ...]:
    """Finished sites of one isotope of a candidate with a protocol."""
    return tuple(t for t in own_sites(candidate, tensors, protocol) if t.element == element_of(isotope))


def _is_worth(
    study: StudyFile,
    inputs: Inputs,
    decision: Decision,
    tensors: Sequence[SiteTensors],
    references: Mapping[str, Reference],
) -> bool:
    """Whether a better protocol is expected to change what is believed of the living candidates."""
    from ..analysis.advice import REFINED_ERROR_FACTOR
    from ..analysis.matching.next_calculation import Plan, calculation_gains

    problem = _problem(study, inputs, decision, tensors, references)
    weighed = problem.weigh()
    alive = {
        tuple(sorted(problem.ids[i] for i in item.fit.members)): item.probability
        for item in weighed
        if item.fit is not None and item.probability >= 1e-3
    }
    none = math.fsum(item.probability for item in weighed if item.fit is None)
    if not alive:
        return False
    plans = [
        Plan(
            name=candidate.name,
            protocol=study.nmr.protocol,
            candidate_id=candidate.id,
            candidate_name=candidate.name,
            site_error_factor=REFINED_ERROR_FACTOR,
            basis="",
            new_sites={},
            cpu_hours=None,
        )
        for candidate in decision.alive
    ]
    gains = calculation_gains(problem, alive, none, plans, draws=32)
    told = ", ".join(f"{gain.candidate_name} {gain.gain_bits:.2f}" for gain in gains)
    decision.notes.append(f"expected to be learnt from {study.nmr.protocol}, bits: {told}")
    return gains[0].gain_bits >= MIN_GAIN_BITS
