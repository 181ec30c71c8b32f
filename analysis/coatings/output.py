"""Results of a screening as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from ..report.write import write_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .energies import EnergyTable
    from .interface_lines import InterfaceLine
    from .ranking import Ranked
    from .screening import CoatingResult

    Places = Mapping[tuple[str, str], Sequence[Ranked]]


def place_of(result: CoatingResult, ranked: Places) -> Ranked:
    """The place of a result among those of its electrolyte and electrode."""
    places = ranked[result.electrolyte_name, result.electrode_name]
    return next(p for p in places if p.coating == result.coating)


def best_detections(result: CoatingResult) -> dict[str, str]:
    """For the coating and each product the nucleus and field that show it best, in words."""
    found = {}
    for formula, options in result.detectable.items():
        if not options:
            continue
        best = options[0]
        positions = ", ".join(f"{p:g}" for p in best.positions_ppm)
        least = "not separable" if best.least_percent is None else f"from {best.least_percent:g} % of the element"
        found[formula] = (
            f"{best.isotope} at {positions} ppm ({best.field_tesla:g} T), clear with probability "
            f"{best.resolved_probability:.2f}, {least}"
        )
    return found


def flat_row(result: CoatingResult, ranked: Places) -> dict[str, Any]:
    """One result as a flat row."""
    place = place_of(result, ranked)
    window = result.window
    worst_open = result.electrode.worst_open
    return {
        "electrolyte": result.electrolyte_name,
        "coating": result.coating,
        "electrode": result.electrode_name,
        "on_front": place.is_front,
        "reasons": "; ".join(place.reasons),
        "reduction_v": window.reduction.voltage_v,
        "reduction_error_v": window.reduction.error_v,
        "oxidation_v": window.oxidation.voltage_v,
        "oxidation_error_v": window.oxidation.error_v,
        "above_hull_ev_per_atom": window.above_hull_ev,
        "probability_stable": window.probability_stable,
        "outside_window_v": result.window_violation_v,
        "electrolyte_ev_per_atom": result.electrolyte.closed.worst.energy_ev_per_atom,
        "electrolyte_contact_ev_per_atom": round(result.electrolyte_ev, 5),
        "electrolyte_error_ev": result.electrolyte.closed.energy_error_ev,
        "electrolyte_probability": result.electrolyte.closed.probability,
        "electrode_ev_per_atom": result.electrode.closed.worst.energy_ev_per_atom,
        "electrode_contact_ev_per_atom": round(result.electrode_ev, 5),
        "electrode_error_ev": result.electrode.closed.energy_error_ev,
        "electrode_probability": result.electrode.closed.probability,
        "electrode_open_ev_per_atom": None if worst_open is None else worst_open.worst.energy_ev_per_atom,
        "water_ev_per_atom": None if result.water is None else result.water.worst.energy_ev_per_atom,
        "carbon_dioxide_ev_per_atom": (
            None if result.carbon_dioxide is None else result.carbon_dioxide.worst.energy_ev_per_atom
        ),
        "gap_class": result.gap_class,
        "path_radius_ang": None if result.path is None else result.path.radius_ang,
        "match_strain": None if result.match is None else result.match.strain,
        "products": " ".join(f"{f}:{p:g}" for f, p in result.products.items()),
        "nmr": "; ".join(f"{f}: {text}" for f, text in best_detections(result).items()),
        "phases": result.electrolyte.coverage.n_phases,
        "known_compounds": result.electrolyte.coverage.n_known,
        "known_present": result.electrolyte.coverage.n_known_present,
        "missing": " ".join(result.electrolyte.coverage.missing),
    }


def write_csv(results: Sequence[CoatingResult], ranked: Places, path: Path) -> Path:
    """One row per coating, electrolyte and electrode."""
    rows = [flat_row(result, ranked) for result in results]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_text(path, text.getvalue())


def write_json(
    results: Sequence[CoatingResult],
    ranked: Places,
    *,
    refused: Mapping[str, str],
    table: EnergyTable,
    path: Path,
    interfaces: Sequence[InterfaceLine] = (),
) -> Path:
    """Everything that was computed, with the table's provenance, the lines of interface models and the refusals."""
    content = {
        "energies": {"level": table.level, "version": table.version, "provenance": table.provenance},
        "results": [
            {"place": place_of(result, ranked).model_dump(mode="json"), **result.model_dump(mode="json")}
            for result in results
        ],
        "interfaces": [line.model_dump(mode="json") for line in interfaces],
        "refused": dict(refused),
    }
    return write_text(path, json.dumps(content) + "\n")


def write_text(path: Path, text: str) -> Path:
    """Write a file whole or not at all; returns its path."""
    write_files(path.parent, {path.name: text.encode()})
    return path
