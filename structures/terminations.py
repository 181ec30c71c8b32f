"""Where a crystal can be cut along a facet: its planes, the windows between two cuts, the bonds they break.

A plane holds *nodes*: isolated units such as PO4, which stay whole, and single atoms. A window is a
run of consecutive planes; its first and last plane are the two terminations of a slab.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from .bonding import find_bonds, find_units
from .errors import SurfshiftError
from .symmetry import symmetry_operations

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from .vocabulary import AtomicStructure

PLANE_TOLERANCE_ANG = 0.02
"""Nodes whose heights differ by less lie in one plane."""

SAME_PLACE_ANG = 0.05
"""Two positions that are closer are one."""


class MillerError(SurfshiftError):
    """A Miller index that names no plane."""


class NotACutError(SurfshiftError):
    """A slab whose atoms are not where the bulk crystal has them."""


@dataclass(frozen=True)
class Facet:
    """A lattice plane and the axes of a slab cut along it.

    Attributes
    ----------
    miller
        The index, divided by its greatest common divisor.
    in_plane
        Two shortest lattice vectors in the plane, shape (2, 3), angstrom, in the bulk's frame.
    step
        A lattice vector to the next lattice plane, shape (3,), angstrom, in the bulk's frame.
    rotation
        Proper rotation from the bulk's frame to the slab's: first in-plane vector along x, normal along z.
    """

    miller: tuple[int, int, int]
    in_plane: NDArray[np.float64]
    step: NDArray[np.float64]
    rotation: NDArray[np.float64]

    @property
    def cell(self) -> NDArray[np.float64]:
        """The primitive cell in_plane, step as rows, shape (3, 3), angstrom."""
        return np.vstack([self.in_plane, self.step])

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector out of the face, in the bulk's frame."""
        normal: NDArray[np.float64] = self.rotation[2]
        return normal

    @property
    def spacing_ang(self) -> float:
        """Distance of neighbouring lattice planes, angstrom."""
        return float(self.step @ self.normal)

    @property
    def area_ang2(self) -> float:
        """Area of the in-plane cell, square angstrom."""
        return float(np.linalg.norm(np.cross(*self.in_plane)))


def reduce_miller(miller: Sequence[int]) -> tuple[int, int, int]:
    """The index divided by its greatest common divisor.

    Raises
    ------
    MillerError
        If it is not three integers, or all are zero.
    """
    if len(miller) != 3 or any(isinstance(h, bool) or not float(h).is_integer() for h in miller):
        raise MillerError(f"Miller index {tuple(miller)} is not three integers; write for example (1, 0, 0)")
    h, k, l = (int(value) for value in miller)  # noqa: E741 (crystallography's own letters)
    divisor = math.gcd(h, k, l)
    if divisor == 0:
        raise MillerError("Miller index (0, 0, 0) names no plane; write for example (1, 0, 0)")
    return h // divisor, k // divisor, l // divisor


def _lattice_translations(bulk: AtomicStructure) -> NDArray[np.float64]:
    """All fractional translations that carry the crystal into itself within its cell, shape (n, 3)."""
    operations = symmetry_operations(bulk)
    return np.array([shift for rotation, shift in operations if np.array_equal(rotation, np.eye(3))])


