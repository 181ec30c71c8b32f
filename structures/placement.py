"""Put groups of atoms on a slab: contacts with periodic neighbours, orientations on a grid, the best one kept.

Everything is deterministic. A group is placed together with its symmetric copies, so that what symmetry makes
equivalent is treated alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from .bonding import bond_valence_length, covalent_distance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Motion = tuple[Array, Array]
    """Cartesian rotation (3, 3) and translation (3,) of a symmetry operation."""

CLASH_RATIO = 0.75
"""No two atoms come closer than this share of the sum of their covalent radii."""

SCREENING_ANG = 2.0
"""Decay length of the Coulomb term that ranks orientations, angstrom."""

COULOMB_EV_ANG = 14.399645
"""e^2 / (4 pi epsilon_0), eV angstrom."""

PENALTY_EV = 0.5
"""What a contact at the hard limit costs in the ranking, eV."""

COULOMB_SHARE = 0.25
"""Share of the Coulomb term that counts, because formal charges overstate it."""

MAX_SCORED = 800
"""Of more trials without clash, evenly many from the whole range of the bias are scored."""

_VDW_ANG = {"H": 1.1, "C": 1.7, "N": 1.55, "O": 1.52, "F": 1.47, "Si": 2.1, "P": 1.8, "S": 1.8, "Cl": 1.75, "Br": 1.83}
"""Radii after Bondi 1964 and, for H, Rowland and Taylor 1996, angstrom."""

IDENTITY: Motion = (np.eye(3), np.zeros(3))


@cache
def contact_limits(first: str, first_charge: float, second: str, second_charge: float) -> tuple[float, float]:
    """Least distance of two atoms that are not bonded, and the distance from which more room is no advantage.

    Hydrogen bonds (H to an anion) may be as short as 1.55 angstrom; a cation and an anion may touch; all other pairs
    keep a share of their van der Waals (anions, carbon) or covalent (cations) radii apart.

    Returns
    -------
    Both in angstrom; the least distance is never below ``CLASH_RATIO`` of the covalent radii.
    """
    floor = CLASH_RATIO * covalent_distance(first, second)
    kinds = {first, second}
    if kinds == {"H"}:
        least, roomy = 1.75, 2.25
    elif "H" in kinds:
        other, charge = (second, second_charge) if first == "H" else (first, first_charge)
        if other == "C":
            least, roomy = 2.2, 2.7
        elif charge < 0:
            extra = _VDW_ANG.get(other, 1.9) - _VDW_ANG["O"]
            least, roomy = 1.55 + extra, 1.95 + extra
        else:
            least, roomy = 1.7, 2.4
    elif first_charge * second_charge < 0 and "C" not in kinds:
        cation, anion = (first, second) if first_charge > 0 else (second, first)
        length = bond_valence_length(cation, anion)
        least, roomy = max(0.9 * length, 1.6), length + 0.35
    elif first_charge > 0 and second_charge > 0:
        least, roomy = 0.85 * covalent_distance(first, second), 1.15 * covalent_distance(first, second)
    else:
        contact = _VDW_ANG.get(first, 1.9) + _VDW_ANG.get(second, 1.9)
        least, roomy = 0.79 * contact, 0.97 * contact
    least = max(floor, least)
    return least, max(roomy, least + 0.2)


@dataclass(frozen=True)
class Host:
    """The atoms that are already there: elements, charges (e), positions (n, 3) and the lattice's rows, angstrom.

    The third lattice vector is vacuum; only in-plane images count.
    """

    elements: tuple[str, ...]
    charges: Array
    positions: Array
    lattice: Array

    def around(self, centre: Array, reach_ang: float) -> tuple[NDArray[np.int64], Array]:
        """Numbers and positions of the atoms and in-plane images within a reach of a point."""
        shifts = in_plane_shifts(self.lattice, reach_ang + 1.0)
        frac = (self.positions - centre) @ np.linalg.inv(self.lattice)
        frac[:, 2] = 0.0
        near = self.positions - np.round(frac) @ self.lattice
        images = (near[None, :, :] + shifts[:, None, :]).reshape(-1, 3)
        numbers = np.tile(np.arange(len(self.elements)), len(shifts))
        close = np.linalg.norm(images - centre, axis=1) < reach_ang
        return numbers[close], images[close]


def in_plane_shifts(lattice: Array, reach_ang: float) -> Array:
    """In-plane lattice vectors up to about a reach, shape (n, 3), zero first."""
    widths = 1.0 / np.linalg.norm(np.linalg.inv(lattice)[:, :2], axis=0)
    n_a, n_b = (int(np.ceil(reach_ang / width)) for width in widths)
    steps = [(i, j) for i in range(-n_a, n_a + 1) for j in range(-n_b, n_b + 1)]
    steps.sort(key=lambda step: (abs(step[0]) + abs(step[1]), step))
    return np.array([i * lattice[0] + j * lattice[1] for i, j in steps])


def sphere_directions(n: int) -> Array:
    """Unit vectors spread evenly over the sphere (Fibonacci lattice), shape (n, 3), from +z to -z."""
    k = np.arange(n) + 0.5
    z = 1.0 - 2.0 * k / n
    angle = np.pi * (1.0 + np.sqrt(5.0)) * k
    radius = np.sqrt(1.0 - z**2)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), z])


def rotation_between(start: Array, end: Array) -> Array:
    """The smallest rotation that turns one direction into another, shape (3, 3)."""
    a, b = start / np.linalg.norm(start), end / np.linalg.norm(end)
    cosine = float(a @ b)
    if cosine < -1.0 + 1e-9:
        across = np.cross(a, [1.0, 0.0, 0.0] if abs(a[0]) < 0.9 else [0.0, 1.0, 0.0])
        across /= np.linalg.norm(across)
        turned: Array = 2.0 * np.outer(across, across) - np.eye(3)
        return turned
    axis = np.cross(a, b)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    rotation: Array = np.eye(3) + cross + cross @ cross / (1.0 + cosine)
    return rotation


def rotation_about(axis: Array, angle: float) -> Array:
    """Rotation by an angle (radians) about an axis, shape (3, 3)."""
    u = axis / np.linalg.norm(axis)
    cross = np.array([[0, -u[2], u[1]], [u[2], 0, -u[0]], [-u[1], u[0], 0]])
    rotation: Array = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    return rotation


def orientation_grid(n_directions: int = 40, n_torsions: int = 12) -> Array:
    """Proper rotations spread over the whole rotation group, shape (n_directions * n_torsions, 3, 3)."""
    z = np.array([0.0, 0.0, 1.0])
    torsions = [rotation_about(z, 2 * np.pi * t / n_torsions) for t in range(n_torsions)]
    return np.array([rotation_between(z, d) @ t for d in sphere_directions(n_directions) for t in torsions])


def torsion_grid(axis: Array, n_torsions: int = 36) -> Array:
    """Rotations about one axis, shape (n_torsions, 3, 3)."""
    return np.array([rotation_about(axis, 2 * np.pi * t / n_torsions) for t in range(n_torsions)])


@dataclass(frozen=True)
class Group:
    """Atoms to be placed: elements, charges, and weights for the Coulomb term that ranks orientations.

    ``bonded`` names, for an atom of the group, the host atoms it is or will be bonded to: these are no contacts.
    """

    elements: tuple[str, ...]
    charges: tuple[float, ...]
    ranking_charges: tuple[float, ...]
    bonded: Mapping[int, frozenset[int]]


@dataclass(frozen=True)
class Placement:
    """A group with its symmetric copies: positions (n_copies, n_atoms, 3) in angstrom, and its score in eV."""

    positions: Array
    score_ev: float


def place_group(
    host: Host, group: Group, trials: Array, *, motions: Sequence[Motion] = (IDENTITY,), bias: Array | None = None
) -> Placement | None:
    """The trial with the lowest score that touches nothing, together with its symmetric copies.

    The score is a screened Coulomb sum over formal charges plus a penalty for tight contacts; it ranks trials of one
    group, nothing else.

    Parameters
    ----------
    host
        What is there.
    group
        What is placed.
    trials
        Positions of the group's atoms in every trial, shape (n_trials, n_atoms, 3), angstrom.
    motions
        Symmetry operations, the identity first, that carry the group to its copies.
    bias
        Added to the score of every trial, shape (n_trials,), eV.

    Returns
    -------
    ``None`` if every trial touches something.
    """
    if len(trials) == 0:
        return None
    centre = trials.reshape(-1, 3).mean(axis=0)
    reach = float(np.linalg.norm(trials - centre, axis=2).max()) + 5.0
    numbers, places = host.around(centre, reach)
    steps = [
        (rotation, shift, step)
        for copy, (rotation, shift) in enumerate(motions)
        for step in _self_shifts(host.lattice, trials, trials @ rotation.T + shift)
        if copy or step.any()
    ]
    pairs = _Pairs(host, group, numbers, places)
    free = np.arange(len(trials))
    for k in range(len(group.elements)):
        if len(free) and len(numbers):
            free = free[~pairs.touches_host(k, trials[free])]
    for motion in steps:
        if len(free):
            free = free[~pairs.touches_copy(trials[free], motion)]
    if not len(free):
        return None
    preferred = np.zeros(len(trials)) if bias is None else np.asarray(bias, dtype=float)
    if len(free) > MAX_SCORED:
        order = np.argsort(np.round(preferred[free], 3), kind="stable")
        free = np.sort(free[order[np.linspace(0, len(free) - 1, MAX_SCORED).astype(int)]])
    scores = preferred[free] + pairs.score(trials[free], steps)
    best = free[int(np.argmin(np.round(scores, 6)))]
    copies = np.array([trials[best] @ rotation.T + shift for rotation, shift in motions])
    return Placement(copies, float(scores.min()))


class _Pairs:
    """Contacts of a group with its surroundings and with its own copies."""

    def __init__(self, host: Host, group: Group, numbers: NDArray[np.int64], places: Array) -> None:
        self.group, self.places = group, places
        self.weights = np.array(group.ranking_charges)
        self.host_charges = host.charges[numbers]
        kinds = [(host.elements[i], float(host.charges[i])) for i in numbers]
        own = list(zip(group.elements, group.charges, strict=True))
        self.host_limits = [np.array([contact_limits(*mine, *other) for other in kinds]) for mine in own]
        self.own_limits = [np.array([contact_limits(*mine, *other) for other in own]) for mine in own]
        self.bonded = [np.isin(numbers, list(group.bonded.get(k, frozenset()))) for k in range(len(own))]

    def _to_host(self, k: int, trials: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Distances (n_trials, n_host) of atom k, and which of them are bonds: near ones to a bonded host atom."""
        at = trials[:, k, :]
        squares = (at**2).sum(axis=1)[:, None] + (self.places**2).sum(axis=1)[None, :] - 2.0 * at @ self.places.T
        distances = np.sqrt(np.maximum(squares, 0.0))
        # the periodic images of a bonded host atom are contacts like any other
        return distances, self.bonded[k][None, :] & (distances < 1.35 * self.host_limits[k][None, :, 0].clip(min=1.8))

    def touches_host(self, k: int, trials: Array) -> NDArray[np.bool_]:
        distances, excused = self._to_host(k, trials)
        touching = (distances < self.host_limits[k][None, :, 0]) & ~excused
        return np.asarray(touching.any(axis=1), dtype=np.bool_)

    def touches_copy(self, trials: Array, motion: tuple[Array, Array, Array]) -> NDArray[np.bool_]:
        rotation, shift, step = motion
        others = trials @ rotation.T + shift + step
        distances = np.linalg.norm(trials[:, :, None, :] - others[:, None, :, :], axis=3)
        touching: NDArray[np.bool_] = (distances < np.array(self.own_limits)[None, :, :, 0]).any(axis=(1, 2))
        return touching

    def score(self, trials: Array, steps: Sequence[tuple[Array, Array, Array]]) -> Array:
        total = np.zeros(len(trials))
        for k, weight in enumerate(self.weights):
            if len(self.places):
                distances, excused = self._to_host(k, trials)
                total += _rate(distances, self.host_limits[k], weight * self.host_charges, excused)
            for rotation, shift, step in steps:
                others = trials @ rotation.T + shift + step
                distances = np.linalg.norm(trials[:, k, None, :] - others, axis=2)
                none = np.zeros_like(distances, dtype=bool)
                total += _rate(distances, self.own_limits[k], 0.5 * weight * self.weights, none)
        return total


