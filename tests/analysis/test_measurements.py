import numpy as np
import pytest
from surfshift.analysis.constants import UnknownNucleusError
from surfshift.analysis.measurements import (
    BadSpectrumError,
    MeasurementError,
    MissingFieldError,
    MissingFileError,
    UnknownColumnError,
    estimate_noise,
    read_peaks,
    read_spectrum,
)
from surfshift.analysis.vocabulary import Experiment


def write(path, text):
    path.write_text(text)
    return path


def two_columns(axis, intensity, comment="# ppm intensity\n"):
    return comment + "\n".join(f"{x:.4f} {y:.6f}" for x, y in zip(axis, intensity, strict=True))


def test_peaks_from_csv(tmp_path):
    path = write(
        tmp_path / "al.csv",
        "# dried powder\nlabel, delta_iso_ppm, delta_error_ppm, cq_mhz, cq_error_mhz\n"
        "bulk, 44.5, 0.5, 4.1, 0.1\nsurface,,,5.8,0.9\n",
    )
    found = read_peaks(path, "27Al", 9.4, mas_rate_hz=12500, experiment="trapdor")
    assert found.name == "al"
    assert found.experiment is Experiment.TRAPDOR
    assert [p.label for p in found.peaks] == ["bulk", "surface"]
    assert found.peaks[1].delta_iso_ppm is None
    assert found.peaks[1].cq_mhz == 5.8


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("label,delta_ppm,delta_error_ppm\na,1,1\n", UnknownColumnError, r"delta_iso_ppm|delta_error_ppm"),
        ("label,delta_iso_ppm\na,1\n", MeasurementError, "needs both a value and an error"),
        ("label,delta_iso_ppm,delta_error_ppm\na,one,1\n", MeasurementError, "no number"),
        ("label,delta_iso_ppm,delta_error_ppm\na,nan,1\n", MeasurementError, "finite"),
        ("label,delta_iso_ppm,delta_error_ppm\na,1\n", MeasurementError, "2 cells"),
        ("label,delta_iso_ppm,delta_error_ppm\n", MeasurementError, "at least one peak"),
        ("label,label,delta_iso_ppm,delta_error_ppm\na,b,1,1\n", MeasurementError, "twice"),
    ],
)
def test_bad_peak_lists(tmp_path, text, error, message):
    with pytest.raises(error, match=message):
        read_peaks(write(tmp_path / "p.csv", text), "31P", 9.4)


def test_widths_need_errors_too(tmp_path):
    head = "delta_iso_ppm,delta_error_ppm,width_ppm,width_error_ppm\n"
    found = read_peaks(write(tmp_path / "p.csv", head + "1,1,2.5,0.2\n"), "31P", 9.4)
    assert found.peaks[0].width_ppm == 2.5
    with pytest.raises(MeasurementError, match="width_ppm needs both"):
        read_peaks(write(tmp_path / "p.csv", head + "1,1,2.5,\n"), "31P", 9.4)


def test_conditions_are_checked(tmp_path):
    path = write(tmp_path / "p.csv", "delta_iso_ppm,delta_error_ppm\n1,1\n")
    with pytest.raises(MissingFieldError, match="tesla"):
        read_peaks(path, "31P", None)
    with pytest.raises(UnknownNucleusError, match="31P"):
        read_peaks(path, "P31", 9.4)
    with pytest.raises(MeasurementError, match="trapdor"):
        read_peaks(path, "31P", 9.4, experiment="trapdoor")
    with pytest.raises(MissingFileError, match=r"absent\.csv"):
        read_peaks(tmp_path / "absent.csv", "31P", 9.4)


def test_spectrum_in_either_direction(tmp_path):
    axis = np.linspace(-60, 20, 400)
    intensity = np.exp(-0.5 * ((axis + 24.5) / 2.0) ** 2) + 0.01 * np.random.default_rng(0).normal(size=400)
    up = read_spectrum(write(tmp_path / "up.txt", two_columns(axis, intensity)), "31P", 9.4, mas_rate_hz=10000)
    down = read_spectrum(
        write(tmp_path / "down.txt", two_columns(axis[::-1], intensity[::-1])), "31P", 9.4, mas_rate_hz=10000
    )
    assert up.axis_ppm == down.axis_ppm
    assert up.intensity == down.intensity
    assert up.axis_ppm[int(np.argmax(up.intensity))] == pytest.approx(-24.5, abs=1.0)
    assert up.noise == pytest.approx(0.01, rel=0.35)


@pytest.mark.parametrize("separator", [" ", "\t", ",", " ; "])
def test_separators(tmp_path, separator):
    text = "\n".join(f"{0.5 * i}{separator}{100 if i == 9 else i % 3}" for i in range(20))
    assert len(read_spectrum(write(tmp_path / "s.txt", text), "31P", 9.4, mas_rate_hz=0).axis_ppm) == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n2 3\n3 4\n", "at least 8"),
        ("\n".join(f"{i} {i}" for i in range(8)) + "\n8 nan\n", "line 9.*not finite"),
        ("\n".join(f"{abs(i - 5)} {i}" for i in range(12)), "turns back"),
        ("ppm intensity\n" + "\n".join(f"{i} {i}" for i in range(9)), "put a # before"),
        ("\n".join(f"{i} {i} 0" for i in range(9)), "3 columns"),
        ("\n".join(f"{i} 1" for i in range(9)), "equal"),
    ],
)
def test_bad_spectra(tmp_path, text, message):
    with pytest.raises(BadSpectrumError, match=message):
        read_spectrum(write(tmp_path / "s.txt", text), "31P", 9.4, mas_rate_hz=0)


def test_spectrum_without_field_or_file(tmp_path):
    with pytest.raises(MissingFieldError):
        read_spectrum(write(tmp_path / "s.txt", "\n".join(f"{0.5 * i} {i % 3}" for i in range(9))), "31P", None)
    with pytest.raises(MissingFileError):
        read_spectrum(tmp_path / "absent.txt", "31P", 9.4)
    with pytest.raises(MissingFileError):
        read_spectrum(tmp_path, "31P", 9.4)


def test_noise_is_not_fooled_by_signal_and_baseline():
    rng = np.random.default_rng(2)
    axis = np.linspace(0, 1, 2000)
    values = []
    for _ in range(20):
        lines = sum(5 * np.exp(-0.5 * ((axis - c) / 0.02) ** 2) for c in rng.uniform(0.2, 0.8, 3))
        values.append(estimate_noise(lines + 3 * axis + 0.1 * rng.normal(size=2000)))
    assert np.mean(values) == pytest.approx(0.1, rel=0.15)
