"""Where in a slab an atom sits, and which atoms a relaxation holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .accepting import as_structure
from .bonding import find_bonds
from .errors import SurfshiftError
from .vocabulary import Region

if TYPE_CHECKING:
    from collections.abc import Collection

    from .accepting import StructureLike
    from .vocabulary import Candidate

_OUTERMOST_FIRST = (Region.SURFACE, Region.SUBSURFACE, Region.BULK)


class FreezeError(SurfshiftError):
    """A depth that would hold no atom, or every atom."""


def tag_regions(
    structure: StructureLike, *, exposed: Collection[int], added: Collection[int] = ()
) -> tuple[Region, ...]:
    """Region of every atom of a slab, from its bonds.

    - adsorbate: the atoms that a decoration added (O and H of Al-OH, H of P-OH, molecules);
    - surface: cations that the cut left with a broken bond, that are bonded to an anion that has one or carries an
      adsorbate (the PO4 at the outer face, P-OH), or that are bonded to an adsorbate;
    - subsurface: cations linked to a surface cation through one anion;
    - bulk: all other cations;
    - an anion is in the outermost region of its cations, an anion without any is at the surface.

    Parameters
    ----------
    structure
        The slab, with its decoration if it has one.
    exposed
        Atoms with fewer bonds than in the bulk before the decoration.
    added
        Atoms of the decoration.
    """
    structure = as_structure(structure)
    bonds = find_bonds(structure)
    charges = structure.oxidation_states
    new = set(added)
    open_atoms = set(exposed) | {bond.j for i in new for bond in bonds[i]}
    cations = [i for i in range(len(structure)) if charges[i] > 0 and i not in new]
    regions = [Region.ADSORBATE if i in new else Region.BULK for i in range(len(structure))]
    surface = {i for i in cations if i in open_atoms or any(bond.j in open_atoms | new for bond in bonds[i])}
    for i in cations:
        if i in surface:
            regions[i] = Region.SURFACE
        elif any(other.j in surface for bond in bonds[i] for other in bonds[bond.j]):
            regions[i] = Region.SUBSURFACE
    for i in range(len(structure)):
        if charges[i] > 0 or i in new:
            continue
        neighbours = {regions[bond.j] for bond in bonds[i] if bond.j not in new} or {Region.SURFACE}
        regions[i] = next(region for region in _OUTERMOST_FIRST if region in neighbours)
    return tuple(regions)


def freeze_bottom(candidate: Candidate, *, depth_ang: float) -> Candidate:
    """The same slab with the atoms of its lower part held in place.

    Parameters
    ----------
    candidate
        A slab, its normal along z.
    depth_ang
        Atoms up to this height above the lowest atom are held, angstrom.

    Raises
    ------
    FreezeError
        If the candidate is a bulk, or the depth would hold every atom or none.
    """
    if candidate.kind != "slab":
        raise FreezeError(f"{candidate.name} is a bulk crystal and has no bottom; give a slab")
    heights = candidate.structure.cart_coords[:, 2]
    heights = heights - heights.min()
    held = tuple(int(i) for i in range(len(heights)) if heights[i] <= depth_ang)
    if depth_ang < 0 or len(held) == len(heights):
        raise FreezeError(
            f"a depth of {depth_ang:g} angstrom holds {len(held)} of {len(heights)} atoms of {candidate.name}; "
            f"choose one between 0 and {heights.max():.1f}"
        )
    return candidate.model_copy(update={"frozen_atoms": held})
