"""Weigh mixtures of candidates against measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .energy_prior import with_energies
from .search import Problem
from .settings import MatchSettings
from .verdict import assignment_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..vocabulary import Assignment, Measurement, PredictedSite, Reference


def match(
    candidates: Mapping[str, Sequence[PredictedSite]],
    measurements: Sequence[Measurement],
    references: Mapping[str, Reference],
    settings: MatchSettings | None = None,
) -> Assignment:
    """Which candidates, alone or mixed, explain the measurements, and how sure that is.

    Every subset of up to ``settings.max_members`` candidates is an explanation; its evidence comes from all peak lists
    and spectra at once, with the reference's offset and slope, and a shift and a CQ error per site, integrated out.
    The rival is that something outside the list gives the signal. The result does not depend on the order of the
    candidates, and repeats exactly.

    Parameters
    ----------
    candidates
        Predicted sites by candidate id.
    measurements
        Peak lists and spectra of one sample.
    references
        The reference of each measured isotope, all of one method.
    settings
        Priors and tolerances.

    Raises
    ------
    MatchError
        If nothing can be compared; says what was measured, predicted and referenced.
    MixedMethodsError
        If the references come from different methods.
    EnergyPriorError
        If ``settings.energy_prior`` does not name the candidates.
    """
    problem = Problem(candidates, measurements, references, settings or MatchSettings())
    weighed = problem.weigh()
    if problem.settings.energy_prior is not None:
        weighed = with_energies(problem, weighed, problem.settings.energy_prior)
    return assignment_of(problem, weighed)
