"""Own references: errors in both variables, heavy tails, couplings, wide stand-ins, files and pictures."""

import math
import re

import numpy as np
import pytest
from surfshift.analysis.constants import isotopes
from surfshift.analysis.coupling_fit import fit_couplings
from surfshift.analysis.reference_fit import (
    MixedMethodsError,
    ReferenceFitError,
    fit_reference,
    fitted_shift,
    predictive_interval,
    wide_reference,
)
from surfshift.analysis.reference_picture import draw_reference
from surfshift.analysis.reference_table import (
    read_reference_table,
    read_references,
    reference_from_table,
    write_references,
)
from surfshift.analysis.references import ReferenceFileError
from surfshift.analysis.robust_line import fit_line
from surfshift.analysis.vocabulary import Method, ReferenceCompound
from surfshift.structures.vocabulary import Grade

METHOD = Method(engine="castep", engine_version="", functional="PBE", protocol="600eV", protocol_hash="600eV")


def compounds(sigma, delta, *, sigma_error=0.0, delta_error=0.5):
    return [
        ReferenceCompound(
            name=f"c{k}",
            sigma_iso_ppm=s,
            sigma_error_ppm=sigma_error,
            delta_iso_ppm=d,
            delta_error_ppm=delta_error,
            source="made here",
            grade=Grade.MODEL,
        )
        for k, (s, d) in enumerate(zip(sigma, delta, strict=True))
    ]


def test_errors_of_the_shielding_do_not_flatten_the_slope():
    """Known noise in x biases least squares towards zero (attenuation); the adjusted abscissae undo it."""
    plain, adjusted = [], []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        truth = rng.uniform(-15, 15, 40)
        x = truth + rng.normal(0, 6.0, 40)
        y = -1.0 * truth + rng.normal(0, 0.5, 40)
        zero, half, six = np.zeros(40), np.full(40, 0.5), np.full(40, 6.0)
        common = {"y_error": half, "typical_scatter": 0.5, "prior_points": 4.0, "slope_prior": (-1.0, 5.0)}
        plain.append(fit_line(x, y, x_error=zero, **common).slope)
        adjusted.append(fit_line(x, y, x_error=six, **common).slope)
    reliability = 75.0 / (75.0 + 36.0)  # variance of the truth over that of x
    assert np.mean(plain) == pytest.approx(-reliability, abs=0.05)
    assert np.mean(adjusted) == pytest.approx(-1.0, abs=0.07)


def test_without_errors_of_x_and_tails_it_is_least_squares():
    rng = np.random.default_rng(0)
    x = rng.uniform(-40, 40, 300)
    y = 3.0 - 0.9 * x + rng.normal(0, 2.0, 300)
    fit = fit_line(
        x, y, x_error=np.zeros(300), y_error=np.full(300, 1e-3), typical_scatter=2.0, prior_points=4.0,
        slope_prior=(-1.0, 10.0),
    )  # fmt: skip
    slope, value = np.polyfit(x, y, 1)
    assert fit.slope == pytest.approx(slope, abs=0.003)
    assert fit.value == pytest.approx(value, abs=0.1)
    assert math.sqrt(fit.covariance[0, 0]) == pytest.approx(2.0 / math.sqrt(300 * np.var(x)), rel=0.1)
    assert fit.dof > 10
    assert fit.deviation == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("dof", [2.5, 30.0])
def test_intervals_hold_what_they_promise(dof):
    """New sites of a world with heavy or light tails fall into the 68 and 95 % intervals that often."""
    inside = {0.68: [], 0.95: []}
    for seed in range(25):
        rng = np.random.default_rng(seed)
        sigma = rng.uniform(470, 560, 50)
        delta = 590.0 - 1.07 * sigma + 2.5 * rng.standard_t(dof, 50)
        found = fit_reference("27Al", METHOD, compounds(sigma[:40], delta[:40], delta_error=0.1))
        for s, d in zip(sigma[40:], delta[40:], strict=True):
            for level, hits in inside.items():
                low, high = predictive_interval(found, s, level)
                hits.append(low <= d <= high)
    for level, hits in inside.items():
        assert np.mean(hits) == pytest.approx(level, abs=0.06)


