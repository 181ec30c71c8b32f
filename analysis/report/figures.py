"""Static figures, one function each, as they stand beside the report and in print.

Every function returns a matplotlib figure at journal column widths; ``png`` and ``svg`` turn it into bytes.
Nothing stays changed in matplotlib's global state.
"""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .view import INTERVAL_90, is_surface, shorten, split_isotope, stagger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..vocabulary import FittedCurve, Peak, Spectrum
    from .view import CouplingChart, Lane, LineChart, ReferenceLine, View

ONE_COLUMN_INCH = 3.5
TWO_COLUMNS_INCH = 7.0

MAX_BARS = 20
"""Populations that are drawn; the table has all."""


@dataclass(frozen=True)
class Theme:
    """Colours of everything that is not a candidate."""

    text: str
    faint: str
    band: str
    paper: str


LIGHT = Theme(text="#1a1c1e", faint="#c9ced3", band="#9aa3ab", paper="#ffffff")
DARK = Theme(text="#e6e8ea", faint="#454b51", band="#7d868e", paper="#16191c")


def plain(text: str, length: int = 40) -> str:
    """A user's text for matplotlib: dollar signs do not start a formula, long names are cut."""
    return shorten(text, length).replace("$", r"\$")


def isotope_math(isotope: str) -> str:
    """An isotope with its mass number raised."""
    mass, symbol = split_isotope(isotope)
    return f"$^{{{mass}}}${symbol}" if mass else plain(symbol)


def shift_label(chart: LineChart | CouplingChart, field_tesla: float | None = None) -> str:
    """Axis label of a shift axis with its symbol and unit."""
    if field_tesla is None:
        return rf"$\delta_\mathrm{{iso}}$({isotope_math(chart.isotope)}) / ppm"
    return rf"$\delta_\mathrm{{obs}}$({isotope_math(chart.isotope)}, {field_tesla:g} T) / ppm"


@contextmanager
def _style(theme: Theme) -> Iterator[None]:
    from matplotlib import rc_context

    settings: dict[Any, Any] = {
        "font.family": "DejaVu Sans",
        "font.size": 8,
        "axes.labelsize": 8.5,
        "axes.linewidth": 0.7,
        "axes.facecolor": "none",
        "figure.facecolor": theme.paper,
        "legend.frameon": False,
        "legend.fontsize": 7.5,
        "mathtext.fontset": "dejavusans",
    }
    coloured = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    with rc_context(settings | dict.fromkeys(coloured, theme.text)):
        yield


def _new(width_inch: float, height_inch: float, height_ratios: tuple[float, ...] = (1.0,)) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inch, height_inch), layout="constrained")
    axes = figure.subplots(len(height_ratios), 1, squeeze=False, sharex=True, height_ratios=height_ratios)
    return figure, list(axes[:, 0])


def _open_frame(axes: Axes, *sides: str) -> None:
    for side in {"left", "right", "top", "bottom"} - set(sides):
        axes.spines[side].set_visible(False)


def populations_figure(view: View, theme: Theme = LIGHT) -> Figure:
    """Posterior populations, mean and central 90 % interval, largest on top."""
    with _style(theme):
        shown = view.populations[:MAX_BARS]
        figure, (axes,) = _new(ONE_COLUMN_INCH, 0.65 + 0.36 * len(shown))
        for row, population in enumerate(shown):
            look = view.look(population.candidate_name)
            axes.barh(row, population.mean, height=0.34, color=look.colour, alpha=0.35)
            axes.plot([population.low, population.high], [row, row], color=look.colour, lw=2, solid_capstyle="butt")
            axes.plot(population.mean, row, look.marker, color=look.colour, ms=5, mec=theme.text, mew=0.6, zorder=9)
            axes.text(0.0, row - 0.24, plain(population.candidate_name), va="bottom", ha="left", fontsize=7)
        axes.set(xlim=(-0.02, max(1.0, *(p.high for p in shown))), ylim=(len(shown) - 0.5, -0.75), yticks=[])
        axes.set_xlabel("population (share of the sample)")
        axes.grid(axis="x", color=theme.faint, lw=0.5)
        axes.set_axisbelow(True)
        _open_frame(axes, "bottom")
        return figure


