"""Ordered cells of a disordered crystal: an ensemble, ranked, without symmetry duplicates.

Occupancies are rounded to whole numbers of atoms in a neutral supercell, ions are annealed over their sites on an Ewald
matrix from several random starts, and what the parent's space group makes equivalent is kept once. The best may be
ranked again by any energy, for example that of ``surfshift.workflows.energies.relaxed_energy``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from .disorder import FULL
from .errors import SurfshiftError
from .ordering_search import SearchProblem, anneal, distinct, ewald_matrix, random_start
from .rounding import NotNeutralError, RoundedCount, round_occupancies
from .vocabulary import AtomicStructure, Frozen, as_tensor3

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .disorder import DisorderedSite, DisorderedStructure

    Evaluate = Callable[[AtomicStructure], tuple[float, AtomicStructure]]

MIN_ION_DISTANCE_ANG = 2.2
"""Closest approach of two ions on partly filled sites; Li-Li distances in ordered compounds start near 2.4 angstrom."""

MAX_ATOMS = 250

WANTED_MISS = 0.02
"""A supercell is large enough when no occupancy is rounded by more than this."""


class OrderingError(SurfshiftError):
    """A disordered crystal for which no ordered cell is found within the limits given."""


class Ordering(Frozen):
    """One ordered cell.

    Attributes
    ----------
    structure
        Atoms of the supercell; relaxed when the energy given to ``order_structure`` relaxes.
    ewald_ev
        Coulomb energy of the formal charges, unrelaxed, per supercell, eV; comparable within one ensemble.
    energy_ev
        Energy of the ranking, per supercell, eV; ``None`` when the Ewald energy ranks.
    multiplicity
        Number of assignments of the supercell that the parent's symmetry makes equivalent to this one.
    """

    structure: AtomicStructure
    ewald_ev: float
    energy_ev: float | None = None
    multiplicity: int = Field(ge=1)


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
        What ranks: ``"ewald"`` or the name given with the energy.
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


def order_structure(
    disordered: DisorderedStructure,
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
    if disordered.is_ordered:
        raise OrderingError(f"{disordered.name} is ordered already; use it as it is")
    cells, counts = _choose_supercell(disordered, supercell, max_atoms)
    rng = np.random.default_rng(seed)
    repeated = _repeat(disordered, cells)
    operations = _operations(repeated)
    found: list[tuple[float, NDArray[np.int64]]] = []
    split: Literal["published", "free"]
    for split in ("published", "free"):
        problem, wanted = _problem(repeated, counts, split, min_distance_ang)
        if split == "published" and _is_hopeless(problem, wanted):
            continue
        # a short run tells whether ions fit at all
        for k in range(n_starts):
            start = random_start(problem, wanted, rng)
            found.extend(anneal(problem, start, n_moves=n_moves, rng=rng))
            if k == 1 and not found and split == "published":
                break
        if found:
            break
    if not found:
        raise OrderingError(
            f"{disordered.name}: no arrangement keeps ions on partly filled sites {min_distance_ang} angstrom apart in "
            f"{n_starts} runs of {n_moves} moves; give a smaller min_distance_ang, more n_starts, or fewer ions"
        )
    mobile = _mobile(repeated, split)
    kept = distinct(found, _permutations(repeated, mobile, operations))
    orderings = [
        Ordering(structure=_as_structure(repeated, mobile, problem, kinds), ewald_ev=energy, multiplicity=m)
        for energy, kinds, m in kept[:n_orderings]
    ]
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
        split=split,
        min_distance_ang=min_distance_ang,
        seed=seed,
        n_starts=n_starts,
        n_moves=n_moves,
        n_sampled=len(kept),
        method="ewald" if evaluate is None else method or "given energy",
        orderings=tuple(orderings),
    )


def _choose_supercell(
    disordered: DisorderedStructure, given: tuple[int, int, int] | None, max_atoms: int
) -> tuple[tuple[int, int, int], tuple[RoundedCount, ...]]:
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


def _repeat(disordered: DisorderedStructure, cells: tuple[int, int, int]) -> DisorderedStructure:
    scale = np.array(cells, dtype=float)
    sites = []
    for shift in np.ndindex(*cells):
        for site in disordered.sites:
            x, y, z = (float(v) for v in (np.array(site.frac_coords) + shift) / scale)
            sites.append(site.model_copy(update={"frac_coords": (x, y, z)}))
    lattice = as_tensor3(disordered.lattice * scale[:, None])
    return disordered.model_copy(update={"lattice_ang": lattice, "sites": tuple(sites)})


def _mobile(repeated: DisorderedStructure, split: str) -> list[int]:
    """Sites that ions move over: the disordered ones, and in a free split the full ones of the same elements."""
    partial = {s.element for site in repeated.sites if site.occupancy < 1.0 - FULL for s in site.species}
    return [
        k
        for k, site in enumerate(repeated.sites)
        if not site.is_ordered or (split == "free" and site.species[0].element in partial)
    ]


def _problem(
    repeated: DisorderedStructure, counts: tuple[RoundedCount, ...], split: str, min_distance_ang: float
) -> tuple[SearchProblem, dict[int, dict[int, int]]]:
    mobile = _mobile(repeated, split)
    sites = [repeated.sites[k] for k in mobile]
    fixed = [site for k, site in enumerate(repeated.sites) if k not in set(mobile)]
    kinds = _kinds(sites)
    # the numbers: rounded ones of disordered sites, all of full sites that a free split takes in
    numbers: dict[str, Counter[tuple[str, float]]] = {}
    for count in counts:
        numbers.setdefault(count.label, Counter())[count.element, count.oxidation_state] += count.used
    for site in sites:
        if site.is_ordered:
            numbers.setdefault(site.label, Counter())[site.species[0].element, site.species[0].oxidation_state] += 1
    group_of = _groups(sites, split)
    frac = np.array([site.frac_coords for site in [*sites, *fixed]])
    matrix = ewald_matrix(repeated.lattice, frac)
    n = len(sites)
    fixed_charges = np.array([site.species[0].oxidation_state for site in fixed])
    delta = frac[:n, None, :] - frac[None, :n, :]
    distances = np.linalg.norm((delta - np.round(delta)) @ repeated.lattice, axis=2)
    conflicts = distances < min_distance_ang
    np.fill_diagonal(conflicts, val=False)
    allowed = np.zeros((n, len(kinds) + 1), dtype=bool)
    for row, site in enumerate(sites):
        allowed[row, 0] = True
        for s in site.species:
            allowed[row, 1 + kinds.index((s.element, s.oxidation_state))] = True
    wanted: dict[int, dict[int, int]] = {}
    for label, held in numbers.items():
        group = wanted.setdefault(group_of[label], {})
        for key, number in held.items():
            group[1 + kinds.index(key)] = group.get(1 + kinds.index(key), 0) + number
    problem = SearchProblem(
        matrix=matrix[:n, :n],
        field=2.0 * matrix[:n, n:] @ fixed_charges,
        charges=np.array([0.0, *(q for _, q in kinds)]),
        allowed=allowed,
        group=np.array([group_of[site.label] for site in sites]),
        conflicts=conflicts,
    )
    return problem, wanted


def _kinds(sites: list[DisorderedSite]) -> list[tuple[str, float]]:
    return list(dict.fromkeys((s.element, s.oxidation_state) for site in sites for s in site.species))


def _groups(sites: list[DisorderedSite], split: str) -> dict[str, int]:
    """Number of the group of every label: one per label, or one per set of labels that share an element."""
    labels = list(dict.fromkeys(site.label for site in sites))
    group = {label: k for k, label in enumerate(labels)}
    if split == "free":
        held = {site.label: {s.element for s in site.species} for site in sites}
        for a in labels:
            for b in labels:
                if held[a] & held[b] and group[a] != group[b]:
                    old, new = group[b], group[a]
                    group = {label: new if g == old else g for label, g in group.items()}
    return group


def _is_hopeless(problem: SearchProblem, wanted: dict[int, dict[int, int]]) -> bool:
    """Whether positions that must all be filled are too close to every position of another ion."""
    n_filled = {g: sum(held.values()) for g, held in wanted.items()}
    always = np.array([n_filled.get(int(g), 0) == int((problem.group == g).sum()) for g in problem.group])
    blocked = problem.conflicts[:, always].any(axis=1)
    return any(n > int(((problem.group == g) & ~blocked).sum()) for g, n in n_filled.items())


def _operations(repeated: DisorderedStructure) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Space group of the supercell with its occupancies, translations of the cells among them."""
    import spglib

    kinds = {tuple(site.species): k for k, site in enumerate(repeated.sites)}
    numbers = [kinds[tuple(site.species)] for site in repeated.sites]
    cell = (repeated.lattice_ang, [site.frac_coords for site in repeated.sites], numbers)
    found = spglib.get_symmetry(cell, symprec=0.01)
    if found is None:
        raise OrderingError(f"{repeated.name}: spglib finds no symmetry; the cell or the positions are not valid")
    return list(zip(found["rotations"].astype(float), found["translations"], strict=True))


