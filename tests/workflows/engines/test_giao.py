"""Shielding and EFG against an independent implementation, another program and exact limits."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from surfshift.workflows.engines.coulomb import CoulombFitting
from surfshift.workflows.engines.giao import (
    efg_tensor,
    exchange_correlation_term,
    shielding_tensor,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

pyscf = pytest.importorskip("pyscf")

GEOMETRIES = {
    "PH3": "P 0 0 0; H 0 1.1932 0.7717; H 1.0333 -0.5966 0.7717; H -1.0333 -0.5966 0.7717",
    "H2O": "O 0 0 0.1173; H 0 0.7572 -0.4692; H 0 -0.7572 -0.4692",
}


def _mean_field(geometry: str, basis: str, grid: tuple[int, int] = (75, 302), *, fitted: bool = False) -> Any:
    from pyscf import dft, gto

    mean_field = dft.RKS(gto.M(atom=geometry, basis=basis, verbose=0))
    mean_field.xc = "pbe"
    mean_field.grids.atom_grid = grid
    mean_field.conv_tol = 1e-10
    if fitted:
        mean_field.get_j = _fitting(mean_field.mol).get_j
    mean_field.kernel()
    assert mean_field.converged
    return mean_field


def _own_shielding(mean_field: Any) -> NDArray[np.float64]:
    return shielding_tensor(mean_field, _fitting(mean_field.mol), 0)


def _fitting(mol: Any) -> CoulombFitting:
    from pyscf import df

    return CoulombFitting(mol, df.addons.make_auxmol(mol, "def2-universal-jkfit"), max_memory_mb=1000)


@pytest.fixture(scope="module")
def water() -> Any:
    return _mean_field(GEOMETRIES["H2O"], "pcSseg-1")


@pytest.mark.parametrize(("name", "basis"), [("PH3", "pcSseg-1"), ("H2O", "pcSseg-2")])
def test_shielding_equals_the_undfitted_independent_code(name: str, basis: str) -> None:
    rks = pytest.importorskip("pyscf.prop.nmr.rks", reason="pip install pyscf-properties-sidereus==0.1.1")
    mean_field = _mean_field(GEOMETRIES[name], basis)
    code = rks.NMR(mean_field)
    code.shielding_nuc = [0]
    expected = np.asarray(code.kernel())[0].T
    ours = _own_shielding(mean_field)
    assert np.trace(ours) / 3 == pytest.approx(np.trace(expected) / 3, abs=0.05)
    assert np.abs(ours - expected).max() < 0.06


@pytest.mark.skipif(shutil.which("nwchem") is None, reason="NWChem is not installed (Debian package nwchem)")
@pytest.mark.parametrize("name", ["PH3", "H2O"])
def test_shielding_equals_nwchem(name: str, tmp_path: Path) -> None:
    """NWChem with the very same basis, written out number by number, and a fine grid: 0.5 ppm."""
    import basis_set_exchange

    mean_field = _mean_field(GEOMETRIES[name], "pcSseg-1", (99, 590))
    symbols = sorted({mean_field.mol.atom_pure_symbol(i) for i in range(mean_field.mol.natm)})
    basis = basis_set_exchange.get_basis("pcSseg-1", elements=symbols, fmt="nwchem", header=False)
    geometry = GEOMETRIES[name].replace("; ", "\n")
    (tmp_path / "job.nw").write_text(
        f"start job\nmemory 800 mb\ngeometry units angstroms noautosym noautoz\n{geometry}\nend\n"
        f"{basis}\ndft\n xc xpbe96 cpbe96\n grid xfine\n convergence energy 1e-9\nend\n"
        "property\n shielding 1 1\nend\ntask dft property\n"
    )
    run = subprocess.run(
        ["nwchem", "job.nw"], cwd=tmp_path, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    found = re.search(r"Total Shielding Tensor.*?isotropic\s*=\s*(-?\d+\.\d+)", run.stdout, re.DOTALL)
    assert found, (
        f"NWChem printed no shielding (exit code {run.returncode}):\n{run.stdout[-1500:]}\n{run.stderr[-500:]}"
    )
    assert np.trace(_own_shielding(mean_field)) / 3 == pytest.approx(float(found[1]), abs=0.5)


def test_potential_terms_equal_the_independent_code(water: Any) -> None:
    from pyscf import lib
    from pyscf.scf import _vhf

    rks = pytest.importorskip("pyscf.prop.nmr.rks", reason="pip install pyscf-properties-sidereus==0.1.1")
    mol, density = water.mol, np.asarray(water.make_rdm1())
    tagged = lib.tag_array(density, mo_coeff=water.mo_coeff, mo_occ=water.mo_occ)
    expected = rks.get_vxc_giao(water._numint, mol, water.grids, "pbe", tagged)
    assert exchange_correlation_term(water, density) == pytest.approx(expected, abs=1e-10)

    exact = _vhf.direct_mapdm("int2e_ig1_sph", "a4ij", "lk->s1ij", density, 3, mol._atm, mol._bas, mol._env)
    fitting = _fitting(mol)
    fitted = fitting.field_derivative(fitting.fit(density))
    assert np.abs(fitted - exact).max() < 1e-4 * np.abs(exact).max()


def test_shielding_does_not_depend_on_the_origin() -> None:
    """Holds only where the response and the state use the same fitted potential, as the engine does."""
    here = _mean_field(GEOMETRIES["H2O"], "pcSseg-1", fitted=True)
    there = _mean_field("O 3 -2 5.1173; H 3 -1.2428 4.5308; H 3 -2.7572 4.5308", "pcSseg-1", fitted=True)
    assert _own_shielding(there) == pytest.approx(_own_shielding(here), abs=1e-3)


def test_tensors_rotate_with_the_molecule(water: Any) -> None:
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", [0.4, -1.1, 2.3]).as_matrix()
    symbols, positions = ["O", "H", "H"], water.mol.atom_coords(unit="ang") @ turn.T
    turned = _mean_field(
        "; ".join(f"{s} {x} {y} {z}" for s, (x, y, z) in zip(symbols, positions, strict=True)), "pcSseg-1"
    )
    assert turn.T @ _own_shielding(turned) @ turn == pytest.approx(_own_shielding(water), abs=0.05)
    expected = efg_tensor(water.mol, water.make_rdm1(), 0)
    assert turn.T @ efg_tensor(turned.mol, turned.make_rdm1(), 0) @ turn == pytest.approx(expected, abs=1e-3)


def test_efg_is_the_second_derivative_of_the_potential(water: Any) -> None:
    """Finite differences of the electrostatic potential around a point off the nuclei."""
    from pyscf import gto

    bare = gto.M(
        atom="ghost-H 1.2 0.3 0.4; " + GEOMETRIES["H2O"],
        basis={"ghost-H": [[0, [1e3, 1.0]]], "O": "pcSseg-1", "H": "pcSseg-1"},
        verbose=0,
    )
    mol, density = water.mol, water.make_rdm1()
    point, step = bare.atom_coord(0), 0.02

    def potential(r: NDArray[np.float64]) -> float:
        with mol.with_rinv_origin(r):
            electrons = float(np.einsum("ij,ij->", mol.intor("int1e_rinv"), density))
        charges, places = mol.atom_charges(), mol.atom_coords()
        return float((charges / np.linalg.norm(places - r, axis=1)).sum()) - electrons

    numeric = np.zeros((3, 3))
    for i, a in enumerate(np.eye(3) * step):
        for j, b in enumerate(np.eye(3) * step):
            signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
            numeric[i, j] = sum(s * t * potential(point + s * a + t * b) for s, t in signs) / (4 * step**2)
    padded = np.zeros((bare.nao, bare.nao))
    padded[1:, 1:] = density
    # the density is not zero at the point: its part of the trace, 4 pi rho, is removed in a traceless tensor
    numeric -= np.eye(3) * np.trace(numeric) / 3
    assert efg_tensor(bare, padded, 0) == pytest.approx(numeric, abs=2e-3)


def test_lone_ion_has_an_isotropic_shielding_and_no_gradient() -> None:
    from pyscf import dft, gto

    mean_field = dft.RKS(gto.M(atom="Na 0 0 0", charge=1, basis="pcSseg-1", verbose=0))
    mean_field.xc = "pbe"
    mean_field.kernel()
    tensor = _own_shielding(mean_field)
    assert tensor == pytest.approx(np.eye(3) * np.trace(tensor) / 3, abs=1e-3)
    # Lamb's formula: only the diamagnetic term, alpha^2 / 3 <1/r>
    with mean_field.mol.with_rinv_origin((0, 0, 0)):
        lamb = np.einsum("ij,ij->", mean_field.mol.intor("int1e_rinv"), mean_field.make_rdm1())
    assert np.trace(tensor) / 3 == pytest.approx(1e6 / 137.035999084**2 / 3 * lamb, rel=1e-6)
    assert efg_tensor(mean_field.mol, mean_field.make_rdm1(), 0) == pytest.approx(np.zeros((3, 3)), abs=1e-6)
