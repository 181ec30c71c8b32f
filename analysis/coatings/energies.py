"""Tables of phase energies at one level, and the phase space of some elements made from one."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from ...structures.vocabulary import Frozen
from .corrections import Corrections, chemistry_of, feature_row, measured_energies
from .errors import EmptyPhaseSpaceError, EnergyTableError, UnknownFormulaError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Level = Literal["sevennet", "experiment", "materials-project", "user"]
SHIPPED = "phases_sevennet.json"
EXPERIMENT_ERROR_EV_PER_ATOM = 0.02
DFT_ERROR_EV_PER_ATOM = 0.05
"""Where a table brings no errors of its own: the scatter of corrected semilocal formation energies."""


class PhaseEnergy(Frozen):
    """Formation energy of one phase from the elements, eV per atom, with the standard deviation of its own error."""

    name: str
    formula: str
    energy_ev_per_atom: float
    error_ev_per_atom: float
    raw_ev_per_atom: float | None = None
    grade: str = ""


class EnergyTable(Frozen):
    """All phases of one level of theory; levels are never put together.

    Attributes
    ----------
    level, version
        What made the energies, and which issue of the table this is.
    provenance
        Potential, settings, content hash, or the source.
    corrections
        Fitted corrections, whose errors all phases of a kind share; None for tables that bring none.
    phases
        One row per structure; a formula may have several.
    failed, failed_formulas
        Phases that could not be computed, with the reason, and their formulas.
    listed
        Formulas known to exist that the table should have, computed or not; used for the phase coverage.
    """

    level: Level
    version: str
    provenance: dict[str, str]
    corrections: Corrections | None = None
    phases: tuple[PhaseEnergy, ...]
    failed: dict[str, str] = Field(default_factory=dict)
    failed_formulas: dict[str, str] = Field(default_factory=dict)
    listed: tuple[str, ...] = ()


def amounts_of(formula: str) -> dict[str, float]:
    """Atoms of a formula.

    Raises
    ------
    UnknownFormulaError
        If the text is no formula.
    """
    return dict(_amounts_of(formula))


@lru_cache(maxsize=8192)
def _amounts_of(formula: str) -> tuple[tuple[str, float], ...]:
    from pymatgen.core.composition import Composition

    try:
        composition = Composition(formula)
    except Exception as error:
        raise UnknownFormulaError(f"{formula!r} is neither a phase of the library nor a chemical formula") from error
    amounts = tuple((str(e), float(n)) for e, n in composition.get_el_amt_dict().items())
    if not amounts or any(e not in _symbols() for e, _ in amounts):
        raise UnknownFormulaError(f"{formula!r} is neither a phase of the library nor a chemical formula")
    return amounts


@cache
def _symbols() -> frozenset[str]:
    from pymatgen.core.periodic_table import Element

    return frozenset(e.symbol for e in Element)


@cache
def shipped_table() -> EnergyTable:
    """The table that ships with the project: SevenNet energies of all competing phases."""
    text = (files("surfshift.analysis") / "data" / SHIPPED).read_text(encoding="utf-8")
    return EnergyTable.model_validate_json(text)


@cache
def experiment_table() -> EnergyTable:
    """Measured formation enthalpies alone, a level of its own: few phases, small errors."""
    from pymatgen.core.composition import Composition

    measured = measured_energies()
    rows = [
        PhaseEnergy(
            name=m.formula,
            formula=m.formula,
            energy_ev_per_atom=m.energy_ev / m.n_atoms,
            error_ev_per_atom=EXPERIMENT_ERROR_EV_PER_ATOM,
            grade="measured",
        )
        for m in measured.values()
    ]
    elements = sorted({str(e) for m in measured.values() for e in Composition(m.formula).elements})
    rows += [
        PhaseEnergy(name=e, formula=e, energy_ev_per_atom=0.0, error_ev_per_atom=0.0, grade="measured")
        for e in elements
        if e not in measured
    ]
    return EnergyTable(
        level="experiment",
        version="pymatgen",
        provenance={"source": "formation enthalpies at 298 K collected in pymatgen (exp_compounds)"},
        phases=tuple(rows),
    )


def read_table(path: Path) -> EnergyTable:
    """A user's own table: the JSON form of ``EnergyTable``, or a CSV with ``formula,energy_ev_per_atom``.

    Energies of a CSV are total energies of one method; those of the elements must be among them.

    Raises
    ------
    EnergyTableError
        If the file cannot be read or an element's own energy is missing.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EnergyTableError(f"{path}: cannot be read as a table of energies ({error})") from error
    if path.suffix.lower() == ".json":
        try:
            return EnergyTable.model_validate_json(text)
        except ValidationError as error:
            raise EnergyTableError(f"{path}: not a table of energies: {error.errors()[0]['msg']}") from error
    return table_of_totals(_csv_rows(path, text), level="user", provenance={"file": path.name})


