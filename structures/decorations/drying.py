"""Hydroxyls condensed step by step, from the fullest coverage to the dry surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..accepting import as_structure
from ..assembly import Assembly, AtomBudgetError, NoSiteError
from ..bonding import find_bonds
from ..faces import slab_motions
from ..hydroxylation import hydroxylate
from ..vocabulary import Candidate, Region
from .sited import adsorbate_atoms, image_atom, repeat_candidate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..accepting import StructureLike
    from ..placement import Motion
    from .settings import Drying

    Array = NDArray[np.float64]


def dry_stepwise(candidate: Candidate, bulk: StructureLike, settings: Drying) -> tuple[Candidate, ...]:
    """The hydroxylated slab, then each step one more water per face taken away, down to the dry slab.

    Each step condenses the M-OH whose O is nearest to the H of a neighbouring X-OH; the series is nested, so that
    every structure is the one before without H2O. A dry slab is hydroxylated fully first.

    Returns
    -------
    The wet slab first; the decoration names how many H2O are gone.

    Raises
    ------
    NoSiteError
        If the slab has no pairs of hydroxyls that an earlier decoration added.
    HydroxylationError
        If a dry slab cannot be hydroxylated.
    AtomBudgetError
    """
    bulk = as_structure(bulk)
    supercell = (1, 1) if settings.supercell == "auto" else settings.supercell
    slab = repeat_candidate(candidate, supercell)
    wet = slab if Region.ADSORBATE in slab.regions else hydroxylate(slab, bulk, max_variants=1)[0]
    if len(wet.structure) > settings.max_atoms:
        raise AtomBudgetError(
            f"{wet.name} has {len(wet.structure)} atoms, more than the {settings.max_atoms} allowed; "
            f"set max_atoms={len(wet.structure)}"
        )
    assembly = Assembly.start(wet)
    groups, protons = _water_parts(assembly)
    if not groups or not protons:
        raise NoSiteError(f"{wet.name} has no M-OH next to an X-OH that could condense; split water over it first")
    motions = slab_motions(wet.structure)
    middle = 0.5 * wet.structure.lattice[2, 2]
    n_water = min(len(groups), len(protons))
    series = [wet]
    removed: list[tuple[int, int, int]] = []
    while len(removed) < n_water:
        step = _next_waters(assembly, groups, protons, motions, middle=middle, faces=settings.faces)
        if not step:
            break
        for oxygen, hydrogen, proton in step:
            removed.append((oxygen, hydrogen, proton))
            assembly.remove(oxygen, hydrogen, proton)
            label = f"H2O from {assembly.elements[oxygen]}{oxygen} and H{proton}"
            assembly.note_site("condensed", label, (), float(assembly.positions[oxygen][2]))
        gone = {k for water in removed for k in water}
        groups = {o: h for o, h in groups.items() if o not in gone}
        protons = [h for h in protons if h not in gone]
        series.append(
            assembly.finish(
                kind="drying",
                name=f"{wet.name}-{len(removed)}H2O",
                decoration=f"{len(removed)} of {n_water} H2O condensed away",
                coverage=1.0 - len(removed) / n_water,
                charge_balance="whole H2O is taken away: OH- from a cation, H+ from an anion",
                bulk=bulk,
            )
        )
    return tuple(series)


def _water_parts(assembly: Assembly) -> tuple[dict[int, int], list[int]]:
    """Added OH groups (O and its H), and added H on an anion of the crystal."""
    added = adsorbate_atoms(assembly)
    structure = assembly.structure()
    groups: dict[int, int] = {}
    protons = []
    for k, bonds in enumerate(find_bonds(structure)):
        if k not in added or structure.elements[k] not in ("O", "H"):
            continue
        if structure.elements[k] == "O":
            hydrogens = [b.j for b in bonds if structure.elements[b.j] == "H"]
            if len(hydrogens) == 1 and len(bonds) > 1:
                groups[k] = hydrogens[0]
        elif bonds and bonds[0].j not in added:
            protons.append(k)
    return groups, protons


def _next_waters(
    assembly: Assembly,
    groups: dict[int, int],
    protons: list[int],
    motions: tuple[Motion, ...],
    *,
    middle: float,
    faces: str,
) -> list[tuple[int, int, int]]:
    """The next water of the upper face with its symmetric image below, or else one of each face."""
    pairs = sorted(
        (round(_distance(assembly, oxygen, proton), 2), oxygen, groups[oxygen], proton)
        for oxygen in groups
        for proton in protons
    )
    upper = [p for p in pairs if assembly.positions[p[1]][2] > middle]
    lower = [p for p in pairs if assembly.positions[p[1]][2] <= middle]
    if faces == "upper":
        return [upper[0][1:]] if upper else []
    if not upper or not lower:
        return [pairs[0][1:]] if pairs else []
    first = upper[0][1:]
    for motion in motions:
        if motion[0][2, 2] > 0:
            continue
        image = tuple(image_atom(assembly, k, motion) for k in first)
        if image[0] in groups and groups[image[0]] == image[1] and image[2] in protons and not set(image) & set(first):
            return [first, (image[0], image[1], image[2])]
    second = next((p[1:] for p in lower if p[3] != first[2]), None)
    return [first, second] if second else [first]


def _distance(assembly: Assembly, i: int, j: int) -> float:
    frac = (assembly.positions[i] - assembly.positions[j]) @ np.linalg.inv(assembly.lattice)
    frac[:2] -= np.round(frac[:2])
    return float(np.linalg.norm(frac @ assembly.lattice))
