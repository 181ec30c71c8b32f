"""Slabs as a table: what each of them is, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .vocabulary import Candidate

COLUMNS = ("name", "atoms", "formula", "charge", "area", "dipole", "Tasker", "broken", "e/A2", "faces", "moved")


def slab_rows(candidates: Sequence[Candidate]) -> tuple[tuple[str, ...], ...]:
    """One row per slab, in the order of ``COLUMNS``; candidates that are no plain slabs are left out.

    Area in square angstrom, dipole in e angstrom per cell, ``broken`` the number of broken bonds per pair of elements,
    ``e/A2`` their Pauling strength per area of both faces.
    """
    rows = []
    for candidate in candidates:
        info = candidate.slab_info
        if info is None:
            continue
        structure = candidate.structure
        broken = ", ".join(f"{n} {pair}" for pair, n in info.broken_bonds) or "none"
        rows.append(
            (
                candidate.name,
                str(len(structure)),
                structure.formula,
                f"{structure.total_charge + 0.0:.0f}",
                f"{candidate.area_ang2:.1f}",
                f"{round(candidate.dipole_e_ang, 2) + 0.0:.2f}",
                str(info.tasker),
                broken,
                f"{info.broken_strength_e / (2 * candidate.area_ang2):.3f}",
                "equal" if info.has_equal_faces else "different",
                info.move or "-",
            )
        )
    return tuple(rows)


def slab_table(candidates: Sequence[Candidate]) -> str:
    """The rows of ``slab_rows`` as text, columns aligned."""
    rows = [COLUMNS, *slab_rows(candidates)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
