"""Writing the inputs of a Quantum ESPRESSO NMR calculation: pw.x, then gipaw.x for nmr and for efg."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from .common import (
    InputError,
    InputFiles,
    Value,
    checked_extra,
    has_dipole,
    kpoint_grid,
    species_of,
    vacuum_centre,
)
from .upf import find_upf
from .vasp import quadrupole_moments_mb

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ....structures.vocabulary import AtomicStructure, Candidate
    from .protocols import PwProtocol, QeProtocol

LONG_AXIS_ANG = 20.0
_CONTROL = {
    "calculation", "prefix", "outdir", "pseudo_dir", "verbosity", "tprnfor", "tstress", "restart_mode", "disk_io",
    "max_seconds", "wf_collect", "tefield", "dipfield",
}  # fmt: skip
_ELECTRONS = {
    "conv_thr", "electron_maxstep", "mixing_beta", "mixing_mode", "mixing_ndim", "diagonalization", "diago_thr_init",
    "diago_david_ndim", "startingpot", "startingwfc",
}  # fmt: skip
_REGION = 0.05
"""Share of the cell in which the sawtooth potential of the dipole correction turns back; it must lie in the vacuum."""


def qe_inputs(
    candidate: Candidate,
    protocol: QeProtocol,
    upf_folder: str | Path,
    *,
    prefix: str = "nmr",
    extra: Mapping[str, Value] | None = None,
) -> InputFiles:
    """Inputs of pw.x (``PREFIX-scf.in``) and gipaw.x (``PREFIX-nmr.in``, ``PREFIX-efg.in``).

    Every element needs a UPF file with GIPAW data in ``upf_folder``, which is checked before anything is written.
    Symmetry is switched off, because gipaw.x allows only operations that map the Cartesian axes on each other.

    Parameters
    ----------
    candidate
        Bulk or slab; relax it first.
    protocol
        From ``qe_protocol``; its cutoffs are for norm-conserving pseudopotentials.
    upf_folder
        Folder of pseudopotential files.
    prefix
        Name of the files, and of pw.x's own.
    extra
        Further pw.x keywords, checked against the documented ones.

    Raises
    ------
    MissingPotentialError
        If an element has no pseudopotential with GIPAW data.
    InputError
        If the prefix is no plain name, or an extra keyword is unknown or breaks the run.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w-]{0,60}", prefix):
        raise InputError(f"prefix {prefix!r} is no plain file name; use letters, digits, - and _")
    structure = candidate.structure
    species = species_of(structure)
    potentials = find_upf(upf_folder, species)
    warnings = ["relax the structure first: 31P moves by a ppm for some thousandths of an angstrom"]
    if has_wrong_efg(structure):
        warnings.append(
            "the cell is not orthogonal and has an axis above 20 angstrom, where gipaw.x gives wrong field gradients "
            "(qe-gipaw issue 26): use an orthogonal cell"
        )
    warnings += [
        f"{upf.name} is for {upf.functional}, the protocol for {protocol.functional}: use one functional"
        for upf in potentials.values()
        if not _is_functional(upf.functional, protocol.functional)
    ]
    extras = checked_extra("qe", ("pw",), extra or {})
    return InputFiles(
        files={
            f"{prefix}-scf.in": pw_text(
                candidate,
                protocol,
                prefix=prefix,
                potentials={element: upf.name for element, upf in potentials.items()},
                pseudo_dir=str(upf_folder),
                extras=extras,
            ),
            f"{prefix}-nmr.in": _gipaw(prefix, protocol, "nmr", {}),
            f"{prefix}-efg.in": _gipaw(
                prefix,
                protocol,
                "efg",
                {f"q_efg({k})": moment / 10.0 for k, moment in enumerate(quadrupole_moments_mb(species), start=1)},
            ),
        },
        order=tuple(range(len(structure))),
        warnings=tuple(warnings),
    )


def has_wrong_efg(structure: AtomicStructure) -> bool:
    """Whether gipaw.x gives wrong field gradients: a cell that is not orthogonal, with an axis above 20 angstrom."""
    metric = structure.lattice @ structure.lattice.T
    lengths = np.sqrt(np.diag(metric))
    cosines = metric / np.outer(lengths, lengths) - np.eye(3)
    return bool(lengths.max() > LONG_AXIS_ANG and np.abs(cosines).max() > 1e-4)


