"""Candidates from files: tensors from .magres, OUTCAR, QE, JSON and results of studies; phases with given lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from ..structures.errors import SurfshiftError
from ..structures.vocabulary import Candidate, Frozen, Region
from .given_phases import is_phase_file, read_given_phases
from .reference_fit import MixedMethodsError
from .vocabulary import Reference, Relaxation, SiteTensors, StudyResult

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from .given import GivenPhase

RESULT_NAME = "result.json"
_PHASE_SUFFIXES = (".yaml", ".yml", ".csv")


class LibraryError(SurfshiftError):
    """A library of candidates that cannot be used."""


class CandidateTensors(Frozen):
    """A candidate with the tensors of its sites: what one JSON file of a library holds."""

    candidate: Candidate
    tensors: tuple[SiteTensors, ...]


class Library(NamedTuple):
    """Candidates to match with.

    ``entries`` holds each candidate once; ``relaxations`` are those of them that a study relaxed; ``references`` came
    with a study's result; ``given`` are phases known by measured lines. ``left_out`` says which candidates cannot take
    part and why, ``notes`` what else to know.
    """

    entries: tuple[CandidateTensors, ...]
    relaxations: tuple[Relaxation, ...]
    references: tuple[Reference, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    given: tuple[GivenPhase, ...] = ()


def read_library(
    paths: Sequence[Path],
    elements: Collection[str],
    *,
    oxidation_states: Mapping[str, float] | None = None,
    protocol: str = "as in file",
) -> Library:
    """Read every candidate of files and folders.

    A folder is that of a finished study (``report/result.json`` or ``result.json``), or it holds one candidate per
    ``.magres`` file, OUTCAR, JSON file (``CandidateTensors``) or subfolder of a calculation. Phases with given lines
    are in YAML or CSV files (``given_phases``; other files of these kinds are passed over). A candidate that lacks
    tensors of one of the wanted elements is left out and named, because a missing site would count against it.

    Parameters
    ----------
    paths
        Files and folders.
    elements
        Chemical symbols that are measured.
    oxidation_states
        Charge of every element, e, where it cannot be found from the structure.
    protocol
        Name of the protocol of files that do not state one.

    Raises
    ------
    LibraryError
        If nothing usable is found, or a file is no candidate.
    MixedMethodsError
        If one structure was computed by two methods.
    SurfshiftError
        As the readers of the files, with the file.
    """
    found: list[tuple[CandidateTensors, Relaxation | None, str]] = []
    references: list[Reference] = []
    left_out: list[str] = []
    given: dict[str, GivenPhase] = {}
    for path in paths:
        for source in _sources(path):
            if source.suffix in _PHASE_SUFFIXES:
                given |= {phase.id: phase for phase in read_given_phases(source)}
            elif source.suffix == ".json":
                listed, own, known = _from_json(source)
                references += own
                given |= {phase.id: phase for phase in known}
                found += [(entry, relaxation, str(source)) for entry, relaxation in listed]
            else:
                read = _from_tensors(source, elements, oxidation_states, protocol, left_out)
                found += [] if read is None else [(read, None, str(source))]
    notes: list[str] = []
    kept: dict[str, tuple[CandidateTensors, Relaxation | None]] = {}
    for entry, relaxation, origin in found:
        candidate = entry.candidate
        if candidate.id in kept:
            first = kept[candidate.id][0].candidate.name
            check_one_method_each([kept[candidate.id][0], entry], elements)
            notes.append(f"{origin}: {candidate.name} has the structure of {first}; it counts once")
            continue
        if (missing := missing_sites(entry, elements)) != "":
            left_out.append(f"{candidate.name}: left out of the matching, its tensors of {missing} are missing")
            continue
        kept[candidate.id] = (entry, relaxation)
    if not kept and not given:
        named = ", ".join(str(path) for path in paths)
        why = f": {'; '.join(left_out)}" if left_out else "; give .magres files, or the folder of a finished study"
        raise LibraryError(f"no candidate with tensors of {', '.join(sorted(elements))} was found in {named}{why}")
    chosen = _named_apart([entry for entry, _ in kept.values()])
    names = {entry.candidate.id: entry.candidate for entry in chosen}
    return Library(
        entries=tuple(chosen),
        relaxations=tuple(
            relaxation.model_copy(update={"candidate": names[relaxation.candidate.id]})
            for _, relaxation in kept.values()
            if relaxation is not None
        ),
        references=tuple(references),
        left_out=tuple(dict.fromkeys(left_out)),
        notes=tuple(notes),
        given=_given_apart(given.values(), names),
    )


def check_one_method_each(entries: Iterable[CandidateTensors], elements: Collection[str]) -> None:
    """Refuse candidates whose tensors of one element come from different methods, or of several programs.

    Raises
    ------
    MixedMethodsError
        With the methods and a candidate of each.
    """
    by_element: dict[str, dict[str, str]] = {}
    families: dict[str, str] = {}
    for entry in entries:
        for site in entry.tensors:
            if site.element in elements:
                by_element.setdefault(site.element, {}).setdefault(site.method.key, entry.candidate.name)
                families.setdefault(site.method.family, f"{entry.candidate.name}, {site.element}")
    for what, methods in [*by_element.items(), ("all nuclei", families)]:
        if len(methods) > 1:
            told = "; ".join(f"{key} ({name})" for key, name in sorted(methods.items()))
            raise MixedMethodsError(
                f"the library mixes {len(methods)} methods for {what}: {told}. Shifts compare only within one method: "
                "compute all candidates with one program, functional and protocol, or match them apart"
            )


def missing_sites(entry: CandidateTensors, elements: Collection[str]) -> str:
    """Atoms of the wanted elements without tensors, in words; atoms of a slab's bulk region may be left to the bulk."""
    structure, regions = entry.candidate.structure, entry.candidate.regions
    covered = {atom for site in entry.tensors for atom in site.atom_indices}
    lacking = [k for k, element in enumerate(structure.elements) if element in elements and k not in covered]
    if entry.candidate.kind == "slab" and all(regions[k] is Region.BULK for k in lacking):
        return ""
    named = ", ".join(f"{structure.elements[k]}{k}" for k in lacking[:4])
    return named + (f" and {len(lacking) - 4} more" if len(lacking) > 4 else "")