def spectrum_figure(spectrum: Spectrum, curve: FittedCurve | None, view: View, theme: Theme = LIGHT) -> Figure:
    """A measured spectrum with its fit, the part of every candidate, and the residual below."""
    with _style(theme):
        figure, panels = _new(TWO_COLUMNS_INCH, 3.6 if curve else 2.6, (4.0, 1.0) if curve else (1.0,))
        axis, data = np.array(spectrum.axis_ppm), np.array(spectrum.intensity)
        top = panels[0]
        scale = float(np.abs(data).max()) or 1.0
        top.plot(axis, data / scale, color=theme.text, lw=0.9, label="measured")
        if curve:
            base = np.array(curve.baseline) / scale
            for name, part in curve.parts.items():
                colour = view.look(view.name_of(name)).colour
                height = base + np.array(part) / scale
                top.fill_between(axis, base, height, color=colour, alpha=0.25, lw=0)
                top.plot(axis, height, color=colour, lw=0.9, label=plain(view.name_of(name)))
            top.plot(axis, np.array(curve.total) / scale, color=theme.text, lw=1.1, ls=(0, (3, 1.5)), label="fit")
            residual = (data - np.array(curve.total)) / spectrum.noise
            panels[1].axhspan(-INTERVAL_90, INTERVAL_90, color=theme.band, alpha=0.3, lw=0)
            panels[1].plot(axis, residual, color=theme.text, lw=0.6)
            panels[1].set_ylabel(r"residual / $\sigma$")
            _open_frame(panels[1], "left", "bottom")
            panels[0].tick_params(axis="x", length=0)
        top.legend(loc="upper left", bbox_to_anchor=(0, 1))
        top.set(yticks=[], ylabel="intensity")
        _open_frame(top, *([] if curve else ["bottom"]))
        panels[-1].set_xlim(float(axis[-1]), float(axis[0]))
        rate = f", {spectrum.mas_rate_hz / 1000:g} kHz MAS" if spectrum.mas_rate_hz else ", static"
        panels[-1].set_xlabel(
            rf"$\delta$({isotope_math(spectrum.isotope)}) / ppm   "
            f"({spectrum.field_tesla:g} T{rate}, {spectrum.experiment.value})"
        )
        return figure


def lines_figure(chart: LineChart, theme: Theme = LIGHT) -> Figure:
    """Measured peaks, with one standard deviation, above the predicted lines of every candidate."""
    with _style(theme):
        low, high = chart.range_ppm
        labels = [plain(m.label or f"{m.position_ppm:.1f}") for m in chart.measured]
        # an average character is 0.06 inch wide in the font of the labels
        rows = stagger(
            [m.position_ppm for m in chart.measured],
            [(0.062 * len(label) + 0.06) / TWO_COLUMNS_INCH * (high - low) * 1.05 for label in labels],
        )
        head = 0.32 * (max(rows, default=-1) + 1) + (0.25 if rows else 0.0)
        figure, (axes,) = _new(TWO_COLUMNS_INCH, 0.55 + 0.5 * (head + len(chart.lanes)) + 0.1)
        for measured, label, row in zip(chart.measured, labels, rows, strict=True):
            x, error, y = measured.position_ppm, measured.error_ppm, -0.32 * row - 0.2
            axes.axvspan(x - error, x + error, color=theme.band, alpha=0.25, lw=0)
            axes.plot([x, x], [y, len(chart.lanes)], color=theme.text, lw=0.7, ls=(0, (4, 2)))
            paper = {"facecolor": theme.paper, "edgecolor": "none", "pad": 0.6}
            axes.text(x, y - 0.06, label, ha="center", va="bottom", fontsize=7, bbox=paper)
        grid = np.linspace(low, high, 1200)
        for number, lane in enumerate(chart.lanes):
            base = number + 0.95
            axes.axhline(base, color=theme.faint, lw=0.6, zorder=1)
            axes.fill_between(grid, base, base - 0.6 * lane.profile(grid), color=lane.look.colour, alpha=0.3, lw=0)
            axes.plot(grid, base - 0.6 * lane.profile(grid), color=lane.look.colour, lw=0.9)
            _plot_sites(axes, lane, lane.positions_ppm, np.full(len(lane.sites), base), theme)
            axes.text(
                0.004, base - 0.66, plain(lane.name), transform=axes.get_yaxis_transform(), fontsize=7, va="bottom"
            )
        axes.set(xlim=(high, low), ylim=(len(chart.lanes) + 0.12, -head), yticks=[])
        axes.set_xlabel(shift_label(chart, chart.field_tesla))
        axes.minorticks_on()
        _open_frame(axes, "bottom")
        return figure


