"""What a single point gives, and how the numbers of a program's output become it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from ....analysis.tensor_files.errors import (
    BadNumberError,
    TensorFileError,
    UnconvergedOutputError,
    UnconvergedResponseError,
)
from ....structures.vocabulary import Frozen, Vector3
from .errors import NotFiniteOutputError, ScfNotConvergedError, TruncatedOutputError, WrongAtomOrderError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ....structures.vocabulary import AtomicStructure

GPA_EV_PER_ANG3 = 1.0 / 160.21766208
KILOBAR_EV_PER_ANG3 = 0.1 * GPA_EV_PER_ANG3
MAX_DISTANCE_ANG = 0.01
"""How far an atom of an output may be from where it was put: outputs print five or six decimals."""

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


@contextmanager
def named_as_dft(program: str) -> Iterator[None]:
    """Give the refusals of the readers of ``analysis.tensor_files`` the names that the calculator knows.

    Parameters
    ----------
    program
        What messages call the program.
    """
    try:
        yield
    except (UnconvergedOutputError, UnconvergedResponseError) as error:
        raise ScfNotConvergedError(f"{program}: {error}") from error
    except BadNumberError as error:
        raise NotFiniteOutputError(f"{program}: {error}") from error
    except TensorFileError as error:  # cut, damaged, or of nothing that is known
        raise TruncatedOutputError(f"{program}: {error}") from error


def check_cell(lattice: NDArray[np.float64], structure: AtomicStructure, *, program: str) -> None:
    """Refuse the output of another cell.

    Raises
    ------
    WrongAtomOrderError
        If a lattice vector (rows, angstrom) differs by more than ``MAX_DISTANCE_ANG``.
    """
    if np.abs(lattice - structure.lattice).max() > MAX_DISTANCE_ANG:
        raise WrongAtomOrderError(f"{program}: the cell of the output is not that of the input")


def placed(
    structure: AtomicStructure, elements: Sequence[str], frac: NDArray[np.float64], *, program: str
) -> tuple[int, ...]:
    """Row in an output of each atom of the structure, found by element and position modulo the lattice.

    Parameters
    ----------
    structure
        What was put in.
    elements, frac
        Elements and fractional coordinates (n, 3) of the output.
    program
        What messages call the program.

    Raises
    ------
    WrongAtomOrderError
        If they are not the atoms of the structure, each once.
    """
    refusal = WrongAtomOrderError(f"{program}: the atoms of the output are not those of the input, at their places")
    if sorted(elements) != sorted(structure.elements):
        raise refusal
    own = np.array(structure.frac_coords)
    kinds = np.array(elements)
    rows = []
    for symbol, place in zip(structure.elements, own, strict=True):
        shift = frac - place
        distance = np.linalg.norm((shift - np.round(shift)) @ structure.lattice, axis=1)
        distance[kinds != symbol] = np.inf
        nearest = int(np.argmin(distance))
        if not distance[nearest] <= MAX_DISTANCE_ANG:
            raise refusal
        rows.append(nearest)
    if len(set(rows)) != len(rows):
        raise refusal
    return tuple(rows)
