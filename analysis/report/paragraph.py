"""The numbers that a paper needs, as a paragraph of plain text."""

from __future__ import annotations

import math
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from ..vocabulary import Spectrum, Verdict

if TYPE_CHECKING:
    from ..vocabulary import Assignment, Measurement, Population, Reference, StudyResult

MAX_NAMED = 4


def paragraph(result: StudyResult) -> str:
    """What was matched, how, and what came out, in sentences; empty without an assignment."""
    assignment = result.assignment
    if assignment is None:
        return ""
    sentences = [
        _matched(result, assignment),
        *_referenced(result),
        _answer(assignment),
        *_populations(assignment),
        *_changes(assignment),
        _fit(assignment),
        *_unexplained(assignment),
        *_sensitivity(result, assignment),
        *_next(result),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def _measured(m: Measurement) -> str:
    what = "spectrum" if isinstance(m, Spectrum) else f"list of {len(m.peaks)} peak{'s' if len(m.peaks) > 1 else ''}"
    rate = f", {m.mas_rate_hz / 1000:g} kHz MAS" if m.mas_rate_hz else ", static"
    return f"a {m.isotope} {m.experiment.value} {what} ({m.field_tesla:.3g} T{rate})"


def _matched(result: StudyResult, assignment: Assignment) -> str:
    methods = sorted({f"{r.method.functional} ({r.method.engine}, {r.method.protocol})" for r in result.references})
    known = {p.candidate_id for p in assignment.populations}
    given = [phase.phase for phase in result.given if phase.id in known]
    n = len(known) - len(given)
    try:
        own = f"surfshift {version('surfshift')}"
    except PackageNotFoundError:
        own = "surfshift"
    kinds = [_measured(m) for m in result.measurements]
    measured = [
        kind if kinds.count(kind) == 1 else f"{kinds.count(kind)} times {kind}" for kind in dict.fromkeys(kinds)
    ]
    samples = f" of {len(assignment.samples)} samples" if len(assignment.samples) > 1 else ""
    computed = f" with shieldings by {_list(methods)}" if methods else ""
    counted = [f"{n} candidate structure{'s' if n != 1 else ''}{computed}"] if n or not given else []
    if given:
        counted.append(f"{len(given)} phase{'s' if len(given) > 1 else ''} with measured lines ({_list(given)})")
    return (
        f"{' and '.join(counted)} {'was' if n + len(given) == 1 else 'were'} weighed, alone and "
        f"mixed, against {_list(measured)}{samples} with {own}."
    )


def _referenced(result: StudyResult) -> list[str]:
    measured = {m.isotope for m in result.measurements}
    used = [r for r in result.references if r.isotope in measured]
    fitted = [_line(r) for r in used if not r.is_wide]
    wide = [r.isotope for r in used if r.is_wide]
    found = []
    if fitted:
        found.append(f"Shieldings became shifts by {_list(fitted)}.")
    if wide:
        found.append(
            f"For {_list(wide)} no reference compound was computed: the zero of the scale was left almost free, so "
            "that only differences between sites count."
        )
    return found


def _line(r: Reference) -> str:
    sign = "-" if r.slope < 0 else "+"
    return (
        f"delta({r.isotope}) = {r.intercept_ppm:.1f} {sign} {abs(r.slope):.3f} sigma ({len(r.compounds)} compounds, "
        f"error of a site {r.site_error_ppm:.1f} ppm)"
    )


def _answer(assignment: Assignment) -> str:
    words = {
        Verdict.IDENTIFIED: "One explanation was identified",
        Verdict.ONE_OF: "The data do not single out one explanation",
        Verdict.NONE: "None of the candidates explains everything",
    }
    none = sum(s.probability for s in assignment.subsets if not s.candidate_names)
    best = next((s for s in sorted(assignment.subsets, key=lambda s: -s.probability) if s.candidate_names), None)
    text = words[assignment.verdict]
    if best is not None:
        named = " with ".join(best.candidate_names)
        text += f"; the most probable by candidates is {named} (probability {_p(best.probability)})"
    if assignment.verdict is Verdict.NONE:
        # part of it may be in explanations by candidates that leave most of one list without a site
        return f"{text}, but something outside the list is present with probability {_p(assignment.probability)}."
    return f"{text}; something outside the list has probability {_p(none)}."


def _p(value: float) -> str:
    return "< 0.01" if 0 < value < 0.005 else "> 0.99" if 0.995 < value < 1 else f"{value:.2f}"


def _share(p: Population) -> str:
    return f"{p.candidate_name} {p.mean:.2f} ({p.low:.2f} to {p.high:.2f})"


def _populations(assignment: Assignment) -> list[str]:
    groups = [(s.sample, s.populations) for s in assignment.samples] or [("", assignment.populations)]
    found = []
    for sample, populations in groups:
        shown = [p for p in sorted(populations, key=lambda p: -p.mean) if p.mean > 0.01][:MAX_NAMED]
        if shown:
            where = f" in the sample {sample}" if sample else ""
            found.append(
                f"Populations{where} (mean and central 90 % interval, if the sample holds nothing else): "
                f"{_list([_share(p) for p in shown])}."
            )
    return found


def _changes(assignment: Assignment) -> list[str]:
    clear = [c for c in assignment.changes if not 0.05 < c.probability_increase < 0.95]
    if not assignment.changes:
        return []
    if not clear:
        return ["No population changes between the samples with more than 95 % probability."]
    told = [
        f"{c.candidate_name} {c.mean:+.2f} ({c.low:+.2f} to {c.high:+.2f}) from {c.before} to {c.after}" for c in clear
    ]
    return [f"Clear changes: {_list(told)}."]


def _fit(assignment: Assignment) -> str:
    allowed = {fit.isotope: math.sqrt(fit.prior_covariance[0][0]) for fit in assignment.reference_fits}
    offsets = _list(
        [
            f"{offset:+.1f} ppm for {isotope}"
            + (f" (error beforehand {allowed[isotope]:.1f})" if isotope in allowed else "")
            for isotope, offset in assignment.offsets_ppm.items()
        ]
    )
    moved = f" The fit moved the references by {offsets}." if offsets else ""
    return f"Data as far from the best explanation would arise with p = {assignment.fit_probability:.2g}.{moved}"


def _unexplained(assignment: Assignment) -> list[str]:
    told = [f"{100 * u.fraction:.0f} % of {u.measurement} ({u.where})" for u in assignment.unexplained[:MAX_NAMED]]
    return [f"Left without a candidate: {_list(told)}."] if told else []


def _sensitivity(result: StudyResult, assignment: Assignment) -> list[str]:
    if not result.sensitivities:
        return []
    other = [
        s.change
        for s in result.sensitivities
        if s.verdict is not assignment.verdict or set(s.members) != set(assignment.members)
    ]
    if not other:
        return [
            "The verdict stays the same without any one measurement and with references moved by two standard "
            "deviations."
        ]
    return [f"The verdict changes under: {_list(other)}."]


def _next(result: StudyResult) -> list[str]:
    told = []
    if result.experiments and result.experiments[0].gain_bits > 0.01:
        best = result.experiments[0]
        told.append(f"{best.name} ({best.gain_bits:.2f} of {best.entropy_bits:.2f} bits)")
    if result.calculations and result.calculations[0].gain_bits > 0.01:
        calculation = result.calculations[0]
        told.append(
            f"the calculation {calculation.name} ({calculation.gain_bits:.2f} of {calculation.entropy_bits:.2f} bits)"
        )
    return [f"Most would be learnt from {_list(told)}."] if told else []
