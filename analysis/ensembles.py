"""Sites of a disordered candidate, such as a snapshot of a glass, as draws of distributions, not lines of their own.

The lines of a glass are not those of the few dozen atoms of one snapshot. Its sites of one nucleus and environment are
therefore taken together: a mean shift with the spread of the shifts as a width, and a Czjzek distribution of couplings
with their mean squared size. That shift and coupling of a site may go together is left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..structures.errors import SurfshiftError
from ..structures.vocabulary import content_hash
from .constants import isotope as nucleus_of
from .disorder import TYPICAL_ETA, sigma_of, typical_coupling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .vocabulary import PredictedSite

LEAST_ATOMS = 5
"""Fewest atoms from which a distribution is learned."""


class TooFewSitesError(SurfshiftError):
    """An ensemble too small for any distribution."""


def united(sites: Sequence[PredictedSite], name: str) -> tuple[PredictedSite, ...]:
    """Sites of several candidates as those of one called ``name``; atoms are counted through."""
    key = content_hash({"ensemble": sorted({site.candidate_id for site in sites})})
    starts: dict[str, int] = {}
    found = []
    for site in sites:
        start = starts.get(site.isotope, 0)
        starts[site.isotope] = start + site.multiplicity
        atoms = tuple(range(start, start + site.multiplicity))
        found.append(site.model_copy(update={"candidate_id": key, "candidate_name": name, "atom_indices": atoms}))
    return tuple(found)


def distributed_sites(sites: Sequence[PredictedSite]) -> tuple[PredictedSite, ...]:
    """Sites of one candidate with those of each isotope and environment taken together.

    The error of the mean shift is that of a single site, which sites of one environment largely share, and the
    sampling error of the mean; that of the coupling likewise. Environments with fewer than ``LEAST_ATOMS`` atoms are
    left as they are.

    Raises
    ------
    TooFewSitesError
        If no environment has enough atoms.
    """
    groups: dict[tuple[str, str], list[PredictedSite]] = {}
    for site in sites:
        groups.setdefault((site.isotope, site.environment), []).append(site)
    found: list[PredictedSite] = []
    n_joined = 0
    for own in groups.values():
        if len(own) < 2 or sum(site.multiplicity for site in own) < LEAST_ATOMS:
            found += own
        else:
            found.append(_joined(own))
            n_joined += 1
    if sites and not n_joined:
        counts = ", ".join(f"{sum(s.multiplicity for s in own)} {key[1] or key[0]}" for key, own in groups.items())
        raise TooFewSitesError(
            f"{sites[0].candidate_name} is to be taken as disordered, but no environment has {LEAST_ATOMS} atoms in "
            f"two or more sites ({counts}); leave it as it is, or give a larger model"
        )
    return tuple(found)


def _joined(sites: Sequence[PredictedSite]) -> PredictedSite:
    weights = np.array([float(site.multiplicity) for site in sites])
    weights = weights / weights.sum()
    n_independent = 1.0 / float((weights**2).sum())
    delta = np.array([site.delta_iso_ppm for site in sites])
    mean = float(weights @ delta)
    spread = math.sqrt(float(weights @ (delta - mean) ** 2) * n_independent / (n_independent - 1.0))
    sigmas = [site.sigma_iso_ppm for site in sites if site.sigma_iso_ppm is not None]
    changes: dict[str, object] = {
        "atom_indices": tuple(sorted(atom for site in sites for atom in site.atom_indices)),
        "sigma_iso_ppm": float(weights @ np.array(sigmas)) if len(sigmas) == len(sites) else None,
        "delta_iso_ppm": mean,
        "delta_error_ppm": math.hypot(
            float(weights @ np.array([site.delta_error_ppm for site in sites])), spread / math.sqrt(n_independent)
        ),
        "width_ppm": 2.0 * math.sqrt(2.0 * math.log(2.0)) * spread,
        "zeta_csa_ppm": float(np.median([site.zeta_csa_ppm for site in sites])),
        "eta_csa": float(np.median([site.eta_csa for site in sites])),
        "distance_to_h_ang": _mean_distance(sites, weights.tolist()),
        "dipolar_sums": {
            key: sum(w * site.dipolar_sums.get(key, 0.0) for w, site in zip(weights.tolist(), sites, strict=True))
            for key in sites[0].dipolar_sums
        },
    }
    if nucleus_of(sites[0].isotope).is_half_integer_quadrupolar:
        sizes, etas = [abs(site.cq_mhz) for site in sites], [site.eta_q for site in sites]
        typical = typical_coupling(sigma_of(sizes, etas, weights))
        own = sum(w * site.cq_error_mhz for w, site in zip(weights.tolist(), sites, strict=True))
        # a chi-square of five degrees of freedom varies by a relative 2/5, sigma by half of that
        sampling = 0.5 * math.sqrt(0.4 / n_independent) * typical
        changes |= {
            "cq_mhz": typical,
            "cq_error_mhz": math.hypot(own, sampling),
            "eta_q": TYPICAL_ETA,
            "is_disordered": typical > 0,
        }
    return sites[0].model_copy(update=changes)


def _mean_distance(sites: Sequence[PredictedSite], weights: Sequence[float]) -> float | None:
    """Distance to hydrogen with the mean of r^-6; None without hydrogen."""
    sums = [
        weight * site.distance_to_h_ang**-6
        for site, weight in zip(sites, weights, strict=True)
        if site.distance_to_h_ang is not None
    ]
    return float(sum(sums)) ** (-1.0 / 6.0) if sums else None
