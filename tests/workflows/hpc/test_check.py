"""`hpc check` against a real SSH server and a real Slurm: what works, and each refusal by name within seconds."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from surfshift.workflows.hpc import errors
from surfshift.workflows.hpc.check import check_worker
from surfshift.workflows.hpc.templates import write_workers
from surfshift.workflows.hpc.workers import load_workers

if TYPE_CHECKING:
    from pathlib import Path

    from surfshift.workflows.hpc.workers import WorkersFile

    from conftest import Login

pytestmark = pytest.mark.usefixtures("quick_polls")


def workers(folder: Path, login: Login, **values: Any) -> WorkersFile:
    given = {
        "host": "127.0.0.1",
        "port": login.port,
        "user": "root",
        "key_file": login.key,
        "python": sys.executable,
        "work_dir": folder / "work",
        "max_hours": 0.1,
        **values,
    }
    file = folder / "workers.yaml"
    file.unlink(missing_ok=True)
    write_workers("slurm", {key: str(value) for key, value in given.items()}, file)
    return load_workers(file)


def test_a_worker_over_ssh_that_works(tmp_path: Path, login: Login, setup_file: Path) -> None:
    (tmp_path / "upf").mkdir()
    (tmp_path / "upf" / "Al.pbe.UPF").touch()
    (tmp_path / "gipaw").mkdir()
    (tmp_path / "gipaw" / "P.pbe.UPF").touch()
    (tmp_path / "gipaw" / "Al.pbe-gipaw.UPF").write_text('<PP_GIPAW gipaw_data_format="2">\n')
    (tmp_path / "potcars" / "POT_GGA_PAW_PBE_54").mkdir(parents=True)
    (tmp_path / "potcars" / "POT_GGA_PAW_PBE_54" / "POTCAR.Al.gz").touch()
    file = workers(
        tmp_path,
        login,
        setup=setup_file,
        launch="",
        cp2k="no-such-cp2k",
        pw="bash",
        castep="no-such-castep",
        upf_folder=tmp_path / "upf",
        gipaw_upf_folder=tmp_path / "gipaw",
        potcar_folder=tmp_path / "potcars",
        cores_per_node=8,
        memory_gb_per_node=15,
    )
    found = {finding.what: finding for finding in check_worker(file, "cluster", elements=("Al", "P"))}
    lacking = ["CP2K", "CASTEP", "UPF P", "GIPAW UPF P", "POTCAR P"]
    assert [name for name, finding in found.items() if finding.advice] == lacking
    assert found["CP2K"].found == "no-such-cp2k is not on the PATH of the worker"
    assert found["CASTEP"].advice == "load its module, or set castep and launch in the workers' file"
    assert "VASP" not in found  # no program of that name is set
    assert found["UPF Al"].found == "Al.pbe.UPF"
    assert found["GIPAW UPF Al"].found == "Al.pbe-gipaw.UPF"
    assert found["POTCAR Al"].found == "POT_GGA_PAW_PBE_54/POTCAR.Al.gz"
    assert "done after" in found["job"].found
    assert found["nodes"].found == "8 cores and 15 GB are there"
    assert not list((tmp_path / "work").iterdir())


def test_nodes_that_are_smaller_than_the_file_says_are_told(tmp_path: Path, login: Login, setup_file: Path) -> None:
    file = workers(tmp_path, login, setup=setup_file)  # the template's 32 cores and 96 GB
    (nodes,) = [finding for finding in check_worker(file, "cluster") if finding.what == "nodes"]
    assert "the largest has 8 cores and 16 GB" in nodes.found
    assert "--set cores_per_node=8 --set memory_gb_per_node=15" in nodes.advice


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"port": "closed"}, errors.UnreachableHostError, "does not answer"),
        ({"host": "no-such-host.invalid"}, errors.UnreachableHostError, "does not answer"),
        ({"key_file": "stranger"}, errors.KeyRefusedError, "refuses the login"),
        ({"key_file": "/no/such/key"}, errors.KeyRefusedError, "refuses the login"),
        ({"work_dir": "/proc/none"}, errors.WorkerSetupError, "cannot be written"),
        ({"python": "/no/python"}, errors.WorkerSetupError, "cannot import surfshift"),
        ({"partition": "nosuch"}, errors.SchedulerMissingError, "does not take a job: .*invalid partition"),
    ],
)
def test_refusals_have_names_and_take_seconds(
    tmp_path: Path,
    login: Login,
    setup_file: Path,
    closed_port: int,
    *,
    values: dict[str, str],
    error: type[Exception],
    message: str,
) -> None:
    replaced = {"closed": str(closed_port), "stranger": str(login.folder / "stranger")}
    file = workers(tmp_path, login, **{"setup": setup_file} | {k: replaced.get(v, v) for k, v in values.items()})
    started = time.monotonic()
    with pytest.raises(error, match=message):
        check_worker(file, "cluster")
    assert time.monotonic() - started < 40


def test_a_worker_that_is_not_there(tmp_path: Path, login: Login) -> None:
    with pytest.raises(errors.UnknownWorkerError, match="did you mean 'cluster'"):
        check_worker(workers(tmp_path, login), "clutser")


def test_a_worker_without_a_scheduler_runs_the_job(tmp_path: Path) -> None:
    file = tmp_path / "workers.yaml"
    values = {"work_dir": tmp_path / "work", "python": sys.executable, "cores_per_node": 1, "memory_gb_per_node": 8}
    write_workers("local", {key: str(value) for key, value in values.items()}, file)
    found = {finding.what: finding for finding in check_worker(load_workers(file), "cluster")}
    assert "done after" in found["job"].found
    assert not found["job"].advice
