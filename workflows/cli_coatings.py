"""What the commands ``screen`` and ``phases`` do; the command line only passes its options on."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from .wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..analysis.coatings.ranking import Ranked
    from ..analysis.coatings.screening import CoatingResult, Settings


DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

FEW = 20
"""Up to so many coatings the slower properties of their crystals are computed without being asked for."""


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def register(app: typer.Typer, say: Callable[[str], None]) -> None:
    """Add the commands to the command line."""

    @app.command()
    def screen(
        *,
        electrolyte: Annotated[list[str], typer.Option(help="Name or formula, LATP for example; repeatable.")],
        electrode: Annotated[
            list[str], typer.Option(help="Name, Li for example, or FORMULA@LOW-HIGH in volt; repeatable.")
        ],
        coatings: Annotated[Path | None, typer.Option(help="File with one coating per line.")] = None,
        coating: Annotated[list[str] | None, typer.Option(help="Name or formula of a coating; repeatable.")] = None,
        energies: Annotated[
            str, typer.Option(help="sevennet, experiment, materials-project, or your own table (JSON or CSV).")
        ] = "sevennet",
        out: Annotated[Path, typer.Option(help="Folder of the results; a run that was stopped goes on in it.")] = Path(
            "screening"
        ),
        processes: Annotated[int, typer.Option(min=0, help="Processes side by side; 0 takes all processors.")] = 0,
        workers: Annotated[int | None, typer.Option(min=0, hidden=True)] = None,  # the former name of --processes
        samples: Annotated[int, typer.Option(min=8, help="Sampled sets of energies.")] = 64,
        signal_to_noise: Annotated[
            float, typer.Option(min=1, help="Tallest line over noise, for detectability.")
        ] = 300.0,
        crystals: Annotated[
            bool | None, typer.Option(help="Lithium paths and fit of the faces; without it for up to 20 coatings.")
        ] = None,
        library: Annotated[
            bool | None,
            typer.Option(help="Libraries of lines for `surfshift match`; without it for up to 20 coatings."),
        ] = None,
        interface: Annotated[
            list[Path] | None,
            typer.Option(help="Study or file with computed tensors of an interface model; repeatable."),
        ] = None,
        as_json: JsonOption = False,
        debug: DebugOption = False,
    ) -> None:
        """Rank coatings between electrolytes and electrodes.

        For each coating: its window, its reactions with both neighbours, what it becomes, and the NMR lines that would
        show it.
        """
        del debug
        from ..analysis.coatings.screening import Settings

        settings = Settings(n_samples=samples, signal_to_noise=signal_to_noise)
        done = run_screening(
            electrolyte,
            electrode,
            file=coatings,
            named=coating or [],
            level=energies,
            out=out,
            workers=processes if workers is None else workers,
            settings=settings,
            say=_tell if as_json else say,
            crystals=crystals,
            libraries=library,
            interfaces=interface or [],
        )
        if as_json:
            print(screening_json(done))

    phases = typer.Typer(
        help="List competing phases, compute their energies, make the table.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.add_typer(phases, name="phases")

    @phases.command("list")
    def list_phases(
        elements: Annotated[str, typer.Argument(help="Only phases of these elements, as in Li-Al-P-O.")] = "",
        *,
        as_json: JsonOption = False,
        debug: DebugOption = False,
    ) -> None:
        """List phases with their type, source and grade."""
        del debug
        from ..analysis.coatings.energies import amounts_of
        from ..structures.phases import load_phase, phase_names

        wanted = set(elements.split("-")) - {""}
        found = [load_phase(name) for name in phase_names()]
        found = [facts for facts in found if not wanted or set(amounts_of(facts.formula)) <= wanted]
        if as_json:
            import json

            keys = ("formula", "structure_type", "grade", "source")
            print(json.dumps([{key: getattr(facts, key) for key in keys} for facts in found], indent=1))
            return
        for facts in found:
            say(f"{facts.formula:16} {facts.structure_type:28} {facts.grade:9} {facts.source}")

    @phases.command()
    def compute(
        rows: Annotated[Path, typer.Argument(help="File of finished phases; what is in it is not computed again.")],
        only: Annotated[list[str] | None, typer.Option(help="Only this phase; repeatable.")] = None,
        *,
        debug: DebugOption = False,
    ) -> None:
        """Relax all phases with SevenNet.

        One line of the file per finished phase; stopped, it goes on where it was.
        """
        del debug
        from .phase_energies import compute_phases

        compute_phases(rows, only, report=say)

    @phases.command()
    def order(
        crystal: Annotated[str, typer.Argument(help="Disordered crystal of the library, or a file (CIF).")],
        rows: Annotated[Path, typer.Argument(help="File of finished phases; what is in it is not computed again.")],
        cells: Annotated[int, typer.Option(min=1, help="Ordered cells to relax, lowest Coulomb energy first.")] = 3,
        supercell: Annotated[str, typer.Option(help="Repeats such as 1,1,1; chosen by itself without it.")] = "",
        *,
        debug: DebugOption = False,
    ) -> None:
        """Order a disordered crystal and relax its best cells.

        SevenNet relaxes them; the one of lowest energy counts in the table.
        """
        del debug
        from .phase_energies import compute_ordered

        compute_ordered(rows, crystal, n_cells=cells, supercell=_repeats(supercell), report=say)

    @phases.command()
    def table(
        rows: Annotated[Path, typer.Argument(help="File of finished phases.")],
        out: Annotated[Path, typer.Argument(help="Table to write.")],
        version: Annotated[str, typer.Option(help="Issue of the table.")] = "1",
        cells: Annotated[
            Path | None, typer.Option(help="Also write the relaxed ordered cells here (ordered_cells.json).")
        ] = None,
        *,
        debug: DebugOption = False,
    ) -> None:
        """Fit the corrections and write the table of phases.

        The corrections are fitted on measured formation energies; the table carries its version.
        """
        del debug
        from .phase_energies import make_table

        made = make_table(rows, out, version=version, cells=cells)
        say(f"{len(made.phases)} phases, {len(made.failed)} refused, written to {out}")
        for line in error_lines(made.corrections):
            say(line)


def _repeats(text: str) -> tuple[int, int, int] | None:
    from ..structures.ordering_problem import OrderingError

    if not text:
        return None
    try:
        a, b, c = (int(part) for part in text.split(","))
    except ValueError as error:
        raise OrderingError(f"--supercell {text!r}: write three whole numbers, for example 1,1,1") from error
    return a, b, c


def error_lines(corrections: object) -> list[str]:
    """Error of the corrected formation energies by chemistry."""
    from ..analysis.coatings.corrections import Corrections

    assert isinstance(corrections, Corrections)
    lines = ["chemistry      compounds   uncorrected   left out (eV/atom)"]
    for chemistry, error in sorted(
        corrections.error_ev_per_atom.items(), key=lambda item: -corrections.counts[item[0]]
    ):
        before = corrections.uncorrected_error_ev_per_atom[chemistry]
        lines.append(f"{chemistry:14} {corrections.counts[chemistry]:9} {before:13.3f} {error:10.3f}")
    return lines


def run_screening(
    electrolytes: list[str],
    electrodes: list[str],
    *,
    file: Path | None,
    named: list[str],
    level: str,
    out: Path,
    workers: int,
    settings: Settings,
    say: Callable[[str], None],
    crystals: bool | None = None,
    libraries: bool | None = None,
    interfaces: Sequence[Path] = (),
) -> Screened:
    """Screen, rank, and write the page, the CSV, the JSON, and a library of lines for each coating.

    Raises
    ------
    CoatingError
        If a name cannot be read, no coating is given, or nothing can be screened.
    """
    from ..analysis.coatings.energies import amounts_of
    from ..analysis.coatings.errors import CoatingError
    from ..analysis.coatings.interface_lines import interface_lines
    from ..analysis.coatings.output import write_csv, write_json
    from ..analysis.coatings.page import write_page
    from ..analysis.coatings.ranking import rank
    from ..analysis.coatings.screening import electrode_of, formula_of, read_coatings
    from .screening import load_table, screen_all

    if file is None and not named:
        raise CoatingError("no coating was given; name them with --coating, or a file of them with --coatings")
    formulas = [] if file is None else read_coatings(_read(file))
    formulas = list(dict.fromkeys([*formulas, *(formula_of(name) for name in named)]))
    with_crystals = len(formulas) <= FEW if crystals is None else crystals
    settings = settings.model_copy(update={"with_crystals": with_crystals})
    pairs = [((name, formula_of(name)), electrode_of(other)) for name in electrolytes for other in electrodes]
    every = {e for f in (*formulas, *(p[0][1] for p in pairs), *(p[1].formula for p in pairs)) for e in amounts_of(f)}
    contacts = interface_lines(interfaces)
    began = time.time()
    table = load_table(level, out, sorted(every | {"Li"}))
    results, refused = screen_all(
        formulas, pairs, table, settings, folder=out, workers=workers, report=_sparing(say, len(formulas))
    )
    groups: dict[tuple[str, str], list[CoatingResult]] = {}
    for result in results:
        groups.setdefault((result.electrolyte_name, result.electrode_name), []).append(result)
    ranked = {key: rank(group) for key, group in groups.items()}
    for (electrolyte, electrode), places in ranked.items():
        say(f"\n{electrolyte} | coating | {electrode}")
        by_name = {r.coating: r for r in groups[electrolyte, electrode]}
        for place in places:
            if place.is_front:
                for line in describe(by_name[place.coating]):
                    say(line)
                say(f"    on the front: {'; '.join(place.reasons)}")
        behind = sum(not place.is_front for place in places)
        if behind:
            say(f"  {counted(behind, 'more coating')} behind the front, see the page")
    for name, why in refused.items():
        say(f"not screened: {name}: {why}")
    written = [
        write_page(
            results,
            ranked,
            refused=refused,
            table=table,
            settings=settings,
            path=out / "screening.html",
            interfaces=contacts,
        ),
        write_csv(results, ranked, out / "screening.csv"),
        write_json(results, ranked, refused=refused, table=table, path=out / "screening.json", interfaces=contacts),
    ]
    if len(formulas) <= FEW if libraries is None else libraries:
        libraries_folder = write_libraries(results, out / "library", say)
        say(f"\nlibraries of lines: surfshift match SPECTRA --library {libraries_folder / results[0].coating}")
    say(f"\n{counted(len(results), 'combination')} in {time.time() - began:.1f} s")
    for what, path in zip(("page", "table", "everything"), written, strict=True):
        say(f"{what + ':':11} {path}")
    return Screened(results, ranked, refused, tuple(written))


class Screened(NamedTuple):
    """What a screening found, and the page, CSV and JSON that it wrote."""

    results: list[CoatingResult]
    ranked: dict[tuple[str, str], tuple[Ranked, ...]]
    refused: dict[str, str]
    written: tuple[Path, ...]


def screening_json(done: Screened) -> str:
    """One flat row per combination, as in the CSV, what was refused, and the files."""
    import json

    from ..analysis.coatings.output import flat_row

    found = {
        "coatings": [flat_row(result, done.ranked) for result in done.results],
        "refused": done.refused,
        **dict(zip(("page", "csv", "json"), map(str, done.written), strict=True)),
    }
    return json.dumps(found, indent=1, ensure_ascii=False)


def _sparing(say: Callable[[str], None], total: int) -> Callable[[str], None]:
    """Progress of each coating, or of every twentieth part where there are many."""
    step = 1 if total <= FEW else -(-total // 20)

    def report(text: str) -> None:
        done = text.partition("/")[0]
        if not done.isdigit() or int(done) % step == 0 or int(done) == total:
            say(text)

    return report


def _read(file: Path) -> str:
    from ..analysis.coatings.errors import CoatingError

    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CoatingError(
            f"{file} cannot be read as a list of coatings: {error.strerror if isinstance(error, OSError) else error}"
        ) from error


def write_libraries(results: Sequence[CoatingResult], folder: Path, say: Callable[[str], None]) -> Path:
    """For each coating a folder that ``surfshift match --library`` reads: electrolytes, coating and products."""
    from ..analysis.coatings.line_library import LineLibraryError, line_library
    from .files import write_atomically

    phases: dict[str, dict[str, None]] = {}
    for result in results:
        own = phases.setdefault(result.coating, {})
        own |= dict.fromkeys((result.electrolyte.neighbour, result.coating, *result.products))
    for coating, formulas in phases.items():
        try:
            made = line_library(formulas, name=f"phases of {coating}")
        except LineLibraryError as error:
            say(f"no library: {error}")
            continue
        write_atomically(folder / coating / "result.json", made.model_dump_json() + "\n")
    return folder


def describe(result: CoatingResult) -> list[str]:
    """A coating in a few lines, each number with its phase coverage."""
    window = result.window
    ends = [
        f"{side.voltage_v:.2f} ± {side.error_v:.2f} V" if side.voltage_v is not None else "no limit by lithium exchange"
        for side in (window.reduction, window.oxidation)
    ]
    lines = [f"  {result.coating}", f"    window {ends[0]} to {ends[1]} ({result.window_coverage})"]
    for title, contact in (("electrolyte", result.electrolyte), ("electrode", result.electrode)):
        curve = contact.closed
        if curve.worst.share in (0.0, 1.0):
            lines.append(f"    with the {title}: no reaction ({contact.coverage})")
            continue
        products = ", ".join(f"{f} ({p:.0%})" for f, p in curve.product_probability.items())
        lines.append(
            f"    with the {title}: {curve.worst.energy_ev_per_atom:.3f} ± {curve.energy_error_ev:.3f} eV/atom, "
            f"reacts with probability {curve.probability:.2f} to {products} ({contact.coverage})"
        )
    if result.path is not None:
        path = result.path
        lines.append(f"    lithium path: bottleneck {path.radius_ang:.2f} Å ({path.kind}, {path.n_dimensions}D)")
    for gas, air in (("H2O", result.water), ("CO2", result.carbon_dioxide)):
        if air is not None:
            lines.append(
                f"    with {gas}: {air.worst.energy_ev_per_atom:.3f} ± {air.energy_error_ev:.3f} eV/atom, "
                f"reacts with probability {air.probability:.2f}"
            )
    if result.match is not None:
        faces = (str(result.match.electrolyte_face), str(result.match.coating_face))
        known = ", a face of low energy," if result.match.is_low_energy else ""
        lines.append(f"    best fit: {faces[0]}{known} on {faces[1]}, strain {100 * result.match.strain:.1f} %")
    return lines
