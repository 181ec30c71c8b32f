"""The words of a structure: frozen, validated models with a JSON round trip.

Everything that passes between the folders of the project is one of the models here or in
``surfshift.analysis.vocabulary``; nothing else crosses.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure

Vector3 = tuple[float, float, float]
Tensor3 = tuple[Vector3, Vector3, Vector3]


def as_tensor3(array: NDArray[np.float64] | list[list[float]]) -> Tensor3:
    """Nested tuple of a (3, 3) array, the form in which tensors are stored."""
    rows = np.asarray(array, dtype=float)
    if rows.shape != (3, 3):
        raise ValueError(f"a tensor needs shape (3, 3), got {rows.shape}")
    (a, b, c), (d, e, f), (g, h, i) = rows.tolist()
    return ((a, b, c), (d, e, f), (g, h, i))


class Frozen(BaseModel):
    """Base of every model: immutable, no unknown keys, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Region(StrEnum):
    """Where in a candidate an atom sits."""

    BULK = "bulk"
    SUBSURFACE = "subsurface"
    SURFACE = "surface"
    ADSORBATE = "adsorbate"


class Grade(StrEnum):
    """How well a literature fact is supported."""

    VERIFIED = "verified"
    RECALLED = "recalled"
    MODEL = "model"


class AtomicStructure(Frozen):
    """A fully occupied structure with oxidation states.

    Attributes
    ----------
    lattice_ang
        Lattice vectors as rows, angstrom.
    elements, frac_coords, oxidation_states
        One entry per atom, in the same order; oxidation states in units of e.
    periodic
        Whether the structure repeats along each lattice vector; a slab has vacuum along the third.
    """

    lattice_ang: Tensor3
    elements: tuple[str, ...]
    frac_coords: tuple[Vector3, ...]
    oxidation_states: tuple[float, ...]
    periodic: tuple[bool, bool, bool] = (True, True, True)

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        counts = {len(self.elements), len(self.frac_coords), len(self.oxidation_states)}
        if len(counts) != 1 or not self.elements:
            raise ValueError(
                f"{len(self.elements)} elements, {len(self.frac_coords)} positions and "
                f"{len(self.oxidation_states)} oxidation states were given; they must be equally many and not zero"
            )
        return self

    def __len__(self) -> int:
        return len(self.elements)

    @property
    def lattice(self) -> NDArray[np.float64]:
        """Lattice vectors as rows, shape (3, 3), angstrom."""
        return np.array(self.lattice_ang)

    @property
    def cart_coords(self) -> NDArray[np.float64]:
        """Cartesian positions, shape (n, 3), angstrom."""
        return np.array(self.frac_coords) @ self.lattice

    @property
    def formula(self) -> str:
        """Reduced formula."""
        return str(self.to_pymatgen().composition.reduced_formula)

    @property
    def total_charge(self) -> float:
        """Sum of the oxidation states, e."""
        return float(sum(self.oxidation_states))

    @property
    def content_id(self) -> str:
        """Hash of cell, elements and positions, stable to rounding at 1e-5 angstrom."""
        return content_hash(
            {
                "lattice": np.round(self.lattice, 5).tolist(),
                "elements": self.elements,
                "positions": (np.round(np.array(self.frac_coords) % 1.0, 6) % 1.0).tolist(),
                "periodic": self.periodic,
            }
        )

    def to_pymatgen(self) -> Structure:
        """The same structure in pymatgen, species decorated with oxidation states."""
        from pymatgen.core.lattice import Lattice
        from pymatgen.core.periodic_table import Species
        from pymatgen.core.structure import Structure

        species = [Species(el, q) for el, q in zip(self.elements, self.oxidation_states, strict=True)]
        return Structure(Lattice(self.lattice, pbc=self.periodic), species, np.array(self.frac_coords))

    def to_ase(self) -> Atoms:
        """The same structure in ase; oxidation states become initial charges."""
        from ase import Atoms

        atoms = Atoms(
            list(self.elements), scaled_positions=np.array(self.frac_coords), cell=self.lattice, pbc=self.periodic
        )
        atoms.set_initial_charges(list(self.oxidation_states))
        return atoms

    @classmethod
    def from_pymatgen(cls, structure: Structure, *, periodic: tuple[bool, bool, bool] = (True, True, True)) -> Self:
        """Take over an ordered pymatgen structure whose species carry oxidation states.

        Raises
        ------
        ValueError
            If a site is disordered or has no oxidation state.
        """
        if not structure.is_ordered:
            raise ValueError("the structure has partial occupancies; order it first")
        states = [getattr(site.specie, "oxi_state", None) for site in structure]
        missing = sorted({site.specie.symbol for site, q in zip(structure, states, strict=True) if q is None})
        if missing:
            raise ValueError(f"no oxidation state for {', '.join(missing)}; add oxidation states to the structure")
        return cls(
            lattice_ang=as_tensor3(structure.lattice.matrix),
            elements=tuple(site.specie.symbol for site in structure),
            frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in structure.frac_coords),
            oxidation_states=tuple(float(q) for q in states if q is not None),
            periodic=periodic,
        )

    def moved_to(self, cart_coords: NDArray[np.float64], lattice: NDArray[np.float64] | None = None) -> AtomicStructure:
        """The same atoms at new Cartesian positions (n, 3) in angstrom, optionally in a new cell (3, 3)."""
        cell = self.lattice if lattice is None else np.asarray(lattice, dtype=float)
        frac = np.asarray(cart_coords, dtype=float) @ np.linalg.inv(cell)
        moved = tuple((float(x), float(y), float(z)) for x, y, z in frac)
        return self.model_copy(update={"lattice_ang": as_tensor3(cell), "frac_coords": moved})


