"""Screen many coatings: in parallel, kept on disk, and going on where a stopped run was."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TYPE_CHECKING

from ..analysis.coatings.energies import EnergyTable, TableIndex, experiment_table, read_table, shipped_table
from ..analysis.coatings.errors import CoatingError, EmptyPhaseSpaceError
from ..analysis.coatings.screening import CoatingResult, Electrode, Screener, Settings
from .files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Combination = tuple[tuple[str, str], Electrode]
"""An electrolyte (name and formula) and an electrode."""

_SCREENER: list[Screener] = []
"""The screener of a worker process, set once by its initializer."""


def load_table(level: str, folder: Path, elements: Sequence[str]) -> EnergyTable:
    """The table of one level: ``sevennet`` (shipped), ``experiment``, ``materials-project``, or a file of one's own.

    Raises
    ------
    EnergyTableError, MissingKeyError
    """
    from pathlib import Path as FilePath

    if level == "sevennet":
        return shipped_table()
    if level == "experiment":
        return experiment_table()
    if level == "materials-project":
        from .materials_project import fetch_table

        return fetch_table(elements, folder / "materials-project")
    return read_table(FilePath(level))


def cache_key(table: EnergyTable, settings: Settings, coating: str, combinations: Sequence[Combination]) -> str:
    """Name of a result on disk: it changes with the energies, the settings, and what was combined."""
    content = json.dumps(
        [
            table.level,
            [(phase.name, phase.energy_ev_per_atom, phase.error_ev_per_atom) for phase in table.phases],
            settings.model_dump(mode="json"),
            coating,
            [[*electrolyte, electrode.model_dump(mode="json")] for electrolyte, electrode in combinations],
        ],
        sort_keys=True,
    )
    return hashlib.sha256(content.encode()).hexdigest()[:20]


def _start(table: EnergyTable, settings: Settings) -> None:
    _SCREENER[:] = [Screener(TableIndex(table), settings)]


def _screen_one(coating: str, combinations: Sequence[Combination], place: str) -> tuple[str, dict[str, str]]:
    """Screen a coating against all combinations, write the results, and give the refusals by combination."""
    from pathlib import Path as FilePath

    results, refused = [], {}
    for electrolyte, electrode in combinations:
        try:
            results.append(_SCREENER[0].screen(coating, electrolyte, electrode).model_dump(mode="json"))
        except CoatingError as error:
            refused[f"{coating} | {electrolyte[0]} | {electrode.name}"] = str(error)
    write_atomically(FilePath(place), json.dumps({"results": results, "refused": refused}))
    return coating, refused


def screen_all(
    coatings: Sequence[str],
    combinations: Sequence[Combination],
    table: EnergyTable,
    settings: Settings,
    *,
    folder: Path,
    workers: int = 0,
    report: Callable[[str], None] | None = None,
) -> tuple[list[CoatingResult], dict[str, str]]:
    """Screen every coating between every electrolyte and electrode.

    Parameters
    ----------
    folder
        Where finished coatings are kept, one file each; what is there already is not computed again.
    workers
        Processes; 0 takes as many as there are processors, 1 none beside this one.

    Returns
    -------
    tuple
        Results in the order of the coatings and combinations, and refusals by combination.

    Raises
    ------
    EmptyPhaseSpaceError
        If nothing at all could be screened.
    """
    place = folder / "coatings"
    place.mkdir(parents=True, exist_ok=True)
    files = {c: place / f"{cache_key(table, settings, c, combinations)}.json" for c in coatings}
    left = [c for c in coatings if not files[c].exists()]
    count = min(workers or os.cpu_count() or 1, len(left))
    done = len(coatings) - len(left)
    if report and done:
        report(f"{done} of {len(coatings)} coatings were finished before")
    if count <= 1:
        if left:
            _start(table, settings)
        for coating in left:
            _screen_one(coating, combinations, str(files[coating]))
            done += 1
            if report:
                report(f"{done}/{len(coatings)} {coating}")
    else:
        with ProcessPoolExecutor(count, initializer=_start, initargs=(table, settings)) as pool:
            jobs = [pool.submit(_screen_one, c, combinations, str(files[c])) for c in left]
            try:
                for job in as_completed(jobs):
                    coating, _ = job.result()
                    done += 1
                    if report:
                        report(f"{done}/{len(coatings)} {coating}")
            except BaseException:
                # stopped: what waits is not begun, what is finished is on the disk
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    results: list[CoatingResult] = []
    refused: dict[str, str] = {}
    for coating in coatings:
        loaded = json.loads(files[coating].read_text(encoding="utf-8"))
        results += [CoatingResult.model_validate(row) for row in loaded["results"]]
        refused |= loaded["refused"]
    if not results:
        raise EmptyPhaseSpaceError("nothing could be screened: " + "; ".join(list(refused.values())[:3]))
    return results, refused
