"""Energies as a prior of the explanations: which candidates a sample at equilibrium would hold enough of to be seen.

It is off unless asked for, and the assignment says so when it is on. Energies are those of the unit that exchanges one
candidate for another (a surface cell, a defect), all by one method, at equal composition or with the chemical
potentials taken off; their error is that of the method.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, field_validator

from ...structures.errors import SurfshiftError, nearest
from ...structures.vocabulary import Frozen

if TYPE_CHECKING:
    from .search import Problem, Weighed

BOLTZMANN_EV_PER_K = 8.617333262e-5
"""CODATA 2018, exact."""

DRAWS = 4096


class EnergyPriorError(SurfshiftError):
    """Energies that do not belong to the candidates."""


class EnergyPrior(Frozen):
    """Energies of candidates and how far they are trusted.

    Attributes
    ----------
    energies_ev
        Relative energy of every candidate that is not always present, by its name, eV per exchanged unit.
    error_ev
        Standard deviation of the method for one candidate against another, eV; never zero.
    temperature_k
        At which the populations froze in, kelvin: that of drying, not that of the measurement.
    visible_share
        Population from which a candidate counts as present.
    out_of_equilibrium
        Probability that the sample is not at equilibrium and energies say nothing; the usual prior holds then.
    """

    energies_ev: dict[str, float]
    error_ev: float = Field(gt=0)
    temperature_k: float = Field(default=298.15, gt=0)
    visible_share: float = Field(default=0.05, gt=0, lt=0.5)
    out_of_equilibrium: float = Field(default=0.1, gt=0, le=1)

    @field_validator("energies_ev")
    @classmethod
    def _not_empty(cls, energies: dict[str, float]) -> dict[str, float]:
        if not energies:
            raise ValueError("energies_ev needs an energy for every candidate")
        return energies


def visible_sets(prior: EnergyPrior, names: tuple[str, ...]) -> dict[tuple[int, ...], float]:
    """Probability of each set of visible candidates (positions in ``names``) at equilibrium, from drawn energy errors.

    Each draw gives every candidate an error of its own, of which the differences have ``error_ev``; populations are
    exp(-E / kT) over their sum. The draws are fixed.

    Raises
    ------
    EnergyPriorError
        If an energy is missing or belongs to no candidate.
    """
    missing, unknown = sorted(set(names) - set(prior.energies_ev)), sorted(set(prior.energies_ev) - set(names))
    if unknown:
        raise EnergyPriorError(
            f"energy_prior names {unknown[0]!r}, which is no candidate; {nearest(unknown[0], names)}"
        )
    if missing:
        raise EnergyPriorError(
            f"energy_prior has no energy of {', '.join(missing)}; give one for every candidate, or leave the prior out"
        )
    energies = np.array([prior.energies_ev[name] for name in names])
    errors = np.random.default_rng(0).normal(scale=prior.error_ev / math.sqrt(2.0), size=(DRAWS, len(names)))
    exponent = -(energies + errors) / (BOLTZMANN_EV_PER_K * prior.temperature_k)
    weights = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    shares = weights / weights.sum(axis=1, keepdims=True)
    least = min(prior.visible_share, 1.0 / len(names))
    counts = Counter(tuple(int(k) for k in np.flatnonzero(row >= least)) for row in shares)
    return {members: count / DRAWS for members, count in counts.items()}


def with_energies(problem: Problem, weighed: list[Weighed], prior: EnergyPrior) -> list[Weighed]:
    """Explanations weighed once more with the energies, most probable first; a warning of the problem says so.

    The prior of an explanation becomes (1 - out_of_equilibrium) times its probability at equilibrium plus
    out_of_equilibrium times the usual one. That something unlisted is present keeps its prior.

    Raises
    ------
    EnergyPriorError
    """
    names = tuple(problem.names[problem.ids[i]] for i in problem.others)
    place = {index: k for k, index in enumerate(problem.others)}
    # explanations hold a limited number of candidates
    largest = min(problem.settings.max_members, len(names))
    found = {members: p for members, p in visible_sets(prior, names).items() if len(members) <= largest}
    total = sum(found.values())
    usual = prior.out_of_equilibrium if total > 0 else 1.0
    scores = []
    for item in weighed:
        factor = 1.0
        if item.fit is not None:
            members = tuple(sorted(place[i] for i in item.fit.members if i in place))
            at_equilibrium = found.get(members, 0.0) / total if total > 0 else 0.0
            factor = usual + (1.0 - usual) * at_equilibrium / problem.size_prior(len(members))
        scores.append(item.probability * factor)
    problem.warnings.append(
        f"energies are part of the prior: Boltzmann at {prior.temperature_k:g} K with an error of {prior.error_ev:g} "
        f"eV, and {100 * prior.out_of_equilibrium:g} % that the sample is not at equilibrium"
    )
    changed = [item._replace(probability=score / sum(scores)) for item, score in zip(weighed, scores, strict=True)]
    return sorted(changed, key=lambda item: -item.probability)
