"""Three low-index facets and a hydroxylated slab of any crystal, checked: what the library promises for each entry."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

from .accepting import as_structure
from .candidate_checks import candidate_problems
from .decorations.decorate import decorate
from .decorations.settings import OpenBridges, SplitWater
from .enumeration import bulk_candidate
from .errors import SurfshiftError
from .facets import distinct_facets
from .hydroxylation import possible_coverages
from .library import build_crystal, build_disordered, load_crystal
from .ordering import order_structure
from .slabs import AtomBudgetError, cut_slabs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .accepting import StructureLike
    from .vocabulary import AtomicStructure, Candidate

MAX_SLAB_ATOMS = 250
"""Atom budget of a slab; the largest cell that a disordered crystal is ordered in has as many."""

N_FACETS = 3

THICKNESS_ANG = 5.0
"""Least thickness of the slabs: bulk volume of their atoms over the face's area, angstrom."""

MAX_CHOICES = 400
"""Coverages with more choices of sites on a face than this are passed over."""


@dataclass(frozen=True)
class LibrarySurfaces:
    """What was built of one crystal.

    Attributes
    ----------
    facets
        Miller index and slabs of every facet.
    hydroxylated
        A slab with split water; ``None`` for a crystal without oxygen or with hydrogen of its own.
    problems
        What failed, in words; empty for a pass.
    """

    facets: tuple[tuple[tuple[int, int, int], tuple[Candidate, ...]], ...]
    hydroxylated: Candidate | None
    problems: tuple[str, ...]


def ordered_bulk(name: str, *, seed: int = 0) -> AtomicStructure:
    """The cell of a library crystal; of a disordered one the ordered cell with the lowest Ewald energy.

    Raises
    ------
    UnknownCrystalError
    """
    crystal = load_crystal(name)
    if crystal.is_ordered:
        return build_crystal(crystal)
    ensemble = order_structure(build_disordered(crystal), n_orderings=1, n_starts=4, n_moves=30_000, seed=seed)
    return ensemble.orderings[0].structure


def takes_up_water(bulk: StructureLike) -> bool:
    """Whether a crystal is an oxide or a phosphate: oxygen, and no hydrogen or carbon of its own."""
    bulk = as_structure(bulk)
    return "O" in bulk.elements and not {"H", "C"} & set(bulk.elements)


def build_surfaces(
    name: str, bulk: StructureLike, *, max_atoms: int = MAX_SLAB_ATOMS, n_facets: int = N_FACETS
) -> LibrarySurfaces:
    """Cut the simplest symmetry-distinct facets of a crystal, split water over one, check all.

    Slabs have the shortest in-plane vectors of the primitive lattice. A facet whose thinnest slabs are above the atom
    budget is passed over for the next one.
    """
    bulk = as_structure(bulk)
    problems = list(candidate_problems(bulk_candidate(bulk, name=name), bulk))
    facets: list[tuple[tuple[int, int, int], tuple[Candidate, ...]]] = []
    passed_over = []
    for miller in dict.fromkeys((*distinct_facets(bulk, 1), *distinct_facets(bulk, 2))):
        if len(facets) == n_facets:
            break
        try:
            slabs = cut_slabs(
                bulk, miller, thickness_ang=THICKNESS_ANG, parent=name, reconstruct=True, max_atoms=max_atoms
            )
        except AtomBudgetError as error:
            passed_over.append(str(error))
            continue
        facets.append((miller, slabs))
    if len(facets) < n_facets:
        problems.append(f"only {len(facets)} facets within {max_atoms} atoms: {' '.join(passed_over[:1])}")
    for _, slabs in facets:
        for slab in slabs:
            problems += [f"{slab.name}: {text}" for text in candidate_problems(slab, bulk)]
    wet = None
    if takes_up_water(bulk):
        wet, refusals = _hydroxylated([slab for _, slabs in facets for slab in slabs], bulk, max_atoms)
        if wet is None:
            problems.append(f"no hydroxylated slab: {'; '.join(refusals)}")
    return LibrarySurfaces(facets=tuple(facets), hydroxylated=wet, problems=tuple(problems))


def _hydroxylated(
    slabs: Sequence[Candidate], bulk: AtomicStructure, max_atoms: int
) -> tuple[Candidate | None, list[str]]:
    """The first slab that takes up split water and passes; fullest coverages first, opened bridges if none does."""
    refusals = []
    for slab, water in _waters(slabs, bulk, max_atoms):
        try:
            wet = decorate(slab, bulk, water)[0]
        except SurfshiftError as error:
            refusals.append(str(error))
            continue
        found = candidate_problems(wet, bulk, parent=slab)
        if not found:
            return wet, []
        refusals.append(f"{wet.name}: {', '.join(found)}")
    return None, refusals


def _waters(
    slabs: Sequence[Candidate], bulk: AtomicStructure, max_atoms: int
) -> Iterator[tuple[Candidate, SplitWater | OpenBridges]]:
    for slab in slabs:
        coverages = possible_coverages(slab, bulk)
        for rank in reversed(range(len(coverages))):
            if comb(len(coverages), rank + 1) <= MAX_CHOICES:
                yield slab, SplitWater(coverage=coverages[rank], max_variants=1, max_atoms=2 * max_atoms)
    for slab in slabs:
        yield slab, OpenBridges(max_variants=1, max_atoms=2 * max_atoms)
