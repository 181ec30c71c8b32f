"""Benchmarks of the cluster engine, each printed as a Markdown table.

python benchmarks/engine.py stock        # own NMR step against stock PySCF GIAO, same cluster and state
python benchmarks/engine.py invariance   # rotated crystal and equivalent sites, fast protocol
python benchmarks/engine.py convergence  # shells and bases, berlinite 31P and 27Al
python benchmarks/engine.py cost         # CPU seconds and memory against sites and shells
python benchmarks/engine.py gipaw        # berlinite and beta-Li3PO4 against periodic GIPAW, balanced protocol
python benchmarks/engine.py basis        # 31P of berlinite and beta-Li3PO4 with growing bases around the target
python benchmarks/engine.py surroundings # 31P of beta-Li3PO4 with whole PO4 at the edge, and with far charges (14 GB)
python benchmarks/engine.py alpo14 ../shared/data/parsers   # sites of AlPO-14 against two periodic programs
"""

from __future__ import annotations

import argparse
import itertools
import resource
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
from references import relaxed
from scipy.spatial.transform import Rotation
from surfshift.analysis.constants import isotope
from surfshift.analysis.tensor_files import match_atoms, read_magres, read_outcar
from surfshift.analysis.tensor_files.magres import BOHR_ANG, HARTREE_EV
from surfshift.analysis.tensors import quadrupole
from surfshift.structures.bonding import Bond, find_bonds
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.symmetry import SiteOrbit, distinct_sites
from surfshift.structures.vocabulary import as_tensor3
from surfshift.workflows.engines import fragment
from surfshift.workflows.engines.cluster import compute_site, solve_scf
from surfshift.workflows.engines.coulomb import CoulombFitting
from surfshift.workflows.engines.fragment import cut_cluster
from surfshift.workflows.engines.giao import shielding_tensor
from surfshift.workflows.engines.molecule import build_molecule
from surfshift.workflows.engines.protocols import load_protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from surfshift.structures.vocabulary import AtomicStructure
    from surfshift.workflows.engines.protocols import ClusterProtocol

    Bonds = tuple[tuple[Bond, ...], ...]

FAR_ANG = 18.0
"""How far from the target ions count as point charges."""

IDENTITY = as_tensor3(np.eye(3))


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result, CPU seconds and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = function()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def berlinite_atom(element: str) -> tuple[AtomicStructure, SiteOrbit]:
    """Berlinite and its site of an element."""
    structure = build_crystal(load_crystal("AlPO4_berlinite"))
    return structure, distinct_sites(structure, elements=[element])[0]


def stock() -> None:
    """The NMR step alone: same cluster, same converged state, same nucleus."""
    from pyscf.prop.nmr import rks

    protocol = load_protocol("fast")
    structure, orbit = berlinite_atom("P")
    cluster = cut_cluster(
        structure, orbit.atom_indices[0], shells=protocol.shells, max_cap_rescaling=protocol.max_cap_rescaling
    )
    molecule = build_molecule(cluster, protocol)
    fitting = CoulombFitting(molecule.mol, molecule.auxiliary, max_memory_mb=3500)
    mean_field = solve_scf(molecule, fitting, protocol)
    ours, cpu, wall = timed(lambda: shielding_tensor(mean_field, fitting, 0))
    print(f"own: {np.trace(ours) / 3:.4f} ppm, {cpu:.1f} cpu s, {wall:.1f} wall s", flush=True)
    code = rks.NMR(mean_field)
    code.shielding_nuc, code.cphf = [0], False
    theirs, stock_cpu, stock_wall = timed(lambda: np.asarray(code.kernel())[0].T)
    print(f"stock: {np.trace(theirs) / 3:.4f} ppm, {stock_cpu:.1f} cpu s, {stock_wall:.1f} wall s")
    print(f"\ncpu ratio {stock_cpu / cpu:.1f}, isotropic difference {np.trace(ours - theirs) / 3:+.4f} ppm, ", end="")
    print(f"largest element difference {np.abs(ours - theirs).max():.4f} ppm")


def invariance() -> None:
    """Rotated crystal, and each equivalent atom computed on its own."""
    protocol = load_protocol("fast")
    structure, orbit = berlinite_atom("P")
    base = compute_site(structure, orbit, protocol)
    turn = Rotation.from_euler("xyz", [0.7, 0.2, -1.9]).as_matrix()
    turned = structure.model_copy(update={"lattice_ang": as_tensor3(structure.lattice @ turn.T)})
    alone = [SiteOrbit(element="P", atom_indices=(atom,), rotations=(IDENTITY,)) for atom in orbit.atom_indices]
    rotated = compute_site(turned, alone[0], protocol)

    def values(tensor: Any) -> Any:
        array = np.array(tensor)
        return np.linalg.eigvalsh(0.5 * (array + array.T))

    first = values(base.shielding_ppm[0])
    change = np.abs(values(rotated.shielding_ppm[0]) - first).max()
    print(f"rotated crystal, largest change of an eigenvalue: {change:.4f} ppm")
    for k, site in enumerate(alone[1:], start=1):
        own = compute_site(structure, site, protocol)
        difference = np.abs(np.array(own.shielding_ppm[0]) - np.array(base.shielding_ppm[k])).max()
        print(f"equivalent atom {orbit.atom_indices[k]}, largest element difference: {difference:.4f} ppm")


