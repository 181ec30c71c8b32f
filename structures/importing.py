"""A user's structure file, read and refused by name when it cannot be used."""

from __future__ import annotations

import warnings
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .bonding import covalent_distance
from .disorder import DisorderedStructure
from .errors import SurfshiftError, nearest
from .vocabulary import AtomicStructure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure

OCCUPANCY_TOLERANCE = 0.01
"""Charge that rounded occupancies may leave over, as a share of the positive charge."""

MERGE_ANG = 1e-3
"""Atoms of one element that are closer are one atom, written twice by rounded symmetry."""

OVERLAP_RATIO = 0.65
"""Atoms closer than this share of the sum of their covalent radii overlap."""

MAX_BVA_ATOMS = 300
"""Larger structures skip the bond-valence assignment, which takes minutes there."""


class StructureFileError(SurfshiftError):
    """A structure file that is missing or cannot be read."""


class OverlapError(SurfshiftError):
    """Atoms that are too close to be real."""


class PartialOccupancyError(SurfshiftError):
    """Sites that are occupied in part, or by more than one element."""


class OxidationStateError(SurfshiftError):
    """Oxidation states that cannot be assigned, or do not make the structure neutral."""


def read_structure(path: str | Path, *, oxidation_states: Mapping[str, float] | None = None) -> AtomicStructure:
    """Read a crystal from CIF, POSCAR, extended XYZ, or any other periodic format of pymatgen or ase.

    Oxidation states come from ``oxidation_states`` where given; else from the file; else from bond valences;
    else from the composition, if it allows a single whole-numbered choice per element.

    Parameters
    ----------
    path
        The file.
    oxidation_states
        Oxidation state in e for every element symbol of the file.

    Raises
    ------
    StructureFileError
        If the file is missing, unreadable, or not periodic.
    PartialOccupancyError
        If a site is not fully occupied by one element.
    OverlapError
        If two atoms are too close; the message names them and their distance.
    OxidationStateError
        If no neutral set of oxidation states is found; the message says how to give one.
    """
    file = Path(path)
    if not file.is_file():
        raise StructureFileError(f"no structure file {str(file)!r}; check the path")
    return _finished(_read(file), file, oxidation_states)


def _finished(structure: Structure, file: Path, oxidation_states: Mapping[str, float] | None) -> AtomicStructure:
    _refuse_disorder(structure, file)
    structure = _merge_duplicates(structure)
    _refuse_overlaps(structure, file)
    result = AtomicStructure.from_pymatgen(_assign(structure, file, oxidation_states))
    _require_neutral(result, file.name)
    return result


def structure_from_atoms(
    lattice: NDArray[np.float64],
    elements: Sequence[str],
    frac_coords: NDArray[np.float64],
    *,
    label: str,
    oxidation_states: Mapping[str, float] | None = None,
    periodic: tuple[bool, bool, bool] = (True, True, True),
) -> AtomicStructure:
    """A structure from its bare atoms, with oxidation states given or found as in ``read_structure``.

    Parameters
    ----------
    lattice
        Lattice vectors as rows, shape (3, 3), angstrom.
    elements, frac_coords
        Symbols and fractional coordinates (n, 3), kept in this order.
    label
        What messages call the structure.

    Raises
    ------
    OverlapError
        If two atoms are too close.
    OxidationStateError
        If no neutral set of oxidation states is found, or those given are not neutral.
    """
    from pymatgen.core.structure import Structure

    file = Path(label)
    bare = Structure(lattice, list(elements), frac_coords)
    _refuse_overlaps(bare, file)
    result = AtomicStructure.from_pymatgen(_assign(bare, file, oxidation_states), periodic=periodic)
    _require_neutral(result, label)
    return result


def _require_neutral(structure: AtomicStructure, name: str) -> None:
    if abs(structure.total_charge) > 1e-3:
        states = dict(zip(structure.elements, structure.oxidation_states, strict=True))
        raise OxidationStateError(
            f"{name}: oxidation states {_in_words(states)} give {structure.formula} a charge of "
            f"{structure.total_charge:+g} per cell; give states that add up to zero"
        )


def read_disordered(path: str | Path, *, oxidation_states: Mapping[str, float] | None = None) -> DisorderedStructure:
    """Read a crystal with partial occupancies, for ``surfshift.structures.ordering.order_structure``.

    Oxidation states as for ``read_structure``.

    Raises
    ------
    StructureFileError, OverlapError, OxidationStateError
    """
    file = Path(path)
    if not file.is_file():
        raise StructureFileError(f"no structure file {str(file)!r}; check the path")
    return disordered_from_pymatgen(_read(file), name=file.name, oxidation_states=oxidation_states)


