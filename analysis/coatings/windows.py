"""Stability window of a solid against Li/Li+, with the reaction that ends it on either side.

Along a path that puts in or takes out lithium the hull energy is convex; its slope just beside the composition is
minus the potential at which lithium begins to be taken up or given off.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from ...structures.vocabulary import Frozen
from .hull import lowest_mixture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .energies import PhaseSpace
    from .reactions import Reactant

    Array = NDArray[np.float64]

STEP = 1e-3
"""Moles of lithium per mole of atoms that are put in or taken out to see the reaction that begins."""

SMALLEST = 1e-3


class WindowSide(Frozen):
    """One end of a window.

    Attributes
    ----------
    voltage_v, error_v
        Potential against Li/Li+ and its standard deviation over sampled energies; None where no reaction
        exchanges lithium, as the oxidation of a solid without lithium.
    reaction
        The limiting reaction, in formula units.
    products
        Its products.
    """

    voltage_v: float | None
    error_v: float | None
    reaction: str
    products: tuple[str, ...]


class StabilityWindow(Frozen):
    """Stability of a solid by itself.

    Attributes
    ----------
    above_hull_ev, above_hull_error_ev
        Energy above the mixture of other phases, eV per atom; negative for a stable solid (by how much it is).
    probability_stable
        Share of sampled energies for which it is stable.
    reduction, oxidation
        The two ends, for the solid lowered to the hull where it lies above.
    """

    formula: str
    above_hull_ev: float | None
    above_hull_error_ev: float | None
    probability_stable: float | None
    reduction: WindowSide
    oxidation: WindowSide

    @property
    def width_v(self) -> float | None:
        """Width in volt; None if an end does not exist."""
        if self.reduction.voltage_v is None or self.oxidation.voltage_v is None:
            return None
        return self.oxidation.voltage_v - self.reduction.voltage_v


class PublishedWindow(Frozen):
    """A published window, V against Li/Li+, with its source."""

    reduction_v: float
    oxidation_v: float
    source: str


@cache
def published_windows() -> dict[str, PublishedWindow]:
    """Published windows by reduced formula, to be shown beside computed ones."""
    import yaml

    from .energies import amounts_of, reduced

    text = (files("surfshift.analysis.data") / "published_windows.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return {
        reduced(amounts_of(formula)): PublishedWindow(
            reduction_v=low, oxidation_v=high, source=loaded["sources"][source]
        )
        for formula, (low, high, source) in loaded["windows"].items()
    }


LOWERED_EV = 0.002
"""How far below the hull a metastable solid is put, so that it is a phase of its own."""


def stability_window(space: PhaseSpace, samples: Array, reactant: Reactant) -> StabilityWindow:
    """The window of a solid; for a metastable one, that which it has if it is put just onto the hull.

    A solid that is no phase of the table gets the window of its decomposition products, and no energy above the hull.
    """
    m = len(space.elements)
    start = np.arange(m)
    lithium = space.elements.index("Li")
    energies, drawn, matrix = space.energies_ev, samples, space.matrix
    above = error = stable = None
    column = reactant.column
    if column is not None and column >= m:
        others = np.delete(np.arange(len(space.formulas)), column)
        rest = lowest_mixture(matrix[:, others], energies[others], reactant.vector, start)
        rest_drawn = lowest_mixture(matrix[:, others], drawn[:, others], reactant.vector, rest.basis[0]).energy_ev
        above = float(energies[column] - rest.energy_ev[0])
        spread = drawn[:, column] - rest_drawn
        error, stable = float(spread.std()), float((spread <= 0).mean())
        energies, drawn = energies.copy(), drawn.copy()
        energies[column] = min(energies[column], float(rest.energy_ev[0]) - LOWERED_EV)
        drawn[:, column] = np.minimum(drawn[:, column], rest_drawn - LOWERED_EV)
    sides = []
    for sign in (1.0, -1.0):
        vector = reactant.vector.copy()
        vector[lithium] += sign * STEP
        if vector[lithium] < 0 or (column is not None and column < m):
            sides.append(WindowSide(voltage_v=None, error_v=None, reaction="none: no lithium to give", products=()))
            continue
        nominal = lowest_mixture(matrix, energies, vector, start)
        sampled = lowest_mixture(matrix, drawn, vector, nominal.basis[0])
        volts = -sampled.potentials_ev[:, lithium]
        sides.append(
            WindowSide(
                voltage_v=round(float(-nominal.potentials_ev[0, lithium]), 4) + 0.0,
                error_v=round(float(volts.std()), 4),
                reaction=_reaction(space, reactant, nominal.basis[0], nominal.amounts[0], sign),
                products=_products(space, reactant, nominal.basis[0], nominal.amounts[0]),
            )
        )
    return StabilityWindow(
        formula=reactant.formula,
        above_hull_ev=None if above is None else round(above, 5),
        above_hull_error_ev=None if error is None else round(error, 5),
        probability_stable=None if stable is None else round(stable, 3),
        reduction=sides[0],
        oxidation=sides[1],
    )


def _products(space: PhaseSpace, reactant: Reactant, basis: NDArray[np.int64], amounts: Array) -> tuple[str, ...]:
    kept = [(a, space.formulas[b]) for b, a in zip(basis, amounts, strict=True) if a > SMALLEST * STEP]
    return tuple(f for _, f in sorted(kept, reverse=True) if f not in (reactant.formula, "Li"))


def _reaction(space: PhaseSpace, reactant: Reactant, basis: NDArray[np.int64], amounts: Array, sign: float) -> str:
    """The reaction of one formula unit, lithium on the left for a reduction and on the right for an oxidation."""
    if all(space.formulas[b] == "Li" for b in basis if space.formulas[b] not in (reactant.formula,)):
        return ""
    held = {space.formulas[b]: float(a) for b, a in zip(basis, amounts, strict=True) if a > SMALLEST * STEP}
    lithium = STEP - (held.pop("Li", 0.0) if sign > 0 else 0.0)
    used = 1.0 - held.pop(reactant.formula, 0.0)
    if used <= 1e-6:
        return "none: lithium metal does not react"
    size = formula_size(reactant.formula)
    units = size / used
    terms = " + ".join(
        f"{_number(a * units / formula_size(f))}{f}" for f, a in sorted(held.items(), key=lambda x: -x[1])
    )
    lithium_text = f"{_number(lithium * units)}Li"
    if sign > 0:
        return f"{reactant.formula} + {lithium_text} -> {terms}"
    return f"{reactant.formula} -> {lithium_text} + {terms}"


def formula_size(formula: str) -> float:
    """Atoms of a formula unit."""
    from .energies import amounts_of

    return sum(amounts_of(formula).values())


def _number(value: float) -> str:
    rounded = round(value, 3)
    return "" if abs(rounded - 1.0) < 5e-4 else f"{rounded:g} "
