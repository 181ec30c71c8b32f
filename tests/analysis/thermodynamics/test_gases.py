"""Chemical potentials of gases against the NIST-JANAF tables, and pressures of water against the steam tables."""

import itertools

import pytest
from surfshift.analysis.thermodynamics.gases import (
    BOLTZMANN_EV_PER_K,
    GasError,
    SupersaturatedError,
    ambient_air,
    check_water_pressure,
    dried_in_air,
    dried_in_vacuum,
    gas_names,
    gas_potential_ev,
    glovebox,
    lithium_potential_ev,
    load_gas,
    rigid_rotor_ev,
    thermal_potential_ev,
    water_pressure_bar,
    water_saturation_bar,
)


@pytest.mark.parametrize("name", gas_names())
def test_statistical_mechanics_agrees_with_the_tables_to_5_mev(name: str) -> None:
    gas = load_gas(name)
    table = gas.tabulated_ev()
    assert min(table) == 100.0
    assert max(table) == 1000.0
    for temperature, value in table.items():
        # an independent theory: nothing of the table enters the rigid rotor
        assert rigid_rotor_ev(gas, temperature) == pytest.approx(value, abs=0.005)
        assert thermal_potential_ev(name, temperature) == pytest.approx(value, abs=1e-5)


def test_water_at_room_temperature_is_the_published_value() -> None:
    # H(298.15) - H(0) = 9.904 kJ/mol and S = 188.834 J/(mol K) (NIST-JANAF, H-064)
    published = (9.904 - 298.15 * 188.834e-3) / 96.485
    assert thermal_potential_ev("H2O", 298.15) == pytest.approx(published, abs=1e-5)
    # Reuter and Scheffler (2001), table I: mu(O) = half of O2 at 300 K and 1 atm is -0.27 eV
    assert 0.5 * thermal_potential_ev("O2", 300.0, 1.01325) == pytest.approx(-0.27, abs=0.005)


def test_water_is_formed_with_the_published_free_energy() -> None:
    # Delta_f H(0 K) = -238.921 and Delta_f G(298.15 K) = -228.582 kJ/mol (NIST-JANAF, H-064)
    change = (
        thermal_potential_ev("H2O", 298.15)
        - thermal_potential_ev("H2", 298.15)
        - 0.5 * thermal_potential_ev("O2", 298.15)
    )
    assert (-238.921 / 96.485 + change) * 96.485 == pytest.approx(-228.582, abs=0.05)


@pytest.mark.parametrize("name", gas_names())
def test_potential_falls_with_temperature_and_rises_with_pressure(name: str) -> None:
    steps = [thermal_potential_ev(name, t) for t in range(100, 1001, 7)]
    assert all(later < earlier for earlier, later in itertools.pairwise(steps))
    # the slope is minus the entropy, which itself rises
    slopes = [later - earlier for earlier, later in itertools.pairwise(steps)]
    assert all(later < earlier + 1e-6 for earlier, later in itertools.pairwise(slopes))
    decade = thermal_potential_ev(name, 500.0, 1e-3) - thermal_potential_ev(name, 500.0, 1e-4)
    assert decade == pytest.approx(BOLTZMANN_EV_PER_K * 500.0 * 2.302585, abs=1e-7)


def test_zero_point_energy_is_added() -> None:
    zero_point = gas_potential_ev("H2O", -14.0, 400.0) - thermal_potential_ev("H2O", 400.0) + 14.0
    assert zero_point == pytest.approx(0.575, abs=0.001)
    for name in gas_names():
        harmonic = 0.5 * sum(load_gas(name).fundamentals_cm)
        # fundamentals contain the anharmonicity once more than the zero-point energy does
        assert 1.0 <= load_gas(name).zero_point_cm / harmonic < 1.06


def test_lithium_follows_the_voltage() -> None:
    assert lithium_potential_ev(-1.9, 3.4) == pytest.approx(-5.3)


@pytest.mark.parametrize(
    ("temperature_k", "bar"),
    # saturation pressures of the steam tables (IAPWS-95)
    [(273.16, 0.00611655), (298.15, 0.0316993), (373.15, 1.01418), (500.0, 26.392), (640.0, 202.65)],
)
def test_vapour_pressure_of_water(temperature_k: float, bar: float) -> None:
    assert water_saturation_bar(temperature_k) == pytest.approx(bar, rel=2e-3)


def test_surroundings_have_the_expected_water() -> None:
    assert ambient_air().water_bar == pytest.approx(0.5 * 0.0316993, rel=1e-3)
    assert dried_in_air().water_bar == ambient_air().water_bar
    assert dried_in_air().temperature_k == 393.15
    assert dried_in_vacuum(pressure_mbar=1.0).water_bar == pytest.approx(1e-3)
    assert glovebox(water_ppm=1.0).water_bar == pytest.approx(1.01325e-6)
    order = [dried_in_vacuum(), dried_in_air(), ambient_air()]
    potentials = [thermal_potential_ev("H2O", c.temperature_k, c.water_bar) for c in order]
    assert potentials == sorted(potentials)


def test_unknown_gases_and_impossible_conditions_are_refused() -> None:
    with pytest.raises(GasError, match=r"no data for the gas 'H20'; did you mean 'H2'|did you mean 'H2O'"):
        load_gas("H20")
    with pytest.raises(GasError, match="1200 K is outside the table of O2; give 100 to 1000 K"):
        thermal_potential_ev("O2", 1200.0)
    with pytest.raises(GasError, match="a partial pressure of 0 bar"):
        thermal_potential_ev("O2", 300.0, 0.0)
    with pytest.raises(GasError, match="relative humidity of 50"):
        water_pressure_bar(50.0, 298.15)
    with pytest.raises(GasError, match="no liquid water at 200 K"):
        water_saturation_bar(200.0)
    with pytest.raises(SupersaturatedError, match=r"give at most 0\.0317 bar"):
        check_water_pressure(298.15, 0.05)
    check_water_pressure(298.15, 0.03)
    check_water_pressure(800.0, 300.0)
