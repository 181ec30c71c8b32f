"""The jobs: thin shells around pure functions, so that a queue can run these."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jobflow import Flow, Response, job

from ..structures.vocabulary import AtomicStructure, Candidate, Region

if TYPE_CHECKING:
    from jobflow import Job

    from ..analysis.vocabulary import Relaxation, SiteTensors
    from ..structures.symmetry import SiteOrbit
    from .engines.periodic import PeriodicSettings
    from .study import DftSettings, NmrSettings, RelaxSettings


@job
def relax(candidate: Candidate, settings: RelaxSettings) -> Relaxation:
    """Relax one candidate."""
    from .relaxation import relax_candidate

    return relax_candidate(candidate, settings, checkpoint=Path("relax.json"))


@job
def relax_dft(relaxation: Relaxation, settings: RelaxSettings, step: DftSettings) -> Relaxation:
    """One step by DFT of a relaxed candidate: relax it further, or compute it where it is."""
    from .dft_relaxation import relax_by_dft

    return relax_by_dft(relaxation, settings, step, Path.cwd())


@job
def site_tensors(structure: AtomicStructure, orbit: SiteOrbit, protocol: str, max_memory_mb: int) -> SiteTensors:
    """Compute the tensors of one symmetry-distinct site, or take them from an earlier study that did."""
    from . import tensor_cache
    from .engines.cluster import compute_site, method_of
    from .engines.protocols import load_protocol

    numbers = load_protocol(protocol)
    known = tensor_cache.find(structure, orbit, method_of(numbers))
    if known is not None:
        return known
    tensors = compute_site(structure, orbit, numbers, max_memory_mb=max_memory_mb, folder=Path.cwd() / numbers.program)
    tensor_cache.keep(structure, orbit, tensors)
    return tensors


@job
def periodic_tensors(
    relaxation: Relaxation, settings: PeriodicSettings, elements: list[str] | None = None
) -> list[SiteTensors]:
    """Compute the tensors of all distinct sites of a relaxed candidate by VASP, CASTEP or Quantum ESPRESSO."""
    from .engines.periodic import compute_periodic

    found = compute_periodic(relaxation.candidate, settings, Path.cwd() / settings.engine, elements=elements)
    return list(found)


@job
def plan_sites(relaxation: Relaxation, nmr: NmrSettings, max_memory_mb: int) -> Response[int]:
    """Add one job for every symmetry-distinct site of a relaxed candidate; the output is their number."""
    from .flows import SiteMaker

    maker = SiteMaker(settings=nmr, max_memory_mb=max_memory_mb)
    candidate = relaxation.candidate
    jobs: list[Flow | Job] = [maker.make(candidate, orbit) for orbit in wanted_sites(candidate, nmr)]
    if not jobs:
        return Response(output=0)
    return Response(output=len(jobs), addition=Flow(jobs, name=f"sites of {candidate.name}"))


def wanted_sites(candidate: Candidate, nmr: NmrSettings) -> tuple[SiteOrbit, ...]:
    """Symmetry-distinct sites of the wanted elements; without a slab's bulk region if so asked."""
    from ..structures.symmetry import distinct_sites

    if not nmr.isotopes:
        return ()
    orbits = distinct_sites(candidate.structure, elements=nmr.elements)
    if candidate.kind == "bulk" or nmr.sites == "all":
        return orbits
    return tuple(orbit for orbit in orbits if any(candidate.regions[k] is not Region.BULK for k in orbit.atom_indices))
