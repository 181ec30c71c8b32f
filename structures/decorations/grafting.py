"""Methoxysilanes condensed with surface hydroxyls: Si-O-M bonds, methanol released."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ..accepting import as_structure
from ..assembly import Assembly, NoSiteError
from ..molecules import Molecule, load_molecule
from ..placement import Group, rotation_about, rotation_between, torsion_grid
from .adsorption import find_hydroxyls, put, ranking_charges
from .sited import Orbit, Plan, Site, decorate_sites, depth_of, outward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..accepting import StructureLike
    from ..vocabulary import Candidate
    from .settings import GraftedSilane

    Array = NDArray[np.float64]

SI_O_ANG = 1.64
"""Si-O of a siloxane bond, angstrom."""

MAX_BRIDGED_ANG = 3.2
"""Two O farther apart cannot be bonded to one Si; 2 x 1.64 angstrom is the geometric limit."""

MIN_BRIDGED_ANG = 2.2

SI_O_M_DEG = (125.0, 135.0, 145.0, 115.0)
"""Angles Si-O-M that are tried; siloxanes and aluminosilicates have 120 to 150."""

SILANES = {"H": "trimethoxysilane", "methyl": "trimethoxymethylsilane", "propyl": "trimethoxypropylsilane"}
_REST_FORMULA = {"H": "H", "methyl": "CH3", "propyl": "C3H7"}


def graft_silane(candidate: Candidate, bulk: StructureLike, settings: GraftedSilane) -> tuple[Candidate, ...]:
    """R-Si(OCH3)(3-n) on n surface O whose H left as CH3OH.

    Raises
    ------
    NoSiteError
        If the slab has no hydroxyls, or none close enough together for so many bonds; the message says how many fit.
    SiteCountError, NoRoomError, AtomBudgetError
    """
    bulk = as_structure(bulk)
    n = settings.n_bonds
    probe = Assembly.start(candidate)
    hydroxyls = find_hydroxyls(probe)
    if not hydroxyls:
        raise NoSiteError(f"{candidate.name} has no surface hydroxyls to graft on; split water over it first")
    if n > 1 and not _hydroxyl_sets(probe, n):
        fewer = n - 1 if n == 3 and _hydroxyl_sets(probe, 2) else 1
        apart = sorted(_separation(probe, a, b) for a, b in combinations([o for o, _, _ in hydroxyls], 2))
        nearest = f"the closest two are {apart[0]:.2f} angstrom apart" if apart else "there is only one per cell"
        raise NoSiteError(
            f"{candidate.name} has no {n} hydroxyls within {MAX_BRIDGED_ANG:g} angstrom of one another ({nearest}); "
            f"use n_bonds={fewer}"
        )
    silane = load_molecule(SILANES[settings.rest])
    fragment = _fragment(silane, n, hydrolysed=settings.remaining == "hydroxyl")
    ligand = "OMe" if settings.remaining == "methoxy" else "OH"
    shown = f"{_REST_FORMULA[settings.rest]}-Si" + (f"({ligand}){3 - n}" if n < 3 else "")
    released = f"{n} CH3OH per silane released"
    if settings.remaining == "hydroxyl" and n < 3:
        released += f", its other {3 - n} methoxy groups hydrolysed to OH"
    plan = Plan(
        kind="grafted_silane",
        what=f"sets of {n} neighbouring hydroxyls" if n > 1 else "surface hydroxyls",
        find=lambda assembly, _: _graft_sites(assembly, n),
        fill=lambda assembly, orbit: _graft(assembly, orbit, fragment),
        suffix=lambda count: f"{count}({shown})",
        describe=lambda count: f"{count} {shown} grafted by {n} Si-O bonds each, {released}",
        charge_balance=f"the H+ of {n} hydroxyls leave with OCH3- as CH3OH for every R-Si that is added",
        missing="split water over it first",
    )
    return decorate_sites(candidate, bulk, settings, plan)


def _hydroxyl_sets(assembly: Assembly, n: int) -> list[tuple[tuple[int, int, list[int]], ...]]:
    """Sets of n hydroxyls of one face that one Si can reach."""
    hydroxyls = find_hydroxyls(assembly)
    return [
        chosen
        for chosen in combinations(hydroxyls, n)
        if all(
            MIN_BRIDGED_ANG < _separation(assembly, a[0], b[0]) < MAX_BRIDGED_ANG for a, b in combinations(chosen, 2)
        )
    ]


def _graft_sites(assembly: Assembly, n: int) -> list[Site]:
    sites = []
    for chosen in _hydroxyl_sets(assembly, n):
        first = assembly.positions[chosen[0][0]]
        places = [first + _shortest(assembly, chosen[0][0], o) for o, _, _ in chosen]
        point = np.mean(places, axis=0)
        atoms = (*(o for o, _, _ in chosen), *(h for _, h, _ in chosen))
        sites.append(Site(point, atoms, 0.3 * depth_of(assembly, point)))
    return sites


def _shortest(assembly: Assembly, start: int, end: int) -> Array:
    frac = (assembly.positions[end] - assembly.positions[start]) @ np.linalg.inv(assembly.lattice)
    frac[:2] -= np.round(frac[:2])
    vector: Array = frac @ assembly.lattice
    return vector


def _separation(assembly: Assembly, i: int, j: int) -> float:
    return float(np.linalg.norm(_shortest(assembly, i, j)))


class _Fragment:
    """Atoms of R-Si(OMe)(3-n) around Si at the origin, and the directions of the bonds that it has free."""

    def __init__(
        self,
        elements: tuple[str, ...],
        charges: tuple[float, ...],
        partners: tuple[str, ...],
        local: Array,
        free: Array,
    ) -> None:
        self.elements, self.charges, self.partners, self.local, self.free = elements, charges, partners, local, free


def _fragment(silane: Molecule, n: int, *, hydrolysed: bool) -> _Fragment:
    silicon = silane.elements.index("Si")
    oxygens = [k for k in silane.neighbours(silicon) if silane.elements[k] == "O"]
    lost = {k for o in oxygens[:n] for k in silane.branch(o, silicon)}
    coords = silane.coords - silane.coords[silicon]
    states = list(silane.oxidation_states)
    if hydrolysed:
        for o in oxygens[n:]:
            carbon = next(k for k in silane.neighbours(o) if k != silicon)
            lost |= set(silane.branch(carbon, o)) - {carbon}
            coords[carbon] = coords[o] + 0.97 * (coords[carbon] - coords[o]) / np.linalg.norm(
                coords[carbon] - coords[o]
            )
            states[carbon] = 1.0
    carbons = {next(k for k in silane.neighbours(o) if k != silicon) for o in oxygens[n:]} if hydrolysed else set()
    elements = tuple("H" if k in carbons else e for k, e in enumerate(silane.elements))
    order = [silicon, *(k for k in range(len(elements)) if k not in lost and k != silicon)]
    partners = tuple(
        "O" if k in carbons else silane.elements[silane.neighbours(k)[0]] if silane.neighbours(k) else "" for k in order
    )
    free = np.array([coords[o] / np.linalg.norm(coords[o]) for o in oxygens[:n]])
    return _Fragment(tuple(elements[k] for k in order), tuple(states[k] for k in order), partners, coords[order], free)


def _graft(assembly: Assembly, orbit: Orbit, fragment: _Fragment) -> bool:
    site = orbit.sites[0]
    n = len(fragment.free)
    oxygens = site.atoms[:n]
    places = [assembly.positions[oxygens[0]] + _shortest(assembly, oxygens[0], o) for o in oxygens]
    hosts = {o: others for o, _, others in find_hydroxyls(assembly)}
    if any(k not in hosts for target in orbit.sites for k in target.atoms[:n]):
        return False
    if n == 1:
        trials = _single_bond_trials(assembly, fragment, oxygens[0], hosts[oxygens[0]])
    else:
        trials = _bridging_trials(fragment, places, outward(assembly, site.point))
    for target in orbit.sites:
        assembly.remove(*target.atoms[n:])
    group = Group(
        elements=fragment.elements,
        charges=fragment.charges,
        ranking_charges=ranking_charges(fragment.elements, fragment.partners),
        bonded={0: frozenset(oxygens)},
    )
    # straight up is best for a bulky group: the rest of the molecule stays away from the surface
    up = outward(assembly, site.point)
    bias = -0.1 * (trials.mean(axis=1) - site.point) @ up
    copies = put(assembly, group, trials, orbit.motions, bias)
    if copies is None:
        return False
    for target, atoms in zip(orbit.sites, copies, strict=True):
        names = ", ".join(
            f"Si-O{o}-{'/'.join(f'{assembly.elements[k]}{k}' for k in hosts[o])}" for o in target.atoms[:n]
        )
        assembly.note_site("grafted silane", names, atoms, float(target.point[2]))
    return True


def _single_bond_trials(assembly: Assembly, fragment: _Fragment, oxygen: int, hosts: Sequence[int]) -> Array:
    """Si around the O at siloxane angles, the rest turned about the Si-O bond, shape (n, n_atoms, 3)."""
    origin = assembly.positions[oxygen]
    axis = np.mean([_shortest(assembly, oxygen, k) / _separation(assembly, oxygen, k) for k in hosts], axis=0)
    axis = axis / np.linalg.norm(axis)
    up = outward(assembly, origin)
    across = up - (up @ axis) * axis
    if np.linalg.norm(across) < 1e-3:
        across = np.cross(axis, [1.0, 0.0, 0.0] if abs(axis[0]) < 0.9 else [0.0, 1.0, 0.0])
    across /= np.linalg.norm(across)
    trials = []
    for angle in np.radians(SI_O_M_DEG):
        start = np.cos(angle) * axis + np.sin(angle) * across
        for torsion in torsion_grid(axis, 24):
            direction = torsion @ start
            if direction @ up < 0.0:
                continue
            turn = rotation_between(fragment.free[0], -direction)
            silicon = origin + SI_O_ANG * direction
            trials += [silicon + fragment.local @ (own @ turn).T for own in torsion_grid(direction, 18)]
    return np.array(trials) if trials else np.zeros((0, len(fragment.local), 3))


def _bridging_trials(fragment: _Fragment, places: Sequence[Array], up: Array) -> Array:
    """Si where it is near to all O, the fragment turned so that its free bonds point to them."""
    points = np.array(places)
    middle = points.mean(axis=0)
    reach = float(np.linalg.norm(points - middle, axis=1).mean())
    height = np.sqrt(max(SI_O_ANG**2 - reach**2, 0.05))
    if len(points) == 2:
        axis = (points[1] - points[0]) / np.linalg.norm(points[1] - points[0])
        start = up - (up @ axis) * axis
        start /= max(float(np.linalg.norm(start)), 1e-6)
        silicons = [middle + height * (rotation_about(axis, 2 * np.pi * k / 36) @ start) for k in range(36)]
        silicons = [place for place in silicons if (place - middle) @ up > -0.2 * height]
    else:
        normal = np.cross(points[1] - points[0], points[2] - points[0])
        normal /= np.linalg.norm(normal)
        silicons = [middle + height * (normal if normal @ up > 0 else -normal)]
    trials = []
    for silicon in silicons:
        wanted = (points - silicon) / np.linalg.norm(points - silicon, axis=1)[:, None]
        for order in (
            ([0, 1], [1, 0]) if len(points) == 2 else ([0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1], [2, 1, 0], [1, 0, 2])
        ):
            turn = _best_rotation(fragment.free, wanted[order])
            trials.append(silicon + fragment.local @ turn.T)
    return np.array(trials)


def _best_rotation(start: Array, end: Array) -> Array:
    """Proper rotation that turns unit vectors (n, 3) best onto others (Kabsch, Acta Cryst. A32, 922 (1976))."""
    u, _, vt = np.linalg.svd(end.T @ start)
    sign = np.sign(np.linalg.det(u @ vt))
    rotation: Array = u @ np.diag([1.0, 1.0, sign]) @ vt
    return rotation
