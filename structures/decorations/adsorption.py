"""Whole molecules on a slab: water, pieces of polymers, Li2CO3 units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..accepting import as_structure
from ..assembly import Assembly, DecorationError, open_sites
from ..bonding import BOND_SOFTNESS_ANG, bond_valence_length, find_bonds, usual_coordination
from ..molecules import Molecule, load_molecule, molecule_from_smiles, molecule_names
from ..placement import Group, orientation_grid, place_group, rotation_between, sphere_directions
from .sited import Orbit, Plan, Site, adsorbate_atoms, decorate_sites, depth_of, outward

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ..accepting import StructureLike
    from ..placement import Motion
    from ..vocabulary import AtomicStructure, Candidate
    from .settings import Fragment, MolecularWater, Placed

    Array = NDArray[np.float64]

HYDROGEN_BOND_ANG = 1.8
"""H to acceptor of a hydrogen bond as placed, angstrom."""

HYDROXYL_REACH_ANG = 4.0
"""Hydroxyls up to this depth below the outermost atom count as surface hydroxyls."""

CONE_DEG = 35.0
"""A molecule's donor is placed at most this far off the direction of the lost bond."""

_RANKING = {"O": -0.7, "N": -0.6, "S": -0.3, "C": 0.15, "Si": 0.8}


def ranking_charges(elements: Sequence[str], neighbours_of_h: Sequence[str]) -> tuple[float, ...]:
    """Rough partial charges that rank orientations: 0.35 for H on O or N, 0.08 for H on C, fixed ones for the rest.

    ``neighbours_of_h`` holds for every atom the element it is bonded to, read for H only.
    """
    return tuple(
        (0.08 if partner == "C" else 0.35) if element == "H" else _RANKING.get(element, 0.0)
        for element, partner in zip(elements, neighbours_of_h, strict=True)
    )


def group_of(molecule: Molecule, bonded: dict[int, frozenset[int]]) -> Group:
    """A molecule as a group to be placed."""
    partners = [
        molecule.elements[molecule.neighbours(k)[0]] if molecule.neighbours(k) else ""
        for k in range(len(molecule.elements))
    ]
    return Group(
        elements=molecule.elements,
        charges=molecule.oxidation_states,
        ranking_charges=ranking_charges(molecule.elements, partners),
        bonded=bonded,
    )


def typical_bond_length(cation: str, charge: float, coordination: int, anion: str = "O") -> float:
    """Length of a bond that carries the Pauling share of the cation's charge, angstrom."""
    return bond_valence_length(cation, anion) - BOND_SOFTNESS_ANG * float(np.log(charge / max(1, coordination)))


def find_hydroxyls(assembly: Assembly, *, depth_ang: float = HYDROXYL_REACH_ANG) -> list[tuple[int, int, list[int]]]:
    """Surface hydroxyls: numbers of O, of its only H, and of the other cations of the O."""
    structure = assembly.structure()
    alive = assembly.alive
    found = []
    for new, bonds in enumerate(find_bonds(structure)):
        if structure.elements[new] != "O":
            continue
        hydrogen = [b.j for b in bonds if structure.elements[b.j] == "H"]
        others = [b.j for b in bonds if structure.elements[b.j] != "H"]
        oxygen = alive[new]
        if len(hydrogen) == 1 and others and depth_of(assembly, assembly.positions[oxygen]) <= depth_ang:
            found.append((oxygen, alive[hydrogen[0]], [alive[k] for k in others]))
    return found


def cation_sites(assembly: Assembly, bulk: StructureLike) -> list[Site]:
    """Undercoordinated cations, those with the most lost bonds and nearest to the vacuum first."""
    bulk = as_structure(bulk)
    slab = assembly.structure()
    alive = assembly.alive
    added = adsorbate_atoms(assembly)
    ignore = {new for new, old in enumerate(alive) if old in added or old >= assembly.n_parent}
    sites = []
    for site in open_sites(slab, bulk, assembly.parent.miller, ignore=ignore):
        old = alive[site.atom]
        position = assembly.positions[old]
        if assembly.charges[old] <= 0 or assembly.elements[old] == "H":
            continue
        if depth_of(assembly, position) > HYDROXYL_REACH_ANG or site.direction @ outward(assembly, position) < 0.0:
            continue
        sites.append(Site(position, (old,), 0.3 * depth_of(assembly, position) - 0.2 * site.n_lost, site.direction))
    return sites


def hydroxyl_sites(assembly: Assembly) -> list[Site]:
    """H of surface hydroxyls that points outwards, with the direction of its O-H bond."""
    sites = []
    for oxygen, hydrogen, _ in find_hydroxyls(assembly):
        vector = _nearest_vector(assembly, oxygen, hydrogen)
        direction = vector / np.linalg.norm(vector)
        position = assembly.positions[oxygen] + vector
        if direction @ outward(assembly, position) > -0.2:
            sites.append(Site(position, (hydrogen, oxygen), -float(direction @ outward(assembly, position)), direction))
    return sites


