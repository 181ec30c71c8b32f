"""Conditions of a measurement, noise, corrections, and everything that is refused by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from surfshift.analysis.constants import UnknownNucleusError
from surfshift.analysis.spectra_io import (
    BadSpectrumError,
    ConflictingConditionsError,
    Correction,
    CorrectionError,
    MeasurementError,
    MissingConditionError,
    MissingFieldError,
    MissingFileError,
    NoFrequencyError,
    NoSignalError,
    RawSpectrum,
    UnknownFormatError,
    WrongNucleusError,
    draw_readout,
    find_lines,
    measure_noise,
    read_spectrum,
    read_with_details,
    write_csdm,
)
from surfshift.analysis.spectra_io.correction import apply_correction
from surfshift.analysis.spectra_io.fid import transform
from surfshift.analysis.spectra_io.raw import experiment_of, isotope_of
from surfshift.analysis.vocabulary import Experiment

AXIS = np.linspace(-60.0, 20.0, 800)


def line(centre=-24.5, height=100.0, width=2.0, axis=AXIS):
    return height * np.exp(-0.5 * ((axis - centre) / width) ** 2)


def noise(seed=0, n=800):
    return np.random.default_rng(seed).normal(size=n)


def write(path, values, axis=AXIS, head=""):
    path.write_text(head + "\n".join(f"{x:.6f} {y:.6f}" for x, y in zip(axis, values, strict=True)))
    return path


def test_conditions_are_asked_for_by_name(tmp_path):
    path = write(tmp_path / "s.txt", line() + noise())
    with pytest.raises(MissingConditionError, match="give isotope"):
        read_spectrum(path)
    with pytest.raises(MissingFieldError, match="field_tesla"):
        read_spectrum(path, "31P")
    with pytest.raises(MissingConditionError, match="give mas_rate_hz"):
        read_spectrum(path, "31P", 9.4)
    found = read_spectrum(path, "31P", 9.4, mas_rate_hz=0)
    assert found.experiment is Experiment.ONE_PULSE
    assert any("one-pulse is taken" in remark for remark in found.notes)
    with pytest.raises(UnknownNucleusError, match="31P"):
        read_spectrum(path, "P31", 9.4)
    with pytest.raises(MeasurementError, match="trapdor"):
        read_spectrum(path, "31P", 9.4, mas_rate_hz=0, experiment="trapdoor")


HEAD = "# isotope: 31P\n# field_tesla: 9.4\n# mas_rate_hz = 12500\n# experiment: echo\n"


def test_conditions_in_comments_of_a_text_file(tmp_path):
    path = write(tmp_path / "s.txt", line() + noise(), head=HEAD)
    found = read_spectrum(path)
    assert (found.isotope, found.field_tesla, found.mas_rate_hz) == ("31P", 9.4, 12500.0)
    assert found.experiment is Experiment.ECHO


def test_conflicts_are_refused_or_told(tmp_path):
    path = write(tmp_path / "s.txt", line() + noise(), head=HEAD)
    with pytest.raises(WrongNucleusError, match="27Al was asked for, the file says 31P"):
        read_spectrum(path, "27Al")
    with pytest.raises(ConflictingConditionsError, match=r"field_tesla=14\.1 was given, the file says 9\.400"):
        read_spectrum(path, field_tesla=14.1)
    assert read_spectrum(path, field_tesla=9.39).field_tesla == 9.4  # the same magnet
    told = read_spectrum(path, mas_rate_hz=8000, experiment="cp")
    assert (told.mas_rate_hz, told.experiment) == (8000, Experiment.CP)
    assert any("8000" in remark and "12500" in remark for remark in told.notes)
    assert any("echo" in remark for remark in told.notes)


def test_a_frequency_gives_the_wrong_nucleus_away(tmp_path):
    made = read_spectrum(write(tmp_path / "s.txt", line() + noise(), head=HEAD))
    path = write_csdm(made, tmp_path / "s.csdf")
    path.write_text(path.read_text().replace("31P", "").replace('"field_tesla": 9.4', '"other": 0'))
    assert read_spectrum(path, "31P").field_tesla == pytest.approx(9.4)
    with pytest.raises(WrongNucleusError, match="is that of 31P, not of 27Al"):
        read_spectrum(path, "27Al", 9.4)
    with pytest.raises(MissingConditionError, match="'31P', which resonates at 162"):
        read_spectrum(path, field_tesla=9.4)


def test_axes_in_points_and_hertz(tmp_path):
    values = line() + noise()
    points = write(tmp_path / "points.txt", values, axis=np.arange(800.0))
    with pytest.raises(NoFrequencyError, match="counts points"):
        read_spectrum(points, "31P", 9.4, mas_rate_hz=0)
    assert read_spectrum(points, "31P", 9.4, mas_rate_hz=0, axis_unit="ppm").axis_ppm[-1] == 799.0
    hertz = write(tmp_path / "hz.txt", values, axis=AXIS * 161.9, head="# Hz intensity\n")
    with pytest.raises(NoFrequencyError, match="give reference_mhz"):
        read_spectrum(hertz, "31P", 9.4, mas_rate_hz=0)
    found = read_spectrum(hertz, "31P", mas_rate_hz=0, reference_mhz=161.9)
    assert found.axis_ppm == pytest.approx(AXIS, abs=1e-6)
    assert found.field_tesla == pytest.approx(9.393, abs=0.001)
    unnamed = write(tmp_path / "wide.txt", values, axis=np.linspace(-5e4, 5e4, 800))
    with pytest.raises(NoFrequencyError, match="in hz"):
        read_spectrum(unnamed, "31P", 9.4, mas_rate_hz=0)
    remark = write(tmp_path / "remark.txt", values, head="# spun at 12.5 kHz\n")
    assert read_spectrum(remark, "31P", 9.4, mas_rate_hz=12500).axis_ppm == pytest.approx(AXIS, abs=1e-6)


def test_no_signal_is_refused_and_a_weak_broad_one_is_not(tmp_path):
    for seed in range(20):
        with pytest.raises(NoSignalError, match="no signal"):
            read_spectrum(write(tmp_path / "s.txt", noise(seed)), "31P", 9.4, mas_rate_hz=0)
    broad = line(height=2.0, width=4.0) + noise(1)
    assert read_spectrum(write(tmp_path / "b.txt", broad), "31P", 9.4, mas_rate_hz=0).noise == pytest.approx(
        1.0, rel=0.1
    )


def test_negative_intensity_is_allowed_and_told(tmp_path):
    path = write(tmp_path / "s.txt", line() - line(-40.0, 60.0) + noise())
    trapdor = read_spectrum(path, "27Al", 9.4, mas_rate_hz=12500, experiment="trapdor")
    assert any("negative intensity" in remark and "TRAPDOR" in remark for remark in trapdor.notes)
    plain = read_spectrum(path, "27Al", 9.4, mas_rate_hz=12500)
    assert any("negative intensity" in remark and "phase" in remark for remark in plain.notes)
    positive = read_spectrum(write(tmp_path / "p.txt", line() + noise()), "27Al", 9.4, mas_rate_hz=0)
    assert not any("negative" in remark for remark in positive.notes)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(MissingFileError, match="does not exist"):
        read_spectrum(tmp_path / "absent")
    with pytest.raises(MissingFileError, match="folder without Bruker data"):
        read_spectrum(tmp_path)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UnknownFormatError, match="CSDM"):
        read_spectrum(tmp_path / "x.json")
    with pytest.raises(BadSpectrumError, match="noise"):
        read_spectrum(write(tmp_path / "s.txt", line() + noise()), "31P", 9.4, mas_rate_hz=0, noise=-1.0)


@pytest.mark.parametrize("points", [512, 2048, 16384])
@pytest.mark.parametrize("zero_fill", [1, 2, 4])
def test_noise_of_known_size(points, zero_fill):
    """Lines over known noise, transformed as a spectrometer does; the noise comes back within some percent."""
    rng = np.random.default_rng(points + zero_fill)
    time = np.arange(points)
    decay = sum(
        a * np.exp(2j * np.pi * f * time - np.pi * w * time) for f, w, a in ((0.1, 0.003, 30), (-0.2, 0.05, 20))
    )
    pure = rng.normal(size=points) + 1j * rng.normal(size=points)
    lines, scatter = (transform(x, dwell_s=1.0, points=points * zero_fill).real for x in (decay, pure))
    found = measure_noise(lines + scatter)
    assert found.level == pytest.approx(float(scatter.std()), rel=0.06)
    # white noise of n values on zero_fill * n points; the real part alone holds twice as many values
    assert found.correlation_points == pytest.approx(max(1.0, zero_fill / 2), rel=0.25)
    assert not found.is_upper_bound
    centre = np.argmax(lines)
    assert not found.quiet[centre]


def test_noise_of_apodised_data():
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(10):
        pure = rng.normal(size=4096) + 1j * rng.normal(size=4096)
        scatter = transform(pure, dwell_s=1.0, line_broadening_hz=5 / 4096, points=8192).real
        ratios.append(measure_noise(scatter).level / scatter.std())
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.08)


def test_a_window_full_of_signal_is_told():
    axis = np.linspace(0, 60, 400)
    found = measure_noise(100 * np.sin(axis) ** 2 * np.cos(3 * axis) + np.random.default_rng(0).normal(size=400))
    assert found.level > 1.0


@given(
    scale=st.floats(1e-6, 1e6),
    offset=st.floats(-1e3, 1e3),
)
def test_noise_follows_scale_and_ignores_offset(scale, offset):
    values = line() + noise()
    assert measure_noise(scale * (values + offset)).level == pytest.approx(
        scale * measure_noise(values).level, rel=1e-6
    )


def test_regions_without_signal_leave_the_lines_out(tmp_path):
    found = read_with_details(write(tmp_path / "s.txt", line(width=1.0) + noise()), "31P", 9.4, mas_rate_hz=0)
    regions = found.noise.regions(np.array(found.spectrum.axis_ppm))
    assert sum(high - low for low, high in regions) > 50
    assert all(not low < -24.5 < high for low, high in regions)


def complex_raw(phase=0.0, first=0.0, pivot=-24.5, baseline=0.0):
    lorentz = 100.0 / (1.0 + 1j * (AXIS + 24.5) / 0.8) + 60.0 / (1.0 + 1j * (AXIS - 5.0) / 0.8)
    angle = np.deg2rad(phase + first * (AXIS - pivot) / (AXIS[-1] - AXIS[0]))
    values = lorentz * np.exp(-1j * angle) + noise() + 1j * noise(1) + baseline
    return RawSpectrum(axis_ppm=AXIS, values=values, has_imaginary=True, file_format="made")


def test_phase_undoes_a_known_phase():
    raw = complex_raw(phase=40.0, first=120.0)
    made = apply_correction(raw, Correction(phase_zero_deg=40.0, phase_first_deg=120.0, pivot_ppm=-24.5), "x").raw
    assert made.intensity == pytest.approx(complex_raw().intensity, abs=8.0)
    assert made.intensity.min() > -6.0 > raw.intensity.min()
    assert "40 degrees" in made.notes[-1]


def test_phase_needs_an_imaginary_part(tmp_path):
    path = write(tmp_path / "s.txt", line() + noise())
    with pytest.raises(CorrectionError, match="imaginary"):
        read_spectrum(path, "31P", 9.4, mas_rate_hz=0, correction=Correction(phase_zero_deg=10))


@pytest.mark.parametrize("kind", ["polynomial", "als"])
def test_baseline_is_taken_away(kind):
    x = (AXIS + 20.0) / 40.0
    rolling = 30.0 + 12.0 * x - 15.0 * x**2
    raw = complex_raw(baseline=rolling)
    made = apply_correction(raw, Correction(baseline=kind), "x")
    assert made.baseline is not None
    far = np.abs(AXIS + 24.5) > 10
    far &= np.abs(AXIS - 5.0) > 10
    # tails of the Lorentzians, below 2 there, stay to be shared between line and baseline
    assert np.abs(made.baseline - rolling)[far].max() < 3.0
    assert made.raw.intensity.max() == pytest.approx(complex_raw().intensity.max(), abs=4.0)
    assert kind in made.raw.notes[-1]


def test_baseline_in_regions_of_ones_own():
    raw = complex_raw(baseline=20.0)
    made = apply_correction(raw, Correction(baseline="polynomial", order=0, regions_ppm=((-60, -45), (-15, -5))), "x")
    assert np.ptp(made.baseline) < 1e-9
    assert made.baseline[0] == pytest.approx(20.5, abs=1.0)
    with pytest.raises(CorrectionError, match="regions_ppm"):
        apply_correction(raw, Correction(baseline="polynomial", regions_ppm=((100, 120),)), "x")
    with pytest.raises(ValueError, match="lower edge first"):
        Correction(regions_ppm=((5, 1),))


def test_nothing_is_changed_unasked(tmp_path):
    values = line() + 30.0 + noise()
    found = read_spectrum(write(tmp_path / "s.txt", values), "31P", 9.4, mas_rate_hz=0)
    assert found.intensity == pytest.approx(values, abs=1e-6)


def test_picture_shows_regions_baseline_and_both_spectra(tmp_path):
    from PIL import Image

    path = write(tmp_path / "s.txt", line() + 20.0 + noise())
    readout = read_with_details(path, "31P", 9.4, mas_rate_hz=0, correction=Correction(baseline="polynomial", order=1))
    with Image.open(draw_readout(readout, tmp_path / "s.png")) as picture:
        colours = {colour for count, colour in picture.convert("RGB").getcolors(1 << 24) if count > 20}
    assert {(0xDC, 0xEB, 0xDC), (0x12, 0x3F, 0x6D), (0xC2, 0x41, 0x0C), (0x9A, 0xA5, 0xB1)} <= colours
    with pytest.raises(MeasurementError, match="picture"):
        draw_readout(readout, tmp_path / "absent" / "s.png")


def test_lines_are_found_between_the_points():
    axis = np.linspace(-10, 10, 81)
    from surfshift.analysis.vocabulary import Spectrum

    made = Spectrum(
        name="x",
        isotope="31P",
        field_tesla=9.4,
        axis_ppm=tuple(axis.tolist()),
        intensity=tuple((line(1.07, 100.0, 1.0, axis) + line(-4.0, 50.0, 0.5, axis)).tolist()),
        noise=1.0,
    )
    first, second = find_lines(made)
    assert first.position_ppm == pytest.approx(1.07, abs=0.01)
    assert first.width_ppm == pytest.approx(2.3548, abs=0.05)
    assert second.position_ppm == pytest.approx(-4.0, abs=0.01)
    assert first.height_over_noise == pytest.approx(100, abs=1)


@pytest.mark.parametrize(
    ("text", "name"),
    [("^13C", "13C"), ("<27Al>", "27Al"), ("Al27", "27Al"), ("31P", "31P"), ("off", None), ("", None), ("99Xx", None)],
)
def test_isotopes_as_files_write_them(text, name):
    assert isotope_of(text) == name


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("zg.lcs", Experiment.ONE_PULSE),
        ("hahnecho_top.dh471", Experiment.ECHO),
        ("cp.av", Experiment.CP),
        ("cpmg", Experiment.ECHO),
        ("al_trapdor", Experiment.TRAPDOR),
        ("mp3qzqf", None),
    ],
)
def test_experiments_from_pulse_programs(program, kind):
    assert experiment_of(program) is kind
