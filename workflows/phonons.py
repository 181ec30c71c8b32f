"""Vibrations from forces of displaced atoms: crystals and slabs with phonopy, the top of a slab by a partial Hessian.

Each displacement's forces are written to a folder as soon as they are there; a run that was stopped goes on with the
next one. Forces come from any ase calculator, from SevenNet if none is given.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from ..analysis.thermodynamics.vibrations import ImaginaryModesError
from ..structures.errors import SurfshiftError
from ..structures.vocabulary import AtomicStructure, Frozen, Vector3, content_hash
from .files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from numpy.typing import ArrayLike, NDArray
    from phonopy import Phonopy

    Array = NDArray[np.float64]
    Report = Callable[[str], None]

HESSIAN_TO_THZ = 15.633304
"""Square root of 1 eV/(A^2 amu) as a frequency in THz (CODATA 2018)."""


class PhononError(SurfshiftError):
    """Base of every refusal of a phonon run."""


class UnrelaxedError(PhononError):
    """Forces of the undisplaced structure are too large for an expansion around it."""


class PhononFolderError(PhononError):
    """A folder that holds the forces of another structure, or files that cannot be read."""


class ForcesError(PhononError):
    """Forces that are not finite."""


class PhononSettings(Frozen):
    """How phonons are computed.

    Attributes
    ----------
    supercell
        Repeats of the cell in which atoms are displaced; the third is 1 for a slab.
    mesh
        Wave vectors per axis of the sum over the Brillouin zone, through Gamma; the third is 1 for a slab.
    is_slab
        Whether the third axis is vacuum.
    displacement_ang
        How far atoms are displaced, angstrom.
    max_force_ev_per_ang
        Largest force of the undisplaced structure that is accepted.
    imaginary_tolerance_thz
        Modes down to minus this are numerical noise of the acoustic branches, not an instability.
    """

    supercell: tuple[int, int, int] = (1, 1, 1)
    mesh: tuple[int, int, int] = (8, 8, 8)
    is_slab: bool = False
    displacement_ang: float = Field(default=0.01, gt=0, le=0.1)
    max_force_ev_per_ang: float = Field(default=0.01, gt=0)
    imaginary_tolerance_thz: float = Field(default=0.15, ge=0)

    @field_validator("supercell", "mesh")
    @classmethod
    def _positive(cls, numbers: tuple[int, int, int], info: ValidationInfo) -> tuple[int, int, int]:
        if min(numbers) < 1:
            raise ValueError(f"{info.field_name} needs numbers from 1, got {numbers}")
        return numbers

    @model_validator(mode="after")
    def _slab_does_not_repeat_upwards(self) -> Self:
        if self.is_slab and (self.supercell[2], self.mesh[2]) != (1, 1):
            raise ValueError(
                f"a slab does not repeat along its third axis; give supercell (n, n, 1) and mesh (n, n, 1), "
                f"not {self.supercell} and {self.mesh}"
            )
        return self


class ImaginaryMode(Frozen):
    """A mode with negative curvature: wave vector in reciprocal lattice vectors, and minus |frequency| in THz.

    An interpolated one lies between the wave vectors of the supercell: force constants that reach farther than the
    supercell are cut off there, which bends the acoustic branches near Gamma first.
    """

    wave_vector: Vector3
    frequency_thz: float
    is_interpolated: bool = False


class Vibrations(Frozen):
    """Frequencies of a structure.

    Attributes
    ----------
    structure_id
        ``AtomicStructure.content_id`` of the structure.
    frequencies_thz
        One row per wave vector, imaginary ones negative, the three translations at Gamma zero; one row for a partial
        Hessian.
    weights
        Number of equivalent wave vectors of each row.
    moving
        Indices of the atoms that moved; empty: all.
    imaginary
        Modes below minus the tolerance, lowest first.
    max_force_ev_per_ang
        Largest force of the undisplaced structure on an atom that moves.
    model
        Where the forces came from.
    """

    structure_id: str
    frequencies_thz: tuple[tuple[float, ...], ...]
    weights: tuple[int, ...]
    moving: tuple[int, ...] = ()
    imaginary: tuple[ImaginaryMode, ...] = ()
    max_force_ev_per_ang: float
    model: str

    @property
    def is_minimum_of_supercell(self) -> bool:
        """Whether no mode that the supercell holds is imaginary; interpolated ones may be."""
        return all(mode.is_interpolated for mode in self.imaginary)

    def real_frequencies_thz(self, *, allow_imaginary: bool = False) -> Array:
        """Frequencies for a free energy, shape (n_q, n_modes); those of zero and below count nowhere.

        Raises
        ------
        ImaginaryModesError
            If a mode is imaginary and that is not allowed: the structure is no minimum and has no harmonic free energy.
        """
        if self.imaginary and not allow_imaginary:
            worst = self.imaginary[0]
            where = ", ".join(f"{x:.2f}" for x in worst.wave_vector)
            advice = (
                "all of them lie between the wave vectors of the supercell, where frequencies are interpolated; take a "
                "larger supercell, or a mesh of its wave vectors only"
                if self.is_minimum_of_supercell
                else "the structure is no minimum, follow the mode with follow_imaginary first"
            )
            raise ImaginaryModesError(
                f"{len(self.imaginary)} modes are imaginary, the lowest {worst.frequency_thz:.2f} THz at ({where}); "
                f"{advice}"
            )
        return np.array(self.frequencies_thz)


class ForceStore:
    """Forces on disk, one file per displacement, for exactly one structure, pattern and model."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder = folder
        head = folder / "displacements.json"
        if head.exists():
            if self._read(head).get("fingerprint") != fingerprint:
                raise PhononFolderError(
                    f"{folder} holds forces of another structure, displacement or model; give an empty folder"
                )
        else:
            write_atomically(head, json.dumps({"fingerprint": fingerprint}))

    def forces(self, key: str, shape: tuple[int, ...]) -> Array | None:
        """Stored forces, or None."""
        path = self._path(key)
        if not path.exists():
            return None
        forces = np.array(self._read(path).get("forces", []), dtype=float)
        if forces.shape != shape:
            raise PhononFolderError(f"{path} holds forces of shape {forces.shape}, expected {shape}; delete the file")
        return forces

    def keep(self, key: str, forces: Array) -> None:
        """Write forces, all or nothing."""
        write_atomically(self._path(key), json.dumps({"forces": forces.tolist()}))

    def _path(self, key: str) -> Path:
        return self._folder / f"forces-{key}.json"

    @staticmethod
    def _read(path: Path) -> dict[str, object]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise PhononFolderError(f"cannot read {path}: {error}; delete the file") from error
        if not isinstance(content, dict):
            raise PhononFolderError(f"{path} is not a file of forces; delete it")
        return content


