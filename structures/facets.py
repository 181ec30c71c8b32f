"""Lattice planes of a crystal: their slab axes, which of them symmetry makes equal, and in-plane supercells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from .accepting import as_structure
from .errors import SurfshiftError
from .symmetry import symmetry_operations

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from .accepting import StructureLike
    from .vocabulary import AtomicStructure

RIGHT_ANGLE_TOLERANCE_DEG = 0.01
"""In-plane vectors whose angle differs from 90 degrees by less are orthogonal."""

MAX_IN_PLANE_CELLS = 64
"""In-plane supercells of more cells are not searched."""

Matrix2 = tuple[tuple[int, int], tuple[int, int]]
"""In-plane supercell: rows are its vectors in those of the facet's primitive cell."""

IDENTITY: Matrix2 = ((1, 0), (0, 1))


class MillerError(SurfshiftError):
    """A Miller index that names no plane."""


class InPlaneCellError(SurfshiftError):
    """An in-plane cell, wide or orthogonal, that does not exist within the search limit."""


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
    def slab_cell(self) -> NDArray[np.float64]:
        """The same cell in the slab's frame, rows, shape (3, 3), angstrom."""
        cell: NDArray[np.float64] = self.cell @ self.rotation.T
        cell[:2, 2] = 0.0
        cell[0, 1] = 0.0
        return cell

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


def bulk_operations(bulk: StructureLike) -> tuple[tuple[NDArray[np.int64], NDArray[np.float64]], ...]:
    """The symmetry operations of a crystal, kept for the next facet of the same one."""
    return _bulk_operations(as_structure(bulk))


@lru_cache(maxsize=32)
def _bulk_operations(bulk: AtomicStructure) -> tuple[tuple[NDArray[np.int64], NDArray[np.float64]], ...]:
    return symmetry_operations(bulk)


def distinct_facets(bulk: StructureLike, hkl_max: int) -> tuple[tuple[int, int, int], ...]:
    """One Miller index of every set of symmetry-equivalent facets, none of its numbers above ``hkl_max``.

    Indices are equivalent when an operation of the crystal's point group, or the inversion, carries one into
    the other: a slab has the faces (hkl) and (-h-k-l) both, so its facet is the same. Of each set the
    index with the smallest, then the fewest negative, then the largest leading numbers is taken. Simple
    facets come first.

    Raises
    ------
    MillerError
        If ``hkl_max`` is below 1.
    """
    bulk = as_structure(bulk)
    if hkl_max < 1:
        raise MillerError(f"a largest Miller index of {hkl_max} leaves no facet; use 1 or more")
    span = range(-hkl_max, hkl_max + 1)
    indices = [hkl for hkl in product(span, repeat=3) if math.gcd(*hkl) == 1]
    # an index is a row in reciprocal axes: a rotation W of fractional columns turns it into hkl @ W^-1
    turns = np.unique(np.array([np.rint(np.linalg.inv(w)) for w, _ in bulk_operations(bulk)], dtype=np.int64), axis=0)
    taken: set[tuple[int, ...]] = set()
    chosen = []
    for hkl in sorted(indices, key=_simplicity):
        if hkl in taken:
            continue
        images = np.einsum("i,nij->nj", np.array(hkl, dtype=np.int64), turns)
        taken |= {tuple(row) for row in images.tolist()} | {tuple(row) for row in (-images).tolist()}
        chosen.append((hkl[0], hkl[1], hkl[2]))
    return tuple(chosen)


def _simplicity(hkl: tuple[int, ...]) -> tuple[int, int, int, tuple[int, ...]]:
    return (
        max(abs(h) for h in hkl),
        sum(abs(h) for h in hkl),
        sum(h < 0 for h in hkl),
        tuple(-h for h in hkl),
    )


def _lattice_translations(bulk: AtomicStructure) -> NDArray[np.float64]:
    """All fractional translations that carry the crystal into itself within its cell, shape (n, 3)."""
    return np.array([shift for rotation, shift in bulk_operations(bulk) if np.array_equal(rotation, np.eye(3))])


@lru_cache(maxsize=128)
def _orient(bulk: AtomicStructure, index: tuple[int, int, int]) -> Facet:
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


