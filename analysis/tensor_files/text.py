"""Reading numbers from the text of other programs, strictly: what is not a finite number is refused by name."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BadNumberError, TruncatedOutputError, UnreadableFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST = 1e9
"""No length, shielding or field gradient is larger, in the units used here."""

# Fortran writes D for E, and leaves the letter out of a three-digit exponent: 0.1-100
_NUMBER = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eEdD]?([+-][0-9]{3})|[eEdD]([+-]?[0-9]{1,3}))?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,9}")

_SYMBOLS = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc
Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi
Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm
"""
ELEMENTS = frozenset(_SYMBOLS.split())


def read_text(path: str | Path) -> str:
    """Text of a file, unpacked where its name ends in ``.gz``; bytes that are not text become replacement marks.

    Raises
    ------
    UnreadableFileError
        If the file is missing or cannot be opened or unpacked.
    """
    file = Path(path)
    if not file.is_file():
        raise UnreadableFileError(f"no file {str(file)!r}; check the path")
    try:
        data = file.read_bytes()
        if file.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFileError(f"cannot read {str(file)!r}: {error}; copy it again") from error
    return data.decode("utf-8", errors="replace")


def number(token: str, where: str) -> float:
    """A finite number, Fortran's exponents included.

    Raises
    ------
    BadNumberError
        If the token is NaN, stars, or anything but a finite number.
    """
    found = _NUMBER.fullmatch(token)
    if found is not None:
        mantissa, short, plain = found.groups()
        value = float(mantissa if short is None and plain is None else f"{mantissa}e{short or plain}")
        if abs(value) <= LARGEST:
            return value
    raise BadNumberError(f"{where}: {token!r} is not a usable number; the output is damaged, run again")


def numbers(tokens: Sequence[str], count: int, where: str) -> list[float]:
    """Exactly ``count`` finite numbers.

    Raises
    ------
    BadNumberError
        If one is not a finite number.
    TruncatedOutputError
        If there are fewer or more than ``count``.
    """
    if len(tokens) != count:
        for token in tokens:
            number(token, where)
        raise TruncatedOutputError(f"{where}: {len(tokens)} numbers where {count} belong; the file is cut or damaged")
    return [number(token, where) for token in tokens]


def integer(token: str, where: str) -> int:
    """A whole number of at most nine digits.

    Raises
    ------
    BadNumberError
        If the token is anything else.
    """
    if not _INTEGER.fullmatch(token):
        raise BadNumberError(f"{where}: {token!r} is not a whole number; the output is damaged, run again")
    return int(token)


def element(symbol: str, where: str) -> str:
    """The chemical symbol with which a species name such as ``Al``, ``H:D``, ``O1`` or ``SI`` starts.

    Raises
    ------
    BadNumberError
        If there is none.
    """
    letters = re.match(r"[A-Za-z]{0,2}", symbol)
    start = letters.group() if letters else ""
    for candidate in (start.capitalize(), start[:1].upper()):
        if candidate in ELEMENTS:
            return candidate
    raise BadNumberError(f"{where}: {symbol!r} is not the name of an element; the output is damaged")
