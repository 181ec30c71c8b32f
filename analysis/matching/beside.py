"""Explanations in which something unlisted is present, alone or beside candidates of the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .area_guide import guided
from .populations import Effort, fit_populations
from .unknown import unknown_log_evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .peak_screen import PeakScreen
    from .populations import PopulationFit
    from .search import Problem, SubsetFit


_REFINED = 4
"""Explanations with something unlisted whose populations are fitted with care."""


class Beside(NamedTuple):
    """Candidates (positions in the problem's list) beside something unlisted, and the log evidence of that."""

    members: tuple[int, ...]
    log_evidence: float


def beside_unknown(problem: Problem, screen: PeakScreen, max_members: int) -> list[Beside]:
    """Explanations with something unlisted: alone (with the candidates always present), then beside more candidates.

    Spectra are explained by free lines only beside the candidates always present, so with spectra nothing is grown.
    """
    if any(problem.spectra.values()):
        alone = float(screen.evidences([problem.always], beside_unknown=True)[0])
        return [Beside(problem.always, alone + _spectra_evidence(problem))]
    return [Beside(*item) for item in screen.search(max_members, beside_unknown=True).items()]


def with_areas(problem: Problem, unknown: Sequence[tuple[Beside, float]]) -> list[tuple[Beside, float]]:
    """Explanations with something unlisted and their log evidence (prior included), with that of the areas.

    Peaks that no candidate gave are the stranger's lines, others of its lines hide; its population is one more. The
    best are weighed with care.
    """
    found = [
        problem.with_peaks(members, peaks)
        for members, peaks in problem.peak_fits([item.members for item, _ in unknown], beside_unknown=True)
    ]
    plain = [fit.log_evidence for fit in found]
    found = guided(problem, found, [_populations(problem, fit, Effort.GLANCE) for fit in found], beside_unknown=True)
    rough = [_populations(problem, fit, Effort.ROUGH) for fit in found]
    values = [
        value + fit.log_evidence - before + populations[0].log_evidence
        for (_, value), fit, before, populations in zip(unknown, found, plain, rough, strict=True)
    ]
    best = sorted(range(len(values)), key=lambda g: -values[g])[:_REFINED]
    for g in best:
        full = _populations(problem, found[g], Effort.FULL, rough[g])
        values[g] += full[0].log_evidence - rough[g][0].log_evidence
    return [(item, value) for (item, _), value in zip(unknown, values, strict=True)]


def _populations(
    problem: Problem, fit: SubsetFit, effort: Effort, before: Sequence[PopulationFit] = ()
) -> tuple[PopulationFit, ...]:
    areas = problem.by_sample(problem.areas_of(fit, has_stranger=True))
    return fit_populations(len(fit.members) + 1, areas, None, problem.settings, effort=effort, before=before)


def _spectra_evidence(problem: Problem) -> float:
    """Log evidence of all spectra under the candidates always present and free lines."""
    total = 0.0
    for isotope in problem.isotopes:
        for spectrum in problem.spectra[isotope]:
            total += unknown_log_evidence(
                problem.grids[spectrum.name],
                problem.known_columns(isotope, spectrum),
                resolution_ppm=problem.settings.resolution_ppm(isotope),
                shift_range_ppm=problem.settings.shift_range_ppm(isotope),
            )
    if problem.always:
        total += problem.fit(()).spectral_occam
    return total
