"""Energies of candidates with SevenNet, kept on disk one by one, and the surface energies that follow from them.

Every energy is a file named by what it depends on: the structure, the settings, the potential and its version. What is
there is not computed again, so a ranking that was stopped or killed goes on where it was.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from math import gcd
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ..analysis.surface_energy import Reservoir, SurfaceEnergy, adhesion_energy, surface_energy
from ..structures.errors import SurfshiftError
from ..structures.vocabulary import AtomicStructure, Candidate, Frozen, Layer, Region, content_hash
from .files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ase.calculators.calculator import Calculator

    from .proposals import Bulk, Proposal
    from .study import RelaxSettings

BOX_ANG = 14.0
"""Empty space around a molecule."""

LITHIUM_PHASES = {"Li2O": "Li2O", "LiOH": "LiOH", "Li2CO3": "Li2CO3"}
"""Reservoirs that hold lithium, and their crystals in the library."""

HALIDES = {"F": "LiF", "Cl": "LiCl", "Br": "LiBr"}


class EnergyRecord(Frozen):
    """The energy of one structure; ``problem`` says why there is none."""

    name: str
    energy_ev: float | None
    structure: AtomicStructure
    n_steps: int = 0
    model: str
    notes: tuple[str, ...] = ()
    problem: str = ""


class MissingEnergyError(SurfshiftError):
    """A reference phase whose energy could not be computed."""


@dataclass
class EnergyStore:
    """Energies in a folder; what is missing is computed.

    Attributes
    ----------
    folder
        Where the files are.
    settings
        Model, force threshold and mode.
    is_relaxed
        Whether candidates are relaxed, or taken as built.
    calculator
        Any ase calculator instead of SevenNet, with ``calculator_name`` for the records.
    """

    folder: Path
    settings: RelaxSettings
    is_relaxed: bool = True
    calculator: Calculator | None = None
    calculator_name: str = ""
    n_computed: int = 0
    _loaded: list[Any] = field(default_factory=list)

    @property
    def model(self) -> str:
        """Potential and version."""
        return self.calculator_name or f"sevenn {version('sevenn')}/{self.settings.model}"

    def energy(self, candidate: Candidate, settings: RelaxSettings | None = None) -> EnergyRecord:
        """The energy of a candidate, from its file or computed now; ``settings`` go before the store's own."""
        used = settings or (self.settings if self.is_relaxed else None)
        payload: dict[str, Any] = {
            "id": candidate.id,
            "kind": candidate.kind,
            "model": self.model,
            "relaxed": used.model_dump(mode="json") if used is not None else None,
        }
        path = self.folder / f"{content_hash(payload)}.json"
        known = _read(path)
        if known is not None:
            return known.model_copy(update={"name": candidate.name})
        record = self._compute(candidate, used)
        write_atomically(path, record.model_dump_json())
        self.n_computed += 1
        return record

    def _compute(self, candidate: Candidate, settings: RelaxSettings | None) -> EnergyRecord:
        from .interatomic import sevennet
        from .relaxation import RelaxationError, relax_candidate

        if not self._loaded:
            self._loaded.append(self.calculator or sevennet(self.settings.model))
        calculator = self._loaded[0]
        if settings is None:
            atoms = candidate.structure.to_ase()
            atoms.calc = calculator
            energy = float(atoms.get_potential_energy())
            return EnergyRecord(name=candidate.name, energy_ev=energy, structure=candidate.structure, model=self.model)
        try:
            done = relax_candidate(candidate, settings, calculator=calculator)
        except RelaxationError as error:
            return EnergyRecord(
                name=candidate.name,
                energy_ev=None,
                structure=candidate.structure,
                model=self.model,
                problem=str(error).removeprefix(f"{candidate.name}: "),
            )
        return EnergyRecord(
            name=candidate.name,
            energy_ev=done.energy_ev,
            structure=done.candidate.structure,
            n_steps=done.n_steps,
            model=self.model,
            notes=tuple(note for note in done.candidate.notes if note not in candidate.notes),
        )


def _read(path: Path) -> EnergyRecord | None:
    """A record, or ``None`` if there is none or its file is damaged."""
    try:
        return EnergyRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, ValidationError):
        return None


@dataclass(frozen=True)
class Ranked:
    """What the ranking says of one candidate."""

    record: EnergyRecord
    surface: SurfaceEnergy = field(default_factory=SurfaceEnergy)
    adhesion_j_m2: float | None = None


