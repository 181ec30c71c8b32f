"""Which reference makes shifts of the shieldings of an isotope: the user's own, a fitted one on file, or a wide one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..structures.errors import SurfshiftError
from .study import element_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from ..analysis.vocabulary import Method, Reference, SiteTensors
    from ..structures.vocabulary import Candidate
    from .candidates import Inputs
    from .engines.periodic import LadderKind, PeriodicSettings
    from .study import StudyFile


def reference_for(
    isotope: str,
    methods: Sequence[Method],
    *,
    own: Mapping[str, Reference],
    own_file: Path | None,
    known: Iterable[Reference] = (),
) -> Reference:
    """The reference of an isotope for the method of its tensors; a wide one, with a note, where none was fitted.

    Parameters
    ----------
    isotope
        What is referenced.
    methods
        Methods of the tensors of its element.
    own, own_file
        References of the user by isotope, and the file that they are from.
    known
        Further references, for example of a finished study, which go before those on file.

    Raises
    ------
    MixedMethodsError
        If the tensors were computed with several methods, or the user's reference is for another one.
    """
    from ..analysis.reference_fit import MixedMethodsError, check_one_method, wide_reference
    from ..analysis.references import ReferenceMissingError, load_reference

    method = check_one_method(methods, what=f"the library of {element_of(isotope)} tensors")
    if isotope in own:
        if own[isotope].method.key != method.key:
            raise MixedMethodsError(
                f"{own_file}: the {isotope} reference is for {own[isotope].method.key}, the library was computed "
                f"with {method.key}: shifts compare only within one method. Fit one with 'surfshift reference "
                f"TABLE.csv --isotope {isotope} --engine {method.engine} --functional {method.functional} "
                f"--protocol '{method.protocol}' --protocol-hash {method.protocol_hash} --out own.json'"
            )
        return own[isotope]
    for reference in known:
        if reference.isotope == isotope and reference.method.key == method.key and not reference.is_wide:
            return reference
    try:
        return load_reference(isotope, method)
    except ReferenceMissingError:
        return wide_reference(isotope, method)


def engine_notes(settings: PeriodicSettings, candidate: Candidate, tensors: Sequence[SiteTensors]) -> tuple[str, ...]:
    """What a reader must know of the tensors of one candidate.

    Parameters
    ----------
    settings
        What was asked for.
    candidate, tensors
        A relaxed candidate and its sites.
    """
    from .engines.inputs.qe import has_wrong_efg
    from .engines.periodic import ladder

    kinds: tuple[tuple[LadderKind, str], ...] = (("response", "linear response"), ("scf", "ground state"))
    notes = []
    if settings.engine == "qe" and has_wrong_efg(candidate.structure):
        notes.append(
            "its cell is not orthogonal and has an axis above 20 angstrom, where gipaw.x gives wrong field gradients "
            "(qe-gipaw issue 26): do not trust its CQ"
        )
    functional = settings.numbers_of().functional
    foreign = sorted({site.method.functional for site in tensors} - {functional})
    if foreign:
        notes.append(f"computed with {', '.join(foreign)}, as its files say, and not with {functional}")
    for kind, what in kinds:
        step = max((site.checks.get(f"{kind}_ladder_step", 0.0) for site in tensors), default=0.0)
        if step:
            name = ladder(settings.engine, kind)[int(step)]["name"]
            notes.append(f"its {what} converged only with other settings ({name})")
    return tuple(f"{candidate.name}: {note}" for note in notes)


def with_references(study: StudyFile, inputs: Inputs, tensors: Sequence[SiteTensors]) -> tuple[Inputs, tuple[str, ...]]:
    """Inputs with the references of tensors whose method is known only now, and what cannot be referenced.

    A measured isotope without a fitted reference gets a wide one and a note; one that was not measured gets no shifts.

    Parameters
    ----------
    study, inputs
        The study with a periodic engine, and its measurements.
    tensors
        What is finished.
    """
    from dataclasses import replace

    from ..analysis.reference_table import read_references

    own = {} if study.nmr.references is None else read_references(study.nmr.references)
    references: dict[str, Reference] = {}
    notes, problems = list(inputs.notes), []
    for isotope in study.nmr.isotopes:
        methods = [site.method for site in tensors if site.element == element_of(isotope)]
        if not methods:
            continue
        try:
            found = reference_for(isotope, methods, own=own, own_file=study.nmr.references)
        except SurfshiftError as error:
            problems.append(f"{isotope}: {error}")
            continue
        is_measured = any(measured.isotope == isotope for measured in inputs.measurements)
        if found.is_wide and not is_measured:
            notes.append(f"{isotope}: tensors only, no shifts: no reference for {found.method.key}")
            continue
        if found.is_wide:
            notes.append(found.note)
        references[isotope] = found
    return replace(inputs, references=references, notes=tuple(notes)), tuple(problems)
