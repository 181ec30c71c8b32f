"""Every template makes a project that jobflow-remote takes and scripts that a shell reads as meant."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jobflow_remote.config.base import LocalWorker, Project, RemoteWorker
from jobflow_remote.remote.host import LocalHost
from jobflow_remote.remote.queue import set_name_out
from surfshift.workflows.hpc.errors import (
    TemplateVariableError,
    UnknownTemplateError,
    UnknownWorkerError,
    WorkersFileError,
)
from surfshift.workflows.hpc.resources import Limits, Request, capped, clock, native_resources, node_count
from surfshift.workflows.hpc.templates import load_template, render, template_names, write_workers
from surfshift.workflows.hpc.workers import load_workers
from surfshift.workflows.queue.errors import UnsafeValueError
from surfshift.workflows.queue.scripts import QuotingQueueManager, plain_name

if TYPE_CHECKING:
    from pathlib import Path

    from surfshift.workflows.hpc.workers import WorkersFile

HOSTILE = 'it\'s a "name" $(touch x1) `touch x2`; touch x3 & | > x4 $HOME'
FIRST_LINES = {"slurm": "#SBATCH", "pbs": "#PBS", "sge": "#$"}


def needed(name: str) -> dict[str, str]:
    """The required variables of a template."""
    values = {"work_dir": "/scratch/project/me", "python": "/opt/python/bin/python"}
    required = (key for key, variable in load_template(name).variables.items() if variable.required)
    return {**dict.fromkeys(required, "abc123"), **values}


def written(name: str, folder: Path, **values: str) -> WorkersFile:
    file = folder / "workers.yaml"
    file.unlink(missing_ok=True)
    write_workers(name, {**needed(name), **values}, file)
    return load_workers(file)


def script_of(
    file: WorkersFile, worker: str, *, job_name: str = "relax AlPO4(100)-t0", work_dir: str = "", out_dir: str = ""
) -> str:
    """The script that the runner would submit for a DFT job, or for a pilot."""
    settings: dict[str, Any] = file.workers[worker]
    model: Any = (RemoteWorker if settings["type"] == "remote" else LocalWorker).model_validate(settings)
    manager = QuotingQueueManager(model.get_scheduler_io(), LocalHost(), python=file.placement.python)
    folder = work_dir or f"{settings['work_dir']}/ab/cd/job_1"
    options = dict(settings["resources"] or {})
    if file.is_pilot(worker):
        batch = settings["batch"]
        commands = [f"jf -fe execution run-batch {settings['work_dir']} {batch['jobs_handle_dir']} uid -mt 100 -pj 2"]
    else:
        native = native_resources(
            file.scheduler(worker), Request(cores=40, memory_gb=30, hours=2), file.placement.limits
        )
        options |= native
        commands = [settings["execution_cmd"].format(folder)]
    outputs = out_dir or folder
    set_name_out(options, job_name, f"{outputs}/queue.out", f"{outputs}/queue.err")
    return manager.get_submission_script(
        commands=commands, options=options, work_dir=folder, pre_run=settings["pre_run"]
    )


def checked_by_shell(script: str, folder: Path) -> None:
    file = folder / "submit.sh"
    file.write_text(script, encoding="utf-8")
    syntax = subprocess.run(["bash", "-n", str(file)], capture_output=True, text=True, check=False)
    assert (syntax.returncode, syntax.stderr) == (0, ""), script
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (Debian package shellcheck)")
    # SC2016 notes that $ in single quotes is not expanded, which is the point
    lint = subprocess.run(
        ["shellcheck", "--shell=bash", "--exclude=SC2016", str(file)], capture_output=True, text=True, check=False
    )
    assert lint.returncode == 0, f"{lint.stdout}\n{script}"


@pytest.mark.parametrize("name", template_names())
def test_every_template_gives_a_project_and_scripts_that_the_shell_accepts(name: str, tmp_path: Path) -> None:
    file = written(name, tmp_path, setup="/sw/me/setup.sh", cp2k_data="/opt/cp2k/data", host="login.example.org")
    project = Project.model_validate(yaml.safe_load((tmp_path / "workers.yaml").read_text(encoding="utf-8")))
    assert set(project.workers) == set(file.workers)
    for worker in file.workers:
        script = script_of(file, worker)
        checked_by_shell(script, tmp_path)
        scheduler = file.scheduler(worker)
        if scheduler in FIRST_LINES:
            header = [line for line in script.splitlines() if line.startswith(FIRST_LINES[scheduler])]
            assert any("relax_AlPO4_100_-t0" in line for line in header)
            hours = "04:00:00" if file.is_pilot(worker) else "02:00:00"
            assert any(hours in line for line in header), script
        assert "source" not in script.splitlines()[0]
        assert ". /sw/me/setup.sh" in script


def test_centres_ask_for_what_their_nodes_have(tmp_path: Path) -> None:
    jureca = script_of(written("jureca-gpu", tmp_path, host="jureca.fz-juelich.de"), "cluster")
    assert "#SBATCH --account=abc123" in jureca
    assert "#SBATCH --gres=gpu:4" in jureca
    assert "--mem" not in jureca  # whole nodes
    archer = script_of(written("archer2", tmp_path), "cluster")
    assert "export SURFSHIFT_CP2K='srun --distribution=block:block --hint=nomultithread cp2k.psmp'" in archer
    assert "#SBATCH --qos=standard" in archer
    hawk = script_of(written("hawk", tmp_path), "cluster")
    assert "#PBS -l select=1:ncpus=128:mpiprocs=40:ompthreads=1:node_type=rome" in hawk
    sge = script_of(written("sge", tmp_path, parallel_environment="mpi"), "cluster")
    assert "#$ -pe mpi 40" in sge or "#$ -pe mpi 32" in sge


def test_mistyped_missing_and_unfit_variables_are_all_named_at_once() -> None:
    with pytest.raises(UnknownTemplateError, match="did you mean 'perlmutter-cpu'"):
        render("perlmuter-cpu", {})
    with pytest.raises(TemplateVariableError) as caught:
        render("jureca-cpu", {"acount": "x", "work_dir": "/with space", "port": "0", "python": "/bin/$(id)"})
    message = str(caught.value)
    assert "acount: the template jureca-cpu has no such variable, did you mean 'account'?" in message
    assert "account: is required" in message
    assert "port = '0': must be at least 1" in message
    assert message.count("an absolute path") == 2
    with pytest.raises(TemplateVariableError, match="line break"):
        render("slurm", {**needed("slurm"), "modules": "CP2K\nrm -rf x"})


def test_a_file_that_exists_is_kept_and_damage_is_named(tmp_path: Path) -> None:
    file = tmp_path / "workers.yaml"
    write_workers("slurm", needed("slurm"), file)
    before = file.read_text(encoding="utf-8")
    with pytest.raises(TemplateVariableError, match="not overwritten"):
        write_workers("slurm", needed("slurm"), file)
    assert file.read_text(encoding="utf-8") == before
    file.write_text(before.replace('worker: "cluster-pilot"', 'worker: "cluster-pilt"'), encoding="utf-8")
    with pytest.raises(UnknownWorkerError, match="did you mean 'cluster-pilot'"):
        load_workers(file)
    file.write_text(before.replace("scheduler_type: slurm", "scheduler_type: slum"), encoding="utf-8")
    with pytest.raises(WorkersFileError, match="Unknown scheduler type slum"):
        load_workers(file)
    file.write_text("workers: [", encoding="utf-8")
    with pytest.raises(WorkersFileError, match="cannot be read"):
        load_workers(file)
    with pytest.raises(WorkersFileError, match="there is no workers' file"):
        load_workers(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", ["slurm", "pbs", "sge", "local", "hawk", "jureca-cpu"])
def test_hostile_values_run_nothing(name: str, tmp_path: Path) -> None:
    """The script is really executed, in a folder with a hostile name; a module command notes what it was given."""
    folder = tmp_path / "here $(touch x5) 'and' \"there\""
    folder.mkdir()
    stub = "module() { printf '%s\\n' \"$*\" >> modules.txt; }\nexport -f module\n"
    file = written(name, tmp_path, modules=HOSTILE, launch=HOSTILE, cp2k=HOSTILE)
    worker = next(iter(file.workers))
    settings = {**file.workers, worker: {**file.workers[worker], "execution_cmd": "printf '%s' {}"}}
    hostile = file.model_copy(update={"workers": settings})
    with pytest.raises(UnsafeValueError, match="qout_path"):
        script_of(hostile, worker, work_dir=str(folder))
    script = script_of(hostile, worker, job_name=HOSTILE, work_dir=str(folder), out_dir=str(tmp_path))
    checked_by_shell(script, tmp_path)
    run = subprocess.run(
        ["bash", "-c", f'{stub}. "$1"; env > env.txt', "bash", str(tmp_path / "submit.sh")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    printed = (tmp_path / "queue.out").read_text() if name == "local" else run.stdout
    assert printed.splitlines()[-1].endswith(str(folder)), (run, script)
    assert {path.name for path in folder.iterdir()} == {"modules.txt", "env.txt"}
    allowed = {"workers.yaml", "submit.sh", "queue.out", "queue.err", folder.name}
    assert {path.name for path in tmp_path.iterdir()} <= allowed
    environment = (folder / "env.txt").read_text(encoding="utf-8")
    assert f"SURFSHIFT_CP2K={HOSTILE} {HOSTILE}" in environment
    given_modules = (folder / "modules.txt").read_text(encoding="utf-8")
    assert f"load {HOSTILE}" in given_modules


@pytest.mark.parametrize(
    "value", ["a b", "x\n#SBATCH --wrap=id", "$(id)", "`id`", "a;b", "a'b", 'a"b', "a&b", "a|b", "a>b"]
)
def test_a_scheduler_line_takes_plain_words_only(value: str, tmp_path: Path) -> None:
    with pytest.raises(TemplateVariableError):
        written("slurm", tmp_path, account=value)
    file = written("slurm", tmp_path)
    settings = {"cluster": {**file.workers["cluster"], "resources": {"account": value}}}
    with pytest.raises(UnsafeValueError, match="account"):
        script_of(file.model_copy(update={"workers": settings}), "cluster")


@given(st.text())
def test_job_names_are_plain_for_any_text(text: str) -> None:
    name = plain_name(text)
    assert name[0].isalpha()
    assert name[0].isascii()
    assert len(name) <= 61
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-")


LIMITS = Limits(cores_per_node=16, memory_gb_per_node=64, max_nodes=3, max_hours=10)


@given(st.integers(1, 500), st.floats(0.1, 192), st.floats(0.001, 100), st.integers(1, 64))
def test_requests_stay_within_the_limits(cores: int, memory: float, hours: float, threads: int) -> None:
    asked = capped(Request(cores=cores, memory_gb=memory, hours=hours, threads=threads), LIMITS)
    assert node_count(asked, LIMITS) <= 3
    assert asked.cores <= 48
    assert asked.hours <= 10
    assert asked.memory_gb == memory
    slurm = native_resources("slurm", asked, LIMITS)
    assert int(slurm["mem"][:-1]) <= 64_000
    assert slurm["nodes"] * slurm["ntasks_per_node"] * slurm["cpus_per_task"] >= min(asked.cores, 1)


def test_memory_beyond_all_nodes_is_refused_and_clocks_round_up() -> None:
    with pytest.raises(ValueError, match="193 GB are needed and 3 nodes of 64 GB"):
        capped(Request(cores=1, memory_gb=193, hours=1), LIMITS)
    assert [clock(h) for h in (1 / 60, 2.5, 48, 1e-9)] == ["00:01:00", "02:30:00", "48:00:00", "00:00:01"]


def test_a_step_can_be_set_by_hand_in_one_place(tmp_path: Path) -> None:
    file = written("slurm", tmp_path)
    text = (tmp_path / "workers.yaml").read_text(encoding="utf-8")
    text = text.replace('dft: {worker: "cluster"}', 'dft: {worker: "cluster", cores: 7, hours: 3.5, memory_gb: 11}')
    (tmp_path / "workers.yaml").write_text(text, encoding="utf-8")
    estimate = Request(cores=2, memory_gb=4, hours=1)
    assert file.run_config("dft", estimate)["resources"]["time"] == "01:00:00"
    assert load_workers(tmp_path / "workers.yaml").run_config("dft", estimate) == {
        "worker": "cluster",
        "resources": {"nodes": 1, "ntasks_per_node": 7, "cpus_per_task": 1, "time": "03:30:00", "mem": "11000M"},
    }
