"""Proof that the atoms of a file are the atoms of a structure, and which is which."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from .errors import WrongAtomOrderError, WrongStructureError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...structures.vocabulary import Vector3

MAX_STRAIN = 0.01
"""Lattices that differ by more than this, relative, are different cells."""


class Atoms(Protocol):
    """What is compared: an ``AtomicStructure``, a ``PeriodicTensors`` or a ``PwRun``."""

    @property
    def lattice(self) -> NDArray[np.float64]:
        """Lattice vectors as rows, shape (3, 3), angstrom."""

    @property
    def elements(self) -> tuple[str, ...]:
        """One symbol per atom."""

    @property
    def frac_coords(self) -> tuple[Vector3, ...]:
        """Fractional coordinates, one per atom."""


class AtomMap(NamedTuple):
    """Which atom of a file is which atom of a structure.

    Attributes
    ----------
    order
        ``order[i]`` is the index in the file of atom ``i`` of the structure.
    rotation
        Matrix (3, 3) that turns a Cartesian tensor of the file into the structure's frame: R T R^t.
    largest_distance_ang
        Largest distance of an atom from its partner.
    """

    order: tuple[int, ...]
    rotation: NDArray[np.float64]
    largest_distance_ang: float

    @property
    def is_identity(self) -> bool:
        """Whether the order is the same."""
        return self.order == tuple(range(len(self.order)))


def match_atoms(structure: Atoms, found: Atoms, *, tolerance_ang: float = 0.02, name: str = "the file") -> AtomMap:
    """Map the atoms of a file one to one onto those of a structure, by element and position in the cell.

    The cell may be rotated, since programs choose their own axes; it may not be another choice of lattice vectors,
    and the origin may not be shifted.

    Parameters
    ----------
    structure
        What was to be computed.
    found
        What the file says was computed.
    tolerance_ang
        Largest distance between partners, angstrom.

    Raises
    ------
    WrongStructureError
        If composition or cell differ.
    WrongAtomOrderError
        If an atom has no partner within the tolerance, or two have the same.
    """
    _same_composition(structure, found, name)
    rotation = _rotation(structure.lattice, found.lattice, name)
    target, source = np.array(structure.frac_coords), np.array(found.frac_coords)
    metric = 0.5 * (structure.lattice + found.lattice @ rotation.T)
    wanted, given = np.array(structure.elements), np.array(found.elements)
    order = np.full(len(target), -1)
    distances = np.zeros(len(target))
    for element in sorted(set(structure.elements)):
        rows, columns = np.flatnonzero(wanted == element), np.flatnonzero(given == element)
        for row in rows:
            delta = source[columns] - target[row]
            apart = np.linalg.norm((delta - np.round(delta)) @ metric, axis=1)
            nearest = int(np.argmin(apart))
            if not apart[nearest] <= tolerance_ang:
                raise WrongAtomOrderError(
                    f"{name}: no {element} within {tolerance_ang} angstrom of atom {row} of the structure (nearest: "
                    f"{apart[nearest]:.3f}); {WrongAtomOrderError.reaction}, or raise tolerance_ang"
                )
            order[row], distances[row] = columns[nearest], apart[nearest]
    repeated = [atom for atom, count in Counter(order.tolist()).items() if count > 1]
    if repeated:
        raise WrongAtomOrderError(
            f"{name}: its atom {repeated[0]} is the nearest to more than one atom of the structure; lower tolerance_ang"
        )
    return AtomMap(tuple(int(k) for k in order), rotation, float(distances.max()))


def _same_composition(structure: Atoms, found: Atoms, name: str) -> None:
    wanted, given = Counter(structure.elements), Counter(found.elements)
    if wanted != given:
        raise WrongStructureError(
            f"{name} is for {_formula(given)}, the structure is {_formula(wanted)}; {WrongStructureError.reaction}"
        )


def _formula(counts: Counter[str]) -> str:
    return " ".join(f"{element}{count}" for element, count in sorted(counts.items()))


def _rotation(wanted: NDArray[np.float64], given: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Rotation that carries Cartesian columns of the file's frame to the structure's frame."""
    # columns are vectors: wanted^t = R given^t
    deformation = wanted.T @ np.linalg.inv(given.T)
    left, stretch, right = np.linalg.svd(deformation)
    if np.abs(stretch - 1.0).max() > MAX_STRAIN or np.linalg.det(deformation) < 0.0:
        lengths = ", ".join(f"{x:.3f}" for x in np.linalg.norm(given, axis=1))
        expected = ", ".join(f"{x:.3f}" for x in np.linalg.norm(wanted, axis=1))
        raise WrongStructureError(
            f"{name} has another cell (lengths {lengths} angstrom, expected {expected}, or other angles or "
            f"handedness); {WrongStructureError.reaction}"
        )
    rotation: NDArray[np.float64] = left @ right
    return rotation
