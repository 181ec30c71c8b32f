"""Annealing of ions over the sites of a supercell on a precomputed Ewald matrix.

The Coulomb energy of point charges q on fixed positions is q M q, with M from unit charges (Ewald, Ann. Phys. 369, 253
(1921)); moving an ion costs a few vector operations. Pairs of positions that are too close are never both filled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFLICT_EV = 6.0
"""Penalty of two ions on positions that are too close, while annealing; results have none."""

START_EV, END_EV = 2.0, 0.05
"""Temperatures of the annealing, in eV of Coulomb energy."""


@dataclass(frozen=True)
class SearchProblem:
    """Positions of a supercell that ions can fill.

    Attributes
    ----------
    matrix
        Ewald matrix of the positions, shape (n, n), eV per e^2.
    field
        Potential of the fixed ions, such that the energy is field . q + q M q + const, shape (n,), eV per e.
    charges
        Charge of every kind of ion, e; kind 0 is the vacancy.
    allowed
        Which kind may be on which position, shape (n, n_kinds).
    group
        Positions between which ions move, by number, shape (n,).
    conflicts
        Pairs of positions that are too close, shape (n, n), True on no diagonal element.
    """

    matrix: NDArray[np.float64]
    field: NDArray[np.float64]
    charges: NDArray[np.float64]
    allowed: NDArray[np.bool_]
    group: NDArray[np.int64]
    conflicts: NDArray[np.bool_]

    def energy(self, kinds: NDArray[np.int64]) -> float:
        """Coulomb energy of an assignment of kinds, eV, without that of the fixed ions among themselves."""
        q = self.charges[kinds]
        return float(self.field @ q + q @ self.matrix @ q)

    def n_conflicts(self, kinds: NDArray[np.int64]) -> int:
        """Number of pairs that are too close."""
        filled = kinds > 0
        return int(self.conflicts[np.ix_(filled, filled)].sum()) // 2


def ewald_matrix(lattice: NDArray[np.float64], frac: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix M such that q M q is the Coulomb energy of a neutral cell, shape (n, n), eV per e^2.

    The splitting parameter balances both sums; a neutralising background is in both, so that it cancels for neutral
    cells.
    """
    from scipy.special import erfc

    volume = abs(float(np.linalg.det(lattice)))
    n = len(frac)
    coulomb = 14.399645478
    accuracy = 3.2
    eta = np.sqrt(np.pi) * (max(n, 20) / 8.0 / volume**2) ** (1 / 6)
    r_cut, k_cut = accuracy / eta, 2.0 * eta * accuracy
    reciprocal = 2.0 * np.pi * np.linalg.inv(lattice).T
    delta = frac[:, None, :] - frac[None, :, :]
    delta -= np.round(delta)
    real = np.zeros((n, n))
    # half a cell diagonal is added: the nearest image of a pair may lie anywhere in the cell
    heights = volume / np.linalg.norm(np.cross(lattice[[1, 2, 0]], lattice[[2, 0, 1]]), axis=1)
    reach = np.ceil(r_cut / heights + 0.5).astype(int)
    for shift in np.ndindex(*(2 * reach + 1)):
        distance = np.linalg.norm((delta + (np.array(shift) - reach)) @ lattice, axis=2)
        near = (distance < r_cut) & (distance > 1e-8)
        real[near] += erfc(eta * distance[near]) / distance[near]
    k_heights = (
        (2.0 * np.pi) ** 3 / volume / np.linalg.norm(np.cross(reciprocal[[1, 2, 0]], reciprocal[[2, 0, 1]]), axis=1)
    )
    k_reach = np.ceil(k_cut / k_heights).astype(int)
    grid = np.array(list(np.ndindex(*(2 * k_reach + 1)))) - k_reach
    k = grid @ reciprocal
    square = (k**2).sum(axis=1)
    keep = (square > 1e-12) & (square < k_cut**2)
    half = keep & ((grid[:, 0] > 0) | ((grid[:, 0] == 0) & ((grid[:, 1] > 0) | ((grid[:, 1] == 0) & (grid[:, 2] > 0)))))
    phase = 2.0 * np.pi * (frac @ grid[half].T)
    weight = np.exp(-square[half] / (4.0 * eta**2)) / square[half] * 8.0 * np.pi / volume
    cosine, sine = np.cos(phase), np.sin(phase)
    matrix = real + (cosine * weight) @ cosine.T + (sine * weight) @ sine.T
    matrix[np.diag_indices(n)] -= 2.0 * eta / np.sqrt(np.pi)
    result: NDArray[np.float64] = 0.5 * coulomb * matrix
    return result