def _rate(distances: Array, limits: Array, charges: Array, excused: NDArray[np.bool_]) -> Array:
    """Score of every trial; pairs are along the second axis."""
    least, roomy = limits[None, :, 0], limits[None, :, 1]
    tight = np.clip((roomy - distances) / (roomy - least), 0.0, None) ** 2
    screened = COULOMB_EV_ANG * charges[None, :] * np.exp(-distances / SCREENING_ANG) / np.maximum(distances, 0.5)
    rated: Array = np.where(excused, 0.0, PENALTY_EV * tight + COULOMB_SHARE * screened).sum(axis=1)
    return rated


def _self_shifts(lattice: Array, trials: Array, others: Array) -> Array:
    """Lattice vectors that may bring a copy near the group, shape (n, 3)."""
    centre, other = trials.reshape(-1, 3).mean(axis=0), others.reshape(-1, 3).mean(axis=0)
    span = float(np.linalg.norm(trials - centre, axis=2).max())
    frac = (centre - other) @ np.linalg.inv(lattice)
    base = np.round(frac[:2]) @ lattice[:2]
    shifts = base + in_plane_shifts(lattice, 2 * span + 4.0)
    close = np.linalg.norm(other + shifts - centre, axis=1) < 2 * span + 4.0
    near: Array = shifts[close]
    return near
