"""Averages of a real crystal by the cluster engine with a small protocol: LiF whose ions move in springs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.calculators.harmonic import SpringCalculator
from PIL import Image
from surfshift.analysis.constants import isotope
from surfshift.analysis.motion import MotionError, TooFewSamplesError
from surfshift.analysis.tensors import isotropic, quadrupole
from surfshift.structures.symmetry import distinct_sites
from surfshift.structures.vocabulary import AtomicStructure
from surfshift.workflows import finite_temperature
from surfshift.workflows.dynamics import DynamicsSettings
from surfshift.workflows.engines.errors import ScfNotConvergedError
from surfshift.workflows.engines.protocols import load_protocol
from surfshift.workflows.finite_temperature import (
    AveragedSite,
    AverageSettings,
    Drawn,
    Snapshot,
    SnapshotFileError,
    SnapshotsFailedError,
    average_site,
    choose_frames,
    combine,
    draw_snapshots,
    harmonic_snapshots,
    site_motion,
    snapshot_tensors,
)
from surfshift.workflows.motion_figures import draw_average
from surfshift.workflows.phonons import PhononSettings, displaced

if TYPE_CHECKING:
    from pathlib import Path

TINY = load_protocol(
    "fast",
    shells=1,
    target_basis="STO-3G",
    outer_basis="STO-3G",
    target_grid=(20, 50),
    outer_grid=(15, 50),
    scf_tolerance_hartree=1e-6,
)
SETTINGS = AverageSettings(
    n_snapshots=4,
    dynamics=DynamicsSettings(
        temperature_k=600.0, timestep_fs=2.0, equilibration_steps=20, steps=400, save_every=5, chunk_steps=60
    ),
)


def rock_salt() -> AtomicStructure:
    """LiF, every ion at a cubic site."""
    edge = 4.027
    return AtomicStructure(
        lattice_ang=((edge, 0, 0), (0, edge, 0), (0, 0, edge)),
        elements=("Li",) * 4 + ("F",) * 4,
        frac_coords=(
            (0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0),
            (0.5, 0.5, 0.5), (0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5),
        ),
        oxidation_states=(1.0,) * 4 + (-1.0,) * 4,
    )  # fmt: skip


def forces() -> SpringCalculator:
    """Every ion in a well of its own."""
    return SpringCalculator(np.array(rock_salt().cart_coords), 3.0)


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[AveragedSite, Path]:
    folder = tmp_path_factory.mktemp("average")
    structure = rock_salt()
    orbit = distinct_sites(structure, elements=("Li",))[0]
    return average_site(structure, orbit, "7Li", SETTINGS, folder, calculator=forces(), protocol=TINY), folder


def test_motion_breaks_the_cubic_site_of_single_snapshots_more_than_of_the_average(
    averaged: tuple[AveragedSite, Path],
) -> None:
    site, _ = averaged
    assert site.average.n_samples == 4
    # at rest lithium is at a cubic site, which has no field gradient
    # but for what the coarse grid leaves
    assert np.abs(site.static.efg_au[0]).max() < np.abs(site.snapshot_efg_au).max()
    assert 0 < site.average.cq_mhz < site.average.cq_rigid_mhz
    assert site.average.sigma_iso_error_ppm > 0
    assert site.average.sigma_iso_ppm == pytest.approx(
        np.mean([isotropic(tensor) for tensor in site.snapshot_shielding_ppm])
    )
    assert site.hops == {"F": (0, 4), "Li": (0, 4)}
    assert any("averages the field gradient" in flag for flag in site.flags)
    assert not site.is_static_trusted
    assert site.motion_cpu_seconds > 0
    assert AveragedSite.model_validate_json(site.model_dump_json()) == site
    # with a reference of resting crystals the isotropic part stays at rest, the rest of the tensor is the average
    given, whole = site.site_tensors(), site.site_tensors(shift_from="average")
    assert len(given.efg_au) == len(given.shielding_ppm) == 4
    assert given.sigma_iso_ppm == pytest.approx(site.static.sigma_iso_ppm)
    assert whole.sigma_iso_ppm == pytest.approx(site.average.sigma_iso_ppm)
    assert abs(given.sigma_iso_ppm - whole.sigma_iso_ppm) > 1e-3
    difference = np.array(given.shielding_ppm[0]) - np.array(whole.shielding_ppm[0])
    np.testing.assert_allclose(difference, difference[0, 0] * np.eye(3), atol=1e-9)
    assert given.efg_au == whole.efg_au
    motion = given.motion
    assert motion is not None
    assert (motion.n_snapshots, motion.shift_from, motion.flags) == (4, "rest", site.flags)
    assert motion.cq_mhz == pytest.approx(site.average.cq_mhz)
    assert motion.rest_cq_mhz == pytest.approx(abs(quadrupole(site.static.efg_au[0], isotope("7Li")).cq_mhz))


def test_a_second_call_computes_nothing_and_damage_is_named(
    averaged: tuple[AveragedSite, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, folder = averaged
    structure = rock_salt()
    orbit = site.orbit
    computed: list[str] = []
    monkeypatch.setattr(finite_temperature, "write_atomically", lambda path, _: computed.append(str(path)))
    again = average_site(structure, orbit, "7Li", SETTINGS, folder, calculator=forces(), protocol=TINY)
    assert again == site
    assert computed == []
    kept = folder / f"Li0-fast-{site.snapshots[0]}.json"
    whole = kept.read_text(encoding="utf-8")
    kept.write_text(whole[:40], encoding="utf-8")
    with pytest.raises(SnapshotFileError, match=r"cannot read .*; delete it"):
        average_site(structure, orbit, "7Li", SETTINGS, folder, calculator=forces(), protocol=TINY)
    kept.write_text((folder / "Li0-fast-static.json").read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(SnapshotFileError, match="another geometry or protocol"):
        average_site(structure, orbit, "7Li", SETTINGS, folder, calculator=forces(), protocol=TINY)
    kept.write_text(whole, encoding="utf-8")


def test_the_average_is_drawn(averaged: tuple[AveragedSite, Path], tmp_path: Path) -> None:
    picture = draw_average(averaged[0], tmp_path / "average.png", title="LiF")
    assert np.asarray(Image.open(picture).convert("L")).std() > 5
    with pytest.raises(MotionError, match="cannot write"):
        draw_average(averaged[0], tmp_path / "missing" / "average.png")


def test_snapshots_take_equivalent_atoms_in_turn_and_turn_them_back(averaged: tuple[AveragedSite, Path]) -> None:
    site, _ = averaged
    drawn = Drawn(
        snapshots=tuple(Snapshot(name=str(k), structure=rock_salt(), member=k) for k in range(3)),
        source="molecular dynamics",
        temperature_k=300.0,
        mean_temperature_k=300.0,
    )
    # one tensor of the crystal, seen from three atoms that rotations of 90 degrees relate
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    rotations = [np.linalg.matrix_power(turn, k) for k in range(3)]
    orbit = site.orbit.model_copy(
        update={"atom_indices": (0, 1, 2), "rotations": tuple(tuple(map(tuple, r.tolist())) for r in rotations)}
    )
    efg = np.diag([-0.15, -0.05, 0.2]) + 0.02 * (np.eye(3)[[1, 0, 2]] - np.diag([0, 0, 1]))
    tensors = [
        (
            snapshot,
            site.static.model_copy(
                update={"efg_au": (r @ efg @ r.T,), "shielding_ppm": (r @ np.diag([90.0, 100, 110]) @ r.T,)}
            ),
        )
        for snapshot, r in zip(drawn.snapshots, rotations, strict=True)
    ]
    found = combine("7Li", orbit, drawn, static=site.static, tensors=tensors, failed=[])
    assert np.allclose(found.average.efg_au, efg, atol=1e-12)
    assert found.average.span_ppm == pytest.approx(20.0)
    assert found.average.cq_error_mhz == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(SnapshotsFailedError, match=r"refused 2 of 5 snapshots.*The first: no gap"):
        combine("7Li", orbit, drawn, static=site.static, tensors=tensors, failed=["no gap", "no gap"])


def test_failed_snapshots_are_told_and_not_dropped_silently(tmp_path: Path) -> None:
    structure = rock_salt()
    orbit = distinct_sites(structure, elements=("Li",))[0]
    stuck = TINY.model_copy(update={"max_scf_cycles": 1})
    with pytest.raises(ScfNotConvergedError):  # without the resting structure there is nothing to compare with
        snapshot_tensors(structure, orbit, [], tmp_path, stuck)
    snapshot_tensors(structure, orbit, [], tmp_path, TINY)
    moved = structure.moved_to(structure.cart_coords + np.random.default_rng(1).normal(scale=0.05, size=(8, 3)))
    _, found, failed = snapshot_tensors(
        structure, orbit, [Snapshot(name="wild", structure=moved, member=0)], tmp_path, stuck
    )
    assert found == []
    assert failed[0].startswith("wild: the SCF")


def test_the_motion_of_a_site_follows_its_neighbours() -> None:
    structure = rock_salt()
    still = np.array(structure.cart_coords)[None]
    gradients, contacts = site_motion(structure, still, 0)
    assert np.abs(gradients).max() < 1e-12  # cubic
    nearer = still.copy()
    nearer[0, 5, 0] -= 0.2
    moved, closer = site_motion(structure, nearer, 0)
    assert np.abs(moved).max() > 0.003
    assert closer[0] > contacts[0]


def test_too_short_a_run_is_refused(tmp_path: Path) -> None:
    structure = rock_salt()
    orbit = distinct_sites(structure, elements=("Li",))[0]
    brief = SETTINGS.dynamics.model_copy(update={"steps": 10})
    with pytest.raises(MotionError, match=r"snapshots are wanted; raise dynamics\.steps"):
        draw_snapshots(structure, orbit, SETTINGS.model_copy(update={"dynamics": brief}), tmp_path, calculator=forces())
    with pytest.raises(TooFewSamplesError):
        finite_temperature.average_tensors(np.zeros((3, 3, 3)), np.zeros((3, 3, 3)), LITHIUM, inefficiency=2.0)


LITHIUM = finite_temperature.nucleus_of("7Li")


def test_harmonic_snapshots_have_the_width_of_the_quantum_oscillator() -> None:
    # a cell of free-standing springs: every atom moves in the same isotropic well
    structure = rock_salt()
    phonons = displaced(structure, PhononSettings())
    n, stiffness, share = len(structure), 8.0, 1.0 / len(structure)
    # k (1 - 1/n) on the diagonal blocks keeps the sum rule
    constants = np.zeros((n, n, 3, 3))
    for i in range(n):
        for j in range(n):
            constants[i, j] = stiffness * ((i == j) - share) * np.eye(3)
    phonons.force_constants = constants
    orbit = distinct_sites(structure, elements=("F",))[0]
    drawn = harmonic_snapshots(structure, phonons, orbit, temperature_k=300.0, n_snapshots=300, seed=2)
    assert {snapshot.member for snapshot in drawn.snapshots} == {0, 1, 2, 3}
    shifts = np.array([s.structure.cart_coords for s in drawn.snapshots]) - structure.cart_coords
    total = float((shifts**2 * structure.to_ase().get_masses()[None, :, None]).sum(axis=(1, 2)).mean())
    # sum of mass-weighted squares: over all modes hbar / 2 omega coth(hbar omega / 2kT)
    frequencies = np.array(phonons.run_qpoints([[0.0, 0.0, 0.0]]).frequencies)[0]
    omega = 2 * np.pi * frequencies[frequencies > 0.01] * 1e12
    hbar, kt, amu = 1.054571817e-34, 1.380649e-23 * 300.0, 1.66053906660e-27
    expected = (hbar / (2 * omega) / np.tanh(hbar * omega / (2 * kt))).sum() / amu * 1e20
    assert total == pytest.approx(expected, rel=0.05)
    phonons.force_constants = -constants
    with pytest.raises(MotionError, match="imaginary"):
        harmonic_snapshots(structure, phonons, orbit, temperature_k=300.0, n_snapshots=3, seed=2)
    doubled = displaced(structure, PhononSettings(supercell=(2, 2, 2)))
    with pytest.raises(MotionError, match="in the structure's own cell"):
        harmonic_snapshots(structure, doubled, orbit, temperature_k=300.0, n_snapshots=3, seed=2)


def test_frames_are_even_and_known_for_their_correlation(tmp_path: Path) -> None:
    structure = rock_salt()
    from surfshift.workflows.dynamics import run_dynamics

    trajectory = run_dynamics(structure, SETTINGS.dynamics, tmp_path, forces())
    assert trajectory is not None
    choice = choose_frames(trajectory, structure, 0, 8)
    gaps = np.diff(choice.frames)
    assert gaps.max() - gaps.min() <= 1
    assert choice.decorrelation >= 1.0
    assert choose_frames(trajectory, structure, 0, 40).inefficiency >= choice.inefficiency