def _permutations(
    repeated: DisorderedStructure,
    mobile: list[int],
    operations: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> NDArray[np.int64]:
    """Where every operation takes every mobile position, shape (n_operations, n)."""
    frac = np.array([repeated.sites[k].frac_coords for k in mobile])
    rows = []
    for rotation, translation in operations:
        delta = (frac @ rotation.T + translation)[:, None, :] - frac[None, :, :]
        distances = np.linalg.norm((delta - np.round(delta)) @ repeated.lattice, axis=2)
        rows.append(distances.argmin(axis=1))
    return np.unique(np.array(rows), axis=0)


def _as_structure(
    repeated: DisorderedStructure, mobile: list[int], problem: SearchProblem, kinds: NDArray[np.int64]
) -> AtomicStructure:
    """Fixed and placed ions, elements together."""
    charges = problem.charges
    names = ["", *(element for element, _ in _kinds([repeated.sites[k] for k in mobile]))]
    place = dict(zip(mobile, kinds, strict=True))
    atoms: list[tuple[str, tuple[float, float, float], float]] = []
    for k, site in enumerate(repeated.sites):
        if k in place:
            if place[k] > 0:
                atoms.append((names[place[k]], site.frac_coords, float(charges[place[k]])))
        else:
            atoms.append((site.species[0].element, site.frac_coords, site.species[0].oxidation_state))
    order = list(dict.fromkeys(element for element, _, _ in atoms))
    atoms.sort(key=lambda atom: order.index(atom[0]))
    return AtomicStructure(
        lattice_ang=repeated.lattice_ang,
        elements=tuple(element for element, _, _ in atoms),
        frac_coords=tuple(place for _, place, _ in atoms),
        oxidation_states=tuple(q for _, _, q in atoms),
    )
