"""Matching of candidates with measured spectra."""

from .match import match
from .next_experiment import expected_gains, usual_experiments
from .search import MatchError
from .sensitivity import sensitivities
from .settings import MatchSettings

__all__ = ["MatchError", "MatchSettings", "expected_gains", "match", "sensitivities", "usual_experiments"]
