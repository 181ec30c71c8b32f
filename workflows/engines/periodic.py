"""Tensors of a whole candidate by VASP, CASTEP or Quantum ESPRESSO: inputs, programs, outputs, in this order.

Everything that can be missing is looked for before the first program starts, so that a licence or a file that is
not there costs seconds and no allocation. What is read back is refused unless the program says that it finished and
its atoms are those of the candidate.
"""

from __future__ import annotations

import gzip
import os
import shlex
import shutil
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from ...analysis.tensor_files import read_tensors, site_tensors
from ...structures.vocabulary import Frozen
from ..files import write_atomically
from ..potentials import find_potcar, potcar_folder, require_potentials, upf_folder
from .dft.errors import ProgramMissingError
from .dft.launch import run_command
from .inputs import castep_inputs, castep_protocol, qe_inputs, qe_protocol, vasp_inputs, vasp_protocol

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from ...analysis.vocabulary import SiteTensors
    from ...structures.vocabulary import Candidate
    from .inputs import InputFiles

PeriodicEngine = Literal["vasp", "castep", "qe"]
SEED = "nmr"


class Run(NamedTuple):
    """One start of a program: the variable with its launch line, its usual names, words after it, where it prints."""

    variable: str
    programs: tuple[str, ...]
    arguments: tuple[str, ...]
    output: str


RUNS: dict[PeriodicEngine, tuple[Run, ...]] = {
    "vasp": (Run("SURFSHIFT_VASP", ("vasp_std",), (), "vasp.out"),),
    "castep": (Run("SURFSHIFT_CASTEP", ("castep.mpi", "castep", "castep.serial"), (SEED,), "castep.out"),),
    "qe": (
        Run("SURFSHIFT_PW", ("pw.x",), ("-input", f"{SEED}-scf.in"), f"{SEED}-scf.out"),
        Run("SURFSHIFT_GIPAW", ("gipaw.x",), ("-input", f"{SEED}-nmr.in"), f"{SEED}-nmr.out"),
        Run("SURFSHIFT_GIPAW", ("gipaw.x",), ("-input", f"{SEED}-efg.in"), f"{SEED}-efg.out"),
    ),
}
"""What is started for each engine; worker templates and users set the variables, for example ``srun vasp_std``."""


class PeriodicSettings(Frozen):
    """A periodic NMR engine, a protocol, and numbers of the protocol to replace by name."""

    engine: PeriodicEngine
    protocol: Literal["fast", "balanced", "stringent"] = "balanced"
    numbers: dict[str, float | str] = Field(default_factory=dict)


def inputs_of(candidate: Candidate, settings: PeriodicSettings) -> InputFiles:
    """Input files of a candidate.

    Raises
    ------
    UnknownProtocolError, InputError, MissingPotentialError
        If a number, an element or a pseudopotential does not fit.
    """
    name, numbers = settings.protocol, settings.numbers
    if settings.engine == "vasp":
        return vasp_inputs(candidate, vasp_protocol(name, **numbers))
    if settings.engine == "castep":
        return castep_inputs(candidate, castep_protocol(name, **numbers), seed=SEED)
    require_potentials("qe", candidate.structure.elements)
    return qe_inputs(candidate, qe_protocol(name, **numbers), upf_folder() or "", prefix=SEED)


def compute_periodic(
    candidate: Candidate, settings: PeriodicSettings, folder: Path, *, elements: Collection[str] | None = None
) -> tuple[SiteTensors, ...]:
    """Run an engine for a candidate and return the tensors of its symmetry-distinct sites.

    A program whose output says that it finished is not run again, so a job that lost its allocation goes on with the
    next one.

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
        If an output is truncated, unconverged or of other atoms.
    """
    require_potentials(settings.engine, candidate.structure.elements)
    lines = [launch_words(run) for run in RUNS[settings.engine]]
    folder.mkdir(parents=True, exist_ok=True)
    inputs = inputs_of(candidate, settings)
    inputs.write(folder)
    if settings.engine == "vasp":
        write_potcar(folder, inputs.files["POTCAR.spec"].split())
    for run, words in zip(RUNS[settings.engine], lines, strict=True):
        if not (folder / f"{run.output}.done").exists():
            run_command([*words, *run.arguments], folder, folder / run.output, name=words[0])
            (folder / f"{run.output}.done").touch()
    return site_tensors(read_tensors(folder), candidate.structure, elements=elements, protocol=settings.protocol)


def write_potcar(folder: Path, symbols: list[str]) -> None:
    """Join the user's POTCARs in the order of the species, as VASP reads them.

    Raises
    ------
    MissingPotentialError
        If the folder of POTCARs lacks one.
    """
    source = potcar_folder()
    texts = []
    for symbol in symbols:
        path = find_potcar(source, symbol) if source else None
        if path is None:
            require_potentials("vasp", [symbol.split("_")[0]])
            continue
        texts.append((gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode())
    write_atomically(folder / "POTCAR", "".join(texts))


def launch_words(run: Run) -> list[str]:
    """Words of the command that starts a program.

    Raises
    ------
    ProgramMissingError
        If it is not on the PATH.
    """
    line = os.environ.get(run.variable, "").strip()
    words = shlex.split(line) if line else [next((name for name in run.programs if shutil.which(name)), "")]
    if not words[0] or shutil.which(words[0]) is None:
        raise ProgramMissingError(
            f"{words[0] or run.programs[0]} is not on the PATH of this worker; load its module in the worker's "
            f"pre_run, or name how it is started in {run.variable}"
        )
    return words