class _Forces:
    """Forces of structures from the store, else from the calculator."""

    def __init__(self, store: ForceStore, calculator: Calculator, total: int, report: Report | None) -> None:
        self._store, self._calculator = store, calculator
        self._total, self._done, self._report = total, 0, report

    def of(self, key: str, atoms: Atoms) -> Array:
        forces = self._store.forces(key, (len(atoms), 3))
        if forces is None:
            moved = atoms.copy()
            moved.calc = self._calculator
            forces = np.asarray(moved.get_forces(apply_constraint=False), dtype=float)
            if not np.isfinite(forces).all():
                raise ForcesError(f"the forces of displacement {key} are not finite; the structure is not physical")
            self._store.keep(key, forces)
        self._done += 1
        if self._report is not None:
            self._report(f"forces {self._done} of {self._total}")
        return forces


def force_engine(calculator: Calculator | None) -> Calculator:
    if calculator is not None:
        return calculator
    from .interatomic import sevennet

    return sevennet("7net-l3i5")


def _named(model: str, calculator: Calculator | None) -> str:
    return model or ("sevenn/7net-l3i5" if calculator is None else type(calculator).__name__)


def _check_relaxed(forces: Array, settings: PhononSettings) -> float:
    largest = float(np.linalg.norm(forces, axis=1).max())
    if largest > settings.max_force_ev_per_ang:
        raise UnrelaxedError(
            f"the largest force of the undisplaced structure is {largest:.3g} eV/A, allowed are "
            f"{settings.max_force_ev_per_ang:g}; relax it further, phonons around a slope mean nothing"
        )
    return largest


def displaced(structure: AtomicStructure, settings: PhononSettings) -> Phonopy:
    """Phonopy's object with its displacements; a slab keeps its cell (primitive matrix ``P``)."""
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    phonons = Phonopy(
        PhonopyAtoms(
            symbols=list(structure.elements),
            cell=structure.lattice,
            scaled_positions=np.array(structure.frac_coords) % 1.0,
        ),
        supercell_matrix=np.diag(settings.supercell).tolist(),
        primitive_matrix="P",
    )
    phonons.generate_displacements(distance=settings.displacement_ang)
    return phonons


