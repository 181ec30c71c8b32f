"""The pair potential of van Beest, Kramer and van Santen for aluminium phosphates, as an ase calculator.

It is two hundred times cheaper than a machine-learned potential and keeps tetrahedra, which makes it fit for the melt
and the quench of a glass that a better potential then relaxes. Energies of it are not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

COULOMB_EV_ANG = 14.399645

CHARGES_E = {"Al": 1.4, "P": 3.4, "O": -1.2}

BUCKINGHAM = {
    ("Al", "O"): (16008.5345, 4.79667, 130.5659),
    ("O", "P"): (9034.2080, 5.19098, 19.8793),
    ("O", "O"): (1388.7730, 2.76000, 175.0000),
}
"""A (eV), b (1/angstrom) and c (eV angstrom^6) of A exp(-b r) - c / r^6; B. W. H. van Beest, G. J. Kramer and R. A. van
Santen, Phys. Rev. Lett. 64, 1955 (1990)."""

CORE_ANG = {("Al", "O"): 1.25, ("O", "P"): 1.10, ("O", "O"): 1.60}
"""Distances at which a core repulsion of 1 eV, falling with the 24th power, keeps atoms of a hot melt from the
unphysical well of the Buckingham form."""

CORE_POWER = 24

CUTOFF_ANG = 8.0
SKIN_ANG = 0.8
DAMPING_PER_ANG = 0.25
"""Of the damped, force-shifted Coulomb sum (Fennell and Gezelter, J. Chem. Phys. 124, 234104 (2006)), 1/angstrom."""


def aluminophosphate_calculator() -> Calculator:
    """The potential as an ase calculator with energy and forces."""
    from ase.calculators.calculator import Calculator, all_changes

    class AluminophosphatePotential(Calculator):
        implemented_properties = ["energy", "forces", "free_energy"]  # noqa: RUF012 (as ase declares it)

        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.pairs = PairPotential()

        def calculate(
            self, atoms: Any = None, properties: Any = None, system_changes: Any = tuple(all_changes)
        ) -> None:
            super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
            given: Any = self.atoms
            energy, forces = self.pairs.evaluate(
                given.get_chemical_symbols(), given.get_positions(), np.array(given.cell)
            )
            self.results = {"energy": energy, "free_energy": energy, "forces": forces}

    return AluminophosphatePotential()


class PairPotential:
    """Energy and forces of Al, P and O; pairs are listed anew once an atom has moved by half the skin."""

    def __init__(self) -> None:
        self._listed: Array = np.empty((0, 3))
        self._cell: Array = np.empty((0, 3))

    def evaluate(self, symbols: list[str], positions: Array, cell: Array) -> tuple[float, Array]:
        """Energy (eV) and forces (n, 3) in eV per angstrom of a periodic cell.

        Raises
        ------
        ValueError
            If an element is not Al, P or O.
        """
        unknown = sorted(set(symbols) - set(CHARGES_E))
        if unknown:
            raise ValueError(f"the potential knows Al, P and O, not {', '.join(unknown)}; use another calculator")
        if (
            self._listed.shape != positions.shape
            or not np.array_equal(cell, self._cell)
            or np.linalg.norm(positions - self._listed, axis=1).max() > SKIN_ANG / 2
        ):
            self._list_pairs(symbols, positions, cell)
        vectors = positions[self._j] + self._shifts - positions[self._i]
        squares = np.einsum("ij,ij->i", vectors, vectors)
        near = squares < CUTOFF_ANG**2
        r = np.sqrt(squares[near])
        energy, slope = _pair_energy(r, self._parameters[:, near])
        pull = (slope / r)[:, None] * vectors[near]
        n = len(positions)
        forces = np.column_stack(
            [
                np.bincount(self._i[near], weights=pull[:, axis], minlength=n)
                - np.bincount(self._j[near], weights=pull[:, axis], minlength=n)
                for axis in range(3)
            ]
        )
        return float(energy.sum()) - self._self_energy, forces

    def _list_pairs(self, symbols: list[str], positions: Array, cell: Array) -> None:
        i, j, images = _pairs_within(positions, cell, CUTOFF_ANG + SKIN_ANG)
        self._i, self._j, self._shifts = i, j, images @ cell
        charges = np.array([CHARGES_E[s] for s in symbols])
        kinds = sorted(set(symbols))
        number = np.array([kinds.index(s) for s in symbols])
        table = np.zeros((len(kinds), len(kinds), 4))
        for a, first in enumerate(kinds):
            for b, second in enumerate(kinds):
                pair = (min(first, second), max(first, second))
                table[a, b] = (*BUCKINGHAM.get(pair, (0.0, 1.0, 0.0)), CORE_ANG.get(pair, 0.0))
        rows = table[number[i], number[j]]
        self._parameters = np.vstack([COULOMB_EV_ANG * charges[i] * charges[j], rows.T])
        self._listed, self._cell = positions.copy(), cell.copy()
        self._self_energy = _self_energy(charges)


def _pairs_within(
    positions: Array, cell: Array, reach_ang: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of atoms, each once, and the image of the second; faster than cell lists for some hundred atoms."""
    inverse = np.linalg.inv(cell)
    frac = positions @ inverse
    delta = frac[None, :, :] - frac[:, None, :]
    base = -np.round(delta).astype(np.int64)
    # the nearest image of a pair lies within half a cell
    n_a, n_b, n_c = np.floor(reach_ang * np.linalg.norm(inverse, axis=0) + 0.5).astype(int)
    found = []
    for step in np.ndindex(2 * n_a + 1, 2 * n_b + 1, 2 * n_c + 1):
        image = base + (np.array(step) - (n_a, n_b, n_c))
        vectors = (delta + image) @ cell
        squares = np.einsum("ijk,ijk->ij", vectors, vectors)
        i, j = np.nonzero(squares < reach_ang**2)
        a, b, c = np.moveaxis(image[i, j], 1, 0)
        once = (i < j) | ((i == j) & ((a > 0) | ((a == 0) & ((b > 0) | ((b == 0) & (c > 0))))))
        found.append((i[once], j[once], image[i[once], j[once]]))
    i, j, image = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return i, j, image


