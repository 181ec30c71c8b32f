import warnings

import pytest
from surfshift.analysis.constants import (
    UnknownNucleusError,
    default_isotope,
    isotope,
    isotopes,
    larmor_mhz,
    table_sources,
)


def test_table_agrees_with_an_independent_one():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from mrsimulator.spin_system.isotope import Isotope as Independent

    for name, ours in isotopes().items():
        theirs = Independent(symbol=name)
        assert ours.spin == theirs.spin, name
        assert larmor_mhz(ours, 1.0) == pytest.approx(abs(theirs.gyromagnetic_ratio), rel=1e-4), name
        assert ours.gamma_rad_per_s_t * theirs.gyromagnetic_ratio > 0, name
        assert ours.abundance_percent == pytest.approx(theirs.natural_abundance, rel=0.05), name
        # quadrupole moments were revised; no revision changed a sign or more than a fifth
        assert ours.quadrupole_barn == pytest.approx(theirs.quadrupole_moment, rel=0.2), name


def test_pyykko_moments():
    assert isotope("27Al").quadrupole_barn == 0.1466
    assert isotope("7Li").quadrupole_barn == -0.0400
    assert "Pyykko" in table_sources()["quadrupole"]


def test_larmor_of_protons_in_a_400_mhz_magnet():
    assert larmor_mhz(isotope("1H"), 9.4) == pytest.approx(400.23, abs=0.02)


def test_half_integer_spins():
    assert isotope("27Al").is_half_integer_quadrupolar
    assert not isotope("6Li").is_half_integer_quadrupolar
    assert isotope("6Li").is_quadrupolar
    assert not isotope("31P").is_quadrupolar


def test_unknown_nucleus_names_the_nearest():
    with pytest.raises(UnknownNucleusError, match="27Al"):
        isotope("Al27")
    with pytest.raises(UnknownNucleusError, match="Xx"):
        default_isotope("Xx")


def test_default_isotopes_cover_the_table():
    for name in isotopes():
        assert default_isotope(isotope(name).element).element == isotope(name).element
    assert default_isotope("Al").name == "27Al"
