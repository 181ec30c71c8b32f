"""Static figures of the answer: evidence, samples side by side, the references after the fit, and what to do next."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .figures import (
    LIGHT,
    ONE_COLUMN_INCH,
    TWO_COLUMNS_INCH,
    Theme,
    _new,
    _open_frame,
    _style,
    isotope_math,
    plain,
)
from .view import OTHER_COLOUR, predicted_position

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ..vocabulary import ExperimentGain, PredictedSite, ReferenceFit
    from .view import View

LEAST_GAIN_BITS = 0.01
"""An experiment that is expected to say less is not drawn."""

MAX_COMBINATIONS = 8
MAX_GAINS = 8
MAX_EXPLANATIONS = 4
_FLOOR = -14.0
"""Explanations with a smaller log evidence, relative to the best, are drawn as an arrow at the edge."""


def answer_plots(view: View) -> dict[str, Callable[..., Figure]]:
    """Static figures of the answer by slug; only those that have something to show."""
    result = view.result
    plots: dict[str, Callable[..., Figure]] = {}
    if view.explanations:
        plots["evidence"] = partial(evidence_figure, view)
    if result.assignment is not None:
        if result.assignment.samples:
            plots["samples"] = partial(samples_figure, view)
        for fit in result.assignment.reference_fits:
            plots[f"corner-{fit.isotope}"] = partial(corner_figure, fit)
    gains = [g.gain_bits for g in result.experiments] + [g.gain_bits for g in result.calculations]
    if max(gains, default=0.0) > LEAST_GAIN_BITS:
        plots["gains"] = partial(gains_figure, view)
    if result.experiments and result.experiments[0].gain_bits > LEAST_GAIN_BITS:
        plots["difference"] = partial(difference_figure, view, result.experiments[0])
    return plots


def evidence_figure(view: View, theme: Theme = LIGHT) -> Figure:
    """Log evidence of every explanation relative to the best, most probable on top, with its probability."""
    shown = view.explanations[:MAX_COMBINATIONS]
    top = max(s.log_evidence for s in shown)
    with _style(theme):
        figure, (axes,) = _new(ONE_COLUMN_INCH, 0.7 + 0.42 * len(shown))
        for row, subset in enumerate(shown):
            value = subset.log_evidence - top
            colour = view.look(subset.candidate_names[0]).colour if subset.candidate_names else OTHER_COLOUR
            clipped = max(value, _FLOOR)
            axes.plot([_FLOOR, clipped], [row, row], color=colour, lw=2.2, alpha=0.45, solid_capstyle="butt")
            marker = (
                "<"
                if value < _FLOOR
                else view.look(subset.candidate_names[0]).marker
                if subset.candidate_names
                else "D"
            )
            axes.plot(clipped, row, marker, color=colour, ms=5, mec=theme.text, mew=0.6, clip_on=False, zorder=5)
            name = " + ".join(subset.candidate_names) or "something not listed"
            axes.text(_FLOOR, row - 0.2, plain(name, 58), fontsize=6.6, va="bottom", ha="left")
            chance = "< 0.01" if subset.probability < 0.005 else f"{subset.probability:.2f}"
            axes.text(1.0, row, chance, fontsize=7, va="center", ha="left")
        axes.text(1.0, -0.75, "prob.", fontsize=6.6, va="bottom", ha="left")
        axes.set(xlim=(_FLOOR, 0.4), ylim=(len(shown) - 0.5, -0.9), yticks=[])
        axes.set_xlabel("ln evidence relative to the best")
        axes.grid(axis="x", color=theme.faint, lw=0.5)
        axes.set_axisbelow(True)
        _open_frame(axes, "bottom")
        return figure


def samples_figure(view: View, theme: Theme = LIGHT) -> Figure:
    """Population of every candidate in every sample, mean and central 90 % interval."""
    assignment = view.assignment
    with _style(theme):
        figure, (axes,) = _new(TWO_COLUMNS_INCH, 3.0)
        names = [p.candidate_name for p in view.populations if any(
            q.high > 0.02 for s in assignment.samples for q in s.populations if q.candidate_name == p.candidate_name
        )]  # fmt: skip
        for number, name in enumerate(names):
            look = view.look(name)
            own = [next(p for p in s.populations if p.candidate_name == name) for s in assignment.samples]
            x = np.arange(len(own)) + 0.5 * (number - 0.5 * (len(names) - 1)) / max(len(names), 1)
            mean = np.array([p.mean for p in own])
            bars = np.array([[p.mean - p.low for p in own], [p.high - p.mean for p in own]])
            axes.plot(x, mean, color=look.colour, lw=0.8, alpha=0.6)
            axes.errorbar(
                x, mean, yerr=np.clip(bars, 0, None), fmt=look.marker, color=look.colour, ms=5, mec=theme.text, mew=0.6,
                lw=1.6, capsize=2.5, label=plain(name),
            )  # fmt: skip
        axes.set_xticks(range(len(assignment.samples)), [plain(s.sample) for s in assignment.samples])
        axes.set(ylim=(-0.02, 1.02), xlim=(-0.6, len(assignment.samples) - 0.4), ylabel="population")
        axes.grid(axis="y", color=theme.faint, lw=0.5)
        axes.set_axisbelow(True)
        _open_frame(axes, "left", "bottom")
        figure.legend(loc="outside upper left", ncols=2)
        return figure


def corner_figure(fit: ReferenceFit, theme: Theme = LIGHT) -> Figure:
    """Offset and slope of a reference before (grey) and after the fit: densities, and 50 and 90 % ellipses."""
    from matplotlib.figure import Figure as MatplotlibFigure

    with _style(theme):
        figure = MatplotlibFigure(figsize=(ONE_COLUMN_INCH, 3.0), layout="constrained")
        grid = figure.subplots(2, 2, width_ratios=(2, 1), height_ratios=(1, 2))
        grid[0, 1].axis("off")
        prior = np.array(fit.prior_covariance), np.zeros(2), theme.band
        after = np.array(fit.covariance), np.array(fit.mean), "#0072B2"
        for covariance, mean, colour in (prior, after):
            for level, alpha in ((0.9, 0.22), (0.5, 0.35)):
                points = _ellipse(covariance, mean, level)
                grid[1, 0].fill(points[:, 0], points[:, 1], color=colour, alpha=alpha, lw=0)
            grid[1, 0].plot(*mean, "+", color=colour, ms=6, mew=1.4)
            for axes, index, is_flat in ((grid[0, 0], 0, True), (grid[1, 1], 1, False)):
                sd = math.sqrt(max(float(covariance[index, index]), 1e-18))
                x = mean[index] + sd * np.linspace(-4, 4, 161)
                y = np.exp(-0.5 * ((x - mean[index]) / sd) ** 2) / sd
                curve = (x, y) if is_flat else (y, x)
                axes.plot(*curve, color=colour, lw=1.1)
        wide = 3.0 * np.sqrt(np.clip(np.diagonal(prior[0]), 1e-18, None))
        grid[1, 0].set(
            xlim=(-wide[0], wide[0]),
            ylim=(-wide[1], wide[1]),
            xlabel=rf"offset at $\sigma$ = {fit.sigma_ppm:.0f} ppm / ppm",
            ylabel="change of slope",
        )
        grid[0, 0].set(xlim=(-wide[0], wide[0]), xticklabels=[], yticks=[], title=isotope_math(fit.isotope))
        grid[0, 0].title.set_fontsize(9)
        grid[1, 1].set(ylim=(-wide[1], wide[1]), yticklabels=[], xticks=[])
        for axes in (grid[0, 0], grid[1, 1]):
            _open_frame(axes, "bottom" if axes is grid[0, 0] else "left")
        return figure


def _ellipse(covariance: NDArray[np.float64], mean: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Outline (n, 2) of the region of a two-dimensional normal distribution that holds this share of it."""
    values, vectors = np.linalg.eigh(covariance)
    angle = np.linspace(0.0, 2.0 * np.pi, 121)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    radius = math.sqrt(-2.0 * math.log(1.0 - level))
    points: NDArray[np.float64] = mean + radius * ((vectors * np.sqrt(np.clip(values, 0.0, None))) @ circle).T
    return points


