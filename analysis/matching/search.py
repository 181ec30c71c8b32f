"""Evidence of every explanation: subsets of the candidates, and the rival that something else is present."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...structures.errors import SurfshiftError
from ..reference_fit import MixedMethodsError
from ..vocabulary import PeakList, Spectrum
from .joint import JointModel
from .peaks import PeakFit, fit_peaks
from .populations import AreaData, PopulationFit, area_data, fit_populations
from .screening import Screen
from .sites import SiteTable, site_table
from .spectra import KernelStore, SpectrumFit, SpectrumTask, curve_parts, grid_of
from .unknown import unknown_log_evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from ..vocabulary import Measurement, PredictedSite, Reference
    from .settings import MatchSettings


_HOPELESS = 100.0
"""Fits of spectra that stay so much worse than the best so far, in units of log likelihood, are not refined."""

_PRUNED = 4
_DOUBTFUL = 0.12
"""Population below which an explanation is also fitted without the candidate."""


class MatchError(SurfshiftError):
    """Candidates, measurements and references that cannot be matched as given."""


class SubsetFit(NamedTuple):
    """One explanation with all its fits; ``members`` are positions in the problem's list of candidates.

    ``populations`` are those of the first sample, ``by_sample`` those of all. ``spectral_occam`` is what the evidence
    of the spectra lies below the likelihood of the best fit, amplitudes left aside.
    """

    members: tuple[int, ...]
    log_evidence: float
    tables: dict[str, SiteTable]
    peaks: dict[str, PeakFit]
    spectra: dict[str, SpectrumFit]
    populations: PopulationFit
    fit_probability: float
    by_sample: tuple[PopulationFit, ...] = ()
    spectral_occam: float = 0.0


class Weighed(NamedTuple):
    """An explanation with its posterior probability; ``fit`` is None for something that is not in the list."""

    fit: SubsetFit | None
    log_evidence: float
    probability: float


class Problem:
    """A match to be solved: checked inputs, and fits of subsets that are made once.

    Parameters
    ----------
    candidates
        Predicted sites by candidate id.
    measurements, references, settings
        As for ``match``.

    Raises
    ------
    MatchError
        If nothing can be compared, or an id in ``always_present`` is unknown.
    MixedMethodsError
        If the references come from different methods.
    """

    def __init__(
        self,
        candidates: Mapping[str, Sequence[PredictedSite]],
        measurements: Sequence[Measurement],
        references: Mapping[str, Reference],
        settings: MatchSettings,
    ) -> None:
        self.settings = settings
        self.references = dict(references)
        self.warnings: list[str] = []
        self.ids = sorted(candidates)
        self.sites = {key: tuple(candidates[key]) for key in self.ids}
        self._check(measurements)
        self.names = {key: self.sites[key][0].candidate_name if self.sites[key] else key for key in self.ids}
        self.isotopes = sorted({m.isotope for m in self.measurements})
        self.lists = {
            n: [m for m in self.measurements if isinstance(m, PeakList) and m.isotope == n] for n in self.isotopes
        }
        self.spectra = {
            n: [m for m in self.measurements if isinstance(m, Spectrum) and m.isotope == n] for n in self.isotopes
        }
        self.grids = {m.name: grid_of(m, settings) for m in self.measurements if isinstance(m, Spectrum)}
        self.n_samples = 1
        self.sample_of = {m.name: 0 for m in self.measurements}
        self.tasks = self._tasks()
        self.always = tuple(i for i, key in enumerate(self.ids) if key in settings.always_present)
        self.others = tuple(i for i in range(len(self.ids)) if i not in self.always)
        self.store = KernelStore()
        self._best_objective, self._hopeless, self._is_thorough = math.inf, _HOPELESS, True
        self._fits: dict[tuple[int, ...], SubsetFit] = {}
        atoms = [
            sum(site.multiplicity for site in self.sites[key] if site.isotope in self.isotopes) for key in self.ids
        ]
        self._atoms = [max(1, count) for count in atoms]

    def _check(self, measurements: Sequence[Measurement]) -> None:
        if not self.ids:
            raise MatchError("no candidate was given; build and predict at least one")
        if not measurements:
            raise MatchError("no measurement was given; add a peak list or a spectrum to the study")
        unknown = sorted(set(self.settings.always_present) - set(self.ids))
        if unknown:
            raise MatchError(f"always_present names {', '.join(unknown)}, which is no candidate id; known: {self.ids}")
        methods = {reference.method.key for reference in self.references.values()}
        if len(methods) > 1:
            raise MixedMethodsError(
                f"the references come from {len(methods)} methods ({'; '.join(sorted(methods))}); use one method"
            )
        predicted = {site.isotope for group in self.sites.values() for site in group}
        self.measurements: list[Measurement] = []
        for measurement in measurements:
            if measurement.isotope not in self.references:
                self.warnings.append(f"{measurement.name} was left out: there is no {measurement.isotope} reference")
            elif measurement.isotope not in predicted:
                self.warnings.append(
                    f"{measurement.name} was left out: no candidate has a predicted {measurement.isotope} site"
                )
            else:
                self.measurements.append(measurement)
        if not self.measurements:
            raise MatchError(
                "no measurement can be compared with a candidate: measured "
                f"{', '.join(sorted({m.isotope for m in measurements}))}, "
                f"predicted {', '.join(sorted(predicted)) or 'nothing'}, "
                f"references for {', '.join(sorted(self.references)) or 'nothing'}"
            )
        names = [m.name for m in self.measurements]
        if len(set(names)) != len(names):
            raise MatchError(f"measurements repeat a name: {', '.join(sorted(names))}; name each one differently")

    def _tasks(self) -> list[SpectrumTask]:
        """All spectra with their groups: a group per sample, and one per spectrum whose areas do not count atoms."""
        tasks, next_group = [], self.n_samples
        for isotope in self.isotopes:
            for spectrum in self.spectra[isotope]:
                group = self.sample_of[spectrum.name]
                if spectrum.experiment.is_surface_selective:
                    group, next_group = next_group, next_group + 1
                tasks.append(SpectrumTask(spectrum, self.grids[spectrum.name], group))
        return tasks

    def table(self, isotope: str, members: Sequence[int]) -> SiteTable:
        """Sites of one isotope of a subset."""
        return site_table(isotope, [self.sites[self.ids[i]] for i in members], self.references[isotope])

    def shares(self, table: SiteTable, members: Sequence[int]) -> NDArray[np.float64]:
        """Part of its candidate's atoms that each site holds, (n,)."""
        atoms = np.array([self._atoms[i] for i in members], dtype=float)
        return table.multiplicity / atoms[table.member] if len(table) else np.zeros(0)

    def fit(self, extra: Iterable[int]) -> SubsetFit:
        """Fit of the candidates always present together with ``extra``; made once."""
        members = tuple(sorted({*self.always, *extra}))
        if members not in self._fits:
            self._fits[members] = self._fit(members)
        return self._fits[members]

    def _fit(self, members: tuple[int, ...]) -> SubsetFit:
        log_evidence = 0.0
        tables, peaks, shares, priors = {}, {}, {}, {}
        areas: list[list[tuple[AreaData, ...]]] = [[] for _ in range(self.n_samples)]
        for isotope in self.isotopes:
            table = self.table(isotope, members)
            tables[isotope], shares[isotope] = table, self.shares(table, members)
            found = fit_peaks(table, self.lists[isotope], self.settings)
            log_evidence += found.log_evidence
            peaks[isotope] = found
            priors[isotope] = (found.mean, found.covariance)
            start = 0
            for peak_list in self.lists[isotope]:
                data = area_data(table, peak_list, found, start=start, shares=shares[isotope], settings=self.settings)
                start += len(peak_list.peaks)
                if data:
                    areas[self.sample_of[peak_list.name]].append(data)
        joint = None
        if self.tasks:
            model = JointModel(
                tables,
                self.tasks,
                shares,
                priors,
                settings=self.settings,
                store=self.store,
                n_members=len(members),
            )
            joint = model.fit(self._best_objective + self._hopeless, is_thorough=self._is_thorough)
            self._best_objective = min(self._best_objective, joint.objective)
            log_evidence += joint.log_evidence
        populations = fit_populations(len(members), areas, joint.form if joint else None, self.settings)
        log_evidence += populations[0].log_evidence
        spectra = joint.spectra if joint else {}
        occam = joint.log_evidence + joint.misfit if joint else 0.0
        return SubsetFit(
            members,
            log_evidence,
            tables,
            peaks,
            spectra,
            populations[0],
            _fit_probability(list(peaks.values()), list(spectra.values()), self.settings.seed),
            populations,
            occam,
        )

    def unknown_log_evidence(self) -> float:
        """Log evidence of the candidates always present together with something that is not in the list."""
        total = 0.0
        for isotope in self.isotopes:
            table = self.table(isotope, self.always)
            total += fit_peaks(table, self.lists[isotope], self.settings, unknown_allowed=True).log_evidence
            for spectrum in self.spectra[isotope]:
                grid = self.grids[spectrum.name]
                total += unknown_log_evidence(
                    grid,
                    self._known_columns(isotope, spectrum),
                    resolution_ppm=self.settings.resolution_ppm(isotope),
                    shift_range_ppm=self.settings.shift_range_ppm(isotope),
                )
        if self.always and self.tasks:
            total += self.fit(()).spectral_occam
        return total

    def _known_columns(self, isotope: str, spectrum: Spectrum) -> NDArray[np.float64]:
        """Lines of the candidates always present as fitted alone, (p, m) on the fitted axis."""
        grid = self.grids[spectrum.name]
        if not self.always:
            return np.zeros((len(grid.axis), 0))
        alone = self.fit(())
        index = self.spectra[isotope].index(spectrum)
        table = alone.tables[isotope]
        reduced = spectrum.model_copy(
            update={"axis_ppm": tuple(grid.axis.tolist()), "intensity": tuple(grid.intensity.tolist())}
        )
        _, parts = curve_parts(
            table,
            reduced,
            index,
            alone.spectra[isotope],
            shares=self.shares(table, self.always),
            settings=self.settings,
            store=self.store,
            n_members=len(self.always),
        )
        return parts.T

    def weigh(self) -> list[Weighed]:
        """All explanations tried, most probable first, with posterior probabilities that sum to 1."""
        fits = self._search()
        sizes = range(0 if self.always else 1, self._largest() + 1)
        size_weight = {size: self.settings.size_ratio**size for size in sizes}
        scale = (1.0 - self.settings.none_prior) / sum(size_weight.values())
        scores: list[tuple[SubsetFit | None, float, float]] = []
        for found in fits:
            size = len(found.members) - len(self.always)
            prior = scale * size_weight[size] / math.comb(len(self.others), size)
            scores.append((found, found.log_evidence, found.log_evidence + math.log(prior)))
        unknown = self.unknown_log_evidence()
        scores.append((None, unknown, unknown + math.log(self.settings.none_prior)))
        top = max(score for _, _, score in scores)
        total = sum(math.exp(score - top) for _, _, score in scores)
        weighed = [Weighed(found, evidence, math.exp(score - top) / total) for found, evidence, score in scores]
        return sorted(weighed, key=lambda item: -item.probability)

    def _largest(self) -> int:
        return min(self.settings.max_members, len(self.others))

    def _search(self) -> list[SubsetFit]:
        """Fits of subsets: small ones all, larger ones grown from the best of one candidate fewer.

        Spectra of many candidates are screened first, and only the survivors are fitted.
        """
        if self.tasks and len(self.others) > self.settings.exhaustive_candidates:
            return self._screened()
        layer = [self.fit(())] if self.always else [self.fit((i,)) for i in self.others]
        tried = {found.members: found for found in layer}
        start = 0 if self.always else 1
        has_spectra = any(self.spectra.values())
        is_small = len(self.others) <= self.settings.exhaustive_candidates
        for size in range(start + 1, self._largest() + 1):
            if is_small and (size == 1 or (size == 2 and not has_spectra)):
                extras: Iterable[tuple[int, ...]] = itertools.combinations(self.others, size)
            else:
                parents = sorted(layer, key=lambda found: -found.log_evidence)[: self.settings.growth_width]
                extras = {
                    tuple(sorted({*(i for i in parent.members if i not in self.always), other}))
                    for parent in parents
                    for other in self.others
                    if other not in parent.members
                }
            best_before = max(found.log_evidence for found in layer)
            layer = [self.fit(extra) for extra in sorted(extras)]
            tried.update({found.members: found for found in layer})
            # nothing larger helps once the best extension explains the data clearly worse
            if max(found.log_evidence for found in layer) < best_before - 3.0:
                break
        return [found for found in tried.values() if found.members]

    def _screened(self) -> list[SubsetFit]:
        screen = Screen([self.sites[key] for key in self.ids], self.tasks, self.references, self._atoms, self.settings)
        extras: list[tuple[int, ...]] = [()] if self.always else []
        extras += screen.survivors(self.always, self._largest(), self.settings.screened_subsets)
        # the largest first: they fit best, and against them the others stop early
        self._is_thorough = False
        for extra in reversed(extras):
            self.fit(extra)
        self._prune()
        fits = list(self._fits.values())
        return [found for found in fits if found.members]

    def _prune(self) -> None:
        """Fit the best explanations to the end, and what is left of them without members of doubtful population."""
        self._hopeless, self._is_thorough = math.inf, True
        done: set[tuple[int, ...]] = set()
        for _ in range(self._largest() + 1):
            best = sorted(self._fits.values(), key=lambda found: (-found.log_evidence, found.members))[:_PRUNED]
            top = best[0].log_evidence
            wanted = {best[0].members}
            for found in best:
                if found.log_evidence > top - _HOPELESS and len(found.members) > 1:
                    means = found.populations.weights @ found.populations.samples
                    wanted |= {
                        tuple(i for i in found.members if i != member)
                        for member, mean in zip(found.members, means, strict=True)
                        if member not in self.always and mean < _DOUBTFUL
                    }
            new = sorted(wanted - done)
            if not new:
                break
            for members in new:
                self._fits.pop(members, None)
                self.fit(members)
            done |= wanted


