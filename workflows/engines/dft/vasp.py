"""VASP: inputs of energy and forces of one geometry, and what its OUTCAR says.

VASP runs with NSW = 0 for every geometry, so that frozen atoms, symmetry and checks are this project's own. A run goes
on from the last one's orbitals (ISTART = 1) and from its density, moved with the atoms (ICHARG = 1).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from ....analysis.tensor_files.text import number, numbers
from ....analysis.tensor_files.vasp import open_outcar
from ...potentials import write_potcar
from ..inputs.common import species_of, title_of
from ..inputs.vasp import GGA, dipole_tags, potcar_symbols, vasp_files
from .errors import TruncatedOutputError
from .program import DftProgram, Geometry
from .protocols import rung_words
from .results import KILOBAR_EV_PER_ANG3, SinglePoint, check_cell, named_as_dft, placed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ....structures.vocabulary import AtomicStructure, Candidate
    from ..inputs.common import Value
    from .protocols import VaspRelaxProtocol

_ENERGY = re.compile(r"^\s{1,4}free  energy\s{1,4}TOTEN\s{0,4}=\s{0,12}(\S{1,24}) eV", re.MULTILINE)
FORCES = "TOTAL-FORCE (eV/Angst)"
_STRESS = "  in kB "
_VOIGT_OF_OUTCAR = (0, 1, 2, 4, 5, 3)
"""OUTCAR prints XX YY ZZ XY YZ ZX; here the order is xx yy zz yz xz xy."""


def vasp_relax_inputs(
    candidate: Candidate, protocol: VaspRelaxProtocol, *, rung: Mapping[str, object], is_restart: bool = False
) -> dict[str, str]:
    """INCAR, KPOINTS, POSCAR and the list of POTCARs of energy, forces and stress.

    Symmetry is off (ISYM = 0, which keeps k = -k), so that moved atoms and meshes are treated alike.

    Parameters
    ----------
    candidate, protocol
        Structure and numbers; a slab with a dipole along its normal gets the dipole correction.
    rung
        Entry of the ladder for a field that does not converge.
    is_restart
        Start from WAVECAR and CHGCAR of an earlier run in the same folder.

    Raises
    ------
    InputError
        If an element has no potential.
    """
    tags: dict[str, Value] = {
        "SYSTEM": title_of(candidate),
        "PREC": "Accurate",
        "ENCUT": protocol.cutoff_ev,
        "GGA": GGA[protocol.functional],
        "EDIFF": protocol.scf_tolerance_ev,
        "NELM": protocol.max_scf_cycles,
        "NELMIN": 4,
        "ISMEAR": 0,
        "SIGMA": protocol.smearing_ev,
        "ISPIN": 1,
        "ISYM": 0,
        "LASPH": True,
        "IBRION": -1,
        "NSW": 0,
        "ISIF": 2,
        "LREAL": "Auto" if protocol.real_space_projectors else False,
        "ISTART": int(is_restart),
        "ICHARG": 1 if is_restart else 2,
        "LWAVE": True,
        "LCHARG": True,
    }
    tags |= rung_words(rung)
    symbols = potcar_symbols(species_of(candidate.structure))
    return vasp_files(candidate, tags | dipole_tags(candidate), protocol.kpoint_spacing_per_ang, symbols)


def parse_vasp(text: str, structure: AtomicStructure, *, with_stress: bool = False) -> SinglePoint:
    """Energy, forces and, if asked for, the stress of an OUTCAR, in the order of the structure.

    The energy is the free energy, whose derivatives the forces are; for an insulator it is the energy.

    Raises
    ------
    ScfNotConvergedError, TruncatedOutputError, NotFiniteOutputError, WrongAtomOrderError
        As for CP2K.
    """
    with named_as_dft("VASP"):
        outcar = open_outcar(text, "OUTCAR")
        energies = _ENERGY.findall(text)
        start = outcar.find_last(FORCES)
        if not energies or start is None:
            raise TruncatedOutputError("VASP: the OUTCAR has no energy or no forces")
        rows = outcar.rows(start + 2, outcar.n_atoms, 6, "positions and forces")
        lattice = outcar.lattice()
        check_cell(lattice, structure, program="VASP")
        order = placed(structure, outcar.elements(), rows[:, :3] @ np.linalg.inv(lattice), program="VASP")
        stress = None
        if with_stress:
            at = outcar.find_last(_STRESS)
            if at is None:
                raise TruncatedOutputError("VASP: the OUTCAR has no stress")
            kilobar = numbers(outcar.lines[at].split()[2:], 6, "OUTCAR, stress")
            # OUTCAR prints the pressure that the cell exerts; ase's stress has the other sign
            stress = tuple(-kilobar[k] * KILOBAR_EV_PER_ANG3 for k in _VOIGT_OF_OUTCAR)
        energy = number(energies[-1], "OUTCAR, energy")
    forces = rows[list(order), 3:]
    return SinglePoint(
        energy_ev=energy,
        forces_ev_per_ang=tuple((float(x), float(y), float(z)) for x, y, z in forces),
        stress_ev_per_ang3=stress,
    )


class VaspProgram(DftProgram):
    """VASP: results in OUTCAR; POTCAR joined from the user's licensed files."""

    name = "vasp"
    result = "OUTCAR"
    guesses = ("WAVECAR", "CHGCAR")

    def prepare(self, structure: AtomicStructure, folder: Path) -> None:
        write_potcar(folder, potcar_symbols(species_of(structure)))

    def write(self, geometry: Geometry) -> list[str]:
        files = vasp_relax_inputs(
            geometry.candidate, geometry.numbers, rung=geometry.rung, is_restart=geometry.is_restart
        )  # with the stress, which VASP computes anyway
        for name, text in files.items():
            (geometry.folder / name).write_text(text, encoding="utf-8")
        return []

    def parse(self, text: str, structure: AtomicStructure, *, with_stress: bool) -> SinglePoint:
        return parse_vasp(text, structure, with_stress=with_stress)
