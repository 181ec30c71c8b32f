"""NWChem as second program of the cluster engine: hybrids, and clusters spread over many cores by MPI.

The cluster, its caps and every basis function are those that PySCF would get, written out number by number. NWChem
solves the coupled equations, so functionals with exact exchange are right; it prints the symmetric part of the
shielding only, and has no effective core potentials in its GIAO code.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ...analysis.tensor_files.magres import HARTREE_EV
from .dft.errors import DftError
from .dft.launch import launch_line, run_command
from .errors import EngineError, ScfNotConvergedError, UnsupportedEnvironmentError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .molecule import ClusterMolecule
    from .protocols import ClusterProtocol

FUNCTIONALS = {"pbe": "xpbe96 cpbe96", "pbe0": "pbe0", "b3lyp": "b3lyp"}
"""NWChem's words for the functionals of the protocols (NWChem manual, Density Functional Theory)."""

INPUT, OUTPUT = "site.nw", "site.out"

SHELLS = "SPDFGH"
UNCONVERGED = re.compile(r"[^\n]*(?:failed to converge|did not converge|not converged)[^\n]*", re.IGNORECASE)


class NwchemFailedError(EngineError):
    """NWChem ended with an error, or its output is cut off or has no numbers where they belong."""


def nwchem_input(molecule: ClusterMolecule, protocol: ClusterProtocol, *, memory_mb: int = 2000) -> str:
    """Input of shielding and field gradient of the cluster's first atom.

    Caps of one charge share a tag, since NWChem wants one charge per tag.

    Raises
    ------
    UnsupportedEnvironmentError
        If the functional is not known here or an atom has an effective core potential.
    """
    mol = molecule.mol
    if mol.has_ecp():
        raise UnsupportedEnvironmentError(
            "an atom of this cluster is beyond Kr and has an effective core potential, which NWChem's GIAO code does "
            "not know; take a protocol with program: pyscf, for example fast or balanced"
        )
    if protocol.functional not in FUNCTIONALS:
        raise UnsupportedEnvironmentError(
            f"functional {protocol.functional!r} is not known to NWChem here; known: {', '.join(sorted(FUNCTIONALS))}"
        )
    charges = mol.atom_charges()
    tags = _tags(mol, molecule.n_atoms, charges)
    positions = mol.atom_coords(unit="ang")
    geometry = [
        f"  {tag} " + " ".join(f"{x:.10f}" for x in xyz) + f" charge {charge:.10f}"
        for tag, xyz, charge in zip(tags, positions, charges, strict=True)
    ]
    basis = [line for tag, k in {tag: k for k, tag in enumerate(tags)}.items() for line in _basis(tag, _shells(mol, k))]
    return "\n".join(
        [
            "start site",
            f"memory total {memory_mb} mb",
            "geometry units angstroms noautosym noautoz nocenter",
            *geometry,
            "end",
            f"charge {float(charges.sum()) - mol.nelectron:.8f}",
            "basis spherical",
            *basis,
            "end",
            "dft",
            "  direct",
            f"  xc {FUNCTIONALS[protocol.functional]}",
            "  grid fine",
            f"  convergence energy {protocol.scf_tolerance_hartree:.1e} density 1e-6",
            f"  iterations {protocol.max_scf_cycles}",
            "end",
            "property",
            "  efieldgrad",
            "  shielding 1 1",
            "end",
            "task dft property",
            "",
        ]
    )


def _tags(mol: Any, n_atoms: int, charges: NDArray[np.float64]) -> list[str]:
    """One tag per element and shell, and one per charge of the caps."""
    caps: dict[str, str] = {}
    atoms = [str(mol.atom_symbol(k)) for k in range(n_atoms)]
    return atoms + [caps.setdefault(f"{charge:.10f}", f"H{100 + len(caps)}") for charge in charges[n_atoms:]]


def _shells(mol: Any, atom: int) -> Sequence[Any]:
    shells: Sequence[Any] = mol._basis[mol.atom_symbol(atom)]
    return shells


def _basis(tag: str, shells: Sequence[Any]) -> list[str]:
    """Shells in PySCF's form (momentum, then exponent and coefficients per primitive) as lines of NWChem."""
    lines = []
    for momentum, *rest in shells:
        # a number between momentum and primitives is PySCF's kappa
        primitives = rest if isinstance(rest[0], (list, tuple)) else rest[1:]
        for column in range(1, len(primitives[0])):
            lines.append(f"  {tag} {SHELLS[momentum]}")
            lines += [f"    {row[0]:.10e} {row[column]:.10e}" for row in primitives if row[column] != 0.0]
    return lines


