"""Write a study's report: the page, its figures and the result as JSON."""

from __future__ import annotations

import contextlib
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...structures.errors import SurfshiftError
from . import answer_figures, figures, page
from .paragraph import paragraph
from .pictures import candidate_figure
from .tables import PREFIX as TABLE_PREFIX
from .tables import tables
from .view import View, slug

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.figure import Figure

    from ..vocabulary import StudyResult

PAGE_NAME = "report.html"
RESULT_NAME = "result.json"
FIGURE_PREFIX = "report-"
PARAGRAPH_NAME = "paragraph.txt"


class ReportWriteError(SurfshiftError):
    """The report could not be written; an earlier one is as it was."""


def write_report(result: StudyResult, folder: Path) -> Path:
    """Write ``report.html``, ``result.json``, figures ``report-*.png`` and tables ``table-*.csv`` into a folder.

    With an assignment there is also ``paragraph.txt``, the numbers that a paper needs. The page needs no other file and
    no network. Everything is made before anything is written, each file appears whole or not at all, and the page comes
    last. Figures and tables of an earlier report that this one does not have are removed, so files named
    ``report-*.png`` and ``table-*.csv`` in the folder belong to the report.

    Returns
    -------
    Path of the page.

    Raises
    ------
    ReportWriteError
        If the folder cannot be made or written to, for example because the disk is full.
    """
    view = View(result)
    result_json = result.model_dump_json().encode()
    shown = list(page.charts(view))
    plots = _plots(view, shown)
    names = _file_names(plots)
    images = {key: figures.png(plot) for key, plot in plots.items()}
    html = page.render_page(view, shown=shown, images=images, names=names, result_json=result_json)
    files = {names[key]: image for key, image in images.items()}
    files |= tables(result)
    if text := paragraph(result):
        files[PARAGRAPH_NAME] = f"{text}\n".encode()
    write_files(folder, {**files, RESULT_NAME: result_json, PAGE_NAME: html.encode()})
    own = {*folder.glob(f"{FIGURE_PREFIX}*.png"), *folder.glob(f"{TABLE_PREFIX}*.csv")}
    for stale in own - {folder / name for name in files}:
        with contextlib.suppress(OSError):
            stale.unlink()
    return folder / PAGE_NAME


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files so that a failure leaves every earlier file as it was.

    All are first written in full under temporary names in the same folder, then put in place in the given order.

    Raises
    ------
    ReportWriteError
        If any of them cannot be written.
    """
    staged: list[tuple[Path, Path]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            handle, path = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)
            staged.append((Path(path), folder / name))
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            Path(path).chmod(0o644)
        for temporary, target in staged:
            os.replace(temporary, target)  # noqa: PTH105 - the one call that the guarantee rests on
    except OSError as error:
        raise ReportWriteError(
            f"the report could not be written to {folder}: {error.strerror or error}; "
            "files of an earlier report are unchanged or whole; make room or choose another folder, then write it again"
        ) from error
    finally:
        for temporary, _ in staged:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _plots(view: View, shown: list[page.Chart]) -> dict[str, Callable[[], Figure]]:
    """Static figures by slug, candidates by ``candidate:`` and their name."""
    plots: dict[str, Callable[[], Figure]] = {}
    if view.populations:
        plots["populations"] = partial(figures.populations_figure, view)
    plots |= answer_figures.answer_plots(view)
    drawn: list[Callable[[], Figure]] = [
        *(partial(figures.spectrum_figure, spectrum, curve, view) for spectrum, curve in view.spectra),
        *(partial(figures.lines_figure, chart) for chart in view.line_charts),
        *(partial(figures.coupling_figure, chart) for chart in view.coupling_charts),
    ]
    plots |= {chart.slug: plot for chart, plot in zip(shown, drawn, strict=True)}
    plots |= {line.slug: partial(figures.reference_figure, line) for line in view.reference_lines}
    return plots | {
        f"candidate:{candidate.name}": partial(candidate_figure, candidate, labels=view.marks(candidate))
        for candidate, _ in view.candidates
    }


def _file_names(plots: Mapping[str, object]) -> dict[str, str]:
    names: dict[str, str] = {}
    for key in plots:
        stem, number = FIGURE_PREFIX + slug(key), 1
        while (name := f"{stem}.png" if number == 1 else f"{stem}-{number}.png").lower() in {
            taken.lower() for taken in names.values()
        }:
            number += 1
        names[key] = name
    return names
