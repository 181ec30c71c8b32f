"""Many subsets at once: their evidence from peak lists alone, and the search that grows them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from .peaks import peak_evidences
from .rival import rival_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from .search import Problem

_ENOUGH = 3.0
"""Drop in log evidence after which larger subsets are not tried: nothing larger helps once the best one of a size
explains the data clearly worse than the best one that is smaller."""


class PeakScreen:
    """Log evidence of the peak lists under subsets, without or with something unlisted beside them."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        everything = range(len(problem.member_sites))
        self.tables = {isotope: problem.table(isotope, everything) for isotope in problem.isotopes}
        self.rows = {
            isotope: [np.flatnonzero(table.member == i) for i in everything] for isotope, table in self.tables.items()
        }
        listed = {isotope: problem.table(isotope, range(len(problem.ids))) for isotope in problem.isotopes}
        self.rivals = {
            isotope: [rival_of(listed[isotope], peak_list, problem.settings) for peak_list in lists]
            for isotope, lists in problem.lists.items()
        }

    def rows_of(self, isotope: str, members: Iterable[int]) -> NDArray[np.int64]:
        """Rows of the table of an isotope that the candidates of a subset hold, in their order."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *(self.rows[isotope][i] for i in members)])

    def unite(self, parts: Sequence[int]) -> None:
        """One more member, with the rows of several."""
        for isotope, rows in self.rows.items():
            rows.append(self.rows_of(isotope, parts))

    def evidences(self, subsets: Iterable[tuple[int, ...]], *, beside_unknown: bool) -> NDArray[np.float64]:
        """Log evidence (g,) of each subset, given by positions of candidates."""
        chosen = list(subsets)
        total = np.zeros(len(chosen))
        for isotope in self.tables:
            total += self.evidences_of(isotope, chosen, beside_unknown=beside_unknown)
        return total

    def evidences_of(
        self, isotope: str, subsets: Sequence[tuple[int, ...]], *, beside_unknown: bool
    ) -> NDArray[np.float64]:
        """Log evidence (g,) of the peak lists of one isotope under each subset."""
        return peak_evidences(
            self.tables[isotope],
            [self.rows_of(isotope, members) for members in subsets],
            self.problem.lists[isotope],
            self.problem.settings,
            rivals=self.rivals[isotope] if beside_unknown else None,
            may_be_absent=self.problem.n_samples > 1,
        )

    def search(self, largest: int, *, beside_unknown: bool) -> dict[tuple[int, ...], float]:
        """Subsets with up to ``largest`` candidates besides those always present, and their log evidence.

        Small ones are tried all, larger ones grown from the best of one candidate fewer.
        """
        problem = self.problem
        always, others = problem.always, problem.others
        start = 0 if always or beside_unknown else 1
        layer = [tuple(sorted({*always, *extra})) for extra in itertools.combinations(others, start)]
        scores = dict(zip(layer, self.evidences(layer, beside_unknown=beside_unknown).tolist(), strict=True))
        found = dict(scores)
        pairs = len(others) <= problem.settings.exhaustive_candidates and not beside_unknown
        for size in range(start + 1, largest + 1):
            parents = sorted(scores, key=lambda members: -scores[members])
            if not (pairs and size == 2):
                parents = parents[: problem.settings.growth_width]
            layer = sorted({tuple(sorted({*m, other})) for m in parents for other in others if other not in m})
            if not layer:
                break
            before = max(scores.values())
            scores = dict(zip(layer, self.evidences(layer, beside_unknown=beside_unknown).tolist(), strict=True))
            found |= scores
            if max(scores.values()) < before - _ENOUGH:
                break
        return found
