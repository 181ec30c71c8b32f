"""NMR lines of electrolyte, coating and products, and what would show a product next to all the rest.

Lines come from the shipped tensors of the cluster engine (by its own reference), else from published values with their
source. A formula without either has no line here, and that is said.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...structures.vocabulary import Frozen, Grade
from .. import powder
from ..constants import isotope as nucleus_of
from ..constants import larmor_mhz
from ..tensors import second_order_shift_ppm
from .energies import amounts_of, reduced

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FIELDS_TESLA = (9.4, 18.8)
SIGNAL_TO_NOISE = 300.0
"""Height of the tallest line over the standard deviation of the noise, by default: an overnight run."""

MAS_RATE_HZ = 25000.0
BROADENING_PPM = {"31P": 2.0, "27Al": 4.0, "7Li": 0.8, "6Li": 0.4, "1H": 1.0, "19F": 4.0, "29Si": 2.0, "13C": 1.0}
BROADENING_ELSE_PPM = 3.0
"""Gaussian widths (FWHM) of lines of a somewhat disordered layer, without the second-order part."""

POWDER_DENSITY = 64
DETECTED_SIGMA = 3.0
RESOLVED_PROBABILITY = 0.9

EXPERIMENTS = {
    "31P": "31P echo under MAS with a long recycle delay",
    "7Li": "7Li one-pulse under MAS; 6Li where the lines touch",
    "27Al": "27Al one-pulse with a short pulse under fast MAS; 3QMAS where the lines touch",
    "19F": "19F echo under fast MAS",
    "11B": "11B one-pulse with a short pulse under MAS",
    "29Si": "29Si one-pulse with a long recycle delay under MAS",
    "13C": "13C one-pulse with a long recycle delay under MAS",
    "89Y": "89Y echo under MAS with a very long recycle delay",
    "93Nb": "static 93Nb echo, frequency-stepped",
    "1H": "1H echo under fast MAS",
}


class NmrLine(Frozen):
    """One line of a compound.

    Attributes
    ----------
    delta_ppm, delta_error_ppm
        Isotropic shift and its standard deviation.
    cq_mhz, eta
        Quadrupole coupling; None where unknown or where the spin is 1/2.
    share
        Share of the element's atoms of the compound in this line.
    origin
        ``computed`` by the cluster engine, or ``published``.
    source, grade
        Where it comes from.
    crystal
        Crystal of the library, for a line of one polymorph; empty for the formula as such.
    """

    formula: str
    isotope: str
    environment: str
    delta_ppm: float
    delta_error_ppm: float
    cq_mhz: float | None
    eta: float | None
    share: float
    origin: Literal["computed", "published"]
    source: str
    grade: str
    crystal: str = ""

    @property
    def support(self) -> Grade:
        """How well the value is supported; a computed one is a model."""
        return Grade.MODEL if self.origin == "computed" else Grade(self.grade)

    def position_ppm(self, field_tesla: float) -> float:
        """Centre of gravity in a field: the shift with its second-order quadrupolar part."""
        nucleus = nucleus_of(self.isotope)
        if not self.cq_mhz or not nucleus.is_half_integer_quadrupolar:
            return self.delta_ppm
        larmor = larmor_mhz(nucleus, field_tesla)
        return self.delta_ppm + second_order_shift_ppm(
            nucleus, cq_mhz=self.cq_mhz, eta=self.eta or 0.0, larmor_mhz=larmor
        )


class Detection(Frozen):
    """How well one nucleus in one field shows a product beside everything else.

    Attributes
    ----------
    resolved_probability
        Probability, over the errors of all shifts, that a line of the product stands clear of every line of the rest by
        its full width.
    least_percent
        Smallest share of the element's atoms, in percent, that is seen with three standard deviations of the noise
        while the heights of all other lines are free; None where the lines coincide.
    """

    product: str
    isotope: str
    field_tesla: float
    experiment: str
    positions_ppm: tuple[float, ...]
    resolved_probability: float
    least_percent: float | None
    signal_to_noise: float


@cache
def _published() -> dict[str, tuple[NmrLine, ...]]:
    import yaml

    from ..references import published_shifts

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (files("surfshift.analysis.data") / "compound_lines.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, Loader=loader)
    rows: list[list[Any]] = loaded["lines"]
    found: dict[str, list[NmrLine]] = {}
    for formula, isotope, environment, delta, error, cq, eta, share, grade, source, *crystal in rows:
        name = canonical(formula)
        line = NmrLine(
            formula=name,
            isotope=isotope,
            environment=environment,
            delta_ppm=delta,
            delta_error_ppm=error,
            cq_mhz=cq,
            eta=eta,
            share=share,
            origin="published",
            source=source,
            grade=grade,
            crystal=crystal[0] if crystal else "",
        )
        found.setdefault(name, []).append(line)
    for shift in published_shifts():
        if shift.crystal is None:
            continue
        name = canonical(_crystal_formula(shift.crystal))
        polymorph = shift.compound
        line = NmrLine(
            formula=name,
            isotope=shift.isotope,
            environment=f"{polymorph} {shift.environment}".strip(),
            delta_ppm=shift.delta_ppm,
            delta_error_ppm=shift.error_ppm,
            cq_mhz=shift.cq_mhz,
            eta=shift.eta_q,
            share=1.0,
            origin="published",
            source=shift.source,
            grade=shift.grade.value,
            crystal=shift.crystal,
        )
        if all(
            abs(line.delta_ppm - known.delta_ppm) > 0.2
            for known in found.get(name, [])
            if known.isotope == line.isotope
        ):
            found.setdefault(name, []).append(line)
    for formula, like in loaded["lines_as_of"].items():
        name = canonical(formula)
        found[name] = [line.model_copy(update={"formula": name}) for line in found[canonical(like)]]
    return {name: tuple(lines) for name, lines in found.items()}


@cache
def _computed() -> dict[str, tuple[NmrLine, ...]]:
    from ..references import ReferenceMissingError, available_libraries
    from ..tensors import quadrupole

    found: dict[str, list[NmrLine]] = {}
    for library in available_libraries():
        for compound in library.compounds:
            if "_" not in compound.structure_name and compound.structure_name not in ("LiOH",):
                continue  # a gas-phase molecule
            name = canonical(_crystal_formula(compound.structure_name))
            for site in compound.sites:
                isotope = _isotope_of(site.element)
                try:
                    reference = library.reference(isotope)
                except ReferenceMissingError:
                    continue
                total = sum(len(s.atom_indices) for s in compound.sites if s.element == site.element)
                nucleus = nucleus_of(isotope)
                coupling = quadrupole(site.efg_au[0], nucleus) if nucleus.is_quadrupolar else None
                line = NmrLine(
                    formula=name,
                    isotope=isotope,
                    environment=compound.structure_name,
                    delta_ppm=round(reference.intercept_ppm + reference.slope * site.sigma_iso_ppm, 2),
                    delta_error_ppm=round(reference.site_error_ppm, 2),
                    cq_mhz=None if coupling is None else round(abs(coupling.cq_mhz) * reference.cq_factor, 3),
                    eta=None if coupling is None else round(coupling.eta, 3),
                    share=len(site.atom_indices) / total,
                    origin="computed",
                    source=f"{library.method.key}, shipped",
                    grade="computed",
                    crystal=compound.structure_name,
                )
                found.setdefault(name, []).append(line)
    return {name: tuple(lines) for name, lines in found.items()}


def _isotope_of(element: str) -> str:
    from ..constants import default_isotope

    return default_isotope(element).name


def _crystal_formula(name: str) -> str:
    from ...structures.library import load_crystal

    return load_crystal(name).formula


@lru_cache(maxsize=4096)
def canonical(formula: str) -> str:
    """Reduced formula in the form in which lines are kept."""
    return reduced(amounts_of(formula))


def computed_lines(formula: str) -> tuple[NmrLine, ...]:
    """Lines of a compound from shipped tensors."""
    return _computed().get(canonical(formula), ())


def published_lines(formula: str) -> tuple[NmrLine, ...]:
    """Published lines of a compound."""
    return _published().get(canonical(formula), ())


@lru_cache(maxsize=8192)
def lines_of(formula: str) -> tuple[NmrLine, ...]:
    """The lines to expect of a compound: published where there are, else computed, isotope by isotope.

    A published shift is a measurement of the compound itself and has the smaller error; the computed line of the same
    compound is listed by ``computed_lines``. Polymorphs of one formula keep all their lines, with equal weight.
    """
    published = published_lines(formula)
    have = {line.isotope for line in published}
    return (*published, *(line for line in computed_lines(formula) if line.isotope not in have))


@lru_cache(maxsize=8192)
def profile(line: NmrLine, field_tesla: float) -> tuple[Array, Array]:
    """Axis about the isotropic shift, ppm, and density of a line with its broadening in a field."""
    width = BROADENING_PPM.get(line.isotope, BROADENING_ELSE_PPM)
    sigma = width / math.sqrt(8.0 * math.log(2.0))
    if not (nucleus_of(line.isotope).is_half_integer_quadrupolar and line.cq_mhz):
        axis = sigma * np.linspace(-5.0, 5.0, 201)
        return axis, np.exp(-0.5 * (axis / sigma) ** 2) / (sigma * math.sqrt(2.0 * math.pi))
    from ..kernels import unit_ppm

    # the powder average of the kernels: mrsimulator and scipy.signal take seconds to load, in every process
    nucleus = nucleus_of(line.isotope)
    grid, frequencies = _central_transition(line.eta or 0.0)
    ppm = unit_ppm(nucleus, larmor_mhz(nucleus, field_tesla)) * line.cq_mhz**2 * frequencies
    step = 0.1 * width
    low, count = float(ppm.min()) - step, int(np.ptp(ppm) / step) + 4
    mass = powder.deposit(grid, ppm, low, step, count).sum(axis=1)
    reach = math.ceil(5.0 * sigma / step)
    kernel = np.exp(-0.5 * (step * np.arange(-reach, reach + 1) / sigma) ** 2)
    density: Array = np.asarray(np.convolve(np.asarray(mass) / step, kernel / kernel.sum()), dtype=np.float64)
    axis = np.asarray(low + step * np.arange(-reach, count + reach), dtype=np.float64)
    return axis, density


@lru_cache(maxsize=256)
def _central_transition(eta: float) -> tuple[powder.Octant, Array]:
    """Orientations, and the frequency of the central transition in each, under spinning of infinite speed."""
    grid = powder.octant(POWDER_DENSITY)
    return grid, powder.spinning_frequencies(grid, eta, "quadrupole")[0]


@lru_cache(maxsize=8192)
def line_width_ppm(line: NmrLine, field_tesla: float) -> float:
    """Full width of a line that holds three quarters of its area, ppm (the FWHM of a Gaussian)."""
    axis, density = profile(line, field_tesla)
    area = np.cumsum(density)
    area /= area[-1]
    low, high = np.interp([0.12, 0.88], area, axis)
    return float(high - low)


def detections(
    product: str,
    others: Mapping[str, float],
    *,
    fields_tesla: Sequence[float] = FIELDS_TESLA,
    signal_to_noise: float = SIGNAL_TO_NOISE,
) -> tuple[Detection, ...]:
    """Each nucleus and field that has a line of the product, the best first.

    Parameters
    ----------
    product
        Formula to be seen.
    others
        Formulas beside it and their amounts in moles of formula units.
    fields_tesla
        Fields to try.
    signal_to_noise
        Tallest point of the others' spectrum over the noise of one point.
    """
    found = [
        detection
        for isotope in sorted({line.isotope for line in lines_of(product)})
        for field in fields_tesla
        if (detection := _detection(product, tuple(sorted(others.items())), isotope, field, signal_to_noise))
    ]

    def quality(found: Detection) -> tuple[float, float]:
        return -round(found.resolved_probability, 1), math.inf if found.least_percent is None else found.least_percent

    return tuple(sorted(found, key=quality))


@lru_cache(maxsize=65536)
def _detection(
    product: str, others: tuple[tuple[str, float], ...], isotope: str, field_tesla: float, signal_to_noise: float
) -> Detection | None:
    own = [line for line in lines_of(product) if line.isotope == isotope]
    rest = [
        (line, amount * amounts_of(formula).get(nucleus_of(isotope).element, 0.0) * line.share)
        for formula, amount in others
        if canonical(formula) != canonical(product)
        for line in lines_of(formula)
        if line.isotope == isotope
    ]
    probability = 1.0
    if rest:
        probability = max(_resolved(line, [other for other, _ in rest], field_tesla) for line in own)
    least = _least_share(own, rest, field_tesla, signal_to_noise)
    return Detection(
        product=canonical(product),
        isotope=isotope,
        field_tesla=field_tesla,
        experiment=EXPERIMENTS.get(isotope, f"{isotope} echo under MAS"),
        positions_ppm=tuple(round(line.position_ppm(field_tesla), 1) for line in own),
        resolved_probability=round(probability, 2),
        least_percent=None if least is None else round(100.0 * least, 3),
        signal_to_noise=signal_to_noise,
    )


def _resolved(line: NmrLine, rest: Sequence[NmrLine], field_tesla: float) -> float:
    probability = 1.0
    width = line_width_ppm(line, field_tesla)
    for other in rest:
        gap = line.position_ppm(field_tesla) - other.position_ppm(field_tesla)
        need = 0.5 * (width + line_width_ppm(other, field_tesla))
        error = math.hypot(line.delta_error_ppm, other.delta_error_ppm)
        inside = _normal((need - gap) / error) - _normal((-need - gap) / error)
        probability = min(probability, 1.0 - inside)
    return probability


def _normal(value: float) -> float:
    return 0.5 * (1.0 + math.erf(value / math.sqrt(2.0)))


def _least_share(
    own: Sequence[NmrLine], rest: Sequence[tuple[NmrLine, float]], field_tesla: float, signal_to_noise: float
) -> float | None:
    """Share of the element's atoms that three standard deviations of a fitted height stand for (Cramer-Rao bound)."""
    every = [*own, *(line for line, _ in rest)]
    profiles = [profile(line, field_tesla) for line in every]
    low = min(line.delta_ppm + axis[0] for line, (axis, _) in zip(every, profiles, strict=True))
    high = max(line.delta_ppm + axis[-1] for line, (axis, _) in zip(every, profiles, strict=True))
    step = 0.25 * min(BROADENING_PPM.get(every[0].isotope, BROADENING_ELSE_PPM), 2.0)
    grid = np.arange(low, high + step, step)[:20000]
    basis = np.array(
        [
            np.interp(grid, line.delta_ppm + axis, density, left=0.0, right=0.0)
            for line, (axis, density) in zip(every, profiles, strict=True)
        ]
    )
    weights = np.array([line.share for line in own])
    signal = (weights / weights.sum()) @ basis[: len(own)]
    amounts = np.array([amount for _, amount in rest])
    background = basis[len(own) :]
    if len(rest) and amounts.sum() > 0:
        amounts = amounts / amounts.sum()
        tallest = float((amounts @ background).max())
    else:
        tallest = float(signal.max())
    noise = tallest / signal_to_noise
    if len(background):
        # the part of the product's line that no other line can take over
        keep, *_ = np.linalg.lstsq(background.T, signal, rcond=1e-6)
        signal = signal - keep @ background
    strength = float(np.linalg.norm(signal))
    if strength < 1e-3 * float(np.linalg.norm(basis[0])):
        return None
    share = DETECTED_SIGMA * noise / strength
    return share / (1.0 + share) if len(rest) else min(1.0, share)
