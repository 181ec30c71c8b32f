"""Whether data as far from an explanation as these would arise if it were true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .peaks import PeakFit
    from .spectra import SpectrumFit

_SELECTION = 2.0
"""Of many assignments of peaks to sites the best is judged, so that its nominal p is too high: over 125 simulated
samples with the truth in the list, a nominal p below x came in a share of about x^2
(benchmarks/matching_calibration.py)."""


def fit_probability(peaks: Sequence[PeakFit], spectra: Sequence[SpectrumFit], seed: int) -> float:
    """Predictive p-value of an explanation: the least of several checks, corrected for their number.

    The checks are the summed discrepancy of all peaks (its distribution with missed lines is sampled), the
    worst single peak, and per spectrum the residual and the deviation of sites from their prior.
    """
    from scipy.stats import chi2

    values: list[float] = []
    n_data = sum(found.n_data for found in peaks)
    if n_data:
        rng = np.random.default_rng(seed)
        draws = rng.chisquare(n_data, size=20000)
        for found in peaks:
            for probability, cost in found.missable:
                draws += cost * (rng.random(len(draws)) < probability)
        total = sum(found.discrepancy for found in peaks)
        values.append((1.0 + float((draws >= total).sum())) / (1.0 + len(draws)))
        n_peaks = sum(found.assignments.shape[1] for found in peaks)
        single = (
            min(float(chi2.sf(found.worst[0], found.worst[1])) for found in peaks if found.worst[1] > 0)
            if any(found.worst[1] > 0 for found in peaks)
            else 1.0
        )
        values.append(1.0 - (1.0 - single) ** n_peaks)
        values = [min(1.0, 2.0 * min(values)) ** _SELECTION]
    values += [probability for found in spectra for probability in found.probabilities]
    return min(1.0, min(values) * len(values)) if values else 1.0
