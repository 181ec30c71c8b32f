"""CP2K: the input of a single point and what its output says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ....analysis.tensor_files.magres import BOHR_ANG, HARTREE_EV
from ..inputs.common import has_dipole, kpoint_grid, species_of
from ..inputs.protocols import protocol_data
from .errors import (
    ScfNotConvergedError,
    TruncatedOutputError,
    UnsupportedElementError,
    WrongAtomOrderError,
)
from .program import DftProgram, Geometry
from .results import GPA_EV_PER_ANG3, SinglePoint, finite_number, voigt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ....structures.vocabulary import AtomicStructure, Candidate
    from .protocols import Cp2kProtocol

PROJECT = "surfshift"
WAVEFUNCTION = {"ot": f"{PROJECT}-RESTART.wfn", "kpoints": f"{PROJECT}-RESTART.kp"}


def valence(element: str) -> int:
    """Valence electrons of the potential and basis set that are used for an element.

    Raises
    ------
    UnsupportedElementError
        If the shipped table has no entry.
    """
    table: dict[str, int] = protocol_data("cp2k")["valence"]
    if element not in table:
        raise UnsupportedElementError(
            f"{element} has no basis set DZVP-MOLOPT-SR-GTH with a GTH-PBE potential in CP2K; relax with sevennet or pw"
        )
    return table[element]


def mesh(structure: AtomicStructure, protocol: Cp2kProtocol) -> tuple[int, int, int]:
    """Divisions of the Monkhorst-Pack mesh, odd so that it holds the Gamma point, and 1 along vacuum."""
    grid = kpoint_grid(structure, protocol.kpoint_spacing_per_ang)
    return (grid[0] | 1, grid[1] | 1, grid[2] | 1)


def cp2k_input(
    candidate: Candidate,
    protocol: Cp2kProtocol,
    *,
    rung: Mapping[str, object],
    is_restart: bool = False,
    with_stress: bool = False,
) -> str:
    """Input of energy and forces.

    The Gamma point alone is solved by direct minimisation (OT), a mesh by diagonalisation with Broyden mixing. A slab
    with a dipole along its normal gets the surface dipole correction, which needs the normal along z.

    Parameters
    ----------
    candidate, protocol
        Structure and numbers.
    rung
        Entry of the ladder for a field that does not converge.
    is_restart
        Start from the wavefunction of an earlier run in the same folder.
    with_stress
        Also compute the stress.

    Raises
    ------
    UnsupportedElementError
        If an element has no basis set in the shipped table.
    """
    structure = candidate.structure
    grid = mesh(structure, protocol)
    is_gamma = grid == (1, 1, 1)
    vectors = "\n".join(
        f"      {name} " + " ".join(f"{x:.12f}" for x in vector)
        for name, vector in zip("ABC", structure.lattice_ang, strict=True)
    )
    atoms = "\n".join(
        f"      {element} " + " ".join(f"{x:.12f}" for x in xyz)
        for element, xyz in zip(structure.elements, structure.cart_coords, strict=True)
    )
    kinds = "\n".join(
        f"    &KIND {element}\n      BASIS_SET {protocol.basis}-q{valence(element)}\n"
        f"      POTENTIAL GTH-PBE-q{valence(element)}\n    &END KIND"
        for element in species_of(structure)
    )
    xc = "      &XC_FUNCTIONAL PBE\n"
    if protocol.functional == "pbesol":
        xc += "        &PBE\n          PARAMETRIZATION PBESOL\n        &END PBE\n"
    restart = WAVEFUNCTION["ot" if is_gamma else "kpoints"]
    dipole = "    SURFACE_DIPOLE_CORRECTION TRUE\n    SURF_DIP_DIR Z\n" if has_dipole(candidate) else ""
    return f"""&GLOBAL
  PROJECT {PROJECT}
  RUN_TYPE ENERGY_FORCE
  PRINT_LEVEL MEDIUM
&END GLOBAL
&FORCE_EVAL
  METHOD QS
{"  STRESS_TENSOR ANALYTICAL" if with_stress else ""}
  &PRINT
    &FORCES ON
    &END FORCES
{"    &STRESS_TENSOR ON" if with_stress else ""}
{"    &END STRESS_TENSOR" if with_stress else ""}
  &END PRINT
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    POTENTIAL_FILE_NAME GTH_POTENTIALS
{f"    WFN_RESTART_FILE_NAME {restart}" if is_restart else ""}
{dipole}    &MGRID
      CUTOFF {protocol.cutoff_ry:g}
      REL_CUTOFF {protocol.relative_cutoff_ry:g}
    &END MGRID
    &QS
      EPS_DEFAULT 1.0E-12
    &END QS
{_scf(protocol, rung, is_gamma=is_gamma, is_restart=is_restart)}{_kpoints(grid)}    &XC
{xc}      &END XC_FUNCTIONAL
    &END XC
  &END DFT
  &SUBSYS
    &CELL
{vectors}
      PERIODIC XYZ
    &END CELL
    &COORD
{atoms}
    &END COORD
{kinds}
  &END SUBSYS
