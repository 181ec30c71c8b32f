"""Contact and dephasing times in a match: candidates that only their distances tell apart."""

import numpy as np
import pytest
from surfshift.analysis.dipolar import redor_fraction, sums_over_neighbours
from surfshift.analysis.matching import MatchSettings, match
from surfshift.analysis.matching.sites import dephasings, site_table, visibility
from surfshift.analysis.prediction import predict_sites
from surfshift.analysis.transfer import Transfer
from surfshift.analysis.vocabulary import (
    Method,
    Peak,
    PeakList,
    PredictedSite,
    Reference,
    SiteTensors,
    Spectrum,
)
from surfshift.structures.enumeration import bulk_candidate
from surfshift.structures.vocabulary import AtomicStructure, Region

METHOD = Method(engine="made", engine_version="1", functional="none", protocol="none", protocol_hash="0")
REFERENCE = Reference(
    isotope="31P",
    method=METHOD,
    slope=-1.0,
    intercept_ppm=300.0,
    covariance=((0.0, 0.0), (0.0, 1.0)),
    sigma_mean_ppm=310.0,
    site_error_ppm=2.0,
    compounds=(),
)
NEAR, FAR = 2.2**-6, 3.6**-6


def site(name: str, delta: float, to_h: float | None, **changes: object) -> PredictedSite:
    values: dict[str, object] = {
        "candidate_id": name,
        "candidate_name": name,
        "isotope": "31P",
        "atom_indices": (0,),
        "region": Region.SURFACE,
        "sigma_iso_ppm": 300.0 - delta,
        "delta_iso_ppm": delta,
        "delta_error_ppm": 2.0,
        "zeta_csa_ppm": 0.0,
        "eta_csa": 0.0,
        "cq_mhz": 0.0,
        "cq_error_mhz": 0.0,
        "eta_q": 0.0,
        "distance_to_h_ang": 3.0,
        "dipolar_sums": {} if to_h is None else {"H": to_h, "HH": 3.0**-6},
    }
    return PredictedSite.model_validate({**values, **changes})


def listed(transfer: Transfer | None, experiment: str = "redor", **values: float) -> PeakList:
    peaks = (Peak(label="P", delta_iso_ppm=-10.0, delta_error_ppm=0.5, **values),)
    conditions = {"name": "31P", "isotope": "31P", "field_tesla": 9.4, "mas_rate_hz": 10e3, "experiment": experiment}
    return PeakList.model_validate({**conditions, "peaks": peaks, "transfer": transfer})


TIME = 0.1
REDOR = Transfer(dephasing_isotope="1H", dephasing_time_ms=TIME)
LIBRARY = {"near": [site("near", -10.0, NEAR)], "far": [site("far", -10.0, FAR)]}


def test_a_dephasing_tells_apart_what_shifts_cannot() -> None:
    settings = MatchSettings(max_members=1)
    fraction, _ = redor_fraction("31P", "1H", FAR, TIME)
    plain = match(LIBRARY, [listed(REDOR)], {"31P": REFERENCE}, settings)
    by_name = {s.candidate_names: s.probability for s in plain.subsets}
    assert by_name[("near",)] == pytest.approx(by_name[("far",)], rel=0.01)
    seen = listed(REDOR, dephasing=fraction, dephasing_error=0.03)
    told = match(LIBRARY, [seen], {"31P": REFERENCE}, settings)
    assert told.members == ("far",)
    odds = {s.candidate_names: s.probability for s in told.subsets}
    assert odds[("far",)] > 50 * odds.get(("near",), 0.0)
    # a fraction that neither gives is something else's
    strange = listed(REDOR, dephasing=1.0, dephasing_error=0.03)
    none = {
        s.candidate_names: s.probability for s in match({"far": LIBRARY["far"]}, [strange], {"31P": REFERENCE}).subsets
    }
    assert none[()] > 0.9


def test_sites_without_distances_are_neither_for_nor_against() -> None:
    table = site_table("31P", [[site("a", 0.0, None)], [site("b", 0.0, NEAR)]], REFERENCE)
    mean, error = dephasings(table, listed(REDOR))
    assert error[0] == np.inf
    assert 0 < mean[1] < 1
    library = {"unknown": [site("unknown", -10.0, None)], "far": LIBRARY["far"]}
    fraction, _ = redor_fraction("31P", "1H", NEAR, TIME)
    seen = listed(REDOR, dephasing=fraction, dephasing_error=0.03)
    answer = match(library, [seen], {"31P": REFERENCE}, MatchSettings(max_members=1))
    assert answer.members[:1] == ("unknown",)


