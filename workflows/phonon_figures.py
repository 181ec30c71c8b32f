"""Pictures of phonons: bands along the usual path beside the density of states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..analysis.figure_files import save_figure
from .phonons import PhononError

if TYPE_CHECKING:
    from pathlib import Path

    from phonopy import Phonopy

    from ..structures.vocabulary import AtomicStructure
    from .phonons import PhononSettings

BAND = "#123f6d"
IMAGINARY = "#c2410c"
FILL = "#d7e3f1"


def draw_bands(
    phonons: Phonopy, structure: AtomicStructure, settings: PhononSettings, path: Path | str, *, title: str = ""
) -> Path:
    """Write a PNG of bands and density of states; imaginary frequencies are negative and in another colour.

    Raises
    ------
    PhononError
        If the file cannot be written.
    """
    from ase.cell import Cell
    from matplotlib.figure import Figure

    periodic = (True, True, not settings.is_slab)
    band_path = Cell(structure.lattice).bandpath(npoints=40 * (2 if settings.is_slab else 4), pbc=periodic)
    distances, ticks, labels = band_path.get_linear_kpoint_axis()
    frequencies = np.array(phonons.run_qpoints(band_path.kpts).frequencies)
    breaks = np.flatnonzero(np.diff(distances) < 1e-9) + 1
    distances_drawn, frequencies_drawn = np.insert(distances, breaks, np.nan), np.insert(frequencies, breaks, np.nan, 0)
    # two labels at one place are the ends of two pieces of the path
    places = sorted({round(float(tick), 6) for tick in ticks})
    named = [
        "|".join(label for tick, label in zip(ticks, labels, strict=True) if abs(tick - place) < 1e-5)
        for place in places
    ]
    phonons.run_mesh(settings.mesh, is_gamma_center=True)
    dos = phonons.run_total_dos(use_tetrahedron_method=not settings.is_slab)

    figure = Figure(figsize=(8.0, 4.8), dpi=130, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
    left.plot(distances_drawn, np.where(frequencies_drawn >= 0, frequencies_drawn, np.nan), color=BAND, lw=0.9)
    left.plot(distances_drawn, np.where(frequencies_drawn < 0, frequencies_drawn, np.nan), color=IMAGINARY, lw=1.2)
    for place in places:
        left.axvline(place, color="0.8", lw=0.7, zorder=0)
    left.set_xticks(places, [name.replace("G", "Γ") for name in named])
    left.set_ylim(min(0.0, 1.2 * float(frequencies.min())), 1.05 * float(frequencies.max()))
    left.set_xlim(distances[0], distances[-1])
    left.set_ylabel("frequency / THz")
    if title:
        left.set_title(title, fontsize=10, loc="left")
    right.fill_betweenx(dos.frequency_points, dos.dos, color=FILL, lw=0)
    right.plot(dos.dos, dos.frequency_points, color=BAND, lw=0.9)
    right.set_xlim(0.0, 1.05 * float(np.asarray(dos.dos).max()))
    right.set_xlabel("states / THz")
    for axes in (left, right):
        axes.axhline(0.0, color="0.4", lw=0.7)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return save_figure(figure, path, PhononError)
