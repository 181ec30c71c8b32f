"""The command line. Everything heavy is imported inside the commands, so that ``--help`` answers at once.

Exit codes: 0 done, 1 some jobs failed (the report is written all the same), 2 bad input, 3 a problem of
the machine, 130 stopped from outside. Every known error is one message on standard error.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import cli_archive, cli_hpc, cli_init, cli_motion, cli_view
from .cli_coatings import register
from .cli_examples import add_examples

if TYPE_CHECKING:
    from rich.console import Console

    from .study_run import Outcome

EXIT_FAILED_JOBS = 1
EXIT_BAD_INPUT = 2
EXIT_ENVIRONMENT = 3
EXIT_INTERRUPTED = 130

app = typer.Typer(
    help="Which surface or interphase is this? Candidate surfaces, their NMR tensors from DFT, and measured spectra, "
    "weighed together.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich needs as long to start as everything else together
    epilog="Exit codes: 0 done, 1 done in part (what is printed says what is missing), 2 bad input, 3 a problem of the "
    "machine, 130 stopped from outside. A first study: surfshift init, then surfshift run study.yaml.",
)

app.add_typer(cli_hpc.app, name="hpc")

StudyArgument = Annotated[Path, typer.Argument(help="The study file.", metavar="STUDY")]
FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="Run folder; NAME-run beside the study file without it.")
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr)


def _say(text: str) -> None:
    _console().print(text, markup=False, highlight=False, soft_wrap=True)


def _tell(text: str) -> None:
    """Say something beside a result that machines read."""
    _console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


def _finish(outcome: Outcome, *, as_json: bool = False) -> None:
    """Print the verdict and what failed; the exit code says whether all jobs succeeded."""
    result = outcome.result
    if as_json:
        from .cli_json import verdict_json

        print(verdict_json(result, outcome.report))
        if result.failures:
            raise typer.Exit(EXIT_FAILED_JOBS)
        return
    if result.assignment is not None:
        from .wording import answer

        _say(f"\n{answer(result.assignment.verdict.value, result.assignment.statement)}")
    else:
        from .wording import predicted_lines

        _say("\nno verdict: nothing was measured, or nothing measured could be matched")
        for line in predicted_lines(result.sites):
            _say(line)
    _say(f"report: {outcome.report}")
    if result.failures:
        from .wording import counted

        print(f"\n{counted(len(result.failures), 'problem')}:", file=sys.stderr)
        for failure in result.failures:
            print(f"  {failure}", file=sys.stderr)
        raise typer.Exit(EXIT_FAILED_JOBS)


@app.command()
def run(
    study: StudyArgument,
    *,
    folder: FolderOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Move an earlier run aside and start over.")] = False,
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Compute only what the verdict needs, as run.adaptive does.")
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Run a study, from its file to its report.

    Goes on where an earlier run of it stopped.
    """
    del debug
    from .progress import Progress
    from .study import load_study
    from .study_run import check_fits, go_on, move_aside, run_folder, start

    say = _tell if as_json else _say
    settings = load_study(study)
    if adaptive:
        settings = settings.model_copy(update={"run": settings.run.model_copy(update={"adaptive": True})})
    place = run_folder(settings, study, folder)
    if fresh and (aside := move_aside(place)) is not None:
        say(f"the earlier run is now in {aside}")
    if place.is_submitted:
        check_fits(place, settings)
        say(f"going on with the run in {place.path}")
    else:
        start(place, settings, study, say=say)
    _finish(go_on(place, settings, Progress(_console(stderr=as_json), settings.study), say=say), as_json=as_json)