class SlabInfo(Frozen):
    """How a slab was cut; everything counts per cell of the slab, both faces together.

    Attributes
    ----------
    tasker
        Class of the plain cut after Tasker, J. Phys. C 12, 4977 (1979): 1 neutral planes, 2 charged planes without
        a dipole, 3 charged planes with a dipole. A reconstructed slab keeps the 3 of its cut; its own dipole is zero.
    n_formula, excess
        Number of bulk formula units, and the atoms beyond them; empty for a stoichiometric slab.
    thickness_ang
        Bulk volume of the formula units over the face's area, angstrom.
    n_broken_bonds, broken_strength_e, broken_bonds
        Bonds lost against the bulk: their number, the sum of their Pauling strengths (cation charge over coordination
        number, e), and their number per pair of elements.
    kept_share
        Least share of its bond strength that any unit or atom keeps.
    units
        Formulas of the units that were kept whole.
    faces, has_equal_faces
        Classes of the lower and the upper termination of the plain cut (equal: symmetry-equivalent), and whether
        symmetry swaps the two faces of this slab.
    in_plane
        In-plane cell in the facet's primitive vectors, as rows.
    is_orthogonal
        Whether the in-plane vectors are perpendicular.
    move
        In words, which ions or units were moved, added or removed; empty for a plain cut.
    """

    tasker: Literal[1, 2, 3]
    n_formula: float
    excess: tuple[tuple[str, int], ...] = ()
    thickness_ang: float
    n_broken_bonds: int
    broken_strength_e: float
    broken_bonds: tuple[tuple[str, int], ...]
    kept_share: float
    units: tuple[str, ...]
    faces: tuple[int, int]
    has_equal_faces: bool
    in_plane: tuple[tuple[int, int], tuple[int, int]]
    is_orthogonal: bool
    move: str = ""


class CrystalSite(Frozen):
    """One element on one site of an asymmetric unit; several that share a site have the same ``xyz``."""

    label: str
    element: str
    xyz: Vector3
    oxidation_state: float
    occupancy: float = Field(default=1.0, gt=0.0, le=1.0)


class Crystal(Frozen):
    """A crystal of the library: published facts, not a built structure.

    ``cell`` is a, b, c in angstrom and alpha, beta, gamma in degrees; ``formula_units`` is Z;
    ``density_g_cm3`` is the published density the built structure is checked against, ``valence_tolerance`` the
    largest relative difference of a cation's bond-valence sum and its oxidation state that is accepted.
    """

    name: str
    formula: str
    space_group: str
    space_group_number: int
    cell: tuple[float, float, float, float, float, float]
    sites: tuple[CrystalSite, ...]
    formula_units: int
    density_g_cm3: float
    valence_tolerance: float = Field(default=0.3, gt=0.0, le=0.6)
    source: str
    grade: Grade
    note: str = ""

    @property
    def is_ordered(self) -> bool:
        """Whether every site is filled by one element."""
        return all(site.occupancy == 1.0 for site in self.sites)


class RemovedAtom(Frozen):
    """An atom that a decoration took away: its index and place in the parent, Cartesian, angstrom."""

    parent_atom: int
    element: str
    position_ang: Vector3


class DecorationSite(Frozen):
    """One place of a decoration.

    ``atoms`` are the added or moved atoms of the decorated structure; ``host`` names what they sit on.
    """

    label: str
    face: Literal["upper", "lower"]
    host: str
    atoms: tuple[int, ...]


class DecorationRecord(Frozen):
    """What a decoration did: every atom is either the parent's or added, and the charge stays zero.

    Attributes
    ----------
    kind
        Kind of the decoration, as in its settings.
    parent_id, parent_name
        The candidate that was decorated.
    supercell
        In-plane repeats of the parent's cell.
    parent_atoms
        For every atom the index in the parent, ``None`` for an added atom; repeats of a supercell share it.
    removed, moved
        Atoms taken away, and indices of the parent's atoms that the decoration put elsewhere.
    sites
        Where things were put, site by site.
    per_face
        Number of sites on the upper and on the lower face.
    coverage
        Share of the possible sites that is used.
    formula_change
        Atoms gained (+) and lost (-) per element against the (repeated) parent.
    charge_balance
        In words, how the cell stays neutral.
    """

    kind: str
    parent_id: str
    parent_name: str
    supercell: tuple[int, int]
    parent_atoms: tuple[int | None, ...]
    removed: tuple[RemovedAtom, ...]
    moved: tuple[int, ...]
    sites: tuple[DecorationSite, ...]
    per_face: tuple[int, int]
    coverage: float
    formula_change: dict[str, int]
    charge_balance: str

    @property
    def added(self) -> tuple[int, ...]:
        """Indices of the added atoms."""
        return tuple(k for k, parent in enumerate(self.parent_atoms) if parent is None)


