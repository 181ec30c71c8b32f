"""Phase diagrams of terminations as pictures: gamma along one axis, and the most stable one over two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..figure_files import save_figure
from .gases import SupersaturatedError
from .stability import stability_map
from .surface import J_PER_M2, OutsideStableRegionError, ThermodynamicsError, surface_free_energies

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from .surface import State, SurfaceSystem

COLOURS = ("#123f6d", "#c2410c", "#15803d", "#7e22ce", "#b45309", "#0e7490", "#be185d", "#4d7c0f")
LEAST_SHADE = 0.35


def draw_line_diagram(
    system: SurfaceSystem,
    states: Sequence[State],
    path: Path | str,
    *,
    x: Sequence[float],
    x_label: str,
    title: str = "",
) -> Path:
    """Write a PNG of gamma of every termination over the states, with one standard deviation as a band.

    Where the bulk is not stable, lines and bands are left out and the background is grey.

    Raises
    ------
    ThermodynamicsError
        If numbers of states and of x differ, the bulk is stable nowhere, or the file cannot be written.
    """
    if len(states) != len(x):
        raise ThermodynamicsError(f"{len(states)} states for {len(x)} places on the axis; give one each")
    if len(states) < 2:
        raise ThermodynamicsError("a line needs at least two states; give more places on the axis")
    gamma = np.full((len(states), len(system.slabs)), np.nan)
    error = np.zeros(len(system.slabs))
    for k, state in enumerate(states):
        try:
            here = surface_free_energies(system, state)
        except (OutsideStableRegionError, SupersaturatedError):
            continue
        gamma[k] = here.gamma_ev_per_ang2
        error = np.array(here.errors_ev_per_ang2)
    if np.isnan(gamma).all():
        raise ThermodynamicsError("the bulk is stable in none of these states; check the axis and the energies")
    figure, axes = _canvas(title)
    grid = np.asarray(x, dtype=float)
    for k, slab in enumerate(system.slabs):
        colour = COLOURS[k % len(COLOURS)]
        y = J_PER_M2 * gamma[:, k]
        axes.fill_between(grid, y - J_PER_M2 * error[k], y + J_PER_M2 * error[k], color=colour, alpha=0.15, lw=0)
        axes.plot(grid, y, color=colour, lw=1.8, label=slab.name)
    _grey_out(axes, grid, np.isnan(gamma).all(axis=1))
    axes.set_xlim(grid.min(), grid.max())
    axes.set_xlabel(x_label)
    axes.set_ylabel("surface free energy / J m⁻²")
    axes.legend(fontsize=8, frameon=False)
    return save_figure(figure, path, ThermodynamicsError)


def _grey_out(axes: Axes, grid: NDArray[np.float64], gone: NDArray[np.bool_]) -> None:
    if gone.any():
        axes.fill_between(
            grid, 0, 1, where=gone.tolist(), transform=axes.get_xaxis_transform(), color="0.9", lw=0, zorder=0,
            label="bulk not stable, or water condenses",
        )  # fmt: skip


def draw_map(
    system: SurfaceSystem,
    state_at: Callable[[float, float], State],
    path: Path | str,
    *,
    x: Sequence[float],
    y: Sequence[float],
    x_label: str,
    y_label: str,
    title: str = "",
    marks: Sequence[tuple[float, float, str]] = (),
) -> Path:
    """Write a PNG of the most stable termination over two axes; the paler, the less sure.

    Parameters
    ----------
    state_at
        The state at a pair (x, y).
    marks
        Places to name: x, y and text.

    Raises
    ------
    ThermodynamicsError
        If the bulk is stable nowhere, or the file cannot be written.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    best, probability = stability_map(system, [[state_at(a, b) for a in x] for b in y])
    if (best < 0).all():
        raise ThermodynamicsError("the bulk is stable in none of these states; check the axes and the energies")
    figure, axes = _canvas(title)
    image = np.full((*best.shape, 3), 0.92)
    for k in range(len(system.slabs)):
        chance = 1.0 / max(2, len(system.slabs))
        shade = LEAST_SHADE + (1 - LEAST_SHADE) * np.clip((probability - chance) / (1 - chance), 0, 1)
        colour = np.array(to_rgb(COLOURS[k % len(COLOURS)]))
        image = np.where((best == k)[..., None], 1 - shade[..., None] * (1 - colour), image)
    axes.imshow(image, origin="lower", extent=(x[0], x[-1], y[0], y[-1]), aspect="auto", interpolation="nearest")
    if (probability > 0.95).any() and (probability[best >= 0] < 0.95).any():
        lines = axes.contour(x, y, np.where(best < 0, np.nan, probability), levels=[0.95], colors="white", linewidths=1)
        lines.set_linestyle("dashed")
    for a, b, text in marks:
        axes.plot(a, b, "o", ms=5, mfc="white", mec="black", mew=0.8)
        is_right = a > x[0] + 0.6 * (x[-1] - x[0])
        axes.annotate(
            text, (a, b), xytext=(-7 if is_right else 7, 5), textcoords="offset points", fontsize=8,
            ha="right" if is_right else "left", color="black",
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75},
        )  # fmt: skip
    handles = [
        Patch(color=COLOURS[k % len(COLOURS)], label=slab.name)
        for k, slab in enumerate(system.slabs)
        if (best == k).any()
    ]
    if (best < 0).any():
        handles.append(Patch(color="0.92", label="bulk not stable, or water condenses"))
    axes.legend(handles=handles, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return save_figure(figure, path, ThermodynamicsError)


def _canvas(title: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 5.0), dpi=130, layout="constrained")
    axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if title:
        axes.set_title(title, fontsize=10, loc="left")
    return figure, axes
