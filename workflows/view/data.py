"""What the page of a study shows, as plain data: structures in 3D, measured data, a line of each candidate to add up.

The page adds the lines itself, so that a slider moves the model at once:
model(x) = sum over candidates of population x line, convolved with a Gaussian.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ...analysis.matching.settings import MatchSettings
from ...analysis.report.view import View, number_ranges, predicted_position
from ...analysis.vocabulary import Experiment, PeakList, Spectrum, StudyResult
from ...structures.errors import SurfshiftError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ...analysis.vocabulary import FittedCurve, Measurement, PredictedSite
    from ...structures.vocabulary import Candidate

MAX_LINES = 12
"""Lines are simulated for so many candidates, the most probable first."""

MAX_ATOMS = 1500
"""Structures with more balls are shown without sticks and surroundings."""

NARROW_POINTS = 3.0
"""Lines of peak lists are simulated with a width of so many points of the axis; the slider adds to it."""

LIST_POINTS = 700


class ViewError(SurfshiftError):
    """A study or report that cannot be shown."""


def read_result(folder: Path) -> StudyResult | None:
    """The result in a report's folder; None while there is none.

    Raises
    ------
    ViewError
        If the file is damaged.
    """
    path = folder / "result.json"
    try:
        return StudyResult.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ViewError(f"{path} cannot be read; draw it again with 'surfshift report STUDY'") from error


def page_data(result: StudyResult, coatings: Path | None = None) -> dict[str, Any]:
    """Everything the page draws, ready for JSON.

    Raises
    ------
    ViewError
        If the coatings cannot be read.
    """
    view = View(result)
    assignment = result.assignment
    populations = {p.candidate_id: p for p in view.populations}
    energies = view.relative_energies_ev
    return {
        "name": result.name,
        "verdict": assignment.verdict.value if assignment else None,
        "statement": assignment.statement if assignment else "No verdict: nothing was measured or matched.",
        "probability": assignment.probability if assignment else None,
        "warnings": [*(assignment.warnings if assignment else ()), *result.failures],
        "candidates": [
            {
                "id": candidate.id,
                "name": candidate.name,
                "kind": candidate.kind,
                "formula": candidate.structure.formula,
                "atoms": len(candidate.structure),
                "colour": view.look(candidate.name).colour,
                "energy_ev": energies.get(candidate.name),
                "converged": None if relaxation is None else relaxation.is_converged,
                "notes": list(candidate.notes),
                "population": _population(populations.get(candidate.id)),
            }
            for candidate, relaxation in view.candidates
        ]
        + [
            {
                "id": phase.id,
                "name": phase.phase,
                "kind": "given",
                "formula": phase.formula,
                "atoms": sum(phase.elements.values()),
                "colour": view.look(phase.phase).colour,
                "energy_ev": None,
                "converged": None,
                "notes": [f"lines as measured: {phase.source}"],
                "population": _population(populations.get(phase.id)),
            }
            for phase in result.given
        ],
        "charts": charts(view),
        "samples": _samples(view),
        "attributions": _attributions(view),
        "coatings": read_coatings(coatings) if coatings is not None else [],
    }


def _samples(view: View) -> list[dict[str, Any]]:
    """Fitted populations by sample, where several were matched together."""
    assignment = view.result.assignment
    return [
        {"name": sample.sample, "populations": {p.candidate_id: p.mean for p in sample.populations}}
        for sample in (assignment.samples if assignment else ())
    ]


def _population(found: Any) -> dict[str, float] | None:
    if found is None:
        return None
    return {"mean": found.mean, "low": found.low, "high": found.high, "present": found.probability_present}


def _attributions(view: View) -> list[dict[str, Any]]:
    assignment = view.result.assignment
    if assignment is None:
        return []
    return [
        {
            "measurement": a.measurement,
            "peak": a.peak_label,
            "candidate": view.name_of(a.candidate_name),
            "atoms": number_ranges(a.atom_indices),
            "probability": a.probability,
            "residual": a.residual_sigmas,
        }
        for a in sorted(assignment.attributions, key=lambda a: (a.measurement, a.peak_label, -a.probability))
        if a.probability > 0.005
    ]


def structure_data(candidate: Candidate, labels: Mapping[int, str]) -> dict[str, Any]:
    """Balls and sticks of a candidate for a 3D view; positions in angstrom."""
    from ...analysis.report.pictures import Scene, atom_colours, build_scene, drawn_radii

    structure = candidate.structure
    if len(structure) <= MAX_ATOMS:
        scene = build_scene(structure)
    else:
        scene = Scene(atoms=tuple(range(len(structure))), positions=structure.cart_coords, sticks=())
    colours, radii = atom_colours(structure), drawn_radii(structure)
    indices = list(scene.atoms)
    return {
        "positions": np.round(scene.positions, 3).tolist(),
        "elements": [structure.elements[k] for k in indices],
        "atoms": indices,
        "regions": [candidate.regions[k].value for k in indices],
        "labels": [labels.get(k, "") for k in indices],
        "colours": ["#" + "".join(f"{round(255 * part):02x}" for part in colours[k]) for k in indices],
        "radii": [round(float(radii[k]), 3) for k in indices],
        "sticks": [list(pair) for pair in scene.sticks],
        "cell": np.round(structure.lattice, 3).tolist(),
    }


def charts(view: View) -> list[dict[str, Any]]:
    """One chart per measurement, with a line of every drawn candidate per unit of its population."""
    chosen = _drawn(view)
    atoms = _atoms(view)
    found = []
    for number, measurement in enumerate(view.result.measurements):
        sites = {
            key: [s for s in view.result.sites if s.candidate_id == key and s.isotope == measurement.isotope]
            for key in chosen
        }
        sites = {key: own for key, own in sites.items() if own}
        curve = _curve_of(view, measurement)
        axis = _axis(measurement, [site for own in sites.values() for site in own])
        lines = {key: _line(own, measurement, axis, atoms[key]) for key, own in sites.items()}
        chart: dict[str, Any] = {
            "id": f"chart-{number}",
            "name": measurement.name,
            "sample": measurement.sample,
            "isotope": measurement.isotope,
            "field_tesla": measurement.field_tesla,
            "mas_rate_hz": measurement.mas_rate_hz,
            "experiment": measurement.experiment.value,
            "start": float(axis[0]),
            "step": float(axis[-1] - axis[0]) / (len(axis) - 1),
        }
        if isinstance(measurement, Spectrum):
            chart |= _spectrum_part(view, measurement, curve, axis, lines)
        else:
            chart |= _list_part(measurement, lines)
        found.append(chart)
    return found


def _drawn(view: View) -> list[str]:
    """Ids of the candidates whose lines are simulated: the most probable, and those with the largest population."""
    present = {p.candidate_id: (p.probability_present, p.mean) for p in view.populations}
    order = [*(candidate.id for candidate, _ in view.candidates), *(phase.id for phase in view.result.given)]
    return sorted(order, key=lambda key: present.get(key, (-1.0, 0.0)), reverse=True)[:MAX_LINES]


def _atoms(view: View) -> dict[str, int]:
    """Number of atoms of the measured isotopes by candidate: populations are shares of these."""
    isotopes = {m.isotope for m in view.result.measurements}
    counts: dict[str, int] = {}
    for site in view.result.sites:
        if site.isotope in isotopes:
            counts[site.candidate_id] = counts.get(site.candidate_id, 0) + site.multiplicity
    return counts


def _curve_of(view: View, measurement: Measurement) -> FittedCurve | None:
    if not isinstance(measurement, Spectrum):
        return None
    return next((curve for spectrum, curve in view.spectra if spectrum.name == measurement.name), None)


def _axis(measurement: Measurement, sites: Sequence[PredictedSite]) -> NDArray[np.float64]:
    """Ascending, evenly spaced axis, ppm: that of a spectrum, or one that holds the lines of a peak list."""
    if isinstance(measurement, Spectrum):
        points = np.array(measurement.axis_ppm)
        return np.linspace(points[0], points[-1], len(points))
    field = measurement.field_tesla
    low, high = [], []
    for site in sites:
        position = predicted_position(site, field, is_mqmas=measurement.experiment is Experiment.MQMAS)
        spread = 0.5 * abs(position - site.delta_iso_ppm) + 2 * site.delta_error_ppm
        low.append(min(position, site.delta_iso_ppm) - spread)
        high.append(max(position, site.delta_iso_ppm) + spread)
    for peak in measurement.peaks:
        for value, error in ((peak.position_ppm, peak.position_error_ppm), (peak.delta_iso_ppm, peak.delta_error_ppm)):
            if value is not None and error is not None:
                low.append(value - 4 * error)
                high.append(value + 4 * error)
    if not low:
        return np.linspace(-10.0, 10.0, LIST_POINTS)
    margin = 0.05 * (max(high) - min(low)) + 1.0
    return np.linspace(min(low) - margin, max(high) + margin, LIST_POINTS)


def _line(
    sites: Sequence[PredictedSite], measurement: Measurement, axis: NDArray[np.float64], n_atoms: int
) -> NDArray[np.float64]:
    """Intensity per ppm of a candidate at population 1, as the experiment sees it."""
    from ...analysis.lines import INFINITE_SPINNING_HZ, line
    from ...analysis.mqmas import triple_quantum_line

    width = NARROW_POINTS * float(axis[1] - axis[0])
    rate = measurement.mas_rate_hz if isinstance(measurement, Spectrum) else INFINITE_SPINNING_HZ
    total = np.zeros(len(axis))
    for site, seen in zip(sites, _visibilities(sites, measurement), strict=True):
        share = site.multiplicity / n_atoms * seen
        if measurement.experiment is Experiment.MQMAS:
            position = predicted_position(site, measurement.field_tesla, is_mqmas=True)
            total += share * triple_quantum_line(axis, position, math.hypot(width, site.width_ppm))
        else:
            own = math.hypot(width, site.width_ppm)
            total += share * line(site, axis, measurement.field_tesla, rate, own)
    return total


def _visibilities(sites: Sequence[PredictedSite], measurement: Measurement) -> list[float]:
    """Share of each site's signal that the experiment sees, as ``surfshift.analysis.matching`` has it."""
    from ...analysis.matching.sites import site_table, visibility

    table = site_table(measurement.isotope, [sites], None)
    return [float(share) for share in visibility(table, measurement, MatchSettings())]


