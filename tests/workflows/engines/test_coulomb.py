from typing import Any

import numpy as np
import pytest
from surfshift.workflows.engines.coulomb import CoulombFitting


@pytest.fixture(scope="module")
def methanol() -> Any:
    from pyscf import dft, gto

    geometry = "C 0.05 0.66 0; O 0.05 -0.76 0; H -0.98 1.03 0; H 0.54 1.06 0.89; H 0.54 1.06 -0.89; H -0.86 -1.06 0"
    mean_field = dft.RKS(gto.M(atom=geometry, basis="def2-tzvp", verbose=0))
    mean_field.xc = "pbe"
    mean_field.kernel()
    return mean_field


def _fitting(mol: Any, max_memory_mb: float) -> CoulombFitting:
    from pyscf import df

    return CoulombFitting(mol, df.addons.make_auxmol(mol, "def2-universal-jkfit"), max_memory_mb=max_memory_mb)


def test_matrix_equals_the_exact_one(methanol: Any) -> None:
    density = methanol.make_rdm1()
    exact = methanol.get_j(methanol.mol, density)
    fitted = _fitting(methanol.mol, 500).get_j(methanol.mol, density)
    assert np.abs(fitted - exact).max() < 1e-4 * np.abs(exact).max()


def test_matrix_equals_the_library_s_own_density_fitting(methanol: Any) -> None:
    from pyscf import dft

    library = dft.RKS(methanol.mol).density_fit(auxbasis="def2-universal-jkfit")
    density = methanol.make_rdm1()
    expected = library.get_j(methanol.mol, density)
    rounding = 2e-5  # integrals are kept in single precision
    assert _fitting(methanol.mol, 500).get_j(methanol.mol, density) == pytest.approx(expected, abs=rounding)


def test_matrix_is_that_of_the_rounded_integrals(methanol: Any) -> None:
    from pyscf import df

    fitting = _fitting(methanol.mol, 500)
    integrals = df.incore.aux_e2(methanol.mol, fitting.auxiliary, aosym="s1").astype(np.float32).astype(float)
    density = methanol.make_rdm1()
    fit = np.linalg.solve(fitting.auxiliary.intor("int2c2e"), np.einsum("mnp,mn->p", integrals, density))
    assert fitting.get_j(methanol.mol, density) == pytest.approx(integrals @ fit, abs=1e-8)


@pytest.mark.parametrize(("max_memory_mb", "stored"), [(0.0, (0.0, 0.0)), (3.0, (0.05, 0.95)), (500, (1.0, 1.0))])
def test_stored_and_recomputed_integrals_give_the_same(
    methanol: Any, max_memory_mb: float, stored: tuple[float, float]
) -> None:
    density = methanol.make_rdm1()
    fitting = _fitting(methanol.mol, max_memory_mb)
    assert stored[0] <= fitting.stored_share <= stored[1]
    expected = _fitting(methanol.mol, 500).get_j(methanol.mol, density)
    assert fitting.get_j(methanol.mol, density) == pytest.approx(expected, abs=1e-12)


def test_distant_atoms_are_left_out_without_loss() -> None:
    from pyscf import dft, gto

    mol = gto.M(atom="Ar 0 0 0; Ar 0 0 25", basis="pcSseg-2", verbose=0)
    fitting = _fitting(mol, 100)
    assert [pair.is_diagonal for pair in fitting._pairs] == [True, True]
    density = dft.RKS(mol).get_init_guess()
    assert fitting.get_j(mol, density) == pytest.approx(dft.RKS(mol).get_j(mol, density), abs=1e-3)


def test_field_derivative_is_antisymmetric_and_vanishes_for_one_centre() -> None:
    from pyscf import dft, gto

    mol = gto.M(atom="Ne 0.3 -0.2 1", basis="6-31g*", verbose=0)
    fitting = _fitting(mol, 100)
    derivative = fitting.field_derivative(fitting.fit(dft.RKS(mol).get_init_guess()))
    assert np.abs(derivative).max() < 1e-12
