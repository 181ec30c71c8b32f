"""A coating on an electrolyte: two slabs in a common cell, all pairs of terminations, ranked by shift and gap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from .accepting import as_structure
from .assembly import AtomBudgetError, NoRoomError, check_sound
from .contact_energy import Contact
from .errors import SurfshiftError
from .faces import slab_motions
from .lattice_matching import LatticeMatch, Strained, find_matches, refuse_match
from .slabs import DIPOLE_TOLERANCE_E_ANG, polar_note, slab_dipole
from .vocabulary import AtomicStructure, Candidate, Frozen, InterfaceRecord, Layer, StackingScore, as_tensor3

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .accepting import StructureLike

    Array = NDArray[np.float64]

EnergyModel = Callable[[AtomicStructure], float]
"""Energy of a structure in eV, for example ``sevennet_energy()`` of ``surfshift.workflows.energies``."""

IONIC_MODEL = "ionic contact model"
GAP_STEP_ANG = 0.2
GAP_STEPS_ANG = tuple(GAP_STEP_ANG * k for k in range(8))
"""Gaps that are tried above the one at which the two sides touch, angstrom; wider ones would be no interface."""

MAX_OPENING_ANG = 1.4
"""An energy model may open the gap of the ionic contact model by so much, angstrom."""


class InterfaceError(SurfshiftError):
    """Slabs that cannot be stacked."""


class InterfaceSettings(Frozen):
    """Limits and choices of a stacking.

    Attributes
    ----------
    max_strain
        Largest absolute principal strain of the strained side.
    max_area_ang2
        Largest area of the common cell.
    strained
        The side that takes up the misfit. Its thickness stays as it is.
    max_atoms
        Atom budget, checked before anything is built.
    max_matches
        Common cells kept per pair of terminations, the smallest first.
    n_shifts
        Shifts along each vector of the substrate's own cell.
    n_scored
        Of the shifts ranked by the ionic contact model so many are computed with the energy model.
    gap_ang
        Height between the outermost atoms; by default each shift gets its best.
    vacuum_ang
        Empty space above the film.
    near_ang
        Atoms within this depth of the interface are listed as near it.
    """

    max_strain: float = Field(default=0.05, gt=0.0, le=0.3)
    max_area_ang2: float = Field(default=200.0, gt=0.0)
    strained: Strained = "film"
    max_atoms: int = Field(default=400, ge=2)
    max_matches: int = Field(default=1, ge=1)
    n_shifts: int = Field(default=5, ge=1, le=20)
    n_scored: int = Field(default=3, ge=1)
    gap_ang: float | None = None
    vacuum_ang: float = Field(default=15.0, gt=0.0)
    near_ang: float = Field(default=4.0, gt=0.0)


@dataclass(frozen=True)
class InterfacePlan:
    """An interface that could be built: two slabs, which of them are turned upside down, and a common cell."""

    substrate: Candidate
    film: Candidate
    substrate_turned: bool
    film_turned: bool
    match: LatticeMatch

    @property
    def n_atoms(self) -> int:
        """Number of atoms of the cell."""
        n_substrate = abs(round(float(np.linalg.det(self.match.substrate_matrix))))
        n_film = abs(round(float(np.linalg.det(self.match.film_matrix))))
        return n_substrate * len(self.substrate.structure) + n_film * len(self.film.structure)

    @property
    def name(self) -> str:
        """Film on substrate; ``~`` marks a slab that is turned upside down."""
        return f"{self.film.name}{'~' * self.film_turned} on {self.substrate.name}{'~' * self.substrate_turned}"


def plan_interfaces(
    substrates: Sequence[Candidate], films: Sequence[Candidate], settings: InterfaceSettings
) -> tuple[InterfacePlan, ...]:
    """Every pair of terminations with a common cell within the limits, the fewest atoms first.

    A slab whose two faces symmetry does not relate is used both ways up.

    Raises
    ------
    InterfaceError
        If a candidate is no slab.
    NoMatchError
        If no pair has a common cell; the message of the nearest one.
    """
    for slab in (*substrates, *films):
        if slab.kind != "slab":
            raise InterfaceError(f"{slab.name} is a bulk crystal; cut slabs of both sides first")
    if not substrates or not films:
        raise InterfaceError("an interface needs at least one slab of each side")
    plans: list[InterfacePlan] = []
    known: dict[tuple[bytes, ...], tuple[tuple[Array, Array], tuple[LatticeMatch, ...]]] = {}
    for substrate, film in product(substrates, films):
        for lower, upper in product(_ways_up(substrate), _ways_up(film)):
            below, above = (_turn(s.structure, t).lattice[:2, :2] for s, t in ((substrate, lower), (film, upper)))
            key = (np.round(below, 4).tobytes(), np.round(above, 4).tobytes())
            if key not in known:
                found = find_matches(
                    below,
                    above,
                    max_strain=settings.max_strain,
                    max_area_ang2=settings.max_area_ang2,
                    strained=settings.strained,
                )
                known[key] = ((below, above), found)
            plans += [
                InterfacePlan(substrate, film, lower, upper, match) for match in known[key][1][: settings.max_matches]
            ]
    if not plans:
        refuse_match(
            [cells for cells, _ in known.values()],
            f"{films[0].parent} on {substrates[0].parent}",
            max_strain=settings.max_strain,
            max_area_ang2=settings.max_area_ang2,
            strained=settings.strained,
        )
    return tuple(sorted(plans, key=lambda plan: (plan.n_atoms, plan.name)))


def build_interfaces(
    substrates: Sequence[Candidate],
    films: Sequence[Candidate],
    settings: InterfaceSettings,
    *,
    energy: EnergyModel | None = None,
    energy_name: str = "",
) -> tuple[Candidate, ...]:
    """The best stacking of every planned pair of terminations, the lowest score first.

    For every pair the lateral shift is scanned over the substrate's cell and the gap over heights, with the ionic
    contact model; with an energy model the best few shifts are ranked again by the adhesion energy,
    (E(interface) - E(substrate) - E(film)) / area, unrelaxed, both sides strained as in the interface, and the gap of
    the best one is changed for as long as that energy falls.

    Parameters
    ----------
    substrates, films
        Slabs; the film goes on top.
    settings
        Limits.
    energy, energy_name
        Energy model in eV, and its name for the record.

    Raises
    ------
    AtomBudgetError
        If every planned interface has more atoms than allowed; the message says how many the smallest has.
    NoMatchError, InterfaceError
    """
    plans = plan_interfaces(substrates, films, settings)
    fitting = [plan for plan in plans if plan.n_atoms <= settings.max_atoms]
    if not fitting:
        raise AtomBudgetError(
            f"the smallest interface, {plans[0].name}, has {plans[0].n_atoms} atoms, more than the "
            f"{settings.max_atoms} allowed; set max_atoms={plans[0].n_atoms}, or take thinner slabs or more strain"
        )
    left_out = len(plans) - len(fitting)
    built = []
    failure: NoRoomError | None = None
    for plan in fitting:
        try:
            built.append(_build(plan, settings, energy, energy_name or "energy model", left_out))
        except NoRoomError as error:
            failure = error
    if not built:
        assert failure is not None
        raise failure
    return tuple(sorted(built, key=_score_of))


def _score_of(candidate: Candidate) -> float:
    assert candidate.interface_record is not None
    return candidate.interface_record.score_ev_per_ang2


def _ways_up(slab: Candidate) -> tuple[bool, ...]:
    flips = any(rotation[2, 2] < 0 for rotation, _ in slab_motions(slab.structure))
    return (False,) if flips else (False, True)


def _turn(structure: AtomicStructure, turned: bool) -> AtomicStructure:
    """The slab as it is, or rotated by half a turn about its first vector, its cell right-handed again."""
    if not turned:
        return structure
    # about x, (bx, by) becomes (bx, -by); its negative keeps the cell right-handed
    lattice = structure.lattice.copy()
    lattice[1, :2] = [-lattice[1, 0], lattice[1, 1]]
    rotated = structure.cart_coords * np.array([1.0, -1.0, -1.0]) + np.array([0.0, 0.0, structure.lattice[2, 2]])
    return structure.moved_to(rotated, lattice)


def in_plane_supercell(structure: StructureLike, matrix: NDArray[np.int64]) -> AtomicStructure:
    """The slab in a larger in-plane cell: rows of the integer (2, 2) matrix are the new vectors in the old ones."""
    structure = as_structure(structure)
    n = abs(round(float(np.linalg.det(matrix))))
    if n == 0:
        raise InterfaceError(f"the in-plane matrix {matrix.tolist()} has determinant zero; give independent vectors")
    reach = int(np.abs(matrix).sum())
    inverse = np.linalg.inv(matrix)
    offsets: list[Array] = []
    for step in product(range(-reach, reach + 1), repeat=2):
        frac = (np.array(step) @ inverse + 1e-9) % 1.0 - 1e-9
        if not any(np.linalg.norm((frac - o + 0.5) % 1.0 - 0.5) < 1e-6 for o in offsets):
            offsets.append(frac)
    old = np.array(structure.frac_coords)
    flat = old[:, :2] @ inverse
    lattice = structure.lattice.copy()
    lattice[:2] = matrix @ structure.lattice[:2]
    frac = np.vstack([np.column_stack([(flat + offset) % 1.0, old[:, 2]]) for offset in offsets])
    return AtomicStructure(
        lattice_ang=as_tensor3(lattice),
        elements=structure.elements * n,
        frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in frac),
        oxidation_states=structure.oxidation_states * n,
        periodic=structure.periodic,
    )


def _strained_to(structure: AtomicStructure, lattice: Array) -> AtomicStructure:
    """The slab with its in-plane cell stretched to another, its heights kept."""
    cell = structure.lattice.copy()
    cell[:2] = 0.0
    cell[:2, :2] = lattice
    cell[2, :2] = 0.0
    return structure.model_copy(update={"lattice_ang": as_tensor3(cell)})


def _build(
    plan: InterfacePlan, settings: InterfaceSettings, energy: EnergyModel | None, energy_name: str, left_out: int
) -> Candidate:
    match = plan.match
    lower = _strained_to(
        in_plane_supercell(_turn(plan.substrate.structure, plan.substrate_turned), match.substrate_matrix),
        match.lattice,
    )
    upper = _strained_to(
        in_plane_supercell(_turn(plan.film.structure, plan.film_turned), match.film_matrix), match.lattice
    )
    # the film's own lattice makes the outcome periodic, so the substrate's primitive cell holds every shift
    own = np.linalg.inv(match.substrate_matrix) @ match.lattice
    contact = Contact.between(lower, upper)
    ranked = []
    for i, j in product(range(settings.n_shifts), repeat=2):
        shift = np.array([i, j]) / settings.n_shifts @ own
        pairs = contact.pairs(shift)
        lowest = pairs.touching_gap_ang + 1e-3
        gaps = [lowest + step for step in GAP_STEPS_ANG] if settings.gap_ang is None else [settings.gap_ang]
        energies = [(pairs.energy(gap) / match.area_ang2, gap) for gap in gaps if gap >= lowest]
        if energies:
            ranked.append((*min(energies), (i, j), shift))
    if not ranked:
        raise NoRoomError(
            f"{plan.name}: at a gap of {settings.gap_ang} angstrom atoms of the two sides touch; leave gap_ang open"
        )
    ranked.sort(key=lambda entry: (round(entry[0], 6), entry[2]))
    model = IONIC_MODEL
    score, gap, _, shift = ranked[0]
    scan: tuple[StackingScore, ...] = ()
    if energy is not None:
        model = energy_name
        stackings = _Stackings(lower, upper, match.area_ang2, settings, energy)
        for entry in ranked[: settings.n_scored]:
            stackings.score(entry[3], entry[1])
        if settings.gap_ang is None:
            shift = stackings.best[2]
            stackings.descend(lowest_gap_ang=contact.pairs(shift).touching_gap_ang + 1e-3)
        score, gap, shift = stackings.best
        scan = stackings.scan
    structure = _stack(lower, upper, shift, gap, settings)
    check_sound(structure, plan.name)
    return _to_candidate(
        plan,
        structure,
        n_lower=len(lower),
        shift=shift,
        gap_ang=gap,
        settings=settings,
        score=score,
        model=model,
        scan=scan,
        left_out=left_out,
    )


class _Stackings:
    """Adhesion energies of two slabs by an energy model, and the lowest of them."""

    def __init__(
        self,
        lower: AtomicStructure,
        upper: AtomicStructure,
        area_ang2: float,
        settings: InterfaceSettings,
        energy: EnergyModel,
    ) -> None:
        self.lower, self.upper, self.area_ang2, self.settings, self.energy = lower, upper, area_ang2, settings, energy
        self.apart = energy(_alone(lower, settings)) + energy(_alone(upper, settings))
        self.found: list[tuple[float, float, Array]] = []

    def score(self, shift: Array, gap_ang: float) -> float:
        """Adhesion energy per area of one stacking, eV per square angstrom."""
        together = self.energy(_stack(self.lower, self.upper, shift, gap_ang, self.settings))
        value = (together - self.apart) / self.area_ang2
        self.found.append((value, gap_ang, shift))
        return value

    @property
    def best(self) -> tuple[float, float, Array]:
        """Score, gap and shift of the lowest stacking."""
        return min(self.found, key=lambda entry: (round(entry[0], 6), entry[1]))

    def descend(self, *, lowest_gap_ang: float) -> None:
        """Change the gap of the best shift for as long as the energy falls."""
        value, start, shift = self.best
        for step in (GAP_STEP_ANG, -GAP_STEP_ANG):
            gap, last, is_lower = start + step, value, False
            while lowest_gap_ang <= gap <= start + MAX_OPENING_ANG:
                now = self.score(shift, gap)
                if now >= last:
                    break
                last, gap, is_lower = now, gap + step, True
            if is_lower:
                return

    @property
    def scan(self) -> tuple[StackingScore, ...]:
        """Everything that was computed, in order."""
        flat = np.linalg.inv(self.lower.lattice[:2, :2])
        return tuple(
            StackingScore(
                shift=(float((frac := shift[:2] @ flat)[0]), float(frac[1])), gap_ang=gap, score_ev_per_ang2=value
            )
            for value, gap, shift in self.found
        )


def _alone(slab: AtomicStructure, settings: InterfaceSettings) -> AtomicStructure:
    lattice = slab.lattice.copy()
    lattice[2, 2] = np.ptp(slab.cart_coords[:, 2]) + settings.vacuum_ang
    return slab.moved_to(slab.cart_coords, lattice)


def _stack(
    lower: AtomicStructure, upper: AtomicStructure, shift: Array, gap_ang: float, settings: InterfaceSettings
) -> AtomicStructure:
    below, above = lower.cart_coords.copy(), upper.cart_coords.copy()
    below[:, 2] -= below[:, 2].min()
    above[:, 2] += below[:, 2].max() + gap_ang - above[:, 2].min()
    above[:, :2] += shift[:2]
    positions = np.vstack([below, above])
    lattice = lower.lattice.copy()
    lattice[2, 2] = np.ptp(positions[:, 2]) + settings.vacuum_ang
    positions[:, 2] += 0.5 * lattice[2, 2] - 0.5 * (positions[:, 2].max() + positions[:, 2].min())
    frac = positions @ np.linalg.inv(lattice)
    frac[:, :2] %= 1.0
    return AtomicStructure(
        lattice_ang=as_tensor3(lattice),
        elements=lower.elements + upper.elements,
        frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in frac),
        oxidation_states=lower.oxidation_states + upper.oxidation_states,
        periodic=(True, True, False),
    )


def _to_candidate(
    plan: InterfacePlan,
    structure: AtomicStructure,
    *,
    n_lower: int,
    shift: Array,
    gap_ang: float,
    settings: InterfaceSettings,
    score: float,
    model: str,
    scan: tuple[StackingScore, ...],
    left_out: int,
) -> Candidate:
    match = plan.match
    heights = structure.cart_coords[:, 2]
    plane = 0.5 * (heights[:n_lower].max() + heights[n_lower:].min())
    n_upper = len(structure) - n_lower
    frac_shift = shift[:2] @ np.linalg.inv(match.lattice)
    dipole = slab_dipole(structure)
    low, high = (100 * value for value in match.strain)
    notes = [f"{settings.strained} strained by {low:+.2f} and {high:+.2f} % in its plane, its thickness kept"]
    if abs(dipole) >= DIPOLE_TOLERANCE_E_ANG:
        notes.append(polar_note(dipole))
    if left_out:
        notes.append(f"{left_out} further pairs of terminations have more than {settings.max_atoms} atoms")
    notes.append("the number of undercoordinated atoms counts the two slabs before they were joined")
    copies = n_lower // len(plan.substrate.structure), n_upper // len(plan.film.structure)
    return Candidate(
        name=plan.name,
        kind="slab",
        structure=structure,
        parent=f"{plan.film.parent} on {plan.substrate.parent}",
        miller=plan.substrate.miller,
        termination=f"{plan.film.termination} on {plan.substrate.termination}",
        decoration=f"film {plan.film.name}",
        regions=plan.substrate.regions * copies[0] + plan.film.regions * copies[1],
        area_ang2=match.area_ang2,
        dipole_e_ang=dipole,
        n_undercoordinated=plan.substrate.n_undercoordinated * copies[0] + plan.film.n_undercoordinated * copies[1],
        notes=tuple(notes),
        interface_record=InterfaceRecord(
            substrate_id=plan.substrate.id,
            film_id=plan.film.id,
            substrate_name=plan.substrate.name,
            film_name=plan.film.name,
            layers=(Layer.SUBSTRATE,) * n_lower + (Layer.FILM,) * n_upper,
            near_interface=tuple(int(k) for k in np.flatnonzero(np.abs(heights - plane) <= settings.near_ang)),
            near_ang=settings.near_ang,
            substrate_matrix=_as_pairs(match.substrate_matrix),
            film_matrix=_as_pairs(match.film_matrix),
            substrate_turned=plan.substrate_turned,
            film_turned=plan.film_turned,
            strained=settings.strained,
            strain=match.strain,
            area_ang2=match.area_ang2,
            gap_ang=gap_ang,
            shift=(float(frac_shift[0]), float(frac_shift[1])),
            score_ev_per_ang2=score,
            score_model=model,
            scan=scan,
        ),
    )


def _as_pairs(matrix: NDArray[np.int64]) -> tuple[tuple[int, int], tuple[int, int]]:
    (a, b), (c, d) = matrix.tolist()
    return (a, b), (c, d)
