"""Tensors of a site at a temperature: snapshots of molecular dynamics or of quantum vibrations, and their average.

The trajectory and the tensors of every snapshot are kept on disk as soon as they are there; a run that was stopped
goes on with the next one.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from pydantic import Field, ValidationError

from ..analysis.constants import isotope as nucleus_of
from ..analysis.motion import (
    LEAST_SAMPLES,
    MotionError,
    TensorAverage,
    average_tensors,
    decorrelation_frames,
    equilibrated_frame,
    hopped,
    inefficiency,
    motion_flags,
)
from ..analysis.tensors import quadrupole
from ..analysis.vocabulary import MotionAverage, SiteTensors
from ..structures.symmetry import SiteOrbit
from ..structures.vocabulary import AtomicStructure, Frozen, Tensor3, as_tensor3
from .dynamics import DynamicsSettings, Trajectory, run_dynamics
from .engines.errors import EngineError
from .files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray
    from phonopy import Phonopy

    from .engines.protocols import ClusterProtocol

    Array = NDArray[np.float64]
    Report = Callable[[str], None]

EFG_REACH_ANG, CONTACT_REACH_ANG = 6.0, 3.5
"""Neighbours that count for how fast the field gradient, and the contacts of a site, change."""

RUNNING_MEAN_FS = 200.0
"""Vibrations are averaged over this long before hops are looked for."""

MOST_FAILED = 0.25
"""Of more failed snapshots no average is made: those left would be the tame ones."""


class SnapshotsFailedError(MotionError):
    """Too many snapshots whose tensors the engine refused."""


class SnapshotFileError(MotionError):
    """A file of tensors that cannot be read or belongs to another snapshot."""


class AverageSettings(Frozen):
    """How a site is averaged.

    Attributes
    ----------
    n_snapshots
        Snapshots whose tensors are computed, evenly spaced after equilibration.
    dynamics
        The molecular dynamics; its length sets how far apart the snapshots are.
    hop_ang
        How far an atom's mean place must move to count as a hop, angstrom.
    """

    n_snapshots: int = Field(default=8, ge=LEAST_SAMPLES)
    dynamics: DynamicsSettings = DynamicsSettings()
    hop_ang: float = Field(default=1.5, gt=0)


class Snapshot(Frozen):
    """A geometry of which one atom's tensors count: a name, the structure, and the atom's place in the orbit."""

    name: str
    structure: AtomicStructure
    member: int


class Drawn(Frozen):
    """Snapshots of a motion, and what is known of it; see ``AveragedSite`` for the attributes they share."""

    snapshots: tuple[Snapshot, ...]
    source: Literal["molecular dynamics", "harmonic vibrations"]
    temperature_k: float
    mean_temperature_k: float
    inefficiency: float = Field(default=1.0, ge=1)
    decorrelation_fs: float = 0.0
    simulated_fs: float = 0.0
    hops: dict[str, tuple[int, int]] = Field(default_factory=dict)
    cpu_seconds: float = 0.0


class AveragedSite(Frozen):
    """A site's tensors at a temperature, beside those of the resting structure.

    Attributes
    ----------
    isotope, temperature_k
        Nucleus, and temperature of the motion.
    source
        ``molecular dynamics`` (classical nuclei) or ``harmonic vibrations`` (with zero-point motion).
    orbit
        The site and its equivalents in the resting structure.
    static
        Tensors of the resting structure by the same method.
    average
        Averages with standard errors.
    snapshots, failed
        Names of the snapshots that count, and of those that the engine refused with its words.
    snapshot_shielding_ppm, snapshot_efg_au
        Their tensors in the frame of the orbit's first atom.
    decorrelation_fs, simulated_fs, mean_temperature_k
        Time between independent frames, length of the part of the run that was used, and the temperature it had.
    hops
        Atoms that hopped and atoms, by element.
    flags
        Why static tensors are not to be trusted here; empty where they are.
    motion_cpu_seconds, tensors_cpu_seconds
        Processor time of the motion (or of the forces), and of the tensors.
    """

    isotope: str
    temperature_k: float
    source: str
    orbit: SiteOrbit
    static: SiteTensors
    average: TensorAverage
    snapshots: tuple[str, ...]
    snapshot_shielding_ppm: tuple[Tensor3, ...]
    snapshot_efg_au: tuple[Tensor3, ...]
    failed: tuple[str, ...] = ()
    decorrelation_fs: float = 0.0
    simulated_fs: float = 0.0
    mean_temperature_k: float
    hops: dict[str, tuple[int, int]] = Field(default_factory=dict)
    flags: tuple[str, ...] = ()
    motion_cpu_seconds: float = 0.0
    tensors_cpu_seconds: float = 0.0

    @property
    def is_static_trusted(self) -> bool:
        """Whether nothing speaks against the tensors of the resting structure."""
        return not self.flags

    def site_tensors(self, *, shift_from: Literal["rest", "average"] = "rest") -> SiteTensors:
        """The averages as tensors of the resting structure's site, for prediction and matching.

        Parameters
        ----------
        shift_from
            Where the isotropic shielding is taken from. A reference that was fitted to resting crystals holds their
            vibrations already, so that an averaged shielding would count them twice; with a reference fitted to
            averaged compounds take ``average``.
        """
        average, nucleus = self.average, nucleus_of(self.isotope)
        shielding = np.array(average.shielding_ppm)
        if shift_from == "rest":
            shielding = shielding + (self.static.sigma_iso_ppm - average.sigma_iso_ppm) * np.eye(3)
        rest_cq = abs(quadrupole(self.static.efg_au[0], nucleus).cq_mhz) if nucleus.quadrupole_barn else 0.0
        return self.static.model_copy(
            update={
                "shielding_ppm": self.orbit.expand(shielding),
                "efg_au": self.orbit.expand(np.array(average.efg_au)),
                "motion": MotionAverage(
                    source=self.source,
                    temperature_k=self.temperature_k,
                    n_snapshots=average.n_samples,
                    sigma_iso_ppm=average.sigma_iso_ppm,
                    sigma_iso_error_ppm=average.sigma_iso_error_ppm,
                    rest_sigma_iso_ppm=self.static.sigma_iso_ppm,
                    cq_mhz=average.cq_mhz,
                    cq_error_mhz=average.cq_error_mhz,
                    rest_cq_mhz=rest_cq,
                    shift_from=shift_from,
                    flags=self.flags,
                ),
                "cpu_seconds": self.motion_cpu_seconds + self.tensors_cpu_seconds,
            }
        )


def site_motion(structure: AtomicStructure, positions_ang: Array, atom: int) -> tuple[Array, Array]:
    """How a site's surroundings change: field gradient of point charges (n, 5), and contacts (n,) as sum of r^-6.

    Neither is a prediction; they change with the same bonds as the tensors, and cost nothing on every frame. Without
    oxidation states all atoms count as unit charges.
    """
    from ase.neighborlist import neighbor_list

    charges = np.array(structure.oxidation_states)
    if not charges.any():
        charges = np.ones(len(structure))
    atoms = structure.to_ase()
    gradients, contacts = np.zeros((len(positions_ang), 5)), np.zeros(len(positions_ang))
    for k, positions in enumerate(positions_ang):
        atoms.set_positions(positions)
        first, second, vectors = neighbor_list("ijD", atoms, EFG_REACH_ANG)
        here = first == atom
        r = np.linalg.norm(vectors[here], axis=1)
        x, y, z = (vectors[here] / r[:, None]).T
        # real spherical harmonics of second order, equally normalised
        shapes = np.array([x * y, y * z, x * z, (x * x - y * y) / 2.0, (3.0 * z * z - 1.0) / (2.0 * 3.0**0.5)])
        gradients[k] = shapes @ (charges[second[here]] / r**3)
        contacts[k] = float((r[r < CONTACT_REACH_ANG] ** -6.0).sum())
    return gradients, contacts


class Choice(NamedTuple):
    """Chosen frames, by how much their correlation widens variances, and frames between independent ones."""

    frames: tuple[int, ...]
    inefficiency: float
    decorrelation: float
    first: int


def choose_frames(trajectory: Trajectory, structure: AtomicStructure, atom: int, n_snapshots: int) -> Choice:
    """Evenly spaced frames after equilibration, and how independent they are.

    Raises
    ------
    MotionError
        If the run is too short for the snapshots.
    """
    first = equilibrated_frame(trajectory.energies_ev)
    left = len(trajectory.energies_ev) - first
    if left < n_snapshots:
        raise MotionError(
            f"{left} frames are left after equilibration, {n_snapshots} snapshots are wanted; raise dynamics.steps"
        )
    series = [trajectory.energies_ev[first:], *site_motion(structure, trajectory.positions_ang[first:], atom)]
    chosen = [int(k) for k in np.round(np.linspace(0, left - 1, n_snapshots))]
    return Choice(
        frames=tuple(first + k for k in chosen),
        inefficiency=max(inefficiency(one, chosen) for one in series),
        decorrelation=max(decorrelation_frames(one) for one in series),
        first=first,
    )


def average_site(
    structure: AtomicStructure,
    orbit: SiteOrbit,
    isotope: str,
    settings: AverageSettings,
    folder: Path | str,
    *,
    calculator: Calculator,
    protocol: ClusterProtocol,
    model: str = "",
    report: Report | None = None,
) -> AveragedSite:
    """Average the tensors of a site over molecular dynamics.

    Parameters
    ----------
    structure
        The resting structure, relaxed.
    orbit
        The site, from ``distinct_sites``. Snapshots take its equivalent atoms in turn, turned back by symmetry.
    isotope
        Its nucleus, for example ``27Al``.
    settings
        Dynamics and number of snapshots.
    folder
        Trajectory in ``dynamics``, which the sites of one structure share; tensors beside it.
    calculator, model
        Forces of the dynamics, and what they are called.
    protocol
        Of the cluster engine.

    Raises
    ------
    BlewUpError, DynamicsFolderError
        From the dynamics.
    TooFewSamplesError, SnapshotsFailedError, SnapshotFileError, MotionError
        If there is no honest average.
    """
    place = Path(folder)
    drawn = draw_snapshots(
        structure, orbit, settings, place / "dynamics", calculator=calculator, model=model, report=report
    )
    static, tensors, failed = snapshot_tensors(structure, orbit, drawn.snapshots, place, protocol, report=report)
    return combine(isotope, orbit, drawn, static=static, tensors=tensors, failed=failed)


def draw_snapshots(
    structure: AtomicStructure,
    orbit: SiteOrbit,
    settings: AverageSettings,
    folder: Path | str,
    *,
    calculator: Calculator,
    model: str = "",
    report: Report | None = None,
) -> Drawn:
    """Run, or go on with, the dynamics and draw snapshots from it; arguments and errors as of ``average_site``.

    ``folder`` is that of the trajectory.
    """
    trajectory = run_dynamics(structure, settings.dynamics, folder, calculator, model=model, report=report)
    assert trajectory is not None
    return drawn_from(trajectory, structure, orbit, settings)


def drawn_from(
    trajectory: Trajectory, structure: AtomicStructure, orbit: SiteOrbit, settings: AverageSettings
) -> Drawn:
    """Snapshots of a site from a trajectory, and what is known of their motion.

    Raises
    ------
    MotionError
        If the run is too short for the snapshots.
    """
    choice = choose_frames(trajectory, structure, orbit.atom_indices[0], settings.n_snapshots)
    moved = hopped(
        trajectory.positions_ang[choice.first :],
        structure.to_ase().get_masses(),
        frames_averaged=max(1, round(RUNNING_MEAN_FS / trajectory.frame_fs)),
        hop_ang=settings.hop_ang,
    )
    hops = Counter(structure.elements[k] for k in moved)
    return Drawn(
        snapshots=tuple(
            Snapshot(
                name=f"step-{trajectory.steps[frame]:07d}",
                structure=structure.moved_to(trajectory.positions_ang[frame]),
                member=k % len(orbit.atom_indices),
            )
            for k, frame in enumerate(choice.frames)
        ),
        source="molecular dynamics",
        temperature_k=settings.dynamics.temperature_k,
        mean_temperature_k=float(trajectory.temperatures_k[choice.first :].mean()),
        inefficiency=choice.inefficiency,
        decorrelation_fs=choice.decorrelation * trajectory.frame_fs,
        simulated_fs=(len(trajectory.steps) - choice.first) * trajectory.frame_fs,
        hops={e: (hops[e], n) for e, n in sorted(Counter(structure.elements).items())},
        cpu_seconds=trajectory.cpu_seconds,
    )


def harmonic_snapshots(
    structure: AtomicStructure, phonons: Phonopy, orbit: SiteOrbit, *, temperature_k: float, n_snapshots: int, seed: int
) -> Drawn:
    """Independent geometries of the quantum harmonic crystal at a temperature, zero-point motion included.

    The phonons must be those of the structure's own cell (supercell 1 x 1 x 1), or the structure their supercell.

    Raises
    ------
    MotionError
        If the cells do not fit, or a mode is imaginary, along which a harmonic crystal has no width.
    """
    supercell = phonons.supercell
    if list(supercell.symbols) != list(structure.elements):
        raise MotionError(
            f"the phonons' supercell has {len(supercell)} atoms in an order of its own, the structure has "
            f"{len(structure)}; compute them in the structure's own cell (supercell 1 1 1)"
        )
    lowest = float(np.min(phonons.run_qpoints([[0.0, 0.0, 0.0]]).frequencies))
    if lowest < -0.15:
        raise MotionError(f"the lowest mode is imaginary, {lowest:.2f} THz; follow it to a minimum first")
    drawn = phonons.replicate()  # drawing displacements would take the dynamical matrix from the caller's object
    drawn.force_constants = phonons.force_constants
    drawn.generate_displacements(number_of_snapshots=n_snapshots, temperature=temperature_k, random_seed=seed)
    cells = drawn.supercells_with_displacements or []
    rest = np.array(supercell.positions)
    snapshots = tuple(
        Snapshot(
            name=f"harmonic-{k:04d}",
            structure=structure.moved_to(structure.cart_coords + np.array(cell.positions) - rest),
            member=k % len(orbit.atom_indices),
        )
        for k, cell in enumerate(cells)
        if cell is not None
    )
    return Drawn(
        snapshots=snapshots,
        source="harmonic vibrations",
        temperature_k=temperature_k,
        mean_temperature_k=temperature_k,
    )


def one_atom(orbit: SiteOrbit, member: int) -> SiteOrbit:
    """The orbit's atom by itself: in a snapshot no atom has equivalents."""
    return SiteOrbit(
        element=orbit.element, atom_indices=(orbit.atom_indices[member],), rotations=(as_tensor3(np.eye(3)),)
    )


