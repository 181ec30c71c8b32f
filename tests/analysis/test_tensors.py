import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from surfshift.analysis.constants import isotope, larmor_mhz
from surfshift.analysis.tensors import (
    HaeberlenShift,
    TensorError,
    haeberlen,
    herzfeld_berger,
    isotropic,
    quadrupole,
    second_order_shift_ppm,
    second_order_width_ppm,
    shift_tensor,
    to_haeberlen,
    to_herzfeld_berger,
)

AL = isotope("27Al")
numbers = st.floats(-400.0, 400.0)
tensors = st.lists(numbers, min_size=9, max_size=9).map(lambda values: np.array(values).reshape(3, 3))
seeds = st.integers(0, 2**31)


def turned(tensor, seed):
    rotation = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    return rotation @ tensor @ rotation.T


@given(tensors, seeds)
def test_shift_parameters_do_not_depend_on_the_frame(tensor, seed):
    here, there = haeberlen(tensor), haeberlen(turned(tensor, seed))
    assert isotropic(turned(tensor, seed)) == pytest.approx(isotropic(tensor), abs=1e-7)
    # the principal values are the frame-free content; zeta may flip its sign only at eta = 1
    assert np.sort(there.principal_values()) == pytest.approx(np.sort(here.principal_values()), abs=1e-6)


@given(tensors)
def test_ranges_and_principal_values(tensor):
    first, second = haeberlen(tensor), herzfeld_berger(tensor)
    expected = np.linalg.eigvalsh(0.5 * (tensor + tensor.T))
    assert 0 <= first.eta <= 1
    assert -1 <= second.skew <= 1
    assert second.span_ppm == pytest.approx(expected[-1] - expected[0], abs=1e-9)
    assert np.sort(first.principal_values()) == pytest.approx(expected, abs=1e-6)
    assert np.sort(second.principal_values()) == pytest.approx(expected, abs=1e-6)


@given(st.floats(-100, 100), st.floats(1, 200), st.floats(0, 1), st.booleans())
def test_conversion_there_and_back(iso, size, eta, is_negative):
    shift = HaeberlenShift(iso_ppm=iso, zeta_ppm=-size if is_negative else size, eta=eta)
    back = to_haeberlen(to_herzfeld_berger(shift))
    assert back.iso_ppm == pytest.approx(iso, abs=1e-9)
    assert abs(back.zeta_ppm) == pytest.approx(size, rel=1e-6)
    assert back.eta == pytest.approx(eta, abs=1e-6)


def test_known_axial_tensor():
    shift = haeberlen(np.diag([-10.0, -10.0, 20.0]))
    assert (shift.iso_ppm, shift.zeta_ppm, shift.eta) == pytest.approx((0.0, 20.0, 0.0))
    assert herzfeld_berger(np.diag([-10.0, -10.0, 20.0])).skew == pytest.approx(-1.0)


def test_antisymmetric_part_is_kept_but_moves_nothing():
    extra = np.array([[0.0, 5.0, 0.0], [-5.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    tensor = np.diag([1.0, 2.0, 6.0])
    assert haeberlen(tensor + extra) == haeberlen(tensor)
    assert shift_tensor(tensor + extra, slope=-1.0, intercept_ppm=0.0)[0, 1] == -5.0


def test_shielding_to_shift_turns_the_sign():
    shift = haeberlen(shift_tensor(np.diag([300.0, 300.0, 330.0]), slope=-0.9, intercept_ppm=270.0))
    assert shift.iso_ppm == pytest.approx(270.0 - 0.9 * 310.0)
    assert shift.zeta_ppm == pytest.approx(-18.0)


@given(tensors, seeds)
def test_quadrupole_does_not_depend_on_the_frame(tensor, seed):
    efg = 0.5 * (tensor + tensor.T) / 400.0
    efg -= np.trace(efg) / 3.0 * np.eye(3)
    here, there = quadrupole(efg, AL), quadrupole(turned(efg, seed), AL)
    assert abs(there.cq_mhz) == pytest.approx(abs(here.cq_mhz), abs=1e-7)
    # eta of a vanishing gradient is undefined
    if abs(here.cq_mhz) > 1e-3:
        assert there.eta == pytest.approx(here.eta, abs=1e-5)


def test_quadrupole_of_a_point_charge_is_axial():
    # a unit charge 2 bohr away along z: Vzz = 2 / r^3
    vzz = 2.0 / 2.0**3
    result = quadrupole(np.diag([-vzz / 2, -vzz / 2, vzz]), AL)
    assert result.cq_mhz == pytest.approx(234.9648 * 0.1466 * 0.25)
    assert result.eta == pytest.approx(0.0)


def test_trace_and_shape_are_refused():
    with pytest.raises(TensorError, match="traceless"):
        quadrupole(np.eye(3), AL)
    with pytest.raises(TensorError, match="3 x 3"):
        isotropic([[1.0, 2.0]])


def test_second_order_shift_of_berlinite():
    shift = second_order_shift_ppm(AL, cq_mhz=4.088, eta=0.367, larmor_mhz=larmor_mhz(AL, 9.4))
    assert 44.5 + shift == pytest.approx(34.85, abs=0.05)


@given(st.floats(0.1, 20), st.floats(0, 1), st.floats(2, 25))
def test_second_order_scaling(cq, eta, field):
    larmor = larmor_mhz(AL, field)
    shift = second_order_shift_ppm(AL, cq_mhz=cq, eta=eta, larmor_mhz=larmor)
    assert shift < 0
    assert second_order_shift_ppm(AL, cq_mhz=-cq, eta=eta, larmor_mhz=larmor) == pytest.approx(shift)
    doubled = second_order_shift_ppm(AL, cq_mhz=cq, eta=eta, larmor_mhz=2 * larmor)
    assert doubled == pytest.approx(shift / 4.0)
    spinning = second_order_width_ppm(AL, cq_mhz=cq, eta=eta, larmor_mhz=larmor)
    static = second_order_width_ppm(AL, cq_mhz=cq, eta=eta, larmor_mhz=larmor, is_spinning=False)
    assert 0 < spinning < static


def test_no_second_order_effects_without_a_central_transition():
    for name in ("31P", "6Li"):
        assert second_order_shift_ppm(isotope(name), cq_mhz=1.0, eta=0.0, larmor_mhz=100.0) == 0.0
        assert second_order_width_ppm(isotope(name), cq_mhz=1.0, eta=0.0, larmor_mhz=100.0) == 0.0
