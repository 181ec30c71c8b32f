"""Common in-plane supercells of two slabs, found by pymatgen's Zur-McGill search (J. Appl. Phys. 55, 378 (1984))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np

from .errors import SurfshiftError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Strained = Literal["film", "substrate", "both"]

WIDER = ((1.5, 0.0, 1.0, 1.2), (2.0, 0.0, 1.5, 1.5), (4.0, 0.1, 2.0, 2.5), (8.0, 0.25, 3.0, 4.0))
"""How a search for the nearest match grows: factor and least strain, factor of the area and of the larger cell."""


class NoMatchError(SurfshiftError):
    """No common supercell within the limits; the message names the nearest."""


@dataclass(frozen=True)
class LatticeMatch:
    """A common supercell.

    Attributes
    ----------
    substrate_matrix, film_matrix
        Integer (2, 2); rows are the common vectors in those of each side.
    lattice
        The common in-plane cell, rows, shape (2, 2), first vector along x, right-handed, angstrom.
    strain
        Principal strains of the strained side, smallest first.
    """

    substrate_matrix: NDArray[np.int64]
    film_matrix: NDArray[np.int64]
    lattice: Array
    strain: tuple[float, float]

    @property
    def area_ang2(self) -> float:
        """Area of the common cell, square angstrom."""
        return abs(float(np.linalg.det(self.lattice)))

    @property
    def largest_strain(self) -> float:
        """The larger absolute principal strain."""
        return max(abs(value) for value in self.strain)


def find_matches(
    substrate: Array, film: Array, *, max_strain: float, max_area_ang2: float, strained: Strained = "film"
) -> tuple[LatticeMatch, ...]:
    """Common supercells within a strain and an area, the smallest cell first; none is no error.

    Of matches with the same area and the same strains one is kept.

    Parameters
    ----------
    substrate, film
        In-plane lattice vectors, rows, shape (2, 2), angstrom, both right-handed.
    max_strain
        Largest absolute principal strain of the strained side.
    max_area_ang2
        Largest area.
    strained
        Which side takes up the difference; ``both`` shares it.
    """
    best: dict[tuple[float, float, float], LatticeMatch] = {}
    for match in _matches(substrate, film, max_strain, max_area_ang2, strained):
        best.setdefault((round(match.area_ang2, 1), round(match.strain[0], 4), round(match.strain[1], 4)), match)
    return tuple(sorted(best.values(), key=lambda m: (round(m.area_ang2, 1), round(m.largest_strain, 4))))


def refuse_match(
    cells: Sequence[tuple[Array, Array]], name: str, *, max_strain: float, max_area_ang2: float, strained: Strained
) -> NoReturn:
    """Say what the nearest common cell of some pairs of lattices (substrate, film) would be.

    Raises
    ------
    NoMatchError
        Always; the message tells the smallest strain found, and at which area.
    """
    least = min(max(abs(float(np.linalg.det(cell))) for cell in pair) for pair in cells)
    for strain_factor, least_strain, area_factor, least_area in WIDER:
        area = max(max_area_ang2 * area_factor, least * least_area)
        strain = max(max_strain * strain_factor, least_strain)
        wider = [m for a, b in cells for m in _matches(a, b, strain, area, strained)]
        if wider:
            best = min(wider, key=lambda match: (round(match.largest_strain, 4), match.area_ang2))
            raise NoMatchError(
                f"{name}: no common cell within a strain of {100 * max_strain:g} % and {max_area_ang2:g} A2; smallest "
                f"strain found is {100 * best.largest_strain:.1f} % at {best.area_ang2:.0f} A2; allow that or take "
                "another facet"
            )
    raise NoMatchError(
        f"{name}: no common cell within a strain of {100 * strain:.0f} % and {area:.0f} A2; take another facet"
    )


def _matches(
    substrate: Array, film: Array, max_strain: float, max_area_ang2: float, strained: Strained
) -> Iterator[LatticeMatch]:
    from pymatgen.analysis.interfaces.zsl import ZSLGenerator

    limit = min(max_strain, 0.6)
    generator: Any = ZSLGenerator(
        max_area_ratio_tol=2.5 * limit,
        # the search bounds both areas, before either is strained
        max_area=max_area_ang2 * (1.0 + 2.5 * limit),
        max_length_tol=1.3 * limit,
        max_angle_tol=1.3 * limit,
    )
    flat = [np.column_stack([vectors, np.zeros(2)]) for vectors in (film, substrate)]
    for match in generator(*flat):
        tops = np.array(match.film_sl_vectors, dtype=float)[:, :2]
        bases = np.array(match.substrate_sl_vectors, dtype=float)[:, :2]
        if np.linalg.det(bases) < 0:
            tops, bases = tops[::-1], bases[::-1]
        # the search ignores handedness; a slab is turned, never mirrored
        options = [tops] if np.linalg.det(tops) > 0 else [tops * np.array([[1], [-1]]), tops[::-1]]
        for vectors in options:
            target, strain = _strain(bases, vectors, strained)
            if max(abs(value) for value in strain) <= max_strain and np.linalg.det(target) <= max_area_ang2 * 1.0001:
                yield LatticeMatch(
                    substrate_matrix=np.rint(bases @ np.linalg.inv(substrate)).astype(int),
                    film_matrix=np.rint(vectors @ np.linalg.inv(film)).astype(int),
                    lattice=target,
                    strain=strain,
                )
                break


def _strain(substrate: Array, film: Array, strained: Strained) -> tuple[Array, tuple[float, float]]:
    """The common cell, first vector along x, and the principal strains of the strained side."""
    deform = np.linalg.solve(film, substrate).T
    stretches, axes = np.linalg.eigh(deform.T @ deform)
    stretches = np.sqrt(stretches)
    if strained == "film":
        target, values = substrate, stretches - 1.0
    elif strained == "substrate":
        target, values = film, 1.0 / stretches - 1.0
    else:
        half = axes @ np.diag(np.sqrt(stretches)) @ axes.T
        target, values = film @ half.T, np.sqrt(stretches) - 1.0
    low, high = sorted(float(value) for value in values)
    cosine, sine = target[0] / np.linalg.norm(target[0])
    turned: Array = target @ np.array([[cosine, -sine], [sine, cosine]])
    turned[0, 1] = 0.0
    return turned, (low, high)