def _fit_probability(peaks: Sequence[PeakFit], spectra: Sequence[SpectrumFit], seed: int) -> float:
    """Predictive p-value of an explanation: the least of several checks, corrected for their number.

    The checks are the summed discrepancy of all peaks (its distribution with missed lines is sampled), the
    worst single peak, and per spectrum the residual and the deviation of sites from their prior.
    """
    from scipy.stats import chi2

    values: list[float] = []
    n_data = sum(found.n_data for found in peaks)
    if n_data:
        rng = np.random.default_rng(seed)
        draws = rng.chisquare(n_data, size=20000)
        for found in peaks:
            for probability, cost in found.missable:
                draws += cost * (rng.random(len(draws)) < probability)
        total = sum(found.discrepancy for found in peaks)
        values.append((1.0 + float((draws >= total).sum())) / (1.0 + len(draws)))
        n_peaks = sum(found.assignments.shape[1] for found in peaks)
        single = (
            min(float(chi2.sf(found.worst[0], found.worst[1])) for found in peaks if found.worst[1] > 0)
            if any(found.worst[1] > 0 for found in peaks)
            else 1.0
        )
        values.append(1.0 - (1.0 - single) ** n_peaks)
    values += [probability for found in spectra for probability in found.probabilities]
    return min(1.0, min(values) * len(values)) if values else 1.0
