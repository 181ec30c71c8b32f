"""What ``surfshift match`` does: measured files and a library of candidates to a verdict, without any study."""

from __future__ import annotations

import fnmatch
import hashlib
from typing import TYPE_CHECKING, Any

from ..analysis.vocabulary import Spectrum, StudyResult
from ..structures.errors import SurfshiftError, nearest
from .study import element_of
from .wording import answer, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ..analysis.match_library import Library
    from ..analysis.matching import MatchSettings
    from ..analysis.matching.energy_prior import EnergyPrior
    from ..analysis.vocabulary import Assignment, Measurement, Method, PredictedSite, Reference


class MatchOptionError(SurfshiftError):
    """Options of ``surfshift match`` that do not go together."""


def run_match(
    files: Sequence[Path],
    libraries: Sequence[Path],
    out: Path,
    *,
    options: Mapping[str, Any],
    references: Path | None,
    always: Sequence[str],
    oxidation: Sequence[str],
    protocol: str,
    max_members: int | None,
    energies: EnergyPrior | None = None,
    disordered: Sequence[str] = (),
    is_quick: bool,
    name: str,
    say: Callable[[str], None],
) -> tuple[StudyResult, Path]:
    """Match measured files with a library and write the report; returns the result and the page.

    Nothing is written before everything is computed.

    Raises
    ------
    SurfshiftError
        As the readers, references and the match.
    """
    from ..analysis.advice import advise
    from ..analysis.given_phases import given_sites, missing_isotopes
    from ..analysis.match_library import check_one_method_each, read_library
    from ..analysis.report import write_report
    from .candidates import partners_of, read_measurements
    from .measured_files import gather

    measured, settings = gather(files, options)
    measurements = _named_apart(read_measurements(measured))
    for m in measurements:
        say(_measurement_line(m))
    isotopes = tuple(dict.fromkeys(m.isotope for m in measurements))
    library = read_library(
        libraries,
        {element_of(isotope) for isotope in isotopes},
        oxidation_states=_oxidation_states(oxidation),
        protocol=protocol,
    )
    check_one_method_each(library.entries, {element_of(isotope) for isotope in isotopes})
    used, notes = _references(isotopes, library, references)
    for note in notes:
        say(f"note: {note}")
    silent = {phase.phase: missing for phase in library.given if (missing := missing_isotopes(phase, isotopes))}
    given = tuple(phase for phase in library.given if phase.phase not in silent)
    library = library._replace(
        given=given,
        left_out=(
            *library.left_out,
            *(
                f"{name}: left out of the matching, it gives no line of {', '.join(missing)}"
                for name, missing in silent.items()
            ),
        ),
    )
    computed, ids = _with_disorder(
        _predict(library, used, partners_of(measurements)),
        disordered,
        {e.candidate.name: e.candidate.id for e in library.entries},
    )
    named = ids | {phase.phase: phase.id for phase in given}
    sites = (*computed, *(site for phase in given for site in given_sites(phase, isotopes)))
    beside = f" and {counted(len(given), 'phase')} with given lines" if given else ""
    nuclei = ", ".join(dict.fromkeys([*used, *(site.isotope for site in sites)]))
    found = f"{counted(len(library.entries), 'candidate')}{beside} with {counted(len(sites), 'site')} of {nuclei}"
    say(f"{found}; weighing them, some seconds to minutes ...")
    chosen = settings.model_copy(
        update={
            "always_present": _always(always or settings.always_present, named),
            "max_members": max_members or settings.max_members,
            "energy_prior": energies or settings.energy_prior,
        }
    )
    predicted = {key: [s for s in sites if s.candidate_id == key] for key in named.values()}
    unseen = [name for name, key in named.items() if not predicted[key]]
    if unseen:
        notes.append(f"no line of the measured nuclei, so nothing can be said of: {', '.join(unseen)}")
        say(f"note: {notes[-1]}")
    predicted = {key: own for key, own in predicted.items() if own}
    if not predicted:
        raise MatchOptionError(
            f"no candidate has a tensor of {' or '.join(isotopes)}, which was measured; give a --library with tensors "
            f"of {' or '.join(sorted({element_of(isotope) for isotope in isotopes}))}"
        )
    assignment = _match(predicted, measurements, used, chosen)
    result = StudyResult(
        name=name,
        relaxations=library.relaxations,
        candidates=tuple(
            e.candidate for e in library.entries if e.candidate.id not in {r.candidate.id for r in library.relaxations}
        ),
        given=given,
        tensors={e.candidate.id: e.tensors for e in library.entries},
        references=tuple(used.values()),
        sites=sites,
        measurements=measurements,
        assignment=assignment,
        provenance=_provenance(files, libraries, references, notes, library),
        failures=library.left_out,
    )
    if not is_quick:
        result = advise(result, chosen, say=say)
    return result, write_report(result, out)


