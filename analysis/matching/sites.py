"""The sites of a subset of candidates as arrays, and what an experiment sees of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..constants import isotope as nucleus_of
from ..constants import larmor_mhz
from ..mqmas import ISOTROPIC_SHARE, excitation
from ..tensors import second_order_shift_ppm, second_order_width_ppm
from ..vocabulary import Experiment, PeakList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..transfer import Transfer
    from ..vocabulary import PredictedSite, Reference, Spectrum
    from .settings import MatchSettings


class SiteTable(NamedTuple):
    """Sites of one isotope, of one or more candidates, as arrays over the sites (n,).

    ``offset_rows`` (n, 2) maps two standard-normal numbers of the reference to shift offsets in ppm: offsets are
    shared by all computed sites of the isotope, and their covariance is that of the reference; given lines, whose shift
    was measured, have none. ``width`` (n,) is the full width at half maximum that a line has of its own, ppm.
    """

    isotope: str
    sites: tuple[PredictedSite, ...]
    member: NDArray[np.int64]
    delta: NDArray[np.float64]
    delta_error: NDArray[np.float64]
    cq: NDArray[np.float64]
    cq_error: NDArray[np.float64]
    eta: NDArray[np.float64]
    multiplicity: NDArray[np.float64]
    offset_rows: NDArray[np.float64]
    width: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.sites)

    @property
    def is_given(self) -> NDArray[np.bool_]:
        """Which sites (n,) are measured lines of a given phase."""
        return np.array([site.is_given for site in self.sites], dtype=bool)

    def at(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> SiteTable:
        """The table with some of its sites."""
        kept = tuple(self.sites[i] for i in np.arange(len(self))[rows])
        arrays = {name: getattr(self, name)[rows] for name in self._fields[2:]}
        return SiteTable(isotope=self.isotope, sites=kept, **arrays)


def site_table(isotope: str, groups: Sequence[Sequence[PredictedSite]], reference: Reference | None) -> SiteTable:
    """Table of the sites of one isotope; ``groups`` holds the sites of each member of a subset.

    Without a reference no offset is shared, as for given lines alone.
    """
    pairs = [(m, site) for m, group in enumerate(groups) for site in group if site.isotope == isotope]
    sites = tuple(site for _, site in pairs)
    covariance = np.zeros((2, 2)) if reference is None else np.array(reference.covariance)
    values, vectors = np.linalg.eigh(covariance)
    factor = vectors * np.sqrt(np.clip(values, 0.0, None))
    gradient = np.array(
        [[0.0, 0.0] if site.sigma_iso_ppm is None else [site.sigma_iso_ppm, 1.0] for site in sites]
    ).reshape(-1, 2)
    return SiteTable(
        isotope=isotope,
        sites=sites,
        member=np.array([m for m, _ in pairs], dtype=np.int64),
        delta=np.array([site.delta_iso_ppm for site in sites]),
        delta_error=np.array([site.delta_error_ppm for site in sites]),
        cq=np.array([abs(site.cq_mhz) for site in sites]),
        cq_error=np.array([max(site.cq_error_mhz, 1e-6) for site in sites]),
        eta=np.array([site.eta_q for site in sites]),
        multiplicity=np.array([float(site.multiplicity) for site in sites]),
        offset_rows=gradient @ factor,
        width=np.array([site.width_ppm for site in sites]),
    )


def visibility(table: SiteTable, measurement: PeakList | Spectrum, settings: MatchSettings) -> NDArray[np.float64]:
    """Share (n,) of each site's signal that an experiment sees, 0 to 1, line width left aside.

    1 for one-pulse and echo; in MQMAS what is excited of its coupling. Under CP and TRAPDOR it falls with the distance
    r to 1H as 1 / (1 + (r / r0)^6), the distance law of the dipolar coupling squared; 0 without hydrogen; 1H itself is
    always seen. With a contact time it is what has built up by then; a difference spectrum shows what was dephased.
    """
    experiment, transfer = measurement.experiment, measurement.transfer
    if experiment is Experiment.MQMAS:
        return excitation(table.isotope, table.cq)
    if transfer is not None and transfer.dephasing_isotope is not None and not isinstance(measurement, PeakList):
        return np.maximum(dephasings(table, measurement)[0], 0.0)
    if experiment is Experiment.CP and transfer is not None and transfer.contact_time_ms is not None:
        return _cp_shares(table, transfer)
    if not experiment.is_surface_selective or nucleus_of(table.isotope).element == "H":
        return np.ones(len(table))
    half = settings.cp_range_ang if experiment is Experiment.CP else settings.trapdor_range_ang
    distance = np.array(
        [np.inf if site.distance_to_h_ang is None else site.distance_to_h_ang for site in table.sites], dtype=float
    )
    result: NDArray[np.float64] = 1.0 / (1.0 + (distance / half) ** 6)
    return result


def _cp_shares(table: SiteTable, transfer: Transfer) -> NDArray[np.float64]:
    """Share (n,) of each signal that a contact time builds up; from the nearest hydrogen if only that is known."""
    from ..dipolar import cp_rate, cp_share

    nearest = [0.0 if site.distance_to_h_ang is None else site.distance_to_h_ang**-6 for site in table.sites]
    sums = [
        (site.dipolar_sums.get("H", alone), site.dipolar_sums.get("HH", 0.0))
        for site, alone in zip(table.sites, nearest, strict=True)
    ]
    contact = transfer.contact_time_ms or 0.0
    return np.array([cp_share(cp_rate(table.isotope, h, hh), contact, transfer.t1rho_ms) for h, hh in sums])


def dephasings(table: SiteTable, measurement: PeakList | Spectrum) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Expected dS/S0 (n,) of each site and its error (n,); infinite error where distances are not known."""
    from ..dipolar import redor_fraction, trapdor_fraction

    transfer = measurement.transfer
    if transfer is None or transfer.dephasing_isotope is None or transfer.dephasing_time_ms is None:
        return np.zeros(len(table)), np.full(len(table), np.inf)
    partner = nucleus_of(transfer.dephasing_isotope)
    of = trapdor_fraction if partner.is_quadrupolar else redor_fraction
    mean, error = np.zeros(len(table)), np.full(len(table), np.inf)
    for k, site in enumerate(table.sites):
        if partner.element in site.dipolar_sums:
            total = site.dipolar_sums[partner.element] * transfer.abundance
            mean[k], error[k] = of(table.isotope, partner.name, total, transfer.dephasing_time_ms)
    return mean, error