def convergence() -> None:
    """Shells and bases for berlinite."""
    print("| site | shells | target basis | outer basis | sigma (ppm) | CQ (MHz) | eta | functions | cpu s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for element in ("P", "Al"):
        structure, orbit = berlinite_atom(element)
        for shells, target, outer in (
            (1, "pcSseg-1", "6-31G"),
            (2, "pcSseg-1", "6-31G"),
            (2, "pcSseg-2", "6-31G"),
            (2, "pcSseg-2", "pcSseg-1"),
            (3, "pcSseg-1", "6-31G"),
        ):
            protocol = load_protocol("fast", shells=shells, target_basis=target, outer_basis=outer)
            site = compute_site(structure, orbit, protocol, max_memory_mb=8000)
            own = quadrupole(site.efg_au[0], isotope("27Al"))
            coupling = f"{abs(own.cq_mhz):.3f} | {own.eta:.3f}" if element == "Al" else "- | -"
            print(
                f"| {element} | {shells} | {target} | {outer} | {site.sigma_iso_ppm:.2f} | {coupling} "
                f"| {site.checks['n_functions']:.0f} | {site.cpu_seconds:.0f} |",
                flush=True,
            )


def cost() -> None:
    """CPU seconds and peak memory, one site after the other, then by shells."""
    print("| sites | cpu s | cpu s per site | peak memory (GB) |\n|---|---|---|---|")
    structure = build_crystal(load_crystal("AlPO4_berlinite"))
    orbits = [orbit for element in ("P", "Al") for orbit in distinct_sites(structure, elements=[element])]
    # the same two sites again, computed through other atoms of their orbits: more sites of one size
    sites = [
        SiteOrbit(element=o.element, atom_indices=(a,), rotations=(IDENTITY,)) for o in orbits for a in o.atom_indices
    ]
    total = 0.0
    for count, site in enumerate(sites, start=1):
        total += compute_site(structure, site, load_protocol("fast")).cpu_seconds
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"| {count} | {total:.0f} | {total / count:.1f} | {peak:.2f} |", flush=True)
    print("\n| shells | atoms | caps | functions | cpu s | peak memory (GB) |\n|---|---|---|---|---|---|")
    for shells in (1, 2):
        site_tensors = compute_site(structure, sites[0], load_protocol("fast", shells=shells))
        checks = site_tensors.checks
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"| {shells} | {checks['n_atoms']:.0f} | {checks['n_caps']:.0f} | {checks['n_functions']:.0f} "
            f"| {site_tensors.cpu_seconds:.0f} | {peak:.2f} |",
            flush=True,
        )


GIPAW_PBE = {"sigma(31P, Li3PO4) - sigma(31P, AlPO4)": -46.0}
"""Periodic GIPAW, PBE: Quantum ESPRESSO 6.7 with gipaw.x, of which positions is not on record."""


def crystal(name: str) -> AtomicStructure:
    """A crystal of the library, with ``--relaxed`` at the positions of the references."""
    return relaxed(name) if "--relaxed" in sys.argv else build_crystal(load_crystal(name))


def gipaw() -> None:
    """Differences between crystals, which another program's absolute shieldings can be compared by."""
    protocol = load_protocol("balanced")
    sigma = {}
    for name, element in (("AlPO4_berlinite", "P"), ("AlPO4_berlinite", "Al"), ("Li3PO4_beta", "P")):
        structure = crystal(name)
        site = compute_site(structure, distinct_sites(structure, elements=[element])[0], protocol, max_memory_mb=8500)
        sigma[name, element] = site.sigma_iso_ppm
        own = quadrupole(site.efg_au[0], isotope("27Al"))
        coupling = f", |CQ| {abs(own.cq_mhz):.3f} MHz, eta {own.eta:.3f}" if element == "Al" else ""
        print(
            f"{name} {element}: sigma {site.sigma_iso_ppm:.2f} ppm{coupling}, "
            f"{site.checks['n_functions']:.0f} functions, {site.cpu_seconds:.0f} cpu s",
            flush=True,
        )
    difference = sigma["Li3PO4_beta", "P"] - sigma["AlPO4_berlinite", "P"]
    for name, expected in GIPAW_PBE.items():
        print(f"{name}: {difference:.2f} ppm, GIPAW {expected} ppm, off by {difference - expected:+.2f} ppm")


