"""Surface free energies against temperature, pressures, chemical potentials and voltage, with their errors.

gamma = [E_slab + F_vib(T) - sum_r n_r mu_r] / (faces * area), where the slab's atoms are taken from reservoirs r: the
bulk, gases, lithium at a voltage (K. Reuter and M. Scheffler, Phys. Rev. B 65, 035406 (2001)). Pressure-volume terms
of solids are left out; at ambient pressure they are below 1e-6 eV per square angstrom.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ...structures.errors import SurfshiftError, nearest
from ...structures.vocabulary import Frozen
from .gases import check_water_pressure, gas_names, gas_potential_ev, lithium_potential_ev
from .vibrations import vibrational_free_energy_ev

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

J_PER_M2 = 16.02176634
"""1 eV per square angstrom in J/m2 (CODATA 2018, exact)."""

BALANCE_TOLERANCE = 1e-6
Formula = dict[str, float]


class ThermodynamicsError(SurfshiftError):
    """Energies that do not make a surface free energy."""


class ReservoirError(ThermodynamicsError):
    """Reservoirs that cannot make up a slab, or make it up in several ways."""


class OutsideStableRegionError(ThermodynamicsError):
    """A chemical potential at which the bulk is not stable."""


class Reservoir(Frozen):
    """Where atoms are taken from.

    Attributes
    ----------
    name
        How the reservoir is called; that of a gas is its formula.
    kind
        ``bulk``: the crystal of the slabs, its potential is its energy (and free energy of vibration); ``solid``: the
        same for another solid that atoms are exchanged with; ``gas``: it depends on temperature and
        pressure; ``metal``: lithium metal, its potential depends on the voltage against it.
    composition
        Atoms per unit.
    energy_ev
        Electronic energy per unit by the method of the slabs, eV; isolated molecule for a gas, per atom for a metal.
    modes_thz
        Vibrations of a bulk per unit, THz, if the slabs have theirs; repeated values or a mesh flattened with
        ``mode_weight`` as the share of one q point.
    error_ev
        Standard deviation of the method for moving one unit from here into a slab, eV. It is the same in all
        terminations, which makes their errors correlated.
    """

    name: str
    kind: Literal["bulk", "solid", "gas", "metal"]
    composition: Formula
    energy_ev: float
    modes_thz: tuple[float, ...] = ()
    mode_weight: float = Field(default=1.0, gt=0)
    error_ev: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.kind == "gas" and self.name not in gas_names():
            raise ValueError(f"no data for the gas {self.name!r}; {nearest(self.name, gas_names())}")
        if not self.composition or any(n <= 0 for n in self.composition.values()):
            raise ValueError(f"{self.name}: a composition needs positive numbers of atoms, got {self.composition}")
        return self


class SlabEnergy(Frozen):
    """One termination and its energy, by whatever engine.

    Attributes
    ----------
    composition
        Atoms per cell.
    energy_ev
        Electronic energy per cell of the relaxed slab, eV.
    area_ang2, faces
        Area of one face, square angstrom, and how many faces show this termination: 2 for a symmetric slab.
    modes_thz, mode_weight
        Vibrations that count, THz, as in ``Reservoir``: all of the slab's if the bulk has its own, or only those of
        adsorbed molecules if those of the dry slab are taken as the bulk's.
    error_ev_per_ang2
        Standard deviation of this termination's surface energy beside what all terminations share.
    """

    name: str
    composition: dict[str, int]
    energy_ev: float
    area_ang2: float = Field(gt=0)
    faces: Literal[1, 2] = 2
    miller: tuple[int, int, int] | None = None
    modes_thz: tuple[float, ...] = ()
    mode_weight: float = Field(default=1.0, gt=0)
    error_ev_per_ang2: float = Field(default=0.0, ge=0)


class Phase(Frozen):
    """A competing solid: composition and energy per unit, eV, by the same method."""

    name: str
    composition: Formula
    energy_ev: float


class State(Frozen):
    """The surroundings of a sample.

    Attributes
    ----------
    pressures_bar
        Partial pressure of each gas reservoir by name, bar.
    voltage_v
        Voltage against Li/Li+ if a metal is among the reservoirs.
    potentials_ev
        Chemical potentials that are given instead, by the name of a reservoir, eV relative to its ``energy_ev``.
    """

    temperature_k: float = Field(default=298.15, ge=0)
    pressures_bar: dict[str, float] = Field(default_factory=dict)
    voltage_v: float | None = None
    potentials_ev: dict[str, float] = Field(default_factory=dict)


class SurfaceSystem(Frozen):
    """Terminations, the reservoirs they are made of and the phases that compete with the bulk.

    ``shared_error_ev_per_ang2`` is the error of every surface energy alike; it does not change which one is stable.
    """

    slabs: tuple[SlabEnergy, ...] = Field(min_length=1)
    reservoirs: tuple[Reservoir, ...] = Field(min_length=1)
    competing: tuple[Phase, ...] = ()
    shared_error_ev_per_ang2: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _one_bulk_and_unique_names(self) -> Self:
        for kind, names in (
            ("slab", [slab.name for slab in self.slabs]),
            ("reservoir", [reservoir.name for reservoir in self.reservoirs]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"two of the {kind}s have one name: {', '.join(names)}")
        if sum(reservoir.kind == "bulk" for reservoir in self.reservoirs) != 1:
            raise ValueError("exactly one reservoir must be the bulk of the slabs; other solids are of kind solid")
        return self

    def reservoir(self, name: str) -> Reservoir:
        """The reservoir of that name.

        Raises
        ------
        ReservoirError
            If there is none.
        """
        for reservoir in self.reservoirs:
            if reservoir.name == name:
                return reservoir
        raise ReservoirError(f"no reservoir {name!r}; {nearest(name, [r.name for r in self.reservoirs])}")


class SurfaceFreeEnergies(Frozen):
    """gamma of every termination, eV per square angstrom, with the covariance of the method's errors."""

    names: tuple[str, ...]
    gamma_ev_per_ang2: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    @property
    def errors_ev_per_ang2(self) -> tuple[float, ...]:
        """Standard deviations."""
        return tuple(float(np.sqrt(row[k])) for k, row in enumerate(self.covariance))


