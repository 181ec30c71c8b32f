"""What the calculator needs to know of a program, and nothing else: one small adapter per program."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ....structures.vocabulary import AtomicStructure, Candidate
    from .protocols import DftEngine
    from .results import SinglePoint


class Geometry(NamedTuple):
    """One geometry to compute, and how.

    Attributes
    ----------
    candidate, numbers
        The candidate where its atoms are now, and the numbers of the engine's protocol.
    folder
        Where the program works.
    rung
        Entry of the ladder for a field that does not converge.
    is_restart
        Whether the run starts from what the last one left.
    with_stress
        Whether the stress is wanted too.
    """

    candidate: Candidate
    numbers: Any
    folder: Path
    rung: Mapping[str, object]
    is_restart: bool
    with_stress: bool


class DftProgram(ABC):
    """One program that computes energy and forces of one geometry per run, in a folder of its own.

    Attributes
    ----------
    name
        The engine, as in a study file.
    result
        Name of the file that holds energies and forces; empty if the program prints them.
    logs
        Patterns of further files that say why a run failed.
    guesses
        Names of files, relative to the folder, from which the next geometry may start.
    """

    name: ClassVar[DftEngine]
    result: ClassVar[str] = ""
    logs: ClassVar[tuple[str, ...]] = ()
    guesses: ClassVar[tuple[str, ...]] = ()

    def prepare(self, structure: AtomicStructure, folder: Path) -> None:  # noqa: B027  (most programs need none)
        """Put pseudopotentials into the folder.

        Raises
        ------
        MissingPotentialError
            If an element has none.
        """

    @abstractmethod
    def write(self, geometry: Geometry) -> list[str]:
        """Write the inputs; returns the words after the launch line."""

    def has_guess(self, candidate: Candidate, numbers: Any, folder: Path) -> bool:
        """Whether the folder holds all that a restart needs; an empty file is none."""
        del candidate, numbers
        files = [folder / name for name in self.guesses]
        return all(file.is_file() and file.stat().st_size > 0 for file in files)

    def forget(self, folder: Path) -> None:
        """Remove what a restart would start from."""
        for name in self.guesses:
            (folder / name).unlink(missing_ok=True)

    @abstractmethod
    def parse(self, text: str, structure: AtomicStructure, *, with_stress: bool) -> SinglePoint:
        """Energy, forces and, if asked for, the stress.

        Raises
        ------
        ScfNotConvergedError, TruncatedOutputError, NotFiniteOutputError, WrongAtomOrderError
            What is wrong with the output; that the field did not converge goes first.
        """
