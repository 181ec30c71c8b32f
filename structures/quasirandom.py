"""Special quasirandom cells: substitution as in a random solution, mobile ions where their energy puts them.

Framework cations (Al and Ti in LATP, Zr and Ta in LLZTO, Ni, Mn and Co in NMC) are frozen in by the synthesis, close to
chance; lithium equilibrates around them. So the substituted sublattices are filled such that Warren-Cowley parameters
vanish (Zunger et al., Phys. Rev. Lett. 65, 353 (1990); sqsgenerator, Gehringer et al., Comput. Phys. Commun. 286,
108664 (2023)), and what remains disordered is annealed on the Ewald energy around each of them.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Literal

import numpy as np

from .accepting import as_disordered
from .disorder import FULL, DisorderedStructure, SiteSpecies
from .ordering import MAX_ATOMS, MIN_ION_DISTANCE_ANG, OrderedEnsemble, Ordering, Search, choose_supercell
from .ordering_problem import (
    OrderingError,
    grouped_structure,
    nearest_distances,
    repeat_cell,
    site_permutations,
    space_group_operations,
)
from .ordering_search import ewald_matrix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from .accepting import DisorderedLike
    from .ordering import Evaluate
    from .rounding import RoundedCount
    from .vocabulary import AtomicStructure

    Filling = tuple[float, NDArray[np.int64]]

MAX_FILLINGS = 400
"""Fillings of one sublattice that are kept, the most random ones, before symmetry duplicates are taken out."""


def substituted_labels(disordered: DisorderedLike) -> tuple[str, ...]:
    """Labels of the kinds of site that two or more elements share without vacancies."""
    disordered = as_disordered(disordered)
    labels = {s.label: s for s in disordered.sites if len(s.species) > 1 and s.occupancy > 1.0 - FULL}
    return tuple(labels)


def order_quasirandom(
    disordered: DisorderedLike,
    *,
    sublattices: Sequence[str] = (),
    n_orderings: int = 4,
    supercell: tuple[int, int, int] | None = None,
    max_atoms: int = MAX_ATOMS,
    min_distance_ang: float = MIN_ION_DISTANCE_ANG,
    seed: int = 0,
    iterations: int = 100_000,
    n_starts: int = 4,
    n_moves: int = 60_000,
    evaluate: Evaluate | None = None,
) -> OrderedEnsemble:
    """Neutral cells whose substituted sites are as in a random solution, most random first.

    Parameters
    ----------
    disordered
        From ``build_disordered``, or a user's file with ``read_disordered``.
    sublattices
        Labels of the kinds of site to fill at random; by default those of ``substituted_labels``.
    n_orderings
        How many to return, at most; no two have symmetry-equivalent substitution.
    supercell, max_atoms, min_distance_ang, n_starts, n_moves
        As for ``order_structure``; starts and moves are for the ions that remain disordered.
    seed, iterations
        Random fillings that are tried per sublattice, and their seed.
    evaluate
        Energy in eV, and the structure it belongs to, of an ordered cell. It is recorded and does not rank.

    Raises
    ------
    NotNeutralError
        If no neutral cell of whole atoms is near the occupancies.
    OrderingError
        If no kind of site is substituted, a label is unknown, positions of a sublattice exclude each other, or the
        ions that remain do not fit.
    """
    disordered = as_disordered(disordered)
    labels = _checked(disordered, tuple(sublattices))
    cells, counts = choose_supercell(disordered, supercell, max_atoms)
    repeated = repeat_cell(disordered, cells)
    places = {label: [k for k, site in enumerate(repeated.sites) if site.label == label] for label in labels}
    kinds = {label: [c for c in counts if c.label == label and c.used > 0] for label in labels}
    for label in labels:
        _refuse_exclusion(repeated, label, places[label], min_distance_ang)
    fillings = [_fillings(repeated, places[label], kinds[label], seed, iterations) for label in labels]
    flat = [k for label in labels for k in places[label]]
    permutations = site_permutations(repeated, flat, space_group_operations(repeated))
    search = Search(min_distance_ang=min_distance_ang, n_starts=n_starts, n_moves=n_moves)
    remaining = tuple(c for c in counts if c.label not in labels)
    rng = np.random.default_rng(seed)

    orderings: list[Ordering] = []
    n_sampled = 0
    seen: set[bytes] = set()
    split: Literal["published", "free"] = "published"
    for objective, filling in _combined(fillings):
        images = np.unique(filling[permutations], axis=0)
        if images[0].tobytes() in seen:
            continue
        seen.add(images[0].tobytes())
        n_sampled += 1
        if len(orderings) == n_orderings:
            continue
        substituted = _substitute(repeated, labels, places, kinds, filling)
        if substituted.is_ordered:
            structure, n_equivalent = _ordered_structure(substituted), 1
        else:
            found = search.run(substituted, remaining, rng)
            best = found.orderings(1)[0]
            split, structure, n_equivalent = found.split, best.structure, best.multiplicity
        energy, evaluated = (None, structure) if evaluate is None else evaluate(structure)
        orderings.append(
            Ordering(
                structure=evaluated,
                ewald_ev=_ewald_energy(structure),
                energy_ev=energy,
                multiplicity=n_equivalent * len(images),
                short_range_order=objective,
            )
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
        n_sampled=n_sampled,
        method="short-range order",
        quasirandom=labels,
        orderings=tuple(orderings),
    )


def _checked(disordered: DisorderedStructure, sublattices: tuple[str, ...]) -> tuple[str, ...]:
    disorder = {s.label: " and ".join(x.element for x in s.species) for s in disordered.sites if not s.is_ordered}
    there = ", ".join(f"{label} ({held})" for label, held in disorder.items()) or "none"
    if sublattices:
        unknown = [label for label in sublattices if label not in disorder]
        if unknown:
            raise OrderingError(
                f"{disordered.name} has no disordered site {unknown[0]!r}; its disordered sites are: {there}"
            )
        return tuple(dict.fromkeys(sublattices))
    found = substituted_labels(disordered)
    if not found:
        raise OrderingError(
            f"{disordered.name}: no kind of site is shared by two elements without vacancies, so there is nothing to "
            f"substitute at random; its disordered sites are: {there}. Use order_structure, or name sublattices"
        )
    return found


def _refuse_exclusion(repeated: DisorderedStructure, label: str, places: list[int], min_distance_ang: float) -> None:
    """Ions placed by chance could come too close to each other, or to ions on other partly filled sites."""
    others = [k for k, site in enumerate(repeated.sites) if not site.is_ordered]
    frac = np.array([site.frac_coords for site in repeated.sites])
    distances = nearest_distances(repeated, frac[places], frac[others])
    distances[np.equal.outer(places, others)] = np.inf
    if distances.min() < min_distance_ang:
        near = repeated.sites[others[int(distances.min(axis=0).argmin())]].label
        raise OrderingError(
            f"{repeated.name}: positions of {label} and {near} are {distances.min():.2f} angstrom apart, less than "
            f"min_distance_ang = {min_distance_ang}: neighbours exclude each other, so its ions cannot be placed by "
            f"chance. Leave {label} out of sublattices; it is then ordered by energy"
        )


def _fillings(
    repeated: DisorderedStructure, places: list[int], counts: list[RoundedCount], seed: int, iterations: int
) -> list[Filling]:
    """Objective and kinds (0 vacancy, then in the order of ``counts``) of the most random fillings, best first."""
    from sqsgenerator import optimize

    numbers = [len(places) - sum(c.used for c in counts), *(c.used for c in counts)]
    present = [kind for kind, number in enumerate(numbers) if number > 0]
    if len(present) == 1:
        return [(0.0, np.full(len(places), present[0], dtype=np.int64))]
    # the elements do not matter to the search: atomic number 1 + kind stands for each, vacancies too
    symbols = dict(zip(present, ("H", "He", "Li", "Be", "B", "C", "N", "O"), strict=False))
    atomic_numbers = {kind: 1 + k for k, kind in enumerate(present)}
    composition: dict[str, object] = {symbols[kind]: numbers[kind] for kind in present}
    composition["sites"] = list(range(len(places)))
    pack = optimize(
        {
            "structure": {
                "lattice": [list(row) for row in repeated.lattice_ang],
                "coords": [list(repeated.sites[k].frac_coords) for k in places],
                "species": [symbols[present[0]]] * len(places),
            },
            "composition": [composition],
            "sublattice_mode": "split",
            "iteration_mode": "random",
            "iterations": iterations,
            "max_results_per_objective": MAX_FILLINGS,
            "keep": MAX_FILLINGS,
            # one thread: which fillings are tried must not depend on the machine
            "thread_config": [1],
            "seed": [seed],
        }
    )
    kind_of = {z: kind for kind, z in atomic_numbers.items()}
    found: dict[bytes, Filling] = {}
    for objective, results in pack:
        for result in results:
            filling = np.array([kind_of[int(z)] for z in result.species], dtype=np.int64)
            found[filling.tobytes()] = (round(float(objective), 9), filling)
    return sorted(found.values(), key=lambda item: (item[0], item[1].tobytes()))[:MAX_FILLINGS]


def _combined(fillings: list[list[Filling]]) -> Iterator[Filling]:
    """Fillings of all sublattices together, the most random first, without making all of them."""
    start = (0,) * len(fillings)
    heap = [(sum(f[0][0] for f in fillings), start)]
    known = {start}
    while heap:
        objective, choice = heapq.heappop(heap)
        yield objective, np.concatenate([f[k][1] for f, k in zip(fillings, choice, strict=True)])
        for axis, f in enumerate(fillings):
            following = (*choice[:axis], choice[axis] + 1, *choice[axis + 1 :])
            if following[axis] < len(f) and following not in known and len(known) < MAX_FILLINGS:
                known.add(following)
                heapq.heappush(heap, (sum(g[k][0] for g, k in zip(fillings, following, strict=True)), following))


def _substitute(
    repeated: DisorderedStructure,
    labels: tuple[str, ...],
    places: dict[str, list[int]],
    kinds: dict[str, list[RoundedCount]],
    filling: NDArray[np.int64],
) -> DisorderedStructure:
    """The cell with its sublattices filled; what else is disordered stays so."""
    chosen: dict[int, RoundedCount | None] = {}
    values = iter(filling)
    for label in labels:
        for place in places[label]:
            kind = int(next(values))
            chosen[place] = kinds[label][kind - 1] if kind else None
    sites = []
    for k, site in enumerate(repeated.sites):
        if k not in chosen:
            sites.append(site)
        elif (ion := chosen[k]) is not None:
            species = SiteSpecies(element=ion.element, oxidation_state=ion.oxidation_state, occupancy=1.0)
            sites.append(site.model_copy(update={"label": f"{site.label}:{ion.element}", "species": (species,)}))
    return repeated.model_copy(update={"sites": tuple(sites)})


def _ordered_structure(ordered: DisorderedStructure) -> AtomicStructure:
    held = [(site.species[0], site.frac_coords) for site in ordered.sites]
    return grouped_structure(ordered, [(ion.element, place, ion.oxidation_state) for ion, place in held])


def _ewald_energy(structure: AtomicStructure) -> float:
    """Of all ions: cells with another framework must compare."""
    charges = np.array(structure.oxidation_states)
    matrix = ewald_matrix(structure.lattice, np.array(structure.frac_coords))
    return float(charges @ matrix @ charges)
