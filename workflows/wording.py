"""Words of the command line that several commands use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..analysis.vocabulary import PredictedSite

MAX_LINES = 12


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 peak``, ``2 peaks``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def answer(verdict: str, statement: str) -> str:
    """The verdict before its statement, unless the statement begins with it."""
    return statement if statement.lower().startswith(verdict.lower()) else f"{verdict}: {statement}"


def predicted_lines(sites: Sequence[PredictedSite]) -> list[str]:
    """What is predicted, in lines for a terminal; the report has the rest where there is more."""
    if not sites:
        return []
    lines = ["predicted:"]
    for site in sites[:MAX_LINES]:
        coupling = f", CQ {abs(site.cq_mhz):.2f} MHz, eta {site.eta_q:.2f}" if site.cq_mhz else ""
        where = "" if site.region.value == "bulk" else f", {site.region.value}"
        lines.append(
            f"  {site.candidate_name}: {site.isotope} at {site.delta_iso_ppm:.1f} ± {site.delta_error_ppm:.1f} ppm"
            f"{coupling}{where}"
        )
    if len(sites) > MAX_LINES:
        lines.append(f"  and {counted(len(sites) - MAX_LINES, 'more site')}, see the report")
    return lines
