"""What ``surfshift structures`` does: plan, build, rank, export and show the candidates of a study."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Self

from ..structures.errors import SurfshiftError, nearest
from .files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from rich.console import Console

    from ..analysis.candidate_summary import CandidateSummary
    from .proposals import Proposal, Proposals
    from .ranking import Ranked
    from .study import StudyFile

FORMATS = ("cif", "poscar", "extxyz")

CSV_COLUMNS = (
    "name", "id", "origin", "parent", "formula", "n_atoms", "facet", "termination", "decoration", "tasker", "area_ang2",
    "thickness_ang", "dipole_e_ang", "n_broken_bonds", "has_equal_faces", "nmr_cpu_seconds", "relax_cpu_seconds",
    "energy_ev", "is_relaxed", "model", "n_steps", "adhesion_j_m2", "problem",
)  # fmt: skip


class ExportFormatError(SurfshiftError):
    """A file format that is not written."""


def chosen_formats(option: str, study: StudyFile) -> tuple[str, ...]:
    """Formats of ``--export`` and of the study file.

    Raises
    ------
    ExportFormatError
        If one is unknown.
    """
    named = [word.strip().lower() for word in option.split(",") if word.strip()]
    for word in named:
        if word not in FORMATS:
            raise ExportFormatError(f"--export: unknown format {word!r}, {nearest(word, FORMATS)}")
    return tuple(dict.fromkeys([*study.export.formats, *named]))


class Bar:
    """A progress bar on standard error; silent where that is no terminal."""

    def __init__(self, text: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._text = text
        self._task = self._progress.add_task(text, total=max(1, total))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def at(self, done: float, total: float, text: str) -> None:
        """Show so many of all pieces as done."""
        self._progress.update(self._task, completed=done, total=total, description=f"{self._text}: {text[:48]}")

    def add(self, amount: float, text: str) -> None:
        """Some more is done."""
        self._progress.update(self._task, advance=amount, description=f"{self._text}: {text[:48]}")


def build(study: StudyFile) -> Proposals:
    """Everything that the study asks for, in memory."""
    from .candidates import check_candidates
    from .proposals import propose

    with Bar("building", 1) as bar:
        made = propose(study, bar.at)
    check_candidates(study, made.candidates)
    return made


def summaries(study: StudyFile, proposals: Sequence[Proposal]) -> list[CandidateSummary]:
    """Numbers of every proposal, with its sites and its expected cost."""
    from ..analysis.candidate_summary import summarize
    from ..structures.undercoordination import undercoordinated_atoms
    from .costs import candidate_cost

    found = []
    with Bar("counting sites", len(proposals)) as bar:
        for proposal in proposals:
            candidate = proposal.candidate
            cost = candidate_cost(candidate, study)
            found.append(
                summarize(
                    candidate,
                    origin=proposal.origin,
                    slab=proposal.slab,
                    undercoordinated=undercoordinated_atoms(candidate, [bulk.structure for bulk in proposal.bulks]),
                    sites={own.isotope: own.n_sites for own in cost.nmr},
                    n_refused_sites=sum(own.n_refused for own in cost.nmr),
                    nmr_cpu_seconds=cost.nmr_cpu_seconds,
                    relax_cpu_seconds=cost.relax_cpu_seconds,
                )
            )
            bar.add(1, candidate.name)
    return found


def plan_rows(study: StudyFile, found: Sequence[CandidateSummary]) -> list[dict[str, Any]]:
    """One row per origin and one for all: candidates, atoms, sites per isotope, expected processor seconds."""
    groups: dict[str, list[CandidateSummary]] = defaultdict(list)
    for summary in found:
        groups[summary.origin].append(summary)
    groups["all"] = list(found)
    return [
        {
            "origin": origin,
            "candidates": len(members),
            "atoms": [min(m.n_atoms for m in members), max(m.n_atoms for m in members)],
            "sites": {isotope: sum(m.sites[isotope] for m in members) for isotope in study.nmr.isotopes},
            "refused_sites": sum(m.n_refused_sites for m in members),
            "nmr_cpu_seconds": round(sum(m.nmr_cpu_seconds for m in members), 1),
            "relax_cpu_seconds": round(sum(m.relax_cpu_seconds for m in members), 1),
        }
        for origin, members in groups.items()
    ]


def print_plan(console: Console, study: StudyFile, made: Proposals, found: Sequence[CandidateSummary]) -> None:
    """The plan as a table, and what was left out."""
    from rich.table import Table

    from ..analysis.report.page import duration
    from .costs import RESPONSE_OVER_SCF, TYPICAL_STEPS

    table = Table(box=None)
    table.add_column("origin", no_wrap=True)
    for word in (
        "number",
        "atoms",
        *(f"{isotope} sites" for isotope in study.nmr.isotopes),
        "NMR CPU",
        "relax CPU",
    ):
        table.add_column(word, justify="right", min_width=4, no_wrap=word == "atoms")
    for row in plan_rows(study, found):
        low, high = row["atoms"]
        table.add_row(
            row["origin"],
            str(row["candidates"]),
            str(low) if low == high else f"{low}-{high}",
            *(str(n) for n in row["sites"].values()),
            duration(row["nmr_cpu_seconds"]),
            duration(row["relax_cpu_seconds"]),
        )
    console.print(table)
    relaxing = f"SevenNet {study.relax.model}, about {TYPICAL_STEPS} steps per candidate."
    if study.nmr.periodic is None:
        say(
            console,
            f"CPU times are estimates, good to a factor of two: cluster engine, protocol {study.nmr.protocol}, from "
            f"measured sites; {relaxing}",
        )
    else:
        say(
            console,
            f"NMR: one GIPAW job of {study.nmr.engine} per candidate, protocol {study.nmr.periodic.label}; its time is "
            f"a guess, {1 + RESPONSE_OVER_SCF:g} times a ground state that is itself scaled from CP2K. {relaxing}",
        )
    if refused := sum(summary.n_refused_sites for summary in found):
        say(
            console,
            f"The cluster engine refuses about {refused} of the sites in the structures as built; they count as 0 s, "
            "and 'surfshift run' would name them as failed unless relaxing changes that.",
        )
    for name, twin in made.duplicates:
        say(console, f"same structure, dropped: {name} = {twin}")
    for line in made.left_out:
        say(console, f"not built: {line}")


def say(console: Console, text: str) -> None:
    """One line of plain text."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def rank_all(
    study: StudyFile, made: Proposals, found: Sequence[CandidateSummary], folder: Path, *, relaxes: bool
) -> tuple[list[CandidateSummary], dict[str, Ranked]]:
    """Energies of all candidates, from the folder or computed now.

    Raises
    ------
    InterruptedRunError
        If it is stopped from the keyboard; what is finished is kept.
    """
    from .queue.errors import InterruptedRunError
    from .ranking import EnergyStore, rank

    store = EnergyStore(folder / "energies", study.relax, is_relaxed=relaxes)
    total = sum(len(proposal.candidate.structure) for proposal in made.proposals)
    try:
        with Bar("relaxing" if relaxes else "evaluating", total) as bar:
            ranked = rank(made.proposals, store, lambda name, n_atoms: bar.add(n_atoms, name))
    except KeyboardInterrupt as error:
        raise InterruptedRunError(
            f"stopped; {store.n_computed} energies are new in {store.folder}, and the same command goes on from there"
        ) from error
    updated = []
    for summary in found:
        own = ranked[summary.id]
        updated.append(
            summary.model_copy(
                update={
                    "energy_ev": own.record.energy_ev,
                    "is_relaxed": relaxes,
                    "model": own.record.model,
                    "n_steps": own.record.n_steps,
                    "surface_energy": own.surface,
                    "adhesion_j_m2": own.adhesion_j_m2,
                    "problem": own.record.problem,
                    "notes": (*summary.notes, *own.record.notes),
                }
            )
        )
    return updated, ranked