def _nearest_vector(assembly: Assembly, start: int, end: int) -> Array:
    frac = (assembly.positions[end] - assembly.positions[start]) @ np.linalg.inv(assembly.lattice)
    frac[:2] -= np.round(frac[:2])
    vector: Array = frac @ assembly.lattice
    return vector


def anchored_trials(
    site: Site, distances: Sequence[float], molecule: Molecule, up: Array, grid: Array, *, cone_deg: float = CONE_DEG
) -> tuple[Array, Array]:
    """Positions of a molecule with its anchor near a site, and a bias that prefers it straight above.

    Returns
    -------
    Shapes (n_trials, n_atoms, 3), angstrom, and (n_trials,), eV.
    """
    assert site.direction is not None
    cone = sphere_directions(80)
    cone = (
        cone[cone[:, 2] > np.cos(np.radians(cone_deg))] @ rotation_between(np.array([0.0, 0.0, 1.0]), site.direction).T
    )
    cone = (
        np.vstack([site.direction, up, cone])
        if site.direction @ up > np.cos(np.radians(75))
        else np.vstack([site.direction, cone])
    )
    local = molecule.coords - molecule.coords[molecule.anchor]
    turned = np.einsum("rij,aj->rai", grid, local)
    centroid = turned.mean(axis=1)
    points = np.array([site.point + d * direction for d in distances for direction in cone])
    trials = points[:, None, None, :] + turned[None, :, :, :]
    # the rest of the molecule is on the far side of its anchor
    ahead = np.einsum("pi,ri->pr", np.array([direction for _ in distances for direction in cone]), centroid)
    ahead = ahead / max(float(np.linalg.norm(centroid, axis=1).max()), 1e-6)
    keep = (ahead > -0.2).reshape(-1)
    bias = np.broadcast_to(-0.05 * ahead, ahead.shape).reshape(-1)
    return trials.reshape(-1, *local.shape)[keep], bias[keep]


def put(
    assembly: Assembly, group: Group, trials: Array, motions: Sequence[Motion], bias: Array | None = None
) -> list[tuple[int, ...]] | None:
    """Place a group and its copies; the numbers of the new atoms copy by copy, or ``None`` without room."""
    host, alive = assembly.host()
    number = {old: new for new, old in enumerate(alive)}
    bonded = {k: frozenset(number[i] for i in atoms if i in number) for k, atoms in group.bonded.items()}
    placed = place_group(
        host, Group(group.elements, group.charges, group.ranking_charges, bonded), trials, motions=motions, bias=bias
    )
    if placed is None:
        return None
    return [assembly.add(group.elements, group.charges, copy) for copy in placed.positions]


def kept_or_smiles(name: str) -> Molecule:
    """A kept molecule, or one from its SMILES."""
    if name in molecule_names():
        return load_molecule(name)
    if name.isidentifier() and name.islower():
        return load_molecule(name)
    return molecule_from_smiles(name)


def adsorb_fragment(candidate: Candidate, bulk: StructureLike, settings: Fragment) -> tuple[Candidate, ...]:
    """A molecule physisorbed with its donor atom towards cations or hydroxyls."""
    bulk = as_structure(bulk)
    molecule = kept_or_smiles(settings.molecule)
    fill = _anchored_fill(candidate, bulk, molecule, on=settings.on, height_ang=settings.height_ang)
    label = molecule.name
    return decorate_sites(candidate, bulk, settings, _adsorption_plan(settings, label, fill))


def adsorb_water(candidate: Candidate, bulk: StructureLike, settings: MolecularWater) -> tuple[Candidate, ...]:
    """Water on cations or hydroxyls, with further molecules hydrogen-bonded to it if asked for."""
    bulk = as_structure(bulk)
    water = load_molecule("water")
    first = _anchored_fill(candidate, bulk, water, on=settings.on, height_ang=None)

    def fill(assembly: Assembly, orbit: Orbit) -> bool:
        if not first(assembly, orbit):
            return False
        _, _, host, atoms = assembly.sites[-len(orbit.sites)]
        oxygen, *hydrogens = atoms
        for hydrogen in hydrogens[: settings.second_layer]:
            if not _hydrogen_bond(assembly, oxygen, hydrogen, orbit.motions, f"H{hydrogen} of water on {host}"):
                return False
        return True

    return decorate_sites(candidate, bulk, settings, _adsorption_plan(settings, "water", fill, per_site="H2O"))


def adsorb_lithium_carbonate(candidate: Candidate, bulk: StructureLike, settings: Placed) -> tuple[Candidate, ...]:
    """Li2CO3 units on surface cations, an O of the carbonate towards the cation."""
    bulk = as_structure(bulk)
    fill = _anchored_fill(candidate, bulk, lithium_carbonate_unit(), on="cation", height_ang=None)
    return decorate_sites(candidate, bulk, settings, _adsorption_plan(settings, "Li2CO3", fill, kind="carbonate"))


