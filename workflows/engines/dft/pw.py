"""pw.x: the input of a single point and what its output says."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....analysis.tensor_files.magres import BOHR_ANG
from ..inputs.common import species_of
from ..inputs.qe import pw_text
from ..inputs.upf import ENDINGS, MissingPotentialError, read_upf
from .errors import (
    ScfNotConvergedError,
    TruncatedOutputError,
    WrongAtomOrderError,
)
from .gth import write_gth
from .program import DftProgram, Geometry
from .protocols import rung_words
from .results import SinglePoint, finite_number, voigt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ....structures.vocabulary import AtomicStructure, Candidate
    from ..inputs.protocols import PwProtocol

RYDBERG_EV = 13.605693122994
PREFIX = "surfshift"
UPF_VARIABLE = "SURFSHIFT_PW_UPF_DIR"
"""Folder of the UPF files for relaxations, with no need of GIPAW data; without it CP2K's GTH potentials are used."""


def place_potentials(elements: Iterable[str], folder: Path) -> dict[str, str]:
    """File name of each element's pseudopotential in a folder, where links or files are put.

    Raises
    ------
    MissingPotentialError
        If an element has none.
    """
    named = os.environ.get(UPF_VARIABLE)
    if not named:
        return write_gth(elements, folder)
    files = sorted(path for path in Path(named).iterdir() if path.suffix in ENDINGS) if Path(named).is_dir() else []
    found: dict[str, str] = {}
    for element in elements:
        own = [path for path in files if re.match(rf"{element}(?![a-z])", path.name, re.IGNORECASE)]
        match = next((path for path in own if read_upf(path).element == element), None)
        if match is None:
            raise MissingPotentialError(f"no UPF file of {element} in {named!r} ({UPF_VARIABLE}); put one there")
        link = folder / match.name
        if not link.exists():
            link.symlink_to(match.resolve())
        found[element] = match.name
    return found


def pw_input(
    candidate: Candidate,
    protocol: PwProtocol,
    potentials: Mapping[str, str],
    *,
    rung: Mapping[str, object],
    is_restart: bool = False,
    with_stress: bool = False,
) -> str:
    """Input of energy and forces; symmetry is off, so that every candidate and mesh is treated alike.

    Parameters
    ----------
    candidate, protocol
        Structure and numbers; a slab with a dipole along its normal gets the dipole correction.
    potentials
        File name of each element in the working folder.
    rung
        Entry of the ladder for a field that does not converge.
    is_restart
        Start from the density of an earlier run in the same folder.
    with_stress
        Also compute the stress.
    """
    extras: dict[str, str | int | float | bool] = {"tprnfor": True, "tstress": with_stress, "disk_io": "low"}
    if is_restart:
        extras["startingpot"] = "file"
    extras |= rung_words(rung)
    return pw_text(candidate, protocol, prefix=PREFIX, potentials=potentials, pseudo_dir="./", extras=extras)


def parse_pw(text: str, structure: AtomicStructure, *, with_stress: bool = False) -> SinglePoint:
    """Energy, forces and, if asked for, the stress of an output.

    Raises
    ------
    ScfNotConvergedError, TruncatedOutputError, NotFiniteOutputError, WrongAtomOrderError
        As for CP2K.
    """
    if "convergence NOT achieved" in text:
        raise ScfNotConvergedError("pw.x: the self-consistent field did not converge")
    if "JOB DONE" not in text:
        raise TruncatedOutputError("pw.x: the output ends before its last line; the run was cut off")
    energies = re.findall(r"^!\s+total energy\s+=\s+(\S+) Ry", text, re.MULTILINE)
    start = text.rfind("Forces acting on atoms")
    if not energies or start < 0:
        raise TruncatedOutputError("pw.x: the output has no energy or no forces")
    rows = re.findall(r"atom\s+(\d+) type\s+(\d+)\s+force =\s+(\S+)\s+(\S+)\s+(\S+)", text[start:])[: len(structure)]
    kinds = species_of(structure)
    if [kinds[int(row[1]) - 1] for row in rows if int(row[1]) <= len(kinds)] != list(structure.elements):
        raise WrongAtomOrderError("pw.x: the atoms of the output are not those of the input, in their order")
    stress = None
    if with_stress:
        block = re.search(r"total\s+stress.*?\n((?:\s+\S+.*\n){3})", text)
        if block is None:
            raise TruncatedOutputError("pw.x: the output has no stress")
        unit = RYDBERG_EV / BOHR_ANG**3
        tensor = -np.array([[_number(x) for x in line.split()[:3]] for line in block.group(1).splitlines()]) * unit
        stress = voigt(tensor)
    unit = RYDBERG_EV / BOHR_ANG
    return SinglePoint(
        energy_ev=_number(energies[-1]) * RYDBERG_EV,
        forces_ev_per_ang=tuple((_number(x) * unit, _number(y) * unit, _number(z) * unit) for _, _, x, y, z in rows),
        stress_ev_per_ang3=stress,
    )


def _number(word: str) -> float:
    return finite_number(word, "pw.x")


class PwProgram(DftProgram):
    """pw.x: it prints its results; the density stays in ``scratch``, binary or with HDF5."""

    name = "pw"

    def __init__(self) -> None:
        self._potentials: dict[str, str] = {}

    def prepare(self, structure: AtomicStructure, folder: Path) -> None:
        self._potentials = place_potentials(dict.fromkeys(structure.elements), folder)

    def write(self, geometry: Geometry) -> list[str]:
        at = geometry
        text = pw_input(
            at.candidate,
            at.numbers,
            self._potentials,
            rung=at.rung,
            is_restart=at.is_restart,
            with_stress=at.with_stress,
        )
        (at.folder / "pw.inp").write_text(text, encoding="utf-8")
        return ["-input", "pw.inp"]

    def has_guess(self, candidate: Candidate, numbers: Any, folder: Path) -> bool:
        del candidate, numbers
        saved = folder / "scratch" / f"{PREFIX}.save"
        return any((saved / f"charge-density.{ending}").is_file() for ending in ("dat", "hdf5"))

    def forget(self, folder: Path) -> None:
        shutil.rmtree(folder / "scratch", ignore_errors=True)

    def parse(self, text: str, structure: AtomicStructure, *, with_stress: bool) -> SinglePoint:
        return parse_pw(text, structure, with_stress=with_stress)