def reservoir_potential_ev(reservoir: Reservoir, state: State, *, check_water: bool = True) -> float:
    """Chemical potential of one unit of a reservoir, eV; ``check_water`` refuses pressures at which water condenses.

    Raises
    ------
    ThermodynamicsError
        If the state lacks a pressure or the voltage.
    GasError, SupersaturatedError
        If there is no such gas, or its water would condense.
    """
    if reservoir.name in state.potentials_ev:
        return reservoir.energy_ev + state.potentials_ev[reservoir.name]
    if reservoir.kind == "gas":
        if reservoir.name not in state.pressures_bar:
            raise ThermodynamicsError(
                f"no pressure of {reservoir.name} is given; set pressures_bar[{reservoir.name!r}]"
            )
        pressure = state.pressures_bar[reservoir.name]
        if reservoir.name == "H2O" and check_water:
            check_water_pressure(state.temperature_k, pressure)
        return gas_potential_ev(reservoir.name, reservoir.energy_ev, state.temperature_k, pressure)
    if reservoir.kind == "metal":
        if state.voltage_v is None:
            raise ThermodynamicsError(f"no voltage against {reservoir.name} is given; set voltage_v")
        return lithium_potential_ev(reservoir.energy_ev, state.voltage_v)
    return reservoir.energy_ev + _vibrations(reservoir, state.temperature_k)


def _vibrations(holder: Reservoir | SlabEnergy, temperature_k: float) -> float:
    if not holder.modes_thz:
        return 0.0
    return holder.mode_weight * vibrational_free_energy_ev(holder.modes_thz, temperature_k)


def units_taken(composition: dict[str, float] | dict[str, int], reservoirs: tuple[Reservoir, ...]) -> Array:
    """How many units of each reservoir make up a composition, shape (n_reservoirs,); negative ones are given back.

    Raises
    ------
    ReservoirError
        If no numbers of units give the composition, or several do.
    """
    key = (
        tuple(sorted(composition.items())),
        tuple((r.name, tuple(sorted(r.composition.items()))) for r in reservoirs),
    )
    return np.array(_units(*key))


@lru_cache(maxsize=1024)
def _units(
    wanted: tuple[tuple[str, float], ...], given: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]
) -> tuple[float, ...]:
    elements = sorted({element for element, _ in wanted} | {element for _, atoms in given for element, _ in atoms})
    matrix = np.array([[dict(atoms).get(element, 0.0) for _, atoms in given] for element in elements])
    target = np.array([dict(wanted).get(element, 0.0) for element in elements])
    solution, _, rank, _ = np.linalg.lstsq(matrix, target, rcond=None)
    names = ", ".join(name for name, _ in given)
    formula = "".join(f"{element}{Fraction(n).limit_denominator(1000)}" for element, n in wanted)
    if np.abs(matrix @ solution - target).max() > BALANCE_TOLERANCE * max(1.0, np.abs(target).max()):
        raise ReservoirError(
            f"{formula} cannot be made of {names}; add a reservoir for each element that the slabs have beyond the bulk"
        )
    if rank < len(given):
        raise ReservoirError(f"{formula} can be made of {names} in several ways; leave a reservoir out")
    return tuple(float(x) for x in solution)


def surface_free_energies(system: SurfaceSystem, state: State, *, check_stability: bool = True) -> SurfaceFreeEnergies:
    """Gamma of every termination in one state, with the covariance of its errors.

    Parameters
    ----------
    check_stability
        Refuse states in which a competing phase is more stable than the bulk.

    Raises
    ------
    OutsideStableRegionError, ReservoirError, ThermodynamicsError, GasError
    """
    if check_stability:
        check_stable(system, state)
    potentials = np.array([reservoir_potential_ev(r, state) for r in system.reservoirs])
    gamma = [slab_gamma(system, slab, state, potentials) for slab in system.slabs]
    covariance = error_covariance(system)
    return SurfaceFreeEnergies(
        names=tuple(slab.name for slab in system.slabs),
        gamma_ev_per_ang2=tuple(gamma),
        covariance=tuple(tuple(map(float, row)) for row in covariance),
    )


