"""Energies of all competing phases at one level, computed phase by phase and put into one table.

Each phase is relaxed (cell and positions, in its space group) by the fast SevenNet-0, and its energy is then taken by
the more accurate SevenNet-l3i5 at that geometry. A finished phase is a line of a JSON file: a stopped run goes on.
"""

from __future__ import annotations

import json
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from ..structures.phases import build_phase, load_phase, phase_names
from .files import write_atomically
from .relaxation import NotConvergedError, sevennet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from ..analysis.coatings.energies import EnergyTable

GEOMETRY_MODEL = "7net-0"
ENERGY_MODEL = "7net-l3i5"
FMAX_EV_PER_ANG = 0.2
COARSE_FMAX_EV_PER_ANG = 1.0
MAX_STEPS = 80
SYMPREC_ANG = 0.02


def compute_phase(name: str, *, geometry: Calculator, energy: Calculator) -> dict[str, Any]:
    """Relax one phase and take its energy.

    Returns
    -------
    dict
        ``energy_per_atom_ev``, densities, space groups before and after, steps, the largest force, the relaxed cell.

    Raises
    ------
    NotConvergedError
        If the forces or the stress stay above the threshold.
    """
    from ase.constraints import FixSymmetry
    from ase.filters import FrechetCellFilter
    from ase.optimize import FIRE, LBFGS
    from pymatgen.io.ase import AseAtomsAdaptor

    facts, start = load_phase(name), build_phase(name)
    atoms: Atoms = AseAtomsAdaptor.get_atoms(start)
    atoms.calc = geometry
    atoms.set_constraint(FixSymmetry(atoms, symprec=SYMPREC_ANG, verbose=False))
    target: Any = FrechetCellFilter(atoms)
    n_steps, is_converged, began = 0, False, time.time()
    stages: tuple[tuple[Any, float], ...] = ((FIRE, COARSE_FMAX_EV_PER_ANG), (LBFGS, FMAX_EV_PER_ANG))
    for optimiser, fmax in stages:
        run = optimiser(target, logfile=None)
        is_converged = bool(run.run(fmax=fmax, steps=MAX_STEPS - n_steps))
        n_steps += run.nsteps
    force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    if not is_converged:
        raise NotConvergedError(f"{name}: the largest force is {force:.2f} eV/A after {n_steps} steps")
    bare = atoms.copy()
    bare.set_constraint()
    bare.calc = energy
    end = AseAtomsAdaptor.get_structure(bare)
    return {
        "name": name,
        "formula": facts.formula,
        "grade": facts.grade,
        "n_atoms": len(atoms),
        "energy_per_atom_ev": round(float(bare.get_potential_energy()) / len(atoms), 6),
        "space_group": end.get_space_group_info(symprec=SYMPREC_ANG)[0],
        "start_space_group": start.get_space_group_info(symprec=SYMPREC_ANG)[0],
        "density_g_cm3": round(float(end.density), 4),
        "known_density_g_cm3": facts.density_g_cm3,
        "volume_change": round(float(end.volume / start.volume) - 1.0, 4),
        "n_steps": n_steps,
        "max_force_ev_per_ang": round(force, 4),
        "seconds": round(time.time() - began, 1),
        "lattice": np.round(np.array(bare.cell), 5).tolist(),
        "elements": bare.get_chemical_symbols(),
        "frac_coords": np.round(bare.get_scaled_positions(), 5).tolist(),
    }


def compute_phases(
    path: Path, names: Sequence[str] | None = None, *, report: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """Compute what is missing in a file of finished phases, small cells first, and return all of it.

    A phase that fails is written with its error and is not tried again until its line is deleted.
    """
    done = {row["name"]: row for row in _read_rows(path)}
    left = [name for name in (phase_names() if names is None else names) if name not in done]
    sizes = {name: len(build_phase(name)) for name in left}
    left.sort(key=sizes.__getitem__)
    if not left:
        return list(done.values())
    geometry, energy = sevennet(GEOMETRY_MODEL), sevennet(ENERGY_MODEL)
    for number, name in enumerate(left, start=1):
        try:
            row = compute_phase(name, geometry=geometry, energy=energy)
            report(f"{number}/{len(left)} {name}: {row['energy_per_atom_ev']:.4f} eV/atom, {row['seconds']} s")
        except Exception as error:  # a phase may fail in many ways, each is kept by name
            row = {"name": name, "formula": load_phase(name).formula, "error": f"{type(error).__name__}: {error}"}
            report(f"{number}/{len(left)} {name}: {row['error']}")
        done[name] = row
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    return list(done.values())


def provenance() -> dict[str, str]:
    """What made the energies: potential, versions and settings."""
    return {
        "potential": f"{ENERGY_MODEL} at geometries of {GEOMETRY_MODEL}",
        "sevenn": version("sevenn"),
        "fmax_ev_per_ang": str(FMAX_EV_PER_ANG),
        "relaxed": "cell and positions within the space group",
        "molecules": (
            "O2, N2, F2, Cl2, Br2, I2 and H2 are molecular crystals, which a potential trained on bulk crystals treats "
            "poorly; their errors are part of the corrections fitted on measured formation energies"
        ),
    }


def _read_rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # the line that was being written when a run was killed
    return rows


def make_table(rows: Path, out: Path, *, version: str) -> EnergyTable:
    """The table of energies from a file of finished phases.

    Raises
    ------
    EnergyTableError
        If too few phases are finished to fit the corrections.
    """
    from ..analysis.coatings.energies import amounts_of, build_table

    found = [row | {"grade": load_phase(row["name"]).grade} for row in _read_rows(rows)]
    known = [facts.formula for facts in map(load_phase, phase_names()) if facts.grade != "estimate"]
    table = build_table(found, provenance(), version=version, listed=[f for f in known if len(amounts_of(f)) > 1])
    write_atomically(out, table.model_dump_json(indent=None) + "\n")
    return table
