"""Tensors of moving atoms against those of resting ones: 27Al and 31P of berlinite, 35Cl of the argyrodite Li6PS5Cl.

Usage: python benchmarks/finite_temperature.py FOLDER {berlinite,argyrodite} [--snapshots 8] [--steps 600]
           [--temperature 300] [--timestep 2] [--elements P] [--part dynamics|molecular|harmonic|all]

SevenNet (7net-0) moves the primitive cell, the cluster engine computes one atom per snapshot. Trajectory and tensors
are kept in FOLDER; a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
from surfshift.analysis.constants import isotope
from surfshift.analysis.tensors import herzfeld_berger, quadrupole
from surfshift.analysis.vocabulary import Relaxation
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.symmetry import SiteOrbit, distinct_sites
from surfshift.structures.vocabulary import AtomicStructure, Candidate, Region, as_tensor3
from surfshift.workflows.dynamics import DynamicsSettings, run_dynamics
from surfshift.workflows.engines.protocols import ClusterProtocol, load_protocol
from surfshift.workflows.files import write_atomically
from surfshift.workflows.finite_temperature import (
    AveragedSite,
    AverageSettings,
    average_site,
    combine,
    harmonic_snapshots,
    snapshot_tensors,
)
from surfshift.workflows.interatomic import sevennet
from surfshift.workflows.motion_figures import draw_average
from surfshift.workflows.phonons import PhononSettings, run_phonons
from surfshift.workflows.relaxation import relax_candidate
from surfshift.workflows.study import RelaxSettings

MODEL = "7net-0"


def argyrodite() -> AtomicStructure:
    """Li6PS5Cl in its primitive cell, six of the twelve lithium places around the sulfide taken.

    Cell and positions as of Kraft et al., J. Am. Chem. Soc. 139, 10909 (2017), rounded; chloride on 4a and sulfide on
    4c without exchange. Of each pair of 48h places 1.9 A apart one is taken, such that lithium repels itself least.
    """
    from ase.spacegroup import crystal

    atoms = crystal(
        ("Cl", "P", "S", "S", "Li"),
        [(0, 0, 0), (0, 0, 0.5), (0.25, 0.25, 0.25), (0.6195, 0.6195, 0.6195), (0.183, 0.183, 0.024)],
        spacegroup=216,
        cellpar=[9.86, 9.86, 9.86, 90, 90, 90],
        primitive_cell=True,
    )
    lithium = np.flatnonzero(atoms.symbols == "Li")
    distances = atoms.get_all_distances(mic=True)[np.ix_(lithium, lithium)] + 1e9 * np.eye(len(lithium))
    partner = distances.argmin(axis=1)
    pairs = [(k, int(partner[k])) for k in range(len(lithium)) if k < partner[k]]
    best = min(itertools.product(*pairs), key=lambda taken: (1.0 / distances[np.ix_(taken, taken)]).sum())
    del atoms[[int(lithium[k]) for k in range(len(lithium)) if k not in best]]
    charges = {"Li": 1.0, "P": 5.0, "S": -2.0, "Cl": -1.0}
    return AtomicStructure(
        lattice_ang=as_tensor3(np.array(atoms.cell)),
        elements=tuple(atoms.get_chemical_symbols()),
        frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in atoms.get_scaled_positions()),
        oxidation_states=tuple(charges[symbol] for symbol in atoms.get_chemical_symbols()),
    )


def relaxed(name: str, structure: AtomicStructure, folder: Path, calculator: object) -> AtomicStructure:
    """Positions relaxed in the published cell, from the file if it is there."""
    path = folder / "rest.json"
    if not path.exists():
        start = Candidate(
            name=name, kind="bulk", structure=structure, parent=name, regions=(Region.BULK,) * len(structure)
        )
        settings = RelaxSettings(model=MODEL, fmax_ev_per_ang=0.005, max_steps=400)
        done = relax_candidate(start, settings, calculator=calculator)  # type: ignore[arg-type]
        write_atomically(path, done.model_dump_json())
    return Relaxation.model_validate_json(path.read_text(encoding="utf-8")).candidate.structure


def harmonic(
    structure: AtomicStructure,
    orbit: SiteOrbit,
    nucleus: str,
    settings: AverageSettings,
    folder: Path,
    *,
    calculator: object,
    protocol: ClusterProtocol,
) -> AveragedSite:
    """The same average over quantum harmonic vibrations at the wave vectors of the same cell."""
    begun = time.process_time()
    phonons, _ = run_phonons(
        structure,
        PhononSettings(mesh=(1, 1, 1), max_force_ev_per_ang=0.02),
        folder / "forces",
        calculator=calculator,  # type: ignore[arg-type]
        model=MODEL,
    )
    forces_cpu = time.process_time() - begun
    drawn = harmonic_snapshots(
        structure,
        phonons,
        orbit,
        temperature_k=settings.dynamics.temperature_k,
        n_snapshots=settings.n_snapshots,
        seed=1,
    ).model_copy(update={"cpu_seconds": forces_cpu})
    static, tensors, failed = snapshot_tensors(structure, orbit, drawn.snapshots, folder, protocol, report=say)
    return combine(nucleus, orbit, drawn, static=static, tensors=tensors, failed=failed)


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)


def tell(site: AveragedSite) -> None:
    """A site's numbers, at rest and averaged."""
    nucleus = isotope(site.isotope)
    average = site.average
    span = herzfeld_berger(-np.array(site.static.shielding_ppm[0])).span_ppm
    say(f"{site.isotope}, {site.source}, {site.temperature_k:.0f} K, {average.n_samples} snapshots")
    say(
        f"  run {site.simulated_fs / 1000:.2f} ps at {site.mean_temperature_k:.0f} K, decorrelation "
        f"{site.decorrelation_fs:.0f} fs, inefficiency {average.inefficiency:.2f}"
    )
    say(
        f"  sigma_iso {site.static.sigma_iso_ppm:.2f} -> {average.sigma_iso_ppm:.2f} +- "
        f"{average.sigma_iso_error_ppm:.2f} ppm (spread {average.sigma_iso_spread_ppm:.2f})"
    )
    say(f"  span {span:.1f} -> {average.span_ppm:.1f} +- {average.span_error_ppm:.1f} ppm")
    if nucleus.quadrupole_barn:
        rest = quadrupole(site.static.efg_au[0], nucleus)
        say(
            f"  |CQ| {abs(rest.cq_mhz):.2f} -> {average.cq_mhz:.2f} +- {average.cq_error_mhz:.2f} MHz, single "
            f"snapshots {average.cq_rigid_mhz:.2f}, noise {average.cq_noise_mhz:.2f}; "
            f"eta {rest.eta:.2f} -> {average.eta:.2f} +- {average.eta_error:.2f}"
        )
    say(f"  cpu: dynamics {site.motion_cpu_seconds:.0f} s, tensors {site.tensors_cpu_seconds:.0f} s")
    say(f"  hops {site.hops}; failed {site.failed}; flags {site.flags}")


