"""Phonons, averages over motion and glasses as jobs: makers around pure functions, for the queue of a run folder.

Every job keeps its state in its own folder, where a job that was killed is started again: displacements that are done
and chunks of dynamics are not computed twice. The snapshots of an average are jobs of their own, side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jobflow import Flow, Maker, Response, job

from ..analysis.vocabulary import Relaxation, SiteTensors
from .engines.errors import EngineError
from .finite_temperature import AveragedSite, AverageSettings, Drawn, Snapshot, combine, drawn_from, one_atom
from .glass import Glass, GlassSettings
from .phonons import PhononSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase.calculators.calculator import Calculator
    from jobflow import Job, OutputReference

    from ..structures.symmetry import SiteOrbit
    from ..structures.vocabulary import AtomicStructure, Candidate
    from .mode_following import PhononRun
    from .study import RelaxSettings

ForceModel = Literal["7net-l3i5", "7net-0", "chgnet", "pair", "emt"]
"""Forces of a job. ``pair`` is the pair potential of AlPO4, ``emt`` ase's potential for a few metals, for trials."""


def forces_of(model: ForceModel) -> Calculator:
    """The ase calculator of a model."""
    if model == "emt":
        from ase.calculators.emt import EMT

        return EMT()
    if model == "pair":
        from .pair_potential import aluminophosphate_calculator

        return aluminophosphate_calculator()
    from .interatomic import embedded

    return embedded(model)


@job
def settle(candidate: Candidate, settings: RelaxSettings, model: ForceModel) -> Relaxation:
    """Relax a candidate with the forces that move it afterwards."""
    from .relaxation import relax_candidate

    if model in {"pair", "emt"}:
        return relax_candidate(candidate, settings, calculator=forces_of(model), checkpoint=Path("relax.json"))
    return relax_candidate(candidate, settings.model_copy(update={"model": model}), checkpoint=Path("relax.json"))


@job
def vibrate(
    start: AtomicStructure | Relaxation, settings: PhononSettings, model: ForceModel, max_rounds: int
) -> PhononRun:
    """Phonons of a relaxed structure; up to ``max_rounds`` imaginary modes are followed to a lower one."""
    from .mode_following import follow_and_keep

    structure = start.candidate.structure if isinstance(start, Relaxation) else start
    return follow_and_keep(
        structure, settings, Path("forces"), calculator=forces_of(model), model=model, max_rounds=max_rounds
    )


@job
def vitrify(start: AtomicStructure, settings: GlassSettings, model: ForceModel, relax_model: ForceModel) -> Glass:
    """A glass by melt and quench with one model, relaxed with another."""
    from .glass import make_glass

    dynamics = forces_of(model)
    relaxing = dynamics if relax_model == model else forces_of(relax_model)
    return make_glass(start, settings, Path("quench"), dynamics, relaxing, models=(model, relax_model))


@job
def settle_glass(glass: Glass, max_relax_steps: int, relax_model: ForceModel) -> Glass:
    """A glass that was not relaxed to its end, relaxed further."""
    from .glass import relax_further

    return relax_further(glass, max_relax_steps, Path(), forces_of(relax_model))


@job
def move(
    structure: AtomicStructure, orbits: list[SiteOrbit], settings: AverageSettings, model: ForceModel
) -> list[Drawn]:
    """Molecular dynamics, and the snapshots that are drawn from it for each site."""
    from .dynamics import run_dynamics

    found = run_dynamics(structure, settings.dynamics, Path("dynamics"), forces_of(model), model=model)
    assert found is not None
    return [drawn_from(found, structure, orbit, settings) for orbit in orbits]


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
    sites: list[tuple[SiteOrbit, str]], drawn: list[Drawn], rest: list[SiteTensors], maker: AverageMaker
) -> Response[list[AveragedSite]]:
    """A job for every snapshot of every site, then the averages in place of this job."""
    jobs: list[Job] = []
    averages: list[Job] = []
    for (orbit, isotope), own, at_rest in zip(sites, drawn, rest, strict=True):
        label = maker.label(orbit, isotope)
        made = [snapshot_site(one, orbit, maker.protocol, maker.max_memory_mb) for one in own.snapshots]
        for one, snapshot in zip(made, own.snapshots, strict=True):
            one.name = f"nmr {label} {snapshot.name}"
        last = average(isotope, orbit, own, at_rest, [one.output for one in made])
        last.name = f"average {label}"
        jobs += made
        averages.append(last)
    outputs = [last.output for last in averages]
    return Response(replace=Flow([*jobs, *averages], output=outputs, name=f"snapshots {maker.name}"))


