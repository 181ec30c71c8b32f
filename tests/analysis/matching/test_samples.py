"""Several samples matched together: what they share, what differs, and what happens to a candidate that one lacks."""

import numpy as np
import pytest
from surfshift.analysis.matching import MatchError, MatchSettings, match
from surfshift.analysis.vocabulary import Assignment, Method, Peak, PeakList, PredictedSite, Reference
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


def site(name: str, delta: float, index: int) -> PredictedSite:
    return PredictedSite(
        candidate_id=name,
        candidate_name=name,
        isotope="31P",
        atom_indices=(index,),
        region=Region.SURFACE,
        sigma_iso_ppm=300.0 - delta,
        delta_iso_ppm=delta,
        delta_error_ppm=1.5,
        zeta_csa_ppm=1.0,
        eta_csa=0.1,
        cq_mhz=0.0,
        cq_error_mhz=0.0,
        eta_q=0.0,
    )


LIBRARY = {
    "dry": [site("dry", -25.0, 0), site("dry", -15.0, 1)],
    "wet": [site("wet", -5.0, 0), site("wet", 5.0, 1)],
}


def listed(sample: str, lines: dict[float, float]) -> PeakList:
    peaks = [
        Peak(label=f"{d}", delta_iso_ppm=d, delta_error_ppm=0.3, area=a, area_error=0.02) for d, a in lines.items()
    ]
    return PeakList(name=f"{sample} 31P", isotope="31P", field_tesla=9.4, peaks=tuple(peaks), sample=sample)


def mixed(sample: str, wet: float) -> PeakList:
    return listed(sample, {-25.3: 0.5 * (1 - wet), -14.8: 0.5 * (1 - wet), -5.5: 0.5 * wet, 5.2: 0.5 * wet})


@pytest.fixture(scope="module")
def series() -> Assignment:
    return match(LIBRARY, [mixed("0 h", 0.2), mixed("1 h", 0.5), mixed("9 h", 0.7)], {"31P": REFERENCE})


def test_each_sample_has_its_own_populations_and_the_first_is_the_answer(series: Assignment) -> None:
    assert [s.sample for s in series.samples] == ["0 h", "1 h", "9 h"]
    for found, truth in zip(series.samples, (0.2, 0.5, 0.7), strict=True):
        wet = next(p for p in found.populations if p.candidate_name == "wet")
        assert wet.low < truth < wet.high
        assert sum(p.mean for p in found.populations) == pytest.approx(1.0, abs=1e-6)
    assert series.populations == series.samples[0].populations


def test_changes_go_from_one_sample_to_the_next_and_over_the_whole_series(series: Assignment) -> None:
    wet = [(c.before, c.after, c) for c in series.changes if c.candidate_name == "wet"]
    assert [(a, b) for a, b, _ in wet] == [("0 h", "1 h"), ("1 h", "9 h"), ("0 h", "9 h")]
    for (*_, change), truth in zip(wet, (0.3, 0.2, 0.5), strict=True):
        assert change.low < truth < change.high
    assert wet[2][2].mean == pytest.approx(wet[0][2].mean + wet[1][2].mean, abs=1e-9)
    assert wet[2][2].probability_increase > 0.9
    assert Assignment.model_validate_json(series.model_dump_json()) == series


def test_a_candidate_that_one_sample_lacks_does_not_count_against_the_pair() -> None:
    before = listed("before", {-25.3: 0.5, -14.8: 0.5})
    after = listed("after", {-5.5: 0.5, 5.2: 0.5})
    found = match(LIBRARY, [before, after], {"31P": REFERENCE}, MatchSettings(missed_probability=0.001))
    assert found.subsets[0].candidate_names == ("dry", "wet")
    # taken as one sample, half of the lines of each list would be missing
    one = [m.model_copy(update={"sample": ""}) for m in (before, after)]
    together = match(LIBRARY, one, {"31P": REFERENCE}, MatchSettings(missed_probability=0.001))
    pair = {tuple(s.candidate_names): s.log_evidence for s in found.subsets}[("dry", "wet")]
    same = {tuple(s.candidate_names): s.log_evidence for s in together.subsets}.get(("dry", "wet"), -np.inf)
    assert pair > same + 5.0


def test_one_sample_has_no_changes_and_half_named_samples_are_refused() -> None:
    alone = match(LIBRARY, [mixed("only", 0.4)], {"31P": REFERENCE})
    assert alone.samples == ()
    assert alone.changes == ()
    with pytest.raises(MatchError, match="names no sample"):
        match(LIBRARY, [mixed("a", 0.4), mixed("", 0.4)], {"31P": REFERENCE})


def test_the_reference_after_the_fit_is_no_less_certain_than_before(series: Assignment) -> None:
    (fit,) = series.reference_fits
    prior, after = np.array(fit.prior_covariance), np.array(fit.covariance)
    assert (np.linalg.eigvalsh(prior - after) > -1e-9).all()
    assert after[0, 0] < prior[0, 0]
    assert abs(fit.mean[0]) < 2.0 * np.sqrt(prior[0, 0])
