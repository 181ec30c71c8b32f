"""Candidates of a study: bulk phases, and every distinct dry and hydroxylated surface of a facet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .accepting import as_structure
from .hydroxylation import CoverageError, hydroxylate, possible_coverages
from .library import build_crystal, load_crystal
from .slabs import AtomBudgetError, cut_slabs
from .vocabulary import Candidate, Region

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .accepting import StructureLike


__all__ = ["AtomBudgetError", "bulk_candidate", "cover_slabs", "enumerate_surfaces"]


def bulk_candidate(crystal: str | StructureLike, *, name: str = "") -> Candidate:
    """The bulk phase of a library crystal or of a structure, as a candidate.

    Parameters
    ----------
    crystal
        Name of a library crystal, or a structure, of ase and pymatgen too.
    name
        Name of the candidate; by default that of the crystal, or the formula of the structure.

    Raises
    ------
    UnknownCrystalError
        If the library has no crystal of that name.
    """
    if isinstance(crystal, str):
        structure, parent = build_crystal(load_crystal(crystal)), crystal
    else:
        structure = as_structure(crystal)
        parent = name or structure.formula
    return Candidate(
        name=name or parent,
        kind="bulk",
        structure=structure,
        parent=parent,
        regions=(Region.BULK,) * len(structure),
    )


def enumerate_surfaces(
    bulk: StructureLike,
    parent: str,
    miller: Sequence[int],
    *,
    thickness_ang: float,
    vacuum_ang: float = 15.0,
    hydroxylation: Sequence[float] = (0.0, 1.0),
    max_atoms: int = 200,
    keep_polar: bool = False,
    reconstruct: bool = False,
    min_width_ang: float = 0.0,
    orthogonal: bool = False,
) -> tuple[Candidate, ...]:
    """Symmetry-distinct terminations of a facet, each dry and with water split over it.

    Parameters
    ----------
    bulk, parent
        The crystal and the name that the candidates' names begin with.
    miller, thickness_ang, vacuum_ang, keep_polar, reconstruct, min_width_ang, orthogonal
        As in ``cut_slabs``.
    hydroxylation
        Coverages, as in ``hydroxylate``; 0.0 is the dry slab. A coverage that fits some terminations only is
        used on those.
    max_atoms
        Largest number of atoms of a candidate.

    Returns
    -------
    Candidates with distinct names, termination by termination, coverages in the given order.

    Raises
    ------
    AtomBudgetError
        If a slab, with its water, has more than ``max_atoms`` atoms; nothing is dropped silently.
    CoverageError
        If a coverage fits no termination at all.
    """
    bulk = as_structure(bulk)
    slabs = cut_slabs(
        bulk,
        miller,
        thickness_ang=thickness_ang,
        vacuum_ang=vacuum_ang,
        parent=parent,
        keep_polar=keep_polar,
        reconstruct=reconstruct,
        min_width_ang=min_width_ang,
        orthogonal=orthogonal,
        max_atoms=max_atoms,
    )
    return cover_slabs(slabs, bulk, hydroxylation=hydroxylation, max_atoms=max_atoms)


def cover_slabs(
    slabs: Sequence[Candidate],
    bulk: StructureLike,
    *,
    hydroxylation: Sequence[float] = (0.0, 1.0),
    max_atoms: int = 200,
) -> tuple[Candidate, ...]:
    """Dry slabs of one facet, each as it is and with water split over it; see ``enumerate_surfaces``.

    Raises
    ------
    AtomBudgetError, CoverageError
    """
    bulk = as_structure(bulk)
    if not hydroxylation:
        raise CoverageError("no coverage was given; use 0.0 for the dry surface, 1.0 for the fully hydroxylated one")
    possible = {slab.name: possible_coverages(slab, bulk) for slab in slabs}
    for coverage in hydroxylation:
        if coverage and not any(_fits(coverage, values) for values in possible.values()):
            facet = f"{slabs[0].parent}{slabs[0].miller}"
            known = sorted({value for values in possible.values() for value in values})
            if not known:
                raise CoverageError(f"{facet} has no broken bonds to split water over; use 0.0")
            best = min(known, key=lambda value: abs(value - coverage))
            raise CoverageError(
                f"coverage {coverage:g} is no whole number of OH on any termination of {facet}; nearest is {best:.4g}"
            )
    candidates: list[Candidate] = []
    for slab in slabs:
        for coverage in dict.fromkeys(hydroxylation):
            if coverage == 0.0:
                candidates.append(slab)
            elif _fits(coverage, possible[slab.name]):
                for candidate in hydroxylate(slab, bulk, coverage=coverage):
                    _check_budget(candidate, max_atoms)
                    candidates.append(candidate)
    return tuple(candidates)


def _fits(coverage: float, possible: Sequence[float]) -> bool:
    return any(abs(coverage - value) < 1e-6 for value in possible)


def _check_budget(candidate: Candidate, max_atoms: int) -> None:
    if len(candidate.structure) > max_atoms:
        raise AtomBudgetError(
            f"{candidate.name} has {len(candidate.structure)} atoms, more than the {max_atoms} allowed; "
            f"use a smaller thickness, another facet, or a budget of {len(candidate.structure)} atoms"
        )
