"""AlPO4 (100), dry and hydroxylated: energies by SevenNet, and the temperature at which the surface dries.

Usage: python benchmarks/terminations.py FOLDER [--model 7net-l3i5] [--thickness 10] [--fmax 0.03] [--finished]

Every step of a relaxation is kept in FOLDER; a run that was stopped goes on there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

from surfshift.analysis.thermodynamics.figures import draw_line_diagram, draw_map
from surfshift.analysis.thermodynamics.gases import ambient_air, dried_in_air, dried_in_vacuum, glovebox
from surfshift.analysis.thermodynamics.stability import stable_termination, transition_temperature
from surfshift.analysis.thermodynamics.surface import Reservoir, SlabEnergy, State, SurfaceSystem
from surfshift.analysis.thermodynamics.vibrations import THZ_PER_CM
from surfshift.analysis.vocabulary import Relaxation
from surfshift.structures.hydroxylation import hydroxylate
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.slabs import cut_slabs
from surfshift.structures.vocabulary import AtomicStructure, Candidate, Region
from surfshift.workflows.files import write_atomically
from surfshift.workflows.interatomic import sevennet
from surfshift.workflows.relaxation import RelaxationError, relax_candidate
from surfshift.workflows.study import RelaxSettings

WATER_ERROR_EV = 0.18
"""0.15 eV of the potential and 0.1 eV of the estimated vibrations, per molecule."""

HYDROXYL_MODES_CM = (3800.0, 3680.0, 1100.0, 950.0, 800.0, 300.0, 300.0, 250.0, 250.0)
"""Vibrations that a split molecule adds, 1/cm. Stretches of Al-OH and P-OH after Peri, Discuss. Faraday Soc. 52, 55
(1971), recalled; the other seven are estimates: bends of both, a stretch, torsions, bends of the new Al-O. Without them
the zero-point energy of the gas, 0.56 eV per molecule, would count as binding."""

FACE_ERROR_EV_PER_ANG2 = 0.003


def kept(path: Path, candidate: Candidate, settings: RelaxSettings, calculator: object) -> Relaxation:
    """The relaxation of a candidate, from its file if it is there."""
    if not path.exists():
        begun = time.process_time()
        done = relax_candidate(
            candidate,
            settings,
            calculator=calculator,  # type: ignore[arg-type]
            checkpoint=path.with_suffix(".part.json"),
        )
        write_atomically(path, done.model_dump_json())
        print(
            f"{candidate.name}: {done.energy_ev:.4f} eV, {done.n_steps} steps, {time.process_time() - begun:.0f} cpu s",
            flush=True,
        )
        for note in done.candidate.notes:
            print(f"  {note}", flush=True)
    return Relaxation.model_validate_json(path.read_text(encoding="utf-8"))


def water_energy(path: Path, calculator: object) -> float:
    """Energy of the relaxed molecule, eV, from its file if it is there."""
    from ase.build import molecule
    from ase.optimize import LBFGS

    if not path.exists():
        water = molecule("H2O", vacuum=7.0)
        water.pbc = True
        water.calc = calculator
        LBFGS(water, logfile=None).run(fmax=0.005, steps=100)
        write_atomically(path, json.dumps({"energy_ev": float(water.get_potential_energy())}))
    return float(json.loads(path.read_text(encoding="utf-8"))["energy_ev"])


def main() -> None:
    """Relax, print gamma and the transition, draw the diagrams."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="7net-l3i5", choices=("7net-l3i5", "7net-0"))
    parser.add_argument("--thickness", type=float, default=10.0, help="angstrom")
    parser.add_argument("--fmax", type=float, default=0.03, help="eV/angstrom")
    parser.add_argument("--finished", action="store_true", help="report on what is relaxed, relax nothing")
    options = parser.parse_args()
    folder = options.folder / f"{options.model}-{options.thickness:g}"
    folder.mkdir(parents=True, exist_ok=True)
    if not options.finished:
        relax_all(options, folder)
    bulk = Relaxation.model_validate_json((folder / "bulk.json").read_text(encoding="utf-8"))
    water = float(json.loads((folder / "water.json").read_text(encoding="utf-8"))["energy_ev"])
    slabs = []
    for name in ("dry", "half hydroxylated", "hydroxylated"):
        path = slab_file(folder, name)
        if path.exists():
            slabs.append(as_energy(name, Relaxation.model_validate_json(path.read_text(encoding="utf-8"))))
    n_formula = len(bulk.candidate.structure) // 6
    system = SurfaceSystem(
        slabs=tuple(slabs),
        reservoirs=(
            Reservoir(
                name="AlPO4",
                kind="bulk",
                composition={"Al": 1, "P": 1, "O": 4},
                energy_ev=bulk.energy_ev / n_formula,
            ),
            Reservoir(name="H2O", kind="gas", composition={"H": 2, "O": 1}, energy_ev=water, error_ev=WATER_ERROR_EV),
        ),
    )
    write_atomically(folder / "system.json", system.model_dump_json(indent=1))
    report(system, folder)