def test_a_contact_time_decides_what_cp_sees_and_without_one_the_distance_does() -> None:
    table = site_table("31P", list(LIBRARY.values()), REFERENCE)
    settings = MatchSettings()
    short = visibility(table, listed(Transfer(contact_time_ms=0.05), "cp"), settings)
    long = visibility(table, listed(Transfer(contact_time_ms=5.0), "cp"), settings)
    assert short[0] > 3 * short[1]
    assert (long > short).all()
    assert long[1] > 0.7
    lossy = visibility(table, listed(Transfer(contact_time_ms=5.0, t1rho_ms=5.0), "cp"), settings)
    assert lossy == pytest.approx(long / np.e)
    crude = visibility(table, listed(None, "cp"), settings)
    assert crude == pytest.approx([1.0 / (1.0 + (3.0 / settings.cp_range_ang) ** 6)] * 2)
    # known by its nearest hydrogen alone, as a phase with given lines is
    alone = site_table("31P", [[site("a", 0.0, None)]], REFERENCE)
    assert 0 < visibility(alone, listed(Transfer(contact_time_ms=0.5), "cp"), settings)[0] < 1


def test_a_difference_spectrum_shows_what_was_dephased() -> None:
    axis = np.linspace(-40.0, 20.0, 400)
    library = {"both": [site("both", -20.0, NEAR), site("both", 0.0, FAR, atom_indices=(1,))]}
    table = site_table("31P", list(library.values()), REFERENCE)
    shares = dephasings(table, listed(REDOR))[0]
    y = sum(
        share * np.exp(-0.5 * ((axis - delta) / 1.0) ** 2) for share, delta in zip(shares, (-20.0, 0.0), strict=True)
    )
    rng = np.random.default_rng(0)
    measured = Spectrum(
        name="difference", isotope="31P", field_tesla=9.4, mas_rate_hz=float("1e5"), experiment="redor",
        axis_ppm=tuple(axis.tolist()), intensity=tuple((y + 0.003 * rng.normal(size=400)).tolist()), noise=0.003,
        transfer=REDOR,
    )  # fmt: skip
    assert visibility(table, measured, MatchSettings()) == pytest.approx(shares)
    answer = match(library, [measured], {"31P": REFERENCE})
    assert answer.fit_probability > 0.05
    # of equal atoms a plain spectrum would show equal lines
    wrong = match(library, [measured.model_copy(update={"transfer": None})], {"31P": REFERENCE})
    assert wrong.fit_probability < 0.01


def test_predictions_hold_sums_only_where_they_are_asked_for() -> None:
    structure = AtomicStructure(
        lattice_ang=np.diag([8.0, 8.0, 8.0]).tolist(),
        elements=("P", "O", "H", "H"),
        frac_coords=((0, 0, 0), (0.19, 0, 0), (0.25, 0.1, 0), (0.5, 0.5, 0.5)),
        periodic=(True, True, True),
        oxidation_states=(5.0, -2.0, 1.0, 1.0),
    )
    candidate = bulk_candidate(structure, name="cell")
    tensors = SiteTensors(
        structure_id=candidate.structure.content_id,
        element="P",
        atom_indices=(0,),
        shielding_ppm=((np.eye(3) * 310).tolist(),),
        efg_au=(np.zeros((3, 3)).tolist(),),
        method=METHOD,
    )
    (plain,) = predict_sites(candidate, [tensors], {"31P": REFERENCE}, ["31P"])
    (full,) = predict_sites(candidate, [tensors], {"31P": REFERENCE}, ["31P"], partners=("H", "O"))
    assert plain.dipolar_sums == {}
    assert plain == full.model_copy(update={"dipolar_sums": {}})
    nearest = plain.distance_to_h_ang or 0.0
    assert full.dipolar_sums["H"] > nearest**-6
    assert full.dipolar_sums["H"] == pytest.approx(nearest**-6, rel=0.05)
    # two images of the other hydrogen are equally near
    assert full.dipolar_sums["HH"] > 2 * (2.0**2 + 3.2**2 + 4.0**2) ** -3
    assert full.dipolar_sums["HH"] == sums_over_neighbours(structure, 2, ("H",))["H"]
