"""CASTEP: inputs of energy and forces of one geometry, and what its .castep file says.

CASTEP orders atoms by atomic number and appends to a .castep file that is there already, so atoms are found by their
positions and the file is removed before each run. A run starts from the last one's orbitals and density (REUSE), which
CASTEP writes to the .check file at the end of every run that finishes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from ....analysis.tensor_files.castep import parse_castep_output
from ....analysis.tensor_files.text import element, number, numbers
from ..inputs.castep import XC, cell_text, dipole_words, param_text
from .errors import TruncatedOutputError, WrongAtomOrderError
from .program import DftProgram, Geometry
from .protocols import rung_words
from .results import GPA_EV_PER_ANG3, SinglePoint, check_cell, named_as_dft, placed, voigt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from ....structures.vocabulary import AtomicStructure, Candidate
    from ..inputs.common import Value
    from ..inputs.protocols import CastepProtocol

SEED = "surfshift"
_FREE = re.compile(r"^ {0,4}Final free energy \(E-TS\)\s{0,12}=\s{0,12}(\S{1,30})\s{1,12}eV", re.MULTILINE)
_FINAL = re.compile(r"^ {0,4}Final energy(?:, E)?\s{0,20}=\s{0,12}(\S{1,30})\s{1,12}eV", re.MULTILINE)
_ATOM = re.compile(r"^\s{1,20}x\s{1,8}(\S{1,12})\s{1,12}(\d{1,7})\s{1,12}(\S.{0,60}\S)\s{1,12}x\s{0,4}$")
_FORCES = re.compile(r"^ {0,4}\*{5,60} {1,4}(?:Symmetrised |Unconstrained )?Forces \*{5,60}")
_STRESS = re.compile(r"^ {0,4}\*{5,60} {1,4}(?:Symmetrised )?Stress Tensor \*{5,60}")


def castep_relax_inputs(
    candidate: Candidate,
    protocol: CastepProtocol,
    *,
    rung: Mapping[str, object],
    is_restart: bool = False,
    with_stress: bool = False,
) -> dict[str, str]:
    """The .cell and .param files of energy, forces and, if asked for, the stress; no symmetry is used.

    Parameters
    ----------
    candidate, protocol
        Structure and numbers; a slab with a dipole along its normal gets the dipole correction.
    rung
        Entry of the ladder for a field that does not converge.
    is_restart
        Start from the .check file of an earlier run in the same folder.
    with_stress
        Also compute the stress.
    """
    words: dict[str, Value] = {
        "TASK": "singlepoint",
        "CALCULATE_STRESS": with_stress,
        "XC_FUNCTIONAL": XC[protocol.functional],
        "CUT_OFF_ENERGY": f"{protocol.cutoff_ev:g} eV",
        "FIX_OCCUPANCY": True,
        "ELEC_ENERGY_TOL": f"{protocol.scf_tolerance_ev:g} eV",
        "MAX_SCF_CYCLES": protocol.max_scf_cycles,
        "FINITE_BASIS_CORR": 0,
        "OPT_STRATEGY": "speed",
        "NUM_DUMP_CYCLES": 0,
    }
    if is_restart:
        words["REUSE"] = "default"
    words |= rung_words(rung)
    return {
        f"{SEED}.cell": cell_text(candidate, protocol),
        f"{SEED}.param": param_text(candidate, words | dipole_words(candidate)),
    }


def parse_castep(text: str, structure: AtomicStructure, *, with_stress: bool = False) -> SinglePoint:
    """Energy, forces and, if asked for, the stress of a .castep file, in the order of the structure.

    The energy is the free energy where one is printed, and is not corrected for the finite basis set.

    Raises
    ------
    ScfNotConvergedError, TruncatedOutputError, NotFiniteOutputError, WrongAtomOrderError
        As for CP2K.
    """
    with named_as_dft("CASTEP"):
        parse_castep_output(text, name="the .castep file")
        energies = _FREE.findall(text) or _FINAL.findall(text)
        lines = text.splitlines()
        at = _last(lines, lambda line: _FORCES.match(line) is not None)
        if not energies or at is None:
            raise TruncatedOutputError("CASTEP: the output has no energy or no forces")
        lattice = _lattice(lines)
        check_cell(lattice, structure, program="CASTEP")
        names, frac = _positions(lines)
        forces = _vectors(lines, at, names)
        order = placed(structure, [element(name, "CASTEP, atoms") for name, _ in names], frac, program="CASTEP")
        stress = _stress(lines) if with_stress else None
        energy = number(energies[-1], "CASTEP, energy")
    return SinglePoint(
        energy_ev=energy,
        forces_ev_per_ang=tuple((float(x), float(y), float(z)) for x, y, z in forces[list(order)]),
        stress_ev_per_ang3=stress,
    )


def _last(lines: list[str], is_wanted: Callable[[str], bool]) -> int | None:
    return next((k for k in range(len(lines) - 1, -1, -1) if is_wanted(lines[k])), None)


def _lattice(lines: list[str]) -> NDArray[np.float64]:
    at = _last(lines, lambda line: "Real Lattice(A)" in line)
    if at is None or at + 3 >= len(lines):
        raise TruncatedOutputError("CASTEP: the output has no cell")
    return np.array([numbers(lines[at + k].split(), 6, "CASTEP, cell")[:3] for k in (1, 2, 3)])


def _positions(lines: list[str]) -> tuple[list[tuple[str, int]], NDArray[np.float64]]:
    """Species and number of each atom, and fractional coordinates (n, 3)."""
    at = _last(lines, lambda line: "Fractional coordinates of atoms" in line)
    names: list[tuple[str, int]] = []
    rows = []
    for line in lines[at + 1 :] if at is not None else ():
        found = _ATOM.match(line)
        if found is not None:
            names.append((found.group(1), int(found.group(2))))
            rows.append(numbers(found.group(3).split(), 3, "CASTEP, positions"))
        elif names:
            break
    if not names:
        raise TruncatedOutputError("CASTEP: the output has no positions")
    return names, np.array(rows)


def _vectors(lines: list[str], start: int, names: list[tuple[str, int]]) -> NDArray[np.float64]:
    """The forces (n, 3) of a table, whose atoms must come as in the list of positions."""
    rows = []
    found: list[tuple[str, int]] = []
    for line in lines[start + 1 :]:
        words = line.replace("(cons'd)", " ").split()
        if len(words) >= 4 and words[0] == words[-1] == "*" and re.fullmatch(r"\d{1,7}", words[2]):
            found.append((words[1], int(words[2])))
            rows.append(numbers(words[3:-1], 3, "CASTEP, forces"))
        elif found and len(words) < 4:
            break
    if len(found) < len(names):
        raise TruncatedOutputError("CASTEP: the table of forces is cut")
    if found != names:
        raise WrongAtomOrderError("CASTEP: the atoms of the forces are not those of the positions, in their order")
    return np.array(rows)


def _stress(lines: list[str]) -> tuple[float, ...]:
    at = _last(lines, lambda line: _STRESS.match(line) is not None)
    rows = []
    for axis, line in [] if at is None else [(w[1], w) for w in map(str.split, lines[at + 1 : at + 14]) if len(w) > 1]:
        if axis in {"x", "y", "z"} and len(line) == 6:
            rows.append(numbers(line[2:5], 3, "CASTEP, stress"))
    if len(rows) != 3:
        raise TruncatedOutputError("CASTEP: the output has no stress")
    return voigt(np.array(rows) * GPA_EV_PER_ANG3)


class CastepProgram(DftProgram):
    """CASTEP: results in the .castep file; potentials made on the fly."""

    name = "castep"
    result = f"{SEED}.castep"
    logs = ("*.err",)
    guesses = (f"{SEED}.check",)

    def write(self, geometry: Geometry) -> list[str]:
        candidate, numbers, folder, rung, is_restart, with_stress = geometry
        files = castep_relax_inputs(candidate, numbers, rung=rung, is_restart=is_restart, with_stress=with_stress)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        return [SEED]

    def parse(self, text: str, structure: AtomicStructure, *, with_stress: bool) -> SinglePoint:
        return parse_castep(text, structure, with_stress=with_stress)
