"""The process of one job: ``python -m surfshift.workflows.queue.execute FOLDER``."""

from __future__ import annotations

import sys


def main(folder: str) -> None:
    """Run the job whose input lies in a folder; the result, or the error, is written there."""
    from jobflow_remote.jobs.run import run_remote_job

    run_remote_job(folder)


if __name__ == "__main__":
    main(sys.argv[1])
