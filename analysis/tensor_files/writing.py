"""Writing .magres files, whole or with tensors of some atoms only: the way out to other programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...structures.accepting import as_structure
from .errors import InconsistentFileError, MissingTensorsError
from .result import PeriodicTensors, build, numbered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...structures.accepting import StructureLike
    from ...structures.vocabulary import Tensor3
    from ..vocabulary import SiteTensors


def write_magres(path: str | Path, run: PeriodicTensors) -> None:
    """Write a .magres file of version 1, with units and in full precision.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    Path(path).write_text(magres_text(run), encoding="utf-8")


def magres_text(run: PeriodicTensors) -> str:
    """The text of a .magres file; reading it gives the same tensors, positions and method back."""
    lines = ["#$magres-abinitio-v1.0", "# written by surfshift", "[calculation]"]
    lines += [f"calc_code {run.engine}", f"calc_code_version {_one_line(run.engine_version)}"]
    lines.append(f"calc_xcfunctional {_one_line(run.functional)}")
    if run.cutoff_ev is not None:
        lines.append(f"calc_cutoffenergy {run.cutoff_ev:.8f} eV")
    lines += [f"calc_pspot {element} {_one_line(text)}" for element, text in run.potentials.items()]
    settings = {**run.settings, "macroscopic": run.macroscopic}
    lines += [f"calc_{key} {_one_line(value)}" for key, value in settings.items() if re.fullmatch(r"\w+", key)]
    lines += ["[/calculation]", "[atoms]", "units lattice Angstrom"]
    lines.append("lattice " + _row(run.lattice.ravel().tolist()))
    lines += ["units atom Angstrom", "symmetry x,y,z"]
    cart = np.array(run.frac_coords) @ run.lattice
    for element, (label, number), position in zip(run.elements, run.labels, cart, strict=True):
        lines.append(f"atom {element:<2} {label} {number} {_row(position.tolist())}")
    lines += ["[/atoms]", "[magres]"]
    lines += _records("ms", "ppm", run, run.shielding_ppm, transpose=True)
    lines += _records("efg", "au", run, run.efg_au, transpose=False)
    lines += [_one_line(record) for record in run.other_records]
    return "\n".join([*lines, "[/magres]", ""])


def _records(
    kind: str, unit: str, run: PeriodicTensors, tensors: Sequence[Tensor3 | None], *, transpose: bool
) -> list[str]:
    if all(tensor is None for tensor in tensors):
        return []
    lines = [f"units {kind} {unit}"]
    for (label, number), tensor in zip(run.labels, tensors, strict=True):
        if tensor is not None:
            raw = np.array(tensor)
            lines.append(f"{kind} {label} {number} {_row((raw.T if transpose else raw).ravel().tolist())}")
    return lines


def _row(values: list[float]) -> str:
    return " ".join(f"{value:.14E}" for value in values)


def _one_line(text: str) -> str:
    return " ".join(text.split()) or "unknown"


def tensors_of_sites(structure: StructureLike, sites: Sequence[SiteTensors]) -> PeriodicTensors:
    """The sites of one structure as tensors of its atoms; atoms without a site have none.

    Raises
    ------
    MissingTensorsError
        If there are no sites.
    InconsistentFileError
        If a site is of another structure, sites overlap, or they were made by different methods.
    """
    structure = as_structure(structure)
    if not sites:
        raise MissingTensorsError("there are no tensors to write; compute at least one site")
    method = sites[0].method
    shielding: list[Tensor3 | None] = [None] * len(structure)
    efg: list[Tensor3 | None] = [None] * len(structure)
    for site in sites:
        if site.structure_id != structure.content_id:
            raise InconsistentFileError(
                f"a site of {site.element} belongs to another structure; give the sites of this one"
            )
        if (site.method.engine, site.method.functional) != (method.engine, method.functional):
            raise InconsistentFileError(
                f"sites of {method.engine}/{method.functional} and of {site.method.engine}/{site.method.functional} "
                "do not belong in one file; write one file per method"
            )
        is_missing = site.checks.get("efg_is_missing", 0.0) > 0
        for atom, sigma, gradient in zip(site.atom_indices, site.shielding_ppm, site.efg_au, strict=True):
            if shielding[atom] is not None:
                raise InconsistentFileError(f"two sites hold atom {atom}; give each site once")
            shielding[atom], efg[atom] = sigma, None if is_missing else gradient
    hashes = {site.method.protocol_hash for site in sites}
    settings = {"surfshift_protocol": method.protocol}
    if len(hashes) == 1:
        settings["surfshift_protocol_hash"] = hashes.pop()
    return build(
        "the sites",
        lattice_ang=structure.lattice_ang,
        elements=structure.elements,
        frac_coords=structure.frac_coords,
        labels=numbered(structure.elements),
        shielding_ppm=tuple(shielding),
        efg_au=tuple(efg),
        engine=method.engine,
        engine_version=method.engine_version,
        functional=method.functional,
        settings=settings,
    )


def export_magres(path: str | Path, structure: StructureLike, sites: Sequence[SiteTensors]) -> None:
    """Write the tensors of a study's candidate to a .magres file.

    Raises
    ------
    MissingTensorsError, InconsistentFileError
        As for ``tensors_of_sites``.
    OSError
        If the file cannot be written.
    """
    structure = as_structure(structure)
    write_magres(path, tensors_of_sites(structure, sites))
