"""Each failure is known by what programs and schedulers really print, has a policy, and stands in the docs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtoolkit.io import SlurmIO
from surfshift.workflows.hpc.resources import Limits
from surfshift.workflows.queue.failures import POLICIES, Evidence, Failure, classify, policy_table
from surfshift.workflows.queue.react import raised

if TYPE_CHECKING:
    from pathlib import Path

CASES: list[tuple[Failure, Evidence]] = [
    (Failure.WALLTIME, Evidence(scheduler_state="TIMEOUT")),
    (
        Failure.WALLTIME,
        Evidence(printed="slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***"),
    ),
    (Failure.WALLTIME, Evidence(printed="=>> PBS: job killed: walltime 3617 exceeded limit 3600")),
    (Failure.OUT_OF_MEMORY, Evidence(scheduler_state="OUT_OF_MEMORY")),
    (
        Failure.OUT_OF_MEMORY,
        Evidence(
            scheduler_state="FAILED",
            printed="slurmstepd-vm: error: StepId=3.batch exceeded memory limit (210567168 > 104857600), being killed\n"
            "slurmstepd-vm: error: Exceeded job memory limit\n"
            "slurmstepd-vm: error: *** JOB 3 ON vm CANCELLED AT 2026-11-28T00:42:22 ***",
        ),
    ),
    (Failure.OUT_OF_MEMORY, Evidence(printed="slurmstepd: error: Detected 1 oom-kill event(s) in StepId=1.batch.")),
    (
        Failure.OUT_OF_MEMORY,
        Evidence(error="surfshift.workflows.engines.dft.errors.OutOfMemoryError: cp2k.psmp was killed"),
    ),
    (Failure.NODE_LOST, Evidence(scheduler_state="NODE_FAIL")),
    (
        Failure.NODE_LOST,
        Evidence(printed="slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT ... DUE TO NODE FAILURE ***"),
    ),
    (Failure.PREEMPTED, Evidence(scheduler_state="PREEMPTED")),
    (Failure.CANCELLED, Evidence(scheduler_state="CANCELLED")),
    (Failure.CANCELLED, Evidence(printed="slurmstepd-vm: error: *** JOB 4 ON vm CANCELLED AT 2026-11-28T00:42:22 ***")),
    (Failure.KILLED, Evidence(runner_error="file /w/jfremote_out.json for job x does not exist")),
    (Failure.SCF_NOT_CONVERGED, Evidence(error="x.ScfNotConvergedError: CP2K: the field did not converge")),
    (
        Failure.GIPAW_NOT_CONVERGED,
        Evidence(error="errors.UnconvergedResponseError: the linear response did not converge"),
    ),
    (
        Failure.LOCALISATION_FAILED,
        Evidence(error="ProgramFailedError: LOCALIZATION| Localization failed after 500 steps"),
    ),
    (
        Failure.RELAXATION_NOT_CONVERGED,
        Evidence(error="surfshift.workflows.relaxation.NotConvergedError: the largest force"),
    ),
    (Failure.DISK_FULL, Evidence(error="OSError: [Errno 28] No space left on device")),
    (Failure.DISK_FULL, Evidence(printed="forrtl: No space left on device")),
    (Failure.LICENCE_MISSING, Evidence(error="errors.LicenceMissingError: vasp ended with code 1")),
    (Failure.PROGRAM_MISSING, Evidence(error="errors.ProgramMissingError: cp2k.psmp is not on the PATH")),
    (Failure.PROGRAM_MISSING, Evidence(printed="/opt/bin/python: No module named surfshift")),
    (Failure.PROGRAM_MISSING, Evidence(printed="submit.sh: line 9: /opt/py/bin/python: No such file or directory")),
    (
        Failure.POTENTIAL_MISSING,
        Evidence(error="surfshift.workflows.engines.inputs.upf.MissingPotentialError: vasp cannot run: POTCAR Al"),
    ),
    (Failure.SCF_NOT_CONVERGED, Evidence(error="errors.UnconvergedOutputError: OUTCAR: the self-consistent field")),
    (Failure.NOT_FINITE_OUTPUT, Evidence(error="errors.BadNumberError: OUTCAR, line 3: '****' is not a usable number")),
    (Failure.WRONG_ATOM_ORDER, Evidence(error="errors.WrongStructureError: the castep file is of another cell")),
    (
        Failure.TRUNCATED_OUTPUT,
        Evidence(error="errors.TruncatedOutputError: pw.x: the output ends before its last line"),
    ),
    (
        Failure.NOT_FINITE_OUTPUT,
        Evidence(error="errors.NotFiniteOutputError: CP2K: '****' stands where a number belongs"),
    ),
    (Failure.WRONG_ATOM_ORDER, Evidence(error="errors.WrongAtomOrderError: pw.x: the atoms of the output are not")),
    (Failure.PROGRAM_FAILED, Evidence(error="errors.ProgramFailedError: pw.x ended with code 1:\nsrun: error: task 0")),
    (Failure.REFUSED, Evidence(error="errors.UnsupportedTargetError: Xe is not supported")),
    (
        Failure.SUBMISSION_REFUSED,
        Evidence(runner_error="RemoteError: submission failed. sbatch: error: invalid account"),
    ),
]


@pytest.mark.parametrize(("failure", "evidence"), CASES)
def test_a_failure_is_known_by_its_signs(failure: Failure, evidence: Evidence) -> None:
    assert classify(evidence) is failure


def test_every_failure_has_a_policy_and_a_case() -> None:
    assert set(POLICIES) == set(Failure) == {failure for failure, _ in CASES}


def test_the_docs_say_what_the_code_does(repo_root: Path) -> None:
    assert policy_table() in (repo_root / "docs" / "failures.md").read_text(encoding="utf-8")


def test_more_time_and_memory_are_asked_for_up_to_the_limits() -> None:
    limits = Limits(cores_per_node=8, memory_gb_per_node=10, max_nodes=1, max_hours=3)
    longer = POLICIES[Failure.WALLTIME]
    slurm = {"time": "01:00:00", "mem": "4000M", "nodes": 1}
    assert raised(slurm, longer, limits, SlurmIO()) == {**slurm, "time": "02:00:00"}
    assert raised({"time": "02:00:00"}, longer, limits, SlurmIO()) == {"time": "03:00:00"}
    more = POLICIES[Failure.OUT_OF_MEMORY]
    assert raised(slurm, more, limits, SlurmIO()) == {**slurm, "mem": "6400M"}
    assert raised({"mem": "9000M"}, more, limits, SlurmIO()) == {"mem": "10000M"}
    pbs = {"select": "select=1:ncpus=4:mpiprocs=4:mem=4000mb", "walltime": "01:00:00"}
    assert raised(pbs, more, limits, SlurmIO())["select"] == "select=1:ncpus=4:mpiprocs=4:mem=6400mb"
    assert raised({"select": "h_vmem=1000M"}, more, limits, SlurmIO()) == {"select": "h_vmem=1600M"}
    assert raised(None, more, limits, SlurmIO()) is None
