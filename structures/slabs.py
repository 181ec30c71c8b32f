"""Slabs cut from a crystal so that isolated units, such as PO4, stay whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from .accepting import as_structure
from .errors import SurfshiftError
from .facets import Matrix2, cells_of, in_plane_supercell
from .reconstruction import Variant, off_stoichiometric_variants, zero_dipole_variants
from .regions import tag_regions
from .slab_filling import BrokenBonds, Filling, build_structure, hermite_form, reduced_cell
from .terminations import DIPOLE_TOLERANCE_E_ANG, CutSystem, Window
from .vocabulary import AtomicStructure, Candidate, SlabInfo

__all__ = [
    "DIPOLE_TOLERANCE_E_ANG",
    "AtomBudgetError",
    "SlabError",
    "cut_slabs",
    "distinct_structures",
    "polar_note",
    "same_structure",
    "slab_dipole",
]

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .accepting import StructureLike

T = TypeVar("T")

MIN_KEPT_SHARE = 0.5
"""Every unit and atom of a slab keeps at least this share of its bond strength, where such a cut exists."""


class SlabError(SurfshiftError):
    """A slab that cannot be cut as asked."""


class AtomBudgetError(SlabError):
    """A slab with more atoms than allowed."""


@dataclass(frozen=True)
class _Plan:
    """A slab that is counted but not built yet."""

    variant: Variant
    matrix: Matrix2
    label: str

    @property
    def n_cells(self) -> int:
        return cells_of(self.matrix)

    @property
    def n_atoms(self) -> int:
        filling = self.variant.filling
        return filling.n_atoms * self.n_cells // cells_of(filling.hermite)


def cut_slabs(
    bulk: StructureLike,
    miller: Sequence[int],
    *,
    thickness_ang: float | None = None,
    layers: int | None = None,
    vacuum_ang: float = 15.0,
    parent: str,
    keep_polar: bool = False,
    max_cut_ratio: float = 1.5,
    every: bool = False,
    reconstruct: bool = False,
    off_stoichiometric: bool = False,
    ion: str = "Li",
    keep_units: Sequence[str] = (),
    min_width_ang: float = 0.0,
    orthogonal: bool = False,
    max_atoms: int | None = None,
) -> tuple[Candidate, ...]:
    """The symmetry-distinct slabs of a facet, by default the stoichiometric ones without a dipole.

    Units are moved as a whole, so a cut never breaks them. The slab has its normal along
    z and the third lattice vector, its centre in the middle of the cell, and the shortest in-plane vectors of
    the crystal's lattice; it is turned, never mirrored, against the bulk. Slabs come with the cheapest
    cut first (least bond strength broken per area) and are labelled t0, t1, ... as cut, r0, r1, ... where ions were
    moved to take the dipole away, and s0, s1, ... off stoichiometry. ``slab_info`` of each says what it is.

    Parameters
    ----------
    bulk
        The crystal, with oxidation states; of ase and pymatgen too.
    miller
        The facet, in the axes of ``bulk``.
    thickness_ang
        Least thickness: bulk volume of the slab's atoms over the face's area.
    layers
        Least thickness in lattice planes of the facet, instead of ``thickness_ang``.
    vacuum_ang
        Empty space between the outermost atoms of neighbouring images.
    parent
        Name of the crystal; the slabs' names begin with it.
    keep_polar
        Whether polar cuts are kept too. If every cut is polar, the one with the smallest dipole is kept
        in any case, unless a reconstruction takes its place. A polar slab says so in its notes.
    max_cut_ratio
        Slabs that break more than this many times the bond strength of the cheapest one are dropped.
    every
        Whether every symmetry-distinct termination is shown on at least one slab, however many bonds it breaks; a
        termination that no slab without dipole shows comes on a polar one.
    reconstruct
        Whether polar cuts get their dipole taken away by moving ions or units from one face to the other.
    off_stoichiometric
        Whether slabs with two equal faces and another composition than the bulk's (ion-rich, ion-poor) are added; all
        are neutral.
    ion
        The ion that off-stoichiometric slabs gain or lose.
    keep_units
        Further isolated groups to keep whole, such as ``("ZrO6",)``.
    min_width_ang
        Least distance between opposite edges of the in-plane cell; a supercell is taken where it is needed.
    orthogonal
        Whether the in-plane vectors must be perpendicular, as QE-GIPAW wants for long cells.
    max_atoms
        Largest number of atoms of a slab; checked before anything is built.

    Raises
    ------
    MillerError
        If the index names no plane.
    SlabError
        If the bulk is charged, a length is not positive, no or two thicknesses are given, or no cut exists.
    AtomBudgetError
        If a slab would have more than ``max_atoms`` atoms; the message names what would fit.
    InPlaneCellError
        If there is no in-plane cell as wide, or no orthogonal one, within the search limit.
    UnitError
        If a unit of ``keep_units`` is none.
    """
    bulk = as_structure(bulk)
    _check_request(bulk, thickness_ang, layers, vacuum_ang)
    system = CutSystem(bulk, miller, keep=keep_units)
    windows = system.windows(thickness_ang=thickness_ang, layers=layers)
    label = "".join(str(h) for h in system.facet.miller)
    if not windows:
        raise SlabError(f"no stoichiometric cut of {bulk.formula} along {system.facet.miller}; try another facet")
    moved = zero_dipole_variants(system, windows) if reconstruct else ()
    chosen = _choose(windows, keep_polar=keep_polar, max_cut_ratio=max_cut_ratio, every=every, replaced=bool(moved))
    plain = [Variant.from_window(system, window) for window in chosen]
    moved = _limit(moved, plain, max_cut_ratio)
    others = (
        off_stoichiometric_variants(system, thickness_ang=thickness_ang, layers=layers, ion=ion)
        if off_stoichiometric
        else ()
    )
    plans = [
        _Plan(variant, _cell_for(variant, min_width_ang, orthogonal), f"{parent}({label})-{letter}{number}")
        for letter, group in (("t", plain), ("r", moved), ("s", others))
        for number, variant in enumerate(group)
    ]
    if max_atoms is not None:
        for plan in plans:
            _check_budget(plan, system, max_atoms)
    return tuple(_build(plan, system, vacuum_ang, parent) for plan in plans)


def _check_request(bulk: AtomicStructure, thickness_ang: float | None, layers: int | None, vacuum_ang: float) -> None:
    if (thickness_ang is None) == (layers is None):
        raise SlabError("give the thickness either in angstrom (thickness_ang) or in lattice planes (layers)")
    if (thickness_ang is not None and thickness_ang <= 0) or vacuum_ang <= 0:
        raise SlabError(f"thickness {thickness_ang:g} and vacuum {vacuum_ang:g} angstrom must both be positive")
    if layers is not None and layers < 1:
        raise SlabError(f"a slab of {layers} layers holds nothing; the number must be positive")
    if abs(bulk.total_charge) > 1e-3:
        raise SlabError(f"the bulk {bulk.formula} has charge {bulk.total_charge:+g}; correct its oxidation states")


def _order(window: Window) -> tuple[float, float, float, float]:
    return (
        round(window.cut_strength, 3),
        -round(window.kept_share, 3),
        round(abs(window.dipole_e_ang), 3),
        window.n_formula,
    )


def _is_flat(window: Window) -> bool:
    return abs(window.dipole_e_ang) < DIPOLE_TOLERANCE_E_ANG


def _choose(
    windows: Sequence[Window], *, keep_polar: bool, max_cut_ratio: float, every: bool, replaced: bool
) -> list[Window]:
    best = max(window.kept_share for window in windows)
    held = [window for window in windows if every or window.kept_share >= min(best, MIN_KEPT_SHARE) - 1e-6]
    flat = [window for window in held if _is_flat(window)]
    if not keep_polar and not every:
        if not flat and replaced:
            return []
        held = flat or sorted(held, key=lambda window: (round(abs(window.dipole_e_ang), 3), window.cut_strength))[:1]
    held.sort(key=_order)
    if not every:
        held = [window for window in held if window.cut_strength <= max_cut_ratio * held[0].cut_strength + 1e-6]
    # the same two faces on a thicker slab are no new terminations, nor is a slab that only joins two known ones
    thinnest: dict[frozenset[int], Window] = {}
    for window in held:
        faces = frozenset(window.faces)
        known = thinnest.get(faces)
        if known is None or (not _is_flat(window), window.n_formula) < (not _is_flat(known), known.n_formula):
            thinnest[faces] = window
    kept = [
        window
        for faces, window in thinnest.items()
        if len(faces) == 1 or not all(frozenset({face}) in thinnest for face in faces)
    ]
    if not every:
        return kept
    kept.sort(key=lambda window: (not _is_flat(window), *_order(window)))
    shown: set[int] = set()
    cover = []
    for window in kept:
        if not set(window.faces) <= shown:
            cover.append(window)
            shown |= set(window.faces)
    return cover


def _limit(moved: Sequence[Variant], plain: Sequence[Variant], max_cut_ratio: float) -> tuple[Variant, ...]:
    """Reconstructions that break not too many bonds per area, the cheapest first."""
    if not moved:
        return ()
    held = [variant for variant in moved if variant.kept_share >= MIN_KEPT_SHARE - 1e-6]
    flat = [variant.strength_per_cell for variant in plain if _is_flat(variant.window)]
    if not held and not flat:
        held = [max(moved, key=lambda variant: variant.kept_share)]
    if not held:
        return ()
    least = min([*flat, *(variant.strength_per_cell for variant in held)])
    held = [variant for variant in held if variant.strength_per_cell <= max_cut_ratio * least + 1e-6]
    return tuple(sorted(held, key=lambda variant: (round(variant.strength_per_cell, 3), variant.move)))


def _cell_for(variant: Variant, min_width_ang: float, orthogonal: bool) -> Matrix2:
    nodes = variant.filling.nodes
    own = reduced_cell(nodes, variant.filling.hermite)
    if min_width_ang <= 0 and not orthogonal:
        return own
    plane = np.array(own) @ nodes.facet.slab_cell[:2]
    wider = np.array(in_plane_supercell(plane, min_width_ang=min_width_ang, orthogonal=orthogonal))
    rows = (wider @ np.array(own)).tolist()
    return ((rows[0][0], rows[0][1]), (rows[1][0], rows[1][1]))


def _check_budget(plan: _Plan, system: CutSystem, max_atoms: int) -> None:
    n_atoms = plan.n_atoms
    if n_atoms <= max_atoms:
        return
    nodes, n_cells = system.nodes, plan.n_cells
    per_layer = len(nodes.elements) * n_cells
    own_cells = cells_of(plan.variant.filling.hermite)
    too_many = math.ceil((n_atoms - max_atoms) / per_layer)
    spare = plan.variant.window.n_cells - too_many
    if spare >= 1 and n_atoms - too_many * per_layer > 0:
        n_left = n_atoms - too_many * per_layer
        per_formula = system.formula_volume_ang3 / system.facet.area_ang2
        thickness = (plan.variant.window.n_formula - too_many * system.formula_per_cell) * per_formula
        advice = (
            f"the nearest that fits is {too_many} lattice planes thinner: {math.floor(10 * thickness) / 10:.1f} "
            f"angstrom with {n_left} atoms"
        )
    elif n_cells > own_cells:
        fitting = max_atoms * n_cells // n_atoms // own_cells * own_cells
        smaller = fitting or own_cells
        advice = (
            f"use a smaller in-plane cell: {smaller} instead of {n_cells} primitive cells have "
            f"{n_atoms * smaller // n_cells} atoms"
        )
    else:
        advice = f"it is the thinnest slab of this termination; use another facet, or a budget of {n_atoms} atoms"
    raise AtomBudgetError(f"{plan.label} has {n_atoms} atoms, more than the {max_atoms} allowed; {advice}")


def _build(plan: _Plan, system: CutSystem, vacuum_ang: float, parent: str) -> Candidate:
    variant = plan.variant
    filling = variant.filling.in_supercell(hermite_form(plan.matrix))
    structure, order = build_structure(filling, plan.matrix, vacuum_ang)
    broken = filling.broken_bonds()
    exposed = {k for k, number in enumerate(order.tolist()) if number in broken.exposed}
    info = _describe(plan, system, filling, broken)
    dipole = slab_dipole(structure)
    notes: tuple[str, ...] = ()
    if abs(dipole) >= DIPOLE_TOLERANCE_E_ANG:
        notes += (polar_note(dipole),)
    if variant.move:
        notes += (variant.move,)
    notes += variant.notes
    if info.is_orthogonal and plan.n_cells > cells_of(variant.filling.hermite):
        own = variant.filling.n_atoms
        notes += (f"in-plane supercell of {plan.n_cells} primitive cells: {len(structure)} instead of {own} atoms",)
    termination = plan.label.rsplit("-", 1)[1]
    return Candidate(
        name=plan.label,
        kind="slab",
        structure=structure,
        parent=parent,
        miller=system.facet.miller,
        termination=f"{termination}: {info.n_formula:g} formula units, {len(exposed)} atoms with broken bonds",
        regions=tag_regions(structure, exposed=exposed),
        area_ang2=system.facet.area_ang2 * plan.n_cells,
        dipole_e_ang=dipole,
        n_undercoordinated=len(exposed),
        notes=notes,
        slab_info=info,
    )


def _describe(plan: _Plan, system: CutSystem, filling: Filling, broken: BrokenBonds) -> SlabInfo:
    window, facet = plan.variant.window, system.facet
    counts = filling.counts
    shares = {
        element: counts[element] / int(n) for element, n in zip(system.nodes.element_kinds, system.formula, strict=True)
    }
    n_formula = min(shares.values())
    a, b = np.array(plan.matrix) @ facet.slab_cell[:2]
    return SlabInfo(
        tasker=window.tasker,
        n_formula=n_formula,
        excess=tuple(
            (element, round(counts[element] - n_formula * int(n)))
            for element, n in zip(system.nodes.element_kinds, system.formula, strict=True)
            if abs(counts[element] - n_formula * int(n)) > 1e-6
        ),
        thickness_ang=n_formula * system.formula_volume_ang3 / (facet.area_ang2 * plan.n_cells),
        n_broken_bonds=broken.n_broken,
        broken_strength_e=broken.strength_e,
        broken_bonds=broken.by_pair,
        kept_share=broken.kept_share,
        units=tuple(
            sorted({kind for kind, size in zip(system.nodes.kinds, system.nodes.sizes, strict=True) if size > 1})
        ),
        faces=window.faces,
        has_equal_faces=plan.variant.has_equal_faces,
        in_plane=plan.matrix,
        is_orthogonal=abs(float(a @ b)) < 1e-3,
        move=plan.variant.move,
    )


def slab_dipole(structure: StructureLike) -> float:
    """Dipole along z from oxidation states, e angstrom per cell; the structure must be neutral."""
    structure = as_structure(structure)
    return float(np.array(structure.oxidation_states) @ structure.cart_coords[:, 2])


def polar_note(dipole_e_ang: float) -> str:
    """What a reader must know of a slab with a dipole along its normal."""
    return f"polar, dipole {dipole_e_ang:+.2f} e angstrom per cell: its energy and its tensors depend on the vacuum"


def same_structure(first: StructureLike, second: StructureLike) -> bool:
    """Whether two structures are one, up to a symmetry operation of space.

    A slab and its image turned upside down, or its mirror image, are the same: their spectra are the same. Oxidation
    states are compared too.
    """
    first = as_structure(first)
    second = as_structure(second)
    from pymatgen.analysis.structure_matcher import StructureMatcher

    if len(first) != len(second) or abs(first.lattice[2, 2] - second.lattice[2, 2]) > 0.05:
        return False
    matcher = StructureMatcher(ltol=0.02, stol=0.02, angle_tol=1.0, primitive_cell=False, scale=False)
    # The matcher needs cells that are periodic in all directions. Left to reduce them itself, it finds them again in a
    # cache by comparing every pair of sites, which takes seconds for some hundred atoms.
    one, other = (
        s.model_copy(update={"periodic": (True, True, True)}).to_pymatgen().get_reduced_structure()
        for s in (first, second)
    )
    return bool(matcher.fit(one, other, skip_structure_reduction=True))


def distinct_structures(structures: Iterable[tuple[AtomicStructure, T]]) -> list[tuple[AtomicStructure, T]]:
    """The given structures without symmetry duplicates, the first of each kept; see ``same_structure``."""
    kept: list[tuple[AtomicStructure, T]] = []
    for structure, extra in structures:
        if not any(same_structure(structure, other) for other, _ in kept):
            kept.append((structure, extra))
    return kept
