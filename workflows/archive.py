"""Archives of a study: everything that its verdict follows from, and the check that it does follow."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from datetime import UTC, datetime
from importlib import resources
from importlib.metadata import distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ..analysis.matching.settings import MatchSettings  # noqa: TC001  (pydantic evaluates the annotation)
from ..analysis.vocabulary import StudyResult
from ..structures.vocabulary import Frozen
from .archive_files import ArchivedFile, ArchiveError, DamagedArchiveError, Manifest, archived, extract, write_zip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .queue.folder import RunFolder
    from .study import StudyFile

STUDY_NAME = "study.yaml"
RESULT_NAME = "report/result.json"
MATCH_NAME = "matching.json"
MAX_INPUT_BYTES = 500_000_000

SHIFT_TOLERANCE_PPM = 1e-3
SHARE_TOLERANCE = 2e-3
"""Other processors and versions of libraries round differently; a change below these is no change."""

README = """\
Study {study}, archived by surfshift {version} on {created}.

manifest.json      every file with its size and SHA-256
study.yaml         the study with every number stated; its paths lead to inputs/
study-as-run.yaml  the file as it was submitted
inputs/            measured data, structures and references of the user
report/            the report, its figures and tables, and result.json: candidates, relaxed structures, tensors,
                   references, predictions, measurements and the verdict
structures/        relaxed structures as CIF and extended XYZ
tensors/           shielding and EFG tensors of every structure as .magres
protocols/         the numbers of the protocols that were used
matching.json      settings of the fit, and which candidates took part
environment.txt    versions of everything that was installed
zenodo.json        a start for the description of a deposit; add the creators

Check it, with surfshift {version} installed (python -m pip install surfshift=={version}):
    surfshift archive --check {file}
This checks every hash, reads the measured files again, predicts the lines from the archived tensors, fits them and
compares the verdict. Compute everything anew, hours of processor time:
    surfshift run study.yaml
"""


class Replay(Frozen):
    """What the fit of a study was given besides tensors and measurements."""

    settings: MatchSettings
    candidates: tuple[str, ...]


class ArchiveCheck(Frozen):
    """What a check found: number of files whose hash is right, and every difference, in words."""

    study: str
    n_files: int
    verdict: str
    largest_shift_change_ppm: float
    largest_share_change: float
    differences: tuple[str, ...]

    @property
    def reproduces(self) -> bool:
        """Whether the verdict follows from the archived data."""
        return not self.differences


def write_archive(run: RunFolder, study: StudyFile, target: Path) -> tuple[Manifest, ArchiveCheck]:
    """Write the archive of a finished study, check it, and only then give it its name.

    Raises
    ------
    ArchiveError
        If there is no report yet, an input is too large, or the verdict does not follow from what would be archived.
    OSError
        If it cannot be written; nothing is left behind.
    """
    result = _result_of(run)
    if target.exists():
        raise ArchiveError(f"{target} exists and is not overwritten; name another file with --out, or move it away")
    contents: dict[str, bytes] = {}
    files: list[ArchivedFile] = []
    for path, content, what in _contents(run, study, result, target.name):
        if path not in contents:
            contents[path] = content
            files.append(archived(path, content, what))
    manifest = Manifest(study=study.study, created=_now(), surfshift_version=version("surfshift"), files=tuple(files))
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write_zip(temporary, manifest, contents)
        found = check_archive(temporary)
        if not found.reproduces:
            raise ArchiveError(
                "the report does not follow from the files of the study: "
                + "; ".join(found.differences[:5])
                + "; draw it again with 'surfshift report STUDY', then archive"
            )
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return manifest, found


def check_archive(path: Path) -> ArchiveCheck:
    """Check every hash of an archive, and whether its verdict follows from its tensors and measured data.

    Raises
    ------
    ArchiveError
        If the archive is unsafe, damaged, or holds what cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="surfshift-archive-") as name:  # for the user alone, mode 0700
        folder = Path(name)
        manifest = extract(path, folder)
        return _replayed(folder, manifest)


