"""The process of one job: ``python -m surfshift.workflows.queue.execute FOLDER``."""

from __future__ import annotations

import contextlib
import fcntl
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def main(folder: str) -> None:
    """Run the job whose input lies in a folder; the result, or the error, is written there.

    A runner that is killed just after it gave a job to a scheduler gives it again. The second process waits for the
    first one and then finds its result, so that no job runs twice.
    """
    from jobflow_remote.jobs.run import run_remote_job

    from .react import is_finished

    with _only_one(Path(folder)):
        if not is_finished(Path(folder)):
            run_remote_job(folder)


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    with (folder / ".running").open("a") as file:
        with contextlib.suppress(OSError):  # a file system without locks: then as without this guard
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    main(sys.argv[1])