def snapshot_tensors(
    structure: AtomicStructure,
    orbit: SiteOrbit,
    snapshots: Sequence[Snapshot],
    folder: Path,
    protocol: ClusterProtocol,
    *,
    report: Report | None = None,
) -> tuple[SiteTensors, list[tuple[Snapshot, SiteTensors]], list[str]]:
    """Tensors of the resting structure and of every snapshot, from their files where they are there.

    Returns
    -------
    Tensors at rest, those of the snapshots, and a line for each snapshot that the engine refused.
    """
    static = kept_tensors(structure, orbit, folder / _file_name("static", orbit, 0, protocol), protocol)
    found, failed = [], []
    for number, snapshot in enumerate(snapshots, start=1):
        path = folder / _file_name(snapshot.name, orbit, snapshot.member, protocol)
        try:
            found.append((snapshot, kept_tensors(snapshot.structure, one_atom(orbit, snapshot.member), path, protocol)))
        except EngineError as error:
            failed.append(f"{snapshot.name}: {error}")
        if report is not None:
            report(f"{orbit.element}{orbit.atom_indices[0]}: snapshot {number} of {len(snapshots)}")
    return static, found, failed


def _file_name(name: str, orbit: SiteOrbit, member: int, protocol: ClusterProtocol) -> str:
    return f"{orbit.element}{orbit.atom_indices[member]}-{protocol.name}-{name}.json"