def _replayed(folder: Path, manifest: Manifest) -> ArchiveCheck:
    from ..analysis.given_phases import given_sites
    from ..analysis.matching import match
    from ..analysis.prediction import predict_sites
    from .candidates import partners_of, read_measurements
    from .study import load_study, phases_of

    try:
        result = StudyResult.model_validate_json((folder / RESULT_NAME).read_bytes())
        replay = Replay.model_validate_json((folder / MATCH_NAME).read_bytes())
    except FileNotFoundError as error:
        raise DamagedArchiveError(f"the archive lacks {Path(error.filename).name}; it cannot be checked") from error
    except (ValueError, RecursionError) as error:
        raise DamagedArchiveError(
            f"the archive's results cannot be read by surfshift {version('surfshift')}"
        ) from error
    study = load_study(folder / STUDY_NAME)
    for input_path in study_paths(study):
        if not input_path.resolve().is_relative_to(folder.resolve()):
            raise DamagedArchiveError(f"the archive's study names {input_path}, a file outside of it; do not use it")
    differences: list[str] = []
    known = {(m.name, m.isotope) for m in result.measurements}
    measurements = tuple(m for m in read_measurements(study.measured) if (m.name, m.isotope) in known)
    if [m.model_copy(update={"source": ""}) for m in measurements] != [
        m.model_copy(update={"source": ""}) for m in result.measurements
    ]:
        differences.append("the measured files do not give the measurements of the result")
    references = {reference.isotope: reference for reference in result.references}
    candidates = [r.candidate for r in result.relaxations] + list(result.candidates)
    sites = [
        site
        for candidate in candidates
        for site in predict_sites(
            candidate,
            result.tensors.get(candidate.id, ()),
            references,
            tuple(references),
            partners=partners_of(measurements),
        )
    ]
    sites += [site for phase in phases_of(study) for site in given_sites(phase, study.nmr.isotopes)]
    shift, told = _compare_sites(result, {(s.candidate_id, s.isotope, s.atom_indices): s.delta_iso_ppm for s in sites})
    differences += told
    share, words = 0.0, "no verdict: nothing was measured or matched"
    if result.assignment is not None:
        predicted = {key: [s for s in sites if s.candidate_id == key] for key in replay.candidates}
        again = match(predicted, measurements, references, replay.settings)
        archived_one = result.assignment
        words = f"{archived_one.verdict.value}: {archived_one.statement}"
        if (again.verdict, again.members) != (archived_one.verdict, archived_one.members):
            differences.append(
                f"the verdict is {again.verdict.value!r} of {', '.join(again.members)}, not the archived one"
            )
        old = {p.candidate_id: p for p in archived_one.populations}
        new = {p.candidate_id: p for p in again.populations}
        share = max(
            [abs(again.probability - archived_one.probability)]
            + [abs(new[k].mean - old[k].mean) for k in old.keys() & new.keys()]
            + [abs(new[k].probability_present - old[k].probability_present) for k in old.keys() & new.keys()]
        )
        if old.keys() != new.keys():
            differences.append("other candidates have populations")
        if share > SHARE_TOLERANCE:
            differences.append(f"a probability or population changed by {share:.2g}")
    return ArchiveCheck(
        study=manifest.study,
        n_files=len(manifest.files),
        verdict=words,
        largest_shift_change_ppm=shift,
        largest_share_change=share,
        differences=tuple(differences),
    )


def _compare_sites(
    result: StudyResult, again: dict[tuple[str, str, tuple[int, ...]], float]
) -> tuple[float, list[str]]:
    old = {(s.candidate_id, s.isotope, s.atom_indices): s.delta_iso_ppm for s in result.sites}
    if old.keys() != again.keys():
        return 0.0, [f"{len(old.keys() ^ again.keys())} sites are predicted in one of the two only"]
    largest = max((abs(old[key] - again[key]) for key in old), default=0.0)
    told = [f"a shift changed by {largest:.3g} ppm"] if largest > SHIFT_TOLERANCE_PPM else []
    return largest, told


