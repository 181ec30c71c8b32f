"""Forces of CP2K, pw.x (with CP2K's potentials) and SevenNet on one displaced structure of AlPO4.

``python benchmarks/dft_forces.py FOLDER --mesh-spacing 0.3 --cutoff 90``; each engine's result is written at once.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.vocabulary import Candidate, Region
from surfshift.workflows.engines.dft.calculator import ProgramCalculator
from surfshift.workflows.interatomic import sevennet


def main() -> None:
    """Compute what is missing and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--crystal", default="AlPO4_berlinite")
    parser.add_argument("--mesh-spacing", type=float, default=0.115)
    parser.add_argument("--cutoff", type=float, default=90.0, help="of pw.x, Ry")
    parser.add_argument("--engines", default="sevennet,cp2k,pw")
    arguments = parser.parse_args()
    structure = build_crystal(load_crystal(arguments.crystal))
    atoms = structure.to_ase()
    atoms.rattle(0.05, seed=7)
    moved = structure.moved_to(atoms.get_positions())
    bulk = Candidate(
        name=arguments.crystal, kind="bulk", structure=moved, parent="x", regions=(Region.BULK,) * len(moved)
    )
    forces = {}
    for engine in arguments.engines.split(","):
        file = arguments.folder / f"{engine}.json"
        if not file.is_file():
            started = time.time()
            if engine == "sevennet":
                atoms.calc = sevennet("7net-l3i5")
            else:
                numbers = {"kpoint_spacing_per_ang": arguments.mesh_spacing}
                if engine == "pw":
                    numbers["cutoff_ry"] = arguments.cutoff
                atoms.calc = ProgramCalculator(engine, bulk, arguments.folder / engine, protocol="fast", **numbers)
            found = atoms.get_forces().tolist()
            arguments.folder.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"forces": found, "wall_seconds": time.time() - started}))
        data = json.loads(file.read_text())
        forces[engine] = np.array(data["forces"])
        print(f"{engine:9} {data['wall_seconds']:7.0f} s wall, rms force {_rms(forces[engine]):.3f} eV/A", flush=True)
    names = list(forces)
    for k, one in enumerate(names):
        for other in names[k + 1 :]:
            difference = forces[one] - forces[other]
            largest = np.linalg.norm(difference, axis=1).max()
            share = np.corrcoef(forces[one].ravel(), forces[other].ravel())[0, 1]
            print(
                f"{one} - {other}: rms {_rms(difference):.4f}, largest {largest:.4f} eV/A, correlation {share:.5f}",
                flush=True,
            )


def _rms(forces: np.ndarray) -> float:
    return float(np.sqrt((forces**2).sum(axis=1).mean()))


if __name__ == "__main__":
    main()
