"""What a verdict hangs on, and what to measure or compute next: added to the result of a match."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .constants import isotope as nucleus_of
from .vocabulary import PeakList, Spectrum

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .matching import MatchSettings
    from .matching.next_calculation import Plan
    from .vocabulary import Assignment, Measurement, PredictedSite, StudyResult

ALIVE = 0.01
"""Explanations below this probability, among those by candidates, are not simulated."""

MAX_ALIVE = 8

REFINED_ERROR_FACTOR = 0.6
"""Error of a site by a better protocol over the present one, where no references of that protocol are on file: a
careful 31P relation has 1.6 ppm where the general one has about 2.4 ppm (Dawson and Ashbrook 2014)."""

COST_FACTOR = {"balanced": 4.0, "stringent": 20.0}
"""Time of a site by the protocols of the cluster engine over that of ``fast``, roughly."""


def advise(
    result: StudyResult,
    settings: MatchSettings,
    *,
    missing: Mapping[str, tuple[str, Mapping[str, tuple[int, ...]]]] | None = None,
    with_sensitivities: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> StudyResult:
    """The result with sensitivities, further experiments and further calculations.

    Parameters
    ----------
    result
        A result with an assignment; returned as it is without one.
    settings
        Settings of its match.
    missing
        Candidates without tensors: name, and multiplicities of their sites by isotope, by id.
    with_sensitivities
        Whether to match again without each measurement and with moved references.
    say
        Told what is being worked on.
    """
    from .matching import expected_gains, sensitivities, usual_experiments
    from .matching.next_calculation import calculation_gains
    from .matching.search import Problem

    assignment = result.assignment
    if assignment is None:
        return result
    references = {reference.isotope: reference for reference in result.references}
    predicted: dict[str, list[PredictedSite]] = {}
    for site in result.sites:
        predicted.setdefault(site.candidate_id, []).append(site)
    known = {p.candidate_id for p in assignment.populations}
    predicted = {key: predicted.get(key, []) for key in known}
    if with_sensitivities:
        say("how much the verdict hangs on each measurement and reference ...")
        found = sensitivities(predicted, result.measurements, references, settings)
        result = result.model_copy(update={"sensitivities": found})
    alive, none = alive_explanations(assignment)
    if not alive:
        return result
    given = [s.isotope for s in result.sites if s.is_given]
    isotopes = [name for name in dict.fromkeys([*references, *given]) if any(s.isotope == name for s in result.sites)]
    if len(alive) > 1:
        say("what further experiments are expected to say ...")
        frames = [
            frame
            for frame in usual_experiments(isotopes, _fields(result.measurements))
            if not _is_measured(frame, result.measurements)
        ]
        gains = expected_gains(alive, predicted, frames, references, settings, draws=24)
        gains = tuple(g.model_copy(update={"gain_bits": max(0.0, g.gain_bits)}) for g in gains)
        result = result.model_copy(update={"experiments": gains})
    say("what further calculations are expected to say ...")
    problem = Problem(predicted, result.measurements, references, settings)
    plans = [*_refinements(result, alive, problem), *_missing_plans(result, missing or {}, problem)]
    has_spectra = any(isinstance(m, Spectrum) for m in result.measurements)
    calculations = calculation_gains(problem, alive, none, plans, draws=16 if has_spectra else 48)
    return result.model_copy(update={"calculations": calculations})


def alive_explanations(assignment: Assignment) -> tuple[dict[tuple[str, ...], float], float]:
    """Probability of the explanations by candidates that still count, by ids, and that of something unlisted."""
    ids = {p.candidate_name: p.candidate_id for p in assignment.populations}
    listed = [s for s in assignment.subsets if s.candidate_names and all(n in ids for n in s.candidate_names)]
    total = sum(s.probability for s in listed)
    none = sum(s.probability for s in assignment.subsets if not s.candidate_names)
    if total <= 0:
        best = max(listed, key=lambda s: s.log_evidence, default=None)
        return ({} if best is None else {tuple(sorted(ids[n] for n in best.candidate_names)): 1.0}), none
    kept = sorted((s for s in listed if s.probability / total >= ALIVE), key=lambda s: -s.probability)[:MAX_ALIVE]
    return {tuple(sorted(ids[n] for n in s.candidate_names)): s.probability for s in kept}, none


def _fields(measurements: Sequence[Measurement]) -> tuple[float, ...]:
    """Fields worth asking about: those that were used, and 14.1 and 20 T."""
    used = sorted({round(m.field_tesla, 1) for m in measurements})
    extra = [field for field in (14.1, 20.0) if all(abs(field - own) > 1.0 for own in used)]
    return tuple(sorted([*used, *extra]))


def _is_measured(frame: PeakList, measurements: Sequence[Measurement]) -> bool:
    return any(
        m.isotope == frame.isotope
        and (m.experiment is frame.experiment or {m.experiment.value, frame.experiment.value} == {"one-pulse", "echo"})
        and (not nucleus_of(m.isotope).is_quadrupolar or abs(m.field_tesla - frame.field_tesla) < 0.3)
        for m in measurements
    )


def _refinements(result: StudyResult, alive: Mapping[tuple[str, ...], float], problem: object) -> list[Plan]:
    """Sites of every living candidate again by a better protocol."""
    from .matching.next_calculation import Plan

    names = {p.candidate_id: p.candidate_name for p in result.assignment.populations} if result.assignment else {}
    isotopes = tuple(problem.isotopes)  # type: ignore[attr-defined]
    plans = []
    for key in sorted({name for group in alive for name in group}):
        tensors = result.tensors.get(key, ())
        wanted = {nucleus_of(isotope).element for isotope in isotopes}
        own = [t for t in tensors if t.element in wanted]
        if not own:
            continue
        method = own[0].method
        seconds = sum(t.cpu_seconds for t in own)
        protocol, factor, basis = _better(method.engine, method.protocol, isotopes, result)
        cost = COST_FACTOR.get(protocol)
        plans.append(
            Plan(
                name=f"{names.get(key, key)}: {', '.join(isotopes)} with {protocol}",
                protocol=protocol,
                candidate_id=key,
                candidate_name=names.get(key, key),
                site_error_factor=factor,
                basis=basis,
                new_sites={},
                cpu_hours=seconds * cost / 3600.0 if cost and seconds else None,
            )
        )
    return plans


def _better(engine: str, protocol: str, isotopes: Sequence[str], result: StudyResult) -> tuple[str, float, str]:
    """A better protocol, its site error over the present one, and where that number comes from."""
    from .references import ReferenceMissingError, available_libraries

    references = {reference.isotope: reference for reference in result.references}
    known = {"fast": "balanced", "balanced": "stringent"}
    if engine != "cluster" and protocol not in known:
        return "a hybrid functional or a larger basis", REFINED_ERROR_FACTOR, _ASSUMED
    better = known.get(protocol, "stringent")
    for library in available_libraries():
        if library.method.engine == engine and library.method.protocol == better:
            ratios = []
            for isotope in isotopes:
                try:
                    ratios.append(library.reference(isotope).site_error_ppm / references[isotope].site_error_ppm)
                except ReferenceMissingError:
                    continue
            if ratios:
                factor = min(1.0, sum(ratios) / len(ratios))
                return better, factor, f"site errors of the {better} references on file over those of {protocol}"
    return better, REFINED_ERROR_FACTOR, _ASSUMED


_ASSUMED = f"assumed factor {REFINED_ERROR_FACTOR:g}; no references of a better protocol are on file"


def _missing_plans(
    result: StudyResult, missing: Mapping[str, tuple[str, Mapping[str, tuple[int, ...]]]], problem: object
) -> list[Plan]:
    """Sites of candidates that have none yet."""
    from .matching.next_calculation import Plan

    isotopes = tuple(problem.isotopes)  # type: ignore[attr-defined]
    per_site: dict[str, list[float]] = {}
    for sites in result.tensors.values():
        for tensors in sites:
            per_site.setdefault(tensors.element, []).append(tensors.cpu_seconds)
    protocols = [t.method.protocol for sites in result.tensors.values() for t in sites]
    plans = []
    for key, (name, counts) in missing.items():
        wanted = {isotope: own for isotope, own in counts.items() if isotope in isotopes and own}
        if not wanted:
            continue
        hours = 0.0
        for isotope, own in wanted.items():
            times = per_site.get(nucleus_of(isotope).element, [0.0])
            hours += len(own) * sum(times) / len(times) / 3600.0
        plans.append(
            Plan(
                name=f"{name}: {', '.join(wanted)}, not computed yet",
                protocol=protocols[0] if protocols else "",
                candidate_id=key,
                candidate_name=name,
                site_error_factor=1.0,
                basis="lines as the other candidates have them, until computed",
                new_sites=dict(wanted),
                cpu_hours=hours or None,
            )
        )
    return plans
