"""Fractional occupancies to whole numbers of atoms in a neutral cell."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from .accepting import as_disordered
from .errors import SurfshiftError
from .vocabulary import Frozen

if TYPE_CHECKING:
    from .accepting import DisorderedLike
    from .disorder import DisorderedStructure

MAX_COUNT_ERROR = 1.0
"""A count may differ from occupancy times sites by less than this, or by less than ``MAX_SHARE_ERROR`` of the sites."""

MAX_SHARE_ERROR = 0.1

MAX_TRIED = 1_000_000
"""Choices of counts that one search tries at most."""

MAX_WIDTH = 4
"""Counts up to this far from the wanted one are tried when the nearest neutral composition is looked for."""


class NotNeutralError(SurfshiftError):
    """Occupancies for which no neutral cell of whole atoms is near enough."""


class RoundedCount(Frozen):
    """One element on one kind of site of the supercell: wanted and used number of atoms, of ``n_sites`` positions."""

    label: str
    element: str
    oxidation_state: float
    n_sites: int
    wanted: float
    used: int


def round_occupancies(disordered: DisorderedLike, n_cells: int) -> tuple[RoundedCount, ...]:
    """Whole numbers of atoms on every disordered kind of site, nearest to the occupancies and neutral together.

    Parameters
    ----------
    disordered
        The cell with occupancies.
    n_cells
        Number of these cells in the supercell.

    Returns
    -------
    One count per kind of site and element; full sites are not listed.

    Raises
    ------
    NotNeutralError
        If no neutral choice keeps every count within one atom or 10 % of the positions; the message names the nearest
        neutral composition, or says that there is none.
    """
    disordered = as_disordered(disordered)
    charge, wanted, sites = _wanted(disordered, n_cells)
    if not wanted:
        return ()
    best = _search(charge, wanted, sites)
    if best is None:
        raise NotNeutralError(
            f"{disordered.name}: no whole numbers of atoms near the occupancies make {n_cells} cell(s) neutral (full "
            f"sites carry {charge:+g}); correct the oxidation states, or take a larger supercell"
        )
    counts = tuple(
        RoundedCount(label=label, element=element, oxidation_state=q, n_sites=sites[label], wanted=w, used=used)
        for (label, element, q, w), used in zip(wanted, best, strict=True)
    )
    far = [c for c in counts if abs(c.used - c.wanted) >= max(MAX_COUNT_ERROR, MAX_SHARE_ERROR * c.n_sites)]
    if far:
        changes = ", ".join(
            f"{c.element} on {c.label} {c.used / c.n_sites:.4g} instead of {c.wanted / c.n_sites:.4g}" for c in far
        )
        raise NotNeutralError(
            f"{disordered.name}: the occupancies carry a charge of {disordered.total_charge:+.3g} per cell and cannot "
            f"be neutral in {n_cells} cell(s); the nearest neutral composition has {changes}; give these occupancies, "
            "correct the oxidation states, or take a larger supercell"
        )
    return counts


def _wanted(
    disordered: DisorderedStructure, n_cells: int
) -> tuple[float, list[tuple[str, str, float, float]], dict[str, int]]:
    """Charge of the full sites, (label, element, state, number) of the others, and positions per label."""
    charge = 0.0
    sites: dict[str, int] = {}
    numbers: dict[tuple[str, str, float], float] = {}
    for site in disordered.sites:
        if site.is_ordered:
            charge += n_cells * site.species[0].oxidation_state
            continue
        sites[site.label] = sites.get(site.label, 0) + n_cells
        for s in site.species:
            key = (site.label, s.element, s.oxidation_state)
            numbers[key] = numbers.get(key, 0.0) + n_cells * s.occupancy
    return charge, [(*key, number) for key, number in numbers.items()], sites


def _search(
    charge: float, wanted: list[tuple[str, str, float, float]], sites: dict[str, int]
) -> tuple[int, ...] | None:
    """Neutral counts with the least sum of squared differences, from a narrow to a wide search."""
    held_at = {label: sum(w for at, _, _, w in wanted if at == label) for label in sites}
    full = {label for label, n in sites.items() if abs(held_at[label] - n) < 1e-2 * n}
    best: tuple[float, tuple[int, ...]] | None = None
    for width in range(1, MAX_WIDTH + 1):
        if (2 * width) ** len(wanted) > MAX_TRIED:
            break
        found_before = best is not None
        ranges = [
            [n for n in range(int(w) - width + 1, int(w) + width + 1) if 0 <= n <= sites[label]]
            for label, _, _, w in wanted
        ]
        for counts in product(*ranges):
            if abs(charge + sum(n * item[2] for n, item in zip(counts, wanted, strict=True))) > 1e-6:
                continue
            held = dict.fromkeys(sites, 0)
            for n, item in zip(counts, wanted, strict=True):
                held[item[0]] += n
            if any(held[at] > sites[at] or (at in full and held[at] != sites[at]) for at in sites):
                continue
            miss = sum((n - item[3]) ** 2 for n, item in zip(counts, wanted, strict=True))
            if best is None or miss < best[0] - 1e-9:
                best = (miss, counts)
        # one width more: the nearest may have one count far and the others near
        if found_before:
            break
    return None if best is None else best[1]
