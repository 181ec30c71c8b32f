"""What this machine has, what is missing, and what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from ..structures.vocabulary import Frozen

REQUIRED = (
    "pymatgen",
    "ase",
    "spglib",
    "pyscf",
    "torch",
    "sevenn",
    "mrsimulator",
    "jobflow",
    "jobflow-remote",
    "litemongo",
)
PROGRAMS = {
    "nwchem": "hybrids and clusters under MPI (protocol hybrid); Debian package nwchem",
    "cp2k": "plane-wave and Gaussian relaxations; Debian package cp2k",
    "pw.x": "Quantum ESPRESSO; Debian package quantum-espresso",
    "gipaw.x": "periodic GIPAW tensors; QE-GIPAW, of the version of pw.x",
    "castep": "relaxations and periodic GIPAW tensors; licensed from the CASTEP developers",
    "vasp_std": "relaxations and periodic GIPAW tensors; licensed from the VASP developers",
}
MIN_MEMORY_GB = 4.0
MIN_DISK_GB = 2.0


class Finding(Frozen):
    """One thing that was looked at. ``is_problem``: a study cannot run without it."""

    what: str
    found: str
    advice: str = ""
    is_problem: bool = False

    @property
    def mark(self) -> str:
        """A word for the first column."""
        return "MISSING" if self.is_problem else "note" if self.advice else "ok"


def examine(folder: Path | None = None) -> tuple[Finding, ...]:
    """Look at Python, packages, SevenNet's weights, optional programs, cores, memory and disk.

    Parameters
    ----------
    folder
        Where studies will run; its disk is looked at. The current folder by default.
    """
    return (
        _python(),
        *(_package(name) for name in REQUIRED),
        _weights(),
        _torch_build(),
        _cores(),
        _memory(),
        _disk(folder or Path.cwd()),
        *(_program(name, use) for name, use in PROGRAMS.items()),
    )


def _python() -> Finding:
    good = sys.version_info >= (3, 11)
    return Finding(
        what="Python",
        found=platform.python_version(),
        advice="" if good else "use Python 3.11 or newer",
        is_problem=not good,
    )


def _package(name: str) -> Finding:
    try:
        return Finding(what=name, found=version(name))
    except PackageNotFoundError:
        return Finding(what=name, found="not installed", advice=f"pip install {name}", is_problem=True)


def _weights() -> Finding:
    what = "SevenNet weights 7net-l3i5"
    package = find_spec("sevenn")  # found without importing it, which takes seconds
    if package is None:
        return Finding(what=what, found="no sevenn", advice="pip install sevenn", is_problem=True)
    folders = [
        Path(place, "pretrained_potentials", "SevenNet_l3i5") for place in package.submodule_search_locations or ()
    ]
    weights = [file.name for folder in folders for file in folder.glob("*.pth")]
    if not weights:
        return Finding(
            what=what, found="not in the package", advice="pip install --force-reinstall sevenn", is_problem=True
        )
    return Finding(what=what, found=weights[0])


def _torch_build() -> Finding:
    try:
        build = version("torch")
    except PackageNotFoundError:
        return Finding(what="torch build", found="not installed", advice="pip install torch", is_problem=True)
    cuda = find_spec("nvidia") is not None
    return Finding(what="torch build", found=f"{build}, {'with CUDA libraries' if cuda else 'CPU'}")


def _cores() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Finding(what="cores", found=str(cores), advice="" if cores > 1 else "set run.parallel_jobs: 1")


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    total, free = memory.total / 1e9, memory.available / 1e9
    return Finding(
        what="memory",
        found=f"{free:.1f} of {total:.1f} GB free",
        advice="" if free >= MIN_MEMORY_GB else f"at least {MIN_MEMORY_GB:.0f} GB are needed for one NMR job",
        is_problem=total < MIN_MEMORY_GB,
    )


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 1e9
    return Finding(
        what=f"disk of {folder}",
        found=f"{free:.1f} GB free",
        advice="" if free >= MIN_DISK_GB else "free some space, or run elsewhere with --folder",
    )


def _program(name: str, use: str) -> Finding:
    path = shutil.which(name)
    return Finding(what=name, found=path or "not on PATH", advice="" if path else f"optional: {use}")