def orient(bulk: AtomicStructure, miller: Sequence[int]) -> Facet:
    """The facet of a crystal, with the shortest in-plane vectors of its primitive lattice.

    Raises
    ------
    MillerError
        If the index is no plane.
    """
    index = reduce_miller(miller)
    reciprocal = np.linalg.inv(bulk.lattice).T
    normal = np.array(index) @ reciprocal
    normal /= np.linalg.norm(normal)
    translations = _lattice_translations(bulk)
    volume = abs(np.linalg.det(bulk.lattice)) / len(translations)
    for reach in range(max(abs(h) for h in index) + 1, 30):
        steps = np.array(list(product(range(-reach, reach + 1), repeat=3)), dtype=float)
        vectors = (steps[:, None, :] + translations[None, :, :]).reshape(-1, 3) @ bulk.lattice
        heights = vectors @ normal
        # the sort key is rounded so that ties, and with them the axes, do not hang on the last digit
        lengths = np.round(np.linalg.norm(vectors, axis=1), 6)
        order = np.lexsort((*np.round(-vectors.T, 6), lengths))
        flat = [i for i in order if abs(heights[i]) < 1e-6 and lengths[i] > 1e-3]
        up = [i for i in order if heights[i] > 1e-3]
        first = vectors[flat[0]]
        second = next((vectors[i] for i in flat if np.linalg.norm(np.cross(first, vectors[i])) > 1e-3), None)
        if second is None:
            continue
        lowest = min(heights[up])
        step = next(vectors[i] for i in up if heights[i] < lowest + 1e-6)
        if np.cross(first, second) @ normal < 0:
            second = -second
        if np.isclose(np.cross(first, second) @ step, volume, rtol=1e-6):
            x_axis = first / np.linalg.norm(first)
            rotation = np.array([x_axis, np.cross(normal, x_axis), normal])
            return Facet(index, np.array([first, second]), step, rotation)
    raise MillerError(f"no lattice vectors found for {index}; use a smaller index")


@dataclass(frozen=True)
class Node:
    """A unit or a single atom of the facet's primitive cell.

    ``centre`` is its centroid in the bulk's frame; atom ``atoms[k]`` of the bulk sits at centre + offsets[k].
    """

    atoms: tuple[int, ...]
    centre: NDArray[np.float64]
    offsets: NDArray[np.float64]


def find_nodes(bulk: AtomicStructure, facet: Facet) -> tuple[Node, ...]:
    """Units and single atoms in one primitive cell of the facet, sorted by height, heights in [0, spacing)."""
    units = find_units(bulk)
    in_units = {i for unit in units for i in unit.atoms}
    cart = bulk.cart_coords
    raw = [(unit.atoms, cart[unit.atoms[0]] + unit.offsets_ang) for unit in units]
    raw += [((i,), cart[[i]]) for i in range(len(bulk)) if i not in in_units]
    inverse = np.asarray(np.linalg.inv(facet.cell), dtype=np.float64)
    nodes: list[Node] = []
    for atoms, places in raw:
        centroid = places.mean(axis=0)
        frac = centroid @ inverse
        # a node within the tolerance below the next lattice plane belongs to that plane
        shift = np.floor(frac + np.array([1e-6, 1e-6, PLANE_TOLERANCE_ANG / facet.spacing_ang / 2]))
        centre = (frac - shift) @ facet.cell
        kinds = sorted(bulk.elements[i] for i in atoms)
        known = (node for node in nodes if kinds == sorted(bulk.elements[i] for i in node.atoms))
        if not any(_is_same_place(centre - node.centre, inverse, facet.cell) for node in known):
            nodes.append(Node(atoms, centre, places - centroid))
    return tuple(sorted(nodes, key=lambda node: (round(float(node.centre @ facet.normal), 4), node.atoms)))


def _is_same_place(difference: NDArray[np.float64], inverse: NDArray[np.float64], cell: NDArray[np.float64]) -> bool:
    frac = difference @ inverse
    return bool(np.linalg.norm((frac - np.round(frac)) @ cell) < SAME_PLACE_ANG)


@dataclass(frozen=True)
class Window:
    """A slab-to-be: consecutive planes of a facet.

    Attributes
    ----------
    nodes
        Nodes with the number of steps each was moved up.
    n_formula
        Number of bulk formula units.
    dipole_e_ang
        Dipole along the normal from oxidation states.
    cut_strength
        Sum of the Pauling strengths (charge over coordination number) of the broken bonds, e, both faces.
    kept_share
        Least share of its bonds that any node keeps.
    faces
        Classes of the lower and the upper face: equal numbers mean faces that symmetry makes equivalent.
    """

    nodes: tuple[tuple[Node, int], ...]
    n_formula: float
    dipole_e_ang: float
    cut_strength: float
    kept_share: float
    faces: tuple[int, int]

    def places(self, facet: Facet) -> tuple[list[int], NDArray[np.float64]]:
        """Bulk index and position in the slab's frame of every atom, (n, 3), angstrom."""
        atoms = [i for node, _ in self.nodes for i in node.atoms]
        coords = np.vstack([node.centre + n * facet.step + node.offsets for node, n in self.nodes])
        return atoms, coords @ facet.rotation.T


