"""Relaxations by DFT from where SevenNet ended: bulk AlPO4 of 72 atoms, or a hydroxylated slab of it.

``python benchmarks/dft_relaxation.py FOLDER bulk`` (or ``slab``); ``--engine pw`` for pw.x instead of CP2K. A run that
was killed goes on from its last geometry and wavefunction when the same command is given again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from surfshift.structures.assembly import repeat_in_plane
from surfshift.structures.bonding import find_bonds
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.vocabulary import Candidate, Region
from surfshift.workflows.candidates import build_candidates
from surfshift.workflows.dft_relaxation import relax_by_dft
from surfshift.workflows.relaxation import relax_candidate
from surfshift.workflows.study import DftSettings, RelaxSettings, load_study

STUDY = Path(__file__).resolve().parents[1] / "examples" / "alpo4" / "study.yaml"
SLAB = "(100)-t0+4H2O"


def bulk() -> Candidate:
    """Berlinite, 2 x 2 x 1."""
    structure = repeat_in_plane(build_crystal(load_crystal("AlPO4_berlinite")), (2, 2))
    regions = (Region.BULK,) * len(structure)
    return Candidate(name="berlinite 2x2x1", kind="bulk", structure=structure, parent="AlPO4", regions=regions)


def slab() -> Candidate:
    """The hydroxylated (100) slab of the example study."""
    candidates = {candidate.name: candidate for candidate in build_candidates(load_study(STUDY))}
    return next(candidate for name, candidate in candidates.items() if name.endswith(SLAB))


def bonds(candidate: Candidate) -> dict[str, list[float]]:
    """Shortest, mean and longest bond of each kind, angstrom."""
    structure = candidate.structure
    lengths: dict[str, list[float]] = {}
    for site in find_bonds(structure):
        for bond in site:
            if structure.oxidation_states[bond.i] > 0:
                kind = f"{structure.elements[bond.i]}-{structure.elements[bond.j]}"
                lengths.setdefault(kind, []).append(bond.length_ang)
    return {kind: [min(found), float(np.mean(found)), max(found)] for kind, found in sorted(lengths.items())}


def main() -> None:
    """Relax by SevenNet, then by DFT, and print what changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", choices=("bulk", "slab"))
    parser.add_argument("--engine", choices=("cp2k", "pw"), default="cp2k")
    parser.add_argument("--fmax", type=float, default=0.1, help="eV/angstrom, of the DFT step")
    parser.add_argument("--mesh-spacing", type=float, default=0.13, help="of k-points, 1/angstrom; 0.13: Gamma alone")
    arguments = parser.parse_args()
    folder = arguments.folder / arguments.what
    folder.mkdir(parents=True, exist_ok=True)
    candidate = bulk() if arguments.what == "bulk" else slab()
    print(f"{candidate.name}: {len(candidate.structure)} atoms", flush=True)
    settings = RelaxSettings(fmax_ev_per_ang=0.03)
    started = time.time()
    first = relax_candidate(candidate, settings, checkpoint=folder / "sevennet.json")
    print(f"SevenNet: {first.n_steps} steps, {time.time() - started:.0f} s", flush=True)
    step = DftSettings(
        engine=arguments.engine,
        protocol="fast",
        fmax_ev_per_ang=arguments.fmax,
        max_steps=60,
        numbers={"kpoint_spacing_per_ang": arguments.mesh_spacing},
    )
    started = time.time()
    last = relax_by_dft(first, settings, step, folder)
    print(f"{last.model}: {last.n_steps} steps, {time.time() - started:.0f} s in this run", flush=True)
    print(f"largest force {last.max_force_ev_per_ang:.3f} eV/A, energy {last.energy_ev:.4f} eV")
    moved = np.array(last.candidate.structure.cart_coords) - np.array(first.candidate.structure.cart_coords)
    distance = np.linalg.norm(moved, axis=1)
    print(f"moved from SevenNet's geometry: rms {np.sqrt((distance**2).mean()):.3f}, largest {distance.max():.3f} A")
    for name, found in (("as built", candidate), ("SevenNet", first.candidate), ("DFT", last.candidate)):
        words = ", ".join(f"{k} {a:.3f} {b:.3f} {c:.3f}" for k, (a, b, c) in bonds(found).items())
        print(f"{name}: {words}")
    (folder / "relaxed.json").write_text(json.dumps(last.model_dump(mode="json")))


if __name__ == "__main__":
    main()
