"""Solid solutions: composition, charge and cell over their range."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from surfshift.structures.families import CompositionError, doped_llzo, latp
from surfshift.structures.library import build_crystal, build_disordered, check_crystal, load_crystal


@settings(max_examples=15)
@given(st.floats(min_value=0.01, max_value=0.5))
def test_latp_is_neutral_with_its_composition(x: float) -> None:
    cell = build_disordered(latp(round(x, 3)))
    x = round(x, 3)
    assert cell.total_charge == pytest.approx(0.0, abs=1e-6)
    assert cell.composition["Li"] == pytest.approx(6 * (1 + x), rel=1e-6)
    assert cell.composition["Al"] == pytest.approx(6 * x, rel=1e-6)


def test_latp_ends_are_the_published_crystals() -> None:
    assert build_crystal(latp(0.0)) == build_crystal(load_crystal("LiTi2P3O12"))
    published = load_crystal("LATP_x0.3")
    assert latp(0.3).cell == pytest.approx(published.cell)
    assert build_disordered(latp(0.3)).composition == pytest.approx(build_disordered(published).composition)
    assert load_crystal("LATP_x0.25") == latp(0.25)
    # aluminium is smaller than titanium
    assert latp(0.5).cell[0] < latp(0.1).cell[0]


@pytest.mark.parametrize("site", ["24d", "96h"])
@pytest.mark.parametrize(("aluminium", "tantalum"), [(0.2, 0.0), (0.3, 0.2), (0.0, 0.6)])
def test_doped_garnet_is_neutral(aluminium: float, tantalum: float, site: str) -> None:
    check = check_crystal(doped_llzo(aluminium=aluminium, tantalum=tantalum, aluminium_site=site))  # type: ignore[arg-type]
    assert check.charge == pytest.approx(0.0, abs=1e-9)
    assert check.composition["Li"] == pytest.approx(8 * (7 - 3 * aluminium - tantalum))


def test_composition_out_of_range_names_the_nearest() -> None:
    with pytest.raises(CompositionError, match=r"x = 0\.7.*nearest is 0\.5"):
        latp(0.7)
    with pytest.raises(CompositionError, match=r"tantalum = 0\.9.*nearest is 0\.6"):
        doped_llzo(tantalum=0.9)
