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

ROBUST_COMPOUNDS = 5
"""Fewest compounds for which outliers are told apart from scatter."""


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

    Where compounds name their environment, each environment gets a site error of its own from the residuals of its
    compounds about the common line, under the same prior: a miss of six-coordinated aluminium is no doubt about
    four-coordinated. A mean miss of an environment counts as scatter.

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

    grid = typical * np.geomspace(0.05, 20.0, 61)
    log_likelihood, lines, covariances = _fit_lines(sigma - pivot, delta, error, grid, (slope_mean, slope_sd))
    # density of the scale on a logarithmic grid
    log_prior = -prior_observations * (np.log(grid) + 0.5 * (typical / grid) ** 2)
    log_weight = log_likelihood + log_prior
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()

    line = weight @ lines
    spread = lines - line
    covariance = np.einsum("g,gij->ij", weight, covariances) + np.einsum("g,gi,gj->ij", weight, spread, spread)
    # from (slope, shift at the pivot) to (slope, intercept)
    to_intercept = np.array([[1.0, 0.0], [-pivot, 1.0]])
    covariance = to_intercept @ covariance @ to_intercept.T
    slope = float(line[0])
    # the standard deviation of a Student distribution exceeds its scale
    spread_of_scale = ROBUST_DOF / (ROBUST_DOF - 2.0) if _is_robust(delta) else 1.0
    (c00, c01), (_, c11) = covariance.tolist()
    return Reference(
        isotope=isotope,
        method=method,
        slope=slope,
        intercept_ppm=float(line[1] - slope * pivot),
        covariance=((c00, c01), (c01, c11)),
        sigma_mean_ppm=pivot,
        site_error_ppm=math.sqrt(spread_of_scale * float(weight @ grid**2)),
        cq_error_fraction=cq_error_fraction,
        environment_errors_ppm=_environment_errors(
            compounds, delta - (line[0] * (sigma - pivot) + line[1]), error, grid, log_prior
        ),
        compounds=tuple(compounds),
        note=note or _note(len(compounds), slope_mean, slope_sd, typical),
    )


def _environment_errors(
    compounds: Sequence[ReferenceCompound],
    residual: NDArray[np.float64],
    error: NDArray[np.float64],
    grid: NDArray[np.float64],
    log_prior: NDArray[np.float64],
) -> dict[str, float]:
    """Site error of each named environment: root of the posterior mean variance on the grid."""
    found = {}
    for name in sorted({compound.environment for compound in compounds} - {""}):
        mine = np.array([compound.environment == name for compound in compounds])
        variance = error[mine] ** 2 + grid[:, None] ** 2
        log_weight = log_prior - 0.5 * (residual[mine] ** 2 / variance + np.log(variance)).sum(axis=1)
        weight = np.exp(log_weight - log_weight.max())
        found[name] = math.sqrt(float(weight @ grid**2 / weight.sum()))
    return found


def _note(n_compounds: int, slope_mean: float, slope_sd: float, typical: float) -> str:
    return (
        f"{n_compounds} compound(s); prior slope {slope_mean:g} +/- {slope_sd:g}, "
        f"prior site error about {typical:g} ppm"
    )


def _is_robust(shifts: NDArray[np.float64]) -> bool:
    return len(shifts) >= ROBUST_COMPOUNDS


def _fit_lines(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    error: NDArray[np.float64],
    scatter: NDArray[np.float64],
    slope_prior: tuple[float, float],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fit a line for each of g site errors: marginal log likelihood (g,), lines (g, 2), covariances (g, 2, 2).

    A line is (slope, value at x = 0). Gaussian below ``ROBUST_COMPOUNDS`` compounds, where the marginal is exact;
    Student's distribution above, with the marginal after Laplace.
    """
    mean, sd = slope_prior
    variance = error[None, :] ** 2 + scatter[:, None] ** 2
    weights = np.ones_like(variance)
    precision = np.zeros((len(scatter), 2, 2))
    right = np.zeros((len(scatter), 2))
    for _ in range(50 if _is_robust(y) else 1):
        inverse = weights / variance
        precision[:, 0, 0] = inverse @ x**2 + 1.0 / sd**2
        precision[:, 0, 1] = precision[:, 1, 0] = inverse @ x
        precision[:, 1, 1] = inverse.sum(axis=1)
        right[:, 0] = inverse @ (x * y) + mean / sd**2
        right[:, 1] = inverse @ y
        lines = np.asarray(np.linalg.solve(precision, right[:, :, None])[:, :, 0], dtype=float)
        squares = (y - lines[:, :1] * x - lines[:, 1:]) ** 2 / variance
        if not _is_robust(y):
            break
        updated = (ROBUST_DOF + 1.0) / (ROBUST_DOF + squares)
        change = float(np.abs(updated - weights).max())
        weights = updated
        if change < 1e-6:
            break
    covariances = np.asarray(np.linalg.inv(precision), dtype=float)
    tail = (ROBUST_DOF + 1.0) * np.log1p(squares / ROBUST_DOF) if _is_robust(y) else squares
    fit = -0.5 * (tail + np.log(variance)).sum(axis=1)
    fit += 0.5 * np.linalg.slogdet(covariances)[1] - 0.5 * ((lines[:, 0] - mean) / sd) ** 2
    return fit, lines, covariances


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
