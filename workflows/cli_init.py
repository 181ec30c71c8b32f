"""The command ``surfshift init``: a study file from options, or from questions where there is a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .template import Choices

    T = TypeVar("T")

EXIT_INTERRUPTED = 130


def register(app: typer.Typer, say: Callable[[str], None]) -> None:
    """Add the command to the command line."""

    @app.command()
    def init(
        path: Annotated[Path, typer.Argument(help="Where to write it.", metavar="PATH")] = Path("study.yaml"),
        *,
        crystal: Annotated[str | None, typer.Option("--crystal", help="A crystal of the library.")] = None,
        structure: Annotated[Path | None, typer.Option("--structure", help="A structure file of your own.")] = None,
        isotope: Annotated[list[str] | None, typer.Option("--isotope", help="Nucleus; repeatable.")] = None,
        miller: Annotated[
            list[str] | None, typer.Option("--miller", help="Facet; repeatable.", metavar="H,K,L")
        ] = None,
        bulk_only: Annotated[bool, typer.Option("--bulk-only", help="No surfaces: the cheapest study.")] = False,
        peaks: Annotated[Path | None, typer.Option("--peaks", help="Measured peaks (CSV).")] = None,
        spectrum: Annotated[Path | None, typer.Option("--spectrum", help="Measured spectrum.")] = None,
        field_tesla: Annotated[float | None, typer.Option(help="Magnetic field in tesla, of the measurement.")] = None,
        mas_rate_hz: Annotated[float | None, typer.Option(help="Spinning rate in Hz, 0 for static.")] = None,
        experiment: Annotated[str | None, typer.Option(help="one-pulse, echo, cp, trapdor, mqmas or redor.")] = None,
        workers: Annotated[
            Path | None, typer.Option("--workers", help="Workers' file of a cluster, from 'surfshift hpc init'.")
        ] = None,
        template: Annotated[bool, typer.Option("--template", help="Ask nothing, write the template as it is.")] = False,
        debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    ) -> None:
        """Write a commented study file to start from.

        Options fill in what is yours; what they leave out stays as in the template. Without options, on a terminal, it
        asks. Elsewhere nothing is asked, and the template is written. No file is ever overwritten.
        """
        del debug
        from .study_yaml import StudyError
        from .template import Choices, check_free, write_template

        check_free(path)
        given = (crystal, structure, isotope, miller, peaks, spectrum, field_tesla, mas_rate_hz, experiment, workers)
        if bulk_only and miller:
            raise StudyError("give either --bulk-only or --miller, not both")
        if peaks is not None and spectrum is not None:
            raise StudyError("give either --peaks or --spectrum; more measurements go into the file that is written")
        if peaks is None and spectrum is None and (field_tesla, mas_rate_hz, experiment) != (None, None, None):
            raise StudyError(
                "--field-tesla, --mas-rate-hz and --experiment are of a measurement; add --peaks or --spectrum"
            )
        if all(value is None for value in given) and not bulk_only and not template and _is_terminal():
            try:
                choices = ask()
            except typer.Abort:
                print("\nsurfshift: stopped, nothing was written", file=sys.stderr)
                raise typer.Exit(EXIT_INTERRUPTED) from None
        else:
            choices = Choices(
                crystal=crystal,
                structure=structure,
                isotopes=isotope or (),
                facets=() if bulk_only else miller,
                measured=peaks or spectrum,
                is_peaks=peaks is not None,
                measured_isotope=isotope[0] if isotope and peaks else None,
                field_tesla=field_tesla,
                mas_rate_hz=mas_rate_hz,
                experiment=experiment,
                hpc=workers,
            )
        write_template(path, choices)
        say(f"wrote {path}; look at it, then:\n  surfshift structures {path} --plan   # what it would build and cost")
        say(f"  surfshift run {path}")


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def ask() -> Choices:
    """Choices from questions; an answer that cannot be used is explained and asked again.

    Raises
    ------
    typer.Abort
        At Ctrl-C, or when the input ends.
    """
    from ..analysis.vocabulary import Experiment
    from ..structures.library import crystal_names
    from .template import Choices, check_isotope, elements_of, miller_of, usual_isotopes

    typer.echo("Enter takes the answer in brackets; Ctrl-C stops, and nothing is written.")
    names = set(crystal_names())

    def crystal_of(text: str) -> tuple[str | None, Path | None]:
        if text == "?":
            typer.echo("  " + ", ".join(sorted(names)))
            raise _AgainError
        is_file = text not in names and (Path(text).expanduser().is_file() or "/" in text or "." in text)
        found = (None, Path(text)) if is_file else (text, None)
        elements_of(*found)
        return found

    crystal, structure = _question(
        "Crystal of the library (? lists them), or structure file", "AlPO4_berlinite", crystal_of
    )
    elements = elements_of(crystal, structure)

    def isotopes_of(text: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(text.replace(",", " ").split()))
        for isotope in found:
            check_isotope(isotope, elements)
        if not found:
            raise _AgainError
        return found

    isotopes = _question("Nuclei to predict", " ".join(usual_isotopes(elements)), isotopes_of)
    facets = _question(
        "Facets to cut, such as 1,0,0 0,0,1; - for the bulk alone",
        "1,0,0",
        lambda text: (
            () if text.strip() in {"-", "none"} else tuple(",".join(map(str, miller_of(f))) for f in _facets(text))
        ),
    )
    measured = _question("File of measured peaks (CSV) or of a spectrum; - for none", "-", _optional_file)
    extra: dict[str, object] = {}
    if measured is not None:
        is_peaks = _is_peak_list(measured)

        def one_of(text: str) -> str:
            if text not in isotopes:
                check_isotope(text, elements)
                raise _AgainError(f"{text} is not among the nuclei to predict, {', '.join(isotopes)}")
            return text

        unknown = "" if is_peaks else "-"
        stated = "" if is_peaks else "; - if the file states it"
        extra["is_peaks"] = is_peaks
        extra["measured_isotope"] = _question(
            f"Its nucleus{stated}", unknown or isotopes[0], lambda t: None if t == "-" and not is_peaks else one_of(t)
        )
        extra["field_tesla"] = _question(
            f"Magnetic field in tesla{stated}", unknown, lambda t: _number(t, 0.01, 60.0, allow_none=not is_peaks)
        )
        extra["mas_rate_hz"] = _question(
            f"Spinning rate in Hz, 0 for a static sample{stated}",
            unknown,
            lambda t: _number(t, 0.0, 250_000.0, allow_none=not is_peaks),
        )
        extra["experiment"] = _question(
            f"Experiment ({', '.join(Experiment)}){stated}", unknown or "one-pulse", lambda t: _experiment(t, is_peaks)
        )
    hpc = _question("Workers' file of a cluster, from 'surfshift hpc init'; - for this machine", "-", _optional_file)
    return Choices(
        crystal=crystal,
        structure=structure,
        isotopes=isotopes,
        facets=facets,
        measured=measured,
        hpc=hpc,
        **extra,  # type: ignore[arg-type]
    )


class _AgainError(ValueError):
    """An answer after which the question comes again."""


def _question(text: str, default: str, check: Callable[[str], T]) -> T:
    from ..structures.errors import SurfshiftError

    while True:
        answer = str(typer.prompt(text, default=default or None)).strip()
        try:
            return check(answer)
        except (SurfshiftError, _AgainError) as error:
            if str(error):
                typer.echo(f"  {error}")


def _facets(text: str) -> list[str]:
    """Texts of three numbers each: separated by commas, or nine numbers for three facets."""
    words = text.replace(";", " ").split()
    if all("," not in word for word in words):
        return [",".join(words[k : k + 3]) for k in range(0, len(words), 3)]
    return words


def _optional_file(text: str) -> Path | None:
    if text in {"-", "none"}:
        return None
    if not Path(text).expanduser().exists():
        raise _AgainError(f"there is no file {text}; the folder here is {Path.cwd()}")
    return Path(text)


def _is_peak_list(path: Path) -> bool:
    from .measured_files import is_peak_file

    return is_peak_file(path.expanduser())


def _number(text: str, low: float, high: float, *, allow_none: bool) -> float | None:
    if text == "-" and allow_none:
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        raise _AgainError(f"{text!r} is no number") from None
    if not low <= value <= high:
        raise _AgainError(f"{value:g} is not between {low:g} and {high:g}")
    return value


def _experiment(text: str, is_peaks: bool) -> str | None:
    from ..analysis.vocabulary import Experiment
    from ..structures.errors import nearest

    if text == "-" and not is_peaks:
        return None
    if text not in list(Experiment):
        raise _AgainError(f"unknown experiment {text!r}; {nearest(text, list(Experiment))}")
    return text
