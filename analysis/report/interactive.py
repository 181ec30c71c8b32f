"""Figures of the page in which a reader can zoom and ask for the values of a line.

Each function returns a plotly figure as plain data. Colours that follow the light or dark scheme
are the names ``@text``, ``@faint``, ``@band`` and ``@paper``, which the page fills in.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from .view import INTERVAL_90, is_surface, number_ranges, shorten, split_isotope, stagger

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ..vocabulary import FittedCurve, PredictedSite, Spectrum
    from .view import CouplingChart, Lane, LineChart, View

Figure = dict[str, Any]

_SMALL_SCREEN_PX = 330
_CHARACTER_PX = 6.4
_LEGEND = {"orientation": "h", "y": -0.16, "yanchor": "top", "x": 0, "traceorder": "normal"}


def spectrum_figure(spectrum: Spectrum, curve: FittedCurve | None, view: View) -> Figure:
    """A measured spectrum with its fit, the part of every candidate, and the residual below."""
    axis, data = _along(spectrum.axis_ppm), np.array(spectrum.intensity)
    scale = float(np.abs(data).max()) or 1.0
    traces: list[dict[str, Any]] = []
    if curve:
        base = np.array(curve.baseline) / scale
        for name, part in curve.parts.items():
            colour = view.look(view.name_of(name)).colour
            hidden = {**axis, "y": _rounded(base), "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
            traces.append({**hidden, "showlegend": False, "type": "scatter"})
            height = _rounded(base + np.array(part) / scale)
            traces.append(_curve(axis, height, _text(view.name_of(name)), colour, fill="tonexty", width=1.3))
    traces.append(_curve(axis, _rounded(data / scale), "measured", "@text", width=1.2))
    layout = _layout(
        _shift_axis(spectrum.isotope, "δ"), [spectrum.axis_ppm[-1], spectrum.axis_ppm[0]], 520 if curve else 360
    )
    layout["yaxis"] = {"showticklabels": False, "title": {"text": "intensity"}, "zeroline": False, "showgrid": False}
    layout["legend"] = _LEGEND
    if curve:
        fit = _curve(axis, _rounded(np.array(curve.total) / scale), "fit", "@text", width=1.4)
        fit["line"]["dash"] = "dash"
        residual = _rounded((data - np.array(curve.total)) / spectrum.noise)
        traces += [fit, {**_curve(axis, residual, "residual", "@text", width=0.9), "yaxis": "y2", "showlegend": False}]
        layout["yaxis"]["domain"] = [0.3, 1]
        layout["yaxis2"] = {
            "domain": [0, 0.22],
            "title": {"text": "residual / σ", "font": {"size": 12}},
            "zeroline": False,
            "gridcolor": "@faint",
        }
        layout["xaxis"]["anchor"] = "y2"
        band = {"type": "rect", "xref": "paper", "yref": "y2", "x0": 0, "x1": 1, "line": {"width": 0}, "layer": "below"}
        layout["shapes"] = [{**band, "y0": -INTERVAL_90, "y1": INTERVAL_90, "fillcolor": "@band", "opacity": 0.25}]
    return {"data": traces, "layout": layout}


def lines_figure(chart: LineChart) -> Figure:
    """Measured peaks, with one standard deviation, above the predicted lines of every candidate."""
    low, high = chart.range_ppm
    labels = [_text(m.label or f"{m.position_ppm:.1f}", 24) for m in chart.measured]
    # room is reckoned for a narrow screen, so that labels are apart on every screen
    widths = [(len(label) + 1) * _CHARACTER_PX / _SMALL_SCREEN_PX * (high - low) for label in labels]
    rows = stagger([m.position_ppm for m in chart.measured], widths)
    head = 0.36 * (max(rows, default=-1) + 1) + (0.2 if rows else 0.0)
    grid = np.linspace(low, high, max(140, min(420, 6000 // max(len(chart.lanes), 1))))
    traces: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for number, lane in enumerate(chart.lanes):
        base = number + 0.95
        outline = base - 0.55 * lane.profile(grid)
        line = {"color": lane.look.colour, "width": 1.3, "simplify": False}
        flat = {"x": [low, high], "y": [base, base], "mode": "lines", "line": {"color": "@faint", "width": 1}}
        traces.append({**flat, "type": "scatter", "hoverinfo": "skip"})
        filled = {"fill": "tonexty", "fillcolor": lane.look.colour + "4d", "hoverinfo": "skip"}
        traces.append(
            {"type": "scatter", **_along(grid), "y": _rounded(outline), "mode": "lines", "line": line, **filled}
        )
        traces.append(_sites(lane, [base] * len(lane.sites)))
        notes.append(
            {"xref": "paper", "x": 0, "y": base - 0.6, "text": _text(lane.name, 46), "showarrow": False}
            | {"xanchor": "left", "yanchor": "bottom", "font": {"size": 12}, "bgcolor": "@paper", "borderpad": 0}
        )
    shapes: list[dict[str, Any]] = []
    bottom = float(len(chart.lanes))
    for measured, label, row in zip(chart.measured, labels, rows, strict=True):
        x, error, y = measured.position_ppm, measured.error_ppm, -0.36 * row - 0.12
        box = {"type": "rect", "x0": x - error, "x1": x + error, "y0": -0.12, "y1": bottom, "line": {"width": 0}}
        shapes.append({**box, "fillcolor": "@band", "opacity": 0.25, "layer": "below"})
        hover = f"{label or 'peak'}, {_text(measured.measurement)}<br>{x:.2f} ± {error:.2f} ppm"
        stroke = {"color": "@text", "width": 1, "dash": "dash"}
        traces.append(
            {"type": "scatter", "x": [x, x], "y": [y, bottom], "mode": "lines", "line": stroke}
            | {"hoverinfo": "text", "hovertext": hover}
        )
        place = {"x": x, "y": y, "text": label, "showarrow": False, "yanchor": "bottom", "bgcolor": "@paper"}
        notes.append({**place, "font": {"size": 12}, "borderpad": 0})
    symbol = "δ<sub>iso</sub>" if chart.field_tesla is None else "δ<sub>obs</sub>"
    layout = _layout(_shift_axis(chart.isotope, symbol), [high, low], int(90 + 58 * (head + len(chart.lanes))))
    layout["yaxis"] = {"visible": False, "range": [len(chart.lanes) + 0.12, -head], "fixedrange": True}
    return {"data": traces, "layout": {**layout, "shapes": shapes, "annotations": notes, "showlegend": False}}


def coupling_figure(chart: CouplingChart) -> Figure:
    """Isotropic shift against the magnitude of the quadrupolar coupling, measured and predicted."""
    traces: list[dict[str, Any]] = []
    for lane in chart.lanes:
        trace = _sites(lane, [abs(site.cq_mhz) for site in lane.sites])
        bars = {"color": lane.look.colour, "thickness": 1, "width": 0}
        trace["error_x"] = {"array": _rounded(lane.errors_ppm), **bars}
        trace["error_y"] = {"array": _rounded([site.cq_error_mhz for site in lane.sites]), **bars}
        traces.append({**trace, "name": _text(lane.name, 46), "showlegend": True})
    shapes: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    marker = {"symbol": "cross-thin", "size": 11, "line": {"width": 2, "color": "@text"}}
    for measurement, peak in chart.peaks:
        label = _text(peak.label, 24)
        band = {"type": "rect", "line": {"width": 0}, "fillcolor": "@band", "opacity": 0.25, "layer": "below"}
        if peak.delta_iso_ppm is not None and peak.cq_mhz is not None:
            bars = {"color": "@text", "thickness": 1.5, "width": 4}
            point = {"x": [peak.delta_iso_ppm], "y": [peak.cq_mhz], "text": [label], "mode": "markers+text"}
            errors = {
                "error_x": {"array": [peak.delta_error_ppm], **bars},
                "error_y": {"array": [peak.cq_error_mhz], **bars},
            }
            hover = (
                f"{label or 'peak'}, {_text(measurement)}"
                f"<br>δ {peak.delta_iso_ppm:.2f} ± {peak.delta_error_ppm:.2f} ppm"
                f"<br>CQ {peak.cq_mhz:.2f} ± {peak.cq_error_mhz:.2f} MHz"
            )
            known = any(trace["name"] == "measured" for trace in traces)
            shown = {"type": "scatter", "name": "measured", "legendgroup": "measured", "showlegend": not known}
            text = {"textposition": "top right", "hoverinfo": "text", "hovertext": [hover], "marker": marker}
            traces.append({**shown, **point, **errors, **text})
        elif peak.cq_mhz is not None and peak.cq_error_mhz is not None:
            low, high = peak.cq_mhz - peak.cq_error_mhz, peak.cq_mhz + peak.cq_error_mhz
            shapes.append({**band, "xref": "paper", "x0": 0, "x1": 1, "y0": low, "y1": high})
            place = {"xref": "paper", "x": 1, "xanchor": "right", "y": high, "yanchor": "top"}
            notes.append({**place, "text": f"{label} (no shift)", "showarrow": False})
        elif peak.delta_iso_ppm is not None and peak.delta_error_ppm is not None:
            low, high = peak.delta_iso_ppm - peak.delta_error_ppm, peak.delta_iso_ppm + peak.delta_error_ppm
            shapes.append({**band, "yref": "paper", "y0": 0, "y1": 1, "x0": low, "x1": high})
            place = {"yref": "paper", "y": 1, "yanchor": "top", "x": peak.delta_iso_ppm, "textangle": -90}
            notes.append({**place, "text": f"{label} (no C<sub>Q</sub>)", "showarrow": False})
    layout = _layout(_shift_axis(chart.isotope, "δ<sub>iso</sub>"), None, 440 + 22 * len(chart.lanes))
    mass, symbol = split_isotope(chart.isotope)
    title = f"|<i>C</i><sub>Q</sub>|(<sup>{_text(mass)}</sup>{_text(symbol)}) / MHz"
    layout["yaxis"] = {"title": {"text": title}, "gridcolor": "@faint", "zeroline": False}
    layout["legend"] = _LEGEND
    return {"data": traces, "layout": {**layout, "shapes": shapes, "annotations": notes}}


def _text(text: str, length: int = 40) -> str:
    return escape(shorten(text, length))


def _rounded(values: ArrayLike) -> list[float]:
    return [float(f"{value:.4g}") for value in np.asarray(values, dtype=float).tolist()]


def _along(axis: ArrayLike) -> dict[str, Any]:
    """An axis for a trace: start and step if the points are evenly spaced, which keeps the page small."""
    points = np.asarray(axis, dtype=float)
    step = float(points[-1] - points[0]) / (points.size - 1)
    if np.allclose(np.diff(points), step, rtol=1e-4, atol=0.0):
        return {"x0": float(points[0]), "dx": step}
    return {"x": _rounded(points)}


def _curve(
    axis: dict[str, Any], y: list[float], name: str, colour: str, *, width: float, fill: str = "none"
) -> dict[str, Any]:
    line = {"color": colour, "width": width, "simplify": False}
    trace = {"type": "scatter", "mode": "lines", **axis, "y": y, "name": name, "line": line}
    return {**trace, "fill": fill, "fillcolor": colour + "40"} if fill != "none" else trace


def _sites(lane: Lane, heights: list[float]) -> dict[str, Any]:
    look = lane.look
    inner = [look.colour if is_surface(site) else "@paper" for site in lane.sites]
    edges = ["@text" if is_surface(site) else look.colour for site in lane.sites]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": lane.positions_ppm.round(3).tolist(),
        "y": [round(height, 3) for height in heights],
        "marker": {"symbol": look.symbol, "size": 9, "color": inner, "line": {"width": 1.5, "color": edges}},
        "hoverinfo": "text",
        "hovertext": [_site_hover(site) for site in lane.sites],
        "cliponaxis": False,
    }


def _site_hover(site: PredictedSite) -> str:
    where = "given" if site.is_given else site.region.value
    lines = [
        f"<b>{_text(site.candidate_name)}</b>",
        f"{_text(site.isotope)}, {where}, {site.multiplicity} × (atoms {number_ranges(site.atom_indices)})",
        f"δ {site.delta_iso_ppm:.2f} ± {site.delta_error_ppm:.2f} ppm",
    ]
    if site.cq_mhz != 0.0:
        lines.append(f"CQ {site.cq_mhz:.2f} ± {site.cq_error_mhz:.2f} MHz, η {site.eta_q:.2f}")
    if site.distance_to_h_ang is not None:
        lines.append(f"{site.distance_to_h_ang:.2f} Å to H")
    return "<br>".join(lines)


def _shift_axis(isotope: str, symbol: str) -> str:
    mass, element = split_isotope(isotope)
    return f"{symbol}(<sup>{_text(mass)}</sup>{_text(element)}) / ppm"


def _layout(x_title: str, x_range: list[float] | None, height: int) -> dict[str, Any]:
    axis = {
        "title": {"text": x_title, "standoff": 8},
        "ticks": "outside",
        "showgrid": False,
        "zeroline": False,
        "showline": True,
    }
    shared = {"linecolor": "@text", "tickcolor": "@text"}
    return {
        "xaxis": axis | shared | ({"range": x_range} if x_range else {"autorange": "reversed"}),
        "height": height,
        "margin": {"l": 56, "r": 12, "t": 34, "b": 52},
        "paper_bgcolor": "@paper",
        "plot_bgcolor": "@paper",
        "font": {"color": "@text", "family": "system-ui, sans-serif", "size": 13},
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "dragmode": "zoom",
    }
