"""The verdict on simulated samples whose truth is known; larger runs are in benchmarks/matching_calibration.py."""

import numpy as np
import pytest
from surfshift.analysis.lines import line
from surfshift.analysis.matching import MatchError, MatchSettings, match
from surfshift.analysis.references import MixedMethodsError
from surfshift.analysis.vocabulary import (
    Assignment,
    Experiment,
    Method,
    Peak,
    PeakList,
    PredictedSite,
    Reference,
    Spectrum,
    Verdict,
)
from surfshift.structures.vocabulary import Region

METHOD = Method(engine="made", engine_version="1", functional="none", protocol="none", protocol_hash="0")


def reference(isotope, site_error=1.5):
    # 1.5 ppm at a shielding of 300 ppm, 0.05 in the slope
    return Reference(
        isotope=isotope,
        method=METHOD,
        slope=-1.0,
        intercept_ppm=300.0,
        covariance=((0.0025, -0.75), (-0.75, 2.25 + 225.0)),
        sigma_mean_ppm=300.0,
        site_error_ppm=site_error,
        compounds=(),
    )


REFERENCES = {"31P": reference("31P"), "27Al": reference("27Al", 2.0)}


def site(name, isotope, delta, cq=0.0, *, to_h=None, index=0, count=2):
    return PredictedSite(
        candidate_id=f"id-{name}",
        candidate_name=name,
        isotope=isotope,
        atom_indices=tuple(range(10 * index, 10 * index + count)),
        region=Region.SURFACE,
        sigma_iso_ppm=300.0 - delta,
        delta_iso_ppm=delta,
        delta_error_ppm=REFERENCES[isotope].site_error_ppm,
        zeta_csa_ppm=10.0,
        eta_csa=0.3,
        cq_mhz=cq,
        cq_error_mhz=0.1 * cq + 0.3 if cq else 0.0,
        eta_q=0.4,
        distance_to_h_ang=to_h,
    )


def made_of(name, phosphorus, aluminium):
    sites = [site(name, "31P", d, index=i) for i, d in enumerate(phosphorus)]
    return sites + [site(name, "27Al", d, cq, index=10 + i) for i, (d, cq) in enumerate(aluminium)]


LIBRARY = {
    "id-bulk": made_of("bulk", [-25.0], [(44.5, 4.1)]),
    "id-dry": made_of("dry", [-25.5, -17.0], [(44.0, 4.3), (58.0, 7.0)]),
    "id-wet": made_of("wet", [-24.8, -12.0], [(44.6, 4.0), (36.0, 5.5)]),
    "id-silane": made_of("silane", [-25.2, -31.0], [(45.0, 4.2), (12.0, 6.5)]),
}


def listed(isotope, values, experiment=Experiment.ONE_PULSE, name=None):
    """Peaks from (shift, CQ or 0, area or 0) with errors of 1 ppm, 0.4 MHz and 5 %."""
    peaks = []
    for i, (delta, cq, area) in enumerate(values):
        extra = {}
        if cq:
            extra |= {"cq_mhz": cq, "cq_error_mhz": 0.4}
        if area:
            extra |= {"area": area, "area_error": 0.05 * area}
        peaks.append(Peak(label=f"p{i}", delta_iso_ppm=delta, delta_error_ppm=1.0, **extra))
    return PeakList(
        name=name or isotope,
        isotope=isotope,
        field_tesla=9.4,
        mas_rate_hz=12500.0,
        experiment=experiment,
        peaks=tuple(peaks),
    )


WET = [
    listed("31P", [(-24.1, 0, 1.0), (-10.9, 0, 1.0)]),
    listed("27Al", [(45.0, 4.3, 1.0), (34.5, 5.9, 1.0)]),
]


ALONE = MatchSettings(max_members=1)
"""One candidate, or one beside those always present: which mixtures could hide in it is not asked."""


@pytest.fixture(scope="module")
def wet():
    return match(LIBRARY, WET, REFERENCES, ALONE)


