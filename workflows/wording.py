"""Words of the command line that several commands use."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 peak``, ``2 peaks``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def answer(verdict: str, statement: str) -> str:
    """The verdict before its statement, unless the statement begins with it."""
    return statement if statement.lower().startswith(verdict.lower()) else f"{verdict}: {statement}"
