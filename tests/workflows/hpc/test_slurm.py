"""Jobs through a real Slurm, from its own machine and over SSH; faults on purpose, each with its name and reaction."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from jobflow import Flow
from monty.json import MontyDecoder
from surfshift.analysis.vocabulary import Relaxation
from surfshift.structures.vocabulary import AtomicStructure, Candidate, Region
from surfshift.workflows.candidates import build_candidates
from surfshift.workflows.collect import outputs
from surfshift.workflows.flows import CandidateMaker, RelaxMaker, SiteMaker
from surfshift.workflows.hpc.place import place_candidate
from surfshift.workflows.hpc.resources import Request
from surfshift.workflows.hpc.spending import spending
from surfshift.workflows.hpc.templates import render
from surfshift.workflows.hpc.workers import StepSettings, WorkersFile, load_workers
from surfshift.workflows.jobs import relax_dft
from surfshift.workflows.queue.failures import Failure
from surfshift.workflows.queue.folder import RunFolder
from surfshift.workflows.queue.processes import processes_in, stop_processes
from surfshift.workflows.queue.records import JobStatus, Snapshot
from surfshift.workflows.queue.runner import run_jobs
from surfshift.workflows.study import DftSettings, RelaxSettings, StudyFile

if TYPE_CHECKING:
    from types import ModuleType

    from surfshift.workflows.queue.react import Reaction

    from conftest import Login, Slurm


def workers_file(tmp_path: Path, setup: Path, login: Any, *, pilot_hours: str = "0.1") -> WorkersFile:
    """Two workers on one Slurm: `near` on its own machine, `far` through SSH, each with a pilot."""
    shared = {
        "python": sys.executable,
        "setup": str(setup),
        "cores_per_node": "4",
        "memory_gb_per_node": "4",
        "pilot_jobs": "1",
        "pilot_hours": pilot_hours,
        "max_hours": "0.2",
        "launch": "",  # Debian's Open MPI does not start under this srun
    }
    near = yaml.safe_load(render("slurm", {**shared, "name": "near", "work_dir": str(tmp_path / "near")}))
    over_ssh = {"host": "127.0.0.1", "port": str(login.port), "user": "root", "key_file": str(login.key)}
    far = yaml.safe_load(render("slurm", {**shared, **over_ssh, "name": "far", "work_dir": str(tmp_path / "far")}))
    near["workers"] |= far["workers"]
    near["workers"]["near-pilot"]["batch"]["max_wait"] = 3
    file = tmp_path / "workers.yaml"
    file.write_text(yaml.safe_dump(near), encoding="utf-8")
    return load_workers(file)


def on(job: Any, workers: WorkersFile, worker: str, *, name: str, memory_gb: float = 1.0, hours: float = 0.1) -> Any:
    """A job on a worker, with resources of its own."""
    job.name = name
    step = workers.model_copy(
        update={
            "placement": workers.placement.model_copy(
                update={"steps": {"nmr": workers.step("nmr").model_copy(update={"worker": worker})}}
            )
        }
    )
    job.config.manager_config.update(step.run_config("nmr", Request(cores=1, memory_gb=memory_gb, hours=hours)))
    return job


def submitted(path: Path, flow: Flow, workers: WorkersFile) -> RunFolder:
    run = RunFolder(path)
    run.write_project(parallel_jobs=1, workers=workers)
    run.submit(flow, {"study": "test"})
    return run


def outcome(last: Snapshot) -> dict[str, JobStatus]:
    return {job.name: job.status for job in last.jobs}


@pytest.mark.usefixtures("quick_polls")
def test_jobs_run_on_both_workers_and_in_pilots_and_faults_get_their_names(
    tmp_path: Path, slurm: Slurm, login: Login, cluster_jobs: ModuleType, setup_file: Path
) -> None:
    workers = workers_file(tmp_path, setup_file, login)
    folder = str(tmp_path)
    flow = Flow(
        [
            on(cluster_jobs.note(folder, "near"), workers, "near", name="near $(touch x) '\"`id`"),
            on(cluster_jobs.note(folder, "far"), workers, "far", name="far"),
            on(cluster_jobs.note(folder, "pilot 1"), workers, "near-pilot", name="pilot 1"),
            on(cluster_jobs.note(folder, "pilot 2"), workers, "near-pilot", name="pilot 2"),
            on(cluster_jobs.greedy(1400), workers, "near", name="greedy", memory_gb=1.0),
            on(cluster_jobs.wait(folder, 600), workers, "far", name="cancelled"),
            on(cluster_jobs.unconverged(), workers, "near", name="unconverged"),
        ]
    )
    run = submitted(tmp_path / "run", flow, workers)
    cancelling = threading.Thread(target=cancel_when_started, args=(slurm, tmp_path), daemon=True)
    cancelling.start()
    reactions: list[Reaction] = []
    last = run_jobs(run, parallel_jobs=1, workers=workers, on_failure=reactions.append)
    cancelling.join()
    done = {name for name, status in outcome(last).items() if status is JobStatus.DONE}
    assert done == {"near $(touch x) '\"`id`", "far", "pilot 1", "pilot 2", "greedy"}, (last, reactions)
    ran = sorted((tmp_path / "ran.txt").read_text(encoding="utf-8").splitlines())
    assert ran == ["far", "near", "pilot 1", "pilot 2"]
    found = {(reaction.job, reaction.failure, reaction.runs_again) for reaction in reactions}
    assert ("greedy", Failure.OUT_OF_MEMORY, True) in found
    assert ("cancelled", Failure.CANCELLED, False) in found
    assert ("unconverged", Failure.SCF_NOT_CONVERGED, False) in found
    reasons = {job.name: job.reason for job in last.of(JobStatus.FAILED)}
    assert reasons["cancelled"].startswith("CancelledError: someone cancelled the job")
    assert "the field of the test did not converge" in reasons["unconverged"]
    assert not list(Path().glob("x"))
    # nothing runs again by itself, and what was given up runs again when that is wanted
    assert outcome(run_jobs(run, parallel_jobs=1, workers=workers)) == outcome(last)


def cancel_when_started(slurm: Slurm, folder: Path) -> None:
    for _ in range(1200):
        if (folder / "wait started").exists():
            break
        time.sleep(0.2)
    slurm.call("scancel", "--name=cancelled")


@pytest.mark.slow
@pytest.mark.usefixtures("quick_polls")
def test_a_time_limit_gives_more_time_and_goes_on_from_what_was_left(
    tmp_path: Path, login: Login, cluster_jobs: ModuleType, setup_file: Path
) -> None:
    workers = workers_file(tmp_path, setup_file, login)
    flow = Flow([on(cluster_jobs.slow_once(str(tmp_path), 600), workers, "near", name="slow", hours=1 / 60)])
    run = submitted(tmp_path / "run", flow, workers)
    reactions: list[Reaction] = []
    last = run_jobs(run, parallel_jobs=1, workers=workers, on_failure=reactions.append)
    assert outcome(last) == {"slow": JobStatus.DONE}
    assert [(reaction.failure, reaction.runs_again) for reaction in reactions] == [(Failure.WALLTIME, True)]
    document = run.controller().jobs.find_one({})
    assert document["resources"]["time"] == "00:02:00"
    output = run.controller().jobstore.get_output(document["uuid"])
    assert output == "from the first try"


@pytest.mark.slow
@pytest.mark.usefixtures("quick_polls")
def test_a_lost_node_and_a_drained_one(
    tmp_path: Path, slurm: Slurm, login: Login, cluster_jobs: ModuleType, setup_file: Path
) -> None:
    workers = workers_file(tmp_path, setup_file, login)
    flow = Flow([on(cluster_jobs.slow_once(str(tmp_path), 600), workers, "far", name="on a lost node")])
    run = submitted(tmp_path / "run", flow, workers)
    node = slurm.call("sinfo", "-h", "-o", "%n").strip()

    def break_node() -> None:
        while not (tmp_path / "slow started").exists():
            time.sleep(0.2)
        os.kill(int((slurm.folder / "slurmd.pid").read_text()), signal.SIGKILL)
        for line in slurm.call("ps", "-eo", "pid,args").splitlines():
            if "slurmstepd" in line and "grep" not in line:
                os.kill(int(line.split()[0]), signal.SIGKILL)
        # a node that is lost takes its processes along
        stop_processes(process for found in processes_in(tmp_path / "far").values() for process in found)
        slurm.wait_for_node("down")
        slurm.call("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
        slurm.start_node()
        time.sleep(5)
        slurm.call("scontrol", "update", f"NodeName={node}", "State=RESUME")

    breaking = threading.Thread(target=break_node, daemon=True)
    breaking.start()
    reactions: list[Reaction] = []
    last = run_jobs(run, parallel_jobs=1, workers=workers, on_failure=reactions.append)
    breaking.join()
    assert outcome(last) == {"on a lost node": JobStatus.DONE}
    assert [(reaction.failure, reaction.runs_again) for reaction in reactions] == [(Failure.NODE_LOST, True)]
    document = run.controller().jobs.find_one({})
    assert run.controller().jobstore.get_output(document["uuid"]) == "from the first try"


HIGH_CRISTOBALITE = """\
data_AlPO4
_cell_length_a 5.303301
_cell_length_b 5.303301
_cell_length_c 5.303301
_cell_angle_alpha 60
_cell_angle_beta 60
_cell_angle_gamma 60
_symmetry_space_group_name_H-M 'P 1'
_chemical_formula_sum 'Al1 P1 O4'
loop_
_symmetry_equiv_pos_as_xyz
'x, y, z'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Al1 Al 0 0 0
P1 P 0.25 0.25 0.25
O1 O 0.133 0.133 0.133
O2 O 0.601 0.133 0.133
O3 O 0.133 0.601 0.133
O4 O 0.133 0.133 0.601
"""
"""AlPO4 with straight Al-O-P, as the average structure of high cristobalite has them: six atoms in the primitive cell,
and a cubic site of phosphorus, whose shielding can have no anisotropy and whose field gradient vanishes."""


@pytest.mark.slow
@pytest.mark.usefixtures("quick_polls")
def test_alpo4_goes_through_four_engines_on_three_workers(tmp_path: Path, login: Login, setup_file: Path) -> None:
    """SevenNet in a pilot, CP2K and pw.x over SSH, the cluster engine on the machine of Slurm."""
    for program in ("cp2k.psmp", "pw.x"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    workers = workers_file(tmp_path, setup_file, login, pilot_hours="1.5")
    steps = {"plan": "local", "relax": "near-pilot", "dft": "far", "nmr": "near"}
    placed = {step: StepSettings(worker=worker, memory_gb=3.0, hours=1.0, cores=1) for step, worker in steps.items()}
    limits = workers.placement.limits.model_copy(update={"max_hours": 2.0})
    placement = workers.placement.model_copy(update={"steps": placed, "limits": limits})
    workers = workers.model_copy(update={"placement": placement})
    cif = tmp_path / "cristobalite.cif"
    cif.write_text(HIGH_CRISTOBALITE, encoding="utf-8")
    gamma = {"kpoint_spacing_per_ang": 0.6}
    cheap = {**gamma, "cutoff_ry": 200, "relative_cutoff_ry": 40, "basis": "SZV-MOLOPT-SR-GTH"}
    static = {"protocol": "fast", "task": "static"}
    study = StudyFile.model_validate(
        {
            "study": "alpo4",
            "structure": str(cif),
            "relax": {
                "model": "7net-0",
                "fmax_ev_per_ang": 0.1,
                "dft": [
                    {"engine": "cp2k", **static, "numbers": cheap},
                    {"engine": "pw", **static, "numbers": {**gamma, "cutoff_ry": 50}},
                ],
            },
            "nmr": {"isotopes": ["31P"]},
        }
    )
    (bulk,) = build_candidates(study)
    assert len(bulk.structure) == 6
    part = CandidateMaker(relax_maker=RelaxMaker(settings=study.relax), site_maker=SiteMaker(settings=study.nmr)).make(
        bulk
    )
    place_candidate(part, bulk, study, workers)
    run = submitted(tmp_path / "run", Flow([part]), workers)
    reactions: list[Reaction] = []
    last = run_jobs(run, parallel_jobs=1, workers=workers, on_failure=reactions.append)
    print([(job.name, round(job.seconds or 0)) for job in last.jobs], spending(last, workers.placement.limits))
    assert last.count(JobStatus.DONE) == len(last.jobs) == 5, (last, reactions)
    check_four_engines(run, bulk)


def check_four_engines(run: RunFolder, bulk: Candidate) -> None:
    """What a run of AlPO4 through SevenNet, CP2K, pw.x and the cluster engine must have left in its folder."""
    found = {}
    for document in run.controller().jobs.find({}):
        output = run.controller().jobstore.get_output(document["uuid"])
        found[document["job"]["name"].split(" ")[1]] = (document["worker"], MontyDecoder().process_decoded(output))
    assert {name: worker for name, (worker, _) in found.items()} == {
        bulk.name: "near-pilot",
        "cp2k": "far",
        "pw": "far",
        "sites": "local",
        "31P": "near",
    }
    sevennet, cp2k, pw = (found[name][1] for name in (bulk.name, "cp2k", "pw"))
    assert sevennet.is_converged
    bonds = bond_lengths(sevennet.candidate.structure)
    assert sum(bonds) == pytest.approx(7.5 * 3**0.5 / 4, abs=0.01)  # they stay straight
    assert bonds[0] == pytest.approx(1.52, abs=0.04)
    assert cp2k.candidate.structure == pw.candidate.structure == sevennet.candidate.structure
    # at SevenNet's minimum, at the Gamma point: plane waves feel little force, a minimal basis of Gaussians much
    assert 0.0 < pw.max_force_ev_per_ang < 1.0
    assert pw.max_force_ev_per_ang < cp2k.max_force_ev_per_ang < 8.0
    for step in (cp2k, pw):
        assert (step.n_steps, step.is_converged) == (0, False)
        note = f"not relaxed by {step.model}: its largest force is {step.max_force_ev_per_ang:.3f} eV/A"
        assert step.candidate.notes[-1] == note
    # 32 valence electrons in the same potentials: total energies agree to the error of the two bases
    assert cp2k.energy_ev == pytest.approx(pw.energy_ev, rel=0.03)
    assert {step.start_id for step in (sevennet, cp2k, pw)} == {bulk.id}
    relaxations, (phosphorus,) = outputs(run)
    assert [step.model.split()[0] for step in relaxations] == ["pw"]
    print(bonds, [(step.model, step.energy_ev, step.max_force_ev_per_ang) for step in (sevennet, cp2k, pw)])
    print(phosphorus.sigma_iso_ppm, phosphorus.shielding_ppm[0])
    assert 250.0 < phosphorus.sigma_iso_ppm < 400.0
    # phosphorus has a cubic site: no anisotropy
    isotropic = phosphorus.sigma_iso_ppm * np.eye(3)
    np.testing.assert_allclose(phosphorus.shielding_ppm[0], isotropic, atol=1.0)


def bond_lengths(structure: AtomicStructure) -> tuple[float, float]:
    """Shortest P-O and Al-O distances in angstrom."""
    distances = structure.to_ase().get_all_distances(mic=True)
    oxygen = [k for k, element in enumerate(structure.elements) if element == "O"]
    return (
        float(distances[structure.elements.index("P"), oxygen].min()),
        float(distances[structure.elements.index("Al"), oxygen].min()),
    )


@pytest.mark.slow
@pytest.mark.usefixtures("quick_polls")
def test_cp2k_and_pw_relax_on_both_workers(tmp_path: Path, login: Login, setup_file: Path) -> None:
    for program in ("cp2k.psmp", "pw.x"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    workers = workers_file(tmp_path, setup_file, login)
    small = hydrogen_molecule()
    start = Relaxation(
        start_id=small.id, candidate=small, energy_ev=0, max_force_ev_per_ang=0, n_steps=0, is_converged=True, model="m"
    )
    jobs = []
    for engine, worker in (("cp2k", "near"), ("pw", "far")):
        dft = DftSettings.model_validate({"engine": engine, "protocol": "fast"})
        one = relax_dft(start, RelaxSettings(), dft)
        jobs.append(on(one, workers, worker, name=f"relax {engine} H2", memory_gb=2.5, hours=0.2))
    run = submitted(tmp_path / "run", Flow(jobs), workers)
    last = run_jobs(run, parallel_jobs=1, workers=workers)
    assert last.count(JobStatus.DONE) == 2, last
    lengths = {}
    for document in run.controller().jobs.find({}):
        relaxed = MontyDecoder().process_decoded(run.controller().jobstore.get_output(document["uuid"]))
        positions = relaxed.candidate.structure.cart_coords
        lengths[relaxed.model.split()[0]] = float(np.linalg.norm(positions[1] - positions[0]))
    # the small basis of CP2K's protocol shortens the bond by 0.03 A
    assert lengths["pw"] == pytest.approx(0.76, abs=0.01)
    assert lengths["cp2k"] == pytest.approx(0.726, abs=0.01)


def hydrogen_molecule() -> Candidate:
    structure = AtomicStructure(
        lattice_ang=((4.6, 0.0, 0.0), (0.0, 4.4, 0.0), (0.0, 0.0, 5.2)),
        elements=("H", "H"),
        frac_coords=((0.5, 0.5, 0.42), (0.5, 0.5, 0.42 + 0.78 / 5.2)),
        oxidation_states=(1.0, -1.0),
        periodic=(False, False, False),
    )
    return Candidate(name="H2", kind="bulk", structure=structure, parent="H2", regions=(Region.BULK,) * 2)
