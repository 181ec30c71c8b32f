"""What every proposed structure must fulfil: neutral, no clash, whole units, the composition it declares."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from .accepting import as_structure
from .bonding import closest_pair, covalent_distance, find_bonds, find_units
from .errors import SurfshiftError

if TYPE_CHECKING:
    from .accepting import StructureLike
    from .vocabulary import AtomicStructure, Candidate

MIN_DISTANCE_SHARE = 0.75
"""Atoms closer than this share of the sum of their covalent radii clash, unless the bulk has such a pair itself."""

BULK_MARGIN = 0.01
"""A pair may be closer than the bulk's closest by this share of the radii."""


class CandidateCheckError(SurfshiftError):
    """A candidate that is charged, clashes, has a broken unit or another composition than it declares."""


def closeness(structure: StructureLike) -> float:
    """Distance of the closest pair over the sum of its covalent radii."""
    structure = as_structure(structure)
    i, j, distance = closest_pair(structure)
    return distance / covalent_distance(structure.elements[i], structure.elements[j])


def candidate_problems(
    candidate: Candidate, bulk: StructureLike, *, parent: Candidate | None = None
) -> tuple[str, ...]:
    """What is wrong with a candidate, in words; empty when nothing is.

    Parameters
    ----------
    candidate
        A bulk phase, a slab, or a decorated slab.
    bulk
        The crystal it comes from.
    parent
        For a decorated slab, the slab that was decorated; its record says what was gained and lost.
    """
    bulk = as_structure(bulk)
    structure = candidate.structure
    problems = []
    if abs(structure.total_charge) > 1e-6:
        problems.append(f"charge {structure.total_charge:+.3g} e")
    i, j, distance = closest_pair(structure)
    pair = (structure.elements[i], structure.elements[j])
    share = distance / covalent_distance(*pair)
    if share < min(MIN_DISTANCE_SHARE, _bulk_closeness(bulk) - BULK_MARGIN):
        problems.append(f"{pair[0]}{i} and {pair[1]}{j} are {distance:.2f} angstrom apart, {share:.2f} of their radii")
    problems += _broken_units(structure, bulk)
    problems += _composition_problems(candidate, bulk, parent)
    return tuple(problems)


def check_candidate(candidate: Candidate, bulk: StructureLike, *, parent: Candidate | None = None) -> None:
    """Refuse a candidate that has a problem.

    Raises
    ------
    CandidateCheckError
        With everything that ``candidate_problems`` finds.
    """
    bulk = as_structure(bulk)
    problems = candidate_problems(candidate, bulk, parent=parent)
    if problems:
        raise CandidateCheckError(f"{candidate.name}: {'; '.join(problems)}; leave this candidate out")


@lru_cache(maxsize=32)
def _bulk_closeness(bulk: AtomicStructure) -> float:
    return closeness(bulk)


@lru_cache(maxsize=32)
def _unit_ligands(bulk: AtomicStructure) -> dict[tuple[str, float], tuple[frozenset[str], frozenset[int]]]:
    """Ligand elements and numbers of ligands of every cation, by element and oxidation state, that is only in units."""
    bonds = find_bonds(bulk)
    inside: dict[tuple[str, float], list[tuple[set[str], int]]] = {}
    for unit in find_units(bulk):
        members = set(unit.atoms)
        for i in unit.atoms:
            if bulk.oxidation_states[i] > 0:
                ligands = [bulk.elements[bond.j] for bond in bonds[i] if bond.j in members]
                inside.setdefault((bulk.elements[i], bulk.oxidation_states[i]), []).append((set(ligands), len(ligands)))
    total = Counter(zip(bulk.elements, bulk.oxidation_states, strict=True))
    return {
        kind: (frozenset().union(*(held for held, _ in found)), frozenset(n for _, n in found))
        for kind, found in inside.items()
        # water of an adsorbate has the same H as a crystal's OH: H is compared like any other centre
        if len(found) == total[kind]
    }


def _broken_units(structure: AtomicStructure, bulk: AtomicStructure) -> list[str]:
    ligands = _unit_ligands(bulk)
    bonds = find_bonds(structure)
    broken = []
    for i, kind in enumerate(zip(structure.elements, structure.oxidation_states, strict=True)):
        if kind in ligands:
            held, numbers = ligands[kind]
            n = sum(structure.elements[bond.j] in held for bond in bonds[i])
            if n not in numbers:
                wanted = " or ".join(map(str, sorted(numbers)))
                broken.append(f"{kind[0]}{i} has {n} ligands of its unit, not {wanted}")
    return broken


def _composition_problems(candidate: Candidate, bulk: AtomicStructure, parent: Candidate | None) -> list[str]:
    """The atoms against those declared: by the cut, or by the record of the decoration on its parent."""
    held = Counter(candidate.structure.elements)
    record = candidate.decoration_record
    declared: Counter[str] = Counter()
    if parent is not None and record is not None:
        times = record.supercell[0] * record.supercell[1]
        for element, n in Counter(parent.structure.elements).items():
            declared[element] = n * times
        for element, n in record.formula_change.items():
            declared[element] += n
    elif candidate.slab_info is not None and not candidate.decoration:
        formula = _formula_of(bulk)
        for element, n in formula.items():
            declared[element] = round(candidate.slab_info.n_formula * n)
        for element, n in candidate.slab_info.excess:
            declared[element] += n
    elif candidate.kind == "bulk":
        declared = Counter(bulk.elements)
    else:
        return []
    different = {e for e in {*held, *declared} if held[e] != declared[e]}
    return [f"{held[e]} {e} for {declared[e]} declared" for e in sorted(different)]


def _formula_of(bulk: AtomicStructure) -> dict[str, int]:
    from functools import reduce
    from math import gcd

    counts = Counter(bulk.elements)
    divisor = reduce(gcd, counts.values())
    return {element: n // divisor for element, n in counts.items()}