def orient(bulk: StructureLike, miller: Sequence[int]) -> Facet:
    """The facet of a crystal, with the shortest in-plane vectors of its primitive lattice.

    Raises
    ------
    MillerError
        If the index is no plane.
    """
    bulk = as_structure(bulk)
    return _orient(bulk, reduce_miller(miller))


def cells_of(matrix: Matrix2) -> int:
    """Number of primitive cells in an in-plane supercell."""
    return abs(matrix[0][0] * matrix[1][1] - matrix[0][1] * matrix[1][0])


def sublattices(n_cells: int) -> Iterator[Matrix2]:
    """All in-plane lattices of ``n_cells`` cells, in Hermite normal form."""
    for first in range(1, n_cells + 1):
        if n_cells % first == 0:
            for shear in range(n_cells // first):
                yield ((first, shear), (0, n_cells // first))


def reduced(in_plane: NDArray[np.float64], matrix: Matrix2) -> Matrix2:
    """The same in-plane lattice with its two shortest vectors (Gauss' reduction), right-handed.

    Parameters
    ----------
    in_plane
        Primitive in-plane vectors as rows, shape (2, 2 or 3), angstrom.
    matrix
        Supercell in those vectors.
    """
    first, second = np.array(matrix[0]), np.array(matrix[1])
    while True:
        a, b = first @ in_plane, second @ in_plane
        if b @ b < a @ a - 1e-9:
            first, second = second, first
            continue
        shift = round(float(a @ b) / float(a @ a) - 1e-9)
        if shift == 0:
            break
        second = second - shift * first
    if first[0] * second[1] - first[1] * second[0] < 0:
        second = -second
    return ((int(first[0]), int(first[1])), (int(second[0]), int(second[1])))


def _shape(in_plane: NDArray[np.float64], matrix: Matrix2) -> tuple[float, float]:
    """Least distance between opposite edges of a supercell, angstrom, and its angle in degrees."""
    a, b = np.array(matrix) @ in_plane
    long = max(np.linalg.norm(a), np.linalg.norm(b))
    cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    area = float(np.sqrt(max(0.0, (a @ a) * (b @ b) - (a @ b) ** 2)))
    return area / float(long), float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def in_plane_supercell(
    in_plane: NDArray[np.float64],
    *,
    min_width_ang: float = 0.0,
    orthogonal: bool = False,
    max_cells: int = MAX_IN_PLANE_CELLS,
) -> Matrix2:
    """The smallest in-plane supercell that is wide enough and, if asked, has a right angle.

    Parameters
    ----------
    in_plane
        Primitive in-plane vectors as rows, shape (2, 2 or 3), angstrom.
    min_width_ang
        Least distance between opposite edges of the cell, so between an atom and its image.
    orthogonal
        Whether the two vectors must be perpendicular.
    max_cells
        Largest number of primitive cells.

    Raises
    ------
    InPlaneCellError
        If there is none; the message names the widest, or the one nearest to a right angle.
    """
    widest, squarest = (0.0, IDENTITY), (180.0, IDENTITY)
    for n_cells in range(1, max_cells + 1):
        fitting = []
        for sublattice in sublattices(n_cells):
            best = reduced(in_plane, sublattice)
            width, angle = _shape(in_plane, best)
            off = abs(angle - 90.0)
            if off < squarest[0] - 1e-9:
                squarest = (off, best)
            if width > widest[0] + 1e-9:
                widest = (width, best)
            if width >= min_width_ang - 1e-6 and (not orthogonal or off < RIGHT_ANGLE_TOLERANCE_DEG):
                fitting.append((round(-width, 6), round(off, 6), best))
        if fitting:
            return min(fitting)[2]
    if orthogonal and squarest[0] >= RIGHT_ANGLE_TOLERANCE_DEG:
        raise InPlaneCellError(
            f"no orthogonal in-plane cell of up to {max_cells} primitive cells; nearest is {squarest[1]} with "
            f"{cells_of(squarest[1])} cells and an angle {squarest[0]:.2f} degrees off; take another facet or "
            "a non-orthogonal cell"
        )
    raise InPlaneCellError(
        f"no in-plane cell of up to {max_cells} primitive cells is {min_width_ang:g} angstrom wide; the widest is "
        f"{widest[1]} with {widest[0]:.1f} angstrom; ask for that or less"
    )
