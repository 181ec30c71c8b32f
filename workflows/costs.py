"""What candidates will cost: processor seconds, estimated from measured ones.

These are estimates: one thread, the machine on which the shipped references were computed. Compare ratios, and expect
the absolute number to be wrong by a factor of two.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ..structures.accepting import as_structure
from ..structures.errors import SurfshiftError
from .study import element_of

if TYPE_CHECKING:
    from ..structures.accepting import StructureLike
    from ..structures.vocabulary import AtomicStructure, Candidate
    from .engines.fragment import Cluster
    from .engines.periodic import PeriodicSettings
    from .engines.protocols import ClusterProtocol
    from .study import NmrSettings, StudyFile

MAX_CUT_SITES = 6
"""So many sites of an element are cut as clusters; the others count as their mean."""

RELAX_SECONDS_PER_ATOM = {"7net-l3i5": 0.060, "7net-0": 0.019, "chgnet": 0.010}
"""Energy and forces of AlPO4 slabs of 30 to 174 atoms, processor seconds per atom; denser crystals take up to a third
more."""

TYPICAL_STEPS = 120
"""Relaxation steps of a slab; dry berlinite (100) takes 131 to 135 to 0.05 and 0.1 eV per angstrom."""

PROTOCOL_FACTORS = {"fast": 1.0, "balanced": 1.5, "stringent": 2.0, "hybrid": 25.0}
"""Finer grids at an equal number of functions, for ``hybrid`` NWChem without density fitting (20 times PySCF on nine
centres). That of ``stringent`` was not measured."""


SCF_CYCLES = 14
CP2K_SECONDS = 9.2
"""Core seconds of one SCF cycle of 72 atoms of AlPO4 (384 valence electrons), CP2K DZVP-MOLOPT-SR, 400 Ry, Gamma."""
CP2K_ELECTRONS = 384
PW_OVER_CP2K = 4.0
"""A plane-wave run at 60 Ry against CP2K, the same cell and one k-point: a guess."""
RESPONSE_OVER_SCF = 10.0
"""Shieldings by GIPAW against the ground state alone: a guess. The response needs the occupied states of six
neighbours of every k-point and the response to three directions of the field at each."""


@dataclass(frozen=True)
class NmrCost:
    """Sites and processor seconds of one isotope in one candidate.

    ``n_refused`` sites are refused by the engine in the structure as built; a relaxation may change that.
    ``largest_seconds`` are those of the dearest site.
    """

    isotope: str
    n_sites: int
    cpu_seconds: float
    n_refused: int = 0
    largest_seconds: float = 0.0


@dataclass(frozen=True)
class CandidateCost:
    """What one candidate is expected to cost.

    ``whole_cpu_seconds`` are those of a periodic engine, which computes all sites at once; ``nmr`` then only counts.
    """

    nmr: tuple[NmrCost, ...]
    relax_cpu_seconds: float
    whole_cpu_seconds: float = 0.0

    @property
    def n_sites(self) -> int:
        """Symmetry-distinct sites of all isotopes."""
        return sum(cost.n_sites for cost in self.nmr)

    @property
    def nmr_cpu_seconds(self) -> float:
        """Processor seconds of all sites."""
        return self.whole_cpu_seconds + sum(cost.cpu_seconds for cost in self.nmr)


@cache
def cluster_law() -> tuple[float, float]:
    """Coefficients (a, b) of cpu seconds = a (n_functions^2 n_centres)^b, fitted to the shipped reference computations.

    The three-index integrals, whose number is n_functions^2 times auxiliary functions (which go with the centres),
    are what costs. Sites of gas molecules, which take fractions of a second, are left out.
    """
    import json
    from importlib.resources import files

    text = files("surfshift.analysis.data").joinpath("reference_cluster_fast.json").read_text(encoding="utf-8")
    points = [
        (
            site["checks"]["n_functions"] ** 2 * (site["checks"]["n_atoms"] + site["checks"]["n_caps"]),
            site["cpu_seconds"],
        )
        for compound in json.loads(text)["compounds"]
        for site in compound["sites"]
        if site["checks"]["n_caps"] > 0
    ]
    sizes, seconds = np.log(np.array(points)).T
    slope, intercept = np.polyfit(sizes, seconds, 1)
    return float(np.exp(intercept)), float(slope)


def cluster_seconds(n_functions: float, n_centres: float, protocol: str = "fast") -> float:
    """Expected processor seconds of one site with so many basis functions and centres (atoms and caps)."""
    scale, power = cluster_law()
    return float(PROTOCOL_FACTORS[protocol] * scale * (n_functions**2 * n_centres) ** power)


@cache
def _n_functions(element: str, basis: str) -> int:
    from pyscf import gto

    charge = gto.charge(element)
    mol = gto.M(atom=[(element, (0.0, 0.0, 0.0))], basis=basis, spin=charge % 2, verbose=0)
    return int(mol.nao)


def n_functions(cluster: Cluster, protocol: ClusterProtocol) -> int:
    """Number of basis functions that the cluster engine takes for a cluster."""
    from pyscf import gto

    from .engines.molecule import HEAVIEST_ALL_ELECTRON

    total = len(cluster.cap_charges) * _n_functions("H", protocol.cap_basis)
    for element, near in zip(cluster.elements, cluster.is_near, strict=True):
        heavy = gto.charge(element) > HEAVIEST_ALL_ELECTRON
        total += _n_functions(
            element, protocol.heavy_basis if heavy else protocol.target_basis if near else protocol.outer_basis
        )
    return total


def candidate_cost(candidate: Candidate, study: StudyFile) -> CandidateCost:
    """Expected processor seconds of relaxing a candidate and computing the tensors of its distinct sites."""
    settings = study.nmr.periodic if study.nmr.elements & set(candidate.structure.elements) else None
    return CandidateCost(
        nmr=nmr_costs(candidate, study.nmr) if study.nmr.periodic is None else _counted(candidate, study.nmr),
        relax_cpu_seconds=relax_seconds(candidate.structure, study.relax.model),
        whole_cpu_seconds=0.0 if settings is None else periodic_seconds(candidate.structure, settings),
    )


def _counted(candidate: Candidate, nmr: NmrSettings) -> tuple[NmrCost, ...]:
    """Sites of every isotope without a cost of their own."""
    from .jobs import wanted_sites

    elements = [orbit.element for orbit in wanted_sites(candidate, nmr)]
    return tuple(NmrCost(isotope, elements.count(element_of(isotope)), 0.0) for isotope in nmr.isotopes)


def valence_electrons(structure: AtomicStructure) -> int:
    """Valence electrons, with those of an unknown element guessed as eight."""
    from .engines.inputs.protocols import protocol_data

    table: dict[str, int] = protocol_data("cp2k")["valence"]
    return sum(table.get(element, 8) for element in structure.elements)


def gaussian_cycle_seconds(structure: AtomicStructure, cutoff_ry: float, n_points: int) -> float:
    """Expected core seconds of one SCF cycle of CP2K, from one timing; half of the k-points by time reversal."""
    electrons = (valence_electrons(structure) / CP2K_ELECTRONS) ** 2
    return CP2K_SECONDS * electrons * math.ceil(n_points / 2) * cutoff_ry / 400


def plane_wave_cycle_seconds(structure: AtomicStructure, cutoff_ry: float, n_points: int) -> float:
    """Expected core seconds of one SCF cycle of a plane-wave program: CP2K's at 400 Ry times a guess."""
    return PW_OVER_CP2K * math.pow(cutoff_ry / 60, 1.5) * gaussian_cycle_seconds(structure, 400, n_points)


