import numpy as np
import pytest
from surfshift.analysis.coatings.fingerprints import (
    BROADENING_PPM,
    NmrLine,
    computed_lines,
    detections,
    line_width_ppm,
    lines_of,
    profile,
    published_lines,
)
from surfshift.analysis.lines import broadened, shape

LATP = "Li1.3Al0.3Ti1.7P3O12"


def line(**changes):
    values = {
        "formula": "Al2O3",
        "isotope": "27Al",
        "environment": "",
        "delta_ppm": 44.5,
        "delta_error_ppm": 0.5,
        "cq_mhz": 4.088,
        "eta": 0.367,
        "share": 1.0,
        "origin": "published",
        "source": "",
        "grade": "verified",
    }
    return NmrLine.model_validate(values | changes)


def test_second_order_shift_of_berlinite_falls_with_the_field():
    """27Al of berlinite: 34.85 ppm at 9.4 T, and a quarter of the shift at twice the field."""
    berlinite = line()
    assert berlinite.position_ppm(9.4) == pytest.approx(34.87, abs=0.1)
    low, high = 44.5 - berlinite.position_ppm(9.4), 44.5 - berlinite.position_ppm(18.8)
    assert low / high == pytest.approx(4.0, rel=1e-6)


def test_quadrupolar_lines_get_narrower_in_ppm_with_the_field():
    wide = line(cq_mhz=6.0, eta=0.5)
    assert line_width_ppm(wide, 9.4) > 2.0 * line_width_ppm(wide, 18.8)


@pytest.mark.parametrize(("cq_mhz", "eta", "field"), [(4.088, 0.367, 9.4), (8.0, 0.0, 9.4), (3.2, 0.7, 18.8)])
def test_shapes_agree_with_those_of_mrsimulator(cq_mhz, eta, field):
    axis, density = profile(line(cq_mhz=cq_mhz, eta=eta), field)
    assert density.sum() * (axis[1] - axis[0]) == pytest.approx(1.0, abs=1e-6)
    wide = broadened(shape("27Al", field_tesla=field, cq_mhz=cq_mhz, eta_q=eta), BROADENING_PPM["27Al"])
    oracle = np.interp(axis, wide.axis_ppm, wide.density, left=0.0, right=0.0)
    assert np.abs(density - oracle).max() < 0.01 * oracle.max()


def test_a_line_without_coupling_is_a_gaussian_of_its_width():
    axis, density = profile(line(isotope="31P", cq_mhz=None, eta=None), 9.4)
    above = axis[density > 0.5 * density.max()]
    assert above[-1] - above[0] == pytest.approx(BROADENING_PPM["31P"], abs=0.05)


def test_every_published_line_is_of_a_known_nucleus_with_an_error_and_a_source():
    from surfshift.analysis.coatings import fingerprints

    lines = [entry for found in fingerprints._published().values() for entry in found]
    assert len(lines) > 50
    assert all(entry.delta_error_ppm > 0 and entry.source for entry in lines)
    assert all(0 < entry.share <= 1 for entry in lines)


def test_shipped_tensors_give_lines_that_agree_with_published_ones():
    for formula, isotope in (("AlPO4", "31P"), ("Li3PO4", "31P"), ("AlPO4", "27Al")):
        computed = [entry for entry in computed_lines(formula) if entry.isotope == isotope]
        published = [entry for entry in published_lines(formula) if entry.isotope == isotope]
        assert computed
        for entry in computed:
            nearest = min(abs(entry.delta_ppm - other.delta_ppm) for other in published)
            assert nearest < 2.5 * entry.delta_error_ppm


def test_formulas_are_recognised_in_any_writing():
    assert lines_of("LiTi2P3O12") == lines_of("LiTi2(PO4)3") != ()
    assert lines_of("Co3O4") == ()


@pytest.mark.parametrize(("product", "isotope"), [("LiAlO2", "27Al"), ("Li3PO4", "31P")])
def test_aluminate_and_phosphate_stand_clear_of_coating_and_electrolyte(product, isotope):
    found = detections(product, {LATP: 1.0, "AlPO4": 0.1, "LiAlO2": 0.1, "Li3PO4": 0.1})
    best = found[0]
    assert best.isotope == isotope
    assert best.resolved_probability > 0.95
    assert 0 < best.least_percent < 5


def test_lithium_of_phosphate_and_aluminate_touches_that_of_the_electrolyte():
    found = detections("Li3PO4", {LATP: 1.0, "LiAlO2": 0.1})
    lithium = next(d for d in found if d.isotope == "7Li")
    assert lithium.resolved_probability < 0.5


def test_more_signal_shows_less_of_a_product():
    others = {LATP: 1.0, "AlPO4": 0.1}
    weak, strong = (detections("Li3PO4", others, signal_to_noise=s)[0].least_percent for s in (100.0, 1000.0))
    assert weak / strong == pytest.approx(10.0, rel=0.1)


def test_a_line_beside_the_same_line_cannot_be_separated():
    """LaPO4 beside Li4P2O7: 0.5 ppm apart with 2 ppm wide lines needs far more than one that stands alone."""
    beside = next(d for d in detections("LaPO4", {"Li4P2O7": 1.0}) if d.isotope == "31P")
    alone = next(d for d in detections("LaPO4", {"Li3PO4": 1.0}) if d.isotope == "31P")
    assert beside.resolved_probability < 0.5 < alone.resolved_probability
    assert beside.least_percent > 2 * alone.least_percent
