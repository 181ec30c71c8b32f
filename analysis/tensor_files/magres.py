"""Reading .magres files: CASTEP's, Quantum ESPRESSO's, VASP's and others', whole or in parts.

The format is that of CCP-NC (www.ccpnc.ac.uk/docs/magres), version 1. What is read beyond it, because programs write
it: a missing version line, blocks in angle brackets and ``Angstroms`` (QE-GIPAW 5), labels glued to their numbers
(CASTEP beyond 999 atoms), records for some of the atoms only, and ms and efg in separate files.

Order of a tensor's nine numbers. CASTEP, VASP and QE-GIPAW print one row per direction of the external field: VASP
says so in its OUTCAR, CASTEP's numbers agree with VASP's row for row on one structure, and QE-GIPAW writes its array
(induced, external) in Fortran order. Here rows are the induced field, so a tensor is transposed when read and when
written. Isotropic values and anisotropies do not depend on this.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...structures.vocabulary import Tensor3, as_tensor3
from .errors import (
    BadNumberError,
    InconsistentFileError,
    MissingTensorsError,
    TruncatedOutputError,
    UnknownUnitError,
    UnreadableFileError,
    UnsupportedVersionError,
)
from .result import SPHERE, UNKNOWN, PeriodicTensors, build, clean_efg, fractional, functional_name
from .text import element, integer, number, numbers, read_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

BOHR_ANG = 0.529177210903
HARTREE_EV = 27.211386245988
"""CODATA 2018, as the other constants here."""

_VERSION = re.compile(r"#\$magres-abinitio-v(\d{1,6})\.(\d{1,6})")
_BLOCK = re.compile(r"[\[<](/?)(\w{1,40})[\]>]")
_GLUED = re.compile(r"([A-Za-z:_.]{1,20})([0-9]{1,6})")
_LENGTHS = {"angstrom": 1.0, "angstroms": 1.0, "bohr": BOHR_ANG, "au": BOHR_ANG}
_ENERGIES = {"ev": 1.0, "ry": 0.5 * HARTREE_EV, "rydberg": 0.5 * HARTREE_EV, "hartree": HARTREE_EV, "ha": HARTREE_EV}
_USED = {"ms", "efg"}
_EFG_PRINTED_AU = 1e-4


class _Line(NamedTuple):
    number: int
    tokens: list[str]
    text: str


class _Atoms(NamedTuple):
    lattice: NDArray[np.float64]
    elements: list[str]
    cart: NDArray[np.float64]
    labels: list[tuple[str, int]]


def read_magres(path: str | Path) -> PeriodicTensors:
    """Read a .magres file.

    Raises
    ------
    TensorFileError
        Any of the named refusals of this package.
    """
    return parse_magres(read_text(path), name=str(path))


def parse_magres(text: str, *, name: str = "magres text") -> PeriodicTensors:
    """Read the text of a .magres file; ``name`` stands in messages.

    Raises
    ------
    TensorFileError
        Any of the named refusals of this package.
    """
    lines = [_Line(i, line.split(), line.strip()) for i, line in enumerate(text.splitlines(), start=1) if line.strip()]
    notes = _version_notes(lines, name)
    blocks = _blocks(lines, name)
    if "atoms" not in blocks:
        kind = TruncatedOutputError if lines and _VERSION.match(lines[0].text) else UnreadableFileError
        raise kind(f"{name} has no [atoms] block; give a complete .magres file")
    atoms = _atoms(blocks["atoms"], name)
    if "magres" not in blocks:
        raise MissingTensorsError(
            f"{name} has atoms but no [magres] block with tensors; {MissingTensorsError.reaction}"
        )
    shielding, efg, others = _tensors(blocks["magres"], atoms, name)
    facts = _calculation(blocks.get("calculation", []), name)
    settings: dict[str, str] = facts["settings"]
    default = SPHERE if facts["engine"] in {"castep", "vasp"} else UNKNOWN
    macroscopic = settings.pop("macroscopic", default)
    return build(
        name,
        lattice_ang=as_tensor3(atoms.lattice),
        elements=tuple(atoms.elements),
        frac_coords=fractional(atoms.cart, atoms.lattice, name),
        labels=tuple(atoms.labels),
        shielding_ppm=tuple(shielding),
        efg_au=tuple(efg),
        macroscopic=macroscopic,
        other_records=tuple(others),
        notes=tuple(notes),
        **facts,
    )


def _version_notes(lines: list[_Line], name: str) -> list[str]:
    if not lines:
        raise UnreadableFileError(f"{name} is empty; give a .magres file")
    found = _VERSION.match(lines[0].text)
    if found is None:
        return ["the version line is missing"]
    if found.group(1) != "1":
        raise UnsupportedVersionError(
            f"{name} says it is of version {found.group(1)}.{found.group(2)} of the magres format; "
            "version 1 is known, write it again in that"
        )
    return []


def _blocks(lines: list[_Line], name: str) -> dict[str, list[_Line]]:
    blocks: dict[str, list[_Line]] = {}
    current: str | None = None
    for line in lines:
        mark = _BLOCK.fullmatch(line.text)
        if mark is None:
            if current is not None and not line.text.startswith("#"):
                blocks[current].append(line)
            continue
        is_end, word = mark.group(1) == "/", mark.group(2).lower()
        if is_end and word == current:
            current = None
        elif is_end or current is not None:
            raise TruncatedOutputError(
                f"{name}, line {line.number}: {line.text} where the block [{current or word}] "
                f"{'is still open' if current else 'was never opened'}; the file is cut or damaged"
            )
        elif word in blocks:
            raise InconsistentFileError(f"{name}, line {line.number}: a second [{word}] block; keep one")
        else:
            current = word
            blocks[word] = []
    if current is not None:
        raise TruncatedOutputError(f"{name} ends inside its [{current}] block; {TruncatedOutputError.reaction}")
    return blocks


def _unit(line: _Line, known: dict[str, float], where: str) -> float:
    unit = line.tokens[2].lower() if len(line.tokens) == 3 else ""
    if unit not in known:
        raise UnknownUnitError(f"{where}: unit {' '.join(line.tokens[2:])!r} is not known; use {', '.join(known)}")
    return known[unit]


def _label(tokens: Sequence[str], count: int, where: str) -> tuple[str, int, list[str]]:
    """Label, number and the ``count`` tokens after them; the two may be glued together."""
    if len(tokens) == count + 1 and (glued := _GLUED.fullmatch(tokens[0])):
        return glued.group(1), int(glued.group(2)), list(tokens[1:])
    if len(tokens) < 2:
        raise TruncatedOutputError(f"{where}: a label and a number belong here; the file is cut or damaged")
    return tokens[0], integer(tokens[1], where), list(tokens[2:])


def _atoms(block: list[_Line], name: str) -> _Atoms:
    lattice: NDArray[np.float64] | None = None
    units = {"lattice": 1.0, "atom": 1.0}
    elements: list[str] = []
    labels: list[tuple[str, int]] = []
    positions: list[list[float]] = []
    for line in block:
        where = f"{name}, line {line.number}"
        word = line.tokens[0].lower()
        if word == "units" and len(line.tokens) > 1 and line.tokens[1] in units:
            units[line.tokens[1]] = _unit(line, _LENGTHS, where)
        elif word == "lattice":
            lattice = np.array(numbers(line.tokens[1:], 9, where)).reshape(3, 3)
        elif word == "atom":
            if len(line.tokens) < 2:
                raise TruncatedOutputError(f"{where}: an atom without a position; the file is cut or damaged")
            elements.append(element(line.tokens[1], where))
            label, index, rest = _label(line.tokens[2:], 3, where)
            labels.append((label, index))
            positions.append(numbers(rest, 3, where))
    if lattice is None:
        raise InconsistentFileError(f"{name} has no lattice; a molecule needs a box around it to be read here")
    if not positions:
        raise InconsistentFileError(f"{name} has no atoms; give a complete .magres file")
    if len(set(labels)) != len(labels):
        double = next(label for label, count in Counter(labels).items() if count > 1)
        raise InconsistentFileError(f"{name}: two atoms are called {double[0]} {double[1]}; the file is damaged")
    return _Atoms(lattice * units["lattice"], elements, np.array(positions) * units["atom"], labels)


def _tensors(
    block: list[_Line], atoms: _Atoms, name: str
) -> tuple[list[Tensor3 | None], list[Tensor3 | None], list[str]]:
    place = {label: k for k, label in enumerate(atoms.labels)}
    found: dict[str, list[Tensor3 | None]] = {kind: [None] * len(place) for kind in ("ms", "efg")}
    units = {"ms": {"ppm": 1.0}, "efg": {"au": 1.0}}
    others: list[str] = []
    for line in block:
        where = f"{name}, line {line.number}"
        word = line.tokens[0]
        if word == "units" and len(line.tokens) > 1 and line.tokens[1] in units:
            _unit(line, units[line.tokens[1]], where)
        elif word not in _USED:
            if line.text not in others[-100:]:
                others.append(line.text)
        else:
            label, index, rest = _label(line.tokens[1:], 9, where)
            raw = np.array(numbers(rest, 9, where)).reshape(3, 3)
            if (label, index) not in place:
                raise InconsistentFileError(f"{where}: there is no atom {label} {index}; the file is damaged")
            atom = place[label, index]
            if found[word][atom] is not None:
                raise InconsistentFileError(f"{where}: a second {word} tensor of {label} {index}; keep one")
            tensor = as_tensor3(raw.T) if word == "ms" else clean_efg(raw, where, printed_au=_EFG_PRINTED_AU)
            found[word][atom] = tensor
    if not any(t is not None for kind in found.values() for t in kind):
        raise MissingTensorsError(f"{name} holds neither ms nor efg records; {MissingTensorsError.reaction}")
    return found["ms"], found["efg"], others


def _calculation(block: list[_Line], name: str) -> dict[str, Any]:
    entries: dict[str, str] = {}
    potentials: dict[str, str] = {}
    unit_of_cutoff = ""
    for line in block:
        word, _, value = line.text.partition(" ")
        value = " ".join(value.split())
        if word == "units":
            if value.startswith("calc_cutoffenergy "):
                unit_of_cutoff = value.split()[1]
        elif word == "calc_pspot":
            potentials.update(_potential(value, f"{name}, line {line.number}"))
        elif value:
            entries.setdefault(word.removeprefix("calc_"), value[:200])
    code = entries.pop("code", UNKNOWN).split()[0].lower()
    engine = "qe-gipaw" if code.startswith(("qe", "quantum")) else code
    return {
        "engine": engine,
        "engine_version": entries.pop("code_version", UNKNOWN),
        "functional": functional_name(entries.pop("xcfunctional", "")),
        "cutoff_ev": _cutoff(entries.pop("cutoffenergy", ""), unit_of_cutoff, name),
        "potentials": potentials,
        "settings": entries,
    }


def _potential(value: str, where: str) -> dict[str, str]:
    """``Al 3|2.2|...`` (CASTEP) or ``Al.pbe-gipaw.UPF`` (QE); what names no element is left out."""
    symbol, _, rest = value.partition(" ")
    stem = re.split(r"[._-]", symbol)[0]
    try:
        return {element(stem if not rest else symbol, where): (rest or symbol)[:200]}
    except BadNumberError:
        return {}


def _cutoff(value: str, unit: str, name: str) -> float | None:
    tokens = value.split()
    if not tokens:
        return None
    unit = (tokens[1] if len(tokens) > 1 else unit or "eV").lower()
    if unit not in _ENERGIES:
        raise UnknownUnitError(f"{name}: the cutoff has the unit {unit!r}; use {', '.join(_ENERGIES)}")
    energy = number(tokens[0], f"{name}, cutoff") * _ENERGIES[unit]
    if energy <= 0.0:
        raise BadNumberError(f"{name}: a cutoff of {value} makes no sense; the file is damaged")
    return energy