def disordered_from_pymatgen(
    structure: Structure, *, name: str = "structure", oxidation_states: Mapping[str, float] | None = None
) -> DisorderedStructure:
    """Take over a pymatgen structure with or without partial occupancies.

    Raises
    ------
    OverlapError
        If a site holds more than one atom.
    OxidationStateError
        If no oxidation states are given, in the structure, or follow from the composition.
    """
    for number, site in enumerate(structure, start=1):
        if sum(site.species.values()) > 1.0 + 1e-3:
            raise OverlapError(f"{name}: site {number} holds {site.species_string}; it can hold one atom at most")
    elements = sorted({species.symbol for site in structure for species in site.species})
    if oxidation_states is None and structure.is_ordered:
        return DisorderedStructure.from_pymatgen(_assign(structure, Path(name), None), name=name)
    every = {species for site in structure for species in site.species}
    if oxidation_states is None and all(getattr(species, "oxi_state", None) is not None for species in every):
        return DisorderedStructure.from_pymatgen(structure, name=name)
    if oxidation_states is not None:
        decorated = _assign_given(structure, Path(name), elements, oxidation_states)
    else:
        bare = structure.copy()
        bare.remove_oxidation_states()
        guessed = _assign_by_integers(bare)
        if guessed is None:
            raise OxidationStateError(
                f"{name}: no oxidation states found that make {structure.composition.formula} neutral; "
                f"give one for each of {', '.join(elements)}"
            )
        decorated = guessed
    return DisorderedStructure.from_pymatgen(decorated, name=name)


def from_pymatgen(
    structure: Structure, *, name: str = "structure", oxidation_states: Mapping[str, float] | None = None
) -> AtomicStructure:
    """Take over an ordered pymatgen structure, for example one that a database client returned.

    Raises
    ------
    PartialOccupancyError, OverlapError, OxidationStateError
        As for ``read_structure``.
    """
    return _finished(structure.copy(), Path(name), oxidation_states)


def from_ase(
    atoms: Atoms, *, name: str = "structure", oxidation_states: Mapping[str, float] | None = None
) -> AtomicStructure:
    """Take over ase atoms with a complete cell; initial charges, where there are any, are the oxidation states.

    Raises
    ------
    StructureFileError, OverlapError, OxidationStateError
        As for ``read_structure``.
    """
    return _finished(_from_atoms(atoms, name), Path(name), oxidation_states)


def _read(file: Path) -> Structure:
    from pymatgen.core.structure import Structure

    name = file.name.lower()
    try:
        with warnings.catch_warnings():
            # pymatgen warns of rounded coordinates and of occupancies; both are judged below
            warnings.simplefilter("ignore")
            if name.endswith((".cif", ".mcif")):
                return _read_cif(file)
            if any(word in name for word in ("poscar", "contcar")) or name.endswith((".vasp", ".json", ".yaml")):
                return Structure.from_file(file)
            return _read_with_ase(file)
    except SurfshiftError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise StructureFileError(
            f"cannot read a structure from {str(file)!r}: {reason[0] if reason else type(error).__name__}; "
            "give a complete CIF, POSCAR or extended XYZ file"
        ) from error


def _read_cif(file: Path) -> Structure:
    from pymatgen.io.cif import CifParser

    # occupancies are taken as they stand: sums above one are overlapping atoms, and named so
    parser = CifParser(file, occupancy_tolerance=1e9, site_tolerance=MERGE_ANG / 10)
    return parser.parse_structures(primitive=False, check_occu=False)[0]


def _read_with_ase(file: Path) -> Structure:
    from ase import Atoms
    from ase.io import read

    atoms = read(file)
    if not isinstance(atoms, Atoms):
        raise StructureFileError(f"{str(file)!r} holds no atoms; give a file with one crystal")
    return _from_atoms(atoms, str(file))


def _from_atoms(atoms: Atoms, name: str) -> Structure:
    from pymatgen.core.structure import Structure

    if not len(atoms):
        raise StructureFileError(f"{name!r} holds no atoms; give one crystal")
    if atoms.cell.rank < 3:
        raise StructureFileError(f"{name!r} has no complete cell; give a crystal with three lattice vectors")
    structure = Structure(atoms.cell.array, atoms.get_chemical_symbols(), atoms.get_scaled_positions())
    charges = atoms.get_initial_charges()
    if np.abs(charges).max() > 0:
        structure.add_oxidation_state_by_site([float(q) for q in charges])
    return structure


def _refuse_disorder(structure: Structure, file: Path) -> None:
    for number, site in enumerate(structure, start=1):
        total = sum(site.species.values())
        elements = {getattr(species, "symbol", str(species)) for species in site.species}
        place = f"site {number} at ({', '.join(f'{x:.4f}' for x in site.frac_coords)})"
        if len(elements) == 1 and abs(total - round(total)) < 1e-3 and total > 1.5:
            # one atom written several times, which the CIF reader has already joined
            structure.replace(number - 1, next(iter(site.species)))
            continue
        if total > 1.0 + 1e-3:
            raise OverlapError(
                f"{file.name}: {place} holds {site.species_string}, more than one atom at a distance of 0 angstrom; "
                "remove the surplus atoms"
            )
        if len(elements) > 1 or abs(total - 1.0) > 1e-3:
            raise PartialOccupancyError(
                f"{file.name}: {place} is occupied by {site.species_string}; give an ordered structure, or make "
                "ordered cells with read_disordered and surfshift.structures.ordering.order_structure"
            )


