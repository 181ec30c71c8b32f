"""Surface energies of slabs against reservoirs, all computed with one potential.

gamma = (E(slab) - sum of n_i E_i) / (2 A) with whole reservoir phases i: the bulk, a water molecule, Li2O and so on.
That is the surface energy at the chemical potentials that they set (Reuter and Scheffler, Phys. Rev. B 65, 035406
(2001)), without vibrations. Where no set of reservoirs adds up to the slab, no number is given. Temperature, pressure,
voltage and errors are in ``surfshift.analysis.thermodynamics``, whose balance of atoms is used here too.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from ..structures.faces import slab_motions
from ..structures.slabs import DIPOLE_TOLERANCE_E_ANG
from ..structures.vocabulary import Frozen
from .thermodynamics import surface as thermodynamics
from .thermodynamics.surface import J_PER_M2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..structures.vocabulary import Candidate

POLAR_NOTE = "polar: its energy grows with its thickness, so it has no surface energy"


class Reservoir(Frozen):
    """A phase that gives or takes atoms: its name, atoms per formula unit, and energy per formula unit in eV."""

    name: str
    composition: dict[str, int]
    energy_ev: float


class SurfaceEnergy(Frozen):
    """What a slab's energy says.

    Attributes
    ----------
    low_j_m2, high_j_m2
        Mean surface energy of the two faces, J/m2: two values where reservoirs set a range, equal ones where one set
        does, ``None`` where no number can be given.
    balance
        What the slab was weighed against, for example ``8 AlPO4 + 4 H2O``; per value of the range.
    note
        What a reader must know.
    """

    low_j_m2: float | None = None
    high_j_m2: float | None = None
    balance: tuple[str, ...] = ()
    note: str = ""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.low_j_m2 is None) != (self.high_j_m2 is None):
            raise ValueError("a surface energy has two ends or none")
        return self


def balance(atoms: Mapping[str, int], reservoirs: Sequence[Mapping[str, int]]) -> tuple[float, ...] | None:
    """Amounts of reservoirs that add up to ``atoms``, or ``None`` if there are none or several.

    Amounts may be negative: what a slab has given away.
    """
    solids = tuple(
        thermodynamics.Reservoir(name=str(k), kind="solid", composition=dict(composition), energy_ev=0.0)
        for k, composition in enumerate(reservoirs)
    )
    try:
        amounts = thermodynamics.units_taken(dict(atoms), solids)
    except thermodynamics.ReservoirError:
        return None
    return tuple(round(float(amount), 9) for amount in amounts)


def reservoir_sets(
    atoms: Mapping[str, int],
    bulk: Mapping[str, int],
    others: Mapping[str, Mapping[str, int]],
    *,
    lithium: Sequence[str] = (),
) -> tuple[tuple[str, ...], ...]:
    """Names of the smallest sets of reservoirs beside the bulk that add up to a slab.

    Parameters
    ----------
    atoms
        Atoms of the slab.
    bulk
        Atoms of a formula unit of its crystal.
    others
        Reservoirs by name that are always allowed, such as water.
    lithium
        Names in ``others`` of which at most one takes part: phases between which the ion's chemical potential lies.

    Returns
    -------
    Every set of the smallest size that does, so that its members span a range; empty if there is none.
    """
    plain = [name for name in others if name not in lithium]
    for size in range(len(others) + 1):
        found = []
        for names in _subsets(plain, tuple(lithium), size):
            amounts = balance(atoms, [bulk, *(others[name] for name in names)])
            if amounts is not None and amounts[0] > 0 and all(abs(amount) > 1e-6 for amount in amounts):
                found.append(names)
        if found:
            return tuple(found)
    return ()


def _subsets(plain: Sequence[str], lithium: tuple[str, ...], size: int) -> Iterable[tuple[str, ...]]:
    for one in ((), *((name,) for name in lithium)):
        if len(one) <= size:
            for rest in combinations(plain, size - len(one)):
                yield (*rest, *one)


def surface_energy(
    candidate: Candidate,
    energy_ev: float,
    bulk: Reservoir,
    reservoirs: Mapping[str, Reservoir],
    *,
    slab: Candidate | None = None,
    lithium: Sequence[str] = (),
) -> SurfaceEnergy:
    """Surface energy of a slab, a range, or the reason why there is none.

    Parameters
    ----------
    candidate
        A slab, not an interface.
    energy_ev
        Energy of its cell.
    bulk
        The crystal it was cut from, in the same cell, computed with the same potential.
    slab
        The dry slab under a decoration. A decoration that differs on the two faces gives a dipole of its own, which
        does not grow with the thickness; only where the cut is polar too is no number given.
    reservoirs, lithium
        As ``others`` and ``lithium`` of ``reservoir_sets``; energies of the same potential.
    """
    atoms = Counter(candidate.structure.elements)
    if _has_dipole(candidate) and _has_dipole(slab or candidate):
        return SurfaceEnergy(note=POLAR_NOTE)
    others = {name: reservoir.composition for name, reservoir in reservoirs.items()}
    sets = reservoir_sets(atoms, bulk.composition, others, lithium=lithium)
    if not sets:
        return SurfaceEnergy(note=unbalanced_note(atoms, bulk.composition))
    values = []
    for names in sets:
        phases = [bulk, *(reservoirs[name] for name in names)]
        amounts = balance(atoms, [phase.composition for phase in phases])
        assert amounts is not None
        excess = energy_ev - sum(n * phase.energy_ev for n, phase in zip(amounts, phases, strict=True))
        words = " ".join(_term(n, phase.name, k) for k, (n, phase) in enumerate(zip(amounts, phases, strict=True)))
        values.append((J_PER_M2 * excess / (2.0 * candidate.area_ang2), words))
    values.sort()
    notes = []
    if not any(rotation[2, 2] < 0 for rotation, _ in slab_motions(candidate.structure)):
        notes.append("mean of two faces that symmetry does not relate")
    if candidate.frozen_atoms:
        notes.append("the lower face is not relaxed")
    if len(values) > 1:
        notes.append("the range lies between the reservoirs named")
    elif sets[0]:
        notes.append(f"at the chemical potential of {', '.join(sets[0])}, without vibrations")
    return SurfaceEnergy(
        low_j_m2=values[0][0],
        high_j_m2=values[-1][0],
        balance=tuple(words for _, words in values),
        note="; ".join(notes),
    )


def _has_dipole(candidate: Candidate) -> bool:
    return candidate.kind == "slab" and abs(candidate.dipole_e_ang) >= DIPOLE_TOLERANCE_E_ANG


def _term(amount: float, name: str, number: int) -> str:
    sign = "" if number == 0 else "+ " if amount > 0 else "- "
    return f"{sign}{abs(amount):.4g} {name}"


def unbalanced_note(atoms: Mapping[str, int], bulk: Mapping[str, int]) -> str:
    """Which chemical potentials a slab's energy would need, in words."""
    # the framework is what most elements agree on
    shares = Counter(round(atoms.get(element, 0) / n, 6) for element, n in bulk.items())
    whole = min(shares, key=lambda share: (-shares[share], share))
    excess = {element: atoms.get(element, 0) - whole * bulk.get(element, 0) for element in sorted({*atoms, *bulk})}
    left = ", ".join(f"{n:+.4g} {element}" for element, n in excess.items() if abs(n) > 1e-6)
    potentials = ", ".join(f"mu({element})" for element, n in excess.items() if abs(n) > 1e-6)
    return f"not stoichiometric ({left} beside {whole:.4g} bulk formula units): no surface energy without {potentials}"


def adhesion_energy(energy_ev: float, parts_ev: Sequence[float], area_ang2: float) -> float:
    """Rigid work of separation, (sum of the parts - whole) / A in J/m2; positive where the two sides hold together."""
    return J_PER_M2 * (sum(parts_ev) - energy_ev) / area_ang2
