"""The way every decoration goes: find sites, choose them symmetry-aware, fill them, drop duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..accepting import as_structure
from ..assembly import (
    Assembly,
    AtomBudgetError,
    DecorationError,
    NoRoomError,
    NoSiteError,
    repeat_in_plane,
)
from ..faces import cells_for, choose_sites, count_per_face, slab_motions, split_cells
from ..slabs import distinct_structures
from ..vocabulary import Candidate, Region

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from ..accepting import StructureLike
    from ..placement import Motion
    from ..vocabulary import AtomicStructure
    from .settings import Placed

    Array = NDArray[np.float64]

MAX_AUTO_CELLS = 12
"""``supercell="auto"`` goes no further than this many cells."""


@dataclass(frozen=True)
class Site:
    """A place for a decoration: a point (angstrom), the atoms it belongs to, a cost (smaller is taken first)."""

    point: Array
    atoms: tuple[int, ...]
    cost: float = 0.0
    direction: Array | None = None


@dataclass(frozen=True)
class Orbit:
    """Sites to be filled alike, the first with the identity."""

    sites: tuple[Site, ...]
    motions: tuple[Motion, ...]


@dataclass(frozen=True)
class Plan:
    """A decoration in its parts.

    Attributes
    ----------
    kind, what
        Kind of the settings, and the sites in words for messages (``undercoordinated cations``).
    find
        All sites of a slab.
    fill
        Fills an orbit; ``False`` if there is no room.
    suffix, describe
        Name suffix and description from the total number of filled sites.
    charge_balance
        In words.
    missing
        What to do if the slab has no site.
    """

    kind: str
    what: str
    find: Callable[[Assembly, AtomicStructure], Sequence[Site]]
    fill: Callable[[Assembly, Orbit], bool]
    suffix: Callable[[int], str]
    describe: Callable[[int], str]
    charge_balance: str
    missing: str


def decorate_sites(candidate: Candidate, bulk: StructureLike, settings: Placed, plan: Plan) -> tuple[Candidate, ...]:
    """All distinct decorated candidates of a plan.

    Raises
    ------
    NoSiteError, SiteCountError, NoRoomError, AtomBudgetError
    """
    bulk = as_structure(bulk)
    if candidate.kind != "slab":
        raise DecorationError(f"{candidate.name} is a bulk crystal; decorate a slab")
    error: NoRoomError | None = None
    for supercell in _supercells(candidate, bulk, settings, plan):
        _check_budget(candidate, len(candidate.structure) * supercell[0] * supercell[1], settings)
        try:
            return _in_supercell(candidate, bulk, settings, plan, supercell)
        except NoRoomError as found:
            error = found
    assert error is not None
    raise error


def _supercells(candidate: Candidate, bulk: AtomicStructure, settings: Placed, plan: Plan) -> Iterator[tuple[int, int]]:
    if settings.supercell != "auto":
        yield settings.supercell
        return
    assembly = Assembly.start(candidate)
    numbers = [len(face) for face in _faces(assembly, plan.find(assembly, bulk)) if face]
    lengths = np.linalg.norm(candidate.structure.lattice[:2], axis=1)
    steps = [cells_for(settings.coverage, n) or 1 for n in numbers] if settings.coverage is not None else [1]
    step = int(np.lcm.reduce(steps)) if steps else 1
    for n_cells in range(step, max(step, MAX_AUTO_CELLS) + 1, step):
        supercell = _symmetric_split(candidate.structure, n_cells, (float(lengths[0]), float(lengths[1])))
        if n_cells > step and len(candidate.structure) * n_cells > settings.max_atoms:
            return
        yield supercell


def _symmetric_split(structure: AtomicStructure, n_cells: int, lengths: tuple[float, float]) -> tuple[int, int]:
    """The squarest supercell in which an operation that is its own inverse still relates the faces, if any does.

    A screw axis along a doubled vector would need two groups per face to stay.
    """
    square = split_cells(n_cells, lengths)
    if not _swaps_faces(structure):
        return square
    pairs = [(k, n_cells // k) for k in range(1, n_cells + 1) if n_cells % k == 0]
    pairs.sort(key=lambda p: (abs(np.log(p[0] * lengths[0] / (p[1] * lengths[1]))), -p[0]))
    return next((pair for pair in pairs[:2] if _swaps_faces(repeat_in_plane(structure, pair))), square)


def _swaps_faces(structure: AtomicStructure) -> bool:
    inverse = np.linalg.inv(structure.lattice)
    for rotation, shift in slab_motions(structure):
        if rotation[2, 2] < 0 and np.allclose(rotation @ rotation, np.eye(3), atol=1e-4):
            twice = (rotation @ shift + shift) @ inverse
            if np.allclose(twice[:2], np.round(twice[:2]), atol=1e-3):
                return True
    return False


def _in_supercell(
    candidate: Candidate, bulk: AtomicStructure, settings: Placed, plan: Plan, supercell: tuple[int, int]
) -> tuple[Candidate, ...]:
    start = Assembly.start(candidate, supercell)
    sites = list(plan.find(start, bulk))
    faces = _faces(start, sites)
    asked = (True, settings.faces == "both")
    if not any(face for face, wanted in zip(faces, asked, strict=True) if wanted):
        raise NoSiteError(f"{candidate.name} has no {plan.what}; {plan.missing}")
    per_face = settings.per_face if settings.per_face is not None or settings.coverage is not None else 1
    counts = [
        count_per_face(len(face), coverage=settings.coverage, per_face=per_face, supercell=supercell, what=plan.what)
        if face and wanted
        else 0
        for face, wanted in zip(faces, asked, strict=True)
    ]
    made = _fill(start, sites, (counts[0], counts[1]), settings, plan)
    if not made:
        raise NoRoomError(
            f"{candidate.name}: {max(counts)} of {max(len(face) for face in faces)} {plan.what} of a face cannot be "
            f"decorated without clashes; {_what_fits(start, sites, counts, settings, plan)}"
        )
    n_sites = [len(face) for face in faces]
    coverage = sum(counts) / max(1, sum(n for n, c in zip(n_sites, counts, strict=True) if c))
    notes = () if all(faces) or settings.faces == "upper" else ("only one face has sites for this decoration",)
    return _finish(candidate, bulk, plan, made, coverage=coverage, notes=notes, settings=settings, supercell=supercell)


def _faces(assembly: Assembly, sites: Sequence[Site]) -> tuple[list[int], list[int]]:
    heights = np.array(assembly.positions)[:, 2]
    middle = 0.5 * (heights.max() + heights.min())
    upper = [k for k, site in enumerate(sites) if site.point[2] > middle]
    return upper, [k for k in range(len(sites)) if k not in set(upper)]


def _fill(
    start: Assembly, sites: Sequence[Site], counts: tuple[int, int], settings: Placed, plan: Plan
) -> list[Assembly]:
    upper = set(_faces(start, sites)[0])
    choices = choose_sites(
        np.array([site.point for site in sites]),
        [k in upper for k in range(len(sites))],
        counts,
        motions=slab_motions(start.structure()),
        lattice=start.lattice,
        costs=[site.cost for site in sites],
        max_choices=8 * settings.max_variants,
    )
    made: list[Assembly] = []
    for choice in choices:
        taken = [atom for k in choice.sites for atom in sites[k].atoms]
        if len(taken) != len(set(taken)):
            continue
        for level in choice.symmetry_levels():
            trial = start.copy()
            if all(
                plan.fill(trial, Orbit(tuple(sites[k] for k, _ in orbit), tuple(m for _, m in orbit)))
                for orbit in choice.orbits(level)
            ):
                made.append(trial)
                break
        if len(made) >= settings.max_variants + 2:
            break
    return made


def _what_fits(start: Assembly, sites: Sequence[Site], counts: Sequence[int], settings: Placed, plan: Plan) -> str:
    one = settings.model_copy(update={"max_variants": 1})
    for n in range(max(counts) - 1, 0, -1):
        fewer = (min(n, counts[0]), min(n, counts[1]))
        if _fill(start, sites, fewer, one, plan):
            return f"per_face={n} fits this cell"
    lengths = np.linalg.norm(start.lattice[:2], axis=1)
    grown = split_cells(2, (float(lengths[0]), float(lengths[1])))
    larger = (start.supercell[0] * grown[0], start.supercell[1] * grown[1])
    return f"take a larger cell, such as supercell={larger}, or supercell='auto'"


def _finish(
    candidate: Candidate,
    bulk: AtomicStructure,
    plan: Plan,
    made: Sequence[Assembly],
    *,
    coverage: float,
    notes: tuple[str, ...],
    settings: Placed,
    supercell: tuple[int, int],
) -> tuple[Candidate, ...]:
    base = candidate.name + ("" if supercell == (1, 1) else f"-{supercell[0]}x{supercell[1]}")
    for assembly in made:
        _check_budget(candidate, len(assembly.alive), settings)
    distinct = _distinct(made)[: settings.max_variants]
    letters = "abcdefghijklmnopqrstuvwxyz" if len(distinct) > 1 else ""
    finished = []
    for k, assembly in enumerate(distinct):
        n_sites = len(assembly.sites)
        finished.append(
            assembly.finish(
                kind=plan.kind,
                name=f"{base}+{plan.suffix(n_sites)}{letters[k : k + 1]}",
                decoration=plan.describe(n_sites),
                coverage=coverage,
                charge_balance=plan.charge_balance,
                bulk=bulk,
                notes=notes,
            )
        )
    return tuple(finished)


def _distinct(made: Sequence[Assembly]) -> list[Assembly]:
    """The assemblies without symmetry duplicates; structures are matched only where their distances agree."""
    kept: list[tuple[Assembly, AtomicStructure, Array]] = []
    for assembly in made:
        structure = assembly.structure()
        distances = _distance_list(assembly)
        alike = [
            known
            for known in kept
            if known[2].shape == distances.shape and np.allclose(known[2], distances, rtol=0.0, atol=0.03)
        ]
        if all(len(distinct_structures([(known[1], 0), (structure, 1)])) == 2 for known in alike):
            kept.append((assembly, structure, distances))
    return [assembly for assembly, _, _ in kept]


def _distance_list(assembly: Assembly) -> Array:
    """Sorted distances up to 5 angstrom of changed atoms (added, moved, removed) to the others; duplicates agree."""
    changed = [
        k for k in range(len(assembly.elements)) if k >= assembly.n_parent or k in assembly.moved | assembly.removed
    ]
    frac = (
        np.array([assembly.positions[k] for k in changed])[:, None]
        - np.array(assembly.positions)[None, : assembly.n_parent]
    )
    frac = frac @ np.linalg.inv(assembly.lattice)
    frac[..., :2] -= np.round(frac[..., :2])
    distances = np.linalg.norm(frac @ assembly.lattice, axis=2)
    found: Array = np.sort(distances[distances < 5.0])
    return found


def _check_budget(candidate: Candidate, n_atoms: int, settings: Placed) -> None:
    if n_atoms > settings.max_atoms:
        raise AtomBudgetError(
            f"{candidate.name} decorated in this cell has {n_atoms} atoms, more than the {settings.max_atoms} allowed; "
            f"set max_atoms={n_atoms}, or take a thinner slab or a smaller supercell"
        )


def repeat_candidate(candidate: Candidate, supercell: tuple[int, int]) -> Candidate:
    """The same slab with a larger in-plane cell."""
    n = supercell[0] * supercell[1]
    if n == 1:
        return candidate
    size = len(candidate.structure)
    changes: dict[str, Any] = {
        "name": f"{candidate.name}-{supercell[0]}x{supercell[1]}",
        "structure": repeat_in_plane(candidate.structure, supercell),
        "regions": candidate.regions * n,
        "frozen_atoms": tuple(k + m * size for m in range(n) for k in candidate.frozen_atoms),
        "area_ang2": candidate.area_ang2 * n,
        "dipole_e_ang": candidate.dipole_e_ang * n,
        "n_undercoordinated": candidate.n_undercoordinated * n,
        "decoration_record": None,
    }
    return candidate.model_copy(update=changes)


def adsorbate_atoms(assembly: Assembly) -> set[int]:
    """Numbers of the parent's atoms that an earlier decoration added."""
    size = len(assembly.parent.structure)
    return {k for k in range(assembly.n_parent) if assembly.parent.regions[k % size] == Region.ADSORBATE}


