"""The workers' file: a project file of jobflow-remote with surfshift's limits and steps in its metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import Field, ValidationError

from ...structures.errors import nearest
from ...structures.vocabulary import Frozen
from .errors import UnknownWorkerError, WorkersFileError
from .resources import Limits, Request, capped, native_resources

if TYPE_CHECKING:
    from pathlib import Path

    from ..study import StudyFile

Step = Literal["plan", "relax", "dft", "nmr", "gipaw"]
STEPS: tuple[Step, ...] = ("plan", "relax", "dft", "nmr", "gipaw")
LOCAL = "local"
"""Name of the worker that every run has: processes of the machine on which the runner is."""


class StepSettings(Frozen):
    """Where a step runs; ``hours``, ``cores`` and ``memory_gb`` replace its estimate. The one place to override."""

    worker: str = LOCAL
    hours: float | None = Field(default=None, gt=0)
    cores: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)
    memory_gb: float | None = Field(default=None, gt=0)


class Placement(Frozen):
    """What surfshift adds to a project file of jobflow-remote."""

    template: str = ""
    python: str
    launch: str = ""
    programs: dict[Literal["cp2k", "pw"], str] = Field(default_factory=dict)
    header: dict[str, str] = Field(default_factory=dict)
    limits: Limits
    steps: dict[Step, StepSettings] = Field(default_factory=dict)


class WorkersFile(Frozen):
    """Workers as jobflow-remote defines them, and where each step runs."""

    workers: dict[str, dict[str, Any]]
    exec_config: dict[str, Any] = Field(default_factory=dict)
    placement: Placement

    def step(self, step: Step) -> StepSettings:
        """Settings of a step; the machine of the runner without an entry, and for ``gipaw`` the worker of ``dft``."""
        steps = self.placement.steps
        if step == "gipaw" and step not in steps and "dft" in steps:
            return StepSettings(worker=steps["dft"].worker)
        return steps.get(step, StepSettings())

    def is_local(self, step: Step) -> bool:
        """Whether a step's jobs are plain processes of this machine."""
        worker = self.step(step).worker
        return worker == LOCAL

    def scheduler(self, worker: str) -> Literal["slurm", "pbs", "sge", "shell"]:
        """Kind of scheduler of a worker."""
        if worker == LOCAL:
            return "shell"
        found: Literal["slurm", "pbs", "sge", "shell"] = self.workers[worker]["scheduler_type"]
        return found

    def is_pilot(self, worker: str) -> bool:
        """Whether a worker's scheduler jobs run many jobs of the queue."""
        return worker != LOCAL and self.workers[worker].get("batch") is not None

    def request(self, step: Step, estimate: Request) -> Request:
        """An estimate with what the step overrides, within the limits.

        Raises
        ------
        HpcError
            If it does not fit into the limits.
        """
        given = self.step(step).model_dump(exclude={"worker"}, exclude_none=True)
        return capped(Request.model_validate({**estimate.model_dump(), **given}), self.placement.limits)

    def run_config(self, step: Step, estimate: Request) -> dict[str, Any]:
        """What jobflow-remote is told about a job of a step: its worker and, with a scheduler, its resources."""
        worker = self.step(step).worker
        config: dict[str, Any] = {"worker": worker}
        scheduler = self.scheduler(worker)
        if scheduler != "shell" and not self.is_pilot(worker):
            native = native_resources(scheduler, self.request(step, estimate), self.placement.limits)
            config["resources"] = {**self.placement.header, **native}
        return config


def cluster_of(study: StudyFile) -> WorkersFile | None:
    """The workers of a study's cluster, if it names any; raises as ``load_workers``."""
    return None if study.run.hpc is None else load_workers(study.run.hpc)


def load_workers(path: Path) -> WorkersFile:
    """Read and check a workers' file.

    Raises
    ------
    WorkersFileError
        If the file is missing, is no YAML, or jobflow-remote would refuse it.
    UnknownWorkerError
        If a step names a worker that the file does not define.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WorkersFileError(
            f"there is no workers' file {path}; write one with 'surfshift hpc init --template NAME --out {path}'"
        ) from error
    except yaml.MarkedYAMLError as error:
        # Not the lines themselves: they may hold a password.
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        told = error.problem or error.context
        raise WorkersFileError(f"{path} cannot be read{where}: this is not valid YAML: {told}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise WorkersFileError(f"{path} cannot be read: {type(error).__name__}") from error
    if not isinstance(data, dict) or not isinstance(data.get("workers"), dict):
        raise WorkersFileError(f"{path} has no block 'workers'; write one with 'surfshift hpc init'")
    try:
        placement = Placement.model_validate((data.get("metadata") or {}).get("surfshift"))
        file = WorkersFile(workers=data["workers"], exec_config=data.get("exec_config") or {}, placement=placement)
    except ValidationError as error:
        raise WorkersFileError(_told(path, error, "metadata.surfshift")) from error
    _checked_by_jobflow_remote(path, data)
    for step, settings in placement.steps.items():
        known = (LOCAL, *file.workers)
        if settings.worker not in known:
            raise UnknownWorkerError(
                f"{path}, metadata.surfshift.steps.{step}: there is no worker {settings.worker!r}; "
                f"{nearest(settings.worker, known)}"
            )
    return file


def _checked_by_jobflow_remote(path: Path, data: dict[str, Any]) -> None:
    from jobflow_remote.config.base import Project

    try:
        Project.model_validate(data)
    except ValidationError as error:
        raise WorkersFileError(_told(path, error, "")) from error


def _told(path: Path, error: ValidationError, prefix: str) -> str:
    lines = []
    for detail in error.errors(include_url=False):
        place = ".".join([prefix, *map(str, detail["loc"])]).lstrip(".")
        lines.append(f"  {place}: {detail['msg']}")
    return "\n".join([f"{path} cannot be used:", *dict.fromkeys(lines)])
