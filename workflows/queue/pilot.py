"""The process of one pilot job: ``python -m surfshift.workflows.queue.pilot JOBS HANDLES UID [OPTIONS]``.

It runs jobs of the queue, one after the other and side by side, until none is left for a while or its time is up.
"""

from __future__ import annotations

import argparse


def main(arguments: list[str] | None = None) -> None:
    """Run what the runner put into the handles' folder."""
    parser = argparse.ArgumentParser(prog="surfshift pilot", description=__doc__)
    parser.add_argument("jobs")
    parser.add_argument("handles")
    parser.add_argument("uid")
    parser.add_argument("-mj", dest="max_jobs", type=int)
    parser.add_argument("-mt", dest="max_time", type=float)
    parser.add_argument("-mw", dest="max_wait", type=float, default=60.0)
    parser.add_argument("-pj", dest="parallel_jobs", type=int)
    parser.add_argument("-st", dest="sleep_time", type=float)
    given = parser.parse_args(arguments)
    from jobflow_remote.jobs.run import run_batch_jobs

    run_batch_jobs(
        base_run_dir=given.jobs,
        files_dir=given.handles,
        batch_uid=given.uid,
        max_time=given.max_time,
        max_wait=given.max_wait,
        max_jobs=given.max_jobs,
        parallel_jobs=given.parallel_jobs,
        sleep_time=given.sleep_time,
    )


if __name__ == "__main__":
    main()