def print_candidates(console: Console, found: Sequence[CandidateSummary]) -> None:
    """One line per candidate; ranked ones with the lowest surface energy first."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..analysis.report.gallery import surface_words

    is_ranked = any(summary.energy_ev is not None or summary.problem for summary in found)
    table = Table(box=None)
    for word in ("name", "origin"):
        table.add_column(word, no_wrap=True)
    for word in ("atoms", "area", "dipole", "open", "sites", *(("J/m2", "against") if is_ranked else ())):
        table.add_column(word, justify="left" if word == "against" else "right")
    for summary in sorted(found, key=_order) if is_ranked else found:
        row: list[str | Text] = [
            Text(summary.name),
            summary.origin,
            str(summary.n_atoms),
            "" if summary.area_ang2 is None else f"{summary.area_ang2:.1f}",
            "" if summary.dipole_e_ang is None else f"{summary.dipole_e_ang:.2f}",
            str(len(summary.undercoordinated)) if summary.area_ang2 is not None else "",
            str(sum(summary.sites.values())),
        ]
        if is_ranked:
            energy = summary.surface_energy
            words = surface_words(summary)
            if summary.adhesion_j_m2 is not None:
                row += [f"{summary.adhesion_j_m2:.2f}", "its two sides, rigid (work of separation)"]
            else:
                row += [words, Text(summary.problem or "; ".join(energy.balance) or energy.note, overflow="fold")]
        table.add_row(*row)
    # names are not broken: what is too wide for a terminal runs over its edge
    Console(width=max(console.width, 150)).print(table)


def _order(summary: CandidateSummary) -> tuple[bool, float]:
    low = summary.surface_energy.low_j_m2
    return (low is None, low if low is not None else 0.0)


def csv_text(study: StudyFile, found: Sequence[CandidateSummary]) -> str:
    """The summaries as CSV; lists stand in one cell."""
    buffer = io.StringIO()
    regions = list(dict.fromkeys(region for summary in found for region in summary.regions))
    head = [
        *CSV_COLUMNS,
        "surface_energy_low_j_m2",
        "surface_energy_high_j_m2",
        "weighed_against",
        "n_undercoordinated",
        "broken_bonds",
        *(f"n_{region}" for region in regions),
        *(f"sites_{isotope}" for isotope in study.nmr.isotopes),
        "notes",
    ]
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    for summary in found:
        data = summary.model_dump(mode="json")
        energy = summary.surface_energy
        cells = [
            *(data[column] for column in CSV_COLUMNS),
            energy.low_j_m2,
            energy.high_j_m2,
            " | ".join(energy.balance),
            len(summary.undercoordinated),
            ", ".join(f"{n} {pair}" for pair, n in summary.broken_bonds),
            *(summary.regions.get(region, 0) for region in regions),
            *(summary.sites[isotope] for isotope in study.nmr.isotopes),
            " | ".join([*summary.notes, *([energy.note] if energy.note else [])]),
        ]
        writer.writerow([_plain_cell(cell) for cell in cells])
    return buffer.getvalue()


def _plain_cell(cell: Any) -> Any:
    """Words that a spreadsheet would take for a formula get an apostrophe."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@" and cell else cell


