"""What a facet is made of: units that stay whole, single atoms, and the bonds between them, in one primitive cell."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .accepting import as_structure
from .bonding import binds_unit, find_bonds
from .errors import SurfshiftError
from .facets import Facet, bulk_operations, orient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .accepting import StructureLike
    from .vocabulary import AtomicStructure

PLANE_TOLERANCE_ANG = 0.02
"""Nodes whose heights differ by less lie in one plane."""

SAME_PLACE_ANG = 0.05
"""Two positions that are closer are one."""

UNIT_PATTERN = re.compile(r"([A-Z][a-z]?)([A-Z][a-z]?)(\d*)")


class UnitError(SurfshiftError):
    """A unit that was asked to stay whole, but is none in this crystal."""


@dataclass(frozen=True)
class BondTable:
    """All cation-anion bonds of a crystal as arrays, each from both of its ends.

    ``strengths`` is the cation's charge over its coordination number (Pauling 1929), e; ``binding`` marks the bonds
    that hold a unit together.
    """

    atoms: NDArray[np.int64]
    partners: NDArray[np.int64]
    vectors: NDArray[np.float64]
    strengths: NDArray[np.float64]
    binding: NDArray[np.bool_]


def bond_table(bulk: StructureLike) -> BondTable:
    """The bonds of a crystal, kept for the next facet of the same one."""
    return _bond_table(as_structure(bulk))


@lru_cache(maxsize=32)
def _bond_table(bulk: AtomicStructure) -> BondTable:
    found = find_bonds(bulk)
    charges = bulk.oxidation_states
    bonds = [bond for own in found for bond in own]
    ends = [(b.i, b.j) if charges[b.i] > 0 else (b.j, b.i) for b in bonds]
    strengths = np.array([charges[cation] / len(found[cation]) for cation, _ in ends])
    return BondTable(
        np.array([b.i for b in bonds], dtype=np.int64),
        np.array([b.j for b in bonds], dtype=np.int64),
        np.array([b.vector_ang for b in bonds]).reshape(-1, 3),
        strengths,
        np.array(
            [binds_unit(s, charges[anion]) for s, (_, anion) in zip(strengths, ends, strict=True)], dtype=np.bool_
        ),
    )


@dataclass(frozen=True)
class FacetNodes:
    """One primitive cell of a facet, in the slab's frame.

    A node is a unit or a single atom; its image m lies m steps higher. Atoms of a node are listed without periodic
    jumps; the centre of image 0 has its height in [0, spacing).

    Attributes
    ----------
    facet
        The facet and its axes.
    hosts
        Index in the bulk of every atom, shape (n,).
    elements, charges
        Of every atom; charges in e.
    coords
        Positions, shape (n, 3), angstrom.
    node_of
        Node of every atom, shape (n,).
    kinds
        Formula of every node, such as ``PO4``.
    endless
        Nodes that run on without end in the plane, such as the chains of a metaphosphate, shape (k,).
    bond_atoms, bond_partners, bond_images, bond_strengths
        Bonds between nodes, from both ends; the partner sits ``bond_images`` cells away, shape (b, 3).
    """

    facet: Facet
    hosts: NDArray[np.int64]
    elements: tuple[str, ...]
    charges: NDArray[np.float64]
    coords: NDArray[np.float64]
    node_of: NDArray[np.int64]
    kinds: tuple[str, ...]
    endless: NDArray[np.bool_]
    bond_atoms: NDArray[np.int64]
    bond_partners: NDArray[np.int64]
    bond_images: NDArray[np.int64]
    bond_strengths: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.kinds)

    def _per_node(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums: NDArray[np.float64] = np.bincount(self.node_of, weights=values, minlength=len(self)).astype(np.float64)
        return sums

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Number of atoms of every node."""
        return np.bincount(self.node_of, minlength=len(self))

    @cached_property
    def node_charges(self) -> NDArray[np.float64]:
        """Charge of every node, e."""
        return self._per_node(self.charges)

    @cached_property
    def heights(self) -> NDArray[np.float64]:
        """Height of the centroid of every node, angstrom."""
        return self._per_node(self.coords[:, 2]) / self.sizes

    @cached_property
    def node_dipoles(self) -> NDArray[np.float64]:
        """Dipole of every node about the height of its centroid, along the normal, e angstrom."""
        return self._per_node(self.charges * (self.coords[:, 2] - self.heights[self.node_of]))

    @cached_property
    def element_kinds(self) -> tuple[str, ...]:
        """The elements, sorted."""
        return tuple(sorted(set(self.elements)))

    @cached_property
    def contents(self) -> NDArray[np.int64]:
        """Atoms per node and element, shape (k, number of elements)."""
        counts = np.zeros((len(self), len(self.element_kinds)), dtype=np.int64)
        columns = np.array([self.element_kinds.index(e) for e in self.elements])
        np.add.at(counts, (self.node_of, columns), 1)
        return counts

    @cached_property
    def bond_strength_of_nodes(self) -> NDArray[np.float64]:
        """Sum of the strengths of the bonds of every node to others, e."""
        owners = self.node_of[self.bond_atoms]
        return np.bincount(owners, weights=self.bond_strengths, minlength=len(self)).astype(np.float64)

    @cached_property
    def links(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Bonds between the same two nodes taken together.

        Returns
        -------
        Rows (node, other node, three cells between them), shape (l, 5), and the strength of each link, e.
        """
        ends = np.column_stack(
            [self.node_of[self.bond_atoms], self.node_of[self.bond_partners], self.bond_images]
        ).reshape(-1, 5)
        rows, inverse = np.unique(ends, axis=0, return_inverse=True)
        strengths = np.bincount(inverse.ravel(), weights=self.bond_strengths, minlength=len(rows))
        return rows, strengths.astype(np.float64)

    @cached_property
    def cut_levels(self) -> NDArray[np.int64]:
        """All cuts between planes, shape (number of cuts, k), from the lowest up.

        Of node i, image ``cut_levels[c, i]`` is the lowest one above cut c.
        """
        order = np.argsort(self.heights, kind="stable")
        sorted_heights = self.heights[order]
        gaps = np.diff(np.append(sorted_heights, sorted_heights[0] + self.facet.spacing_ang))
        open_gaps = np.flatnonzero(gaps > PLANE_TOLERANCE_ANG)
        if len(open_gaps) == 0:
            open_gaps = np.array([int(np.argmax(gaps))])
        levels = np.zeros((len(open_gaps), len(self)), dtype=np.int64)
        for row, gap in enumerate(open_gaps):
            levels[row, order[: gap + 1]] = 1
        # a cut above the highest plane is the cut below the lowest one, one cell up
        full = levels.all(axis=1)
        levels[full] = 0
        return levels[np.argsort(levels.sum(axis=1), kind="stable")]


def facet_nodes(bulk: StructureLike, miller: Sequence[int], *, keep: Sequence[str] = ()) -> FacetNodes:
    """The nodes of a facet.

    Units are the groups that their strongest bonds hold together (``bonding.binds_unit``). A group that is endless
    in the plane of the facet is one node; one that crosses every plane is cut where it must be: each of its
    atoms is a node, together with the ligands that belong to it alone.

    Parameters
    ----------
    bulk
        The crystal.
    miller
        The facet.
    keep
        Further units to keep whole, centre and ligand, such as ``ZrO6``; they must be isolated.

    Raises
    ------
    MillerError
        If the index names no plane.
    UnitError
        If a unit of ``keep`` does not exist in the crystal or shares ligands with its neighbours.
    """
    bulk = as_structure(bulk)
    return _facet_nodes(bulk, orient(bulk, miller).miller, tuple(keep))


@lru_cache(maxsize=64)
def _facet_nodes(bulk: AtomicStructure, miller: tuple[int, int, int], keep: tuple[str, ...]) -> FacetNodes:
    facet = orient(bulk, miller)
    cell = facet.slab_cell
    inverse = np.asarray(np.linalg.inv(cell), dtype=np.float64)
    frac = bulk.cart_coords @ facet.rotation.T @ inverse
    first = _first_of_equal(frac, bulk.elements, cell)
    hosts = np.unique(first)
    place = np.searchsorted(hosts, first)
    frac = frac[hosts]
    table = bond_table(bulk)
    kept = np.isin(table.atoms, hosts)
    atoms, partners = place[table.atoms[kept]], place[table.partners[kept]]
    strengths = table.strengths[kept]
    jumps = table.vectors[kept] @ facet.rotation.T @ inverse
    images = np.rint(frac[atoms] + jumps - frac[partners]).astype(np.int64)
    elements = tuple(bulk.elements[h] for h in hosts)
    binding = table.binding[kept]
    for formula in keep:
        binding = binding | _bonds_of_unit(formula, elements, atoms, partners)
    node_of, shifts, endless = _group(len(hosts), atoms, partners, images, binding)
    _check_kept(keep, elements, node_of)
    frac = frac + shifts
    images = images + shifts[atoms] - shifts[partners]
    # a node within the tolerance below the next lattice plane belongs to that plane
    n_nodes = len(endless)
    sizes = np.bincount(node_of)
    centres = np.array([np.bincount(node_of, weights=frac[:, k], minlength=n_nodes) / sizes for k in range(3)]).T
    down = np.floor(centres + np.array([1e-6, 1e-6, PLANE_TOLERANCE_ANG / facet.spacing_ang / 2])).astype(np.int64)
    frac = frac - down[node_of]
    images = images - down[node_of[atoms]] + down[node_of[partners]]
    outer = (node_of[atoms] != node_of[partners]) | (images[:, 2] != 0)
    outer |= ~endless[node_of[atoms]] & np.any(images != 0, axis=1)
    names = [_formula([elements[i] for i in np.flatnonzero(node_of == k)]) for k in range(n_nodes)]
    return FacetNodes(
        facet,
        hosts,
        elements,
        np.array([bulk.oxidation_states[h] for h in hosts]),
        frac @ cell,
        node_of,
        tuple(names),
        endless,
        atoms[outer],
        partners[outer],
        images[outer],
        strengths[outer],
    )


def _first_of_equal(frac: NDArray[np.float64], elements: Sequence[str], cell: NDArray[np.float64]) -> NDArray[np.int64]:
    """For every atom the first one that a lattice vector carries it to, shape (n,)."""
    delta = frac[:, None, :] - frac[None, :, :]
    near = np.linalg.norm((delta - np.rint(delta)) @ cell, axis=2) < SAME_PLACE_ANG
    kinds = np.array(elements)
    first: NDArray[np.int64] = np.argmax(near & (kinds[:, None] == kinds[None, :]), axis=1)
    return first


def _group(
    n_atoms: int,
    atoms: NDArray[np.int64],
    partners: NDArray[np.int64],
    images: NDArray[np.int64],
    binding: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Node of every atom, cell in which to take it, and which nodes are endless in the plane."""
    links: list[list[tuple[int, NDArray[np.int64]]]] = [[] for _ in range(n_atoms)]
    for k in np.flatnonzero(binding):
        links[atoms[k]].append((int(partners[k]), images[k]))
    node_of = np.full(n_atoms, -1, dtype=np.int64)
    shifts = np.zeros((n_atoms, 3), dtype=np.int64)
    endless: list[bool] = []

    def take(start: int, allowed: list[list[tuple[int, NDArray[np.int64]]]]) -> tuple[list[int], bool, bool]:
        """Members reached from an atom; whether the group runs on in the plane, and across it."""
        found = {start: np.zeros(3, dtype=np.int64)}
        queue, is_endless, crosses = [start], False, False
        while queue:
            i = queue.pop()
            for j, image in allowed[i]:
                here = found[i] + image
                if j not in found:
                    found[j] = here
                    queue.append(j)
                elif np.any(found[j] != here):
                    is_endless = True
                    crosses |= bool(found[j][2] != here[2])
        for j, shift in found.items():
            shifts[j] = shift
        return list(found), is_endless, crosses

    for start in range(n_atoms):
        if node_of[start] >= 0:
            continue
        members, is_endless, crosses = take(start, links)
        if not crosses:
            node_of[members] = len(endless)
            endless.append(is_endless)
            continue
        # only ligands that belong to one atom alone stay with it
        inside = {i: [(j, image) for j, image in links[i] if len(links[i]) == 1 or len(links[j]) == 1] for i in members}
        short = [inside.get(i, []) for i in range(n_atoms)]
        for i in members:
            if node_of[i] < 0:
                group, _, _ = take(i, short)
                node_of[group] = len(endless)
                endless.append(False)
    return node_of, shifts, np.array(endless, dtype=np.bool_)


def _formula(elements: Sequence[str]) -> str:
    """Elements in their order of electronegativity, cations first: PO4, InCl6, OH."""
    counts = Counter(elements)
    is_hydroxyl = set(counts) == {"O", "H"}
    names = ["O", "H"] if is_hydroxyl else sorted(counts, key=lambda e: (_electronegativity(e), e))
    return "".join(f"{e}{counts[e] if counts[e] > 1 else ''}" for e in names)


@lru_cache(maxsize=128)
def _electronegativity(symbol: str) -> float:
    from pymatgen.core.periodic_table import Element

    return float(Element(symbol).X)


def _bonds_of_unit(
    formula: str, elements: Sequence[str], atoms: NDArray[np.int64], partners: NDArray[np.int64]
) -> NDArray[np.bool_]:
    match = UNIT_PATTERN.fullmatch(formula)
    if match is None:
        raise UnitError(f"{formula!r} is no unit of one centre and its ligands; write for example ZrO6")
    names = np.array(elements)
    centre, ligand = match[1], match[2]
    first, second = names[atoms], names[partners]
    mask: NDArray[np.bool_] = ((first == centre) & (second == ligand)) | ((first == ligand) & (second == centre))
    if not mask.any():
        raise UnitError(
            f"no {centre}-{ligand} bond in a crystal of {', '.join(sorted(set(elements)))}; name another unit"
        )
    return mask


def _check_kept(keep: Sequence[str], elements: Sequence[str], node_of: NDArray[np.int64]) -> None:
    for formula in keep:
        centre = UNIT_PATTERN.fullmatch(formula)[1]  # type: ignore[index]  # checked when its bonds were taken
        found = {
            _formula([elements[i] for i in np.flatnonzero(node_of == node_of[k]).tolist()])
            for k, element in enumerate(elements)
            if element == centre
        }
        wanted = _formula([e for e, n in _counts(formula) for _ in range(n)])
        if found != {wanted}:
            raise UnitError(
                f"{formula} is no isolated unit here: the {centre} atoms lie in {', '.join(sorted(found))}; "
                "leave it out, so that the crystal is cut at its weakest bonds"
            )


def _counts(formula: str) -> list[tuple[str, int]]:
    match = UNIT_PATTERN.fullmatch(formula)
    return [(match[1], 1), (match[2], int(match[3] or 1))] if match else []


def symmetry_images(
    bulk: StructureLike, nodes: FacetNodes
) -> tuple[tuple[int, NDArray[np.int64], NDArray[np.int64]], ...]:
    """What the symmetry operations that keep the facet's normal, or turn it around, make of every node.

    Returns
    -------
    Per operation its sign s (+1 or -1), and for every node i the node t[i] and a shift v[i]: image m of node i
    becomes image v[i] + s m of node t[i].
    """
    bulk = as_structure(bulk)
    facet, cell = nodes.facet, nodes.facet.slab_cell
    inverse = np.linalg.inv(cell)
    lattice = bulk.lattice.T
    to_frac = np.linalg.inv(lattice)
    _, first = np.unique(nodes.node_of, return_index=True)
    names = np.array(nodes.elements)
    same = names[first][:, None] == names[None, :]
    found = []
    for turn, shift in bulk_operations(bulk):
        rotation = facet.rotation @ (lattice @ turn @ to_frac) @ facet.rotation.T
        if abs(abs(rotation[2, 2]) - 1.0) > 1e-4:
            continue
        places = nodes.coords[first] @ rotation.T + facet.rotation @ lattice @ shift
        delta = (places[:, None, :] - nodes.coords[None, :, :]) @ inverse
        cells = np.rint(delta)
        distances = np.linalg.norm((delta - cells) @ cell, axis=2)
        distances[~same] = np.inf
        atom = distances.argmin(axis=1)
        rows = np.arange(len(nodes))
        if distances[rows, atom].max() > SAME_PLACE_ANG:
            continue
        found.append((1 if rotation[2, 2] > 0 else -1, nodes.node_of[atom], cells[rows, atom, 2].astype(np.int64)))
    return tuple(found)
