"""Amorphous AlPO4: melt and quench with a pair potential, or with SevenNet, then relaxed with SevenNet; resumes.

python benchmarks/melt_quench.py FOLDER              # run or go on
python benchmarks/melt_quench.py FOLDER --write OUT  # relax the end and write the library's entry (YAML)
"""

from __future__ import annotations

import argparse
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from surfshift.structures.network import network_statistics
from surfshift.workflows.interatomic import sevennet
from surfshift.workflows.melt_quench import (
    MeltQuenchSettings,
    crystal_entry,
    melt_quench,
    relax_glass,
)
from surfshift.workflows.packing import random_phosphate
from surfshift.workflows.pair_potential import aluminophosphate_calculator

if TYPE_CHECKING:
    from surfshift.structures.vocabulary import AtomicStructure

MODEL = "7net-0"
DENSITY_G_CM3 = 2.30
POTENTIALS = {"pair": "the pair potential of van Beest, Kramer and van Santen (1990)", "sevennet": "SevenNet"}
HEADER = "# Glasses: one snapshot each, in P1; written by benchmarks/melt_quench.py, see the note for the command.\n"


def cooled(structure: AtomicStructure) -> AtomicStructure:
    """The nearest minimum of the pair potential in the fixed cell: a cheap way out of the thermal displacements."""
    from ase.optimize import FIRE

    atoms = structure.to_ase()
    atoms.set_initial_charges(None)
    atoms.calc = aluminophosphate_calculator()
    FIRE(atoms, logfile=None, maxstep=0.1).run(fmax=0.02, steps=500)
    return structure.moved_to(atoms.get_positions())


def main() -> None:
    """Run the melt-quench, and write its snapshot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--formula-units", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--melt-k", type=float, default=3500.0)
    parser.add_argument("--melt-steps", type=int, default=2000)
    parser.add_argument("--quench-steps", type=int, default=8000)
    parser.add_argument("--timestep-fs", type=float, default=2.0)
    parser.add_argument("--dynamics", choices=("pair", "sevennet"), default="pair", help="potential of the dynamics")
    parser.add_argument("--relax-steps", type=int, default=200)
    parser.add_argument("--write", type=Path, help="relax the end and write it as an entry of the crystal library")
    given = parser.parse_args()
    settings = MeltQuenchSettings(
        seed=given.seed,
        melt_k=given.melt_k,
        melt_steps=given.melt_steps,
        quench_steps=given.quench_steps,
        timestep_fs=given.timestep_fs,
        chunk_steps=500 if given.dynamics == "pair" else 50,
    )
    start = random_phosphate(given.formula_units, DENSITY_G_CM3, seed=given.seed)
    began, cpu = time.perf_counter(), time.process_time()
    dynamics = aluminophosphate_calculator() if given.dynamics == "pair" else sevennet(MODEL)
    end = melt_quench(start, settings, given.folder, dynamics)
    assert end is not None
    rate = f"{settings.quench_rate_k_per_ps:.0f} K/ps"
    print(f"quench at {rate} done, {time.perf_counter() - began:.0f} s ({time.process_time() - cpu:.0f} CPU s) here")
    print(f"before relaxation: {network_statistics(end)}")
    if given.write is None:
        return
    if given.dynamics == "pair":
        end = cooled(end)
    relaxed, energy, force, n_steps = relax_glass(
        end, sevennet(MODEL), max_steps=given.relax_steps, folder=given.folder
    )
    found = network_statistics(relaxed)
    print(f"relaxed in {n_steps} steps: {energy / len(relaxed):.4f} eV/atom, largest force {force:.3f} eV/A")
    print(f"after relaxation: {found}")
    command = (
        f"python benchmarks/melt_quench.py FOLDER --formula-units {given.formula_units} --seed {given.seed} --melt-k "
        f"{given.melt_k:g} --melt-steps {given.melt_steps} --quench-steps {given.quench_steps} "
        f"--timestep-fs {given.timestep_fs:g} --dynamics {given.dynamics} --relax-steps {given.relax_steps} --write OUT"
    )
    note = (
        f"One snapshot of {len(relaxed)} atoms: random packing at {DENSITY_G_CM3} g/cm3, {given.melt_steps} steps at "
        f"{given.melt_k:g} K and {given.quench_steps} steps of cooling to {settings.final_k:g} K ({rate}), "
        f"{given.timestep_fs:g} fs each, with {POTENTIALS[given.dynamics]}; positions and cell then relaxed "
        f"with SevenNet to {force:.2f} eV/A ({energy:.3f} eV). Network: coordination {found.coordination}, oxygen "
        f"{found.bridges}, P by P-O-P bridges {found.q}. The density is that of the cell. Made by: {command}."
    )
    source = f"Model, melt and quench, relaxed with SevenNet (sevenn {version('sevenn')}, {MODEL}), seed {given.seed}"
    entry = crystal_entry(relaxed, formula="AlPO4", formula_units=given.formula_units, source=source, note=note)
    fresh = given.write.with_name(given.write.name + ".new")
    fresh.write_text(HEADER + "AlPO4_amorphous:\n" + entry, encoding="utf-8")
    fresh.replace(given.write)


if __name__ == "__main__":
    main()
