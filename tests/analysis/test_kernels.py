import math
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from surfshift.analysis import kernels, lines, powder
from surfshift.analysis.constants import isotope, larmor_mhz
from surfshift.analysis.kernel_cache import cache_folder, stored
from surfshift.analysis.kernels import ERROR_BOUND, SiteKernels, SiteShape, shift_sidebands, table_line
from surfshift.analysis.lines import LineShapeError
from surfshift.analysis.tensors import second_order_shift_ppm, second_order_width_ppm


@pytest.fixture(autouse=True)
def _fine_simulation(monkeypatch):
    """Mrsimulator with more orientations and points than by default: it is the yardstick here."""
    monkeypatch.setattr(lines, "_INTEGRATION_DENSITY", 200)
    monkeypatch.setattr(lines, "_RESOLUTION_PPM", 0.02)
    lines._shape.cache_clear()
    yield
    lines._shape.cache_clear()


def direct(site, nucleus, axis, *, field_tesla, mas_rate_hz, gaussian_ppm):
    """The line simulated by mrsimulator and convolved by fast Fourier transform."""
    unit = lines.shape(
        nucleus,
        field_tesla=field_tesla,
        mas_rate_hz=mas_rate_hz,
        zeta_csa_ppm=site.zeta_csa_ppm,
        eta_csa=site.eta_csa,
        cq_mhz=site.cq_mhz,
        eta_q=site.eta_q,
    )
    n = len(unit.density)
    f = np.fft.rfftfreq(4 * n, unit.step_ppm)
    damp = np.exp(-2.0 * (np.pi * gaussian_ppm / 2.3548200450309493 * f) ** 2 - 2j * np.pi * f * n * unit.step_ppm)
    density = np.fft.irfft(np.fft.rfft(unit.density, 4 * n) * damp, 4 * n)
    x = unit.axis_ppm[0] + site.delta_ppm + (np.arange(4 * n) - n) * unit.step_ppm
    return np.interp(axis, x, density)


CASES = [
    ("27Al", 9.4, math.inf, SiteShape(20.0, cq_mhz=7.1, eta_q=0.07), 2.2),
    ("23Na", 11.7, math.inf, SiteShape(-5.0, cq_mhz=3.1, eta_q=0.61), 2.0),
    ("27Al", 9.4, 12500.0, SiteShape(44.5, cq_mhz=4.09, eta_q=0.37), 1.5),
    ("17O", 14.1, 20000.0, SiteShape(30.0, cq_mhz=3.9, eta_q=0.93), 3.0),
    ("27Al", 9.4, 16000.0, SiteShape(10.0, 38.0, 0.4, 5.0, 0.0, 0.8), 3.0),
    ("17O", 9.4, 12500.0, SiteShape(30.0, 120.0, 0.4, 5.0, 0.0, 0.3), 6.0),
    ("23Na", 28.2, 6000.0, SiteShape(5.0, -150.0, 0.8, 2.0, 0.0, 0.6), 2.0),
    ("7Li", 14.1, 9000.0, SiteShape(0.0, 90.0, 0.1, 0.1, 0.0, 0.5), 2.0),
    ("27Al", 4.7, 5000.0, SiteShape(20.0, 150.0, 0.5, 8.0, 0.0, 0.4), 40.0),
    ("7Li", 14.1, 0.0, SiteShape(0.0, 60.0, 0.3, 0.15, 0.0, 0.5), 4.0),
    ("27Al", 14.1, 0.0, SiteShape(10.0, cq_mhz=5.3, eta_q=0.22), 5.0),
    ("31P", 9.4, 5000.0, SiteShape(-20.0, 88.0, 0.33), 2.0),
    ("31P", 9.4, 5000.0, SiteShape(-20.0, -35.0, 0.9), 2.0),
    ("31P", 9.4, math.inf, SiteShape(-20.0, 35.0, 0.9), 2.0),
    ("31P", 9.4, 0.0, SiteShape(-20.0, -60.0, 0.45), 4.0),
]


@pytest.mark.parametrize(("nucleus", "field", "rate", "site", "width"), CASES)
def test_table_lines_agree_with_direct_simulation(nucleus, field, rate, site, width):
    axis = np.arange(-160.0, 160.0, width / 6.0)
    options = {"field_tesla": field, "mas_rate_hz": rate, "gaussian_ppm": width}
    expected = direct(site, nucleus, axis, **options)
    found = table_line(site, nucleus, axis, **options)
    assert np.abs(found - expected).max() < ERROR_BOUND * expected.max()


@pytest.mark.parametrize("zeta_ppm", [15.0, 80.0])
def test_lines_follow_cq_where_a_shift_anisotropy_acts_beside_it(zeta_ppm):
    built, wanted = (SiteShape(10.0, zeta_ppm, 0.4, cq, 0.3, 0.5) for cq in (4.0, 4.6))
    axis = np.arange(-200.0, 200.0, 0.5)
    made = kernels.Synthesis(axis[0], 0.5, len(axis))
    options = {"frequencies": made.frequencies, "window_ppm": made.window_ppm}
    value, _ = SiteKernels([built], "27Al", 9.4, 14000.0, **options).evaluate(np.array([4.6]))
    damp = kernels.broadening_transform(made.frequencies, 3.0, 0.0) * made.shift_phase(10.0)
    expected = direct(wanted, "27Al", axis, field_tesla=9.4, mas_rate_hz=14000.0, gaussian_ppm=3.0)
    assert np.abs(made.to_axis(value[0] * damp) - expected).max() < ERROR_BOUND * expected.max()