def study_paths(study: StudyFile) -> list[Path]:
    """Every file or folder that a study names."""
    return list(_paths(study.model_dump()))


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _paths(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _paths(item)


def _result_of(run: RunFolder) -> StudyResult:
    run.state()
    path = run.report / "result.json"
    try:
        return StudyResult.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ArchiveError(
            f"there is no report in {run.report}; finish the run with 'surfshift resume STUDY'"
        ) from error
    except ValueError as error:
        raise ArchiveError(f"{path} cannot be read; draw the report again with 'surfshift report STUDY'") from error


def _contents(
    run: RunFolder, study: StudyFile, result: StudyResult, file_name: str
) -> Iterator[tuple[str, bytes, str]]:
    """Path, content and description of every file."""
    now, own = _now(), version("surfshift")
    yield (
        "README.txt",
        README.format(study=study.study, version=own, created=now, file=file_name).encode(),
        "what is what",
    )
    data, inputs = relocated(study)
    yield STUDY_NAME, yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode(), "study, every number stated"
    as_run = run.path / STUDY_NAME
    if as_run.is_file():
        yield "study-as-run.yaml", as_run.read_bytes(), "study file as submitted"
    for name, path in inputs.items():
        yield name, path.read_bytes(), "input of the user"
    yield RESULT_NAME, (run.report / "result.json").read_bytes(), "candidates, tensors, references, verdict"
    for path in sorted(run.report.iterdir()):
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".") and path.name != "result.json":
            yield f"report/{path.name}", path.read_bytes(), "report"
    yield from _structures(result)
    for engine in _protocol_files(study):
        text = resources.files("surfshift.workflows.protocols").joinpath(engine).read_bytes()
        yield f"protocols/{engine}", text, "numbers of the protocols"
    yield MATCH_NAME, _replay(run, study, result).model_dump_json(indent=1).encode(), "settings of the fit"
    yield "run.json", json.dumps(run.state(), indent=1).encode(), "what was submitted, with versions"
    yield "environment.txt", _environment().encode(), "installed versions"
    yield "zenodo.json", _deposit(result, own).encode(), "start of a deposit's description"


def relocated(study: StudyFile) -> tuple[dict[str, Any], dict[str, Path]]:
    """A study as data whose paths lead to ``inputs/``, and those inputs; the workers' file of a cluster is left out.

    Raises
    ------
    ArchiveError
        If the inputs are larger than 500 MB together.
    """
    inputs: dict[str, Path] = {}
    places: dict[Path, str] = {}

    def moved(value: Any) -> Any:
        if isinstance(value, Path):
            return _take(value, inputs, places)
        if isinstance(value, dict):
            return {key: moved(item) for key, item in value.items() if item is not None}
        if isinstance(value, list | tuple):
            return [moved(item) for item in value]
        return value

    data: dict[str, Any] = json.loads(study.model_dump_json(exclude_none=True))
    typed = study.model_copy(update={"run": study.run.model_copy(update={"hpc": None})}).model_dump(exclude_none=True)
    data["run"].pop("hpc", None)
    for key in ("structure", "nmr", "measured", "candidates", "given_phases"):
        if key in data and any(_paths(typed[key])):
            data[key] = json.loads(json.dumps(moved(typed[key]), default=str))
    size = sum(path.stat().st_size for path in inputs.values())
    if size > MAX_INPUT_BYTES:
        raise ArchiveError(
            f"the measured files and structures are {size / 1e6:.0f} MB, more than 500 MB; archive them apart"
        )
    return data, inputs


def _take(path: Path, inputs: dict[str, Path], places: dict[Path, str]) -> str:
    """Add a file or folder to the inputs, once; returns its path in the archive."""
    root = _experiment_folder(path)
    if root not in places:
        stem = (
            "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in root.name).strip(".") or "input"
        )
        name, number = stem, 1
        while f"inputs/{name}".casefold() in {place.casefold() for place in places.values()}:
            number += 1
            name = f"{number}-{stem}"
        places[root] = f"inputs/{name}"
        files = sorted(root.rglob("*")) if root.is_dir() else [root]
        for file in files:
            if file.is_file() and (file == root or not file.is_symlink()):
                inner = file.relative_to(root).as_posix()
                inputs[places[root] if inner == "." else f"{places[root]}/{inner}"] = file
    inner = path.relative_to(root).as_posix()
    return places[root] if inner == "." else f"{places[root]}/{inner}"


