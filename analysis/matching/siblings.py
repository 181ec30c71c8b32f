"""Siblings of the candidates: what a termination or phase that nobody listed would show.

What was left out of a list is most often like what was put in: as many sites, of the same kinds, in other combinations.
A sibling has the numbers of sites of one of the candidates; each site is one of any candidate, with the error by which
the lines of one candidate are foretold from those of the others. Weighed like candidates, positions and areas together,
siblings say how well something unlisted explains the data. Given the numbers of sites, those of one isotope are drawn
independently of the others, so that the mean over siblings is a product of means over parts, each of one isotope.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

from .rival import WIDE, kernel_widths, spreads
from .sites import listing_probability

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ..vocabulary import PeakList, PredictedSite
    from .settings import MatchSettings
    from .sites import SiteTable

Part = TypeVar("Part")

_WIDE_SHARE = 0.3
"""How many sites of siblings are of no kind that was seen, but spread as widely as all lines."""

SIBLING_ID = "something unlisted"
"""Candidate id of the sites of all siblings."""


class Siblings(NamedTuple, Generic[Part]):
    """Siblings to be put together from parts.

    ``counts`` holds for each template the number of sites by isotope; ``parts`` by isotope and number of sites the
    parts to choose from: tuples of sites, or members of a problem that have them.
    """

    counts: tuple[Mapping[str, int], ...]
    parts: Mapping[str, Mapping[int, Sequence[Part]]]


def draw_siblings(
    candidates: Sequence[Sequence[PredictedSite]],
    tables: Mapping[str, SiteTable],
    lists: Mapping[str, Sequence[PeakList]],
    settings: MatchSettings,
) -> Siblings[tuple[PredictedSite, ...]]:
    """Siblings of the candidates, ``settings.n_siblings`` parts of each isotope and number of sites, with a fixed seed.

    ``tables`` holds the sites of all candidates by isotope, ``lists`` the peak lists; isotopes without a list are left
    out. There are no templates if no candidate has a site of a measured isotope.
    """
    rng = np.random.default_rng(settings.seed)
    pools = {
        isotope: _widened(tables[isotope], several, settings)
        for isotope, several in lists.items()
        if several and len(tables[isotope])
    }
    counts = [{isotope: sum(s.isotope == isotope for s in sites) for isotope in pools} for sites in candidates]
    counts = [count for count in counts if any(count.values())]
    parts = {
        isotope: {
            number: tuple(
                tuple(pool[index] for index in rng.choice(len(pool), size=number, p=shares).tolist())
                for _ in range(settings.n_siblings if number else 1)
            )
            for number in sorted({count[isotope] for count in counts})
        }
        for isotope, (pool, shares) in pools.items()
    }
    return Siblings(tuple(counts), parts)


def _widened(
    table: SiteTable, lists: Sequence[PeakList], settings: MatchSettings
) -> tuple[list[PredictedSite], NDArray[np.float64]]:
    """Sites (n + 1) of siblings, and how often each is drawn: those of a table, and at last one that stands for all.

    Their errors are those by which the sites of a candidate foretell another's.
    """
    listed = np.max([listing_probability(table, peak_list, settings) for peak_list in lists], axis=0)
    weights = np.full(len(table), 1.0 / len(table)) if listed.sum() < 1e-3 else listed / listed.sum()
    shift_width, cq_width = kernel_widths(table, weights, settings, wide_share=_WIDE_SHARE)
    shift_spread, cq_spread = spreads(table, weights, settings)
    sites = [
        _sibling_site(site, site.delta_iso_ppm, site.cq_mhz, shift_width, cq_width if site.cq_mhz else 0.0)
        for site in table.sites
    ]
    shift, cq = float(weights @ table.delta), float(weights @ table.cq)
    typical = table.sites[int(np.argmin(np.abs(table.delta - shift)))]
    wide = _sibling_site(typical, shift, cq, WIDE * shift_spread, WIDE * cq_spread if cq else 0.0)
    shares = np.full(len(sites) + 1, (1.0 - _WIDE_SHARE) / len(sites))
    shares[-1] = _WIDE_SHARE
    return [*sites, wide], shares


def _sibling_site(
    site: PredictedSite, shift_ppm: float, cq_mhz: float, shift_width: float, cq_width: float
) -> PredictedSite:
    return site.model_copy(
        update={
            "candidate_id": SIBLING_ID,
            "candidate_name": SIBLING_ID,
            "delta_iso_ppm": shift_ppm,
            "cq_mhz": cq_mhz,
            "delta_error_ppm": math.hypot(site.delta_error_ppm, shift_width),
            "cq_error_mhz": math.hypot(site.cq_error_mhz, cq_width),
        }
    )
