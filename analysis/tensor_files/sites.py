"""From the tensors of a whole cell to those of its symmetry-distinct sites, the form that matching works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...structures.accepting import as_structure
from ...structures.symmetry import SiteOrbit, distinct_sites
from ...structures.vocabulary import Candidate, Region
from ..constants import isotopes
from ..vocabulary import SiteTensors
from .errors import MissingTensorsError, UnequalEquivalentsError
from .ordering import AtomMap, match_atoms

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from ...structures.accepting import StructureLike
    from ...structures.vocabulary import Tensor3
    from .result import PeriodicTensors

MAX_SPREAD_PPM = 2.0
MAX_SPREAD_AU = 0.02
"""0.02 a.u. is 0.7 MHz of CQ for 27Al, as much as the method's own error."""


def site_tensors(
    run: PeriodicTensors,
    structure: StructureLike,
    *,
    elements: Collection[str] | None = None,
    protocol: str = "as in file",
    tolerance_ang: float = 0.02,
    symmetry_tolerance_ang: float = 0.01,
    max_spread_ppm: float = MAX_SPREAD_PPM,
    max_spread_au: float = MAX_SPREAD_AU,
) -> tuple[SiteTensors, ...]:
    """One ``SiteTensors`` per symmetry-distinct site, in the frame and atom order of the structure.

    The atoms are mapped by element and position. Tensors of equivalent atoms are averaged in the frame of the first,
    so that they obey the symmetry exactly; how far they were apart is kept in ``checks``:
    ``shielding_spread_ppm`` and ``efg_spread_au`` (largest difference of an element from the average),
    ``largest_distance_ang`` and ``is_reordered``. For elements whose isotopes all have spin 1/2, which no EFG moves,
    a missing EFG is set to zero and ``efg_is_missing`` is 1.

    Parameters
    ----------
    run
        What was read.
    structure
        The structure the tensors must be of.
    elements
        Only sites of these elements; all by default.
    protocol
        Name of the protocol the calculation was made with.
    tolerance_ang
        How far an atom of the file may be from its place in the structure.
    symmetry_tolerance_ang
        How far an atom may be from its symmetric place.
    max_spread_ppm, max_spread_au
        Equivalent atoms that differ by more are refused.

    Raises
    ------
    WrongStructureError, WrongAtomOrderError
        If the file is not of this structure.
    MissingTensorsError
        If an atom of the wanted elements has no shielding, or a quadrupolar one no EFG.
    UnequalEquivalentsError
        If equivalent atoms differ too much.
    """
    structure = as_structure(structure)
    atoms = match_atoms(structure, run, tolerance_ang=tolerance_ang, name=f"the {run.engine} file")
    wanted = set(structure.elements) if elements is None else set(elements)
    if not wanted & set(structure.elements):
        raise MissingTensorsError(
            f"the structure has no {', '.join(sorted(wanted))}, only {', '.join(sorted(set(structure.elements)))}"
        )
    without_efg = _check_complete(run, wanted)
    orbits = distinct_sites(structure, elements=wanted, tolerance_ang=symmetry_tolerance_ang)
    sites = []
    for orbit in orbits:
        shielding, spread_ppm = _averaged(run.shielding_ppm, orbit, atoms)
        checks = {
            "shielding_spread_ppm": spread_ppm,
            "largest_distance_ang": atoms.largest_distance_ang,
            "is_reordered": float(not atoms.is_identity),
        }
        spread_au = 0.0
        if orbit.element in without_efg:
            efg: NDArray[np.float64] = np.zeros((3, 3))
            checks["efg_is_missing"] = 1.0
        else:
            efg, spread_au = _averaged(run.efg_au, orbit, atoms)
            checks["efg_spread_au"] = spread_au
        if spread_ppm > max_spread_ppm or spread_au > max_spread_au:
            raise UnequalEquivalentsError(
                f"{len(orbit.atom_indices)} atoms {orbit.element} (first: atom {orbit.atom_indices[0]}) are equivalent "
                f"by symmetry, but their tensors differ by {spread_ppm:.2f} ppm and {spread_au:.4f} a.u. from their "
                f"average; {UnequalEquivalentsError.reaction}"
            )
        sites.append(
            SiteTensors(
                structure_id=structure.content_id,
                element=orbit.element,
                atom_indices=orbit.atom_indices,
                shielding_ppm=orbit.expand(shielding),
                efg_au=orbit.expand(efg),
                method=run.method(orbit.element, protocol=protocol),
                checks=checks,
            )
        )
    return tuple(sites)


