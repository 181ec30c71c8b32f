"""What a step asks of a scheduler: cores, memory and hours within the worker's limits, in the scheduler's words."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from ...structures.vocabulary import Frozen
from .errors import HpcError

SchedulerName = Literal["slurm", "pbs", "sge", "shell"]


class Limits(Frozen):
    """What one job of a worker may take. ``core_hours`` is a budget, ``whole_nodes`` whether nodes are not shared."""

    cores_per_node: int = Field(ge=1)
    memory_gb_per_node: float = Field(gt=0)
    gpus_per_node: int = Field(default=0, ge=0)
    max_nodes: int = Field(ge=1)
    max_hours: float = Field(gt=0)
    whole_nodes: bool = False
    core_hours: float | None = None
    parallel_environment: str = ""
    chunk: str = ""
    gpu_request: Literal["", "gres", "gpus", "gpus_per_node", "none"] = ""


class Request(Frozen):
    """Cores, memory and wall time of one job; ``threads`` of the cores belong to each MPI process."""

    cores: int = Field(ge=1)
    memory_gb: float = Field(gt=0)
    hours: float = Field(gt=0)
    threads: int = Field(default=1, ge=1)

    @property
    def core_hours(self) -> float:
        """Upper bound of what the job is charged, without whole nodes."""
        return self.cores * self.hours


def capped(request: Request, limits: Limits) -> Request:
    """A request within the limits; one that does not fit in memory spreads over more cores or nodes.

    Raises
    ------
    HpcError
        If the memory does not fit into all nodes that the limits allow.
    """
    total = limits.memory_gb_per_node * limits.max_nodes
    if request.memory_gb > total:
        raise HpcError(
            f"{request.memory_gb:.0f} GB are needed and {limits.max_nodes} nodes of {limits.memory_gb_per_node:g} GB "
            "are allowed; raise max_nodes in the limits of the workers' file, or use a cheaper protocol"
        )
    cores = min(request.cores, limits.cores_per_node * limits.max_nodes)
    nodes = max(math.ceil(cores / limits.cores_per_node), math.ceil(request.memory_gb / limits.memory_gb_per_node))
    cores = max(cores, nodes)
    threads = min(request.threads, cores)
    hours = min(max(request.hours, 1 / 60), limits.max_hours)
    return Request(cores=cores, memory_gb=request.memory_gb, hours=hours, threads=threads)


def clock(hours: float) -> str:
    """Hours as ``HH:MM:SS``, rounded up to a second."""
    seconds = max(1, math.ceil(3600 * hours - 1e-6))
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"


def node_count(request: Request, limits: Limits) -> int:
    """Nodes that a request takes."""
    by_memory = math.ceil(request.memory_gb / limits.memory_gb_per_node)
    return max(1, math.ceil(request.cores / limits.cores_per_node), by_memory)


def charged_core_hours(request: Request, limits: Limits) -> float:
    """Core hours that a job is charged if it runs its full time: whole nodes where nodes are not shared."""
    if limits.whole_nodes:
        return node_count(request, limits) * limits.cores_per_node * request.hours
    return request.core_hours


def native_resources(scheduler: SchedulerName, request: Request, limits: Limits) -> dict[str, Any]:
    """The request as options of qtoolkit's header for a scheduler; empty without one.

    Parameters
    ----------
    scheduler
        Kind of scheduler.
    request
        Within the limits already.
    limits
        Of the worker.
    """
    nodes = node_count(request, limits)
    ranks = max(1, math.ceil(request.cores / nodes / request.threads))
    memory = math.ceil(1000 * request.memory_gb / nodes)
    if scheduler == "slurm":
        options: dict[str, Any] = {
            "nodes": nodes,
            "ntasks_per_node": ranks,
            "cpus_per_task": request.threads,
            "time": clock(request.hours),
        }
        if not limits.whole_nodes:
            options["mem"] = f"{memory}M"
        gpus = limits.gpus_per_node
        if gpus and limits.gpu_request == "gres":
            options["gres"] = f"gpu:{gpus}"
        elif gpus and limits.gpu_request in {"gpus", "gpus_per_node"}:
            options[limits.gpu_request] = gpus
        return options
    if scheduler == "pbs":
        cores = limits.cores_per_node if limits.whole_nodes else ranks * request.threads
        parts = [f"select={nodes}", f"ncpus={cores}", f"mpiprocs={ranks}", f"ompthreads={request.threads}"]
        if not limits.whole_nodes:
            parts.append(f"mem={memory}mb")
        if limits.gpus_per_node and limits.gpu_request != "none":
            parts.append(f"ngpus={limits.gpus_per_node}")
        if limits.chunk:
            parts.append(limits.chunk)
        return {"select": ":".join(parts), "walltime": clock(request.hours)}
    if scheduler == "sge":
        per_core = math.ceil(1000 * request.memory_gb / request.cores)
        options = {"select": f"h_vmem={per_core}M", "walltime": clock(request.hours)}
        if request.cores > 1:
            options["model"] = f"{limits.parallel_environment or 'smp'} {request.cores}"
        return options
    return {}
