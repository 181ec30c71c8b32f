"""Candidates as files of other programs: CIF, POSCAR and extended XYZ."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import numpy as np

from .files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..structures.vocabulary import AtomicStructure, Candidate

SUFFIXES = {"cif": ".cif", "poscar": ".vasp", "extxyz": ".xyz"}


def file_stem(name: str) -> str:
    """A name that every file system takes, for example ``AlPO4_berlinite_100-t0_4H2O``."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("_.")
    return plain[:150] or "candidate"


def export_candidate(
    candidate: Candidate,
    folder: Path,
    formats: Sequence[str],
    *,
    stem: str,
    energy_ev: float | None = None,
    open_atoms: Sequence[int] = (),
) -> tuple[str, ...]:
    """Write a candidate in every format asked for, each file whole or not at all; returns the names of the files.

    Atoms stand in the candidate's order in extended XYZ, and element by element in POSCAR.

    Parameters
    ----------
    candidate
        The candidate.
    folder
        Where the files go.
    formats
        ``cif``, ``poscar``, ``extxyz``.
    stem
        Name of the files without its ending.
    energy_ev
        Energy of the cell, for extended XYZ.
    open_atoms
        Undercoordinated atoms, for extended XYZ.
    """
    names = []
    for kind in dict.fromkeys(formats):
        if kind == "cif":
            text = _cif(candidate.structure)
        elif kind == "poscar":
            text = _poscar(candidate)
        else:
            text = extxyz(candidate, energy_ev=energy_ev, open_atoms=open_atoms)
        name = f"{stem}{SUFFIXES[kind]}"
        write_atomically(folder / name, text)
        names.append(name)
    return tuple(names)


def _cif(structure: AtomicStructure) -> str:
    """P1, with oxidation states; a CIF knows no vacuum, so all directions are periodic."""
    from pymatgen.io.cif import CifWriter

    whole = structure.model_copy(update={"periodic": (True, True, True)})
    return str(CifWriter(whole.to_pymatgen(), significant_figures=8))


def _poscar(candidate: Candidate) -> str:
    from pymatgen.io.vasp.inputs import Poscar

    whole = candidate.structure.model_copy(update={"periodic": (True, True, True)})
    structure = whole.to_pymatgen()
    structure.remove_oxidation_states()
    movable = None
    if candidate.frozen_atoms:
        frozen = set(candidate.frozen_atoms)
        movable = [[k not in frozen] * 3 for k in range(len(structure))]
    poscar = Poscar(structure, comment=candidate.name, selective_dynamics=movable, sort_structure=True)
    return str(poscar.get_str(significant_figures=10))


def extxyz(candidate: Candidate, *, energy_ev: float | None = None, open_atoms: Sequence[int] = ()) -> str:
    """Extended XYZ with one column each for oxidation state, region, open bonds, frozen atoms and layer."""
    from ase import Atoms
    from ase.constraints import FixAtoms
    from ase.io import write

    structure = candidate.structure
    atoms = Atoms(
        list(structure.elements),
        scaled_positions=np.array(structure.frac_coords),
        cell=structure.lattice,
        pbc=structure.periodic,
    )
    n = len(atoms)
    atoms.new_array("oxidation_state", np.array(structure.oxidation_states))
    atoms.new_array("region", np.array([region.value for region in candidate.regions]))
    atoms.new_array("undercoordinated", np.isin(np.arange(n), list(open_atoms)))
    if candidate.frozen_atoms:
        atoms.set_constraint(FixAtoms(indices=list(candidate.frozen_atoms)))
    if candidate.interface_record is not None:
        atoms.new_array("layer", np.array([layer.value for layer in candidate.interface_record.layers]))
    atoms.info["name"] = candidate.name
    atoms.info["candidate_id"] = candidate.id
    if energy_ev is not None:
        atoms.info["energy_ev"] = energy_ev
    buffer = io.StringIO()
    columns = ["symbols", "positions", *sorted(key for key in atoms.arrays if key not in ("numbers", "positions"))]
    if candidate.frozen_atoms:
        columns.append("move_mask")
    write(buffer, atoms, format="extxyz", columns=columns)
    return buffer.getvalue()
