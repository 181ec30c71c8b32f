"""Explanations in which something unlisted is present, alone or beside candidates of the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .populations import Effort, fit_populations
from .unknown import unknown_log_evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .peak_screen import PeakScreen
    from .search import Problem


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


def stranger_gains(problem: Problem, subsets: Sequence[tuple[int, ...]]) -> list[float]:
    """Log evidence that the areas add to each subset of candidates beside something unlisted.

    Peaks that no candidate gave are the stranger's lines, others of its lines hide; its population is one more.
    """
    found = []
    for members, peaks in problem.peak_fits(subsets, beside_unknown=True):
        fit = problem.with_peaks(members, peaks)
        areas = problem.by_sample(problem.areas_of(fit, has_stranger=True))
        populations = fit_populations(len(members) + 1, areas, None, problem.settings, effort=Effort.ROUGH)
        found.append(populations[0].log_evidence)
    return found


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
