"""What the report shows, prepared once for the static and the interactive figures and for the page.

Colours follow the candidate everywhere. They are chosen to be told apart in the common kinds of
colour blindness and to keep a contrast of 3:1 on white and on near-black; candidates beyond the
palette differ by their marker as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...structures.vocabulary import Region
from ..vocabulary import Experiment, Peak, PeakList, PredictedSite, Reference, Spectrum, StudyResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from ...structures.vocabulary import Candidate
    from ..vocabulary import Assignment, FittedCurve, Population, Relaxation, SubsetEvidence

PALETTE = ("#0072B2", "#D55E00", "#00936B", "#B5539A", "#AD7C00", "#3A93CC", "#8A63D2")
OTHER_COLOUR = "#808080"
MARKERS = (("o", "circle"), ("s", "square"), ("^", "triangle-up"), ("D", "diamond"), ("v", "triangle-down"))
"""Markers in the names of matplotlib and of plotly."""

INTERVAL_90 = 1.6449
"""Half width of a central 90 % interval of a normal distribution, in standard deviations."""

_ISOTOPE = re.compile(r"(\d+)([A-Z][a-z]?)")


@dataclass(frozen=True)
class Look:
    """Colour and markers of a candidate, the same in every figure and table."""

    colour: str
    marker: str
    symbol: str


@dataclass(frozen=True)
class Lane:
    """The predicted lines of one candidate on the axis of a figure.

    ``positions_ppm`` and ``errors_ppm`` have one entry per site.
    """

    name: str
    look: Look
    sites: tuple[PredictedSite, ...]
    positions_ppm: NDArray[np.float64]
    errors_ppm: NDArray[np.float64]

    def profile(self, axis_ppm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Density of atoms along the axis, smeared by each line's error, with its maximum at one."""
        widths = self.errors_ppm[:, None]
        weights = np.array([site.multiplicity for site in self.sites])[:, None]
        bells = weights / widths * np.exp(-0.5 * ((axis_ppm[None, :] - self.positions_ppm[:, None]) / widths) ** 2)
        total: NDArray[np.float64] = bells.sum(axis=0)
        return total / float(total.max())


@dataclass(frozen=True)
class MeasuredLine:
    """A measured line on the axis of a figure, with one standard deviation."""

    label: str
    measurement: str
    position_ppm: float
    error_ppm: float


@dataclass(frozen=True)
class LineChart:
    """Measured peaks above the predicted lines of every candidate, for one isotope.

    ``field_tesla`` is None on the axis of isotropic shifts; else the axis is the observed position
    at that field, which contains the second-order quadrupolar shift.
    """

    isotope: str
    field_tesla: float | None
    measured: tuple[MeasuredLine, ...]
    lanes: tuple[Lane, ...]
    is_mqmas: bool = False

    @property
    def slug(self) -> str:
        """Name for files and element ids."""
        kind = "-MQMAS" if self.is_mqmas else ""
        field = f"{kind}-{self.field_tesla:g}T".replace(".", "p") if self.field_tesla else ""
        return f"lines-{slug(self.isotope)}{field}"

    @property
    def axis_name(self) -> str:
        """What the axis shows, without symbol and unit."""
        if self.field_tesla is None:
            return "isotropic shift"
        if self.is_mqmas:
            return f"position in the isotropic dimension of MQMAS at {self.field_tesla:g} T"
        return f"observed position at {self.field_tesla:g} T"

    @property
    def range_ppm(self) -> tuple[float, float]:
        """Lowest and highest shift of the axis, with room for the error bars."""
        low = [m.position_ppm - 2.5 * m.error_ppm for m in self.measured]
        high = [m.position_ppm + 2.5 * m.error_ppm for m in self.measured]
        for lane in self.lanes:
            low.append(float((lane.positions_ppm - 3 * lane.errors_ppm).min()))
            high.append(float((lane.positions_ppm + 3 * lane.errors_ppm).max()))
        margin = 0.03 * (max(high) - min(low))
        return min(low) - margin, max(high) + margin


