import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from surfshift.analysis.constants import isotope, larmor_mhz
from surfshift.analysis.lines import LineShapeError, broadened, line, place, shape
from surfshift.analysis.tensors import second_order_shift_ppm
from surfshift.analysis.vocabulary import PredictedSite
from surfshift.structures.vocabulary import Region

AL = isotope("27Al")


def site(nucleus="27Al", delta=44.5, cq=4.088, eta=0.367, zeta=0.0):
    return PredictedSite(
        candidate_id="c",
        candidate_name="c",
        isotope=nucleus,
        atom_indices=(0,),
        region=Region.BULK,
        sigma_iso_ppm=500.0,
        delta_iso_ppm=delta,
        delta_error_ppm=1.0,
        zeta_csa_ppm=zeta,
        eta_csa=0.3,
        cq_mhz=cq,
        cq_error_mhz=0.1,
        eta_q=eta,
    )


def moments(axis, intensity):
    step = axis[1] - axis[0]
    area = intensity.sum() * step
    return area, (axis * intensity).sum() * step / area


def test_berlinite_centre_of_gravity():
    axis = np.linspace(-100, 150, 5001)
    area, centre = moments(axis, line(site(), axis, 9.4, broadening_ppm=1.0))
    assert area == pytest.approx(1.0, abs=1e-6)
    assert centre == pytest.approx(34.85, abs=0.2)


@settings(deadline=None, max_examples=25)
@given(st.floats(1.0, 9.0), st.floats(0.0, 1.0), st.floats(7.0, 23.0))
def test_centre_of_gravity_follows_the_second_order_formula(cq, eta, field):
    unit = shape("27Al", field_tesla=field, cq_mhz=cq, eta_q=eta)
    expected = second_order_shift_ppm(AL, cq_mhz=cq, eta=eta, larmor_mhz=larmor_mhz(AL, field))
    assert unit.centre_of_gravity_ppm == pytest.approx(expected, rel=0.01, abs=0.05)


@pytest.mark.parametrize("rate", [0.0, 12500.0, math.inf])
def test_spinning_does_not_move_the_centre_of_gravity(rate):
    unit = shape("27Al", field_tesla=9.4, mas_rate_hz=rate, cq_mhz=4.088, eta_q=0.367)
    expected = second_order_shift_ppm(AL, cq_mhz=4.088, eta=0.367, larmor_mhz=larmor_mhz(AL, 9.4))
    assert unit.centre_of_gravity_ppm == pytest.approx(expected, abs=0.1)


def test_sign_of_cq_does_not_matter():
    axis = np.linspace(-50, 100, 1000)
    assert line(site(cq=-4.0), axis, 9.4) == pytest.approx(line(site(cq=4.0), axis, 9.4))


def test_static_anisotropy_has_the_principal_values_as_edges():
    unit = shape("31P", field_tesla=9.4, mas_rate_hz=0.0, zeta_csa_ppm=60.0, eta_csa=0.4)
    inside = unit.axis_ppm[unit.density > 1e-4]
    assert inside[-1] == pytest.approx(60.0, abs=0.3)
    assert inside[0] == pytest.approx(-30.0 * 1.4, abs=0.3)


def test_sidebands_stand_at_multiples_of_the_spinning_rate():
    rate = 5000.0
    unit = broadened(shape("31P", field_tesla=9.4, mas_rate_hz=rate, zeta_csa_ppm=60.0, eta_csa=0.4), 0.5)
    spacing = rate / larmor_mhz(isotope("31P"), 9.4)
    nearest = np.abs(unit.axis_ppm / spacing - np.round(unit.axis_ppm / spacing)) * spacing
    total = unit.density.sum()
    assert unit.density[nearest < 1.0].sum() / total > 0.999
    assert unit.density[np.abs(unit.axis_ppm) < 1.0].sum() / total < 0.8
    # Herzfeld and Berger: the second moment about the centre does not depend on the rate
    static = shape("31P", field_tesla=9.4, mas_rate_hz=0.0, zeta_csa_ppm=60.0, eta_csa=0.4)
    second = [float((u.axis_ppm**2 @ u.density) / u.density.sum()) for u in (unit, static)]
    assert second[0] == pytest.approx(second[1], rel=0.03)


