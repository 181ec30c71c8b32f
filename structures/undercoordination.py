"""Which atoms of a candidate have fewer neighbours than in the crystals it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .accepting import as_structure
from .assembly import open_sites
from .bonding import coordination_numbers, find_bonds
from .vocabulary import Layer, Region

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .accepting import StructureLike
    from .vocabulary import AtomicStructure, Candidate


def undercoordinated_atoms(
    candidate: Candidate, bulks: Sequence[StructureLike], *, is_relaxed: bool = False
) -> tuple[int, ...]:
    """Atoms with open bonds, which no adsorbate and no film has closed.

    On an unrelaxed cut they are counted exactly, bond by bond. On a relaxed slab, and in an interface, whose sides are
    strained and touch each other, an atom counts when it has fewer bonds than any atom of its element in its crystal.

    Parameters
    ----------
    candidate
        A bulk (which has none), a slab or an interface.
    bulks
        The crystal, or of an interface that of the substrate and that of the film.
    is_relaxed
        Whether atoms have left the places of the crystal.
    """
    if candidate.kind == "bulk":
        return ()
    crystals = [as_structure(bulk) for bulk in bulks]
    record = candidate.interface_record
    adsorbed = {k for k, region in enumerate(candidate.regions) if region is Region.ADSORBATE}
    if record is None and not is_relaxed:
        found = open_sites(candidate.structure, crystals[0], candidate.miller, ignore=adsorbed)
        return tuple(sorted({site.atom for site in found}))
    least = {layer: _least_coordination(bulk) for layer, bulk in zip(Layer, crystals, strict=False)}
    layers = record.layers if record is not None else (Layer.SUBSTRATE,) * len(candidate.structure)
    bonds = find_bonds(candidate.structure)
    return tuple(
        k
        for k, element in enumerate(candidate.structure.elements)
        if k not in adsorbed and len(bonds[k]) < least[layers[k]].get(element, 0)
    )


def _least_coordination(bulk: AtomicStructure) -> dict[str, int]:
    numbers = coordination_numbers(bulk)
    return {
        element: min(int(n) for e, n in zip(bulk.elements, numbers, strict=True) if e == element)
        for element in set(bulk.elements)
    }
