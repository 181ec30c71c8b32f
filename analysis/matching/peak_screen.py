"""Many subsets at once: their evidence from peak lists alone, and the search that grows them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from .areas import Stranger
from .peaks import peak_evidences
from .rival import hiding_chance, rival_of
from .sites import listing_probability

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from .search import Problem

_LEAST_SHARE_ERROR = 0.15
"""Least relative error of the share that a line of something unlisted has of its atoms."""

_ENOUGH = 3.0
"""Drop in log evidence after which larger subsets are not tried: nothing larger helps once the best one of a size
explains the data clearly worse than the best one that is smaller."""


class PeakScreen:
    """Log evidence of the peak lists under subsets, without or with something unlisted beside them."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        everything = range(len(problem.ids))
        self.tables = {isotope: problem.table(isotope, everything) for isotope in problem.isotopes}
        self.rows = {
            isotope: [np.flatnonzero(table.member == i) for i in everything] for isotope, table in self.tables.items()
        }
        self.rivals = {
            isotope: [rival_of(self.tables[isotope], peak_list, problem.settings) for peak_list in lists]
            for isotope, lists in problem.lists.items()
        }

    def stranger(self, isotope: str, index: int, member: int) -> Stranger | None:
        """What something unlisted may add to the areas of one list, learned from the candidates; None if nothing is.

        ``member`` is its position behind the candidates beside it.

        It has as many lines as a candidate on average, and each has the share of its atoms that is usual.
        """
        table, problem = self.tables[isotope], self.problem
        if not len(table):
            return None
        shares = problem.shares(table, range(len(problem.ids)))
        share = float(np.median(shares))
        error = max(_LEAST_SHARE_ERROR * share, 1.5 * float(np.median(np.abs(shares - share))))
        peak_list, rival = problem.lists[isotope][index], self.rivals[isotope][index]
        return Stranger(
            member=member,
            n_lines=max(1, round(len(table) / len(np.unique(table.member)))),
            share=share,
            error=error,
            near=hiding_chance(rival.log_density, peak_list, isotope, problem.settings),
            listed=float(listing_probability(table, peak_list, problem.settings).mean()),
        )

    def rows_of(self, isotope: str, members: Iterable[int]) -> NDArray[np.int64]:
        """Rows of the table of an isotope that the candidates of a subset hold, in their order."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *(self.rows[isotope][i] for i in members)])

    def evidences(self, subsets: Iterable[tuple[int, ...]], *, beside_unknown: bool) -> NDArray[np.float64]:
        """Log evidence (g,) of each subset, given by positions of candidates."""
        chosen = list(subsets)
        total = np.zeros(len(chosen))
        for isotope, table in self.tables.items():
            sites = [self.rows_of(isotope, members) for members in chosen]
            total += peak_evidences(
                table,
                sites,
                self.problem.lists[isotope],
                self.problem.settings,
                rivals=self.rivals[isotope] if beside_unknown else None,
                may_be_absent=self.problem.n_samples > 1,
            )
        return total

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