&END FORCE_EVAL
"""


def _scf(protocol: Cp2kProtocol, rung: Mapping[str, object], *, is_gamma: bool, is_restart: bool) -> str:
    head = f"""    &SCF
      SCF_GUESS {"RESTART" if is_restart else "ATOMIC"}
      EPS_SCF {protocol.scf_tolerance:.1E}
"""
    if is_gamma:
        return f"""{head}      MAX_SCF {protocol.max_scf_cycles}
      &OT
        MINIMIZER {rung["minimizer"]}
        PRECONDITIONER {rung["preconditioner"]}
      &END OT
      &OUTER_SCF
        EPS_SCF {protocol.scf_tolerance:.1E}
        MAX_SCF 8
      &END OUTER_SCF
    &END SCF
"""
    return f"""{head}      MAX_SCF {4 * protocol.max_scf_cycles}
      &DIAGONALIZATION
        ALGORITHM STANDARD
      &END DIAGONALIZATION
      &MIXING
        METHOD BROYDEN_MIXING
        ALPHA {rung["mixing"]}
        NBROYDEN 8
      &END MIXING
    &END SCF
"""


def _kpoints(grid: tuple[int, int, int]) -> str:
    if grid == (1, 1, 1):
        return ""
    return f"""    &KPOINTS
      SCHEME MONKHORST-PACK {grid[0]} {grid[1]} {grid[2]}
      SYMMETRY OFF
    &END KPOINTS
"""


def parse_cp2k(text: str, structure: AtomicStructure, *, with_stress: bool = False) -> SinglePoint:
    """Energy, forces and, if asked for, the stress of an output.

    Raises
    ------
    ScfNotConvergedError
        If the field did not converge, whatever the exit code was.
    TruncatedOutputError
        If the output ends before its end.
    NotFiniteOutputError
        If it has stars or NaN for numbers.
    WrongAtomOrderError
        If its atoms are not those of the structure, in order.
    """
    if re.search(r"SCF run NOT converged|outer SCF loop FAILED to converge|NOT CONVERGED", text, re.IGNORECASE):
        raise ScfNotConvergedError("CP2K: the self-consistent field did not converge")
    if "PROGRAM ENDED AT" not in text:
        raise TruncatedOutputError("CP2K: the output ends before its last line; the run was cut off")
    energy = re.findall(r"ENERGY\| Total FORCE_EVAL.*?:\s+(\S+)", text)
    table = re.search(r"ATOMIC FORCES in \[a\.u\.\]\s*\n(.*?)SUM OF ATOMIC FORCES", text, re.DOTALL)
    if not energy or table is None:
        raise TruncatedOutputError("CP2K: the output has no energy or no forces")
    rows = [line.split() for line in table.group(1).splitlines() if re.match(r"\s+\d+\s+\d+\s+[A-Z]", line)]
    if [row[2] for row in rows] != list(structure.elements):
        raise WrongAtomOrderError("CP2K: the atoms of the output are not those of the input, in their order")
    stress = None
    if with_stress:
        lines = re.findall(r"STRESS\|\s+[xyz]\s+(\S+)\s+(\S+)\s+(\S+)\s*$", text, re.MULTILINE)[:3]
        if len(lines) != 3:
            raise TruncatedOutputError("CP2K: the output has no stress")
        tensor = -np.array([[_number(x) for x in line] for line in lines]) * GPA_EV_PER_ANG3
        stress = voigt(tensor)
    unit = HARTREE_EV / BOHR_ANG
    return SinglePoint(
        energy_ev=_number(energy[-1]) * HARTREE_EV,
        forces_ev_per_ang=tuple(
            (_number(row[3]) * unit, _number(row[4]) * unit, _number(row[5]) * unit) for row in rows
        ),
        stress_ev_per_ang3=stress,
    )


def _number(word: str) -> float:
    return finite_number(word, "CP2K")


class Cp2kProgram(DftProgram):
    """CP2K: it prints its results; a wavefunction is kept under one name per kind of solver."""

    name = "cp2k"

    def write(self, geometry: Geometry) -> list[str]:
        text = cp2k_input(
            geometry.candidate,
            geometry.numbers,
            rung=geometry.rung,
            is_restart=geometry.is_restart,
            with_stress=geometry.with_stress,
        )
        (geometry.folder / "cp2k.inp").write_text(text, encoding="utf-8")
        return ["-i", "cp2k.inp"]

    def has_guess(self, candidate: Candidate, numbers: Any, folder: Path) -> bool:
        is_gamma = mesh(candidate.structure, numbers) == (1, 1, 1)
        return (folder / WAVEFUNCTION["ot" if is_gamma else "kpoints"]).is_file()

    def forget(self, folder: Path) -> None:
        for file in folder.glob(f"{PROJECT}-RESTART*"):
            file.unlink()

    def parse(self, text: str, structure: AtomicStructure, *, with_stress: bool) -> SinglePoint:
        return parse_cp2k(text, structure, with_stress=with_stress)
