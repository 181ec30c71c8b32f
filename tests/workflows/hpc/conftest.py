"""A real Slurm of one node and an SSH server, started for the tests and ended after them, in folders of their own."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[3]

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MinJobAge=300
SlurmdTimeout=10
KillWait=2
JobRequeue=0
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=1500
"""

JOBS = '''
import os, time
from pathlib import Path
from jobflow import Flow, Response, job

@job
def note(folder, word):
    """Append a word to a file, so that a test can count how often this ran."""
    with open(Path(folder, "ran.txt"), "a") as file:
        file.write(word + "\\n")
    return word

@job
def slow_once(folder, seconds):
    """Runs too long at first, and ends at once where it finds what an earlier try left."""
    left = Path("geometry.txt")
    if left.exists():
        return left.read_text()
    left.write_text("from the first try")
    (Path(folder) / "slow started").touch()
    time.sleep(seconds)
    return "from nothing"

@job
def greedy(megabytes):
    """Fills memory."""
    block = bytearray(megabytes * 2**20)
    time.sleep(6)
    return len(block)

@job
def wait(folder, seconds):
    (Path(folder) / "wait started").touch()
    time.sleep(seconds)

@job
def unconverged():
    from surfshift.workflows.engines.dft.errors import ScfNotConvergedError
    raise ScfNotConvergedError("the field of the test did not converge")
'''


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def closed_port() -> int:
    """A port at which nothing listens."""
    return free_port()


def end(pid_file: Path) -> None:
    """End a daemon by the number that it wrote down."""
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.1)
    except (OSError, ValueError):
        return


@dataclass(frozen=True)
class Slurm:
    """A running Slurm: its folder, and its commands."""

    folder: Path
    environment: dict[str, str]

    def call(self, *words: str) -> str:
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def start_node(self) -> None:
        subprocess.run(["slurmd"], env=self.environment, check=True)

    def wait_for_node(self, *states: str) -> str:
        for _ in range(300):
            state = self.call("sinfo", "-h", "-o", "%T").strip()
            if any(state.startswith(wanted) for wanted in states):
                return state
            time.sleep(0.2)
        raise AssertionError(f"the node is {state!r}")


class NotInstalledError(RuntimeError):
    """What a private Slurm or SSH server needs is not there."""


@contextlib.contextmanager
def private_slurm() -> Iterator[Slurm]:
    """A Slurm of one node, in a folder of its own."""
    if os.geteuid() != 0:
        raise NotInstalledError("a private Slurm needs root")
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]
    if missing:
        raise NotInstalledError(f"{', '.join(missing)} not installed (Debian packages slurm-wlm and munge)")
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # the socket's path must be short
    folder.chmod(0o755)
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(mode=0o700)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    text = CONFIGURATION.format(
        host=socket.gethostname().split(".")[0], folder=folder, ports=(free_port(), free_port())
    )
    (folder / "slurm.conf").write_text(text, encoding="utf-8")
    files = {"pid": "munge/pid", "log": "munge/log", "seed": "munge/seed", "key": "munge/key"}
    options = [f"--{name}-file={folder / file}" for name, file in files.items()]
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    running = Slurm(folder, environment)
    try:
        subprocess.run(["munged", "--force", f"--socket={folder}/munge.socket", *options], check=True)
        subprocess.run(["slurmctld"], env=environment, check=True)
        running.start_node()
        running.wait_for_node("idle")
        yield running
    finally:
        running.call("scancel", "--full", f"--user={os.environ.get('USER', 'root')}")  # else steps outlive the daemons
        for name in ("slurmd.pid", "slurmctld.pid", "munge/pid"):
            end(folder / name)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    try:
        with private_slurm() as running:
            yield running
    except NotInstalledError as error:
        pytest.skip(str(error))


@dataclass(frozen=True)
class Login:
    """An SSH server on this machine: its port, and a key that it takes."""

    port: int
    key: Path
    folder: Path


@contextlib.contextmanager
def private_login(slurm: Slurm) -> Iterator[Login]:
    """An SSH server on a free port of this machine, whose sessions find a Slurm."""
    if shutil.which("sshd") is None or shutil.which("ssh-keygen") is None:
        raise NotInstalledError("sshd is not installed (Debian package openssh-server)")
    folder = Path(tempfile.mkdtemp(prefix="sshd-", dir="/tmp"))
    folder.chmod(0o755)
    for name in ("host", "user", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port = free_port()
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/pid\n"
        f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        f"PermitRootLogin yes\nSetEnv SLURM_CONF={slurm.environment['SLURM_CONF']}\n"
        "Subsystem sftp internal-sftp\nMaxStartups 50\n",
        encoding="utf-8",
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    try:
        subprocess.run([shutil.which("sshd") or "sshd", "-f", str(folder / "sshd_config")], check=True)
        yield Login(port=port, key=folder / "user", folder=folder)
    finally:
        end(folder / "pid")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def login(slurm: Slurm) -> Iterator[Login]:
    try:
        with private_login(slurm) as running:
            yield running
    except NotInstalledError as error:
        pytest.skip(str(error))


@pytest.fixture
def cluster_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Jobs of a second or less that processes of a scheduler can import."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "cluster_jobs.py").write_text(JOBS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module("cluster_jobs")
    sys.modules.pop("cluster_jobs", None)


@pytest.fixture
def setup_file(tmp_path: Path) -> Path:
    """What each job of the cluster sources: where the jobs' code and surfshift are."""
    file = tmp_path / "setup.sh"
    paths = [str(tmp_path / "code"), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    file.write_text(f"export PYTHONPATH='{os.pathsep.join(paths)}'\n", encoding="utf-8")
    return file


@pytest.fixture
def quick_polls(monkeypatch: pytest.MonkeyPatch, slurm: Slurm) -> None:
    """Ask the scheduler often, and let the commands of this process find it."""
    monkeypatch.setattr("surfshift.workflows.queue.runner.CLUSTER_POLL_SECONDS", 1.0)
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
