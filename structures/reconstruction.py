"""Polar cuts made flat by moving ions or units to the other face, and neutral slabs off stoichiometry.

A slab that begins at a cut, n cells thick, has the dipole n D, where D is the dipole of one cell that begins there. A
charge q = -D / d moved from its lower face to its upper one (d: height of a cell) takes it away, however thick the slab
is (Tasker, J. Phys. C 12, 4977 (1979); Noguera, J. Phys.: Condens. Matter 12, R367 (2000)).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, product
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from .errors import SurfshiftError
from .facets import reduced, sublattices
from .slab_filling import Filling, build_structure
from .symmetry import symmetry_operations
from .terminations import DIPOLE_TOLERANCE_E_ANG, PLANE_CHARGE_TOLERANCE_E, CutSystem, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

MAX_RECONSTRUCTION_CELLS = 4
"""Largest in-plane supercell in which part of a plane is moved, primitive cells."""

MAX_DEPTH_ANG = 3.0
"""Ions that lie deeper below the outermost plane are not moved."""

MAX_PATTERNS = 24
"""Largest number of choices of sites that are compared on one face."""

MAX_PER_FACE = 4
"""So many of the best choices of each face are combined with those of the other."""

MAX_STRENGTH_RATIO = 2.0
"""Polar cuts that break more than this many times the bond strength of the cheapest cut are not reconstructed."""

MAX_CUTS = 6
"""Of the polar cuts of a facet so many are reconstructed, those that break the least."""

_Pattern = tuple[tuple[tuple[int, int], int], ...]
_Score = tuple[float, float, float]


class ReconstructionError(SurfshiftError):
    """An ion that cannot be moved, because the crystal has none."""


@dataclass(frozen=True)
class Variant:
    """A slab as the filling of its facet, and how it came about.

    ``strength_per_cell`` is the bond strength broken per primitive in-plane cell, e; ``move`` says in words what was
    moved; ``has_equal_faces`` says whether symmetry swaps the faces.
    """

    filling: Filling
    window: Window
    strength_per_cell: float
    kept_share: float
    has_equal_faces: bool
    move: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def from_window(cls, system: CutSystem, window: Window) -> Variant:
        """A plain cut."""
        filling = Filling.from_window(system, window)
        return cls(filling, window, window.cut_strength, window.kept_share, window.is_symmetric)


@dataclass(frozen=True)
class _Edit:
    """Change of one face: the sites that change for certain, and those of which some are chosen.

    Sites are (node, image). ``n_chosen`` of the sites of ``partial``, in all in-plane cells together, change.
    """

    fills: bool
    certain: tuple[tuple[int, int], ...]
    partial: tuple[tuple[int, int], ...]
    n_chosen: int


def zero_dipole_variants(system: CutSystem, windows: Sequence[Window]) -> tuple[Variant, ...]:
    """Slabs of polar cuts whose dipole is taken away by moving ions or units, one per cut and moved kind.

    The outermost nodes of one kind go from one face to the sites that the crystal offers on the other, plane by plane,
    the last plane in part if need be, in the smallest in-plane supercell that makes their number whole. Among the
    choices of sites the one that breaks the least bond strength is taken, then one that keeps the faces
    equivalent, then the one that spreads the ions evenly.

    Parameters
    ----------
    system
        The cuts of a facet.
    windows
        Its stoichiometric windows; polar ones that begin and end at the same cut are treated.

    Returns
    -------
    Empty where no cut is polar, or where no whole number of ions in ``MAX_RECONSTRUCTION_CELLS`` cells compensates
    the dipole, as in crystals that are polar along the normal themselves.
    """
    spacing, nodes = system.facet.spacing_ang, system.nodes
    found: dict[object, Variant] = {}
    limit = MAX_STRENGTH_RATIO * min(window.cut_strength for window in windows) + 1e-6
    polar = [
        window
        for window in windows
        if window.lower == window.upper
        and window.cut_strength <= limit
        and abs(window.dipole_e_ang) >= DIPOLE_TOLERANCE_E_ANG
    ]
    for window in sorted(polar, key=lambda window: round(window.cut_strength, 3))[:MAX_CUTS]:
        wanted = -float(system.cell_dipoles[window.lower]) / spacing
        for kind in sorted(set(nodes.kinds)):
            members = [k for k, name in enumerate(nodes.kinds) if name == kind and not nodes.endless[k]]
            charge = float(nodes.node_charges[members[0]]) if members else 0.0
            if abs(charge) < PLANE_CHARGE_TOLERANCE_E:
                continue
            share = wanted / charge
            n_cells = _cells_for(share, charge * window.n_cells * spacing)
            if n_cells is None:
                continue
            moved = _move(
                system, window, members, upwards=share > 0, count=round(abs(share) * n_cells), n_cells=n_cells
            )
            if moved is not None:
                found.setdefault(moved.filling.profile(), moved)
    return tuple(found.values())


def _cells_for(share: float, scale_e_ang: float) -> int | None:
    """Smallest in-plane supercell in which ``share`` nodes per cell are a whole number, or ``None``."""
    for n_cells in range(1, MAX_RECONSTRUCTION_CELLS + 1):
        count = round(abs(share) * n_cells)
        if count and abs(abs(share) * n_cells - count) * abs(scale_e_ang) < DIPOLE_TOLERANCE_E_ANG:
            return n_cells
    return None


def _move(
    system: CutSystem, window: Window, members: Sequence[int], *, upwards: bool, count: int, n_cells: int
) -> Variant | None:
    start, stop = system.bounds(window)
    if upwards:
        leaving = _edit(system, members, start, above=True, fills=False, count=count, n_cells=n_cells)
        arriving = _edit(system, members, stop, above=True, fills=True, count=count, n_cells=n_cells)
    else:
        leaving = _edit(system, members, stop, above=False, fills=False, count=count, n_cells=n_cells)
        arriving = _edit(system, members, start, above=False, fills=True, count=count, n_cells=n_cells)
    if leaving is None or arriving is None:
        return None
    kind = system.nodes.kinds[members[0]]
    way = "the lower to the upper face" if upwards else "the upper to the lower face"
    n_touched = (len(leaving.certain) + len(leaving.partial)) * n_cells
    move = f"{count} of the {n_touched} outermost {kind} in {_cells_in_words(n_cells)} moved from {way}"
    return _best(system, window, (leaving, arriving), n_cells, move)


def _cells_in_words(n_cells: int) -> str:
    return "the primitive in-plane cell" if n_cells == 1 else f"{n_cells} primitive in-plane cells"


def _edit(
    system: CutSystem,
    members: Sequence[int],
    levels: NDArray[np.int64],
    *,
    above: bool,
    fills: bool,
    count: int,
    n_cells: int,
) -> _Edit | None:
    """The ``count`` nodes nearest to a cut, above or below it; ``None`` if they lie too deep."""
    spacing, heights = system.facet.spacing_ang, system.nodes.heights
    sign = 1 if above else -1
    first = levels if above else levels - 1
    surface = float((sign * (heights + first * spacing)).min())
    reach = int(np.ceil(MAX_DEPTH_ANG / spacing)) + 1
    sites = [(k, int(first[k]) + sign * i) for k in members for i in range(reach)]
    depths = [sign * (heights[k] + m * spacing) - surface for k, m in sites]
    certain: list[tuple[int, int]] = []
    left = count
    order = sorted(range(len(sites)), key=lambda s: depths[s])
    while left and order:
        depth = depths[order[0]]
        plane = [s for s in order if depths[s] - depth < 0.05]
        if depth > MAX_DEPTH_ANG:
            return None
        order = order[len(plane) :]
        here = tuple(sites[s] for s in plane)
        if left < len(here) * n_cells:
            return _Edit(fills, tuple(certain), here, left)
        certain += here
        left -= len(here) * n_cells
    return _Edit(fills, tuple(certain), (), 0) if not left else None


def _best(system: CutSystem, window: Window, edits: tuple[_Edit, _Edit], n_cells: int, move: str) -> Variant | None:
    """The choice of sites that breaks the least, with the filling that it makes.

    The two faces are far apart, so the best choices of each are found on their own and then combined.
    """
    scored: list[tuple[tuple[float, float, float], int, Filling]] = []
    n_left_out = 0
    for sublattice in sublattices(n_cells):
        whole = Filling.from_window(system, window, sublattice)
        faces: list[list[tuple[_Score, _Pattern]]] = []
        for edit in edits:
            patterns = list(_patterns(edit, n_cells))
            stride = -(-len(patterns) // MAX_PATTERNS)
            n_left_out += len(patterns) - len(patterns[::stride])
            ranked = []
            for pattern in patterns[::stride]:
                filling = whole.changed([(site, cell, edit.fills) for site, cell in pattern])
                if filling is not None:
                    ranked.append((_score(filling, pattern), pattern))
            faces.append(sorted(ranked)[:MAX_PER_FACE])
        for (_, first), (_, second) in product(*faces):
            changes = [(site, cell, edits[0].fills) for site, cell in first]
            changes += [(site, cell, edits[1].fills) for site, cell in second]
            filling = whole.changed(changes)
            if filling is None or abs(filling.charge) > PLANE_CHARGE_TOLERANCE_E:
                continue
            if abs(filling.dipole_e_ang) < DIPOLE_TOLERANCE_E_ANG:
                scored.append((_score(filling, first, second), len(scored), filling))
    if not scored:
        return None
    scored.sort(key=lambda entry: entry[:2])
    equal = [entry for entry in scored if entry[0][:2] == scored[0][0][:2]][:MAX_PER_FACE]
    score, _, best = equal[0]
    if best.is_window_of(system):
        return None
    has_equal_faces = False
    for other_score, _, filling in equal:
        structure, _ = build_structure(filling, reduced(system.facet.slab_cell[:2], filling.hermite), 10.0)
        if any(rotation[2, 2] < 0 for rotation, _ in symmetry_operations(structure)):
            score, best, has_equal_faces = other_score, filling, True
            break
    notes = (f"{n_left_out} further choices of sites were not compared",) if n_left_out else ()
    return Variant(best, window, score[0] / n_cells, -score[1], has_equal_faces, move, notes)


def _score(filling: Filling, *patterns: _Pattern) -> _Score:
    """What choices are ranked by: broken strength, kept share, and how crowded the changed sites are."""
    strength, kept = filling.cut_strength()
    crowding = sum(_crowding(filling, pattern) for pattern in patterns)
    return round(strength, 3), -round(kept, 3), round(crowding, 4)


def _patterns(edit: _Edit, n_cells: int) -> Iterator[_Pattern]:
    """Choices of sites and in-plane cells of one face."""
    certain = tuple((site, cell) for site in edit.certain for cell in range(n_cells))
    places = [(site, cell) for cell in range(n_cells) for site in edit.partial]
    if comb(len(places), edit.n_chosen) > 100 * MAX_PATTERNS:
        # too many to list: one that is spread evenly through the list
        step = len(places) / edit.n_chosen
        yield certain + tuple(places[int(k * step)] for k in range(edit.n_chosen))
        return
    for chosen in combinations(places, edit.n_chosen):
        yield certain + chosen


def _crowding(filling: Filling, chosen: _Pattern) -> float:
    """Sum of the inverse distances of the changed nodes of one face and their images, 1/angstrom."""
    nodes, cell = filling.nodes, filling.nodes.facet.slab_cell
    plane = np.array(reduced(cell[:2], filling.hermite)) @ cell[:2]
    firsts = np.unique(nodes.node_of, return_index=True)[1]
    offsets = filling.offsets
    points = np.array(
        [nodes.coords[firsts[node], :2] + offsets[index] @ cell[:2, :2] + image * cell[2, :2]
         for (node, image), index in chosen]
    )  # fmt: skip
    shifts = np.array([i * plane[0, :2] + j * plane[1, :2] for i in range(-2, 3) for j in range(-2, 3)])
    distances = np.linalg.norm(points[:, None, None, :] - points[None, :, None, :] + shifts, axis=3)
    return float((1.0 / distances[distances > 1e-3]).sum())


def off_stoichiometric_variants(
    system: CutSystem, *, thickness_ang: float | None, layers: int | None, ion: str
) -> tuple[Variant, ...]:
    """Neutral slabs with two equivalent faces and another composition than the bulk's, one per termination.

    Where the planes between two equivalent cuts leave a charge, ions are taken from both faces, or put on the
    crystal's sites above both, until the slab is neutral.

    Parameters
    ----------
    system
        The cuts of a facet.
    thickness_ang, layers
        As in ``CutSystem.windows``.
    ion
        The element of the ion.

    Raises
    ------
    ReconstructionError
        If the crystal holds no such ion as a single node.
    """
    nodes = system.nodes
    members = [k for k, name in enumerate(nodes.kinds) if name == ion]
    if not members:
        kinds = ", ".join(sorted(set(nodes.kinds)))
        raise ReconstructionError(f"no single {ion} ion in {system.bulk.formula}, it has {kinds}; name one of these")
    charge = float(nodes.node_charges[members[0]])
    thinnest: dict[int, Window] = {}
    for window in system.windows(thickness_ang=thickness_ang, layers=layers, neutral_only=False, stoichiometric=False):
        known = thinnest.get(window.faces[0])
        if window.is_symmetric and (known is None or window.n_atoms < known.n_atoms):
            thinnest[window.faces[0]] = window
    found = []
    for window in thinnest.values():
        share = window.charge / charge / 2
        if abs(share) < 1e-6:
            variant: Variant | None = Variant.from_window(system, window)
        else:
            variant = _balance(system, window, members, share)
        if variant is not None and not _is_stoichiometric(system, variant.filling):
            found.append(_named(system, variant, ion))
    return tuple(sorted(found, key=lambda variant: (round(variant.strength_per_cell, 3), variant.notes)))


def _balance(system: CutSystem, window: Window, members: Sequence[int], share: float) -> Variant | None:
    n_cells = next(
        (n for n in range(1, MAX_RECONSTRUCTION_CELLS + 1) if abs(share * n - round(share * n)) < 1e-6), None
    )
    if n_cells is None:
        return None
    count, fills = abs(round(share * n_cells)), share < 0
    start, stop = system.bounds(window)
    lower = _edit(system, members, start, above=not fills, fills=fills, count=count, n_cells=n_cells)
    upper = _edit(system, members, stop, above=fills, fills=fills, count=count, n_cells=n_cells)
    if lower is None or upper is None:
        return None
    word = "added to" if fills else "removed from"
    kind = system.nodes.kinds[members[0]]
    move = f"{count} {kind} in {_cells_in_words(n_cells)} {word} each face"
    return _best(system, window, (lower, upper), n_cells, move)


def _is_stoichiometric(system: CutSystem, filling: Filling) -> bool:
    counts = np.array([filling.counts[element] for element in system.nodes.element_kinds])
    return bool(np.ptp(counts / system.formula) < 1e-9)


def _named(system: CutSystem, variant: Variant, ion: str) -> Variant:
    """The variant with a note that declares its composition and what balances it."""
    counts, elements = variant.filling.counts, system.nodes.element_kinds
    formula = dict(zip(elements, system.formula.tolist(), strict=True))
    whole = min(counts[element] // n for element, n in formula.items())
    others = sum(n for element, n in counts.items() if element != ion)
    share, usual = counts[ion] / others, formula[ion] / (sum(formula.values()) - formula[ion])
    name = f"{ion}-rich" if share > usual + 1e-9 else f"{ion}-poor" if share < usual - 1e-9 else "off stoichiometry"
    excess = [f"{n - whole * formula[e]} {e}" for e, n in counts.items() if n != whole * formula[e]]
    note = f"{name}: {whole} formula units and {', '.join(excess)}; the charges of these balance, no charge is left"
    return replace(variant, notes=(note, *variant.notes))
