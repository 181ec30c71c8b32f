"""What the writers of inputs share: k-points, the slab's dipole, checked keywords and the set of files."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from ....structures.errors import SurfshiftError, nearest
from ....structures.vocabulary import Frozen
from ...files import write_atomically
from .protocols import protocol_data

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ....structures.vocabulary import AtomicStructure, Candidate

Value = str | int | float | bool
MIN_DIPOLE_E_ANG = 0.05
"""A slab with a smaller dipole along its normal is written without a dipole correction."""


class InputError(SurfshiftError):
    """An input that a program would refuse, or would take for something else than is meant."""


class InputFiles(Frozen):
    """The input files of one calculation.

    Attributes
    ----------
    files
        Text of each file by name.
    order
        ``order[k]`` is the index in the structure of the k-th atom as written; VASP wants species in blocks.
    warnings
        What a reader must know before the run.
    """

    files: dict[str, str]
    order: tuple[int, ...]
    warnings: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Write all files into a folder, each whole or not at all.

        Raises
        ------
        OSError
            If a file cannot be written.
        """
        for name, text in self.files.items():
            write_atomically(folder / name, text)


def kpoint_grid(structure: AtomicStructure, spacing_per_ang: float) -> tuple[int, int, int]:
    """Divisions of the k-point mesh: reciprocal heights over the spacing (no 2 pi), and 1 where the cell is vacuum.

    Parameters
    ----------
    structure
        A slab has ``periodic`` false along its normal.
    spacing_per_ang
        Largest distance of k-points, 1/angstrom.
    """
    lengths = np.linalg.norm(np.linalg.inv(structure.lattice), axis=0)
    divisions = [
        max(1, math.ceil(length / spacing_per_ang - 1e-6)) if periodic else 1
        for length, periodic in zip(lengths, structure.periodic, strict=True)
    ]
    return (divisions[0], divisions[1], divisions[2])


def has_dipole(candidate: Candidate) -> bool:
    """Whether a slab needs a dipole correction: its formal dipole along the normal is not zero."""
    return candidate.kind == "slab" and abs(candidate.dipole_e_ang) > MIN_DIPOLE_E_ANG


def species_of(structure: AtomicStructure) -> tuple[str, ...]:
    """Elements in the order of their first atom."""
    return tuple(dict.fromkeys(structure.elements))


def vacuum_centre(structure: AtomicStructure) -> float:
    """Fractional coordinate along the third vector of the middle of the largest gap between atoms."""
    heights: NDArray[np.float64] = np.sort(np.array(structure.frac_coords)[:, 2] % 1.0)
    gaps = np.diff(np.append(heights, heights[0] + 1.0))
    widest = int(np.argmax(gaps))
    return float((heights[widest] + 0.5 * gaps[widest]) % 1.0)


def checked_extra(program: str, sections: tuple[str, ...], extra: Mapping[str, Value]) -> dict[str, Value]:
    """Extra keywords, spelled as documented.

    Raises
    ------
    InputError
        If a keyword is unknown, set by the writer, or breaks an NMR run; or a value holds a line break.
    """
    data = protocol_data("keywords")[program]
    known = {word.lower(): word for section in sections for word in data[section]}
    result: dict[str, Value] = {}
    for given, value in extra.items():
        word = known.get(given.lower())
        if word is None:
            raise InputError(
                f"{program} has no keyword {given!r} that may be set here; {nearest(given, known.values())}"
            )
        if word in data["forbidden"]:
            raise InputError(f"{program} keyword {word} may not be changed: {data['forbidden'][word]}")
        if word in data["reserved"]:
            raise InputError(f"{program} keyword {word} is set from the protocol; override the protocol's key instead")
        if isinstance(value, str) and not re.fullmatch(r"[\w .+-]{1,80}", value):
            raise InputError(f"{program} keyword {word}: {value!r} has characters that have no place in an input file")
        result[word] = value
    return result


def keyword_source(program: str) -> str:
    """Where the keywords of a program are documented."""
    return str(protocol_data("keywords")[program]["source"])


def title_of(candidate: Candidate) -> str:
    """One line naming a candidate, free of characters that an input file could take for syntax."""
    return re.sub(r"[^\w()+. -]", "_", candidate.name)[:60]
