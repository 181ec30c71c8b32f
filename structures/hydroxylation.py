"""Dissociated water on a dry slab: OH on cations and H on anions whose bond the cut broke."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from math import comb, prod
from typing import TYPE_CHECKING

import numpy as np

from .accepting import as_structure
from .bonding import find_bonds
from .errors import SurfshiftError
from .hydroxyl_groups import AddedAtoms, Image, place_groups, separations
from .regions import tag_regions
from .slabs import DIPOLE_TOLERANCE_E_ANG, distinct_structures, polar_note, slab_dipole
from .symmetry import symmetry_operations
from .terminations import MissingBond, missing_bonds
from .vocabulary import AtomicStructure, Candidate, as_tensor3

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from .accepting import StructureLike

MAX_SELECTIONS = 5000
"""More choices of sites than this are not enumerated."""


class HydroxylationError(SurfshiftError):
    """A slab that cannot take up water as asked."""


class CoverageError(HydroxylationError):
    """A coverage that is not a whole number of hydroxyl groups on each face."""


@dataclass(frozen=True)
class _Selection:
    """Which missing bonds are filled: OH on ``donors``, H on ``acceptors``, and how far the pairs are apart."""

    donors: frozenset[int]
    acceptors: frozenset[int]
    distance_ang: float


def hydroxylate(
    slab: Candidate, bulk: StructureLike, *, coverage: float = 1.0, max_variants: int = 4
) -> tuple[Candidate, ...]:
    """Split water over the bonds that the cut broke: cation-OH and anion-H, such as Al-OH and P-OH.

    Each OH sits where the cation's lost anion was; each H sits on an anion that lost a cation, at the
    anion nearest to the OH it came with. Where symmetry carries one face of the dry slab into the other, both faces
    are treated alike, so that the symmetry stays; otherwise each face gets the same number of molecules.
    On a polar slab whose lost anions and cations lie on different faces, OH goes on the one and H on the other.

    Parameters
    ----------
    slab
        A dry, unrelaxed slab of ``bulk``.
    bulk
        The crystal it was cut from.
    coverage
        Share of the lost cation-anion bonds of each face that carry an OH, above 0 and at most 1.
    max_variants
        At most so many (26 or fewer) symmetry-distinct choices of sites are returned, those with the closest
        pairs first; a note says how many were left out.

    Raises
    ------
    HydroxylationError
        If the slab is decorated or not a slab, has nothing to hydroxylate, or the groups would clash.
    CoverageError
        If the coverage is no whole number of OH per face; the message names the nearest possible one.
    """
    bulk = as_structure(bulk)
    if slab.kind != "slab" or slab.decoration or slab.miller is None:
        raise HydroxylationError(f"{slab.name} is not a dry slab; hydroxylate the undecorated cut")
    dry = slab.structure
    missing = missing_bonds(dry, bulk, slab.miller)
    faces = _pair_faces(dry, missing)
    if not faces or not all(donors and acceptors for donors, acceptors in faces):
        raise HydroxylationError(
            f"{slab.name} has no cation with a lost bond next to an anion with a lost bond; "
            "there is nothing to split water over"
        )
    counts = [_count_for(coverage, min(len(donors), len(acceptors)), slab.name) for donors, acceptors in faces]
    images = _images_of_bonds(dry, missing)
    chosen = _distinct_selections(dry, missing, faces, counts, images)
    built = []
    for selection in chosen[: 4 * max_variants]:
        decoration = place_groups(dry, missing, donors=selection.donors, acceptors=selection.acceptors, images=images)
        if decoration is not None:
            built.append((_decorate(dry, decoration), selection))
    distinct = distinct_structures(built)
    if not distinct:
        raise HydroxylationError(
            f"{slab.name} at coverage {coverage:g}: no arrangement without clashes; lower the coverage"
        )
    n_left_out = max(0, len(distinct) - max_variants) + max(0, len(chosen) - 4 * max_variants)
    kept = distinct[:max_variants]
    letters = "abcdefghijklmnopqrstuvwxyz" if len(kept) > 1 else ""
    return tuple(
        _to_candidate(slab, structure, missing, selection, variant=letters[k : k + 1], n_left_out=n_left_out)
        for k, (structure, selection) in enumerate(kept)
    )


def possible_coverages(slab: Candidate, bulk: StructureLike) -> tuple[float, ...]:
    """The coverages above 0 that ``hydroxylate`` accepts for a dry slab, in rising order.

    Raises
    ------
    HydroxylationError
        If the candidate is not a slab.
    """
    bulk = as_structure(bulk)
    if slab.miller is None:
        raise HydroxylationError(f"{slab.name} is not a slab; give a dry slab")
    faces = _pair_faces(slab.structure, missing_bonds(slab.structure, bulk, slab.miller))
    steps = [{k / n for k in range(1, n + 1)} for d, a in faces if (n := min(len(d), len(a)))]
    return tuple(sorted(set.intersection(*steps))) if steps else ()


def _count_for(coverage: float, n_sites: int, name: str) -> int:
    count = coverage * n_sites
    if not 0.0 < coverage <= 1.0 or abs(count - round(count)) > 1e-6:
        possible = [k / n_sites for k in range(1, n_sites + 1)]
        best = min(possible, key=lambda value: abs(value - coverage))
        raise CoverageError(
            f"coverage {coverage:g} of {name} is {count:g} OH on a face with {n_sites} sites; "
            f"use a whole number of OH, nearest is {best:.4g}"
        )
    return round(count)


def _pair_faces(dry: AtomicStructure, missing: Sequence[MissingBond]) -> list[tuple[list[int], list[int]]]:
    """Numbers of the missing bonds of cations and of anions, face by face; one entry if water must span both faces."""
    heights = dry.cart_coords[:, 2]
    middle = (heights.max() + heights.min()) / 2
    sides: dict[bool, tuple[list[int], list[int]]] = {True: ([], []), False: ([], [])}
    for number, bond in enumerate(missing):
        cation = dry.oxidation_states[bond.atom] > 0
        sides[bool(heights[bond.atom] + bond.vector_ang[2] / 2 > middle)][0 if cation else 1].append(number)
    faces = [side for side in sides.values() if side[0] or side[1]]
    if any(len(donors) != len(acceptors) for donors, acceptors in faces):
        return [([k for side in faces for k in side[0]], [k for side in faces for k in side[1]])]
    return faces


def _images_of_bonds(dry: AtomicStructure, missing: Sequence[MissingBond]) -> list[Image]:
    """Cartesian rotation of every operation of the dry slab, and the missing bond that each missing bond becomes."""
    lattice, inverse = dry.lattice.T, np.linalg.inv(dry.lattice.T)
    frac = np.array(dry.frac_coords)
    images = []
    for rotation, shift in symmetry_operations(dry):
        cartesian = lattice @ rotation @ inverse
        moved = frac @ rotation.T + shift
        targets = []
        for bond in missing:
            delta = frac - moved[bond.atom]
            atom = int(np.argmin(np.linalg.norm((delta - np.round(delta)) @ dry.lattice, axis=1)))
            vector = cartesian @ bond.vector_ang
            targets += [
                k
                for k, other in enumerate(missing)
                if other.atom == atom and np.linalg.norm(other.vector_ang - vector) < 0.05
            ]
        if len(targets) == len(missing):
            images.append((cartesian, targets))
    return images


def _distinct_selections(
    dry: AtomicStructure,
    missing: Sequence[MissingBond],
    faces: Sequence[tuple[list[int], list[int]]],
    counts: Sequence[int],
    images: Sequence[Image],
) -> list[_Selection]:
    distances = _pair_distances(dry, missing)
    swap = next((targets for _, targets in images if len(faces) == 2 and targets[faces[0][0][0]] in faces[1][0]), None)
    enumerated = faces[:1] if swap is not None else faces
    _refuse_too_many(enumerated, counts)
    per_face = [list(_face_selections(face, n, distances)) for face, n in zip(enumerated, counts, strict=False)]
    if swap is not None:
        options = [_join((s, _move(s, swap))) for s in per_face[0]]
    else:
        options = [_join(combination) for combination in product(*per_face)]
    best: dict[tuple[tuple[int, ...], tuple[int, ...]], _Selection] = {}
    for option in options:
        moved = (_move(option, targets) for _, targets in images)
        key = min((tuple(sorted(s.donors)), tuple(sorted(s.acceptors))) for s in moved)
        if key not in best:
            best[key] = option
    return sorted(best.values(), key=lambda s: (round(s.distance_ang, 3), sorted(s.donors), sorted(s.acceptors)))


def _refuse_too_many(faces: Sequence[tuple[list[int], list[int]]], counts: Sequence[int]) -> None:
    """Refuse a coverage with more choices of sites than are enumerated, before any is made."""

    def choices(share: float) -> int:
        return prod(comb(len(donors), round(share * min(len(donors), len(acceptors)))) for donors, acceptors in faces)

    n_sites = min(len(faces[0][0]), len(faces[0][1]))
    asked = counts[0] / n_sites
    if choices(asked) > MAX_SELECTIONS:
        shares = [k / n_sites for k in range(1, n_sites + 1)]
        fitting = [f"{share:.4g}" for share in shares if choices(share) <= MAX_SELECTIONS]
        raise HydroxylationError(
            f"coverage {asked:.4g} has {choices(asked)} choices of sites, more than the {MAX_SELECTIONS} that are "
            f"compared; use a smaller in-plane cell or one of the coverages {', '.join(fitting)}"
        )


def _face_selections(face: tuple[list[int], list[int]], n: int, distances: NDArray[np.float64]) -> Iterator[_Selection]:
    from scipy.optimize import linear_sum_assignment

    donors, acceptors = face
    for chosen in combinations(donors, n):
        costs = distances[np.ix_(chosen, acceptors)]
        rows, columns = linear_sum_assignment(costs)
        taken = frozenset(acceptors[k] for k in columns)
        yield _Selection(frozenset(chosen), taken, float(costs[rows, columns].sum()))


def _move(selection: _Selection, targets: Sequence[int]) -> _Selection:
    return _Selection(
        frozenset(targets[k] for k in selection.donors),
        frozenset(targets[k] for k in selection.acceptors),
        selection.distance_ang,
    )


def _join(selections: Sequence[_Selection]) -> _Selection:
    return _Selection(
        frozenset().union(*(s.donors for s in selections)),
        frozenset().union(*(s.acceptors for s in selections)),
        sum(s.distance_ang for s in selections),
    )


def _pair_distances(dry: AtomicStructure, missing: Sequence[MissingBond]) -> NDArray[np.float64]:
    """Distance of the place of every lost neighbour to the atom of every missing bond, shape (n, n), angstrom."""
    coords = dry.cart_coords
    places = np.array([coords[bond.atom] + bond.vector_ang for bond in missing])
    atoms = np.array([coords[bond.atom] for bond in missing])
    return separations(dry, places, atoms)


def _decorate(dry: AtomicStructure, decoration: AddedAtoms) -> AtomicStructure:
    """The slab with the new atoms at its end, its cell made higher so that the vacuum stays."""
    positions = np.vstack([dry.cart_coords, decoration.positions_ang])
    extent_before = np.ptp(dry.cart_coords[:, 2])
    lattice = dry.lattice.copy()
    lattice[2, 2] += np.ptp(positions[:, 2]) - extent_before
    positions[:, 2] += lattice[2, 2] / 2 - (positions[:, 2].max() + positions[:, 2].min()) / 2
    frac = positions @ np.linalg.inv(lattice)
    frac[:, :2] %= 1.0
    charge = {"O": -2.0, "H": 1.0}
    return AtomicStructure(
        lattice_ang=as_tensor3(lattice),
        elements=dry.elements + decoration.elements,
        frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in frac),
        oxidation_states=dry.oxidation_states + tuple(charge[e] for e in decoration.elements),
        periodic=dry.periodic,
    )


def _to_candidate(
    slab: Candidate,
    structure: AtomicStructure,
    missing: Sequence[MissingBond],
    selection: _Selection,
    *,
    variant: str,
    n_left_out: int,
) -> Candidate:
    dry = slab.structure
    filled = selection.donors | selection.acceptors
    exposed = {bond.atom for bond in missing}
    still_open = {bond.atom for k, bond in enumerate(missing) if k not in filled}
    bonds = find_bonds(dry)
    hydroxyl = sorted(f"{dry.elements[missing[k].atom]}{missing[k].atom}-OH" for k in selection.donors)
    acid = sorted(
        f"{dry.elements[bonds[atom][0].j] if bonds[atom] else ''}-{dry.elements[atom]}{atom}-H"
        for atom in (missing[k].atom for k in selection.acceptors)
    )
    dipole = slab_dipole(structure)
    notes = tuple(note for note in slab.notes if not note.startswith("polar"))
    if abs(dipole) >= DIPOLE_TOLERANCE_E_ANG:
        notes += (polar_note(dipole),)
    if n_left_out:
        notes += (f"{n_left_out} further symmetry-distinct arrangements at this coverage were left out",)
    n_water = len(selection.donors)
    return Candidate(
        name=f"{slab.name}+{n_water}H2O{variant}",
        kind="slab",
        structure=structure,
        parent=slab.parent,
        miller=slab.miller,
        termination=slab.termination,
        decoration=f"{n_water} H2O split into {', '.join(hydroxyl)} and {', '.join(acid)}",
        regions=tag_regions(structure, exposed=exposed, added=range(len(dry), len(structure))),
        area_ang2=slab.area_ang2,
        dipole_e_ang=dipole,
        n_undercoordinated=len(still_open),
        notes=notes,
    )
