"""Energies of all competing phases at one level, computed phase by phase and put into one table.

Each phase is relaxed (cell and positions, in its space group) by the fast SevenNet-0, and its energy is then taken by
the more accurate SevenNet-l3i5 at that geometry. A finished phase is a line of a JSON file: a stopped run goes on.
"""

from __future__ import annotations

import json
import time
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from ..structures.phases import UnknownPhaseError, build_phase, load_phase, phase_names
from .files import write_atomically
from .interatomic import sevennet
from .relaxation import NotConvergedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from pymatgen.core.structure import Structure

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
    facts = load_phase(name)
    row = {"name": name, "formula": facts.formula, "grade": facts.grade, "known_density_g_cm3": facts.density_g_cm3}
    return row | relax_cell(name, build_phase(name), geometry=geometry, energy=energy)


def relax_cell(name: str, start: Structure, *, geometry: Calculator, energy: Calculator) -> dict[str, Any]:
    """Relax a cell within its space group with one calculator and take its energy with the other.

    Raises
    ------
    NotConvergedError
        If the forces or the stress stay above the threshold.
    """
    from ase.constraints import FixSymmetry
    from ase.filters import FrechetCellFilter
    from ase.optimize import FIRE, LBFGS
    from pymatgen.io.ase import AseAtomsAdaptor

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
        "n_atoms": len(atoms),
        "energy_per_atom_ev": round(float(bare.get_potential_energy()) / len(atoms), 6),
        "space_group": end.get_space_group_info(symprec=SYMPREC_ANG)[0],
        "start_space_group": start.get_space_group_info(symprec=SYMPREC_ANG)[0],
        "density_g_cm3": round(float(end.density), 4),
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
        head = {"name": name, "formula": load_phase(name).formula}
        done[name] = _tried(head, partial(compute_phase, name, geometry=geometry, energy=energy))
        report(f"{number}/{len(left)} {_said(done[name])}")
        _append(path, done[name])
    return list(done.values())


def compute_ordered(
    path: Path,
    crystal: str,
    *,
    n_cells: int = 3,
    supercell: tuple[int, int, int] | None = None,
    report: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Order a disordered crystal, and relax the cells of lowest Coulomb energy like any other phase.

    Parameters
    ----------
    path
        File of finished phases; cells that are in it are not computed again.
    crystal
        A disordered crystal of the library, or a structure file with partial occupancies.
    n_cells
        How many cells to relax, at most; the lowest one counts in the table.
    supercell
        Repeats along a, b and c; by default as ``order_structure`` chooses.

    Raises
    ------
    SurfshiftError
        As ``build_disordered``, ``read_disordered`` and ``order_structure``.
    """
    from pathlib import Path as FilePath

    from ..structures.importing import read_disordered
    from ..structures.library import build_disordered, load_crystal
    from ..structures.ordering import order_structure

    title = FilePath(crystal).stem
    names = [f"{title}-ordered-{k}" for k in range(1, n_cells + 1)]
    done = {row["name"]: row for row in _read_rows(path)}
    if all(name in done for name in names):
        return [done[name] for name in names]
    density, source = None, f"file {FilePath(crystal).name}"
    if FilePath(crystal).is_file():
        disordered = read_disordered(crystal)
    else:
        facts = load_crystal(crystal)
        disordered, density, source = build_disordered(facts), facts.density_g_cm3, facts.source
    ensemble = order_structure(disordered, n_orderings=n_cells, supercell=supercell)
    report(f"{title}: {ensemble.rounding}; {len(ensemble.orderings)} of {ensemble.n_sampled} cells are relaxed")
    geometry, energy = sevennet(GEOMETRY_MODEL), sevennet(ENERGY_MODEL)
    for name, ordering in zip(names, ensemble.orderings, strict=False):
        if name in done:
            continue
        start = ordering.structure.to_pymatgen().copy().remove_oxidation_states()
        head = {
            "name": name,
            "formula": start.composition.reduced_formula,
            "grade": "model",
            "known_density_g_cm3": density,
            "ordered_from": title,
            "source": source,
            "rounding": ensemble.rounding,
            "ewald_ev": round(ordering.ewald_ev, 3),
        }
        done[name] = _tried(head, partial(relax_cell, name, start, geometry=geometry, energy=energy))
        report(_said(done[name]))
        _append(path, done[name])
    return [done[name] for name in names if name in done]


def _tried(head: dict[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A finished row, or the head with the error; a phase may fail in many ways, each is kept by name."""
    try:
        return head | compute()
    except Exception as error:
        return head | {"error": f"{type(error).__name__}: {error}"}


def _said(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['name']}: {row['error']}"
    return f"{row['name']}: {row['energy_per_atom_ev']:.4f} eV/atom, {row['seconds']} s"


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


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


def make_table(rows: Path, out: Path, *, version: str, cells: Path | None = None) -> EnergyTable:
    """The table of energies from a file of finished phases.

    Parameters
    ----------
    rows, out
        File of finished phases, and the table to write.
    version
        Issue of the table.
    cells
        Where to write the relaxed cell of each ordered crystal, the lowest of its formula; None writes none.

    Raises
    ------
    EnergyTableError
        If too few phases are finished to fit the corrections.
    """
    from ..analysis.coatings.energies import amounts_of, build_table

    found = _read_rows(rows)
    known_names = set(phase_names())
    gone = [row["name"] for row in found if "ordered_from" not in row and row["name"] not in known_names]
    if gone:
        raise UnknownPhaseError(f"{rows}: {', '.join(gone)} are no phases; delete their lines")
    graded = [row if "ordered_from" in row else row | {"grade": load_phase(row["name"]).grade} for row in found]
    known = {facts.formula for facts in map(load_phase, phase_names()) if facts.grade != "estimate"}
    known |= {row["formula"] for row in found if "ordered_from" in row}
    listed = [f for f in known if len(amounts_of(f)) > 1]
    table = build_table(graded, provenance(), version=version, listed=listed)
    write_atomically(out, table.model_dump_json(indent=None) + "\n")
    if cells is not None:
        used = {phase.name for phase in table.phases}
        write_ordered_cells([row for row in found if "ordered_from" in row and row["name"] in used], cells)
    return table


def write_ordered_cells(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the lowest relaxed cell of each ordered crystal, as ``surfshift.structures.phases`` reads it."""
    lowest: dict[str, dict[str, Any]] = {}
    for row in rows:
        known = lowest.get(row["formula"])
        if known is None or row["energy_per_atom_ev"] < known["energy_per_atom_ev"]:
            lowest[row["formula"]] = row
    kept = ("name", "formula", "ordered_from", "source", "rounding", "lattice", "elements", "frac_coords")
    written = [json.dumps({key: row[key] for key in kept}) for _, row in sorted(lowest.items())]
    write_atomically(path, "[\n" + ",\n".join(written) + "\n]\n")