def random_start(
    problem: SearchProblem, counts: dict[int, dict[int, int]], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Kinds on random allowed positions: ``counts[group][kind]`` of each."""
    kinds = np.zeros(len(problem.field), dtype=np.int64)
    for group, wanted in counts.items():
        members = np.flatnonzero(problem.group == group)
        # kinds with the fewest places choose first
        for kind in sorted(wanted, key=lambda k: int(problem.allowed[members, k].sum())):
            free = members[(kinds[members] == 0) & problem.allowed[members, kind]]
            kinds[rng.choice(free, wanted[kind], replace=False)] = kind
    return kinds


def anneal(
    problem: SearchProblem, start: NDArray[np.int64], *, n_moves: int, rng: np.random.Generator
) -> list[tuple[float, NDArray[np.int64]]]:
    """Exchange ions while cooling down.

    Returns
    -------
    Energy and kinds of the assignments without conflicts that were met after the first third, the best of every
    fifty moves, and the end.
    """
    kinds = start.copy()
    q = problem.charges[kinds]
    potential = problem.field + 2.0 * (problem.matrix @ q)
    crowd = problem.conflicts[:, kinds > 0].sum(axis=1).astype(float)
    diagonal = np.diag(problem.matrix)
    energy, n_bad = problem.energy(kinds), problem.n_conflicts(kinds)
    members = {int(g): np.flatnonzero(problem.group == g) for g in np.unique(problem.group)}
    found: list[tuple[float, NDArray[np.int64]]] = []
    picks = rng.integers(0, len(kinds), size=(n_moves, 2))
    uniform = rng.random((n_moves, 2))
    best: tuple[float, NDArray[np.int64]] | None = None
    for step in range(n_moves):
        i = int(picks[step, 0])
        places = members[int(problem.group[i])]
        j = int(places[int(uniform[step, 1] * len(places))])
        a, b = kinds[i], kinds[j]
        if a == b or not (problem.allowed[i, b] and problem.allowed[j, a]):
            continue
        d = problem.charges[b] - problem.charges[a]
        change = d * (potential[i] - potential[j]) + d * d * (diagonal[i] + diagonal[j] - 2.0 * problem.matrix[i, j])
        bad = 0.0
        if (a == 0) != (b == 0):
            full, empty = (i, j) if b == 0 else (j, i)
            bad = float(crowd[empty] - problem.conflicts[empty, full] - crowd[full])
        temperature = START_EV * (END_EV / START_EV) ** (step / n_moves)
        cost = change + CONFLICT_EV * bad
        if cost <= 0.0 or uniform[step, 0] < np.exp(-cost / temperature):
            kinds[i], kinds[j] = b, a
            potential += 2.0 * d * (problem.matrix[:, i] - problem.matrix[:, j])
            if bad or (a == 0) != (b == 0):
                sign = 1.0 if a == 0 else -1.0
                crowd += sign * (problem.conflicts[:, i].astype(float) - problem.conflicts[:, j])
            energy += change
            n_bad += round(bad)
            if n_bad == 0 and 3 * step > n_moves and (best is None or energy < best[0]):
                best = (energy, kinds.copy())
        if step % 50 == 49 and best is not None:
            found.append(best)
            best = None
    if n_bad == 0:
        found.append((energy, kinds.copy()))
    return [(problem.energy(k), k) for _, k in found]


def distinct(
    found: list[tuple[float, NDArray[np.int64]]], permutations: NDArray[np.int64]
) -> list[tuple[float, NDArray[np.int64], int]]:
    """Assignments that no operation of the parent's space group carries into each other, best first.

    Parameters
    ----------
    found
        As from ``anneal``.
    permutations
        For every operation of the supercell, where each position goes, shape (n_operations, n).

    Returns
    -------
    Energy, kinds, and the number of assignments that symmetry makes equivalent to it.
    """
    kept: list[tuple[float, NDArray[np.int64], int]] = []
    forms: set[bytes] = set()
    for energy, kinds in sorted(found, key=lambda item: item[0]):
        images = np.unique(kinds[permutations], axis=0)
        form = images[0].tobytes()
        if form not in forms:
            forms.add(form)
            kept.append((energy, images[0], len(images)))
    return kept
