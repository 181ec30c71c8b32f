"""Equilibrium shape of a crystal from its surface free energies, by pymatgen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...structures.accepting import as_structure
from ...structures.vocabulary import AtomicStructure, Frozen
from ..figure_files import save_figure
from .surface import J_PER_M2, ThermodynamicsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from pymatgen.analysis.wulff import WulffShape

    from ...structures.accepting import StructureLike

    Array = NDArray[np.float64]

Miller = tuple[int, int, int]


class WulffShare(Frozen):
    """Share of a facet and of its equivalents in the surface of the crystal, with its standard deviation."""

    miller: Miller
    gamma_ev_per_ang2: float
    share: float
    share_error: float


def wulff_shares(
    bulk: StructureLike,
    gamma_ev_per_ang2: Mapping[Miller, float],
    *,
    errors_ev_per_ang2: Mapping[Miller, float] | None = None,
    n_samples: int = 50,
    seed: int = 0,
) -> tuple[WulffShare, ...]:
    """Shares of the facets of the Wulff shape. Each index stands for all that the lattice's symmetry makes equal.

    pymatgen uses the symmetry of the lattice, which is higher than that of a crystal without mirror planes or with
    fewer axes; facets that only the lattice makes equal cannot be told apart and are refused.

    Parameters
    ----------
    bulk
        The crystal the indices refer to.
    gamma_ev_per_ang2
        Lowest surface free energy of each facet, eV per square angstrom.
    errors_ev_per_ang2
        Independent standard deviations; the shares get theirs by sampling.

    Raises
    ------
    ThermodynamicsError
        If a surface free energy is not positive (the crystal would fall apart), two facets are equal by the lattice's
        symmetry, or the facets enclose no volume.
    """
    bulk = as_structure(bulk)
    millers = list(gamma_ev_per_ang2)
    values = np.array([gamma_ev_per_ang2[m] for m in millers])
    shares = _shares(bulk, millers, values)
    spread = np.zeros(len(millers))
    if errors_ev_per_ang2:
        sigma = np.array([errors_ev_per_ang2.get(m, 0.0) for m in millers])
        draws = values + sigma * np.random.default_rng(seed).standard_normal((n_samples, len(millers)))
        kept = draws[(draws > 0).all(axis=1)]
        spread = np.std([_shares(bulk, millers, row) for row in kept], axis=0) if len(kept) else spread
    return tuple(
        WulffShare(miller=m, gamma_ev_per_ang2=float(v), share=float(s), share_error=float(e))
        for m, v, s, e in zip(millers, values, shares, spread, strict=True)
    )


def _shape(bulk: AtomicStructure, millers: list[Miller], values: Array) -> WulffShape:
    from pymatgen.analysis.wulff import WulffShape
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
    from scipy.spatial import QhullError

    if (values <= 0).any():
        named = ", ".join(str(m) for m, v in zip(millers, values, strict=True) if v <= 0)
        raise ThermodynamicsError(
            f"the surface free energy of {named} is not positive: the crystal would fall apart into surfaces; check "
            "the chemical potentials"
        )
    structure = bulk.to_pymatgen()
    conventional = SpacegroupAnalyzer(structure, symprec=0.01).get_conventional_standard_structure().lattice
    if not np.allclose(conventional.parameters, structure.lattice.parameters, rtol=1e-3):
        raise ThermodynamicsError(
            "the indices of a Wulff shape refer to the conventional cell; give the bulk in its conventional cell"
        )
    equal = [
        {
            tuple(round(x) for x in operation.operate(m))
            for operation in structure.lattice.get_recp_symmetry_operation(0.01)
        }
        for m in millers
    ]
    for k, miller in enumerate(millers):
        same = next((millers[n] for n in range(k) if miller in equal[n]), None)
        if same is not None:
            raise ThermodynamicsError(
                f"{miller} and {same} are equal by the lattice's symmetry and cannot have two energies here; give one "
                "of them, for example the lower one"
            )
    try:
        # in J/m2, because pymatgen compares planes with an absolute tolerance
        return WulffShape(structure.lattice, millers, (J_PER_M2 * values).tolist(), symprec=0.01)
    except (QhullError, np.linalg.LinAlgError) as error:
        raise ThermodynamicsError(
            f"the facets {', '.join(map(str, millers))} enclose no crystal; add facets in other directions"
        ) from error


def _shares(bulk: AtomicStructure, millers: list[Miller], values: Array) -> list[float]:
    shares = _shape(bulk, millers, values).area_fraction_dict
    return [float(shares[m]) for m in millers]


def draw_wulff(bulk: StructureLike, gamma_ev_per_ang2: Mapping[Miller, float], path: Path | str) -> Path:
    """Write a PNG of the Wulff shape.

    Raises
    ------
    ThermodynamicsError
        As ``wulff_shares``, or if the file cannot be written.
    """
    bulk = as_structure(bulk)
    millers = list(gamma_ev_per_ang2)
    axes = _shape(bulk, millers, np.array([gamma_ev_per_ang2[m] for m in millers])).get_plot(show_area=True)
    try:
        return save_figure(axes.get_figure(), path, ThermodynamicsError, dpi=130, bbox_inches="tight")
    finally:
        import matplotlib.pyplot as plt

        plt.close(axes.get_figure())
