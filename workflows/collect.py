"""From the queue's outputs to a result: predictions, verdict and report. No job is run here."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ..analysis.given_phases import given_sites
from ..analysis.vocabulary import Relaxation, SiteTensors, Spectrum, StudyResult
from ..structures.errors import SurfshiftError
from .candidates import Inputs, always_present_ids, partners_of
from .jobs import moving_sites, wanted_sites
from .queue.records import JobStatus, Snapshot
from .reference_choice import engine_notes, with_references
from .study import element_of, phases_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..analysis.matching import MatchSettings
    from ..analysis.vocabulary import Assignment, PredictedSite
    from ..structures.symmetry import SiteOrbit
    from ..structures.vocabulary import Candidate
    from .adaptive import Decision
    from .finite_temperature import AveragedSite
    from .queue.folder import RunFolder
    from .study import StudyFile

PACKAGES = (
    "surfshift",
    "pyscf",
    "sevenn",
    "torch",
    "ase",
    "pymatgen",
    "spglib",
    "mrsimulator",
    "jobflow",
    "jobflow-remote",
)


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


def start_state(study: StudyFile, study_path: Path) -> dict[str, Any]:
    """What is written down when a study is submitted."""
    return {
        "study": study.study,
        "job_hash": study.job_hash,
        "study_sha256": hashlib.sha256(study_path.read_bytes()).hexdigest(),
        "submitted": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }


def outputs(run: RunFolder) -> tuple[tuple[Relaxation, ...], tuple[SiteTensors, ...]]:
    """The last relaxation of every candidate and every site that is finished, in the order of their jobs.

    A periodic engine's job has the sites of a whole candidate as its output.
    """
    return outputs_of(finished(run))


def outputs_of(decoded: Sequence[Any]) -> tuple[tuple[Relaxation, ...], tuple[SiteTensors, ...]]:
    """The relaxations and sites among what ``finished`` gave."""
    last = {output.start_id: output for output in decoded if isinstance(output, Relaxation)}
    sites = [site for output in decoded for site in (output if isinstance(output, list) else [output])]
    return tuple(last.values()), tuple(site for site in sites if isinstance(site, SiteTensors))


def averages_of(decoded: Sequence[Any]) -> tuple[AveragedSite, ...]:
    """The averages over motion among what ``finished`` gave."""
    from .finite_temperature import AveragedSite

    return tuple(output for output in decoded if isinstance(output, AveragedSite))


def finished(run: RunFolder) -> list[Any]:
    """Outputs of all finished jobs, in their order."""
    from monty.json import MontyDecoder

    controller = run.controller()
    order = {d["uuid"]: int(d["db_id"]) for d in controller.jobs.find({"state": "COMPLETED"}, ["uuid", "db_id"])}
    documents = [d for d in controller.jobstore.docs_store.query({}, ["uuid", "output"]) if d["uuid"] in order]
    documents.sort(key=lambda document: order[document["uuid"]])
    return [MontyDecoder().process_decoded(document["output"]) for document in documents]


def collect(
    run: RunFolder, study: StudyFile, inputs: Inputs, snapshot: Snapshot, *, is_thorough: bool = False
) -> StudyResult:
    """Everything that the jobs of a run produced, predicted and matched.

    A candidate with a missing site is shown but takes no part in the matching, because a missing site
    would count against it; it is named in ``failures``. Matching again without each measurement and with moved
    references takes minutes with spectra and is then left out unless ``is_thorough``. What the report at hand says of
    an equal match is taken over.
    """
    decoded = finished(run)
    relaxations, tensors = outputs_of(decoded)
    failures = [f"{job.name}: {job.reason}" for job in snapshot.of(JobStatus.FAILED)]
    failures += [f"{job.name}: could not start, a job before it failed" for job in snapshot.blocked]
    if snapshot.is_active:
        n_left = len(snapshot.jobs) - snapshot.count(JobStatus.DONE) - snapshot.count(JobStatus.FAILED)
        failures.append(f"{n_left} jobs have not run yet; go on with 'surfshift resume'")
    decision = adaptive_decision(run, study, inputs, snapshot)
    protocol = study.nmr.method_name if decision is None else decision.protocol
    averages = averages_of(decoded) if study.motion is not None else ()
    by_candidate: dict[str, tuple[SiteTensors, ...]] = {}
    complete: list[Candidate] = []
    for relaxation in relaxations:
        candidate = relaxation.candidate
        wanted = {orbit.atom_indices[0] for orbit in wanted_sites(candidate, study.nmr)}
        own = {t.atom_indices[0]: t for t in tensors if _is_of(t, candidate, protocol) and t.atom_indices[0] in wanted}
        if study.motion is not None:
            moving = [site.site_tensors(shift_from=study.motion.shift_from) for site in averages]
            own |= {t.atom_indices[0]: t for t in moving if _is_of(t, candidate, protocol)}
        by_candidate[candidate.id] = tuple(own[atom] for atom in sorted(own))
        if decision is not None and candidate.id in decision.ruled_out:
            continue
        nmr = study.nmr if decision is None else study.nmr.model_copy(update={"isotopes": decision.complete})
        missing = [o for o in wanted_sites(candidate, nmr) if o.atom_indices[0] not in own]
        resting = [
            orbit
            for orbit, _ in moving_sites(candidate, nmr, study.motion)
            if orbit not in missing and own[orbit.atom_indices[0]].motion is None
        ]
        if missing:
            failures.append(f"{candidate.name}: left out of the matching, its tensors of {_named(missing)} are missing")
        elif resting:
            failures.append(
                f"{candidate.name}: left out of the matching, its averages over motion of {_named(resting)} are missing"
            )
        else:
            complete.append(candidate)
    if decision is not None:
        inputs = _adapted(study, inputs, decision)
    if study.nmr.periodic is not None:
        inputs, mixed = with_references(study, inputs, [t for own in by_candidate.values() for t in own])
        failures += mixed
        told = [n for c in complete for n in engine_notes(study.nmr.periodic, c, by_candidate[c.id])]
        inputs = replace(inputs, notes=(*inputs.notes, *told))
    given = phases_of(study)
    sites = _predicted(relaxations, by_candidate, inputs)
    sites = (*sites, *(site for phase in given for site in given_sites(phase, study.nmr.isotopes)))
    assignment = _matched(study, inputs, complete, sites, failures, decision=decision)
    result = StudyResult(
        name=study.study,
        relaxations=relaxations,
        given=given,
        tensors=by_candidate,
        references=tuple(inputs.references.values()),
        sites=sites,
        measurements=inputs.measurements,
        assignment=assignment,
        provenance=provenance(run, study, tensors, inputs),
        failures=tuple(failures),
    )
    is_thorough = is_thorough or not any(isinstance(m, Spectrum) for m in result.measurements)
    known = _known_advice(run, result)
    if known is not None and (known.sensitivities if is_thorough else known.calculations):
        return known
    return _advised(study, result, complete, decision, with_sensitivities=is_thorough)


def _named(orbits: Sequence[SiteOrbit]) -> str:
    return ", ".join(f"{orbit.element}{orbit.atom_indices[0]}" for orbit in orbits)


def _known_advice(run: RunFolder, result: StudyResult) -> StudyResult | None:
    """The result with the sensitivities and next steps of the report at hand, if that is of the same match."""
    try:
        known = StudyResult.model_validate_json((run.report / "result.json").read_bytes())
    except (OSError, ValueError):
        return None
    same = ("assignment", "measurements", "references", "sites")
    if result.assignment is None or any(getattr(known, name) != getattr(result, name) for name in same):
        return None
    advice = ("sensitivities", "experiments", "calculations")
    return result.model_copy(update={name: getattr(known, name) for name in advice})


def _is_of(tensors: SiteTensors, candidate: Candidate, protocol: str) -> bool:
    return tensors.structure_id == candidate.structure.content_id and tensors.method.protocol == protocol


def adaptive_decision(run: RunFolder, study: StudyFile, inputs: Inputs, snapshot: Snapshot) -> Decision | None:
    """What an adaptive run decided; None for a run that computes everything."""
    from .stages import decision_of, is_adaptive

    return decision_of(run, study, inputs, snapshot)[0] if run.is_submitted and is_adaptive(run) else None


def _adapted(study: StudyFile, inputs: Inputs, decision: Decision) -> Inputs:
    """Inputs with the measurements and references that an adaptive run ended with, and its history as notes."""
    from .stages import references_for

    references = dict(references_for(study, inputs)(decision.protocol))
    return Inputs(
        measurements=tuple(m for m in inputs.measurements if m.isotope in decision.complete),
        references=references,
        notes=(*inputs.notes, *decision.notes, *decision.ruled_out.values()),
    )


def match_settings(study: StudyFile, complete: list[Candidate], decision: Decision | None) -> MatchSettings:
    settings = study.matching.model_copy(update={"always_present": always_present_ids(study, complete)})
    if decision is None:
        return settings
    from .adaptive import scaled_none_prior

    n_all = len(decision.alive) + len(decision.ruled_out)
    return settings.model_copy(
        update={"none_prior": scaled_none_prior(settings.none_prior, n_all, len(decision.alive))}
    )


def _advised(
    study: StudyFile,
    result: StudyResult,
    complete: list[Candidate],
    decision: Decision | None,
    *,
    with_sensitivities: bool,
) -> StudyResult:
    """The result with what the verdict hangs on and what to do next; as it is where that fails."""
    if result.assignment is None:
        return result
    from ..analysis.advice import advise

    chosen = {candidate.id for candidate in complete}
    missing = {
        r.candidate.id: (r.candidate.name, _site_counts(r.candidate, study))
        for r in result.relaxations
        if r.candidate.id not in chosen and (decision is None or r.candidate.id not in decision.ruled_out)
    }
    try:
        return advise(
            result, match_settings(study, complete, decision), missing=missing, with_sensitivities=with_sensitivities
        )
    except SurfshiftError as error:
        return result.model_copy(update={"failures": (*result.failures, f"sensitivity and next steps: {error}")})


def _site_counts(candidate: Candidate, study: StudyFile) -> dict[str, tuple[int, ...]]:
    """Multiplicities of the sites of every isotope."""
    orbits = wanted_sites(candidate, study.nmr)
    return {
        isotope: tuple(len(orbit.atom_indices) for orbit in orbits if orbit.element == element_of(isotope))
        for isotope in study.nmr.isotopes
    }


def _predicted(
    relaxations: tuple[Relaxation, ...], tensors: dict[str, tuple[SiteTensors, ...]], inputs: Inputs
) -> tuple[PredictedSite, ...]:
    from ..analysis.prediction import predict_sites

    return tuple(
        site
        for relaxation in relaxations
        for site in predict_sites(
            relaxation.candidate,
            tensors[relaxation.candidate.id],
            inputs.references,
            tuple(inputs.references),
            partners=partners_of(inputs.measurements),
        )
    )


def _matched(
    study: StudyFile,
    inputs: Inputs,
    complete: list[Candidate],
    sites: tuple[PredictedSite, ...],
    failures: list[str],
    *,
    decision: Decision | None,
) -> Assignment | None:
    if not inputs.measurements or not complete:
        return None
    from ..analysis.matching import match

    measured = {m.isotope for m in inputs.measurements}
    given = dict.fromkeys(s.candidate_id for s in sites if s.is_given and s.isotope in measured)
    chosen = [*(candidate.id for candidate in complete), *given]
    predicted = {key: [s for s in sites if s.candidate_id == key] for key in chosen}
    try:
        found = match(predicted, inputs.measurements, inputs.references, match_settings(study, complete, decision))
        if decision is None:
            return found
        told = [note for note in decision.notes if note.startswith("settled")]
        return found.model_copy(update={"warnings": (*found.warnings, *told, *decision.ruled_out.values())})
    except SurfshiftError as error:
        failures.append(f"matching: {error}")
        return None


def provenance(run: RunFolder, study: StudyFile, tensors: tuple[SiteTensors, ...], inputs: Inputs) -> dict[str, str]:
    """Versions, protocols and hashes of a result."""
    state = run.state()
    entries = {f"version of {name}": str(value) for name, value in state["versions"].items()}
    entries["submitted"] = str(state["submitted"])
    entries["study file, SHA-256 when submitted"] = str(state["study_sha256"])
    entries["hash of everything that decides the jobs"] = study.job_hash
    entries["relaxation"] = study.relax.model_dump_json()
    if study.motion is not None:
        entries["averages over motion"] = study.motion.model_dump_json()
    for key in sorted({site.method.key for site in tensors}):
        entries.setdefault("NMR method", key)
    if study.nmr.periodic is None:
        entries["processor time of all sites, s"] = f"{sum(site.cpu_seconds for site in tensors):.0f}"
    else:
        methods = {(site.element, site.method.key) for site in tensors}
        entries |= {f"NMR method of {element}": key for element, key in sorted(methods)}
        programs = sorted({(site.method.engine, site.method.engine_version) for site in tensors})
        entries |= {f"version of {name}": version for name, version in programs}
        entries["NMR protocol"] = study.nmr.periodic.numbers_of().model_dump_json()
    for number, note in enumerate(inputs.notes, start=1):
        entries[f"note {number}"] = note
    return entries


def write_results(run: RunFolder, result: StudyResult) -> Path:
    """Write the report, which holds the result as JSON too; returns its page."""
    from ..analysis.report import write_report

    return write_report(result, run.report)
