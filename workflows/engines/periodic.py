"""Tensors of a whole candidate by VASP, CASTEP or Quantum ESPRESSO: inputs, programs, outputs, in this order.

Everything that can be missing is looked for before the first program starts, so that a licence or a file that is
not there costs seconds and no allocation. What is read back is refused unless the program says that it finished and
its atoms are those of the candidate.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

from ...analysis.tensor_files import (
    TensorFileError,
    read_castep_output,
    read_gipaw_output,
    read_outcar,
    read_pw_output,
    read_tensors,
    site_tensors,
)
from ...analysis.tensor_files.errors import (
    BadNumberError,
    TruncatedOutputError,
    UnconvergedOutputError,
    UnconvergedResponseError,
    UnreadableFileError,
)
from ...structures.vocabulary import Frozen
from ..files import write_atomically
from ..potentials import require_potentials, upf_folder, write_potcar
from .dft.errors import ProgramFailedError
from .dft.launch import LAUNCH_VARIABLES, PROGRAMS, Program, launch_line, named_failure, run_program
from .inputs import PeriodicEngine, castep_inputs, periodic_protocol, qe_inputs, vasp_inputs
from .inputs.protocols import protocol_data

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from ...analysis.vocabulary import SiteTensors
    from ...structures.vocabulary import Candidate
    from .inputs import InputFiles
    from .inputs.common import Value
    from .inputs.protocols import PeriodicProtocol

LadderKind = Literal["scf", "response"]
SEED = "nmr"
ENGINE_NAMES: dict[PeriodicEngine, str] = {"vasp": "vasp", "castep": "castep", "qe": "qe-gipaw"}
"""What each engine is called in a ``Method``, as its files name it."""

NAMED_BY_THE_FILE = {"functional", "cutoff_ev", "cutoff_ry", "potentials", "max_scf_cycles"}
"""Numbers that a method has from the output itself, or that change no tensor."""


class Run(NamedTuple):
    """One start of a program.

    Attributes
    ----------
    program
        What is started.
    arguments, output
        Words after the launch line, and the file that takes what is printed.
    result, judge
        The file that tells whether the run is good, and its reader, which refuses by name.
    is_response
        Whether the linear response is part of this run.
    """

    program: Program
    arguments: tuple[str, ...]
    output: str
    result: str
    judge: Callable[[Path], object]
    is_response: bool = True

    @property
    def variable(self) -> str:
        """Variable that holds the launch line."""
        return LAUNCH_VARIABLES[self.program]

    @property
    def programs(self) -> tuple[str, ...]:
        """Usual names of the program."""
        return PROGRAMS[self.program]


RUNS: dict[PeriodicEngine, tuple[Run, ...]] = {
    "vasp": (Run("vasp", (), "vasp.out", "OUTCAR", read_outcar),),
    "castep": (Run("castep", (SEED,), "castep.out", f"{SEED}.castep", read_castep_output),),
    "qe": (
        Run("pw", ("-input", "nmr-scf.in"), "nmr-scf.out", "nmr-scf.out", read_pw_output, is_response=False),
        Run("gipaw", ("-input", "nmr-nmr.in"), "nmr-nmr.out", "nmr-nmr.out", read_gipaw_output),
        Run("gipaw", ("-input", "nmr-efg.in"), "nmr-efg.out", "nmr-efg.out", read_gipaw_output),
    ),
}
"""What is started for each engine; worker templates and users set the variables, for example ``srun vasp_std``."""


class PeriodicSettings(Frozen):
    """A periodic NMR engine, a protocol, and numbers of the protocol to replace by name."""

    engine: PeriodicEngine
    protocol: Literal["fast", "balanced", "stringent"] = "balanced"
    numbers: dict[str, float | str] = Field(default_factory=dict)

    @property
    def label(self) -> str:
        """What a method calls the protocol: its name, and the replaced numbers that the output does not tell."""
        own = {key: value for key, value in sorted(self.numbers.items()) if key not in NAMED_BY_THE_FILE}
        words = [f"{key} {value}" if isinstance(value, str) else f"{key} {value:g}" for key, value in own.items()]
        return ", ".join([self.protocol, *words])

    @property
    def family(self) -> str:
        """What every method of these settings has in common, as ``Method.family``."""
        return f"{ENGINE_NAMES[self.engine]}/{self.numbers_of().functional}/{self.label}"

    def numbers_of(self, changes: Mapping[str, object] | None = None) -> PeriodicProtocol:
        """The protocol with its replaced numbers, and further changes.

        Raises
        ------
        UnknownProtocolError
            If a number is unknown or does not fit.
        """
        return periodic_protocol(self.engine, self.protocol, **{**self.numbers, **(changes or {})})


class Rungs(Frozen):
    """How far a run has gone down the ladders of its engine: for the ground state, and for the linear response."""

    scf: int = Field(default=0, ge=0)
    response: int = Field(default=0, ge=0)

    def lower(self, kind: LadderKind) -> Rungs:
        """One rung further down."""
        return self.model_copy(update={kind: getattr(self, kind) + 1})


TOP = Rungs()


def ladder(engine: PeriodicEngine, kind: LadderKind) -> tuple[dict[str, Any], ...]:
    """Settings that are tried one after the other; the first entry is the normal setting."""
    return tuple(protocol_data(engine)["ladder"][kind])


def inputs_of(candidate: Candidate, settings: PeriodicSettings, rungs: Rungs = TOP) -> InputFiles:
    """Input files of a candidate.

    Parameters
    ----------
    candidate, settings
        What is computed, and how.
    rungs
        What is changed because an earlier run did not converge.

    Raises
    ------
    UnknownProtocolError, InputError, MissingPotentialError
        If a number, an element or a pseudopotential does not fit.
    """
    chosen = [ladder(settings.engine, "scf")[rungs.scf], ladder(settings.engine, "response")[rungs.response]]
    changes: dict[str, object] = {key: value for rung in chosen for key, value in rung.get("numbers", {}).items()}
    for rung in chosen:
        for key, factor in rung.get("factors", {}).items():
            changes[key] = factor * getattr(settings.numbers_of(), key)
    extra: dict[str, Value] = {key: value for rung in chosen for key, value in rung.get("extra", {}).items()}
    numbers: Any = settings.numbers_of(changes)
    if settings.engine == "vasp":
        return vasp_inputs(candidate, numbers, extra=extra)
    if settings.engine == "castep":
        return castep_inputs(candidate, numbers, seed=SEED, extra=extra)
    require_potentials("qe", candidate.structure.elements)
    return qe_inputs(candidate, numbers, upf_folder() or "", prefix=SEED, extra=extra)


def compute_periodic(
    candidate: Candidate, settings: PeriodicSettings, folder: Path, *, elements: Collection[str] | None = None
) -> tuple[SiteTensors, ...]:
    """Run an engine for a candidate and return the tensors of its symmetry-distinct sites.

    A program whose output says that it finished is not run again, so a job that lost its allocation goes on with the
    next one. A ground state or a response that does not converge is tried again with the next settings of the engine's
    ladder; ``checks`` of the tensors then hold how far down it went.

    Parameters
    ----------
    candidate
        Relaxed bulk or slab.
    settings
        Engine and protocol.
    folder
        Where the programs work.
    elements
        Only sites of these elements.

    Raises
    ------
    MissingPotentialError, ProgramMissingError
        Before anything runs.
    ProgramFailedError, OutOfMemoryError, LicenceMissingError, OutputDiskFullError
        If a program ends with an error.
    TensorFileError
        If an output is truncated, unconverged after the last setting of the ladder, or of other atoms.
    """
    require_potentials(settings.engine, candidate.structure.elements)
    for run in RUNS[settings.engine]:
        launch_line(run.program)
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        rungs = _rungs(folder)
        inputs = inputs_of(candidate, settings, rungs)
        inputs.write(folder)
        if settings.engine == "vasp":
            write_potcar(folder, inputs.files["POTCAR.spec"].split())
        try:
            for run in RUNS[settings.engine]:
                if not _done(folder, run).exists():
                    _start(run, folder)
            tensors = site_tensors(
                read_tensors(folder), candidate.structure, elements=elements, protocol=settings.label
            )
        except UnconvergedResponseError as error:
            _go_down(folder, settings.engine, "response", rungs, error)
        except UnconvergedOutputError as error:
            _go_down(folder, settings.engine, "scf", rungs, error)
        except TensorFileError:
            for run in RUNS[settings.engine]:  # another try shall compute anew what was refused
                _done(folder, run).unlink(missing_ok=True)
            raise
        else:
            told = {f"{kind}_ladder_step": float(step) for kind, step in rungs.model_dump().items() if step}
            return tuple(site.model_copy(update={"checks": {**site.checks, **told}}) for site in tensors)


def _start(run: Run, folder: Path) -> None:
    """One run, judged by its result; what an earlier one left is removed, since CASTEP appends to it."""
    for stale in (folder / run.result, *folder.glob(f"{_magres_stem(run)}*magres")):
        stale.unlink(missing_ok=True)
    try:
        printed = run_program(run.program, run.arguments, folder, folder / run.output, logs=("*.err",))
    except ProgramFailedError:
        with contextlib.suppress(UnreadableFileError, TruncatedOutputError, BadNumberError):
            run.judge(folder / run.result)  # a run that did not converge may end with an error code
        raise
    if not (folder / run.result).is_file():
        raise named_failure(run.programs[0], f"{printed}\nit wrote no {run.result}", 0)
    run.judge(folder / run.result)
    _done(folder, run).touch()


def _magres_stem(run: Run) -> str:
    """How the .magres file of a run begins: gipaw.x writes ``nmr.nmr.magres`` and ``nmr.efg.magres``."""
    job = run.output.removesuffix(".out").removeprefix(f"{SEED}-")
    return f"{SEED}.{job}." if run.program == "gipaw" else f"{SEED}."


def _done(folder: Path, run: Run) -> Path:
    return folder / f"{run.output}.done"


def _rungs(folder: Path) -> Rungs:
    try:
        return Rungs.model_validate_json((folder / "ladder.json").read_bytes())
    except (OSError, ValueError):
        return Rungs()


def _go_down(folder: Path, engine: PeriodicEngine, kind: LadderKind, rungs: Rungs, error: TensorFileError) -> None:
    """Note the next rung and what has to run again; raises the error with what was tried after the last one."""
    steps = ladder(engine, kind)
    for run in RUNS[engine]:
        if run.is_response or kind == "scf":
            _done(folder, run).unlink(missing_ok=True)
    if getattr(rungs, kind) + 1 >= len(steps):
        (folder / "ladder.json").unlink(missing_ok=True)
        raise type(error)(f"{error}; tried were: {', '.join(step['name'] for step in steps)}") from error
    write_atomically(folder / "ladder.json", rungs.lower(kind).model_dump_json())
