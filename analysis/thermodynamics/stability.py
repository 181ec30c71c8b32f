"""Which termination is stable: with which probability, from which temperature on, and in which surroundings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...structures.vocabulary import Frozen
from .gases import SupersaturatedError
from .surface import (
    OutsideStableRegionError,
    State,
    SurfaceFreeEnergies,
    SurfaceSystem,
    ThermodynamicsError,
    error_covariance,
    reservoir_potential_ev,
    slab_gamma,
    surface_free_energies,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

N_SAMPLES = 4000


class StableTermination(Frozen):
    """The verdict for one state.

    Attributes
    ----------
    name
        Termination of the lowest surface free energy.
    probability
        Probability that it is the lowest one, given the errors of the method.
    probabilities
        That of every termination, in the order of ``energies``.
    energies
        Surface free energies with their covariance.
    """

    name: str
    probability: float
    probabilities: tuple[float, ...]
    energies: SurfaceFreeEnergies


class Transition(Frozen):
    """Temperature at which one termination gives way to another, K.

    Attributes
    ----------
    cold, hot
        Termination that is stable below and above.
    temperature_k
        Where the two surface free energies cross; ``None`` if they do not within the range.
    interval_k
        Central 90 % of the crossings over the errors of the method. An end at the edge of the range means "there or
        beyond".
    share_within
        Share of the samples that cross within the range.
    range_k
        Temperatures that were looked at.
    """

    cold: str
    hot: str
    temperature_k: float | None
    interval_k: tuple[float, float]
    share_within: float
    range_k: tuple[float, float]


def sample_errors(system: SurfaceSystem, n_samples: int = N_SAMPLES, *, seed: int = 0) -> Array:
    """Errors of gamma drawn together for all terminations, shape (n_samples, n_slabs), eV per square angstrom."""
    covariance = error_covariance(system)
    values, vectors = np.linalg.eigh(covariance)
    draws = np.random.default_rng(seed).standard_normal((n_samples, len(values)))
    errors: Array = (draws * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    return errors


def stable_termination(
    system: SurfaceSystem, state: State, *, n_samples: int = N_SAMPLES, seed: int = 0
) -> StableTermination:
    """The most stable termination in a state, and how sure that is.

    Raises
    ------
    OutsideStableRegionError, ReservoirError, ThermodynamicsError, GasError
        As ``surface_free_energies`` does.
    """
    energies = surface_free_energies(system, state)
    probabilities = lowest_shares(np.array(energies.gamma_ev_per_ang2), sample_errors(system, n_samples, seed=seed))
    best = int(np.argmin(energies.gamma_ev_per_ang2))
    return StableTermination(
        name=energies.names[best],
        probability=float(probabilities[best]),
        probabilities=tuple(map(float, probabilities)),
        energies=energies,
    )


def lowest_shares(gamma: Array, errors: Array) -> Array:
    """Share of the samples in which each termination is the lowest, shape (n_slabs,); ties are shared."""
    sampled = gamma + errors
    is_lowest = sampled <= sampled.min(axis=1, keepdims=True) + 1e-15
    shares: Array = (is_lowest / is_lowest.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares


def transition_temperature(
    system: SurfaceSystem,
    state: State,
    first: str,
    second: str,
    *,
    range_k: tuple[float, float] = (100.0, 1000.0),
    n_samples: int = N_SAMPLES,
    seed: int = 0,
) -> Transition:
    """Where the surface free energies of two terminations cross as the temperature rises, pressures as in ``state``.

    Raises
    ------
    ThermodynamicsError
        If a termination is unknown, or the difference does not change one way with temperature, so that there may be
        several crossings.
    """
    names = [slab.name for slab in system.slabs]
    for name in (first, second):
        if name not in names:
            raise ThermodynamicsError(f"no termination {name!r}; known: {', '.join(names)}")
    a, b = names.index(first), names.index(second)
    temperatures = np.linspace(*range_k, 181)
    difference = np.array([_difference(system, state, float(t), a, b) for t in temperatures])
    steps = np.diff(difference)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        raise ThermodynamicsError(
            f"the difference of {first} and {second} turns round between {range_k[0]:g} and {range_k[1]:g} K; "
            "ask for a narrower range"
        )
    if steps[0] < 0:
        a, b, difference = b, a, -difference
    # now gamma(a) - gamma(b) rises with temperature: a is the cold one
    errors = sample_errors(system, n_samples, seed=seed)
    offsets = errors[:, a] - errors[:, b]
    crossings = np.interp(-offsets, difference, temperatures)
    within = (-offsets >= difference[0]) & (-offsets <= difference[-1])
    crosses = bool(difference[0] <= 0.0 <= difference[-1])
    low, high = np.quantile(crossings, [0.05, 0.95])
    return Transition(
        cold=names[a],
        hot=names[b],
        temperature_k=float(np.interp(0.0, difference, temperatures)) if crosses else None,
        interval_k=(float(low), float(high)),
        share_within=float(within.mean()),
        range_k=range_k,
    )


def _difference(system: SurfaceSystem, state: State, temperature_k: float, a: int, b: int) -> float:
    """Gamma of a minus gamma of b. Gas pressures stay, also where water would condense: the line goes on beyond it."""
    here = state.model_copy(update={"temperature_k": temperature_k})
    potentials = np.array([reservoir_potential_ev(r, here, check_water=False) for r in system.reservoirs])
    return slab_gamma(system, system.slabs[a], here, potentials) - slab_gamma(system, system.slabs[b], here, potentials)


def stability_map(
    system: SurfaceSystem, states: Sequence[Sequence[State]], *, n_samples: int = 400, seed: int = 0
) -> tuple[NDArray[np.int64], Array]:
    """Index of the most stable termination and its probability on a grid of states; -1 where the bulk is not stable.

    Returns arrays of the grid's shape (n_rows, n_columns).
    """
    errors = sample_errors(system, n_samples, seed=seed)
    best = np.full((len(states), len(states[0])), -1, dtype=np.int64)
    probability = np.zeros(best.shape)
    for i, row in enumerate(states):
        for j, state in enumerate(row):
            try:
                gamma = np.array(surface_free_energies(system, state).gamma_ev_per_ang2)
            except (OutsideStableRegionError, SupersaturatedError):
                continue
            best[i, j] = int(np.argmin(gamma))
            probability[i, j] = lowest_shares(gamma, errors)[best[i, j]]
    return best, probability
