"""Picture of the lines that electrolyte, coating and products would show, at each field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .fingerprints import BROADENING_ELSE_PPM, BROADENING_PPM, lines_of, profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

COLOURS = ("#555555", "#0072b2", "#d55e00", "#009e73", "#aa4499", "#ddaa33", "#56b4e9", "#882255")


def draw_lines(
    amounts: Mapping[str, float],
    path: Path,
    *,
    isotopes: Sequence[str] = ("31P", "27Al"),
    fields_tesla: Sequence[float] = (9.4, 18.8),
) -> Path:
    """Draw the spectra of a mixture, every phase in its colour, one panel per nucleus and field.

    Parameters
    ----------
    amounts
        Formula units of each phase; phases without a line of a nucleus are left out of its panels.
    path
        PNG to write.
    isotopes, fields_tesla
        Rows and columns of panels.
    """
    from matplotlib.figure import Figure

    from .energies import amounts_of

    figure = Figure(figsize=(11.0, 3.1 * len(isotopes)), layout="constrained")
    grid = figure.subplots(len(isotopes), len(fields_tesla), squeeze=False)
    for row, isotope in enumerate(isotopes):
        element = isotope.lstrip("0123456789")
        known = {f: [line for line in lines_of(f) if line.isotope == isotope] for f in amounts}
        every = [line for lines in known.values() for line in lines]
        if not every:
            continue
        for column, field in enumerate(fields_tesla):
            axes = grid[row][column]
            positions = [line.position_ppm(field) for line in every]
            margin = 8.0 * BROADENING_PPM.get(isotope, BROADENING_ELSE_PPM)
            axis = np.arange(min(positions) - margin, max(positions) + margin, 0.1)
            total = np.zeros(len(axis))
            for number, (formula, lines) in enumerate(known.items()):
                if not lines:
                    continue
                part = np.zeros(len(axis))
                weight = amounts[formula] * amounts_of(formula)[element] / sum(line.share for line in lines)
                for line in lines:
                    about, density = profile(line, field)
                    part += weight * line.share * np.interp(axis, line.delta_ppm + about, density, left=0, right=0)
                total += part
                axes.fill_between(axis, part, alpha=0.55, color=COLOURS[number % len(COLOURS)], lw=0, label=formula)
            axes.plot(axis, total, color="black", lw=0.8)
            axes.set_ylim(0, 1.08 * total.max())
            axes.set_xlim(axis[-1], axis[0])
            axes.set_yticks([])
            axes.set_title(f"{isotope} at {field:g} T", fontsize=10)
            axes.set_xlabel("shift / ppm", fontsize=9)
            for side in ("top", "right", "left"):
                axes.spines[side].set_visible(False)
        grid[row][-1].legend(fontsize=8, frameon=False, loc="upper left")
    figure.savefig(path, dpi=130)
    return path
