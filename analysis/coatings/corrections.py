"""Corrections of computed formation energies, fitted on measured ones, and what error is left.

A potential that learnt semilocal DFT of crystals treats the molecules O2, N2, F2, Cl2 poorly and inherits the error
of bonds to anions. As in the scheme of the Materials Project (Wang et al., Sci. Rep. 11, 15496 (2021)) an energy is
added per atom of each anion, and per transition metal with a Hubbard term in the training data. Small terms per cation
are kept if they lower the error of left-out compounds.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...structures.vocabulary import Frozen
from .errors import EnergyTableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

ANIONS = ("F", "O", "Cl", "N", "Br", "I", "S", "C", "P", "Si", "B", "H")
"""Elements that can be the anion, the most electronegative first."""

ALWAYS_ANIONS = ("F", "O", "Cl", "Br", "I")
WITH_HUBBARD_TERM = ("Co", "Ni", "Mn")
PRIOR_EV = {
    "O": -0.687,
    "O peroxide": -0.465,
    "F": -0.462,
    "Cl": -0.614,
    "Br": -0.534,
    "I": -0.379,
    "N": -0.361,
    "S": -0.503,
    "H": -0.179,
    "Si": 0.071,
    "Co in oxide or fluoride": -1.638,
    "Ni in oxide or fluoride": -2.541,
    "Mn in oxide or fluoride": -1.668,
}
"""Where the fit starts: the corrections of the Materials Project (MP2020), on whose energies SevenNet was trained."""

PRIOR_ERROR_EV, CATION_PRIOR_ERROR_EV = 0.15, 0.1
LEAST_NOISE_EV_PER_ATOM = 0.02


class MeasuredEnergy(Frozen):
    """A measured formation enthalpy at 298 K per formula unit, eV, from the collection in pymatgen."""

    formula: str
    energy_ev: float
    n_atoms: float


class Corrections(Frozen):
    """Fitted corrections and the error that remains.

    Attributes
    ----------
    terms
        Names of the features: ``O`` for an oxide ion, ``Co in oxide or fluoride``, ``Li cation``.
    values_ev
        Energy added per atom of each feature.
    covariance_ev2
        Posterior covariance of the values.
    n_compounds
        Compounds fitted.
    error_ev_per_atom
        Root mean square error of compounds left out of the fit, by chemistry (the leading anion) and for ``all``.
    uncorrected_error_ev_per_atom
        The same without any correction.
    counts
        Number of compounds of each chemistry.
    """

    terms: tuple[str, ...]
    values_ev: tuple[float, ...]
    covariance_ev2: tuple[tuple[float, ...], ...]
    n_compounds: int
    error_ev_per_atom: dict[str, float]
    uncorrected_error_ev_per_atom: dict[str, float]
    counts: dict[str, int]

    def of(self, amounts: Mapping[str, float]) -> float:
        """Correction of a compound with these amounts of atoms, eV."""
        return float(np.dot(feature_row(amounts, self.terms), self.values_ev))

    def spread_of(self, chemistry: str) -> float:
        """Standard deviation of a corrected energy of this chemistry, eV per atom."""
        error = self.error_ev_per_atom
        if self.counts.get(chemistry, 0) < 5:
            return max(error.get(chemistry, 0.0), error["all"])
        return error[chemistry]


@cache
def measured_energies() -> dict[str, MeasuredEnergy]:
    """Measured formation energies by reduced formula; the lowest where a formula has several."""
    from pymatgen.core.composition import Composition

    # its package takes many seconds to import, and only the data file beside it is wanted
    spec = find_spec("pymatgen.analysis.compatibility")
    assert spec is not None
    assert spec.origin is not None
    raw = json.loads(gzip.decompress((Path(spec.origin).parent / "exp_compounds.json.gz").read_bytes()))
    found: dict[str, MeasuredEnergy] = {}
    for row in raw:
        composition = Composition(row["formula"])
        reduced, factor = composition.get_reduced_composition_and_factor()
        formula, energy = reduced.reduced_formula, float(row["exp energy"]) / factor
        known = found.get(formula)
        if known is None or energy < known.energy_ev:
            found[formula] = MeasuredEnergy(formula=formula, energy_ev=energy, n_atoms=float(reduced.num_atoms))
    return found


def chemistry_of(amounts: Mapping[str, float]) -> str:
    """The leading anion of a compound: ``oxide``, ``phosphate`` and the like; ``intermetallic`` without one."""
    elements = set(amounts)
    if len(elements) == 1:
        return "element"
    if "O" in elements:
        if "H" in elements:
            return "hydroxide"
        for partner, name in (("P", "phosphate"), ("C", "carbonate"), ("S", "sulfate"), ("B", "borate")):
            if partner in elements:
                return name
        return "oxide"
    names = {"F": "fluoride", "Cl": "chloride", "Br": "bromide", "I": "iodide", "S": "sulfide", "N": "nitride"}
    names |= {"P": "phosphide", "C": "carbide", "Si": "silicide", "B": "boride", "H": "hydride"}
    for anion in ANIONS:
        if anion in elements:
            return names[anion]
    return "intermetallic"


def feature_row(amounts: Mapping[str, float], terms: Sequence[str]) -> NDArray[np.float64]:
    """How many atoms of a compound count for each term, shape (len(terms),)."""
    row = np.zeros(len(terms))
    if len(amounts) < 2:
        return row
    anions = {a for a in ALWAYS_ANIONS if a in amounts}
    if "O" not in anions and "F" not in anions and "S" in amounts:
        anions.add("S")
    if "N" in amounts and "H" not in amounts:
        anions.add("N")
    if not anions:
        anions = {next((a for a in ANIONS if a in amounts), "")}
    for k, term in enumerate(terms):
        element, _, role = term.partition(" ")
        count = amounts.get(element, 0.0)
        if role == "peroxide":
            row[k] = count if _is_peroxide(amounts) else 0.0
        elif role == "in oxide or fluoride":
            row[k] = count if anions & {"O", "F"} else 0.0
        elif role == "cation":
            row[k] = count if element not in anions else 0.0
        elif element in anions:
            row[k] = 0.0 if element == "O" and _is_peroxide(amounts) else count
    return row


def _is_peroxide(amounts: Mapping[str, float]) -> bool:
    return set(amounts) == {"Li", "O"} and amounts["O"] / amounts["Li"] > 0.75


def fit_corrections(computed: Mapping[str, tuple[Mapping[str, float], float]]) -> Corrections:
    """Fit corrections on the compounds that were measured too.

    Parameters
    ----------
    computed
        For each reduced formula the amounts of its atoms and its raw formation energy in eV per formula unit.

    Raises
    ------
    EnergyTableError
        If fewer than ten compounds were measured.
    """
    measured = measured_energies()
    shared = sorted(f for f, (amounts, _) in computed.items() if f in measured and len(amounts) > 1)
    if len(shared) < 10:
        raise EnergyTableError(
            f"only {len(shared)} of the computed compounds have a measured formation energy; a fit needs at least 10"
        )
    amounts = [computed[f][0] for f in shared]
    sizes = np.array([sum(a.values()) for a in amounts])
    target = np.array([measured[f].energy_ev - computed[f][1] for f in shared]) / sizes
    elements = sorted({e for a in amounts for e in a})
    anions = [a for a in ANIONS if a in elements]
    # +U elements keep their own term; the peroxide ion differs from two oxide ions
    hubbard = [f"{m} in oxide or fluoride" for m in WITH_HUBBARD_TERM if m in elements]
    base = [*anions, "O peroxide", *hubbard]
    wide = [*base, *(f"{e} cation" for e in elements)]
    best = min((_solve(amounts, sizes, target, terms) for terms in (base, wide)), key=lambda fit: fit[4])
    terms, values, covariance, left_out, _ = best
    chemistries = [chemistry_of(a) for a in amounts]
    errors, before, counts = {}, {}, {}
    for chemistry in ("all", *sorted(set(chemistries))):
        chosen = np.array([chemistry in ("all", c) for c in chemistries])
        errors[chemistry] = round(float(np.sqrt(np.mean(left_out[chosen] ** 2))), 4)
        before[chemistry] = round(float(np.sqrt(np.mean(target[chosen] ** 2))), 4)
        counts[chemistry] = int(chosen.sum())
    return Corrections(
        terms=tuple(terms),
        values_ev=tuple(round(float(v), 5) for v in values),
        covariance_ev2=tuple(tuple(round(float(c), 8) for c in row) for row in covariance),
        n_compounds=len(shared),
        error_ev_per_atom=errors,
        uncorrected_error_ev_per_atom=before,
        counts=counts,
    )


def _solve(
    amounts: Sequence[Mapping[str, float]],
    sizes: NDArray[np.float64],
    target: NDArray[np.float64],
    terms: Sequence[str],
) -> tuple[Sequence[str], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
    """Bayesian least squares with a prior on each term; errors of compounds left out one by one; their spread."""
    features = np.array([feature_row(a, terms) for a in amounts]) / sizes[:, None]
    prior = np.array([CATION_PRIOR_ERROR_EV if "cation" in t else PRIOR_ERROR_EV for t in terms])
    expected = np.array([PRIOR_EV.get(t, 0.0) for t in terms])
    target = target - features @ expected
    noise, weights = LEAST_NOISE_EV_PER_ATOM, np.ones(len(target))
    for _ in range(30):
        precision = features.T @ (weights[:, None] * features) / noise**2 + np.diag(prior**-2.0)
        covariance = np.linalg.inv(precision)
        values = covariance @ features.T @ (weights * target) / noise**2
        residual = target - features @ values
        leverage = np.einsum("ij,jk,ik->i", features, covariance, features) * weights / noise**2
        noise = max(LEAST_NOISE_EV_PER_ATOM, 1.4826 * float(np.median(np.abs(residual))))
        # Huber's weights: a compound in a wrong structure must not pull the others
        weights = np.minimum(1.0, 2.0 * noise / np.maximum(np.abs(residual), 1e-12))
    left_out = residual / np.clip(1.0 - leverage, 0.05, None)
    total: NDArray[np.float64] = np.asarray(values + expected, dtype=np.float64)
    matrix: NDArray[np.float64] = np.asarray(covariance, dtype=np.float64)
    missed: NDArray[np.float64] = np.asarray(left_out, dtype=np.float64)
    spread = float(np.sqrt(np.mean(np.minimum(np.abs(missed), 0.3) ** 2)))
    return terms, total, matrix, missed, spread
