"""Lines of disordered sites: distributions of the quadrupolar coupling, averaged over the kernel table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .lines import LineShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

TYPICAL_ETA = 0.61
"""Mean eta of a Czjzek distribution, for any sigma."""

_CQ_NODES, _ETA_NODES = 40, 20
_DRAWS = 4096


def czjzek_density(cq_mhz: ArrayLike, eta: ArrayLike, sigma_mhz: float) -> NDArray[np.float64]:
    """Density of the Czjzek distribution over |CQ| in MHz and eta, not normalised.

    CQ^4 eta (1 - eta^2/9) exp(-CQ^2 (1 + eta^2/3) / (8 sigma^2)): five normal components of the tensor, of standard
    deviation sigma each (Czjzek et al., Phys. Rev. B 23 (1981) 2513; normalisation of sigma as in mrsimulator).
    """
    cq, asymmetry = np.asarray(cq_mhz, dtype=float), np.asarray(eta, dtype=float)
    spread = np.exp(-(cq**2) * (1.0 + asymmetry**2 / 3.0) / (8.0 * sigma_mhz**2))
    return np.asarray(cq**4 * asymmetry * (1.0 - asymmetry**2 / 9.0) * spread)


def czjzek_nodes(sigma_mhz: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """CQ (k,), eta (k,) and weights (k,) of sum 1 that stand for a Czjzek distribution."""
    if not sigma_mhz > 0 or not math.isfinite(sigma_mhz):
        raise LineShapeError(f"a Czjzek distribution needs a sigma above 0 MHz, got {sigma_mhz}")
    cq_nodes, cq_weights = np.polynomial.legendre.leggauss(_CQ_NODES)
    eta_nodes, eta_weights = np.polynomial.legendre.leggauss(_ETA_NODES)
    cq = 6.0 * sigma_mhz * (cq_nodes + 1.0)
    cq_grid, eta_grid = np.meshgrid(cq, 0.5 * (eta_nodes + 1.0), indexing="ij")
    weights = np.outer(cq_weights, eta_weights) * czjzek_density(cq_grid, eta_grid, sigma_mhz)
    kept = weights.ravel() > 1e-6 * weights.max()
    chosen = weights.ravel()[kept]
    return cq_grid.ravel()[kept], eta_grid.ravel()[kept], chosen / chosen.sum()


def typical_coupling(sigma_mhz: float) -> float:
    """CQ in MHz that stands for a Czjzek distribution: with eta = ``TYPICAL_ETA`` it has the mean second-order shift.

    CQ^2 (1 + eta^2 / 3) is 4 sigma^2 times a chi-square of five degrees of freedom, whose mean is 20 sigma^2.
    """
    return sigma_mhz * math.sqrt(20.0 / (1.0 + TYPICAL_ETA**2 / 3.0))


def sigma_of(couplings_mhz: ArrayLike, etas: ArrayLike, weights: ArrayLike) -> float:
    """Sigma in MHz of the Czjzek distribution with the mean squared coupling of an ensemble (n,), n weights."""
    cq, eta, weight = (np.asarray(values, dtype=float) for values in (couplings_mhz, etas, weights))
    return math.sqrt(float(weight @ (cq**2 * (1.0 + eta**2 / 3.0))) / float(weight.sum()) / 20.0)


def extended_czjzek_nodes(
    cq_mhz: float, eta: float, sigma_mhz: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """CQ, eta and equal weights of a fixed tensor with Czjzek noise on its components (Le Caer et al., J. Phys.:
    Condens. Matter 22 (2010) 065402), from a fixed low-discrepancy sequence of 4096 draws.
    """
    if not sigma_mhz > 0 or not 0 <= eta <= 1:
        raise LineShapeError(f"a sigma above 0 MHz and an eta from 0 to 1 are needed, got {sigma_mhz} and {eta}")
    from scipy.stats import norm, qmc

    normal = norm.ppf(qmc.Sobol(5, seed=0).random(_DRAWS)) * sigma_mhz
    a, b, c, d, e = normal.T
    tensor = np.zeros((_DRAWS, 3, 3))
    # five components of equal variance in an orthonormal basis, scaled so that Vzz of a pure term is twice its value
    root = math.sqrt(3.0)
    tensor[:, 0, 0], tensor[:, 1, 1], tensor[:, 2, 2] = -a + root * e, -a - root * e, 2.0 * a
    tensor[:, 0, 1] = tensor[:, 1, 0] = root * d
    tensor[:, 0, 2] = tensor[:, 2, 0] = root * b
    tensor[:, 1, 2] = tensor[:, 2, 1] = root * c
    tensor += np.diag([-0.5 * cq_mhz * (1.0 - eta), -0.5 * cq_mhz * (1.0 + eta), cq_mhz])
    values = np.linalg.eigvalsh(tensor)
    order = np.argsort(np.abs(values), axis=1)
    xx, yy, zz = (np.take_along_axis(values, order[:, k : k + 1], axis=1)[:, 0] for k in range(3))
    return np.abs(zz), np.clip((xx - yy) / zz, 0.0, 1.0), np.full(_DRAWS, 1.0 / _DRAWS)


def distributed_line(
    nodes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    isotope: str,
    axis_ppm: ArrayLike,
    *,
    delta_iso_ppm: float,
    field_tesla: float,
    mas_rate_hz: float,
    gaussian_ppm: float,
) -> NDArray[np.float64]:
    """Central-transition line of a distribution of couplings on a uniform ascending axis, density per ppm (m,)."""
    from .kernels import SiteKernels, SiteShape, Synthesis, broadening_transform

    axis = np.asarray(axis_ppm, dtype=float)
    synthesis = Synthesis(float(axis[0]), float(axis[1] - axis[0]), len(axis))
    f = synthesis.frequencies
    total = np.zeros(len(f), dtype=complex)
    cq, eta, weights = nodes
    for start in range(0, len(cq), 256):
        part = slice(start, start + 256)
        shapes = [
            SiteShape(delta_iso_ppm, cq_mhz=float(c), eta_q=float(e)) for c, e in zip(cq[part], eta[part], strict=True)
        ]
        made = SiteKernels(shapes, isotope, field_tesla, mas_rate_hz, frequencies=f, window_ppm=synthesis.window_ppm)
        total += weights[part] @ made.evaluate(cq[part])[0]
    damp = broadening_transform(f, gaussian_ppm, 0.0) * synthesis.shift_phase(delta_iso_ppm)
    return np.asarray(synthesis.to_axis(total * damp))
