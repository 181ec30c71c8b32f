"""The words of an analysis: tensors, references, predictions, measurements and the verdict.

Units: shielding and shift in ppm, EFG in atomic units (Hartree per e bohr^2), CQ in MHz, field in
tesla, spinning rate in Hz. Tensors are stored in the Cartesian frame of the candidate's structure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from ..structures.vocabulary import Candidate, Frozen, Grade, Region, Tensor3
from .constants import isotope as nucleus_of
from .given import GivenPhase  # noqa: TC001  (pydantic evaluates the annotation)
from .transfer import Transfer  # noqa: TC001


class Method(Frozen):
    """What produced a tensor. Shifts may only be referenced within one method.

    ``protocol_hash`` covers every number of the protocol, so that two protocols of one name differ.
    """

    engine: str
    engine_version: str
    functional: str
    protocol: str
    protocol_hash: str

    @property
    def key(self) -> str:
        """Identity for referencing: everything but the engine's patch level."""
        return f"{self.engine}/{self.functional}/{self.protocol}/{self.protocol_hash}"

    @property
    def family(self) -> str:
        """What all nuclei of a match must have in common; the hash may cover the nucleus' own pseudopotential."""
        return f"{self.engine}/{self.functional}/{self.protocol}"


class MotionAverage(Frozen):
    """What the tensors of a moving site are averages of, beside those at rest by the same method.

    Attributes
    ----------
    source, temperature_k
        ``molecular dynamics`` or ``harmonic vibrations``, and its temperature.
    n_snapshots
        Snapshots that were averaged.
    sigma_iso_ppm, sigma_iso_error_ppm, rest_sigma_iso_ppm
        Isotropic shielding of the average, its standard error, and the one at rest.
    cq_mhz, cq_error_mhz, rest_cq_mhz
        |CQ| of the averaged field gradient, its standard error, and |CQ| at rest; zero without a quadrupole moment.
    shift_from
        Whether the isotropic part of the site's shielding is that at rest or that of the average. References fitted to
        resting crystals already hold the vibrations of these crystals, so that ``rest`` goes with them.
    flags
        Why static tensors are not to be trusted; empty where they are.
    """

    source: str
    temperature_k: float = Field(gt=0)
    n_snapshots: int = Field(ge=1)
    sigma_iso_ppm: float
    sigma_iso_error_ppm: float = Field(ge=0)
    rest_sigma_iso_ppm: float
    cq_mhz: float = Field(default=0.0, ge=0)
    cq_error_mhz: float = Field(default=0.0, ge=0)
    rest_cq_mhz: float = Field(default=0.0, ge=0)
    shift_from: Literal["rest", "average"] = "rest"
    flags: tuple[str, ...] = ()


class SiteTensors(Frozen):
    """Shielding and EFG tensors of one symmetry-distinct site, expanded to its equivalents.

    Attributes
    ----------
    structure_id
        ``AtomicStructure.content_id`` of the structure the tensors belong to.
    element
        Chemical symbol of the site.
    atom_indices
        Indices of the equivalent atoms; the first one was computed, the others follow by symmetry.
    shielding_ppm
        One 3x3 shielding tensor per entry of ``atom_indices``; rows are the induced field, columns
        the external field; the antisymmetric part is kept.
    efg_au
        One symmetric traceless 3x3 EFG tensor per entry of ``atom_indices``, atomic units.
    checks
        Numbers that were checked, for example ``gap_ev`` or ``n_electrons``.
    cpu_seconds
        Processor time of the computation.
    motion
        Set where the tensors are averages over motion.
    """

    structure_id: str
    element: str
    atom_indices: tuple[int, ...]
    shielding_ppm: tuple[Tensor3, ...]
    efg_au: tuple[Tensor3, ...]
    method: Method
    checks: dict[str, float] = Field(default_factory=dict)
    cpu_seconds: float = 0.0
    motion: MotionAverage | None = None

    @model_validator(mode="after")
    def _one_tensor_per_atom(self) -> Self:
        if not len(self.atom_indices) == len(self.shielding_ppm) == len(self.efg_au) >= 1:
            raise ValueError(
                f"{len(self.atom_indices)} atoms, {len(self.shielding_ppm)} shielding and {len(self.efg_au)} EFG "
                "tensors were given; one of each per equivalent atom is needed"
            )
        return self

    @property
    def sigma_iso_ppm(self) -> float:
        """Isotropic shielding, trace / 3, of the computed atom."""
        tensor = self.shielding_ppm[0]
        return (tensor[0][0] + tensor[1][1] + tensor[2][2]) / 3.0