def gains_figure(view: View, theme: Theme = LIGHT) -> Figure:
    """Expected gain of further experiments and calculations, best first."""
    result = view.result
    rows = [(g.name, g.gain_bits, "#0072B2") for g in result.experiments[:MAX_GAINS]]
    rows += [(g.name, g.gain_bits, "#D55E00") for g in result.calculations[:MAX_GAINS]]
    with _style(theme):
        figure, (axes,) = _new(TWO_COLUMNS_INCH, 0.75 + 0.3 * len(rows))
        largest = max([*(value for _, value, _ in rows), 0.05])
        for row, (name, value, colour) in enumerate(rows):
            axes.barh(row, value, height=0.55, color=colour, alpha=0.55)
            axes.text(value + 0.01 * largest, row, f"{plain(name, 70)}  {value:.2f}", va="center", fontsize=7)
        axes.set(yticks=[], ylim=(len(rows) - 0.4, -0.6), xlim=(0, 2.0 * largest))
        axes.set_xlabel("expected gain / bits   (blue: experiments, orange: calculations)")
        _open_frame(axes, "bottom", "left")
        return figure


def difference_figure(view: View, gain: ExperimentGain, theme: Theme = LIGHT) -> Figure:
    """Where the living explanations would differ in an experiment: density of their lines, and how far they part."""
    with _style(theme):
        figure, (top, low) = _new(TWO_COLUMNS_INCH, 3.0, (3.0, 1.0))
        curves = expected_lines(view, gain)
        for name, colour, x, y in curves:
            top.plot(x, y, color=colour, lw=1.2, label=plain(name))
            top.fill_between(x, 0, y, color=colour, alpha=0.12, lw=0)
        x = curves[0][2]
        stack = np.array([y for *_, y in curves])
        apart = stack.max(axis=0) - stack.min(axis=0)
        low.fill_between(x, 0, apart, color=theme.band, alpha=0.6, lw=0)
        low.set(ylabel="difference", yticks=[])
        top.set(yticks=[], ylabel="expected lines")
        low.set_xlabel(_quantity(gain))
        if not _is_coupling(gain):
            low.set_xlim(float(x[-1]), float(x[0]))
        else:
            low.set_xlim(float(x[0]), float(x[-1]))
        _open_frame(top, "bottom")
        _open_frame(low, "bottom")
        figure.legend(loc="outside upper left", ncols=2)
        return figure