def group_planes(nodes: Sequence[Node], facet: Facet) -> tuple[tuple[Node, ...], ...]:
    """Nodes of equal height, from the lowest plane up."""
    planes: list[list[Node]] = []
    for node in nodes:
        height = float(node.centre @ facet.normal)
        if planes and height - float(planes[-1][0].centre @ facet.normal) < PLANE_TOLERANCE_ANG:
            planes[-1].append(node)
        else:
            planes.append([node])
    return tuple(tuple(plane) for plane in planes)


@dataclass(frozen=True)
class _Link:
    """Bonds of one node to others: change of plane number of each neighbour, and bond strength."""

    jumps: NDArray[np.int64]
    strengths: NDArray[np.float64]


def _link_planes(bulk: AtomicStructure, planes: Sequence[Sequence[Node]], facet: Facet) -> dict[tuple[int, ...], _Link]:
    bonds = find_bonds(bulk)
    inverse = np.asarray(np.linalg.inv(facet.cell), dtype=np.float64)
    where = [(p, k, node) for p, plane in enumerate(planes) for node in plane for k in range(len(node.atoms))]
    links = {}
    for p, plane in enumerate(planes):
        for node in plane:
            jumps, strengths = [], []
            for atom, offset in zip(node.atoms, node.offsets, strict=True):
                for bond in bonds[atom]:
                    if bond.j in node.atoms and any(
                        np.linalg.norm(offset + bond.vector_ang - other) < SAME_PLACE_ANG for other in node.offsets
                    ):
                        continue
                    target = node.centre + offset + bond.vector_ang
                    for q, k, other_node in where:
                        difference = target - other_node.centre - other_node.offsets[k]
                        if _is_same_place(difference, inverse, facet.cell):
                            cells = round(float(difference @ facet.normal) / facet.spacing_ang)
                            jumps.append(cells * len(planes) + q - p)
                            break
                    cation = atom if bulk.oxidation_states[atom] > 0 else bond.j
                    strengths.append(bulk.oxidation_states[cation] / len(bonds[cation]))
            links[node.atoms] = _Link(np.array(jumps, dtype=np.int64), np.array(strengths))
    return links


def _face_classes(bulk: AtomicStructure, planes: Sequence[Sequence[Node]], facet: Facet) -> dict[tuple[int, int], int]:
    """Number of the class of every face, keyed by plane and outward direction (+1 up, -1 down).

    Faces are of one class when a symmetry operation of the crystal carries one into the other.
    """
    lattice, inverse = bulk.lattice.T, np.linalg.inv(bulk.lattice.T)
    heights = np.array([float(plane[0].centre @ facet.normal) for plane in planes])
    classes = {(p, side): 2 * p + (side > 0) for p in range(len(planes)) for side in (1, -1)}
    for rotation, translation in symmetry_operations(bulk):
        turned = float(facet.normal @ (lattice @ rotation @ inverse) @ facet.normal)
        if abs(abs(turned) - 1.0) > 1e-4:
            continue
        sign = 1 if turned > 0 else -1
        moved = sign * heights + float(facet.normal @ lattice @ translation)
        for p, height in enumerate(moved):
            gaps = (heights - height) / facet.spacing_ang
            q = int(np.argmin(np.abs(gaps - np.round(gaps))))
            for side in (1, -1):
                old, new = sorted((classes[(p, side)], classes[(q, side * sign)]))
                classes = {face: old if number == new else number for face, number in classes.items()}
    return classes


