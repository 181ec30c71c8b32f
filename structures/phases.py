"""Competing phases: crystallographic facts of a wide set of compounds, built as primitive cells.

Four sources are put together: the ordered crystals of the library, compounds in structure types of the AFLOW
prototypes that pymatgen ships, compounds stated by their own asymmetric unit, and ordered cells of disordered crystals.
Cells and free parameters are approximate; a relaxation by one potential follows before any energy is used.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .errors import SurfshiftError, nearest
from .library import build_crystal, crystal_names, load_crystal
from .vocabulary import Frozen

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

PhaseGrade = Literal["verified", "recalled", "model", "estimate"]

SHORTEST_ANG = 0.6
"""A built cell with two atoms closer than this is a mistake in its facts."""

ELEMENT_CELLS = ("H", "B", "C", "N", "O", "F", "Cl", "P", "Br", "I", "Y", "In", "Si", "Al", "Ti", "Co", "Ni", "Zr")
"""Elements whose crystals come from the Delta-codes collection that ase ships; Nb and Ta too, see ``_elements``."""

ORDERED_CELLS = "ordered_cells.json"
"""Relaxed ordered cells of disordered crystals, as ``surfshift phases table --cells`` writes them."""

TOO_LARGE = ("LiNi0.8Mn0.1Co0.1O2_model",)
"""Library crystals that are models of solid solutions and no phases of their own."""


class UnknownPhaseError(SurfshiftError):
    """A name that is no phase."""


class PhaseDataError(SurfshiftError):
    """Facts of a phase that do not make a crystal."""


class PhaseFacts(Frozen):
    """Where a phase's starting structure comes from.

    Attributes
    ----------
    name
        ``FORMULA-TYPE``, or the library's name.
    formula
        Reduced formula.
    structure_type, source
        Prototype and the publication behind it.
    grade
        ``verified``, ``recalled`` and ``model`` as in the library; ``estimate`` where the type or the cell is a guess
        near the truth, which the relaxation corrects.
    density_g_cm3
        Known density, None where only a cell is stated.
    """

    name: str
    formula: str
    structure_type: str
    source: str
    grade: PhaseGrade
    density_g_cm3: float | None


AFLOW_SOURCE = "type: AFLOW prototypes, Mehl et al. 2017; density: textbook value"
DELTA_SOURCE = "Delta-codes collection, Lejaeghere et al. 2014 (ase.collections.dcdft)"


def phase_names() -> tuple[str, ...]:
    """Names of all phases, sorted."""
    return tuple(sorted(_facts()))


def load_phase(name: str) -> PhaseFacts:
    """The facts of a phase.

    Raises
    ------
    UnknownPhaseError
        If there is no phase of that name; the message names the nearest one.
    """
    facts = _facts()
    if name not in facts:
        raise UnknownPhaseError(f"no phase {name!r}; {nearest(name, facts)}")
    return facts[name][0]


def build_phase(name: str) -> Structure:
    """Primitive cell of a phase, checked for its formula and for overlaps.

    Raises
    ------
    UnknownPhaseError
        If there is no phase of that name.
    PhaseDataError
        If the facts give another formula or overlapping atoms.
    """
    facts = load_phase(name)
    kind, data = _facts()[name][1]
    structure = _BUILDERS[kind](data)
    primitive: Structure = structure.get_primitive_structure(tolerance=0.02)
    if primitive.composition.reduced_formula != facts.formula:
        raise PhaseDataError(f"{name}: its sites make {primitive.composition.reduced_formula}, not {facts.formula}")
    distances = primitive.distance_matrix + 10.0 * np.eye(len(primitive))
    if len(primitive) > 1 and distances.min() < SHORTEST_ANG:
        raise PhaseDataError(f"{name}: two atoms are {distances.min():.2f} A apart; correct its sites or its cell")
    return primitive


def _yaml(name: str) -> list[dict[str, Any]]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (files(__package__) / "data" / "phases" / name).read_text(encoding="utf-8")
    # N, Y and the like are elements here, never booleans
    loaded: list[dict[str, Any]] = yaml.load(text, Loader=_without_booleans(loader))
    return loaded


def _without_booleans(loader: Any) -> Any:
    class Plain(loader):  # type: ignore[misc]
        yaml_implicit_resolvers = {  # noqa: RUF012 - as in the base class
            key: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:bool"]
            for key, rules in loader.yaml_implicit_resolvers.items()
        }

    return Plain


@cache
def _facts() -> dict[str, tuple[PhaseFacts, tuple[str, Any]]]:
    """Each phase's facts with the kind of builder and its data."""
    found: dict[str, tuple[PhaseFacts, tuple[str, Any]]] = {}
    for facts, how in (*_library(), *_elements(), *_aflow(), *_own(), *_ordered()):
        found.setdefault(facts.name, (facts, how))
    return found