def write_files(
    study: StudyFile,
    made: Proposals,
    found: Sequence[CandidateSummary],
    ranked: dict[str, Ranked],
    *,
    folder: Path,
    formats: Sequence[str],
) -> list[CandidateSummary]:
    """Exports as built and, where they were relaxed, as relaxed; returns the summaries with their files' names."""
    from .export import export_candidate, file_stem

    known = _earlier_files(folder)
    stems: Counter[str] = Counter()
    updated = []
    for proposal, summary in zip(made.proposals, found, strict=True):
        candidate = proposal.candidate
        stem = file_stem(candidate.name)
        stems[stem.lower()] += 1
        if stems[stem.lower()] > 1:
            stem = f"{stem}_{candidate.id}"
        versions = [("structures", candidate, None if summary.is_relaxed else summary.energy_ev)]
        if summary.is_relaxed and summary.energy_ev is not None and candidate.id in ranked:
            relaxed = candidate.model_copy(update={"structure": ranked[candidate.id].record.structure})
            versions.append(("relaxed", relaxed, summary.energy_ev))
        names: list[str] = []
        for place, version, energy in versions:
            written = export_candidate(
                version, folder / place, formats, stem=stem, energy_ev=energy, open_atoms=summary.undercoordinated
            )
            names += [f"{place}/{name}" for name in written]
        updated.append(summary.model_copy(update={"files": tuple(names)}))
    for stale in known - {name for summary in updated for name in summary.files}:
        (folder / stale).unlink(missing_ok=True)
    write_atomically(folder / "candidates.csv", csv_text(study, updated))
    write_atomically(folder / "candidates.json", json.dumps(as_json(study, made, updated), indent=1))
    return updated


