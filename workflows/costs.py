"""What candidates will cost: processor seconds, estimated from measured ones.

These are estimates: one thread, the machine on which the shipped references were computed. Compare ratios, and expect
the absolute number to be wrong by a factor of two.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ..structures.errors import SurfshiftError
from .study import element_of

if TYPE_CHECKING:
    from ..structures.vocabulary import AtomicStructure, Candidate
    from .engines.fragment import Cluster
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
    """What one candidate is expected to cost."""

    nmr: tuple[NmrCost, ...]
    relax_cpu_seconds: float

    @property
    def n_sites(self) -> int:
        """Symmetry-distinct sites of all isotopes."""
        return sum(cost.n_sites for cost in self.nmr)

    @property
    def nmr_cpu_seconds(self) -> float:
        """Processor seconds of all sites."""
        return sum(cost.cpu_seconds for cost in self.nmr)


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
    return CandidateCost(
        nmr=nmr_costs(candidate, study.nmr), relax_cpu_seconds=relax_seconds(candidate.structure, study.relax.model)
    )


def nmr_seconds(candidate: Candidate, nmr: NmrSettings) -> float:
    """Expected processor seconds of the tensors of the isotopes that the settings ask for."""
    return sum(cost.cpu_seconds for cost in nmr_costs(candidate, nmr))


def relax_seconds(structure: AtomicStructure, model: str) -> float:
    """Expected processor seconds of a relaxation by SevenNet."""
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
