"""A supercell of a disordered crystal as positions that ions can fill, and back to atoms."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from .disorder import FULL
from .errors import SurfshiftError
from .ordering_search import SearchProblem, ewald_matrix
from .vocabulary import AtomicStructure, as_tensor3

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .disorder import DisorderedSite, DisorderedStructure
    from .rounding import RoundedCount


class OrderingError(SurfshiftError):
    """A disordered crystal for which no ordered cell is found within the limits given."""


def repeat_cell(disordered: DisorderedStructure, cells: tuple[int, int, int]) -> DisorderedStructure:
    scale = np.array(cells, dtype=float)
    sites = []
    for shift in np.ndindex(*cells):
        for site in disordered.sites:
            x, y, z = (float(v) for v in (np.array(site.frac_coords) + shift) / scale)
            sites.append(site.model_copy(update={"frac_coords": (x, y, z)}))
    lattice = as_tensor3(disordered.lattice * scale[:, None])
    return disordered.model_copy(update={"lattice_ang": lattice, "sites": tuple(sites)})


def mobile_sites(repeated: DisorderedStructure, split: str) -> list[int]:
    """Sites that ions move over: the disordered ones, and in a free split the full ones of the same elements."""
    partial = {s.element for site in repeated.sites if site.occupancy < 1.0 - FULL for s in site.species}
    return [
        k
        for k, site in enumerate(repeated.sites)
        if not site.is_ordered or (split == "free" and site.species[0].element in partial)
    ]


def search_problem(
    repeated: DisorderedStructure, counts: tuple[RoundedCount, ...], split: str, min_distance_ang: float
) -> tuple[SearchProblem, dict[int, dict[int, int]]]:
    mobile = mobile_sites(repeated, split)
    sites = [repeated.sites[k] for k in mobile]
    fixed = [site for k, site in enumerate(repeated.sites) if k not in set(mobile)]
    kinds = ion_kinds(sites)
    # the numbers: rounded ones of disordered sites, all of full sites that a free split takes in
    numbers: dict[str, Counter[tuple[str, float]]] = {}
    for count in counts:
        numbers.setdefault(count.label, Counter())[count.element, count.oxidation_state] += count.used
    for site in sites:
        if site.is_ordered:
            numbers.setdefault(site.label, Counter())[site.species[0].element, site.species[0].oxidation_state] += 1
    group_of = exchange_groups(sites, split)
    frac = np.array([site.frac_coords for site in [*sites, *fixed]])
    matrix = ewald_matrix(repeated.lattice, frac)
    n = len(sites)
    fixed_charges = np.array([site.species[0].oxidation_state for site in fixed])
    conflicts = nearest_distances(repeated, frac[:n], frac[:n]) < min_distance_ang
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


def ion_kinds(sites: list[DisorderedSite]) -> list[tuple[str, float]]:
    return list(dict.fromkeys((s.element, s.oxidation_state) for site in sites for s in site.species))


def exchange_groups(sites: list[DisorderedSite], split: str) -> dict[str, int]:
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


def is_hopeless(problem: SearchProblem, wanted: dict[int, dict[int, int]]) -> bool:
    """Whether positions that must all be filled are too close to every position of another ion."""
    n_filled = {g: sum(held.values()) for g, held in wanted.items()}
    always = np.array([n_filled.get(int(g), 0) == int((problem.group == g).sum()) for g in problem.group])
    blocked = problem.conflicts[:, always].any(axis=1)
    return any(n > int(((problem.group == g) & ~blocked).sum()) for g, n in n_filled.items())


def space_group_operations(repeated: DisorderedStructure) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Space group of the supercell with its occupancies, translations of the cells among them."""
    import spglib

    kinds = {tuple(site.species): k for k, site in enumerate(repeated.sites)}
    numbers = [kinds[tuple(site.species)] for site in repeated.sites]
    cell = (repeated.lattice_ang, [site.frac_coords for site in repeated.sites], numbers)
    found = spglib.get_symmetry(cell, symprec=0.01)
    if found is None:
        raise OrderingError(f"{repeated.name}: spglib finds no symmetry; the cell or the positions are not valid")
    return list(zip(found["rotations"].astype(float), found["translations"], strict=True))


def site_permutations(
    repeated: DisorderedStructure,
    mobile: list[int],
    operations: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> NDArray[np.int64]:
    """Where every operation takes every mobile position, shape (n_operations, n)."""
    frac = np.array([repeated.sites[k].frac_coords for k in mobile])
    rows = []
    for rotation, translation in operations:
        rows.append(nearest_distances(repeated, frac @ rotation.T + translation, frac).argmin(axis=1))
    return np.unique(np.array(rows), axis=0)


def filled_structure(
    repeated: DisorderedStructure, mobile: list[int], problem: SearchProblem, kinds: NDArray[np.int64]
) -> AtomicStructure:
    """Fixed and placed ions, elements together."""
    charges = problem.charges
    names = ["", *(element for element, _ in ion_kinds([repeated.sites[k] for k in mobile]))]
    place = dict(zip(mobile, kinds, strict=True))
    atoms: list[tuple[str, tuple[float, float, float], float]] = []
    for k, site in enumerate(repeated.sites):
        if k in place:
            if place[k] > 0:
                atoms.append((names[place[k]], site.frac_coords, float(charges[place[k]])))
        else:
            atoms.append((site.species[0].element, site.frac_coords, site.species[0].oxidation_state))
    return grouped_structure(repeated, atoms)


def grouped_structure(
    repeated: DisorderedStructure, atoms: Sequence[tuple[str, tuple[float, float, float], float]]
) -> AtomicStructure:
    """Element, fractional position and charge of every atom as a structure in the supercell, elements together."""
    order = list(dict.fromkeys(element for element, _, _ in atoms))
    grouped = sorted(atoms, key=lambda atom: order.index(atom[0]))
    return AtomicStructure(
        lattice_ang=repeated.lattice_ang,
        elements=tuple(element for element, _, _ in grouped),
        frac_coords=tuple(place for _, place, _ in grouped),
        oxidation_states=tuple(q for _, _, q in grouped),
    )


def nearest_distances(
    repeated: DisorderedStructure, first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distances between fractional positions by the nearest image along each axis, shape (n, m), angstrom."""
    delta = first[:, None, :] - second[None, :, :]
    distances: NDArray[np.float64] = np.linalg.norm((delta - np.round(delta)) @ repeated.lattice, axis=2)
    return distances
