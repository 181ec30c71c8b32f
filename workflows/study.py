"""The study file: everything a run needs, typed, checked and refused early.

A study file is YAML. Unknown keys are refused with the nearest valid one, each message names the
place and the line, and relative paths count from the folder of the file.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from ..analysis.matching.settings import MatchSettings
from ..analysis.spectra_io import Correction
from ..analysis.transfer import Transfer  # noqa: TC001  (pydantic evaluates the annotation)
from ..analysis.vocabulary import Experiment  # noqa: TC001  (pydantic evaluates the annotation)
from ..structures.errors import nearest
from ..structures.vocabulary import Frozen, content_hash
from .engines.protocols import load_protocol
from .finite_temperature import AverageSettings
from .interatomic import EmbeddedModel  # noqa: TC001  (pydantic evaluates the annotation)
from .study_candidates import CandidateSettings, ExportSettings, StudyPath, hashed_candidates
from .study_yaml import Place, StudyError, explain, parse_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..analysis.given import GivenPhase
    from ..structures.symmetry import SiteOrbit
    from ..structures.vocabulary import Candidate
    from .engines.periodic import PeriodicSettings

ISOTOPE_PATTERN = r"[1-9]\d{0,2}[A-Z][a-z]?"


def _is_isotope(text: str) -> str:
    if not re.fullmatch(ISOTOPE_PATTERN, text):
        from ..analysis.constants import isotopes

        raise ValueError(
            f"{text!r} is no nucleus: write the mass number before the symbol, {nearest(text, isotopes())}"
        )
    return text


Isotope = Annotated[str, AfterValidator(_is_isotope)]


def element_of(isotope: str) -> str:
    """Chemical symbol of an isotope such as ``27Al``."""
    return isotope.lstrip("0123456789")


class DftSettings(Frozen):
    """A step by DFT from where SevenNet, or the step before, ended, with the numbers of a protocol.

    A ``static`` step computes energy and forces and moves nothing. ``numbers`` replace those of the protocol by name,
    for example ``cutoff_ry``.
    """

    engine: Literal["cp2k", "pw", "vasp", "castep"]
    protocol: Literal["fast", "balanced", "stringent"] = "balanced"
    task: Literal["relax", "static"] = "relax"
    fmax_ev_per_ang: float = Field(default=0.05, gt=0, le=1)
    max_steps: int = Field(default=100, ge=1)
    numbers: dict[str, float | str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        dft_protocol_hash(self)
        return self


class RelaxSettings(Frozen):
    """How candidates are relaxed: by SevenNet or CHGNet, then by DFT if ``dft`` holds a step or a list of steps.

    In mode ``symmetric`` a slab relaxes on both faces and keeps its symmetry, so that equivalent sites
    stay equivalent; in mode ``fixed-bottom`` the lower half of its thickness does not move.
    The bulk cell stays at the literature cell unless ``relax_bulk_cell`` is set.
    """

    model: EmbeddedModel = "7net-l3i5"
    fmax_ev_per_ang: float = Field(default=0.03, gt=0, le=1)
    max_steps: int = Field(default=300, ge=1)
    mode: Literal["symmetric", "fixed-bottom"] = "symmetric"
    relax_bulk_cell: bool = False
    relax_bulk_positions: bool = True
    dft: tuple[DftSettings, ...] = ()

    @field_validator("dft", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        if value is None:
            return ()
        return value if isinstance(value, (list, tuple)) else (value,)


class NmrSettings(Frozen):
    """Which tensors are computed, and how.

    ``cluster`` is the engine of this project, one job per site; ``castep``, ``vasp`` and ``qe`` compute a whole
    candidate with GIPAW in one job. ``numbers`` replace those of a periodic engine's protocol by name, for example
    ``cutoff_ev``. With ``sites: surface`` a slab's atoms of the bulk region are skipped: the bulk candidate has them.
    ``references`` is a file of your own references (``surfshift reference --out``), which go before the shipped ones.
    """

    engine: Literal["cluster", "castep", "vasp", "qe"] = "cluster"
    protocol: Literal["fast", "balanced", "stringent", "hybrid"] = "fast"
    numbers: dict[str, float | str] = Field(default_factory=dict)
    isotopes: tuple[Isotope, ...] = Field(min_length=1)
    sites: Literal["all", "surface"] = "all"
    references: StudyPath = None

    @field_validator("isotopes")
    @classmethod
    def _each_once(cls, isotopes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(isotopes)) != len(isotopes):
            raise ValueError("an isotope is listed twice; list each once")
        return isotopes

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        if self.engine == "cluster" and self.numbers:
            raise ValueError("numbers: only castep, vasp and qe take them; the cluster engine has its protocols")
        nmr_protocol_hash(self)
        return self

    @property
    def elements(self) -> frozenset[str]:
        """Chemical symbols of the isotopes."""
        return frozenset(element_of(isotope) for isotope in self.isotopes)

    @property
    def periodic(self) -> PeriodicSettings | None:
        """The periodic engine with its protocol; None for the cluster engine."""
        if self.engine == "cluster" or self.protocol == "hybrid":  # no periodic engine has that protocol
            return None
        from .engines.periodic import PeriodicSettings

        return PeriodicSettings(engine=self.engine, protocol=self.protocol, numbers=self.numbers)

    @property
    def method_name(self) -> str:
        """What the methods of the tensors call the protocol: its name, and the numbers that differ from it."""
        return self.protocol if self.periodic is None else self.periodic.label


class MotionSettings(AverageSettings):
    """Which tensors are averaged over molecular dynamics, and how.

    Attributes
    ----------
    candidates
        Names of candidates; all without it. ``bulk`` means every bulk candidate.
    isotopes
        All of ``nmr.isotopes`` without it.
    sites
        Sites such as ``P3``, by element and number of an atom, counted from 0; all without it.
    shift_from
        Where the isotropic shielding is taken from: ``rest`` for references that were fitted to resting crystals, as
        the shipped ones are, ``average`` for references fitted to averaged compounds.
    """

    candidates: tuple[str, ...] = ()
    isotopes: tuple[Isotope, ...] = ()
    sites: tuple[Annotated[str, Field(pattern=r"^[A-Z][a-z]?\d+$")], ...] = ()
    shift_from: Literal["rest", "average"] = "rest"

    def wants_candidate(self, candidate: Candidate) -> bool:
        """Whether sites of a candidate are averaged."""
        named = {candidate.name, "bulk"} if candidate.kind == "bulk" else {candidate.name}
        return not self.candidates or not named.isdisjoint(self.candidates)

    def isotope_of(self, orbit: SiteOrbit, isotopes: Sequence[str]) -> str | None:
        """Isotope of a site that is averaged, of the study's; None for one that is left at rest."""
        named = {f"{orbit.element}{atom}" for atom in orbit.atom_indices}
        if self.sites and named.isdisjoint(self.sites):
            return None
        return next((i for i in self.isotopes or isotopes if element_of(i) == orbit.element), None)


