"""Phonons and averages over motion as jobs: makers around pure functions, for the queue of a run folder.

Every job keeps its state in its own folder, where a job that was killed is started again: displacements that are done
and chunks of dynamics are not computed twice. The snapshots of an average are jobs of their own, side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jobflow import Flow, Maker, Response, job

from ..analysis.vocabulary import SiteTensors
from .engines.errors import EngineError
from .finite_temperature import AveragedSite, AverageSettings, Drawn, Snapshot, combine, draw_snapshots, one_atom
from .phonons import PhononSettings, Vibrations

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from jobflow import Job

    from ..structures.symmetry import SiteOrbit
    from ..structures.vocabulary import AtomicStructure

ForceModel = Literal["7net-l3i5", "7net-0", "emt"]
"""Forces of a job; ``emt`` is ase's potential for a few metals, for trials."""


def forces_of(model: ForceModel) -> Calculator:
    """The ase calculator of a model."""
    if model == "emt":
        from ase.calculators.emt import EMT

        return EMT()
    from .interatomic import sevennet

    return sevennet(model)


@job
def vibrate(structure: AtomicStructure, settings: PhononSettings, model: ForceModel) -> Vibrations:
    """Phonons of a relaxed structure."""
    from .phonons import run_phonons

    return run_phonons(structure, settings, Path("forces"), calculator=forces_of(model), model=model)[1]


@job
def move(structure: AtomicStructure, orbit: SiteOrbit, settings: AverageSettings, model: ForceModel) -> Drawn:
    """Molecular dynamics, and the snapshots drawn from it."""
    return draw_snapshots(structure, orbit, settings, Path("dynamics"), calculator=forces_of(model), model=model)


@job
def snapshot_site(snapshot: Snapshot, orbit: SiteOrbit, protocol: str, max_memory_mb: int) -> SiteTensors | str:
    """Tensors of one snapshot, or the engine's words where it refuses, so that one snapshot does not stop the rest."""
    from .engines.cluster import compute_site
    from .engines.protocols import load_protocol

    try:
        return compute_site(
            snapshot.structure, one_atom(orbit, snapshot.member), load_protocol(protocol), max_memory_mb=max_memory_mb
        )
    except EngineError as error:
        return f"{snapshot.name}: {error}"


@job
def plan_snapshots(
    structure: AtomicStructure,
    orbit: SiteOrbit,
    isotope: str,
    drawn: Drawn,
    maker: AverageMaker,
) -> Response[AveragedSite]:
    """One job for the resting structure and one for every snapshot, then their average in place of this job."""
    protocol, memory = maker.protocol, maker.max_memory_mb
    rest = snapshot_site(Snapshot(name="rest", structure=structure, member=0), orbit, protocol, memory)
    rest.name = f"nmr {isotope} rest"
    jobs = []
    for snapshot in drawn.snapshots:
        made = snapshot_site(snapshot, orbit, protocol, memory)
        made.name = f"nmr {isotope} {snapshot.name}"
        jobs.append(made)
    last = average(isotope, orbit, drawn, rest.output, [made.output for made in jobs])
    last.name = f"average {isotope}"
    return Response(replace=Flow([rest, *jobs, last], output=last.output, name=f"snapshots {isotope}"))


@job
def average(
    isotope: str, orbit: SiteOrbit, drawn: Drawn, rest: SiteTensors | str, tensors: list[SiteTensors | str]
) -> AveragedSite:
    """The average of a site's snapshots."""
    from .engines.errors import UnsupportedEnvironmentError

    if isinstance(rest, str):
        raise UnsupportedEnvironmentError(rest)
    good = [(s, one) for s, one in zip(drawn.snapshots, tensors, strict=True) if isinstance(one, SiteTensors)]
    return combine(
        isotope, orbit, drawn, static=rest, tensors=good, failed=[one for one in tensors if isinstance(one, str)]
    )


@dataclass
class PhononMaker(Maker):
    """Phonons of one relaxed structure."""

    name: str = "phonons"
    settings: PhononSettings = field(default_factory=PhononSettings)
    model: ForceModel = "7net-l3i5"

    def make(self, structure: AtomicStructure) -> Job:
        """One job whose output is ``Vibrations``."""
        made: Job = vibrate(structure, self.settings, self.model)
        made.name = f"{self.name} {structure.formula}"
        return made


@dataclass
class AverageMaker(Maker):
    """Tensors of one site averaged over molecular dynamics."""

    name: str = "average"
    settings: AverageSettings = field(default_factory=AverageSettings)
    model: ForceModel = "7net-l3i5"
    protocol: str = "fast"
    max_memory_mb: int = 3500

    def make(self, structure: AtomicStructure, orbit: SiteOrbit, isotope: str) -> Flow:
        """Dynamics, then a job per snapshot, then an ``AveragedSite`` as the output."""
        moving = move(structure, orbit, self.settings, self.model)
        moving.name = f"dynamics {structure.formula}"
        planned = plan_snapshots(structure, orbit, isotope, moving.output, self)
        planned.name = f"plan snapshots {isotope}"
        return Flow([moving, planned], output=planned.output, name=f"{self.name} {isotope} {structure.formula}")