def _plot_sites(axes: Axes, lane: Lane, x: np.ndarray, y: np.ndarray, theme: Theme) -> None:
    for filled in (False, True):
        chosen = np.array([is_surface(site) == filled for site in lane.sites])
        if not chosen.any():
            continue
        axes.plot(
            x[chosen],
            y[chosen],
            lane.look.marker,
            ls="none",
            ms=4.5,
            mew=0.9,
            mec=theme.text if filled else lane.look.colour,
            mfc=lane.look.colour if filled else theme.paper,
            clip_on=False,
            zorder=5,
        )


def coupling_figure(chart: CouplingChart, theme: Theme = LIGHT) -> Figure:
    """Isotropic shift against the magnitude of the quadrupolar coupling, measured and predicted."""
    from matplotlib.lines import Line2D

    with _style(theme):
        figure, (axes,) = _new(TWO_COLUMNS_INCH, 3.8)
        for _, peak in chart.peaks:
            _plot_peak(axes, peak, theme)
        handles = (
            [Line2D([], [], marker="+", ls="none", ms=8, color=theme.text, label="measured")] if chart.peaks else []
        )
        for lane in chart.lanes:
            cq = np.abs([site.cq_mhz for site in lane.sites])
            errors = np.array([site.cq_error_mhz for site in lane.sites])
            axes.errorbar(
                lane.positions_ppm,
                cq,
                xerr=lane.errors_ppm,
                yerr=errors,
                fmt="none",
                ecolor=lane.look.colour,
                lw=0.7,
                alpha=0.55,
            )
            _plot_sites(axes, lane, lane.positions_ppm, cq, theme)
            handles.append(
                Line2D([], [], marker=lane.look.marker, ls="none", ms=5, color=lane.look.colour, label=plain(lane.name))
            )
        axes.invert_xaxis()
        axes.set(xlabel=shift_label(chart), ylabel=rf"|$C_\mathrm{{Q}}$|({isotope_math(chart.isotope)}) / MHz")
        axes.grid(color=theme.faint, lw=0.4)
        axes.set_axisbelow(True)
        _open_frame(axes, "left", "bottom")
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
        return figure


