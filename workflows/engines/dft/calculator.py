"""A calculator for ase that runs a program once per geometry, each from the wavefunction or density of the last.

ase's own CP2K calculator talks to a CP2K shell through pipes, which stalls above 100 atoms under MPI, and atomate2's
makers relax inside the program, where neither this project's frozen atoms and symmetry nor its checks after every step
apply. A program per step costs two seconds of start and leaves on the disk all that a restart after a lost allocation
needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .errors import DftError, ProgramFailedError, ScfNotConvergedError, TruncatedOutputError
from .launch import run_program
from .program import Geometry
from .programs import program_of
from .protocols import DftEngine, dft_protocol, scf_ladder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

    from ....structures.vocabulary import Candidate
    from .results import SinglePoint


class ProgramCalculator:
    """Energies, forces and stresses of one candidate in moving geometries.

    Parameters
    ----------
    engine, protocol, overrides
        Program, name of its protocol, and numbers to replace.
    candidate
        Says what is periodic, and whether a dipole correction is due.
    folder
        Where the program works; what an earlier run left there is used as a first guess.
    """

    implemented_properties: ClassVar[tuple[str, ...]] = ("energy", "free_energy", "forces", "stress")

    def __init__(
        self, engine: DftEngine, candidate: Candidate, folder: Path, *, protocol: str = "balanced", **overrides: object
    ) -> None:
        self.engine = engine
        self.candidate = candidate
        self.folder = folder
        self.numbers: Any = dft_protocol(engine, protocol, **overrides)
        self.rung = 0
        self.n_runs = 0
        self._results: dict[str, Any] = {}
        self._geometry: bytes = b""
        self._program = program_of(engine)
        folder.mkdir(parents=True, exist_ok=True)
        self._program.prepare(candidate.structure, folder)

    @property
    def method(self) -> str:
        """Program and protocol in words."""
        return f"{self.engine} {self.numbers.functional} {self.numbers.name} {self.numbers.hash}"

    def get_potential_energy(self, atoms: Atoms, force_consistent: bool = False) -> float:
        """Energy in eV."""
        del force_consistent
        return float(self._ask(atoms, "energy"))

    def get_forces(self, atoms: Atoms) -> NDArray[np.float64]:
        """Forces (n, 3) in eV/angstrom."""
        return np.array(self._ask(atoms, "forces"))

    def get_stress(self, atoms: Atoms) -> NDArray[np.float64]:
        """Stress xx, yy, zz, yz, xz, xy in eV/angstrom3."""
        return np.array(self._ask(atoms, "stress"))

    def _ask(self, atoms: Atoms, name: str) -> Any:
        geometry = atoms.get_positions().tobytes() + np.array(atoms.cell).tobytes()
        if geometry != self._geometry or name not in self._results:
            self._results = self.calculate(atoms, with_stress=name == "stress" or "stress" in self._results)
            self._geometry = geometry
        return self._results[name]

    def calculate(self, atoms: Atoms, *, with_stress: bool = False) -> dict[str, Any]:
        """Run the program; a field that does not converge is tried with the next settings of the ladder.

        Parameters
        ----------
        atoms
            The candidate's atoms where they are now.
        with_stress
            Also compute the stress.

        Raises
        ------
        ScfNotConvergedError
            If no setting of the ladder converged.
        DftError
            Any other named failure.
        """
        moved = self.candidate.structure.moved_to(atoms.get_positions(), np.array(atoms.cell))
        candidate = self.candidate.model_copy(update={"structure": moved})
        ladder = scf_ladder(self.engine)
        while True:
            try:
                point = self._run(candidate, ladder[self.rung], with_stress=with_stress)
                break
            except ScfNotConvergedError as error:
                self._program.forget(self.folder)
                if self.rung + 1 == len(ladder):
                    tried = ", ".join(rung["name"] for rung in ladder)
                    raise ScfNotConvergedError(
                        f"{candidate.name}: {error}, tried were: {tried}. Look at the structure: a relaxed one "
                        "converges better"
                    ) from error
                self.rung += 1
        results: dict[str, Any] = {"energy": point.energy_ev, "forces": np.array(point.forces_ev_per_ang)}
        if point.stress_ev_per_ang3 is not None:
            results["stress"] = np.array(point.stress_ev_per_ang3)
        return results

    def _run(self, candidate: Candidate, rung: Mapping[str, object], *, with_stress: bool) -> SinglePoint:
        try:
            return self._run_once(candidate, rung, with_stress=with_stress, is_restart=self._has_guess(candidate))
        except ProgramFailedError:
            if not self._has_guess(candidate):
                raise
            # a half-written guess of a killed run stops the program; without it there is none
            self._program.forget(self.folder)
            return self._run_once(candidate, rung, with_stress=with_stress, is_restart=False)

    def _run_once(
        self, candidate: Candidate, rung: Mapping[str, object], *, with_stress: bool, is_restart: bool
    ) -> SinglePoint:
        self.n_runs += 1
        program = self._program
        result = self.folder / program.result if program.result else None
        if result is not None:
            result.unlink(missing_ok=True)  # what an earlier run left is never taken for this one's
        arguments = program.write(Geometry(candidate, self.numbers, self.folder, rung, is_restart, with_stress))
        output = self.folder / f"{self.engine}.out"
        try:
            printed = run_program(self.engine, arguments, self.folder, output, logs=program.logs)
        except ProgramFailedError:
            self._raise_if_unconverged(candidate, result or output)
            raise
        if result is not None and not result.is_file():
            raise TruncatedOutputError(f"{self.engine} ended and wrote no {result.name}: {printed[-500:]}")
        text = printed if result is None else result.read_text(encoding="utf-8", errors="replace")
        return program.parse(text, candidate.structure, with_stress=with_stress)

    def _raise_if_unconverged(self, candidate: Candidate, file: Path) -> None:
        """A program may end with an error code just because its field did not converge."""
        if not file.is_file():
            return
        try:
            self._program.parse(
                file.read_text(encoding="utf-8", errors="replace"), candidate.structure, with_stress=False
            )
        except ScfNotConvergedError:
            raise
        except DftError:
            return

    def _has_guess(self, candidate: Candidate) -> bool:
        return self._program.has_guess(candidate, self.numbers, self.folder)
