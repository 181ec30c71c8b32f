"""Real files of spectrometers, against what is known of their samples, and files made here in each format."""

import json
import shutil

import numpy as np
import pytest
from surfshift.analysis.spectra_io import (
    BadSpectrumError,
    FidSettings,
    NoFrequencyError,
    TruncatedFileError,
    UnknownFormatError,
    find_lines,
    load_raw,
    read_spectrum,
    read_with_details,
    write_csdm,
)
from surfshift.analysis.spectra_io.fid import transform
from surfshift.analysis.vocabulary import Experiment, Spectrum


def tallest(spectrum):
    return find_lines(spectrum)[0].position_ppm


@pytest.fixture(scope="module")
def bea(shared_data):
    return shared_data / "parsers" / "bruker" / "BEA_TPA_1H_MAS" / "1"


@pytest.fixture
def bea_copy(bea, tmp_path):
    made = tmp_path / "1"
    shutil.copytree(bea, made)
    for entry in (made, *made.rglob("*")):
        entry.chmod(0o755 if entry.is_dir() else 0o644)
    return made


def test_rutin_has_dmso_at_forty_ppm(shared_data):
    found = read_spectrum(shared_data / "parsers" / "jcamp" / "rutin_13c.jdx", mas_rate_hz=0)
    assert (found.isotope, found.mas_rate_hz) == ("13C", 0.0)
    assert found.field_tesla == pytest.approx(9.39, abs=0.01)
    # the septet of DMSO-d6: seven lines about its middle one
    septet = sorted(line.position_ppm for line in find_lines(found, max_lines=7))
    assert septet[3] == pytest.approx(40.0, abs=0.1)
    assert np.diff(septet) == pytest.approx(0.209, abs=0.01)  # 21 Hz at 100.5 MHz


def test_oxygen_of_lanthanum_nickelate(shared_data):
    found = read_spectrum(shared_data / "parsers" / "jcamp" / "17O_NMR_La2NiO4_spinecho_Oi-selective.dx")
    assert tallest(found) == pytest.approx(533.6, abs=0.3)
    assert (found.isotope, found.experiment, found.mas_rate_hz) == ("17O", Experiment.ECHO, 7000.0)
    assert found.field_tesla == pytest.approx(4.70, abs=0.01)


def test_bruker_axis_is_topspins_own(bea):
    found = read_spectrum(bea)
    # procs: OFFSET, SW_p and SF; the last point lies one step above OFFSET - SW
    assert found.axis_ppm[-1] == pytest.approx(253.0909, abs=1e-6)
    step = 250000 / 500.071553859985 / 16384
    assert np.diff(found.axis_ppm) == pytest.approx(step, rel=1e-9)
    assert found.axis_ppm[0] == pytest.approx(253.0909 - 16383 * step, abs=1e-3)
    assert found.isotope == "1H"
    assert found.field_tesla == pytest.approx(11.745, abs=0.001)
    assert found.mas_rate_hz == 5000.0
    assert found.experiment is Experiment.ONE_PULSE
    assert found.name == "BEA_TPA"


def test_bruker_intensities_agree_with_nmrglue(bea):
    from nmrglue.fileio import bruker

    _, theirs = bruker.read_pdata(str(bea / "pdata" / "1"))
    assert np.array(read_spectrum(bea).intensity) == pytest.approx(theirs[::-1])


def test_fid_transformed_here_is_the_spectrum_that_topspin_made(bea):
    theirs, ours = read_spectrum(bea), read_spectrum(bea / "fid")
    assert np.abs(np.subtract(theirs.axis_ppm, ours.axis_ppm)).max() < 1e-3
    assert np.corrcoef(theirs.intensity, ours.intensity)[0, 1] > 0.99999
    a, b = (load_raw(bea, part=part).values for part in ("processed", "fid"))
    assert abs(np.vdot(a, b)) / np.linalg.norm(a) / np.linalg.norm(b) > 0.9999
    assert np.rad2deg(np.angle(np.vdot(a, b))) == pytest.approx(0.0, abs=0.1)