class ReferenceCompound(Frozen):
    """One computed compound with its published shift, as used in a reference fit.

    ``sigma_error_ppm`` is what is known to be uncertain in this very shielding, for example from averaging; the error
    that every computed shielding has is fitted. ``environment`` names what the site is bonded to, for example ``AlO4``;
    empty if not known.
    """

    name: str
    sigma_iso_ppm: float
    sigma_error_ppm: float = Field(default=0.0, ge=0)
    delta_iso_ppm: float
    delta_error_ppm: float
    source: str
    grade: Grade
    environment: str = ""


class Reference(Frozen):
    """Linear relation delta = intercept + slope * sigma for one isotope and one method.

    Attributes
    ----------
    covariance
        Covariance matrix of (slope, intercept); units (1, ppm; ppm, ppm^2).
    sigma_mean_ppm
        Mean shielding of the fitted compounds, where slope and shift are least correlated.
    site_error_ppm
        Standard deviation of a single site about the line (the DFT error of a site), over all environments; where the
        scatter has heavy tails, that of the normal distribution with the same central 95 % interval.
    site_scale_ppm, site_dof
        Scale and degrees of freedom of the Student distribution of that scatter; None where it is taken as normal.
    cq_factor
        A computed CQ times this is expected.
    environment_errors_ppm
        ``site_error_ppm`` for sites of one environment (``AlO4``), where compounds of that environment were fitted.
    cq_error_fraction
        Relative standard deviation of a computed CQ.
    cq_error_mhz
        Absolute part of that standard deviation, MHz; None takes that of ``prediction``.
    is_wide
        Whether no compound stands behind it, so that it only says where a shift roughly lies.
    """

    isotope: str
    method: Method
    slope: float
    intercept_ppm: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    sigma_mean_ppm: float
    site_error_ppm: float = Field(gt=0)
    site_scale_ppm: float | None = Field(default=None, gt=0)
    site_dof: float | None = Field(default=None, gt=0)
    cq_factor: float = Field(default=1.0, gt=0)
    environment_errors_ppm: dict[str, float] = Field(default_factory=dict)
    cq_error_fraction: float = Field(default=0.1, gt=0)
    cq_error_mhz: float | None = Field(default=None, gt=0)
    is_wide: bool = False
    compounds: tuple[ReferenceCompound, ...]
    note: str = ""

    def error_of(self, environment: str) -> float:
        """Standard deviation of a site in an environment, ppm; that over all environments where it has no own."""
        return self.environment_errors_ppm.get(environment, self.site_error_ppm)


class PredictedSite(Frozen):
    """What one symmetry-distinct site of a candidate should show.

    ``delta_error_ppm`` is the error of this site alone (the reference's own covariance is shared by
    all sites of the isotope and stays in the ``Reference``). ``environment`` names what the site is bonded to, for
    example ``AlO4``. ``zeta_csa_ppm`` and ``eta_csa`` follow
    Haeberlen on the shift scale. ``distance_to_h_ang`` is None without hydrogen in the candidate. Of a given phase
    ``sigma_iso_ppm`` is None: its shift was measured, so that no reference and no error of DFT applies to it.
    ``width_ppm`` is a full width at half maximum that the line has beside the broadening of its spectrum. Where
    ``is_disordered``, the couplings have a Czjzek distribution, and ``cq_mhz`` is its typical one
    (``disorder.typical_coupling``). ``dipolar_sums`` are sums of r^-6 in angstrom^-6 over the neighbours of an element,
    and under ``HH`` that among hydrogens about the nearest one; only where a measurement needs them.
    """

    candidate_id: str
    candidate_name: str
    isotope: str
    atom_indices: tuple[int, ...]
    region: Region
    sigma_iso_ppm: float | None
    delta_iso_ppm: float
    delta_error_ppm: float = Field(gt=0)
    zeta_csa_ppm: float
    eta_csa: float = Field(ge=0, le=1)
    cq_mhz: float
    cq_error_mhz: float = Field(ge=0)
    eta_q: float = Field(ge=0, le=1)
    distance_to_h_ang: float | None = None
    environment: str = ""
    width_ppm: float = Field(default=0.0, ge=0)
    is_disordered: bool = False
    dipolar_sums: dict[str, float] = Field(default_factory=dict)

    @property
    def multiplicity(self) -> int:
        """Number of equivalent atoms in the candidate's cell."""
        return len(self.atom_indices)

    @property
    def is_given(self) -> bool:
        """Whether the line was measured, not computed."""
        return self.sigma_iso_ppm is None