def kept_tensors(structure: AtomicStructure, orbit: SiteOrbit, path: Path, protocol: ClusterProtocol) -> SiteTensors:
    """Tensors of a site from its file, else computed and written.

    Raises
    ------
    SnapshotFileError
        If the file is damaged or holds another geometry or protocol.
    EngineError
        From the engine.
    """
    from .engines.cluster import compute_site, method_of

    if not path.exists():
        tensors = compute_site(structure, orbit, protocol)
        write_atomically(path, tensors.model_dump_json())
        return tensors
    try:
        tensors = SiteTensors.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        raise SnapshotFileError(f"cannot read {path}: {str(error).splitlines()[0]}; delete it") from error
    if (tensors.structure_id, tensors.method) != (structure.content_id, method_of(protocol)):
        raise SnapshotFileError(f"{path} holds tensors of another geometry or protocol; give an empty folder")
    return tensors


def combine(
    isotope: str,
    orbit: SiteOrbit,
    drawn: Drawn,
    *,
    static: SiteTensors,
    tensors: Sequence[tuple[Snapshot, SiteTensors]],
    failed: Sequence[str],
) -> AveragedSite:
    """Average snapshots in the frame of the orbit's first atom, with flags.

    Raises
    ------
    SnapshotsFailedError, TooFewSamplesError, MotionError
    """
    total = len(tensors) + len(failed)
    if len(failed) > MOST_FAILED * total:
        raise SnapshotsFailedError(
            f"the engine refused {len(failed)} of {total} snapshots; an average over the rest would leave out just the "
            f"wild ones. The first: {failed[0]}"
        )
    nucleus = nucleus_of(isotope)

    def turned_back(member: int, tensor: object) -> Array:
        rotation = np.array(orbit.rotations[member])
        back: Array = rotation.T @ np.array(tensor) @ rotation
        return back

    shielding = [turned_back(snapshot.member, one.shielding_ppm[0]) for snapshot, one in tensors]
    efg = [turned_back(snapshot.member, one.efg_au[0]) for snapshot, one in tensors]
    average = average_tensors(shielding, efg, nucleus, inefficiency=drawn.inefficiency)
    return AveragedSite(
        isotope=isotope,
        temperature_k=drawn.temperature_k,
        source=drawn.source,
        orbit=orbit,
        static=static,
        average=average,
        snapshots=tuple(snapshot.name for snapshot, _ in tensors),
        snapshot_shielding_ppm=tuple(as_tensor3(tensor) for tensor in shielding),
        snapshot_efg_au=tuple(as_tensor3(tensor) for tensor in efg),
        failed=tuple(failed),
        decorrelation_fs=drawn.decorrelation_fs,
        simulated_fs=drawn.simulated_fs,
        mean_temperature_k=drawn.mean_temperature_k,
        hops=drawn.hops,
        flags=motion_flags(average, static.shielding_ppm[0], static.efg_au[0], nucleus, hops=drawn.hops),
        motion_cpu_seconds=drawn.cpu_seconds,
        tensors_cpu_seconds=static.cpu_seconds + sum(one.cpu_seconds for _, one in tensors),
    )
