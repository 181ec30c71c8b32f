"""Job scripts in which nothing that a user named is ever a command.

jobflow-remote writes paths, modules and variables into scripts as they are. Here each of them is quoted, job names are
reduced to plain words, and values of scheduler lines that are none are refused.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from jobflow_remote.jobs.batch import RemoteBatchManager
from jobflow_remote.remote.queue import QueueManager

from .errors import UnsafeValueError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qtoolkit.core.data_objects import SubmissionResult

MAX_NAME = 60
NAME_KEYS = frozenset({"job_name"})
UNSAFE_IN_HEADER = re.compile(r"[\x00-\x1f\x7f$`\"'\\;&|<>(){}*?!#\u2028\u2029\x85]")
VARIABLE = re.compile(r"[A-Za-z_]\w*")


def plain_name(name: str) -> str:
    """A job name of letters, digits and ``_ . - +`` that begins with a letter, as every scheduler accepts it."""
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "_", name)[:MAX_NAME].strip("_") or "job"
    return plain if plain[0].isalpha() else f"j{plain}"


def checked_header(options: dict[str, Any]) -> dict[str, Any]:
    """Scheduler options with a plain job name.

    Raises
    ------
    UnsafeValueError
        If another value holds a character that a shell or a scheduler could take for syntax.
    """
    result = dict(options)
    for key, value in options.items():
        if key in NAME_KEYS:
            result[key] = plain_name(str(value))
        elif UNSAFE_IN_HEADER.search(str(value)) or (
            " " in str(value) and key not in {"model", "qout_path", "qerr_path"}
        ):
            raise UnsafeValueError(
                f"the scheduler option {key} = {str(value)!r} holds a character that could be taken for syntax; use "
                "letters, digits and . _ - + : @ / = , only"
            )
    return result


def without_stdin(host: Any) -> Any:
    """A host whose commands never read what is typed into this process; fabric's do by default."""
    from jobflow_remote.remote.host import RemoteHost

    if isinstance(host, RemoteHost):
        import fabric

        host.config = fabric.Config(overrides={"run": {"in_stream": False}})
        host._create_connection()
    return host


class PilotManager(RemoteBatchManager):
    """jobflow-remote's view of pilot jobs; a pilot's notes that are just being written count as none."""

    def get_batch_info(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """When a pilot started and last gave a sign, if that can be read."""
        try:
            info: dict[str, Any] | None = super().get_batch_info(*args, **kwargs)
        except ValueError:
            return None
        return info


class QuotingQueueManager(QueueManager):
    """jobflow-remote's queue manager with quoted scripts.

    Parameters
    ----------
    scheduler_io, host, timeout_exec
        As in jobflow-remote.
    python
        Python of the worker, for pilot jobs.
    """

    def __init__(
        self, scheduler_io: Any, host: Any, timeout_exec: int | None = None, *, python: str = "python"
    ) -> None:
        super().__init__(scheduler_io, host, timeout_exec)
        self._python = python

    def get_change_dir(self, dir_path: str | Path | None) -> str:
        """Line that enters the job's folder, or ends the job."""
        return f"cd {shlex.quote(str(dir_path))} || exit 1" if dir_path else ""

    def get_export(self, exports: dict[str, Any] | None) -> str | None:
        """Lines that set variables.

        Raises
        ------
        UnsafeValueError
            If a name is none.
        """
        for name in exports or {}:
            if not VARIABLE.fullmatch(name):
                raise UnsafeValueError(f"{name!r} is no name of an environment variable")
        return "\n".join(f"export {k}={shlex.quote(str(v))}" for k, v in (exports or {}).items()) or None

    def get_modules(self, modules: list[str] | None) -> str | None:
        """Lines that load modules."""
        return "\n".join(f"module load {shlex.quote(module)}" for module in modules or ()) or None

    def get_submission_script(  # type: ignore[override]
        self, commands: Any, options: Any = None, work_dir: str | Path | None = None, **lines: Any
    ) -> str:
        """Text of a job script."""
        command_list = [commands] if isinstance(commands, str) else list(commands or ())
        quoted = [self._quoted_command(command, work_dir) for command in command_list]
        header = checked_header(options) if isinstance(options, dict) else options
        script: str = super().get_submission_script(commands=quoted, options=header, work_dir=work_dir, **lines)
        first, _, rest = script.partition("\n")
        return f"{first}\n{rest}" if first.startswith("#!") else f"#!/bin/bash\n{script}"

    def _quoted_command(self, command: str, work_dir: str | Path | None) -> str:
        if match := re.fullmatch(r"jf -fe execution run-batch (.+?) ([\w-]+)((?: -\w+ \S+)*)", command, re.DOTALL):
            folders, uid, options = match.groups()
            middle = folders.find(" /")
            paths = [folders[:middle], folders[middle + 1 :]]
            words = [self._python, "-P", "-m", "surfshift.workflows.queue.pilot", *paths, uid, *options.split()]
            return shlex.join(words)
        if work_dir is not None and command.endswith(str(work_dir)):
            return f"{command.removesuffix(str(work_dir))}{shlex.quote(str(work_dir))}"
        return command

    def submit(  # type: ignore[override]
        self,
        commands: Any,
        options: Any = None,
        work_dir: Any = None,
        script_fname: str = "submit.sh",
        timeout: int | None = None,
        **lines: Any,
    ) -> SubmissionResult:
        """Write the script into the job's folder and submit it from there by its plain name."""
        self.write_submission_script(
            commands=commands, options=options, work_dir=work_dir, script_fname=script_fname, **lines
        )
        command = self.scheduler_io.get_submit_cmd(shlex.quote(script_fname))
        stdout, stderr, code = self.execute_cmd(command, work_dir, timeout=timeout)
        return self.scheduler_io.parse_submit_output(exit_code=code, stdout=stdout, stderr=stderr)

    def get_jobs_list(
        self, jobs: Sequence[Any] | None = None, user: str | None = None, timeout: int | None = None
    ) -> Any:
        """Jobs of the scheduler; Slurm answers with an error where it has forgotten every job that is asked for."""
        from qtoolkit.core.exceptions import CommandFailedError

        try:
            return super().get_jobs_list(jobs, user, timeout)
        except CommandFailedError as error:
            if "Invalid job id specified" in str(error):
                return []
            raise

    def get_shell_manager(self) -> QuotingQueueManager:
        """Writes the scripts of the jobs that a pilot runs."""
        from qtoolkit.io.shell import ShellIO

        return QuotingQueueManager(ShellIO(), self.host, self.timeout_exec, python=self._python)
