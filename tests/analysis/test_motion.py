"""Correlation times of known processes, averages of known motions, and the flags they raise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from surfshift.analysis.constants import isotope
from surfshift.analysis.motion import (
    MotionError,
    TooFewSamplesError,
    autocorrelation,
    average_tensors,
    decorrelation_frames,
    equilibrated_frame,
    hopped,
    inefficiency,
    motion_flags,
)
from surfshift.analysis.tensors import quadrupole

ALUMINIUM, PHOSPHORUS = isotope("27Al"), isotope("31P")
AXIAL = np.diag([-0.1, -0.1, 0.2])


def autoregressive(rho: float, n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = np.zeros(n)
    for k in range(1, n):
        values[k] = rho * values[k - 1] + np.sqrt(1 - rho**2) * rng.normal()
    return values


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_decorrelation_of_an_autoregressive_series_is_the_analytic_one(rho: float) -> None:
    # C(t) = rho^t, so 2 tau = (1 + rho) / (1 - rho)
    found = decorrelation_frames(autoregressive(rho, 40_000))
    assert found == pytest.approx((1 + rho) / (1 - rho), rel=0.15)


def test_an_oscillation_is_not_sampled_in_step_with_itself() -> None:
    t = np.arange(4000)
    wave = np.cos(0.3 * t) * np.exp(-t / 200.0) + 0.01 * autoregressive(0.0, 4000)
    # the plain sum of C cancels and would call neighbouring frames independent
    assert decorrelation_frames(wave) > 30.0
    assert autocorrelation(np.full(10, 3.0)).tolist() == [1.0] + [0.0] * 9


def test_variance_of_a_mean_is_that_of_many_runs() -> None:
    chosen = list(range(0, 200, 10))
    means = [autoregressive(0.9, 200, seed)[chosen].mean() for seed in range(800)]
    expected = np.var(means) * len(chosen)  # over the variance of one frame, which is 1
    found = np.mean([inefficiency(autoregressive(0.9, 4000, seed), chosen) for seed in range(20)])
    assert found == pytest.approx(expected, rel=0.2)
    assert inefficiency(autoregressive(0.9, 4000), list(range(0, 4000, 200))) == pytest.approx(1.0, abs=0.15)


def test_the_drift_at_the_start_is_left_out() -> None:
    series = autoregressive(0.5, 1000) + 20.0 * np.exp(-np.arange(1000) / 50.0)
    assert 100 <= equilibrated_frame(series) <= 350
    assert equilibrated_frame(autoregressive(0.5, 1000)) < 300


def test_a_rigid_site_keeps_its_tensors() -> None:
    shielding = np.tile(np.diag([300.0, 310.0, 320.0]), (6, 1, 1))
    found = average_tensors(shielding, np.tile(AXIAL, (6, 1, 1)), ALUMINIUM)
    assert found.sigma_iso_ppm == pytest.approx(310.0)
    assert found.span_ppm == pytest.approx(20.0)
    assert found.cq_mhz == pytest.approx(abs(quadrupole(AXIAL, ALUMINIUM).cq_mhz)) == pytest.approx(found.cq_rigid_mhz)
    assert (found.sigma_iso_error_ppm, found.cq_error_mhz, found.cq_noise_mhz) == pytest.approx(
        (0.0, 0.0, 0.0), abs=1e-9
    )
    assert motion_flags(found, shielding[0], AXIAL, ALUMINIUM, hops={"Li": (0, 6)}) == ()


def test_fast_jumps_between_three_directions_average_the_gradient_out() -> None:
    # along x, y and z in turn: the average is isotropic, so zero
    jumps = np.array([np.roll(np.diag(AXIAL), k) for k in range(3)] * 4)
    efg = np.array([np.diag(values) for values in jumps])
    found = average_tensors(np.tile(np.eye(3), (12, 1, 1)), efg, ALUMINIUM)
    assert found.cq_mhz == pytest.approx(0.0, abs=1e-9)
    assert found.cq_rigid_mhz == pytest.approx(abs(quadrupole(AXIAL, ALUMINIUM).cq_mhz))
    # all ways to leave one out give the same CQ; the error is that of the noise nevertheless
    assert found.cq_error_mhz == pytest.approx(found.cq_noise_mhz)
    assert found.cq_noise_mhz > 0.1
    flags = " ".join(motion_flags(found, np.eye(3), AXIAL, ALUMINIUM))
    assert "averages the field gradient" in flags
    assert "not above its noise" in flags


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 0.6))
def test_wobbling_in_a_cone_reduces_the_coupling_by_its_order_parameter(half_angle: float) -> None:
    # on a cone of half angle b, P2(cos b) of it is left (Lipari and Szabo, J. Am. Chem. Soc. 104, 4546 (1982))
    turns = np.linspace(0.0, 2 * np.pi, 24, endpoint=False)
    efg = []
    for turn in turns:
        rotation = (Rotation.from_euler("z", turn) * Rotation.from_euler("y", half_angle)).as_matrix()
        efg.append(rotation @ AXIAL @ rotation.T)
    found = average_tensors(np.tile(np.eye(3), (24, 1, 1)), efg, ALUMINIUM)
    assert found.order_parameter == pytest.approx((3 * np.cos(half_angle) ** 2 - 1) / 2, abs=1e-9)
    assert found.eta == pytest.approx(0.0, abs=1e-6)


def test_standard_errors_are_those_of_repeated_experiments() -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(scale=0.02, size=(300, 10, 3, 3))
    noise = 0.5 * (noise + noise.swapaxes(2, 3))
    noise -= np.trace(noise, axis1=2, axis2=3)[:, :, None, None] / 3.0 * np.eye(3)
    shielding = 300.0 * np.eye(3) + rng.normal(scale=2.0, size=(300, 10))[:, :, None, None] * np.eye(3)
    found = [average_tensors(s, AXIAL + n, ALUMINIUM) for s, n in zip(shielding, noise, strict=True)]
    spread = np.std([one.cq_mhz for one in found])
    assert np.mean([one.cq_error_mhz for one in found]) == pytest.approx(spread, rel=0.15)
    spread = np.std([one.sigma_iso_ppm for one in found])
    assert np.mean([one.sigma_iso_error_ppm for one in found]) == pytest.approx(spread, rel=0.15)
    doubled = average_tensors(shielding[0], AXIAL + noise[0], ALUMINIUM, inefficiency=2.0)
    assert doubled.cq_error_mhz == pytest.approx(2**0.5 * found[0].cq_error_mhz)


def test_a_spin_half_has_no_coupling() -> None:
    found = average_tensors(np.tile(np.eye(3), (4, 1, 1)), np.tile(AXIAL, (4, 1, 1)), PHOSPHORUS)
    assert (found.cq_mhz, found.eta, found.order_parameter) == (0.0, 0.0, 1.0)
    assert type(found).model_validate_json(found.model_dump_json()) == found


def test_hops_are_told_from_vibrations_and_from_drift() -> None:
    rng = np.random.default_rng(1)
    positions = 0.2 * rng.normal(size=(400, 5, 3)) + np.arange(5)[None, :, None] * 3.0
    positions += np.linspace(0, 4, 400)[:, None, None]  # the centre of mass drifts
    positions[200:, 2, 0] += 2.5
    assert hopped(positions, np.ones(5), frames_averaged=20) == (2,)


def test_bad_averages_are_refused_by_name() -> None:
    one = np.tile(np.eye(3), (4, 1, 1))
    with pytest.raises(TooFewSamplesError, match=r"4 snapshots with the weight of 1\.3 independent ones"):
        average_tensors(one, np.tile(AXIAL, (4, 1, 1)), ALUMINIUM, inefficiency=3.0)
    with pytest.raises(MotionError, match="one shielding and one EFG tensor per snapshot"):
        average_tensors(one, np.tile(AXIAL, (3, 1, 1)), ALUMINIUM)
    with pytest.raises(MotionError, match="not finite"):
        average_tensors(np.full((4, 3, 3), np.nan), np.tile(AXIAL, (4, 1, 1)), ALUMINIUM)