def slab_gamma(system: SurfaceSystem, slab: SlabEnergy, state: State, potentials: Array) -> float:
    """Gamma of one termination, eV per square angstrom, from the potentials (n_reservoirs,) of all reservoirs."""
    taken = units_taken(slab.composition, system.reservoirs)
    excess = slab.energy_ev + _vibrations(slab, state.temperature_k) - float(taken @ potentials)
    return excess / (slab.faces * slab.area_ang2)


def error_covariance(system: SurfaceSystem) -> Array:
    """Covariance of the errors of gamma, shape (n_slabs, n_slabs), (eV per square angstrom) squared.

    gamma is linear in all energies: the error of a reservoir enters each termination with the units taken per area
    (in the bulk it cancels against the same method's error of the slab's inside, so only what is exchanged counts),
    and each termination has one of its own.
    """
    exchanged = [k for k, reservoir in enumerate(system.reservoirs) if reservoir.kind != "bulk"]
    per_area = np.array(
        [
            units_taken(slab.composition, system.reservoirs)[exchanged] / (slab.faces * slab.area_ang2)
            for slab in system.slabs
        ]
    ).reshape(len(system.slabs), len(exchanged))
    reservoir_errors = np.array([system.reservoirs[k].error_ev for k in exchanged])
    own = np.array([slab.error_ev_per_ang2 for slab in system.slabs])
    covariance: Array = (
        (per_area * reservoir_errors**2) @ per_area.T + np.diag(own**2) + system.shared_error_ev_per_ang2**2
    )
    return covariance


def stable_range_ev(system: SurfaceSystem, state: State, name: str) -> tuple[float, float]:
    """Lowest and highest chemical potential of a reservoir at which the bulk is stable, the others as in ``state``.

    Relative to the reservoir's ``energy_ev``, eV; infinite where no competing phase limits it.

    Raises
    ------
    ReservoirError
        If there is no such reservoir, or a competing phase cannot be made of the reservoirs.
    OutsideStableRegionError
        If no value makes the bulk stable.
    """
    reservoir = system.reservoir(name)
    index = system.reservoirs.index(reservoir)
    low, high = -np.inf, np.inf
    low_by, high_by = "", ""
    for phase in system.competing:
        taken = units_taken(phase.composition, system.reservoirs)
        rest = phase.energy_ev - sum(
            n * reservoir_potential_ev(other, state)
            for k, (n, other) in enumerate(zip(taken, system.reservoirs, strict=True))
            if k != index
        )
        if abs(taken[index]) < BALANCE_TOLERANCE:
            if rest < -BALANCE_TOLERANCE:
                raise OutsideStableRegionError(
                    f"{phase.name} forms whatever the potential of {name}; change the other potentials"
                )
            continue
        limit = rest / taken[index] - reservoir.energy_ev
        if taken[index] > 0 and limit < high:
            high, high_by = limit, phase.name
        if taken[index] < 0 and limit > low:
            low, low_by = limit, phase.name
    if low > high + BALANCE_TOLERANCE:
        raise OutsideStableRegionError(
            f"no potential of {name} makes the bulk stable: {low_by} forms below {low:.3f} eV and {high_by} above "
            f"{high:.3f} eV; check the energies, they must be by one method"
        )
    return float(low), float(high)


def check_stable(system: SurfaceSystem, state: State) -> None:
    """Refuse a state in which a competing phase is more stable than the bulk.

    Raises
    ------
    OutsideStableRegionError
        With the phase that forms and the range that is allowed for each potential.
    """
    for phase in system.competing:
        taken = units_taken(phase.composition, system.reservoirs)
        potentials = np.array([reservoir_potential_ev(r, state) for r in system.reservoirs])
        gain = float(taken @ potentials) - phase.energy_ev
        if gain <= BALANCE_TOLERANCE:
            continue
        ranges = []
        for reservoir, n, potential in zip(system.reservoirs, taken, potentials, strict=True):
            if reservoir.kind == "bulk" or abs(n) < BALANCE_TOLERANCE:
                continue
            try:
                low, high = stable_range_ev(system, state, reservoir.name)
            except OutsideStableRegionError:
                continue
            ranges.append(
                f"mu({reservoir.name}) is {potential - reservoir.energy_ev:.3f} eV and must lie between {low:.3f} and "
                f"{high:.3f} eV"
            )
        advice = "; ".join(ranges) or "no single potential mends it, change several"
        raise OutsideStableRegionError(
            f"the bulk is not stable here, {phase.name} forms (by {gain:.3f} eV per unit): {advice}, relative to the "
            "energies of the reservoirs"
        )
