"""Phases with given lines beside computed candidates: what the reference moves, and what it must not."""

import numpy as np
import pytest
from surfshift.analysis.given import GivenPhase
from surfshift.analysis.given_phases import given_sites
from surfshift.analysis.lines import line
from surfshift.analysis.matching import MatchError, MatchSettings, match, sensitivities
from surfshift.analysis.matching.sites import site_table
from surfshift.analysis.vocabulary import Method, Peak, PeakList, PredictedSite, Reference, Spectrum, Verdict
from surfshift.structures.vocabulary import Region

METHOD = Method(engine="made", engine_version="1", functional="none", protocol="none", protocol_hash="0")
OFFSET_SD = 4.0
REFERENCE = Reference(
    isotope="7Li",
    method=METHOD,
    slope=-1.0,
    intercept_ppm=90.0,
    covariance=((1e-6, -9e-5), (-9e-5, OFFSET_SD**2 + 8.1e-3)),
    sigma_mean_ppm=90.0,
    site_error_ppm=0.5,
    compounds=(),
)
METAL = GivenPhase.model_validate(
    {
        "phase": "Li metal",
        "formula": "Li",
        "source": "made for this test",
        "lines": [{"isotope": "7Li", "delta_iso_ppm": 258.0, "delta_error_ppm": 8.0, "width_ppm": 12.0}],
    }
)
GIVEN = given_sites(METAL, ["7Li"])


def computed(name: str, delta: float, cq: float = 0.06, atoms: int = 3, **changes: object) -> PredictedSite:
    values: dict[str, object] = {
        "candidate_id": name,
        "candidate_name": name,
        "isotope": "7Li",
        "atom_indices": tuple(range(atoms)),
        "region": Region.BULK,
        "sigma_iso_ppm": 90.0 - delta,
        "delta_iso_ppm": delta,
        "delta_error_ppm": 0.5,
        "zeta_csa_ppm": 0.0,
        "eta_csa": 0.0,
        "cq_mhz": cq,
        "cq_error_mhz": 0.01,
        "eta_q": 0.2,
    }
    return PredictedSite.model_validate({**values, **changes})


# DFT and reference together put both candidates 5 ppm too low
WRONG = 5.0
LIBRARY = {
    "oxide": [computed("oxide", 2.8 - WRONG)],
    "salt": [computed("salt", -1.0 - WRONG)],
    METAL.id: list(GIVEN),
}


def spectrum(shares: dict[str, float], seed: int = 3) -> Spectrum:
    """Simulated with mrsimulator, not with the tables of the fit: lines where they truly lie."""
    axis = np.linspace(-60.0, 330.0, 1500)
    rng = np.random.default_rng(seed)
    y = shares.get("oxide", 0.0) * line(computed("oxide", 2.8), axis, 9.4, 30000.0, 2.5)
    y = y + shares.get("salt", 0.0) * line(computed("salt", -1.0), axis, 9.4, 30000.0, 2.5)
    y = y + shares.get("metal", 0.0) * line(computed("metal", 263.0, 0.0), axis, 9.4, 30000.0, 13.0)
    noise = 0.002
    return Spectrum(
        name="7Li",
        isotope="7Li",
        field_tesla=9.4,
        mas_rate_hz=30000.0,
        axis_ppm=tuple(axis.tolist()),
        intensity=tuple((y + noise * rng.normal(size=len(axis))).tolist()),
        noise=noise,
    )


def population(answer, name: str):
    return next(p for p in answer.populations if p.candidate_name == name)


def test_a_metal_and_a_computed_oxide_in_one_spectrum_have_their_populations() -> None:
    answer = match(LIBRARY, [spectrum({"oxide": 0.6, "metal": 0.4})], {"7Li": REFERENCE}, MatchSettings(max_members=2))
    metal = population(answer, "Li metal")
    assert metal.probability_present > 0.99
    assert metal.low < 0.4 < metal.high
    assert metal.high - metal.low < 0.1
    assert answer.subsets[0].candidate_names.count("Li metal") == 1
    # the offset is that of the computed candidates alone, and the given line was not moved by it
    assert answer.offsets_ppm["7Li"] == pytest.approx(WRONG, abs=4.5)
    given = next(a for a in answer.attributions if a.candidate_name == "Li metal")
    assert float(given.peak_label.split()[0]) == pytest.approx(263.0, abs=0.5)


