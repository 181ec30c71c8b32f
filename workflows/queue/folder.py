"""The folder of one run: where its queue, jobs, results and report lie, and how they are opened."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import warnings
from dataclasses import dataclass
from importlib import resources
from typing import IO, TYPE_CHECKING, Any

from ..files import write_atomically
from .errors import AlreadyRunningError, RunFolderError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jobflow import Flow
    from jobflow_remote import JobController

    from ..hpc.workers import WorkersFile

PROJECT_NAME = "surfshift"


LOCK_TRIES = 3
"""``has_runner`` holds the lock for an instant; a runner that starts just then must not take it for another one."""


def _flocked(file: IO[str], operation: int) -> bool:
    for attempt in range(LOCK_TRIES):
        if attempt:
            time.sleep(0.1)
        try:
            fcntl.flock(file, operation | fcntl.LOCK_NB)
        except OSError:
            continue
        return True
    return False


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run and the ways into its queue."""

    path: Path

    @property
    def jobs(self) -> Path:
        """Folder of the jobs' own folders."""
        return self.path / "jobs"

    @property
    def queue(self) -> Path:
        """Folder of the queue's SQLite files."""
        return self.path / "queue"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.path / "report"

    @property
    def state_file(self) -> Path:
        """What was submitted; written last, so that its presence means that the queue is complete."""
        return self.path / "run.json"

    @property
    def is_submitted(self) -> bool:
        """Whether the queue holds all jobs of the study."""
        return self.state_file.is_file()

    def state(self) -> dict[str, Any]:
        """What was submitted.

        Raises
        ------
        RunFolderError
            If nothing was, or the file is damaged.
        """
        try:
            state: dict[str, Any] = json.loads(self.state_file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunFolderError(
                f"there is no run in {self.path}; start one with 'surfshift run STUDY.yaml'"
            ) from error
        except (OSError, ValueError) as error:
            raise RunFolderError(
                f"{self.state_file} cannot be read ({error}); start over with 'surfshift run --fresh STUDY.yaml'"
            ) from error
        return state

    @property
    def has_runner(self) -> bool:
        """Whether a process holds the right to run jobs here."""
        try:
            with (self.path / ".runner").open() as file:
                return not _flocked(file, fcntl.LOCK_SH)
        except FileNotFoundError:
            return False

    @contextlib.contextmanager
    def only_runner(self) -> Iterator[None]:
        """Hold the right to run jobs here; freed by the system when the process ends.

        Raises
        ------
        AlreadyRunningError
            If another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".runner").open("a+") as file:
            if not _flocked(file, fcntl.LOCK_EX):
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise AlreadyRunningError(
                    f"process {holder} is already running the jobs of {self.path}; wait for it, watch it with "
                    "'surfshift status', or stop it with Ctrl-C"
                )
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def write_project(self, *, parallel_jobs: int, workers: WorkersFile | None = None) -> None:
        """Write the jobflow-remote project of this folder, with the workers of a cluster if there are any."""
        import jinja2

        template = resources.files("surfshift.hpc_templates").joinpath("local_project.yaml.jinja")
        text = jinja2.Template(template.read_text(encoding="utf-8"), undefined=jinja2.StrictUndefined).render(
            name=PROJECT_NAME,
            folder=str(self.path),
            parallel_jobs=parallel_jobs,
            workers=workers.workers if workers else {},
            exec_config=workers.exec_config if workers else {},
        )
        # Workers may be given with a password or the passphrase of a key.
        write_atomically(self.path / "project" / f"{PROJECT_NAME}.yaml", text, mode=0o600)

    def use_project(self) -> None:
        """Make this folder's project the one that jobflow-remote uses in this process."""
        from jobflow_remote import SETTINGS

        SETTINGS.projects_folder = str(self.path / "project")
        SETTINGS.project = PROJECT_NAME

    def controller(self) -> JobController:
        """jobflow-remote's way into the queue."""
        from jobflow_remote import JobController

        self.use_project()
        return JobController.from_project_name(PROJECT_NAME)

    def submit(self, flows: Flow | Sequence[Flow], state: dict[str, Any]) -> None:
        """Put flows into an empty queue and note that it is complete.

        Many flows of a few jobs are much faster than one of many: each job that ends has its whole flow read.
        """
        controller = self.controller()
        controller.reset(reset_output=True, max_limit=0)
        controller.jobs.create_index("job.hosts")  # by which the jobs of a flow are found whenever one of them ends
        self._add(controller, flows)
        write_atomically(self.state_file, json.dumps(state, indent=2))

    def add(self, flows: Flow | Sequence[Flow]) -> None:
        """Put further flows into the queue."""
        self._add(self.controller(), flows)

    @staticmethod
    def _add(controller: JobController, flows: Flow | Sequence[Flow]) -> None:
        from jobflow import Flow

        with warnings.catch_warnings():
            # Candidates do not depend on each other, and their order does not matter.
            warnings.filterwarnings("ignore", message="Some jobs are not connected", category=UserWarning)
            for flow in [flows] if isinstance(flows, Flow) else flows:
                controller.add_flow(flow, worker="local")