def _self_energy(charges: Array) -> float:
    """What every ion adds by the damping and the shift, eV; a constant for a given composition."""
    from scipy.special import erfc

    shifted = erfc(DAMPING_PER_ANG * CUTOFF_ANG) / (2 * CUTOFF_ANG) + DAMPING_PER_ANG / np.sqrt(np.pi)
    return COULOMB_EV_ANG * float(shifted * (charges**2).sum())


def _pair_energy(r: Array, parameters: Array) -> tuple[Array, Array]:
    """Energy (eV) of every pair and its derivative by the distance (eV per angstrom)."""
    from scipy.special import erfc

    def damped(x: Any) -> tuple[Any, Any]:
        value = erfc(DAMPING_PER_ANG * x) / x
        gauss = 2 * DAMPING_PER_ANG / np.sqrt(np.pi) * np.exp(-((DAMPING_PER_ANG * x) ** 2))
        return value, -(value + gauss) / x

    charge, a, b, c, core = parameters
    at_cutoff, slope_at_cutoff = damped(CUTOFF_ANG)
    value, slope = damped(r)
    energy = charge * (value - at_cutoff - slope_at_cutoff * (r - CUTOFF_ANG))
    derivative = charge * (slope - slope_at_cutoff)
    repulsion = a * np.exp(-b * r)
    attraction = c / r**6
    hard = (core / r) ** CORE_POWER
    energy += repulsion - attraction + c / CUTOFF_ANG**6 + hard
    derivative += -b * repulsion + 6 * attraction / r - CORE_POWER * hard / r
    return energy, derivative
