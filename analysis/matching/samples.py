"""Several samples matched together; references and lines of spectra as the best fit left them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..vocabulary import Attribution, PopulationChange, ReferenceFit
from .populations import weighted_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .search import Problem, SubsetFit, Weighed


def changes_of(problem: Problem, weighed: Sequence[Weighed]) -> tuple[PopulationChange, ...]:
    """Change of each population from each sample to the next, and from the first to the last of more than two.

    Populations of all samples are drawn together, so that what they share (site errors, offsets) cancels in the
    difference. Candidates that no explanation with a noticeable probability holds are left out.
    """
    count = problem.n_samples
    if count < 2:
        return ()
    pairs = [(g, g + 1) for g in range(count - 1)] + ([(0, count - 1)] if count > 2 else [])
    kept = [(item.fit, item.probability) for item in weighed if item.fit is not None and item.fit.by_sample]
    found = []
    for before, after in pairs:
        for index, key in enumerate(problem.ids):
            holding = [(fit, p) for fit, p in kept if index in fit.members]
            if sum(p for _, p in holding) < 1e-3:
                continue
            values, weights = [], []
            for fit, probability in holding:
                column = fit.members.index(index)
                values.append(fit.by_sample[after].samples[:, column] - fit.by_sample[before].samples[:, column])
                weights.append(probability * fit.by_sample[before].weights)
            rest = sum(p for _, p in kept) - sum(p for _, p in holding)
            values.append(np.zeros(1))
            weights.append(np.array([max(rest, 0.0)]))
            value, weight = np.concatenate(values), np.concatenate(weights)
            weight = weight / weight.sum()
            is_up = np.where(value > 0, 1.0, np.where(value < 0, 0.0, 0.5))
            found.append(
                PopulationChange(
                    candidate_name=problem.names[key],
                    before=problem.samples[before],
                    after=problem.samples[after],
                    mean=float(value @ weight),
                    low=weighted_quantile(value, weight, 0.05),
                    high=weighted_quantile(value, weight, 0.95),
                    probability_increase=min(1.0, max(0.0, float(is_up @ weight))),
                )
            )
    return tuple(found)


def reference_fits(problem: Problem, best: SubsetFit) -> tuple[ReferenceFit, ...]:
    """Offset and slope of every isotope's reference in the best explanation, before and after the fit."""
    found = []
    for isotope, table in best.tables.items():
        computed = [site.sigma_iso_ppm for site in table.sites if site.sigma_iso_ppm is not None]
        if not computed or isotope not in problem.references:
            continue
        reference = problem.references[isotope]
        prior = np.array(reference.covariance)
        values, vectors = np.linalg.eigh(prior)
        factor = vectors * np.sqrt(np.clip(values, 0.0, None))
        pivot = float(np.mean(computed))
        # from (slope, intercept) to (offset at the pivot, slope)
        turn = np.array([[pivot, 1.0], [1.0, 0.0]])
        if isotope in best.spectra:
            mean, covariance = best.spectra[isotope].latent[:2], best.spectra[isotope].offset_covariance
        else:
            mean, covariance = best.peaks[isotope].mean[:2], best.peaks[isotope].covariance[:2, :2]
        shift = turn @ factor @ mean
        found.append(
            ReferenceFit(
                isotope=isotope,
                sigma_ppm=pivot,
                prior_covariance=_pairs(turn @ prior @ turn.T),
                mean=(float(shift[0]), float(shift[1])),
                covariance=_pairs(turn @ factor @ covariance @ factor.T @ turn.T),
            )
        )
    return tuple(found)


def spectral_attributions(problem: Problem, best: SubsetFit, present: dict[str, float]) -> tuple[Attribution, ...]:
    """Where the best explanation puts the line of every site in the spectra.

    ``present`` is the probability of each candidate, by name, to be in the sample; a line is no more certain than that.
    The residual is the error that the fit gave to the site's shift, over the error expected of DFT.
    """
    found = []
    for isotope, fit in best.spectra.items():
        table = best.tables[isotope]
        n = len(table)
        shift = table.delta + table.offset_rows @ fit.latent[:2] + fit.latent[2 : 2 + n]
        for k, spectrum in enumerate(problem.spectra[isotope]):
            found += [
                Attribution(
                    measurement=spectrum.name,
                    peak_label=f"{shift[s]:.1f} ppm (isotropic)",
                    candidate_name=site.candidate_name,
                    atom_indices=site.atom_indices,
                    probability=min(1.0, present.get(site.candidate_name, 0.0)),
                    residual_sigmas=float(fit.latent[2 + s] / table.delta_error[s]),
                )
                for s, site in enumerate(table.sites)
                if fit.amplitudes[k][table.member[s]] > 0
            ]
    return tuple(found)


def _pairs(matrix: NDArray[np.float64]) -> tuple[tuple[float, float], tuple[float, float]]:
    (a, b), (c, d) = matrix.tolist()
    return (float(a), float(b)), (float(c), float(d))
