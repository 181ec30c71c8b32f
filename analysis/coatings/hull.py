"""The lowest energy of a composition as a mixture of phases, for many sets of energies at once.

``min e.y`` with ``A y = b``, ``y >= 0`` is solved by the revised simplex method. The elements are always among the
phases, so their amounts are a first feasible basis; and all sets of energies share ``A`` and ``b``, so samples of
energies take their pivots together. Dual values are the chemical potentials of the elements. Along a line of
compositions the dual simplex method goes from one mixture to the next, one pivot for each kink.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import CoatingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MAX_PIVOTS = 400
TOLERANCE_EV = 1e-9
SPREAD = 1e-9
"""Tiny amounts added to every element, so that no vertex is degenerate and the method cannot cycle."""


class HullError(CoatingError):
    """A phase space in which a composition has no lowest mixture."""


@dataclass(frozen=True)
class Mixture:
    """Lowest mixtures for S sets of energies.

    Attributes
    ----------
    energy_ev
        Energy of the mixture, shape (S,).
    basis, amounts
        Phases of the mixture and how much of each, in moles of atoms, shape (S, m).
    potentials_ev
        Chemical potentials of the elements, shape (S, m).
    """

    energy_ev: Array
    basis: NDArray[np.int64]
    amounts: Array
    potentials_ev: Array


def lowest_mixture(matrix: Array, energies: Array, amounts: Array, start: NDArray[np.int64]) -> Mixture:
    """The phases into which a composition falls apart.

    Parameters
    ----------
    matrix
        Moles of each element per phase, shape (m, n).
    energies
        Energy of each phase, shape (n,) or (S, n), eV.
    amounts
        Moles of each element, shape (m,), not negative.
    start
        Columns that form a feasible basis, shape (m,): the elements, or the basis of an earlier solution for the
        same ``amounts``.

    Raises
    ------
    HullError
        If the energies have no lower bound or the search does not end.
    """
    costs = np.atleast_2d(energies)
    n_sets, m = len(costs), len(matrix)
    supply = amounts + SPREAD * (1.0 + np.arange(m) / (m + 1.0))
    basis = np.tile(start, (n_sets, 1))
    scale = np.linalg.norm(matrix, axis=0)
    rows = np.arange(n_sets)
    active = np.ones(n_sets, dtype=bool)
    held = np.empty((n_sets, m))
    duals = np.empty((n_sets, m))
    for _ in range(MAX_PIVOTS):
        index = rows[active]
        square = matrix.T[basis[index]].transpose(0, 2, 1)
        inverse = np.linalg.inv(square)
        x = inverse @ supply
        potential = np.einsum("si,sij->sj", costs[index[:, None], basis[index]], inverse)
        reduced = (costs[index] - potential @ matrix) / scale
        held[index], duals[index] = x, potential
        entering = reduced.argmin(axis=1)
        goes_on = reduced[np.arange(len(index)), entering] < -TOLERANCE_EV
        active[index[~goes_on]] = False
        if not goes_on.any():
            break
        index, entering, x, inverse = index[goes_on], entering[goes_on], x[goes_on], inverse[goes_on]
        direction = np.einsum("sij,sj->si", inverse, matrix.T[entering])
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(direction > 1e-11, x / direction, np.inf)
        leaving = ratios.argmin(axis=1)
        if not np.isfinite(ratios[np.arange(len(index)), leaving]).all():
            raise HullError("the energies of this phase space have no lower bound; a phase's energy is wrong")
        basis[index, leaving] = entering
    else:
        raise HullError(f"no lowest mixture after {MAX_PIVOTS} pivots; the energies of this phase space are not usable")
    held = np.clip(held, 0.0, None)
    energy = np.einsum("si,i->s", duals, amounts)
    return Mixture(energy_ev=energy, basis=basis, amounts=held, potentials_ev=duals)


@dataclass(frozen=True)
class Piece:
    """A part of a line of compositions over which the lowest mixture has the same phases.

    Attributes
    ----------
    start
        Where it begins, 0 to 1; it ends where the next one begins.
    basis
        Phases, shape (m,).
    inverse
        Inverse of their columns, shape (m, m): amounts are ``inverse @ composition``.
    potentials_ev
        Chemical potentials of the elements, shape (m,): the energy is ``potentials_ev @ composition``.
    """

    start: float
    basis: NDArray[np.int64]
    inverse: Array
    potentials_ev: Array

    def amounts(self, composition: Array) -> Array:
        """Moles of atoms of each phase at a composition of this piece, shape (m,)."""
        held: Array = np.clip(self.inverse @ composition, 0.0, None)
        return held


def line_of_mixtures(matrix: Array, energies: Array, low: Array, high: Array, start: NDArray[np.int64]) -> list[Piece]:
    """The lowest mixtures on the line from one composition to another, in order.

    Parameters
    ----------
    matrix, energies
        As in ``lowest_mixture``, one set of energies, shape (n,).
    low, high
        Compositions at 0 and 1, shape (m,).
    start
        Columns that form a feasible basis for ``low``.

    Raises
    ------
    HullError
        As ``lowest_mixture``.
    """
    basis = lowest_mixture(matrix, energies, low, start).basis[0].copy()
    m = len(matrix)
    supply = low + SPREAD * (1.0 + np.arange(m) / (m + 1.0))
    along = high - low
    at, pieces = 0.0, []
    for _ in range(MAX_PIVOTS):
        inverse: Array = np.asarray(np.linalg.inv(matrix[:, basis]), dtype=np.float64)
        potentials: Array = np.asarray(energies[basis] @ inverse, dtype=np.float64)
        pieces.append(Piece(start=at, basis=basis.copy(), inverse=inverse, potentials_ev=potentials))
        x, change = inverse @ supply, inverse @ along
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.where(change < -1e-13, -x / change, np.inf)
        leaving = int(ends.argmin())
        if ends[leaving] >= 1.0:
            return pieces
        at = max(at, float(ends[leaving]))
        row = inverse[leaving] @ matrix
        reduced = np.clip(energies - potentials @ matrix, 0.0, None)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(row < -1e-11, reduced / -row, np.inf)
        entering = int(ratios.argmin())
        if not np.isfinite(ratios[entering]):
            raise HullError("a composition between the two cannot be made of the phases of this space")
        basis[leaving] = entering
    raise HullError(f"no end of the line after {MAX_PIVOTS} pivots; the energies of this phase space are not usable")
