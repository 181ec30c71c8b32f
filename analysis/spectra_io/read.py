"""One way to read any measured spectrum: format, conditions, corrections, noise, and what is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np
from pydantic import ValidationError

from ...structures.errors import nearest
from ..constants import field_of_reference, isotopes, reference_of_field
from ..constants import isotope as nucleus_of
from ..vocabulary import Experiment, Spectrum, check_experiment
from .bruker import Part, is_bruker, read_bruker
from .correction import Correction, apply_correction
from .csdm import is_csdm, read_csdm
from .errors import (
    BadSpectrumError,
    ConflictingConditionsError,
    MeasurementError,
    MissingConditionError,
    MissingFieldError,
    MissingFileError,
    NoSignalError,
    UnknownFormatError,
    WrongNucleusError,
)
from .jcamp import is_jcamp, read_jcamp
from .noise import NoiseEstimate, measure_noise
from .ssnake import is_ssnake, read_ssnake
from .text import AxisUnit, read_text_spectrum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .fid import FidSettings
    from .raw import RawSpectrum

MIN_POINTS = 8
"""Fewest points of a spectrum."""

FIELD_TOLERANCE = 0.01
"""Fields that differ by less are the same magnet, named more or less exactly (9.4 and 9.395 T)."""

RATE_TOLERANCE = 0.02
"""Spinning rates that differ by less agree."""

PROTON_MHZ_PER_TESLA = 42.577
USUAL_MAGNETS_MHZ = (200, 250, 300, 360, 400, 500, 600, 700, 750, 800, 850, 900, 950, 1000, 1100, 1200)
"""Magnets as their 1H frequency names them."""

SIGNAL_OVER_NOISE = 5.5
"""A spectrum has a signal if a point, or the mean of a stretch, stands out by this many standard errors."""

NEGATIVE_OVER_NOISE = 6.0
"""Intensity below minus this many noise levels is told of."""


@dataclass(frozen=True)
class Readout:
    """A spectrum with everything that was done on the way to it.

    ``raw`` is the file's content, ``baseline`` (n,) what was taken away, if anything.
    """

    spectrum: Spectrum
    raw: RawSpectrum
    noise: NoiseEstimate
    baseline: NDArray[np.float64] | None
    fitted: NDArray[np.bool_] | None


def load_raw(
    path: Path | str,
    *,
    part: Part | None = None,
    row: int | None = None,
    processing: FidSettings | None = None,
    axis_unit: AxisUnit | None = None,
    reference_mhz: float | None = None,
) -> RawSpectrum:
    """Read a file in whichever format it is, without asking for conditions.

    Raises
    ------
    MeasurementError
        One of its named kinds, with the file and what to do.
    """
    where = Path(path)
    if not where.exists():
        raise MissingFileError(f"cannot read the measurement {where}: it does not exist; check the path")
    if is_bruker(where):
        return read_bruker(where, part=part, row=row, processing=processing)
    if where.is_dir():
        raise MissingFileError(
            f"cannot read the measurement {where}: a folder without Bruker data (acqus, fid, pdata); name the file"
        )
    if is_csdm(where):
        return read_csdm(where, row=row, reference_mhz=reference_mhz)
    if is_jcamp(where):
        return read_jcamp(where, reference_mhz=reference_mhz)
    if is_ssnake(where):
        return read_ssnake(where, row=row, reference_mhz=reference_mhz)
    if where.suffix.lower() == ".magres" or where.name.startswith("OUTCAR"):
        raise UnknownFormatError(
            f"{where} holds computed tensors, not a spectrum; on the command line give it with --library, in a study "
            "the tensors are computed"
        )
    if where.suffix.lower() in {".json", ".zip", ".mat", ".jdf", ".hdf5", ".h5"}:
        raise UnknownFormatError(
            f"{where}: this format is not read; known: Bruker folders, JCAMP-DX, CSDM, ssNake JSON, two-column text"
        )
    return read_text_spectrum(where, axis_unit=axis_unit, reference_mhz=reference_mhz)


class ReadOptions(TypedDict, total=False):
    """The further arguments of ``read_with_details``, which ``read_spectrum`` passes on."""

    mas_rate_hz: float | None
    experiment: Experiment | str | None
    noise: float | None
    name: str
    source: str
    part: Part | None
    row: int | None
    processing: FidSettings | None
    correction: Correction | None
    axis_unit: AxisUnit | None
    reference_mhz: float | None


def read_spectrum(
    path: Path | str, isotope: str | None = None, field_tesla: float | None = None, **options: Unpack[ReadOptions]
) -> Spectrum:
    """Read a spectrum; arguments and errors are those of ``read_with_details``, which also says what was done."""
    return read_with_details(path, isotope, field_tesla, **options).spectrum


def read_with_details(
    path: Path | str,
    isotope: str | None = None,
    field_tesla: float | None = None,
    *,
    mas_rate_hz: float | None = None,
    experiment: Experiment | str | None = None,
    noise: float | None = None,
    name: str = "",
    source: str = "",
    part: Part | None = None,
    row: int | None = None,
    processing: FidSettings | None = None,
    correction: Correction | None = None,
    axis_unit: AxisUnit | None = None,
    reference_mhz: float | None = None,
) -> Readout:
    """Read a spectrum from Bruker data, JCAMP-DX, CSDM, ssNake JSON or text, and say what was done.

    Parameters
    ----------
    path
        File or Bruker folder.
    isotope, field_tesla, mas_rate_hz, experiment
        What was measured: nucleus, field in tesla, spinning rate in Hz (0 for a static sample), kind of experiment.
        Only what the file does not state is needed. A given nucleus or field must agree with the file; a given
        spinning rate or experiment stands against it, with a note, since a spectrometer does not measure them.
    noise
        Standard deviation of one point; by default from the regions without signal.
    part, row, processing
        Of Bruker data: processed spectrum or fid, row of a ser file, how a fid is transformed.
    correction
        Phase and baseline; by default both stay as they are.
    axis_unit, reference_mhz
        Of text, JCAMP-DX and CSDM: unit of the axis, and frequency of 0 ppm in MHz where the file lacks it.

    Raises
    ------
    MeasurementError
        One of its named kinds, with the file, the argument and what to do.
    UnknownNucleusError
        If the isotope is not in the table of nuclear constants.
    """
    where = Path(path)
    raw = load_raw(where, part=part, row=row, processing=processing, axis_unit=axis_unit, reference_mhz=reference_mhz)
    if len(raw.axis_ppm) < MIN_POINTS:
        raise BadSpectrumError(f"{where}: {len(raw.axis_ppm)} points; a spectrum needs at least {MIN_POINTS}")
    if isotope is not None:
        nucleus_of(isotope)
    _require_conditions(raw, isotope, field_tesla, mas_rate_hz, str(where))
    nucleus = _settled_isotope(raw, isotope, str(where))
    field = _settled_field(raw, nucleus, field_tesla, str(where))
    rate, kind, notes = _settled_rate_and_experiment(raw, mas_rate_hz, experiment, str(where))
    try:
        check_experiment(nucleus, kind)
    except ValueError as error:
        raise MeasurementError(f"{where}: {error}") from error
    corrected = apply_correction(raw, correction or Correction(), str(where))
    intensity = corrected.raw.intensity
    if not np.ptp(intensity) > 0:
        raise BadSpectrumError(f"{where}: all intensities are equal; the file holds no spectrum")
    found = measure_noise(intensity)
    level = found.level if noise is None else noise
    if not level > 0 or not math.isfinite(level):
        raise BadSpectrumError(f"{where}: the noise comes out as {level:g}; give the noise of one point yourself")
    _require_signal(intensity, level, found, str(where))
    if raw.isotope is None and raw.field_tesla is None and field_tesla is None:
        notes += _unusual_field(raw, nucleus, field)
    notes = [*corrected.raw.notes, *notes, *_remarks(intensity, level, found, experiment=kind, estimated=noise is None)]
    title = raw.title.strip().splitlines()[0].strip() if raw.title.strip() else ""
    try:
        spectrum = Spectrum(
            name=name or title or where.stem,
            isotope=nucleus,
            field_tesla=field,
            mas_rate_hz=rate,
            experiment=kind,
            axis_ppm=tuple(corrected.raw.axis_ppm.tolist()),
            intensity=tuple(intensity.tolist()),
            noise=level,
            noise_correlation_points=found.correlation_points,
            source=source or where.name,
            notes=tuple(notes),
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise MeasurementError(f"{where}: {place}: {first['msg'].removeprefix('Value error, ')}") from error
    return Readout(spectrum, raw, found, corrected.baseline, corrected.fitted)


def _settled_rate_and_experiment(
    raw: RawSpectrum, mas_rate_hz: float | None, experiment: Experiment | str | None, where: str
) -> tuple[float, Experiment, list[str]]:
    """Spinning rate and experiment, as given or as the file says, with notes where the two differ."""
    notes: list[str] = []
    rate = raw.mas_rate_hz if mas_rate_hz is None else mas_rate_hz
    assert rate is not None  # _require_conditions has seen to it
    if raw.mas_rate_hz is not None and abs(rate - raw.mas_rate_hz) > RATE_TOLERANCE * max(rate, raw.mas_rate_hz):
        notes.append(f"spinning rate {rate:g} Hz as given; the file says {raw.mas_rate_hz:g} Hz")
    try:
        kind = Experiment(experiment) if experiment is not None else raw.experiment or Experiment.ONE_PULSE
    except ValueError as error:
        raise MeasurementError(
            f"{where}: unknown experiment {str(experiment)!r}; {nearest(str(experiment), list(Experiment))}"
        ) from error
    if experiment is None and raw.experiment is None:
        notes.append("the experiment is not stated, one-pulse is taken")
    elif raw.experiment is not None and kind is not raw.experiment:
        notes.append(f"experiment {kind.value} as given; the file's pulse program suggests {raw.experiment.value}")
    return rate, kind, notes


def _require_conditions(
    raw: RawSpectrum, isotope: str | None, field_tesla: float | None, mas_rate_hz: float | None, where: str
) -> None:
    """Refuse a file that leaves conditions open, and name all of them at once."""
    missing: dict[str, tuple[str, str, str]] = {}
    if isotope is None and raw.isotope is None:
        likely = _likely_isotope(raw, field_tesla)
        advice = f"'{likely}', which resonates at {raw.reference_mhz:.2f} MHz in this field" if likely else "'27Al'"
        missing["isotope"] = ("the nucleus", f"isotope, for example {advice}", likely or "27Al")
    if field_tesla is None and raw.field_tesla is None and raw.reference_mhz is None:
        advice = "field_tesla, the magnetic field in tesla (9.4 for a 400 MHz magnet)"
        missing["field_tesla"] = ("the field", advice, "9.4")
    if mas_rate_hz is None and raw.mas_rate_hz is None:
        missing["mas_rate_hz"] = ("the spinning rate", "mas_rate_hz in Hz, 0 for a static sample", "12500")
    if not missing:
        return
    kind = MissingFieldError if next(iter(missing)) == "field_tesla" else MissingConditionError
    things = [thing for thing, _, _ in missing.values()]
    listed = " and ".join(filter(None, [", ".join(things[:-1]), things[-1]]))
    raise kind(
        f"{where}: {listed} {'is' if len(things) == 1 else 'are'} not in the file; give "
        + "; ".join(advice for _, advice, _ in missing.values()),
        missing={key: example for key, (_, _, example) in missing.items()},
    )


def _unusual_field(raw: RawSpectrum, isotope: str, field_tesla: float) -> list[str]:
    """A note where the field that follows from frequency and nucleus is that of no usual magnet."""

    def is_usual(field: float) -> bool:
        return any(abs(PROTON_MHZ_PER_TESLA * field / magnet - 1.0) < FIELD_TOLERANCE for magnet in USUAL_MAGNETS_MHZ)

    if raw.reference_mhz is None or is_usual(field_tesla):
        return []
    fields = {name: field_of_reference(nucleus, raw.reference_mhz) for name, nucleus in isotopes().items()}
    others = [f"{name} ({field:.1f} T)" for name, field in fields.items() if is_usual(field)]
    return [
        f"{field_tesla:.2f} T follows from the file's {raw.reference_mhz:.2f} MHz and the nucleus {isotope}, and is no "
        f"usual magnet; is the nucleus right? Usual for this frequency: {', '.join(others) or 'none'}"
    ]


def _settled_isotope(raw: RawSpectrum, isotope: str | None, where: str) -> str:
    if isotope is not None and raw.isotope is not None and isotope != raw.isotope:
        raise WrongNucleusError(
            f"{where}: {isotope} was asked for, the file says {raw.isotope}; give isotope='{raw.isotope}' or another "
            "file"
        )
    return isotope or str(raw.isotope)


def _likely_isotope(raw: RawSpectrum, field_tesla: float | None) -> str | None:
    """The nucleus whose reference lies at the file's frequency in a field."""
    field = field_tesla or raw.field_tesla
    if field is None or raw.reference_mhz is None:
        return None
    off = {name: abs(reference_of_field(n, field) / raw.reference_mhz - 1.0) for name, n in isotopes().items()}
    best = min(off, key=lambda name: off[name])
    return best if off[best] < FIELD_TOLERANCE else None


