"""A picture of how a spectrum was read: as the file holds it, what was taken away, and where the noise was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..figure_files import save_figure
from .errors import MeasurementError
from .lines import find_lines

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from .read import Readout

AS_READ = "#9aa5b1"
CORRECTED = "#123f6d"
BASELINE = "#c2410c"
QUIET = "#dcebdc"
LABELLED = 8
"""Most maxima that are labelled with their position."""


def draw_readout(readout: Readout, path: Path | str) -> Path:
    """Write a PNG with the whole window, and below it the foot of the spectrum, where noise and baseline are seen.

    Raises
    ------
    MeasurementError
        If the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.6), dpi=130, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _draw(upper, readout)
    _draw(lower, readout)
    _label_lines(upper, readout)
    _show_foot(lower, readout)
    spectrum = readout.spectrum
    rate = f"{spectrum.mas_rate_hz / 1000:g} kHz" if spectrum.mas_rate_hz else "static"
    upper.set_title(
        f"{spectrum.name}: {spectrum.isotope}, {spectrum.field_tesla:.2f} T, {rate}, {spectrum.experiment.value}",
        fontsize=10,
    )
    upper.legend(loc="upper left", fontsize=8, framealpha=1.0, edgecolor="none")
    lower.set_xlabel(f"{spectrum.isotope} shift / ppm")
    upper.set_xlim(spectrum.axis_ppm[-1], spectrum.axis_ppm[0])  # shifts run to the left
    return save_figure(figure, path, MeasurementError)


def _draw(axes: Axes, readout: Readout) -> None:
    x = np.asarray(readout.spectrum.axis_ppm)
    y = np.asarray(readout.spectrum.intensity)
    for k, (low, high) in enumerate(readout.noise.regions(x)):
        axes.axvspan(
            low, high, color=QUIET, lw=0, zorder=0, label="free of signal: noise measured here" if k == 0 else None
        )
    before = readout.raw.intensity
    if not np.array_equal(before, y):
        axes.plot(x, before, color=AS_READ, lw=0.8, label="as in the file")
    if readout.baseline is not None:
        axes.plot(x, readout.baseline, color=BASELINE, lw=1.2, ls="--", label="baseline taken away")
    axes.plot(x, y, color=CORRECTED, lw=0.8, label="spectrum as used")
    axes.axhline(0.0, color="#666666", lw=0.5, zorder=1)
    axes.set_ylabel("intensity")
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _label_lines(axes: Axes, readout: Readout) -> None:
    """Positions of the tallest maxima; one that lies close to a taller one stays without."""
    spectrum = readout.spectrum
    span = spectrum.axis_ppm[-1] - spectrum.axis_ppm[0]
    x, y = np.asarray(spectrum.axis_ppm), np.asarray(spectrum.intensity)
    placed: list[float] = []
    for line in find_lines(spectrum):
        if len(placed) == LABELLED or any(abs(line.position_ppm - other) < 0.035 * span for other in placed):
            continue
        placed.append(line.position_ppm)
        height = float(np.interp(line.position_ppm, x, y))
        axes.annotate(
            f"{line.position_ppm:.1f}",
            (line.position_ppm, height),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    axes.margins(y=0.12)


def _show_foot(axes: Axes, readout: Readout) -> None:
    """Scale to the noise, so that its band and the baseline can be judged."""
    level = readout.spectrum.noise
    quiet = np.asarray(readout.spectrum.intensity)[readout.noise.quiet]
    centre = float(np.median(quiet)) if len(quiet) else 0.0
    reach = 12.0 * level
    low, high = centre - reach, centre + 2.0 * reach
    if readout.baseline is not None:
        low, high = min(low, float(readout.baseline.min()) - level), max(high, float(readout.baseline.max()) + level)
    axes.axhspan(centre - level, centre + level, color="#f3d9b1", lw=0, alpha=0.8, zorder=1, label="noise, one sigma")
    axes.set_ylim(low, high)
    axes.set_title(f"foot, scaled to the noise of {level:.3g} (one standard deviation: band)", fontsize=8)
