"""Cut a bond-valence-terminated cluster around one site of a periodic structure.

The target, its anions, their cations and the anions of those (as many shells as the protocol says)
are kept; every bond that is cut, always from a kept anion to a lost cation, ends in a
pseudo-hydrogen whose nuclear charge is the bond valence: Alkan, Holmes and Dybowski, J. Chem.
Theory Comput. 13, 4741 (2017).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...structures.accepting import as_structure
from ...structures.bonding import BOND_SOFTNESS_ANG, Bond, bond_valence_length, find_bonds
from .errors import TooManyCapsChargedError, UnsupportedEnvironmentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...structures.accepting import StructureLike
    from ...structures.vocabulary import AtomicStructure

OH_VALENCE_LENGTH_ANG = 0.907
"""Length of an O-H bond of valence one (Alig, Losel and Tromel, Z. Kristallogr. 209, 18, 1994)."""

HYDROGEN_BOND_ANG = 2.3
"""An anion this close to a target hydrogen belongs to its surroundings even without a bond."""

EQUAL_DISTANCE_ANG = 2e-3
"""Atoms whose distances from the target differ by less count as equally far."""

Node = tuple[int, tuple[int, int, int]]


@dataclass(frozen=True)
class Cluster:
    """A neutral, capped cluster; the target is atom 0 and sits at the origin.

    Attributes
    ----------
    elements
        Symbols of the atoms, nearest first.
    positions_ang
        Their positions, shape (n, 3), angstrom, in the axes of the parent structure.
    parent_indices
        Index of each atom in the parent structure.
    is_near
        Whether the atom is the target or one of its bonded neighbours.
    cap_positions_ang, cap_charges
        Pseudo-hydrogens, shapes (m, 3) and (m,); charges in e.
    formal_charge
        Sum of the atoms' oxidation states, e; the caps' charges sum to its opposite.
    cap_rescaling
        Factor that made the bond valences of the cut bonds neutralise the cluster.
    """

    elements: tuple[str, ...]
    positions_ang: NDArray[np.float64]
    parent_indices: tuple[int, ...]
    is_near: tuple[bool, ...]
    cap_positions_ang: NDArray[np.float64]
    cap_charges: NDArray[np.float64]
    formal_charge: float
    cap_rescaling: float


def bond_charges(structure: StructureLike, bonds: tuple[tuple[Bond, ...], ...]) -> dict[tuple[int, int], float]:
    """Share of each cation's charge that goes into each of its bonds, by bond valence.

    Keys are (cation index, position of the bond in the cation's list); the shares of a cation sum to
    its oxidation state (Pauling's electrostatic rule, with real bond lengths).
    """
    structure = as_structure(structure)
    shares = {}
    for i, own in enumerate(bonds):
        total = sum(bond.valence for bond in own)
        if structure.oxidation_states[i] > 0 and own:
            for k, bond in enumerate(own):
                shares[i, k] = structure.oxidation_states[i] * bond.valence / total
    return shares


def cut_cluster(structure: StructureLike, target: int, *, shells: int, max_cap_rescaling: float) -> Cluster:
    """Cut the cluster of one atom.

    Parameters
    ----------
    structure
        Bulk or slab; a surface that faces vacuum needs no cap.
    target
        Index of the target atom.
    shells
        Number of cation shells, see ``ClusterProtocol``.
    max_cap_rescaling
        Largest relative change of the caps' charges that may be needed to make the cluster neutral.

    Raises
    ------
    UnsupportedEnvironmentError
        If the target has no bond, or two anions are bonded to each other.
    TooManyCapsChargedError
        If the cluster cannot be made neutral within ``max_cap_rescaling``.
    """
    structure = as_structure(structure)
    bonds = find_bonds(structure)
    if not bonds[target]:
        raise UnsupportedEnvironmentError(
            f"atom {target} ({structure.elements[target]}) has no bond to an ion of opposite charge; "
            "check the oxidation states and the structure"
        )
    _refuse_bonds_between_like_ions(structure)
    core = _grow(structure, bonds, target, shells)
    charges = bond_charges(structure, bonds)
    frac, lattice = np.array(structure.frac_coords), structure.lattice
    origin = frac[target]

    def place(node: Node) -> NDArray[np.float64]:
        position: NDArray[np.float64] = (frac[node[0]] + np.array(node[1]) - origin) @ lattice
        return position

    cap_positions, cap_charges = [], []
    for node in sorted(core):
        index, image = node
        if structure.oxidation_states[index] > 0:
            continue
        for bond in bonds[index]:
            if (bond.j, _add(image, bond.image)) in core:
                continue
            charge = next(
                charges[bond.j, k]
                for k, back in enumerate(bonds[bond.j])
                if back.j == index and back.image == _negate(bond.image)
            )
            anion = structure.elements[index]
            unit = OH_VALENCE_LENGTH_ANG if anion == "O" else bond_valence_length("H", anion)
            length = unit - BOND_SOFTNESS_ANG * np.log(charge)
            cap_positions.append(place(node) + length * bond.vector_ang / bond.length_ang)
            cap_charges.append(charge)
    nodes = sorted(core, key=lambda node: (round(float(np.linalg.norm(place(node))), 6), node))
    formal = float(sum(structure.oxidation_states[i] for i, _ in nodes))
    raw = float(sum(cap_charges))
    scale = -formal / raw if raw > 0 else 1.0
    if abs(scale - 1.0) > max_cap_rescaling or (raw == 0 and abs(formal) > 1e-6):
        raise TooManyCapsChargedError(
            f"the cluster of atom {target} ({structure.elements[target]}) has formal charge {formal:+.2f} and caps of "
            f"{raw:.2f}: the caps would have to change by {100 * (scale - 1):+.0f} %, more than "
            f"{100 * max_cap_rescaling:.0f} %; the surface is not charge-balanced around this atom, use more shells"
        )
    neighbours = {(bond.j, bond.image) for bond in bonds[target]}
    return Cluster(
        elements=tuple(structure.elements[i] for i, _ in nodes),
        positions_ang=np.array([place(node) for node in nodes]),
        parent_indices=tuple(i for i, _ in nodes),
        is_near=tuple(node == (target, (0, 0, 0)) or node in neighbours for node in nodes),
        cap_positions_ang=np.array(cap_positions).reshape(-1, 3),
        cap_charges=np.array(cap_charges) * scale,
        formal_charge=formal,
        cap_rescaling=scale,
    )


def local_frame(cluster: Cluster) -> NDArray[np.float64]:
    """Axes fixed to the cluster itself, as the rows of a rotation matrix (3, 3).

    Integration grids have cubic symmetry only, so a tensor depends a little (0.1 ppm with coarse grids) on how the
    cluster lies in its axes. In its own axes it does not depend on how the crystal lies, and equivalent sites agree.
    The first axis halves the angle between two of the target's nearest atoms, the second lies in their plane; the pair
    is chosen by distances alone, and a two-fold axis that swaps them is an axis of the frame.
    """
    near = cluster.positions_ang[1:13]
    distances = np.linalg.norm(near, axis=1)
    units = near / distances[:, None]
    pairs = [
        (i, j) for i in range(len(near)) for j in range(len(near)) if np.linalg.norm(np.cross(units[i], units[j])) > 0.1
    ]
    if not pairs:
        return np.eye(3)
    for number in (0, 1):
        limit = min(distances[pair[number]] for pair in pairs) + EQUAL_DISTANCE_ANG
        pairs = [pair for pair in pairs if distances[pair[number]] <= limit]
    i, j = min(pairs, key=lambda pair: float(np.linalg.norm(near[pair[0]] - near[pair[1]])))
    along, across = units[i] + units[j], units[i] - units[j]
    along, across = along / np.linalg.norm(along), across / np.linalg.norm(across)
    return np.array([along, across, np.cross(along, across)])


def _grow(structure: AtomicStructure, bonds: tuple[tuple[Bond, ...], ...], target: int, shells: int) -> set[Node]:
    """Nodes (atom, image) of the cluster: whole coordination polyhedra, shell by shell."""
    home: Node = (target, (0, 0, 0))
    polyhedra = {home} if structure.oxidation_states[target] > 0 else set(_neighbours(bonds, home))
    core = {home} | {node for cation in polyhedra for node in (cation, *_neighbours(bonds, cation))}
    if structure.elements[target] == "H":
        core |= _hydrogen_bonded(structure, target)
    frontier = deque(core)
    for _ in range(shells - 1):
        cations = {
            node for anion in frontier if structure.oxidation_states[anion[0]] < 0 for node in _neighbours(bonds, anion)
        } - core
        anions = {node for cation in cations for node in _neighbours(bonds, cation)} - core
        core |= cations | anions
        frontier = deque(anions)
    # a proton on a kept anion is cheaper and better than the cap that would replace it
    return core | {
        node
        for anion in core
        if structure.oxidation_states[anion[0]] < 0
        for node in _neighbours(bonds, anion)
        if structure.elements[node[0]] == "H"
    }


def _hydrogen_bonded(structure: AtomicStructure, target: int) -> set[Node]:
    from ase.neighborlist import primitive_neighbor_list

    centres, others, images = primitive_neighbor_list(
        "ijS", structure.periodic, structure.lattice, structure.cart_coords, HYDROGEN_BOND_ANG
    )
    return {
        (int(j), (int(s[0]), int(s[1]), int(s[2])))
        for i, j, s in zip(centres, others, images, strict=True)
        if i == target and structure.oxidation_states[j] < 0
    }


def _refuse_bonds_between_like_ions(structure: AtomicStructure) -> None:
    from ase.data import atomic_numbers, covalent_radii
    from ase.neighborlist import primitive_neighbor_list

    centres, others, lengths = primitive_neighbor_list(
        "ijd", structure.periodic, structure.lattice, structure.cart_coords, 3.2
    )
    radii = np.array([covalent_radii[atomic_numbers[e]] for e in structure.elements])
    charges = np.array(structure.oxidation_states)
    like = (charges[centres] < 0) & (charges[others] < 0) & (lengths < 1.1 * (radii[centres] + radii[others]))
    if like.any():
        k = int(np.argmax(like))
        i, j = int(centres[k]), int(others[k])
        raise UnsupportedEnvironmentError(
            f"atoms {i} ({structure.elements[i]}) and {j} ({structure.elements[j]}) are bonded anions "
            f"({lengths[k]:.2f} angstrom); the cluster engine cuts ionic bonds only, check the oxidation states"
        )


def _neighbours(bonds: tuple[tuple[Bond, ...], ...], node: Node) -> list[Node]:
    index, image = node
    return [(bond.j, _add(image, bond.image)) for bond in bonds[index]]


def _add(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


def _negate(a: tuple[int, int, int]) -> tuple[int, int, int]:
    return (-a[0], -a[1], -a[2])