class Experiment(StrEnum):
    """How a measurement was excited; decides which sites it can see and whether areas count atoms."""

    ONE_PULSE = "one-pulse"
    ECHO = "echo"
    CP = "cp"
    TRAPDOR = "trapdor"
    MQMAS = "mqmas"
    REDOR = "redor"

    @property
    def counts_atoms(self) -> bool:
        """Whether areas are populations: not near hydrogen only, and not where excitation depends on the coupling."""
        return self in {Experiment.ONE_PULSE, Experiment.ECHO}

    @property
    def is_surface_selective(self) -> bool:
        """Whether intensity depends on the distance to 1H, so that areas are not populations."""
        return self in {Experiment.CP, Experiment.TRAPDOR}


def check_experiment(isotope: str, experiment: Experiment) -> None:
    """Refuse MQMAS of a nucleus without it.

    Raises
    ------
    ValueError
    """
    if experiment is Experiment.MQMAS:
        nucleus = nucleus_of(isotope)
        if not nucleus.is_half_integer_quadrupolar:
            raise ValueError(
                f"{isotope} has spin {nucleus.spin:g}: MQMAS needs a half-integer spin above 1/2, for example 27Al"
            )


class Peak(Frozen):
    """One measured line. At least one of shift, observed position and CQ is given, each with its error.

    ``delta_iso_ppm`` is free of the second-order quadrupolar shift; ``position_ppm`` is the centre of
    gravity as observed. ``area`` is relative within its peak list; ``width_ppm`` is the full width at half
    height; ``dephasing`` is dS/S0 of REDOR or TRAPDOR.
    """

    label: str = ""
    delta_iso_ppm: float | None = None
    delta_error_ppm: float | None = Field(default=None, gt=0)
    position_ppm: float | None = None
    position_error_ppm: float | None = Field(default=None, gt=0)
    cq_mhz: float | None = Field(default=None, ge=0)
    cq_error_mhz: float | None = Field(default=None, gt=0)
    eta_q: float | None = Field(default=None, ge=0, le=1)
    eta_error: float | None = Field(default=None, gt=0)
    area: float | None = Field(default=None, gt=0)
    area_error: float | None = Field(default=None, gt=0)
    width_ppm: float | None = Field(default=None, gt=0)
    width_error_ppm: float | None = Field(default=None, gt=0)
    dephasing: float | None = Field(default=None, ge=-0.2, le=1.2)
    dephasing_error: float | None = Field(default=None, gt=0)
    source: str = ""

    @model_validator(mode="after")
    def _says_something_with_an_error(self) -> Self:
        pairs = {
            "delta_iso_ppm": (self.delta_iso_ppm, self.delta_error_ppm),
            "position_ppm": (self.position_ppm, self.position_error_ppm),
            "cq_mhz": (self.cq_mhz, self.cq_error_mhz),
            "eta_q": (self.eta_q, self.eta_error),
            "area": (self.area, self.area_error),
            "width_ppm": (self.width_ppm, self.width_error_ppm),
            "dephasing": (self.dephasing, self.dephasing_error),
        }
        for name, (value, error) in pairs.items():
            if (value is None) != (error is None):
                raise ValueError(
                    f"peak {self.label!r}: {name} needs both a value and an error, got {value} and {error}"
                )
        if all(pairs[name][0] is None for name in ("delta_iso_ppm", "position_ppm", "cq_mhz")):
            raise ValueError(f"peak {self.label!r} gives neither delta_iso_ppm, position_ppm nor cq_mhz")
        return self


class PeakList(Frozen):
    """Measured lines of one isotope in one experiment; ``sample`` names the sample where there are several.

    Of MQMAS a ``position_ppm`` is that in the isotropic dimension, on the scale where a shift counts once (``mqmas``).
    """

    kind: Literal["peaks"] = "peaks"
    name: str
    isotope: str
    field_tesla: float = Field(gt=0)
    mas_rate_hz: float = Field(default=0.0, ge=0)
    experiment: Experiment = Experiment.ONE_PULSE
    peaks: tuple[Peak, ...] = Field(min_length=1)
    source: str = ""
    sample: str = ""
    transfer: Transfer | None = None

    @model_validator(mode="after")
    def _experiment_fits(self) -> Self:
        check_experiment(self.isotope, self.experiment)
        return self


