"""Core hours from scheduler options and times."""

from __future__ import annotations

import pytest
from surfshift.workflows.hpc.resources import Limits
from surfshift.workflows.hpc.spending import cores_of, spending
from surfshift.workflows.queue.records import JobRecord, JobStatus, Snapshot

WHOLE = Limits(cores_per_node=128, memory_gb_per_node=200, max_nodes=4, max_hours=24, whole_nodes=True, core_hours=100)


@pytest.mark.parametrize(
    ("resources", "cores", "on_whole_nodes"),
    [
        (None, 1, 1),
        ({"nodes": 2, "ntasks_per_node": 8, "cpus_per_task": 2}, 32, 256),
        ({"select": "select=2:ncpus=16:mpiprocs=16"}, 32, 32),
        ({"model": "smp 12", "select": "h_vmem=1M"}, 12, 12),
        ({"account": "x"}, 1, 1),
    ],
)
def test_cores(resources: dict[str, object] | None, cores: int, on_whole_nodes: int) -> None:
    assert cores_of(resources) == cores
    assert cores_of(resources, WHOLE) == on_whole_nodes


def test_what_is_left_follows_from_like_jobs() -> None:
    def job(name: str, seconds: float | None, cores: int = 1) -> JobRecord:
        return JobRecord(
            uuid=name,
            name=name,
            status=JobStatus.DONE if seconds is not None else JobStatus.WAITING,
            started=None if seconds is None else 0.0,
            ended=seconds,
            resources={"nodes": 1, "ntasks_per_node": cores},
        )

    jobs = (
        job("relax a", 1800),
        job("nmr 27Al a", 3600, 4),
        job("nmr 27Al b", 7200, 4),
        job("nmr 27Al c", None),
        job("nmr 31P c", None),
    )
    found = spending(Snapshot(jobs=jobs, is_active=True))
    assert (found.spent, found.left, found.n_unknown) == (12.5, 6.0, 1)
    assert "12.50 spent, about 6.00 left and 1 jobs of unknown cost" in str(found)
    assert spending(Snapshot(jobs=jobs[:1], is_active=False), WHOLE).budget == 100
