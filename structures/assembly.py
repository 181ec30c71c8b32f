"""Take atoms away from a slab, move and add some, and keep the books: the typed record of a decoration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .accepting import as_structure
from .bonding import closest_pair, covalent_distance, find_bonds
from .errors import SurfshiftError
from .placement import CLASH_RATIO, Host
from .regions import tag_regions
from .slabs import DIPOLE_TOLERANCE_E_ANG, polar_note, slab_dipole
from .terminations import NotACutError, missing_bonds
from .vocabulary import (
    AtomicStructure,
    Candidate,
    DecorationRecord,
    DecorationSite,
    Region,
    RemovedAtom,
    as_tensor3,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .accepting import StructureLike

    Array = NDArray[np.float64]

ALONG_ANG = 1.2
"""A neighbour this near to the place of a lost one has healed the bond."""


class DecorationError(SurfshiftError):
    """A decoration that cannot be made as asked."""


class NoSiteError(DecorationError):
    """The slab has nothing to decorate in this way."""


class NoRoomError(DecorationError):
    """There are sites, but no arrangement without clashes."""


class AtomBudgetError(DecorationError):
    """More atoms than allowed."""


@dataclass(frozen=True)
class OpenSite:
    """An atom with lost bonds: its number, the unit vector into the gap, and how many bonds it has lost."""

    atom: int
    direction: Array
    n_lost: int


@dataclass
class Assembly:
    """A slab being decorated; atom numbers stay valid until ``finish``.

    Numbers below ``n_parent`` are the parent's atoms (of its supercell), higher ones were added.
    """

    parent: Candidate
    supercell: tuple[int, int]
    elements: list[str]
    charges: list[float]
    positions: list[Array]
    lattice: Array
    n_parent: int
    removed: set[int] = field(default_factory=set)
    moved: set[int] = field(default_factory=set)
    sites: list[tuple[str, str, str, tuple[int, ...]]] = field(default_factory=list)

    @classmethod
    def start(cls, parent: Candidate, supercell: tuple[int, int] = (1, 1)) -> Assembly:
        """The undecorated slab, repeated in its plane."""
        slab = repeat_in_plane(parent.structure, supercell)
        return cls(
            parent=parent,
            supercell=supercell,
            elements=list(slab.elements),
            charges=list(slab.oxidation_states),
            positions=list(slab.cart_coords),
            lattice=slab.lattice,
            n_parent=len(slab),
        )

    def copy(self) -> Assembly:
        """An independent copy."""
        return Assembly(
            parent=self.parent,
            supercell=self.supercell,
            elements=list(self.elements),
            charges=list(self.charges),
            positions=list(self.positions),
            lattice=self.lattice,
            n_parent=self.n_parent,
            removed=set(self.removed),
            moved=set(self.moved),
            sites=list(self.sites),
        )

    @property
    def alive(self) -> list[int]:
        """Numbers of the atoms that are there."""
        return [k for k in range(len(self.elements)) if k not in self.removed]

    def host(self) -> tuple[Host, list[int]]:
        """The atoms that are there, for placing more, and their numbers."""
        alive = self.alive
        host = Host(
            elements=tuple(self.elements[k] for k in alive),
            charges=np.array([self.charges[k] for k in alive]),
            positions=np.array([self.positions[k] for k in alive]),
            lattice=self.lattice,
        )
        return host, alive

    def structure(self) -> AtomicStructure:
        """The present atoms in the present cell, in the order of ``alive``."""
        host, _ = self.host()
        frac = host.positions @ np.linalg.inv(self.lattice)
        frac[:, :2] %= 1.0
        return AtomicStructure(
            lattice_ang=as_tensor3(self.lattice),
            elements=host.elements,
            frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in frac),
            oxidation_states=tuple(float(q) for q in host.charges),
            periodic=(True, True, False),
        )

    def remove(self, *atoms: int) -> None:
        """Take atoms away."""
        self.removed.update(atoms)

    def move(self, atom: int, position: Array) -> None:
        """Put an atom of the parent elsewhere."""
        self.positions[atom] = np.asarray(position, dtype=float)
        self.moved.add(atom)

    def add(self, elements: Sequence[str], charges: Sequence[float], positions: Array) -> tuple[int, ...]:
        """Add atoms; their numbers are returned."""
        first = len(self.elements)
        self.elements += list(elements)
        self.charges += [float(q) for q in charges]
        self.positions += [np.asarray(p, dtype=float) for p in positions]
        return tuple(range(first, len(self.elements)))

    def note_site(self, label: str, host: str, atoms: Sequence[int], height: float) -> None:
        """Remember where something was put; ``height`` tells the face."""
        heights = [self.positions[k][2] for k in range(self.n_parent)]
        face = "upper" if height > 0.5 * (max(heights) + min(heights)) else "lower"
        self.sites.append((label, face, host, tuple(atoms)))

    def finish(
        self,
        *,
        kind: str,
        name: str,
        decoration: str,
        coverage: float,
        charge_balance: str,
        bulk: AtomicStructure,
        notes: Sequence[str] = (),
    ) -> Candidate:
        """The decorated candidate, its cell made as high as keeps the vacuum, checked for charge and clashes.

        Raises
        ------
        DecorationError
            If the cell is not neutral.
        NoRoomError
            If two atoms touch.
        """
        alive = self.alive
        number = {old: new for new, old in enumerate(alive)}
        positions = np.array([self.positions[k] for k in alive])
        before = np.ptp(np.array(self.positions[: self.n_parent])[:, 2])
        if self.moved:
            before = np.ptp(self.parent.structure.cart_coords[:, 2])
        lattice = self.lattice.copy()
        lattice[2, 2] += max(0.0, np.ptp(positions[:, 2]) - before)
        positions[:, 2] += lattice[2, 2] / 2 - (positions[:, 2].max() + positions[:, 2].min()) / 2
        frac = positions @ np.linalg.inv(lattice)
        frac[:, :2] %= 1.0
        structure = AtomicStructure(
            lattice_ang=as_tensor3(lattice),
            elements=tuple(self.elements[k] for k in alive),
            frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in frac),
            oxidation_states=tuple(self.charges[k] for k in alive),
            periodic=(True, True, False),
        )
        check_sound(structure, name)
        n_cell = len(self.parent.structure)
        originals = np.array(repeat_in_plane(self.parent.structure, self.supercell).cart_coords)
        gained = {}
        for element in dict.fromkeys(self.elements):
            now = sum(self.elements[k] == element for k in alive)
            was = sum(self.elements[k] == element for k in range(self.n_parent))
            if now != was:
                gained[element] = now - was
        faces = [face for _, face, _, _ in self.sites]
        record = DecorationRecord(
            kind=kind,
            parent_id=self.parent.id,
            parent_name=self.parent.name,
            supercell=self.supercell,
            parent_atoms=tuple(k % n_cell if k < self.n_parent else None for k in alive),
            removed=tuple(
                RemovedAtom(
                    parent_atom=k % n_cell,
                    element=self.elements[k],
                    position_ang=(float(originals[k][0]), float(originals[k][1]), float(originals[k][2])),
                )
                for k in sorted(self.removed)
                if k < self.n_parent
            ),
            moved=tuple(sorted(number[k] for k in self.moved if k in number)),
            sites=tuple(
                DecorationSite(
                    label=label,
                    face="upper" if face == "upper" else "lower",
                    host=host,
                    atoms=tuple(number[k] for k in atoms if k in number),
                )
                for label, face, host, atoms in self.sites
            ),
            per_face=(faces.count("upper"), faces.count("lower")),
            coverage=coverage,
            formula_change=gained,
            charge_balance=charge_balance,
        )
        adsorbed = {k for k in range(len(alive)) if record.parent_atoms[k] is None}
        inherited = self.parent.regions
        adsorbed |= {
            new for new, old in enumerate(alive) if old < self.n_parent and inherited[old % n_cell] == Region.ADSORBATE
        }
        lost = lost_bonds(structure, bulk, self.parent.miller, ignore=adsorbed)
        open_now = open_sites(structure, bulk, self.parent.miller, ignore=adsorbed)
        dipole = slab_dipole(structure)
        kept = [note for note in self.parent.notes if not note.startswith("polar")]
        if abs(dipole) >= DIPOLE_TOLERANCE_E_ANG:
            kept.append(polar_note(dipole))
        frozen = tuple(
            new
            for new, old in enumerate(alive)
            if old < self.n_parent and old % n_cell in set(self.parent.frozen_atoms)
        )
        earlier = f"{self.parent.decoration}; " if self.parent.decoration else ""
        return Candidate(
            name=name,
            kind="slab",
            structure=structure,
            parent=self.parent.parent,
            miller=self.parent.miller,
            termination=self.parent.termination,
            decoration=earlier + decoration,
            regions=tag_regions(structure, exposed=lost, added=adsorbed),
            frozen_atoms=frozen,
            area_ang2=float(np.linalg.norm(np.cross(lattice[0], lattice[1]))),
            dipole_e_ang=dipole,
            n_undercoordinated=len({site.atom for site in open_now}),
            notes=(*kept, *notes),
            decoration_record=record,
        )


def check_sound(structure: StructureLike, name: str) -> None:
    """Refuse a charged structure, and one in which two atoms are closer than 75 % of their covalent radii.

    Raises
    ------
    DecorationError, NoRoomError
    """
    structure = as_structure(structure)
    if abs(structure.total_charge) > 1e-6:
        raise DecorationError(
            f"{name} would have charge {structure.total_charge:+g}; choose another compensation so that it is neutral"
        )
    i, j, distance = closest_pair(structure)
    first, second = structure.elements[i], structure.elements[j]
    if distance < CLASH_RATIO * covalent_distance(first, second):
        raise NoRoomError(
            f"{name}: {first}{i} and {second}{j} would be {distance:.2f} angstrom apart; lower the coverage"
        )


def repeat_in_plane(structure: StructureLike, supercell: tuple[int, int]) -> AtomicStructure:
    """The structure repeated along its first two vectors; atom k of copy m has number k + m * n."""
    structure = as_structure(structure)
    nx, ny = supercell
    if supercell == (1, 1):
        return structure
    lattice = structure.lattice * np.array([[nx], [ny], [1.0]])
    steps = [np.array([i, j, 0.0]) for i in range(nx) for j in range(ny)]
    frac = np.vstack([(np.array(structure.frac_coords) + step) / np.array([nx, ny, 1.0]) for step in steps])
    return AtomicStructure(
        lattice_ang=as_tensor3(lattice),
        elements=structure.elements * len(steps),
        frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in frac),
        oxidation_states=structure.oxidation_states * len(steps),
        periodic=structure.periodic,
    )


def _lost_vectors(
    structure: AtomicStructure, bulk: AtomicStructure, miller: tuple[int, int, int] | None, ignore: set[int]
) -> dict[int, list[Array]]:
    """Vectors to the lost neighbours of every atom; for relaxed slabs only cations, from their bonds' sum."""
    kept = [k for k in range(len(structure)) if k not in ignore]
    bare = structure.model_copy(
        update={
            "elements": tuple(structure.elements[k] for k in kept),
            "frac_coords": tuple(structure.frac_coords[k] for k in kept),
            "oxidation_states": tuple(structure.oxidation_states[k] for k in kept),
        }
    )
    found: dict[int, list[Array]] = {}
    try:
        if miller is None:
            raise NotACutError("a bulk has no cut")
        for bond in missing_bonds(bare, bulk, miller):
            found.setdefault(kept[bond.atom], []).append(bond.vector_ang)
        return found
    except NotACutError:
        pass
    from .bonding import usual_coordination

    usual = usual_coordination(bulk)
    bonds = find_bonds(structure)
    for k in kept:
        n_lost = usual.get(structure.elements[k], 0) - len(bonds[k])
        if structure.oxidation_states[k] > 0 and n_lost > 0 and bonds[k]:
            vector = -sum((b.vector_ang / b.length_ang for b in bonds[k]), start=np.zeros(3))
            length = float(np.linalg.norm(vector))
            if length > 0.2:
                found[k] = [vector / length * float(np.mean([b.length_ang for b in bonds[k]]))] * n_lost
    return found