BASES = (("pcSseg-1", (50, 302)), ("pcSseg-2", (60, 302)), ("pcSseg-3", (75, 434)), ("aug-pcSseg-2", (60, 302)))
"""Of target and first shell, with the grid that goes with it."""


def basis() -> None:
    """Shielding of 31P in two crystals up to the limit of the basis: with their difference."""
    print("| target basis | berlinite (ppm) | beta-Li3PO4 (ppm) | difference (ppm) | cpu s |\n|---|---|---|---|---|")
    for target, grid in BASES:
        protocol = load_protocol("fast", target_basis=target, target_grid=grid)
        sites = []
        for name in ("AlPO4_berlinite", "Li3PO4_beta"):
            structure = crystal(name)
            orbit = distinct_sites(structure, elements=["P"])[0]
            sites.append(compute_site(structure, orbit, protocol, max_memory_mb=8500))
        first, second = (site.sigma_iso_ppm for site in sites)
        seconds = sum(site.cpu_seconds for site in sites)
        print(f"| {target} | {first:.2f} | {second:.2f} | {second - first:+.2f} | {seconds:.0f} |", flush=True)


def surroundings() -> None:
    """Does what lies at and beyond the edge of a lithium-rich cluster matter? 31P of beta-Li3PO4, fast protocol."""
    protocol = load_protocol("fast")
    structure = build_crystal(load_crystal("Li3PO4_beta"))
    target = distinct_sites(structure, elements=["P"])[0].atom_indices[0]
    bonds = find_bonds(structure)
    core = fragment._grow(structure, bonds, target, protocol.shells)

    def line(what: str, core: set[fragment.Node], charges: Sequence[tuple[NDArray[np.float64], float]] = ()) -> None:
        with mock.patch.object(fragment, "_grow", return_value=core):
            cluster = cut_cluster(structure, target, shells=protocol.shells, max_cap_rescaling=0.5)
        result, cpu, _ = timed(lambda: shielding_among_charges(cluster, protocol, charges))
        sizes = f"{len(cluster.elements)} | {len(cluster.cap_charges)}"
        print(f"| {what} | {sizes} | {result[0]:.2f} | {result[1]:.2f} | {cpu:.0f} |", flush=True)

    print("| surroundings | atoms | caps | sigma (ppm) | gap (eV) | cpu s |\n|---|---|---|---|---|---|")
    line("as the protocol has them", core)
    line("half the far ions' charges", core, far_charges(structure, bonds, core, target, share=0.5))
    line("whole PO4 at the edge", core | _cut_units(structure, bonds, core))


def _cut_units(structure: AtomicStructure, bonds: Bonds, core: set[fragment.Node]) -> set[fragment.Node]:
    """Cations with a strong bond to an anion that the core holds by weak bonds only, and their anions."""
    shares, units = fragment.bond_charges(structure, bonds), set[fragment.Node]()

    def share(cation: fragment.Node, anion: fragment.Node) -> float:
        own = fragment._neighbours(bonds, cation)
        return shares[cation[0], own.index(anion)]

    for anion in core:
        if structure.oxidation_states[anion[0]] < 0:
            cations = fragment._neighbours(bonds, anion)
            if max(share(c, anion) for c in cations if c in core) < 0.5:
                strong = [c for c in cations if c not in core and share(c, anion) >= 1.0]
                units.update(strong, *(fragment._neighbours(bonds, c) for c in strong))
    return units


def far_charges(
    structure: AtomicStructure, bonds: Bonds, core: set[fragment.Node], target: int, *, share: float
) -> list[tuple[NDArray[np.float64], float]]:
    """Point charges of the bonds between lost ions within ``FAR_ANG``: a share of the bond valence at both ends.

    Every bond is neutral, so that the sum over a sphere is. Positions in angstrom, relative to the target.
    """
    shares, frac = fragment.bond_charges(structure, bonds), np.array(structure.frac_coords)
    reach = np.ceil(FAR_ANG * np.linalg.norm(np.linalg.inv(structure.lattice), axis=0)).astype(int) + 1
    images = [tuple(int(n) for n in np.array(index) - reach) for index in np.ndindex(*(2 * reach + 1))]

    def place(node: fragment.Node) -> NDArray[np.float64]:
        position: NDArray[np.float64] = (frac[node[0]] + np.array(node[1]) - frac[target]) @ structure.lattice
        return position

    charges = []
    for i, image in itertools.product(range(len(frac)), images):
        cation: fragment.Node = (i, (image[0], image[1], image[2]))
        if structure.oxidation_states[i] < 0 or cation in core or np.linalg.norm(place(cation)) > FAR_ANG:
            continue
        for k, anion in enumerate(fragment._neighbours(bonds, cation)):
            if anion not in core:
                charges += [(place(cation), share * shares[i, k]), (place(anion), -share * shares[i, k])]
    return charges


