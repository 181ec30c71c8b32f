"""Gain of further calculations: bounded by the entropy, largest where candidates are confused, zero where not."""

import math

import pytest
from surfshift.analysis.matching.next_calculation import Plan, calculation_gains
from surfshift.analysis.matching.search import Problem
from surfshift.analysis.matching.settings import MatchSettings
from surfshift.analysis.vocabulary import Method, Peak, PeakList, PredictedSite, Reference
from surfshift.structures.vocabulary import Region

METHOD = Method(engine="made", engine_version="1", functional="none", protocol="none", protocol_hash="0")
REFERENCE = Reference(
    isotope="31P",
    method=METHOD,
    slope=-1.0,
    intercept_ppm=300.0,
    covariance=((1e-6, 0.0), (0.0, 0.01)),
    sigma_mean_ppm=300.0,
    site_error_ppm=2.0,
    compounds=(),
)


def site(name: str, delta: float) -> PredictedSite:
    return PredictedSite(
        candidate_id=name,
        candidate_name=name,
        isotope="31P",
        atom_indices=(0,),
        region=Region.SURFACE,
        sigma_iso_ppm=300.0 - delta,
        delta_iso_ppm=delta,
        delta_error_ppm=2.0,
        zeta_csa_ppm=1.0,
        eta_csa=0.1,
        cq_mhz=0.0,
        cq_error_mhz=0.0,
        eta_q=0.0,
    )


def problem(*shifts: float, measured: float = -20.0) -> Problem:
    names = [f"c{k}" for k in range(len(shifts))]
    peak = Peak(label="one", delta_iso_ppm=measured, delta_error_ppm=0.2)
    return Problem(
        {name: [site(name, shift)] for name, shift in zip(names, shifts, strict=True)},
        [PeakList(name="31P", isotope="31P", field_tesla=9.4, peaks=(peak,))],
        {"31P": REFERENCE},
        MatchSettings(max_members=1),
    )


def better(name: str, factor: float) -> Plan:
    return Plan(f"{name} better", "balanced", name, name, factor, "", {}, 1.0)


def explanations(found: Problem) -> tuple[dict[tuple[str, ...], float], float]:
    weighed = found.weigh()
    alive = {tuple(found.ids[i] for i in w.fit.members): w.probability for w in weighed if w.fit is not None}
    return alive, sum(w.probability for w in weighed if w.fit is None)


def test_a_better_protocol_says_more_of_confused_candidates_than_of_clear_ones() -> None:
    close, apart = problem(-20.0, -21.0), problem(-20.0, -60.0)
    alive, none = explanations(close)
    (gain, _) = calculation_gains(close, alive, none, [better("c0", 0.1), better("c1", 0.1)], draws=64)
    assert 0.05 < gain.gain_bits <= gain.entropy_bits <= math.log2(3)
    alive, none = explanations(apart)
    far = next(g for g in calculation_gains(apart, alive, none, [better("c1", 0.1)], draws=64))
    assert far.gain_bits < 0.01


def test_the_gain_grows_as_the_error_falls_and_vanishes_without_any_change() -> None:
    close = problem(-20.0, -21.5)
    alive, none = explanations(close)
    gains = [calculation_gains(close, alive, none, [better("c0", f)], draws=200)[0].gain_bits for f in (1.0, 0.6, 0.1)]
    assert gains[0] == pytest.approx(0.0, abs=1e-9)
    assert gains[0] < gains[1] < gains[2]


def test_sites_of_a_missing_candidate_are_worth_computing_if_they_could_take_over() -> None:
    """Nobody explains the line, so a candidate without tensors might; the gain is bounded either way."""
    plan = Plan("new", "fast", "new", "new", 1.0, "", {"31P": (1,)}, 0.1)
    gains = []
    for measured in (-30.0, -20.0):
        found = problem(-20.0, -15.0, -26.0, measured=measured)
        alive, none = explanations(found)
        (gain,) = calculation_gains(found, alive, none, [plan], draws=200)
        assert gain.kind == "sites"
        assert gain.n_sites == 1
        assert 0.0 <= gain.gain_bits <= gain.entropy_bits
        gains.append(gain.gain_bits)
    # most of the doubt is on something unlisted, which no calculation of a candidate settles
    assert gains[0] > 0.01


def test_nothing_alive_is_refused() -> None:
    with pytest.raises(ValueError, match="no explanation"):
        calculation_gains(problem(-20.0), {}, 1.0, [better("c0", 0.5)])
