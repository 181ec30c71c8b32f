"""MQMAS and disordered sites in a match: positions against mrsimulator, populations, and what areas do not say."""

import math
import warnings

import numpy as np
import pytest
from pydantic import ValidationError
from surfshift.analysis.disorder import TYPICAL_ETA, czjzek_nodes, typical_coupling
from surfshift.analysis.kernels import SiteShape, Synthesis, table_line
from surfshift.analysis.lines import line
from surfshift.analysis.matching import MatchSettings, match
from surfshift.analysis.matching.sites import listing_probability, second_order_shifts, site_table
from surfshift.analysis.mqmas import IsotropicKernels, excitation, triple_quantum_line, triple_quantum_position_ppm
from surfshift.analysis.vocabulary import Experiment, Method, Peak, PeakList, PredictedSite, Reference, Spectrum
from surfshift.structures.vocabulary import Region

METHOD = Method(engine="made", engine_version="1", functional="none", protocol="none", protocol_hash="0")
REFERENCE = Reference(
    isotope="27Al",
    method=METHOD,
    slope=-1.0,
    intercept_ppm=540.0,
    covariance=((0.0, 0.0), (0.0, 1.0)),
    sigma_mean_ppm=500.0,
    site_error_ppm=2.0,
    compounds=(),
)
FIELD = 9.4


def site(name: str, delta: float, cq: float, atoms: int = 2, **changes: object) -> PredictedSite:
    values: dict[str, object] = {
        "candidate_id": name,
        "candidate_name": name,
        "isotope": "27Al",
        "atom_indices": tuple(range(atoms)),
        "region": Region.BULK,
        "sigma_iso_ppm": 540.0 - delta,
        "delta_iso_ppm": delta,
        "delta_error_ppm": 2.0,
        "zeta_csa_ppm": 0.0,
        "eta_csa": 0.0,
        "cq_mhz": cq,
        "cq_error_mhz": 0.4,
        "eta_q": 0.3,
    }
    return PredictedSite.model_validate({**values, **changes})


def position(delta: float, cq: float) -> float:
    return triple_quantum_position_ppm("27Al", delta_iso_ppm=delta, cq_mhz=cq, eta=0.3, field_tesla=FIELD)