def find_windows(bulk: AtomicStructure, facet: Facet, thickness_ang: float) -> Iterator[Window]:
    """Stoichiometric windows: for every pair of terminations the thinnest that is thick enough.

    The thickness of a window is the bulk volume of its atoms over the face's area.
    """
    planes = group_planes(find_nodes(bulk, facet), facet)
    links = _link_planes(bulk, planes, facet)
    classes = _face_classes(bulk, planes, facet)
    kinds = sorted(set(bulk.elements))
    per_cell = np.array([bulk.elements.count(kind) for kind in kinds])
    formula = per_cell // reduce(math.gcd, per_cell.tolist())
    volume = abs(float(np.linalg.det(bulk.lattice))) / (per_cell[0] / formula[0])
    needed = max(1, math.ceil(thickness_ang * facet.area_ang2 / volume - 1e-6))
    n_planes = len(planes)
    n_cells = math.ceil(needed * volume / (facet.area_ang2 * facet.spacing_ang)) + 1
    for start in range(n_planes):
        ends: set[int] = set()
        chosen: list[tuple[Node, int]] = []
        numbers: list[int] = []
        for number in range(start, start + n_cells * n_planes):
            chosen += [(node, number // n_planes) for node in planes[number % n_planes]]
            numbers += [number] * len(planes[number % n_planes])
            atoms = [bulk.elements[i] for node, _ in chosen for i in node.atoms]
            ratios = np.array([atoms.count(kind) for kind in kinds]) / formula
            if np.ptp(ratios) > 1e-9 or ratios[0] < needed or number % n_planes in ends:
                continue
            ends.add(number % n_planes)
            broken, share = 0.0, 1.0
            for (node, _), plane_number in zip(chosen, numbers, strict=True):
                link = links[node.atoms]
                outside = (plane_number + link.jumps < start) | (plane_number + link.jumps > number)
                broken += float(link.strengths[outside].sum()) / 2
                if len(outside):
                    share = min(share, 1.0 - float(link.strengths[outside].sum() / link.strengths.sum()))
            faces = (classes[(start, -1)], classes[(number % n_planes, 1)])
            window = Window(tuple(chosen), float(ratios[0]), 0.0, broken, share, faces)
            host, places = window.places(facet)
            dipole = float(np.array([bulk.oxidation_states[i] for i in host]) @ places[:, 2])
            yield replace(window, dipole_e_ang=dipole)


@dataclass(frozen=True)
class MissingBond:
    """A bond that the cut broke: atom of the slab, vector to its lost neighbour in the slab's frame, its element."""

    atom: int
    vector_ang: NDArray[np.float64]
    partner: str


def missing_bonds(slab: AtomicStructure, bulk: AtomicStructure, miller: Sequence[int]) -> tuple[MissingBond, ...]:
    """Bonds that atoms of an unrelaxed, undecorated slab have lost against the bulk.

    Raises
    ------
    NotACutError
        If the atoms of the slab are not on bulk positions, for example after a relaxation.
    """
    facet = orient(bulk, miller)
    coords = slab.cart_coords
    hosts = _match_to_bulk(slab, bulk, coords @ facet.rotation)
    bonds = find_bonds(bulk)
    inverse = np.linalg.inv(slab.lattice)
    missing = []
    for i, host in enumerate(hosts):
        for bond in bonds[host]:
            vector = facet.rotation @ bond.vector_ang
            frac = (coords - coords[i] - vector) @ inverse
            frac[:, :2] -= np.round(frac[:, :2])
            if np.linalg.norm(frac @ slab.lattice, axis=1).min() > SAME_PLACE_ANG:
                missing.append(MissingBond(i, vector, bulk.elements[bond.j]))
    return tuple(missing)


def _match_to_bulk(slab: AtomicStructure, bulk: AtomicStructure, coords: NDArray[np.float64]) -> list[int]:
    inverse = np.linalg.inv(bulk.lattice)
    elements = np.array(bulk.elements)
    same = np.array(slab.elements)[:, None] == elements[None, :]
    for origin in np.flatnonzero(elements == slab.elements[0]):
        moved = coords - coords[0] + bulk.cart_coords[origin]
        frac = (moved[:, None, :] - bulk.cart_coords[None, :, :]) @ inverse
        distances = np.linalg.norm((frac - np.round(frac)) @ bulk.lattice, axis=2)
        distances[~same] = np.inf
        if distances.min(axis=1).max() < SAME_PLACE_ANG:
            return [int(k) for k in distances.argmin(axis=1)]
    raise NotACutError(
        f"the atoms of the slab {slab.formula} are not on the positions of the bulk {bulk.formula}; "
        "give the unrelaxed, undecorated slab and the bulk it was cut from"
    )