def rank(
    proposals: Sequence[Proposal], store: EnergyStore, step: Callable[[str, int], None] | None = None
) -> dict[str, Ranked]:
    """Energies, surface energies and works of separation of all proposals, by candidate id.

    References come first, then the candidates with the fewest atoms.

    Parameters
    ----------
    proposals
        Candidates with the crystals they were cut from.
    store
        Where energies are kept.
    step
        Called with the name and the number of atoms of everything that is finished.

    Returns
    -------
    A candidate whose own relaxation failed has a ``problem``, one whose reference phase failed a note.
    """
    tell = step or (lambda name, n_atoms: None)
    references: dict[str, Reservoir] = {}

    def reference(name: str, make: Callable[[], Candidate], *, relaxes_cell: bool, always: bool) -> Reservoir:
        if name not in references:
            settings = store.settings.model_copy(
                update={"relax_bulk_positions": True, "relax_bulk_cell": relaxes_cell, "mode": "symmetric"}
            )
            candidate = make()
            record = store.energy(candidate, settings if always or store.is_relaxed else None)
            references[name] = _reservoir(name, candidate, record)
            tell(name, len(candidate.structure))
        return references[name]

    def bulk_of(bulk: Bulk) -> Reservoir:
        from ..structures.enumeration import bulk_candidate

        return reference(
            bulk.name,
            lambda: bulk_candidate(bulk.structure, name=bulk.name),
            # slabs are cut from this cell, so their bulk keeps it
            relaxes_cell=False,
            always=False,
        )

    done: dict[str, Ranked] = {}
    for proposal in sorted(proposals, key=lambda p: len(p.candidate.structure)):
        candidate = proposal.candidate
        record = store.energy(candidate)
        if record.energy_ev is None or candidate.kind == "bulk":
            done[candidate.id] = Ranked(record)
        elif candidate.interface_record is not None:
            done[candidate.id] = _separated(candidate, record, store)
        else:
            names = reservoirs_for(proposal)
            lithium = [name for name in names if name in {"Li2O", "LiOH"}]
            try:
                others = {
                    name: reference(name, _maker(name), relaxes_cell=name in _crystals(), always=True) for name in names
                }
                bulk = bulk_of(proposal.bulks[0])
            except MissingEnergyError as error:
                done[candidate.id] = Ranked(record, surface=SurfaceEnergy(note=str(error)))
            else:
                found = surface_energy(candidate, record.energy_ev, bulk, others, slab=proposal.slab, lithium=lithium)
                done[candidate.id] = Ranked(record, surface=found)
        tell(candidate.name, len(candidate.structure))
    return done


def reservoirs_for(proposal: Proposal) -> tuple[str, ...]:
    """Names of the phases, beside the bulk, that may have given atoms to a candidate or taken some."""
    atoms = Counter(proposal.candidate.structure.elements)
    formula = Counter(proposal.bulks[0].structure.elements)
    whole = {atoms[element] / n for element, n in formula.items()}
    if len(whole) == 1 and set(atoms) == set(formula):
        return ()
    names = []
    if "H" in atoms:
        names.append("water")
    names += [name for name in proposal.molecules if name != "water"]
    if "C" in atoms and not proposal.molecules:
        names += ["carbon_dioxide", "Li2CO3"]
    if len(whole) > 1 and "Li" in atoms:
        names += ["Li2O", *(["LiOH"] if "H" in atoms else [])] if "O" in atoms else []
        names += [phase for halogen, phase in HALIDES.items() if halogen in atoms]
    return tuple(name for name in names if name != proposal.bulks[0].name)


def _crystals() -> frozenset[str]:
    return frozenset((*LITHIUM_PHASES, *HALIDES.values()))


def _maker(name: str) -> Callable[[], Candidate]:
    from ..structures.enumeration import bulk_candidate

    if name in _crystals():
        return lambda: bulk_candidate(name)
    return lambda: molecule_in_a_box(name)


def molecule_in_a_box(name: str) -> Candidate:
    """One molecule, a kept name or a SMILES, alone in a large cell."""
    import numpy as np

    from ..structures.molecules import load_molecule, molecule_from_smiles
    from ..structures.vocabulary import as_tensor3

    molecule = molecule_from_smiles("O=C=O", name=name) if name == "carbon_dioxide" else load_molecule(name)
    positions = np.array(molecule.positions_ang)
    size = float(np.ptp(positions, axis=0).max()) + BOX_ANG
    frac = (positions - positions.mean(axis=0)) / size + 0.5
    structure = AtomicStructure(
        lattice_ang=as_tensor3(size * np.eye(3)),
        elements=molecule.elements,
        frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in frac),
        oxidation_states=molecule.oxidation_states,
    )
    return Candidate(name=name, kind="bulk", structure=structure, parent=name, regions=(Region.BULK,) * len(structure))


def _reservoir(name: str, candidate: Candidate, record: EnergyRecord) -> Reservoir:
    if record.energy_ev is None:
        raise MissingEnergyError(
            f"the reference phase {name} does not relax ({record.problem}); raise relax.max_steps or "
            "relax.fmax_ev_per_ang of the study"
        )
    atoms = Counter(candidate.structure.elements)
    units = gcd(*atoms.values())
    composition = {element: n // units for element, n in atoms.items()}
    return Reservoir(name=_short(name), composition=composition, energy_ev=record.energy_ev / units)


def _short(name: str) -> str:
    return {"water": "H2O", "carbon_dioxide": "CO2"}.get(name, name)


def _separated(candidate: Candidate, record: EnergyRecord, store: EnergyStore) -> Ranked:
    """Rigid work of separation: the two sides of the ranked structure, each alone and not relaxed again."""
    assert candidate.interface_record is not None
    assert record.energy_ev is not None
    parts = []
    for layer in Layer:
        kept = [k for k, own in enumerate(candidate.interface_record.layers) if own is layer]
        whole = record.structure
        side = whole.model_copy(
            update={
                "elements": tuple(whole.elements[k] for k in kept),
                "frac_coords": tuple(whole.frac_coords[k] for k in kept),
                "oxidation_states": tuple(whole.oxidation_states[k] for k in kept),
            }
        )
        alone = Candidate(
            name=f"{candidate.name}, {layer.value} alone",
            kind="slab",
            structure=side,
            parent=candidate.id,
            miller=candidate.miller,
            regions=(Region.BULK,) * len(side),
        )
        as_it_is = EnergyStore(
            store.folder,
            store.settings,
            is_relaxed=False,
            calculator=store.calculator,
            calculator_name=store.calculator_name,
            _loaded=store._loaded,
        )
        energy = as_it_is.energy(alone).energy_ev
        assert energy is not None
        parts.append(energy)
        store.n_computed += as_it_is.n_computed
    return Ranked(record, adhesion_j_m2=adhesion_energy(record.energy_ev, parts, candidate.area_ang2))
