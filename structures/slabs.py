"""Slabs cut from a crystal so that isolated units, such as PO4, stay whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from .errors import SurfshiftError
from .regions import tag_regions
from .terminations import Facet, Window, find_windows, missing_bonds, orient
from .vocabulary import AtomicStructure, Candidate, as_tensor3

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pymatgen.core.structure import Structure

T = TypeVar("T")

DIPOLE_TOLERANCE_E_ANG = 0.05
"""A slab whose dipole along the normal is smaller counts as nonpolar, e angstrom per cell."""

MIN_KEPT_SHARE = 0.5
"""Every unit and atom of a slab keeps at least this share of its bond strength, where such a cut exists."""


class SlabError(SurfshiftError):
    """A slab that cannot be cut as asked."""


def cut_slabs(
    bulk: AtomicStructure,
    miller: Sequence[int],
    *,
    thickness_ang: float,
    vacuum_ang: float = 15.0,
    parent: str,
    keep_polar: bool = False,
    max_cut_ratio: float = 1.5,
) -> tuple[Candidate, ...]:
    """All symmetry-distinct stoichiometric slabs of a facet.

    Isolated units are moved as a whole, so a cut never breaks them. The slab has its normal along
    z and the third lattice vector, its centre in the middle of the cell, and the shortest in-plane vectors of
    the crystal's lattice; it is turned, never mirrored, against the bulk. Slabs come with the cheapest
    cut first (least bond strength broken per area) and are labelled t0, t1, ...

    Parameters
    ----------
    bulk
        The crystal, with oxidation states.
    miller
        The facet, in the axes of ``bulk``.
    thickness_ang
        Least thickness: bulk volume of the slab's atoms over the face's area.
    vacuum_ang
        Empty space between the outermost atoms of neighbouring images.
    parent
        Name of the crystal; the slabs' names begin with it.
    keep_polar
        Whether polar cuts are kept too. If every cut is polar, the one with the smallest dipole is kept
        in any case. A polar slab says so in its notes.
    max_cut_ratio
        Cuts that break more than this many times the bond strength of the cheapest one are dropped.

    Raises
    ------
    MillerError
        If the index names no plane.
    SlabError
        If the bulk is charged, a length is not positive, or no stoichiometric cut exists.
    """
    if thickness_ang <= 0 or vacuum_ang <= 0:
        raise SlabError(f"thickness {thickness_ang:g} and vacuum {vacuum_ang:g} angstrom must both be positive")
    if abs(bulk.total_charge) > 1e-3:
        raise SlabError(f"the bulk {bulk.formula} has charge {bulk.total_charge:+g}; correct its oxidation states")
    facet = orient(bulk, miller)
    windows = list(find_windows(bulk, facet, thickness_ang))
    if not windows:
        raise SlabError(f"no stoichiometric cut of {bulk.formula} along {facet.miller}; try another facet")
    windows = _choose(windows, keep_polar=keep_polar, max_cut_ratio=max_cut_ratio)
    slabs = distinct_structures((_build(bulk, facet, window, vacuum_ang), window) for window in windows)
    return tuple(
        _to_candidate(slab, window, bulk, facet, termination=f"t{number}", parent=parent)
        for number, (slab, window) in enumerate(slabs)
    )


def _choose(windows: list[Window], *, keep_polar: bool, max_cut_ratio: float) -> list[Window]:
    best = max(window.kept_share for window in windows)
    held = [window for window in windows if window.kept_share >= min(best, MIN_KEPT_SHARE) - 1e-6]
    flat = [window for window in held if abs(window.dipole_e_ang) < DIPOLE_TOLERANCE_E_ANG]
    if not keep_polar:
        held = flat or sorted(held, key=lambda window: (round(abs(window.dipole_e_ang), 3), window.cut_strength))[:1]
    held.sort(
        key=lambda window: (
            round(window.cut_strength, 3),
            -round(window.kept_share, 3),
            round(abs(window.dipole_e_ang), 3),
            window.n_formula,
        )
    )
    held = [window for window in held if window.cut_strength <= max_cut_ratio * held[0].cut_strength + 1e-6]
    # the same two faces on a thicker slab are no new terminations, nor is a slab that only joins two known ones
    thinnest: dict[frozenset[int], Window] = {}
    for window in held:
        faces = frozenset(window.faces)
        if faces not in thinnest or window.n_formula < thinnest[faces].n_formula:
            thinnest[faces] = window
    return [
        window
        for faces, window in thinnest.items()
        if len(faces) == 1 or not all(frozenset({face}) in thinnest for face in faces)
    ]


def _build(bulk: AtomicStructure, facet: Facet, window: Window, vacuum_ang: float) -> AtomicStructure:
    atoms, places = window.places(facet)
    low, high = places[:, 2].min(), places[:, 2].max()
    height = high - low + vacuum_ang
    lattice = np.zeros((3, 3))
    lattice[:2] = facet.in_plane @ facet.rotation.T
    lattice[:2, 2] = 0.0
    lattice[2, 2] = height
    # elements together, lowest atoms first, as input files of DFT codes want them
    kinds = list(dict.fromkeys(bulk.elements))
    order = sorted(range(len(atoms)), key=lambda k: (kinds.index(bulk.elements[atoms[k]]), round(places[k, 2], 3)))
    places = places[order] + np.array([0.0, 0.0, (height - low - high) / 2])
    frac = places @ np.linalg.inv(lattice)
    frac[:, :2] %= 1.0
    return AtomicStructure(
        lattice_ang=as_tensor3(lattice),
        elements=tuple(bulk.elements[atoms[k]] for k in order),
        frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in frac),
        oxidation_states=tuple(bulk.oxidation_states[atoms[k]] for k in order),
        periodic=(True, True, False),
    )


def slab_dipole(structure: AtomicStructure) -> float:
    """Dipole along z from oxidation states, e angstrom per cell; the structure must be neutral."""
    return float(np.array(structure.oxidation_states) @ structure.cart_coords[:, 2])


def polar_note(dipole_e_ang: float) -> str:
    """What a reader must know of a slab with a dipole along its normal."""
    return f"polar, dipole {dipole_e_ang:+.2f} e angstrom per cell: its energy and its tensors depend on the vacuum"


def distinct_structures(structures: Iterable[tuple[AtomicStructure, T]]) -> list[tuple[AtomicStructure, T]]:
    """The given structures without symmetry duplicates, the first of each kept.

    A slab and its image turned upside down, or its mirror image, are duplicates: their spectra are the same.
    """
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher(ltol=0.02, stol=0.02, angle_tol=1.0, primitive_cell=False, scale=False)
    kept: list[tuple[AtomicStructure, T]] = []
    seen: list[Structure] = []
    for structure, extra in structures:
        # the matcher needs a cell that is periodic in all directions
        given = structure.model_copy(update={"periodic": (True, True, True)}).to_pymatgen()
        if not any(
            len(other) == len(given) and abs(other.lattice.c - given.lattice.c) < 0.05 and matcher.fit(given, other)
            for other in seen
        ):
            kept.append((structure, extra))
            seen.append(given)
    return kept


def _to_candidate(
    slab: AtomicStructure,
    window: Window,
    bulk: AtomicStructure,
    facet: Facet,
    *,
    termination: str,
    parent: str,
) -> Candidate:
    exposed = {bond.atom for bond in missing_bonds(slab, bulk, facet.miller)}
    label = "".join(str(h) for h in facet.miller)
    dipole = slab_dipole(slab)
    notes: tuple[str, ...] = ()
    if abs(dipole) >= DIPOLE_TOLERANCE_E_ANG:
        notes = (polar_note(dipole),)
    return Candidate(
        name=f"{parent}({label})-{termination}",
        kind="slab",
        structure=slab,
        parent=parent,
        miller=facet.miller,
        termination=f"{termination}: {window.n_formula:g} formula units, {len(exposed)} atoms with broken bonds",
        regions=tag_regions(slab, exposed=exposed),
        area_ang2=facet.area_ang2,
        dipole_e_ang=dipole,
        n_undercoordinated=len(exposed),
        notes=notes,
    )
