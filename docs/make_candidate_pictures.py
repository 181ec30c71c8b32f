"""Draws the pictures of candidates.md, by ``python docs/make_candidate_pictures.py``.

Every picture is made by the code that it shows; each PNG has a palette, so that all of them together stay small.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from surfshift.analysis.report.gallery import candidate_png
from surfshift.analysis.report.page import page_picture
from surfshift.structures.decorations.decorate import decorate
from surfshift.structures.decorations.settings import read_settings
from surfshift.structures.interfaces import InterfaceSettings, build_interfaces
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.slabs import cut_slabs
from surfshift.structures.undercoordination import undercoordinated_atoms

if TYPE_CHECKING:
    from surfshift.structures.vocabulary import AtomicStructure, Candidate

WIDTH = 720


def crystal(name: str) -> AtomicStructure:
    """A crystal of the library."""
    return build_crystal(load_crystal(name))


def surface(name: str, miller: tuple[int, int, int], thickness_ang: float, *steps: dict[str, object]) -> Candidate:
    """The first slab of a facet, with decorations one after the other."""
    bulk = crystal(name)
    found = cut_slabs(bulk, miller, thickness_ang=thickness_ang, vacuum_ang=8.0, parent=name, reconstruct=True)[0]
    for step in steps:
        found = decorate(found, bulk, read_settings(step))[0]
    return found


def draw(folder: Path, file: str, candidate: Candidate, *names: str) -> None:
    """Write one picture, undercoordinated atoms with a ring."""
    marked = undercoordinated_atoms(candidate, [crystal(name) for name in names])
    png = page_picture(candidate_png(candidate, marked), WIDTH)
    (folder / f"{file}.png").write_bytes(png)
    print(f"{file}: {candidate.name}, {len(candidate.structure)} atoms, {len(marked)} open, {len(png) / 1000:.0f} kB")


def main() -> None:
    """Draw all, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="names of pictures; all without any")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    berlinite, llzo, nasicon = "AlPO4_berlinite", "LLZO_tetragonal", "LiTi2P3O12"
    plan: dict[str, tuple[str, tuple[int, int, int], float, tuple[dict[str, object], ...]]] = {
        "berlinite-dry": (berlinite, (1, 0, 0), 8.0, ()),
        "berlinite-hydroxylated": (berlinite, (1, 0, 0), 8.0, ({"kind": "split_water"},)),
        "berlinite-water": (berlinite, (1, 0, 0), 8.0, ({"kind": "molecular_water", "coverage": 1.0},)),
        "berlinite-reconstructed": (berlinite, (0, 0, 1), 8.0, ()),
        "berlinite-silane": (
            berlinite,
            (1, 0, 0),
            4.0,
            ({"kind": "split_water"}, {"kind": "grafted_silane", "supercell": "auto", "max_variants": 1}),
        ),
        "ltp-012": (nasicon, (0, 1, 2), 8.0, ()),
        "llzo-exchange": (llzo, (0, 0, 1), 6.0, ({"kind": "proton_exchange", "per_face": 2},)),
        "llzo-carbonate": (llzo, (0, 0, 1), 6.0, ({"kind": "carbonate"},)),
        "li3incl6-001": ("Li3InCl6", (0, 0, 1), 8.0, ()),
    }
    for file, (name, miller, thickness_ang, steps) in plan.items():
        if not options.files or file in options.files:
            draw(options.out, file, surface(name, miller, thickness_ang, *steps), name)
    if not options.files or "coating" in options.files:
        film, substrate = (
            cut_slabs(crystal(name), (0, 0, 1), thickness_ang=thickness, parent=name, reconstruct=True)
            for name, thickness in ((berlinite, 6.0), (nasicon, 8.0))
        )
        limits = InterfaceSettings(max_area_ang2=130.0, vacuum_ang=8.0, n_shifts=3)
        best = build_interfaces(substrate, film, limits)[0]
        draw(options.out, "coating", best, nasicon, berlinite)


if __name__ == "__main__":
    main()
