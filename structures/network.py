"""What a phosphate network looks like: coordination numbers, what each oxygen joins, and its defects."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .accepting import as_structure
from .bonding import find_bonds
from .vocabulary import Frozen

if TYPE_CHECKING:
    from .accepting import StructureLike

TETRAHEDRAL = 4


class NetworkStatistics(Frozen):
    """Counts of a network per cell.

    Attributes
    ----------
    density_g_cm3
        Of the cell.
    coordination
        For every cation the number of atoms with each number of anions, as ``{"Al": {4: 11, 5: 1}}``.
    bridges
        What the oxygen atoms join, as ``{"Al-O-P": 47, "P-O-P": 1}``; ``"P-O"`` is a terminal one.
    q
        Number of P atoms by their P-O-P bridges, the n of Q^n.
    """

    density_g_cm3: float
    coordination: dict[str, dict[int, int]]
    bridges: dict[str, int]
    q: dict[int, int]

    @property
    def n_miscoordinated(self) -> int:
        """Number of Al and P atoms that have not four oxygens."""
        return sum(
            n for element in ("Al", "P") for k, n in self.coordination.get(element, {}).items() if k != TETRAHEDRAL
        )

    @property
    def n_wrong_bridges(self) -> int:
        """Number of oxygen atoms that do not join one Al and one P, as all do in the crystals of AlPO4."""
        return sum(n for name, n in self.bridges.items() if name != "Al-O-P")


def network_statistics(structure: StructureLike) -> NetworkStatistics:
    """Count coordination numbers, bridges and Q^n of an oxide network; bonds as in ``find_bonds``."""
    structure = as_structure(structure)
    bonds = find_bonds(structure)
    elements = structure.elements
    coordination: dict[str, Counter[int]] = {}
    bridges: Counter[str] = Counter()
    shared: Counter[int] = Counter()
    for i, element in enumerate(elements):
        if structure.oxidation_states[i] > 0:
            coordination.setdefault(element, Counter())[len(bonds[i])] += 1
        elif element == "O":
            cations = sorted(elements[bond.j] for bond in bonds[i])
            middle = max(1, len(cations) // 2)
            bridges["-".join([*cations[:middle], "O", *cations[middle:]])] += 1
            phosphorus = [bond.j for bond in bonds[i] if elements[bond.j] == "P"]
            if len(phosphorus) > 1:
                shared.update(phosphorus)
    q = Counter(shared[i] for i, element in enumerate(elements) if element == "P")
    return NetworkStatistics(
        density_g_cm3=float(structure.to_pymatgen().density),
        coordination={e: dict(sorted(found.items())) for e, found in sorted(coordination.items())},
        bridges=dict(sorted(bridges.items())),
        q=dict(sorted(q.items())),
    )