def simulated_centres(delta_ppm: float, cq_mhz: float, eta: float) -> float:
    """Centre of gravity of mrsimulator's isotropic dimension, on its own scale."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mrsimulator import Simulator, Site, SpinSystem
        from mrsimulator.method import SpectralDimension
        from mrsimulator.method.lib import ThreeQ_VAS

        width = 400.0 * 104.3
        dimensions = [SpectralDimension(count=512, spectral_width=width) for _ in range(2)]
        made = ThreeQ_VAS(channels=["27Al"], magnetic_flux_density=FIELD, spectral_dimensions=dimensions)
        own = Site(isotope="27Al", isotropic_chemical_shift=delta_ppm, quadrupolar={"Cq": cq_mhz * 1e6, "eta": eta})
        simulator = Simulator(spin_systems=[SpinSystem(sites=[own])], methods=[made])
        simulator.config.integration_density = 15
        simulator.run()
        found = simulator.methods[0].simulation
        intensity = np.asarray(found.y[0].components[0].real).sum(axis=1)
        axis = np.asarray(found.x[1].coordinates.value)
    return float(axis @ intensity / intensity.sum())


def test_positions_are_those_of_mrsimulator() -> None:
    scale = simulated_centres(44.5, 1e-3, 0.3) / 44.5
    # its sheared dimension has a shift coefficient of -17/31 for spin 5/2
    assert scale == pytest.approx(-17.0 / 31.0, rel=2e-3)
    table = site_table("27Al", [[site("a", 44.5, 4.1)], [site("b", -10.0, 6.0)]], REFERENCE)
    peaks = (Peak(position_ppm=1, position_error_ppm=1),)
    measured = PeakList(name="3Q", isotope="27Al", field_tesla=FIELD, experiment="mqmas", peaks=peaks)
    induced, slope = second_order_shifts(table, measured)
    for row, (delta, cq) in enumerate([(44.5, 4.1), (-10.0, 6.0)]):
        assert delta + induced[row] == pytest.approx(simulated_centres(delta, cq, 0.3) / scale, abs=0.15)
        assert slope[row] == pytest.approx((position(delta, cq + 0.01) - position(delta, cq - 0.01)) / 0.02, rel=1e-3)


def test_kernels_of_the_isotropic_dimension_move_with_the_coupling() -> None:
    axis = np.arange(-20.0, 180.0, 0.1)
    synthesis = Synthesis(float(axis[0]), 0.1, len(axis))
    sigma = 1.2
    shapes = [
        SiteShape(40.0, cq_mhz=5.0, eta_q=0.3),
        SiteShape(40.0, cq_mhz=typical_coupling(sigma), eta_q=TYPICAL_ETA, is_disordered=True),
    ]
    kernels = IsotropicKernels(shapes, "27Al", FIELD, frequencies=synthesis.frequencies)
    cq = np.array([5.0, typical_coupling(sigma)])
    value, by_cq = kernels.evaluate(cq)
    damp = np.exp(-2.0 * (math.pi * 2.5 * synthesis.frequencies) ** 2) * synthesis.shift_phase(40.0)
    sharp, broad = synthesis.to_axis(value * damp)
    direct = triple_quantum_line(axis, position(40.0, 5.0), 2.5 * 2.3548)
    assert sharp == pytest.approx(direct, abs=1e-3 * direct.max())
    # a sum over the nodes of the distribution, instead of its characteristic function
    nodes = zip(*czjzek_nodes(sigma), strict=True)
    summed = sum(
        weight
        * triple_quantum_line(
            axis,
            triple_quantum_position_ppm("27Al", delta_iso_ppm=40.0, cq_mhz=c, eta=e, field_tesla=FIELD),
            2.5 * 2.3548,
        )
        for c, e, weight in nodes
    )
    assert broad == pytest.approx(summed, abs=5e-3 * summed.max())
    step = (kernels.evaluate(cq + 1e-4)[0] - kernels.evaluate(cq - 1e-4)[0]) / 2e-4
    assert np.abs(step - by_cq).max() < 1e-4 * np.abs(by_cq).max()


def test_a_disordered_line_is_that_of_mrsimulator_and_follows_its_typical_coupling() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mrsimulator import Simulator, Site, SpinSystem
        from mrsimulator.method import SpectralDimension
        from mrsimulator.method.lib import BlochDecayCTSpectrum

        axis = np.linspace(-220.0, 140.0, 1024)
        step, larmor = axis[1] - axis[0], 104.309
        sigma, rate = 1.0, 12500.0
        cq, eta, weight = czjzek_nodes(sigma)
        kept = weight > 1e-3 * weight.max()
        made = BlochDecayCTSpectrum(
            channels=["27Al"],
            magnetic_flux_density=FIELD,
            rotor_frequency=rate,
            spectral_dimensions=[
                SpectralDimension(count=1024, spectral_width=1024 * step * larmor, reference_offset=-40.0 * larmor)
            ],
        )
        systems = [
            SpinSystem(sites=[Site(isotope="27Al", quadrupolar={"Cq": c * 1e6, "eta": e})], abundance=100.0 * w)
            for c, e, w in zip(cq[kept], eta[kept], weight[kept], strict=True)
        ]
        simulator = Simulator(spin_systems=systems, methods=[made])
        simulator.config.integration_density = 30
        simulator.run()
        found = simulator.methods[0].simulation
        there = np.asarray(found.x[0].coordinates.value)
        theirs = np.asarray(found.y[0].components[0].real)
        order = np.argsort(there)
    from scipy.ndimage import gaussian_filter1d

    theirs = gaussian_filter1d(np.interp(axis, there[order], theirs[order]), 6.0 / 2.3548 / step)
    shape = SiteShape(0.0, cq_mhz=typical_coupling(sigma), is_disordered=True)
    ours = table_line(shape, "27Al", axis, field_tesla=FIELD, mas_rate_hz=rate, gaussian_ppm=6.0)
    ours, theirs = ours / ours.sum(), theirs / theirs.sum()
    assert ours == pytest.approx(theirs, abs=0.01 * theirs.max())


def spectrum(y: np.ndarray, axis: np.ndarray, experiment: str, noise: float) -> Spectrum:
    rng = np.random.default_rng(5)
    return Spectrum(
        name=experiment,
        isotope="27Al",
        field_tesla=FIELD,
        mas_rate_hz=12500.0,
        experiment=experiment,
        axis_ppm=tuple(axis.tolist()),
        intensity=tuple((y + noise * rng.normal(size=len(axis))).tolist()),
        noise=noise,
    )


LIBRARY = {
    # the same place in a one-pulse spectrum at this field, told apart by the isotropic dimension
    "strained": [site("strained", 52.0, 5.2)],
    "plain": [site("plain", 41.0, 3.0)],
}


def test_mqmas_tells_apart_what_overlaps_and_its_areas_count_no_atoms() -> None:
    truth = {"strained": (52.5, 5.1), "plain": (40.6, 3.1)}
    axis = np.linspace(-10.0, 110.0, 900)
    heights = {"strained": 0.2, "plain": 0.8}  # not the populations
    y = sum(heights[n] * triple_quantum_line(axis, position(*truth[n]), 2.0) for n in truth)
    projection = spectrum(y, axis, "mqmas", 0.002)
    wide = np.linspace(-150.0, 150.0, 1200)
    one = sum(0.5 * line(site("x", *truth[n]), wide, FIELD, 12500.0, 3.0) for n in truth)
    quantitative = spectrum(one, wide, "one-pulse", 0.0002)
    settings = MatchSettings(max_members=2)
    answer = match(LIBRARY, [quantitative, projection], {"27Al": REFERENCE}, settings)
    assert set(answer.subsets[0].candidate_names) == {"strained", "plain"}
    found = {p.candidate_name: p for p in answer.populations}
    assert found["strained"].mean == pytest.approx(0.5, abs=0.02)
    # the curve of the projection is centred where the sites lie in the isotropic dimension
    curve = next(c for c in answer.curves if c.measurement == "mqmas")
    for name, (delta, cq) in truth.items():
        part = np.array(curve.parts[name])
        assert axis @ part / part.sum() == pytest.approx(position(delta, cq), abs=0.5)


def test_lists_of_mqmas_take_positions_of_the_isotropic_dimension() -> None:
    peaks = tuple(
        Peak(label=n, position_ppm=position(d, c), position_error_ppm=0.5, area=a, area_error=0.02)
        for n, d, c, a in (("one", 52.5, 5.1, 0.2), ("two", 40.6, 3.1, 0.8))
    )
    measured = PeakList(name="3Q", isotope="27Al", field_tesla=FIELD, experiment="mqmas", peaks=peaks)
    answer = match(LIBRARY, [measured], {"27Al": REFERENCE}, MatchSettings(max_members=2))
    owners = {a.peak_label: a for a in answer.attributions if a.probability > 0.5}
    assert {label: a.candidate_name for label, a in owners.items()} == {"one": "strained", "two": "plain"}
    assert all(abs(a.residual_sigmas) < 1.0 for a in owners.values())
    # areas say nothing, so the populations stay as wide as they were
    strained = next(p for p in answer.populations if p.candidate_name == "strained")
    assert strained.high - strained.low > 0.7
    # the same numbers as observed positions of a one-pulse list fit nothing
    wrong = measured.model_copy(update={"experiment": Experiment.ONE_PULSE})
    other = match(LIBRARY, [wrong], {"27Al": REFERENCE}, MatchSettings(max_members=2))
    assert max(s.log_evidence for s in other.subsets if s.candidate_names) < answer.subsets[0].log_evidence - 3.0


def test_what_is_not_excited_is_not_missed() -> None:
    assert not Experiment.MQMAS.counts_atoms
    assert excitation("27Al", [0.01, 4.0, 20.0]) == pytest.approx([0.0, 0.9, 0.0], abs=0.1)
    table = site_table("27Al", [[site("a", 40.0, 4.0)], [site("b", 40.0, 25.0)]], REFERENCE)
    peaks = (Peak(position_ppm=1, position_error_ppm=1),)
    frame = PeakList(name="3Q", isotope="27Al", field_tesla=FIELD, experiment="mqmas", peaks=peaks)
    listed = listing_probability(table, frame, MatchSettings())
    assert listed[0] > 0.8
    assert listed[1] < 0.05


def test_mqmas_of_a_spin_one_half_is_refused() -> None:
    peaks = (Peak(position_ppm=1, position_error_ppm=1),)
    with pytest.raises(ValidationError, match=r"31P has spin 0\.5: MQMAS needs"):
        PeakList(name="x", isotope="31P", field_tesla=FIELD, experiment="mqmas", peaks=peaks)


def test_a_glass_is_recovered_beside_a_crystal() -> None:
    glass = site("glass", 55.0, typical_coupling(1.1), is_disordered=True, width_ppm=12.0, eta_q=TYPICAL_ETA)
    crystal = site("crystal", 14.0, 2.4)
    axis = np.linspace(-150.0, 150.0, 1200)
    drawn = table_line(
        SiteShape(54.0, cq_mhz=typical_coupling(1.15), is_disordered=True), "27Al", axis, field_tesla=FIELD,
        mas_rate_hz=12500.0, gaussian_ppm=12.5,
    )  # fmt: skip
    y = 0.7 * drawn + 0.3 * line(site("x", 15.0, 2.5), axis, FIELD, 12500.0, 3.0)
    measured = spectrum(y, axis, "one-pulse", 0.0002)
    answer = match({"glass": [glass], "crystal": [crystal]}, [measured], {"27Al": REFERENCE}, MatchSettings())
    found = {p.candidate_name: p for p in answer.populations}
    assert found["glass"].low < 0.7 < found["glass"].high
    # as a crystal's, its line fits badly: the evidence knows the difference
    sharp = glass.model_copy(update={"is_disordered": False})
    other = match({"glass": [sharp], "crystal": [crystal]}, [measured], {"27Al": REFERENCE}, MatchSettings())
    best = max(s.log_evidence for s in answer.subsets if s.candidate_names)
    assert best > max(s.log_evidence for s in other.subsets if s.candidate_names) + 10.0