class Spectrum(Frozen):
    """A measured one-dimensional spectrum; of MQMAS the projection on the isotropic dimension.

    ``axis_ppm`` is ascending; ``intensity`` in any unit; ``noise`` is the standard deviation of one
    point of ``intensity``, and ``noise_correlation_points`` says how many neighbouring points carry one
    independent value of it (above 1 after zero filling or apodisation). ``notes`` say how it was read;
    ``sample`` names the sample where there are several. ``satellites`` is the intensity of satellite transitions over
    that after a short pulse; 0 leaves them out.
    """

    kind: Literal["spectrum"] = "spectrum"
    name: str
    isotope: str
    field_tesla: float = Field(gt=0)
    mas_rate_hz: float = Field(default=0.0, ge=0)
    experiment: Experiment = Experiment.ONE_PULSE
    axis_ppm: tuple[float, ...]
    intensity: tuple[float, ...]
    noise: float = Field(gt=0)
    noise_correlation_points: float = Field(default=1.0, ge=1)
    source: str = ""
    notes: tuple[str, ...] = ()
    sample: str = ""
    transfer: Transfer | None = None
    satellites: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _axis_matches(self) -> Self:
        check_experiment(self.isotope, self.experiment)
        if len(self.axis_ppm) != len(self.intensity) or len(self.axis_ppm) < 8:
            raise ValueError(
                f"{len(self.axis_ppm)} axis points and {len(self.intensity)} intensities; "
                "equally many and at least 8 are needed"
            )
        if any(b <= a for a, b in zip(self.axis_ppm, self.axis_ppm[1:], strict=False)):
            raise ValueError("axis_ppm must ascend strictly; reverse the axis and the intensities together")
        return self


Measurement = PeakList | Spectrum


class Verdict(StrEnum):
    """What the data allow to say."""

    IDENTIFIED = "identified"
    ONE_OF = "one of these"
    NONE = "none of these"


class Population(Frozen):
    """Posterior share of one candidate: mean, central 90 % interval and probability of being present."""

    candidate_id: str
    candidate_name: str
    mean: float
    low: float
    high: float
    probability_present: float = Field(ge=0, le=1)


class SamplePopulations(Frozen):
    """Populations of every candidate in one of several samples that were matched together."""

    sample: str
    populations: tuple[Population, ...]


class PopulationChange(Frozen):
    """By how much a candidate's population changes from one sample to another: mean and central 90 % interval.

    ``probability_increase`` is the probability that the population is larger in the later sample; a half where nothing
    is known.
    """

    candidate_name: str
    before: str
    after: str
    mean: float
    low: float
    high: float
    probability_increase: float = Field(ge=0, le=1)


class SubsetEvidence(Frozen):
    """One combination of candidates, with its evidence and posterior probability; empty means none of them."""

    candidate_names: tuple[str, ...]
    log_evidence: float
    probability: float = Field(ge=0, le=1)


class Attribution(Frozen):
    """Which site of which candidate explains a measured line, with probability and standardised residual."""

    measurement: str
    peak_label: str
    candidate_name: str
    atom_indices: tuple[int, ...]
    probability: float = Field(ge=0, le=1)
    residual_sigmas: float


class Unexplained(Frozen):
    """Measured intensity that no candidate explains, as a fraction of its measurement."""

    measurement: str
    where: str
    fraction: float = Field(ge=0, le=1)


class FittedCurve(Frozen):
    """A spectrum's fit for drawing: total and one part per candidate, on the spectrum's own axis."""

    measurement: str
    total: tuple[float, ...]
    baseline: tuple[float, ...]
    parts: dict[str, tuple[float, ...]]


