"""Writing the .cell and .param files of a CASTEP NMR run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .common import InputError, InputFiles, Value, checked_extra, has_dipole, kpoint_grid, title_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ....structures.vocabulary import Candidate
    from .protocols import CastepProtocol

XC = {"pbe": "PBE", "pbesol": "PBESOL"}


def castep_inputs(
    candidate: Candidate,
    protocol: CastepProtocol,
    *,
    seed: str = "nmr",
    extra: Mapping[str, Value] | None = None,
) -> InputFiles:
    """Inputs of one CASTEP run for shieldings and field gradients together (``task magres``, ``magres_task nmr``).

    Pseudopotentials are made by CASTEP on the fly, so no file is needed. The mesh is written as divisions, with one
    along a slab's normal.

    Parameters
    ----------
    candidate
        Bulk or slab; relax it first.
    protocol
        From ``castep_protocol``.
    seed
        Name of the files without ending.
    extra
        Further .param keywords, checked against the documented ones.

    Raises
    ------
    InputError
        If the seed is no plain name, or an extra keyword is unknown or breaks the run.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w-]{0,60}", seed):
        raise InputError(f"seed {seed!r} is no plain file name; use letters, digits, - and _")
    words: dict[str, Value] = {
        "TASK": "magres",
        "MAGRES_TASK": "nmr",
        "XC_FUNCTIONAL": XC[protocol.functional],
        "CUT_OFF_ENERGY": f"{protocol.cutoff_ev:g} eV",
        "FIX_OCCUPANCY": True,
        "ELEC_ENERGY_TOL": f"{protocol.scf_tolerance_ev:g} eV",
        "MAX_SCF_CYCLES": protocol.max_scf_cycles,
        "OPT_STRATEGY": "speed",
        "NUM_DUMP_CYCLES": 0,
    }
    words |= dipole_words(candidate)
    words |= checked_extra("castep", ("param",), extra or {})
    warnings = ["relax the structure first: 31P moves by a ppm for some thousandths of an angstrom"]
    return InputFiles(
        files={
            f"{seed}.cell": cell_text(candidate, protocol, ("SYMMETRY_GENERATE", "FIX_ALL_CELL : true")),
            f"{seed}.param": param_text(candidate, words),
        },
        order=tuple(range(len(candidate.structure))),
        warnings=tuple(warnings),
    )


def dipole_words(candidate: Candidate) -> dict[str, Value]:
    """The dipole correction, for a slab whose formal dipole is not zero."""
    return {"DIPOLE_CORRECTION": "selfconsistent", "DIPOLE_DIR": "c"} if has_dipole(candidate) else {}


def param_text(candidate: Candidate, words: Mapping[str, Value]) -> str:
    """A .param file."""
    lines = [f"! {title_of(candidate)}", *(f"{key} : {_word(value)}" for key, value in words.items())]
    return "\n".join([*lines, ""])


def _word(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def cell_text(candidate: Candidate, protocol: CastepProtocol, further: Sequence[str] = ()) -> str:
    """A .cell file: cell, atoms, mesh, potentials, and ``further`` lines."""
    structure = candidate.structure
    grid = kpoint_grid(structure, protocol.kpoint_spacing_per_ang)
    lines = [f"! {title_of(candidate)}", "%BLOCK LATTICE_CART", "ang"]
    lines += [" ".join(f"{x:18.12f}" for x in vector) for vector in structure.lattice_ang]
    lines += ["%ENDBLOCK LATTICE_CART", "", "%BLOCK POSITIONS_FRAC"]
    for element, frac in zip(structure.elements, structure.frac_coords, strict=True):
        lines.append(f"{element:<2} " + " ".join(f"{x:18.14f}" for x in frac))
    lines += ["%ENDBLOCK POSITIONS_FRAC", ""]
    lines.append(f"KPOINT_MP_GRID : {grid[0]} {grid[1]} {grid[2]}")
    lines += further
    if protocol.potentials != "default":
        lines += ["", "%BLOCK SPECIES_POT", protocol.potentials, "%ENDBLOCK SPECIES_POT"]
    return "\n".join(lines) + "\n"
