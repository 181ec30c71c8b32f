"""What a single point gives, and how the numbers of a program's output become it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ....structures.vocabulary import Frozen, Vector3
from .errors import NotFiniteOutputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Elements of a stress tensor in the order of ase: xx yy zz yz xz xy."""


class SinglePoint(Frozen):
    """Energy (eV), forces (eV/angstrom) in the order of the atoms, stress (eV/angstrom3, xx yy zz yz xz xy)."""

    energy_ev: float
    forces_ev_per_ang: tuple[Vector3, ...]
    stress_ev_per_ang3: tuple[float, ...] | None = None


def finite_number(word: str, program: str) -> float:
    """A number of an output.

    Raises
    ------
    NotFiniteOutputError
        If it is none, or not finite.
    """
    try:
        value = float(word)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise NotFiniteOutputError(f"{program}: {word!r} stands where a number belongs")
    return value


def voigt(tensor: NDArray[np.float64]) -> tuple[float, ...]:
    """The six elements of a symmetric tensor of shape (3, 3), in the order of ``VOIGT``."""
    return tuple(float(tensor[i, j]) for i, j in VOIGT)
