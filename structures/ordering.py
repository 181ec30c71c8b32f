"""Ordered cells of a disordered crystal: an ensemble, ranked, without symmetry duplicates.

Occupancies are rounded to whole numbers of atoms in a neutral supercell, ions are annealed over their sites on an Ewald
matrix from several random starts, and what the parent's space group makes equivalent is kept once. The best may be
ranked again by any energy, for example that of ``surfshift.workflows.energies.relaxed_energy``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from .accepting import as_disordered
from .ordering_problem import (
    OrderingError,
    filled_structure,
    is_hopeless,
    mobile_sites,
    repeat_cell,
    search_problem,
    site_permutations,
    space_group_operations,
)
from .ordering_search import SearchProblem, anneal, distinct, random_start
from .rounding import NotNeutralError, RoundedCount, round_occupancies
from .vocabulary import AtomicStructure, Frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .accepting import DisorderedLike
    from .disorder import DisorderedStructure

    Evaluate = Callable[[AtomicStructure], tuple[float, AtomicStructure]]

MIN_ION_DISTANCE_ANG = 2.2
"""Closest approach of two ions on partly filled sites; Li-Li distances in ordered compounds start near 2.4 angstrom."""

MAX_ATOMS = 250

WANTED_MISS = 0.02
"""A supercell is large enough when no occupancy is rounded by more than this."""


class Ordering(Frozen):
    """One ordered cell.

    Attributes
    ----------
    structure
        Atoms of the supercell; relaxed when the energy given to ``order_structure`` relaxes.
    ewald_ev
        Coulomb energy of the formal charges, unrelaxed, per supercell, eV; comparable within one ensemble. That of
        the fixed ions among themselves is left out where all orderings share it.
    energy_ev
        Energy of the ranking, per supercell, eV; ``None`` when the Ewald energy ranks.
    multiplicity
        Number of assignments of the supercell that the parent's symmetry makes equivalent to this one.
    short_range_order
        Sum over sublattices, pairs of unlike ions and shells of the absolute Warren-Cowley parameter, each shell
        weighted with one over its number; 0 is a random solution. ``None`` when energy, not chance, places every ion.
    """

    structure: AtomicStructure
    ewald_ev: float
    energy_ev: float | None = None
    multiplicity: int = Field(ge=1)
    short_range_order: float | None = Field(default=None, ge=0.0)


class OrderedEnsemble(Frozen):
    """Ordered cells of one disordered crystal, best first.

    Attributes
    ----------
    parent
        Name of the disordered crystal.
    supercell
        How often its cell is repeated along a, b and c.
    counts
        Wanted and used numbers of atoms on every disordered kind of site.
    split
        ``"published"``: every kind of site holds its rounded number; ``"free"``: an element's total is kept, and how
        it divides over its sites is found, because the published division brings ions too close.
    min_distance_ang, seed, n_starts, n_moves
        Of the search.
    n_sampled
        Distinct orderings that the search met.
    method
        What ranks: ``"ewald"``, the name given with the energy, or ``"short-range order"`` for quasirandom cells.
    quasirandom
        Labels of the kinds of site on which ions are as in a random solution.
    """

    parent: str
    supercell: tuple[int, int, int]
    counts: tuple[RoundedCount, ...]
    split: Literal["published", "free"]
    min_distance_ang: float
    seed: int
    n_starts: int
    n_moves: int
    n_sampled: int
    method: str
    quasirandom: tuple[str, ...] = ()
    orderings: tuple[Ordering, ...]

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.orderings:
            raise ValueError("an ensemble needs at least one ordering")
        return self

    @property
    def rounding(self) -> str:
        """What the rounding changed, in words."""
        changed = [c for c in self.counts if abs(c.used - c.wanted) > 1e-6]
        if not changed:
            return "occupancies are whole numbers of atoms in this supercell"
        return ", ".join(f"{c.element} on {c.label}: {c.used} for {c.wanted:.2f} of {c.n_sites}" for c in changed)


@dataclass(frozen=True)
class Search:
    """Annealing of ions over a supercell: the closest approach in angstrom, random starts, and moves of each."""

    min_distance_ang: float
    n_starts: int
    n_moves: int

    def run(
        self, repeated: DisorderedStructure, counts: tuple[RoundedCount, ...], rng: np.random.Generator
    ) -> SearchResult:
        """Distinct arrangements of the ions that ``counts`` names, over a supercell as ``repeat_cell`` makes it.

        Raises
        ------
        OrderingError
            If ions do not fit without coming too close.
        """
        found: list[tuple[float, NDArray[np.int64]]] = []
        split: Literal["published", "free"]
        for split in ("published", "free"):
            problem, wanted = search_problem(repeated, counts, split, self.min_distance_ang)
            if split == "published" and is_hopeless(problem, wanted):
                continue
            # a short run tells whether ions fit at all
            for k in range(self.n_starts):
                start = random_start(problem, wanted, rng)
                found.extend(anneal(problem, start, n_moves=self.n_moves, rng=rng))
                if k == 1 and not found and split == "published":
                    break
            if found:
                break
        if not found:
            raise OrderingError(
                f"{repeated.name}: no arrangement keeps ions on partly filled sites {self.min_distance_ang} angstrom "
                f"apart in {self.n_starts} runs of {self.n_moves} moves; give a smaller min_distance_ang, more "
                f"n_starts, or fewer ions"
            )
        mobile = mobile_sites(repeated, split)
        kept = distinct(found, site_permutations(repeated, mobile, space_group_operations(repeated)))
        return SearchResult(repeated, split, problem, tuple(mobile), tuple(kept))


@dataclass(frozen=True)
class SearchResult:
    """What a search found: (Ewald energy in eV, kinds, multiplicity) of every distinct arrangement, best first."""

    repeated: DisorderedStructure
    split: Literal["published", "free"]
    problem: SearchProblem
    mobile: tuple[int, ...]
    kept: tuple[tuple[float, NDArray[np.int64], int], ...]

    def orderings(self, n: int) -> list[Ordering]:
        """The best ``n`` as structures."""
        return [
            Ordering(
                structure=filled_structure(self.repeated, list(self.mobile), self.problem, kinds),
                ewald_ev=energy,
                multiplicity=multiplicity,
            )
            for energy, kinds, multiplicity in self.kept[:n]
        ]


def order_structure(
    disordered: DisorderedLike,
    *,
    n_orderings: int = 8,
    supercell: tuple[int, int, int] | None = None,
    max_atoms: int = MAX_ATOMS,
    min_distance_ang: float = MIN_ION_DISTANCE_ANG,
    seed: int = 0,
    n_starts: int = 8,
    n_moves: int = 60_000,
    evaluate: Evaluate | None = None,
    method: str = "",
) -> OrderedEnsemble:
    """Ordered, neutral, symmetry-distinct cells of a disordered crystal, ranked.

    Parameters
    ----------
    disordered
        From ``build_disordered``, or a user's file with ``read_disordered``.
    n_orderings
        How many to return, at most; this many of the best by Ewald energy are evaluated.
    supercell
        Repeats along a, b and c; by default the smallest whose rounding changes no occupancy by more than 0.02, or else
        the one within ``max_atoms`` that changes them least.
    max_atoms
        Largest supercell taken by default.
    min_distance_ang
        Closest approach of two ions on partly filled sites, angstrom.
    seed, n_starts, n_moves
        Random starts of the annealing, and moves of each.
    evaluate, method
        Energy in eV, and the structure it belongs to, of an ordered cell; and the name under which it is recorded.

    Raises
    ------
    NotNeutralError
        If no neutral cell of whole atoms is near the occupancies; the message names the nearest composition.
    OrderingError
        If there is nothing to order, the cell is too large, or ions do not fit without coming too close.
    """
    disordered = as_disordered(disordered)
    if disordered.is_ordered:
        raise OrderingError(f"{disordered.name} is ordered already; use it as it is")
    cells, counts = choose_supercell(disordered, supercell, max_atoms)
    search = Search(min_distance_ang=min_distance_ang, n_starts=n_starts, n_moves=n_moves)
    found = search.run(repeat_cell(disordered, cells), counts, np.random.default_rng(seed))
    orderings = found.orderings(n_orderings)
    if evaluate is not None:
        evaluated = [(o, *evaluate(o.structure)) for o in orderings]
        orderings = sorted(
            (o.model_copy(update={"energy_ev": energy, "structure": structure}) for o, energy, structure in evaluated),
            key=lambda o: o.energy_ev if o.energy_ev is not None else np.inf,
        )
    return OrderedEnsemble(
        parent=disordered.name,
        supercell=cells,
        counts=counts,
        split=found.split,
        min_distance_ang=min_distance_ang,
        seed=seed,
        n_starts=n_starts,
        n_moves=n_moves,
        n_sampled=len(found.kept),
        method="ewald" if evaluate is None else method or "given energy",
        orderings=tuple(orderings),
    )


def choose_supercell(
    disordered: DisorderedLike, given: tuple[int, int, int] | None, max_atoms: int
) -> tuple[tuple[int, int, int], tuple[RoundedCount, ...]]:
    """Repeats along a, b and c, given or chosen as ``order_structure`` says, and whole numbers of atoms for them."""
    disordered = as_disordered(disordered)
    n_atoms = sum(disordered.composition.values())
    if given is not None:
        if min(given) < 1:
            raise OrderingError(f"a supercell of {given} is none; give three whole numbers of at least 1")
        return given, round_occupancies(disordered, int(np.prod(given)))
    lengths = np.linalg.norm(disordered.lattice, axis=1)
    choices = sorted(
        (cells for cells in np.ndindex(4, 4, 4) if n_atoms * np.prod(np.array(cells) + 1) <= max_atoms),
        # small before large, compact before long
        key=lambda cells: (np.prod(np.array(cells) + 1), np.ptp((np.array(cells) + 1) * lengths)),
    )
    if not choices:
        raise OrderingError(
            f"{disordered.name}: one cell has {n_atoms:.0f} atoms, more than max_atoms = {max_atoms}; "
            f"give max_atoms = {int(np.ceil(n_atoms))}"
        )
    best: tuple[float, tuple[int, int, int], tuple[RoundedCount, ...]] | None = None
    failed: NotNeutralError | None = None
    sizes: set[int] = set()
    for cells in choices:
        a, b, c = (int(k) + 1 for k in cells)
        if a * b * c in sizes:
            continue
        sizes.add(a * b * c)
        try:
            counts = round_occupancies(disordered, a * b * c)
        except NotNeutralError as error:
            failed = failed or error
            continue
        miss = max(abs(count.used - count.wanted) / count.n_sites for count in counts)
        if best is None or miss < best[0] - 1e-9:
            best = (miss, (a, b, c), counts)
        if miss <= WANTED_MISS:
            break
    if best is None:
        raise failed or OrderingError(f"{disordered.name}: no supercell up to {max_atoms} atoms was tried")
    return best[1], best[2]