@dataclass(frozen=True)
class CouplingChart:
    """Shift against quadrupolar coupling for one isotope: measured points and limits, predicted sites."""

    isotope: str
    peaks: tuple[tuple[str, Peak], ...]
    lanes: tuple[Lane, ...]

    @property
    def slug(self) -> str:
        """Name for files and element ids."""
        return f"coupling-{slug(self.isotope)}"


@dataclass(frozen=True)
class ReferenceLine:
    """A reference with its line and 90 % prediction band over the range of its compounds."""

    reference: Reference
    sigma_ppm: NDArray[np.float64]
    delta_ppm: NDArray[np.float64]
    band_ppm: NDArray[np.float64]
    rmse_ppm: float

    @property
    def slug(self) -> str:
        """Name for files and element ids."""
        return f"reference-{slug(self.reference.isotope)}-{slug(self.reference.method.key)}"


@dataclass(frozen=True)
class View:
    """A study's result as the report arranges it."""

    result: StudyResult

    @property
    def assignment(self) -> Assignment:
        """The assignment of a result that has one.

        Raises
        ------
        ValueError
            If it has none.
        """
        if self.result.assignment is None:
            raise ValueError("this result has no assignment")
        return self.result.assignment

    @cached_property
    def candidates(self) -> tuple[tuple[Candidate, Relaxation | None], ...]:
        """Every candidate that has a structure, with its relaxation if it was relaxed in the study."""
        relaxed = [(r.candidate, r) for r in self.result.relaxations]
        return (*relaxed, *((candidate, None) for candidate in self.result.candidates))

    @cached_property
    def explanations(self) -> tuple[SubsetEvidence, ...]:
        """Explanations that were tried, most probable first."""
        if self.result.assignment is None:
            return ()
        return tuple(sorted(self.result.assignment.subsets, key=lambda s: (-s.probability, -s.log_evidence)))

    def marks(self, candidate: Candidate) -> dict[int, str]:
        """Atoms of a candidate to which a measured line was given with probability above 0.2, with the line's label."""
        found: dict[int, tuple[float, str]] = {}
        for a in self.result.assignment.attributions if self.result.assignment else ():
            if a.candidate_name in {candidate.name, candidate.id} and a.probability > 0.2:
                for atom in a.atom_indices:
                    if a.probability > found.get(atom, (0.0, ""))[0]:
                        found[atom] = (a.probability, a.peak_label or a.measurement)
        return {atom: label for atom, (_, label) in found.items()}

    @cached_property
    def candidate_names(self) -> tuple[str, ...]:
        """Every candidate by name: the relaxed ones first, in the order of the study."""
        names = [candidate.name for candidate, _ in self.candidates] + [s.candidate_name for s in self.result.sites]
        if self.result.assignment is not None:
            names += [p.candidate_name for p in self.result.assignment.populations]
        return tuple(name for name in dict.fromkeys(names) if name.lower() != "other")

    @cached_property
    def looks(self) -> dict[str, Look]:
        """Colour and markers by candidate name."""
        return {
            name: Look(PALETTE[i % len(PALETTE)], *MARKERS[i % len(MARKERS)])
            for i, name in enumerate(self.candidate_names)
        }

    def look(self, name: str) -> Look:
        """Look of a candidate; grey for what is none of them."""
        return self.looks.get(name, Look(OTHER_COLOUR, "x", "x-thin-open"))

    def name_of(self, name_or_id: str) -> str:
        """Name of a candidate given by name or by id."""
        names = {candidate.id: candidate.name for candidate, _ in self.candidates}
        names |= {phase.id: phase.phase for phase in self.result.given}
        return names.get(name_or_id, name_or_id)

    @cached_property
    def isotopes(self) -> tuple[str, ...]:
        """Isotopes of measurements and predictions, measured ones first."""
        found = [m.isotope for m in self.result.measurements] + [s.isotope for s in self.result.sites]
        return tuple(dict.fromkeys(found))

    @cached_property
    def populations(self) -> tuple[Population, ...]:
        """Populations, largest first."""
        if self.result.assignment is None:
            return ()
        return tuple(sorted(self.result.assignment.populations, key=lambda p: -p.mean))

    @cached_property
    def spectra(self) -> tuple[tuple[Spectrum, FittedCurve | None], ...]:
        """Measured spectra, each with its fit if there is one of the same length."""
        curves = {c.measurement: c for c in self.result.assignment.curves} if self.result.assignment else {}
        return tuple((m, curves.get(m.name)) for m in self.result.measurements if isinstance(m, Spectrum))

    @cached_property
    def line_charts(self) -> tuple[LineChart, ...]:
        """One chart per isotope on the isotropic axis, and one per field where only positions were observed."""
        charts: list[LineChart] = []
        for isotope in self.isotopes:
            lists = [m for m in self.result.measurements if isinstance(m, PeakList) and m.isotope == isotope]
            charts.append(LineChart(isotope, None, tuple(_isotropic(lists)), self._lanes(isotope, None)))
            for field, is_mqmas in dict.fromkeys((m.field_tesla, m.experiment is Experiment.MQMAS) for m in lists):
                observed = tuple(
                    _observed(
                        m for m in lists if m.field_tesla == field and (m.experiment is Experiment.MQMAS) == is_mqmas
                    )
                )
                if observed:
                    lanes = self._lanes(isotope, field, is_mqmas=is_mqmas)
                    charts.append(LineChart(isotope, field, observed, lanes, is_mqmas))
        return tuple(chart for chart in charts if chart.measured or chart.lanes)

    @cached_property
    def coupling_charts(self) -> tuple[CouplingChart, ...]:
        """One chart per quadrupolar isotope that has predictions."""
        charts = []
        for isotope in self.isotopes:
            lanes = self._lanes(isotope, None)
            if any(site.cq_mhz != 0.0 for lane in lanes for site in lane.sites):
                lists = [m for m in self.result.measurements if isinstance(m, PeakList) and m.isotope == isotope]
                charts.append(CouplingChart(isotope, tuple((m.name, peak) for m in lists for peak in m.peaks), lanes))
        return tuple(charts)

    def _lanes(self, isotope: str, field_tesla: float | None, *, is_mqmas: bool = False) -> tuple[Lane, ...]:
        by_name: dict[str, list[PredictedSite]] = {}
        for site in self.result.sites:
            if site.isotope == isotope:
                by_name.setdefault(site.candidate_name, []).append(site)
        return tuple(
            Lane(
                name,
                self.look(name),
                tuple(sites),
                np.array([predicted_position(site, field_tesla, is_mqmas=is_mqmas) for site in sites]),
                np.array([site.delta_error_ppm for site in sites]),
            )
            for name, sites in sorted(by_name.items(), key=lambda item: self.candidate_names.index(item[0]))
        )

    @cached_property
    def reference_lines(self) -> tuple[ReferenceLine, ...]:
        """References, each with its line and prediction band."""
        return tuple(reference_line(reference) for reference in self.result.references)

    @cached_property
    def relative_energies_ev(self) -> dict[str, float]:
        """Energy above the best slab of the same composition, facet and energy model, by candidate name.

        Only slabs with at least one partner to compare with are listed, and only converged ones.
        """
        groups: dict[object, list[Relaxation]] = {}
        for relaxation in self.result.relaxations:
            candidate = relaxation.candidate
            if candidate.kind == "slab" and relaxation.is_converged:
                composition = tuple(sorted(candidate.structure.elements))
                groups.setdefault((composition, candidate.miller, relaxation.model), []).append(relaxation)
        return {
            r.candidate.name: r.energy_ev - min(other.energy_ev for other in group)
            for group in groups.values()
            if len(group) > 1
            for r in group
        }

    @cached_property
    def cpu_seconds(self) -> float:
        """Processor time of all tensors."""
        return sum(t.cpu_seconds for sites in self.result.tensors.values() for t in sites)


