"""How well the intervals of a 27Al reference hold: cross-validation on a published calibration set.

    python benchmarks/reference_intervals.py ../shared/data/nmr/al27_calibration.csv

Each compound is left out with all its sites and repeated measurements; the reference is fitted to the others, and the
intervals predicted for the shifts and couplings that were left out are compared with what was measured. Beside it the
same with ordinary least squares and normal intervals. Writes the picture of the whole fit to ``benchmarks/run/``.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from surfshift.analysis.coupling_fit import fit_couplings
from surfshift.analysis.reference_fit import fit_reference, predictive_interval
from surfshift.analysis.reference_picture import draw_reference
from surfshift.analysis.vocabulary import Method, Reference, ReferenceCompound
from surfshift.structures.vocabulary import Grade

LEVELS = (0.68, 0.95)
SHIFT_ERROR_PPM = 1.0


class Row(NamedTuple):
    """One site: group, label, computed and published value."""

    group: str
    label: str
    computed: float
    published: float


def rows_of(path: Path, computed: str, published: str, *, sign: float = 1.0) -> list[Row]:
    """Rows of the calibration set in which both columns are filled."""
    with path.open(encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    return [
        Row(
            re.sub(r"[^a-z0-9]", "", row["compound"].lower()),
            row["compound"],
            sign * float(row[computed]),
            float(row[published]),
        )
        for row in table
        if row[computed] and row[published]
    ]


def reference_of(rows: list[Row], engine: str) -> Reference:
    """The reference fitted to rows."""
    method = Method(engine=engine, engine_version="", functional="GGA", protocol="published", protocol_hash="published")
    compounds = [
        ReferenceCompound(
            name=f"{row.label} {k}",
            sigma_iso_ppm=row.computed,
            delta_iso_ppm=row.published,
            delta_error_ppm=SHIFT_ERROR_PPM,
            source="27Al calibration set",
            grade=Grade.VERIFIED,
        )
        for k, row in enumerate(rows)
    ]
    return fit_reference("27Al", method, compounds)


def least_squares(rows: list[Row], x: float, level: float, *, through_zero: bool) -> tuple[float, float]:
    """Interval of ordinary least squares with normal scatter."""
    from scipy import stats

    a = np.array([row.computed for row in rows])
    b = np.array([row.published for row in rows])
    design = a[:, None] if through_zero else np.stack([a, np.ones_like(a)], axis=1)
    solution = np.linalg.lstsq(design, b, rcond=None)[0]
    residual = b - design @ solution
    freedom = len(b) - design.shape[1]
    variance = float(residual @ residual) / freedom
    at = np.array([x] if through_zero else [x, 1.0])
    spread = math.sqrt(variance * (1.0 + float(at @ np.linalg.inv(design.T @ design) @ at)))
    half = float(stats.t.ppf(0.5 + 0.5 * level, freedom)) * spread
    middle = float(at @ solution)
    return middle - half, middle + half


def coverage(rows: list[Row], engine: str, *, is_coupling: bool) -> None:
    """Print one line of the table for the own intervals and one for least squares."""
    hits = {(kind, level): [] for kind in ("own", "least squares") for level in LEVELS}
    widths = {key: [] for key in hits}
    for group in sorted({row.group for row in rows}):
        kept = [row for row in rows if row.group != group]
        couplings = fit_couplings([r.computed for r in kept], [r.published for r in kept]) if is_coupling else None
        reference = None if is_coupling else reference_of(kept, engine)
        for row in (row for row in rows if row.group == group):
            for level in LEVELS:
                if couplings is not None:
                    own = couplings.interval(row.computed, level)
                else:
                    assert reference is not None
                    own = predictive_interval(reference, row.computed, level)
                plain = least_squares(kept, row.computed, level, through_zero=is_coupling)
                for kind, (low, high) in (("own", own), ("least squares", plain)):
                    hits[kind, level].append(low <= row.published <= high)
                    widths[kind, level].append(0.5 * (high - low))
    groups = len({row.group for row in rows})
    unit = "MHz" if is_coupling else "ppm"
    for kind in ("own", "least squares"):
        cells = [
            f"{100 * np.mean(hits[kind, level]):.0f} % | {np.mean(widths[kind, level]):.2f} {unit}" for level in LEVELS
        ]
        what = "abs(CQ)" if is_coupling else "shift"
        print(f"| {what} | {engine} | {kind} | {len(rows)} of {groups} | {' | '.join(cells)} |")


def main() -> int:
    """Print the table and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="al27_calibration.csv")
    options = parser.parse_args()
    heads = [
        "value",
        "engine",
        "intervals",
        "sites of compounds",
        "68 % holds",
        "half-width",
        "95 % holds",
        "half-width",
    ]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for engine, column, sign in (("CASTEP", "castep_sigma_iso_ppm", 1.0), ("VASP", "vasp_shift_abs_ppm", -1.0)):
        coverage(rows_of(options.table, column, "delta_iso_exp_ppm", sign=sign), engine, is_coupling=False)
    for engine in ("CASTEP", "VASP"):
        found = rows_of(options.table, f"{engine.lower()}_CQ_MHz", "CQ_exp_MHz")
        coverage([row._replace(computed=abs(row.computed)) for row in found], engine, is_coupling=True)
    whole = reference_of(rows_of(options.table, "castep_sigma_iso_ppm", "delta_iso_exp_ppm"), "CASTEP")
    print(
        f"\nCASTEP, all: shift = {whole.intercept_ppm:.1f} {whole.slope:+.4f} x shielding, site error "
        f"{whole.site_error_ppm:.2f} ppm, {whole.site_dof:.1f} degrees of freedom"
    )
    folder = Path(__file__).parent / "run"
    folder.mkdir(exist_ok=True)
    print(f"picture: {draw_reference(whole, folder / 'al27_reference.png').name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