def lithium_carbonate_unit() -> Molecule:
    """Planar Li2CO3 with each Li between two O: C-O 1.29, Li-O 1.88 angstrom; a start for a relaxation."""
    angles = np.radians([90.0, 210.0, 330.0])
    oxygen = 1.29 * np.column_stack([np.cos(angles), np.sin(angles), np.zeros(3)])
    between = [np.radians(150.0), np.radians(30.0)]
    along = 0.5 * (1.29 + np.sqrt(1.29**2 - 4 * (1.29**2 - 1.88**2)))
    lithium = along * np.array([[np.cos(a), np.sin(a), 0.0] for a in between])
    positions = np.vstack([np.zeros(3), oxygen, lithium])
    return Molecule(
        name="Li2CO3",
        elements=("C", "O", "O", "O", "Li", "Li"),
        positions_ang=tuple((float(x), float(y), float(z)) for x, y, z in positions),
        bonds=(),
        oxidation_states=(4.0, -2.0, -2.0, -2.0, 1.0, 1.0),
        anchor=2,
        source="model: planar, C2v",
    )


def _adsorption_plan(
    settings: Placed, label: str, fill: Callable[[Assembly, Orbit], bool], *, per_site: str = "", kind: str = ""
) -> Plan:
    on = getattr(settings, "on", "cation")
    if on == "cation":
        what, missing = "undercoordinated cations", "adsorb on='hydroxyl', or give the dry slab"
    else:
        what, missing = "outward hydroxyls", "split water over the slab first, or adsorb on='cation'"
    n_more = getattr(settings, "second_layer", 0)
    return Plan(
        kind=kind or str(getattr(settings, "kind", "fragment")),
        what=what,
        find=cation_sites if on == "cation" else lambda assembly, _: hydroxyl_sites(assembly),
        fill=fill,
        suffix=lambda n: f"{n}{per_site or label}" if per_site else f"{n}({label})",
        describe=lambda n: f"{n} {label} on {on}s" + (f", up to {n_more} more on each of the first" if n_more else ""),
        charge_balance="whole neutral molecules are added",
        missing=missing if not kind else "take another termination",
    )


def _anchored_fill(
    candidate: Candidate, bulk: AtomicStructure, molecule: Molecule, *, on: str, height_ang: float | None
) -> Callable[[Assembly, Orbit], bool]:
    usual = usual_coordination(bulk)
    small = len(molecule.elements) <= 6
    grid = orientation_grid(48, 12) if small else orientation_grid(60, 12)
    if molecule.elements[molecule.anchor] not in ("O", "N", "S", "F", "Cl"):
        raise DecorationError(
            f"{molecule.name} has no donor atom (O, N, S or a halogen) to bind with; give another molecule"
        )

    def fill(assembly: Assembly, orbit: Orbit) -> bool:
        site = orbit.sites[0]
        atom = site.atoms[0]
        if height_ang is not None:
            distances = [height_ang]
        elif on == "cation":
            element = assembly.elements[atom]
            length = typical_bond_length(element, assembly.charges[atom], usual.get(element, 4))
            distances = [length + 0.1, length + 0.35, length + 0.7]
        else:
            distances = [HYDROGEN_BOND_ANG, HYDROGEN_BOND_ANG + 0.25]
        bonded = {molecule.anchor: frozenset({atom})}
        group = group_of(molecule, bonded)
        for distance in distances:
            trials, bias = anchored_trials(site, [distance], molecule, outward(assembly, site.point), grid)
            copies = put(assembly, group, trials, orbit.motions, bias)
            if copies is not None:
                for target, atoms in zip(orbit.sites, copies, strict=True):
                    host = f"{assembly.elements[target.atoms[0]]}{target.atoms[0]}"
                    ordered = (atoms[molecule.anchor], *(k for k in atoms if k != atoms[molecule.anchor]))
                    assembly.note_site(molecule.name, host, ordered, float(target.point[2]))
                return True
        return False

    return fill


def _hydrogen_bond(assembly: Assembly, oxygen: int, hydrogen: int, motions: Sequence[Motion], host: str) -> bool:
    """Put a water whose O accepts the hydrogen bond of a given O-H."""
    water = load_molecule("water")
    vector = _nearest_vector(assembly, oxygen, hydrogen)
    point = assembly.positions[oxygen] + vector
    site = Site(point, (hydrogen, oxygen), 0.0, vector / np.linalg.norm(vector))
    grid = orientation_grid(48, 12)
    for distance in (HYDROGEN_BOND_ANG, HYDROGEN_BOND_ANG + 0.25, HYDROGEN_BOND_ANG + 0.5):
        trials, bias = anchored_trials(
            site, [distance], water, site.direction if site.direction is not None else vector, grid, cone_deg=45.0
        )
        copies = put(assembly, group_of(water, {water.anchor: frozenset({hydrogen})}), trials, motions, bias)
        if copies is not None:
            for atoms, (rotation, shift) in zip(copies, motions, strict=True):
                assembly.note_site("water, hydrogen-bonded", host, atoms, float((rotation @ point + shift)[2]))
            return True
    return False
