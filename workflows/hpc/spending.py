"""Core hours that a run has spent, and a guess of what is left."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ...structures.vocabulary import Frozen

if TYPE_CHECKING:
    from ..queue.records import JobRecord, Snapshot
    from .resources import Limits


class Spending(Frozen):
    """Core hours: of ended jobs, of those that are left as far as like ones have ended, and of a budget if any.

    ``n_unknown`` is the number of jobs of a kind that none has ended of.
    """

    spent: float
    left: float
    n_unknown: int
    budget: float | None = None

    def __str__(self) -> str:
        left = f"about {self.left:.2f} left" + (f" and {self.n_unknown} jobs of unknown cost" if self.n_unknown else "")
        text = f"core hours: {self.spent:.2f} spent, {left}"
        return (
            text if self.budget is None else f"{text}; {self.budget - self.spent:.1f} of {self.budget:g} in the budget"
        )


def cores_of(resources: Any, limits: Limits | None = None) -> int:
    """Cores that scheduler options take; whole nodes where the worker does not share them; 1 without options.

    Parameters
    ----------
    resources
        Options as qtoolkit names them, or None.
    limits
        Of the worker.
    """
    if not isinstance(resources, dict):
        return 1
    whole = limits.cores_per_node if limits is not None and limits.whole_nodes else None
    if "nodes" in resources:
        nodes = int(resources["nodes"])
        return nodes * (whole or int(resources.get("ntasks_per_node", 1)) * int(resources.get("cpus_per_task", 1)))
    if match := re.search(r"select=(\d+):ncpus=(\d+)", str(resources.get("select", ""))):
        return int(match.group(1)) * int(match.group(2))
    if match := re.search(r" (\d+)$", str(resources.get("model", ""))):
        return int(match.group(1))
    return 1


def spending(snapshot: Snapshot, limits: Limits | None = None) -> Spending:
    """Core hours of a run; what is left is guessed from the mean of ended jobs of the same kind."""
    kinds: dict[str, list[float]] = {}
    for job in snapshot.jobs:
        if job.seconds is not None:
            kinds.setdefault(kind_of(job), []).append(job.seconds * cores_of(job.resources, limits) / 3600)
    left, n_unknown = 0.0, 0
    for job in snapshot.jobs:
        if job.ended is None and job.status.value in {"waiting", "running"} and job not in snapshot.blocked:
            known = kinds.get(kind_of(job))
            left += sum(known) / len(known) if known else 0.0
            n_unknown += known is None
    return Spending(
        spent=sum(sum(hours) for hours in kinds.values()),
        left=left,
        n_unknown=n_unknown,
        budget=limits.core_hours if limits else None,
    )


def kind_of(job: JobRecord) -> str:
    """What jobs of like cost have in common: the words of a name before the candidate's."""
    words = job.name.split()
    has_engine = words[1:2] in (["cp2k"], ["pw"], ["vasp"], ["castep"])
    return " ".join(words[:2]) if words[:1] in (["nmr"], ["plan"]) or has_engine else words[0]
