"""Which nodes of a facet a slab holds, cell by cell, so that ions can be moved; and the atoms that this makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .facets import IDENTITY, Matrix2, cells_of, reduced, sublattices
from .vocabulary import AtomicStructure, as_tensor3

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .nodes import FacetNodes
    from .terminations import CutSystem, Window

ROOM_ANG = 4.0
"""Empty height kept below and above a window, for ions that are moved there."""


@dataclass(frozen=True)
class BrokenBonds:
    """Bonds that a slab has lost against the bulk, both faces together, per cell of the slab.

    Attributes
    ----------
    n_broken, strength_e
        Their number and the sum of their Pauling strengths.
    by_pair
        Their number per pair of elements, cation first, such as ``("Al-O", 4)``.
    kept_share
        Least share of its bonds that any node keeps.
    exposed
        Atoms of the filling, as in ``Filling.atoms``, that lost a bond.
    """

    n_broken: int
    strength_e: float
    by_pair: tuple[tuple[str, int], ...]
    kept_share: float
    exposed: frozenset[int]


class Filling:
    """The nodes of a slab.

    ``filled`` has shape (nodes, images, in-plane cells); image index 0 stands for image ``base`` of a node, and the
    in-plane cells are those of ``hermite``, a supercell in Hermite normal form.

    Parameters
    ----------
    nodes
        The facet's nodes.
    base
        Lowest image.
    filled
        Which nodes are there.
    hermite
        The in-plane supercell.
    """

    def __init__(self, nodes: FacetNodes, base: int, filled: NDArray[np.bool_], hermite: Matrix2) -> None:
        self.nodes, self.base, self.filled, self.hermite = nodes, base, filled, hermite

    @classmethod
    def from_window(cls, system: CutSystem, window: Window, hermite: Matrix2 = IDENTITY) -> Filling:
        """All nodes between two cuts."""
        start, stop = system.bounds(window)
        pad = 2 + int(np.ceil(ROOM_ANG / system.facet.spacing_ang))
        base = int(start.min()) - pad
        image = base + np.arange(int(stop.max()) + pad - base)
        inside = (image >= start[:, None]) & (image < stop[:, None])
        filled = np.repeat(inside[:, :, None], cells_of(hermite), axis=2)
        return cls(system.nodes, base, filled, hermite)

    @property
    def offsets(self) -> NDArray[np.int64]:
        """In-plane offset of every cell, shape (n, 2)."""
        return offsets_of(self.hermite)

    def changed(self, changes: Sequence[tuple[tuple[int, int], int, bool]]) -> Filling | None:
        """The slab after changes ((node, image), in-plane cell, whether it gets filled).

        ``None`` if a node to fill is there already, or one to remove is not.
        """
        filled = self.filled.copy()
        for (node, image), cell, fills in changes:
            if filled[node, image - self.base, cell] == fills:
                return None
            filled[node, image - self.base, cell] = fills
        return Filling(self.nodes, self.base, filled, self.hermite)

    def in_supercell(self, hermite: Matrix2) -> Filling:
        """The same slab repeated in a lattice that is a sublattice of its own."""
        classes = self.classes_of(offsets_of(hermite))
        return Filling(self.nodes, self.base, self.filled[:, :, classes], hermite)

    def classes_of(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of the in-plane cell that every offset (..., 2) falls into."""
        (p, s), (_, r) = self.hermite
        turns = np.floor_divide(offsets[..., 0], p)
        x = offsets[..., 0] - turns * p
        y = np.mod(offsets[..., 1] - turns * s, r)
        classes: NDArray[np.int64] = x * r + y
        return classes

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return int(self.filled.sum(axis=(1, 2)) @ self.nodes.sizes)

    @property
    def counts(self) -> dict[str, int]:
        """Number of atoms of every element."""
        totals = self.filled.sum(axis=(1, 2)) @ self.nodes.contents
        return dict(zip(self.nodes.element_kinds, totals.tolist(), strict=True))

    @property
    def charge(self) -> float:
        """Sum of the oxidation states, e."""
        return float(self.filled.sum(axis=(1, 2)) @ self.nodes.node_charges)

    @property
    def dipole_e_ang(self) -> float:
        """Dipole along the normal, e angstrom per cell; it has a meaning for a neutral slab only."""
        nodes = self.nodes
        image = self.base + np.arange(self.filled.shape[1])
        n = self.filled.sum(axis=2)
        heights = nodes.heights[:, None] + image * nodes.facet.spacing_ang
        return float((n * (nodes.node_charges[:, None] * heights + nodes.node_dipoles[:, None])).sum())

    def atoms(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Index in ``FacetNodes`` and position in the slab's frame, (n, 3) in angstrom, of every atom."""
        nodes = self.nodes
        present = self.filled[nodes.node_of]
        atom, image, cell = np.nonzero(present)
        shift = np.column_stack([self.offsets[cell], image + self.base])
        return atom, nodes.coords[atom] + shift @ nodes.facet.slab_cell

    def cut_strength(self) -> tuple[float, float]:
        """Sum of the strengths of the broken bonds in e, and the least share of its bonds that any node keeps."""
        rows, strengths = self.nodes.links
        if len(rows) == 0:
            return 0.0, 1.0
        n_images = self.filled.shape[1]
        own, other = rows[:, 0], rows[:, 1]
        image = np.arange(n_images)[None, :] + rows[:, 4:]
        inside = (image >= 0) & (image < n_images)
        cells = self.classes_of(self.offsets[None, :, :] + rows[:, None, 2:4])
        partner = self.filled[other[:, None, None], np.clip(image, 0, n_images - 1)[:, :, None], cells[:, None, :]]
        lost = (self.filled[own] & ~(partner & inside[:, :, None])).reshape(len(rows), -1) * strengths[:, None]
        per_node = np.zeros((len(self.nodes), lost.shape[1]))
        np.add.at(per_node, own, lost)
        shares = per_node / np.maximum(self.nodes.bond_strength_of_nodes, 1e-9)[:, None]
        return float(lost.sum()), 1.0 - float(shares.max())

    def profile(self) -> tuple[tuple[int, ...], tuple[tuple[str, float], ...]]:
        """Element and height of every atom about the middle, the same for a slab and its image upside down.

        Equal profiles per number of in-plane cells mark slabs that differ by a symmetry operation, or only in where
        in the plane ions were moved.
        """
        atom, places = self.atoms()
        heights = places[:, 2] - (places[:, 2].max() + places[:, 2].min()) / 2
        both = [
            tuple(
                sorted((self.nodes.elements[k], round(sign * z, 1) + 0.0) for k, z in zip(atom, heights, strict=True))
            )
            for sign in (1.0, -1.0)
        ]
        return (cells_of(self.hermite), len(atom)), min(both)

    def is_window_of(self, system: CutSystem) -> bool:
        """Whether the slab is all that lies between two plain cuts."""
        if not np.all(self.filled == self.filled[:, :, :1]):
            return False
        inside = self.filled[:, :, 0]
        start = inside.argmax(axis=1)
        stop = start + inside.sum(axis=1)
        if not all(inside[k, start[k] : stop[k]].all() for k in range(len(inside))):
            return False
        known = system.levels - system.levels[:, :1]
        return bool((known == start - start[0]).all(axis=1).any() and (known == stop - stop[0]).all(axis=1).any())

    def broken_bonds(self) -> BrokenBonds:
        """The bonds to nodes that are not there."""
        nodes = self.nodes
        n_images, n_cells = self.filled.shape[1:]
        if len(nodes.bond_atoms) == 0:
            return BrokenBonds(0, 0.0, (), 1.0, frozenset())
        own, other = nodes.node_of[nodes.bond_atoms], nodes.node_of[nodes.bond_partners]
        shift = nodes.bond_images
        image = np.arange(n_images)[None, :] + shift[:, 2][:, None]
        inside = (image >= 0) & (image < n_images)
        cells = self.classes_of(self.offsets[None, :, :] + shift[:, None, :2])
        partner = self.filled[other[:, None, None], np.clip(image, 0, n_images - 1)[:, :, None], cells[:, None, :]]
        lost = self.filled[own] & ~(partner & inside[:, :, None])
        weights = np.where(lost, nodes.bond_strengths[:, None, None], 0.0)
        flat = own[:, None] * (n_images * n_cells) + np.arange(n_images * n_cells)
        per_node = np.bincount(
            flat.ravel(), weights=weights.reshape(len(own), -1).ravel(), minlength=len(nodes) * n_images * n_cells
        ).reshape(len(nodes), -1)
        shares = per_node / np.maximum(nodes.bond_strength_of_nodes, 1e-9)[:, None]
        pairs: dict[str, int] = {}
        for k in np.flatnonzero(lost.any(axis=(1, 2))):
            i, j = nodes.bond_atoms[k], nodes.bond_partners[k]
            cation, anion = (i, j) if nodes.charges[i] > 0 else (j, i)
            name = f"{nodes.elements[cation]}-{nodes.elements[anion]}"
            pairs[name] = pairs.get(name, 0) + int(lost[k].sum())
        bond, where, cell = np.nonzero(lost)
        numbers = np.full((len(nodes.elements), n_images, n_cells), -1, dtype=np.int64)
        present = self.filled[nodes.node_of]
        numbers[present] = np.arange(int(present.sum()))
        exposed = numbers[nodes.bond_atoms[bond], where, cell]
        return BrokenBonds(
            int(lost.sum()),
            float(weights.sum()),
            tuple(sorted(pairs.items())),
            1.0 - float(shares.max(initial=0.0)),
            frozenset(exposed.tolist()),
        )


def offsets_of(hermite: Matrix2) -> NDArray[np.int64]:
    """In-plane offset of every cell of a supercell in Hermite normal form, shape (n, 2)."""
    return np.array([(x, y) for x in range(hermite[0][0]) for y in range(hermite[1][1])], dtype=np.int64)


def hermite_form(matrix: Matrix2) -> Matrix2:
    """The Hermite normal form of an in-plane supercell."""
    inverse = np.linalg.inv(np.array(matrix, dtype=float))
    for candidate in sublattices(cells_of(matrix)):
        rows = np.array(candidate) @ inverse
        if np.abs(rows - np.rint(rows)).max() < 1e-6:
            return candidate
    raise AssertionError(f"no Hermite normal form of {matrix}")  # pragma: no cover - every lattice has one


def build_structure(filling: Filling, matrix: Matrix2, vacuum_ang: float) -> tuple[AtomicStructure, NDArray[np.int64]]:
    """The atoms of a slab, normal along z and c, its middle in the middle of the cell.

    Elements are kept together, lowest atoms first, as input files of DFT codes want them. The first in-plane
    vector lies along x.

    Parameters
    ----------
    filling
        The slab; its supercell is that of ``matrix``.
    matrix
        In-plane vectors in those of the facet's primitive cell.
    vacuum_ang
        Empty space between the outermost atoms of neighbouring images.

    Returns
    -------
    The structure, and for each of its atoms the number in ``filling.atoms()``.
    """
    nodes = filling.nodes
    atom, places = filling.atoms()
    plane = np.array(matrix) @ nodes.facet.slab_cell[:2]
    low, high = float(places[:, 2].min()), float(places[:, 2].max())
    height = high - low + vacuum_ang
    kinds = list(dict.fromkeys(nodes.elements))
    order = sorted(range(len(atom)), key=lambda k: (kinds.index(nodes.elements[atom[k]]), round(places[k, 2], 3)))
    places = places[order] + np.array([0.0, 0.0, (height - low - high) / 2])
    frac = places @ np.linalg.inv(np.vstack([plane, [0.0, 0.0, height]]))
    frac[:, :2] %= 1.0
    a, b = plane[:, :2]
    length = float(np.linalg.norm(a))
    along, across = float(a @ b) / length, float(a[0] * b[1] - a[1] * b[0]) / length
    if abs(along) < 1e-9:
        along = 0.0
    lattice = np.array([[length, 0.0, 0.0], [along, across, 0.0], [0.0, 0.0, height]])
    return (
        AtomicStructure(
            lattice_ang=as_tensor3(lattice),
            elements=tuple(nodes.elements[atom[k]] for k in order),
            frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in frac),
            oxidation_states=tuple(float(nodes.charges[atom[k]]) for k in order),
            periodic=(True, True, False),
        ),
        np.array(order),
    )


def reduced_cell(nodes: FacetNodes, hermite: Matrix2) -> Matrix2:
    """The two shortest vectors of an in-plane supercell."""
    return reduced(nodes.facet.slab_cell[:2], hermite) if hermite != IDENTITY else IDENTITY
