"""Where the atoms of hydroxyl groups go: OH in place of a lost anion, H on an anion that lost a cation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .accepting import as_structure
from .bonding import bond_valence_length, find_bonds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from .accepting import StructureLike
    from .terminations import MissingBond
    from .vocabulary import AtomicStructure

OH_LENGTH_ANG = 0.97
"""O-H distance of a hydroxyl group, angstrom."""

H_LENGTH_ANG = {"O": OH_LENGTH_ANG, "N": 1.02, "S": 1.35, "F": 0.93, "Cl": 1.29, "Br": 1.43}
"""H-X distances as placed, angstrom: those of the free hydrides, rounded."""

HYDROXYL_ANGLE_DEG = 115.0
"""Angle cation-O-H of a new hydroxyl group, degrees; a relaxation refines it."""

MIN_CONTACT_ANG = {"O": 1.45, "H": 1.5, "cation": 1.7}
"""Least distance of a new H to an atom it is not bonded to, angstrom; 1.45 to O is a very strong hydrogen bond."""

ROOMY_CONTACT_ANG = {"O": 1.75, "H": 2.0, "cation": 2.2}
"""Distances from which on more room is no advantage for a new H, angstrom."""

MIN_ANION_CONTACT_ANG = 2.2
"""Least distance of a new O to another anion, angstrom; O-O in a PO4 group is 2.5."""

N_TORSIONS = 36
"""Directions of O-H that are tried around the cation-O axis."""

Image = tuple["NDArray[np.float64]", list[int]]
"""Cartesian rotation of a symmetry operation, and the missing bond that each missing bond becomes."""


@dataclass(frozen=True)
class AddedAtoms:
    """Atoms added to a slab, positions (n, 3) in its Cartesian frame, angstrom."""

    elements: tuple[str, ...]
    positions_ang: NDArray[np.float64]


def separations(
    structure: StructureLike, first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Shortest distances between positions (n, 3) and (m, 3), shape (n, m), over the in-plane lattice, angstrom."""
    structure = as_structure(structure)
    shifts = np.array([i * structure.lattice[0] + j * structure.lattice[1] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    frac = (first[:, None, :] - second[None, :, :]) @ np.linalg.inv(structure.lattice)
    frac[..., :2] -= np.round(frac[..., :2])
    vectors = (frac @ structure.lattice)[:, :, None, :] + shifts
    shortest: NDArray[np.float64] = np.linalg.norm(vectors, axis=3).min(axis=2)
    return shortest


def place_groups(
    dry: StructureLike,
    missing: Sequence[MissingBond],
    *,
    donors: Collection[int],
    acceptors: Collection[int],
    images: Sequence[Image],
) -> AddedAtoms | None:
    """Positions of the new atoms, alike on sites that the symmetry kept by the choice makes equivalent.

    H points to where the lost cation was (on an anion) or out of the slab (on a new OH), as far as the angle at O
    and its neighbours allow; strong hydrogen bonds are allowed, closer contacts are not.

    Parameters
    ----------
    dry
        The slab.
    missing
        Its missing bonds.
    donors, acceptors
        Numbers of the missing bonds that get OH (on a cation) and H (on an anion).
    images
        The slab's symmetry operations.

    Returns
    -------
    The new O first, then the new H; ``None`` if some atom has no room.
    """
    dry = as_structure(dry)
    kept = [
        (rotation, targets)
        for rotation, targets in images
        if {targets[k] for k in donors} == set(donors) and {targets[k] for k in acceptors} == set(acceptors)
    ]
    coords = dry.cart_coords
    oxygen = {k: coords[missing[k].atom] + _vector_to_oxygen(dry, missing[k]) for k in sorted(donors)}
    others = np.vstack([coords, *oxygen.values()])
    kinds = [
        "O" if q < 0 else e if e == "H" else "cation" for e, q in zip(dry.elements, dry.oxidation_states, strict=True)
    ]
    kinds += ["O"] * len(oxygen)
    if _anions_clash(dry, np.array(list(oxygen.values())), others, kinds):
        return None
    bonds = find_bonds(dry)
    hydrogen: dict[int, NDArray[np.float64]] = {}
    for k in [*sorted(acceptors), *sorted(donors)]:
        if k in hydrogen:
            continue
        atom, vector = missing[k].atom, missing[k].vector_ang
        if k in oxygen:
            to_cation, wanted = -vector, np.array([0.0, 0.0, np.sign(vector[2]) or 1.0])
        else:
            to_cation = bonds[atom][0].vector_ang if bonds[atom] else -vector
            wanted = vector / np.linalg.norm(vector)
        orbit: dict[int, NDArray[np.float64]] = {}
        for rotation, targets in kept:
            orbit.setdefault(targets[k], rotation)
        orbit[k] = np.eye(3)
        origins = np.array([oxygen[t] if t in oxygen else coords[missing[t].atom] for t in orbit])
        anion = "O" if k in oxygen else dry.elements[atom]
        length = H_LENGTH_ANG[anion] if anion in H_LENGTH_ANG else bond_valence_length("H", anion)
        best: tuple[float, NDArray[np.float64]] | None = None
        for direction in _directions(to_cation, wanted):
            trial = origins + length * np.array([rotation @ direction for rotation in orbit.values()])
            room = _room(dry, trial, origins, others, kinds)
            score = min(room, 1.0) + 0.2 * float(direction @ wanted)
            if room > 0.0 and (best is None or score > best[0] + 1e-9):
                best = (score, trial)
        if best is None:
            return None
        hydrogen.update(zip(orbit, best[1], strict=True))
        others = np.vstack([others, best[1]])
        kinds += ["H"] * len(best[1])
    positions = [*oxygen.values(), *(hydrogen[k] for k in sorted(hydrogen))]
    return AddedAtoms(elements=("O",) * len(oxygen) + ("H",) * len(hydrogen), positions_ang=np.array(positions))


def _vector_to_oxygen(dry: AtomicStructure, lost: MissingBond) -> NDArray[np.float64]:
    """From a cation to the O that replaces the anion it lost: in its place, at the length of a bond as strong."""
    if lost.partner == "O":
        return lost.vector_ang
    cation = dry.elements[lost.atom]
    length = float(np.linalg.norm(lost.vector_ang))
    shorter = bond_valence_length(cation, "O") - bond_valence_length(cation, lost.partner)
    return lost.vector_ang * ((length + shorter) / length)


def _anions_clash(
    dry: AtomicStructure, new: NDArray[np.float64], others: NDArray[np.float64], kinds: Sequence[str]
) -> bool:
    distances = separations(dry, new, others[np.array([kind == "O" for kind in kinds])])
    n_new = len(new)
    distances[np.arange(n_new), distances.shape[1] - n_new + np.arange(n_new)] = np.inf
    return bool(distances.min() < MIN_ANION_CONTACT_ANG)


def _directions(to_cation: NDArray[np.float64], wanted: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Unit vectors of O-H at the hydroxyl angle from the cation, the one nearest to ``wanted`` first."""
    axis = to_cation / np.linalg.norm(to_cation)
    across = wanted - (wanted @ axis) * axis
    if np.linalg.norm(across) < 1e-3:
        across = np.cross(axis, [1.0, 0.0, 0.0] if abs(axis[0]) < 0.9 else [0.0, 1.0, 0.0])
    across /= np.linalg.norm(across)
    third = np.cross(axis, across)
    angle = np.radians(HYDROXYL_ANGLE_DEG)
    for torsion in 2 * np.pi * np.arange(N_TORSIONS) / N_TORSIONS:
        yield np.cos(angle) * axis + np.sin(angle) * (np.cos(torsion) * across + np.sin(torsion) * third)


def _room(
    dry: AtomicStructure,
    hydrogens: NDArray[np.float64],
    origins: NDArray[np.float64],
    others: NDArray[np.float64],
    kinds: Sequence[str],
) -> float:
    """How free new H atoms are: 0 at the closest allowed contact, 1 and more where nothing is near."""
    least = np.array([MIN_CONTACT_ANG[kind] for kind in kinds])
    roomy = np.array([ROOMY_CONTACT_ANG[kind] for kind in kinds])
    distances = separations(dry, hydrogens, others)
    distances[separations(dry, origins, others) < 1e-3] = np.inf
    room = float(((distances - least) / (roomy - least)).min())
    among = separations(dry, hydrogens, hydrogens) + np.diag([np.inf] * len(hydrogens))
    span = ROOMY_CONTACT_ANG["H"] - MIN_CONTACT_ANG["H"]
    return min(room, float((among.min() - MIN_CONTACT_ANG["H"]) / span))