def _library() -> list[tuple[PhaseFacts, tuple[str, Any]]]:
    from pymatgen.core.composition import Composition

    found = []
    for name in crystal_names():
        if name in TOO_LARGE:
            continue
        crystal = load_crystal(name)
        formula = Composition(crystal.formula).reduced_formula
        facts = PhaseFacts(
            name=name,
            formula=formula,
            structure_type=crystal.space_group,
            source=crystal.source,
            grade=crystal.grade.value,
            density_g_cm3=crystal.density_g_cm3,
        )
        found.append((facts, ("library", name)))
    return found


def _elements() -> list[tuple[PhaseFacts, tuple[str, Any]]]:
    from pymatgen.core.composition import Composition

    return [
        (
            PhaseFacts(
                name=f"{element}-element",
                formula=Composition(element).reduced_formula,
                structure_type="element",
                source=DELTA_SOURCE,
                grade="verified",
                density_g_cm3=None,
            ),
            ("element", element),
        )
        for element in (*ELEMENT_CELLS, "Nb", "Ta")
    ]


def _aflow() -> list[tuple[PhaseFacts, tuple[str, Any]]]:
    found = []
    for entry in _yaml("aflow_types.yaml"):
        tag, _, symbol = entry["type"].partition("|")
        prototype = _prototype(tag, symbol)
        for species, density, *grade in entry["members"]:
            mapping = dict(zip(entry["order"], species.split(), strict=True))
            formula = _mapped_formula(prototype, mapping)
            facts = PhaseFacts(
                name=f"{formula}-{tag}",
                formula=formula,
                structure_type=entry["type"],
                source=AFLOW_SOURCE,
                grade=grade[0] if grade else "recalled",
                density_g_cm3=density,
            )
            found.append((facts, ("aflow", (prototype, mapping, density))))
    return found


def _own() -> list[tuple[PhaseFacts, tuple[str, Any]]]:
    found = []
    for entry in _yaml("own_types.yaml"):
        for species, cell, *grade in entry["members"]:
            structure = _from_sites(entry, species.split(), cell)
            formula = structure.composition.reduced_formula
            facts = PhaseFacts(
                name=f"{formula}-{entry['name']}",
                formula=formula,
                structure_type=entry["name"],
                source=entry["source"],
                grade=grade[0] if grade else "recalled",
                density_g_cm3=round(float(structure.density), 3),
            )
            found.append((facts, ("own", structure)))
    return found


def _ordered() -> list[tuple[PhaseFacts, tuple[str, Any]]]:
    import json

    from pymatgen.core.structure import Structure

    text = (files(__package__) / "data" / "phases" / ORDERED_CELLS).read_text(encoding="utf-8")
    found = []
    for row in json.loads(text):
        structure = Structure(row["lattice"], row["elements"], row["frac_coords"])
        facts = PhaseFacts(
            name=row["name"],
            formula=row["formula"],
            structure_type=f"ordered {row['ordered_from']}",
            source=f"{row['source']}; {row['rounding']}",
            grade="model",
            density_g_cm3=round(float(structure.density), 3),
        )
        found.append((facts, ("own", structure)))
    return found


