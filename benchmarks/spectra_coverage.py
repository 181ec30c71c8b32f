"""How often 90 % intervals of populations from spectra hold the truth, and how often the truth is refused.

Run from a checkout with the package installed:

    python benchmarks/spectra_coverage.py --samples 200

Samples are those of matching_speed.py with 31P, 27Al and 1H spectra of 512 points: mixtures of two invented
candidates with site errors, offsets, 2 % noise, and for every line a width of its own. The true pair is fitted. Then
the smaller of the two is left out, which should be noticed.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from pathlib import Path

import numpy as np
from surfshift.analysis.matching import MatchSettings
from surfshift.analysis.matching.populations import weighted_quantile
from surfshift.analysis.matching.search import Problem


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--jitter", type=float, default=0.1, help="spread of the logarithm of a line's width")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    path = Path(__file__).resolve().parent / "matching_speed.py"
    spec = importlib.util.spec_from_file_location("matching_speed", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} cannot be loaded")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    rng = np.random.default_rng(given.seed)
    settings = MatchSettings()
    covered, refused, noticed, worse, errors, widths = [], [], [], [], [], []
    start = time.process_time()
    for _ in range(given.samples):
        library = made.library(2, rng)
        share = float(rng.uniform(0.5, 0.9))
        names = sorted(library)
        parts = [(share, library[names[0]]), (1.0 - share, library[names[1]])]
        data = made.spectra(parts, rng, points=512, width_jitter=given.jitter)
        problem = Problem(library, data, made.REFERENCES, settings)
        fit = problem.fit((0, 1))
        values, weights = fit.populations.samples[:, 0], fit.populations.weights
        low, high = (weighted_quantile(values, weights, level) for level in (0.05, 0.95))
        covered.append(low <= share <= high)
        refused.append(fit.fit_probability < settings.min_fit_probability)
        errors.append(float(weights @ values) - share)
        widths.append(high - low)
        alone = problem.fit((0,))
        noticed.append(alone.fit_probability < settings.min_fit_probability)
        worse.append(alone.log_evidence < fit.log_evidence)
    print(f"{given.samples} samples, {(time.process_time() - start) / given.samples:.2f} cpu s each")
    print(f"90 % intervals hold the truth: {np.mean(covered):.1%}; median width {np.median(widths):.4f}")
    print(f"error of the population: mean {np.mean(errors):+.4f}, median size {np.median(np.abs(errors)):.4f}, "
          f"largest {np.abs(errors).max():.4f}")  # fmt: skip
    print(f"truth refused (p < {settings.min_fit_probability}): {np.mean(refused):.1%}")
    print(f"smaller part left out: refused {np.mean(noticed):.1%}, lower evidence {np.mean(worse):.1%}")


if __name__ == "__main__":
    main()