def _spectrum_part(
    view: View,
    spectrum: Spectrum,
    curve: FittedCurve | None,
    axis: NDArray[np.float64],
    lines: Mapping[str, NDArray[np.float64]],
) -> dict[str, Any]:
    """Measured points, and lines in their unit: fitted ones where the fit has them, simulated ones for the others."""
    points, intensity = np.array(spectrum.axis_ppm), np.array(spectrum.intensity)
    scale = float(np.abs(intensity).max()) or 1.0
    baseline = np.zeros(len(axis)) if curve is None else np.interp(axis, points, curve.baseline) / scale
    means = {p.candidate_id: p.mean for p in _populations(view, spectrum)}
    ids = {candidate.name: candidate.id for candidate, _ in view.candidates}
    ids |= {phase.phase: phase.id for phase in view.result.given}
    fitted: dict[str, NDArray[np.float64]] = {}
    for key, part in (curve.parts if curve else {}).items():
        candidate = ids.get(key, key)
        if means.get(candidate, 0.0) > 1e-3:
            fitted[candidate] = np.interp(axis, points, part) / scale / means[candidate]
    area = [float(fitted[key].sum() / lines[key].sum()) for key in fitted.keys() & lines.keys() if lines[key].sum() > 0]
    gain = float(np.median(area)) if area else _gain(intensity / scale - np.interp(points, axis, baseline), lines)
    drawn = {key: _short(fitted[key] if key in fitted else gain * line) for key, line in lines.items()}
    return {
        "kind": "spectrum",
        "measured": _short(np.interp(axis, points, intensity) / scale),
        "baseline": _short(baseline),
        "noise": spectrum.noise / scale,
        "fitted": sorted(fitted),
        "lines": drawn,
    }