def lost_bonds(
    structure: StructureLike, bulk: StructureLike, miller: tuple[int, int, int] | None, *, ignore: set[int]
) -> set[int]:
    """Atoms that lost a bond in the cut, whether or not an adsorbate healed it since."""
    structure = as_structure(structure)
    bulk = as_structure(bulk)
    return set(_lost_vectors(structure, bulk, miller, ignore))


def open_sites(
    structure: StructureLike, bulk: StructureLike, miller: tuple[int, int, int] | None, *, ignore: set[int]
) -> tuple[OpenSite, ...]:
    """Atoms with lost bonds that no adsorbate has healed.

    Parameters
    ----------
    structure
        A slab, decorated or not.
    bulk, miller
        What it was cut from.
    ignore
        Adsorbate atoms, which the bulk does not have.
    """
    structure = as_structure(structure)
    bulk = as_structure(bulk)
    coords = structure.cart_coords
    sites = []
    bonds = find_bonds(structure)
    for atom, vectors in sorted(_lost_vectors(structure, bulk, miller, ignore).items()):
        new = [bond.vector_ang for bond in bonds[atom] if bond.j in ignore]
        left = [
            v
            for v in vectors
            if not any(np.linalg.norm(v / np.linalg.norm(v) - n / np.linalg.norm(n)) < ALONG_ANG for n in new)
        ]
        left = left[: max(0, len(vectors) - len(new))]
        if left:
            total = np.sum([v / np.linalg.norm(v) for v in left], axis=0)
            middle = 0.5 * (coords[:, 2].max() + coords[:, 2].min())
            if np.linalg.norm(total) < 0.3:
                total = np.array([0.0, 0.0, 1.0 if coords[atom, 2] > middle else -1.0])
            sites.append(OpenSite(atom, total / np.linalg.norm(total), len(left)))
    return tuple(sites)