def listing_probability(
    table: SiteTable, measurement: PeakList | Spectrum, settings: MatchSettings
) -> NDArray[np.float64]:
    """Probability (n,) that a site without overlap shows as a peak: visible, not too broad, not missed."""
    nucleus = nucleus_of(table.isotope)
    larmor = larmor_mhz(nucleus, measurement.field_tesla)
    width = np.array(
        [
            second_order_width_ppm(
                nucleus, cq_mhz=cq, eta=eta, larmor_mhz=larmor, is_spinning=measurement.mas_rate_hz > 0
            )
            for cq, eta in zip(table.cq, table.eta, strict=True)
        ]
    )
    if measurement.experiment is Experiment.MQMAS:
        width = 0.0 * width  # refocused in the isotropic dimension
    width = np.hypot(width, table.width)
    narrow = 1.0 / (1.0 + (width / settings.invisible_width_ppm) ** 4)
    seen: NDArray[np.float64] = visibility(table, measurement, settings) * narrow
    return seen * (1.0 - settings.missed_probability)


def second_order_shifts(
    table: SiteTable, measurement: PeakList | Spectrum
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Second-order shift (n,) in ppm of each site and its derivative with respect to CQ (n,) in ppm per MHz.

    In MQMAS it is that of the isotropic dimension, -10/17 of the usual one.
    """
    nucleus = nucleus_of(table.isotope)
    larmor = larmor_mhz(nucleus, measurement.field_tesla)
    per_square = np.array(
        [second_order_shift_ppm(nucleus, cq_mhz=1.0, eta=float(eta), larmor_mhz=larmor) for eta in table.eta]
    )
    if measurement.experiment is Experiment.MQMAS:
        per_square = ISOTROPIC_SHARE * per_square
    return per_square * table.cq**2, 2.0 * per_square * table.cq