def _settled_field(raw: RawSpectrum, isotope: str, field_tesla: float | None, where: str) -> float:
    stated = raw.field_tesla
    if stated is None and raw.reference_mhz is not None:
        stated = field_of_reference(nucleus_of(isotope), raw.reference_mhz)
    if (field_tesla is None and stated is None) or (field_tesla is not None and not 0 < field_tesla < math.inf):
        raise MissingFieldError(
            f"{where}: field_tesla is {field_tesla}; give the magnetic field in tesla (9.4 for a 400 MHz magnet)"
        )
    if field_tesla is None or stated is None:
        return float(stated if field_tesla is None else field_tesla)  # type: ignore[arg-type]
    if abs(field_tesla / stated - 1.0) > FIELD_TOLERANCE:
        likely = None if raw.isotope else _likely_isotope(raw, field_tesla)
        if likely and likely != isotope:
            raise WrongNucleusError(
                f"{where}: in {field_tesla:g} T the file's frequency of {raw.reference_mhz:.2f} MHz is that of "
                f"{likely}, not of {isotope}; give isotope='{likely}' or another file"
            )
        raise ConflictingConditionsError(
            f"{where}: field_tesla={field_tesla:g} was given, the file says {stated:.3f} T; leave field_tesla out or "
            "correct it"
        )
    return stated