def periodic_seconds(structure: AtomicStructure, settings: PeriodicSettings) -> float:
    """Expected core seconds of one GIPAW job of VASP, CASTEP or Quantum ESPRESSO: ground state and response."""
    from .engines.inputs.common import kpoint_grid

    protocol = settings.numbers_of()
    n_points = math.prod(kpoint_grid(structure, protocol.kpoint_spacing_per_ang))
    cycle = plane_wave_cycle_seconds(structure, protocol.wavefunction_cutoff_ry, n_points)
    return (1.0 + RESPONSE_OVER_SCF) * SCF_CYCLES * cycle


def nmr_seconds(candidate: Candidate, nmr: NmrSettings) -> float:
    """Expected processor seconds of the tensors of the isotopes that the settings ask for."""
    return sum(cost.cpu_seconds for cost in nmr_costs(candidate, nmr))


def relax_seconds(structure: StructureLike, model: str) -> float:
    """Expected processor seconds of a relaxation by SevenNet."""
    structure = as_structure(structure)
    return RELAX_SECONDS_PER_ATOM[model] * len(structure) * TYPICAL_STEPS


def nmr_costs(candidate: Candidate, nmr: NmrSettings) -> tuple[NmrCost, ...]:
    """Expected processor seconds of a candidate's sites, by isotope; some of their clusters are really cut."""
    from .engines.cluster import SUPPORTED_TARGETS
    from .engines.protocols import load_protocol
    from .jobs import wanted_sites

    protocol = load_protocol(nmr.protocol)
    atoms: dict[str, list[int]] = defaultdict(list)
    for orbit in wanted_sites(candidate, nmr):
        atoms[orbit.element].append(orbit.atom_indices[0])
    costs = []
    for isotope in nmr.isotopes:
        element = element_of(isotope)
        sites = atoms[element]
        seconds: list[float] = []
        n_tried = 0
        if element in SUPPORTED_TARGETS:
            step = max(1, -(-len(sites) // MAX_CUT_SITES))
            for atom in sites[::step]:
                n_tried += 1
                cost = _site_seconds(candidate.structure, atom, protocol)
                if cost is not None:
                    seconds.append(cost)
        refused = 1.0 - len(seconds) / n_tried if n_tried else 0.0
        mean = float(np.mean(seconds)) if seconds else 0.0
        costs.append(
            NmrCost(
                isotope=isotope,
                n_sites=len(sites),
                cpu_seconds=mean * len(sites),
                n_refused=round(refused * len(sites)) if element in SUPPORTED_TARGETS else len(sites),
                largest_seconds=max(seconds, default=0.0),
            )
        )
    return tuple(costs)


def _site_seconds(structure: AtomicStructure, atom: int, protocol: ClusterProtocol) -> float | None:
    from .engines.fragment import cut_cluster

    try:
        cluster = cut_cluster(structure, atom, shells=protocol.shells, max_cap_rescaling=protocol.max_cap_rescaling)
    except SurfshiftError:
        return None
    n_centres = len(cluster.elements) + len(cluster.cap_charges)
    return cluster_seconds(n_functions(cluster, protocol), n_centres, protocol.name)
