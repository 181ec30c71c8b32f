"""What a phosphate network looks like: coordination numbers, what each oxygen joins, and its defects."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pydantic import Field

from .accepting import as_structure
from .bonding import find_bonds
from .vocabulary import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .accepting import StructureLike
    from .bonding import Bond

TETRAHEDRAL = 4

NITROGEN_NAMES = {1: "Na", 2: "Nd", 3: "Nt"}


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
    nitrogen
        Number of N atoms by how many P they join: ``"Na"`` (apical, one), ``"Nd"`` (two), ``"Nt"`` (three); ``"N0"``
        has none.
    units
        Number of P atoms by what surrounds them, as ``{"PO4": 5, "PO3N": 3}``.
    clusters
        Number of groups of P atoms that hang together by O or N, by their size.
    """

    density_g_cm3: float
    coordination: dict[str, dict[int, int]]
    bridges: dict[str, int]
    q: dict[int, int]
    nitrogen: dict[str, int] = Field(default_factory=dict)
    units: dict[str, int] = Field(default_factory=dict)
    clusters: dict[int, int] = Field(default_factory=dict)

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
    """Count coordination numbers, bridges, Q^n and nitrogen of a phosphate network; bonds as in ``find_bonds``.

    The names of nitrogen are those of the literature on LiPON (Lacivita, Artrith and Ceder, Chem. Mater. 30, 7077
    (2018)).
    """
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
    joined = {
        i: sorted({bond.j for bond in bonds[i] if elements[bond.j] == "P"})
        for i, element in enumerate(elements)
        if element in {"O", "N"}
    }
    return NetworkStatistics(
        density_g_cm3=float(structure.to_pymatgen().density),
        coordination={e: dict(sorted(found.items())) for e, found in sorted(coordination.items())},
        bridges=dict(sorted(bridges.items())),
        q=dict(sorted(q.items())),
        nitrogen=dict(
            sorted(
                Counter(
                    NITROGEN_NAMES.get(count, f"N{count}")
                    for count in (
                        sum(elements[bond.j] == "P" for bond in bonds[i]) for i, e in enumerate(elements) if e == "N"
                    )
                ).items()
            )
        ),
        units=dict(sorted(Counter(_unit(bonds[i], elements) for i, e in enumerate(elements) if e == "P").items())),
        clusters=_clusters([i for i, e in enumerate(elements) if e == "P"], joined.values()),
    )


def _unit(bonds: Sequence[Bond], elements: Sequence[str]) -> str:
    """What surrounds a P atom, as ``PO3N``."""
    counts = Counter(elements[bond.j] for bond in bonds)
    order = sorted(counts, key=lambda e: (e != "O", e))
    return "P" + "".join(f"{e}{counts[e] if counts[e] > 1 else ''}" for e in order)


def _clusters(atoms: Sequence[int], joined: Iterable[Sequence[int]]) -> dict[int, int]:
    """Sizes of the groups in which atoms hang together, with how many there are of each."""
    group = {atom: {atom} for atom in atoms}
    for members in joined:
        whole = set().union(*(group[atom] for atom in members)) if members else set()
        for atom in whole:
            group[atom] = whole
    sizes = Counter(len(own) for own in {id(own): own for own in group.values()}.values())
    return dict(sorted(sizes.items()))