def test_learnt_tails_are_heavy_where_outliers_are():
    rng = np.random.default_rng(2)
    sigma = rng.uniform(470, 560, 80)
    light = fit_reference("27Al", METHOD, compounds(sigma, 590 - sigma + rng.normal(0, 3, 80)))
    heavy = fit_reference("27Al", METHOD, compounds(sigma, 590 - sigma + 2 * rng.standard_t(2.2, 80)))
    assert heavy.site_dof < 4 < light.site_dof
    ratio = [
        np.subtract(*predictive_interval(r, 515.0, 0.99)[::-1]) / np.subtract(*predictive_interval(r, 515.0, 0.5)[::-1])
        for r in (light, heavy)
    ]
    assert ratio[1] > 1.5 * ratio[0]
    with pytest.raises(ReferenceFitError, match=r"0\.95"):
        predictive_interval(light, 515.0, 95.0)


def test_couplings():
    rng = np.random.default_rng(4)
    truth = rng.uniform(0.5, 12, 60)
    computed = np.sign(rng.normal(size=60)) * truth / 0.95
    found = fit_couplings(computed, truth + rng.normal(0, 0.4, 60))
    assert found.factor == pytest.approx(0.95, abs=3 * found.factor_error)
    assert found.factor_error == pytest.approx(0.4 / math.sqrt(float(np.sum(computed**2))), rel=0.4)
    assert found.error_mhz == pytest.approx(0.4, rel=0.3)
    low, high = found.interval(-4.0)
    assert low < 3.8 < high
    assert found.interval(0.1)[0] == 0.0
    with pytest.raises(ReferenceFitError, match="at least 5"):
        fit_couplings([1.0], [1.0])
    with pytest.raises(ReferenceFitError, match="finite"):
        fit_couplings([1.0] * 5 + [math.nan], [1.0] * 6)


def test_wide_references_for_all_nuclei():
    for name, nucleus in isotopes().items():
        wide = wide_reference(name, METHOD)
        assert wide.is_wide
        assert wide.slope == -1.0
        assert "surfshift reference" in wide.note
        shift, error = fitted_shift(wide, nucleus.reference_shielding_ppm)
        assert shift == 0.0
        assert error > nucleus.reference_shielding_error_ppm
        assert np.linalg.eigvalsh(np.array(wide.covariance)).min() >= 0


@pytest.mark.parametrize(
    ("name", "sigma", "delta"),
    [
        ("31P", 313.27, -24.5),  # berlinite by periodic GIPAW (PBE), published shift
        ("27Al", 504.57, 44.5),
        ("27Al", 539.94, 16.0),  # corundum, CASTEP value of the calibration set
    ],
)
def test_wide_references_hold_known_compounds(name, sigma, delta):
    shift, error = fitted_shift(wide_reference(name, METHOD), sigma)
    assert abs(delta - shift) < 2 * error


HEAD = "compound,sigma_ppm,delta_ppm,delta_error_ppm\n"


def table(path, text):
    path.write_text(text)
    return path


def test_a_table_gives_a_reference(tmp_path):
    rows = "".join(f"c{k},{500 + 6 * k},{90 - 6 * k + 0.3 * (-1) ** k},0.5\n" for k in range(9))
    read = read_reference_table(table(tmp_path / "t.csv", "# made here\n" + HEAD + rows + "c8,548,43,\n"), METHOD)
    assert [c.name for c in read.compounds][-2:] == ["c8", "c8 (2)"]
    assert read.compounds[-1].delta_error_ppm == 0.5
    found, couplings = reference_from_table("27Al", METHOD, read)
    assert found.slope == pytest.approx(-1.0, abs=0.05)
    assert couplings is None


