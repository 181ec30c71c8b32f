"""Shielding to shift: fitted per isotope and method, with the covariance that later fits use as a prior.

The line is delta = intercept + slope * sigma. Its residuals come from the published values and, where given, from
single shieldings (known errors of both variables), and from the computed shieldings in general (one unknown scatter,
the site error, with tails: outliers are structures, not noise). Two or three compounds cannot fix all that, so slope
and site error carry priors that are written down here; the fit itself is in ``robust_line``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..structures.errors import SurfshiftError
from .constants import constant_source
from .constants import isotope as nucleus_of
from .robust_line import fit_line, interval_half_width
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

WIDE_SLOPE_SD = 0.1
"""Standard deviation of the slope of a wide reference."""

WIDE_SITE_FACTOR = 1.5
"""Site error of a wide reference over the prior one, since nothing was checked."""

PRIOR_OBSERVATIONS = 4.0
"""Weight of the site-error prior, in observations: a scaled inverse chi-square with this many degrees of freedom."""


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
    more compounds the scatter has tails, and with fifteen or more their weight is learnt (``robust_line``).

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

    sigma, sigma_error, delta, error = (
        np.array([getattr(compound, key) for compound in compounds], dtype=float)
        for key in ("sigma_iso_ppm", "sigma_error_ppm", "delta_iso_ppm", "delta_error_ppm")
    )
    if not (error > 0).all():
        raise ReferenceFitError(f"every published {isotope} shift needs an error above 0; got {error.tolist()}")
    pivot = float(sigma.mean())
    typical = default_site_error_ppm(isotope) if site_error_ppm is None else site_error_ppm
    fit = fit_line(
        sigma - pivot,
        delta,
        x_error=sigma_error,
        y_error=error,
        typical_scatter=typical,
        prior_points=prior_observations,
        slope_prior=(slope_mean, slope_sd),
    )
    # from (slope, shift at the pivot) to (slope, intercept)
    to_intercept = np.array([[1.0, 0.0], [-pivot, 1.0]])
    (c00, c01), (_, c11) = (to_intercept @ fit.covariance @ to_intercept.T).tolist()
    return Reference(
        isotope=isotope,
        method=method,
        slope=fit.slope,
        intercept_ppm=fit.value - fit.slope * pivot,
        covariance=((c00, c01), (c01, c11)),
        sigma_mean_ppm=pivot,
        site_error_ppm=fit.deviation,
        site_scale_ppm=fit.scale,
        site_dof=fit.dof,
        cq_error_fraction=cq_error_fraction,
        environment_errors_ppm=_environment_errors(
            [compound.environment for compound in compounds],
            delta - (fit.slope * (sigma - pivot) + fit.value),
            np.hypot(error, fit.slope * sigma_error),
            typical=typical,
            prior_points=prior_observations,
        ),
        compounds=tuple(compounds),
        note=note or _note(len(compounds), slope_mean, slope_sd, typical),
    )


def wide_reference(isotope: str, method: Method) -> Reference:
    """A stand-in where no compound was computed: the rough absolute shielding of the compound at 0 ppm, wide errors.

    Slope -1, intercept from the table of nuclear constants; their covariance is centred on 0 ppm. A fit that uses it
    may move the whole scale within that width, so that only differences between sites count; ``note`` says so.
    """
    nucleus = nucleus_of(isotope)
    centre, spread = nucleus.reference_shielding_ppm, nucleus.reference_shielding_error_ppm
    variance = WIDE_SLOPE_SD**2
    site_error = WIDE_SITE_FACTOR * default_site_error_ppm(isotope)
    source, grade = constant_source(isotope, "shielding")
    return Reference(
        isotope=isotope,
        method=method,
        slope=SLOPE_MEAN,
        intercept_ppm=centre,
        covariance=((variance, -variance * centre), (-variance * centre, spread**2 + variance * centre**2)),
        sigma_mean_ppm=centre,
        site_error_ppm=site_error,
        site_scale_ppm=site_error,
        is_wide=True,
        compounds=(),
        note=(
            f"no {isotope} compound was computed with {method.key}: shifts are -(shielding - {centre:g} ppm) with "
            f"{spread:g} ppm for the whole scale; read sites as shieldings, compare only their differences "
            f"({grade.value}: {source}). Fit your own with 'surfshift reference'"
        ),
    )


def _environment_errors(
    environments: Sequence[str],
    residual: NDArray[np.float64],
    error: NDArray[np.float64],
    *,
    typical: float,
    prior_points: float,
) -> dict[str, float]:
    """Site error of each named environment: root of the posterior mean variance on a grid."""
    grid = typical * np.geomspace(0.05, 20.0, 61)
    # density of a scaled inverse chi-square on a logarithmic grid
    log_prior = -prior_points * (np.log(grid) + 0.5 * (typical / grid) ** 2)
    found = {}
    for name in sorted({*environments} - {""}):
        mine = np.array([environment == name for environment in environments])
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


def fitted_shift(reference: Reference, sigma_ppm: float) -> tuple[float, float]:
    """Shift and its error (line and site together), ppm, of a shielding in ppm."""
    error = math.sqrt(_line_variance(reference, sigma_ppm) + reference.site_error_ppm**2)
    return reference.intercept_ppm + reference.slope * sigma_ppm, error


def _line_variance(reference: Reference, sigma_ppm: float) -> float:
    gradient = np.array([sigma_ppm, 1.0])
    return max(0.0, float(gradient @ np.array(reference.covariance) @ gradient))


def predictive_interval(reference: Reference, sigma_ppm: float, level: float = 0.95) -> tuple[float, float]:
    """Central interval of the shift of a new site, ppm, at a shielding in ppm; tails included.

    Raises
    ------
    ReferenceFitError
        If the level is not between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise ReferenceFitError(f"level is {level:g}; give the content of the interval, for example 0.95")
    middle = reference.intercept_ppm + reference.slope * sigma_ppm
    half = interval_half_width(
        level,
        scale=reference.site_scale_ppm or reference.site_error_ppm,
        dof=reference.site_dof,
        line_variance=_line_variance(reference, sigma_ppm),
    )
    return middle - half, middle + half


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
