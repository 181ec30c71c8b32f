"""What a single point gives."""

from __future__ import annotations

from ....structures.vocabulary import Frozen, Vector3


class SinglePoint(Frozen):
    """Energy (eV), forces (eV/angstrom) in the order of the atoms, stress (eV/angstrom3, xx yy zz yz xz xy)."""

    energy_ev: float
    forces_ev_per_ang: tuple[Vector3, ...]
    stress_ev_per_ang3: tuple[float, ...] | None = None
