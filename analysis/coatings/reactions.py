"""What two solids in contact turn into: reaction energy against mixing ratio, closed and with lithium exchanged.

The hull energy along the line between two compositions is convex and piecewise linear. Its pieces follow from one
another by a pivot each, so the kinks are exact. The same numbers as pymatgen's ``InterfacialReactivity`` (Richards et
al., Chem. Mater. 28, 266 (2016)) come out, hundreds of times faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...structures.vocabulary import Frozen
from .hull import line_of_mixtures, lowest_mixture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .energies import PhaseSpace
    from .hull import Piece

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
    product_probability_elsewhere
        The same at the other ratios where the products change, the largest of them: a contact that has not come to its
        end holds these too. Closed systems only.
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
    product_probability_elsewhere: dict[str, float]
    threshold_ev: float
    alone_ev_per_atom: float

    @property
    def contact_ev_per_atom(self) -> float:
        """What the contact adds to the decomposition of each alone, eV per atom, at the ratio where it adds most.

        A metastable solid has an energy below zero at its own end of the curve; that is no reaction of the two.
        """
        first, last = self.kinks[-1].energy_ev_per_atom, self.kinks[0].energy_ev_per_atom
        return min(k.energy_ev_per_atom - k.share * first - (1.0 - k.share) * last for k in self.kinks) + 0.0


@dataclass(frozen=True)
class Reactant:
    """A solid in a phase space: formula, moles of elements per mole of atoms (m,), energy of its own or None."""

    formula: str
    vector: Array
    column: int | None


@dataclass(frozen=True)
class OwnEnergies:
    """A solid by itself: energy as it is, nominal and for S samples (S,), and of what it becomes on its own (S,)."""

    as_it_is_ev: float
    as_it_is_samples_ev: Array
    alone_samples_ev: Array


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
        self._own: dict[str, OwnEnergies] = {}

    def line(self, low: Array, high: Array) -> list[Piece]:
        """The lowest mixtures between two compositions of the phase space."""
        return line_of_mixtures(self.matrix, self.energies, low[self.rows], high[self.rows], self._start)

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

    def own(self, reactant: Reactant) -> OwnEnergies:
        """Energies of a solid by itself; computed once, or taken from ``lend``."""
        if reactant.formula not in self._own:
            nominal, drawn = self._as_it_is(reactant)
            vector = reactant.vector[self.rows]
            best = lowest_mixture(self.matrix, self.energies, vector, self._start)
            alone = lowest_mixture(self.matrix, self.samples, vector, best.basis[0]).energy_ev
            self._own[reactant.formula] = OwnEnergies(nominal, drawn, alone)
        return self._own[reactant.formula]

    def lend(self, formula: str, own: OwnEnergies) -> None:
        """Take the energies of a solid from the phase space of its own elements: the others cannot change them.

        The samples must be of the same seed, and the potential the same.
        """
        self._own.setdefault(formula, own)

    def _as_it_is(self, reactant: Reactant) -> tuple[float, Array]:
        """Energy of a solid, nominal and for each sample; the mixture's where it is no phase of the table."""
        if reactant.column is not None:
            at = np.searchsorted(self.columns, reactant.column)
            if at < len(self.columns) and self.columns[at] == reactant.column:
                return float(self.energies[at]), self.samples[:, at]
            return 0.0, np.zeros(len(self.samples))  # lithium itself, which the reservoir gives
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
    one, two = system.own(first), system.own(second)
    pieces = system.line(second.vector, first.vector)

    def mixed(share: float) -> Array:
        vector: Array = share * first.vector + (1.0 - share) * second.vector
        return vector

    def piece_at(share: float) -> Piece:
        return next(piece for piece in reversed(pieces) if piece.start <= share)

    def hull_ev(share: float) -> float:
        return float(piece_at(share).potentials_ev @ mixed(share)[system.rows])

    inside = sorted({p.start for p in pieces if EDGE < p.start < 1.0 - EDGE})
    order = _corners([(share, hull_ev(share)) for share in (EDGE, *inside, 1.0 - EDGE)])
    kinks = []
    for share in order:
        at = 0.0 if share == EDGE else 1.0 if share == 1.0 - EDGE else share
        value = hull_ev(share) - share * one.as_it_is_ev - (1.0 - share) * two.as_it_is_ev
        piece = piece_at(share)
        products = system.products(piece.basis, piece.amounts(mixed(share)[system.rows]))
        kinks.append(Kink(share=round(at, 6), energy_ev_per_atom=round(value, 5) + 0.0, products=products))
    number = int(np.argmin([k.energy_ev_per_atom for k in kinks]))
    share = order[number]
    worst = kinks[number]
    is_edge = number in (0, len(order) - 1)
    at = 0.5 if is_edge else share
    energies, appearing = system.sampled(mixed(at), piece_at(at).basis)
    elsewhere: dict[str, float] = {}
    if system.voltage_v is None:
        for other, kink in zip(order[1:-1], kinks[1:-1], strict=True):
            if other != at and kink.energy_ev_per_atom < -threshold_ev:
                for formula, likely in system.sampled(mixed(other), piece_at(other).basis)[1].items():
                    elsewhere[formula] = max(elsewhere.get(formula, 0.0), likely)
    added = energies - at * one.alone_samples_ev - (1.0 - at) * two.alone_samples_ev
    drawn = energies - at * one.as_it_is_samples_ev - (1.0 - at) * two.as_it_is_samples_ev
    ends = (hull_ev(EDGE) - two.as_it_is_ev) * (1.0 - share) + (hull_ev(1.0 - EDGE) - one.as_it_is_ev) * share
    return ReactionCurve(
        first=first.formula,
        second=second.formula,
        voltage_v=system.voltage_v,
        kinks=tuple(kinks),
        worst=worst,
        energy_error_ev=round(float((added if is_edge else drawn).std()), 5),
        probability=round(float((added < -threshold_ev).mean()), 3),
        product_probability=appearing,
        product_probability_elsewhere=elsewhere,
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