def _experiment_folder(path: Path) -> Path:
    """The Bruker experiment that a file or a folder of processed data belongs to; the path itself otherwise."""
    for parent in [path, *path.parents][:4]:
        if (parent / "acqus").is_file():
            return parent
    return path


def _structures(result: StudyResult) -> Iterator[tuple[str, bytes, str]]:
    from ..analysis.tensor_files import magres_text, tensors_of_sites
    from .export import export_candidate, file_stem

    with tempfile.TemporaryDirectory(prefix="surfshift-archive-") as name:
        folder = Path(name)
        for number, relaxation in enumerate(result.relaxations, start=1):
            candidate = relaxation.candidate
            stem = f"{number:03d}-{file_stem(candidate.name)}"
            for file in export_candidate(
                candidate, folder, ("cif", "extxyz"), stem=stem, energy_ev=relaxation.energy_ev
            ):
                yield f"structures/{file}", (folder / file).read_bytes(), f"relaxed structure of {candidate.name}"
            sites = result.tensors.get(candidate.id, ())
            if sites:
                text = magres_text(tensors_of_sites(candidate.structure, sites))
                yield f"tensors/{stem}.magres", text.encode(), f"tensors of {candidate.name}"


def _protocol_files(study: StudyFile) -> list[str]:
    from .engines.dft.protocols import PROTOCOL_FILES

    relaxing = (PROTOCOL_FILES[step.engine] for step in study.relax.dft)
    return list(dict.fromkeys(f"{name}.yaml" for name in (study.nmr.engine, *relaxing)))


def _replay(run: RunFolder, study: StudyFile, result: StudyResult) -> Replay:
    """The settings of the fit and the candidates that took part, as the report was made."""
    from .candidates import load_inputs
    from .collect import adaptive_decision, match_settings
    from .jobs import wanted_sites
    from .queue.records import snapshot
    from .stages import is_adaptive

    decision = None
    if is_adaptive(run):
        decision = adaptive_decision(run, study, load_inputs(study), snapshot(run.controller()))
    nmr = study.nmr if decision is None else study.nmr.model_copy(update={"isotopes": decision.complete})
    complete = []
    for relaxation in result.relaxations:
        candidate = relaxation.candidate
        if decision is not None and candidate.id in decision.ruled_out:
            continue
        have = {site.atom_indices[0] for site in result.tensors.get(candidate.id, ())}
        if all(orbit.atom_indices[0] in have for orbit in wanted_sites(candidate, nmr)):
            complete.append(candidate)
    settings = match_settings(study, complete, decision) if complete else study.matching
    measured = {m.isotope for m in result.measurements}
    given = dict.fromkeys(s.candidate_id for s in result.sites if s.is_given and s.isotope in measured)
    return Replay(settings=settings, candidates=(*(candidate.id for candidate in complete), *given))


def _environment() -> str:
    found = sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()}, key=str.lower)
    head = [f"# Python {platform.python_version()}, {platform.system()} {platform.machine()}"]
    return "\n".join([*head, *found, ""])


def _deposit(result: StudyResult, own: str) -> str:
    from ..analysis.report.paragraph import paragraph

    isotopes = sorted({site.isotope for site in result.sites})
    fields = {
        "title": f"{result.name}: candidate structures, NMR tensors and assignment",
        "upload_type": "dataset",
        "description": paragraph(result) or f"Candidates and NMR tensors of the study {result.name}.",
        "keywords": ["solid-state NMR", "DFT", "surface", "solid electrolyte", *isotopes],
        "creators": [],
        "notes": f"Made with surfshift {own}; check with 'surfshift archive --check'.",
    }
    return json.dumps({"metadata": fields}, indent=1, ensure_ascii=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
