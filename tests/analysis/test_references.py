import math

import numpy as np
import pytest
from surfshift.analysis.references import (
    ComputedCompound,
    MixedMethodsError,
    ReferenceFileError,
    ReferenceFitError,
    ReferenceMissingError,
    build_library,
    fit_reference,
    fitted_shift,
    load_reference,
    published_shifts,
    read_library,
    residuals_ppm,
    rmse_ppm,
    save_library,
)
from surfshift.analysis.vocabulary import Method, ReferenceCompound, SiteTensors
from surfshift.structures.library import load_crystal
from surfshift.structures.vocabulary import Grade, as_tensor3

METHOD = Method(engine="cluster", engine_version="1.0", functional="PBE", protocol="made-up", protocol_hash="abc")
OTHER = METHOD.model_copy(update={"functional": "PBE0"})


def compound(name, sigma, delta, error=0.5):
    return ReferenceCompound(
        name=name,
        sigma_iso_ppm=sigma,
        delta_iso_ppm=delta,
        delta_error_ppm=error,
        source="made here",
        grade=Grade.MODEL,
    )


def made_of(sigmas, slope, intercept, *, scatter, rng, error=0.5):
    noise = rng.normal(0.0, math.hypot(scatter, error), size=len(sigmas))
    return [
        compound(f"c{i}", s, intercept + slope * s + e, error)
        for i, (s, e) in enumerate(zip(sigmas, noise, strict=True))
    ]


def test_slope_is_recovered_from_many_compounds():
    rng = np.random.default_rng(0)
    made = made_of(rng.uniform(250, 350, 60), -0.82, 250.0, scatter=1.0, rng=rng)
    found = fit_reference("31P", METHOD, made)
    assert found.slope == pytest.approx(-0.82, abs=3 * math.sqrt(found.covariance[0][0]))
    assert math.sqrt(found.covariance[0][0]) < 0.01
    assert found.site_error_ppm == pytest.approx(1.1, abs=0.4)
    assert rmse_ppm(found) == pytest.approx(1.1, abs=0.3)
    assert sum(residuals_ppm(found).values()) / 60 == pytest.approx(0.0, abs=0.1)


def test_two_compounds_do_not_claim_to_know():
    found = fit_reference("31P", METHOD, [compound("a", 335.7, -24.5), compound("b", 295.7, 9.5)])
    assert found.site_error_ppm > 1.5
    assert 0.04 < math.sqrt(found.covariance[0][0]) < 0.15
    # far from the compounds the line is worth little, at them it is worth its site error
    assert fitted_shift(found, 500.0)[1] > 3 * fitted_shift(found, 315.0)[1]


def test_one_compound_keeps_the_prior_slope():
    found = fit_reference("27Al", METHOD, [compound("a", 521.1, 44.5)])
    assert found.slope == pytest.approx(-1.0)
    assert math.sqrt(found.covariance[0][0]) == pytest.approx(0.15, rel=1e-6)
    assert fitted_shift(found, 521.1)[0] == pytest.approx(44.5)


def test_adding_a_constant_to_the_shifts_moves_only_the_intercept():
    plain = fit_reference("31P", METHOD, [compound("a", 335.7, -24.5), compound("b", 295.7, 9.5)])
    moved = fit_reference("31P", METHOD, [compound("a", 335.7, -14.5), compound("b", 295.7, 19.5)])
    assert moved.slope == pytest.approx(plain.slope)
    assert moved.intercept_ppm == pytest.approx(plain.intercept_ppm + 10.0)


@pytest.mark.parametrize("n_compounds", [2, 4, 12])
def test_errors_are_calibrated(n_compounds):
    """Truth drawn from the prior: standardised errors of new shifts have about unit spread."""
    rng = np.random.default_rng(n_compounds)
    scores = []
    for _ in range(150):
        slope, scatter = rng.normal(-1.0, 0.15), 2.0 * rng.lognormal(0.0, 0.3)
        found = fit_reference(
            "31P", METHOD, made_of(rng.uniform(280, 340, n_compounds), slope, 290.0, scatter=scatter, rng=rng)
        )
        sigma = rng.uniform(260, 360)
        predicted, error = fitted_shift(found, sigma)
        scores.append((290.0 + slope * sigma + rng.normal(0.0, scatter) - predicted) / error)
    assert 0.75 < np.std(scores) < 1.15
    assert 0.85 < np.mean(np.abs(scores) < 1.645) <= 0.97


def test_an_outlier_does_not_turn_the_line():
    rng = np.random.default_rng(3)
    made = made_of(np.linspace(260, 340, 12), -0.9, 260.0, scatter=0.5, rng=rng)
    spoiled = [*made[:-1], made[-1].model_copy(update={"delta_iso_ppm": made[-1].delta_iso_ppm + 30.0})]
    assert fit_reference("31P", METHOD, spoiled).slope == pytest.approx(-0.9, abs=0.08)


def test_a_miss_of_one_environment_is_no_doubt_about_another():
    sigma = np.array([520.0, 523.0, 481.0, 500.0, 545.0, 536.0])
    delta = 580.0 - 1.04 * sigma + np.array([0.5, -0.5, 0.3, -0.3, 0.4, 9.0])
    compounds = [
        ReferenceCompound(
            name=f"c{i}",
            sigma_iso_ppm=s,
            delta_iso_ppm=d,
            delta_error_ppm=0.5,
            source="made",
            grade="verified",
            environment=e,
        )
        for i, (s, d, e) in enumerate(zip(sigma, delta, ["AlO4"] * 4 + ["AlO6"] * 2, strict=True))
    ]
    fitted = fit_reference("27Al", METHOD, compounds)
    assert fitted.error_of("AlO4") < 0.6 * fitted.error_of("AlO6")
    assert fitted.error_of("AlO4") < fitted.site_error_ppm == fitted.error_of("AlO5")
    # without names all share one error
    plain = fit_reference("27Al", METHOD, [c.model_copy(update={"environment": ""}) for c in compounds])
    assert plain.environment_errors_ppm == {}
    assert plain.site_error_ppm == fitted.site_error_ppm