def _match(
    predicted: Mapping[str, Sequence[PredictedSite]],
    measurements: Sequence[Measurement],
    references: Mapping[str, Reference],
    settings: MatchSettings,
) -> Assignment:
    from ..analysis.matching import match

    found = match(predicted, measurements, references, settings)
    n_values = sum(_n_values(m) for m in measurements)
    largest = max((len(sites) for sites in predicted.values()), default=0)
    if n_values < 2 * largest:
        text = (
            f"few data: {n_values} measured values against up to {largest} sites in one candidate, each with an "
            "unknown shift error; the priors carry much of the answer"
        )
        found = found.model_copy(update={"warnings": (*found.warnings, text)})
    return found


def _n_values(measurement: Measurement) -> int:
    """Number of measured values: of a spectrum its independent points, of a list its shifts, couplings and etas."""
    if isinstance(measurement, Spectrum):
        return round(len(measurement.axis_ppm) / measurement.noise_correlation_points)
    fields = ("delta_iso_ppm", "position_ppm", "cq_mhz", "eta_q", "area", "dephasing")
    return sum(getattr(peak, field) is not None for peak in measurement.peaks for field in fields)


def _measurement_line(m: Measurement) -> str:
    what = counted(len(m.axis_ppm), "point") if isinstance(m, Spectrum) else counted(len(m.peaks), "peak")
    rate = f"{m.mas_rate_hz:g} Hz" if m.mas_rate_hz else "static"
    sample = f", sample {m.sample}" if m.sample else ""
    notes = "".join(f"\n  note: {note}" for note in m.notes) if isinstance(m, Spectrum) else ""
    return f"{m.name}: {m.isotope}, {m.field_tesla:.4g} T, {rate}, {m.experiment.value}, {what}{sample}{notes}"