def test_sidebands_change_to_second_order_with_other_interactions():
    grid = powder.octant(10)
    _, coupling = powder.spinning_frequencies(grid, 0.37, "quadrupole")
    axial, full = (powder.spinning_frequencies(grid, eta, "shift")[1] for eta in (0.0, 1.0))
    parts = powder.sideband_changes(5.0 * coupling, [axial, full], 8)
    errors = []
    for scale in (0.04, 0.02):
        x, y = 0.5 * scale, scale
        exact = powder.sideband_changes(5.0 * coupling + x * axial + y * full, [], 8)[0]
        found = sum(a * p for a, p in zip((1.0, x, y, x * x, x * y, y * y), parts, strict=True))
        errors.append(np.abs(found - exact).max())
    # what is left out is of third order
    assert 0.0 < errors[1] < errors[0] < 1e-4
    assert errors[0] / errors[1] == pytest.approx(8.0, rel=0.15)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_patterns_have_the_analytic_widths_and_centres(eta):
    grid = powder.octant(40)
    static = powder.static_frequencies(grid, eta, "quadrupole")
    spinning, harmonics = powder.spinning_frequencies(grid, eta, "quadrupole")
    # Freude (2000): full widths in units of A
    assert np.ptp(static) == pytest.approx((25.0 + 22.0 * eta + eta**2) / 144.0, abs=3e-4)
    assert np.ptp(spinning) == pytest.approx((6.0 + eta) ** 2 / 504.0, abs=1e-4)
    weights = np.bincount(grid.corners.ravel(), np.repeat(grid.weights / 3.0, 3))
    for frequency in (static, spinning):
        assert frequency @ weights == pytest.approx(float(kernels.centre(eta)), abs=1e-4)
    amplitudes = powder.sideband_amplitudes(harmonics, 10.0, 15)
    assert amplitudes.sum(axis=1) == pytest.approx(1.0, abs=1e-6)


def test_sidebands_keep_the_second_moment():
    # Maricq and Waugh (1979): sum of n^2 I_n is the static second moment, (zeta / rate)^2 (1 + eta^2/3) / 5
    orders = np.arange(-24, 25)
    for ratio, eta in ((2.2, 0.0), (-3.7, 0.45), (6.0, 1.0)):
        heights = shift_sidebands(ratio, eta)
        assert heights.sum() == pytest.approx(1.0, abs=1e-4)
        assert heights @ orders == pytest.approx(0.0, abs=5e-3)
        assert heights @ orders**2 == pytest.approx(ratio**2 * (1.0 + eta**2 / 3.0) / 5.0, rel=5e-3)


def test_derivative_by_cq():
    f = np.linspace(0.0, 0.3, 50)
    site = SiteShape(0.0, cq_mhz=4.0, cq_error_mhz=0.5, eta_q=0.3)
    made = SiteKernels([site], "27Al", 9.4, math.inf, frequencies=f)
    _, slope = made.evaluate(np.array([4.0]))
    ahead, behind = (made.evaluate(np.array([cq]))[0] for cq in (4.005, 3.995))
    assert np.abs(slope - (ahead - behind) / 0.01).max() < 0.01 * np.abs(slope).max()


def test_width_and_centre_follow_the_formulas():
    nucleus = isotope("27Al")
    larmor = larmor_mhz(nucleus, 9.4)
    axis = np.arange(-200.0, 200.0, 0.2)
    site = SiteShape(50.0, cq_mhz=6.0, eta_q=0.5)
    line = table_line(site, "27Al", axis, field_tesla=9.4, mas_rate_hz=math.inf, gaussian_ppm=1.5)
    assert line.sum() * 0.2 == pytest.approx(1.0, abs=1e-3)
    centre = (axis @ line) / line.sum()
    assert centre == pytest.approx(
        50.0 + second_order_shift_ppm(nucleus, cq_mhz=6.0, eta=0.5, larmor_mhz=larmor), abs=0.1
    )
    inside = axis[line > 0.02 * line.max()]
    width = second_order_width_ppm(nucleus, cq_mhz=6.0, eta=0.5, larmor_mhz=larmor)
    assert np.ptp(inside) == pytest.approx(width, abs=4.0)


def test_bad_axes_are_refused():
    site = SiteShape(0.0, cq_mhz=3.0)
    options = {"field_tesla": 9.4, "mas_rate_hz": math.inf}
    with pytest.raises(LineShapeError, match="uniform"):
        table_line(site, "27Al", np.geomspace(1, 100, 50), gaussian_ppm=2.0, **options)
    with pytest.raises(LineShapeError, match="not resolved"):
        table_line(site, "27Al", np.arange(-50.0, 50.0, 1.0), gaussian_ppm=0.5, **options)


def test_cache_is_shared_and_survives_damage(tmp_path, monkeypatch):
    monkeypatch.setenv("SURFSHIFT_CACHE_DIR", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache"
    calls = []

    def build():
        calls.append(1)
        return {"x": np.arange(5.0)}

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: stored("t", "key", build)["x"], range(8)))
    assert all((result == np.arange(5.0)).all() for result in results)
    (file,) = (tmp_path / "cache").iterdir()
    before = len(calls)
    stored("t", "key", build)
    assert len(calls) == before
    stored("t", "another key", build)
    assert len(calls) == before + 1
    file.write_bytes(b"damaged")
    assert (stored("t", "key", build)["x"] == np.arange(5.0)).all()
    assert len(calls) == before + 2


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("SURFSHIFT_CACHE_DIR", str(blocked / "cache"))
    assert (stored("t", "key", lambda: {"x": np.ones(2)})["x"] == 1.0).all()
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208