def relax_all(options: argparse.Namespace, folder: Path) -> None:
    """Relax what is not relaxed yet."""
    calculator = sevennet(options.model)
    slabs_settings = RelaxSettings(model=options.model, fmax_ev_per_ang=options.fmax, max_steps=400)
    bulk_settings = slabs_settings.model_copy(update={"relax_bulk_cell": True, "fmax_ev_per_ang": 0.01})

    crystal = build_crystal(load_crystal("AlPO4_berlinite"))
    start = Candidate(
        name="berlinite",
        kind="bulk",
        structure=crystal,
        parent="AlPO4_berlinite",
        regions=(Region.BULK,) * len(crystal),
    )
    bulk = kept(folder / "bulk.json", start, bulk_settings, calculator)
    water_energy(folder / "water.json", calculator)
    dry = cut_slabs(bulk.candidate.structure, (1, 0, 0), thickness_ang=options.thickness, parent="AlPO4")[0]
    wet = hydroxylate(dry, bulk.candidate.structure, coverage=1.0, max_variants=1)[0]
    half = hydroxylate(dry, bulk.candidate.structure, coverage=0.5, max_variants=1)[0]
    for name, candidate in (("dry", dry), ("hydroxylated", wet), ("half hydroxylated", half)):
        try:
            kept(slab_file(folder, name), candidate, slabs_settings, calculator)
        except RelaxationError as error:
            print(f"{name}: left out, {error}")


def slab_file(folder: Path, name: str) -> Path:
    """Where a relaxed slab is kept."""
    return folder / f"{name.replace(' ', '-')}.json"


def as_energy(name: str, relaxed: Relaxation) -> SlabEnergy:
    """The words of a relaxed slab that thermodynamics needs."""
    structure: AtomicStructure = relaxed.candidate.structure
    modes = tuple(THZ_PER_CM * wave_number for wave_number in HYDROXYL_MODES_CM)
    return SlabEnergy(
        name=name,
        composition=dict(Counter(structure.elements)),
        energy_ev=relaxed.energy_ev,
        area_ang2=relaxed.candidate.area_ang2,
        miller=relaxed.candidate.miller,
        error_ev_per_ang2=FACE_ERROR_EV_PER_ANG2,
        modes_thz=modes * (structure.elements.count("H") // 2),
    )


def report(system: SurfaceSystem, folder: Path) -> None:
    """Print and draw what the energies say."""
    for place in (ambient_air(), glovebox(), dried_in_air(), dried_in_vacuum()):
        state = State(temperature_k=place.temperature_k, pressures_bar={"H2O": place.water_bar})
        verdict = stable_termination(system, state)
        values = ", ".join(
            f"{name} {16.02177 * gamma:.2f}"
            for name, gamma in zip(verdict.energies.names, verdict.energies.gamma_ev_per_ang2, strict=True)
        )
        print(f"{place.description}: {verdict.name} ({100 * verdict.probability:.0f} %); J/m2: {values}")
    known = [slab.name for slab in system.slabs]
    pairs = [("dry", "hydroxylated"), ("dry", "half hydroxylated"), ("half hydroxylated", "hydroxylated")]
    for first, second in pairs:
        if not {first, second} <= set(known):
            continue
        for bar in (1e-9, 1e-6, 1e-3, 0.0158):
            change = transition_temperature(system, State(pressures_bar={"H2O": bar}), first, second)
            print(f"{first} and {second}, p(H2O) {bar:g} bar: {change}")
    for slab in system.slabs[1:]:
        n_water = slab.composition.get("H", 0) // 2
        gain = slab.energy_ev - system.slabs[0].energy_ev - n_water * system.reservoirs[1].energy_ev
        print(f"{slab.name}: {n_water} split molecules, {gain / max(1, n_water):.3f} eV each")
    temperatures = [float(t) for t in range(150, 1001, 10)]
    draw_line_diagram(
        system,
        [State(temperature_k=t, pressures_bar={"H2O": 1e-6}) for t in temperatures],
        folder / "line.png",
        x=temperatures,
        x_label="temperature / K, at 1e-6 bar H2O",
    )
    draw_map(
        system,
        lambda t, logarithm: State(temperature_k=t, pressures_bar={"H2O": 10**logarithm}),
        folder / "map.png",
        x=temperatures,
        y=[-10.0 + 0.125 * k for k in range(81)],
        x_label="temperature / K",
        y_label="log10 p(H2O) / bar",
        title="AlPO4 (100)",
    )


if __name__ == "__main__":
    main()
