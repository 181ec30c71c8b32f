"""Does a worker really work? Connect, write, start Python, find the programs, run a job of two seconds."""

from __future__ import annotations

import re
import shlex
import time
import uuid
from typing import TYPE_CHECKING, Any

from ...structures.errors import nearest
from ..doctor import Finding
from ..engines.inputs.protocols import protocol_data
from ..potentials import POTCAR_SETS
from ..queue.scripts import QuotingQueueManager, without_stdin
from .errors import KeyRefusedError, SchedulerMissingError, UnknownWorkerError, UnreachableHostError, WorkerSetupError
from .resources import Request, native_resources
from .templates import PROGRAM_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .workers import WorkersFile

JOB_SECONDS = 2
QUEUE_COMMANDS = {"slurm": "sbatch --version", "pbs": "qstat --version", "sge": "qstat -help", "shell": "true"}
PROGRAM_VARIABLES = {
    "SURFSHIFT_CP2K": "CP2K",
    "SURFSHIFT_PW": "pw.x",
    "SURFSHIFT_VASP": "VASP",
    "SURFSHIFT_CASTEP": "CASTEP",
    "SURFSHIFT_GIPAW": "gipaw.x",
    "SURFSHIFT_NWCHEM": "NWChem",
}
CONNECT_SECONDS = 10
NOTHING_REFUSED = (
    "Authentication failed",
    "No authentication methods",
    "not a valid",
    "Permission denied",
    "encountered",
)


def check_worker(
    file: WorkersFile,
    worker: str,
    *,
    elements: Sequence[str] = (),
    wait_seconds: float = 120.0,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Finding, ...]:
    """Everything that a job of this worker needs, looked at in the order in which a job needs it.

    Parameters
    ----------
    file, worker
        The workers' file and one of its workers.
    elements
        Also look for UPF files and POTCARs of these elements if the worker names folders of them.
    wait_seconds
        How long the two-second job may wait in the scheduler's queue.
    say
        Told what is done next.

    Raises
    ------
    UnknownWorkerError
        If the file has no such worker.
    UnreachableHostError, KeyRefusedError
        If the host does not answer, or refuses the login.
    WorkerSetupError
        If the folder cannot be written, or Python or surfshift is not there.
    SchedulerMissingError
        If the scheduler's commands are missing or refuse the job.
    """
    if worker not in file.workers:
        raise UnknownWorkerError(f"there is no worker {worker!r} in the file; {nearest(worker, file.workers)}")
    settings = _parsed(file.workers[worker])
    findings = []
    say("connecting")
    host = connect(settings, worker)
    try:
        where = getattr(settings, "host", "this machine")
        findings.append(Finding(what="connection", found=f"{where} answers"))
        say("writing")
        folder = f"{settings.work_dir}/surfshift-check-{uuid.uuid4().hex[:8]}"
        _write(host, folder)
        findings.append(Finding(what="work_dir", found=f"{settings.work_dir} can be written"))
        try:
            findings += _python(file, settings, host, folder)
            say("looking for programs")
            findings += _programs(settings, host, folder, elements)
            say(f"running a job of {JOB_SECONDS} seconds")
            findings.append(_job(file, worker, settings, host, folder, wait_seconds=wait_seconds))
            findings += _nodes(file, worker, host)
        finally:
            host.execute(f"rm -rf {shlex.quote(folder)}")
    finally:
        host.close()
    return tuple(findings)


def _parsed(settings: dict[str, Any]) -> Any:
    from jobflow_remote.config.base import LocalWorker, RemoteWorker

    return (RemoteWorker if settings.get("type") == "remote" else LocalWorker).model_validate(settings)


def connect(settings: Any, worker: str) -> Any:
    """An open connection to a worker's host.

    Raises
    ------
    UnreachableHostError
        If the name is unknown, or nothing answers at the port.
    KeyRefusedError
        If the login is refused, or the key cannot be read.
    """
    from paramiko.ssh_exception import SSHException

    if settings.type == "remote" and settings.connect_timeout is None:
        settings.connect_timeout = CONNECT_SECONDS
    host = without_stdin(settings.get_host())
    try:
        host.connect()
    except (SSHException, ValueError, OSError) as error:
        place = f"worker {worker}: {getattr(settings, 'user', None) or 'you'}@{settings.host}:{settings.port or 22}"
        is_refusal = isinstance(error, (SSHException | ValueError, FileNotFoundError | PermissionError))
        text = f"{error}" or type(error).__name__
        if is_refusal and "banner" not in text.lower():
            raise KeyRefusedError(
                f"{place} refuses the login ({text}); check user and key_filename in the workers' file, and try "
                f"'ssh -p {settings.port or 22} {settings.host}' by hand"
            ) from error
        raise UnreachableHostError(
            f"{place} does not answer ({text}); check host and port in the workers' file, and your network or VPN"
        ) from error
    return host


