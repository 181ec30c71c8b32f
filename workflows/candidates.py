"""From a study file to everything a run needs, checked before any job is submitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..analysis.vocabulary import Experiment, Spectrum
from ..structures.errors import nearest
from .proposals import StudyContentError, propose
from .study import StudyFile, element_of, phases_of

__all__ = ["Inputs", "StudyContentError", "always_present_ids", "build_candidates", "check_candidates", "load_inputs"]

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..analysis.vocabulary import Measurement, Method, Reference
    from ..structures.vocabulary import Candidate
    from .study import MeasuredSettings


@dataclass(frozen=True)
class Inputs:
    """Measured data and references of a study; ``notes`` say what will be missing and why."""

    measurements: tuple[Measurement, ...]
    references: dict[str, Reference]
    notes: tuple[str, ...]


def load_inputs(study: StudyFile) -> Inputs:
    """Read every measured file and the reference of every isotope.

    What identifies the tensors of a periodic engine, its pseudopotentials and its treatment of the macroscopic term,
    stands in their files: references are chosen once there are any (``with_references``), and here only the study's
    own are checked as far as the study file tells.

    Raises
    ------
    SurfshiftError
        If an isotope is unknown, the engine cannot compute it, or a file is damaged or of another method.
    """
    from ..analysis.constants import isotope as nucleus_of
    from ..analysis.reference_fit import wide_reference
    from ..analysis.references import ReferenceMissingError, load_reference
    from .engines.cluster import check_target, method_of
    from .engines.protocols import load_protocol

    periodic = study.nmr.periodic
    for isotope in study.nmr.isotopes:
        nucleus_of(isotope)
        if periodic is None:
            check_target(element_of(isotope))
    measurements = read_measurements(study.measured)
    for measured in measurements:
        if measured.isotope not in study.nmr.isotopes:
            raise StudyContentError(
                f"{measured.source} is a spectrum of {measured.isotope}, which is not in nmr.isotopes "
                f"({', '.join(study.nmr.isotopes)}); add it there"
            )
    notes = [f"{m.name}: {note}" for m in measurements if isinstance(m, Spectrum) for note in m.notes]
    if periodic is not None:
        _check_own_family(study, periodic.family)
        return Inputs(measurements=measurements, references={}, notes=tuple(notes))
    method = method_of(load_protocol(study.nmr.protocol))
    own = _own_references(study, method)
    references = {}
    for isotope in study.nmr.isotopes:
        try:
            references[isotope] = own[isotope] if isotope in own else load_reference(isotope, method)
        except ReferenceMissingError as error:
            if any(measured.isotope == isotope for measured in measurements):
                references[isotope] = wide_reference(isotope, method)
                notes.append(references[isotope].note)
            else:
                notes.append(f"{isotope}: tensors only, no shifts: {error}")
    return Inputs(measurements=measurements, references=references, notes=tuple(notes))


def read_measurements(measured: Iterable[MeasuredSettings]) -> tuple[Measurement, ...]:
    """Measurements from whichever files they are in, with the names and samples they are given."""
    found = []
    for settings in measured:
        measurement = _read_measurement(settings)
        own = {"sample": settings.sample, "transfer": settings.transfer, "satellites": settings.satellites}
        _check_dephasing(measurement, settings)
        _check_satellites(measurement, settings)
        found.append(measurement.model_copy(update={key: value for key, value in own.items() if value}))
    return tuple(found)


def _check_dephasing(measurement: Measurement, settings: MeasuredSettings) -> None:
    """Refuse dephasings of which nobody said by what and for how long."""
    from ..analysis.measurements import MeasurementError

    is_told = settings.transfer is not None and settings.transfer.dephasing_isotope is not None
    if is_told and settings.transfer is not None and settings.transfer.dephasing_isotope == measurement.isotope:
        raise MeasurementError(
            f"{settings.path}: {measurement.isotope} is observed and dephased by itself; dephasing_isotope is the "
            "nucleus that receives the other pulses"
        )
    has_any = measurement.kind == "peaks" and any(peak.dephasing is not None for peak in measurement.peaks)
    is_difference = measurement.kind == "spectrum" and measurement.experiment is Experiment.REDOR
    if (has_any or is_difference) and not is_told:
        what = "a dephasing of its peaks" if has_any else "a REDOR difference"
        raise MeasurementError(
            f"{settings.path}: {what} says nothing without the spins and the time; give 'transfer: "
            "{dephasing_isotope: 31P, dephasing_time_ms: 1.5}' for it in the study or in a manifest in YAML"
        )


def _check_satellites(measurement: Measurement, settings: MeasuredSettings) -> None:
    """Refuse satellite transitions of nuclei that have none, or without spinning."""
    from ..analysis.constants import isotope
    from ..analysis.measurements import MeasurementError

    if not settings.satellites:
        return
    if not isotope(measurement.isotope).is_half_integer_quadrupolar:
        raise MeasurementError(f"{settings.path}: {measurement.isotope} has no satellite transitions; leave them out")
    if not measurement.mas_rate_hz > 0:
        raise MeasurementError(f"{settings.path}: satellites are simulated for spinning samples; give mas_rate_hz")


def partners_of(measurements: Iterable[Measurement]) -> tuple[str, ...]:
    """Elements to which the distances of every site count, for contact and dephasing times."""
    return tuple(dict.fromkeys(e for m in measurements if m.transfer is not None for e in m.transfer.partners))


def _read_measurement(m: MeasuredSettings) -> Measurement:
    from ..analysis.measurements import read_peaks
    from ..analysis.spectra_io import read_spectrum

    if m.peaks is not None and m.isotope is not None:
        return read_peaks(
            m.path,
            m.isotope,
            m.field_tesla,
            mas_rate_hz=m.mas_rate_hz or 0.0,
            experiment=m.experiment or Experiment.ONE_PULSE,
            name=m.label,
        )
    return read_spectrum(
        m.path,
        m.isotope,
        m.field_tesla,
        mas_rate_hz=m.mas_rate_hz,
        experiment=m.experiment,
        name=m.label,
        reference_mhz=m.reference_mhz,
        row=m.row,
        part=m.part,
        correction=m.correction,
    )


def _own_references(study: StudyFile, method: Method) -> dict[str, Reference]:
    """References of the study's own file, which must be of the study's method."""
    if study.nmr.references is None:
        return {}
    from ..analysis.reference_fit import MixedMethodsError
    from ..analysis.reference_table import read_references

    own = read_references(study.nmr.references)
    foreign = [reference.method.key for reference in own.values() if reference.method.key != method.key]
    if foreign:
        raise MixedMethodsError(
            f"nmr.references: {study.nmr.references} is for {foreign[0]}, the study computes with {method.key}; fit a "
            "reference to shieldings of the study's own method"
        )
    return own


def _check_own_family(study: StudyFile, family: str) -> None:
    """Refuse references of the study's own file that are of another engine, functional or protocol."""
    if study.nmr.references is None:
        return
    from ..analysis.reference_fit import MixedMethodsError
    from ..analysis.reference_table import read_references

    for reference in read_references(study.nmr.references).values():
        if reference.method.family != family:
            raise MixedMethodsError(
                f"nmr.references: the {reference.isotope} reference of {study.nmr.references} is for "
                f"{reference.method.family}, the study computes with {family}; fit a reference to shieldings of the "
                "study's own method"
            )


