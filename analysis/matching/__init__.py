"""Matching of candidates with measured spectra."""

from .match import match
from .search import MatchError
from .settings import MatchSettings

__all__ = ["MatchError", "MatchSettings", "match"]