def shielding_among_charges(
    cluster: fragment.Cluster, protocol: ClusterProtocol, charges: Sequence[tuple[NDArray[np.float64], float]]
) -> tuple[float, float]:
    """Isotropic shielding (ppm) and gap (eV) of a cluster among point charges."""
    from pyscf import gto

    frame = fragment.local_frame(cluster).T
    turned = replace(
        cluster,
        positions_ang=cluster.positions_ang @ frame,
        cap_positions_ang=cluster.cap_positions_ang @ frame,
    )
    molecule = build_molecule(turned, protocol)
    mol = molecule.mol
    among = mol.copy()
    for position, charge in charges:
        row = np.zeros((1, among._atm.shape[1]), dtype=among._atm.dtype)
        row[0, gto.NUC_MOD_OF] = gto.NUC_FRAC_CHARGE
        row[0, gto.PTR_COORD], row[0, gto.PTR_FRAC_CHARGE] = len(among._env), len(among._env) + 3
        among._env = np.append(among._env, [*(position @ frame / BOHR_ANG), charge])
        among._atm = np.vstack([among._atm, row])
    for name in ("intor", "intor_symmetric", "intor_asymmetric"):
        own, other = getattr(mol, name), getattr(among, name)

        def integrals(kind: str, *rest: Any, own: Any = own, other: Any = other, **options: Any) -> Any:
            return (other if kind in ("int1e_nuc", "int1e_ignuc") else own)(kind, *rest, **options)

        setattr(mol, name, integrals)
    fitting = CoulombFitting(mol, molecule.auxiliary, max_memory_mb=13000)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Function mol.dumps drops attribute")
        mean_field = solve_scf(molecule, fitting, protocol)
    energies, occupied = mean_field.mo_energy, mean_field.mo_occ > 0
    gap = HARTREE_EV * float(energies[~occupied].min() - energies[occupied].max())
    return float(np.trace(shielding_tensor(mean_field, fitting, 0)) / 3), gap


def alpo14() -> None:
    """Every 31P and 27Al site of AlPO-14, same geometry, against CASTEP (PBEsol) and VASP (PBE)."""
    if len(sys.argv) < 3:
        sys.exit("alpo14 needs the folder that holds castep/AlPO-14.magres and vasp/AlPO-14.OUTCAR")
    folder = Path(sys.argv[2])
    castep = read_magres(folder / "castep" / "AlPO-14.magres")
    vasp = read_outcar(folder / "vasp" / "AlPO-14.OUTCAR")
    structure = castep.structure(oxidation_states={"Al": 3.0, "P": 5.0, "O": -2.0})
    order = match_atoms(structure, vasp, name="AlPO-14.OUTCAR").order
    print(
        "| site | cluster, fast (ppm) | CASTEP (ppm) | VASP (ppm) | CQ cluster, CASTEP (MHz) |\n|---|---|---|---|---|"
    )
    found: dict[str, list[tuple[float, float, float]]] = {"P": [], "Al": []}
    for orbit in distinct_sites(structure, elements=["P", "Al"]):
        site = compute_site(structure, orbit, load_protocol("fast"))
        atom = orbit.atom_indices[0]
        values = (site.sigma_iso_ppm, float(castep.sigma_iso_ppm[atom]), float(vasp.sigma_iso_ppm[order[atom]]))
        found[orbit.element].append(values)
        couplings = [abs(quadrupole(efg, isotope("27Al")).cq_mhz) for efg in (site.efg_au[0], castep.efg_au[atom])]
        shown = f"{couplings[0]:.2f}, {couplings[1]:.2f}" if orbit.element == "Al" else "-"
        print(f"| {orbit.element}{atom} | {values[0]:.2f} | {values[1]:.2f} | {values[2]:.2f} | {shown} |", flush=True)
    for element, rows in found.items():
        cluster, first, second = np.array(rows).T
        print(f"{element}: slope of CASTEP against cluster {np.polyfit(cluster, first, 1)[0]:.3f}, ", end="")
        print(f"of VASP {np.polyfit(cluster, second, 1)[0]:.3f}, ", end="")
        print(f"of CASTEP against VASP {np.polyfit(second, first, 1)[0]:.3f}")


COMMANDS = {
    "alpo14": alpo14,
    "basis": basis,
    "gipaw": gipaw,
    "surroundings": surroundings,
    "stock": stock,
    "invariance": invariance,
    "convergence": convergence,
    "cost": cost,
}


def main() -> int:
    """Run the benchmark named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=COMMANDS)
    parser.add_argument("data", nargs="?", help="folder with files of other programs, for alpo14")
    parser.add_argument("--relaxed", action="store_true", help="relaxed positions, for gipaw and basis")
    COMMANDS[parser.parse_args().benchmark]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
