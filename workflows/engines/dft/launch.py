"""Starting the programs: the launch line comes from the worker, never from a shell."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Literal

from .errors import (
    DftError,
    LicenceMissingError,
    OutOfMemoryError,
    OutputDiskFullError,
    ProgramFailedError,
    ProgramMissingError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Program = Literal["cp2k", "pw", "vasp", "castep", "gipaw", "nwchem"]
LAUNCH_VARIABLES: dict[Program, str] = {
    "cp2k": "SURFSHIFT_CP2K",
    "pw": "SURFSHIFT_PW",
    "vasp": "SURFSHIFT_VASP",
    "castep": "SURFSHIFT_CASTEP",
    "gipaw": "SURFSHIFT_GIPAW",
    "nwchem": "SURFSHIFT_NWCHEM",
}
"""Hold the launch line of a worker, for example ``srun cp2k.psmp``; the worker templates set them."""

PROGRAMS: dict[Program, tuple[str, ...]] = {
    "cp2k": ("cp2k.psmp", "cp2k.popt", "cp2k"),
    "pw": ("pw.x",),
    "vasp": ("vasp_std",),
    "castep": ("castep.mpi", "castep", "castep.serial"),
    "gipaw": ("gipaw.x",),
    "nwchem": ("nwchem",),
}
PACKAGES: dict[Program, str] = {
    "cp2k": "Debian package cp2k",
    "pw": "Debian package quantum-espresso",
    "vasp": "licensed by its developers",
    "castep": "licensed by its developers",
    "gipaw": "QE-GIPAW, of the version of pw.x",
    "nwchem": "Debian package nwchem",
}
SIGNS: tuple[tuple[type[DftError], tuple[str, ...]], ...] = (
    (OutputDiskFullError, ("No space left on device", "Disk quota exceeded")),
    (
        OutOfMemoryError,
        ("Cannot allocate memory", "cannot allocate", "insufficient virtual memory", "out of memory", "oom-kill"),
    ),
    (LicenceMissingError, ("licence", "license server", "No license")),
)


def launch_line(engine: Program) -> list[str]:
    """Words of the command that starts a program.

    Raises
    ------
    ProgramMissingError
        If the launch line's program, or without a launch line the program itself, is not on the PATH.
    """
    variable = LAUNCH_VARIABLES[engine]
    if line := os.environ.get(variable, "").strip():
        words = shlex.split(line)
        if shutil.which(words[0]) is None:
            raise ProgramMissingError(
                f"{words[0]} is not on the PATH of this worker ({variable} is {line!r}); load its module in the "
                "worker's pre_run or correct the launch line"
            )
        return words
    found = next((path for name in PROGRAMS[engine] if (path := shutil.which(name))), None)
    if found is None:
        raise ProgramMissingError(
            f"{PROGRAMS[engine][0]} is not on the PATH of this worker; load its module in the worker's pre_run, set "
            f"{variable}, or install it ({PACKAGES[engine]})"
        )
    return [found]


def run_program(
    engine: Program, arguments: Sequence[str], folder: Path, output: Path, *, logs: Sequence[str] = ()
) -> str:
    """Run a program in a folder with its output in a file; returns the output's text.

    Parameters
    ----------
    engine
        Which program.
    arguments
        Words after the launch line.
    folder, output
        Working folder, and the file that takes standard output and standard error.
    logs
        Patterns of files that are read too when it ends with an error; those of earlier runs are removed.

    Raises
    ------
    ProgramMissingError
        If there is no such program.
    ProgramFailedError, OutOfMemoryError, LicenceMissingError, OutputDiskFullError
        If it ended with an error; the last lines of the output are in the message.
    """
    return run_command([*launch_line(engine), *arguments], folder, output, name=PROGRAMS[engine][0], logs=logs)


def run_command(command: list[str], folder: Path, output: Path, *, name: str, logs: Sequence[str] = ()) -> str:
    """Run a program given by its words; see ``run_program``.

    ``name`` is what messages call it; files of the patterns ``logs`` are read too when it ends with an error.
    """
    for log in (log for pattern in logs for log in folder.glob(pattern)):
        log.unlink()
    environment = dict(os.environ)
    environment.setdefault("OMP_NUM_THREADS", "1")
    if os.geteuid() == 0:
        # Open MPI refuses to start for root, who is the only user of a container.
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    with output.open("wb") as file:
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False
            )
        except OSError as error:
            raise ProgramMissingError(f"{command[0]} cannot be started: {error}") from error
    text = output.read_text(encoding="utf-8", errors="replace")
    if done.returncode != 0:
        written = (log for pattern in logs for log in sorted(folder.glob(pattern)))
        text += "".join(f"\n{log.read_text(encoding='utf-8', errors='replace')}" for log in written)
        raise named_failure(name, text, done.returncode)
    return text


def named_failure(name: str, text: str, code: int) -> DftError:
    """The error that an output of a failed program tells of."""
    tail = "\n".join([line for line in text.splitlines() if line.strip()][-12:])
    for kind, signs in SIGNS:
        if any(sign.lower() in text[-20_000:].lower() for sign in signs):
            return kind(f"{name} ended with code {code}:\n{tail}")
    if code in {-9, 137}:
        return OutOfMemoryError(f"{name} was killed, most often because the memory was full:\n{tail}")
    return ProgramFailedError(f"{name} ended with code {code}:\n{tail}")