@cache
def _prototypes() -> list[dict[str, Any]]:
    import gzip
    import json

    from pymatgen.analysis import prototypes

    path = files(prototypes.__name__) / "aflow_prototypes.json.gz"
    loaded: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))
    return loaded


@cache
def _prototype(tag: str, symbol: str) -> Structure:
    from pymatgen.core.structure import Structure

    for candidate in _prototypes():
        tags = candidate["tags"]
        if tags["aflow"] == tag and symbol.strip('"') in ("", tags["strukturbericht"].strip('"'), tags["mineral"]):
            return Structure.from_dict(candidate["snl"])
    raise PhaseDataError(f"pymatgen's prototypes have no {tag} {symbol}; correct aflow_types.yaml")


def _mapped(prototype: Structure, mapping: dict[str, str]) -> Structure:
    from pymatgen.core.structure import Structure

    species = [mapping[site.specie.symbol] for site in prototype]
    return Structure(prototype.lattice, species, prototype.frac_coords)


def _mapped_formula(prototype: Structure, mapping: dict[str, str]) -> str:
    return str(_mapped(prototype, mapping).composition.reduced_formula)


def _from_aflow(data: tuple[Structure, dict[str, str], float]) -> Structure:
    prototype, mapping, density = data
    structure = _mapped(prototype, mapping)
    structure.scale_lattice(float(structure.volume) * float(structure.density) / float(density))
    return structure


def _from_sites(entry: dict[str, Any], species: list[str], cell: list[float]) -> Structure:
    from pymatgen.core.structure import Structure

    rotations, translations = _operations(entry)
    lattice = _lattice(entry["number"], cell)
    elements: list[str] = []
    kept: list[Any] = []
    for element, orbit in zip(species, entry["sites"].values(), strict=True):
        for xyz in orbit:
            images = np.empty((0, 3))
            for image in (rotations @ np.array(xyz, dtype=float) + translations) % 1.0:
                gaps = images - image
                if not (np.linalg.norm((gaps - np.round(gaps)) @ lattice, axis=1) < 0.05).any():
                    images = np.vstack([images, image])
            kept += list(images)
            elements += [element] * len(images)
    return Structure(lattice, elements, np.array(kept))


def _operations(entry: dict[str, Any]) -> tuple[Any, Any]:
    import spglib

    found = spglib.get_symmetry_from_database(entry.get("hall", _first_halls()[entry["number"]]))
    assert found is not None
    return np.array(found["rotations"], dtype=float), np.array(found["translations"], dtype=float)


@cache
def _first_halls() -> dict[int, int]:
    """First Hall number of each space group, which is its standard setting."""
    import spglib

    found: dict[int, int] = {}
    for hall in range(1, 531):
        kind = spglib.get_spacegroup_type(hall)
        assert kind is not None
        found.setdefault(int(kind.number), hall)
    return found


def _lattice(number: int, cell: list[float]) -> Any:
    """Lattice vectors as rows, angstrom, from the free lengths (and the angle) of the crystal system."""
    from pymatgen.core.lattice import Lattice

    a, b, c, beta, gamma = cell[0], cell[0], cell[-1], 90.0, 90.0
    if number < 75:
        b, c = cell[1], cell[2]
        beta = cell[3] if number < 16 else 90.0
    elif 143 <= number < 195:
        gamma = 120.0
    return np.array(Lattice.from_parameters(a, b, c, 90.0, beta, gamma).matrix)


def _from_delta(element: str) -> Structure:
    from ase.collections import dcdft
    from pymatgen.io.ase import AseAtomsAdaptor

    return AseAtomsAdaptor.get_structure(dcdft[element])


_BUILDERS: dict[str, Any] = {
    "library": lambda name: build_crystal(load_crystal(name)).to_pymatgen().copy().remove_oxidation_states(),
    "element": _from_delta,
    "aflow": _from_aflow,
    "own": lambda structure: structure,
}
