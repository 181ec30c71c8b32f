"""Water that reacts: split over broken bonds, or opening intact M-O-X bridges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..accepting import as_structure
from ..assembly import Assembly, AtomBudgetError, DecorationError
from ..bonding import find_bonds, max_bond_length, unit_pairs
from ..faces import cells_for, split_cells
from ..hydroxyl_groups import HYDROXYL_ANGLE_DEG, OH_LENGTH_ANG
from ..hydroxylation import hydroxylate, possible_coverages
from ..placement import Group, Host, rotation_about, rotation_between, sphere_directions
from ..vocabulary import Candidate, DecorationRecord, DecorationSite
from .adsorption import put, typical_bond_length
from .sited import Orbit, Plan, Site, adsorbate_atoms, decorate_sites, depth_of, image_atom, outward, repeat_candidate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..accepting import StructureLike
    from ..vocabulary import AtomicStructure
    from .settings import OpenBridges, SplitWater

    Array = NDArray[np.float64]

MAX_TILT_DEG = 80.0
"""An O of an opened bridge moves at most so far around its cation."""

MIN_OPEN_ANG = 0.05
"""An opened bridge is longer than the longest bond by at least this, angstrom."""

TILT_COST_EV = 1.2
"""What the largest tilt costs in the ranking, eV."""

MIN_LIGANDS_ANG = 2.05
"""Two O of one cation come no closer, angstrom: 85 degrees in PO4; a relaxation opens the angle again."""

MIN_SEPARATED_ANG = 2.4
"""The two O of an opened bridge are at least so far apart, angstrom."""

MAX_PAIRS = 30
N_TORSIONS = 10


def split_water(candidate: Candidate, bulk: StructureLike, settings: SplitWater) -> tuple[Candidate, ...]:
    """Water over the bonds that the cut broke, as ``hydroxylate`` does it, with the record of every atom.

    Raises
    ------
    HydroxylationError, CoverageError, AtomBudgetError, DecorationError
    """
    bulk = as_structure(bulk)
    if settings.faces != "both":
        raise DecorationError("split water goes on both faces, whose broken bonds belong together; use faces='both'")
    coverage = settings.coverage if settings.coverage is not None else 1.0
    supercell = (1, 1) if settings.supercell == "auto" else settings.supercell
    known = possible_coverages(candidate, bulk)
    n_sites = round(1 / known[0]) if known else 1
    if settings.per_face is not None:
        coverage = settings.per_face / (n_sites * supercell[0] * supercell[1])
    elif settings.supercell == "auto" and known and (cells := cells_for(coverage, n_sites)):
        lengths = np.linalg.norm(candidate.structure.lattice[:2], axis=1)
        supercell = split_cells(cells, (float(lengths[0]), float(lengths[1])))
    slab = repeat_candidate(candidate, supercell)
    made = hydroxylate(slab, bulk, coverage=coverage, max_variants=settings.max_variants)
    largest = max(len(wet.structure) for wet in made)
    if largest > settings.max_atoms:
        raise AtomBudgetError(
            f"{made[0].name} has {largest} atoms, more than the {settings.max_atoms} allowed; set max_atoms={largest}"
        )
    return tuple(
        wet.model_copy(update={"decoration_record": _record(wet, candidate, supercell, coverage)}) for wet in made
    )


def _record(wet: Candidate, dry: Candidate, supercell: tuple[int, int], coverage: float) -> DecorationRecord:
    structure = wet.structure
    n_dry, n_cell = len(dry.structure) * supercell[0] * supercell[1], len(dry.structure)
    bonds = find_bonds(structure)
    middle = 0.5 * structure.lattice[2, 2]
    sites = []
    for k in range(n_dry, len(structure)):
        if structure.elements[k] == "O":
            hydrogen = [b.j for b in bonds[k] if structure.elements[b.j] == "H"]
            hosts = [b.j for b in bonds[k] if structure.elements[b.j] != "H"]
            atoms = (k, *hydrogen)
            label = f"{structure.elements[hosts[0]]}-OH" if hosts else "OH"
        elif structure.elements[bonds[k][0].j] == "O" and bonds[k][0].j < n_dry:
            hosts = [b.j for b in bonds[bonds[k][0].j] if structure.elements[b.j] != "H"] or [bonds[k][0].j]
            atoms, label = (k,), f"{structure.elements[hosts[0]]}-OH"
        else:
            continue
        face = "upper" if structure.cart_coords[k, 2] > middle else "lower"
        sites.append(
            DecorationSite(
                label=label,
                face="upper" if face == "upper" else "lower",
                host=f"{structure.elements[hosts[0]]}{hosts[0]}",
                atoms=atoms,
            )
        )
    water = [site for site in sites if structure.elements[site.atoms[0]] == "O"]
    return DecorationRecord(
        kind="split_water",
        parent_id=dry.id,
        parent_name=dry.name,
        supercell=supercell,
        parent_atoms=tuple(k % n_cell if k < n_dry else None for k in range(len(structure))),
        removed=(),
        moved=(),
        sites=tuple(sites),
        per_face=(sum(s.face == "upper" for s in water), sum(s.face == "lower" for s in water)),
        coverage=coverage,
        formula_change={"O": len(water), "H": 2 * len(water)},
        charge_balance="whole H2O is added: OH- on a cation, H+ on an anion",
    )


def open_bridges(candidate: Candidate, bulk: StructureLike, settings: OpenBridges) -> tuple[Candidate, ...]:
    """Water that splits intact bridges M-O-X: the O stays with X and becomes X-OH, M gets a new OH.

    Both O turn around their cations until the old bond is broken; X keeps all its ligands.

    Raises
    ------
    NoSiteError, SiteCountError, NoRoomError, AtomBudgetError
    """
    bulk = as_structure(bulk)
    plan = Plan(
        kind="open_bridges",
        what=f"{settings.cation or 'M'}-O-X bridges",
        find=lambda assembly, crystal: _bridges(assembly, crystal, settings),
        fill=_open,
        suffix=lambda n: f"{n}H2O-bridges",
        describe=lambda n: f"{n} H2O split over intact bridges into M-OH and HO-X",
        charge_balance="whole H2O is added: OH- on the cation, H+ on the O that stays with its unit",
        missing="only an O between a cation of charge 2 or more and an isolated unit such as PO4 is a bridge; "
        "name another cation, or use split_water on the broken bonds",
    )
    return decorate_sites(candidate, bulk, settings, plan)


def _bridges(assembly: Assembly, bulk: AtomicStructure, settings: OpenBridges) -> list[Site]:
    structure, alive = assembly.structure(), assembly.alive
    bonds = find_bonds(structure)
    units = unit_pairs(bulk)
    added = adsorbate_atoms(assembly)
    sites = []
    for new, element in enumerate(structure.elements):
        old = alive[new]
        if element != "O" or old in added or len(bonds[new]) != 2:
            continue
        inside = [b.j for b in bonds[new] if (structure.elements[b.j], "O") in units]
        outside = [b.j for b in bonds[new] if b.j not in inside and structure.elements[b.j] != "H"]
        depth = depth_of(assembly, assembly.positions[old])
        if len(inside) != 1 or len(outside) != 1 or depth > settings.depth_ang:
            continue
        m, x = alive[outside[0]], alive[inside[0]]
        wanted = settings.cation or assembly.elements[m]
        if assembly.elements[m] == wanted and (settings.cation or assembly.charges[m] >= 2):
            sites.append(Site(assembly.positions[old], (old, m, x), 0.3 * depth))
    return sites


def _open(assembly: Assembly, orbit: Orbit) -> bool:
    oxygen, m, x = orbit.sites[0].atoms
    images = [tuple(image_atom(assembly, k, motion) for k in (oxygen, m, x)) for motion in orbit.motions]
    frac = np.array([assembly.positions[k] - assembly.positions[oxygen] for k in (m, x)]) @ np.linalg.inv(
        assembly.lattice
    )
    frac[:, :2] -= np.round(frac[:, :2])
    place_m, place_x = assembly.positions[oxygen] + frac @ assembly.lattice
    trials, bias = _opened_trials(assembly, (oxygen, m, x), place_m, place_x)
    if not len(trials):
        return False
    bonds = find_bonds(assembly.structure())
    number = {old: new for new, old in enumerate(assembly.alive)}
    ligands = [{assembly.alive[b.j] for b in bonds[number[k]]} - {oxygen} for k in (x, m)]
    trial = assembly.copy()
    trial.remove(*(image[0] for image in images))
    group = Group(
        elements=("O", "H", "O", "H"),
        charges=(-2.0, 1.0, -2.0, 1.0),
        ranking_charges=(-2.0, 1.0, -2.0, 1.0),
        # O of one polyhedron come closer than strangers while the bridge is half open
        bonded={0: frozenset({x, *ligands[0]}), 2: frozenset({m, *ligands[1]})},
    )
    # the four atoms are bonded among themselves, so only contacts with others and with the copies count
    copies = put(trial, group, trials, orbit.motions, bias)
    if copies is None:
        return False
    for image, atoms, site in zip(images, copies, orbit.sites, strict=True):
        assembly.move(image[0], trial.positions[atoms[0]])
        numbers = assembly.add(("H", "O", "H"), (1.0, -2.0, 1.0), np.array([trial.positions[k] for k in atoms[1:]]))
        host = f"{assembly.elements[m]}{image[1]}-O{image[0]}-{assembly.elements[x]}{image[2]}"
        assembly.note_site("opened bridge", host, (image[0], *numbers), float(site.point[2]))
    return True


def _opened_trials(
    assembly: Assembly, atoms: tuple[int, int, int], place_m: Array, place_x: Array
) -> tuple[Array, Array]:
    """Places of the old O, its H, the new O and its H, shape (n, 4, 3), and what the turning costs, shape (n,)."""
    oxygen, m, x = atoms
    origin = assembly.positions[oxygen]
    symbol_m, symbol_x, charge_m, charge_x = (
        assembly.elements[m],
        assembly.elements[x],
        assembly.charges[m],
        assembly.charges[x],
    )
    length_x = float(np.linalg.norm(origin - place_x))
    length_m = max(float(np.linalg.norm(origin - place_m)), typical_bond_length(symbol_m, charge_m, 4))
    up = outward(assembly, origin)
    host, _ = assembly.host()
    strangers = _without(host, assembly.lattice, (origin, place_m, place_x))
    old, tilt_old = _turned(place_x, origin - place_x, (length_x,))
    new, tilt_new = _turned(place_m, origin - place_m, (length_m, 1.08 * length_m))
    far_m = max_bond_length(symbol_m, "O", charge_m) + MIN_OPEN_ANG
    far_x = max_bond_length(symbol_x, "O", charge_x) + MIN_OPEN_ANG
    old_fits = (np.linalg.norm(old - place_m, axis=1) > far_m) & _has_room(strangers, assembly.lattice, old)
    new_fits = (np.linalg.norm(new - place_x, axis=1) > far_x) & _has_room(strangers, assembly.lattice, new)
    old, tilt_old, new, tilt_new = old[old_fits], tilt_old[old_fits], new[new_fits], tilt_new[new_fits]
    apart = np.linalg.norm(old[:, None, :] - new[None, :, :], axis=2)
    rise = (old @ up)[:, None] + (new @ up)[None, :] - 2 * float(origin @ up)
    cost = TILT_COST_EV * (tilt_old[:, None] ** 2 + tilt_new[None, :] ** 2) - 0.1 * rise
    first, second = np.nonzero(apart > MIN_SEPARATED_ANG)
    order = np.argsort(np.round(cost[first, second], 6), kind="stable")[:MAX_PAIRS]
    kept, biases = [], []
    for p, q in zip(first[order], second[order], strict=True):
        for a in _hydrogens(old[p], place_x, up):
            for b in _hydrogens(new[q], place_m, up):
                if np.linalg.norm(a - b) > 1.75 and min(np.linalg.norm(a - new[q]), np.linalg.norm(b - old[p])) > 1.55:
                    kept.append([old[p], a, new[q], b])
                    biases.append(cost[p, q])
    return np.array(kept), np.array(biases)


def _without(host: Host, lattice: Array, points: Sequence[Array]) -> tuple[Array, Array]:
    """Positions of the atoms that stand at none of some points, and how close an O may come to each, angstrom."""
    own = np.zeros(len(host.positions), dtype=bool)
    for point in points:
        delta = (host.positions - point) @ np.linalg.inv(lattice)
        delta[:, :2] -= np.round(delta[:, :2])
        own |= np.linalg.norm(delta @ lattice, axis=1) < 0.05
    least = np.array([MIN_LIGANDS_ANG if e == "O" else 1.5 if e == "H" else 1.6 for e in host.elements])
    return host.positions[~own], least[~own]


def _has_room(strangers: tuple[Array, Array], lattice: Array, places: Array) -> NDArray[np.bool_]:
    """At which of some places (n, 3) an O touches nothing."""
    positions, least = strangers
    frac = (positions[None, :, :] - places[:, None, :]) @ np.linalg.inv(lattice)
    frac[..., :2] -= np.round(frac[..., :2])
    free: NDArray[np.bool_] = (np.linalg.norm(frac @ lattice, axis=2) > least).all(axis=1)
    return free


def _turned(centre: Array, vector: Array, lengths: Sequence[float]) -> tuple[Array, Array]:
    """Places around a centre up to the largest tilt from a vector, and the tilt as a share of the largest."""
    directions = sphere_directions(700)
    cosines = directions[:, 2]
    kept = cosines > np.cos(np.radians(MAX_TILT_DEG))
    directions = directions[kept] @ rotation_between(np.array([0.0, 0.0, 1.0]), vector).T
    tilts = np.degrees(np.arccos(cosines[kept])) / MAX_TILT_DEG
    return np.vstack([centre + length * directions for length in lengths]), np.tile(tilts, len(lengths))


def _hydrogens(oxygen: Array, cation: Array, up: Array) -> list[Array]:
    axis = (cation - oxygen) / np.linalg.norm(cation - oxygen)
    across = up - (up @ axis) * axis
    if np.linalg.norm(across) < 1e-3:
        across = np.cross(axis, [1.0, 0.0, 0.0] if abs(axis[0]) < 0.9 else [0.0, 1.0, 0.0])
    across /= np.linalg.norm(across)
    angle = np.radians(HYDROXYL_ANGLE_DEG)
    start = np.cos(angle) * axis + np.sin(angle) * across
    return [
        oxygen + OH_LENGTH_ANG * rotation_about(axis, 2 * np.pi * t / N_TORSIONS) @ start for t in range(N_TORSIONS)
    ]