def _gain(target: NDArray[np.float64], lines: Mapping[str, NDArray[np.float64]]) -> float:
    """Scale that gives an unfitted spectrum the area of the candidates' mean line."""
    areas = [float(line.sum()) for line in lines.values() if line.sum() > 0]
    return max(float(target.sum()), 1e-9) / float(np.mean(areas)) if areas else 1.0


def _populations(view: View, measurement: Measurement) -> Sequence[Any]:
    assignment = view.result.assignment
    if assignment is None:
        return ()
    own = next((s.populations for s in assignment.samples if s.sample == measurement.sample), None)
    return own if own is not None else assignment.populations


def _list_part(peaks: PeakList, lines: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Measured lines as bands; the model has no measured height, its maximum at the fitted populations is one."""
    bands, texts = [], []
    for peak in peaks.peaks:
        if peak.position_ppm is not None:
            bands.append(
                {"label": peak.label, "x": peak.position_ppm, "error": peak.position_error_ppm, "is_iso": False}
            )
        elif peak.delta_iso_ppm is not None:
            x = _observed(peak, peaks)
            bands.append({"label": peak.label, "x": x, "error": peak.delta_error_ppm, "is_iso": False})
        if peak.cq_mhz is not None:
            texts.append(f"{peak.label or 'peak'}: CQ {peak.cq_mhz:g} ± {peak.cq_error_mhz:g} MHz")
    return {
        "kind": "peaks",
        "bands": bands,
        "texts": texts,
        "lines": {key: _short(line) for key, line in lines.items()},
    }


def _observed(peak: Any, peaks: PeakList) -> float:
    """Where a peak of known isotropic shift lies at the field: shifted to second order where its CQ is known."""
    if peak.cq_mhz is None:
        return float(peak.delta_iso_ppm)
    from ...analysis.constants import isotope, larmor_mhz
    from ...analysis.tensors import second_order_shift_ppm

    nucleus = isotope(peaks.isotope)
    if not nucleus.is_half_integer_quadrupolar:
        return float(peak.delta_iso_ppm)
    larmor = larmor_mhz(nucleus, peaks.field_tesla)
    eta = 0.5 if peak.eta_q is None else peak.eta_q
    if peaks.experiment is Experiment.MQMAS:
        from ...analysis.mqmas import triple_quantum_position_ppm

        return triple_quantum_position_ppm(
            peaks.isotope,
            delta_iso_ppm=float(peak.delta_iso_ppm),
            cq_mhz=peak.cq_mhz,
            eta=eta,
            field_tesla=peaks.field_tesla,
        )
    return float(peak.delta_iso_ppm + second_order_shift_ppm(nucleus, cq_mhz=peak.cq_mhz, eta=eta, larmor_mhz=larmor))


def _short(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.4g}") for value in values.tolist()]


COATING_COLUMNS = {
    "electrolyte": "electrolyte",
    "coating": "coating",
    "electrode": "electrode",
    "on_front": "on the front",
    "reduction_v": "reduction / V",
    "oxidation_v": "oxidation / V",
    "electrolyte_ev_per_atom": "with electrolyte / eV per atom",
    "electrolyte_error_ev": "± / eV per atom",
    "electrode_ev_per_atom": "with electrode / eV per atom",
    "electrode_error_ev": "± / eV per atom ",
    "nmr": "NMR lines of the products",
}


def read_coatings(path: Path) -> list[dict[str, Any]]:
    """Rows of a screening's CSV, with the columns that the page shows.

    Raises
    ------
    ViewError
        If the file is missing or is no table of a screening.
    """
    import csv

    file = path / "screening.csv" if path.is_dir() else path
    try:
        with file.open(encoding="utf-8", newline="") as text:
            rows = list(csv.DictReader(text))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ViewError(
            f"the coatings {file} cannot be read ({error}); name the folder of 'surfshift screen'"
        ) from error
    if not rows or not {"electrolyte", "coating", "electrode"} <= set(rows[0]):
        raise ViewError(f"{file} is no table of a screening; name the folder that 'surfshift screen --out' wrote")
    return [{title: _number(row.get(key, "")) for key, title in COATING_COLUMNS.items()} for row in rows]


def _number(text: str | None) -> Any:
    try:
        value = float(text or "")
    except ValueError:
        return {"True": "yes", "False": "no"}.get(text or "", text or "")
    return round(value, 4) if math.isfinite(value) else ""


def as_json(data: Mapping[str, Any]) -> bytes:
    """Data as JSON bytes without numbers that JSON does not have."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).encode()