def _sources(path: Path) -> list[Path]:
    """Files and calculation folders of a path, one per candidate or study result."""
    place = path.expanduser()
    if not place.exists():
        raise LibraryError(f"there is no file or folder {place}; check --library")
    if place.is_file():
        return [place]
    for result in (place / "report" / RESULT_NAME, place / RESULT_NAME):
        if result.is_file():
            return [result]
    if (place / "run.json").is_file():
        raise LibraryError(f"{place} is the folder of a run without a report; finish it with 'surfshift resume' first")
    is_calculation = any((place / name).is_file() for name in ("OUTCAR", "OUTCAR.gz")) or any(
        place.glob("*.nmr.magres")
    )
    if is_calculation:
        return [place]
    inside = sorted(place.iterdir())
    files = [
        f for f in inside if f.is_file() and (f.name.removesuffix(".gz").endswith(".magres") or f.suffix == ".json")
    ]
    files += [f for f in inside if f.is_file() and "OUTCAR" in f.name]
    files += [f for f in inside if f.is_file() and f.suffix in _PHASE_SUFFIXES and is_phase_file(f)]
    files += [f for f in inside if f.is_dir() and (any(f.glob("OUTCAR*")) or any(f.glob("*.magres")))]
    if not files:
        raise LibraryError(
            f"{place} holds no candidate: neither .magres files, OUTCAR files, folders of calculations, JSON files of "
            "candidates, YAML or CSV files of phases with given lines, nor the result of a study"
        )
    return files


def _from_json(
    path: Path,
) -> tuple[list[tuple[CandidateTensors, Relaxation | None]], list[Reference], tuple[GivenPhase, ...]]:
    text = path.read_bytes()
    try:
        result = StudyResult.model_validate_json(text)
    except ValidationError as error:
        if path.name == RESULT_NAME:
            raise LibraryError(f"{path} is not the result of a study: {error.errors()[0]['msg']}") from error
    else:
        relaxed = {r.candidate.id: r for r in result.relaxations}
        own = {key: r.candidate for key, r in relaxed.items()} | {c.id: c for c in result.candidates}
        return (
            [
                (CandidateTensors(candidate=candidate, tensors=result.tensors.get(key, ())), relaxed.get(key))
                for key, candidate in own.items()
            ],
            list(result.references),
            result.given,
        )
    try:
        return [(CandidateTensors.model_validate_json(text), None)], [], ()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "file"
        raise LibraryError(
            f"{path} holds neither a candidate with its tensors nor the result of a study ({place}: {first['msg']})"
        ) from error


def _from_tensors(
    path: Path,
    elements: Collection[str],
    oxidation_states: Mapping[str, float] | None,
    protocol: str,
    left_out: list[str],
) -> CandidateTensors | None:
    from .tensor_files import MissingTensorsError, candidate_of, read_tensors, site_tensors

    name = path.name.removesuffix(".gz").removesuffix(".magres") or path.resolve().name
    try:
        run = read_tensors(path)
        candidate = candidate_of(run, name, oxidation_states=oxidation_states)
        wanted = sorted(set(elements) & set(candidate.structure.elements))
        if not wanted:
            return CandidateTensors(candidate=candidate, tensors=())
        tensors = site_tensors(run, candidate.structure, elements=wanted, protocol=protocol)
    except MissingTensorsError as error:
        left_out.append(f"{name}: left out of the matching: {error}")
        return None
    except SurfshiftError as error:
        raise type(error)(f"{path}: {error}" if str(path) not in str(error) else str(error)) from error
    return CandidateTensors(candidate=candidate, tensors=tensors)


def _named_apart(entries: list[CandidateTensors]) -> list[CandidateTensors]:
    """Candidates with names that differ: a number follows where a name comes back."""
    counts: dict[str, int] = {}
    result = []
    for entry in entries:
        name = entry.candidate.name
        counts[name] = counts.get(name, 0) + 1
        if counts[name] > 1:
            candidate = entry.candidate.model_copy(update={"name": f"{name} ({counts[name]})"})
            result.append(entry.model_copy(update={"candidate": candidate}))
        else:
            result.append(entry)
    return result


def _given_apart(given: Iterable[GivenPhase], candidates: Mapping[str, Candidate]) -> tuple[GivenPhase, ...]:
    """Given phases with names of their own, beside the candidates' names too."""
    taken = [candidate.name for candidate in candidates.values()]
    found = []
    for phase in given:
        name = phase.phase if phase.phase not in taken else f"{phase.phase} (given)"
        number = 2
        while name in taken:
            name, number = f"{phase.phase} (given {number})", number + 1
        taken.append(name)
        found.append(phase if name == phase.phase else phase.model_copy(update={"phase": name}))
    return tuple(found)
