"""Random packings from which a melt starts: tetrahedra and ions at random places, without clashes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..structures.vocabulary import AtomicStructure
from .melt_quench import GlassError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MAX_TRIALS = 2_000
"""Trials for one unit of a packing before the packing starts anew with smaller distances."""

ARM_ANG = {"O": 1.53, "N": 1.62}
"""Distance of a ligand from its phosphorus."""

CHARGES_E = {"Li": 1.0, "Al": 3.0, "P": 5.0, "O": -2.0, "N": -3.0}

LEAST_ANG = {
    ("P", "P"): 4.0, ("Al", "Al"): 4.0, ("Al", "P"): 2.9, ("Al", "O"): 1.75, ("O", "O"): 2.5, ("O", "P"): 2.8,
    ("N", "O"): 2.5, ("N", "N"): 2.5, ("N", "P"): 2.8, ("Li", "O"): 1.8, ("Li", "N"): 1.9, ("Li", "P"): 2.7,
    ("Li", "Li"): 2.4, ("Al", "Li"): 2.8, ("Al", "N"): 1.75,
}  # fmt: skip
"""Least distances between units; a packing that finds no room starts anew with all of them scaled down."""

GRAMS_PER_AMU_ANG3 = 0.602214076
"""Density in g/cm3 times this is amu per cubic angstrom."""


def random_phosphate(n_formula_units: int, density_g_cm3: float, *, seed: int) -> AtomicStructure:
    """A cubic cell of AlPO4 with PO4 tetrahedra and Al at random places and orientations.

    Parameters
    ----------
    n_formula_units
        Number of AlPO4.
    density_g_cm3
        Sets the cell's volume.
    seed
        Of the random places.

    Raises
    ------
    GlassError
        If no packing without clashes is found.
    """
    units: list[tuple[str, ...]] = [("P", "O", "O", "O", "O")] * n_formula_units
    units += [("Al",)] * n_formula_units
    return random_packing(units, density_g_cm3, seed=seed)


def random_lipon(
    n_phosphorus: int, n_nitrogen: int, density_g_cm3: float, *, n_bridges: int, seed: int
) -> AtomicStructure:
    """A cubic cell of lithium phosphorus oxynitride: tetrahedra PO4 and PO3N, and lithium for neutrality.

    Parameters
    ----------
    n_phosphorus, n_nitrogen
        Numbers of P and N; at most one N per P.
    density_g_cm3
        Sets the cell's volume. Sputtered films have about 2.3 g/cm3.
    n_bridges
        Number of P that start with three ligands only, so that the melt makes as many bridges P-O-P and P-N-P.
    seed
        Of the random places.

    Raises
    ------
    GlassError
        If the numbers fit no composition, or no packing without clashes is found.
    """
    n_whole = n_phosphorus - n_bridges
    n_lithium = 2 * (4 * n_phosphorus - n_bridges - n_nitrogen) + 3 * n_nitrogen - 5 * n_phosphorus
    if not 0 <= n_nitrogen <= n_whole or n_bridges < 0 or n_phosphorus < 1 or n_lithium < 1:
        raise GlassError(
            f"{n_phosphorus} P with {n_nitrogen} N and {n_bridges} bridges make no LiPON with {n_lithium} Li; take "
            "fewer bridges, and at most one N for each P that has none"
        )
    units: list[tuple[str, ...]] = [("P", "O", "O", "O", "N")] * n_nitrogen
    units += [("P", "O", "O", "O", "O")] * (n_whole - n_nitrogen)
    units += [("P", "O", "O", "O")] * n_bridges + [("Li",)] * n_lithium
    return random_packing(units, density_g_cm3, seed=seed)


def random_packing(units: Sequence[tuple[str, ...]], density_g_cm3: float, *, seed: int) -> AtomicStructure:
    """Units at random places and orientations of a cubic cell, in their order.

    Parameters
    ----------
    units
        Single ions, or a phosphorus and up to four ligands at the corners of a tetrahedron.
    density_g_cm3
        Sets the cell's volume.
    seed
        Of the random places.

    Raises
    ------
    GlassError
        If no packing without clashes is found.
    """
    from ase.data import atomic_masses, atomic_numbers

    mass = sum(float(atomic_masses[atomic_numbers[element]]) for unit in units for element in unit)
    edge = (mass / (density_g_cm3 * GRAMS_PER_AMU_ANG3)) ** (1 / 3)
    rng = np.random.default_rng(seed)
    for scale in (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7):
        places = _pack(units, edge, scale, rng)
        if places is not None:
            elements = tuple(element for unit in units for element in unit)
            frac = tuple((float(x), float(y), float(z)) for x, y, z in places / edge)
            return AtomicStructure(
                lattice_ang=((edge, 0.0, 0.0), (0.0, edge, 0.0), (0.0, 0.0, edge)),
                elements=elements,
                frac_coords=frac,
                oxidation_states=tuple(CHARGES_E[e] for e in elements),
            )
    raise GlassError(
        f"{len(units)} units do not pack at {density_g_cm3} g/cm3 without clashes; give a smaller density, 2.6 g/cm3 "
        "at most for AlPO4"
    )


def _pack(
    units: Sequence[tuple[str, ...]], edge: float, scale: float, rng: np.random.Generator
) -> NDArray[np.float64] | None:
    from scipy.spatial.transform import Rotation

    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
    elements: list[str] = []
    places = np.empty((0, 3))
    for names in units:
        arms = corners[: len(names) - 1] * np.array([ARM_ANG[name] for name in names[1:]])[:, None]
        for _ in range(MAX_TRIALS):
            centre = rng.uniform(0, edge, 3)
            unit = centre[None, :]
            if len(names) > 1:
                unit = np.vstack([centre, centre + arms @ Rotation.random(rng=rng).as_matrix().T])
            delta = unit[:, None, :] - places[None, :, :]
            distance = np.linalg.norm(delta - edge * np.round(delta / edge), axis=2)
            least = np.array([[LEAST_ANG[min(a, b), max(a, b)] for b in elements] for a in names]).reshape(
                len(names), len(elements)
            )
            if (distance >= scale * least).all():
                elements.extend(names)
                places = np.vstack([places, unit])
                break
        else:
            return None
    return places
