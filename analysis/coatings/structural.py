"""The crystal of a coating: the path it leaves for lithium, and how its faces fit those of the electrolyte."""

from __future__ import annotations

import itertools
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from ...structures.lattice_matching import find_matches
from ...structures.percolation import IonPath, widest_path
from ...structures.vocabulary import Frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure

FACES = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1), (0, 1, 2))
"""Low-index faces of the conventional cell; (012) is the low-energy face of NASICON phosphates."""

MAX_STRAIN, MAX_AREA_ANG2 = 0.05, 250.0


class FaceMatch(Frozen):
    """Best common cell of a face of the electrolyte and one of the coating, the coating strained.

    ``strain`` is its larger principal strain. ``is_low_energy`` says whether the electrolyte's face is one known
    to be of low energy; where none is known, its faces of low indices are tried.
    """

    electrolyte_face: tuple[int, int, int]
    coating_face: tuple[int, int, int]
    strain: float
    area_ang2: float
    is_low_energy: bool = False


@lru_cache(maxsize=512)
def crystal_of(formula: str) -> Structure | None:
    """A crystal of this formula, well supported ones first; None if there is none."""
    from ...structures.phases import build_phase, load_phase, phase_names

    order = {"verified": 0, "recalled": 1, "model": 2, "estimate": 3}
    wanted = _canonical(formula)
    found = [load_phase(name) for name in phase_names()]
    found = [facts for facts in found if _canonical(facts.formula) == wanted]
    if not found:
        return None
    best = min(found, key=lambda facts: (order[facts.grade], facts.name))
    return build_phase(best.name)


@lru_cache(maxsize=512)
def lithium_path(formula: str) -> IonPath | None:
    """Widest path of lithium in the crystal of a formula; None without a crystal."""
    crystal = crystal_of(formula)
    return None if crystal is None else widest_path(crystal)


@lru_cache(maxsize=4096)
def best_match(electrolyte: str, coating: str) -> FaceMatch | None:
    """The best match of low-index faces of two crystals; None without a crystal or a common cell."""
    known = _low_energy_faces().get(_canonical(electrolyte), {})
    one, two = crystal_of(known.get("framework", electrolyte)), crystal_of(coating)
    if one is None or two is None:
        return None
    wanted = tuple(tuple(face) for face in known.get("faces", FACES))
    best: FaceMatch | None = None
    for (face, substrate), (other, film) in itertools.product(_faces(one, wanted), _faces(two, FACES)):
        matches = find_matches(substrate, film, max_strain=MAX_STRAIN, max_area_ang2=MAX_AREA_ANG2)
        if not matches:
            continue
        first = min(matches, key=lambda m: (round(m.largest_strain, 3), m.area_ang2))
        if best is None or (first.largest_strain, first.area_ang2) < (best.strain, best.area_ang2):
            best = FaceMatch(
                electrolyte_face=face,
                coating_face=other,
                strain=round(first.largest_strain, 4),
                area_ang2=round(first.area_ang2, 1),
                is_low_energy="faces" in known,
            )
    return best


@cache
def _low_energy_faces() -> dict[str, dict[str, Any]]:
    import yaml

    text = (files("surfshift.analysis.data") / "electrodes_electrolytes.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return {_canonical(formula): facts for formula, facts in loaded["low_energy_faces"].items()}


def _canonical(formula: str) -> str:
    from .fingerprints import canonical

    return canonical(formula)


def _faces(
    crystal: Structure, wanted: Sequence[tuple[int, ...]]
) -> list[tuple[tuple[int, int, int], NDArray[np.float64]]]:
    """Faces of the conventional cell, each of different shape once, with in-plane vectors (2, 2), right-handed."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    lattice = np.array(SpacegroupAnalyzer(crystal, symprec=0.05).get_conventional_standard_structure().lattice.matrix)
    found: list[tuple[tuple[int, int, int], NDArray[np.float64]]] = []
    shapes: set[tuple[float, float, float]] = set()
    steps = np.array(list(itertools.product(range(-3, 4), repeat=3)))
    for index in wanted:
        face = (index[0], index[1], index[2])
        inside = steps[(steps @ np.array(face) == 0) & (np.abs(steps).sum(axis=1) > 0)] @ lattice
        inside = inside[np.argsort(np.linalg.norm(inside, axis=1), kind="stable")]
        a = inside[0]
        b = next(v for v in inside[1:] if np.linalg.norm(np.cross(a, v)) > 0.1)
        length = float(np.linalg.norm(a))
        along = float(a @ b) / length
        across = float(np.linalg.norm(np.cross(a, b))) / length
        shape = (round(length, 2), round(abs(along), 2), round(across, 2))
        if shape not in shapes:
            shapes.add(shape)
            found.append((face, np.array([[length, 0.0], [along, across]])))
    return found
