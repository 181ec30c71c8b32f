"""The OUTCAR reader: VASP's own tables to the last digit, the core and G = 0 terms, and named refusals."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from surfshift.analysis.constants import isotope
from surfshift.analysis.tensor_files import errors, read_outcar, read_tensors
from surfshift.analysis.tensor_files.vasp import parse_outcar
from surfshift.analysis.tensors import quadrupole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from surfshift.analysis.tensor_files import PeriodicTensors


@pytest.fixture(scope="module")
def alpo14(parsers: Path) -> Path:
    return parsers / "vasp" / "AlPO-14.OUTCAR"


def csa_table(text: str) -> np.ndarray:
    """VASP's table of isotropic shifts with core: columns without and with the G = 0 term."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if "(absolute, valence and core)" in line)
    return np.array([[float(x) for x in line.split()] for line in lines[start + 1 : start + 49]])


def test_isotropic_shieldings_are_vasp_s_own(alpo14: Path) -> None:
    table = csa_table(alpo14.read_text())
    np.testing.assert_allclose(read_outcar(alpo14).sigma_iso_ppm, -table[:, 4], atol=0.01)
    without = read_outcar(alpo14, macroscopic="left out")
    np.testing.assert_allclose(without.sigma_iso_ppm, -table[:, 1], atol=0.01)
    assert (without.macroscopic, read_outcar(alpo14).macroscopic) == ("left out", "sphere")


def test_spans_with_the_macroscopic_term_are_vasp_s_own(alpo14: Path) -> None:
    table = csa_table(alpo14.read_text())
    for tensor, span in zip(read_outcar(alpo14).shielding_ppm, table[:, 5], strict=True):
        values = np.linalg.eigvalsh(0.5 * (np.array(tensor) + np.array(tensor).T))
        assert values[2] - values[0] == pytest.approx(span, abs=0.01)


def test_couplings_are_vasp_s_own(alpo14: Path) -> None:
    text = alpo14.read_text()
    block = text[text.index("NMR quadrupolar parameters") :]
    rows = re.findall(r"^\s+(\d+)\s+(-?[\d.]+)\s+(-?[\d.]+)\s+(-?[\d.]+)$", block, flags=re.MULTILINE)[:48]
    run = read_outcar(alpo14)
    for k, (_, cq, eta, moment_mb) in enumerate(rows):
        if run.elements[k] == "P":
            continue
        nucleus = isotope({"Al": "27Al", "O": "17O"}[run.elements[k]])
        found = quadrupole(run.efg_au[k], nucleus)
        scaled = found.cq_mhz * float(moment_mb) * 1e-3 / nucleus.quadrupole_barn
        assert scaled == pytest.approx(float(cq), abs=0.01)
        assert found.eta == pytest.approx(float(eta), abs=2e-3)


def test_rows_are_the_induced_field_as_the_file_itself_shows(alpo14: Path) -> None:
    # VASP tabulates the induced field for a field along x: it is the first column of minus the shielding
    lines = alpo14.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if "EXTERNAL FIELD APPLIED IN DIRECTION           1" in line)
    _, _, field_y, field_z = (float(x) for x in lines[start + 5].split())
    g0 = -np.array(read_outcar(alpo14).shielding_ppm[0]) + np.array(
        read_outcar(alpo14, macroscopic="left out").shielding_ppm[0]
    )
    tensor = -np.array(read_outcar(alpo14).shielding_ppm[0]) - g0
    assert tensor[1, 0] == pytest.approx(field_y, abs=1e-3)
    assert tensor[2, 0] == pytest.approx(field_z, abs=1e-3)


def test_facts_of_an_outcar(alpo14: Path) -> None:
    run = read_tensors(alpo14)
    assert (run.engine, run.engine_version, run.functional, run.cutoff_ev) == ("vasp", "6.4.2", "pbe", 600.0)
    assert run.potentials["O"] == "PAW_PBE O 08Apr2002"
    assert len(run) == 48


def test_small_outcar_gives_back_what_was_written(run: PeriodicTensors, make_outcar: Callable[..., str]) -> None:
    back = parse_outcar(make_outcar(run))
    assert back.elements == run.elements
    np.testing.assert_allclose(back.lattice, run.lattice, atol=1e-8)
    np.testing.assert_allclose(np.array(back.shielding_ppm), np.array(run.shielding_ppm), atol=1e-4)
    np.testing.assert_allclose(np.array(back.efg_au), np.array(run.efg_au), atol=2e-5)


def test_runs_of_one_kind_leave_the_other_empty(run: PeriodicTensors, make_outcar: Callable[..., str]) -> None:
    text = make_outcar(run)
    only_efg = text[: text.index(" Absolute Chemical")] + text[text.index(" General timing") :]
    only_efg = only_efg.replace("LCHIMAG   =     T", "LCHIMAG   =     F")
    assert set(parse_outcar(only_efg).shielding_ppm) == {None}
    only_nmr = text.replace(" Electric field gradients (V/A^2)", " something else")
    assert set(parse_outcar(only_nmr).efg_au) == {None}
    neither = only_efg.replace(" Electric field gradients (V/A^2)", " something else")
    with pytest.raises(errors.MissingTensorsError, match="LEFG"):
        parse_outcar(neither)