def _named_apart(measurements: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """Measurements with names that differ: a number follows where a name comes back."""
    counts: dict[str, int] = {}
    found = []
    for m in measurements:
        counts[m.name] = counts.get(m.name, 0) + 1
        found.append(m if counts[m.name] == 1 else m.model_copy(update={"name": f"{m.name} ({counts[m.name]})"}))
    return tuple(found)


def _methods(library: Library, isotope: str) -> list[Method]:
    element = element_of(isotope)
    return [site.method for entry in library.entries for site in entry.tensors if site.element == element]


def _references(
    isotopes: Sequence[str], library: Library, own_file: Path | None
) -> tuple[dict[str, Reference], list[str]]:
    """Reference of every isotope: the user's, that of the study's result, a shipped one, or wide priors; and notes."""
    from ..analysis.reference_table import read_references
    from .reference_choice import reference_for

    own = read_references(own_file) if own_file is not None else {}
    used: dict[str, Reference] = {}
    notes: list[str] = []
    for isotope in isotopes:
        methods = _methods(library, isotope)
        if not methods:
            if not any(isotope in phase.isotopes for phase in library.given):
                notes.append(f"{isotope} was measured, but no candidate holds {element_of(isotope)}; it is left out")
            continue
        used[isotope] = reference_for(isotope, methods, own=own, own_file=own_file, known=library.references)
        if used[isotope].is_wide:
            notes.append(used[isotope].note)
    unused = sorted(set(own) - set(isotopes))
    if unused:
        notes.append(f"{own_file} also holds references of {', '.join(unused)}, which were not measured")
    return used, notes


def _predict(
    library: Library, references: Mapping[str, Reference], partners: Sequence[str]
) -> tuple[PredictedSite, ...]:
    from ..analysis.prediction import predict_sites

    return tuple(
        site
        for entry in library.entries
        for site in predict_sites(entry.candidate, entry.tensors, references, tuple(references), partners=partners)
    )


def _with_disorder(
    sites: tuple[PredictedSite, ...], given: Sequence[str], named: Mapping[str, str]
) -> tuple[tuple[PredictedSite, ...], dict[str, str]]:
    """Sites and ids of candidates by name, with those that ``given`` names taken as draws of distributions.

    ``NAME=PATTERN`` takes several candidates together, snapshots of one glass, as one that is called NAME.
    """
    from ..analysis.ensembles import distributed_sites, united

    ids = dict(named)
    for text in dict.fromkeys(given):
        name, has_pattern, pattern = text.partition("=")
        chosen = fnmatch.filter(ids, pattern) if has_pattern else [name] if name in ids else []
        if not chosen:
            wrong = pattern if has_pattern else name
            raise MatchOptionError(f"--disordered names {wrong!r}, which is no candidate; {nearest(wrong, ids)}")
        if has_pattern and (not name or name in set(ids) - set(chosen)):
            raise MatchOptionError(f"--disordered {text!r}: give the candidates together a name that none other has")
        keys = {ids[one] for one in chosen}
        own = [site for site in sites if site.candidate_id in keys]
        others = tuple(site for site in sites if site.candidate_id not in keys)
        if has_pattern:
            own = list(united(own, name))
            ids = {one: key for one, key in ids.items() if one not in chosen}
            ids[name] = own[0].candidate_id if own else name
        sites = (*others, *distributed_sites(own))
    return sites, ids


def _always(names: Sequence[str], by_name: Mapping[str, str]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise MatchOptionError(f"--always names {unknown[0]!r}, which is no candidate; {nearest(unknown[0], by_name)}")
    return tuple(dict.fromkeys(by_name[name] for name in names))


def energy_prior(given: Sequence[str], error_ev: float | None, temperature_k: float | None) -> EnergyPrior | None:
    """The prior that ``--energies`` asks for; None without it, for energies never enter unasked.

    Raises
    ------
    MatchOptionError
        If the error or the temperature is missing, or an energy cannot be read.
    """
    from pydantic import ValidationError

    from ..analysis.matching.energy_prior import EnergyPrior

    if not given:
        if error_ev is not None or temperature_k is not None:
            raise MatchOptionError(
                "--energy-error-ev and --energy-temperature-k belong to --energies, which is missing"
            )
        return None
    if error_ev is None or temperature_k is None:
        raise MatchOptionError(
            "--energies needs --energy-error-ev, how far the method is trusted for one candidate against another, and "
            "--energy-temperature-k, at which the sample froze in"
        )
    energies: dict[str, float] = {}
    for text in (part for item in given for part in item.split(",") if part.strip()):
        name, _, energy = text.rpartition("=")
        try:
            energies[name.strip()] = float(energy)
        except ValueError as error:
            raise MatchOptionError(f"--energies holds {text!r}; write NAME=EV, e.g. dry=0,wet=-0.4") from error
    try:
        return EnergyPrior(energies_ev=energies, error_ev=error_ev, temperature_k=temperature_k)
    except ValidationError as error:
        first = error.errors()[0]
        raise MatchOptionError(f"--energies, {first['loc'][-1]}: {first['msg']}") from error


def _oxidation_states(given: Sequence[str]) -> dict[str, float] | None:
    """Charges by element from texts such as ``Al=3``."""
    states: dict[str, float] = {}
    for text in (part for item in given for part in item.split(",") if part.strip()):
        element, _, charge = text.partition("=")
        try:
            states[element.strip()] = float(charge)
        except ValueError as error:
            raise MatchOptionError(
                f"--oxidation-states holds {text!r}; write ELEMENT=CHARGE, e.g. Al=3,O=-2"
            ) from error
    return states or None


def _provenance(
    files: Sequence[Path],
    libraries: Sequence[Path],
    references: Path | None,
    notes: Sequence[str],
    library: Library,
) -> dict[str, str]:
    from .collect import versions

    entries = {f"version of {package}": value for package, value in versions().items()}
    for file in files:
        if file.is_file():
            entries[f"measured file {file.name}, SHA-256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    for number, path in enumerate(libraries, start=1):
        entries[f"library {number}"] = path.name
    if references is not None:
        entries["references"] = f"{references.name}, SHA-256 {hashlib.sha256(references.read_bytes()).hexdigest()}"
    for number, note in enumerate([*notes, *library.notes], start=1):
        entries[f"note {number}"] = note
    return entries


def finish_match(result: StudyResult, page: Path, say: Callable[[str], None]) -> bool:
    """Print the answer; whether every candidate took part."""
    from ..analysis.report.paragraph import paragraph

    assignment = result.assignment
    if assignment is not None:
        say(f"\n{answer(assignment.verdict.value, assignment.statement)}")
        say(f"\n{paragraph(result)}")
        for warning in assignment.warnings:
            say(f"warning: {warning}")
    say(f"\nreport: {page}")
    for failure in result.failures:
        say(f"problem: {failure}")
    return not result.failures