class Layer(StrEnum):
    """Which side of an interface an atom belongs to."""

    SUBSTRATE = "substrate"
    FILM = "film"


class StackingScore(Frozen):
    """One stacking of a scan: shift of the film in the interface's lattice vectors, gap (angstrom) and score."""

    shift: tuple[float, float]
    gap_ang: float
    score_ev_per_ang2: float


class InterfaceRecord(Frozen):
    """How two slabs were stacked.

    Attributes
    ----------
    substrate_id, film_id, substrate_name, film_name
        The two slabs.
    layers
        Side of every atom.
    near_interface
        Indices of the atoms within ``near_ang`` of the interface plane, both sides.
    near_ang
        That depth, angstrom.
    substrate_matrix, film_matrix
        In-plane supercells: rows are the interface's vectors in those of the slab (of the turned slab if turned).
    film_turned, substrate_turned
        Whether the slab was turned upside down, so that its other face is at the interface.
    strained
        The side that was stretched.
    strain
        Principal strains of that side (of the film for ``both``), smallest first, without unit.
    area_ang2
        Area of the interface cell, square angstrom.
    gap_ang
        Height between the outermost atoms of the two sides, angstrom; negative where they interlock.
    shift
        In-plane shift of the film, in the interface's lattice vectors.
    score_ev_per_ang2
        What the stackings were ranked by; only differences within one ranking mean something.
    score_model
        ``ionic contact model``, or the name of the energy model.
    scan
        Every stacking that the energy model computed, in order; empty for the ionic contact model.
    """

    substrate_id: str
    film_id: str
    substrate_name: str
    film_name: str
    layers: tuple[Layer, ...]
    near_interface: tuple[int, ...]
    near_ang: float
    substrate_matrix: tuple[tuple[int, int], tuple[int, int]]
    film_matrix: tuple[tuple[int, int], tuple[int, int]]
    substrate_turned: bool
    film_turned: bool
    strained: Literal["film", "substrate", "both"]
    strain: tuple[float, float]
    area_ang2: float
    gap_ang: float
    shift: tuple[float, float]
    score_ev_per_ang2: float
    score_model: str
    scan: tuple[StackingScore, ...] = ()


class Candidate(Frozen):
    """A structure proposed for the sample: a bulk phase or one termination of one of its surfaces.

    Attributes
    ----------
    name
        Short and unique within a study, for example ``AlPO4_berlinite(001)-t0+2H2O``.
    parent
        Name of the crystal, or id of the candidate, that this one was made from.
    miller, termination, decoration
        Facet, label of the cut and what was added; ``None`` and ``""`` for a bulk.
    regions
        Region of every atom.
    frozen_atoms
        Indices of atoms that a relaxation must not move.
    slab_info
        How a slab was cut: thickness, broken bonds, Tasker class, moved ions; ``None`` for a bulk.
    area_ang2
        Area of one face, square angstrom; 0 for a bulk.
    dipole_e_ang
        Dipole along the surface normal from formal charges, e angstrom, of the unrelaxed structure.
    n_undercoordinated
        Number of atoms per cell with fewer neighbours than in the bulk.
    notes
        What a reader must know, for example that a polar cut was kept.
    decoration_record, interface_record
        Where the atoms of a decoration went, and which side of an interface each atom is on.
    """

    name: str
    kind: Literal["bulk", "slab"]
    structure: AtomicStructure
    parent: str
    miller: tuple[int, int, int] | None = None
    termination: str = ""
    decoration: str = ""
    regions: tuple[Region, ...]
    frozen_atoms: tuple[int, ...] = ()
    slab_info: SlabInfo | None = None
    area_ang2: float = 0.0
    dipole_e_ang: float = 0.0
    n_undercoordinated: int = 0
    notes: tuple[str, ...] = ()
    decoration_record: DecorationRecord | None = None
    interface_record: InterfaceRecord | None = None

    @model_validator(mode="after")
    def _regions_cover_atoms(self) -> Self:
        if len(self.regions) != len(self.structure):
            raise ValueError(
                f"{len(self.regions)} regions for {len(self.structure)} atoms; one region per atom is needed"
            )
        if self.kind == "slab" and self.miller is None:
            raise ValueError("a slab needs its Miller index")
        return self

    @property
    def id(self) -> str:
        """Content hash of the structure and its decoration: equal structures have equal ids."""
        return content_hash({"structure": self.structure.content_id, "kind": self.kind, "frozen": self.frozen_atoms})


def content_hash(payload: dict[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 of a JSON payload with sorted keys."""
    return hashlib.sha256(json.dumps(payload, sort_keys=True, default=list).encode()).hexdigest()[:16]
