"""A picture of a reference: compounds, line, predictive bands, and residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .figure_files import save_figure
from .reference_fit import fitted_shift, predictive_interval, residuals_ppm
from .references import ReferenceFileError

if TYPE_CHECKING:
    from pathlib import Path

    from .vocabulary import Reference

BANDS = ((0.95, "#d7e3f1"), (0.68, "#a9c3e0"))
LINE = "#123f6d"
POINT = "#c2410c"
LABELLED = 6
"""Most compounds that are labelled in the residuals: those farthest off."""


def draw_reference(reference: Reference, path: Path | str) -> Path:
    """Write a PNG: shift against shielding with the bands in which a new site is expected, and the residuals.

    Raises
    ------
    ReferenceFileError
        If there is no compound to draw, or the file cannot be written.
    """
    if not reference.compounds:
        raise ReferenceFileError(f"the {reference.isotope} reference has no compounds, so there is nothing to draw")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 7.0), dpi=130, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(5, 3))
    sigma = np.array([c.sigma_iso_ppm for c in reference.compounds])
    delta = np.array([c.delta_iso_ppm for c in reference.compounds])
    x_error = [c.sigma_error_ppm for c in reference.compounds]
    y_error = [c.delta_error_ppm for c in reference.compounds]
    margin = max(0.08 * float(np.ptp(sigma)), 2.0)
    grid = np.linspace(sigma.min() - margin, sigma.max() + margin, 121)
    line = np.array([fitted_shift(reference, s)[0] for s in grid])
    for level, colour in BANDS:
        edges = np.array([predictive_interval(reference, s, level) for s in grid])
        label = f"{100 * level:.0f} % of new sites"
        upper.fill_between(grid, edges[:, 0], edges[:, 1], color=colour, lw=0, label=label)
        lower.fill_between(grid, edges[:, 0] - line, edges[:, 1] - line, color=colour, lw=0)
    upper.plot(
        grid, line, color=LINE, lw=1.2, label=f"{reference.intercept_ppm:.1f} {reference.slope:+.4f} x shielding"
    )
    residual = np.array(list(residuals_ppm(reference).values()))
    style = {"fmt": "o", "ms": 4, "color": POINT, "elinewidth": 0.8}
    upper.errorbar(sigma, delta, yerr=y_error, xerr=x_error, label="compounds", **style)
    lower.errorbar(sigma, residual, yerr=y_error, xerr=x_error, **style)
    lower.axhline(0.0, color=LINE, lw=1.0)
    right = float(grid[0] + 0.75 * (grid[-1] - grid[0]))
    for k in np.argsort(-np.abs(residual))[:LABELLED]:
        to_left = sigma[k] > right
        lower.annotate(
            reference.compounds[k].name,
            (sigma[k], residual[k]),
            xytext=(-5 if to_left else 5, 3),
            textcoords="offset points",
            ha="right" if to_left else "left",
            fontsize=7,
        )
    upper.set_title(f"{reference.isotope} reference, {reference.method.key}", fontsize=10)
    upper.set_ylabel("published shift / ppm")
    lower.set_ylabel("published - fitted / ppm")
    lower.set_xlabel("computed shielding / ppm")
    lower.margins(y=0.15)
    lower.set_xlim(grid[0], grid[-1])
    upper.legend(loc="upper right", fontsize=8, framealpha=1.0, edgecolor="none")
    for axes in (upper, lower):
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return save_figure(figure, path, ReferenceFileError)