@job
def average(
    isotope: str, orbit: SiteOrbit, drawn: Drawn, rest: SiteTensors, tensors: list[SiteTensors | str]
) -> AveragedSite:
    """The average of a site's snapshots."""
    good = [(s, one) for s, one in zip(drawn.snapshots, tensors, strict=True) if isinstance(one, SiteTensors)]
    return combine(
        isotope, orbit, drawn, static=rest, tensors=good, failed=[one for one in tensors if isinstance(one, str)]
    )


@dataclass
class PhononMaker(Maker):
    """Phonons of one structure.

    ``max_rounds`` is how many imaginary modes are followed at most; 0 follows none.
    """

    name: str = "phonons"
    settings: PhononSettings = field(default_factory=PhononSettings)
    model: ForceModel = "7net-l3i5"
    max_rounds: int = 0

    def make(self, start: AtomicStructure | OutputReference, formula: str = "") -> Job:
        """One job whose output is a ``PhononRun``; ``start`` is a relaxed structure, or the output of a relaxation."""
        made: Job = vibrate(start, self.settings, self.model, self.max_rounds)
        made.name = f"{self.name} {formula or getattr(start, 'formula', '')}".strip()
        return made

    def make_relaxed(self, candidate: Candidate, relax: RelaxSettings) -> Flow:
        """Relax with the same forces first; the output is that of the phonons."""
        relaxing: Job = settle(candidate, relax, self.model)
        relaxing.name = f"relax {candidate.name}"
        made = self.make(relaxing.output, candidate.name)
        return Flow([relaxing, made], output=made.output, name=f"{self.name} {candidate.name}")


@dataclass
class GlassMaker(Maker):
    """A glass by melt and quench of a packing."""

    name: str = "glass"
    settings: GlassSettings = field(default_factory=GlassSettings)
    model: ForceModel = "7net-0"
    relax_model: ForceModel = "7net-0"

    def make(self, start: AtomicStructure) -> Job:
        """One job whose output is a ``Glass``."""
        made: Job = vitrify(start, self.settings, self.model, self.relax_model)
        made.name = f"{self.name} {start.formula}"
        return made


@dataclass
class FurtherGlassMaker(Maker):
    """More steps of relaxation for a glass."""

    name: str = "relax glass"
    max_relax_steps: int = 500
    relax_model: ForceModel = "7net-0"

    def make(self, glass: Glass) -> Job:
        """One job whose output is a ``Glass``."""
        made: Job = settle_glass(glass, self.max_relax_steps, self.relax_model)
        made.name = f"{self.name} {glass.structure.formula}"
        return made


@dataclass
class AverageMaker(Maker):
    """Tensors of sites averaged over one run of molecular dynamics."""

    name: str = "average"
    settings: AverageSettings = field(default_factory=AverageSettings)
    model: ForceModel = "7net-l3i5"
    protocol: str = "fast"
    max_memory_mb: int = 3500

    def label(self, orbit: SiteOrbit, isotope: str) -> str:
        """What a site is called in the names of its jobs."""
        return f"{isotope} {self.name} {orbit.element}{orbit.atom_indices[0]}"

    def make(
        self,
        structure: AtomicStructure,
        sites: Sequence[tuple[SiteOrbit, str]],
        rest: Sequence[OutputReference] = (),
    ) -> Flow:
        """Dynamics, then a job per snapshot and site; the output is a list of ``AveragedSite``.

        Parameters
        ----------
        structure
            The resting structure, relaxed.
        sites
            Sites, from ``distinct_sites``, with their isotopes.
        rest
            Outputs of jobs that compute the tensors at rest, one per site; made here without.
        """
        from .jobs import site_tensors

        own: list[Job] = []
        at_rest = list(rest)
        if not at_rest:
            for orbit, isotope in sites:
                made: Job = site_tensors(structure, orbit, self.protocol, self.max_memory_mb)
                made.name = f"nmr {self.label(orbit, isotope)} at rest"
                own.append(made)
                at_rest.append(made.output)
        moving: Job = move(structure, [orbit for orbit, _ in sites], self.settings, self.model)
        moving.name = f"dynamics {self.name}"
        planned: Job = plan_snapshots([tuple(site) for site in sites], moving.output, at_rest, self)
        planned.name = f"plan snapshots {self.name}"
        return Flow([*own, moving, planned], output=planned.output, name=f"averages {self.name}")
