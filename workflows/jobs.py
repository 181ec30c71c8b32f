"""The jobs: thin shells around pure functions, so that a queue can run these."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jobflow import Flow, Response, job

from ..structures.vocabulary import AtomicStructure, Candidate, Region
from .finite_temperature import AverageSettings

if TYPE_CHECKING:
    from jobflow import Job

    from ..analysis.vocabulary import Relaxation, SiteTensors
    from ..structures.symmetry import SiteOrbit
    from .engines.periodic import PeriodicSettings
    from .motion_flows import ForceModel
    from .study import DftSettings, MotionSettings, NmrSettings, RelaxSettings


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
def plan_sites(
    relaxation: Relaxation,
    nmr: NmrSettings,
    max_memory_mb: int,
    motion: MotionSettings | None = None,
    model: ForceModel = "7net-l3i5",
) -> Response[int]:
    """Add one job for every symmetry-distinct site of a relaxed candidate; the output is their number.

    The sites that ``motion`` wants are averaged over molecular dynamics with ``model`` as well.
    """
    from .flows import SiteMaker

    maker = SiteMaker(settings=nmr, max_memory_mb=max_memory_mb)
    candidate = relaxation.candidate
    orbits = wanted_sites(candidate, nmr)
    jobs: list[Flow | Job] = [maker.make(candidate, orbit) for orbit in orbits]
    if not jobs:
        return Response(output=0)
    moving = moving_sites(candidate, nmr, motion)
    if motion is not None and moving:
        from .motion_flows import AverageMaker

        rest = {orbit: made.output for orbit, made in zip(orbits, jobs, strict=True)}
        averages = AverageMaker(
            name=candidate.name,
            settings=AverageSettings(**{name: getattr(motion, name) for name in AverageSettings.model_fields}),
            model=model,
            protocol=nmr.protocol,
            max_memory_mb=max_memory_mb,
        )
        jobs.append(averages.make(candidate.structure, moving, [rest[orbit] for orbit, _ in moving]))
    return Response(output=len(orbits), addition=Flow(jobs, name=f"sites of {candidate.name}"))


def moving_sites(
    candidate: Candidate, nmr: NmrSettings, motion: MotionSettings | None
) -> tuple[tuple[SiteOrbit, str], ...]:
    """Sites of a candidate that are averaged over motion, with their isotopes."""
    if motion is None or not motion.wants_candidate(candidate):
        return ()
    found = ((orbit, motion.isotope_of(orbit, nmr.isotopes)) for orbit in wanted_sites(candidate, nmr))
    return tuple((orbit, isotope) for orbit, isotope in found if isotope is not None)


def wanted_sites(candidate: Candidate, nmr: NmrSettings) -> tuple[SiteOrbit, ...]:
    """Symmetry-distinct sites of the wanted elements; without a slab's bulk region if so asked."""
    from ..structures.symmetry import distinct_sites

    if not nmr.isotopes:
        return ()
    orbits = distinct_sites(candidate.structure, elements=nmr.elements)
    if candidate.kind == "bulk" or nmr.sites == "all":
        return orbits
    return tuple(orbit for orbit in orbits if any(candidate.regions[k] is not Region.BULK for k in orbit.atom_indices))
