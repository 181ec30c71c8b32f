"""How much of a verdict hangs on one measurement, or on one reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..vocabulary import Sensitivity
from .match import match

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..vocabulary import Assignment, Measurement, PredictedSite, Reference
    from .settings import MatchSettings

OFFSET_SIGMAS = 2.0
"""By how many of its standard deviations at the pivot each reference is moved to try its weight."""


def sensitivities(
    candidates: Mapping[str, Sequence[PredictedSite]],
    measurements: Sequence[Measurement],
    references: Mapping[str, Reference],
    settings: MatchSettings | None = None,
) -> tuple[Sensitivity, ...]:
    """Verdicts without each measurement in turn, and with each reference moved to either side.

    A reference is moved by ``OFFSET_SIGMAS`` standard deviations of its shift at the mean shielding; the predicted
    shifts move with it, its covariance stays.
    """
    found = []
    for index, measurement in enumerate(measurements):
        rest = [*measurements[:index], *measurements[index + 1 :]]
        comparable = {m.isotope for m in rest} & set(references)
        if comparable:
            answer = match(candidates, rest, references, settings)
            found.append(_row(f"without {measurement.name}", answer))
    measured = {m.isotope for m in measurements}
    for isotope, reference in references.items():
        if isotope not in measured:
            continue
        (a, b), (_, d) = reference.covariance
        pivot = reference.sigma_mean_ppm
        step = OFFSET_SIGMAS * max(a * pivot**2 + 2.0 * b * pivot + d, 0.0) ** 0.5
        for sign in (1.0, -1.0):
            moved = {
                name: [
                    site.model_copy(update={"delta_iso_ppm": site.delta_iso_ppm + sign * step})
                    if site.isotope == isotope and not site.is_given
                    else site
                    for site in sites
                ]
                for name, sites in candidates.items()
            }
            answer = match(moved, measurements, references, settings)
            found.append(_row(f"{isotope} reference {sign * step:+.1f} ppm", answer))
    return tuple(found)


def _row(change: str, answer: Assignment) -> Sensitivity:
    return Sensitivity(
        change=change,
        verdict=answer.verdict,
        members=answer.members,
        probability=answer.probability,
        fit_probability=answer.fit_probability,
    )
