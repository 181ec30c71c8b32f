"""Screening: what one coating does between an electrolyte and an electrode, from one table of energies."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from ...structures.errors import nearest
from ...structures.percolation import IonPath  # noqa: TC001 - a field of a model
from ...structures.vocabulary import Frozen
from .energies import TableIndex, amounts_of, reduced
from .errors import CoatingError, UnknownFormulaError
from .fingerprints import FIELDS_TESLA, SIGNAL_TO_NOISE, Detection, NmrLine, canonical, detections, lines_of
from .reactions import ReactionCurve, System, make_reactant, reaction_curve
from .structural import FaceMatch, best_match, lithium_path
from .windows import StabilityWindow, stability_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .energies import Coverage

LEAST_SHARE_OF_PRODUCT = 0.02
"""Products below this share of the atoms, or this probability, get no NMR lines."""


class Settings(Frozen):
    """How a screening is made.

    Attributes
    ----------
    n_samples, seed
        Number of sampled sets of energies, and their seed.
    n_voltages
        Potentials at which lithium is exchanged, spread evenly over the range of the electrode.
    threshold_ev
        A reaction of less energy than this, eV per atom, counts as none.
    fields_tesla, signal_to_noise
        For the detectability.
    with_air
        Whether reactions with water and carbon dioxide are computed.
    with_crystals
        Whether the lithium path and the fit to the electrolyte's faces are computed; takes seconds for each coating.
    """

    n_samples: int = 64
    seed: int = 1
    n_voltages: int = 3
    threshold_ev: float = 0.005
    fields_tesla: tuple[float, ...] = FIELDS_TESLA
    signal_to_noise: float = SIGNAL_TO_NOISE
    with_air: bool = True
    with_crystals: bool = False


class Electrode(Frozen):
    """An electrode: name, formula, and the potentials over which it exchanges lithium, V against Li/Li+."""

    name: str
    formula: str
    low_v: float
    high_v: float

    def voltages(self, count: int) -> tuple[float, ...]:
        """Potentials spread over the range; one where the range is a point."""
        if self.high_v <= self.low_v:
            return (self.low_v,)
        return tuple(round(float(v), 4) for v in np.linspace(self.low_v, self.high_v, count))


class SpaceCoverage(Frozen):
    """Phase coverage behind a number: elements, phases used, and known compounds that are not among them, or failed."""

    elements: tuple[str, ...]
    n_phases: int
    n_known: int
    n_known_present: int
    missing: tuple[str, ...]
    failed: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Coverage in words."""
        text = f"{self.n_phases} phases of {'-'.join(self.elements)}, {self.n_known_present} of {self.n_known} known"
        text += f"; missing: {', '.join(self.missing)}" if self.missing else ""
        return text + (f"; failed: {', '.join(self.failed)}" if self.failed else "")


class Contact(Frozen):
    """A coating in contact with one neighbour: closed, and with lithium exchanged at each potential."""

    neighbour: str
    closed: ReactionCurve
    open: tuple[ReactionCurve, ...]
    coverage: SpaceCoverage

    @property
    def worst_open(self) -> ReactionCurve | None:
        """The open reaction whose contact adds most."""
        return min(self.open, key=lambda c: c.contact_ev_per_atom, default=None)


