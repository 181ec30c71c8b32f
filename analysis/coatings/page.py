"""The page of a screening: one file that opens without a network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..constants import isotope
from .energies import amounts_of
from .fingerprints import line_width_ppm
from .output import best_detections, place_of, write_text
from .windows import published_windows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .energies import EnergyTable
    from .fingerprints import NmrLine
    from .interface_lines import InterfaceLine
    from .output import Places
    from .reactions import ReactionCurve
    from .screening import CoatingResult, Contact, Settings
    from .windows import WindowSide


def write_page(
    results: Sequence[CoatingResult],
    ranked: Places,
    *,
    refused: Mapping[str, str],
    table: EnergyTable,
    settings: Settings,
    path: Path,
    interfaces: Sequence[InterfaceLine] = (),
) -> Path:
    """Write the page: Pareto front, windows, reaction curves, products with their NMR lines, refusals, provenance."""
    page = render_page(results, ranked, refused=refused, table=table, settings=settings, interfaces=interfaces)
    return write_text(path, page)


def render_page(
    results: Sequence[CoatingResult],
    ranked: Places,
    *,
    refused: Mapping[str, str],
    table: EnergyTable,
    settings: Settings,
    interfaces: Sequence[InterfaceLine] = (),
) -> str:
    """The page as one text."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader

    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("surfshift.analysis.coatings", "."), PackageLoader("surfshift.analysis.report", ".")]
        ),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    assert environment.loader is not None
    style, _, _ = environment.loader.get_source(environment, "style.css.jinja")
    lines: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        for formula, known in result.lines.items():
            if formula not in lines:
                lines[formula] = [line.model_dump(mode="json") | _positions(line, settings) for line in known]
    data = {
        "rows": [_row(result, ranked) for result in results],
        "lines": lines,
        "fields": list(settings.fields_tesla),
    }
    pairs = list(dict.fromkeys((r.electrolyte_name, r.electrode_name) for r in results))
    return environment.get_template("screening.html.jinja").render(
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        style=style,
        pairs=pairs,
        results=results,
        refused=refused,
        table=table,
        settings=settings,
        errors=_errors(table),
        interfaces=interfaces,
    )


def _positions(line: NmrLine, settings: Settings) -> dict[str, Any]:
    """Centres and widths of a line in each field, and atoms of its element in a formula unit."""
    return {
        "positions": [round(line.position_ppm(field), 1) for field in settings.fields_tesla],
        "widths": [round(line_width_ppm(line, field), 2) for field in settings.fields_tesla],
        "atoms": amounts_of(line.formula).get(isotope(line.isotope).element, 0.0),
    }


def _row(result: CoatingResult, ranked: Places) -> dict[str, Any]:
    place = place_of(result, ranked)
    published = published_windows().get(result.window.formula)
    return {
        "coating": result.coating,
        "electrolyte": result.electrolyte_name,
        "electrode": result.electrode_name,
        "front": place.is_front,
        "reasons": list(place.reasons),
        "low": result.low_v,
        "high": result.high_v,
        "reduction": _side(result.window.reduction),
        "oxidation": _side(result.window.oxidation),
        "above": result.window.above_hull_ev,
        "aboveError": result.window.above_hull_error_ev,
        "stable": result.window.probability_stable,
        "outside": result.window_violation_v,
        "published": None if published is None else published.model_dump(),
        "windowCoverage": str(result.window_coverage),
        "withElectrolyte": _contact(result.electrolyte),
        "withElectrode": _contact(result.electrode),
        "electrolyteFormula": result.electrolyte.neighbour,
        "water": _air(result.water),
        "carbonDioxide": _air(result.carbon_dioxide),
        "gap": result.gap_ev,
        "gapClass": result.gap_class,
        "gapSource": result.gap_source,
        "path": None if result.path is None else result.path.model_dump(),
        "match": None if result.match is None else result.match.model_dump(mode="json"),
        "products": result.products,
        "shown": best_detections(result),
        "detectable": {
            formula: [d.model_dump(mode="json") for d in options[:4]] for formula, options in result.detectable.items()
        },
        "notes": list(result.notes),
    }


def _side(side: WindowSide) -> dict[str, Any]:
    return {"v": side.voltage_v, "error": side.error_v, "reaction": side.reaction}


def _curve(curve: ReactionCurve) -> dict[str, Any]:
    return {
        "v": curve.voltage_v,
        "points": [[round(k.share, 4), round(k.energy_ev_per_atom, 4)] for k in curve.kinks],
        "worst": [round(curve.worst.share, 4), round(curve.worst.energy_ev_per_atom, 4)],
        "error": curve.energy_error_ev,
        "probability": curve.probability,
        "added": round(curve.contact_ev_per_atom, 4),
        "products": curve.product_probability,
        "elsewhere": curve.product_probability_elsewhere,
    }


def _contact(contact: Contact) -> dict[str, Any]:
    return {
        "neighbour": contact.neighbour,
        "closed": _curve(contact.closed),
        "open": [_curve(curve) for curve in contact.open],
        "coverage": str(contact.coverage),
    }


def _air(curve: ReactionCurve | None) -> dict[str, Any] | None:
    return None if curve is None else _curve(curve)


def _errors(table: EnergyTable) -> list[tuple[str, int, float, float]]:
    corrections = table.corrections
    if corrections is None:
        return []
    order = sorted(corrections.counts, key=lambda c: (c != "all", -corrections.counts[c]))
    return [
        (c, corrections.counts[c], corrections.uncorrected_error_ev_per_atom[c], corrections.error_ev_per_atom[c])
        for c in order
    ]