def _is_coupling(gain: ExperimentGain) -> bool:
    return gain.experiment.value == "trapdor"


def _is_isotropic(gain: ExperimentGain) -> bool:
    return gain.experiment.value == "mqmas"


def _quantity(gain: ExperimentGain) -> str:
    isotope = isotope_math(gain.isotope)
    if _is_coupling(gain):
        return rf"|$C_\mathrm{{Q}}$|({isotope}) / MHz of the lines near $^{{1}}$H"
    if _is_isotropic(gain):
        return rf"$\delta_\mathrm{{iso}}$({isotope}) / ppm, {plain(gain.name)}"
    return rf"centre of gravity, $\delta$({isotope}) / ppm at {gain.field_tesla:g} T, {plain(gain.experiment.value)}"


def expected_lines(view: View, gain: ExperimentGain) -> list[tuple[str, str, NDArray[np.float64], NDArray[np.float64]]]:
    """Name, colour, axis and density of the lines of each living explanation, equal populations, with DFT's error."""
    chosen: list[tuple[str, str, list[tuple[float, float, float]]]] = []
    for subset in [s for s in view.explanations if s.candidate_names][:MAX_EXPLANATIONS]:
        lines = []
        for name in subset.candidate_names:
            sites = [s for s in view.result.sites if s.candidate_name == name and s.isotope == gain.isotope]
            atoms = sum(s.multiplicity for s in sites) or 1
            lines += [(*_place(s, gain), s.multiplicity / atoms * _seen(s, gain)) for s in sites]
        colour = view.look(subset.candidate_names[-1]).colour
        chosen.append((" + ".join(subset.candidate_names), colour, lines))
    everything = [line for _, _, lines in chosen for line in lines] or [(0.0, 1.0, 0.0)]
    low = min(place - 3.5 * error for place, error, _ in everything)
    high = max(place + 3.5 * error for place, error, _ in everything)
    axis = np.linspace(max(low, 0.0) if _is_coupling(gain) else low, high, 600)
    found = []
    for name, colour, lines in chosen:
        density = np.zeros_like(axis)
        for place, error, weight in lines:
            density += weight / (math.sqrt(2.0 * math.pi) * error) * np.exp(-0.5 * ((axis - place) / error) ** 2)
        found.append((name, colour, axis, density))
    return found


def _place(site: PredictedSite, gain: ExperimentGain) -> tuple[float, float]:
    if _is_coupling(gain):
        return abs(site.cq_mhz), max(site.cq_error_mhz, 0.05)
    return predicted_position(site, None if _is_isotropic(gain) else gain.field_tesla), site.delta_error_ppm


def _seen(site: PredictedSite, gain: ExperimentGain) -> float:
    """Share of a site's signal: all of it, or what its distance to hydrogen leaves (half at 4 or 3.5 angstrom)."""
    if not gain.experiment.is_surface_selective or site.isotope == "1H":
        return 1.0
    if site.distance_to_h_ang is None:
        return 0.0
    half = 3.5 if _is_coupling(gain) else 4.0
    return 1.0 / (1.0 + (site.distance_to_h_ang / half) ** 6)


def draw_marks(axes: Axes, flat: NDArray[np.float64], atoms: tuple[int, ...], marks: dict[int, str]) -> None:
    """Rings around atoms that explain measured lines, and the line's label at the nearest of each."""
    labelled: dict[str, int] = {}
    for ball in np.argsort(flat[:, 2]):
        if (label := marks.get(atoms[ball])) is not None:
            labelled[label] = int(ball)
            axes.plot(flat[ball, 0], flat[ball, 1], "o", ms=11, mfc="none", mec="#C2185B", mew=1.3, zorder=8)
    for label, ball in labelled.items():
        axes.annotate(
            plain(label), (flat[ball, 0], flat[ball, 1]), (6, 6), textcoords="offset points", fontsize=6.5, zorder=9,
            color="#7A0F3A", bbox={"facecolor": "#ffffff", "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
        )  # fmt: skip