def test_bulk_that_hides_under_the_lines_of_a_surface_is_not_denied():
    found = match(LIBRARY, WET, REFERENCES)
    assert found.subsets[0].candidate_names == ("wet",)
    chances = {p.candidate_name: p.probability_present for p in found.populations}
    assert chances["wet"] > 0.95
    assert 0.01 < chances["bulk"] < 0.5
    assert chances["bulk"] > 3 * max(chances["dry"], chances["silane"])


def test_own_lines_with_noise_are_identified(wet):
    assert wet.verdict is Verdict.IDENTIFIED
    assert wet.members == ("wet",)
    assert wet.probability > 0.9
    assert wet.fit_probability > 0.05
    assert "wet is identified" in wet.statement
    assert wet.unexplained == ()


def test_probabilities_add_up(wet):
    assert sum(s.probability for s in wet.subsets) == pytest.approx(1.0, abs=1e-6)
    for peak in ("p0", "p1"):
        for name in ("31P", "27Al"):
            total = sum(a.probability for a in wet.attributions if (a.measurement, a.peak_label) == (name, peak))
            assert 0.9 < total <= 1.0 + 1e-9
    assert Assignment.model_validate_json(wet.model_dump_json()) == wet


def test_result_repeats_and_does_not_depend_on_the_order(wet):
    turned = dict(reversed(LIBRARY.items()))
    assert match(turned, WET, REFERENCES, ALONE) == wet


def test_leaving_the_truth_out_gives_none_of_these():
    rest = {key: value for key, value in LIBRARY.items() if key != "id-wet"}
    found = match(rest, WET, REFERENCES)
    assert found.verdict is Verdict.NONE
    assert found.members == ()
    assert found.statement.startswith("None of these")


def test_twins_are_named_together():
    twin = [s.model_copy(update={"candidate_id": "id-twin", "candidate_name": "twin"}) for s in LIBRARY["id-wet"]]
    found = match({**LIBRARY, "id-twin": twin}, WET, REFERENCES)
    assert found.verdict is Verdict.ONE_OF
    assert set(found.members) >= {"wet", "twin"}
    chances = {p.candidate_name: p.probability_present for p in found.populations}
    # mixtures with one or the other are sampled with different draws
    assert chances["wet"] == pytest.approx(chances["twin"], abs=5e-3)


def test_known_bulk_with_one_surface():
    lists = [
        listed("31P", [(-24.5, 0, 7.5), (-11.0, 0, 2.5)]),
        listed("27Al", [(44.8, 4.2, 7.5), (35.0, 5.8, 2.5)]),
    ]
    found = match(LIBRARY, lists, REFERENCES, MatchSettings(always_present=("id-bulk",), max_members=1))
    assert found.verdict is Verdict.IDENTIFIED
    assert set(found.members) == {"bulk", "wet"}
    assert found.statement.startswith("Besides bulk, which is always present: wet is identified")
    shares = {p.candidate_name: p for p in found.populations}
    # half of the wet candidate's sites show as its own line: 25 % of the area is half its population
    assert shares["wet"].low < 0.5 < shares["wet"].high
    assert shares["bulk"].probability_present == pytest.approx(1.0 - found.subsets[-1].probability, abs=0.05)


def test_bulk_alone_is_found_when_nothing_else_shows():
    lists = [listed("31P", [(-24.5, 0, 0)]), listed("27Al", [(44.8, 4.2, 0)])]
    found = match(LIBRARY, lists, REFERENCES, MatchSettings(always_present=("id-bulk",)))
    best = found.subsets[0]
    assert best.candidate_names == ("bulk",)


def test_one_systematic_offset_is_forgiven_but_scatter_is_not():
    moved = [
        listed("31P", [(-24.8 + 3.0, 0, 0), (-12.0 + 3.0, 0, 0)]),
        listed("27Al", [(44.6 + 3.0, 4.0, 0), (36.0 + 3.0, 5.5, 0)]),
    ]
    torn = [
        listed("31P", [(-24.8 - 5.0, 0, 0), (-12.0 + 5.0, 0, 0)]),
        listed("27Al", [(44.6 + 6.0, 4.0, 0), (36.0 - 6.0, 5.5, 0)]),
    ]
    only = {"id-wet": LIBRARY["id-wet"]}
    good, bad = match(only, moved, REFERENCES), match(only, torn, REFERENCES)
    assert good.verdict is Verdict.IDENTIFIED
    assert good.offsets_ppm["31P"] > 1.0
    assert bad.verdict is Verdict.NONE
    assert bad.fit_probability < good.fit_probability


