"""The .magres reader: published files to the last digit, every known flavour, and named refusals."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from surfshift.analysis.constants import isotope
from surfshift.analysis.tensor_files import errors, magres_text, read_magres
from surfshift.analysis.tensor_files.magres import parse_magres
from surfshift.analysis.tensors import quadrupole

if TYPE_CHECKING:
    from pathlib import Path

    from surfshift.analysis.tensor_files import PeriodicTensors

SMALL = """#$magres-abinitio-v1.0
[atoms]
units lattice Angstrom
lattice 6.0 0.0 0.0 0.0 6.0 0.0 0.0 0.0 6.0
units atom Angstrom
atom Al Al 1 0.0 0.0 0.0
atom O  O  1 1.7 0.0 0.0
atom O  O  2 0.0 1.7 0.0
[/atoms]
[magres]
units ms ppm
ms Al 1 500.0 1.0 2.0 3.0 510.0 4.0 5.0 6.0 520.0
ms O 2 200.0 0.0 0.0 0.0 210.0 0.0 0.0 0.0 220.0
units efg au
efg Al 1 0.1 0.02 0.0 0.02 0.2 0.0 0.0 0.0 -0.3
[/magres]
"""


def old_block(path: Path, pattern: str) -> dict[tuple[str, int], float]:
    """Values that CASTEP itself derived and wrote into the [magres_old] block, per atom."""
    text = path.read_text()
    found = re.findall(rf"^(\w+)\s+(\d+) {pattern}\s+(-?[\d.]+)", text, flags=re.MULTILINE)
    return {(element, int(number)): float(value) for element, number, value in found}


@pytest.mark.parametrize("name", ["AlPO-14.magres", "nacl.magres"])
def test_isotropic_shieldings_are_castep_s_own(parsers: Path, name: str) -> None:
    path = parsers / "castep" / name
    own = old_block(path, "Isotropic:")
    run = read_magres(path)
    assert len(own) == len(run)
    for label, sigma in zip(run.labels, run.sigma_iso_ppm, strict=True):
        assert sigma == pytest.approx(own[label], abs=0.01)


def test_couplings_are_castep_s_own(parsers: Path) -> None:
    path = parsers / "castep" / "AlPO-14.magres"
    cq, eta = old_block(path, "Cq:"), old_block(path, "Eta:")
    run = read_magres(path)
    # the moment that CASTEP used for each element, from its own Vzz: only the tensor is compared
    vzz = old_block(path, "Eigenvalue  V_zz")
    for k, (label, element) in enumerate(zip(run.labels, run.elements, strict=True)):
        if element == "P":
            continue
        nucleus = isotope({"Al": "27Al", "O": "17O"}[element])
        found = quadrupole(run.efg_au[k], nucleus)
        moment = cq[label] / (234.9648 * vzz[label])
        assert found.cq_mhz * moment / nucleus.quadrupole_barn == pytest.approx(cq[label], abs=0.01)
        assert found.eta == pytest.approx(eta[label], abs=2e-3)


def test_ethanol_keeps_its_couplings_as_they_are(parsers: Path) -> None:
    run = read_magres(parsers / "castep" / "ethanol.magres")
    assert run.cutoff_ev == pytest.approx(40.0 * 27.2114, abs=0.01)
    assert sum(line.startswith("isc ") for line in run.other_records) == 81
    again = parse_magres(magres_text(run))
    assert again.other_records == run.other_records


def test_facts_of_a_castep_file(parsers: Path) -> None:
    run = read_magres(parsers / "castep" / "AlPO-14.magres")
    assert (run.engine, run.engine_version, run.functional, run.cutoff_ev) == ("castep", "24.1", "pbesol", 700.0)
    assert run.potentials["Al"].startswith("3|2.2|")
    assert run.settings["kpoint_mp_grid"] == "2 2 2"


def test_rows_are_the_induced_field() -> None:
    # a .magres file has one row per direction of the external field
    tensor = np.array(parse_magres(SMALL).shielding_ppm[0])
    assert tensor[0, 1] == 3.0
    assert tensor[1, 0] == 1.0


def test_partial_data_leave_the_other_atoms_empty() -> None:
    run = parse_magres(SMALL)
    assert [t is None for t in run.shielding_ppm] == [False, True, False]
    assert [t is None for t in run.efg_au] == [False, True, True]
    assert run.sigma_iso_ppm == (510.0, None, 210.0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("#$magres-abinitio-v1.0\n", ""),
        ("#$magres-abinitio-v1.0\n", "#$magres-abinitio-v1.0\n# a comment\n\n"),
        ("[atoms]", "<atoms>"),
        ("units lattice Angstrom\n", "units lattice Angstroms\n"),
        ("ms Al 1 500.0", "ms Al1 500.0"),
        ("atom O  O  2 0.0", "atom O O2 0.0"),
        ("500.0 1.0", "5.0D+02 1.0"),
    ],
)
def test_flavours_read_alike(old: str, new: str) -> None:
    text = SMALL.replace(old, new)
    if new == "<atoms>":
        text = text.replace("[/atoms]", "</atoms>")
    assert text != SMALL
    assert parse_magres(text).shielding_ppm == parse_magres(SMALL).shielding_ppm
    assert parse_magres(text).frac_coords == parse_magres(SMALL).frac_coords


def test_missing_version_line_is_noted() -> None:
    assert parse_magres(SMALL.partition("\n")[2]).notes == ("the version line is missing",)


def test_bohr_is_converted() -> None:
    text = SMALL.replace("units lattice Angstrom", "units lattice Bohr").replace(
        "units atom Angstrom", "units atom Bohr"
    )
    run = parse_magres(text)
    assert run.lattice[0, 0] == pytest.approx(6.0 * 0.529177, abs=1e-5)
    np.testing.assert_allclose(run.frac_coords, parse_magres(SMALL).frac_coords, atol=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "kind", "words"),
    [
        ("v1.0", "v2.0", errors.UnsupportedVersionError, "version 2.0"),
        ("[/magres]\n", "", errors.TruncatedOutputError, "inside its [magres] block"),
        ("3.0 510.0 4.0 5.0 6.0 520.0", "3.0 510.0", errors.TruncatedOutputError, "line 12"),
        ("510.0", "NaN", errors.BadNumberError, "'NaN'"),
        ("510.0", "*****", errors.BadNumberError, r"'\*\*\*\*\*'"),
        ("510.0", "1e999", errors.BadNumberError, "1e999"),
        ("units ms ppm", "units ms ppb", errors.UnknownUnitError, "use ppm"),
        ("units efg au", "units efg V/m2", errors.UnknownUnitError, "use au"),
        ("ms O 2", "ms O 3", errors.InconsistentFileError, "no atom O 3"),
        ("ms O 2", "ms Al 1", errors.InconsistentFileError, "second ms tensor"),
        ("atom O  O  2", "atom O  O  1", errors.InconsistentFileError, "two atoms are called O 1"),
        ("-0.3", "0.3", errors.InconsistentFileError, "traceless"),
        ("6.0 0.0 0.0 0.0 6.0 0.0", "6.0 0.0 0.0 6.0 0.0 0.0", errors.InconsistentFileError, "span no cell"),
        ("atom Al Al", "atom Zz Al", errors.BadNumberError, "not the name of an element"),
        ("[magres]", "[magnetic]", errors.TruncatedOutputError, "still open"),
        ("lattice 6.0", "# lattice 6.0", errors.InconsistentFileError, "no lattice"),
    ],
)
def test_damage_is_refused_by_name(old: str, new: str, kind: type[errors.TensorFileError], words: str) -> None:
    text = SMALL.replace(old, new, 1)
    assert text != SMALL
    with pytest.raises(kind, match=words.replace("[", r"\[").replace("]", r"\]") if "[" in words else words):
        parse_magres(text, name="small.magres")


def test_files_without_tensors_say_so() -> None:
    empty = re.sub(r"^(ms|efg) .*\n", "", SMALL, flags=re.MULTILINE)
    with pytest.raises(errors.MissingTensorsError, match="neither ms nor efg"):
        parse_magres(empty)
    with pytest.raises(errors.MissingTensorsError, match="no \\[magres\\] block"):
        parse_magres(SMALL[: SMALL.index("[magres]")])
    with pytest.raises(errors.UnreadableFileError, match="empty"):
        parse_magres("  \n")


@given(st.text(max_size=400))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    with pytest.raises(errors.TensorFileError):
        parse_magres(text)


@given(st.integers(0, len(SMALL) - 1), st.text(max_size=8))
def test_any_insertion_is_read_or_refused_by_name(place: int, text: str) -> None:
    try:
        run = parse_magres(SMALL[:place] + text + SMALL[place:])
    except errors.TensorFileError:
        return
    assert np.isfinite([v for v in run.sigma_iso_ppm if v is not None]).all()


def test_result_survives_json(run: PeriodicTensors) -> None:
    assert type(run).model_validate_json(run.model_dump_json()) == run
