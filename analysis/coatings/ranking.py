"""Ranking of coatings: the Pareto front of what matters, with reasons, and no single score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...structures.vocabulary import Frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .screening import CoatingResult

SAME_EV = 0.002
SAME_V = 0.02


class Ranked(Frozen):
    """A coating's place.

    Attributes
    ----------
    is_front
        Whether no other coating is at least as good in everything and better in something.
    reasons
        Why it is on the front, or which coatings leave it behind.
    """

    coating: str
    is_front: bool
    reasons: tuple[str, ...]


def objectives(result: CoatingResult) -> tuple[float, float, float]:
    """What is made small: reaction with electrolyte and with electrode (eV per atom), volts outside the window."""
    return (
        max(0.0, -result.electrolyte_ev),
        max(0.0, -result.electrode_ev),
        result.window_violation_v,
    )


NAMES = ("reaction with the electrolyte", "reaction with the electrode", "potentials outside its window")
UNITS = ("eV/atom", "eV/atom", "V")
SAME = (SAME_EV, SAME_EV, SAME_V)


def rank(results: Sequence[CoatingResult]) -> tuple[Ranked, ...]:
    """Place the coatings of one electrolyte and electrode, the front first, in the order of the list within."""
    values = [objectives(r) for r in results]
    placed = []
    for number, (result, own) in enumerate(zip(results, values, strict=True)):
        better = [
            results[k].coating
            for k, other in enumerate(values)
            if k != number
            and all(o <= s + tolerance for o, s, tolerance in zip(other, own, SAME, strict=True))
            and any(o < s - tolerance for o, s, tolerance in zip(other, own, SAME, strict=True))
        ]
        if better:
            more = f" and {len(better) - 3} more" if len(better) > 3 else ""
            reasons: tuple[str, ...] = (
                f"behind {', '.join(better[:3])}{more}: no better in anything, worse in something",
            )
        else:
            reasons = _reasons(number, values)
        placed.append(Ranked(coating=result.coating, is_front=not better, reasons=reasons))
    return tuple(sorted(placed, key=lambda p: not p.is_front))


def _reasons(number: int, values: list[tuple[float, float, float]]) -> tuple[str, ...]:
    own = values[number]
    found = []
    for k, (name, unit, same) in enumerate(zip(NAMES, UNITS, SAME, strict=True)):
        least = min(v[k] for v in values)
        if own[k] <= least + same:
            found.append(f"least {name} ({own[k]:.3f} {unit})")
    if not found:
        found.append(
            "a compromise: " + ", ".join(f"{n} {v:.3f} {u}" for n, v, u in zip(NAMES, own, UNITS, strict=True))
        )
    return tuple(found)
