"""Phonons of berlinite by SevenNet: imaginary modes, heat capacity and entropy at 298.15 K, a picture of the bands.

Usage: python benchmarks/berlinite_phonons.py FOLDER [--model 7net-l3i5] [--supercell 2 2 1]

The relaxed crystal and the forces are kept in FOLDER; a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from surfshift.analysis.thermodynamics.vibrations import (
    EV_PER_K_J_PER_MOL_K,
    heat_capacity_ev_per_k,
    vibrational_entropy_ev_per_k,
)
from surfshift.analysis.vocabulary import Relaxation
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.vocabulary import Candidate, Region
from surfshift.workflows.files import write_atomically
from surfshift.workflows.interatomic import sevennet
from surfshift.workflows.phonon_figures import draw_bands
from surfshift.workflows.phonons import PhononSettings, run_phonons
from surfshift.workflows.relaxation import relax_candidate
from surfshift.workflows.study import RelaxSettings

FORMULA_UNITS = 3


def main() -> None:
    """Relax, displace, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="7net-l3i5", choices=("7net-l3i5", "7net-0"))
    parser.add_argument("--supercell", type=int, nargs=3, default=(2, 2, 1))
    options = parser.parse_args()
    folder = options.folder / options.model
    folder.mkdir(parents=True, exist_ok=True)
    calculator = sevennet(options.model)
    path = folder / "bulk.json"
    if not path.exists():
        crystal = build_crystal(load_crystal("AlPO4_berlinite"))
        start = Candidate(
            name="berlinite", kind="bulk", structure=crystal, parent="berlinite", regions=(Region.BULK,) * len(crystal)
        )
        settings = RelaxSettings(model=options.model, fmax_ev_per_ang=0.001, relax_bulk_cell=True, max_steps=400)
        write_atomically(path, relax_candidate(start, settings, calculator=calculator).model_dump_json())
    bulk = Relaxation.model_validate_json(path.read_text(encoding="utf-8")).candidate.structure
    a, b, c = options.supercell
    forces = folder / f"forces-{a}-{b}-{c}"
    for mesh in ((a, b, c), (12, 12, 6)):
        settings = PhononSettings(supercell=(a, b, c), mesh=mesh)
        begun = time.process_time()
        phonons, found = run_phonons(
            bulk,
            settings,
            forces,
            calculator=calculator,
            model=options.model,
            report=lambda line: print(line, flush=True),
        )
        scale = EV_PER_K_J_PER_MOL_K / FORMULA_UNITS
        heat = scale * heat_capacity_ev_per_k(found.frequencies_thz, 298.15, found.weights)
        entropy = scale * vibrational_entropy_ev_per_k(found.frequencies_thz, 298.15, found.weights)
        print(f"mesh {mesh}: Cv {heat:.1f}, S {entropy:.1f} J/(mol K), {time.process_time() - begun:.0f} cpu s")
        print(f"  imaginary: {[(m.wave_vector, round(m.frequency_thz, 2)) for m in found.imaginary]}")
    draw_bands(phonons, bulk, settings, folder / f"bands-{a}-{b}-{c}.png", title=f"berlinite, {options.model}")


if __name__ == "__main__":
    main()