def run_phonons(
    structure: AtomicStructure,
    settings: PhononSettings,
    folder: Path | str,
    *,
    calculator: Calculator | None = None,
    model: str = "",
    report: Report | None = None,
) -> tuple[Phonopy, Vibrations]:
    """Force constants and frequencies of a relaxed crystal or slab.

    Parameters
    ----------
    structure
        The relaxed structure.
    folder
        Where forces are kept; a run with the same structure and settings goes on where it stopped.
    calculator
        Any ase calculator; SevenNet without.
    model
        Name of what gives the forces; the calculator's class if empty. Say it where calculators of one class differ,
        so that their forces are never mixed in a folder.
    report
        Called with a line per displacement.

    Returns
    -------
    Phonopy
        With force constants, for bands and densities of states.
    Vibrations
        Frequencies on the mesh.

    Raises
    ------
    UnrelaxedError, PhononFolderError, ForcesError
    """
    with warnings.catch_warnings():
        # of supercells and meshes such as (2, 2, 1): their symmetry is lower, which costs time and nothing else
        warnings.filterwarnings("ignore", message=r".*Point group symmetries of supercell", category=UserWarning)
        warnings.filterwarnings("ignore", message="Mesh .* is incompatible", category=UserWarning)
        return _run_phonons(
            structure, settings, Path(folder), calculator, model=_named(model, calculator), report=report
        )


def _run_phonons(
    structure: AtomicStructure,
    settings: PhononSettings,
    folder: Path,
    calculator: Calculator | None,
    *,
    model: str,
    report: Report | None,
) -> tuple[Phonopy, Vibrations]:
    from ase import Atoms

    phonons = displaced(structure, settings)
    cells = phonons.supercells_with_displacements or []
    store = ForceStore(folder, _fingerprint(structure, settings, model, ()))
    source = _Forces(store, force_engine(calculator), len(cells) + 1, report)

    def as_ase(cell: object) -> Atoms:
        return Atoms(cell.symbols, cell=cell.cell, scaled_positions=cell.scaled_positions, pbc=True)  # type: ignore[attr-defined]

    resting = source.of("rest", as_ase(phonons.supercell))
    largest = _check_relaxed(resting, settings)
    forces = [source.of(f"{k:04d}", as_ase(cell)) - resting for k, cell in enumerate(cells) if cell is not None]
    phonons = phonons_from_forces(structure, settings, forces)
    return phonons, _on_mesh(phonons, structure, settings, largest, model)


def phonons_from_forces(structure: AtomicStructure, settings: PhononSettings, forces: ArrayLike) -> Phonopy:
    """Phonopy's object with force constants from the forces of its displacements.

    Parameters
    ----------
    forces
        Shape (n_displacements, n_atoms of the supercell, 3), eV/angstrom, those at rest taken off: ``Phonopy.forces``.

    Raises
    ------
    PhononError
        If the shape does not fit the displacements.
    """
    phonons = displaced(structure, settings)
    given = np.asarray(forces, dtype=float)
    wanted = (len(phonons.supercells_with_displacements or []), len(phonons.supercell), 3)
    if given.shape != wanted:
        raise PhononError(f"forces of shape {given.shape} were given, the displacements need {wanted}")
    phonons.forces = given
    phonons.produce_force_constants(show_drift=False)
    phonons.symmetrize_force_constants(show_drift=False)
    return phonons


def _fingerprint(structure: AtomicStructure, settings: PhononSettings, model: str, moving: Sequence[int]) -> str:
    return content_hash(
        {
            "structure": structure.content_id,
            "supercell": settings.supercell,
            "displacement": settings.displacement_ang,
            "model": model,
            "moving": list(moving),
        }
    )


