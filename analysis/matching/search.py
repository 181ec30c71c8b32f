"""Evidence of every explanation: subsets of the candidates, and the rival that something else is present."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...structures.errors import SurfshiftError
from ..reference_fit import MixedMethodsError
from ..vocabulary import PeakList, Spectrum
from .area_guide import guided
from .areas import AreaData, area_data, hiding
from .beside import Beside, beside_unknown
from .joint import JointModel
from .peak_screen import PeakScreen
from .peaks import PeakFit, fit_peaks, fit_subsets
from .populations import AmplitudeForm, Effort, PopulationFit, fit_populations
from .predictive import fit_probability
from .siblings import Siblings, draw_siblings
from .sites import SiteTable, site_table
from .spectra import KernelStore, SpectrumFit, SpectrumTask, curve_parts, grid_of
from .spectrum_screen import SpectrumScreen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from ..vocabulary import Measurement, PredictedSite, Reference
    from .settings import MatchSettings


_HOPELESS = 40.0
"""Fits of spectra that stay so much worse than the best so far, in units of log likelihood, are not refined."""

_PRUNED = 4
_DOUBTFUL = 0.12
"""Population below which an explanation is also fitted without the candidate."""

_AREA_REACH = 8.0
"""Explanations whose lines fit worse than the best by more than this, in log evidence, are not saved by areas."""

_NEAR = 40
"""Most explanations by peak lists whose areas are looked at."""

_REFINED, _REFINED_REACH = 8, 6.0
"""Most explanations by peak lists whose populations are fitted with care, and how far they may be from the best."""


class MatchError(SurfshiftError):
    """Candidates, measurements and references that cannot be matched as given."""


class SubsetFit(NamedTuple):
    """One explanation with all its fits; ``members`` are positions in the problem's list of candidates.

    ``populations`` are those of the first sample, ``by_sample`` those of all: None and empty as long as they have not
    been sought, and for explanations far from the best. ``amplitudes`` is what the spectra say of them;
    ``spectral_occam`` is what the evidence of the spectra lies below the likelihood of the best fit, amplitudes left
    aside.
    """

    members: tuple[int, ...]
    log_evidence: float
    tables: dict[str, SiteTable]
    peaks: dict[str, PeakFit]
    spectra: dict[str, SpectrumFit]
    populations: PopulationFit | None = None
    by_sample: tuple[PopulationFit, ...] = ()
    amplitudes: AmplitudeForm | None = None
    spectral_occam: float = 0.0


class Weighed(NamedTuple):
    """An explanation with its posterior probability; ``fit`` is None for something that is not in the list.

    ``beside`` then maps candidates (positions in the problem's list) to their probability of being present beside it.
    """

    fit: SubsetFit | None
    log_evidence: float
    probability: float
    beside: dict[int, float]


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
        self.settings = settings = settings.reaching(site for group in candidates.values() for site in group)
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
        self.samples = tuple(dict.fromkeys(m.sample for m in self.measurements))
        self.n_samples = len(self.samples)
        self.sample_of = {m.name: self.samples.index(m.sample) for m in self.measurements}
        self.tasks = self._tasks()
        self.always = tuple(i for i, key in enumerate(self.ids) if key in settings.always_present)
        self.others = tuple(i for i in range(len(self.ids)) if i not in self.always)
        self.member_sites = [self.sites[key] for key in self.ids]
        self.siblings = self._draw_siblings()
        self.store = KernelStore()
        self._best_objective, self._hopeless, self._is_thorough = math.inf, _HOPELESS, True
        self._fits: dict[tuple[int, ...], SubsetFit] = {}
        self._hiding: dict[tuple[tuple[int, ...], str], NDArray[np.float64]] = {}
        self._atoms = [self._count(sites) for sites in self.member_sites]
        self.screen = PeakScreen(self)

    def _check(self, measurements: Sequence[Measurement]) -> None:
        if not self.ids:
            raise MatchError("no candidate was given; build and predict at least one")
        if not measurements:
            raise MatchError("no measurement was given; add a peak list or a spectrum to the study")
        unknown = sorted(set(self.settings.always_present) - set(self.ids))
        if unknown:
            raise MatchError(f"always_present names {', '.join(unknown)}, which is no candidate id; known: {self.ids}")
        methods = {reference.method.family for reference in self.references.values()}
        if len(methods) > 1:
            raise MixedMethodsError(
                f"the references come from {len(methods)} methods ({'; '.join(sorted(methods))}); use one method"
            )
        predicted = {site.isotope for group in self.sites.values() for site in group}
        self.measurements: list[Measurement] = []
        sites = [site for group in self.sites.values() for site in group]
        usable = {site.isotope for site in sites} - {site.isotope for site in sites if not site.is_given}
        usable |= set(self.references)
        for measurement in measurements:
            if measurement.isotope not in usable:
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
        nameless = [m.name for m in self.measurements if not m.sample]
        if 0 < len(nameless) < len(self.measurements):
            raise MatchError(
                f"{', '.join(nameless)} names no sample, other measurements do; name the sample of each, or of none"
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
                if not spectrum.experiment.counts_atoms:
                    group, next_group = next_group, next_group + 1
                tasks.append(SpectrumTask(spectrum, self.grids[spectrum.name], group))
        return tasks

    def _draw_siblings(self) -> Siblings[int]:
        """Siblings of the candidates, none with spectra; their parts become members behind the candidates."""
        if self.tasks:
            return Siblings((), {})
        everyone = range(len(self.ids))
        # phases with given lines are no siblings of computed candidates, and have none beside them
        computed = [i for i in everyone if any(not site.is_given for site in self.member_sites[i])] or everyone
        tables = {isotope: self.table(isotope, computed) for isotope in self.isotopes}
        drawn = draw_siblings([self.member_sites[i] for i in computed], tables, self.lists, self.settings)
        parts: dict[str, dict[int, range]] = {}
        for isotope, by_number in drawn.parts.items():
            parts[isotope] = {}
            for number, several in by_number.items():
                parts[isotope][number] = range(len(self.member_sites), len(self.member_sites) + len(several))
                self.member_sites.extend(several)
        return Siblings(drawn.counts, parts)

    def sibling_of(self, parts: Sequence[int]) -> int:
        """The member that has the sites of several parts of siblings."""
        self.member_sites.append(tuple(site for part in parts for site in self.member_sites[part]))
        self._atoms.append(self._count(self.member_sites[-1]))
        self.screen.unite(parts)
        return len(self.member_sites) - 1

    def _count(self, sites: Sequence[PredictedSite]) -> int:
        return max(1, sum(site.multiplicity for site in sites if site.isotope in self.isotopes))

    def table(self, isotope: str, members: Sequence[int]) -> SiteTable:
        """Sites of one isotope of a subset; siblings and their parts are members behind the candidates."""
        return site_table(isotope, [self.member_sites[i] for i in members], self.references.get(isotope))

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
        for isotope in self.isotopes:
            table = self.table(isotope, members)
            tables[isotope], shares[isotope] = table, self.shares(table, members)
            found = fit_peaks(table, self.lists[isotope], self.settings, may_be_absent=self.n_samples > 1)
            log_evidence += found.log_evidence
            peaks[isotope] = found
            priors[isotope] = (found.mean, found.covariance)
        if not self.tasks:
            return SubsetFit(members, log_evidence, tables, peaks, {})
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
        fit = SubsetFit(
            members,
            log_evidence + joint.log_evidence,
            tables,
            peaks,
            joint.spectra,
            amplitudes=joint.form,
            spectral_occam=joint.log_evidence + joint.misfit,
        )
        # with spectra the populations decide much of the evidence; areas alone only among explanations that are near
        return self.with_populations(fit)

    def areas_of(self, fit: SubsetFit) -> dict[str, list[AreaData | None]]:
        """What the areas of every list of each isotope may be made of."""
        found: dict[str, list[AreaData | None]] = {}
        for isotope, table in fit.tables.items():
            start, shares = 0, self.shares(table, fit.members)
            found[isotope] = []
            for peak_list in self.lists[isotope]:
                key = (fit.members, peak_list.name)
                if key not in self._hiding:
                    self._hiding[key] = hiding(table, peak_list, fit.peaks[isotope], self.settings)
                data = area_data(
                    table,
                    peak_list,
                    fit.peaks[isotope],
                    start=start,
                    shares=shares,
                    settings=self.settings,
                    hidden=self._hiding[key],
                )
                found[isotope].append(data)
                start += len(peak_list.peaks)
        return found

    def by_sample(self, areas: Mapping[str, Sequence[AreaData | None]]) -> list[list[AreaData]]:
        """Area data of all lists, sample by sample."""
        found: list[list[AreaData]] = [[] for _ in range(self.n_samples)]
        for isotope, several in areas.items():
            for peak_list, data in zip(self.lists[isotope], several, strict=True):
                if data is not None:
                    found[self.sample_of[peak_list.name]].append(data)
        return found

    def with_populations(
        self, fit: SubsetFit, *, effort: Effort = Effort.FULL, before: Sequence[PopulationFit] = ()
    ) -> SubsetFit:
        """The fit with its populations and their evidence."""
        areas = self.by_sample(self.areas_of(fit))
        populations = fit_populations(
            len(fit.members), areas, fit.amplitudes, self.settings, effort=effort, before=before
        )
        return fit._replace(
            log_evidence=fit.log_evidence + populations[0].log_evidence,
            populations=populations[0],
            by_sample=populations,
        )

    def fit_probability(self, fit: SubsetFit) -> float:
        """Posterior predictive p-value of an explanation."""
        return fit_probability(list(fit.peaks.values()), list(fit.spectra.values()), self.settings.seed)

    def known_columns(self, isotope: str, spectrum: Spectrum) -> NDArray[np.float64]:
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
        best = max(found.log_evidence for found in fits)
        fits = [
            self.with_populations(found)
            if found.populations is None and found.log_evidence > best - _AREA_REACH
            else found
            for found in fits
        ]
        scores: list[tuple[SubsetFit | None, float, float]] = [
            (found, found.log_evidence, self._log_posterior(found)) for found in fits
        ]
        unknown = self._with_unknown()
        evidence = _log_sum([value for _, value in unknown])
        if self.tasks:
            # beside spectra areas tell explanations apart; of something unlisted they say nothing for or against
            evidence += _area_evidence(scores)
        else:
            evidence = _log_sum([evidence, self._of_another_kind(scores)])
        scores.append((None, evidence, evidence + math.log(self.settings.none_prior)))
        top = max(score for _, _, score in scores)
        total = sum(math.exp(score - top) for _, _, score in scores)
        return sorted(
            [
                Weighed(
                    found,
                    value,
                    math.exp(score - top) / total,
                    _shares(unknown) if found is None else {},
                )
                for found, value, score in scores
            ],
            key=lambda item: -item.probability,
        )

    def _of_another_kind(self, scores: Sequence[tuple[SubsetFit | None, float, float]]) -> float:
        """Log evidence of something unlisted that is like no candidate, from the fit of the best explanation alone.

        Odds against a hypothesis under which data as far off come with probability p are at most 1 / (-e p ln p)
        (Sellke, Bayarri and Berger 2001), whatever the alternative; a fit that is good enough says nothing for it.
        """
        best = max(scores, key=lambda item: item[2])[0]
        p = 1.0 if best is None else max(self.fit_probability(best), 1e-12)
        odds = 1.0 / (-math.e * p * math.log(p)) if p < math.exp(-1.0) else 1.0
        if odds <= 1.0:
            return -math.inf
        listed = _log_sum([score for _, _, score in scores]) - math.log1p(-self.settings.none_prior)
        return math.log(self.settings.free_share) + listed + math.log(odds - 1.0)

    def _with_unknown(self) -> list[tuple[Beside, float]]:
        """Explanations with something unlisted, with their log evidence weighted by the prior of their sizes."""
        # what is not in the list is itself one of at most max_members
        largest = 0 if any(self.spectra.values()) else min(self.settings.max_members - 1, len(self.others))
        weights = [self.settings.size_ratio**size for size in range(largest + 1)]
        scale = 1.0 / sum(weights)
        log_priors = [math.log(scale * weight / math.comb(len(self.others), n)) for n, weight in enumerate(weights)]
        return [
            (item, item.log_evidence + log_priors[len(item.members) - len(self.always)])
            for item in beside_unknown(self, largest, log_priors)
        ]

    def _largest(self) -> int:
        return min(self.settings.max_members, len(self.others))

    def _search(self) -> list[SubsetFit]:
        """Fits of subsets: small ones all, larger ones grown from the best of one candidate fewer.

        Peak lists of many subsets are weighed side by side; spectra of many candidates are screened first. Only what
        comes through is fitted.
        """
        if not self.tasks:
            return self._near(self.screen.search(self._largest(), beside_unknown=False))
        if len(self.others) > self.settings.exhaustive_candidates:
            return self._screened()
        layer = [self.fit(())] if self.always else [self.fit((i,)) for i in self.others]
        tried = {found.members: found for found in layer}
        start = 0 if self.always else 1
        is_small = len(self.others) <= self.settings.exhaustive_candidates
        for size in range(start + 1, self._largest() + 1):
            if is_small and size == 1:
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

    def _near(self, evidence: Mapping[tuple[int, ...], float]) -> list[SubsetFit]:
        """Fits of the subsets whose lines fit best; the best of them, areas roughly included, with populations."""
        reach = max(evidence.values()) - _AREA_REACH
        near = sorted((m for m, value in evidence.items() if value > reach and m), key=lambda m: (-evidence[m], m))
        fits = self.fit_lists(near[:_NEAR])
        glances = [self.with_populations(found, effort=Effort.GLANCE).by_sample for found in fits]
        fits = guided(self, fits, glances)
        plain = {found.members: found for found in fits}
        self._fits |= plain
        rough = [self.with_populations(found, effort=Effort.ROUGH) for found in fits]
        rough.sort(key=lambda found: -self._log_posterior(found))
        best = self._log_posterior(rough[0])
        chosen = [found for found in rough[:_REFINED] if self._log_posterior(found) > best - _REFINED_REACH]
        refined = {
            found.members: self.with_populations(plain[found.members], before=found.by_sample) for found in chosen
        }
        return [refined.get(found.members, found) for found in rough]

    def fit_lists(self, subsets: Sequence[tuple[int, ...]]) -> list[SubsetFit]:
        """Fits of many subsets to peak lists alone."""
        found = {
            isotope: fit_subsets(
                self.screen.tables[isotope],
                [self.screen.rows_of(isotope, members) for members in subsets],
                self.lists[isotope],
                self.settings,
                may_be_absent=self.n_samples > 1,
            )
            for isotope in self.isotopes
        }
        fits = []
        for g, members in enumerate(subsets):
            peaks = {isotope: found[isotope][g] for isotope in self.isotopes}
            tables = {isotope: self.table(isotope, members) for isotope in self.isotopes}
            fits.append(SubsetFit(members, sum(fit.log_evidence for fit in peaks.values()), tables, peaks, {}))
        return fits

    def _fit_extra(self, members: tuple[int, ...]) -> SubsetFit:
        return self.fit(i for i in members if i not in self.always)

    def _log_prior(self, size: int) -> float:
        """Log prior of one subset with ``size`` candidates besides those always present."""
        sizes = range(0 if self.always else 1, self._largest() + 1)
        scale = (1.0 - self.settings.none_prior) / sum(self.settings.size_ratio**n for n in sizes)
        return math.log(scale * self.settings.size_ratio**size / math.comb(len(self.others), size))

    def size_prior(self, size: int) -> float:
        """Prior of one subset of that size, given that no unlisted candidate is present."""
        return math.exp(self._log_prior(size)) / (1.0 - self.settings.none_prior)

    def _log_posterior(self, found: SubsetFit) -> float:
        return found.log_evidence + self._log_prior(len(found.members) - len(self.always))

    def _screened(self) -> list[SubsetFit]:
        sites = [self.sites[key] for key in self.ids]
        screen = SpectrumScreen(sites, self.tasks, self.references, self._atoms, self.settings)
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
                if found.populations is not None and found.log_evidence > top - _HOPELESS and len(found.members) > 1:
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


def _log_sum(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def _area_evidence(scores: Sequence[tuple[SubsetFit | None, float, float]]) -> float:
    """Log evidence that areas add to explanations by candidates, averaged over their posterior; spectra add none."""
    top = max(score for _, _, score in scores)
    weights = [math.exp(score - top) for _, _, score in scores]
    gains = [
        fit.populations.log_evidence if fit is not None and fit.populations is not None and not fit.spectra else 0.0
        for fit, _, _ in scores
    ]
    return sum(w * g for w, g in zip(weights, gains, strict=True)) / sum(weights)


def _shares(unknown: Sequence[tuple[Beside, float]]) -> dict[int, float]:
    """Probability of each candidate to be present beside something unlisted."""
    total = _log_sum([value for _, value in unknown])
    shares: dict[int, float] = {}
    for item, value in unknown:
        for index in item.members:
            shares[index] = shares.get(index, 0.0) + math.exp(value - total)
    return shares