def test_line_broadening_adds_its_width(bea):
    """Full width at half height of one Lorentzian line, made here; a reading of BEA says what it did."""
    time = np.arange(4096) / 20000.0
    for broadening in (0.0, 50.0, 200.0):
        decay = np.exp(2j * np.pi * 1500.0 * time - np.pi * 100.0 * time)
        made = transform(decay, dwell_s=1 / 20000.0, line_broadening_hz=broadening, points=16384)
        frequency = (8192 - np.arange(16384)) * 20000.0 / 16384
        above = frequency[made.real > 0.5 * made.real.max()]
        assert np.ptp(above) == pytest.approx(100.0 + broadening, abs=3.0)
        assert abs(made.real[:100]).max() < 0.01 * made.real.max()
        assert above.mean() == pytest.approx(1500.0, abs=2.0)
    told = read_spectrum(bea, part="fid", processing=FidSettings(line_broadening_hz=30.0)).notes
    assert "line broadening 30 Hz" in told[0]


def test_any_path_of_an_experiment_will_do(bea):
    whole = read_spectrum(bea)
    for inside in ("pdata/1", "pdata/1/1r"):
        assert read_spectrum(bea / inside).intensity == whole.intensity


def test_truncated_bruker_files_are_refused_by_name(bea_copy):
    data = bea_copy / "pdata" / "1" / "1r"
    data.write_bytes(data.read_bytes()[:4001])
    with pytest.raises(TruncatedFileError, match=r"1r is cut off: it holds 1000 numbers.*16384"):
        read_spectrum(bea_copy)
    fid = bea_copy / "fid"
    fid.write_bytes(fid.read_bytes()[:-60000])
    with pytest.raises(TruncatedFileError, match="fid is cut off"):
        read_spectrum(bea_copy, part="fid")
    procs = bea_copy / "pdata" / "1" / "procs"
    procs.write_text("\n".join(line for line in procs.read_text().splitlines() if "OFFSET" not in line))
    with pytest.raises(TruncatedFileError, match="OFFSET"):
        read_spectrum(bea_copy)
    procs.unlink()
    data.unlink()
    with pytest.raises(UnknownFormatError, match="part='fid'"):
        read_spectrum(bea_copy, part="processed")
    (bea_copy / "acqus").unlink()
    with pytest.raises(TruncatedFileError, match="acqus is missing"):
        read_spectrum(bea_copy, part="fid")