def test_couplings_of_a_table_become_errors_of_the_reference(tmp_path):
    head = "compound,sigma_ppm,delta_ppm,cq_computed_mhz,cq_published_mhz\n"
    rows = "".join(f"c{k},{500 + 6 * k},{90 - 6 * k},{-2 - k},{2.1 + k}\n" for k in range(6)) + "only cq,,,3,3.2\n"
    read = read_reference_table(table(tmp_path / "t.csv", head + rows), METHOD)
    assert (len(read.compounds), len(read.couplings_mhz)) == (6, 7)
    found, couplings = reference_from_table("27Al", METHOD, read)
    assert found.cq_error_mhz == couplings.error_mhz
    assert found.cq_factor == couplings.factor


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("compound,sigma,delta_ppm\na,1,1\n", "unknown column 'sigma'"),
        ("compound,delta_ppm\na,1\n", "sigma_ppm is missing"),
        (HEAD + "a,one,1,1\n", "line 2: sigma_ppm is 'one'"),
        (HEAD + "a,nan,1,1\n", "finite"),
        (HEAD + "a,1,1\n", "3 cells"),
        (HEAD + ",1,1,1\n", "no name"),
        (HEAD + "a,1,,1\n", "no row has both"),
        (HEAD, "at least one compound"),
        ("compound,sigma_ppm,delta_ppm,grade\na,1,1,good\n", "good"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    with pytest.raises(ReferenceFileError, match=message):
        read_reference_table(table(tmp_path / "t.csv", text), METHOD)


def test_mixed_methods_in_a_table_are_refused(tmp_path):
    text = f"compound,sigma_ppm,delta_ppm,method\na,500,60,{METHOD.key}\nb,510,50,vasp/PBE/x/x\n"
    with pytest.raises(MixedMethodsError, match=r"line 3.*vasp/PBE/x/x"):
        read_reference_table(table(tmp_path / "t.csv", text), METHOD)


def test_reference_files(tmp_path):
    made = [wide_reference(name, METHOD) for name in ("27Al", "31P")]
    path = write_references(made, tmp_path / "own.json")
    assert read_references(path) == {reference.isotope: reference for reference in made}
    other = made[1].model_copy(update={"method": METHOD.model_copy(update={"functional": "PBEsol"})})
    with pytest.raises(MixedMethodsError, match="PBEsol"):
        read_references(write_references([made[0], other], path))
    with pytest.raises(ReferenceFileError, match="two references"):
        read_references(write_references([made[0], made[0]], path))
    path.write_text("{}")
    with pytest.raises(ReferenceFileError, match="surfshift reference"):
        read_references(path)
    with pytest.raises(ReferenceFileError, match="cannot read"):
        read_references(tmp_path / "absent.json")
    with pytest.raises(ReferenceFileError, match="cannot write"):
        write_references(made, tmp_path / "absent" / "own.json")


def test_picture_has_bands_line_and_points(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    sigma = rng.uniform(480, 560, 20)
    made = fit_reference("27Al", METHOD, compounds(sigma, 590 - 1.05 * sigma + rng.normal(0, 2, 20)))
    with Image.open(draw_reference(made, tmp_path / "r.png")) as picture:
        colours = {colour for count, colour in picture.convert("RGB").getcolors(1 << 24) if count > 20}
    assert {(0xD7, 0xE3, 0xF1), (0xA9, 0xC3, 0xE0), (0x12, 0x3F, 0x6D), (0xC2, 0x41, 0x0C)} <= colours
    with pytest.raises(ReferenceFileError, match="nothing to draw"):
        draw_reference(wide_reference("27Al", METHOD), tmp_path / "w.png")


def test_published_calibration_of_aluminium(shared_data, tmp_path):
    """The published line of the whole set is 590.8 - 1.069 sigma with an RMSE of 4.4 ppm; this is part of that set."""
    import csv

    source = list(csv.DictReader((shared_data / "nmr" / "al27_calibration.csv").open(encoding="utf-8")))
    columns = ("castep_sigma_iso_ppm", "delta_iso_exp_ppm", "castep_CQ_MHz", "CQ_exp_MHz")
    names = [re.sub(r"[^A-Za-z0-9()]", " ", row["compound"]) for row in source]
    lines = [",".join([name, *(row[key] for key in columns)]) for name, row in zip(names, source, strict=True)]
    head = "compound,sigma_ppm,delta_ppm,cq_computed_mhz,cq_published_mhz\n"
    read = read_reference_table(table(tmp_path / "al.csv", head + "\n".join(lines) + "\n"), METHOD)
    found, couplings = reference_from_table("27Al", METHOD, read)
    assert len(found.compounds) == 59
    assert found.slope == pytest.approx(-1.069, abs=0.03)
    assert fitted_shift(found, 515.0)[0] == pytest.approx(590.8 - 1.069 * 515.0, abs=1.5)
    assert found.site_error_ppm == pytest.approx(4.4, abs=0.6)
    assert couplings.factor == pytest.approx(1.0, abs=0.03)
    assert couplings.dof < 4