def build_candidates(study: StudyFile) -> tuple[Candidate, ...]:
    """All candidates of a study, each once.

    Raises
    ------
    SurfshiftError
        If a structure cannot be built, a kept termination does not exist, or no candidate holds an
        element whose tensors are wanted.
    """
    candidates = propose(study).candidates
    check_candidates(study, candidates)
    return candidates


def check_candidates(study: StudyFile, candidates: Sequence[Candidate]) -> None:
    """Refuse candidates without the wanted nuclei, or without those that the matching names.

    Raises
    ------
    StudyContentError
    """
    present = {element for candidate in candidates for element in candidate.structure.elements}
    absent = [isotope for isotope in study.nmr.isotopes if element_of(isotope) not in present]
    if absent:
        raise StudyContentError(
            f"no candidate holds {', '.join(absent)} (nmr.isotopes); their elements are {', '.join(sorted(present))}"
        )
    always_present_ids(study, candidates)
    _check_motion(study, candidates)


def _check_motion(study: StudyFile, candidates: Sequence[Candidate]) -> None:
    if study.motion is None:
        return
    if study.run.adaptive:
        raise StudyContentError(
            "motion: averages are not part of an adaptive run; leave run.adaptive and --adaptive out"
        )
    names = {candidate.name for candidate in candidates}
    for name in study.motion.candidates:
        if name not in names and name != "bulk":
            raise StudyContentError(
                f"motion.candidates: there is no candidate {name!r}; {nearest(name, {*names, 'bulk'})}"
            )
    chosen = [candidate for candidate in candidates if study.motion.wants_candidate(candidate)]
    atoms = {f"{element}{k}" for candidate in chosen for k, element in enumerate(candidate.structure.elements)}
    for site in study.motion.sites:
        if site not in atoms:
            raise StudyContentError(
                f"motion.sites: {site} is an atom of none of the candidates {', '.join(c.name for c in chosen)}; take "
                "element and number of an atom, counted from 0, as the report's table of sites does"
            )


def always_present_ids(study: StudyFile, candidates: Iterable[Candidate]) -> tuple[str, ...]:
    """Ids of the candidates that ``matching.always_present`` names; ``bulk`` means every bulk candidate.

    Raises
    ------
    StudyContentError
        If a name belongs to no candidate.
    """
    known = list(candidates)
    given = phases_of(study) if study.matching.always_present else ()
    names = {candidate.name for candidate in known} | {phase.phase for phase in given}
    ids: list[str] = []
    for name in study.matching.always_present:
        chosen = [c.id for c in known if c.name == name or (name == "bulk" and c.kind == "bulk")]
        chosen += [phase.id for phase in given if phase.phase == name]
        if not chosen:
            raise StudyContentError(
                f"matching.always_present: there is no candidate {name!r}; {nearest(name, {*names, 'bulk'})}"
            )
        ids += chosen
    return tuple(dict.fromkeys(ids))
