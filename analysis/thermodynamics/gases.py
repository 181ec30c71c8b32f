"""Chemical potentials of gases against temperature and pressure, and the pressure of water in usual conditions.

A chemical potential is the electronic energy of the molecule, as an engine computes it, plus its zero-point energy plus
a thermal part from statistical mechanics. The thermal part is corrected to the NIST-JANAF tables, which include what
the rigid rotor and the harmonic oscillator leave out (up to 4 meV at 1000 K).
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from pydantic import Field

from ...structures.errors import SurfshiftError, nearest
from ...structures.vocabulary import Frozen, Vector3

BOLTZMANN_EV_PER_K = 8.617333262e-5
"""CODATA 2018, exact."""

KJ_PER_MOL_EV = 0.01036426966
"""1 kJ/mol per molecule in eV (CODATA 2018)."""

INVERSE_CM_EV = 1.239841984e-4
"""1/cm in eV (CODATA 2018)."""

ROOM_K = 298.15
STANDARD_PRESSURE_BAR = 1.0
AMBIENT_PRESSURE_BAR = 1.01325

WATER_CRITICAL_K = 647.096
WATER_CRITICAL_BAR = 220.64
WATER_TRIPLE_K = 273.16


class GasError(SurfshiftError):
    """A gas, temperature or pressure for which no chemical potential is known."""


class SupersaturatedError(GasError):
    """Water at a pressure at which it condenses."""


class Gas(Frozen):
    """Published facts of one gas; see the comments in ``analysis/data/gases.yaml``.

    Attributes
    ----------
    temperatures_k, gibbs_function_j_mol_k
        -[G(T) - H(298.15 K)]/T at 1 bar, J/(mol K), at each temperature.
    enthalpy_0k_kj_mol
        H(0 K) - H(298.15 K), kJ/mol.
    zero_point_cm
        Zero-point energy, 1/cm.
    fundamentals_cm, elements, positions_ang, symmetry_number, spin
        Vibrations (1/cm), geometry (angstrom), rotational symmetry number and total electronic spin.
    """

    name: str
    source: str
    temperatures_k: tuple[float, ...]
    gibbs_function_j_mol_k: tuple[float, ...]
    enthalpy_0k_kj_mol: float
    zero_point_cm: float = Field(gt=0)
    zero_point_source: str
    fundamentals_cm: tuple[float, ...]
    elements: tuple[str, ...]
    positions_ang: tuple[Vector3, ...]
    symmetry_number: int = Field(ge=1)
    spin: float = Field(ge=0)

    @property
    def zero_point_ev(self) -> float:
        """Zero-point energy, eV."""
        return self.zero_point_cm * INVERSE_CM_EV

    @property
    def composition(self) -> dict[str, int]:
        """Atoms per molecule."""
        return {element: self.elements.count(element) for element in dict.fromkeys(self.elements)}

    def tabulated_ev(self) -> dict[float, float]:
        """G(T) - H(0 K) at 1 bar in eV as the table states it, by temperature in K."""
        return {
            t: (-t * value / 1000.0 - self.enthalpy_0k_kj_mol) * KJ_PER_MOL_EV
            for t, value in zip(self.temperatures_k, self.gibbs_function_j_mol_k, strict=True)
        }


@cache
def _gases() -> dict[str, Any]:
    import yaml

    text = files("surfshift.analysis.data").joinpath("gases.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return {
        name: {"name": name, "temperatures_k": content["temperatures_k"], **entry}
        for name, entry in content["gases"].items()
    }


def gas_names() -> tuple[str, ...]:
    """Names of the gases with data."""
    return tuple(_gases())


@cache
def load_gas(name: str) -> Gas:
    """Facts of a gas by its formula.

    Raises
    ------
    GasError
        If the gas is not in the table.
    """
    if name not in _gases():
        raise GasError(f"no data for the gas {name!r}; {nearest(name, _gases())}")
    return Gas.model_validate(_gases()[name])


def rigid_rotor_ev(gas: Gas, temperature_k: float) -> float:
    """G(T) - H(0 K) at 1 bar, eV: ideal gas, rigid rotor and harmonic oscillators at the observed fundamentals."""
    return float(_rigid_rotor(gas).get_gibbs_energy(temperature_k, 1e5, verbose=False)) - 0.5 * sum(_vibrations_ev(gas))


def _vibrations_ev(gas: Gas) -> list[float]:
    return [f * INVERSE_CM_EV for f in gas.fundamentals_cm]


@cache
def _rigid_rotor(gas: Gas) -> Any:
    from ase import Atoms
    from ase.thermochemistry import IdealGasThermo

    atoms = Atoms(list(gas.elements), positions=np.array(gas.positions_ang))
    is_linear = bool(np.min(atoms.get_moments_of_inertia()) < 1e-6)
    return IdealGasThermo(
        vib_energies=_vibrations_ev(gas),
        geometry="linear" if is_linear else "nonlinear",
        atoms=atoms,
        symmetrynumber=gas.symmetry_number,
        spin=gas.spin,
    )


@cache
def _correction(gas: Gas) -> Any:
    """The smooth difference between table and rigid rotor, eV, as a cubic through the tabulated temperatures."""
    from scipy.interpolate import CubicSpline

    # 298.15 K is left out: so close to 300 K, the rounding of the table would bend the curve
    table = {t: value for t, value in gas.tabulated_ev().items() if t != ROOM_K}
    return CubicSpline(list(table), [value - rigid_rotor_ev(gas, t) for t, value in table.items()])


def thermal_potential_ev(name: str, temperature_k: float, pressure_bar: float = STANDARD_PRESSURE_BAR) -> float:
    """Chemical potential of a gas relative to its enthalpy at 0 K (electronic plus zero-point energy), eV per molecule.

    Parameters
    ----------
    name
        Formula of the gas.
    temperature_k
        Temperature, K, within the tabulated range.
    pressure_bar
        Partial pressure, bar; the gas is ideal.

    Raises
    ------
    GasError
        For an unknown gas, a temperature outside the table or a pressure that is not positive.
    """
    gas = load_gas(name)
    low, high = gas.temperatures_k[0], gas.temperatures_k[-1]
    if not low <= temperature_k <= high:
        raise GasError(f"{temperature_k:g} K is outside the table of {name}; give {low:g} to {high:g} K")
    if not (math.isfinite(pressure_bar) and pressure_bar > 0):
        raise GasError(f"a partial pressure of {pressure_bar:g} bar has no chemical potential; give one above 0")
    return _standard_ev(gas, temperature_k) + BOLTZMANN_EV_PER_K * temperature_k * math.log(
        pressure_bar / STANDARD_PRESSURE_BAR
    )


@lru_cache(maxsize=4096)
def _standard_ev(gas: Gas, temperature_k: float) -> float:
    return rigid_rotor_ev(gas, temperature_k) + float(_correction(gas)(temperature_k))


def gas_potential_ev(
    name: str, energy_ev: float, temperature_k: float, pressure_bar: float = STANDARD_PRESSURE_BAR
) -> float:
    """Chemical potential of a gas on the energy scale of an engine, eV per molecule.

    ``energy_ev`` is the electronic energy of the isolated molecule by the same method as everything it is compared
    with. Raises as ``thermal_potential_ev``.
    """
    return energy_ev + load_gas(name).zero_point_ev + thermal_potential_ev(name, temperature_k, pressure_bar)


def lithium_potential_ev(metal_energy_ev: float, voltage_v: float) -> float:
    """Chemical potential of Li at a voltage against Li/Li+, eV: that of the metal (per atom) minus e V."""
    return metal_energy_ev - voltage_v


def water_saturation_bar(temperature_k: float) -> float:
    """Vapour pressure of liquid water, bar, after W. Wagner and A. Pruss, J. Phys. Chem. Ref. Data 22, 783 (1993).

    Raises
    ------
    GasError
        Outside 273.16 to 647.096 K, where there is no liquid water.
    """
    if not WATER_TRIPLE_K <= temperature_k <= WATER_CRITICAL_K:
        raise GasError(
            f"there is no liquid water at {temperature_k:g} K; give {WATER_TRIPLE_K} to {WATER_CRITICAL_K} K"
        )
    tau = 1.0 - temperature_k / WATER_CRITICAL_K
    terms = (
        (-7.85951783, 1.0),
        (1.84408259, 1.5),
        (-11.7866497, 3.0),
        (22.6807411, 3.5),
        (-15.9618719, 4.0),
        (1.80122502, 7.5),
    )
    exponent = WATER_CRITICAL_K / temperature_k * sum(a * tau**n for a, n in terms)
    return WATER_CRITICAL_BAR * math.exp(exponent)


def check_water_pressure(temperature_k: float, pressure_bar: float) -> None:
    """Refuse a water pressure at which water condenses; below the triple point nothing is checked.

    Raises
    ------
    SupersaturatedError
        With the largest pressure that is possible.
    """
    if not WATER_TRIPLE_K <= temperature_k <= WATER_CRITICAL_K:
        return
    limit = water_saturation_bar(temperature_k)
    if pressure_bar > limit * (1.0 + 1e-9):
        raise SupersaturatedError(
            f"water at {pressure_bar:.3g} bar and {temperature_k:g} K condenses; give at most {limit:.3g} bar there"
        )


def water_pressure_bar(relative_humidity: float, temperature_k: float) -> float:
    """Partial pressure of water, bar, at a relative humidity between 0 (excluded) and 1 over liquid water.

    Raises
    ------
    GasError
        For a humidity outside that range, or where there is no liquid water.
    """
    if not 0.0 < relative_humidity <= 1.0:
        raise GasError(
            f"a relative humidity of {relative_humidity:g} is not possible; give a share up to 1, such as 0.5"
        )
    return relative_humidity * water_saturation_bar(temperature_k)


class Conditions(Frozen):
    """Temperature (K) and partial pressures (bar) in which a sample is kept; ``description`` says where from."""

    description: str
    temperature_k: float = Field(gt=0)
    water_bar: float = Field(gt=0)
    oxygen_bar: float = Field(gt=0)


OXYGEN_SHARE_OF_AIR = 0.2095


def ambient_air(temperature_k: float = ROOM_K, relative_humidity: float = 0.5) -> Conditions:
    """Air of a laboratory."""
    return Conditions(
        description=f"air, {temperature_k:.0f} K, {100 * relative_humidity:.0f} % humidity",
        temperature_k=temperature_k,
        water_bar=water_pressure_bar(relative_humidity, temperature_k),
        oxygen_bar=OXYGEN_SHARE_OF_AIR * AMBIENT_PRESSURE_BAR,
    )


def dried_in_air(
    temperature_k: float = 393.15, *, room_k: float = ROOM_K, relative_humidity: float = 0.5
) -> Conditions:
    """An oven (120 C if not said otherwise) open to the air of a room: hot, at the room's water pressure."""
    return Conditions(
        description=f"oven, {temperature_k:.0f} K, air of {100 * relative_humidity:.0f} % humidity at {room_k:.0f} K",
        temperature_k=temperature_k,
        water_bar=water_pressure_bar(relative_humidity, room_k),
        oxygen_bar=OXYGEN_SHARE_OF_AIR * AMBIENT_PRESSURE_BAR,
    )


def dried_in_vacuum(temperature_k: float = 393.15, *, pressure_mbar: float = 1e-2) -> Conditions:
    """A vacuum oven: what is left in it counts as water and, by a fifth, as oxygen."""
    return Conditions(
        description=f"vacuum oven at {temperature_k:.0f} K, {pressure_mbar:g} mbar",
        temperature_k=temperature_k,
        water_bar=pressure_mbar / 1000.0,
        oxygen_bar=OXYGEN_SHARE_OF_AIR * pressure_mbar / 1000.0,
    )


def glovebox(water_ppm: float = 1.0, oxygen_ppm: float = 1.0, temperature_k: float = ROOM_K) -> Conditions:
    """A glovebox: volume shares in ppm of an inert gas at ambient pressure."""
    return Conditions(
        description=f"glovebox, {water_ppm:g} ppm H2O, {oxygen_ppm:g} ppm O2, {temperature_k:.0f} K",
        temperature_k=temperature_k,
        water_bar=water_ppm * 1e-6 * AMBIENT_PRESSURE_BAR,
        oxygen_bar=oxygen_ppm * 1e-6 * AMBIENT_PRESSURE_BAR,
    )
