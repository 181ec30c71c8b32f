"""The flows: dataclass makers from a candidate, and from a whole study, to jobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobflow import Flow, Maker

from .jobs import periodic_tensors, plan_sites, relax, relax_dft, site_tensors
from .study import DftSettings, MotionSettings, NmrSettings, RelaxSettings, element_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobflow import Job, OutputReference

    from ..analysis.vocabulary import Relaxation
    from ..structures.symmetry import SiteOrbit
    from ..structures.vocabulary import Candidate
    from .engines.periodic import PeriodicSettings
    from .interatomic import EmbeddedModel


def _default_nmr() -> NmrSettings:
    return NmrSettings(isotopes=("27Al", "31P"))


@dataclass
class RelaxMaker(Maker):
    """Relax one candidate with SevenNet."""

    name: str = "relax"
    settings: RelaxSettings = field(default_factory=RelaxSettings)

    def make(self, candidate: Candidate) -> Job:
        """One job whose output is a ``Relaxation``."""
        made: Job = relax(candidate, self.settings)
        made.name = f"{self.name} {candidate.name}"
        return made


@dataclass
class DftMaker(Maker):
    """One step by DFT after SevenNet: relax a candidate further, or compute it where it is.

    ``settings`` are those of the whole relaxation, ``step`` is the one of its ``dft`` steps that is meant.
    """

    step: DftSettings
    name: str = ""
    settings: RelaxSettings = field(default_factory=RelaxSettings)

    def make(self, relaxation: Relaxation | OutputReference, candidate: Candidate) -> Job:
        """One job whose output is a ``Relaxation``; ``candidate`` gives the name."""
        made: Job = relax_dft(relaxation, self.settings, self.step)
        made.name = f"{self.name or self.step.task} {self.step.engine} {candidate.name}"
        return made


@dataclass
class SiteMaker(Maker):
    """Compute the tensors of one symmetry-distinct site; those that ``motion`` wants are averaged over dynamics too."""

    name: str = "nmr"
    settings: NmrSettings = field(default_factory=_default_nmr)
    max_memory_mb: int = 3500
    motion: MotionSettings | None = None
    motion_model: EmbeddedModel = "7net-l3i5"

    def make(self, candidate: Candidate, orbit: SiteOrbit) -> Job:
        """One job whose output is a ``SiteTensors``."""
        made: Job = site_tensors(candidate.structure, orbit, self.settings.protocol, self.max_memory_mb)
        isotope = next(i for i in self.settings.isotopes if element_of(i) == orbit.element)
        made.name = f"{self.name} {isotope} {candidate.name} {orbit.element}{orbit.atom_indices[0]}"
        return made

    def after(self, relaxed: Job, candidate: Candidate) -> list[Job]:
        """One job that finds the distinct sites of the relaxed candidate and adds a job for each."""
        planned: Job = plan_sites(relaxed.output, self.settings, self.max_memory_mb, self.motion, self.motion_model)
        planned.name = f"plan sites {candidate.name}"
        return [planned]


@dataclass
class PeriodicNmrMaker(Maker):
    """Tensors of a relaxed candidate by VASP, CASTEP or Quantum ESPRESSO with GIPAW, all sites in one job.

    Nothing is submitted before the inputs can be written: with ``checks_potentials`` the files that the engine needs
    for each element must be on this machine too. ``elements`` are those whose sites are wanted, all without any.
    """

    settings: PeriodicSettings
    name: str = "nmr"
    checks_potentials: bool = False
    elements: tuple[str, ...] = ()

    def after(self, relaxed: Job, candidate: Candidate) -> list[Job]:
        """The job of the relaxed candidate; none if it holds no element whose sites are wanted."""
        own = [element for element in self.elements if element in candidate.structure.elements]
        if self.elements and not own:
            return []
        return [self.make(relaxed.output, candidate, own or None)]

    def make(
        self,
        relaxation: Relaxation | OutputReference,
        candidate: Candidate,
        elements: Sequence[str] | None = None,
    ) -> Job:
        """One job whose output is a list of ``SiteTensors``; ``candidate`` gives elements and name.

        Raises
        ------
        UnknownProtocolError, InputError, MissingPotentialError
            If this candidate cannot be computed with these settings.
        """
        from .engines.periodic import inputs_of
        from .potentials import require_potentials

        if self.checks_potentials:
            require_potentials(self.settings.engine, candidate.structure.elements)
        if self.checks_potentials or self.settings.engine != "qe":
            inputs_of(candidate, self.settings)
        made: Job = periodic_tensors(relaxation, self.settings, list(elements) if elements else None)
        made.name = f"{self.name} {self.settings.engine} {candidate.name}"
        return made


def nmr_maker(
    settings: NmrSettings,
    max_memory_mb: int,
    *,
    checks_potentials: bool = False,
    motion: MotionSettings | None = None,
    motion_model: EmbeddedModel = "7net-l3i5",
) -> SiteMaker | PeriodicNmrMaker:
    """The maker of the tensors that a study asks for.

    Parameters
    ----------
    settings
        The study's NMR block.
    max_memory_mb
        For one job of the cluster engine.
    checks_potentials
        Whether a periodic engine's files must be on this machine.
    motion, motion_model
        Averages that the cluster engine computes besides, and the potential that moves the atoms.
    """
    if settings.periodic is None:
        return SiteMaker(settings=settings, max_memory_mb=max_memory_mb, motion=motion, motion_model=motion_model)
    return PeriodicNmrMaker(
        settings.periodic, checks_potentials=checks_potentials, elements=tuple(sorted(settings.elements))
    )


@dataclass
class CandidateMaker(Maker):
    """Relax a candidate and compute its tensors: each symmetry-distinct site in a job of its own, or all in one."""

    name: str = "candidate"
    relax_maker: RelaxMaker = field(default_factory=RelaxMaker)
    site_maker: SiteMaker | PeriodicNmrMaker = field(default_factory=SiteMaker)

    def make(self, candidate: Candidate) -> Flow:
        """A flow; with a ``SiteMaker`` it grows by one job per site once the candidate is relaxed."""
        relaxing = [self.relax_maker.make(candidate)]
        settings = self.relax_maker.settings
        for step in settings.dft:
            relaxing.append(DftMaker(step=step, settings=settings).make(relaxing[-1].output, candidate))
        relaxed = relaxing[-1]
        tensors = self.site_maker.after(relaxed, candidate)
        return Flow([*relaxing, *tensors], output=relaxed.output, name=f"{self.name} {candidate.name}")


@dataclass
class StudyMaker(Maker):
    """All candidates of a study."""

    name: str = "study"
    candidate_maker: CandidateMaker = field(default_factory=CandidateMaker)

    def make(self, candidates: Sequence[Candidate]) -> Flow:
        """One flow of independent candidates; a failed one does not stop the others."""
        return Flow([*self.parts(candidates)], name=self.name)

    def parts(self, candidates: Sequence[Candidate]) -> list[Flow]:
        """One flow per candidate, which a queue finishes faster than one of them all."""
        return [self.candidate_maker.make(candidate) for candidate in candidates]