def _earlier_files(folder: Path) -> set[str]:
    """Files of an earlier call in this folder, as its list names them; nothing outside the two folders of exports."""
    try:
        data = json.loads((folder / "candidates.json").read_text(encoding="utf-8"))
        names = {name for entry in data["candidates"] for name in entry["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {
        name
        for name in names
        if name.count("/") == 1 and name.split("/")[0] in ("structures", "relaxed") and ".." not in name
    }


def as_json(study: StudyFile, made: Proposals, found: Sequence[CandidateSummary]) -> dict[str, Any]:
    """Plan and candidates as plain data."""
    return {
        "study": study.study,
        "plan": plan_rows(study, found),
        "duplicates": [list(pair) for pair in made.duplicates],
        "left_out": list(made.left_out),
        "candidates": [summary.model_dump(mode="json") for summary in found],
    }


def write_gallery(
    study: StudyFile, made: Proposals, found: Sequence[CandidateSummary], ranked: dict[str, Ranked], folder: Path
) -> Path:
    """The gallery; relaxed structures are shown where there are any. Returns its path."""
    from ..analysis.report.gallery import Card, render_gallery
    from ..analysis.report.page import duration
    from ..structures.undercoordination import undercoordinated_atoms

    cards = []
    for proposal, summary in zip(made.proposals, found, strict=True):
        candidate = proposal.candidate
        if summary.is_relaxed and summary.energy_ev is not None:
            relaxed = candidate.model_copy(update={"structure": ranked[candidate.id].record.structure})
            bulks = [bulk.structure for bulk in proposal.bulks]
            cards.append(Card(relaxed, summary, undercoordinated_atoms(relaxed, bulks, is_relaxed=True)))
        else:
            cards.append(Card(candidate, summary))
    facts = [
        ("crystal", ", ".join(dict.fromkeys(bulk.name for p in made.proposals for bulk in p.bulks))),
        ("candidates", str(len(cards))),
        ("expected NMR cost", f"{duration(sum(s.nmr_cpu_seconds for s in found))} of CPU, an estimate"),
    ]
    models = list(dict.fromkeys(s.model for s in found if s.model))
    if models:
        how = "relaxed" if any(s.is_relaxed for s in found) else "as built"
        facts.append(("energies", f"{models[0]}, {how}"))
    with Bar("drawing", len(cards)) as bar:
        page = render_gallery(
            cards, title=study.study, facts=facts, remarks=made.left_out, step=lambda name: bar.add(1, name)
        )
    path = folder / "gallery.html"
    write_atomically(path, page)
    return path


def run_structures(
    console: Console,
    study: StudyFile,
    folder: Path,
    *,
    plan_only: bool,
    ranks: bool,
    relaxes: bool,
    export: str,
    prints_json: bool,
) -> None:
    """The whole command."""
    formats = chosen_formats(export, study)
    made = build(study)
    found = summaries(study, made.proposals)
    if not prints_json:
        print_plan(console, study, made, found)
    if plan_only:
        if prints_json:
            print(json.dumps(as_json(study, made, found), indent=1))
        return
    ranked: dict[str, Ranked] = {}
    if ranks:
        found, ranked = rank_all(study, made, found, folder, relaxes=relaxes)
    found = write_files(study, made, found, ranked, folder=folder, formats=formats)
    gallery = write_gallery(study, made, found, ranked, folder)
    if prints_json:
        print(json.dumps(as_json(study, made, found), indent=1))
        return
    say(console, "")
    print_candidates(console, found)
    say(console, "")
    say(console, f"gallery  {gallery}")
    say(console, f"tables   {folder / 'candidates.csv'}, candidates.json")
    if formats:
        say(console, f"files    {folder / 'structures'} ({', '.join(formats)})")
