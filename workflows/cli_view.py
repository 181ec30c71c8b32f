"""The command ``surfshift view``: a study in the browser of this machine."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer evaluates the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .view.server import Source


def register(app: typer.Typer, say: Callable[[str], None]) -> None:
    """Add the command to the command line."""

    @app.command()
    def view(
        study: Annotated[
            Path,
            typer.Argument(
                help="The study file, or a folder with a result.json, of match for example.", metavar="STUDY"
            ),
        ],
        *,
        folder: Annotated[
            Path | None, typer.Option("--folder", help="Run folder; NAME-run beside the study file without it.")
        ] = None,
        screening: Annotated[
            Path | None,
            typer.Option("--screening", help="Folder that 'surfshift screen' wrote; its table is shown too."),
        ] = None,
        coatings: Annotated[Path | None, typer.Option("--coatings", hidden=True)] = None,  # the former name
        port: Annotated[
            int, typer.Option("--port", min=0, max=65535, help="Port of this machine; 0 takes a free one.")
        ] = 0,
        browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser.")] = True,
        debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    ) -> None:
        """Look at a study in the browser.

        Structures in 3D, spectra with sliders that move the model, assignment, queue, coatings.

        Served on this machine alone, without a network, behind a token. From a cluster's login node: choose a port with
        --port and forward it, ssh -L PORT:127.0.0.1:PORT HOST.
        """
        del debug
        import webbrowser

        from .view.server import serve

        serve(source_of(study, folder, screening or coatings), port, say, opened=webbrowser.open if browser else None)


def source_of(study: Path, folder: Path | None, coatings: Path | None) -> Source:
    """What to show: a study's run, or a folder with a result.

    Raises
    ------
    SurfshiftError
        If the study file is wrong, or the folder holds no result.
    """
    from .view.data import ViewError
    from .view.server import Source

    if study.is_dir():
        place = next((p for p in (study, study / "report") if (p / "result.json").is_file()), None)
        if place is None:
            raise ViewError(f"the folder {study} holds no result.json; name a study file, or the folder of a report")
        return Source(name=study.resolve().name, report=place, coatings=coatings)
    from .study import load_study
    from .study_run import run_folder

    settings = load_study(study)
    run = run_folder(settings, study, folder)
    run.state()
    return Source(name=settings.study, report=run.report, run=run, coatings=coatings)