def _on_mesh(
    phonons: Phonopy, structure: AtomicStructure, settings: PhononSettings, largest: float, model: str
) -> Vibrations:
    mesh = phonons.run_mesh(settings.mesh, is_gamma_center=True)
    frequencies = np.array(mesh.frequencies)
    # translations at Gamma: zero by symmetry, but their numerical noise would have a huge entropy
    gamma = np.flatnonzero(np.abs(np.array(mesh.qpoints)).max(axis=1) < 1e-9)
    for row in gamma:
        frequencies[row, np.argsort(np.abs(frequencies[row]))[:3]] = 0.0
    found = {
        tuple(float(x) for x in np.round(q, 6)): float(row.min())
        for q, row in zip(mesh.qpoints, frequencies, strict=True)
    }
    exact = commensurate_points(settings.supercell)
    for q, row in zip(exact, phonons.run_qpoints(np.array(exact)).frequencies, strict=True):
        found[q] = float(row.min())
    imaginary = sorted(
        (
            ImaginaryMode(
                wave_vector=(q[0], q[1], q[2]), frequency_thz=lowest, is_interpolated=_is_between(q, settings.supercell)
            )
            for q, lowest in found.items()
            if lowest < -settings.imaginary_tolerance_thz
        ),
        key=lambda mode: mode.frequency_thz,
    )
    return Vibrations(
        structure_id=structure.content_id,
        frequencies_thz=tuple(tuple(map(float, row)) for row in frequencies),
        weights=tuple(int(w) for w in mesh.weights),
        imaginary=tuple(imaginary),
        max_force_ev_per_ang=largest,
        model=model,
    )


def _is_between(q: tuple[float, ...], supercell: tuple[int, int, int]) -> bool:
    return any(abs(n * x - round(n * x)) > 1e-4 for x, n in zip(q, supercell, strict=True))


def commensurate_points(supercell: tuple[int, int, int]) -> tuple[Vector3, ...]:
    """Wave vectors at which force constants of a supercell are exact, in reciprocal lattice vectors within +-1/2."""
    axes = [[k / n if k / n <= 0.5 else k / n - 1.0 for k in range(n)] for n in supercell]
    return tuple((round(x, 6), round(y, 6), round(z, 6)) for x in axes[0] for y in axes[1] for z in axes[2])


def run_partial_hessian(
    structure: AtomicStructure,
    moving: Sequence[int],
    settings: PhononSettings,
    folder: Path | str,
    *,
    calculator: Calculator | None = None,
    model: str = "",
    report: Report | None = None,
) -> tuple[Array, Vibrations]:
    """Vibrations of some atoms while all others rest: an adsorbed molecule, or the top layers of a slab.

    Parameters
    ----------
    moving
        Indices of the atoms that move.

    Returns
    -------
    displacements
        Shape (3 n, n, 3) for n moving atoms: Cartesian displacement of each mode, lowest first, the largest 1 angstrom.
    Vibrations
        3 n frequencies; none of them is a translation, since the rest holds the atoms.

    Raises
    ------
    UnrelaxedError, PhononFolderError, ForcesError
    """
    atoms, name = structure.to_ase(), _named(model, calculator)
    indices = sorted(set(moving))
    if not indices or indices[0] < 0 or indices[-1] >= len(atoms):
        raise PhononError(f"moving atoms must be among 0 to {len(atoms) - 1}, got {list(moving)}")
    store = ForceStore(Path(folder), _fingerprint(structure, settings, name, indices))
    source = _Forces(store, force_engine(calculator), 6 * len(indices) + 1, report)
    largest = _check_relaxed(source.of("rest", atoms)[indices], settings)
    step = settings.displacement_ang
    hessian = np.zeros((3 * len(indices), 3 * len(indices)))
    for row, (atom, axis) in enumerate((atom, axis) for atom in indices for axis in range(3)):
        pair = []
        for word, sign in (("plus", 1.0), ("minus", -1.0)):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            pair.append(source.of(f"{atom:04d}-{'xyz'[axis]}-{word}", moved)[indices].ravel())
        hessian[row] = (pair[1] - pair[0]) / (2.0 * step)
    root_mass = np.repeat(np.sqrt(atoms.get_masses()[indices]), 3)
    curvature, vectors = np.linalg.eigh((hessian + hessian.T) / 2.0 / np.outer(root_mass, root_mass))
    frequencies = np.sign(curvature) * np.sqrt(np.abs(curvature)) * HESSIAN_TO_THZ
    shapes = (vectors / root_mass[:, None]).T.reshape(-1, len(indices), 3)
    shapes /= np.linalg.norm(shapes, axis=2).max(axis=1)[:, None, None]
    vibrations = Vibrations(
        structure_id=structure.content_id,
        frequencies_thz=(tuple(map(float, frequencies)),),
        weights=(1,),
        moving=tuple(indices),
        imaginary=tuple(
            ImaginaryMode(wave_vector=(0.0, 0.0, 0.0), frequency_thz=float(f))
            for f in frequencies
            if f < -settings.imaginary_tolerance_thz
        ),
        max_force_ev_per_ang=largest,
        model=name,
    )
    return shapes, vibrations