class MeasuredSettings(Frozen):
    """One measured peak list (CSV) or spectrum (Bruker folder, JCAMP-DX, CSDM, ssNake JSON, text) and how it was taken.

    Of a spectrum, isotope, field, spinning rate and experiment may be left out where its file states them. ``sample``
    names the sample (before, after) where the study holds several, which then share candidates and site errors;
    ``name`` is what the report calls the measurement, the file's name without it. ``transfer`` states contact and
    dephasing times of CP, REDOR and TRAPDOR; ``satellites`` is the intensity of satellite transitions in a spectrum,
    over that after a short pulse.
    """

    sample: str = Field(default="", max_length=80)
    name: str = Field(default="", max_length=80)
    peaks: StudyPath = None
    spectrum: StudyPath = None
    isotope: Isotope | None = None
    field_tesla: float | None = Field(default=None, gt=0, le=60)
    mas_rate_hz: float | None = Field(default=None, ge=0)
    experiment: Experiment | None = None
    reference_mhz: float | None = Field(default=None, gt=0)
    row: int | None = Field(default=None, ge=0)
    part: Literal["processed", "fid"] | None = None
    correction: Correction = Correction()
    transfer: Transfer | None = None
    satellites: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _one_file(self) -> Self:
        if (self.peaks is None) == (self.spectrum is None):
            raise ValueError("give either 'peaks: FILE.csv' or 'spectrum: FILE', exactly one of them")
        if self.peaks is not None:
            for name in ("isotope", "field_tesla"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name}: this key is required beside 'peaks'; a list of peaks does not state it")
            for name in ("reference_mhz", "row", "part"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name}: this key belongs to 'spectrum', not to 'peaks'")
            if self.satellites:
                raise ValueError("satellites: this key belongs to 'spectrum', not to 'peaks'")
            if self.correction != Correction():
                raise ValueError("correction: this key belongs to 'spectrum', not to 'peaks'")
        return self

    @property
    def label(self) -> str:
        """Name of the measurement; empty to leave it to the file."""
        return self.name or (f"{self.sample}: {self.path.stem}" if self.sample else "")

    @property
    def path(self) -> Path:
        """The file, whichever kind it is."""
        path = self.peaks or self.spectrum
        assert path is not None
        return path