class ReferenceFit(Frozen):
    """Where the best explanation put the reference of an isotope, against what the reference compounds allow.

    Attributes
    ----------
    sigma_ppm
        Shielding at which offsets are given, the mean of the matched sites, ppm.
    prior_covariance
        Covariance of (offset at that shielding, slope) as the reference has it; units (ppm^2, ppm; ppm, 1).
    mean, covariance
        The same two after the fit: mean change (ppm, 1) and covariance.
    """

    isotope: str
    sigma_ppm: float
    prior_covariance: tuple[tuple[float, float], tuple[float, float]]
    mean: tuple[float, float]
    covariance: tuple[tuple[float, float], tuple[float, float]]


class Assignment(Frozen):
    """The verdict on a sample, or on several matched together, with the numbers behind it.

    ``populations`` are those of the first sample; with several, ``samples`` has those of each, and ``changes`` compares
    each with the one before it and the last with the first.
    """

    verdict: Verdict
    statement: str
    members: tuple[str, ...]
    probability: float = Field(ge=0, le=1)
    populations: tuple[Population, ...]
    subsets: tuple[SubsetEvidence, ...]
    attributions: tuple[Attribution, ...]
    unexplained: tuple[Unexplained, ...]
    curves: tuple[FittedCurve, ...] = ()
    offsets_ppm: dict[str, float] = Field(default_factory=dict)
    reference_fits: tuple[ReferenceFit, ...] = ()
    samples: tuple[SamplePopulations, ...] = ()
    changes: tuple[PopulationChange, ...] = ()
    fit_probability: float = Field(ge=0, le=1)
    warnings: tuple[str, ...] = ()


class Sensitivity(Frozen):
    """The verdict after one change: a measurement left out, or a reference moved."""

    change: str
    verdict: Verdict
    members: tuple[str, ...]
    probability: float = Field(ge=0, le=1)
    fit_probability: float = Field(ge=0, le=1)


class ExperimentGain(Frozen):
    """What a further experiment is expected to say about which explanation is true.

    ``gain_bits`` is the expected fall of the entropy of the explanations, ``entropy_bits`` that entropy now.
    """

    name: str
    isotope: str
    field_tesla: float = Field(gt=0)
    experiment: Experiment
    gain_bits: float
    entropy_bits: float = Field(ge=0)


class CalculationGain(Frozen):
    """What a further DFT calculation is expected to say about which explanation is true.

    ``kind`` is ``protocol`` (the sites of a listed candidate again, with smaller errors) or ``sites`` (those of a
    candidate that has none yet). ``site_error_factor`` is the error of the new shifts over the present ones, and
    ``basis`` where that number comes from. ``gain_bits`` and ``entropy_bits`` as for ``ExperimentGain``;
    ``cpu_hours`` is an estimate, None where nothing is known.
    """

    name: str
    kind: Literal["protocol", "sites"]
    candidate_name: str
    protocol: str
    n_sites: int = Field(ge=1)
    site_error_factor: float = Field(gt=0)
    basis: str = ""
    gain_bits: float
    entropy_bits: float = Field(ge=0)
    cpu_hours: float | None = Field(default=None, ge=0)


class Relaxation(Frozen):
    """A relaxed candidate with how it got there.

    ``candidate`` holds the relaxed structure; ``start_id`` is the id of the candidate as built.
    ``energy_ev`` is the potential energy of the cell.
    """

    start_id: str
    candidate: Candidate
    energy_ev: float
    max_force_ev_per_ang: float = Field(ge=0)
    n_steps: int = Field(ge=0)
    is_converged: bool
    model: str


class StudyResult(Frozen):
    """All that a study produced; the report is drawn from this alone.

    ``tensors`` maps the id of a relaxed candidate to its sites. ``provenance`` holds versions,
    protocols and hashes. ``failures`` names every job that failed and why. ``candidates`` came with their tensors and
    were relaxed elsewhere; ``given`` are phases known by measured lines, without tensors. ``sensitivities``,
    ``experiments`` and ``calculations`` say what the verdict hangs on and what would sharpen it most, best first.
    """

    name: str
    relaxations: tuple[Relaxation, ...]
    tensors: dict[str, tuple[SiteTensors, ...]]
    references: tuple[Reference, ...]
    sites: tuple[PredictedSite, ...]
    measurements: tuple[PeakList | Spectrum, ...]
    assignment: Assignment | None
    provenance: dict[str, str]
    failures: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    given: tuple[GivenPhase, ...] = ()
    sensitivities: tuple[Sensitivity, ...] = ()
    experiments: tuple[ExperimentGain, ...] = ()
    calculations: tuple[CalculationGain, ...] = ()
