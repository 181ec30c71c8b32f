"""What counts as a structure: this project's own, ase's atoms, or pymatgen's structures."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, Union

from .errors import SurfshiftError
from .vocabulary import AtomicStructure

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core.structure import Structure

StructureLike: TypeAlias = Union[AtomicStructure, "Atoms", "Structure"]


class NoStructureError(SurfshiftError, TypeError):
    """An object that is no structure."""


def as_structure(given: StructureLike, *, name: str = "structure") -> AtomicStructure:
    """A structure with oxidation states, whichever of the three kinds was given.

    Parameters
    ----------
    given
        A structure of this project, which is returned as it is; ase atoms with a cell, whose initial charges are the
        oxidation states if there are any; or an ordered pymatgen structure. States that are missing are found as
        ``read_structure`` finds them.
    name
        What messages call it.

    Raises
    ------
    NoStructureError
        If it is none of these.
    PartialOccupancyError, OverlapError, OxidationStateError, StructureFileError
        As ``read_structure``.
    """
    if isinstance(given, AtomicStructure):
        return given
    from .importing import from_ase, from_pymatgen

    kinds = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(given).__mro__}
    if "ase.Atoms" in kinds:
        return from_ase(given, name=name)  # type: ignore[arg-type]
    if kinds & {"pymatgen.Structure", "pymatgen.IStructure"}:
        return from_pymatgen(given, name=name)  # type: ignore[arg-type]
    raise NoStructureError(
        f"{type(given).__name__} is no structure; give ase Atoms, a pymatgen Structure or an AtomicStructure, or read "
        "a file with read_structure"
    )