def _require_signal(intensity: NDArray[np.float64], level: float, found: NoiseEstimate, where: str) -> None:
    """Refuse a spectrum in which neither a point nor the mean of a stretch stands out."""
    centred = intensity - np.median(intensity[found.quiet] if found.quiet.any() else intensity)
    best = 0.0
    total = np.concatenate([[0.0], np.cumsum(centred)])
    width = 1
    while width <= max(1, len(centred) // 8):
        means = (total[width:] - total[:-width]) / width
        error = level * math.sqrt(min(1.0, found.correlation_points / width))
        best = max(best, float(np.abs(means).max()) / error)
        width *= 2
    if best < SIGNAL_OVER_NOISE:
        raise NoSignalError(
            f"{where}: no signal: nothing stands out by more than {best:.1f} of the noise of {level:.3g} (at least "
            f"{SIGNAL_OVER_NOISE:g} is needed); measure longer, or give noise if this estimate is wrong"
        )


def _remarks(
    intensity: NDArray[np.float64], level: float, found: NoiseEstimate, *, experiment: Experiment, estimated: bool
) -> list[str]:
    remarks = []
    lowest, tallest = float(intensity.min()), float(np.abs(intensity).max())
    if lowest < -NEGATIVE_OVER_NOISE * level and lowest < -0.02 * tallest:
        remarks.append(
            f"negative intensity down to {100 * -lowest / tallest:.0f} % of the tallest point: "
            + (
                "a TRAPDOR difference can have it"
                if experiment is Experiment.TRAPDOR
                else "phase or baseline may need a correction, unless this is a difference spectrum"
            )
        )
    if estimated and found.is_upper_bound:
        remarks.append("hardly any region is free of signal, so the noise is an upper bound; give noise if it is known")
    if found.correlation_points > 1.3:
        remarks.append(
            f"{found.correlation_points:.1f} neighbouring points share their noise (zero filling or apodisation)"
        )
    return remarks