def predicted_position(site: PredictedSite, field_tesla: float | None, *, is_mqmas: bool = False) -> float:
    """Where a site's line lies, ppm: its isotropic shift, or at a field its centre of gravity or place in MQMAS."""
    if field_tesla is None:
        return site.delta_iso_ppm
    if is_mqmas:
        from ..mqmas import triple_quantum_position_ppm

        return triple_quantum_position_ppm(
            site.isotope,
            delta_iso_ppm=site.delta_iso_ppm,
            cq_mhz=site.cq_mhz,
            eta=site.eta_q,
            field_tesla=field_tesla,
        )
    from ..constants import isotope, larmor_mhz
    from ..tensors import second_order_shift_ppm

    nucleus = isotope(site.isotope)
    larmor = larmor_mhz(nucleus, field_tesla)
    shift = second_order_shift_ppm(nucleus, cq_mhz=site.cq_mhz, eta=site.eta_q, larmor_mhz=larmor)
    return site.delta_iso_ppm + shift


def reference_line(reference: Reference) -> ReferenceLine:
    """Line and 90 % prediction band of a reference, somewhat beyond its compounds."""
    from ..reference_fit import fitted_shift, rmse_ppm

    sigmas = np.array([c.sigma_iso_ppm for c in reference.compounds] or [reference.sigma_mean_ppm])
    margin = max(0.08 * float(np.ptp(sigmas)), 5.0)
    grid = np.linspace(sigmas.min() - margin, sigmas.max() + margin, 61)
    fitted = np.array([fitted_shift(reference, sigma) for sigma in grid.tolist()])
    rmse = rmse_ppm(reference) if reference.compounds else float("nan")
    return ReferenceLine(reference, grid, fitted[:, 0], INTERVAL_90 * fitted[:, 1], rmse)


