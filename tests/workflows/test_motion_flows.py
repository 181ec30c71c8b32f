"""Phonons and averages as jobs: real forces and tensors, in this process and through the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.harmonic import SpringCalculator
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder
from surfshift.analysis.vocabulary import SiteTensors
from surfshift.structures.symmetry import distinct_sites
from surfshift.structures.vocabulary import AtomicStructure, as_tensor3
from surfshift.workflows import motion_flows
from surfshift.workflows.dynamics import DynamicsSettings
from surfshift.workflows.engines.cluster import method_of
from surfshift.workflows.engines.protocols import load_protocol
from surfshift.workflows.finite_temperature import (
    AveragedSite,
    AverageSettings,
    Drawn,
    Snapshot,
    SnapshotsFailedError,
)
from surfshift.workflows.mode_following import PhononRun
from surfshift.workflows.motion_flows import AverageMaker, PhononMaker
from surfshift.workflows.phonons import PhononError, PhononSettings, phonons_from_forces
from surfshift.workflows.queue.folder import RunFolder
from surfshift.workflows.queue.records import JobStatus
from surfshift.workflows.queue.runner import run_jobs

if TYPE_CHECKING:
    from pathlib import Path


def aluminium() -> AtomicStructure:
    atoms = bulk("Al", a=3.994)
    return AtomicStructure(
        lattice_ang=as_tensor3(np.array(atoms.cell)),
        elements=("Al",),
        frac_coords=((0.0, 0.0, 0.0),),
        oxidation_states=(0.0,),
    )


def rock_salt() -> AtomicStructure:
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


def test_phonons_run_on_the_queue(tmp_path: Path) -> None:
    maker = PhononMaker(settings=PhononSettings(supercell=(2, 2, 2), mesh=(4, 4, 4)), model="emt")
    run = RunFolder(tmp_path / "run")
    run.write_project(parallel_jobs=1)
    made = maker.make(aluminium())
    run.submit(Flow([made], name="phonons"), {"study": "phonons"})
    last = run_jobs(run, parallel_jobs=1)
    assert [(job.name, job.status) for job in last.jobs] == [("phonons Al", JobStatus.DONE)]
    found = MontyDecoder().process_decoded(run.controller().jobstore.get_output(made.uuid))
    assert isinstance(found, PhononRun)
    assert not found.vibrations.imaginary
    assert 5.0 < max(max(row) for row in found.vibrations.frequencies_thz) < 15.0
    # bands can be drawn from what the job gave back
    phonons = phonons_from_forces(found.structure, found.settings, found.forces_ev_per_ang)
    highest = float(np.max(phonons.run_qpoints([[0.5, 0.5, 0.0]]).frequencies))
    assert highest == pytest.approx(max(max(row) for row in found.vibrations.frequencies_thz), rel=0.2)
    with pytest.raises(PhononError, match="forces of shape"):
        phonons_from_forces(found.structure, found.settings, np.zeros((3, 8, 3)))


def test_an_average_grows_by_a_job_per_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real dynamics in springs and real tensors, with a protocol so small that a snapshot takes a second."""
    monkeypatch.chdir(tmp_path)
    structure = rock_salt()
    tiny = load_protocol("fast", shells=1, target_basis="STO-3G", outer_basis="STO-3G", target_grid=(20, 50))
    monkeypatch.setattr("surfshift.workflows.engines.protocols.load_protocol", lambda _: tiny)
    monkeypatch.setattr(motion_flows, "forces_of", lambda _: SpringCalculator(np.array(structure.cart_coords), 3.0))
    settings = AverageSettings(
        n_snapshots=3,
        dynamics=DynamicsSettings(timestep_fs=4.0, equilibration_steps=20, steps=300, chunk_steps=80),
    )
    lithium = distinct_sites(structure, elements=("Li",))[0]
    flow = AverageMaker(name="LiF", settings=settings).make(structure, [(lithium, "7Li"), (lithium, "6Li")])
    store = JobStore(MemoryStore())
    ran = run_locally(flow, store=store, create_folders=True, ensure_success=True)
    assert len(ran) == 12  # dynamics and plan, two at rest, two times three snapshots, two averages
    found, other = MontyDecoder().process_decoded(store.get_output(flow.jobs[-1].uuid))
    assert isinstance(found, AveragedSite)
    assert (found.isotope, other.isotope) == ("7Li", "6Li")
    assert found.average.n_samples == other.average.n_samples == 3
    assert found.average.cq_rigid_mhz > 0
    # both sites come from one run of dynamics
    assert len(list(tmp_path.glob("job_*/dynamics/chunk-*.extxyz"))) == 4
    assert found.snapshots == other.snapshots
    # the averages stand for all four atoms of the resting structure
    tensors = found.site_tensors()
    assert tensors.atom_indices == lithium.atom_indices
    assert len(tensors.shielding_ppm) == len(tensors.efg_au) == 4
    assert tensors.structure_id == structure.content_id
    assert tensors.motion is not None
    assert tensors.motion.n_snapshots == 3


def test_a_refused_snapshot_is_words_and_too_many_stop_the_average() -> None:
    """A metal has no ions to cut a cluster from."""
    structure = aluminium()
    orbit = distinct_sites(structure)[0]
    snapshot = Snapshot(name="step-1", structure=structure, member=0)
    words = motion_flows.snapshot_site.original(snapshot, orbit, "fast", 1000)
    assert words.startswith("step-1: ")
    drawn = Drawn(snapshots=(snapshot,), source="molecular dynamics", temperature_k=300.0, mean_temperature_k=300.0)
    rest = SiteTensors(
        structure_id=structure.content_id,
        element="Al",
        atom_indices=(0,),
        shielding_ppm=(as_tensor3(np.eye(3)),),
        efg_au=(as_tensor3(np.zeros((3, 3))),),
        method=method_of(load_protocol("fast")),
    )
    with pytest.raises(SnapshotsFailedError, match="step-1"):
        motion_flows.average.original("27Al", orbit, drawn, rest, [words])
