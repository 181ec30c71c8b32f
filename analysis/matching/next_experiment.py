"""Which measurement would tell the surviving explanations apart: expected information gain by simulation.

For every experiment proposed, peak lists are simulated from each explanation that is still alive, with the errors of
DFT and of the measurement; each list is weighed as a measured one would be. The gain is the mean fall of the entropy of
the explanations, in bits: what the experiment is expected to say about which of them is true (Lindley 1956). What was
measured before enters through the probabilities of the explanations; what it said about the errors of single sites does
not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..constants import isotope as nucleus_of
from ..vocabulary import Experiment, ExperimentGain, Peak, PeakList
from .peaks import peak_evidences
from .settings import MatchSettings
from .sites import listing_probability, second_order_shifts, site_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ..vocabulary import PredictedSite, Reference
    from .sites import SiteTable

Explanations = dict[tuple[str, ...], float]


def expected_gains(
    explanations: Mapping[tuple[str, ...], float],
    candidates: Mapping[str, Sequence[PredictedSite]],
    experiments: Sequence[PeakList],
    references: Mapping[str, Reference],
    settings: MatchSettings | None = None,
    *,
    draws: int = 40,
) -> tuple[ExperimentGain, ...]:
    """Experiments by what they are expected to say, best first.

    Parameters
    ----------
    explanations
        Probability of each explanation still alive (ids of its candidates); normalised here.
    candidates
        Predicted sites by candidate id.
    experiments
        What could be measured: nucleus, field, spinning rate and kind, as a peak list whose first peak shows which
        values each peak would have and with which errors (the values themselves do not count).
    references
        The reference of each isotope.
    draws
        Simulated measurements per explanation.

    Raises
    ------
    ValueError
        If there is no explanation, or an experiment's isotope has no reference.
    """
    settings = settings or MatchSettings()
    if not explanations:
        raise ValueError("no explanation was given; pass those of an Assignment that are still alive")
    everything = [site for sites in candidates.values() for site in sites]
    given = {s.isotope for s in everything} - {s.isotope for s in everything if not s.is_given}
    missing = sorted({frame.isotope for frame in experiments} - set(references) - given)
    if missing:
        raise ValueError(f"no reference for {', '.join(missing)}; leave these experiments out")
    groups = list(explanations)
    prior = np.array([explanations[group] for group in groups], dtype=float)
    prior /= prior.sum()
    found = []
    for frame in experiments:
        rng = np.random.default_rng(settings.seed)
        names = sorted({name for group in groups for name in group})
        table = site_table(frame.isotope, [candidates[name] for name in names], references.get(frame.isotope))
        rows = [np.flatnonzero(np.isin(table.member, [names.index(name) for name in group])) for group in groups]
        left = np.zeros(len(groups))
        for i, own in enumerate(rows):
            for _ in range(draws):
                peaks = _simulate(table, own, frame, settings, rng)
                log_posterior = np.log(prior) + _evidences(table, rows, frame, peaks, settings)
                left[i] += _entropy(np.exp(log_posterior - np.logaddexp.reduce(log_posterior))) / draws
        before = _entropy(prior)
        found.append(
            ExperimentGain(
                name=frame.name,
                isotope=frame.isotope,
                field_tesla=frame.field_tesla,
                experiment=frame.experiment,
                gain_bits=before - float(prior @ left),
                entropy_bits=before,
            )
        )
    return tuple(sorted(found, key=lambda gain: (-gain.gain_bits, gain.name)))


def _entropy(probabilities: NDArray[np.float64]) -> float:
    kept = probabilities[probabilities > 0]
    return float(-(kept * np.log2(kept)).sum())


def _simulate(
    table: SiteTable,
    rows: NDArray[np.int64],
    frame: PeakList,
    settings: MatchSettings,
    rng: np.random.Generator,
) -> tuple[Peak, ...]:
    """Peaks that the sites at ``rows`` would give: lines too broad or out of reach are missed, near ones merge."""
    like = frame.peaks[0]
    delta = table.delta + table.offset_rows @ rng.normal(size=2) + table.delta_error * rng.normal(size=len(table))
    cq = np.abs(table.cq + table.cq_error * rng.normal(size=len(table)))
    seen = rng.random(len(table)) < listing_probability(table, frame, settings)
    induced, slope = second_order_shifts(table, frame)
    shift = delta + induced + slope * (cq - table.cq) if like.position_ppm is not None else delta
    lines: list[tuple[float, float]] = []
    for s in sorted(rows, key=lambda row: float(shift[row])):
        # a line close to the one before hides under it
        gap = (shift[s] - lines[-1][0]) / settings.resolution_ppm(table.isotope) if lines else math.inf
        if like.cq_mhz is not None and lines:
            gap = math.hypot(gap, (cq[s] - lines[-1][1]) / settings.cq_resolution_mhz)
        if seen[s] and rng.random() > math.exp(-0.5 * gap**2):
            lines.append((float(shift[s]), float(cq[s])))
    peaks = []
    for value, coupling in lines:
        measured: dict[str, float] = {}
        if like.position_ppm is not None and like.position_error_ppm is not None:
            measured |= {"position_ppm": value + like.position_error_ppm * rng.normal()}
            measured |= {"position_error_ppm": like.position_error_ppm}
        elif like.delta_error_ppm is not None:
            measured |= {"delta_iso_ppm": value + like.delta_error_ppm * rng.normal()}
            measured |= {"delta_error_ppm": like.delta_error_ppm}
        if like.cq_error_mhz is not None:
            measured |= {"cq_mhz": abs(coupling + like.cq_error_mhz * rng.normal())}
            measured |= {"cq_error_mhz": like.cq_error_mhz}
        peaks.append(Peak.model_validate(measured))
    return tuple(peaks)


def _evidences(
    table: SiteTable,
    rows: Sequence[NDArray[np.int64]],
    frame: PeakList,
    peaks: tuple[Peak, ...],
    settings: MatchSettings,
) -> NDArray[np.float64]:
    """Log evidence of the simulated list under each explanation; an empty list counts the lines that do not show."""
    if peaks:
        return peak_evidences(table, rows, [frame.model_copy(update={"peaks": peaks})], settings)
    silent = np.log1p(-listing_probability(table, frame, settings))
    return np.array([float(silent[own].sum()) for own in rows])


def usual_experiments(isotopes: Sequence[str], fields_tesla: Sequence[float] = (9.4, 14.1, 20.0)) -> list[PeakList]:
    """Experiments worth asking about: one-pulse, CP, and for half-integer quadrupoles MQMAS and TRAPDOR at each field.

    One-pulse lists of quadrupolar nuclei give positions and couplings, MQMAS sharper isotropic shifts and couplings,
    TRAPDOR couplings near hydrogen. The errors are those of careful fits: 0.3 ppm (1H), 1 ppm, 0.3 to 0.9 MHz.
    """
    frames = []
    for name in isotopes:
        nucleus = nucleus_of(name)
        for field in fields_tesla:
            if not nucleus.is_half_integer_quadrupolar:
                error = 0.3 if nucleus.element == "H" else 1.0
                peak = Peak(delta_iso_ppm=0.0, delta_error_ppm=error)
                frames.append(_frame(f"{name} one-pulse", name, field, Experiment.ONE_PULSE, peak))
                if nucleus.element != "H":
                    frames.append(_frame(f"{name} CP", name, field, Experiment.CP, peak))
                break  # shifts in ppm do not depend on the field
            one = Peak(position_ppm=0.0, position_error_ppm=1.0, cq_mhz=0.0, cq_error_mhz=0.5)
            sharp = Peak(delta_iso_ppm=0.0, delta_error_ppm=0.5, cq_mhz=0.0, cq_error_mhz=0.3)
            coupling = Peak(cq_mhz=0.0, cq_error_mhz=0.9)
            frames.append(_frame(f"{name} one-pulse {field:g} T", name, field, Experiment.ONE_PULSE, one))
            frames.append(_frame(f"{name} MQMAS {field:g} T", name, field, Experiment.MQMAS, sharp))
            frames.append(_frame(f"{name} TRAPDOR {field:g} T", name, field, Experiment.TRAPDOR, coupling))
    return frames


def _frame(label: str, isotope: str, field_tesla: float, experiment: Experiment, peak: Peak) -> PeakList:
    return PeakList(
        name=label,
        isotope=isotope,
        field_tesla=field_tesla,
        mas_rate_hz=12500.0,
        experiment=experiment,
        peaks=(peak,),
    )
