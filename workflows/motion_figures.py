"""Pictures of averages over motion: each snapshot, the running average with its error, and the value at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..analysis.constants import isotope as nucleus_of
from ..analysis.figure_files import save_figure
from ..analysis.motion import MotionError
from ..analysis.tensors import quadrupole

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from .finite_temperature import AveragedSite

    Array = NDArray[np.float64]

SNAPSHOT, AVERAGE, REST = "#7f9fc0", "#123f6d", "#c2410c"


def draw_average(site: AveragedSite, path: Path | str, *, title: str = "") -> Path:
    """Write a PNG: isotropic shielding and, of a quadrupolar nucleus, CQ against the number of snapshots.

    Raises
    ------
    MotionError
        If the file cannot be written.
    """
    from matplotlib.figure import Figure

    nucleus = nucleus_of(site.isotope)
    has_quadrupole = nucleus.quadrupole_barn != 0.0
    figure = Figure(figsize=(8.6 if has_quadrupole else 4.8, 3.8), dpi=140, layout="constrained")
    panels = figure.subplots(1, 2 if has_quadrupole else 1, squeeze=False)[0]
    sigma = np.trace(np.array(site.snapshot_shielding_ppm), axis1=1, axis2=2) / 3.0
    counts = np.arange(1, len(sigma) + 1)
    average = site.average
    _panel(
        panels[0],
        sigma,
        np.cumsum(sigma) / counts,
        (average.sigma_iso_ppm, average.sigma_iso_error_ppm),
        site.static.sigma_iso_ppm,
    )
    panels[0].set_ylabel("isotropic shielding / ppm")
    if has_quadrupole:
        efg = np.array(site.snapshot_efg_au)

        def cq(tensor: Array) -> float:
            return abs(quadrupole(tensor, nucleus).cq_mhz)

        running = np.array([cq(mean) for mean in np.cumsum(efg, axis=0) / counts[:, None, None]])
        singles = np.array([cq(tensor) for tensor in efg])
        at_rest = cq(np.array(site.static.efg_au[0]))
        _panel(panels[1], singles, running, (average.cq_mhz, average.cq_error_mhz), at_rest)
        panels[1].set_ylabel("|CQ| / MHz")
        panels[1].set_ylim(bottom=0.0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=3 if has_quadrupole else 1, frameon=False, fontsize=8
    )
    if title:
        panels[0].set_title(f"{title}, {site.temperature_k:.0f} K, {site.source}", fontsize=9, loc="left")
    return save_figure(figure, path, MotionError)


def _panel(axes: Axes, singles: Array, running: Array, final: tuple[float, float], rest: float) -> None:
    from matplotlib.ticker import MaxNLocator

    counts = np.arange(1, len(singles) + 1)
    mean, error = final
    axes.axhspan(mean - error, mean + error, color=AVERAGE, alpha=0.15, lw=0)
    axes.axhline(rest, color=REST, lw=1.4, label="at rest")
    axes.plot(counts, singles, "o", ms=4.5, color=SNAPSHOT, label="single snapshot")
    axes.plot(counts, running, "-", lw=1.8, color=AVERAGE, label="average so far, error at the end")
    axes.set_xlabel("snapshots")
    axes.set_xlim(0.5, len(singles) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