def _csv_rows(path: Path, text: str) -> list[tuple[str, float]]:
    import csv
    import io

    reader = csv.DictReader(io.StringIO(text))
    wanted = {"formula", "energy_ev_per_atom"}
    if not wanted <= set(reader.fieldnames or ()):
        raise EnergyTableError(f"{path}: the columns are {reader.fieldnames}; needed: formula, energy_ev_per_atom")
    rows = []
    for number, row in enumerate(reader, start=2):
        try:
            energy = float(row["energy_ev_per_atom"])
        except (TypeError, ValueError):
            energy = float("nan")
        if not np.isfinite(energy):
            raise EnergyTableError(f"{path}, line {number}: {row['energy_ev_per_atom']!r} is no energy")
        rows.append((row["formula"], energy))
    return rows


def table_of_totals(rows: Iterable[tuple[str, float]], *, level: Level, provenance: dict[str, str]) -> EnergyTable:
    """Formation energies from total energies per atom of one method.

    Raises
    ------
    EnergyTableError
        If an element's own energy is missing.
    """
    named = [(formula, amounts_of(formula), energy) for formula, energy in rows]
    elements: dict[str, float] = {}
    for _, amounts, energy in named:
        if len(amounts) == 1:
            element = next(iter(amounts))
            elements[element] = min(energy, elements.get(element, np.inf))
    missing = sorted({e for _, amounts, _ in named for e in amounts} - set(elements))
    if missing:
        raise EnergyTableError(f"the energies of the elements {', '.join(missing)} are missing; add a row for each")
    phases = []
    for formula, amounts, energy in named:
        reference = sum(elements[e] * n for e, n in amounts.items()) / sum(amounts.values())
        phases.append(
            PhaseEnergy(
                name=formula,
                formula=reduced(amounts),
                energy_ev_per_atom=energy - reference,
                error_ev_per_atom=0.0 if len(amounts) == 1 else DFT_ERROR_EV_PER_ATOM,
                raw_ev_per_atom=energy,
            )
        )
    return EnergyTable(level=level, version="1", provenance=provenance, phases=tuple(phases))


def reduced(amounts: dict[str, float]) -> str:
    """Reduced formula of some amounts, the elements as atoms (``O``, not ``O2``)."""
    from pymatgen.core.composition import Composition

    if len(amounts) == 1:
        return next(iter(amounts))
    return str(Composition(amounts).reduced_formula)


@dataclass(frozen=True)
class PhaseSpace:
    """The phases of some elements, ready for ``lowest_mixture``.

    Attributes
    ----------
    elements
        Rows, shape (m,); the first m columns are these elements as phases.
    formulas, names
        Columns, shape (n,).
    matrix
        Moles of each element per mole of atoms, shape (m, n).
    energies_ev
        Formation energies per atom, shape (n,).
    errors_ev
        Standard deviation of each phase's own error, shape (n,).
    shared
        Weight of each shared correction in each phase, shape (n, k), with ``shared_factor`` (k, k), a root of
        its covariance.
    """

    elements: tuple[str, ...]
    formulas: tuple[str, ...]
    names: tuple[str, ...]
    matrix: Array
    energies_ev: Array
    errors_ev: Array
    shared: Array
    shared_factor: Array

    def index_of(self, formula: str) -> int | None:
        """Column of a formula, None if it is no phase."""
        return self.formulas.index(formula) if formula in self.formulas else None

    def vector(self, amounts: dict[str, float]) -> Array:
        """Moles of each element per mole of atoms, shape (m,)."""
        values = np.array([amounts.get(e, 0.0) for e in self.elements])
        shares: Array = values / values.sum()
        return shares

    def samples(self, n_samples: int, seed: int) -> Array:
        """Energies with errors drawn, shared ones by chemistry and own ones, shape (n_samples, n), eV per atom.

        A phase has the same errors in every phase space of the table, so that statements on different contacts
        belong together sample by sample.
        """
        common = _drawn("shared", seed, n_samples, self.shared_factor.shape[1]) @ self.shared_factor.T @ self.shared.T
        own = np.hstack([_drawn(f, seed, n_samples, 1) for f in self.formulas]) * self.errors_ev
        drawn: Array = self.energies_ev + common + own
        drawn[:, : len(self.elements)] = self.energies_ev[: len(self.elements)]
        return drawn


