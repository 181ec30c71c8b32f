"""Every known way in which a job fails: its name, how it is known, and what is done about it.

The table of docs/failures.md is made from ``POLICIES``; a test keeps both equal.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Literal

from ...structures.vocabulary import Frozen


class Failure(StrEnum):
    """Names of failures."""

    WALLTIME = "walltime"
    OUT_OF_MEMORY = "out of memory"
    NODE_LOST = "node lost"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    KILLED = "killed"
    SCF_NOT_CONVERGED = "SCF not converged"
    GIPAW_NOT_CONVERGED = "GIPAW response not converged"
    LOCALISATION_FAILED = "localisation failed"
    RELAXATION_NOT_CONVERGED = "relaxation not converged"
    DISK_FULL = "disk full"
    LICENCE_MISSING = "licence missing"
    PROGRAM_MISSING = "program missing"
    POTENTIAL_MISSING = "pseudopotential missing"
    TRUNCATED_OUTPUT = "truncated output"
    NOT_FINITE_OUTPUT = "numbers not finite"
    WRONG_ATOM_ORDER = "wrong atom order"
    PROGRAM_FAILED = "program failed"
    REFUSED = "refused"
    SUBMISSION_REFUSED = "submission refused"


class Policy(Frozen):
    """What is done about a failure.

    Attributes
    ----------
    meaning
        What happened, in one line.
    reaction
        What is done, in one line.
    n_again
        How often the job runs again before it is given up.
    keeps_files
        Whether the next try finds the last geometry, wavefunction and density of this one.
    time_factor, memory_factor
        By how much the next try asks for more, up to the worker's limits.
    advice
        What a user can do when the job is given up.
    """

    meaning: str
    reaction: str
    n_again: int = 0
    keeps_files: bool = False
    time_factor: float = 1.0
    memory_factor: float = 1.0
    advice: str


POLICIES: dict[Failure, Policy] = {
    Failure.WALLTIME: Policy(
        meaning="the scheduler ended the job at its time limit",
        reaction="again from the last geometry and wavefunction, with twice the time up to the limit",
        n_again=3,
        keeps_files=True,
        time_factor=2.0,
        advice="raise max_hours in the limits of the workers' file, or give the step more cores",
    ),
    Failure.OUT_OF_MEMORY: Policy(
        meaning="the job needed more memory than it had asked for",
        reaction="again from the last geometry and wavefunction, with 1.6 times the memory up to the limit",
        n_again=3,
        keeps_files=True,
        memory_factor=1.6,
        advice="set memory_gb of the step in the workers' file, use more nodes, or a cheaper protocol",
    ),
    Failure.NODE_LOST: Policy(
        meaning="the node failed or stopped answering",
        reaction="again from the last geometry and wavefunction",
        n_again=3,
        keeps_files=True,
        advice="tell the centre; go on with 'surfshift resume --retry-failed'",
    ),
    Failure.CANCELLED: Policy(
        meaning="someone cancelled the job in the scheduler",
        reaction="stop and say: a person wanted that",
        advice="run it again with 'surfshift resume --retry-failed'",
    ),
    Failure.PREEMPTED: Policy(
        meaning="a job of higher priority took the node",
        reaction="again from the last geometry and wavefunction",
        n_again=10,
        keeps_files=True,
        advice="use a queue without preemption",
    ),
    Failure.KILLED: Policy(
        meaning="the process ended without a word, for example by a signal",
        reaction="again from the last geometry and wavefunction",
        n_again=2,
        keeps_files=True,
        advice="look at queue.err in the job's folder; often it is memory",
    ),
    Failure.SCF_NOT_CONVERGED: Policy(
        meaning="the self-consistent field did not converge",
        reaction="inside the job: the next settings of the engine's ladder (in its protocols' file); then stop",
        advice="look at the structure and its oxidation states; relax it first, or raise max_scf_cycles",
    ),
    Failure.GIPAW_NOT_CONVERGED: Policy(
        meaning="the linear response of gipaw.x, VASP or CASTEP did not converge",
        reaction="inside the job: the next settings of the engine's ladder (ladder of its protocols); then stop",
        advice="raise the cutoff in nmr.numbers, or loosen response_tolerance_ry2 (QE) and look what it changes",
    ),
    Failure.LOCALISATION_FAILED: Policy(
        meaning="the orbitals of a response calculation could not be localised (CP2K)",
        reaction="stop and say: CP2K's response is not used here",
        advice="compute tensors with the cluster engine, or with GIPAW",
    ),
    Failure.RELAXATION_NOT_CONVERGED: Policy(
        meaning="the forces are still too large after the allowed number of steps",
        reaction="stop and say: more steps are the user's choice",
        advice="raise max_steps or fmax_ev_per_ang of the relax block",
    ),
    Failure.DISK_FULL: Policy(
        meaning="no space is left where the job writes",
        reaction="stop and say; finished work is kept",
        advice="free some space on the worker's work_dir, then 'surfshift resume --retry-failed'",
    ),
    Failure.LICENCE_MISSING: Policy(
        meaning="the program found no free licence",
        reaction="again, since licences come free",
        n_again=3,
        keeps_files=True,
        advice="ask for licences in the scheduler lines of the workers' file, or check the licence server",
    ),
    Failure.PROGRAM_MISSING: Policy(
        meaning="the program, a module or surfshift itself is not on the worker",
        reaction="stop and say",
        advice="try 'surfshift hpc check FILE'; correct modules, pre_run or python in the workers' file",
    ),
    Failure.POTENTIAL_MISSING: Policy(
        meaning="a POTCAR or UPF file of an element is not on the worker",
        reaction="stop and say",
        advice="name its folder with potcar_folder, upf_folder or gipaw_upf_folder of the template, then 'surfshift "
        "hpc check FILE --elements'",
    ),
    Failure.TRUNCATED_OUTPUT: Policy(
        meaning="a program's output ends before its end",
        reaction="again from the last geometry and wavefunction, once",
        n_again=1,
        keeps_files=True,
        advice="look at the output in the job's folder: the program was cut off",
    ),
    Failure.NOT_FINITE_OUTPUT: Policy(
        meaning="stars or NaN stand where numbers belong",
        reaction="stop and say: the calculation has no meaning",
        advice="look at the structure: atoms may be too close",
    ),
    Failure.WRONG_ATOM_ORDER: Policy(
        meaning="the atoms of an output are not those of the input, in their order",
        reaction="stop and say: a wrong assignment would go unnoticed",
        advice="the folder holds files of another run; empty it",
    ),
    Failure.PROGRAM_FAILED: Policy(
        meaning="CP2K, VASP, CASTEP, pw.x or gipaw.x ended with an error that has no name here",
        reaction="stop and say, with the end of its output",
        advice="look at the program's output in the job's folder; an error in MPI_Init asks for another launch line",
    ),
    Failure.REFUSED: Policy(
        meaning="the job refused its input by name, for example an unsupported element",
        reaction="stop and say",
        advice="as the message says",
    ),
    Failure.SUBMISSION_REFUSED: Policy(
        meaning="the scheduler did not take the job",
        reaction="stop and say, after several tries with growing pauses",
        advice="the message holds the scheduler's own words: account, partition and limits in the workers' file",
    ),
}


class Evidence(Frozen):
    """What is known about a failed job.

    Attributes
    ----------
    error
        Traceback of the job itself, empty if it wrote none.
    printed
        Ends of ``queue.out`` and ``queue.err``.
    scheduler_state
        Last state that the scheduler tells, for example ``TIMEOUT``; empty if it has forgotten the job.
    runner_error
        What jobflow-remote's runner noted, for example a refused submission.
    """

    error: str = ""
    printed: str = ""
    scheduler_state: str = ""
    runner_error: str = ""


STATES: dict[str, Failure] = {
    "TIMEOUT": Failure.WALLTIME,
    "DEADLINE": Failure.WALLTIME,
    "OUT_OF_MEMORY": Failure.OUT_OF_MEMORY,
    "NODE_FAIL": Failure.NODE_LOST,
    "BOOT_FAIL": Failure.NODE_LOST,
    "PREEMPTED": Failure.PREEMPTED,
    "CANCELLED": Failure.CANCELLED,
}

Source = Literal["error", "printed", "runner_error"]
SIGNS: tuple[tuple[Failure, Source, str], ...] = (
    # what a job says itself goes first
    (Failure.DISK_FULL, "error", r"No space left on device|disk is full|Disk quota exceeded|DiskFullError"),
    (Failure.OUT_OF_MEMORY, "error", r"OutOfMemoryError|MemoryError|Cannot allocate memory"),
    (Failure.LICENCE_MISSING, "error", r"LicenceMissingError"),
    (Failure.PROGRAM_MISSING, "error", r"ProgramMissingError|could not be deserialized|ModuleNotFoundError"),
    (Failure.POTENTIAL_MISSING, "error", r"MissingPotentialError"),
    (Failure.SCF_NOT_CONVERGED, "error", r"ScfNotConvergedError|UnconvergedOutputError"),
    (
        Failure.GIPAW_NOT_CONVERGED,
        "error",
        r"UnconvergedResponseError|(response|gipaw).*(not converge|NOT converged|exceeded)",
    ),
    (Failure.LOCALISATION_FAILED, "error", r"[Ll]ocali[sz]ation.*(fail|not converge)"),
    (Failure.RELAXATION_NOT_CONVERGED, "error", r"\bNotConvergedError"),
    (Failure.TRUNCATED_OUTPUT, "error", r"TruncatedOutputError"),
    (Failure.PROGRAM_FAILED, "error", r"ProgramFailedError"),
    (Failure.NOT_FINITE_OUTPUT, "error", r"NotFiniteOutputError|BadNumberError|ExplodedError"),
    (
        Failure.WRONG_ATOM_ORDER,
        "error",
        r"WrongAtomOrderError|AtomOrderError|DifferentStructureError|WrongStructureError",
    ),
    # what the scheduler prints into the job's output
    (
        Failure.WALLTIME,
        "printed",
        r"DUE TO TIME LIMIT|walltime \d+ exceeded|PBS: job killed: walltime|exceeded hard wallclock",
    ),
    (
        Failure.OUT_OF_MEMORY,
        "printed",
        r"oom[-_ ]kill|Out Of Memory|[Ee]xceeded (job |step )?memory limit|PBS: job killed: (v?mem|cgroup mem)|h_vmem",
    ),
    (Failure.PREEMPTED, "printed", r"DUE TO PREEMPTION"),
    (Failure.NODE_LOST, "printed", r"DUE TO NODE FAILURE|[Nn]ode_?[Ff]ail|NODE FAILURE|Node failure"),
    (Failure.DISK_FULL, "printed", r"No space left on device|Disk quota exceeded"),
    (
        Failure.PROGRAM_MISSING,
        "printed",
        r"command not found|No module named|Unable to locate a modulefile|module\(s\) are unknown|No such file or",
    ),
    (Failure.CANCELLED, "printed", r"CANCELLED AT|PBS: job killed|job deleted"),
    (
        Failure.SUBMISSION_REFUSED,
        "runner_error",
        r"submission failed|UnsafeValueError|could not create remote directory",
    ),
)


def classify(evidence: Evidence) -> Failure:
    """The name of a failure: a job's own words go before the scheduler's state, that before what was printed."""
    for failure, source, pattern in SIGNS:
        if source == "error" and re.search(pattern, evidence.error, re.DOTALL):
            return failure
    if evidence.error:
        return Failure.REFUSED
    named = STATES.get(evidence.scheduler_state)
    if named is not None and named is not Failure.CANCELLED:
        return named
    for failure, source, pattern in SIGNS:
        if source != "error" and re.search(pattern, getattr(evidence, source)):
            return failure
    return named or Failure.KILLED


def policy_table() -> str:
    """All failures as the Markdown table of docs/failures.md."""
    lines = ["| failure | what happened | what is done | tries again | when it is given up |", "|---|---|---|---|---|"]
    lines += [
        f"| {failure} | {policy.meaning} | {policy.reaction} | {policy.n_again} | {policy.advice} |"
        for failure, policy in POLICIES.items()
    ]
    return "\n".join(lines)
