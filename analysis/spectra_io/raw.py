"""What a format module hands over: an axis, intensities, and what the file says of the measurement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..constants import isotopes
from ..vocabulary import Experiment
from .errors import BadSpectrumError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Pulse programs are named freely; these parts of a name are common enough to trust, in this order.
PULSE_PROGRAMS = (
    ("trapdor", Experiment.TRAPDOR),
    ("echo", Experiment.ECHO),
    ("cpmg", Experiment.ECHO),
    ("cp", Experiment.CP),
    ("zg", Experiment.ONE_PULSE),
    ("onepul", Experiment.ONE_PULSE),
    ("one_pul", Experiment.ONE_PULSE),
    ("single", Experiment.ONE_PULSE),
)


@dataclass(frozen=True)
class RawSpectrum:
    """A spectrum as its file holds it.

    Attributes
    ----------
    axis_ppm
        Shape (n,), strictly ascending.
    values
        Shape (n,), complex128; the imaginary part counts only where ``has_imaginary``.
    has_imaginary
        Whether the file holds both parts, so that the phase can be changed.
    file_format
        Which format module read it.
    isotope, field_tesla, mas_rate_hz, experiment
        What the file states; None where it says nothing.
    reference_mhz
        Frequency of 0 ppm, MHz, where the file gives it.
    title
        The file's own title.
    notes
        What a reader must know of how the file was read.
    """

    axis_ppm: NDArray[np.float64]
    values: NDArray[np.complex128]
    has_imaginary: bool
    file_format: str
    isotope: str | None = None
    field_tesla: float | None = None
    mas_rate_hz: float | None = None
    experiment: Experiment | None = None
    reference_mhz: float | None = None
    title: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def intensity(self) -> NDArray[np.float64]:
        """Real part, shape (n,)."""
        return np.ascontiguousarray(self.values.real)


def ascending(
    axis_ppm: NDArray[np.float64], values: NDArray[np.complex128] | NDArray[np.float64], where: str
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Axis and values with an ascending axis; a descending one is reversed together with the values.

    Raises
    ------
    BadSpectrumError
        If lengths differ, a number is not finite, or the axis turns back or repeats.
    """
    axis = np.asarray(axis_ppm, dtype=float)
    made = np.asarray(values, dtype=complex)
    if axis.shape != made.shape or axis.ndim != 1:
        raise BadSpectrumError(f"{where}: {axis.size} axis points and {made.size} intensities; equally many are needed")
    bad = ~(np.isfinite(axis) & np.isfinite(made))
    if bad.any():
        raise BadSpectrumError(
            f"{where}: {int(bad.sum())} of {len(axis)} points are not finite numbers, the first is point "
            f"{int(np.flatnonzero(bad)[0]) + 1}; export the spectrum again or cut these points out"
        )
    step = np.diff(axis)
    if len(step) and (step < 0).all():
        return axis[::-1].copy(), made[::-1].copy()
    if not (step > 0).all():
        turn = int(np.flatnonzero(np.sign(step) != np.sign(step[0] or 1.0))[0]) + 1
        raise BadSpectrumError(
            f"{where}: the ppm axis turns back or repeats at data point {turn + 1} ({axis[turn]:g} ppm); "
            "export one spectrum with an axis that only rises or only falls"
        )
    return axis, made


def isotope_of(text: object) -> str | None:
    """Name of an isotope as files write it (``27Al``, ``^27Al``, ``<27Al>``, ``Al27``); None if it is not known."""
    word = str(text).strip().strip("<>^ \"'")
    table = isotopes()
    if word in table:
        return word
    letters = "".join(c for c in word if c.isalpha())
    digits = "".join(c for c in word if c.isdigit())
    turned = f"{digits}{letters.capitalize()}"
    return turned if turned in table and len(letters) + len(digits) == len(word) else None


def experiment_of(pulse_program: object) -> Experiment | None:
    """Kind of experiment that the name of a pulse program suggests; None if it suggests nothing."""
    name = str(pulse_program).lower().strip("<> ")
    for part, experiment in PULSE_PROGRAMS:
        if part in name:
            return experiment
    return None
