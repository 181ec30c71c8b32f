"""Tables of a result as CSV files, one per question; units stand in the column names."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import BaseModel

    from ..vocabulary import StudyResult

PREFIX = "table-"


def tables(result: StudyResult) -> dict[str, bytes]:
    """Name and content of every table that has rows. Lists in a cell are separated by semicolons."""
    found = {"sites": _rows(result.sites)}
    assignment = result.assignment
    if assignment is not None:
        if assignment.samples:
            rows = [{"sample": s.sample, **_flat(p)} for s in assignment.samples for p in s.populations]
        else:
            rows = _rows(assignment.populations)
        found |= {
            "populations": rows,
            "changes": _rows(assignment.changes),
            "evidence": _rows(assignment.subsets),
            "attributions": _rows(assignment.attributions),
            "unexplained": _rows(assignment.unexplained),
            "reference-fits": _rows(assignment.reference_fits),
        }
        for number, curve in enumerate(assignment.curves, start=1):
            found[f"fit-{number}"] = _curve(result, curve)
    found |= {
        "motion": [
            {"candidate_id": key, "element": t.element, "atom_indices": _cell(t.atom_indices), **_flat(t.motion)}
            for key, own in result.tensors.items()
            for t in own
            if t.motion is not None
        ],
        "sensitivity": _rows(result.sensitivities),
        "next-experiments": _rows(result.experiments),
        "next-calculations": _rows(result.calculations),
    }
    return {f"{PREFIX}{name}.csv": _csv(rows) for name, rows in found.items() if rows}


def _curve(result: StudyResult, curve: Any) -> list[dict[str, Any]]:
    spectrum = next(m for m in result.measurements if m.name == curve.measurement)
    columns = {
        "shift_ppm": spectrum.axis_ppm,  # type: ignore[union-attr]
        "measured": spectrum.intensity,  # type: ignore[union-attr]
        "fit": curve.total,
        "baseline": curve.baseline,
        **{f"part {name}": part for name, part in curve.parts.items()},
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _rows(models: Iterable[BaseModel]) -> list[dict[str, Any]]:
    return [_flat(model) for model in models]


def _flat(model: BaseModel) -> dict[str, Any]:
    return {key: _cell(value) for key, value in model.model_dump(mode="json").items()}


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return ";".join(str(_cell(v)) for v in value)
    return "" if value is None else value


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _safe(value) for key, value in row.items()} for row in rows)
    return buffer.getvalue().encode()


def _safe(value: Any) -> Any:
    """A user's text that a spreadsheet would take for a formula is given a leading apostrophe."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "@"} else value
