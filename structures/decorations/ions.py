"""Ions exchanged, taken away or added, each with what keeps the cell neutral."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..accepting import as_structure
from ..assembly import Assembly, DecorationError
from ..bonding import find_bonds, unit_pairs, usual_coordination
from ..hydroxyl_groups import H_LENGTH_ANG, OH_LENGTH_ANG
from ..placement import Group, orientation_grid, place_group, sphere_directions
from .adsorption import find_hydroxyls, put, typical_bond_length
from .sited import Orbit, Plan, Site, decorate_sites, depth_of, image_atom, outward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..accepting import StructureLike
    from ..vocabulary import AtomicStructure, Candidate
    from .settings import IonAdatoms, IonVacancies, ProtonExchange

    Array = NDArray[np.float64]

PROTON_REACH_ANG = 3.6
"""The H of an exchange goes on an anion at most so far from the ion it replaces."""

TOWARDS_VACANCY_EV = 0.6
"""Gain in the ranking of an H that points straight to where the ion was."""


def exchange_protons(candidate: Candidate, bulk: StructureLike, settings: ProtonExchange) -> tuple[Candidate, ...]:
    """Surface ions of charge one replaced by H+ on a neighbouring anion, pointing to where the ion was.

    Raises
    ------
    NoSiteError, SiteCountError, NoRoomError, AtomBudgetError, DecorationError
    """
    bulk = as_structure(bulk)
    _check_ion(bulk, settings.ion)
    ion = settings.ion

    def fill(assembly: Assembly, orbit: Orbit) -> bool:
        atom = orbit.sites[0].atoms[0]
        return _replace_by_proton(assembly, orbit, atom, near=True)

    plan = Plan(
        kind=settings.kind,
        what=f"surface {ion}",
        find=lambda assembly, _: surface_ions(assembly, ion, settings.depth_ang),
        fill=fill,
        suffix=lambda n: f"{n}H-for-{ion}",
        describe=lambda n: f"{n} {ion}+ exchanged for H+",
        charge_balance=f"each {ion}+ taken away is replaced by one H+ on a neighbouring anion",
        missing=f"raise depth_ang (now {settings.depth_ang:g}), or choose another termination",
    )
    return decorate_sites(candidate, bulk, settings, plan)


def remove_ions(candidate: Candidate, bulk: StructureLike, settings: IonVacancies) -> tuple[Candidate, ...]:
    """Surface ions taken away together with what keeps the cell neutral.

    Raises
    ------
    NoSiteError, SiteCountError, NoRoomError, AtomBudgetError, DecorationError
    """
    bulk = as_structure(bulk)
    _check_ion(bulk, settings.ion)
    ion, how = settings.ion, settings.compensation
    balance = {
        "proton": f"each {ion}+ taken away is balanced by one H+ on an open surface anion",
        "hydroxide": f"each {ion}+ leaves with one OH- ({ion}OH lost)",
        "anion": f"each anion of charge -z leaves with z {ion}+",
    }[how]

    def find(assembly: Assembly, _: AtomicStructure) -> Sequence[Site]:
        if how == "proton":
            return surface_ions(assembly, ion, settings.depth_ang)
        return _neutral_sets(assembly, bulk, ion, settings.depth_ang, hydroxide=how == "hydroxide")

    def fill(assembly: Assembly, orbit: Orbit) -> bool:
        if how == "proton":
            return _replace_by_proton(assembly, orbit, orbit.sites[0].atoms[0], near=False)
        for site in orbit.sites:
            assembly.remove(*site.atoms)
            names = "+".join(f"{assembly.elements[k]}{k}" for k in site.atoms)
            assembly.note_site("vacancy", names, (), float(site.point[2]))
        return True

    lost = {"proton": ion, "hydroxide": f"{ion}OH", "anion": f"{ion}zX"}[how]
    missing = {
        "proton": f"raise depth_ang (now {settings.depth_ang:g}), or choose another termination",
        "hydroxide": "split water over the slab first, or use compensation='anion' or 'proton'",
        "anion": "every surface anion belongs to a unit such as PO4; use compensation='proton'",
    }[how]
    plan = Plan(
        kind=settings.kind,
        what=f"surface {ion}" if how == "proton" else f"neutral {lost} groups of the surface",
        find=find,
        fill=fill,
        suffix=lambda n: f"{n}v{ion}-{how}",
        describe=lambda n: f"{n} {ion} vacancies, compensation {how}" if how == "proton" else f"{n} {lost} taken away",
        charge_balance=balance,
        missing=missing,
    )
    return decorate_sites(candidate, bulk, settings, plan)


def add_ions(candidate: Candidate, bulk: StructureLike, settings: IonAdatoms) -> tuple[Candidate, ...]:
    """Ions added on the surface together with what keeps the cell neutral.

    Raises
    ------
    NoSiteError, SiteCountError, NoRoomError, AtomBudgetError, DecorationError
    """
    bulk = as_structure(bulk)
    ion, how = settings.ion, settings.compensation
    if ion in bulk.elements:
        _check_ion(bulk, ion)
        coordination = usual_coordination(bulk)[ion]
    else:
        coordination = 4
    partner = "O" if how != "halide" else _halide(bulk)

    def find(assembly: Assembly, _: AtomicStructure) -> Sequence[Site]:
        if how == "proton":
            return [
                Site(assembly.positions[o], (o, h), 0.3 * depth_of(assembly, assembly.positions[o]))
                for o, h, _ in find_hydroxyls(assembly)
            ]
        return _surface_anions(assembly)

    def fill(assembly: Assembly, orbit: Orbit) -> bool:
        anion = orbit.sites[0].atoms[0]
        element = assembly.elements[anion]
        length = typical_bond_length(ion, 1.0, coordination, element)
        up = outward(assembly, assembly.positions[anion])
        directions = sphere_directions(200)
        directions = directions[directions @ up > -0.2]
        places = np.vstack([assembly.positions[anion] + d * directions for d in (length, length + 0.2)])
        if how == "proton":
            for site in orbit.sites:
                assembly.remove(site.atoms[1])
            trials = places[:, None, :]
            group = Group((ion,), (1.0,), (1.0,), {0: frozenset({anion})})
        else:
            # the pair points away from the surface or lies on it; its anion may bind to other cations
            reach = typical_bond_length(ion, 1.0, 2, partner)
            turned = orientation_grid(60, 1)[:, :, 2]
            turned = turned[turned @ up > -0.1]
            atoms = [places[:, None, :] + np.zeros((1, len(turned), 3)), places[:, None, :] + reach * turned[None]]
            if how == "hydroxide":
                atoms.append(places[:, None, :] + (reach + OH_LENGTH_ANG) * turned[None])
            trials = np.stack(atoms, axis=2).reshape(-1, len(atoms), 3)
            elements = (ion, partner, "H")[: len(atoms)]
            charges = (1.0, -2.0, 1.0) if how == "hydroxide" else (1.0, -1.0)
            group = Group(elements, charges, charges, {0: frozenset({anion})})
        copies = put(assembly, group, trials, orbit.motions)
        if copies is None:
            return False
        for site, atoms_now in zip(orbit.sites, copies, strict=True):
            host = f"{assembly.elements[anion]}{site.atoms[0]}"
            assembly.note_site(f"{ion} adatom", host, atoms_now, float(site.point[2]))
        return True

    balance = {
        "proton": f"each {ion}+ takes the place of the H+ of a hydroxyl",
        "hydroxide": f"each {ion}+ comes with one OH- ({ion}OH added)",
        "halide": f"each {ion}+ comes with one {partner}- ({ion}{partner} added)",
    }[how]
    plan = Plan(
        kind=settings.kind,
        what="surface hydroxyls" if how == "proton" else "surface anions",
        find=find,
        fill=fill,
        suffix=lambda n: f"{n}{ion}-ad-{how}",
        describe=lambda n: f"{n} {ion} adatoms, compensation {how}",
        charge_balance=balance,
        missing="split water over the slab first, or use compensation='hydroxide'",
    )
    return decorate_sites(candidate, bulk, settings, plan)


def surface_ions(assembly: Assembly, ion: str, depth_ang: float) -> list[Site]:
    """Ions of an element near the faces, the outermost first."""
    sites = []
    for k in range(assembly.n_parent):
        depth = depth_of(assembly, assembly.positions[k])
        if assembly.elements[k] == ion and depth <= depth_ang:
            sites.append(Site(assembly.positions[k], (k,), 0.3 * depth))
    return sites


def _check_ion(bulk: AtomicStructure, ion: str) -> None:
    states = {q for e, q in zip(bulk.elements, bulk.oxidation_states, strict=True) if e == ion}
    if states != {1.0}:
        singles = sorted(
            {e for e, q in zip(bulk.elements, bulk.oxidation_states, strict=True) if q == 1.0 and e != "H"}
        )
        what = f"is in {bulk.formula} with charge {sorted(states)}" if states else f"is not in {bulk.formula}"
        advice = f"use {' or '.join(singles)}" if singles else "this crystal has no such ion"
        raise DecorationError(f"{ion} {what}; ions of charge +1 are exchanged, {advice}")


def _halide(bulk: AtomicStructure) -> str:
    found = sorted({e for e, q in zip(bulk.elements, bulk.oxidation_states, strict=True) if q == -1.0 and e != "H"})
    if not found:
        raise DecorationError(f"{bulk.formula} has no anion of charge -1; use compensation='hydroxide'")
    return found[0]


def _replace_by_proton(assembly: Assembly, orbit: Orbit, atom: int, *, near: bool) -> bool:
    """Take the ions of an orbit away and put an H on an anion: next to the ion, or on the most open one."""
    place = assembly.positions[atom]
    removed = [image_atom(assembly, atom, motion) for motion in orbit.motions]
    if len(set(removed)) != len(removed):
        return False
    structure, alive = assembly.structure(), assembly.alive
    protonated = {
        alive[b.j] for new, bonds in enumerate(find_bonds(structure)) if structure.elements[new] == "H" for b in bonds
    }
    assembly.remove(*removed)
    up = outward(assembly, place)
    anions = []
    for k in assembly.alive:
        if (
            assembly.charges[k] >= 0
            or k >= assembly.n_parent
            or k in protonated
            or assembly.elements[k] not in H_LENGTH_ANG
        ):
            continue
        frac = (assembly.positions[k] - place) @ np.linalg.inv(assembly.lattice)
        frac[:2] -= np.round(frac[:2])
        vector = frac @ assembly.lattice
        same_side = outward(assembly, assembly.positions[k]) @ up > 0
        depth = depth_of(assembly, assembly.positions[k])
        distance = float(np.linalg.norm(vector))
        if (near and distance <= PROTON_REACH_ANG) or (not near and same_side and depth < 2.0):
            anions.append((distance if near else depth + 0.1 * distance, k, vector))
    anions.sort(key=lambda found: (round(found[0], 3), found[1]))
    host, alive = assembly.host()
    number = {old: new for new, old in enumerate(alive)}
    best: tuple[float, int, Array] | None = None
    for _, anion, vector in anions[:8]:
        directions = sphere_directions(240)
        trials = (assembly.positions[anion] + H_LENGTH_ANG[assembly.elements[anion]] * directions)[:, None, :]
        aim = -vector / np.linalg.norm(vector) if near else up
        bias = -TOWARDS_VACANCY_EV * (directions @ aim)
        group = Group(("H",), (1.0,), (1.0,), {0: frozenset({number[anion]})})
        placed = place_group(host, group, trials, motions=orbit.motions, bias=bias)
        if placed is not None and (best is None or placed.score_ev < best[0] - 1e-6):
            best = (placed.score_ev, anion, placed.positions)
    if best is None:
        return False
    _, anion, copies = best
    for motion, removed_atom, copy in zip(orbit.motions, removed, copies, strict=True):
        (hydrogen,) = assembly.add(("H",), (1.0,), copy)
        where = image_atom(assembly, anion, motion)
        label = f"H on {assembly.elements[anion]}{where}"
        assembly.note_site(label, f"{assembly.elements[removed_atom]}{removed_atom}", (hydrogen,), float(copy[0, 2]))
    return True


def _neutral_sets(
    assembly: Assembly, bulk: AtomicStructure, ion: str, depth_ang: float, *, hydroxide: bool
) -> list[Site]:
    """Anions of the surface that belong to no unit, each with the nearest ions that balance it."""
    structure, alive = assembly.structure(), assembly.alive
    units = {pair for pair in unit_pairs(bulk) if pair[0] != "H"}
    bonds = find_bonds(structure)
    ions = {site.atoms[0]: site for site in surface_ions(assembly, ion, depth_ang + 1.5)}
    sites = []
    for new, old in enumerate(alive):
        hydrogens = [alive[b.j] for b in bonds[new] if structure.elements[b.j] == "H"]
        depth = depth_of(assembly, assembly.positions[old])
        if structure.oxidation_states[new] >= 0 or depth > depth_ang:
            continue
        if any((structure.elements[b.j], structure.elements[new]) in units for b in bonds[new]):
            continue
        if len(hydrogens) != int(hydroxide):
            continue
        n_ions = round(-structure.oxidation_states[new]) - len(hydrogens)
        near = []
        for atom, ion_site in ions.items():
            frac = (assembly.positions[atom] - assembly.positions[old]) @ np.linalg.inv(assembly.lattice)
            frac[:2] -= np.round(frac[:2])
            near.append((round(float(np.linalg.norm(frac @ assembly.lattice)) + 0.3 * ion_site.cost, 3), atom))
        near.sort()
        if len(near) >= n_ions and near[n_ions - 1][0] < 4.5:
            chosen = tuple(atom for _, atom in near[:n_ions])
            sites.append(Site(assembly.positions[old], (old, *hydrogens, *chosen), 0.3 * depth))
    return sites


def _surface_anions(assembly: Assembly) -> list[Site]:
    """Anions without H within 2 angstrom of the outermost atom, the outermost first."""
    structure, alive = assembly.structure(), assembly.alive
    bonds = find_bonds(structure)
    sites = []
    for new, old in enumerate(alive):
        depth = depth_of(assembly, assembly.positions[old])
        if structure.oxidation_states[new] < 0 and structure.elements[new] != "C" and depth < 2.0:
            if any(structure.elements[b.j] == "H" for b in bonds[new]):
                continue
            sites.append(Site(assembly.positions[old], (old,), 0.3 * depth))
    return sites
