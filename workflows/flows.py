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
    """One step by DFT after SevenNet: relax a candidate further with CP2K or pw.x, or compute it where it is.

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
    """Compute the tensors of one symmetry-distinct site."""

    name: str = "nmr"
    settings: NmrSettings = field(default_factory=_default_nmr)
    max_memory_mb: int = 3500

    def make(self, candidate: Candidate, orbit: SiteOrbit) -> Job:
        """One job whose output is a ``SiteTensors``."""
        made: Job = site_tensors(candidate.structure, orbit, self.settings.protocol, self.max_memory_mb)
        isotope = next(i for i in self.settings.isotopes if element_of(i) == orbit.element)
        made.name = f"{self.name} {isotope} {candidate.name} {orbit.element}{orbit.atom_indices[0]}"
        return made


@dataclass
class PeriodicNmrMaker(Maker):
    """Tensors of a relaxed candidate by VASP, CASTEP or Quantum ESPRESSO with GIPAW, all sites in one job.

    Nothing is submitted before the inputs can be written: with ``checks_potentials`` the files that the engine needs
    for each element must be on this machine too.
    """

    settings: PeriodicSettings
    name: str = "nmr"
    checks_potentials: bool = False

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


@dataclass
class CandidateMaker(Maker):
    """Relax a candidate, find its symmetry-distinct sites, compute each in a job of its own."""

    name: str = "candidate"
    relax_maker: RelaxMaker = field(default_factory=RelaxMaker)
    site_maker: SiteMaker = field(default_factory=SiteMaker)
    motion: MotionSettings | None = None

    def make(self, candidate: Candidate) -> Flow:
        """A flow that grows by one job per site once the candidate is relaxed, and by averages over motion."""
        relaxing = [self.relax_maker.make(candidate)]
        settings = self.relax_maker.settings
        for step in settings.dft:
            relaxing.append(DftMaker(step=step, settings=settings).make(relaxing[-1].output, candidate))
        relaxed = relaxing[-1]
        planned = plan_sites(
            relaxed.output, self.site_maker.settings, self.site_maker.max_memory_mb, self.motion, settings.model
        )
        planned.name = f"plan sites {candidate.name}"
        return Flow([*relaxing, planned], output=relaxed.output, name=f"{self.name} {candidate.name}")


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
