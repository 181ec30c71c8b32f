"""Where a crystal can be cut along a facet: windows between two cuts, the bonds they break, their dipole.

A cut runs between two planes of nodes (units that stay whole, and single atoms). A window is the
matter between a lower and an upper cut; these are the two terminations of a slab.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Literal

import numpy as np

from .accepting import as_structure
from .bonding import find_bonds
from .errors import SurfshiftError
from .facets import Facet, MillerError, orient, reduce_miller
from .nodes import SAME_PLACE_ANG, FacetNodes, facet_nodes, symmetry_images

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from .accepting import StructureLike
    from .vocabulary import AtomicStructure

__all__ = [
    "DIPOLE_TOLERANCE_E_ANG",
    "CutSystem",
    "Facet",
    "MillerError",
    "MissingBond",
    "NotACutError",
    "Window",
    "missing_bonds",
    "orient",
    "reduce_miller",
]

DIPOLE_TOLERANCE_E_ANG = 0.05
"""A slab whose dipole along the normal is smaller counts as nonpolar, e angstrom per cell."""

PLANE_CHARGE_TOLERANCE_E = 1e-3
"""Planes whose charge is smaller are neutral."""


class NotACutError(SurfshiftError):
    """A slab whose atoms are not where the bulk crystal has them."""


@dataclass(frozen=True)
class Window:
    """A slab-to-be: the matter between cut ``lower`` and cut ``upper``, the latter ``n_cells`` steps higher.

    Attributes
    ----------
    lower, upper, n_cells
        Numbers of the two cuts in ``FacetNodes.cut_levels``.
    n_atoms
        Atoms per primitive in-plane cell.
    n_formula
        Number of bulk formula units; of an off-stoichiometric window the smallest share of any element.
    dipole_e_ang
        Dipole along the normal from oxidation states, per primitive in-plane cell; of a charged window 0.
    charge
        Charge per primitive in-plane cell, e.
    n_broken, cut_strength
        Number of broken bonds, and the sum of their Pauling strengths in e, both faces together.
    kept_share
        Least share of its bonds that any node keeps.
    faces
        Classes of the lower and the upper face: equal numbers mean faces that symmetry makes equivalent.
    is_symmetric
        Whether an operation of the crystal swaps the two faces.
    tasker
        Tasker's class (J. Phys. C 12, 4977 (1979)): 1 all planes neutral, 2 charged planes without dipole, 3 with.
    """

    lower: int
    upper: int
    n_cells: int
    n_atoms: int
    n_formula: float
    dipole_e_ang: float
    charge: float
    n_broken: int
    cut_strength: float
    kept_share: float
    faces: tuple[int, int]
    is_symmetric: bool
    tasker: Literal[1, 2, 3]


class CutSystem:
    """All cuts of a facet, their symmetry, and the windows between them.

    Parameters
    ----------
    bulk, miller, keep
        As in ``facet_nodes``.
    """

    def __init__(self, bulk: AtomicStructure, miller: Sequence[int], *, keep: Sequence[str] = ()) -> None:
        self.bulk = bulk
        self.nodes: FacetNodes = facet_nodes(bulk, miller, keep=keep)
        self.facet = self.nodes.facet
        self.levels = self.nodes.cut_levels
        cell = self.nodes.contents.sum(axis=0)
        self.formula: NDArray[np.int64] = cell // reduce(math.gcd, cell.tolist())
        self.formula_per_cell = int(cell[0] // self.formula[0])
        self._moves = self._find_moves()
        self.face_classes = self._find_face_classes()

    @property
    def formula_volume_ang3(self) -> float:
        """Volume of one formula unit, cubic angstrom."""
        return self.facet.area_ang2 * self.facet.spacing_ang / self.formula_per_cell

    @property
    def plane_charges(self) -> NDArray[np.float64]:
        """Charge of the plane (all nodes between this cut and the next) above every cut, e per primitive cell."""
        after = np.vstack([self.levels[1:], self.levels[:1] + 1])
        charges: NDArray[np.float64] = (after - self.levels) @ self.nodes.node_charges
        return charges

    @property
    def cell_dipoles(self) -> NDArray[np.float64]:
        """Dipole along the normal of one cell of matter that begins at each cut, e angstrom."""
        nodes = self.nodes
        base = float(nodes.node_charges @ nodes.heights + nodes.node_dipoles.sum())
        dipoles: NDArray[np.float64] = base + self.facet.spacing_ang * (self.levels @ nodes.node_charges)
        return dipoles

    def plane_above(self, cut: int) -> NDArray[np.int64]:
        """Nodes between a cut and the next one up."""
        after = self.levels[cut + 1] if cut + 1 < len(self.levels) else self.levels[0] + 1
        return np.flatnonzero(after > self.levels[cut])

    def bounds(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First image of every node in a window, and the first one above it."""
        return self.levels[window.lower], self.levels[window.upper] + window.n_cells

    def _find_moves(self) -> list[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """Per operation its sign, the cut that every cut becomes (-1: none) and by how many cells it is raised."""
        known = {tuple(row.tolist()): c for c, row in enumerate(self.levels - self.levels[:, :1])}
        moves = []
        for sign, targets, shifts in symmetry_images(self.bulk, self.nodes):
            moved = np.empty_like(self.levels)
            moved[:, targets] = shifts + self.levels if sign > 0 else shifts - self.levels + 1
            keys = moved - moved[:, :1]
            cuts = np.array([known.get(tuple(row.tolist()), -1) for row in keys], dtype=np.int64)
            moves.append((sign, cuts, np.where(cuts >= 0, moved[:, 0] - self.levels[cuts, 0], 0)))
        return moves

    def _find_face_classes(self) -> NDArray[np.int64]:
        """Number of the class of every face, shape (cuts, 2): matter above the cut, matter below it."""
        n_cuts = len(self.levels)
        classes = np.arange(2 * n_cuts)
        for sign, cuts, _ in self._moves:
            for c in np.flatnonzero(cuts >= 0):
                for side in (0, 1):
                    other = 2 * cuts[c] + (side if sign > 0 else 1 - side)
                    old, new = sorted((classes[2 * c + side], classes[other]))
                    classes[classes == new] = old
        return classes.reshape(n_cuts, 2)

    def canonical(self, lower: int, upper: int, n_cells: int) -> tuple[tuple[int, int, int], bool]:
        """The first of all windows equivalent to this one, and whether an operation swaps its faces."""
        best, swaps = (lower, upper, n_cells), False
        for sign, cuts, shifts in self._moves:
            if cuts[lower] < 0 or cuts[upper] < 0:
                continue
            difference = int(shifts[upper] - shifts[lower])
            if sign > 0:
                image = (int(cuts[lower]), int(cuts[upper]), n_cells + difference)
            else:
                image = (int(cuts[upper]), int(cuts[lower]), n_cells - difference)
                swaps |= image == (lower, upper, n_cells)
            best = min(best, image)
        return best, swaps

    def windows(
        self, *, thickness_ang: float | None = None, layers: int | None = None, neutral_only: bool = True,
        stoichiometric: bool = True,
    ) -> tuple[Window, ...]:  # fmt: skip
        """For every pair of cuts the thinnest window that is thick enough, without symmetry duplicates.

        Parameters
        ----------
        thickness_ang
            Least thickness: volume of the window's formula units over the face's area.
        layers
            Least thickness in lattice planes of the facet (cells along the normal), instead.
        neutral_only, stoichiometric
            Whether charged windows, and windows of another composition than the bulk's, are left out.
        """
        if layers is not None:
            needed = layers * self.formula_per_cell
        else:
            needed = max(1, math.ceil((thickness_ang or 0.0) * self.facet.area_ang2 / self.formula_volume_ang3 - 1e-6))
        contents = self.levels @ self.nodes.contents
        n_cuts = len(self.levels)
        lower, upper = (index.ravel() for index in np.indices((n_cuts, n_cuts)))
        extra = (contents[upper] - contents[lower]) / self.formula
        least = extra.min(axis=1)
        n_cells = np.ceil((needed - least) / self.formula_per_cell - 1e-9).astype(np.int64)
        # a node whose upper image lies below its lower one would count negative
        short = -(self.levels[upper] - self.levels[lower]).min(axis=1)
        n_cells = np.maximum(n_cells, short)
        keep = np.ones(len(lower), dtype=bool)
        if stoichiometric:
            keep &= np.ptp(extra, axis=1) < 1e-9
        charges = (self.levels[upper] - self.levels[lower]) @ self.nodes.node_charges
        if neutral_only:
            keep &= np.abs(charges) < PLANE_CHARGE_TOLERANCE_E
        found: dict[tuple[int, int, int], bool] = {}
        for c1, c2, n in zip(lower[keep].tolist(), upper[keep].tolist(), n_cells[keep].tolist(), strict=True):
            key, swaps = self.canonical(c1, c2, n)
            found.setdefault(key, swaps)
        return tuple(self.window(*key, is_symmetric=swaps) for key, swaps in sorted(found.items()))

    def window(self, lower: int, upper: int, n_cells: int, *, is_symmetric: bool | None = None) -> Window:
        """The window between two cuts with all that is known of it."""
        nodes, spacing = self.nodes, self.facet.spacing_ang
        start, stop = self.levels[lower], self.levels[upper] + n_cells
        count = stop - start
        charge = float(count @ nodes.node_charges)
        sums = count * nodes.heights + spacing * (stop * (stop - 1) - start * (start - 1)) / 2
        dipole = float(sums @ nodes.node_charges + count @ nodes.node_dipoles)
        n_broken, strength, kept = self._broken(start, stop)
        is_polar = abs(dipole) >= DIPOLE_TOLERANCE_E_ANG and abs(charge) < PLANE_CHARGE_TOLERANCE_E
        is_flat = bool(np.all(np.abs(self.plane_charges) < PLANE_CHARGE_TOLERANCE_E))
        if is_symmetric is None:
            _, is_symmetric = self.canonical(lower, upper, n_cells)
        return Window(
            lower,
            upper,
            n_cells,
            int(count @ nodes.sizes),
            float(((count @ nodes.contents) / self.formula).min()),
            dipole if abs(charge) < PLANE_CHARGE_TOLERANCE_E else 0.0,
            charge,
            n_broken,
            strength,
            kept,
            (int(self.face_classes[lower, 0]), int(self.face_classes[upper, 1])),
            is_symmetric,
            3 if is_polar else (1 if is_flat else 2),
        )

    def _broken(self, start: NDArray[np.int64], stop: NDArray[np.int64]) -> tuple[int, float, float]:
        nodes = self.nodes
        if len(nodes.bond_atoms) == 0:
            return 0, 0.0, 1.0
        own, other = nodes.node_of[nodes.bond_atoms], nodes.node_of[nodes.bond_partners]
        jump = nodes.bond_images[:, 2]
        base, height = int(start.min()), int(stop.max() - start.min())
        image = base + np.arange(height)
        target = image[None, :] + jump[:, None]
        present = (image >= start[own][:, None]) & (image < stop[own][:, None])
        lost = present & ((target < start[other][:, None]) | (target >= stop[other][:, None]))
        weights = lost * nodes.bond_strengths[:, None]
        cells = own[:, None] * height + np.arange(height)
        per_image = np.bincount(cells.ravel(), weights=weights.ravel(), minlength=len(nodes) * height)
        totals = np.maximum(nodes.bond_strength_of_nodes, 1e-9)
        shares = per_image.reshape(len(nodes), height) / totals[:, None]
        return int(lost.sum()), float(weights.sum()), 1.0 - float(shares.max())


@dataclass(frozen=True)
class MissingBond:
    """A bond that the cut broke: atom of the slab, vector to its lost neighbour in the slab's frame, its element."""

    atom: int
    vector_ang: NDArray[np.float64]
    partner: str


def missing_bonds(slab: StructureLike, bulk: StructureLike, miller: Sequence[int]) -> tuple[MissingBond, ...]:
    """Bonds that atoms of an unrelaxed, undecorated slab have lost against the bulk.

    Raises
    ------
    NotACutError
        If the atoms of the slab are not on bulk positions, for example after a relaxation.
    """
    slab = as_structure(slab)
    bulk = as_structure(bulk)
    facet = orient(bulk, miller)
    coords = slab.cart_coords
    bonds = find_bonds(bulk)
    inverse = np.linalg.inv(slab.lattice)
    hosts, rotation = _match_to_bulk(slab, bulk, facet)
    missing = []
    for i, host in enumerate(hosts):
        for bond in bonds[host]:
            vector = rotation @ bond.vector_ang
            frac = (coords - coords[i] - vector) @ inverse
            frac[:, :2] -= np.round(frac[:, :2])
            if np.linalg.norm(frac @ slab.lattice, axis=1).min() > SAME_PLACE_ANG:
                missing.append(MissingBond(i, vector, bulk.elements[bond.j]))
    return tuple(missing)


def _match_to_bulk(slab: AtomicStructure, bulk: AtomicStructure, facet: Facet) -> tuple[list[int], NDArray[np.float64]]:
    """Bulk atom of every slab atom, and the rotation from the bulk's frame to the slab's."""
    inverse = np.linalg.inv(bulk.lattice)
    elements = np.array(bulk.elements)
    same = np.array(slab.elements)[:, None] == elements[None, :]
    for rotation in _frames(slab, facet):
        coords = slab.cart_coords @ rotation
        for origin in np.flatnonzero(elements == slab.elements[0]):
            moved = coords - coords[0] + bulk.cart_coords[origin]
            frac = (moved[:, None, :] - bulk.cart_coords[None, :, :]) @ inverse
            distances = np.linalg.norm((frac - np.round(frac)) @ bulk.lattice, axis=2)
            distances[~same] = np.inf
            if distances.min(axis=1).max() < SAME_PLACE_ANG:
                return [int(k) for k in distances.argmin(axis=1)], rotation
    raise NotACutError(
        f"the atoms of the slab {slab.formula} are not on the positions of the bulk {bulk.formula}; "
        "give the unrelaxed, undecorated slab and the bulk it was cut from"
    )


def _frames(slab: AtomicStructure, facet: Facet) -> Iterator[NDArray[np.float64]]:
    """Rotations from the bulk's frame to that of a slab: of the primitive in-plane cell, then of its supercells."""
    yield facet.rotation
    plane = facet.slab_cell[:2, :2]
    inverse = np.linalg.inv(plane)
    a, b = slab.lattice[:2, :2]
    length = float(np.linalg.norm(a))
    reach = int(length * np.linalg.norm(inverse, axis=0).max()) + 1
    span = np.arange(-reach, reach + 1)
    vectors = np.array([(i, j) for i in span for j in span]) @ plane
    for vector in vectors[np.abs(np.linalg.norm(vectors, axis=1) - length) < 1e-3]:
        angle = np.arctan2(a[1], a[0]) - np.arctan2(vector[1], vector[0])
        turn = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
        cells = b @ turn[:2, :2] @ inverse
        if np.abs(cells - np.rint(cells)).max() < 1e-3:
            yield turn @ facet.rotation
