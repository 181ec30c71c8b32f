"""Quantum ESPRESSO: quartz to the last digit, two files merged, printed outputs, and named refusals."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from surfshift.analysis.constants import isotope
from surfshift.analysis.tensor_files import errors, read_gipaw_output, read_qe, read_tensors
from surfshift.analysis.tensor_files.qe import parse_gipaw_output, parse_pw_output, with_printed
from surfshift.analysis.tensors import quadrupole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from surfshift.analysis.tensor_files import PeriodicTensors


@pytest.fixture(scope="module")
def quartz(parsers: Path) -> Path:
    return parsers / "qe_gipaw" / "quartz"


def test_quartz_shieldings_are_gipaw_s_own(quartz: Path) -> None:
    printed = re.findall(r"Total sigma:\s+([\d.]+)", (quartz / "quartz-nmr.out").read_text())[-9:]
    run = read_tensors(quartz)
    np.testing.assert_allclose(run.sigma_iso_ppm, [float(x) for x in printed], atol=0.01)
    assert run.macroscopic == "sphere"
    assert (run.engine, run.functional, run.engine_version) == ("qe-gipaw", "pbe", "7.4.1")


def test_quartz_couplings_are_gipaw_s_own(quartz: Path) -> None:
    text = (quartz / "quartz-efg.out").read_text()
    rows = re.findall(r"(\w+)\s+(\d+)\s+Q=\s+([\d.]+) 1e-30 m\^2\s+Cq=\s+(-?[\d.]+) MHz\s+eta=\s+([\d.]+)", text)
    run = read_tensors(quartz)
    assert len(rows) == len(run) == 9
    for k, (_, _, moment, cq, eta) in enumerate(rows):
        nucleus = isotope("17O").model_copy(update={"quadrupole_barn": float(moment) / 100})
        found = quadrupole(run.efg_au[k], nucleus)
        assert found.cq_mhz == pytest.approx(float(cq), abs=0.01)
        assert found.eta == pytest.approx(float(eta), abs=2e-3)


def test_magres_alone_is_nearly_the_same(quartz: Path) -> None:
    full = read_tensors(quartz)
    alone = read_qe(quartz / "quartz.nmr.magres", quartz / "quartz.efg.magres")
    np.testing.assert_allclose(np.array(alone.shielding_ppm), np.array(full.shielding_ppm), atol=1e-4)
    np.testing.assert_allclose(np.array(alone.efg_au), np.array(full.efg_au), atol=1e-4)
    only_nmr = read_qe(quartz / "quartz.nmr.magres")
    assert set(only_nmr.efg_au) == {None}


def test_printed_output_alone(quartz: Path) -> None:
    run = read_gipaw_output(quartz / "quartz-efg.out")
    assert run.elements == ("Si",) * 3 + ("O",) * 6
    assert run.efg_au[0][0][1] == pytest.approx(-0.061522)


def test_small_outputs_give_back_what_was_written(run: PeriodicTensors, make_gipaw: Callable[..., str]) -> None:
    nmr, efg = parse_gipaw_output(make_gipaw(run, "nmr")), parse_gipaw_output(make_gipaw(run, "efg"))
    np.testing.assert_allclose(np.array(nmr.shielding_ppm), np.array(run.shielding_ppm), atol=1e-4)
    np.testing.assert_allclose(np.array(efg.efg_au), np.array(run.efg_au), atol=2e-6)
    assert (nmr.elements, efg.elements) == (run.elements, run.elements)


def test_pw_output(texts: dict[str, str]) -> None:
    pw = parse_pw_output(texts["pw"])
    assert pw.elements == ("H", "H")
    assert pw.lattice[0, 0] == pytest.approx(4.0, abs=1e-3)
    assert pw.energy_ev == pytest.approx(-2.33 * 13.605693, abs=1e-4)
    assert pw.cutoff_ev == pytest.approx(272.11, abs=0.01)
    assert (pw.functional, pw.version, pw.n_electrons) == ("pbe", "6.7MaX", 2.0)


NOT_ACHIEVED = ("pw", "convergence has been achieved in", "convergence NOT achieved after")
NO_ROOT = ("nmr", "GIPAW job", "ik  1 cgsolve_all: root not converged 0.1E-04")


@pytest.mark.parametrize(
    ("damage", "kind", "words"),
    [
        (("pw", "JOB DONE", ""), errors.TruncatedOutputError, "does not end with JOB DONE"),
        (("pw", "JOB DONE", "Error in routine electrons (1):"), errors.TruncatedOutputError, "routine electrons"),
        (NOT_ACHIEVED, errors.UnconvergedOutputError, "maxstep"),
        (("pw", "tau(   2)", "tou(   2)"), errors.InconsistentFileError, "1 positions for 2 atoms"),
        (("pw", "7.5589", "*******"), errors.BadNumberError, "alat"),
        (("pw", "Program PWSCF", "Program PHONON"), errors.UnreadableFileError, "pw.x"),
        (("nmr", "JOB DONE", ""), errors.TruncatedOutputError, "JOB DONE"),
        (("nmr", "     Atom  2", "     Atom  5"), errors.InconsistentFileError, "where 2 belongs"),
        (("nmr", "Program GIPAW", "Program PWSCF"), errors.UnreadableFileError, "gipaw.x"),
        (NO_ROOT, errors.UnconvergedResponseError, "ecutwfc"),
        (("efg", "total EFG", "no EFG"), errors.MissingTensorsError, "job nmr or efg"),
    ],
)
def test_damage_is_refused_by_name(
    texts: dict[str, str], damage: tuple[str, str, str], kind: type[errors.TensorFileError], words: str
) -> None:
    which, old, new = damage
    text = texts[which].replace(old, new)
    assert text != texts[which]
    with pytest.raises(kind, match=words):
        (parse_pw_output if which == "pw" else parse_gipaw_output)(text)


def test_files_of_two_calculations_are_not_mixed(run: PeriodicTensors, make_gipaw: Callable[..., str]) -> None:
    moved = run.model_copy(update={"shielding_ppm": run.shielding_ppm[::-1]})
    printed = parse_gipaw_output(make_gipaw(moved, "nmr"))
    with pytest.raises(errors.InconsistentFileError, match="one calculation"):
        with_printed(run, printed)


def test_a_folder_is_read_as_a_whole(quartz: Path, tmp_path: Path) -> None:
    for path in quartz.iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    unfinished = (tmp_path / "quartz-nmr.out").read_text().replace("JOB DONE", "")
    (tmp_path / "quartz-nmr.out").write_text(unfinished)
    with pytest.raises(errors.TruncatedOutputError, match=r"quartz-nmr\.out"):
        read_tensors(tmp_path)
    (tmp_path / "other.nmr.magres").write_text("x")
    with pytest.raises(errors.UnreadableFileError, match="2 files"):
        read_tensors(tmp_path)
