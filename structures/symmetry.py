"""Sites that symmetry makes equivalent, with the rotation that carries a tensor from one to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import model_validator

from .accepting import as_structure
from .vocabulary import Frozen, Tensor3, as_tensor3

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from .accepting import StructureLike


class SiteOrbit(Frozen):
    """Atoms that symmetry makes equivalent.

    ``rotations[k]`` is the Cartesian rotation (possibly improper) that carries atom
    ``atom_indices[0]`` to atom ``atom_indices[k]``; a tensor T of the first atom is R T R^T there.
    """

    element: str
    atom_indices: tuple[int, ...]
    rotations: tuple[Tensor3, ...]

    @model_validator(mode="after")
    def _one_rotation_per_atom(self) -> Self:
        if not len(self.atom_indices) == len(self.rotations) >= 1:
            raise ValueError(f"{len(self.atom_indices)} atoms and {len(self.rotations)} rotations; one each is needed")
        return self

    def expand(self, tensor: NDArray[np.float64]) -> tuple[Tensor3, ...]:
        """Tensors of all atoms of the orbit from the (3, 3) tensor of its first atom."""
        return tuple(as_tensor3(np.array(r) @ tensor @ np.array(r).T) for r in self.rotations)


def symmetry_operations(
    structure: StructureLike, *, tolerance_ang: float = 0.01
) -> tuple[tuple[NDArray[np.int64], NDArray[np.float64]], ...]:
    """Rotations (3, 3) and translations (3,) of the space group, both for fractional coordinates as columns.

    Raises
    ------
    ValueError
        If spglib finds no symmetry at all, which means the structure is not a valid cell.
    """
    structure = as_structure(structure)
    import spglib

    numbers = [structure.elements.index(e) for e in structure.elements]
    cell = (structure.lattice_ang, structure.frac_coords, numbers)
    found = spglib.get_symmetry(cell, symprec=tolerance_ang)
    if found is None:
        raise ValueError(f"spglib found no symmetry for {structure.formula}; the cell or the positions are not valid")
    return tuple(zip(found["rotations"], found["translations"], strict=True))


def distinct_sites(
    structure: StructureLike, *, elements: Collection[str] | None = None, tolerance_ang: float = 0.01
) -> tuple[SiteOrbit, ...]:
    """Symmetry-distinct sites, in the order of their first atom.

    Parameters
    ----------
    structure
        Any periodic structure, of ase and pymatgen too; a slab's vacuum is part of its cell.
    elements
        Only sites of these elements; all by default.
    tolerance_ang
        How far an atom may be from its symmetric place.

    Raises
    ------
    ValueError
        If spglib finds no symmetry at all, which means the structure is not a valid cell.
    """
    structure = as_structure(structure)
    operations = symmetry_operations(structure, tolerance_ang=tolerance_ang)
    lattice, inverse = structure.lattice.T, np.linalg.inv(structure.lattice.T)
    frac = np.array(structure.frac_coords)
    members: dict[int, dict[int, Tensor3]] = {}
    first_of: dict[int, int] = {}
    for index, element in enumerate(structure.elements):
        if index in first_of or (elements is not None and element not in elements):
            continue
        members[index] = {}
        for rotation, translation in operations:
            image = rotation @ frac[index] + translation
            delta = frac - image
            distances = np.linalg.norm((delta - np.round(delta)) @ structure.lattice, axis=1)
            target = int(np.argmin(distances))
            if target not in members[index]:
                members[index][target] = as_tensor3(lattice @ rotation @ inverse)
                first_of[target] = index
    return tuple(
        SiteOrbit(
            element=structure.elements[index],
            atom_indices=(index, *sorted(set(orbit) - {index})),
            rotations=(orbit[index], *(orbit[k] for k in sorted(set(orbit) - {index}))),
        )
        for index, orbit in members.items()
    )