class RunSettings(Frozen):
    """How much of this machine a run may use, whether it stops early, and the workers' file of a cluster.

    With ``adaptive`` the cheapest tensors are computed for all candidates and the others only for those that the
    measurements have not ruled out by then.
    """

    adaptive: bool = False
    parallel_jobs: int = Field(default=2, ge=1, le=256)
    memory_gb: float = Field(default=8.0, gt=0.5)
    hpc: StudyPath = None

    @property
    def memory_per_job_mb(self) -> int:
        """Share of one job, megabyte; an eighth is left to the system and the runner."""
        return int(self.memory_gb * 1000 * 0.875 / self.parallel_jobs)


class StudyFile(Frozen):
    """A whole study, from a crystal and measured data to a verdict.

    ``given_phases`` is a YAML or CSV file of phases known by measured lines (Li metal, for example), which are weighed
    beside the candidates without being computed.
    """

    study: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    crystal: str | None = None
    structure: StudyPath = None
    candidates: CandidateSettings = CandidateSettings()
    relax: RelaxSettings = RelaxSettings()
    nmr: NmrSettings
    motion: MotionSettings | None = None
    given_phases: StudyPath = None
    measured: tuple[MeasuredSettings, ...] = ()
    matching: MatchSettings = MatchSettings()
    run: RunSettings = RunSettings()
    export: ExportSettings = ExportSettings()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.crystal is None) == (self.structure is None):
            raise ValueError("give either 'crystal: NAME' (library) or 'structure: FILE', exactly one of them")
        return self

    @model_validator(mode="after")
    def _bulk_sites_are_somewhere(self) -> Self:
        if self.nmr.sites == "surface" and not self.candidates.bulk:
            raise ValueError("nmr.sites: surface leaves bulk sites to the bulk candidate; set candidates.bulk: true")
        return self

    @model_validator(mode="after")
    def _adaptive_needs_sites(self) -> Self:
        if self.run.adaptive and self.nmr.engine != "cluster":
            raise ValueError(
                f"run.adaptive computes site by site, and {self.nmr.engine} computes a whole candidate at once; "
                "leave run.adaptive out, or use nmr.engine: cluster"
            )
        return self

    @model_validator(mode="after")
    def _adaptive_computes_all(self) -> Self:
        if self.run.adaptive and self.given_phases is not None:
            raise ValueError("given_phases: an adaptive run weighs computed candidates only; set run.adaptive: false")
        return self

    @model_validator(mode="after")
    def _moving_isotopes_are_computed(self) -> Self:
        if self.motion is None:
            return self
        unknown = [isotope for isotope in self.motion.isotopes if isotope not in self.nmr.isotopes]
        if unknown:
            raise ValueError(f"motion.isotopes: {unknown[0]} is not in nmr.isotopes; add it there")
        if self.nmr.engine != "cluster":
            raise ValueError(f"motion: averages are computed by the cluster engine, not by {self.nmr.engine}")
        if self.run.adaptive:
            raise ValueError("motion: averages are not part of an adaptive run; set run.adaptive: false")
        return self

    @property
    def job_hash(self) -> str:
        """Hash of everything that decides which jobs run; measured data, references and matching are not part of it."""
        payload: dict[str, Any] = self.model_dump(mode="json", include={"crystal", "relax", "nmr"})
        payload["candidates"] = hashed_candidates(self.candidates)
        del payload["nmr"]["references"]
        del payload["nmr"]["numbers"]
        del payload["relax"]["dft"]
        if self.relax.dft:
            payload["dft"] = [
                [step.model_dump(mode="json", exclude={"numbers"}), dft_protocol_hash(step)] for step in self.relax.dft
            ]
        payload["protocol"] = nmr_protocol_hash(self.nmr)
        if self.motion is not None:
            payload["motion"] = self.motion.model_dump(mode="json", exclude={"shift_from"})
        if self.structure is not None:
            payload["structure"] = hashlib.sha256(self.structure.read_bytes()).hexdigest()
        films = [coating.film_structure for coating in self.candidates.interfaces if coating.film_structure is not None]
        if films:
            payload["films"] = [hashlib.sha256(film.read_bytes()).hexdigest() for film in films]
        return content_hash(payload)


