"""What two solids in contact turn into: reaction energy against mixing ratio, closed and with lithium exchanged.

The hull energy along the line between two compositions is convex and piecewise linear. Its kinks are found exactly from
tangents: two tangents of neighbouring pieces cross at the kink between them. The same numbers as pymatgen's
``InterfacialReactivity`` (Richards et al., Chem. Mater. 28, 266 (2016)) come out, hundreds of times faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...structures.vocabulary import Frozen
from .hull import lowest_mixture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .energies import PhaseSpace

    Array = NDArray[np.float64]

EDGE = 1e-6
"""How far from a pure reactant a line of mixtures begins, so that the tangent there is one of the line's."""

SAME_EV = 1e-7
SMALLEST_AMOUNT = 1e-4
LEAST_PROBABILITY = 0.05


class Kink(Frozen):
    """A point of a reaction curve: share of the first solid by atoms, energy in eV per atom, products in mole atoms."""

    share: float
    energy_ev_per_atom: float
    products: dict[str, float]


class ReactionCurve(Frozen):
    """Reaction energy of two solids against their mixing ratio.

    Attributes
    ----------
    first, second
        Formulas of the two.
    voltage_v
        Potential against Li/Li+ at which lithium is exchanged; None for a closed system.
    kinks
        From pure second (share 0) to pure first (share 1); energies are per mole of atoms put in, lithium from the
        reservoir not counted.
    worst
        The kink of lowest energy.
    product_probability
        Share of sampled energies for which a phase is among the products at that ratio.
    energy_error_ev
        Standard deviation of the energy at ``worst`` over sampled energies.
    probability
        Share of sampled energies for which the contact releases more than ``threshold_ev`` per atom beyond what each
        does alone: at that ratio, or at equal shares where the nominal energies give no reaction.
    alone_ev_per_atom
        Energy at the worst ratio if each falls apart on its own; the difference is what the contact adds.
    """

    first: str
    second: str
    voltage_v: float | None
    kinks: tuple[Kink, ...]
    worst: Kink
    energy_error_ev: float
    probability: float
    product_probability: dict[str, float]
    threshold_ev: float
    alone_ev_per_atom: float

    @property
    def contact_ev_per_atom(self) -> float:
        """What the contact adds to the decomposition of each alone, eV per atom."""
        return self.worst.energy_ev_per_atom - self.alone_ev_per_atom


@dataclass(frozen=True)
class Reactant:
    """A solid in a phase space: formula, moles of elements per mole of atoms (m,), energy of its own or None."""

    formula: str
    vector: Array
    column: int | None


class System:
    """A phase space closed, or open to lithium at a potential against Li/Li+."""

    def __init__(self, space: PhaseSpace, samples: Array, voltage_v: float | None = None) -> None:
        self.space, self.voltage_v = space, voltage_v
        lithium = space.elements.index("Li") if "Li" in space.elements else None
        self._shift = np.zeros(len(space.formulas))
        keep = np.arange(len(space.elements))
        if voltage_v is not None and lithium is not None:
            self._shift = voltage_v * space.matrix[lithium]
            keep = np.delete(keep, lithium)
        self.rows = keep
        columns = np.ones(len(space.formulas), dtype=bool)
        if voltage_v is not None and lithium is not None:
            columns[lithium] = False
        self.columns = np.flatnonzero(columns)
        self.matrix = space.matrix[np.ix_(keep, self.columns)]
        self.energies = (space.energies_ev + self._shift)[self.columns]
        self.samples = (samples + self._shift)[:, self.columns]
        self._start = np.searchsorted(self.columns, keep)
        self._alone: dict[str, Array] = {}

    def solve(self, vector: Array) -> tuple[float, Array, NDArray[np.int64], Array]:
        """Energy, chemical potentials, basis and amounts of the lowest mixture of a composition."""
        found = lowest_mixture(self.matrix, self.energies, vector[self.rows], self._start)
        return float(found.energy_ev[0]), found.potentials_ev[0], found.basis[0], found.amounts[0]

    def sampled(self, vector: Array, basis: NDArray[np.int64]) -> tuple[Array, dict[str, float]]:
        """Energy of the lowest mixture for each sample, and how often each phase is in it.

        ``basis`` is one that is feasible for this composition.
        """
        found = lowest_mixture(self.matrix, self.samples, vector[self.rows], basis)
        chosen, counts = np.unique(found.basis[found.amounts > SMALLEST_AMOUNT], return_counts=True)
        share = counts / len(self.samples)
        return found.energy_ev, {
            self.space.formulas[self.columns[c]]: round(float(p), 3)
            for c, p in sorted(zip(chosen, share, strict=True), key=lambda item: -item[1])
            if p >= LEAST_PROBABILITY
        }

    def reactant_energy(self, reactant: Reactant) -> tuple[float, Array]:
        """Energy of a solid as it is, nominal and for each sample; the mixture's where it is no phase of the table."""
        if reactant.column is not None:
            at = np.searchsorted(self.columns, reactant.column)
            return float(self.energies[at]), self.samples[:, at]
        closed = lowest_mixture(
            self.space.matrix, self.space.energies_ev, reactant.vector, np.arange(len(self.space.elements))
        )
        shift = 0.0
        if self.voltage_v is not None and "Li" in self.space.elements:
            shift = self.voltage_v * float(reactant.vector[self.space.elements.index("Li")])
        chosen, held = closed.basis[0], closed.amounts[0]
        where = np.searchsorted(self.columns, chosen)
        present = np.isin(chosen, self.columns) & (held > 0)
        drift = np.zeros(len(self.samples))
        for at, amount in zip(where[present], held[present], strict=True):
            drift += amount * (self.samples[:, at] - self.energies[at])
        energy = float(closed.energy_ev[0]) + shift
        return energy, energy + drift

    def alone(self, reactant: Reactant) -> Array:
        """Energy of what a solid by itself becomes, for each sample of energies."""
        if reactant.formula not in self._alone:
            self._alone[reactant.formula] = lowest_mixture(
                self.matrix, self.samples, reactant.vector[self.rows], self._start
            ).energy_ev
        return self._alone[reactant.formula]

    def products(self, basis: NDArray[np.int64], amounts: Array) -> dict[str, float]:
        """Formulas and moles of atoms of a mixture."""
        return {
            self.space.formulas[self.columns[b]]: round(float(a), 6)
            for b, a in sorted(zip(basis, amounts, strict=True), key=lambda item: -item[1])
            if a > SMALLEST_AMOUNT
        }