@lru_cache(maxsize=4096)
def _drawn(name: str, seed: int, n_samples: int, count: int) -> Array:
    """Standard normal numbers, shape (n_samples, count), of their own for each name."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal((n_samples, count))


@dataclass(frozen=True)
class Coverage:
    """How complete a phase space is: phases used, and known compounds that it lacks.

    Known are the compounds with a measured formation enthalpy and those of the project's own list of phases. ``failed``
    names the phases of these elements whose relaxation failed or gave another crystal, if no other structure of the
    formula is there.
    """

    n_phases: int
    n_known: int
    n_known_present: int
    missing: tuple[str, ...]
    failed: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Share of the known compounds that the space has; 1 where none is known."""
        return self.n_known_present / self.n_known if self.n_known else 1.0


class TableIndex:
    """One table, its lowest structure per formula, and the phase spaces made from it."""

    def __init__(self, table: EnergyTable) -> None:
        self.table = table
        best: dict[str, PhaseEnergy] = {}
        for phase in table.phases:
            known = best.get(phase.formula)
            if known is None or phase.energy_ev_per_atom < known.energy_ev_per_atom:
                best[phase.formula] = phase
        self.best = best
        self.amounts = {formula: amounts_of(formula) for formula in best}
        self._spaces: dict[frozenset[str], PhaseSpace] = {}

    @property
    def elements(self) -> frozenset[str]:
        """Elements that are phases of the table themselves."""
        return frozenset(next(iter(a)) for a in self.amounts.values() if len(a) == 1)

    def space(self, elements: Iterable[str]) -> PhaseSpace:
        """The phase space of some elements.

        Raises
        ------
        EmptyPhaseSpaceError
            If an element has no phase in the table.
        """
        wanted = frozenset(elements)
        absent = sorted(wanted - self.elements)
        if absent:
            failed = [name for name in self.table.failed if name.split("-")[0] in absent]
            why = f" (failed: {', '.join(failed)})" if failed else ""
            raise EmptyPhaseSpaceError(
                f"the table ({self.table.level}) has no phase of {', '.join(absent)}{why}, so nothing can compete with "
                "a compound of it and no number is given; use another table or leave the compound out"
            )
        if wanted not in self._spaces:
            self._spaces[wanted] = self._build(wanted)
        return self._spaces[wanted]

    def _build(self, wanted: frozenset[str]) -> PhaseSpace:
        order = tuple(sorted(wanted, key=lambda e: (e != "Li", e)))
        by_element = {next(iter(a)): f for f, a in self.amounts.items() if len(a) == 1}
        first = [by_element[e] for e in order]
        rest = sorted(f for f, a in self.amounts.items() if len(a) > 1 and set(a) <= wanted)
        formulas = [*first, *rest]
        matrix = np.array([[self.amounts[f].get(e, 0.0) for f in formulas] for e in order])
        matrix = matrix / matrix.sum(axis=0)
        corrections = self.table.corrections
        n = len(formulas)
        shared, factor = np.zeros((n, 1)), np.zeros((1, 1))
        if corrections is not None:
            sizes = np.array([sum(self.amounts[f].values()) for f in formulas])
            shared = np.array([feature_row(self.amounts[f], corrections.terms) for f in formulas]) / sizes[:, None]
            values, vectors = np.linalg.eigh(np.array(corrections.covariance_ev2))
            factor = vectors * np.sqrt(np.clip(values, 0.0, None))
        return PhaseSpace(
            elements=order,
            formulas=tuple(formulas),
            names=tuple(self.best[f].name for f in formulas),
            matrix=matrix,
            energies_ev=np.array([self.best[f].energy_ev_per_atom for f in formulas]),
            errors_ev=np.array([self.best[f].error_ev_per_atom for f in formulas]),
            shared=shared,
            shared_factor=factor,
        )

    def coverage(self, elements: Iterable[str]) -> Coverage:
        """How many of the known compounds of these elements the table has."""
        wanted = frozenset(elements)
        known = [f for f, e in _known_systems().items() if len(e) > 1 and e <= wanted]
        missing = tuple(sorted(f for f in known if f not in self.best))
        count = sum(1 for a in self.amounts.values() if set(a) <= wanted)
        failed = (
            name
            for name, formula in self.table.failed_formulas.items()
            if reduced(amounts_of(formula)) not in self.best and set(amounts_of(formula)) <= wanted
        )
        return Coverage(
            n_phases=count,
            n_known=len(known),
            n_known_present=len(known) - len(missing),
            missing=missing,
            failed=tuple(sorted(failed)),
        )