def test_fast_spinning_leaves_one_line():
    unit = broadened(shape("31P", field_tesla=9.4, zeta_csa_ppm=60.0, eta_csa=0.4), 1.0)
    assert unit.density[np.abs(unit.axis_ppm) < 2.0].sum() * unit.step_ppm == pytest.approx(1.0, abs=1e-3)
    above = unit.axis_ppm[unit.density > 0.5 * unit.density.max()]
    assert above[-1] - above[0] == pytest.approx(1.0, abs=0.25)


def test_area_outside_the_window_is_lost_not_folded():
    whole = np.linspace(-200, 200, 4001)
    half = whole[whole > 44.5]
    one = site("31P", cq=0.0)
    assert moments(half, line(one, half, 9.4, broadening_ppm=5.0))[0] == pytest.approx(0.5, abs=0.02)
    far = np.linspace(200, 300, 100)
    assert line(one, far, 9.4, broadening_ppm=1.0).sum() == pytest.approx(0.0, abs=1e-9)


@settings(deadline=None, max_examples=20)
@given(st.floats(-40, 40), st.floats(0.5, 20), st.integers(50, 900))
def test_area_is_kept_on_any_grid(delta, width, count):
    axis = np.linspace(-200, 200, count)
    unit = broadened(shape("27Al", field_tesla=9.4, cq_mhz=3.0, eta_q=0.5), width)
    assert place(unit, axis, delta).sum() * (axis[1] - axis[0]) == pytest.approx(1.0, abs=1e-4)


def test_integer_spin_has_its_own_larmor_frequency():
    unit = shape("6Li", field_tesla=9.4, mas_rate_hz=0.0, zeta_csa_ppm=6.0, eta_csa=0.0)
    inside = unit.axis_ppm[unit.density > 1e-4]
    assert inside[-1] == pytest.approx(6.0, abs=0.2)
    assert inside[0] == pytest.approx(-3.0, abs=0.2)


def test_bad_parameters_are_refused():
    with pytest.raises(LineShapeError, match="field above 0"):
        shape("31P", field_tesla=0.0)
    with pytest.raises(LineShapeError, match="ascending"):
        line(site(), np.linspace(10, -10, 50), 9.4)
    with pytest.raises(LineShapeError, match="above 0 ppm"):
        line(site(), np.linspace(-10, 10, 50), 9.4, broadening_ppm=0.0)


def test_synthetic_two_site_spectrum_of_another_program():
    files = [
        parent.parent / "shared/data/parsers/csdm/synthetic_27Al_two_site_selfmade.csdf"
        for parent in Path(__file__).resolve().parents
    ]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        pytest.skip("the shared data folder is not there")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        csdmpy = pytest.importorskip("csdmpy")
        data = csdmpy.load(str(path))
    dimension = data.x[0]
    ppm = np.asarray(dimension.coordinates.value) / float(dimension.origin_offset.value) * 1e6
    measured = np.asarray(data.y[0].components[0].real)
    order = np.argsort(ppm)
    ppm, measured = ppm[order], measured[order]
    parts = np.stack(
        [
            line(site(delta=44.5, cq=4.09, eta=0.37), ppm, 9.4, 12500.0, 2.0),
            line(site(delta=60.0, cq=2.5, eta=0.1), ppm, 9.4, 12500.0, 2.0),
        ],
        axis=1,
    )
    weights = np.linalg.lstsq(parts, measured, rcond=None)[0]
    assert weights[0] / weights.sum() == pytest.approx(0.6, abs=0.02)
    left = measured - parts @ weights
    assert left.std() < 1.2 * measured[:60].std()
