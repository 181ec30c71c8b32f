"""A crystal with partial occupancies: what is on which site, and how much of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field, model_validator

from .vocabulary import AtomicStructure, Frozen, Tensor3, Vector3, as_tensor3

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure

FULL = 1e-3
"""An occupancy this close to one counts as one."""


class SiteSpecies(Frozen):
    """An element on a site: oxidation state in e and share of the sites it occupies."""

    element: str
    oxidation_state: float
    occupancy: float = Field(gt=0.0, le=1.0 + FULL)


class DisorderedSite(Frozen):
    """One position of the cell; positions with one label are equivalent by the space group."""

    label: str
    frac_coords: Vector3
    species: tuple[SiteSpecies, ...]

    @model_validator(mode="after")
    def _not_overfull(self) -> Self:
        if not self.species or self.occupancy > 1.0 + FULL:
            raise ValueError(
                f"site {self.label} holds {self.occupancy:.3f} atoms; it can hold more than 0 and at most 1"
            )
        return self

    @property
    def occupancy(self) -> float:
        """Sum of the occupancies."""
        return sum(s.occupancy for s in self.species)

    @property
    def is_ordered(self) -> bool:
        """Whether one species fills the site."""
        return len(self.species) == 1 and abs(self.occupancy - 1.0) <= FULL


class DisorderedStructure(Frozen):
    """A periodic structure with partial occupancies.

    ``lattice_ang`` has the lattice vectors as rows, in angstrom; ``name`` is that of the crystal or file it came from.
    """

    name: str
    lattice_ang: Tensor3
    sites: tuple[DisorderedSite, ...]

    @property
    def lattice(self) -> NDArray[np.float64]:
        """Lattice vectors as rows, shape (3, 3), angstrom."""
        return np.array(self.lattice_ang)

    @property
    def is_ordered(self) -> bool:
        """Whether no site is disordered."""
        return all(site.is_ordered for site in self.sites)

    @property
    def composition(self) -> dict[str, float]:
        """Mean number of atoms per cell by element."""
        total: dict[str, float] = {}
        for site in self.sites:
            for species in site.species:
                total[species.element] = total.get(species.element, 0.0) + species.occupancy
        return total

    @property
    def total_charge(self) -> float:
        """Mean charge of the cell, e."""
        return sum(s.occupancy * s.oxidation_state for site in self.sites for s in site.species)

    def to_pymatgen(self) -> Structure:
        """The same structure in pymatgen, with occupancies and oxidation states."""
        from pymatgen.core.lattice import Lattice
        from pymatgen.core.periodic_table import Species
        from pymatgen.core.structure import Structure

        species = [
            {Species(s.element, s.oxidation_state): min(s.occupancy, 1.0) for s in site.species} for site in self.sites
        ]
        return Structure(Lattice(self.lattice), species, [site.frac_coords for site in self.sites])

    @classmethod
    def from_pymatgen(cls, structure: Structure, *, name: str = "structure", tolerance_ang: float = 0.01) -> Self:
        """Take over a pymatgen structure whose species carry oxidation states; equivalent sites get one label.

        Raises
        ------
        ValueError
            If a species has no oxidation state.
        """
        from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

        missing = sorted(
            {str(sp) for site in structure for sp in site.species if getattr(sp, "oxi_state", None) is None}
        )
        if missing:
            raise ValueError(f"no oxidation state for {', '.join(missing)}; add oxidation states to the structure")
        orbits = SpacegroupAnalyzer(structure, symprec=tolerance_ang).get_symmetry_dataset().equivalent_atoms
        numbers: dict[int, str] = {}
        seen: dict[str, int] = {}
        sites = []
        for site, orbit in zip(structure, orbits, strict=True):
            if int(orbit) not in numbers:
                first = "/".join(sorted({sp.symbol for sp in site.species}))
                seen[first] = seen.get(first, 0) + 1
                numbers[int(orbit)] = f"{first}{seen[first]}"
            x, y, z = (float(v) for v in site.frac_coords)
            species = tuple(
                SiteSpecies(element=sp.symbol, oxidation_state=float(sp.oxi_state or 0.0), occupancy=float(amount))
                for sp, amount in site.species.items()
            )
            sites.append(DisorderedSite(label=numbers[int(orbit)], frac_coords=(x, y, z), species=species))
        return cls(name=name, lattice_ang=as_tensor3(structure.lattice.matrix), sites=tuple(sites))

    def ordered(self) -> AtomicStructure:
        """The structure, when every site is full.

        Raises
        ------
        ValueError
            If a site is disordered; the message names it.
        """
        for site in self.sites:
            if not site.is_ordered:
                held = ", ".join(f"{s.occupancy:.3g} {s.element}" for s in site.species)
                raise ValueError(f"{self.name}: site {site.label} holds {held}; order the structure first")
        return AtomicStructure(
            lattice_ang=self.lattice_ang,
            elements=tuple(site.species[0].element for site in self.sites),
            frac_coords=tuple(site.frac_coords for site in self.sites),
            oxidation_states=tuple(site.species[0].oxidation_state for site in self.sites),
        )
