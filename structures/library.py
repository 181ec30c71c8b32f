"""The project's own crystals: published facts, built and checked."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from .crystal_checks import BondStatistics, CrystalCheck, CrystalDataError, compare_with_facts
from .disorder import DisorderedSite, DisorderedStructure, SiteSpecies
from .errors import SurfshiftError, nearest
from .vocabulary import AtomicStructure, Crystal, CrystalSite, as_tensor3

if TYPE_CHECKING:
    from numpy.typing import NDArray

MERGE_ANG = 0.01
"""Images of a site that are closer are one atom on a special position."""

__all__ = [
    "BondStatistics",
    "CrystalCheck",
    "CrystalDataError",
    "DisorderedCrystalError",
    "UnknownCrystalError",
    "build_crystal",
    "build_disordered",
    "check_crystal",
    "crystal_names",
    "disordered_crystal_names",
    "load_crystal",
]


class UnknownCrystalError(SurfshiftError):
    """A crystal name that the library does not have."""


class DisorderedCrystalError(SurfshiftError):
    """A crystal with partial occupancies where an ordered one is needed."""


@cache
def _entries() -> dict[str, dict[str, Any]]:
    import yaml

    entries: dict[str, dict[str, Any]] = {}
    for file in sorted((files(__package__) / "data" / "crystals").iterdir(), key=lambda item: item.name):
        if file.name.endswith(".yaml"):
            # the C loader is ten times faster, where libyaml is there
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            entries.update(yaml.load(file.read_text(encoding="utf-8"), Loader=loader))
    return entries


def _is_disordered(entry: dict[str, Any]) -> bool:
    return any(site.get("occupancy", 1.0) != 1.0 for site in entry["sites"])


def crystal_names() -> tuple[str, ...]:
    """Names of all ordered crystals of the library, sorted; ``build_crystal`` builds each of them."""
    return tuple(sorted(name for name, entry in _entries().items() if not _is_disordered(entry)))


def disordered_crystal_names() -> tuple[str, ...]:
    """Names of the crystals with partial occupancies, sorted; they are ordered before use."""
    return tuple(sorted(name for name, entry in _entries().items() if _is_disordered(entry)))


def load_crystal(name: str) -> Crystal:
    """The published facts of a crystal, ordered or not.

    ``LATP_x0.15`` and the like name any composition of that family between 0 and 0.5.

    Raises
    ------
    UnknownCrystalError
        If the library has no crystal of that name; the message names the nearest one.
    """
    entry = _entries().get(name)
    if entry is not None:
        return Crystal.model_validate({"name": name, **entry})
    family = re.fullmatch(r"LATP_x(\d+(?:\.\d+)?)", name)
    if family:
        from .families import latp

        return latp(float(family[1]))
    raise UnknownCrystalError(f"no crystal {name!r} in the library; {nearest(name, _entries())}")


def build_crystal(crystal: Crystal) -> AtomicStructure:
    """The conventional cell of an ordered crystal, every site multiplied by the space group, checked.

    Raises
    ------
    CrystalDataError
        If the space group does not accept the cell, its symbol and number disagree, or the cell fails a check of
        ``check_crystal``.
    DisorderedCrystalError
        If the crystal has partial occupancies; the message says how to order it.
    """
    if not crystal.is_ordered:
        sites = ", ".join(f"{s.label} {s.occupancy:g}" for s in crystal.sites if s.occupancy != 1.0)
        raise DisorderedCrystalError(
            f"{crystal.name} has partial occupancies ({sites}) and stands for many ordered cells; make them with "
            "surfshift.structures.ordering.order_structure(build_disordered(crystal))"
        )
    return _checked(crystal)[0].ordered()


def build_disordered(crystal: Crystal) -> DisorderedStructure:
    """The conventional cell of any crystal with its occupancies, checked.

    Raises
    ------
    CrystalDataError
        As for ``build_crystal``.
    """
    return _checked(crystal)[0]


def check_crystal(crystal: Crystal) -> CrystalCheck:
    """Build a crystal and compare it with what is known about it.

    Checked are the composition against the formula and Z, the charge, the density against the
    published one (2 %), overlaps, and the bond-valence sum of every cation (30 %, or what the entry states).

    Raises
    ------
    CrystalDataError
        If any of them fails; the message names all that fail.
    """
    return _checked(crystal)[1]


@cache
def _checked(crystal: Crystal) -> tuple[DisorderedStructure, CrystalCheck]:
    cell = _expand(crystal)
    return cell, compare_with_facts(crystal, cell)


@cache
def _numbers_by_symbol() -> dict[str, int]:
    import spglib

    kinds = [spglib.get_spacegroup_type(hall) for hall in range(1, 531)]
    return {kind.international_short: int(kind.number) for kind in kinds if kind is not None}


@cache
def _operations(number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotations (n, 3, 3) and translations (n, 3) of a space group: origin choice 1, hexagonal axes, unique axis b."""
    import spglib

    kinds = {hall: spglib.get_spacegroup_type(hall) for hall in range(1, 531)}
    hall = next(k for k, kind in kinds.items() if kind is not None and kind.number == number)
    found = spglib.get_symmetry_from_database(hall)
    if found is None:
        raise CrystalDataError(f"spglib has no operations of space group {number}; it cannot be built")
    return np.array(found["rotations"], dtype=np.float64), np.array(found["translations"], dtype=np.float64)


def _expand(crystal: Crystal) -> DisorderedStructure:
    from pymatgen.core.lattice import Lattice

    number = _numbers_by_symbol().get(crystal.space_group)
    if number is None:
        raise CrystalDataError(
            f"{crystal.name}: no space group {crystal.space_group!r}; "
            f"{nearest(crystal.space_group, _numbers_by_symbol())}"
        )
    if number != crystal.space_group_number:
        raise CrystalDataError(
            f"{crystal.name}: {crystal.space_group} is space group {number}, not {crystal.space_group_number}; "
            "correct one of the two"
        )
    rotations, translations = _operations(number)
    lattice = np.array(Lattice.from_parameters(*crystal.cell).matrix)
    metric = lattice @ lattice.T
    if not np.allclose(np.swapaxes(rotations, 1, 2) @ metric @ rotations, metric, rtol=0.0, atol=1e-3 * metric.max()):
        raise CrystalDataError(
            f"{crystal.name}: cannot build {crystal.space_group} with cell {crystal.cell}: its operations do not keep "
            "this cell; correct the space group, the cell or the sites"
        )
    shared: dict[tuple[float, float, float], list[CrystalSite]] = {}
    for site in crystal.sites:
        shared.setdefault(site.xyz, []).append(site)
    sites = []
    for xyz, held in shared.items():
        species = tuple(
            SiteSpecies(element=s.element, oxidation_state=s.oxidation_state, occupancy=s.occupancy) for s in held
        )
        label = "/".join(s.label for s in held)
        images = (rotations @ np.array(xyz) + translations) % 1.0
        kept = np.empty((0, 3))
        for image in images:
            delta = kept - image
            if not (np.linalg.norm((delta - np.round(delta)) @ lattice, axis=1) < MERGE_ANG).any():
                kept = np.vstack([kept, image])
                x, y, z = (float(v) for v in image)
                sites.append(DisorderedSite(label=label, frac_coords=(x, y, z), species=species))
    return DisorderedStructure(name=crystal.name, lattice_ang=as_tensor3(lattice), sites=tuple(sites))
