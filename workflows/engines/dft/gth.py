"""CP2K's Goedecker-Teter-Hutter potentials as files that pw.x reads (``.gth``, ABINIT's pspcod 10).

Both programs then compute with the same Hamiltonian, and no licensed or foreign file is needed. The parameters are
those of Krack, Theor. Chem. Acc. 114, 145 (2005), read from the file that CP2K brings; nothing is shipped here.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ....structures.vocabulary import Frozen
from ...files import write_atomically
from ..inputs.upf import MissingPotentialError
from .cp2k import valence

if TYPE_CHECKING:
    from collections.abc import Iterable

DATA_VARIABLE = "CP2K_DATA_DIR"
DATA_FOLDERS = ("share/cp2k", "share/cp2k/data", "data")
PBE_OF_PSP10 = 11


class GthChannel(Frozen):
    """Projectors of one angular momentum: radius in bohr, and the upper triangle of h in hartree, row by row."""

    radius: float
    coefficients: tuple[tuple[float, ...], ...]


class GthPotential(Frozen):
    """One potential: local part and projectors, atomic units."""

    element: str
    name: str
    n_valence: int
    local_radius: float
    local_coefficients: tuple[float, ...]
    channels: tuple[GthChannel, ...]


def data_folder() -> Path:
    """CP2K's data folder: CP2K_DATA_DIR, or beside the program.

    Raises
    ------
    MissingPotentialError
        If it is in neither place.
    """
    if named := os.environ.get(DATA_VARIABLE):
        folders = [Path(named)]
    else:
        program = next((path for name in ("cp2k.psmp", "cp2k") if (path := shutil.which(name))), None)
        roots = [Path(program).resolve().parents[1]] if program else []
        folders = [root / tail for root in (*roots, Path("/usr")) for tail in DATA_FOLDERS]
    for folder in folders:
        if (folder / "GTH_POTENTIALS").is_file():
            return folder
    raise MissingPotentialError(
        f"no GTH_POTENTIALS of CP2K in {', '.join(map(str, folders))}; name CP2K's data folder with {DATA_VARIABLE}"
    )


def read_gth(element: str, *, functional: str = "PBE", folder: Path | None = None) -> GthPotential:
    """The potential of an element from CP2K's file.

    Parameters
    ----------
    element
        Symbol.
    functional
        As in the file's names.
    folder
        CP2K's data folder; looked for without it.

    Raises
    ------
    MissingPotentialError
        If the element has none there, or the file is damaged.
    """
    file = (folder or data_folder()) / "GTH_POTENTIALS"
    name = f"GTH-{functional}-q{valence(element)}"
    lines = file.read_text(encoding="utf-8").splitlines()
    start = next((k for k, line in enumerate(lines) if line.split()[:2] == [element, name]), None)
    if start is None:
        raise MissingPotentialError(f"{file} has no potential {name} of {element}")
    block: list[list[float]] = []
    for line in lines[start + 1 :]:
        if line.lstrip().startswith("#") or re.match(r"\s*[A-Za-z]", line):
            break
        block.append([float(word) for word in line.split()])
    try:
        return _parsed(element, name, block)
    except (IndexError, ValueError) as error:
        raise MissingPotentialError(f"{file}: the potential {name} of {element} is damaged") from error


def _parsed(element: str, name: str, block: list[list[float]]) -> GthPotential:
    rows = iter(block)
    n_valence = int(sum(next(rows)))
    radius, count, *local = next(rows)
    if len(local) != int(count):
        raise ValueError("local part")
    channels = []
    for _ in range(int(next(rows)[0])):
        first = next(rows)
        n = int(first[1])
        coefficients = [tuple(first[2:])] if n else []
        coefficients += [tuple(next(rows)) for _ in range(n - 1)]
        if [len(row) for row in coefficients] != list(range(n, 0, -1)):
            raise ValueError("projectors")
        channels.append(GthChannel(radius=first[0], coefficients=tuple(coefficients)))
    return GthPotential(
        element=element,
        name=name,
        n_valence=n_valence,
        local_radius=radius,
        local_coefficients=tuple(local),
        channels=tuple(channels),
    )


def psp10_text(potential: GthPotential) -> str:
    """The potential in ABINIT's format 10, which pw.x takes from files that end in ``.gth``; no spin-orbit part."""
    from ase.data import atomic_numbers

    channels = potential.channels or (GthChannel(radius=potential.local_radius, coefficients=()),)
    l_max = len(channels) - 1
    coefficients = " ".join(f"{c:.8f}" for c in potential.local_coefficients)
    lines = [
        f"{potential.element} {potential.name}",
        f"{atomic_numbers[potential.element]} {potential.n_valence} 0",
        f"10 {PBE_OF_PSP10} {l_max} 0 2001 0",
        f"{potential.local_radius:.8f} {len(potential.local_coefficients)} {coefficients}",
        f"{len(potential.channels)}",
    ]
    for momentum, channel in enumerate(channels):
        n = len(channel.coefficients)
        first = " ".join(f"{h:.8f}" for h in channel.coefficients[0]) if n else ""
        lines.append(f"{channel.radius:.8f} {n} {first}".rstrip())
        lines += [" ".join(f"{h:.8f}" for h in row) for row in channel.coefficients[1:]]
        if momentum > 0:
            lines += [" ".join(["0.0"] * (n - k)) for k in range(n)]
    return "\n".join([*lines, ""])


def write_gth(elements: Iterable[str], folder: Path) -> dict[str, str]:
    """Write the ``.gth`` file of every element into a folder; returns the file name of each.

    Raises
    ------
    MissingPotentialError
        If an element has no potential in CP2K's file.
    """
    names = {}
    for element in elements:
        names[element] = f"{element}.gth"
        write_atomically(folder / names[element], psp10_text(read_gth(element)))
    return names
