"""Slabs against pymatgen's SlabGenerator with bonds and repair: time, whole units, terminations, dipoles.

    python benchmarks/slabs.py [--thickness 10] [--crystals berlinite,LTP] [--data FOLDER] [--json out.json]

Both programs cut the same crystals in one process; the times are CPU seconds. Every face of every slab that pymatgen
finds is looked up among the faces of ``cut_slabs(every=True)`` by the element, depth and number of bonds of all atoms
down to 5 angstrom (at most to the middle of the thinner slab); a face that is not found counts as missing unless its
slab has a broken unit.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from surfshift.structures.bonding import find_bonds
from surfshift.structures.importing import read_structure
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.slabs import DIPOLE_TOLERANCE_E_ANG, cut_slabs
from surfshift.structures.vocabulary import AtomicStructure

if TYPE_CHECKING:
    from pymatgen.core.surface import Slab

DEPTH_ANG = 5.0
TOLERANCE_ANG = 0.05

# crystal: file beside the project (or library name), unit (centre, ligand, number, longest bond), facets
CASES = {
    "berlinite": ("AlPO4_berlinite", ("P5+", "O2-", 4, 1.8), [(0, 0, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0)]),
    "LTP": ("LiTi2(PO4)3.cif", ("P5+", "O2-", 4, 1.8), [(0, 1, 2), (0, 0, 1), (1, 0, 0), (1, 0, 4)]),
    "Li3InCl6": ("Li3InCl6.cif", ("In3+", "Cl-", 6, 2.9), [(0, 0, 1), (1, 1, 0)]),
    "t-LLZO": ("LLZO_tetragonal.cif", ("Zr4+", "O2-", 6, 2.5), [(0, 0, 1), (1, 1, 0)]),
}

Face = tuple[float, float, dict[tuple[str, int], np.ndarray]]
"""Area, depth to which it is known, and sorted depths of the atoms of every element and number of bonds."""


def faces_of(structure: AtomicStructure, heights: np.ndarray, area: float) -> tuple[Face, Face]:
    """The upper and the lower face of a slab, each down to half of its height, where the other one has no say."""
    known = min(DEPTH_ANG, float(np.ptp(heights)) / 2)
    counts = [len(bonds) for bonds in find_bonds(structure)]
    found = []
    for depths in (heights.max() - heights, heights - heights.min()):
        groups: dict[tuple[str, int], list[float]] = {}
        for element, count, depth in zip(structure.elements, counts, depths, strict=True):
            if depth <= known:
                groups.setdefault((element, count), []).append(float(depth))
        found.append((area, known, {key: np.sort(values) for key, values in groups.items()}))
    return found[0], found[1]


def same_face(first: Face, second: Face, cell_area: float) -> bool:
    """Whether two faces hold the same atoms per area at the same depths."""
    repeats = [round(face[0] / cell_area) for face in (first, second)]
    depth = min(first[1], second[1])
    for key in {*first[2], *second[2]}:
        a = np.repeat(first[2].get(key, np.empty(0)), repeats[1])
        b = np.repeat(second[2].get(key, np.empty(0)), repeats[0])
        a, b = a[a <= depth], b[b <= depth]
        n = min(len(a), len(b))
        if n and np.abs(a[:n] - b[:n]).max() > TOLERANCE_ANG:
            return False
        # an atom at the very end of the depth may be counted in one face only
        if any((rest < depth - TOLERANCE_ANG).any() for rest in (a[n:], b[n:])):
            return False
    return True


def whole(structure: AtomicStructure, unit: tuple[str, str, int, float]) -> tuple[int, int]:
    """Number of whole units and of units."""
    centre, ligand = unit[0].rstrip("0123456789+-"), unit[1].rstrip("0123456789+-")
    bonds = find_bonds(structure)
    centres = [i for i, element in enumerate(structure.elements) if element == centre]
    good = [i for i in centres if sum(structure.elements[b.j] == ligand for b in bonds[i]) == unit[2]]
    return len(good), len(centres)


def run(name: str, data: Path, thickness: float) -> list[dict[str, object]]:
    """One row per facet."""
    from pymatgen.core.surface import SlabGenerator

    source, unit, facets = CASES[name]
    bulk = read_structure(data / source) if source.endswith(".cif") else build_crystal(load_crystal(source))
    given = bulk.to_pymatgen()
    keep = ("ZrO6",) if name == "t-LLZO" else ()
    rows = []
    for facet in facets:
        start = time.process_time()
        every = cut_slabs(bulk, facet, thickness_ang=thickness, parent=name, every=True, keep_units=keep)
        own_seconds = time.process_time() - start
        start = time.process_time()
        moved = cut_slabs(bulk, facet, thickness_ang=thickness, parent=name, reconstruct=True, keep_units=keep)
        moved_seconds = time.process_time() - start
        start = time.process_time()
        generator = SlabGenerator(given, facet, thickness, 15.0, center_slab=True, primitive=True)
        theirs: list[Slab] = generator.get_slabs(bonds={unit[:2]: unit[3]}, repair=True)
        their_seconds = time.process_time() - start

        cell_area = min(slab.area_ang2 for slab in every)
        own_faces = [face for s in every for face in faces_of(s.structure, s.structure.cart_coords[:, 2], s.area_ang2)]
        own_units = np.sum([whole(s.structure, unit) for s in (*every, *moved)], axis=0)
        their_units = np.zeros(2, dtype=int)
        missing, broken, flat = [], 0, 0
        for number, slab in enumerate(theirs):
            structure = AtomicStructure.from_pymatgen(slab)
            units = whole(structure, unit)
            their_units += units
            flat += abs(float(slab.dipole @ slab.normal)) < DIPOLE_TOLERANCE_E_ANG
            if units[0] < units[1]:
                broken += 1
                continue
            heights = slab.cart_coords @ slab.normal
            for side, face in zip(("upper", "lower"), faces_of(structure, heights, slab.surface_area), strict=True):
                if not any(same_face(face, own, cell_area) for own in own_faces):
                    missing.append(f"{number} {side}")
        rows.append(
            {
                "crystal": name,
                "facet": "".join(map(str, facet)),
                "pymatgen_s": round(their_seconds, 2),
                "all_terminations_s": round(own_seconds, 3),
                "zero_dipole_s": round(moved_seconds, 3),
                "pymatgen_slabs": len(theirs),
                "pymatgen_units_whole": f"{their_units[0]}/{their_units[1]}",
                "pymatgen_slabs_with_broken_units": broken,
                "pymatgen_flat": flat,
                "slabs": len(every),
                "faces": len({face for s in every if s.slab_info for face in s.slab_info.faces}),
                "units_whole": f"{own_units[0]}/{own_units[1]}",
                "flat": sum(abs(s.dipole_e_ang) < DIPOLE_TOLERANCE_E_ANG for s in every),
                "flat_chosen": [f"{s.name.rsplit('-', 1)[1]}" for s in moved if abs(s.dipole_e_ang) < 0.05],
                "missing": missing,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Run the comparison and print its sums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--thickness", type=float, default=10.0, help="angstrom")
    parser.add_argument("--crystals", default=",".join(CASES))
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared/data/crystals")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    # both programs import what they need before the clock runs
    cut_slabs(build_crystal(load_crystal("LiOH")), (0, 0, 1), thickness_ang=4.0, parent="x", reconstruct=True)
    rows = [row for name in options.crystals.split(",") for row in run(name, options.data, options.thickness)]
    own, theirs = (sum(float(str(row[key])) for row in rows) for key in ("all_terminations_s", "pymatgen_s"))
    moved = sum(float(str(row["zero_dipole_s"])) for row in rows)
    print(f"pymatgen {theirs:.1f} s, all terminations {own:.2f} s ({theirs / own:.0f}x),", end=" ")
    print(f"with reconstruction {own + moved:.2f} s ({theirs / (own + moved):.0f}x)")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
