"""Independent readers of the same files: ase, pymatgen, and Soprano where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.io.magres import read_magres as ase_read
from pymatgen.io.vasp.outputs import Outcar
from surfshift.analysis.tensor_files import read_magres, read_outcar

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["castep/AlPO-14.magres", "castep/nacl.magres", "castep/ethanol.magres"])
def test_ase_reads_the_same_from_magres(parsers: Path, name: str) -> None:
    own = read_magres(parsers / name)
    with (parsers / name).open() as file:
        atoms = ase_read(file)
    assert tuple(atoms.get_chemical_symbols()) == own.elements
    np.testing.assert_allclose(atoms.positions, np.array(own.frac_coords) @ own.lattice, atol=1e-8)
    # ase keeps the rows of the file, which are the external field
    np.testing.assert_allclose(atoms.get_array("ms").transpose(0, 2, 1), np.array(own.shielding_ppm), atol=1e-8)
    np.testing.assert_allclose(atoms.get_array("efg"), np.array(own.efg_au), atol=1e-8)


def test_pymatgen_reads_the_same_from_the_outcar(parsers: Path) -> None:
    path = parsers / "vasp" / "AlPO-14.OUTCAR"
    own = read_outcar(path)
    outcar = Outcar(str(path))
    outcar.read_chemical_shielding()
    table = [-entry[0] for entry in outcar.data["chemical_shielding"]["valence_and_core"]]
    np.testing.assert_allclose(own.sigma_iso_ppm, table, atol=0.01)
    outcar.read_nmr_efg_tensor()
    gradients = np.array(outcar.data["unsym_efg_tensor"]) / 97.17362
    np.testing.assert_allclose(np.array(own.efg_au), gradients, atol=3e-5)


@pytest.mark.parametrize("name", ["castep/AlPO-14.magres", "castep/nacl.magres"])
def test_soprano_reads_the_same_from_magres(parsers: Path, name: str) -> None:
    soprano_nmr = pytest.importorskip("soprano.properties.nmr", reason="Soprano is an oracle, not a dependency")
    own = read_magres(parsers / name)
    with (parsers / name).open() as file:
        atoms = ase_read(file)
    np.testing.assert_allclose(soprano_nmr.MSIsotropy.get(atoms), own.sigma_iso_ppm, atol=1e-6)
    vzz = [max(np.linalg.eigvalsh(np.array(t)), key=abs) for t in own.efg_au]
    np.testing.assert_allclose(soprano_nmr.EFGVzz.get(atoms), vzz, atol=1e-8)