def parse_nwchem(text: str) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, float]]:
    """Shielding (ppm), field gradient (atomic units) of the first atom, and what was checked.

    NWChem counts the field gradient of positive charges negative; here they count positive.

    Raises
    ------
    ScfNotConvergedError
        If the field or the response did not converge.
    NwchemFailedError
        If the output is cut off or holds stars or NaN.
    """
    if (found := UNCONVERGED.search(text)) is not None:
        raise ScfNotConvergedError(
            f"NWChem: {found[0].strip()!r}; raise max_scf_cycles, or look at the structure: a relaxed one converges "
            "better"
        )
    gradient = re.search(
        r"Electric field gradient in molecular frame \(a\.u\.\)\s*\n.*\n\s*-+\s*\n\s*(\S+(?:\s+\S+){5})", text
    )
    shielding = re.search(r"Total Shielding Tensor\s*\n((?:.*\n){3})\s*\n?\s*isotropic\s*=\s*(\S+)", text)
    if gradient is None or shielding is None or not re.search(r"^ Task\s+times\s+cpu", text, re.MULTILINE):
        raise NwchemFailedError("NWChem: the output ends before the tensors were printed; the run was cut off")
    xx, yy, zz, xy, xz, yz = _numbers(gradient[1])
    tensor = np.array([_numbers(line) for line in shielding[1].splitlines() if line.strip()])
    isotropic = _numbers(shielding[2])[0]
    if tensor.shape != (3, 3) or abs(np.trace(tensor) / 3 - isotropic) > 1e-3:
        raise NwchemFailedError("NWChem: the shielding tensor and its isotropic value contradict each other")
    if (electrons := re.search(r"No\. of electrons\s*:\s*(\d+)", text)) is None:
        raise NwchemFailedError("NWChem: the output does not say how many electrons there were")
    checks = {
        "n_electrons": float(electrons[1]),
        "scf_cycles": float(len(re.findall(r"^ d= 0,ls=", text, re.MULTILINE))),
        "gap_ev": _gap(text),
    }
    return tensor, -np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]), checks


def _gap(text: str) -> float:
    """Gap between the last occupied and the first empty orbital, eV, from the last orbital table."""
    table = re.findall(r"^ Vector\s+\d+\s+Occ=(\S+)\s+E=\s*(\S+)", text, re.MULTILINE)
    pairs = [(float(occ.replace("D", "e")), float(energy.replace("D", "e"))) for occ, energy in table]
    occupied, empty = [e for occ, e in pairs if occ > 0.5], [e for occ, e in pairs if occ < 0.5]
    if not occupied or not empty:
        raise NwchemFailedError("NWChem: the output has no table of orbitals, so that the gap cannot be checked")
    return HARTREE_EV * (min(empty) - max(occupied))


def _numbers(line: str) -> list[float]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError as error:
        raise NwchemFailedError(f"NWChem: {line.strip()!r} stands where numbers belong") from error
    if not np.isfinite(values).all():
        raise NwchemFailedError(f"NWChem: {line.strip()!r} stands where numbers belong")
    return values


def run_nwchem(
    molecule: ClusterMolecule, protocol: ClusterProtocol, folder: Path, *, memory_mb: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, float]]:
    """Run NWChem in a folder; see ``parse_nwchem``. A finished output of the same input is not computed again.

    Raises
    ------
    ProgramMissingError
        If NWChem is not on the PATH.
    NwchemFailedError, ScfNotConvergedError, UnsupportedEnvironmentError
        Any refusal.
    """
    text = nwchem_input(molecule, protocol, memory_mb=memory_mb)
    command = launch_line("nwchem")
    folder.mkdir(parents=True, exist_ok=True)
    source, output = folder / INPUT, folder / OUTPUT
    if output.is_file() and source.is_file() and source.read_text(encoding="utf-8") == text:
        try:
            return parse_nwchem(output.read_text(encoding="utf-8", errors="replace"))
        except EngineError:
            output.unlink()
    source.write_text(text, encoding="utf-8")
    try:
        printed = run_command([*command, INPUT], folder, output, name="nwchem")
    except DftError:
        printed = output.read_text(encoding="utf-8", errors="replace") if output.is_file() else ""
        if not UNCONVERGED.search(printed):
            raise
    return parse_nwchem(printed)
