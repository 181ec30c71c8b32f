"""Bruker TopSpin folders: processed spectra (1r, 1i), free induction decays (fid) and rows of a ser file."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..constants import field_of_reference
from ..constants import isotope as nucleus_of
from .errors import BadSpectrumError, TruncatedFileError, UnknownFormatError
from .fid import FidSettings, transform
from .raw import RawSpectrum, ascending, experiment_of, isotope_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Part = Literal["processed", "fid"]
DATA_FILES = {"1r", "1i", "2rr", "fid", "ser"}
WORD_BYTES = {0: 4, 2: 8}


def is_bruker(path: Path) -> bool:
    """Whether a path is a TopSpin experiment, a processed folder of one, or one of their data files."""
    if path.is_file():
        return path.name in DATA_FILES
    return any((path / name).exists() for name in (*DATA_FILES, "acqus", "procs", "pdata"))


def read_bruker(
    path: Path, *, part: Part | None = None, row: int | None = None, processing: FidSettings | None = None
) -> RawSpectrum:
    """Read a spectrum of a TopSpin experiment.

    Parameters
    ----------
    path
        Folder of the experiment or of its processed data, or a data file in one of them.
    part
        ``processed`` or ``fid``; by default the processed spectrum where there is one.
    row
        Row of a ser file, or of a processed two-dimensional spectrum, from 0.
    processing
        How a decay is transformed; by default as the processing parameters say.

    Raises
    ------
    TruncatedFileError, UnknownFormatError, BadSpectrumError
        With the file and what to do.
    """
    experiment, processed = _folders(path)
    wanted = part or ("fid" if path.name in {"fid", "ser"} or processed is None else "processed")
    if wanted == "processed":
        if processed is None:
            raise UnknownFormatError(f"{path}: there is no processed spectrum (pdata/1/1r); ask for part='fid'")
        return _read_processed(experiment, processed, row)
    return _read_fid(experiment, processed, row, processing or FidSettings())


def _folders(path: Path) -> tuple[Path, Path | None]:
    """Folder of the experiment and, if there is one, of its first processed data."""
    folder = path.parent if path.is_file() else path
    if (folder / "procs").exists() or folder.parent.name == "pdata":
        return folder.parent.parent, folder
    made = sorted((folder / "pdata").glob("*/procs"), key=lambda entry: (len(entry.parent.name), entry.parent.name))
    chosen = next(
        (entry.parent for entry in made if any((entry.parent / name).exists() for name in ("1r", "2rr"))), None
    )
    return folder, chosen


def _parameters(file: Path, *, needed: bool) -> dict[str, Any]:
    """A TopSpin parameter file; empty if it is missing and not needed."""
    from nmrglue.fileio import bruker

    if not file.is_file():
        if needed:
            raise TruncatedFileError(
                f"{file.parent}: the parameter file {file.name} is missing; copy the whole experiment folder again"
            )
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read: dict[str, Any] = bruker.read_jcamp(str(file), encoding="latin-1")
    except Exception as error:
        raise TruncatedFileError(f"{file} cannot be read as a TopSpin parameter file: {error}") from error
    return read


def _number(parameters: dict[str, Any], key: str, file: Path) -> float:
    try:
        return float(parameters[key])
    except (KeyError, TypeError, ValueError) as error:
        raise TruncatedFileError(
            f"{file}: the parameter {key} is missing or no number, so there is no axis; copy the file again"
        ) from error


def _binary(file: Path, count: int, parameters: dict[str, Any], kind: str) -> NDArray[np.float64]:
    """The first ``count`` numbers of a data file; ``kind`` is the last letter of BYTORD and DTYP."""
    word = WORD_BYTES.get(int(parameters.get(f"DTYP{kind}", 0)), 4)
    order = ">" if int(parameters.get(f"BYTORD{kind}", 0)) == 1 else "<"
    size = file.stat().st_size
    if size < count * word:
        raise TruncatedFileError(
            f"{file} is cut off: it holds {size // word} numbers where the parameters promise {count}; copy it again"
        )
    return np.fromfile(file, dtype=f"{order}{'i4' if word == 4 else 'f8'}", count=count).astype(float)


def _axis(offset_ppm: float, sweep_hz: float, reference_mhz: float, points: int) -> NDArray[np.float64]:
    return np.asarray(offset_ppm - np.arange(points) * sweep_hz / reference_mhz / points, dtype=float)


def _read_processed(experiment: Path, processed: Path, row: int | None) -> RawSpectrum:
    file = processed / "procs"
    settings = _parameters(file, needed=True)
    points = int(_number(settings, "SI", file))
    reference = _number(settings, "SF", file)
    axis = _axis(_number(settings, "OFFSET", file), _number(settings, "SW_p", file), reference, points)
    scale = 2.0 ** _number(settings, "NC_proc", file)
    notes: list[str] = []
    if (processed / "1r").exists():
        real = _binary(processed / "1r", points, settings, "P")
        imaginary = _binary(processed / "1i", points, settings, "P") if (processed / "1i").exists() else None
    elif (processed / "2rr").exists():
        other = _parameters(processed / "proc2s", needed=True)
        rows = int(_number(other, "SI", processed / "proc2s"))
        chosen = _row(row, rows, processed / "2rr")
        plane = _unblocked(_binary(processed / "2rr", rows * points, settings, "P"), settings, other, (rows, points))
        real, imaginary = plane[chosen], None
        notes.append(f"row {chosen} of {rows} of a two-dimensional spectrum")
    else:
        raise TruncatedFileError(f"{processed}: there are parameters but no data file 1r; copy the folder again")
    values = scale * (real + (0.0 if imaginary is None else 1j * imaginary))
    return _with_conditions(
        axis,
        values,
        experiment,
        has_imaginary=imaginary is not None,
        reference_mhz=reference,
        notes=notes,
        settings=settings,
    )


def _unblocked(
    flat: NDArray[np.float64], direct: dict[str, Any], indirect: dict[str, Any], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """A plane from TopSpin's submatrices of XDIM x XDIM points."""
    rows, points = shape
    high, wide = int(indirect.get("XDIM", 0)) or rows, int(direct.get("XDIM", 0)) or points
    if rows % high or points % wide:
        return flat.reshape(shape)
    return flat.reshape(rows // high, points // wide, high, wide).swapaxes(1, 2).reshape(shape)


def _row(row: int | None, rows: int, file: Path) -> int:
    if row is None and rows == 1:
        return 0
    if row is None:
        raise BadSpectrumError(f"{file} holds {rows} spectra; say which one with row=0 to {rows - 1}")
    if not 0 <= row < rows:
        raise BadSpectrumError(f"{file} holds {rows} spectra, row {row} is none of them; give 0 to {rows - 1}")
    return row


def _read_fid(experiment: Path, processed: Path | None, row: int | None, processing: FidSettings) -> RawSpectrum:
    file = experiment / "acqus"
    acquired = _parameters(file, needed=True)
    settings = _parameters(processed / "procs", needed=False) if processed else {}
    length = int(_number(acquired, "TD", file))
    sweep = _number(acquired, "SW_h", file)
    notes: list[str] = []
    if (experiment / "fid").exists():
        flat = _binary(experiment / "fid", length, acquired, "A")
    elif (experiment / "ser").exists():
        rows = int(_number(_parameters(experiment / "acqu2s", needed=True), "TD", experiment / "acqu2s"))
        chosen = _row(row, rows, experiment / "ser")
        word = WORD_BYTES.get(int(acquired.get("DTYPA", 0)), 4)
        block = -(-length * word // 1024) * 1024 // word  # every row starts on a block of 1024 bytes
        flat = _binary(experiment / "ser", (chosen + 1) * block, acquired, "A")[chosen * block :][:length]
        notes.append(f"row {chosen} of {rows}")
    else:
        raise TruncatedFileError(f"{experiment}: there are parameters but neither fid nor ser; copy the folder again")
    decay = flat[0 : 2 * (length // 2) : 2] + 1j * flat[1::2][: length // 2]
    broadening = processing.line_broadening_hz
    if broadening is None:
        broadening = float(settings.get("LB", 0.0)) if int(settings.get("WDW", 0)) == 1 else 0.0
    zero, first = processing.phase_zero_deg, processing.phase_first_deg
    zero = float(settings.get("PHC0", 0.0)) if zero is None else zero
    first = float(settings.get("PHC1", 0.0)) if first is None else first
    values = transform(
        decay,
        dwell_s=1.0 / sweep,
        line_broadening_hz=broadening,
        points=processing.points or (int(settings["SI"]) if settings.get("SI") else None),
        group_delay_points=_group_delay(acquired),
        phase_zero_deg=zero,
        phase_first_deg=first,
    )
    notes.append(f"transformed: line broadening {broadening:g} Hz, phases {zero:g} and {first:g} degrees")
    reference = float(settings.get("SF", 0.0))
    if reference <= 0:
        reference = _number(acquired, "BF1", file)
        notes.append("the file holds no reference (SF), 0 ppm is the spectrometer's base frequency: check the axis")
    centre_ppm = (_number(acquired, "SFO1", file) / reference - 1.0) * 1e6
    axis = _axis(centre_ppm + 0.5 * sweep / reference, sweep, reference, len(values))
    return _with_conditions(
        axis, values, experiment, has_imaginary=True, reference_mhz=reference, notes=notes, settings=settings
    )


def _group_delay(acquired: dict[str, Any]) -> float:
    """Points by which the digital filter delays the decay; older consoles tabulate it by firmware and decimation."""
    from nmrglue.fileio.bruker import bruker_dsp_table

    delay = float(acquired.get("GRPDLY", -1.0))
    if delay > 0:
        return delay
    decimation, firmware = int(float(acquired.get("DECIM", 1))), int(float(acquired.get("DSPFVS", 0)))
    return float(bruker_dsp_table.get(firmware, {}).get(decimation, 0.0)) if decimation > 1 else 0.0


def _with_conditions(
    axis: NDArray[np.float64],
    values: NDArray[np.complex128],
    experiment: Path,
    *,
    has_imaginary: bool,
    reference_mhz: float,
    notes: list[str],
    settings: dict[str, Any],
) -> RawSpectrum:
    acquired = _parameters(experiment / "acqus", needed=False)
    isotope = isotope_of(acquired.get("NUC1") or settings.get("AXNUC", ""))
    if not acquired:
        notes.append("without acqus the spinning rate and the pulse program are not known")
    rate = float(acquired.get("MASR", 0) or 0)
    title = experiment / "pdata" / "1" / "title"
    axis, values = ascending(axis, values, str(experiment))
    made = RawSpectrum(
        axis_ppm=axis,
        values=values,
        has_imaginary=has_imaginary,
        file_format="Bruker",
        isotope=isotope,
        field_tesla=field_of_reference(nucleus_of(isotope), reference_mhz) if isotope else None,
        mas_rate_hz=rate if rate > 0 else None,
        experiment=experiment_of(acquired.get("PULPROG", "")),
        reference_mhz=reference_mhz,
        title=title.read_text(encoding="utf-8", errors="replace").strip() if title.is_file() else "",
    )
    return replace(made, notes=tuple(notes))
