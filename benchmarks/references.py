"""Compute the reference compounds of a protocol and save them as the project's own reference library.

    python benchmarks/references.py fast

Crystals keep their literature cell and have their positions relaxed as a study relaxes its candidates, so that the
errors of the potential cancel between a reference and a candidate. Every finished site is kept in
``benchmarks/run/`` and is not computed again. Prints the table of computed against published values and the fit
per isotope.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from surfshift.analysis.constants import isotope as nucleus_of
from surfshift.analysis.references import (
    ComputedCompound,
    ReferenceLibrary,
    build_library,
    published_shifts,
    residuals_ppm,
    rmse_ppm,
    save_library,
)
from surfshift.analysis.tensors import quadrupole
from surfshift.analysis.vocabulary import Relaxation, SiteTensors
from surfshift.structures.enumeration import bulk_candidate
from surfshift.structures.symmetry import SiteOrbit, distinct_sites
from surfshift.structures.vocabulary import AtomicStructure
from surfshift.workflows.engines.cluster import compute_site, method_of
from surfshift.workflows.engines.protocols import ClusterProtocol, load_protocol
from surfshift.workflows.files import write_atomically
from surfshift.workflows.relaxation import relax_candidate
from surfshift.workflows.study import RelaxSettings

HERE = Path(__file__).parent
BOX_ANG = 14.0

# equilibrium geometries (Herzberg), angstrom; the heavy atom first
MOLECULES: dict[str, tuple[tuple[str, tuple[float, float, float], float], ...]] = {
    "CH4": (
        ("C", (0.0, 0.0, 0.0), -4),
        *(
            ("H", (0.6276 * x, 0.6276 * y, 0.6276 * z), 1)
            for x, y, z in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
        ),
    ),
    "NH3": (
        ("N", (0.0, 0.0, 0.0), -3),
        ("H", (0.0, 0.9372, -0.3816), 1),
        ("H", (0.8116, -0.4686, -0.3816), 1),
        ("H", (-0.8116, -0.4686, -0.3816), 1),
    ),
    "H2O": (("O", (0.0, 0.0, 0.0), -2), ("H", (0.0, 0.7572, 0.5865), 1), ("H", (0.0, -0.7572, 0.5865), 1)),
    "HF": (("F", (0.0, 0.0, 0.0), -1), ("H", (0.0, 0.0, 0.9168), 1)),
}


def molecule(name: str) -> AtomicStructure:
    """A molecule alone in a box."""
    atoms = MOLECULES[name]
    return AtomicStructure(
        lattice_ang=((BOX_ANG, 0, 0), (0, BOX_ANG, 0), (0, 0, BOX_ANG)),
        elements=tuple(symbol for symbol, _, _ in atoms),
        frac_coords=tuple((x / BOX_ANG + 0.5, y / BOX_ANG + 0.5, z / BOX_ANG + 0.5) for _, (x, y, z), _ in atoms),
        oxidation_states=tuple(float(charge) for _, _, charge in atoms),
    )


def relaxed(name: str) -> AtomicStructure:
    """A crystal of the library with relaxed positions, relaxed once and then kept."""
    path = HERE / "run" / f"{name}-relaxed.json"
    if path.exists():
        return Relaxation.model_validate_json(path.read_text()).candidate.structure
    relaxation = relax_candidate(bulk_candidate(name), RelaxSettings())
    write_atomically(path, relaxation.model_dump_json(indent=1))
    return relaxation.candidate.structure


def compute(
    name: str, structure: AtomicStructure, orbit: SiteOrbit, protocol: ClusterProtocol, memory_mb: int
) -> SiteTensors:
    """One site, from ``benchmarks/run`` if it is there."""
    path = HERE / "run" / f"{name}-{orbit.element}{orbit.atom_indices[0]}-{structure.content_id}-{protocol.hash}.json"
    if path.exists():
        return SiteTensors.model_validate_json(path.read_text())
    site = compute_site(structure, orbit, protocol, max_memory_mb=memory_mb)
    write_atomically(path, site.model_dump_json(indent=1))
    return site


def print_table(library: ReferenceLibrary) -> None:
    """Computed against published values, and the fits."""
    print(f"\n{library.method.key}\n")
    heads = ("isotope", "compound", "sigma (ppm)", "published (ppm)", "fitted - published", "CQ (MHz), published")
    print(f"| {' | '.join((*heads, 'eta, published'))} |")
    print("|---|---|---|---|---|---|---|")
    for isotope in ("1H", "27Al", "31P"):
        if not library.matched(isotope):
            continue
        reference = library.reference(isotope)
        published = {shift.compound: shift for shift in published_shifts() if shift.isotope == isotope}
        residuals = residuals_ppm(reference)
        for row in reference.compounds:
            shift, residual = published[row.name], -residuals[row.name]
            columns = "| |"
            if shift.cq_mhz is not None:
                site = next(
                    s
                    for c in library.compounds
                    if c.structure_name == shift.crystal
                    for s in c.sites
                    if s.element == nucleus_of(isotope).element
                )
                own = quadrupole(site.efg_au[0], nucleus_of(isotope))
                columns = f"{abs(own.cq_mhz):.2f}, {shift.cq_mhz} | {own.eta:.2f}, {shift.eta_q} |"
            print(
                f"| {isotope} | {row.name} | {row.sigma_iso_ppm:.2f} | {row.delta_iso_ppm} "
                f"| {residual:+.2f} | {columns}"
            )
        print(
            f"| {isotope} | **fit** | slope {reference.slope:.4f}, intercept {reference.intercept_ppm:.2f} | "
            f"RMSE {rmse_ppm(reference):.2f} | site error {reference.site_error_ppm:.2f} | | |"
        )
    total = sum(site.cpu_seconds for compound in library.compounds for site in compound.sites)
    print(f"\ncpu: {total:.0f} s in all")


def main() -> int:
    """Compute, save and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("protocol", help="fast, balanced or stringent")
    parser.add_argument("--only", nargs="*", help="names of crystals or molecules; nothing is saved")
    parser.add_argument("--memory-mb", type=int, default=6000, help="memory for integrals")
    options = parser.parse_args()
    protocol = load_protocol(options.protocol)
    wanted: dict[str, set[str]] = {}
    for shift in published_shifts():
        name = shift.crystal or shift.molecule or ""
        if shift.isotope in {"1H", "27Al", "31P"} and (shift.crystal or name in MOLECULES):
            wanted.setdefault(name, set()).add(nucleus_of(shift.isotope).element)
    computed = []
    for name, elements in wanted.items():
        if options.only and name not in options.only:
            continue
        structure = molecule(name) if name in MOLECULES else relaxed(name)
        sites = []
        for orbit in distinct_sites(structure, elements=elements):
            site = compute(name, structure, orbit, protocol, options.memory_mb)
            sites.append(site)
            print(
                f"{name} {site.element}{site.atom_indices[0]}: sigma {site.sigma_iso_ppm:.2f} ppm, "
                f"{site.cpu_seconds:.0f} cpu s, {site.checks['n_functions']:.0f} functions",
                flush=True,
            )
        computed.append(ComputedCompound(compound=name, structure_name=name, sites=tuple(sites)))
    command = f"python benchmarks/references.py {options.protocol}"
    note = "crystals: literature cell, positions relaxed with 7net-l3i5; molecules: equilibrium geometry"
    library = build_library(computed, command=command, method=method_of(protocol), note=note)
    if not options.only:
        print(f"saved {save_library(library, HERE.parent / 'analysis' / 'data').name}")
    print_table(library)
    return 0


if __name__ == "__main__":
    sys.exit(main())