def _is_functional(written: str, wanted: str) -> bool:
    """Whether a UPF file's functional, in its short or long spelling, is the wanted one."""
    long = {"pbe": ("sla pw pbx pbc", "sla pw pbe pbe"), "pbesol": ("sla pw psx psc",)}[wanted]
    words = " ".join(re.split(r"[\s+-]+", written.lower()))
    return words in long or words.split(" ")[0] == wanted


def pw_text(
    candidate: Candidate,
    protocol: QeProtocol | PwProtocol,
    *,
    prefix: str,
    potentials: Mapping[str, str],
    pseudo_dir: str,
    extras: Mapping[str, Value],
) -> str:
    """Input of a pw.x run of fixed atoms; the order of the atoms is that of the structure.

    Raises
    ------
    InputError
        If the folder's name cannot be written into an input file.
    """
    from ase.data import atomic_masses, atomic_numbers

    if re.search(r"['\"\n\r!]", pseudo_dir):
        raise InputError(f"the folder {pseudo_dir!r} has a quote, ! or line break in its name; rename it")
    structure = candidate.structure
    words: dict[str, Value] = {
        "calculation": "scf",
        "prefix": prefix,
        "outdir": "./scratch/",
        "pseudo_dir": pseudo_dir,
        "verbosity": "high",
        "ibrav": 0,
        "nat": len(structure),
        "ntyp": len(potentials),
        "ecutwfc": protocol.cutoff_ry,
        "ecutrho": protocol.cutoff_ry * protocol.density_cutoff_factor,
        "occupations": "fixed",
        "nosym": True,
        "conv_thr": protocol.scf_tolerance_ry,
        "electron_maxstep": protocol.max_scf_cycles,
        "mixing_beta": protocol.mixing,
    }
    if has_dipole(candidate):
        words |= {
            "tefield": True,
            "dipfield": True,
            "edir": 3,
            "emaxpos": round((vacuum_centre(structure) - 0.5 * _REGION) % 1.0, 4),
            "eopreg": _REGION,
            "eamp": 0.0,
        }
    words |= extras
    control = {key: value for key, value in words.items() if key in _CONTROL}
    electrons = {key: value for key, value in words.items() if key in _ELECTRONS}
    system = {key: value for key, value in words.items() if key not in _CONTROL and key not in _ELECTRONS}
    lines = [*_namelist("control", control), *_namelist("system", system), *_namelist("electrons", electrons)]
    lines += ["", "ATOMIC_SPECIES"]
    for element in species_of(structure):
        lines.append(f"{element:<2} {atomic_masses[atomic_numbers[element]]:.4f} {potentials[element]}")
    lines += ["", "CELL_PARAMETERS angstrom"]
    lines += [" ".join(f"{x:18.12f}" for x in vector) for vector in structure.lattice_ang]
    lines += ["", "ATOMIC_POSITIONS crystal"]
    for element, frac in zip(structure.elements, structure.frac_coords, strict=True):
        lines.append(f"{element:<2} " + " ".join(f"{x:18.14f}" for x in frac))
    grid = kpoint_grid(structure, protocol.kpoint_spacing_per_ang)
    lines += ["", "K_POINTS automatic", f"{grid[0]} {grid[1]} {grid[2]} 0 0 0", ""]
    return "\n".join(lines)


def _gipaw(prefix: str, protocol: QeProtocol, job: str, more: Mapping[str, Value]) -> str:
    words: dict[str, Value] = {
        "job": job,
        "prefix": prefix,
        "tmp_dir": "./scratch/",
        "restart_mode": "from_scratch",
        "verbosity": "high",
        "diagonalization": "david",
        "conv_threshold": protocol.response_tolerance_ry2,
        "q_gipaw": protocol.q_gipaw_per_bohr,
    }
    if job == "nmr":
        words["use_nmr_macroscopic_shape"] = True
    return "\n".join([*_namelist("inputgipaw", {**words, **more}), ""])


def _namelist(name: str, words: Mapping[str, Value]) -> list[str]:
    return [f"&{name}", *(f"    {key} = {_word(value)}" for key, value in words.items()), "/"]


def _word(value: Value) -> str:
    if isinstance(value, bool):
        return ".true." if value else ".false."
    if isinstance(value, float):
        return f"{value:g}".replace("e", "d") if "e" in f"{value:g}" else f"{value:g}"
    return str(value) if isinstance(value, int) else f"'{value}'"