def _merge_duplicates(structure: Structure) -> Structure:
    distances = structure.distance_matrix
    symbols = [site.specie.symbol for site in structure]
    surplus = [
        j
        for j in range(len(structure))
        if any(distances[i, j] < MERGE_ANG and symbols[i] == symbols[j] for i in range(j))
    ]
    merged = structure.copy()
    merged.remove_sites(surplus)
    return merged


def _refuse_overlaps(structure: Structure, file: Path) -> None:
    distances = structure.distance_matrix
    symbols = [site.specie.symbol for site in structure]
    for j in range(len(structure)):
        for i in range(j):
            if distances[i, j] < OVERLAP_RATIO * covalent_distance(symbols[i], symbols[j]):
                raise OverlapError(
                    f"{file.name}: atoms {symbols[i]} (site {i + 1}) and {symbols[j]} (site {j + 1}) are "
                    f"{distances[i, j]:.3f} angstrom apart and overlap; correct or remove one of them"
                )


def _assign(structure: Structure, file: Path, given: Mapping[str, float] | None) -> Structure:
    elements = sorted({site.specie.symbol for site in structure})
    if given is not None:
        return _assign_given(structure, file, elements, given)
    if all(getattr(site.specie, "oxi_state", None) is not None for site in structure):
        return structure
    bare = structure.copy()
    bare.remove_oxidation_states()
    decorated = _assign_by_valence(bare) or _assign_by_composition(bare)
    if decorated is None:
        raise OxidationStateError(
            f"{file.name}: no oxidation states found that make {structure.composition.reduced_formula} neutral; "
            f"give one for each of {', '.join(elements)}"
        )
    return decorated


def _assign_given(structure: Structure, file: Path, elements: list[str], given: Mapping[str, float]) -> Structure:
    unknown = sorted(set(given) - set(elements))
    if unknown:
        raise OxidationStateError(
            f"{file.name}: an oxidation state was given for {unknown[0]!r}, which the file does not hold; "
            f"{nearest(unknown[0], elements)}"
        )
    missing = [element for element in elements if element not in given]
    if missing:
        raise OxidationStateError(
            f"{file.name}: no oxidation state was given for {', '.join(missing)}; give one for every element"
        )
    decorated = structure.copy()
    decorated.remove_oxidation_states()
    decorated.add_oxidation_state_by_element(dict(given))
    return decorated


def _assign_by_valence(structure: Structure) -> Structure | None:
    from pymatgen.analysis.bond_valence import BVAnalyzer

    if len(structure.composition) == 1:
        decorated = structure.copy()
        decorated.add_oxidation_state_by_element({str(structure.composition.elements[0]): 0})
        return decorated
    if len(structure) > MAX_BVA_ATOMS:
        return None
    try:
        return BVAnalyzer().get_oxi_state_decorated_structure(structure)
    except (ValueError, KeyError):
        # the analyser raises where it finds no neutral set; the composition decides then
        return None


def _assign_by_composition(structure: Structure) -> Structure | None:
    guesses = structure.composition.oxi_state_guesses(max_sites=-1)
    if not guesses or not all(float(q).is_integer() for q in guesses[0].values()):
        return None
    if all(q == 0 for q in guesses[0].values()):
        return None
    decorated = structure.copy()
    decorated.add_oxidation_state_by_element(guesses[0])
    return decorated


def _assign_by_integers(structure: Structure) -> Structure | None:
    """One common state per element, where just one choice makes the composition neutral within its rounding.

    Occupancies are seldom exact, so that the charge may miss zero by ``OCCUPANCY_TOLERANCE`` of the positive charge.
    Not pymatgen's own search: it lets the atoms of one element differ, which takes hours for a few hundred atoms.
    """
    amounts = {element: float(n) for element, n in structure.composition.element_composition.items()}
    choices = [[q for q in element.common_oxidation_states if q] for element in amounts]
    neutral = []
    for states in product(*choices):
        charges = [q * n for q, n in zip(states, amounts.values(), strict=True)]
        positive = sum(charge for charge in charges if charge > 0)
        if positive and abs(sum(charges)) <= OCCUPANCY_TOLERANCE * positive:
            neutral.append({element.symbol: q for element, q in zip(amounts, states, strict=True)})
    if len(neutral) != 1:
        return None
    decorated = structure.copy()
    decorated.add_oxidation_state_by_element(neutral[0])
    return decorated


def _in_words(states: Mapping[str, float]) -> str:
    return ", ".join(f"{element} {state:+g}" for element, state in states.items())
