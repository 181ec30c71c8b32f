"""The two faces of a slab: its symmetry operations, its sites, and which of them are taken together."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import ceil, comb
from typing import TYPE_CHECKING

import numpy as np

from .accepting import as_structure
from .errors import SurfshiftError
from .placement import IDENTITY
from .symmetry import symmetry_operations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .accepting import StructureLike
    from .placement import Motion

    Array = NDArray[np.float64]

SAME_SITE_ANG = 0.1
MAX_SELECTIONS = 5000
"""More choices of sites than this are not enumerated; the most widely spread one is built up instead."""


class SiteCountError(SurfshiftError):
    """A coverage or a number of sites that does not fit the faces."""


SiteImage = tuple["Motion", tuple[int, ...]]
"""A symmetry operation and the site that each site becomes."""


@dataclass(frozen=True)
class SiteChoice:
    """Sites taken together, and the symmetry operations that carry them into one another."""

    sites: tuple[int, ...]
    images: tuple[SiteImage, ...]

    def orbits(self, images: Sequence[SiteImage]) -> tuple[tuple[tuple[int, Motion], ...], ...]:
        """Sites that some operations relate, each with the operation that carries the first of its orbit to it."""
        found = []
        taken: set[int] = set()
        for site in self.sites:
            if site not in taken:
                orbit: dict[int, Motion] = {site: IDENTITY}
                for motion, targets in images:
                    orbit.setdefault(targets[site], motion)
                taken |= set(orbit)
                found.append(tuple(orbit.items()))
        return tuple(found)

    def symmetry_levels(self) -> tuple[tuple[SiteImage, ...], ...]:
        """Sets of operations to keep, the largest first; the last relates the two faces if anything does."""
        identity = next(image for image in self.images if image[0] is IDENTITY)
        flips = [m for m in self.images if m[0][0][2, 2] < 0 and all(m[1][m[1][k]] == k for k in self.sites)]
        small: list[tuple[SiteImage, ...]] = [(identity, flip) for flip in flips] or [(identity,)]
        return (self.images, *small) if len(self.images) > len(small[0]) else tuple(small)


def slab_motions(structure: StructureLike) -> tuple[Motion, ...]:
    """Cartesian symmetry operations of a slab that keep its middle plane, the identity first."""
    structure = as_structure(structure)
    lattice, inverse = structure.lattice.T, np.linalg.inv(structure.lattice.T)
    heights = structure.cart_coords[:, 2]
    middle = 0.5 * (heights.max() + heights.min())
    motions = [IDENTITY]
    for rotation, shift in symmetry_operations(structure):
        turned = lattice @ rotation @ inverse
        moved = lattice @ shift
        centre = np.array([0.0, 0.0, middle])
        offset = float((turned @ centre + moved)[2]) - middle
        moved = moved - np.round(offset / structure.lattice[2, 2]) * structure.lattice[2]
        offset -= np.round(offset / structure.lattice[2, 2]) * structure.lattice[2, 2]
        if abs(offset) > 0.05 or abs(abs(turned[2, 2]) - 1.0) > 1e-3:
            continue
        if not (
            np.allclose(turned, np.eye(3))
            and np.allclose(moved - np.round(moved @ inverse.T) @ lattice.T, 0.0, atol=1e-3)
        ):
            motions.append((turned, moved))
    return tuple(motions)


def site_images(points: Array, motions: Sequence[Motion], lattice: Array) -> tuple[SiteImage, ...]:
    """The motions that carry a set of points (n, 3) into itself, with the point that each point becomes."""
    inverse = np.linalg.inv(lattice)
    images = []
    for k, (rotation, shift) in enumerate(motions):
        moved = points @ rotation.T + shift
        frac = (moved[:, None, :] - points[None, :, :]) @ inverse
        frac[..., :2] -= np.round(frac[..., :2])
        distances = np.linalg.norm(frac @ lattice, axis=2)
        targets = distances.argmin(axis=1)
        if len(points) and distances.min(axis=1).max() < SAME_SITE_ANG and len(set(targets)) == len(points):
            images.append(((rotation, shift) if k else IDENTITY, tuple(int(t) for t in targets)))
    return tuple(images)


def count_per_face(
    n_sites: int,
    *,
    coverage: float | None,
    per_face: int | None,
    supercell: tuple[int, int],
    what: str,
) -> int:
    """Number of sites to fill on a face.

    Raises
    ------
    SiteCountError
        If it is no whole number from 1 to ``n_sites``; the message says which coverage and which supercell would do.
    """
    wanted = per_face if per_face is not None else (coverage if coverage is not None else 1.0) * n_sites
    if abs(wanted - round(wanted)) < 1e-6 and 1 <= round(wanted) <= n_sites:
        return round(wanted)
    if per_face is not None:
        raise SiteCountError(
            f"{per_face} on a face with {n_sites} {what} does not fit; use 1 to {n_sites}, or a larger supercell "
            f"than {supercell[0]}x{supercell[1]}"
        )
    assert coverage is not None
    nearest = min((k / n_sites for k in range(1, n_sites + 1)), key=lambda value: abs(value - coverage))
    factor = cells_for(coverage, n_sites)
    larger = ""
    if factor:
        nx, ny = split_cells(factor)
        larger = f", or the supercell ({supercell[0] * nx}, {supercell[1] * ny})"
    raise SiteCountError(
        f"coverage {coverage:g} of a face with {n_sites} {what} is {wanted:g}, not a whole number from 1 to {n_sites}; "
        f"use {nearest:.4g}{larger}"
    )


def cells_for(coverage: float, n_sites: int) -> int | None:
    """How many in-plane cells make a coverage a whole number of sites; ``None`` if more than 36 would be needed."""
    if not 0.0 < coverage <= 1.0:
        return None
    share = Fraction(coverage).limit_denominator(200) * n_sites
    if abs(float(share) - coverage * n_sites) > 1e-6 or share.denominator > 36:
        return None
    return share.denominator


def split_cells(n_cells: int, lengths: tuple[float, float] = (1.0, 1.0)) -> tuple[int, int]:
    """The factors of a number of cells that make the supercell squarest."""
    pairs = [(k, n_cells // k) for k in range(1, n_cells + 1) if n_cells % k == 0]
    return min(pairs, key=lambda p: (abs(np.log(p[0] * lengths[0] / (p[1] * lengths[1]))), -p[0]))


def choose_sites(
    points: Array,
    is_upper: Sequence[bool],
    counts: tuple[int, int],
    *,
    motions: Sequence[Motion],
    lattice: Array,
    costs: Sequence[float],
    max_choices: int,
) -> tuple[SiteChoice, ...]:
    """Symmetry-distinct choices of sites, the cheapest and most widely spread first.

    Where a motion carries the upper sites to the lower ones and equally many are asked for, the lower face gets the
    images of the upper one.

    Parameters
    ----------
    points
        All sites of both faces, shape (n, 3), angstrom.
    is_upper
        Face of every site.
    counts
        Sites to take on the upper and the lower face.
    motions
        Symmetry operations of the slab.
    lattice
        Rows, angstrom.
    costs
        One per site; smaller is taken first.
    max_choices
        At most so many are returned.
    """
    images = site_images(points, motions, lattice)
    upper = [k for k in range(len(points)) if is_upper[k]]
    lower = [k for k in range(len(points)) if not is_upper[k]]
    flips = []
    if counts[0] == counts[1] and upper and lower:
        flips = [targets for _, targets in images if not is_upper[targets[upper[0]]]]
    distances = _in_plane_distances(points, lattice)
    if flips:
        options = []
        for chosen in _subsets(upper, counts[0], distances, costs):
            # an operation that carries the choice back leaves a slab that is still symmetric
            back = [t for t in flips if {t[t[k]] for k in chosen} == set(chosen)] or flips[:1]
            options += [tuple(sorted((*chosen, *(t[k] for k in chosen)))) for t in back]
    else:
        uppers = list(_subsets(upper, counts[0], distances, costs)) if counts[0] else [()]
        lowers = list(_subsets(lower, counts[1], distances, costs)) if counts[1] else [()]
        n_rows = max(1, MAX_SELECTIONS // max(1, len(lowers)))
        options = [tuple(sorted((*u, *v))) for u in uppers[:n_rows] for v in lowers]
    seen: set[tuple[int, ...]] = set()
    distinct = []
    for option in options:
        key = min((tuple(sorted(t[k] for k in option)) for _, t in images), default=option)
        if key not in seen:
            seen.add(key)
            distinct.append(option)
    distinct.sort(key=lambda s: (round(sum(costs[k] for k in s), 2), -_spread(s, distances), s))
    return tuple(
        SiteChoice(s, tuple(image for image in images if {image[1][k] for k in s} == set(s)))
        for s in distinct[:max_choices]
    )


def _subsets(sites: Sequence[int], n: int, distances: Array, costs: Sequence[float]) -> Sequence[tuple[int, ...]]:
    if n > len(sites):
        return []
    if comb(len(sites), n) <= MAX_SELECTIONS:
        return list(combinations(sites, n))
    found = []
    for start in sites:
        chosen = [start]
        while len(chosen) < n:
            left = [k for k in sites if k not in chosen]
            chosen.append(max(left, key=lambda k: (min(distances[k, c] for c in chosen) - costs[k], -k)))
        found.append(tuple(sorted(chosen)))
    return list(dict.fromkeys(found))


def _in_plane_distances(points: Array, lattice: Array) -> Array:
    shifts = np.array([i * lattice[0] + j * lattice[1] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    frac = (points[:, None, :] - points[None, :, :]) @ np.linalg.inv(lattice)
    frac[..., :2] -= np.round(frac[..., :2])
    vectors = (frac @ lattice)[:, :, None, :] + shifts
    shortest: Array = np.linalg.norm(vectors, axis=3).min(axis=2)
    return shortest


def _spread(sites: Sequence[int], distances: Array) -> float:
    return round(min((float(distances[i, j]) for i, j in combinations(sites, 2)), default=0.0), 2)


def least_supercell(lattice: Array, width_ang: float) -> tuple[int, int]:
    """The smallest in-plane repeats that make the cell at least so wide between its edges."""
    widths = 1.0 / np.linalg.norm(np.linalg.inv(lattice)[:, :2], axis=0)
    return max(1, ceil(width_ang / widths[0] - 1e-6)), max(1, ceil(width_ang / widths[1] - 1e-6))