class CoatingResult(Frozen):
    """Everything computed for one coating between one electrolyte and one electrode.

    Attributes
    ----------
    window, window_coverage
        Stability of the coating by itself.
    electrolyte, electrode
        The contacts.
    water, carbon_dioxide
        Closed reactions with H2O and CO2; None where the table lacks hydrogen or carbon.
    gap_ev, gap_class, gap_source
        Band gap where known.
    path, match
        Widest lithium path and best common cell with the electrolyte; None where not computed or without a crystal.
    products
        Probability of each product over all contacts.
    lines
        NMR lines of each phase involved; an empty tuple says that no line is on file.
    detectable
        Nucleus and field for the coating and each product, the best first.
    notes
        What a reader must know.
    """

    coating: str
    electrolyte_name: str
    electrode_name: str
    low_v: float
    high_v: float
    window: StabilityWindow
    window_coverage: SpaceCoverage
    electrolyte: Contact
    electrode: Contact
    water: ReactionCurve | None
    carbon_dioxide: ReactionCurve | None
    gap_ev: float | None
    gap_class: str
    gap_source: str
    path: IonPath | None
    match: FaceMatch | None
    products: dict[str, float]
    lines: dict[str, tuple[NmrLine, ...]]
    detectable: dict[str, tuple[Detection, ...]]
    notes: tuple[str, ...]

    @property
    def window_violation_v(self) -> float:
        """By how many volt the potentials of the electrode leave the window."""
        low, high = self.window.reduction.voltage_v, self.window.oxidation.voltage_v
        below = max(0.0, low - self.low_v) if low is not None else 0.0
        above = max(0.0, self.high_v - high) if high is not None else 0.0
        return round(below + above, 4)

    @property
    def electrode_ev(self) -> float:
        """Strongest reaction with the electrode, closed or at a potential: what the contact adds, eV per atom.

        What each does alone is no reaction of the two: the electrode is charged, and the coating's own decomposition
        is what its window says.
        """
        return min(c.contact_ev_per_atom for c in (self.electrode.closed, *self.electrode.open))

    @property
    def electrolyte_ev(self) -> float:
        """Strongest reaction with the electrolyte, closed: what the contact adds, eV per atom."""
        return self.electrolyte.closed.contact_ev_per_atom


@cache
def _names() -> dict[str, Any]:
    import yaml

    loaded: dict[str, Any] = yaml.safe_load(
        (files("surfshift.analysis.data") / "electrodes_electrolytes.yaml").read_text(encoding="utf-8")
    )
    return loaded


@cache
def _gaps() -> dict[str, tuple[float, str]]:
    import yaml

    text = (files("surfshift.analysis.data") / "band_gaps.yaml").read_text(encoding="utf-8")
    return {canonical(f): (float(gap), source) for f, (gap, source) in yaml.safe_load(text)["gaps"].items()}


def formula_of(text: str) -> str:
    """Formula of a coating or electrolyte: a known name, a crystal of the library, or a formula.

    Raises
    ------
    UnknownFormulaError
        If it is none of them.
    """
    from ...structures.library import UnknownCrystalError, load_crystal

    name = text.strip()
    if name in _names()["electrolytes"]:
        return reduced(amounts_of(str(_names()["electrolytes"][name])))
    try:
        return reduced(amounts_of(name))
    except UnknownFormulaError:
        try:
            return reduced(amounts_of(load_crystal(name).formula))
        except UnknownCrystalError as error:
            raise UnknownFormulaError(
                f"{name!r} is no chemical formula, no crystal of the library and none of the names "
                f"{', '.join(_names()['electrolytes'])}; {nearest(name, _names()['electrolytes'])}"
            ) from error


def electrode_of(text: str) -> Electrode:
    """An electrode by name, or ``FORMULA@LOW-HIGH`` with its potentials in volt.

    Raises
    ------
    CoatingError
        If the name is unknown or the potentials cannot be read.
    """
    known = _names()["electrodes"]
    if text in known:
        low, high = known[text]["voltage_v"]
        return Electrode(name=text, formula=reduced(amounts_of(known[text]["formula"])), low_v=low, high_v=high)
    formula, at, voltages = text.partition("@")
    if not at:
        raise CoatingError(
            f"no electrode {text!r}: known are {', '.join(known)}; or write FORMULA@LOW-HIGH, "
            "for example LiFePO4@3.3-3.6"
        )
    try:
        low, _, high = voltages.partition("-")
        low_v, high_v = float(low), float(high or low)
    except ValueError as error:
        raise CoatingError(f"{text!r}: {voltages!r} are no potentials; write for example LiFePO4@3.3-3.6") from error
    if high_v < low_v:
        raise CoatingError(f"{text!r}: the lower potential must come first")
    return Electrode(name=text, formula=reduced(amounts_of(formula)), low_v=low_v, high_v=high_v)


