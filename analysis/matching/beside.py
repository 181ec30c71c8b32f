"""Explanations in which something unlisted is present, alone or beside candidates of the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .peaks import fit_peaks
from .rival import rival_of
from .spectra import grid_of
from .unknown import unknown_log_evidence

if TYPE_CHECKING:
    from .search import Problem

_WIDTH = 2
"""Number of explanations of each size that are grown further."""

_ENOUGH = 3.0
"""Drop in log evidence after which larger explanations are not tried."""


class Beside(NamedTuple):
    """Candidates (positions in the problem's list) beside something unlisted, and the log evidence of that."""

    members: tuple[int, ...]
    log_evidence: float


def beside_unknown(problem: Problem, max_members: int) -> list[Beside]:
    """Explanations with something unlisted: alone (with the candidates always present), then beside more candidates.

    Larger ones are grown from the best of one candidate fewer. Spectra are explained by free lines only
    beside the candidates always present, so with spectra nothing is grown.
    """
    everything = range(len(problem.ids))
    rivals = {
        isotope: [
            rival_of(problem.table(isotope, everything), peak_list, problem.settings)
            for peak_list in problem.lists[isotope]
        ]
        for isotope in problem.isotopes
    }

    def evidence(members: tuple[int, ...]) -> float:
        return sum(
            fit_peaks(
                problem.table(isotope, members), problem.lists[isotope], problem.settings, rivals=rivals[isotope]
            ).log_evidence
            for isotope in problem.isotopes
        )

    if any(problem.spectra.values()):
        return [Beside(problem.always, evidence(problem.always) + _spectra_evidence(problem))]
    layer = [Beside(problem.always, evidence(problem.always))]
    found = list(layer)
    for _ in range(max_members):
        parents = sorted(layer, key=lambda item: -item.log_evidence)[:_WIDTH]
        grown = {
            tuple(sorted({*parent.members, other}))
            for parent in parents
            for other in problem.others
            if other not in parent.members
        }
        if not grown:
            break
        before = max(item.log_evidence for item in layer)
        layer = [Beside(members, evidence(members)) for members in sorted(grown)]
        found += layer
        if max(item.log_evidence for item in layer) < before - _ENOUGH:
            break
    return found


def _spectra_evidence(problem: Problem) -> float:
    """Log evidence of all spectra under the candidates always present and free lines."""
    total = 0.0
    for isotope in problem.isotopes:
        for spectrum in problem.spectra[isotope]:
            total += unknown_log_evidence(
                grid_of(spectrum, problem.settings),
                problem.known_columns(isotope, spectrum),
                resolution_ppm=problem.settings.resolution_ppm(isotope),
                shift_range_ppm=problem.settings.shift_range_ppm(isotope),
            )
        if problem.always and problem.spectra[isotope]:
            total += problem.fit(()).spectra[isotope].log_occam
    return total