def make_reactant(space: PhaseSpace, formula: str, amounts: dict[str, float]) -> Reactant:
    """A solid of this formula in a phase space."""
    return Reactant(formula=formula, vector=space.vector(amounts), column=space.index_of(formula))


def reaction_curve(system: System, first: Reactant, second: Reactant, *, threshold_ev: float = 0.005) -> ReactionCurve:
    """Reaction energy against mixing ratio, its worst point, and the probability of a reaction there."""
    first_ev, first_samples = system.reactant_energy(first)
    second_ev, second_samples = system.reactant_energy(second)

    def mixed(share: float) -> Array:
        vector: Array = share * first.vector + (1.0 - share) * second.vector
        return vector

    solved: dict[float, tuple[float, Array, NDArray[np.int64], Array]] = {}

    def tangent(share: float) -> tuple[float, float, float]:
        """Hull energy at a share, and the tangent there as its values at share 0 and 1."""
        if share not in solved:
            solved[share] = system.solve(mixed(share))
        energy, potentials, _, _ = solved[share]
        return energy, float(potentials @ second.vector[system.rows]), float(potentials @ first.vector[system.rows])

    shares = {EDGE, 1.0 - EDGE}
    pending = [(EDGE, 1.0 - EDGE)]
    while pending:
        low, high = pending.pop()
        _, a0, a1 = tangent(low)
        _, b0, b1 = tangent(high)
        gap = (a1 - a0) - (b1 - b0)
        if abs(gap) < SAME_EV:
            continue
        cross = (b0 - a0) / gap
        if not low + EDGE < cross < high - EDGE:
            continue
        expected = a0 + cross * (a1 - a0)
        energy, _, _ = tangent(cross)
        shares.add(cross)
        if energy > expected + SAME_EV:
            pending += [(low, cross), (cross, high)]
    order = _corners([(share, solved[share][0]) for share in sorted(shares)])
    kinks = []
    for share in order:
        energy, _, basis, held = solved[share]
        at = 0.0 if share == EDGE else 1.0 if share == 1.0 - EDGE else share
        value = energy - share * first_ev - (1.0 - share) * second_ev
        kinks.append(
            Kink(share=round(at, 6), energy_ev_per_atom=round(value, 5) + 0.0, products=system.products(basis, held))
        )
    number = int(np.argmin([k.energy_ev_per_atom for k in kinks]))
    share = order[number]
    worst = kinks[number]
    basis = solved[share][2]
    is_edge = number in (0, len(order) - 1)
    at = 0.5 if is_edge else share
    if is_edge:
        basis = system.solve(mixed(at))[2]
    energies, appearing = system.sampled(mixed(at), basis)
    added = energies - at * system.alone(first) - (1.0 - at) * system.alone(second)
    drawn = energies - at * first_samples - (1.0 - at) * second_samples
    ends = (solved[EDGE][0] - second_ev) * (1.0 - share) + (solved[1.0 - EDGE][0] - first_ev) * share
    return ReactionCurve(
        first=first.formula,
        second=second.formula,
        voltage_v=system.voltage_v,
        kinks=tuple(kinks),
        worst=worst,
        energy_error_ev=round(float((added if is_edge else drawn).std()), 5),
        probability=round(float((added < -threshold_ev).mean()), 3),
        product_probability=appearing,
        threshold_ev=threshold_ev,
        alone_ev_per_atom=round(float(ends), 6),
    )


def _corners(points: list[tuple[float, float]]) -> list[float]:
    """Shares at which a convex line, given by some of its points, changes its slope, and both ends."""
    kept = [points[0]]
    for number in range(1, len(points) - 1):
        (x0, y0), (x1, y1), (x2, y2) = kept[-1], points[number], points[number + 1]
        if y0 + (y2 - y0) * (x1 - x0) / (x2 - x0) - y1 > SAME_EV:
            kept.append(points[number])
    return [share for share, _ in (*kept, points[-1])]
