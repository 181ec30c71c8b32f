"""Averages over motion: how long until snapshots are independent, averaged tensors with standard errors, and flags.

A nucleus that sees its surroundings change faster than its interactions are large (CQ of 1 MHz: faster than about
1e7 per second) has the tensors' average, not the average of CQ and eta: tensors are averaged in one frame first, then
diagonalised.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from ..structures.errors import SurfshiftError
from ..structures.vocabulary import Frozen, Tensor3, as_tensor3
from .constants import BARN_AU_TO_MHZ
from .tensors import herzfeld_berger, quadrupole, symmetric_part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from .constants import Isotope

    Array = NDArray[np.float64]

WINDOW = 5.0
"""Correlations are summed up to this many correlation times (Sokal, in Functional Integration, Plenum 1997)."""

LEAST_SAMPLES = 3


class MotionError(SurfshiftError):
    """Base of every refusal of an average over motion."""


class TooFewSamplesError(MotionError):
    """So few independent samples that a standard error would mean nothing."""


def autocorrelation(series: ArrayLike) -> Array:
    """Normalised autocorrelation of a series (n,), or of the vectors of a series (n, d): shape (n,), one at lag zero.

    Of vectors it is that of the sum of their components' products. A constant series has zero beyond lag zero.
    """
    values = np.asarray(series, dtype=float)
    values = values.reshape(len(values), -1)
    n = len(values)
    centred = values - values.mean(axis=0)
    spectrum = np.fft.rfft(centred, 2 * n, axis=0)
    sums = np.fft.irfft((spectrum * spectrum.conj()).sum(axis=1).real, 2 * n)[:n]
    result: Array = np.zeros(n)
    result[0] = 1.0
    scale = np.abs(values).max() if n else 0.0
    if sums[0] > (1e-12 * scale) ** 2 * n:
        result = sums / sums[0]
    return result


def decorrelation_frames(series: ArrayLike) -> float:
    """Frames between independent samples, at least 1: twice the integrated time of |C(t)|.

    The magnitude of C counts, so that an oscillation, whose positive and negative correlations would cancel, is not
    sampled in step with itself.
    """
    correlation = np.abs(autocorrelation(series))
    total = 0.5
    for lag in range(1, len(correlation)):
        total += float(correlation[lag])
        if lag >= WINDOW * total:
            break
    return max(1.0, 2.0 * total)


def inefficiency(series: ArrayLike, indices: Sequence[int]) -> float:
    """By how much the variance of a mean over some frames exceeds that of independent ones; at least 1.

    1 + (2/n) sum over pairs of C(lag), with C of the whole series.
    """
    lags = np.abs(np.subtract.outer(np.asarray(indices), np.asarray(indices)))
    correlation = autocorrelation(series)
    reach = min(len(correlation) - 1, math.ceil(WINDOW * decorrelation_frames(series)))
    correlation[reach + 1 :] = 0.0  # noise beyond the reach of the motion
    return max(1.0, float(correlation[lags].sum()) / len(indices))


def equilibrated_frame(series: ArrayLike) -> int:
    """First frame of the part of a series that holds the most independent samples.

    Chodera, J. Chem. Theory Comput. 12, 1799 (2016); starts up to the middle are tried.
    """
    values = np.asarray(series, dtype=float)
    starts = sorted({round(share * len(values)) for share in np.linspace(0.0, 0.5, 26)})
    counts = [(len(values) - start) / decorrelation_frames(values[start:]) for start in starts if start < len(values)]
    return int(starts[int(np.argmax(counts))]) if counts else 0


class TensorAverage(Frozen):
    """Tensors averaged over snapshots, the numbers that follow from the averages, and their standard errors.

    Attributes
    ----------
    n_samples, inefficiency
        Snapshots, and by how much correlation among them widens the variance.
    shielding_ppm, efg_au
        Average tensors in the crystal's frame, ppm and atomic units.
    sigma_iso_ppm, sigma_iso_error_ppm, sigma_iso_spread_ppm
        Isotropic shielding, its standard error, and the standard deviation among snapshots.
    span_ppm, span_error_ppm
        Width of the average shielding tensor.
    cq_mhz, cq_error_mhz, eta, eta_error
        |CQ| and eta of the average field gradient; zero for a nucleus without quadrupole moment. The error is at least
        the noise where |CQ| is not well above it.
    cq_rigid_mhz
        Mean of the |CQ| of each snapshot, what would be seen if each stayed as it is.
    cq_noise_mhz
        |CQ| that the statistical noise of the averaged tensor alone would give.
    """

    n_samples: int = Field(ge=LEAST_SAMPLES)
    inefficiency: float = Field(ge=1)
    shielding_ppm: Tensor3
    efg_au: Tensor3
    sigma_iso_ppm: float
    sigma_iso_error_ppm: float
    sigma_iso_spread_ppm: float
    span_ppm: float
    span_error_ppm: float
    cq_mhz: float = 0.0
    cq_error_mhz: float = 0.0
    eta: float = 0.0
    eta_error: float = 0.0
    cq_rigid_mhz: float = 0.0
    cq_noise_mhz: float = 0.0

    @property
    def order_parameter(self) -> float:
        """|CQ| of the average over the mean |CQ|: 1 for a rigid site, 0 where motion averages it out; 1 without CQ."""
        return self.cq_mhz / self.cq_rigid_mhz if self.cq_rigid_mhz > 0 else 1.0


def average_tensors(
    shielding_ppm: ArrayLike, efg_au: ArrayLike, nucleus: Isotope, *, inefficiency: float = 1.0
) -> TensorAverage:
    """Fast-exchange average of tensors, all given in one frame; standard errors by the jackknife.

    Parameters
    ----------
    shielding_ppm, efg_au
        Shape (n, 3, 3), one per snapshot.
    inefficiency
        Factor on variances for correlated snapshots, see ``inefficiency``.

    Raises
    ------
    TooFewSamplesError
        If fewer than three independent snapshots are given.
    MotionError
        If shapes do not fit or numbers are not finite.
    """
    shielding, efg = np.asarray(shielding_ppm, dtype=float), np.asarray(efg_au, dtype=float)
    if shielding.shape != efg.shape or shielding.ndim != 3 or shielding.shape[1:] != (3, 3):
        raise MotionError(f"one shielding and one EFG tensor per snapshot are needed: {shielding.shape}, {efg.shape}")
    if not (np.isfinite(shielding).all() and np.isfinite(efg).all()):
        raise MotionError("a tensor of a snapshot has entries that are not finite; leave the snapshot's file out")
    n = len(shielding)
    if n / inefficiency < LEAST_SAMPLES:
        raise TooFewSamplesError(
            f"{n} snapshots with the weight of {n / inefficiency:.1f} independent ones give no standard error; "
            f"take at least {LEAST_SAMPLES} independent ones, further apart or more of them"
        )
    has_quadrupole = nucleus.quadrupole_barn != 0.0
    widen = math.sqrt(inefficiency)

    def cq(tensor: Array) -> float:
        return abs(quadrupole(tensor, nucleus).cq_mhz) if has_quadrupole else 0.0

    def error(values: Array, of: Callable[[Array], float]) -> float:
        left_out = (values.sum(axis=0) - values) / (n - 1)
        found = np.array([of(mean) for mean in left_out])
        return widen * float(np.sqrt((n - 1) / n * ((found - found.mean()) ** 2).sum()))

    isotropic = np.trace(shielding, axis1=1, axis2=2) / 3.0
    mean_efg = efg.mean(axis=0)
    component_errors = widen * efg.std(axis=0, ddof=1) / math.sqrt(n)
    noise = math.sqrt(2.0 / 3.0 * float((component_errors**2).sum()))  # |Vzz| is at most sqrt(2/3) of the norm
    cq_noise = abs(BARN_AU_TO_MHZ * nucleus.quadrupole_barn) * noise
    cq_error = error(efg, cq)
    if cq(mean_efg) < 2.0 * cq_noise:
        # near zero |CQ| is no smooth function, which the jackknife needs
        cq_error = max(cq_error, cq_noise)
    mean_shielding = shielding.mean(axis=0)
    return TensorAverage(
        n_samples=n,
        inefficiency=inefficiency,
        shielding_ppm=as_tensor3(mean_shielding),
        efg_au=as_tensor3(mean_efg),
        sigma_iso_ppm=float(isotropic.mean()),
        sigma_iso_error_ppm=widen * float(isotropic.std(ddof=1)) / math.sqrt(n),
        sigma_iso_spread_ppm=float(isotropic.std(ddof=1)),
        span_ppm=herzfeld_berger(mean_shielding).span_ppm,
        span_error_ppm=error(shielding, lambda tensor: herzfeld_berger(tensor).span_ppm),
        cq_mhz=cq(mean_efg),
        cq_error_mhz=cq_error,
        eta=quadrupole(mean_efg, nucleus).eta if has_quadrupole else 0.0,
        eta_error=error(efg, lambda tensor: quadrupole(tensor, nucleus).eta) if has_quadrupole else 0.0,
        cq_rigid_mhz=float(np.mean([cq(tensor) for tensor in efg])),
        cq_noise_mhz=cq_noise,
    )


def hopped(
    positions_ang: ArrayLike, masses: ArrayLike, *, frames_averaged: int, hop_ang: float = 1.5
) -> tuple[int, ...]:
    """Atoms that left their place for another one.

    Parameters
    ----------
    positions_ang
        Unwrapped positions, shape (n_frames, n_atoms, 3), angstrom.
    masses
        Shape (n_atoms,); the centre of mass is held.
    frames_averaged
        Frames of the running mean that removes vibrations.
    hop_ang
        How far a mean place moves at least.
    """
    positions, weights = np.asarray(positions_ang, dtype=float), np.asarray(masses, dtype=float)
    centre = np.einsum("fax,a->fx", positions, weights) / weights.sum()
    relative = positions - centre[:, None, :]
    width = max(1, min(frames_averaged, len(relative)))
    sums = np.concatenate([np.zeros((1, *relative.shape[1:])), np.cumsum(relative, axis=0)])
    means = (sums[width:] - sums[:-width]) / width
    farthest = np.linalg.norm(means - means[0], axis=2).max(axis=0)
    return tuple(int(k) for k in np.flatnonzero(farthest > hop_ang))


def motion_flags(
    average: TensorAverage,
    static_shielding_ppm: ArrayLike,
    static_efg_au: ArrayLike,
    nucleus: Isotope,
    *,
    hops: dict[str, tuple[int, int]] | None = None,
    least_order: float = 0.8,
    cq_tolerance: float = 0.1,
    sigma_tolerance_ppm: float = 2.0,
) -> tuple[str, ...]:
    """Why the tensors of the resting structure are not to be trusted; empty where they are.

    Parameters
    ----------
    hops
        Number of atoms that hopped and number of atoms, by element.
    least_order
        Order parameter below which motion matters.
    cq_tolerance, sigma_tolerance_ppm
        Relative change of CQ, and change of the isotropic shielding, that count if they also exceed three standard
        errors.
    """
    reasons = [
        f"{count} of {total} {element} hopped" for element, (count, total) in sorted((hops or {}).items()) if count
    ]
    if average.order_parameter < least_order:
        reasons.append(
            f"motion averages the field gradient: |CQ| of the average is {average.cq_mhz:.2f} MHz, that of single "
            f"snapshots {average.cq_rigid_mhz:.2f} MHz"
        )
    if average.cq_rigid_mhz > 0 and average.cq_mhz < 2.0 * average.cq_noise_mhz:
        reasons.append(
            f"|CQ| of the average, {average.cq_mhz:.2f} MHz, is not above its noise of {average.cq_noise_mhz:.2f} MHz"
        )
    if nucleus.quadrupole_barn != 0.0:
        static = abs(quadrupole(symmetric_part(np.asarray(static_efg_au, dtype=float)), nucleus).cq_mhz)
        change = average.cq_mhz - static
        if abs(change) > max(3.0 * average.cq_error_mhz, cq_tolerance * static):
            reasons.append(
                f"|CQ| changes by {change:+.2f} ± {average.cq_error_mhz:.2f} MHz from {static:.2f} MHz at rest"
            )
    sigma = float(np.trace(np.asarray(static_shielding_ppm, dtype=float)) / 3.0)
    change = average.sigma_iso_ppm - sigma
    if abs(change) > max(3.0 * average.sigma_iso_error_ppm, sigma_tolerance_ppm):
        reasons.append(
            f"the isotropic shielding changes by {change:+.1f} ± {average.sigma_iso_error_ppm:.1f} ppm from rest"
        )
    return tuple(reasons)