def test_surface_selective_lists_see_only_sites_near_hydrogen():
    near = [site("wet", "27Al", 36.0, 5.5, to_h=2.6, index=1), site("wet", "27Al", 44.6, 4.0, to_h=7.0)]
    dry = [site("dry", "27Al", 36.5, 5.6, index=1), site("dry", "27Al", 44.6, 4.0)]
    values = [(35.5, 5.8, 0)]
    trapdor = match({"w": near, "d": dry}, [listed("27Al", values, Experiment.TRAPDOR)], REFERENCES)
    chances = {s.candidate_names: s.probability for s in trapdor.subsets}
    assert chances["wet",] > 20 * chances["dry",]
    # without selection the missing bulk-like line counts against both alike
    plain = match({"w": near, "d": dry}, [listed("27Al", values)], REFERENCES)
    both = {p.candidate_name: p.probability_present for p in plain.populations}
    assert both["wet"] < 3 * both["dry"]


def test_a_list_that_no_site_explains_is_not_passed_over():
    """Bulk lines fit perfectly, but the bulk has no hydrogen: it cannot be what TRAPDOR saw."""
    bulk = [listed("31P", [(-25.0, 0, 0)]), listed("27Al", [(44.5, 4.1, 0)], name="one-pulse")]
    nearby = listed("27Al", [(36.0, 5.5, 0)], Experiment.TRAPDOR, name="near hydrogen")
    library = {key: LIBRARY[key] for key in ("id-bulk", "id-dry")}
    assert match(library, bulk, REFERENCES).verdict is not Verdict.NONE
    answer = match(library, [*bulk, nearby], REFERENCES)
    assert answer.verdict is Verdict.NONE
    assert "near hydrogen" in answer.statement
    assert answer.probability > 0.5


def test_a_line_that_should_show_and_does_not_counts():
    lists = [listed("31P", [(-25.0, 0, 0)])]
    found = match({k: LIBRARY[k] for k in ("id-bulk", "id-wet")}, lists, REFERENCES)
    chances = {s.candidate_names: s.probability for s in found.subsets}
    assert chances["bulk",] > 5 * chances["wet",]


def test_position_uses_the_second_order_shift():
    sites = {"id-wet": [site("wet", "27Al", 36.0, 5.5)], "id-dry": [site("dry", "27Al", 19.0, 0.5)]}
    peak = Peak(label="p", position_ppm=18.5, position_error_ppm=1.0)
    # 5.5 MHz at 9.4 T: centre of gravity 17.6 ppm below the isotropic shift
    low = PeakList(name="a", isotope="27Al", field_tesla=9.4, mas_rate_hz=12500.0, peaks=(peak,))
    high = low.model_copy(update={"field_tesla": 23.5})
    at_low, at_high = (
        {p.candidate_name: p.probability_present for p in match(sites, [data], REFERENCES, ALONE).populations}
        for data in (low, high)
    )
    assert at_low["wet"] > 0.2
    assert at_high["wet"] < 0.1 * at_low["wet"]


def test_more_candidates_than_can_be_tried_exhaustively():
    rng = np.random.default_rng(0)
    many = {
        f"id-{i}": made_of(
            f"c{i}", rng.uniform(-40, 10, 2), [(rng.uniform(0, 80), rng.uniform(3, 8)) for _ in range(2)]
        )
        for i in range(14)
    }
    found = match({**LIBRARY, **many}, WET, REFERENCES, MatchSettings(max_members=2))
    assert {p.candidate_name: p.probability_present for p in found.populations}["wet"] > 0.5


