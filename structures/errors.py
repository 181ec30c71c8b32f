"""The errors that a user can cause, or must know of, by name."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class SurfshiftError(ValueError):
    """Base of every error with a message for the user: what was given, why it is wrong, what to do."""


def redacted(text: str, *secrets: str | None) -> str:
    """A text in which secrets, for example keys that a library repeats in its errors, are replaced by dots."""
    for secret in secrets:
        for form in {secret, secret.strip(), repr(secret)[1:-1]} - {""} if secret else ():
            text = text.replace(form, "•••")
    return text


def nearest(given: str, known: Iterable[str]) -> str:
    """A ``did you mean`` sentence for a mistyped word, or the list of known words."""
    words = sorted(str(word) for word in known)
    close = difflib.get_close_matches(given, words, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(words)}"