def has_only_spin_half(element: str) -> bool:
    """Whether every isotope of an element in the table of nuclei has spin 1/2."""
    own = [nucleus for nucleus in isotopes().values() if nucleus.element == element]
    return bool(own) and not any(nucleus.is_quadrupolar for nucleus in own)


def _check_complete(run: PeriodicTensors, wanted: Collection[str]) -> set[str]:
    """Elements that go without EFG; refuses what is missing."""
    chosen = [k for k, element in enumerate(run.elements) if element in wanted]
    missing = [k for k in chosen if run.shielding_ppm[k] is None]
    if missing:
        raise MissingTensorsError(
            f"no shielding of {_named(run, missing)}; compute it, merge the file that has it, or ask for other elements"
        )
    missing = [k for k in chosen if run.efg_au[k] is None]
    needed = [k for k in missing if not has_only_spin_half(run.elements[k])]
    if needed:
        raise MissingTensorsError(
            f"no field gradient of {_named(run, needed)}; compute it, merge the file that has it, or ask for "
            "other elements"
        )
    return {run.elements[k] for k in missing}


def _named(run: PeriodicTensors, atoms: Sequence[int]) -> str:
    names = [f"{run.labels[k][0]} {run.labels[k][1]}" for k in atoms[:4]]
    return ", ".join(names) + (f" and {len(atoms) - 4} more" if len(atoms) > 4 else "")


def _averaged(tensors: Sequence[Tensor3 | None], orbit: SiteOrbit, atoms: AtomMap) -> tuple[NDArray[np.float64], float]:
    """Average over an orbit in the frame of its first atom, and the largest deviation from it."""
    own = []
    for index, rotation in zip(orbit.atom_indices, orbit.rotations, strict=True):
        turn = np.array(rotation).T @ atoms.rotation
        own.append(turn @ np.array(tensors[atoms.order[index]]) @ turn.T)
    mean: NDArray[np.float64] = np.mean(own, axis=0)
    return mean, float(np.abs(np.array(own) - mean).max())


def candidate_of(
    run: PeriodicTensors,
    name: str,
    *,
    oxidation_states: Mapping[str, float] | None = None,
    miller: tuple[int, int, int] | None = None,
    regions: Sequence[Region] | None = None,
) -> Candidate:
    """The structure of a file as a candidate, so that a user's own calculation can be matched without any job.

    Parameters
    ----------
    run
        What was read.
    name
        What the report calls the candidate.
    oxidation_states
        Charge of every element, e; found from bond valences or the composition where left out.
    miller
        Makes it a slab with vacuum along the third lattice vector; a bulk without.
    regions
        Region of every atom; all bulk by default for a bulk, and all surface for a slab.

    Raises
    ------
    OxidationStateError, OverlapError
        As for any structure file.
    """
    is_slab = miller is not None
    structure = run.structure(oxidation_states=oxidation_states, periodic=(True, True, not is_slab))
    default = Region.SURFACE if is_slab else Region.BULK
    return Candidate(
        name=name,
        kind="slab" if is_slab else "bulk",
        structure=structure,
        parent=name,
        miller=miller,
        regions=tuple(regions) if regions is not None else (default,) * len(structure),
        area_ang2=float(np.linalg.norm(np.cross(structure.lattice[0], structure.lattice[1]))) if is_slab else 0.0,
        notes=(f"tensors read from a file of {run.engine} {run.engine_version}", *run.notes),
    )
