"""Turn a capped cluster into a PySCF molecule with fractional nuclear charges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import UnsupportedEnvironmentError, WrongElectronCountError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .fragment import Cluster
    from .protocols import ClusterProtocol

HEAVIEST_ALL_ELECTRON = 36
"""Beyond Kr the bases made for shieldings end and effective core potentials take over."""


@dataclass(frozen=True)
class ClusterMolecule:
    """A PySCF molecule of the cluster, its auxiliary molecule and the density to start from.

    ``guess`` is a density matrix, shape (nao, nao); ``n_atoms`` counts real atoms, which come first.
    """

    mol: Any
    auxiliary: Any
    guess: NDArray[np.float64]
    grids: dict[str, tuple[int, int]]
    n_atoms: int


def build_molecule(cluster: Cluster, protocol: ClusterProtocol) -> ClusterMolecule:
    """Build the molecule, with each cap's charge on its nucleus.

    Raises
    ------
    UnsupportedEnvironmentError
        If an element has no basis set.
    WrongElectronCountError
        If the electrons of the closed-shell ions are not an even whole number.
    """
    from pyscf import df, gto
    from pyscf.dft import RKS

    labels, basis, ecp, auxiliary, grids = [], {}, {}, {}, {}
    for element, near in zip(cluster.elements, cluster.is_near, strict=True):
        label = f"{element}{1 if near else 2}"
        labels.append(label)
        heavy = gto.charge(element) > HEAVIEST_ALL_ELECTRON
        basis[label] = protocol.heavy_basis if heavy else protocol.target_basis if near else protocol.outer_basis
        if heavy:
            ecp[label] = protocol.heavy_basis
        auxiliary[label] = protocol.auxiliary_basis if near else protocol.outer_auxiliary_basis
        grids[label] = protocol.target_grid if near else protocol.outer_grid
    caps = ["H9"] * len(cluster.cap_charges)
    if caps:
        basis["H9"], auxiliary["H9"], grids["H9"] = (
            protocol.cap_basis,
            protocol.outer_auxiliary_basis,
            protocol.cap_grid,
        )
    atoms = [
        (label, tuple(xyz))
        for label, xyz in zip(labels + caps, np.vstack([cluster.positions_ang, cluster.cap_positions_ang]), strict=True)
    ]
    electrons = sum(gto.charge(element) for element in cluster.elements) - cluster.formal_charge
    if abs(electrons - round(electrons)) > 1e-6 or round(electrons) % 2:
        raise WrongElectronCountError(
            f"the closed-shell ions of the cluster have {electrons:.3f} electrons, which is not an even whole number; "
            "check the oxidation states (open shells are not supported)"
        )
    neutral = sum(gto.charge(label[:-1]) for label, _ in atoms)
    try:
        mol = gto.M(atom=atoms, basis=basis, ecp=ecp, charge=neutral - round(electrons), verbose=0)
        auxmol = df.addons.make_auxmol(mol, auxiliary)
    except (KeyError, RuntimeError) as error:
        raise UnsupportedEnvironmentError(
            f"no basis set for an element among {', '.join(sorted(set(cluster.elements)))}: {error}"
        ) from error
    expected = round(electrons) - int(sum(mol.atom_nelec_core(i) for i in range(len(cluster.elements))))
    guess = _scaled_guess(mol, RKS(mol), cluster)
    _set_fractional_charges(mol, len(cluster.elements), cluster.cap_charges)
    # PySCF derives the electron count from the charges just changed: say it again
    mol.charge = round(float(mol.atom_charges().sum())) - expected
    mol.nelectron = expected
    return ClusterMolecule(mol=mol, auxiliary=auxmol, guess=guess, grids=grids, n_atoms=len(cluster.elements))


def _scaled_guess(mol: Any, mean_field: Any, cluster: Cluster) -> NDArray[np.float64]:
    """Superposed atoms, with each cap bringing as many electrons as its charge."""
    scale, slices = np.ones(mol.nao), mol.aoslice_by_atom()
    for k, charge in enumerate(cluster.cap_charges):
        start, stop = slices[len(cluster.elements) + k, 2:]
        scale[start:stop] = np.sqrt(charge)
    guess = np.asarray(mean_field.get_init_guess(mol, "minao"))
    return guess * scale[:, None] * scale


def _set_fractional_charges(mol: Any, first: int, charges: NDArray[np.float64]) -> None:
    from pyscf import gto

    for k, charge in enumerate(charges):
        pointer = len(mol._env)
        mol._env = np.append(mol._env, [charge])
        mol._atm[first + k, gto.NUC_MOD_OF] = gto.NUC_FRAC_CHARGE
        mol._atm[first + k, gto.PTR_FRAC_CHARGE] = pointer
