"""The synthetic two-site 27Al spectrum, read from its file and fitted with mrsimulator as an independent oracle."""

import warnings

import numpy as np
import pytest
from surfshift.analysis.spectra_io import read_spectrum

TRUTH = {"share": 0.60, "a_ppm": 44.5, "b_ppm": 60.0, "a_cq": 4.09, "b_cq": 2.5}


def simulate(spectrum, sites):
    """Spectra of unit area of the sites (shift in ppm, CQ in MHz, eta), shape (n_sites, n); central transition, MAS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from mrsimulator import Simulator, Site, SpinSystem
        from mrsimulator.method.lib import BlochDecayCTSpectrum
        from mrsimulator.spin_system.isotope import Isotope

        points = len(spectrum.axis_ppm)
        larmor_hz = abs(Isotope(symbol="27Al").gyromagnetic_ratio) * spectrum.field_tesla * 1e6
        axis_hz = np.array(spectrum.axis_ppm) * 1e-6 * larmor_hz
        step = (axis_hz[-1] - axis_hz[0]) / (points - 1)
        method = BlochDecayCTSpectrum(
            channels=["27Al"],
            magnetic_flux_density=spectrum.field_tesla,
            rotor_frequency=spectrum.mas_rate_hz,
            spectral_dimensions=[
                {"count": points, "spectral_width": points * step, "reference_offset": axis_hz[0] + points // 2 * step}
            ],
        )
        made = []
        for shift, cq, eta in sites:
            site = Site(isotope="27Al", isotropic_chemical_shift=shift, quadrupolar={"Cq": cq * 1e6, "eta": eta})
            simulator = Simulator(spin_systems=[SpinSystem(sites=[site])], methods=[method])
            simulator.config.integration_density = 60
            simulator.run()
            values = simulator.methods[0].simulation.y[0].components[0].real
            made.append(values / values.sum())
        return np.array(made)


def test_two_sites_are_found_within_their_intervals(shared_data):
    from scipy.ndimage import gaussian_filter1d
    from scipy.optimize import least_squares

    path = shared_data / "parsers" / "csdm" / "synthetic_27Al_two_site_selfmade.csdf"
    spectrum = read_spectrum(path, "27Al", mas_rate_hz=12500)
    data = np.array(spectrum.intensity)

    def parts(p):
        shapes = simulate(spectrum, [(p[0], p[1], p[2]), (p[3], p[4], p[5])])
        return gaussian_filter1d(shapes, abs(p[6]), axis=1)

    def residual(p):
        shapes = parts(p)
        return (np.exp(p[7]) * shapes[0] + np.exp(p[8]) * shapes[1] - data) / spectrum.noise

    total = float(data.sum())
    start = [43.0, 4.4, 0.5, 59.0, 2.2, 0.3, 2.5, np.log(0.5 * total), np.log(0.5 * total)]
    bounds = ([0, 0.5, 0, 0, 0.5, 0, 0.1, -9, -9], [100, 9, 1, 100, 9, 1, 20, 20, 20])
    fit = least_squares(
        residual, start, diff_step=1e-4, x_scale=[1, 0.1, 0.1, 1, 0.1, 0.2, 0.5, 0.1, 0.1], bounds=bounds
    )
    covariance = np.linalg.inv(fit.jac.T @ fit.jac)
    error = np.sqrt(np.diag(covariance))
    assert 2 * fit.cost / (len(data) - len(start)) == pytest.approx(1.0, abs=0.15)

    share = 1.0 / (1.0 + np.exp(fit.x[8] - fit.x[7]))
    slope = share * (1.0 - share)
    share_error = slope * np.sqrt(covariance[7, 7] + covariance[8, 8] - 2 * covariance[7, 8])
    found = {
        "share": (share, share_error), "a_ppm": (fit.x[0], error[0]), "b_ppm": (fit.x[3], error[3]),
        "a_cq": (fit.x[1], error[1]), "b_cq": (fit.x[4], error[4]),
    }  # fmt: skip
    for name, (value, sigma) in found.items():
        assert abs(value - TRUTH[name]) < 2.5 * sigma + 1e-3, (name, value, sigma)
        assert sigma < 0.03 * TRUTH[name], name
