"""Structures of other packages, taken wherever this project's own are: ase atoms and pymatgen structures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, Union

from .disorder import DisorderedStructure
from .errors import SurfshiftError
from .vocabulary import AtomicStructure

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core.structure import Structure

StructureLike: TypeAlias = Union[AtomicStructure, "Atoms", "Structure"]
"""What every public function takes for a structure."""

DisorderedLike: TypeAlias = Union[DisorderedStructure, AtomicStructure, "Atoms", "Structure"]
"""What every public function takes for a crystal with partial occupancies."""


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

    match _package(given):
        case "ase":
            return from_ase(given, name=name)  # type: ignore[arg-type]
        case "pymatgen":
            return from_pymatgen(given, name=name)  # type: ignore[arg-type]
    raise NoStructureError(
        f"{type(given).__name__} is no structure; give ase Atoms, a pymatgen Structure or an AtomicStructure, or read "
        "a file with read_structure"
    )


def as_disordered(given: DisorderedLike, *, name: str = "structure") -> DisorderedStructure:
    """A crystal with or without partial occupancies, whichever kind was given.

    Parameters
    ----------
    given
        A disordered structure of this project, which is returned as it is; a pymatgen structure, the sites of which may
        be shared or partly empty; or whatever ``as_structure`` takes, every site of which is full.
    name
        What messages call it.

    Raises
    ------
    NoStructureError
        If it is none of these.
    OverlapError, OxidationStateError, StructureFileError
        As ``read_disordered``.
    """
    if isinstance(given, DisorderedStructure):
        return given
    if _package(given) == "pymatgen":
        from .importing import disordered_from_pymatgen

        return disordered_from_pymatgen(given, name=name)  # type: ignore[arg-type]
    return DisorderedStructure.from_pymatgen(as_structure(given, name=name).to_pymatgen(), name=name)


def as_pymatgen(given: StructureLike) -> Structure:
    """A pymatgen structure; one that is given is returned as it is, whether or not it has oxidation states."""
    return given if _package(given) == "pymatgen" else as_structure(given).to_pymatgen()  # type: ignore[return-value]


def _package(given: Any) -> str:
    """Which package a structure comes from; ase and pymatgen are not imported for it."""
    kinds = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(given).__mro__}
    if "ase.Atoms" in kinds:
        return "ase"
    return "pymatgen" if kinds & {"pymatgen.Structure", "pymatgen.IStructure"} else ""