def main() -> None:
    """Relax, move, compute, average, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("material", choices=("berlinite", "argyrodite"))
    parser.add_argument("--snapshots", type=int, default=8)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--temperature", type=float, default=300.0)
    parser.add_argument("--timestep", type=float, default=2.0, help="fs")
    parser.add_argument("--elements", nargs="*", help="only these, for example P")
    parser.add_argument("--part", default="all", choices=("dynamics", "molecular", "harmonic", "all"))
    options = parser.parse_args()
    folder = options.folder / f"{options.material}-{options.temperature:g}"
    folder.mkdir(parents=True, exist_ok=True)
    calculator = sevennet(MODEL)
    settings = AverageSettings(
        n_snapshots=options.snapshots,
        dynamics=DynamicsSettings(
            temperature_k=options.temperature,
            timestep_fs=options.timestep,
            friction_per_fs=0.02,
            equilibration_steps=75,
            steps=options.steps,
            save_every=3,
            chunk_steps=15,
        ),
    )
    if options.material == "berlinite":
        structure = relaxed("berlinite", build_crystal(load_crystal("AlPO4_berlinite")), folder, calculator)
        protocol = load_protocol("fast")
        wanted = {"Al": "27Al", "P": "31P"}
    else:
        structure = relaxed("Li6PS5Cl", argyrodite(), folder, calculator)
        # two shells of cations around chloride are a hundred atoms and more; one shell holds lithium and its anions
        protocol = load_protocol("fast", shells=1)
        wanted = {"Cl": "35Cl"}
    if options.elements:
        wanted = {element: nucleus for element, nucleus in wanted.items() if element in options.elements}
    if options.part == "dynamics":
        run_dynamics(structure, settings.dynamics, folder / "dynamics", calculator, model=MODEL, report=say)
        return
    for orbit in distinct_sites(structure, elements=wanted):
        nucleus = wanted[orbit.element]
        if options.part in ("molecular", "all"):
            site = average_site(
                structure,
                orbit,
                nucleus,
                settings,
                folder,
                calculator=calculator,
                protocol=protocol,
                model=MODEL,
                report=say,
            )
            finish(site, folder, options.material)
        if options.part in ("harmonic", "all") and options.material == "berlinite":
            site = harmonic(structure, orbit, nucleus, settings, folder, calculator=calculator, protocol=protocol)
            finish(site, folder, options.material)


def finish(site: AveragedSite, folder: Path, material: str) -> None:
    """Print, keep and draw a site."""
    tell(site)
    word = site.source.split()[0]
    write_atomically(folder / f"{site.isotope}-{word}.json", site.model_dump_json())
    draw_average(site, folder / f"{site.isotope}-{word}.png", title=f"{material}, {site.isotope}")


if __name__ == "__main__":
    main()