@app.command()
def resume(
    study: StudyArgument,
    *,
    folder: FolderOption = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed jobs once more.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also compute what an adaptive run left out.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Go on with a run that was stopped.

    Or killed; finished jobs are not repeated.
    """
    del debug
    from .progress import Progress
    from .study import load_study
    from .study_run import check_fits, go_on, run_folder

    settings = load_study(study)
    place = run_folder(settings, study, folder)
    check_fits(place, settings)
    progress = Progress(_console(stderr=as_json), settings.study)
    say = _tell if as_json else _say
    found = go_on(place, settings, progress, retry_failed=retry_failed, complete=everything, say=say)
    _finish(found, as_json=as_json)


@app.command()
def status(
    study: StudyArgument,
    folder: FolderOption = None,
    *,
    watch: Annotated[
        float | None, typer.Option("--watch", min=1, help="Look again every so many seconds, until nothing runs.")
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show what is done, what runs and what is left."""
    del debug
    from .cli_status import show_status
    from .study import load_study
    from .study_run import run_folder

    settings = load_study(study)
    place = run_folder(settings, study, folder)
    place.state()
    show_status(_console(), place, settings, watch_seconds=watch, as_json=as_json)


@app.command()
def report(
    study: StudyArgument,
    folder: FolderOption = None,
    *,
    thorough: Annotated[
        bool,
        typer.Option("--thorough", help="With spectra: match also without each one and with moved references."),
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Draw the report again from what is finished.

    Predicts and matches again; no job is run.
    """
    del debug
    from .study import load_study
    from .study_run import report_again, run_folder

    settings = load_study(study)
    _finish(report_again(run_folder(settings, study, folder), settings, is_thorough=thorough), as_json=as_json)


@app.command()
def structures(
    study: StudyArgument,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write; NAME-structures beside the study file without it.")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--folder", hidden=True)] = None,  # the former name of --out
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be built and its cost; write nothing.")] = False,
    rank: Annotated[bool, typer.Option("--rank", help="Relax every candidate with SevenNet, rank by J/m2.")] = False,
    unrelaxed: Annotated[bool, typer.Option("--unrelaxed", help="Rank the structures as they are built.")] = False,
    export: Annotated[str, typer.Option("--export", help="cif, poscar, extxyz.", metavar="LIST")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: DebugOption = False,
) -> None:
    """Build, rank, export and show the candidates of a study."""
    del debug
    from .cli_structures import run_structures
    from .study import load_study

    settings = load_study(study)
    place = (out or folder or study.resolve().parent / f"{settings.study}-structures").expanduser().resolve()
    run_structures(
        _console(),
        settings,
        place,
        plan_only=plan,
        ranks=rank or unrelaxed,
        relaxes=not unrelaxed,
        export=export,
        prints_json=as_json,
    )


@app.command()
def doctor(
    elements: Annotated[
        str, typer.Option("--elements", help="Also look for the pseudopotentials of these: H,O,Al,P.", metavar="LIST")
    ] = "",
    upf_folder: Annotated[
        Path | None, typer.Option("--upf-folder", help="Folder of GIPAW UPF files; SURFSHIFT_UPF_DIR without it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: DebugOption = False,
) -> None:
    """Say what is installed and what is missing.

    And what to do about it.
    """
    del debug
    from rich.table import Table
    from rich.text import Text

    from .doctor import examine
    from .potentials import elements_of, examine_potentials

    findings = (*examine(), *examine_potentials(elements_of(elements), upf=upf_folder))
    if as_json:
        import json

        print(json.dumps([{"mark": finding.mark, **finding.model_dump()} for finding in findings], indent=1))
    else:
        table = Table("", "what", "found", "what to do", box=None)
        for finding in findings:
            table.add_row(finding.mark, finding.what, Text(finding.found), Text(finding.advice))
        _console().print(table)
    if any(finding.is_problem for finding in findings):
        raise typer.Exit(EXIT_ENVIRONMENT)


@app.command()
def spectrum(
    path: Annotated[Path, typer.Argument(help="File or Bruker folder.", metavar="FILE")],
    *,
    isotope: Annotated[str | None, typer.Option(help="Nucleus, if the file does not state it.")] = None,
    field_tesla: Annotated[float | None, typer.Option(help="Magnetic field in tesla.")] = None,
    mas_rate_hz: Annotated[float | None, typer.Option(help="Spinning rate in Hz, 0 for static.")] = None,
    experiment: Annotated[str | None, typer.Option(help="one-pulse, echo, cp, trapdor, mqmas or redor.")] = None,
    reference_mhz: Annotated[float | None, typer.Option(help="Frequency of 0 ppm, for axes in Hz.")] = None,
    row: Annotated[int | None, typer.Option(help="Row of a ser file or a stack, from 0.")] = None,
    fid: Annotated[bool, typer.Option("--fid", help="Transform the fid of Bruker data.")] = False,
    phase: Annotated[tuple[float, float], typer.Option(help="Phase of zero and first order, degrees.")] = (0.0, 0.0),
    baseline: Annotated[str, typer.Option(help="none, polynomial or als.")] = "none",
    picture: Annotated[Path | None, typer.Option(help="PNG to write; NAME.png without it.")] = None,
    csdm: Annotated[Path | None, typer.Option(help="CSDM file to write (.csdf).")] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Read a measured spectrum, say what was read, and draw it."""
    del debug
    from ..analysis.spectra_io import Correction, draw_readout, read_with_details, write_csdm
    from .cli_analysis import OptionError, describe_spectrum

    if baseline not in {"none", "polynomial", "als"}:
        raise OptionError(f"unknown baseline {baseline!r}; known: none, polynomial, als")
    readout = read_with_details(
        path,
        isotope,
        field_tesla,
        mas_rate_hz=mas_rate_hz,
        experiment=experiment,
        reference_mhz=reference_mhz,
        row=row,
        part="fid" if fid else None,
        correction=Correction.model_validate(
            {"phase_zero_deg": phase[0], "phase_first_deg": phase[1], "baseline": baseline}
        ),
    )
    if not as_json:
        for line in describe_spectrum(readout):
            _say(line)
    drawn = draw_readout(readout, picture or Path(f"{path.resolve().stem}.png"))
    written = None if csdm is None else write_csdm(readout.spectrum, csdm)
    if as_json:
        from .cli_json import spectrum_json

        print(spectrum_json(readout, picture=drawn, csdm=written))
        return
    _say(f"picture     {drawn}")
    if written is not None:
        _say(f"CSDM        {written}")


@app.command()
def reference(
    table: Annotated[Path | None, typer.Argument(help="CSV of compounds; the shipped ones without it.")] = None,
    *,
    isotope: Annotated[list[str] | None, typer.Option(help="Nucleus; repeatable without a table.")] = None,
    engine: Annotated[str, typer.Option(help="Program of the shieldings.")] = "cluster",
    functional: Annotated[str, typer.Option(help="Functional of the shieldings.")] = "",
    protocol: Annotated[str, typer.Option(help="Protocol of the shieldings.")] = "fast",
    engine_version: Annotated[str, typer.Option(help="Version of the program.")] = "",
    protocol_hash: Annotated[str, typer.Option(help="Hash of the protocol's numbers, as in tensor files.")] = "",
    library: Annotated[Path | None, typer.Option(help="Folder of computed tensors (reference_*.json).")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON to write, for nmr.references of a study.")] = None,
    picture: Annotated[Path | None, typer.Option(help="PNG to write, of the first isotope.")] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Fit the line from shielding to shift.

    To compounds of your own, in a CSV table, or to the computed ones that ship with the project.
    """
    del debug
    from ..analysis.reference_picture import draw_reference
    from ..analysis.reference_table import write_references
    from .cli_analysis import make_references, method_from

    method = method_from(engine, functional, protocol, engine_version, protocol_hash)
    say = _tell if as_json else _say
    made = make_references(table, isotope or ["27Al"], method, library, say)
    if out is not None:
        say(f"references  {write_references(made, out)}")
    if picture is not None:
        say(f"picture     {draw_reference(made[0], picture)}")
    if as_json:
        print("[" + ",".join(reference.model_dump_json() for reference in made) + "]")


@app.command()
def match(
    spectra: Annotated[list[Path], typer.Argument(help="Spectra, peak lists (CSV), manifests.", metavar="SPECTRA")],
    *,
    library: Annotated[
        list[Path],
        typer.Option("--library", help="Folder of .magres, OUTCAR or JSON files, or of a finished study; repeatable."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("match-report"),
    isotope: Annotated[str | None, typer.Option(help="Nucleus, where the files do not state it.")] = None,
    field_tesla: Annotated[float | None, typer.Option(help="Magnetic field in tesla.")] = None,
    mas_rate_hz: Annotated[float | None, typer.Option(help="Spinning rate in Hz, 0 for static.")] = None,
    experiment: Annotated[str | None, typer.Option(help="one-pulse, echo, cp, trapdor, mqmas or redor.")] = None,
    reference_mhz: Annotated[float | None, typer.Option(help="Frequency of 0 ppm, for axes in Hz or points.")] = None,
    row: Annotated[int | None, typer.Option(help="Row of a ser file or a stack, from 0.")] = None,
    references: Annotated[
        Path | None, typer.Option(help="References of your own, from 'surfshift reference --out'.")
    ] = None,
    always: Annotated[
        list[str] | None, typer.Option("--always", help="Candidate known to be present; repeatable.")
    ] = None,
    max_members: Annotated[int | None, typer.Option(min=1, help="Most candidates in one explanation.")] = None,
    disordered: Annotated[
        list[str] | None, typer.Option(help="Glass candidate, or NAME=PATTERN of several; repeatable.")
    ] = None,
    oxidation_states: Annotated[
        list[str] | None, typer.Option(help="Charges where they cannot be found: Al=3,O=-2.", metavar="LIST")
    ] = None,
    energies: Annotated[
        list[str] | None,
        typer.Option(
            help="Energies as a prior, eV per exchanged unit: dry=0,wet=-0.4. Never used unasked.", metavar="LIST"
        ),
    ] = None,
    energy_error_ev: Annotated[float | None, typer.Option(help="Error of --energies, eV.")] = None,
    energy_temperature_k: Annotated[float | None, typer.Option(help="At which the sample froze in, kelvin.")] = None,
    protocol: Annotated[str, typer.Option(help="Name of the protocol of the library's files.")] = "as in file",
    quick: Annotated[bool, typer.Option("--quick", help="Leave out sensitivities and next steps.")] = False,
    name: Annotated[str, typer.Option(help="Title of the report.")] = "match",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Weigh spectra against tensors; no study is needed.

    Spectra and peak lists are weighed against candidates whose tensors were computed anywhere: .magres files, OUTCAR,
    QE-GIPAW folders, or the results of studies and screenings.
    """
    del debug
    from .cli_match import energy_prior, finish_match, run_match

    prior = energy_prior(energies or (), energy_error_ev, energy_temperature_k)
    options = {
        "isotope": isotope,
        "field_tesla": field_tesla,
        "mas_rate_hz": mas_rate_hz,
        "experiment": experiment,
        "reference_mhz": reference_mhz,
        "row": row,
    }
    result, page = run_match(
        spectra,
        library,
        out,
        options=options,
        references=references,
        always=always or (),
        oxidation=oxidation_states or (),
        protocol=protocol,
        max_members=max_members,
        energies=prior,
        disordered=disordered or (),
        is_quick=quick,
        name=name,
        say=_tell if as_json else _say,
    )
    if as_json:
        from .cli_json import verdict_json

        print(verdict_json(result, page))
    if not finish_match(result, page, _tell if as_json else _say):
        raise typer.Exit(EXIT_FAILED_JOBS)


register(app, _say)
cli_init.register(app, _say)
cli_archive.register(app, _say)
cli_view.register(app, _say)
cli_motion.register(app, _console)
add_examples(app)


def main() -> None:
    """Entry point of the ``surfshift`` command."""
    if "--debug" not in sys.argv:
        import warnings

        # announcements between other packages, which a user can do nothing about
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category, module=r"(jobflow|jobflow_remote|maggma|monty)(\.|$)")
    try:
        app(prog_name="surfshift")
    except Exception as error:
        sys.exit(_explain(error))


def _explain(error: Exception) -> int:
    """Print one message for an error and choose the exit code; a bug, or any error with ``--debug``, is raised."""
    from ..structures.errors import SurfshiftError

    if "--debug" in sys.argv or not isinstance(error, SurfshiftError | OSError | MemoryError):
        raise error
    from .queue.errors import EnvironmentProblemError, InterruptedRunError

    print(f"surfshift: {error}", file=sys.stderr)
    if missing := getattr(error, "missing", None):
        options = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in missing.items())
        print(f"  as options: {options}; in a study file or a manifest these are keys", file=sys.stderr)
    if isinstance(error, InterruptedRunError):
        return EXIT_INTERRUPTED
    return EXIT_ENVIRONMENT if isinstance(error, EnvironmentProblemError | OSError | MemoryError) else EXIT_BAD_INPUT