def _write(host: Any, folder: str) -> None:
    _, stderr, code = host.execute(f"mkdir -p {shlex.quote(folder)} && touch {shlex.quote(folder)}/file")
    if code != 0:
        raise WorkerSetupError(f"{folder} cannot be written ({stderr.strip()}); correct work_dir in the workers' file")


def _with_setup(settings: Any, command: str) -> str:
    """A command in the environment that a job of the worker has."""
    return "\n".join(["bash -s <<'SURFSHIFT_END'", settings.pre_run or "", command, "SURFSHIFT_END"])


def _python(file: WorkersFile, settings: Any, host: Any, folder: str) -> list[Finding]:
    python = shlex.quote(file.placement.python)
    code = "import surfshift.workflows.queue.execute, sys; print(sys.version.split()[0])"
    command = f"cd {shlex.quote(folder)} && {python} -P -c {shlex.quote(code)}"
    stdout, stderr, code_ = host.execute(_with_setup(settings, command), timeout=60)
    if code_ != 0:
        last = (stderr.strip() or stdout.strip()).splitlines()[-1:] or ["no output"]
        raise WorkerSetupError(
            f"{file.placement.python} cannot import surfshift on the worker ({last[0]}); install surfshift there and "
            "correct python, modules or setup in the workers' file"
        )
    return [Finding(what="Python and surfshift", found=stdout.strip().splitlines()[-1])]


def _programs(settings: Any, host: Any, folder: str, elements: Sequence[str]) -> list[Finding]:
    """Programs whose launch line the worker sets, and the pseudopotentials in the folders that it names."""
    script = f"""cd {shlex.quote(folder)}
for name in {" ".join(PROGRAM_VARIABLES)}; do
  line="${{!name}}"
  [ -n "$line" ] || continue
  echo "set $name"
  for word in $line; do last="$word"; done
  for word in "${{line%% *}}" "$last"; do
    command -v "$word" >/dev/null || echo "missing $name $word"
  done
done"""
    stdout, _, _ = host.execute(_with_setup(settings, script), timeout=60)
    told = [line.split(" ", 2) for line in stdout.splitlines()]
    named = {words[1] for words in told if words[0] == "set" and len(words) == 2}
    missing = {words[1]: words[2] for words in told if words[0] == "missing" and len(words) == 3}
    findings = []
    for variable, name in PROGRAM_VARIABLES.items():
        if variable not in named:
            continue
        word = missing.get(variable)
        findings.append(
            Finding(
                what=name,
                found=f"{word} is not on the PATH of the worker" if word else "found on the PATH",
                advice=f"load its module, or set {PROGRAM_KEYS[variable]} and launch in the workers' file"
                if word
                else "",
            )
        )
    return findings + (_potentials(settings, host, elements) if elements else [])


def _potentials(settings: Any, host: Any, elements: Sequence[str]) -> list[Finding]:
    """UPF files and POTCARs of the elements, in the folders that the worker's environment names."""
    symbols = {element: protocol_data("vasp")["potentials"].get(element, "") for element in elements}
    tails = [f"{place}/{tail}".strip("/") for place in POTCAR_SETS for tail in ("POTCAR.{}", "{}/POTCAR")]
    tests = [
        f'for file in {" ".join(tail.format(symbol) for tail in tails)}; do for end in "" .gz; do '
        f'[ -f "$PMG_VASP_PSP_DIR/$file$end" ] && echo "potcar {element} $file$end"; done; done'
        for element, symbol in symbols.items()
        if symbol
    ]
    script = "\n".join(
        [
            'if [ -n "$SURFSHIFT_PW_UPF_DIR" ]; then echo "folder upf $SURFSHIFT_PW_UPF_DIR"; '
            '(cd "$SURFSHIFT_PW_UPF_DIR" && ls | sed "s/^/upf /"); fi',
            'if [ -n "$SURFSHIFT_UPF_DIR" ]; then echo "folder gipaw $SURFSHIFT_UPF_DIR"; '
            '(cd "$SURFSHIFT_UPF_DIR" && grep -l "<PP_GIPAW" ./* 2>/dev/null | sed "s/^../gipaw /"); fi',
            'if [ -n "$PMG_VASP_PSP_DIR" ]; then echo "folder potcar $PMG_VASP_PSP_DIR"',
            *tests,
            "fi",
            "true",
        ]
    )
    stdout, _, _ = host.execute(_with_setup(settings, script), timeout=60)
    told = [line.split(" ", 2) for line in stdout.splitlines()]
    folders = {words[1]: words[2] for words in told if words[0] == "folder" and len(words) == 3}
    findings = []
    for kind, place in folders.items():
        names = [" ".join(words[1:]) for words in told if words[0] == kind]
        for element in elements:
            if kind == "potcar":
                own = [name.split(" ", 1)[1] for name in names if name.startswith(f"{element} ")]
            else:
                upf = [name for name in names if name.lower().endswith(".upf")]
                own = [name for name in upf if re.match(rf"{element}(?![a-z])", name, re.IGNORECASE)]
            what = {"upf": "UPF", "gipaw": "GIPAW UPF", "potcar": "POTCAR"}[kind]
            findings.append(
                Finding(
                    what=f"{what} {element}",
                    found=own[0] if own else f"no file in {place}",
                    advice="" if own else f"put a {what} file of the element there",
                )
            )
    return findings