def _plot_peak(axes: Axes, peak: Peak, theme: Theme) -> None:
    has_shift, has_cq = peak.delta_iso_ppm is not None, peak.cq_mhz is not None
    label = plain(peak.label)
    if peak.delta_iso_ppm is not None and peak.cq_mhz is not None:
        axes.errorbar(
            peak.delta_iso_ppm, peak.cq_mhz, xerr=peak.delta_error_ppm, yerr=peak.cq_error_mhz,
            color=theme.text, lw=1.3, capsize=2.5, zorder=6,
        )  # fmt: skip
        axes.annotate(
            label, (peak.delta_iso_ppm, peak.cq_mhz), (4, 4), textcoords="offset points", fontsize=7, zorder=7
        )
    elif has_cq and peak.cq_mhz is not None and peak.cq_error_mhz is not None:
        axes.axhspan(
            peak.cq_mhz - peak.cq_error_mhz, peak.cq_mhz + peak.cq_error_mhz, color=theme.band, alpha=0.25, lw=0
        )
        where = axes.get_yaxis_transform()
        axes.text(
            0.995,
            peak.cq_mhz + 0.9 * peak.cq_error_mhz,
            f"{label} (no shift)",
            transform=where,
            fontsize=7,
            ha="right",
            va="top",
        )
    elif has_shift and peak.delta_iso_ppm is not None and peak.delta_error_ppm is not None:
        left, right = peak.delta_iso_ppm - peak.delta_error_ppm, peak.delta_iso_ppm + peak.delta_error_ppm
        axes.axvspan(left, right, color=theme.band, alpha=0.25, lw=0)
        where = axes.get_xaxis_transform()
        axes.text(
            peak.delta_iso_ppm,
            0.99,
            f"{label} (no CQ)",
            transform=where,
            fontsize=7,
            rotation=90,
            ha="center",
            va="top",
        )


def reference_figure(line: ReferenceLine, theme: Theme = LIGHT) -> Figure:
    """Computed shielding against published shift, with the fitted line and its 90 % prediction band."""
    with _style(theme):
        reference = line.reference
        figure, (axes,) = _new(ONE_COLUMN_INCH, 3.1)
        axes.fill_between(
            line.sigma_ppm, line.delta_ppm - line.band_ppm, line.delta_ppm + line.band_ppm,
            color=theme.band, alpha=0.3, lw=0, label="90 % prediction band",
        )  # fmt: skip
        sign = "−" if reference.slope < 0 else "+"
        fit = rf"$\delta$ = {reference.intercept_ppm:.1f} {sign} {abs(reference.slope):.3f} $\sigma$"
        axes.plot(line.sigma_ppm, line.delta_ppm, color=theme.text, lw=0.9, label=fit)
        compounds = reference.compounds
        if compounds:
            axes.errorbar(
                [c.sigma_iso_ppm for c in compounds], [c.delta_iso_ppm for c in compounds],
                yerr=[c.delta_error_ppm for c in compounds], fmt="o", ms=4, lw=0.8, color="#3A93CC",
                mec=theme.text, mew=0.5, ecolor=theme.text, label=f"compounds (RMSE {line.rmse_ppm:.1f} ppm)",
            )  # fmt: skip
        for number, compound in enumerate(compounds, start=1):
            point = (compound.sigma_iso_ppm, compound.delta_iso_ppm)
            axes.annotate(str(number), point, (4, 3), textcoords="offset points", fontsize=6.5)
        isotope = isotope_math(reference.isotope)
        axes.set(
            xlabel=rf"computed $\sigma_\mathrm{{iso}}$({isotope}) / ppm",
            ylabel=rf"published $\delta_\mathrm{{iso}}$({isotope}) / ppm",
        )
        _open_frame(axes, "left", "bottom")
        figure.legend(loc="outside upper left", fontsize=7)
        return figure


def png(make: Callable[[], Figure]) -> bytes:
    """Bytes of a figure as PNG, 300 points per inch."""
    return _rendered(make, "png", dpi=300)


def svg(make: Callable[[], Figure]) -> bytes:
    """Bytes of a figure as SVG, its text as text, which keeps it small."""
    content = _rendered(make, "svg", metadata={"Date": None, "Creator": None})
    # Verdana is as wide as DejaVu Sans and takes its place where that is missing
    return content.replace(b"'DejaVu Sans'", b"'DejaVu Sans', Verdana, sans-serif")


def _rendered(make: Callable[[], Figure], kind: str, **options: Any) -> bytes:
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with warnings.catch_warnings(), rc_context({"svg.fonttype": "none", "svg.hashsalt": "surfshift"}):
        # a letter that the font lacks is drawn as a box; that is no reason to refuse the report
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        make().savefig(buffer, format=kind, **options)
    return buffer.getvalue()