@cache
def _known_systems() -> dict[str, frozenset[str]]:
    """Compounds known to exist: those with a measured energy, and those of the list of phases, computed or not."""
    listed = (*measured_energies(), *shipped_table().listed)
    return {formula: frozenset(amounts_of(formula)) for formula in listed}


def build_table(
    rows: Iterable[dict[str, Any]], provenance: dict[str, str], *, version: str, listed: Iterable[str] = ()
) -> EnergyTable:
    """The versioned table of computed phases: raw energies, corrections fitted on measured ones, errors.

    Parameters
    ----------
    rows
        As ``surfshift.workflows.phase_energies`` writes them, failed phases with ``error``.
    provenance
        What made them.
    listed
        Formulas known to exist, computed or not.
    version
        Issue of the table. Phases whose starting structure has the grade ``estimate`` take no part in the fit.

    Raises
    ------
    EnergyTableError
        If too few compounds were measured to fit the corrections.
    """
    good: list[tuple[dict[str, Any], dict[str, float]]] = []
    failed: dict[str, str] = {}
    formulas: dict[str, str] = {}
    for row in rows:
        reason = row.get("error") or refusal(row)
        if reason:
            failed[row["name"]], formulas[row["name"]] = reason, row["formula"]
        else:
            good.append((row, amounts_of(row["formula"])))
    elements: dict[str, float] = {}
    for row, amounts in good:
        if len(amounts) == 1:
            element = next(iter(amounts))
            elements[element] = min(row["energy_per_atom_ev"], elements.get(element, np.inf))
    good = [(row, amounts) for row, amounts in good if set(amounts) <= set(elements)]
    raw: dict[str, tuple[dict[str, float], float]] = {}
    for row, amounts in good:
        per_formula = sum(n * (row["energy_per_atom_ev"] - elements[e]) for e, n in amounts.items())
        formula = reduced(amounts)
        if row["grade"] != "estimate" and (formula not in raw or per_formula < raw[formula][1]):
            raw[formula] = (amounts, per_formula)
    corrections = fit_corrections_of(raw)
    phases = []
    for row, amounts in sorted(good, key=lambda item: item[0]["name"]):
        size = sum(amounts.values())
        own = sum(n * (row["energy_per_atom_ev"] - elements[e]) for e, n in amounts.items())
        phases.append(
            PhaseEnergy(
                name=row["name"],
                formula=reduced(amounts),
                energy_ev_per_atom=round((own + corrections.of(amounts)) / size, 5),
                error_ev_per_atom=0.0 if len(amounts) == 1 else corrections.spread_of(chemistry_of(amounts)),
                raw_ev_per_atom=round(row["energy_per_atom_ev"], 5),
                grade=row["grade"],
            )
        )
    digest = json.dumps([(p.name, p.raw_ev_per_atom) for p in phases])
    import hashlib

    provenance = provenance | {"sha256_of_raw_energies": hashlib.sha256(digest.encode()).hexdigest()[:16]}
    return EnergyTable(
        level="sevennet",
        version=version,
        provenance=provenance,
        corrections=corrections,
        phases=tuple(phases),
        failed=failed,
        failed_formulas=formulas,
        listed=tuple(sorted(set(listed))),
    )


LARGEST_VOLUME_CHANGE = 0.35
LARGEST_DENSITY_ERROR = 0.2


def refusal(row: dict[str, Any]) -> str | None:
    """Why a computed phase is not used, None if it is: it became another crystal while it was relaxed."""
    if row["grade"] == "estimate":
        return None if abs(row["volume_change"]) < 2.0 * LARGEST_VOLUME_CHANGE else "the cell changed beyond a guess"
    if row["space_group"] != row["start_space_group"] and "ordered_from" not in row:
        return f"space group changed from {row['start_space_group']} to {row['space_group']}"
    known = row["known_density_g_cm3"]
    if len(amounts_of(row["formula"])) == 1:
        # molecular crystals of elements are held by dispersion, which the potential lacks: their cells swell, but the
        # energy hardly depends on it
        return None
    if abs(row["volume_change"]) > LARGEST_VOLUME_CHANGE:
        return f"the volume changed by {100 * row['volume_change']:.0f} %"
    if known and abs(row["density_g_cm3"] / known - 1.0) > LARGEST_DENSITY_ERROR:
        return f"density {row['density_g_cm3']:.2f} g/cm3, known {known:.2f}"
    return None


def fit_corrections_of(raw: dict[str, tuple[dict[str, float], float]]) -> Corrections:
    """Corrections fitted on raw formation energies per formula unit."""
    from .corrections import fit_corrections

    return fit_corrections(raw)