def spectrum(isotope, parts, axis, *, offset=0.0, seed=0, width=2.5):
    """A spectrum of (candidate, population) with all lines moved by an offset, 2 % noise and a flat baseline."""
    intensity = np.zeros(len(axis))
    for name, population in parts:
        sites = LIBRARY[name]
        atoms = sum(s.multiplicity for s in sites)
        for s in sites:
            if s.isotope == isotope:
                moved = s.delta_iso_ppm + offset
                intensity += (
                    population * s.multiplicity / atoms * line(s, axis, 9.4, 12500.0, width, delta_iso_ppm=moved)
                )
    noise = 0.02 * intensity.max()
    intensity += noise * np.random.default_rng(seed).normal(size=len(axis)) + 0.05 * intensity.max()
    return Spectrum(
        name=f"{isotope} spectrum",
        isotope=isotope,
        field_tesla=9.4,
        mas_rate_hz=12500.0,
        axis_ppm=tuple(axis.tolist()),
        intensity=tuple(intensity.tolist()),
        noise=noise,
    )


AXES = {"31P": np.linspace(-60, 20, 160), "27Al": np.linspace(-60, 110, 160)}
QUICK = MatchSettings(max_members=1, broadenings_ppm=(6.0, 3.5, 2.0))


def test_spectra_of_one_candidate_with_an_offset():
    data = [spectrum(n, [("id-wet", 1.0)], AXES[n], offset=2.0, seed=i) for i, n in enumerate(AXES)]
    found = match({k: LIBRARY[k] for k in ("id-wet", "id-dry")}, data, REFERENCES, QUICK)
    assert found.verdict is Verdict.IDENTIFIED
    assert found.members == ("wet",)
    assert found.offsets_ppm["31P"] == pytest.approx(2.0, abs=1.2)
    for curve, measured in zip(found.curves, sorted(data, key=lambda s: s.isotope), strict=True):
        assert curve.measurement == measured.name
        parts = np.sum(list(curve.parts.values()), axis=0) + np.array(curve.baseline)
        assert parts == pytest.approx(np.array(curve.total))
        left = np.array(measured.intensity) - np.array(curve.total)
        assert left.std() < 2.0 * measured.noise


def test_spectrum_of_something_else_is_none_of_these():
    data = [spectrum("31P", [("id-wet", 1.0)], AXES["31P"])]
    found = match({"id-silane": LIBRARY["id-silane"]}, data, REFERENCES, QUICK)
    assert found.verdict is Verdict.NONE
    # its two lines reach those measured only by shifts that no DFT error allows
    assert found.fit_probability < 1e-4
    single = match({"id-bulk": LIBRARY["id-bulk"]}, data, REFERENCES, QUICK)
    assert single.verdict is Verdict.NONE
    assert single.unexplained[0].fraction > 0.1


def test_populations_of_a_mixture_from_a_spectrum():
    data = [spectrum("31P", [("id-wet", 0.7), ("id-silane", 0.3)], AXES["31P"])]
    found = match(
        {k: LIBRARY[k] for k in ("id-wet", "id-silane")}, data, REFERENCES, MatchSettings(always_present=("id-wet",))
    )
    shares = {p.candidate_name: p.mean for p in found.populations}
    assert found.subsets[0].candidate_names == ("silane", "wet")
    assert shares["wet"] == pytest.approx(0.7, abs=0.06)


def test_input_that_cannot_be_matched():
    with pytest.raises(MatchError, match="no candidate"):
        match({}, WET, REFERENCES)
    with pytest.raises(MatchError, match="no measurement was given"):
        match(LIBRARY, [], REFERENCES)
    with pytest.raises(MatchError, match="no candidate id"):
        match(LIBRARY, WET, REFERENCES, MatchSettings(always_present=("bulk",)))
    with pytest.raises(MatchError, match="measured 27Al, 31P"):
        match(LIBRARY, WET, {})
    with pytest.raises(MatchError, match="repeat a name"):
        match(LIBRARY, [WET[0], WET[0]], REFERENCES)
    foreign = REFERENCES["27Al"].model_copy(update={"method": METHOD.model_copy(update={"protocol": "other"})})
    with pytest.raises(MixedMethodsError, match="2 methods"):
        match(LIBRARY, WET, {**REFERENCES, "27Al": foreign})


def test_a_measurement_without_reference_is_left_out_with_a_warning():
    found = match(LIBRARY, [*WET, listed("1H", [(1.0, 0, 0)])], REFERENCES, ALONE)
    assert found.warnings == ("1H was left out: there is no 1H reference",)
    assert found.members == ("wet",)
