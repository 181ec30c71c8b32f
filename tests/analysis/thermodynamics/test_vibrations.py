"""Harmonic thermodynamics: limits, derivatives and an independent oracle."""

import numpy as np
import pytest
from ase.thermochemistry import HarmonicThermo
from hypothesis import given
from hypothesis import strategies as st
from surfshift.analysis.thermodynamics.gases import BOLTZMANN_EV_PER_K
from surfshift.analysis.thermodynamics.vibrations import (
    THZ_EV,
    THZ_PER_CM,
    ImaginaryModesError,
    adsorbed_free_energy_ev,
    heat_capacity_ev_per_k,
    vibrational_entropy_ev_per_k,
    vibrational_free_energy_ev,
    zero_point_energy_ev,
)

MODES = st.lists(st.floats(0.3, 120.0), min_size=1, max_size=8)


@given(MODES, st.floats(20.0, 1500.0))
def test_agrees_with_ase(modes: list[float], temperature: float) -> None:
    oracle = HarmonicThermo([f * THZ_EV for f in modes])
    expected = oracle.get_helmholtz_energy(temperature, verbose=False)
    assert vibrational_free_energy_ev(modes, temperature) == pytest.approx(expected, rel=2e-6, abs=1e-6)
    assert zero_point_energy_ev(modes) == pytest.approx(oracle.get_ZPE_correction(), rel=2e-6)


@given(MODES, st.floats(50.0, 1500.0))
def test_entropy_and_heat_capacity_are_derivatives(modes: list[float], temperature: float) -> None:
    h = 0.01 * temperature**0.5
    free = [vibrational_free_energy_ev(modes, temperature + k * h) for k in (-1, 0, 1)]
    entropy = vibrational_entropy_ev_per_k(modes, temperature)
    assert -(free[2] - free[0]) / (2 * h) == pytest.approx(entropy, rel=1e-3, abs=1e-9)
    slope = (
        vibrational_entropy_ev_per_k(modes, temperature + h) - vibrational_entropy_ev_per_k(modes, temperature - h)
    ) / (2 * h)
    assert temperature * slope == pytest.approx(heat_capacity_ev_per_k(modes, temperature), rel=1e-3, abs=1e-9)


def test_limits() -> None:
    modes = [3.0, 10.0, 25.0]
    assert vibrational_free_energy_ev(modes, 0.0) == zero_point_energy_ev(modes) == pytest.approx(19.0 * THZ_EV)
    assert vibrational_entropy_ev_per_k(modes, 0.0) == heat_capacity_ev_per_k(modes, 0.0) == 0.0
    # Dulong and Petit
    assert heat_capacity_ev_per_k(modes, 1e5) == pytest.approx(3 * BOLTZMANN_EV_PER_K, rel=1e-4)
    assert heat_capacity_ev_per_k([100.0], 5.0) == 0.0


def test_weights_average_over_wave_vectors() -> None:
    mesh = np.array([[2.0, 4.0], [6.0, 8.0]])
    mixed = vibrational_free_energy_ev(mesh, 300.0, [1, 3])
    alone = [vibrational_free_energy_ev(row, 300.0) for row in mesh]
    assert mixed == pytest.approx(0.25 * alone[0] + 0.75 * alone[1])
    with pytest.raises(ValueError, match="3 weights for 2 q points"):
        vibrational_free_energy_ev(mesh, 300.0, [1, 1, 1])


def test_an_adsorbed_molecule_that_does_not_rest_is_refused_and_soft_modes_are_bounded() -> None:
    with pytest.raises(ImaginaryModesError, match=r"imaginary, -2\.00 THz"):
        adsorbed_free_energy_ev([-2.0, 5.0], 300.0)
    floor = 50.0 * THZ_PER_CM
    assert adsorbed_free_energy_ev([0.01, 5.0], 300.0) == vibrational_free_energy_ev([floor, 5.0], 300.0)
