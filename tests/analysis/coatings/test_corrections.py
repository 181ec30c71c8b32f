import numpy as np
import pytest
from surfshift.analysis.coatings.corrections import chemistry_of, feature_row, fit_corrections, measured_energies
from surfshift.analysis.coatings.energies import amounts_of
from surfshift.analysis.coatings.errors import EnergyTableError


def test_measured_energies_are_per_reduced_formula():
    measured = measured_energies()
    assert len(measured) > 1500
    assert measured["LiF"].energy_ev == pytest.approx(-6.39, abs=0.05)
    assert measured["Al2O3"].energy_ev == pytest.approx(-17.37, abs=0.1)


@pytest.mark.parametrize(
    ("formula", "chemistry"),
    [
        ("Li3PO4", "phosphate"),
        ("LiAlO2", "oxide"),
        ("LiF", "fluoride"),
        ("Li2CO3", "carbonate"),
        ("LiAl", "intermetallic"),
        ("LiOH", "hydroxide"),
        ("Li3P", "phosphide"),
        ("Li6PS5Cl", "chloride"),
        ("Li", "element"),
    ],
)
def test_chemistry(formula, chemistry):
    assert chemistry_of(amounts_of(formula)) == chemistry


def test_features_count_the_anions():
    terms = ("O", "S", "P", "O peroxide", "Co in oxide or fluoride", "Li cation")
    assert feature_row(amounts_of("Li3PO4"), terms).tolist() == [4, 0, 0, 0, 0, 3]
    assert feature_row(amounts_of("Li2O2"), terms).tolist()[:4] == [0, 0, 0, 2]
    assert feature_row(amounts_of("Li2SO4"), terms).tolist()[:2] == [4, 0]
    assert feature_row(amounts_of("Li3PS4"), terms).tolist()[:3] == [0, 4, 0]
    assert feature_row(amounts_of("Li3P"), terms).tolist()[2] == 1
    assert feature_row(amounts_of("LiCoO2"), terms).tolist()[4] == 1
    assert feature_row(amounts_of("CoS"), terms).tolist()[4] == 0


def test_known_errors_are_found_again_and_left_out_errors_are_those_put_in():
    """Measured energies, made wrong by 0.6 eV per oxide ion, 0.4 per chloride and 20 meV per atom of noise."""
    rng = np.random.default_rng(1)
    computed = {}
    for formula, measured in measured_energies().items():
        amounts = amounts_of(formula)
        if set(amounts) <= {"Li", "Al", "Ti", "Zr", "Y", "La", "O", "Cl"} and len(amounts) > 1:
            wrong = 0.6 * amounts.get("O", 0.0) + 0.4 * amounts.get("Cl", 0.0)
            noise = 0.02 * rng.standard_normal() * sum(amounts.values())
            computed[formula] = (amounts, measured.energy_ev + wrong + noise)
    fitted = fit_corrections(computed)
    values = dict(zip(fitted.terms, fitted.values_ev, strict=True))
    errors = dict(zip(fitted.terms, np.sqrt(np.diag(fitted.covariance_ev2)), strict=True))
    assert values["O"] == pytest.approx(-0.6, abs=max(0.03, 3 * errors["O"]))
    assert values["Cl"] == pytest.approx(-0.4, abs=max(0.03, 3 * errors["Cl"]))
    assert 0.01 < fitted.error_ev_per_atom["all"] < 0.05
    assert fitted.uncorrected_error_ev_per_atom["all"] > 0.2


def test_too_few_measured_compounds_are_refused():
    with pytest.raises(EnergyTableError, match="at least 10"):
        fit_corrections({"LiF": (amounts_of("LiF"), -6.0)})
