"""The averages over motion of a run as files beside its report: JSON with every snapshot, and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .collect import averages_of, finished, outputs_of
from .export import file_stem
from .files import write_atomically
from .motion_figures import draw_average

if TYPE_CHECKING:
    from pathlib import Path

    from .queue.folder import RunFolder
    from .study import StudyFile

FOLDER = "averages"


def write_averages(run: RunFolder, study: StudyFile) -> tuple[Path, ...]:
    """Write ``averages/CANDIDATE-ISOTOPE-SITE`` as JSON and PNG for every average that is finished."""
    if study.motion is None:
        return ()
    decoded = finished(run)
    names = {r.candidate.structure.content_id: r.candidate.name for r in outputs_of(decoded)[0]}
    place = run.path / FOLDER
    place.mkdir(exist_ok=True)
    written = []
    for site in averages_of(decoded):
        name = names.get(site.static.structure_id, site.static.structure_id)
        stem = file_stem(f"{name}-{site.isotope}-{site.orbit.element}{site.orbit.atom_indices[0]}")
        write_atomically(place / f"{stem}.json", site.model_dump_json())
        title = f"{name}, {site.isotope}"
        written += [place / f"{stem}.json", draw_average(site, place / f"{stem}.png", title=title)]
    return tuple(written)
