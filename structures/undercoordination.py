"""Which atoms of a candidate have fewer neighbours than in the crystals it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .assembly import open_sites
from .bonding import coordination_numbers, find_bonds
from .vocabulary import Layer, Region

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .vocabulary import AtomicStructure, Candidate


def undercoordinated_atoms(candidate: Candidate, bulks: Sequence[AtomicStructure]) -> tuple[int, ...]:
    """Atoms with open bonds, which no adsorbate and no film has closed.

    On an unrelaxed cut they are counted exactly, bond by bond. In an interface, whose sides are strained and touch
    each other, an atom counts when it has fewer bonds than any atom of its element in its crystal.

    Parameters
    ----------
    candidate
        A bulk (which has none), a slab or an interface.
    bulks
        The crystal, or of an interface that of the substrate and that of the film.
    """
    if candidate.kind == "bulk":
        return ()
    record = candidate.interface_record
    if record is None:
        adsorbed = {k for k, region in enumerate(candidate.regions) if region is Region.ADSORBATE}
        found = open_sites(candidate.structure, bulks[0], candidate.miller, ignore=adsorbed)
        return tuple(sorted({site.atom for site in found}))
    least = {layer: _least_coordination(bulk) for layer, bulk in zip(Layer, bulks, strict=True)}
    bonds = find_bonds(candidate.structure)
    return tuple(
        k
        for k, element in enumerate(candidate.structure.elements)
        if len(bonds[k]) < least[record.layers[k]].get(element, 0)
    )


def _least_coordination(bulk: AtomicStructure) -> dict[str, int]:
    numbers = coordination_numbers(bulk)
    return {
        element: min(int(n) for e, n in zip(bulk.elements, numbers, strict=True) if e == element)
        for element in set(bulk.elements)
    }
