"""The embedded NMR engine: shielding and EFG tensors of one site by GIAO-DFT on a capped cluster."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...analysis.tensor_files.magres import HARTREE_EV
from ...analysis.vocabulary import Method, SiteTensors
from ...structures.accepting import as_structure
from .coulomb import CoulombFitting
from .errors import (
    AsymmetricResponseError,
    ScfNotConvergedError,
    SmallGapError,
    UnsupportedEnvironmentError,
    UnsupportedTargetError,
    WrongElectronCountError,
)
from .fragment import Cluster, cut_cluster, local_frame
from .giao import efg_tensor, shielding_tensor
from .molecule import ClusterMolecule, build_molecule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...structures.accepting import StructureLike
    from ...structures.symmetry import SiteOrbit
    from .protocols import ClusterProtocol

SUPPORTED_TARGETS = frozenset({"H", "Li", "O", "F", "Na", "Al", "Si", "P", "S", "Cl", "Ti"})
"""Elements whose tensors the engine has been tried on."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of options in glibc's malloc.h."""


def method_of(protocol: ClusterProtocol) -> Method:
    """What identifies tensors computed with this protocol."""
    program = f"pyscf {version('pyscf')}" if protocol.program == "pyscf" else protocol.program
    return Method(
        engine="cluster",
        engine_version=program,
        functional=protocol.functional,
        protocol=protocol.name,
        protocol_hash=protocol.hash,
    )


def check_target(element: str) -> None:
    """Refuse an element that the engine cannot compute.

    Raises
    ------
    UnsupportedTargetError
        If the element is not in ``SUPPORTED_TARGETS``.
    """
    if element not in SUPPORTED_TARGETS:
        raise UnsupportedTargetError(
            f"{element} is not supported as a target of the cluster engine (supported: "
            f"{', '.join(sorted(SUPPORTED_TARGETS))}); take its isotopes out of nmr.isotopes"
        )


def compute_site(
    structure: StructureLike,
    orbit: SiteOrbit,
    protocol: ClusterProtocol,
    *,
    max_memory_mb: int = 3500,
    folder: Path | None = None,
) -> SiteTensors:
    """Tensors of one symmetry-distinct site, expanded to its equivalents.

    Parameters
    ----------
    structure
        Bulk or slab, fully occupied, with oxidation states.
    orbit
        The site and its equivalents, from ``distinct_sites``.
    protocol
        Cluster size, bases, grids and thresholds.
    max_memory_mb
        Memory PySCF may use for the fitting integrals, or that of each process of NWChem.
    folder
        Where NWChem works, and finds a finished output again; a temporary one if none is given.

    Raises
    ------
    EngineError
        Any of the named refusals: unsupported target or environment, caps that cannot be balanced,
        wrong electron count, no convergence, small gap, response without meaning.
    ProgramMissingError, ProgramFailedError
        If NWChem is asked for and is not on the PATH, or ended with an error.
    """
    structure = as_structure(structure)
    check_target(orbit.element)
    started = _seconds()
    cluster = cut_cluster(
        structure, orbit.atom_indices[0], shells=protocol.shells, max_cap_rescaling=protocol.max_cap_rescaling
    )
    shielding, efg, checks = cluster_tensors(cluster, protocol, max_memory_mb=max_memory_mb, folder=folder)
    return SiteTensors(
        structure_id=structure.content_id,
        element=orbit.element,
        atom_indices=orbit.atom_indices,
        shielding_ppm=orbit.expand(shielding),
        efg_au=orbit.expand(efg),
        method=method_of(protocol),
        checks=checks,
        cpu_seconds=_seconds() - started,
    )


def _seconds() -> float:
    """Processor time of this process and of those it started."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def cluster_tensors(
    cluster: Cluster, protocol: ClusterProtocol, *, max_memory_mb: int = 3500, folder: Path | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, float]]:
    """Shielding (ppm) and EFG (atomic units) of a cluster's first atom, with the numbers that were checked."""
    frame = local_frame(cluster)
    turned = replace(
        cluster,
        positions_ang=cluster.positions_ang @ frame.T,
        cap_positions_ang=cluster.cap_positions_ang @ frame.T,
    )
    molecule = build_molecule(turned, protocol)
    counts = {
        "n_electrons": float(molecule.mol.nelectron),
        "n_atoms": float(molecule.n_atoms),
        "n_caps": float(len(cluster.cap_charges)),
        "n_functions": float(molecule.mol.nao),
        "cap_rescaling": cluster.cap_rescaling,
    }
    solve = _with_nwchem if protocol.program == "nwchem" else _with_pyscf
    shielding, efg, checks = solve(molecule, protocol, max_memory_mb, folder)
    if not (np.isfinite(shielding).all() and np.isfinite(efg).all()):
        raise AsymmetricResponseError(
            "the shielding or EFG tensor has entries that are not finite; report the structure"
        )
    return frame.T @ shielding @ frame, frame.T @ efg @ frame, checks | counts


