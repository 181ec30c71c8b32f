"""Shielding and EFG of one nucleus for a pure density functional, on PySCF's integrals.

Gauge-including atomic orbitals (Wolinski, Hinton and Pulay, J. Am. Chem. Soc. 112, 8251, 1990). For
a functional of the density and its gradient the response is uncoupled and exact. The two potential
terms are the cost; both are London-phase moments (1/2) (R_n - R_m) x <m| r v |n>:
the Coulomb one by density fitting, the exchange-correlation one on the grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .coulomb import CoulombFitting

PPM_PER_AU = 1e6 / 137.035999084**2
"""Shielding in ppm per atomic unit: the square of the fine-structure constant (CODATA 2018)."""


def shielding_tensor(mean_field: Any, fitting: CoulombFitting, nucleus: int) -> NDArray[np.float64]:
    """GIAO shielding tensor of one nucleus, ppm.

    Parameters
    ----------
    mean_field
        Converged restricted Kohn-Sham object with a pure functional and its grid.
    fitting
        Density fitting of the same molecule.
    nucleus
        Index of the nucleus.

    Returns
    -------
    Shape (3, 3): rows are the components of the nuclear moment (induced field), columns of the external field.
    """
    mol = mean_field.mol
    density = mean_field.make_rdm1()
    occupied = mean_field.mo_coeff[:, mean_field.mo_occ > 0]
    virtual = mean_field.mo_coeff[:, mean_field.mo_occ == 0]
    e_occ = mean_field.mo_energy[mean_field.mo_occ > 0]
    e_vir = mean_field.mo_energy[mean_field.mo_occ == 0]

    overlap = -mol.intor_asymmetric("int1e_igovlp", 3)
    hamiltonian = first_order_hamiltonian(mean_field, density, fitting)
    s_oo = _to_orbitals(overlap, occupied, occupied)
    s_vo = _to_orbitals(overlap, virtual, occupied)
    h_vo = _to_orbitals(hamiltonian, virtual, occupied)
    response_vo = -(h_vo - s_vo * e_occ) / (e_vir[:, None] - e_occ)
    first_order = np.einsum("pa,xai,qi->xpq", virtual, response_vo, occupied, optimize=True)
    first_order -= 0.5 * np.einsum("pj,xji,qi->xpq", occupied, s_oo, occupied, optimize=True)

    with mol.with_rinv_origin(mol.atom_coord(nucleus)):
        moment = mol.intor_asymmetric("int1e_prinvxp", 3)
        diamagnetic = np.einsum("xij,ij->x", mol.intor("int1e_giao_a11part", 9), density).reshape(3, 3)
        diamagnetic -= np.eye(3) * np.trace(diamagnetic)
        diamagnetic += np.einsum("xij,ij->x", mol.intor("int1e_a01gp", 9), density).reshape(3, 3)
    paramagnetic = 4.0 * np.einsum("xji,yij->xy", first_order, moment, optimize=True)
    # integrals carry (field, moment); the stored tensor has the moment first
    total: NDArray[np.float64] = PPM_PER_AU * (diamagnetic + paramagnetic).T
    return total


def first_order_hamiltonian(
    mean_field: Any, density: NDArray[np.float64], fitting: CoulombFitting
) -> NDArray[np.float64]:
    """Imaginary part of the Kohn-Sham matrix's derivative with the magnetic field, shape (3, nao, nao)."""
    mol = mean_field.mol
    h1 = -0.5 * mol.intor("int1e_giao_irjxp", 3)
    h1 -= mol.intor_asymmetric("int1e_ignuc", 3)
    if mol.has_ecp():
        h1 -= mol.intor_asymmetric("ECPscalar_ignuc", 3)
    h1 -= mol.intor("int1e_igkin", 3)
    h1 -= fitting.field_derivative(fitting.fit(density))
    h1 -= exchange_correlation_term(mean_field, density)
    return np.asarray(h1)


def exchange_correlation_term(mean_field: Any, density: NDArray[np.float64]) -> NDArray[np.float64]:
    """Field derivative of the exchange-correlation matrix, shape (3, nao, nao), antisymmetric.

    With the potential acting as v(fg) = a fg + b . grad(fg), the London phases give
    (1/2) (R_n - R_m) x M_mn with M_mn = <m| r a + b |n> + <r b . grad(m n)>, so that only values and
    first derivatives of the orbitals are needed.
    """
    from pyscf import lib
    from pyscf.dft.numint import _scale_ao

    mol, grids, ni = mean_field.mol, mean_field.grids, mean_field._numint
    tagged = lib.tag_array(density, mo_coeff=mean_field.mo_coeff, mo_occ=mean_field.mo_occ)
    make_rho, _, nao = ni._gen_rho_evaluator(mol, tagged, hermi=1)
    moments = np.zeros((3, nao, nao))
    for ao, mask, weight, coords in ni.block_loop(mol, grids, nao, deriv=1, max_memory=1000):
        rho = make_rho(0, ao, mask, "GGA")
        potential = ni.eval_xc_eff(mean_field.xc, rho, deriv=1, xctype="GGA")[1] * weight
        potential[0] *= 0.5
        along = _scale_ao(ao[:4], potential)
        for k in range(3):
            scaled = along * coords[:, k, None] + _scale_ao(ao[0], 0.5 * potential[1 + k])
            moments[k] += lib.dot(ao[0].T, scaled)
    moments += moments.transpose(0, 2, 1)
    slices = mol.aoslice_by_atom()
    centres = np.repeat(mol.atom_coords(), slices[:, 3] - slices[:, 2], axis=0)
    between = centres[None, :, :] - centres[:, None, :]
    return 0.5 * np.cross(between, moments.transpose(1, 2, 0)).transpose(2, 0, 1)


def efg_tensor(mol: Any, density: NDArray[np.float64], nucleus: int) -> NDArray[np.float64]:
    """Electric field gradient V_ij at a nucleus, shape (3, 3), atomic units, traceless.

    Positive charges count positive, so that CQ = e Q Vzz / h. Nuclei enter with their (fractional) charges.
    """
    origin = mol.atom_coord(nucleus)
    with mol.with_rinv_origin(origin):
        second = mol.intor("int1e_ipiprinv", 9).reshape(3, 3, mol.nao, mol.nao)
        mixed = mol.intor("int1e_iprinvip", 9).reshape(3, 3, mol.nao, mol.nao)
    operator = second + mixed
    operator = operator + operator.transpose(0, 1, 3, 2)
    electronic = -np.einsum("xyij,ij->xy", operator, density, optimize=True)
    nuclear = np.zeros((3, 3))
    for other, charge in enumerate(mol.atom_charges()):
        if other != nucleus:
            r = mol.atom_coord(other) - origin
            distance = float(np.linalg.norm(r))
            nuclear += charge * (3.0 * np.outer(r, r) - np.eye(3) * distance**2) / distance**5
    total = electronic + nuclear
    total = 0.5 * (total + total.T)
    return np.asarray(total - np.eye(3) * np.trace(total) / 3.0)


def _to_orbitals(
    matrices: NDArray[np.float64], left: NDArray[np.float64], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    transformed: NDArray[np.float64] = np.einsum("pa,xpq,qi->xai", left, matrices, right, optimize=True)
    return transformed
