"""Settings of a match: priors and tolerances, each with its meaning and unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from ...structures.vocabulary import Frozen
from ..constants import isotope as nucleus_of
from .energy_prior import EnergyPrior  # noqa: TC001  (pydantic evaluates the annotation)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..vocabulary import PredictedSite

SHIFT_RANGE_PPM = {"H": 20.0, "Li": 10.0, "O": 400.0, "F": 250.0, "Na": 80.0, "Al": 120.0, "Si": 100.0, "P": 120.0}
"""Width of the range in which a line of an unknown compound may lie, ppm."""

RESOLUTION_PPM = {"H": 0.6, "Li": 0.5, "O": 6.0, "F": 4.0, "Na": 4.0, "Al": 4.0, "Si": 2.0, "P": 2.0}
"""Distance (one standard deviation) below which two lines would be listed as one peak, ppm."""


class MatchSettings(Frozen):
    """Priors and tolerances of a match.

    Attributes
    ----------
    max_members
        Largest number of candidates in one explanation, those always present not counted.
    always_present
        Ids of candidates that every explanation contains, for example the known bulk.
    none_prior
        Prior probability that the sample holds something that is not in the list.
    size_ratio
        Prior probability of an explanation with one more candidate, relative to one fewer.
    identified_probability
        Posterior probability above which one explanation counts as found.
    none_probability
        Posterior probability of something unlisted from which the verdict is "none of these".
    group_probability
        Posterior probability, among explanations by candidates, that a group named together holds.
    min_fit_probability
        With spectra: posterior predictive p-value below which even the best explanation is refused. Beside peak lists
        a bad fit raises the probability of something unlisted.
    shift_ranges_ppm
        By isotope, width of the range in which a line of an unknown compound may lie, ppm, where it is not the nucleus'
        usual one. Where phases with given lines lie further apart, the range reaches from the first to the last.
    missed_probability
        Probability that a fully visible line is not listed as a peak of its own.
    unexplained_rate
        Expected number of peaks per list that belong to none of the candidates present.
    stranger_share
        Part of the lines of an unlisted compound that may lie anywhere; the rest lie about those of the candidates.
    cq_range_mhz
        Range in which the CQ of an unknown compound may lie, MHz.
    cq_resolution_mhz, eta_model_error
        Two lines closer in CQ would be listed as one; error of a computed eta.
    area_error_fraction
        Error of areas beside the given one: unequal excitation and relaxation.
    area_outlier
        Probability that the areas of a list say nothing, for example because lines were taken together wrongly.
    cp_range_ang, trapdor_range_ang
        Distance to 1H at which half the signal is seen under CP and TRAPDOR, angstrom.
    invisible_width_ppm
        Second-order width at which half of the lines are too broad to be listed, ppm.
    model_error_fraction
        Error of a simulated spectrum relative to its tallest point, beside the noise.
    broadenings_ppm
        Range of the Gaussian broadening of spectra, ppm; empty: chosen from the window and the nucleus.
    width_spread
        Standard deviation of the logarithm of a site's broadening about that of its spectrum.
    max_spectrum_points
        Spectra with more points are averaged down to at most this many.
    exhaustive_candidates
        Up to this many candidates all subsets are tried on peak lists, otherwise the best are grown.
    screened_subsets
        With spectra and more candidates than that, so many subsets of each size survive the screening and are fitted.
    beam_width
        Number of assignments of peaks to sites that are kept.
    growth_width
        Number of explanations that are extended when subsets are grown.
    least_population
        Least population of a candidate that counts as present; the prior of populations is flat above it.
    n_siblings
        Something unlisted is weighed beside peak lists as imagined candidates made of the sites of those listed: how
        many choices of sites are drawn for each nucleus and number of sites.
    free_share
        Part of what is unlisted that is like no candidate: any number of lines, each for itself, instead of those of
        imagined candidates, and whatever a bad fit of the best explanation speaks for.
    n_population_samples, seed
        Random samples of the populations per candidate beyond the first, drawn with a fixed seed.
    energy_prior
        Energies of the candidates as a prior; nothing is assumed without.
    """

    max_members: int = Field(default=3, ge=1)
    always_present: tuple[str, ...] = ()
    none_prior: float = Field(default=0.2, gt=0, lt=1)
    size_ratio: float = Field(default=0.5, gt=0, le=1)
    identified_probability: float = Field(default=0.95, gt=0.5, lt=1)
    none_probability: float = Field(default=0.5, gt=0, lt=1)
    group_probability: float = Field(default=0.99, gt=0.5, lt=1)
    min_fit_probability: float = Field(default=0.03, gt=0, lt=0.5)
    shift_ranges_ppm: dict[str, float] = Field(default_factory=dict)
    missed_probability: float = Field(default=0.1, gt=0, lt=1)
    unexplained_rate: float = Field(default=0.03, gt=0, lt=1)
    stranger_share: float = Field(default=0.1, gt=0, lt=1)
    cq_range_mhz: float = Field(default=15.0, gt=0)
    cq_resolution_mhz: float = Field(default=0.7, gt=0)
    eta_model_error: float = Field(default=0.15, gt=0)
    area_error_fraction: float = Field(default=0.1, ge=0)
    area_outlier: float = Field(default=0.05, gt=0, lt=1)
    cp_range_ang: float = Field(default=4.0, gt=0)
    trapdor_range_ang: float = Field(default=3.5, gt=0)
    invisible_width_ppm: float = Field(default=80.0, gt=0)
    model_error_fraction: float = Field(default=0.02, ge=0)
    broadenings_ppm: tuple[float, ...] = ()
    width_spread: float = Field(default=0.15, gt=0)
    max_spectrum_points: int = Field(default=384, ge=64)
    exhaustive_candidates: int = Field(default=12, ge=1)
    screened_subsets: int = Field(default=12, ge=1)
    beam_width: int = Field(default=24, ge=1)
    growth_width: int = Field(default=5, ge=1)
    least_population: float = Field(default=0.0, ge=0, lt=0.2)
    n_siblings: int = Field(default=64, ge=16)
    free_share: float = Field(default=0.1, gt=0, lt=1)
    n_population_samples: int = Field(default=400, ge=200)
    seed: int = 0
    energy_prior: EnergyPrior | None = None

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if any(width <= 0 for width in self.broadenings_ppm):
            raise ValueError(f"broadenings_ppm must be above 0, got {self.broadenings_ppm}")
        if any(not width > 0 for width in self.shift_ranges_ppm.values()):
            raise ValueError(f"shift_ranges_ppm must be above 0, got {self.shift_ranges_ppm}")
        count = self.max_members + len(self.always_present)
        if count * self.least_population >= 1.0:
            raise ValueError(
                f"{count} candidates cannot each have a population of at least {self.least_population}; "
                "lower least_population or max_members"
            )
        return self

    def shift_range_ppm(self, isotope: str) -> float:
        """Range of shifts of an isotope's unknown lines, ppm."""
        if isotope in self.shift_ranges_ppm:
            return self.shift_ranges_ppm[isotope]
        return SHIFT_RANGE_PPM.get(nucleus_of(isotope).element, 300.0)

    def reaching(self, sites: Iterable[PredictedSite]) -> MatchSettings:
        """The settings with ranges of shifts that reach over the given lines, and over computed ones beside them."""
        listed = list(sites)
        ranges = dict(self.shift_ranges_ppm)
        for name in {site.isotope for site in listed if site.is_given} - set(ranges):
            ends = [
                site.delta_iso_ppm + sign * 2.0 * site.delta_error_ppm
                for site in listed
                if site.isotope == name
                for sign in (1.0, -1.0)
            ]
            ranges[name] = max(self.shift_range_ppm(name), max(ends) - min(ends))
        return self if ranges == self.shift_ranges_ppm else self.model_copy(update={"shift_ranges_ppm": ranges})

    def resolution_ppm(self, isotope: str) -> float:
        """Distance at which two lines of an isotope merge in a list, ppm."""
        return RESOLUTION_PPM.get(nucleus_of(isotope).element, 4.0)
