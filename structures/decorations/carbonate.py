"""CO2 taken up by surface oxide as carbonate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..accepting import as_structure
from ..bonding import find_bonds, unit_pairs
from ..placement import Group, rotation_about, rotation_between, sphere_directions
from .adsorption import adsorb_lithium_carbonate, put
from .sited import Orbit, Plan, Site, decorate_sites, depth_of, outward

if TYPE_CHECKING:
    from ..accepting import StructureLike
    from ..assembly import Assembly
    from ..vocabulary import AtomicStructure, Candidate
    from .settings import Carbonate

CO_LENGTH_ANG = 1.29
"""C-O of a carbonate ion, angstrom; Li2CO3 has 1.27 to 1.29."""

OXIDE_REACH_ANG = 2.5
"""Oxide ions up to this depth take up CO2."""


def take_up_carbonate(candidate: Candidate, bulk: StructureLike, settings: Carbonate) -> tuple[Candidate, ...]:
    """CO2 on surface O2- (``co2``), or Li2CO3 units on surface cations (``li2co3``).

    Raises
    ------
    NoSiteError
        If every surface O belongs to a unit such as PO4 or carries H.
    SiteCountError, NoRoomError, AtomBudgetError
    """
    bulk = as_structure(bulk)
    if settings.form == "li2co3":
        return adsorb_lithium_carbonate(candidate, bulk, settings)
    plan = Plan(
        kind="carbonate",
        what="surface oxide ions",
        find=_oxide_ions,
        fill=_add_carbon_dioxide,
        suffix=lambda n: f"{n}CO2",
        describe=lambda n: f"{n} CO2 on surface O as CO3",
        charge_balance="whole CO2 is added; with the surface O2- it is CO3(2-)",
        missing="every surface O belongs to a unit such as PO4 or carries H; use form='li2co3'",
    )
    return decorate_sites(candidate, bulk, settings, plan)


def _oxide_ions(assembly: Assembly, bulk: AtomicStructure) -> list[Site]:
    structure, alive = assembly.structure(), assembly.alive
    units = unit_pairs(bulk)
    bonds = find_bonds(structure)
    sites = []
    for new, old in enumerate(alive):
        if structure.elements[new] != "O" or old >= assembly.n_parent:
            continue
        partners = {structure.elements[b.j] for b in bonds[new]}
        depth = depth_of(assembly, assembly.positions[old])
        if "H" in partners or "C" in partners or depth > OXIDE_REACH_ANG:
            continue
        if any((partner, "O") in units for partner in partners):
            continue
        away = -sum((b.vector_ang / b.length_ang for b in bonds[new]), start=np.zeros(3))
        away = away + 0.5 * outward(assembly, assembly.positions[old])
        sites.append(Site(assembly.positions[old], (old,), 0.3 * depth, away / max(float(np.linalg.norm(away)), 1e-6)))
    return sites


def _add_carbon_dioxide(assembly: Assembly, orbit: Orbit) -> bool:
    site = orbit.sites[0]
    (oxygen,) = site.atoms
    assert site.direction is not None
    z = np.array([0.0, 0.0, 1.0])
    cone = sphere_directions(160)
    cone = cone[cone[:, 2] > np.cos(np.radians(70.0))] @ rotation_between(z, site.direction).T
    third = np.radians(60.0)
    local = CO_LENGTH_ANG * np.array(
        [[0.0, 0.0, 1.0], [np.sin(third), 0.0, 1.0 + np.cos(third)], [-np.sin(third), 0.0, 1.0 + np.cos(third)]]
    )
    trials, bias = [], []
    for direction in cone:
        turn = rotation_between(z, direction)
        for torsion in range(12):
            # half a turn carries the group into itself
            placed = local @ (turn @ rotation_about(z, np.pi * torsion / 12)).T
            trials.append(site.point + placed)
            bias.append(0.5 * (1.0 - float(direction @ site.direction)))
    group = Group(
        elements=("C", "O", "O"),
        charges=(4.0, -2.0, -2.0),
        ranking_charges=(0.6, -0.7, -0.7),
        bonded={0: frozenset({oxygen}), 1: frozenset({oxygen}), 2: frozenset({oxygen})},
    )
    copies = put(assembly, group, np.array(trials), orbit.motions, np.array(bias))
    if copies is None:
        return False
    for target, atoms in zip(orbit.sites, copies, strict=True):
        assembly.note_site("CO3", f"O{target.atoms[0]}", atoms, float(target.point[2]))
    return True