def test_mixing_methods_is_refused():
    with pytest.raises(MixedMethodsError, match="one engine, functional and protocol"):
        fit_reference("31P", METHOD, [compound("a", 335.7, -24.5)], methods=[OTHER])


def test_no_compound_and_repeated_names_are_refused():
    with pytest.raises(ReferenceFitError, match="no compound"):
        fit_reference("31P", METHOD, [])
    with pytest.raises(ReferenceFitError, match="repeat"):
        fit_reference("31P", METHOD, [compound("a", 1.0, 1.0), compound("a", 2.0, 1.0)])


def test_published_shifts_are_graded_and_name_known_crystals():
    rows = published_shifts()
    assert {row.isotope for row in rows} >= {"27Al", "31P", "1H"}
    for row in rows:
        assert row.source
        assert row.error_ppm > 0
        if row.crystal is not None:
            assert load_crystal(row.crystal).name == row.crystal
    verified = {row.compound: row for row in rows if row.isotope == "27Al" and row.grade is Grade.VERIFIED}
    assert verified["AlPO4 berlinite"].delta_ppm == 44.5
    assert len(verified) == 4


def tensors(element, sigma, method=METHOD, count=1):
    tensor = as_tensor3((sigma * np.eye(3)).tolist())
    zero = as_tensor3(np.zeros((3, 3)).tolist())
    return SiteTensors(
        structure_id="s",
        element=element,
        atom_indices=tuple(range(count)),
        shielding_ppm=(tensor,) * count,
        efg_au=(zero,) * count,
        method=method,
    )


def computed(sigma_of):
    return [
        ComputedCompound(compound=name, structure_name=name, sites=(tensors("P", sigma),))
        for name, sigma in sigma_of.items()
    ]


def synthetic_library():
    # shieldings made from the published shifts by a known line
    wanted = {
        row.crystal: (row.delta_ppm - 270.0) / -0.85
        for row in published_shifts()
        if row.isotope == "31P" and row.crystal
    }
    return build_library(computed(wanted), command="made by a test")


def test_library_file_gives_the_line_back(tmp_path):
    library = synthetic_library()
    path = save_library(library, tmp_path)
    assert path.name == "reference_cluster_made-up.json"
    assert read_library(path) == library
    found = load_reference("31P", METHOD, folder=tmp_path)
    assert found.slope == pytest.approx(-0.85, abs=0.02)
    assert {c.name for c in found.compounds} == {row.compound for row in published_shifts() if row.isotope == "31P"}
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_patch_level_of_the_engine_does_not_matter_but_the_protocol_does(tmp_path):
    save_library(synthetic_library(), tmp_path)
    patched = METHOD.model_copy(update={"engine_version": "1.1"})
    assert load_reference("31P", patched, folder=tmp_path).method == METHOD
    changed = METHOD.model_copy(update={"protocol_hash": "abd"})
    with pytest.raises(ReferenceMissingError, match=r"PBE/made-up/abc.*Compute the reference compounds"):
        load_reference("31P", changed, folder=tmp_path)


def test_absent_library_and_absent_isotope_say_what_to_do(tmp_path):
    with pytest.raises(ReferenceMissingError, match="methods on file: none"):
        load_reference("31P", METHOD, folder=tmp_path)
    with pytest.raises(ReferenceMissingError, match="no reference for 31P"):
        load_reference("31P", METHOD)
    save_library(synthetic_library(), tmp_path)
    with pytest.raises(ReferenceMissingError, match="AlPO4 berlinite"):
        load_reference("27Al", METHOD, folder=tmp_path)


def test_lithium_isotopes_share_their_shifts(tmp_path):
    library = build_library(
        [ComputedCompound(compound="LiOH", structure_name="LiOH", sites=(tensors("Li", 90.0),))],
        command="made by a test",
    )
    save_library(library, tmp_path)
    sixth, seventh = (load_reference(name, METHOD, folder=tmp_path) for name in ("6Li", "7Li"))
    assert sixth.intercept_ppm == seventh.intercept_ppm


def test_mean_over_the_atoms_of_an_element():
    made = ComputedCompound(
        compound="x", structure_name="x", sites=(tensors("P", 300.0, count=3), tensors("P", 308.0), tensors("O", 1.0))
    )
    assert made.sigma_iso_ppm("P") == pytest.approx(302.0)
    assert made.sigma_iso_ppm("Al") is None


def test_library_refuses_mixed_methods_and_broken_files(tmp_path):
    sites = (tensors("P", 300.0), tensors("P", 301.0, method=OTHER))
    with pytest.raises(MixedMethodsError):
        build_library([ComputedCompound(compound="x", structure_name="x", sites=sites)], command="")
    broken = tmp_path / "reference_cluster_made-up.json"
    broken.write_text('{"method": 3}')
    with pytest.raises(ReferenceFileError, match="not a reference library"):
        load_reference("31P", METHOD, folder=tmp_path)
    with pytest.raises(ReferenceFileError, match="nothing was changed"):
        save_library(synthetic_library(), tmp_path / "absent")
