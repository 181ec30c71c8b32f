"""Decorations of berlinite (100), Li3PO4 (010) and tetragonal LLZO (001), and three coatings, with processor time.

python benchmarks/decorations.py [--part decorations|interfaces] [--sevennet MODEL]
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from surfshift.structures.decorations.decorate import decorate
from surfshift.structures.decorations.settings import (
    Carbonate,
    DecorationSettings,
    Drying,
    Fragment,
    GraftedSilane,
    IonAdatoms,
    IonVacancies,
    MolecularWater,
    OpenBridges,
    ProtonExchange,
    SplitWater,
)
from surfshift.structures.errors import SurfshiftError
from surfshift.structures.hydroxylation import hydroxylate
from surfshift.structures.interfaces import InterfaceSettings, build_interfaces
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.library_surfaces import ordered_bulk
from surfshift.structures.slabs import cut_slabs

if TYPE_CHECKING:
    from surfshift.structures.vocabulary import AtomicStructure, Candidate

PAIRS = (
    (("LiTi2P3O12", (0, 0, 1), 6.0), ("AlPO4_berlinite", (0, 0, 1), 5.0)),
    (("LLZO_tetragonal", (0, 0, 1), 5.0), ("Li3PO4_beta", (0, 1, 0), 5.0)),
    (("Li3YCl6_trigonal", (0, 0, 1), 5.0), ("LiNbO3", (0, 0, 1), 5.0)),
)


def row(slab: Candidate, bulk: AtomicStructure, settings: DecorationSettings, label: str) -> None:
    start = time.process_time()
    try:
        made = decorate(slab, bulk, settings)
        best = made[-1] if isinstance(settings, Drying) else made[0]
        record = best.decoration_record
        change = " ".join(f"{e}{n:+d}" for e, n in record.formula_change.items()) if record else "none"
        result = f"{len(made)} | {len(best.structure)} | {change}"
    except SurfshiftError as error:
        result = f"refused: {type(error).__name__} | - | -"
    print(f"| {slab.name} | {label} | {result} | {time.process_time() - start:.1f} |", flush=True)


def decorations() -> None:
    print("| slab | decoration | variants | atoms | change | CPU s |\n|---|---|---|---|---|---|")
    berlinite = build_crystal(load_crystal("AlPO4_berlinite"))
    dry = cut_slabs(berlinite, (1, 0, 0), thickness_ang=8.0, parent="AlPO4_berlinite")[0]
    wet = hydroxylate(dry, berlinite)[0]
    row(dry, berlinite, SplitWater(coverage=0.5), "split water, half")
    row(dry, berlinite, OpenBridges(), "opened bridge")
    row(dry, berlinite, MolecularWater(), "water")
    row(dry, berlinite, MolecularWater(second_layer=1), "water, two layers")
    row(wet, berlinite, MolecularWater(on="hydroxyl"), "water on hydroxyl")
    row(dry, berlinite, Drying(), "drying series")
    for n in (1, 2, 3):
        row(wet, berlinite, GraftedSilane(n_bonds=n, supercell="auto"), f"CH3-silane, {n} bonds")
    for molecule in ("dimethyl_ether", "diglyme", "methyl_hexanoate", "caprolactone"):
        row(dry, berlinite, Fragment(molecule=molecule, supercell="auto"), molecule)
    phosphate = build_crystal(load_crystal("Li3PO4_beta"))
    slab = cut_slabs(phosphate, (0, 1, 0), thickness_ang=8.0, parent="Li3PO4_beta")[0]
    garnet = build_crystal(load_crystal("LLZO_tetragonal"))
    llzo = cut_slabs(garnet, (0, 0, 1), thickness_ang=5.0, parent="LLZO_tetragonal")[0]
    for host, bulk in ((slab, phosphate), (llzo, garnet)):
        row(host, bulk, ProtonExchange(), "H+ for Li+")
        row(host, bulk, IonVacancies(), "Li vacancy + H+")
        row(host, bulk, IonVacancies(compensation="anion"), "Li2O lost")
        row(host, bulk, IonAdatoms(), "LiOH added")
        row(host, bulk, MolecularWater(), "water")
        row(host, bulk, Carbonate(), "CO2 as carbonate")
        row(host, bulk, Carbonate(form="li2co3"), "Li2CO3 unit")
        row(host, bulk, Fragment(molecule="diglyme", supercell="auto"), "diglyme")


def interfaces(model: str, max_atoms: int) -> None:
    """Coatings on electrolytes, ranked by the ionic contact model, or the best shifts and the gap by SevenNet."""
    print("| film on substrate | atoms | area A2 | strain % | shift | gap A | score eV/A2 | energies, range | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|")
    energy = None
    if model:
        from surfshift.workflows.energies import sevennet_energy

        energy = sevennet_energy(model)
    limits = InterfaceSettings(max_strain=0.08, max_area_ang2=400.0, max_atoms=max_atoms, n_scored=4)
    for sides in PAIRS:
        slabs = [
            cut_slabs(ordered_bulk(name), miller, thickness_ang=thickness, parent=name)
            for name, miller, thickness in sides
        ]
        start = time.process_time()
        try:
            built = build_interfaces(slabs[0][:1], slabs[1][:1], limits, energy=energy, energy_name=model)
        except SurfshiftError as error:
            print(
                f"| {sides[1][0]} on {sides[0][0]} | refused: {error} | | | | | | | {time.process_time() - start:.1f} |"
            )
            continue
        for candidate in built:
            record = candidate.interface_record
            if record is not None:
                strain = " ".join(f"{100 * value:+.1f}" for value in record.strain)
                shift = " ".join(f"{value:.2f}" for value in record.shift)
                scores = [one.score_ev_per_ang2 for one in record.scan]
                scan = f"{len(scores)}, {min(scores):.4f} to {max(scores):.4f}" if scores else "-"
                print(
                    f"| {candidate.name} | {len(candidate.structure)} | {record.area_ang2:.0f} | {strain} | {shift} | "
                    f"{record.gap_ang:.2f} | {record.score_ev_per_ang2:.4f} | {scan} | "
                    f"{time.process_time() - start:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("decorations", "interfaces"))
    parser.add_argument("--sevennet", default="", metavar="MODEL", help="rank shifts and gap with it, such as 7net-0")
    parser.add_argument("--max-atoms", type=int, default=400, help="budget of an interface")
    arguments = parser.parse_args()
    if arguments.part != "interfaces":
        decorations()
    if arguments.part != "decorations":
        interfaces(arguments.sevennet, arguments.max_atoms)