def _with_nwchem(
    molecule: ClusterMolecule, protocol: ClusterProtocol, max_memory_mb: int, folder: Path | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, float]]:
    from .nwchem import run_nwchem

    if folder is None:
        with tempfile.TemporaryDirectory(prefix="surfshift-nwchem-") as temporary:
            return _with_nwchem(molecule, protocol, max_memory_mb, Path(temporary))
    shielding, efg, checks = run_nwchem(molecule, protocol, folder, memory_mb=max_memory_mb)
    if round(checks["n_electrons"]) != molecule.mol.nelectron:
        raise WrongElectronCountError(
            f"NWChem had {checks['n_electrons']:.0f} electrons instead of {molecule.mol.nelectron}"
        )
    _check_gap(checks["gap_ev"], protocol)
    return shielding, efg, checks


def _with_pyscf(
    molecule: ClusterMolecule, protocol: ClusterProtocol, max_memory_mb: int, folder: Path | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, float]]:
    del folder
    _keep_freed_memory()
    started = time.process_time()
    fitting = CoulombFitting(molecule.mol, molecule.auxiliary, max_memory_mb=max_memory_mb)
    mean_field = solve_scf(molecule, fitting, protocol)
    scf_seconds = time.process_time() - started
    energies, occupied = mean_field.mo_energy, mean_field.mo_occ > 0
    gap = HARTREE_EV * float(energies[~occupied].min() - energies[occupied].max())
    _check_gap(gap, protocol)
    shielding = shielding_tensor(mean_field, fitting, 0)
    efg = efg_tensor(molecule.mol, mean_field.make_rdm1(), 0)
    checks = {
        "gap_ev": gap,
        "scf_cycles": float(mean_field.cycles),
        "scf_cpu_seconds": scf_seconds,
        "nmr_cpu_seconds": time.process_time() - started - scf_seconds,
    }
    return shielding, efg, checks


@cache
def _keep_freed_memory() -> None:
    """Let glibc reuse the memory of large arrays, which it otherwise hands back and has zeroed again for the next one.

    With two threads on a large cluster that had taken half of the processor time. Other C libraries have no such call.
    """
    import ctypes

    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        set_option(option, 2**31 - 1)


def solve_scf(molecule: ClusterMolecule, fitting: CoulombFitting, protocol: ClusterProtocol) -> Any:
    """Converged restricted Kohn-Sham state with a density-fitted Coulomb term.

    Raises
    ------
    ScfNotConvergedError, WrongElectronCountError, UnsupportedEnvironmentError
    """
    from pyscf import dft

    mol = molecule.mol
    mean_field = dft.RKS(mol)
    if mean_field._numint.libxc.is_hybrid_xc(protocol.functional):
        raise UnsupportedEnvironmentError(
            f"functional {protocol.functional!r} is a hybrid, for which PySCF's part of the cluster engine has no "
            "coupled equations; take program: nwchem with it, or a pure functional, for example pbe"
        )
    mean_field.get_j = fitting.get_j
    mean_field.xc = protocol.functional
    mean_field.grids.atom_grid = molecule.grids
    mean_field.conv_tol = protocol.scf_tolerance_hartree
    mean_field.max_cycle = protocol.max_scf_cycles
    mean_field.kernel(molecule.guess)
    if not mean_field.converged:
        raise ScfNotConvergedError(
            f"the SCF of {mol.natm} centres did not converge in {protocol.max_scf_cycles} cycles; raise "
            "max_scf_cycles, or look at the structure: a relaxed one converges better"
        )
    count = float(np.einsum("ij,ji->", mean_field.make_rdm1(), mol.intor("int1e_ovlp")))
    if abs(count - mol.nelectron) > 1e-4:
        raise WrongElectronCountError(f"the density holds {count:.4f} electrons instead of {mol.nelectron}")
    return mean_field


def _check_gap(gap: float, protocol: ClusterProtocol) -> None:
    if gap < protocol.min_gap_ev:
        raise SmallGapError(
            f"the cluster's gap is {gap:.2f} eV, below {protocol.min_gap_ev} eV; its state is not the crystal's. "
            "Check oxidation states and the surface's charge balance"
        )
