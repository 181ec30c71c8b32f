"""How wide the widest path is that an ion has through a crystal's other atoms: a geometric proxy, not a barrier.

The free radius at a point is the distance to the nearest other atom less that atom's ionic radius. The bottleneck is
the largest radius of a sphere that still crosses the whole crystal along some direction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .accepting import as_pymatgen
from .vocabulary import Frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure

    from .accepting import StructureLike

SPACING_ANG = 0.30
FALLBACK_RADIUS_ANG = 1.0
ION_RADII_ANG = {"O": 1.40, "S": 1.84, "N": 1.46, "F": 1.33, "Cl": 1.81, "Br": 1.96, "I": 2.20, "P": 2.0}
"""Anions after Shannon (1976), sixfold coordination; P is one only where nothing more electronegative is there."""

BLOCKED_ANG = 0.10
"""Rigid ionic spheres leave lithium 0.15 (LiCoO2) to 0.37 angstrom (Li3YCl6) in known conductors, 0.03 in corundum.
So only a bottleneck below this says something; a wider one does not make a conductor (LiF has 0.18)."""


class IonPath(Frozen):
    """Widest path of an ion.

    Attributes
    ----------
    radius_ang
        Bottleneck radius.
    n_dimensions
        Number of independent directions along which a sphere of 95 % of that radius crosses the crystal.
    kind
        ``blocked`` or ``open``.
    """

    radius_ang: float
    n_dimensions: int
    kind: str


def widest_path(structure: StructureLike, ion: str = "Li") -> IonPath:
    """The widest path of an ion through the atoms of all other elements.

    Parameters
    ----------
    structure
        Periodic crystal; atoms of the ion's own element are taken out.
    ion
        Moving element.
    """
    structure = as_pymatgen(structure)
    centres = [site for site in structure if site.specie.symbol != ion]
    # even numbers of points, so that the middles of edges and faces are among them
    shape = [max(4, 2 * round(0.5 * length / SPACING_ANG)) for length in structure.lattice.abc]
    if not centres:
        return IonPath(radius_ang=float(min(structure.lattice.abc)) / 2, n_dimensions=3, kind="open")
    grid = np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"), axis=-1).reshape(-1, 3)
    radii = _radii(structure)
    free = np.full(len(grid), np.inf)
    for site in centres:
        distances = structure.lattice.get_all_distances(grid, [site.frac_coords])[:, 0]
        free = np.minimum(free, distances - radii[site.specie.symbol])
    field = free.reshape(shape)
    low, high = float(field.min()), float(field.max())
    for _ in range(18):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _directions(field >= middle) else (low, middle)
    kind = "open" if low >= BLOCKED_ANG else "blocked"
    return IonPath(radius_ang=round(low, 3), n_dimensions=_directions(field >= low - 0.05 * abs(low)), kind=kind)


def _radii(structure: Structure) -> dict[str, float]:
    from pymatgen.core.periodic_table import Element

    symbols = {site.specie.symbol for site in structure}
    anions = symbols & (set(ION_RADII_ANG) - {"P"})
    found = {}
    for symbol in symbols:
        if symbol in anions or (symbol == "P" and not anions):
            found[symbol] = ION_RADII_ANG[symbol]
        else:
            radii = Element(symbol).ionic_radii
            found[symbol] = float(radii[max(radii)]) if radii else FALLBACK_RADIUS_ANG
    return found


def _directions(inside: NDArray[np.bool_]) -> int:
    """Number of independent lattice directions along which the marked region connects with its own image."""
    from scipy.ndimage import label

    labels, count = label(inside)
    if count == 0:
        return 0
    edges: list[tuple[int, int, NDArray[np.int64]]] = []
    for axis in range(3):
        first, last = np.take(labels, 0, axis=axis), np.take(labels, -1, axis=axis)
        step = np.eye(3, dtype=np.int64)[axis]
        pairs = np.unique(np.stack([last[(first > 0) & (last > 0)], first[(first > 0) & (last > 0)]], axis=1), axis=0)
        edges += [(int(a), int(b), step) for a, b in pairs]
    neighbours: dict[int, list[tuple[int, NDArray[np.int64]]]] = {}
    for a, b, step in edges:
        neighbours.setdefault(a, []).append((b, step))
        neighbours.setdefault(b, []).append((a, -step))
    best = 0
    seen: dict[int, NDArray[np.int64]] = {}
    for start in neighbours:
        if start in seen:
            continue
        seen[start] = np.zeros(3, dtype=np.int64)
        pending, loops = [start], []
        while pending:
            node = pending.pop()
            for other, step in neighbours[node]:
                offset = seen[node] + step
                if other not in seen:
                    seen[other] = offset
                    pending.append(other)
                elif (offset != seen[other]).any():
                    loops.append(offset - seen[other])
        if loops:
            best = max(best, int(np.linalg.matrix_rank(np.array(loops))))
    return best