def test_a_metal_and_a_computed_oxide_in_one_peak_list_have_their_populations() -> None:
    peaks = (
        Peak(label="ionic", delta_iso_ppm=2.8, delta_error_ppm=0.2, area=0.6, area_error=0.03),
        Peak(label="metallic", delta_iso_ppm=263.0, delta_error_ppm=1.0, area=0.4, area_error=0.03),
    )
    measured = PeakList(name="7Li", isotope="7Li", field_tesla=9.4, peaks=peaks)
    answer = match(LIBRARY, [measured], {"7Li": REFERENCE}, MatchSettings(max_members=2))
    metal = population(answer, "Li metal")
    assert metal.probability_present > 0.85
    assert all("Li metal" in s.candidate_names for s in answer.subsets[:2])
    assert metal.low < 0.4 < metal.high
    owner = max((a for a in answer.attributions if a.peak_label == "metallic"), key=lambda a: a.probability)
    assert owner.candidate_name == "Li metal"
    assert owner.probability > 0.9
    assert owner.residual_sigmas == pytest.approx(5.0 / np.hypot(8.0, 1.0))


def test_the_reference_moves_computed_sites_and_never_a_given_line() -> None:
    table = site_table("7Li", list(LIBRARY.values()), REFERENCE)
    spread = np.sqrt((table.offset_rows**2).sum(axis=1))
    assert spread[:2] == pytest.approx([OFFSET_SD] * 2, rel=0.01)
    assert spread[2] == 0.0
    assert table.is_given.tolist() == [False, False, True]
    assert table.at(~table.is_given).delta.tolist() == [2.8 - WRONG, -1.0 - WRONG]
    # a line that only an offset of 12 standard deviations of its own could reach is not the metal's
    peaks = (Peak(delta_iso_ppm=258.0 + 12 * 8.0, delta_error_ppm=0.2),)
    measured = PeakList(name="7Li", isotope="7Li", field_tesla=9.4, peaks=peaks)
    wide = REFERENCE.model_copy(update={"covariance": ((0.0, 0.0), (0.0, 100.0**2))})
    answer = match({METAL.id: list(GIVEN)}, [measured], {"7Li": wide})
    assert answer.verdict is Verdict.NONE


def test_given_phases_need_no_reference_and_sensitivities_leave_them_where_they_are() -> None:
    other = METAL.model_copy(
        update={"phase": "LiC6", "lines": (METAL.lines[0].model_copy(update={"delta_iso_ppm": 45.0}),)}
    )
    library = {METAL.id: list(GIVEN), other.id: list(given_sites(other, ["7Li"]))}
    measured = PeakList(
        name="7Li", isotope="7Li", field_tesla=9.4, peaks=(Peak(delta_iso_ppm=44.0, delta_error_ppm=1.0),)
    )
    answer = match(library, [measured], {}, MatchSettings(max_members=1))
    assert answer.members == ("LiC6",)
    assert answer.offsets_ppm == {}
    assert answer.reference_fits == ()
    moved = sensitivities(library, [measured], {"7Li": REFERENCE}, MatchSettings(max_members=1))
    assert {s.change for s in moved} == {f"7Li reference {sign}{2 * OFFSET_SD:.1f} ppm" for sign in "+-"}
    assert all(s.members == ("LiC6",) and s.probability == pytest.approx(answer.probability) for s in moved)
    # computed sites still need one
    with pytest.raises(MatchError, match="references for nothing"):
        match(LIBRARY, [measured], {})


def test_a_given_width_broadens_only_its_own_line() -> None:
    """Without its width the metal's line must be as narrow as the others, which does not fit."""
    narrow = [site.model_copy(update={"width_ppm": 0.0}) for site in GIVEN]
    measured = [spectrum({"oxide": 0.6, "metal": 0.4})]
    settings = MatchSettings(max_members=2)
    with_width = match(LIBRARY, measured, {"7Li": REFERENCE}, settings)
    without = match({**LIBRARY, METAL.id: narrow}, measured, {"7Li": REFERENCE}, settings)
    best = max(s.log_evidence for s in with_width.subsets if s.candidate_names)
    assert best > max(s.log_evidence for s in without.subsets if s.candidate_names) + 20.0
