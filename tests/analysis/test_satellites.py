"""Satellite transitions: weights, places, interpolation between couplings, and their part in a match."""

import math

import numpy as np
import pytest
from surfshift.analysis.constants import isotope, larmor_mhz
from surfshift.analysis.kernels import SiteShape, Synthesis
from surfshift.analysis.lines import LineShapeError
from surfshift.analysis.matching import match
from surfshift.analysis.satellites import SatelliteKernels, satellite_pattern, shift_ratio, transition_weight
from surfshift.analysis.tensors import second_order_shift_ppm
from surfshift.analysis.vocabulary import Method, PredictedSite, Reference, Spectrum
from surfshift.structures.vocabulary import Region

METHOD = Method(engine="made", engine_version="1", functional="none", protocol="none", protocol_hash="0")


def test_weights_and_shifts_are_those_of_textbooks() -> None:
    # 27Al after a short pulse: 9 parts of 35 are the central transition
    assert [transition_weight(2.5, k) for k in (1, 2)] == pytest.approx([16 / 9, 10 / 9])
    assert transition_weight(1.5, 1) == pytest.approx(1.5)
    # Samoson (1985): the inner satellites of spin 5/2 move by -1/8 of the central transition, those of spin 3/2 by -2
    assert shift_ratio(2.5, 1) == pytest.approx(-1 / 8)
    assert shift_ratio(2.5, 2) == pytest.approx(-3.5)
    assert shift_ratio(1.5, 1) == pytest.approx(-2.0)


@pytest.mark.parametrize(("name", "cq", "order"), [("27Al", 1.2, 1), ("27Al", 1.2, 2), ("23Na", 0.9, 1)])
def test_centres_of_gravity_of_whole_manifolds_follow_the_ratio(name: str, cq: float, order: int) -> None:
    axis, density = satellite_pattern(name, 9.4, 20e3, cq_mhz=cq, eta=0.3, order=order)
    nucleus = isotope(name)
    central = second_order_shift_ppm(nucleus, cq_mhz=cq, eta=0.3, larmor_mhz=larmor_mhz(nucleus, 9.4))
    step = axis[1] - axis[0]
    expected = shift_ratio(nucleus.spin, order) * central
    assert float(axis @ density) * step == pytest.approx(expected, abs=0.1 * abs(expected) + 0.6 * step)
    assert density.sum() * step == pytest.approx(1.0)
    assert np.ptp(axis[density > 1e-6 * density.max()]) > 1.5 * order * 3 * cq * 1e6 / (
        2 * nucleus.spin * (2 * nucleus.spin - 1)
    ) / larmor_mhz(nucleus, 9.4)


def kernels(cq: float, error: float, share: float = 1.0) -> tuple[SatelliteKernels, Synthesis]:
    axis = np.arange(-400.0, 400.0, 0.5)
    synthesis = Synthesis(float(axis[0]), 0.5, len(axis))
    shape = SiteShape(0.0, cq_mhz=cq, cq_error_mhz=error, eta_q=0.3)
    made = SatelliteKernels(
        [shape], "27Al", 9.4, 12500.0, share=share, frequencies=synthesis.frequencies, window_ppm=synthesis.window_ppm
    )
    return made, synthesis


def test_between_nodes_the_line_is_that_simulated_there() -> None:
    damp = None
    lines = []
    for centre in (1.5, 1.57):
        made, synthesis = kernels(centre, 0.04)
        damp = np.exp(-2.0 * (math.pi * 1.5 * synthesis.frequencies) ** 2) * synthesis.shift_phase(0.0)
        lines.append(synthesis.to_axis(made.evaluate(np.array([1.57]))[0] * damp)[0])
    assert lines[0] == pytest.approx(lines[1], abs=0.01 * lines[1].max())
    central = synthesis.to_axis(made.central.evaluate(np.array([1.57]))[0] * damp)[0]
    # sidebands stand where the central transition has none
    far = np.abs(np.arange(-400.0, 400.0, 0.5)) > 200.0
    assert lines[1][far].max() > 20.0 * np.abs(central[far]).max()
    assert lines[1][far].max() > 0.01 * lines[1].max()
    step = (made.evaluate(np.array([1.5701]))[0] - made.evaluate(np.array([1.5699]))[0]) / 2e-4
    found = made.evaluate(np.array([1.57]))[1]
    # the central part leaves out the slow change of its sidebands
    assert np.abs(step - found).max() < 0.05 * np.abs(found).max()


def test_none_of_it_is_left_at_a_share_of_zero_or_without_coupling() -> None:
    made, _ = kernels(1.5, 0.04, share=0.0)
    assert np.array_equal(made.evaluate(np.array([1.5]))[0], made.central.evaluate(np.array([1.5]))[0])
    without, _ = kernels(0.0, 0.0)
    assert not without.table.any()
    with pytest.raises(LineShapeError, match="finite spinning rate"):
        satellite_pattern("27Al", 9.4, 0.0, cq_mhz=1.0, eta=0.0, order=1)


def test_a_spectrum_with_satellites_is_explained_only_with_them() -> None:
    site = PredictedSite(
        candidate_id="a", candidate_name="a", isotope="27Al", atom_indices=(0,), region=Region.BULK,
        sigma_iso_ppm=525.0, delta_iso_ppm=15.0, delta_error_ppm=1.0, zeta_csa_ppm=0.0, eta_csa=0.0,
        cq_mhz=1.5, cq_error_mhz=0.05, eta_q=0.3,
    )  # fmt: skip
    reference = Reference(
        isotope="27Al", method=METHOD, slope=-1.0, intercept_ppm=540.0, covariance=((0.0, 0.0), (0.0, 0.25)),
        sigma_mean_ppm=525.0, site_error_ppm=1.0, compounds=(),
    )  # fmt: skip
    axis = np.arange(-400.0, 400.0, 0.5)
    synthesis = Synthesis(float(axis[0]), 0.5, len(axis))
    made = SatelliteKernels(
        [SiteShape(15.5, cq_mhz=1.55, cq_error_mhz=0.05, eta_q=0.3)], "27Al", 9.4, 12500.0, share=1.0,
        frequencies=synthesis.frequencies, window_ppm=synthesis.window_ppm,
    )  # fmt: skip
    damp = np.exp(-2.0 * (math.pi * 1.5 * synthesis.frequencies) ** 2) * synthesis.shift_phase(15.5)
    y = synthesis.to_axis(made.evaluate(np.array([1.55]))[0] * damp)[0]
    noise = 0.002 * float(y.max())
    measured = Spectrum(
        name="27Al", isotope="27Al", field_tesla=9.4, mas_rate_hz=12500.0, axis_ppm=tuple(axis.tolist()),
        intensity=tuple((y + noise * np.random.default_rng(0).normal(size=len(y))).tolist()), noise=noise,
        satellites=1.0,
    )  # fmt: skip
    answer = match({"a": [site]}, [measured], {"27Al": reference})
    without = match({"a": [site]}, [measured.model_copy(update={"satellites": 0.0})], {"27Al": reference})
    assert answer.fit_probability > 0.03
    assert without.fit_probability < 0.01
    best = max(s.log_evidence for s in answer.subsets if s.candidate_names)
    assert best > max(s.log_evidence for s in without.subsets if s.candidate_names) + 50.0