def is_surface(site: PredictedSite) -> bool:
    """Whether a site is at the surface or on it; such sites have filled markers."""
    return site.region in {Region.SURFACE, Region.ADSORBATE}


def stagger(positions: Sequence[float], widths: Sequence[float]) -> list[int]:
    """Row of every label so that labels of the given widths about their positions do not overlap."""
    rows_end: list[float] = []
    rows = [0] * len(positions)
    for i in sorted(range(len(positions)), key=lambda k: positions[k] - widths[k] / 2):
        start = positions[i] - widths[i] / 2
        rows[i] = next((row for row, end in enumerate(rows_end) if start >= end), len(rows_end))
        rows_end[rows[i] : rows[i] + 1] = [start + widths[i]]
    return rows


def shorten(text: str, length: int = 40) -> str:
    """A text cut to a length, the end kept because there the decoration stands."""
    return text if len(text) <= length else f"{text[: length // 2 - 1]}…{text[-(length - length // 2) :]}"


def slug(text: str) -> str:
    """A text as a safe part of a file name or element id."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:60] or "x"


def split_isotope(isotope: str) -> tuple[str, str]:
    """Mass number and symbol of an isotope such as ``27Al``; an unusual name is left whole as the symbol."""
    match = _ISOTOPE.fullmatch(isotope)
    return (match[1], match[2]) if match else ("", isotope)


def number_ranges(numbers: Sequence[int]) -> str:
    """Sorted whole numbers with runs drawn together: ``0-2, 5``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def _isotropic(lists: Iterable[PeakList]) -> list[MeasuredLine]:
    return [
        MeasuredLine(peak.label, m.name, peak.delta_iso_ppm, peak.delta_error_ppm)
        for m in lists
        for peak in m.peaks
        if peak.delta_iso_ppm is not None and peak.delta_error_ppm is not None
    ]


def _observed(lists: Iterable[PeakList]) -> list[MeasuredLine]:
    return [
        MeasuredLine(peak.label, m.name, peak.position_ppm, peak.position_error_ppm)
        for m in lists
        for peak in m.peaks
        if peak.delta_iso_ppm is None and peak.position_ppm is not None and peak.position_error_ppm is not None
    ]
