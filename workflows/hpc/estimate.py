"""What a study's jobs ask of a scheduler, from atoms, electrons and protocol; right to a factor of about three.

SevenNet and the sites of the cluster engine cost what ``surfshift.workflows.costs`` says, which is fitted to
measurements; CP2K is scaled from one timing of the machine of benchmarks/README.md, and pw.x, VASP, CASTEP and GIPAW
jobs from that by guesses. A step's entry in the workers' file replaces any of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...structures.vocabulary import Frozen
from ..costs import (
    SCF_CYCLES,
    gaussian_cycle_seconds,
    periodic_seconds,
    plane_wave_cycle_seconds,
    relax_seconds,
)
from .resources import Limits, Request, capped, charged_core_hours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...structures.vocabulary import AtomicStructure, Candidate
    from ..engines.periodic import PeriodicSettings
    from ..study import DftSettings, NmrSettings, RelaxSettings, StudyFile
    from .workers import Step, WorkersFile

DFT_STEPS = 40

SAFETY = 3.0
"""Wall time asked for, against the estimate."""
WANTED_HOURS = 4.0
"""A DFT relaxation gets as many cores as bring it near this wall time."""


class StepCost(Frozen):
    """Jobs of one step of one candidate: how many, core hours of all, and what each asks for."""

    candidate: str
    step: str
    n_jobs: int
    core_hours: float
    request: Request
    max_charged_core_hours: float


def relax_request(structure: AtomicStructure, model: str) -> tuple[float, Request]:
    """Core hours of a SevenNet relaxation, and what it asks for."""
    hours = relax_seconds(structure, model) / 3600
    return hours, Request(cores=1, memory_gb=2 + 0.02 * len(structure), hours=max(0.1, SAFETY * hours))


def dft_request(candidate: Candidate, step: DftSettings, limits: Limits) -> tuple[float, Request]:
    """Core hours of a step by DFT, and what it asks for: as many cores as bring it near ``WANTED_HOURS``."""
    from ..engines.dft.cp2k import mesh
    from ..engines.dft.protocols import cp2k_protocol, dft_protocol
    from ..engines.inputs.common import kpoint_grid

    structure = candidate.structure
    if step.engine == "cp2k":
        numbers = cp2k_protocol(step.protocol, **step.numbers)
        n_points = math.prod(mesh(structure, numbers))
        per_cycle = gaussian_cycle_seconds(structure, numbers.cutoff_ry, n_points)
    else:
        plane_waves = dft_protocol(step.engine, step.protocol, **step.numbers)
        n_points = math.prod(kpoint_grid(structure, plane_waves.kpoint_spacing_per_ang))
        per_cycle = plane_wave_cycle_seconds(structure, plane_waves.wavefunction_cutoff_ry, n_points)
    n_steps = min(DFT_STEPS, step.max_steps) if step.task == "relax" else 1
    core_hours = max(0.02, n_steps * SCF_CYCLES * per_cycle / 3600)
    cores = _cores(core_hours, structure, limits)
    memory = 2 + 0.5 * cores + 0.01 * len(structure) * n_points
    return core_hours, Request(cores=cores, memory_gb=memory, hours=max(0.5, SAFETY * core_hours / cores))


def _cores(core_hours: float, structure: AtomicStructure, limits: Limits) -> int:
    most = limits.cores_per_node * limits.max_nodes
    return min(most, max(1, math.ceil(core_hours / WANTED_HOURS), len(structure) // 4))


def gipaw_request(candidate: Candidate, settings: PeriodicSettings, limits: Limits) -> tuple[float, Request]:
    """Core hours of a GIPAW job of VASP, CASTEP or Quantum ESPRESSO, and what it asks for: guesses, as in ``costs``.

    The response holds the orbitals of several k-points at once, so that it gets twice the memory of a relaxation.
    """
    from ..engines.inputs.common import kpoint_grid

    structure = candidate.structure
    core_hours = max(0.02, periodic_seconds(structure, settings) / 3600)
    cores = _cores(core_hours, structure, limits)
    n_points = math.prod(kpoint_grid(structure, settings.numbers_of().kpoint_spacing_per_ang))
    memory = 2 + 1.0 * cores + 0.02 * len(structure) * n_points
    return core_hours, Request(cores=cores, memory_gb=memory, hours=max(0.5, SAFETY * core_hours / cores))


def site_request(candidate: Candidate, nmr: NmrSettings, max_memory_mb: int) -> tuple[int, float, Request]:
    """Number of a candidate's sites, core hours of them all, and what the largest asks for.

    Sites that the engine refuses cost nothing: their job says why, in seconds.
    """
    from ..costs import nmr_costs

    costs = nmr_costs(candidate, nmr)
    largest = max((cost.largest_seconds for cost in costs), default=0.0) / 3600
    request = Request(cores=1, memory_gb=max_memory_mb / 1000 + 1, hours=max(0.25, SAFETY * largest))
    n_sites = sum(cost.n_sites - cost.n_refused for cost in costs)
    return n_sites, sum(cost.cpu_seconds for cost in costs) / 3600, request


def estimate_study(
    study: StudyFile, candidates: Sequence[Candidate], workers: WorkersFile | None = None
) -> tuple[StepCost, ...]:
    """Costs of every step of every candidate.

    Parameters
    ----------
    study, candidates
        The study and what it builds.
    workers
        Where the steps run; their limits cap what is asked for. Without it one node of 32 cores is meant.
    """
    limits = (
        workers.placement.limits
        if workers
        else Limits(cores_per_node=32, memory_gb_per_node=96, max_nodes=1, max_hours=24)
    )
    costs = []
    for candidate in candidates:
        steps = _steps(candidate, study.relax, study.nmr, study.run.memory_per_job_mb, limits)
        for step, n_jobs, core_hours, request in steps:
            asked = workers.request(step, request) if workers else capped(request, limits)
            costs.append(
                StepCost(
                    candidate=candidate.name,
                    step=step,
                    n_jobs=n_jobs,
                    core_hours=core_hours,
                    request=asked,
                    max_charged_core_hours=n_jobs * charged_core_hours(asked, limits),
                )
            )
    return tuple(costs)


def _steps(
    candidate: Candidate, relax: RelaxSettings, nmr: NmrSettings, memory_mb: int, limits: Limits
) -> list[tuple[Step, int, float, Request]]:
    hours, request = relax_request(candidate.structure, relax.model)
    steps: list[tuple[Step, int, float, Request]] = [("relax", 1, hours, request)]
    for dft in relax.dft:
        hours, request = dft_request(candidate, dft, limits)
        steps.append(("dft", 1, hours, request))
    if nmr.periodic is not None:
        if not nmr.elements & set(candidate.structure.elements):
            return steps
        hours, request = gipaw_request(candidate, nmr.periodic, limits)
        steps.append(("gipaw", 1, hours, request))
        return steps
    n_sites, hours, request = site_request(candidate, nmr, memory_mb)
    steps.append(("nmr", n_sites, hours, request))
    return steps