def test_rows_of_a_ser_file(bea_copy):
    """A ser file made of the fid and its negative; every row begins on a block of 1024 bytes."""
    alone = read_spectrum(bea_copy, part="fid")
    fid = np.fromfile(bea_copy / "fid", dtype="<i4")[:24974]
    block = np.zeros(-(-24974 // 256) * 256, dtype="<i4")
    block[:24974] = fid
    np.concatenate([block, -block]).tofile(bea_copy / "ser")
    (bea_copy / "fid").unlink()
    (bea_copy / "acqu2s").write_text("##TITLE= x\n##$TD= 2\n##END=\n")
    assert read_spectrum(bea_copy / "ser", row=0).intensity == pytest.approx(alone.intensity)
    assert read_spectrum(bea_copy / "ser", row=1).intensity == pytest.approx(np.negative(alone.intensity))
    with pytest.raises(BadSpectrumError, match="row=0 to 1"):
        read_spectrum(bea_copy / "ser")
    with pytest.raises(BadSpectrumError, match="row 5"):
        read_spectrum(bea_copy / "ser", row=5)


def spectrum(**changes):
    axis = np.linspace(-60.0, 20.0, 401)
    values = 50 * np.exp(-0.5 * ((axis + 24.5) / 2.0) ** 2) + np.random.default_rng(0).normal(size=401)
    content = {
        "name": "made", "isotope": "31P", "field_tesla": 9.4, "mas_rate_hz": 12500.0, "experiment": "cp", "noise": 1.0,
        "axis_ppm": tuple(axis.tolist()), "intensity": tuple(values.tolist()), "notes": ("a note",),
    }  # fmt: skip
    return Spectrum(**{**content, **changes})


@pytest.mark.parametrize("suffix", [".csdf", ".csdfe"])
def test_csdm_round_trip(tmp_path, suffix):
    made = spectrum()
    back = read_spectrum(write_csdm(made, tmp_path / f"made{suffix}"), noise=1.0)
    assert back.axis_ppm == pytest.approx(made.axis_ppm, abs=1e-9)
    assert back.intensity == pytest.approx(made.intensity, rel=1e-12)
    for key in ("name", "isotope", "field_tesla", "mas_rate_hz", "experiment"):
        assert getattr(back, key) == pytest.approx(getattr(made, key)), key


def test_csdm_keeps_an_uneven_axis(tmp_path):
    axis = np.sort(np.random.default_rng(3).uniform(-60, 20, 401))
    made = spectrum(axis_ppm=tuple(axis.tolist()))
    back = load_raw(write_csdm(made, tmp_path / "uneven.csdf"))
    assert back.axis_ppm == pytest.approx(axis, abs=1e-9)


def test_csdm_is_read_alike_by_csdmpy(tmp_path):
    import csdmpy

    made = spectrum()
    theirs = csdmpy.load(str(write_csdm(made, tmp_path / "made.csdf")))
    theirs.x[0].to("ppm", "nmr_frequency_ratio")
    assert theirs.x[0].coordinates.value == pytest.approx(np.array(made.axis_ppm), abs=1e-6)


def test_csdm_refusals(tmp_path):
    path = write_csdm(spectrum(), tmp_path / "made.csdf")
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(TruncatedFileError, match="cut off"):
        read_spectrum(path)
    content = json.loads(text)
    content["csdm"]["dimensions"][0]["origin_offset"] = "0 Hz"
    path.write_text(json.dumps(content))
    with pytest.raises(NoFrequencyError, match="reference_mhz"):
        read_spectrum(path)
    with pytest.raises(Exception, match=r"\.csdf"):
        write_csdm(spectrum(), tmp_path / "made.txt")


def jcamp(path, unit="HZ", first=8000.0, last=-8000.0, *, observe="##.OBSERVE FREQUENCY= 161.9\n", kind="NMR SPECTRUM"):
    axis = np.linspace(first, last, 512)
    centre = 0.5 * (first + last)
    values = np.round(10000 * np.exp(-0.5 * ((axis - centre) / abs(0.01 * (first - last))) ** 2)).astype(int)
    values += np.random.default_rng(1).integers(-50, 51, 512)
    rows = "\n".join(f"{axis[i]:.6f} " + " ".join(map(str, values[i : i + 8])) for i in range(0, 512, 8))
    path.write_text(
        f"##TITLE= made\n##JCAMP-DX= 5.0\n##DATA TYPE= {kind}\n##DATA CLASS= XYDATA\n##ORIGIN= here\n##OWNER= me\n"
        f"{observe}##.OBSERVE NUCLEUS= ^31P\n##XUNITS= {unit}\n##YUNITS= ARBITRARY UNITS\n##FIRSTX= {first}\n"
        f"##LASTX= {last}\n##XFACTOR= 1\n##YFACTOR= 1\n##NPOINTS= 512\n##XYDATA= (X++(Y..Y))\n{rows}\n##END=\n"
    )
    return path


def test_jcamp_of_any_direction_and_unit(tmp_path):
    falling = read_spectrum(jcamp(tmp_path / "a.jdx", first=0.0, last=-8000.0), mas_rate_hz=0)
    assert tallest(falling) == pytest.approx(-4000 / 161.9, abs=0.1)
    rising = read_spectrum(jcamp(tmp_path / "b.jdx", first=-8000.0, last=0.0), mas_rate_hz=0)
    assert tallest(rising) == pytest.approx(-4000 / 161.9, abs=0.1)
    ppm = read_spectrum(jcamp(tmp_path / "c.jdx", "PPM", 100.0, -50.0), mas_rate_hz=0)
    assert tallest(ppm) == pytest.approx(25.0, abs=0.2)


def test_jcamp_refusals(tmp_path):
    with pytest.raises(NoFrequencyError, match="reference_mhz"):
        read_spectrum(jcamp(tmp_path / "a.jdx", observe=""), mas_rate_hz=0)
    given = read_spectrum(jcamp(tmp_path / "a.jdx", observe=""), field_tesla=9.4, mas_rate_hz=0, reference_mhz=162.0)
    assert given.axis_ppm[-1] == pytest.approx(8000 / 162.0)
    with pytest.raises(UnknownFormatError, match="INFRAREDSPECTRUM"):
        read_spectrum(jcamp(tmp_path / "b.jdx", kind="INFRARED SPECTRUM"))
    with pytest.raises(UnknownFormatError, match="free induction decay"):
        read_spectrum(jcamp(tmp_path / "c.jdx", kind="NMR FID"))
    cut = jcamp(tmp_path / "d.jdx")
    lines = cut.read_text().splitlines()
    cut.write_text("\n".join([*lines[:-30], "##END="]))
    with pytest.raises(TruncatedFileError, match="512"):
        read_spectrum(cut, mas_rate_hz=0)
    with pytest.raises(NoFrequencyError, match="SECONDS"):
        read_spectrum(jcamp(tmp_path / "e.jdx", "SECONDS"), mas_rate_hz=0)


def ssnake(path, **changes):
    """A file as ssNake saves it: a line 1000 Hz above the carrier, which lies 2000 Hz above 0 ppm."""
    points, sweep, frequency = 1024, 20000.0, 100.0e6
    time = np.arange(points) / sweep
    decay = np.exp(2j * np.pi * 1000.0 * time - np.pi * 50 * time)
    data = np.fft.fftshift(np.fft.fft(decay))
    content = {
        "dataReal": [data.real.tolist()], "dataImag": [data.imag.tolist()], "hyper": [0], "freq": [frequency],
        "sw": [sweep], "spec": [1.0], "wholeEcho": [0.0], "ref": [frequency - 2000.0], "history": [], "metaData": {},
        "xaxArray": [[]],
    }  # fmt: skip
    path.write_text(json.dumps({**content, **changes}))
    return path


def test_ssnake_json(tmp_path):
    found = read_spectrum(ssnake(tmp_path / "a.json"), "27Al", mas_rate_hz=0)
    assert tallest(found) == pytest.approx(3000.0 / 99.998, abs=0.2)
    unreferenced = read_spectrum(ssnake(tmp_path / "b.json", ref=[float("nan")]), "27Al", mas_rate_hz=0)
    assert tallest(unreferenced) == pytest.approx(10.0, abs=0.2)
    assert any("no reference" in note for note in unreferenced.notes)
    with pytest.raises(UnknownFormatError, match="time signal"):
        load_raw(ssnake(tmp_path / "c.json", spec=[0.0]))
    cut = ssnake(tmp_path / "d.json")
    cut.write_text(cut.read_text()[:5000])
    with pytest.raises(TruncatedFileError):
        load_raw(cut)


def test_topspins_text_export(tmp_path):
    values = "\n".join(str(v) for v in (100 * np.exp(-0.5 * ((np.arange(64) - 16) / 2.0) ** 2)).round(3))
    path = tmp_path / "totxt.txt"
    path.write_text(f"# File created\n# LEFT = 63.0 ppm. RIGHT = 0.0 ppm.\n# SIZE = 64\n{values}\n")
    found = read_spectrum(path, "31P", 9.4, mas_rate_hz=0)
    assert tallest(found) == pytest.approx(47.0, abs=0.05)


def test_two_site_spectrum_of_csdm(shared_data):
    """Field and noise are those of the file's recipe; the sites are fitted in test_two_sites.py."""
    path = shared_data / "parsers" / "csdm" / "synthetic_27Al_two_site_selfmade.csdf"
    found = read_with_details(path, "27Al", mas_rate_hz=12500)
    assert found.spectrum.field_tesla == pytest.approx(9.4, rel=1e-4)
    assert found.spectrum.noise == pytest.approx(0.02 * max(found.spectrum.intensity), rel=0.1)
    assert found.noise.correlation_points == pytest.approx(1.0, abs=0.1)