def test_two_species_of_one_element_keep_their_own_core(run: PeriodicTensors, make_outcar: Callable[..., str]) -> None:
    text = make_outcar(run)
    first = text.index("   VRHFIN =Al")
    # the same element twice in a row: 1 + 2 atoms, the second kind with its own core shift
    doubled = text[:first] + "   VRHFIN =Al: s2p1\n   TITEL  = PAW_PBE Al_GW 04Jan2001\n" + text[first:]
    doubled = doubled.replace("ions per type =     3", "ions per type =     1    2")
    doubled = doubled.replace(
        "    1  Al    -100.0000000\n    2  O     -200.0000000\n    3  P     -300.0000000",
        "    1  Al    -100.0000000\n    2  Al    -150.0000000\n    3  O     -200.0000000\n    4  P     -300.0000000",
    )
    with pytest.raises(errors.InconsistentFileError, match="ion 2 has an isotropic shift"):
        parse_outcar(doubled)


@pytest.mark.parametrize(
    ("old", "new", "kind", "words"),
    [
        ("General timing", "General", errors.TruncatedOutputError, "VASP did not finish"),
        (
            "because EDIFF is reached",
            "EDIFF was not reached (unconverged)",
            errors.UnconvergedOutputError,
            "raise NELM",
        ),
        ("NSW    =      0", "NSW    =     20", errors.UnconvergedGeometryError, "20 steps"),
        ("NIONS =     18", "NIONS =     17", errors.InconsistentFileError, "do not make 17 atoms"),
        ("NIONS =", "NIONX =", errors.TruncatedOutputError, "how many atoms"),
        (" vasp.6.4.2", " wasp.6.4.2", errors.UnreadableFileError, "give VASP's OUTCAR"),
        ("  Core NMR properties", "  Core", errors.TruncatedOutputError, "core contributions"),
        (" Absolute Chemical Shift tensors", "", errors.TruncatedOutputError, "no shift tensors"),
        ("   VRHFIN =O", "   VRHFIN =?", errors.BadNumberError, "not the name of an element"),
        ("   VRHFIN =O", "   XRHFIN =O", errors.InconsistentFileError, "2 species"),
        ("   ENCUT  =  600.0", "   ENCUT  =  *****", errors.BadNumberError, "ENCUT"),
        ("direct lattice vectors", "lattice", errors.TruncatedOutputError, "no lattice"),
    ],
)
def test_damage_is_refused_by_name(
    texts: dict[str, str], old: str, new: str, kind: type[errors.TensorFileError], words: str
) -> None:
    text = texts["outcar"].replace(old, new, 1)
    assert text != texts["outcar"]
    with pytest.raises(kind, match=words):
        parse_outcar(text)


@pytest.mark.parametrize("bad", ["NaN", "**********", "-", "12.3.4"])
@pytest.mark.parametrize("place", ["SYMMETRIZED TENSORS \n", "V_yz\n", "direct lattice vectors"])
def test_bad_numbers_are_refused(texts: dict[str, str], bad: str, place: str) -> None:
    text = texts["outcar"]
    at = text.rindex(place) + len(place)
    spoiled = text[:at] + re.sub(r"-?\d+\.\d+", bad, text[at:], count=1)
    if place.startswith("direct"):
        spoiled = text[:at] + re.sub(r"\n(\s+)-?\d+\.\d+", rf"\n\g<1>{bad}", text[at:], count=1)
    with pytest.raises(errors.BadNumberError, match=re.escape(repr(bad))):
        parse_outcar(spoiled)


def test_changed_digits_are_found_by_the_second_table(texts: dict[str, str]) -> None:
    text = texts["outcar"]
    at = text.rindex("  SYMMETRIZED TENSORS")
    head, tail = text[:at], text[at:]
    number = re.search(r"-?\d+\.\d{6}", tail)
    assert number is not None
    changed = head + tail.replace(number.group(), f"{float(number.group()) + 5.0:.6f}", 1)
    with pytest.raises(errors.InconsistentFileError, match="isotropic shift"):
        parse_outcar(changed)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.8, 0.99])
def test_a_cut_file_is_truncated(alpo14: Path, share: float) -> None:
    text = alpo14.read_text()
    with pytest.raises((errors.TruncatedOutputError, errors.UnreadableFileError)):
        parse_outcar(text[: int(share * len(text))])


def test_a_loop_that_hits_its_limit_silently_is_unconverged(texts: dict[str, str]) -> None:
    # older versions print nothing when NELM is reached: the next loop begins, or the run ends
    silent = texts["outcar"].replace(
        "------------------------ aborting loop because EDIFF is reached -----------------\n", ""
    )
    with pytest.raises(errors.UnconvergedOutputError, match=r"1\(2\)"):
        parse_outcar(silent)
