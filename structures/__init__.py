"""Crystals, slabs, terminations and decorations: the structures a study can propose.

The names below are what most scripts need; they are imported from their modules when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .accepting import as_structure
    from .enumeration import bulk_candidate, enumerate_surfaces
    from .importing import from_ase, from_pymatgen, read_structure
    from .library import build_crystal, crystal_names, load_crystal
    from .slabs import cut_slabs
    from .symmetry import distinct_sites
    from .vocabulary import AtomicStructure, Candidate, Crystal, Region

__all__ = [
    "AtomicStructure",
    "Candidate",
    "Crystal",
    "Region",
    "as_structure",
    "build_crystal",
    "bulk_candidate",
    "crystal_names",
    "cut_slabs",
    "distinct_sites",
    "enumerate_surfaces",
    "from_ase",
    "from_pymatgen",
    "load_crystal",
    "read_structure",
]

_HOMES = {
    "accepting": ("as_structure",),
    "enumeration": ("bulk_candidate", "enumerate_surfaces"),
    "importing": ("from_ase", "from_pymatgen", "read_structure"),
    "library": ("build_crystal", "crystal_names", "load_crystal"),
    "slabs": ("cut_slabs",),
    "symmetry": ("distinct_sites",),
    "vocabulary": ("AtomicStructure", "Candidate", "Crystal", "Region"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