def _nodes(file: WorkersFile, worker: str, host: Any) -> list[Finding]:
    """Whether a node of Slurm is as large as the limits say; what asks for more would wait for ever."""
    if file.scheduler(worker) != "slurm":
        return []
    partition = str(file.placement.header.get("partition", ""))
    option = f" -p {shlex.quote(partition)}" if partition else ""
    stdout, _, code = host.execute(f"sinfo -h -e{option} -o '%c %m'", timeout=30)
    sizes = [(int(cores), int(mb)) for cores, mb in re.findall(r"^(\d+)\+? +(\d+)\+?\s*$", stdout, re.MULTILINE)]
    if code != 0 or not sizes:
        return []
    limits = file.placement.limits
    if any(c >= limits.cores_per_node and mb >= 1000 * limits.memory_gb_per_node for c, mb in sizes):
        return [
            Finding(what="nodes", found=f"{limits.cores_per_node} cores and {limits.memory_gb_per_node:g} GB are there")
        ]
    cores, mb = max(sizes)
    return [
        Finding(
            what="nodes",
            found=f"the largest has {cores} cores and {mb / 1000:.0f} GB, the workers' file asks for up to "
            f"{limits.cores_per_node} and {limits.memory_gb_per_node:g} GB",
            advice="larger jobs would wait for ever: write the file again with 'hpc init' and --set "
            f"cores_per_node={cores} --set memory_gb_per_node={max(1, int(0.95 * mb / 1000))}",
        )
    ]


def _job(file: WorkersFile, worker: str, settings: Any, host: Any, folder: str, *, wait_seconds: float) -> Finding:
    scheduler = file.scheduler(worker)
    _, stderr, code = host.execute(QUEUE_COMMANDS[scheduler], timeout=30)
    if code != 0:
        raise SchedulerMissingError(
            f"the commands of {scheduler} do not answer on the worker ({stderr.strip()[:200]}); is it a login node?"
        )
    manager = QuotingQueueManager(settings.get_scheduler_io(), host, python=file.placement.python)
    request = Request(cores=1, memory_gb=min(1.0, file.placement.limits.memory_gb_per_node), hours=0.05)
    options: dict[str, Any] = {**file.placement.header, **native_resources(scheduler, request, file.placement.limits)}
    options |= {"job_name": "surfshift-check", "qout_path": f"{folder}/queue.out", "qerr_path": f"{folder}/queue.err"}
    started = time.monotonic()
    result = manager.submit([f"sleep {JOB_SECONDS}", "touch done"], options=options, work_dir=folder)
    if result.status is None or result.status.value != "SUCCESSFUL" or result.job_id is None:
        raise SchedulerMissingError(
            f"{scheduler} does not take a job: {(result.stderr or result.stdout or '').strip()[:400]}; check account, "
            "partition and limits in the workers' file"
        )
    while time.monotonic() - started < wait_seconds:
        if host.exists(f"{folder}/done"):
            return Finding(what="job", found=f"{result.job_id} ran, done after {time.monotonic() - started:.0f} s")
        time.sleep(0.5)
    manager.cancel(result.job_id)
    return Finding(
        what="job",
        found=f"{result.job_id} did not end within {wait_seconds:.0f} s and was cancelled",
        advice="the queue may be full: try again later with a longer --wait",
    )