def read_coatings(text: str) -> list[str]:
    """Coatings of a list, one per line; ``#`` begins a comment.

    Raises
    ------
    UnknownFormulaError
        If a line is no compound; the message says which line.
    CoatingError
        If the list is empty.
    """
    found: list[str] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        name = raw.partition("#")[0].strip()
        if not name:
            continue
        try:
            formula = formula_of(name)
        except UnknownFormulaError as error:
            raise UnknownFormulaError(f"line {number}: {error}") from error
        if formula not in found:
            found.append(formula)
    if not found:
        raise CoatingError("the list has no coating; write one formula or library name per line")
    return found


class Screener:
    """Screens coatings from one table; curves that several combinations share are computed once."""

    def __init__(self, index: TableIndex, settings: Settings) -> None:
        self.index, self.settings = index, settings
        self._systems: dict[tuple[frozenset[str], float | None], System] = {}
        self._samples: dict[frozenset[str], NDArray[np.float64]] = {}
        self._curves: dict[tuple[str, str, float | None], ReactionCurve] = {}
        self._windows: dict[str, StabilityWindow] = {}
        self._coverages: dict[frozenset[str], SpaceCoverage] = {}

    def _drawn(self, elements: frozenset[str]) -> NDArray[np.float64]:
        if elements not in self._samples:
            space = self.index.space(elements)
            self._samples[elements] = space.samples(self.settings.n_samples, self.settings.seed)
        return self._samples[elements]

    def _system(self, elements: frozenset[str], voltage_v: float | None) -> System:
        key = (elements, voltage_v)
        if key not in self._systems:
            self._systems[key] = System(self.index.space(elements), self._drawn(elements), voltage_v)
        return self._systems[key]

    def curve(self, first: str, second: str, voltage_v: float | None) -> ReactionCurve:
        """Reaction of two formulas, closed or at a potential."""
        key = (first, second, voltage_v)
        if key not in self._curves:
            one, two = amounts_of(first), amounts_of(second)
            exchanged = () if voltage_v is None else ("Li",)
            system = self._system(frozenset({*one, *two, *exchanged}), voltage_v)
            for amounts in (one, two):
                small = self._system(frozenset({*amounts, *exchanged}), voltage_v)
                if small is not system:
                    system.lend(reduced(amounts), small.own(make_reactant(small.space, reduced(amounts), amounts)))
            self._curves[key] = reaction_curve(
                system,
                make_reactant(system.space, reduced(one), one),
                make_reactant(system.space, reduced(two), two),
                threshold_ev=self.settings.threshold_ev,
            )
        return self._curves[key]

    def window(self, formula: str) -> StabilityWindow:
        """Window of a formula."""
        if formula not in self._windows:
            amounts = amounts_of(formula)
            elements = frozenset({*amounts, "Li"})
            space = self.index.space(elements)
            reactant = make_reactant(space, reduced(amounts), amounts)
            self._windows[formula] = stability_window(space, self._drawn(elements), reactant)
        return self._windows[formula]

    def coverage(self, *formulas: str) -> SpaceCoverage:
        """Phase coverage behind a statement on some formulas and lithium."""
        elements = frozenset({"Li", *(e for f in formulas for e in amounts_of(f))})
        if elements not in self._coverages:
            found: Coverage = self.index.coverage(elements)
            self._coverages[elements] = SpaceCoverage(
                elements=tuple(sorted(elements, key=lambda e: (e != "Li", e))),
                n_phases=found.n_phases,
                n_known=found.n_known,
                n_known_present=found.n_known_present,
                missing=found.missing,
                failed=found.failed,
            )
        return self._coverages[elements]

    def contact(self, coating: str, neighbour: str, voltages: Sequence[float]) -> Contact:
        """A coating against one neighbour. Lithium metal itself cannot exchange lithium with the reservoir it is."""
        opened = [] if amounts_of(neighbour).keys() == {"Li"} else [self.curve(coating, neighbour, v) for v in voltages]
        return Contact(
            neighbour=neighbour,
            closed=self.curve(coating, neighbour, None),
            open=tuple(opened),
            coverage=self.coverage(coating, neighbour),
        )

    def _air(self, coating: str, gas: str) -> ReactionCurve | None:
        if not self.settings.with_air or gas not in self.index.best or gas == coating:
            return None
        return self.curve(coating, gas, None)

    def screen(self, coating: str, electrolyte: tuple[str, str], electrode: Electrode) -> CoatingResult:
        """Everything about one coating.

        Parameters
        ----------
        coating
            Formula.
        electrolyte
            Name and formula.
        electrode
            Electrode with its potentials.

        Raises
        ------
        EmptyPhaseSpaceError
            If an element has no phase in the table.
        """
        name, formula = electrolyte
        voltages = electrode.voltages(self.settings.n_voltages)
        one = self.contact(coating, formula, voltages)
        two = self.contact(coating, electrode.formula, voltages)
        products = _products(one, two, coating)
        lines = {f: lines_of(f) for f in (formula, coating, *products)}
        gap = _gaps().get(canonical(coating))
        return CoatingResult(
            coating=coating,
            electrolyte_name=name,
            electrode_name=electrode.name,
            low_v=electrode.low_v,
            high_v=electrode.high_v,
            window=self.window(coating),
            window_coverage=self.coverage(coating),
            electrolyte=one,
            electrode=two,
            water=self._air(coating, "H2O"),
            carbon_dioxide=self._air(coating, "CO2"),
            gap_ev=None if gap is None else gap[0],
            gap_class=_gap_class(gap),
            gap_source="" if gap is None else gap[1],
            path=lithium_path(coating) if self.settings.with_crystals else None,
            match=best_match(formula, coating) if self.settings.with_crystals else None,
            products=products,
            lines=lines,
            detectable=self._detectable(coating, formula, products, lines),
            notes=self._notes(coating, formula, electrode.formula),
        )

    def _detectable(
        self, coating: str, electrolyte: str, products: dict[str, float], lines: dict[str, tuple[NmrLine, ...]]
    ) -> dict[str, tuple[Detection, ...]]:
        every = [coating, *products]
        amounts = {electrolyte: 1.0, coating: 0.1} | {f: 0.1 for f in products if f != electrolyte}
        return {
            f: detections(
                f,
                {other: amount for other, amount in amounts.items() if other != f},
                fields_tesla=self.settings.fields_tesla,
                signal_to_noise=self.settings.signal_to_noise,
            )
            for f in every
            if lines[f] and f != electrolyte
        }

    def _notes(self, *formulas: str) -> tuple[str, ...]:
        return tuple(
            f"{formula} is no phase of the table; its energy is that of the lowest mixture of phases, so it counts as "
            "just stable"
            for formula in dict.fromkeys(formulas)
            if canonical(formula) not in self.index.best
        )


def _products(one: Contact, two: Contact, coating: str) -> dict[str, float]:
    """Probability of each product over all contacts that react at all, at any mixing ratio."""
    found: dict[str, float] = {}
    for curve in (one.closed, two.closed, *one.open, *two.open):
        if curve.worst.share in (0.0, 1.0):
            continue
        every = (*curve.product_probability.items(), *curve.product_probability_elsewhere.items())
        for formula, probability in every:
            if formula in (coating, curve.second) or len(amounts_of(formula)) == 0:
                continue
            likely = round(probability * curve.probability, 3)
            if likely >= LEAST_SHARE_OF_PRODUCT:
                found[formula] = max(found.get(formula, 0.0), likely)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _gap_class(gap: tuple[float, str] | None) -> str:
    if gap is None:
        return "unknown"
    return "insulator" if gap[0] > 4.0 else "wide" if gap[0] > 2.0 else "conducting"
