"""The command ``surfshift archive``: pack a study for a repository, and check such an archive."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer evaluates the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .archive import ArchiveCheck

EXIT_DIFFERS = 1


def register(app: typer.Typer, say: Callable[[str], None]) -> None:
    """Add the command to the command line."""

    @app.command()
    def archive(
        study: Annotated[Path, typer.Argument(help="The study file; with --check the archive.", metavar="STUDY")],
        *,
        folder: Annotated[
            Path | None, typer.Option("--folder", help="Run folder; NAME-run beside the study file without it.")
        ] = None,
        out: Annotated[
            Path | None, typer.Option("--out", help="ZIP file to write; NAME.zip beside the study file without it.")
        ] = None,
        check: Annotated[
            bool, typer.Option("--check", help="Check an archive: every hash, and whether its verdict follows again.")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    ) -> None:
        """Pack a finished study, or check such an archive.

        With everything its verdict follows from: for a repository, or for a referee.
        """
        del debug
        from .archive import check_archive, write_archive
        from .study import load_study
        from .study_run import check_fits, run_folder

        if check:
            found = check_archive(study)
            if as_json:
                print(found.model_dump_json(indent=1))
            else:
                for line in describe_check(found):
                    say(line)
            if not found.reproduces:
                raise typer.Exit(EXIT_DIFFERS)
            return
        settings = load_study(study)
        place = run_folder(settings, study, folder)
        check_fits(place, settings)
        target = (out or study.resolve().parent / f"{settings.study}.zip").expanduser().resolve()
        manifest, found = write_archive(place, settings, target)
        if as_json:
            print(found.model_copy(update={"study": str(target)}).model_dump_json(indent=1))
            return
        say(f"wrote {target}: {len(manifest.files)} files, {target.stat().st_size / 1e6:.1f} MB")
        for line in describe_check(found):
            say(line)


def describe_check(found: ArchiveCheck) -> list[str]:
    """Lines that say what a check found."""
    lines = [
        f"{found.n_files} files are as the manifest says",
        f"archived verdict: {found.verdict}",
        f"again from tensors and measured files: shifts within {found.largest_shift_change_ppm:.2g} ppm, "
        f"probabilities and populations within {found.largest_share_change:.2g}",
    ]
    if found.reproduces:
        return [*lines, "reproduces"]
    return [*lines, *(f"differs: {text}" for text in found.differences)]