def depth_of(assembly: Assembly, position: Array) -> float:
    """Depth of a point below the nearer face's outermost atom (H aside), angstrom."""
    heights = np.array([assembly.positions[k][2] for k in assembly.alive if assembly.elements[k] != "H"])
    return float(min(heights.max() - position[2], position[2] - heights.min()))


def outward(assembly: Assembly, position: Array) -> Array:
    """Unit vector out of the nearer face."""
    heights = np.array([assembly.positions[k][2] for k in range(assembly.n_parent)])
    up: Array = np.array([0.0, 0.0, 1.0 if position[2] > 0.5 * (heights.max() + heights.min()) else -1.0])
    return up


def image_atom(assembly: Assembly, atom: int, motion: Motion) -> int:
    """The parent's atom that a symmetry operation carries an atom of the parent to.

    Raises
    ------
    DecorationError
        If there is none, which means that the operation is none of this slab's.
    """
    target = motion[0] @ assembly.positions[atom] + motion[1]
    same = [k for k in range(assembly.n_parent) if assembly.elements[k] == assembly.elements[atom]]
    frac = (np.array([assembly.positions[k] for k in same]) - target) @ np.linalg.inv(assembly.lattice)
    frac[:, :2] -= np.round(frac[:, :2])
    distances = np.linalg.norm(frac @ assembly.lattice, axis=1)
    best = int(distances.argmin())
    if distances[best] > 0.5:
        raise DecorationError(f"no symmetric image of {assembly.elements[atom]}{atom}; the slab is not symmetric")
    return same[best]
