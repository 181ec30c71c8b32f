"""Energies as a prior: Boltzmann's law where energies are sure, the usual prior where they are not, never unasked."""

import math

import pytest
from pydantic import ValidationError
from surfshift.analysis.matching import MatchSettings, match
from surfshift.analysis.matching.energy_prior import BOLTZMANN_EV_PER_K, EnergyPrior, EnergyPriorError, visible_sets
from surfshift.analysis.vocabulary import Experiment, Method, Peak, PeakList, PredictedSite, Reference
from surfshift.structures.vocabulary import Region

METHOD = Method(engine="made", engine_version="1", functional="none", protocol="none", protocol_hash="0")
REFERENCE = Reference(
    isotope="31P",
    method=METHOD,
    slope=-1.0,
    intercept_ppm=300.0,
    covariance=((0.0025, -0.75), (-0.75, 2.25 + 225.0)),
    sigma_mean_ppm=300.0,
    site_error_ppm=1.5,
    compounds=(),
)


def site(name, delta):
    return PredictedSite(
        candidate_id=f"id-{name}",
        candidate_name=name,
        isotope="31P",
        atom_indices=(0, 1),
        region=Region.SURFACE,
        sigma_iso_ppm=300.0 - delta,
        delta_iso_ppm=delta,
        delta_error_ppm=1.5,
        zeta_csa_ppm=10.0,
        eta_csa=0.3,
        cq_mhz=0.0,
        cq_error_mhz=0.0,
        eta_q=0.0,
        distance_to_h_ang=None,
    )


# the two ends of the measured line's error: the spectrum alone cannot tell them apart
LIBRARY = {f"id-{name}": [site(name, delta)] for name, delta in (("low", -20.4), ("high", -19.6), ("far", -35.0))}
MEASURED = PeakList(
    name="31P",
    isotope="31P",
    field_tesla=9.4,
    mas_rate_hz=12500.0,
    experiment=Experiment.ONE_PULSE,
    peaks=(Peak(label="a", delta_iso_ppm=-20.0, delta_error_ppm=0.3),),
)


def weighed(prior=None):
    found = match(LIBRARY, [MEASURED], {"31P": REFERENCE}, MatchSettings(energy_prior=prior))
    return {s.candidate_names: s.probability for s in found.subsets}, found


def test_sure_energies_give_boltzmanns_populations():
    kt = BOLTZMANN_EV_PER_K * 300.0
    names = ("a", "b", "c")
    # b has a tenth of a, c a hundredth: above and below a visible share of 5 %
    energies = {"a": 0.0, "b": kt * math.log(10), "c": kt * math.log(100)}
    sure = EnergyPrior(energies_ev=energies, error_ev=1e-6, temperature_k=300.0)
    assert visible_sets(sure, names) == {(0, 1): 1.0}
    hot = sure.model_copy(update={"temperature_k": 3000.0})
    assert visible_sets(hot, names) == {(0, 1, 2): 1.0}
    far = sure.model_copy(update={"energies_ev": {"a": 0.0, "b": 1.0, "c": 1.0}})
    assert visible_sets(far, names) == {(0,): 1.0}


def test_an_energy_error_spreads_the_prior_symmetrically():
    even = EnergyPrior(energies_ev={"a": 0.0, "b": 0.0}, error_ev=0.3, temperature_k=300.0)
    found = visible_sets(even, ("a", "b"))
    assert sum(found.values()) == pytest.approx(1.0)
    assert found[0,] == pytest.approx(found[1,], abs=0.03)
    # both are visible where |dE| < kT ln 19 (shares of 5 and 95 %), dE of standard deviation 0.3 eV
    reach = BOLTZMANN_EV_PER_K * 300.0 * math.log(19.0) / 0.3
    assert found[0, 1] == pytest.approx(math.erf(reach / math.sqrt(2.0)), abs=0.03)


def test_without_energies_nothing_changes_and_with_them_it_is_said():
    plain, found = weighed()
    assert not any("energies" in warning for warning in found.warnings)
    prior = EnergyPrior(energies_ev={"low": 0.0, "high": 0.5, "far": 0.5}, error_ev=0.1)
    with_prior, told = weighed(prior)
    assert any(
        "energies are part of the prior: Boltzmann at 298.15 K with an error of 0.1 eV" in w for w in told.warnings
    )
    assert with_prior["low",] > 3.0 * with_prior["high",]
    assert with_prior["low",] / plain["low",] > with_prior["high",] / plain["high",]
    assert sum(p for p in with_prior.values()) == pytest.approx(sum(plain.values()), abs=1e-6)
    # data still count: what does not fit stays improbable whatever its energy
    turned, _ = weighed(EnergyPrior(energies_ev={"low": 1.0, "high": 1.0, "far": 0.0}, error_ev=0.1))
    assert turned.get(("far",), 0.0) < turned["low",] + turned["high",]


def test_a_sample_out_of_equilibrium_has_the_usual_prior():
    plain, _ = weighed()
    energies = {"low": 0.0, "high": 0.5, "far": 0.5}
    none, _ = weighed(EnergyPrior(energies_ev=energies, error_ev=0.1, out_of_equilibrium=1.0))
    for names, probability in plain.items():
        assert none[names] == pytest.approx(probability, abs=1e-9)


def test_bad_energies_are_refused_by_name():
    with pytest.raises(EnergyPriorError, match="no energy of far, high; give one for every candidate"):
        weighed(EnergyPrior(energies_ev={"low": 0.0}, error_ev=0.1))
    with pytest.raises(EnergyPriorError, match=r"names 'lou', which is no candidate; did you mean 'low'\?"):
        weighed(EnergyPrior(energies_ev={"lou": 0.0, "high": 0.0, "far": 0.0}, error_ev=0.1))
    with pytest.raises(ValidationError, match="error_ev"):
        EnergyPrior(energies_ev={"low": 0.0}, error_ev=0.0)
    with pytest.raises(ValidationError, match="finite number"):
        EnergyPrior(energies_ev={"low": float("nan")}, error_ev=0.1)
    with pytest.raises(ValidationError, match="needs an energy for every candidate"):
        EnergyPrior(energies_ev={}, error_ev=0.1)
