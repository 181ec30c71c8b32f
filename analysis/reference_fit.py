"""Shielding to shift: fitted per isotope and method, with the covariance that later fits use as a prior.

The line is delta = intercept + slope * sigma. Its residuals come from the published values (known
errors) and from the computed shieldings (one unknown standard deviation, the site error). Two or three
compounds cannot fix both, so slope and site error carry priors that are written down here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..structures.errors import SurfshiftError
from .constants import isotope as nucleus_of
from .vocabulary import Method, Reference, ReferenceCompound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SLOPE_MEAN = -1.0
SLOPE_SD = 0.15
"""Prior of the slope: fitted slopes of GGA shieldings lie between -0.75 (31P, PBE) and -1.1 (27Al)."""

SITE_ERROR_PPM = {"H": 0.5, "Li": 0.4, "O": 6.0, "F": 6.0, "Na": 3.0, "Al": 2.5, "Si": 2.0, "P": 2.0}
"""Prior typical error of one computed shift by element, ppm: about 2 ppm for good structures of 27Al and 31P
(a general 27Al calibration has 4.4 ppm, a careful 31P relation 1.6 ppm, Dawson and Ashbrook 2014)."""

DEFAULT_SITE_ERROR_PPM = 5.0
"""Prior typical site error of elements that ``SITE_ERROR_PPM`` does not name, ppm."""

PRIOR_OBSERVATIONS = 4.0
"""Weight of the site-error prior, in observations: a scaled inverse chi-square with this many degrees of freedom."""

ROBUST_DOF = 5.0
"""Degrees of freedom of the Student weights that tame outliers when five or more compounds are fitted."""


class ReferenceFitError(SurfshiftError):
    """Compounds from which no reference can be fitted."""


class MixedMethodsError(SurfshiftError):
    """Shieldings of different methods were about to be used in one reference or with a foreign one."""


def check_one_method(methods: Sequence[Method], *, what: str) -> Method:
    """The single method of a sequence.

    Raises
    ------
    MixedMethodsError
        If the methods differ in more than the engine's patch level; shieldings of two methods differ by tens of ppm.
    """
    keys = sorted({method.key for method in methods})
    if len(keys) != 1:
        raise MixedMethodsError(
            f"{what} mixes {len(keys)} methods ({'; '.join(keys) or 'none given'}): shifts compare only within one "
            "method; compute all tensors with one engine, functional and protocol"
        )
    return methods[0]


def default_site_error_ppm(isotope: str) -> float:
    """Prior typical error of one computed shift of this isotope, ppm."""
    return SITE_ERROR_PPM.get(nucleus_of(isotope).element, DEFAULT_SITE_ERROR_PPM)


def fit_reference(
    isotope: str,
    method: Method,
    compounds: Sequence[ReferenceCompound],
    *,
    methods: Sequence[Method] | None = None,
    slope_mean: float = SLOPE_MEAN,
    slope_sd: float = SLOPE_SD,
    site_error_ppm: float | None = None,
    prior_observations: float = PRIOR_OBSERVATIONS,
    cq_error_fraction: float = 0.1,
    note: str = "",
) -> Reference:
    """Fit the line from shielding to shift with its covariance and site error.

    The site error is integrated on a grid under a scaled inverse chi-square prior; for each value the line is a
    weighted least-squares fit with a Gaussian prior on the slope and a flat one on the intercept. With five or
    more compounds, Student weights reduce outliers (Lange et al., J. Am. Stat. Assoc. 84 (1989) 881).

    Parameters
    ----------
    isotope, method
        What the reference is for.
    compounds
        At least one computed compound with its published shift.
    methods
        Method of each compound, where the caller knows them; all must equal ``method``.
    slope_mean, slope_sd
        Gaussian prior of the slope.
    site_error_ppm
        Prior typical site error, ppm; by default from ``SITE_ERROR_PPM``.
    prior_observations
        Weight of the prior of the site error.

    Raises
    ------
    ReferenceFitError
        If there is no compound, or two bear one name.
    MixedMethodsError
        If ``methods`` names another method.
    """
    nucleus_of(isotope)
    if not compounds:
        raise ReferenceFitError(f"no compound was given for the {isotope} reference; compute at least one")
    names = [compound.name for compound in compounds]
    if len(set(names)) != len(names):
        raise ReferenceFitError(f"compounds of the {isotope} reference repeat a name: {', '.join(sorted(names))}")
    if methods is not None:
        check_one_method([method, *methods], what=f"the {isotope} reference")

    sigma = np.array([compound.sigma_iso_ppm for compound in compounds])
    delta = np.array([compound.delta_iso_ppm for compound in compounds])
    error = np.array([compound.delta_error_ppm for compound in compounds])
    if not (error > 0).all():
        raise ReferenceFitError(f"every published {isotope} shift needs an error above 0; got {error.tolist()}")
    pivot = float(sigma.mean())
    typical = default_site_error_ppm(isotope) if site_error_ppm is None else site_error_ppm

    grid = typical * np.geomspace(0.05, 20.0, 241)
    log_weight = np.empty(len(grid))
    lines = np.empty((len(grid), 2))
    covariances = np.empty((len(grid), 2, 2))
    for index, scatter in enumerate(grid):
        log_likelihood, lines[index], covariances[index] = _fit_line(
            sigma - pivot, delta, error, scatter, (slope_mean, slope_sd)
        )
        # density of the scale on a logarithmic grid
        log_prior = -prior_observations * (math.log(scatter) + 0.5 * (typical / scatter) ** 2)
        log_weight[index] = log_likelihood + log_prior
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()

    line = weight @ lines
    spread = lines - line
    covariance = np.einsum("g,gij->ij", weight, covariances) + np.einsum("g,gi,gj->ij", weight, spread, spread)
    # from (slope, shift at the pivot) to (slope, intercept)
    to_intercept = np.array([[1.0, 0.0], [-pivot, 1.0]])
    covariance = to_intercept @ covariance @ to_intercept.T
    slope = float(line[0])
    (c00, c01), (_, c11) = covariance.tolist()
    return Reference(
        isotope=isotope,
        method=method,
        slope=slope,
        intercept_ppm=float(line[1] - slope * pivot),
        covariance=((c00, c01), (c01, c11)),
        sigma_mean_ppm=pivot,
        site_error_ppm=float(math.sqrt(weight @ grid**2)),
        cq_error_fraction=cq_error_fraction,
        compounds=tuple(compounds),
        note=note or _note(len(compounds), slope_mean, slope_sd, typical),
    )


def _note(n_compounds: int, slope_mean: float, slope_sd: float, typical: float) -> str:
    return f"{n_compounds} compound(s); prior slope {slope_mean:g} +/- {slope_sd:g}, prior site error about {typical:g} ppm"


def _fit_line(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    error: NDArray[np.float64],
    scatter: float,
    slope_prior: tuple[float, float],
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Marginal log likelihood, (slope, value at x = 0) and their covariance for one site error."""
    mean, sd = slope_prior
    variance = error**2 + scatter**2
    weights = np.ones_like(y)
    design = np.stack([x, np.ones_like(x)], axis=1)
    prior_precision = np.diag([1.0 / sd**2, 0.0])
    for _ in range(30 if len(y) >= 5 else 1):
        precision = design.T @ (design * (weights / variance)[:, None]) + prior_precision
        line = np.linalg.solve(precision, design.T @ (weights * y / variance) + prior_precision @ [mean, 0.0])
        residual = y - design @ line
        if len(y) < 5:
            break
        updated = (ROBUST_DOF + 1.0) / (ROBUST_DOF + residual**2 / variance)
        if np.abs(updated - weights).max() < 1e-6:
            break
        weights = updated
    covariance = np.linalg.inv(precision)
    # Laplace: exact for the Gaussian case, the Student density at its mode otherwise
    if len(y) < 5:
        fit = -0.5 * float(np.sum(residual**2 / variance + np.log(variance)))
    else:
        tail = np.log1p(residual**2 / (ROBUST_DOF * variance))
        fit = -0.5 * float(np.sum((ROBUST_DOF + 1.0) * tail + np.log(variance)))
    fit += -0.5 * float((line[0] - mean) ** 2) / sd**2 + 0.5 * float(np.linalg.slogdet(covariance)[1])
    return fit, line, covariance


def fitted_shift(reference: Reference, sigma_ppm: float) -> tuple[float, float]:
    """Shift and its error (line and site together), ppm, of a shielding in ppm."""
    gradient = np.array([sigma_ppm, 1.0])
    variance = float(gradient @ np.array(reference.covariance) @ gradient) + reference.site_error_ppm**2
    return reference.intercept_ppm + reference.slope * sigma_ppm, math.sqrt(max(variance, 0.0))


def residuals_ppm(reference: Reference) -> dict[str, float]:
    """Published minus fitted shift of each compound, ppm."""
    return {
        compound.name: compound.delta_iso_ppm - fitted_shift(reference, compound.sigma_iso_ppm)[0]
        for compound in reference.compounds
    }


def rmse_ppm(reference: Reference) -> float:
    """Root mean square of the residuals, ppm; flattering with few compounds, unlike ``site_error_ppm``."""
    values = np.array(list(residuals_ppm(reference).values()))
    return float(np.sqrt(np.mean(values**2)))