def nmr_protocol_hash(nmr: NmrSettings) -> str:
    """Hash of the numbers of the NMR step.

    Raises
    ------
    UnknownProtocolError
        If a number that the settings replace is unknown or does not fit.
    """
    if nmr.engine == "cluster":
        return load_protocol(nmr.protocol).hash
    from .engines.inputs.protocols import periodic_protocol

    return periodic_protocol(nmr.engine, nmr.protocol, **nmr.numbers).hash


def dft_protocol_hash(step: DftSettings) -> str:
    """Hash of the numbers of a DFT step.

    Raises
    ------
    UnknownProtocolError
        If a number that the step replaces is unknown or does not fit.
    """
    from .engines.dft.protocols import dft_protocol

    return dft_protocol(step.engine, step.protocol, **step.numbers).hash


def load_study(path: str | Path) -> StudyFile:
    """Read and check a study file.

    Parameters
    ----------
    path
        The YAML file.

    Raises
    ------
    StudyError
        If the file is missing, is no YAML, or has an unknown key, a wrong value or a missing file;
        the message lists every problem with its place and line.
    """
    file = Path(path).expanduser()
    data, lines = parse_yaml(file)
    try:
        study = StudyFile.model_validate(data, context={"folder": file.resolve().parent})
    except ValidationError as error:
        raise StudyError(explain(error, StudyFile, file, lines)) from error
    named: dict[Place, Path | None] = {("structure",): study.structure, ("nmr", "references"): study.nmr.references}
    named[("given_phases",)] = study.given_phases
    named |= {
        ("candidates", "interfaces", k, "film_structure"): c.film_structure
        for k, c in enumerate(study.candidates.interfaces)
    }
    named[("run", "hpc")] = study.run.hpc
    named |= {("measured", k, "peaks" if m.peaks else "spectrum"): m.path for k, m in enumerate(study.measured)}
    problems = [
        f"{lines.place(place)}: the file {target} does not exist"
        for place, target in named.items()
        if target is not None and not (target.is_file() or (place[-1] == "spectrum" and target.is_dir()))
    ]
    problems += [
        f"{lines.place(('measured', k, 'isotope'))}: {m.isotope} is measured but not in nmr.isotopes; add it there"
        for k, m in enumerate(study.measured)
        if m.isotope is not None and m.isotope not in study.nmr.isotopes
    ]
    if problems:
        raise StudyError("\n".join([f"{file} cannot be used:", *(f"  {problem}" for problem in problems)]))
    phases_of(study)
    return study


def phases_of(study: StudyFile) -> tuple[GivenPhase, ...]:
    """Phases with given lines that a study weighs beside its candidates.

    Raises
    ------
    GivenPhaseError
        If the file cannot be used, or a phase lacks lines of a nucleus that the study measures.
    """
    if study.given_phases is None:
        return ()
    from ..analysis.given_phases import GivenPhaseError, missing_isotopes, read_given_phases

    phases = read_given_phases(study.given_phases)
    for phase in phases:
        if missing := missing_isotopes(phase, study.nmr.isotopes):
            raise GivenPhaseError(
                f"{study.given_phases}: {phase.phase} gives no line of {', '.join(missing)}, which the study has in "
                "nmr.isotopes; a missing line would count against it, so give one"
            )
    return phases
