"""Evidence differences of small cases against nested sampling.

Run from a checkout with the package and its dev extra installed:

    python benchmarks/evidence.py --live 1500 --seeds 0 1 2

A 31P spectrum is explained by single candidates of two sites and by their mixture. The match's evidence (Laplace in
site errors, offset and widths, exact in gains, importance sampling in populations) is compared with dynesty on the same
priors, with lines from scipy's Voigt profile. The baseline is projected out in both. So that nested sampling is
precise, it runs over positions, widths and populations alone: offset and site errors together are one normal prior of
the positions, and the gain with its flat prior is integrated in closed form, both without approximation.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from surfshift.analysis.matching import MatchSettings
from surfshift.analysis.matching.search import Problem
from surfshift.analysis.matching.spectra import baseline_columns, broadening_prior
from surfshift.analysis.vocabulary import Method, PredictedSite, Reference, Spectrum
from surfshift.structures.vocabulary import Region

METHOD = Method(engine="synthetic", engine_version="1", functional="none", protocol="none", protocol_hash="0")
REFERENCE = Reference(
    isotope="31P",
    method=METHOD,
    slope=-1.0,
    intercept_ppm=300.0,
    covariance=((1e-6, -3e-4), (-3e-4, 0.8**2 + 0.09)),
    sigma_mean_ppm=300.0,
    site_error_ppm=1.0,
    compounds=(),
)


def candidate(name: str, shifts: list[float]) -> list[PredictedSite]:
    """Sites without anisotropy at the given shifts."""
    return [
        PredictedSite(
            candidate_id=name,
            candidate_name=name,
            isotope="31P",
            atom_indices=(k,),
            region=Region.SURFACE,
            sigma_iso_ppm=300.0 - delta,
            delta_iso_ppm=delta,
            delta_error_ppm=1.0,
            zeta_csa_ppm=0.0,
            eta_csa=0.0,
            cq_mhz=0.0,
            cq_error_mhz=0.0,
            eta_q=0.0,
        )
        for k, delta in enumerate(shifts)
    ]


def voigt(axis: np.ndarray, centre: float, gaussian: float, lorentzian: float) -> np.ndarray:
    """Line of unit area from two full widths at half maximum."""
    from scipy.special import voigt_profile

    return voigt_profile(axis - centre, gaussian / 2.3548200450309493, lorentzian / 2.0)


def small_problem(seed: int = 0, share: float = 0.7) -> Problem:
    """Two candidates of two sites, and a noisy spectrum of their mixture."""
    rng = np.random.default_rng(seed)
    library = {"a": candidate("a", [-25.0, -15.0]), "b": candidate("b", [-24.0, -5.0])}
    axis = np.linspace(-50.0, 20.0, 140)
    intensity = np.zeros(len(axis))
    for weight, name in ((share, "a"), (1.0 - share, "b")):
        for site in library[name]:
            intensity += 0.5 * weight * voigt(axis, site.delta_iso_ppm + rng.normal(0.5, 0.6), 2.5, 0.5)
    noise = 0.03 * intensity.max()
    intensity = 10.0 * (intensity + rng.normal(0.0, noise, len(axis)))
    spectrum = Spectrum(
        name="31P",
        isotope="31P",
        field_tesla=9.4,
        mas_rate_hz=20000.0,
        axis_ppm=tuple(axis.tolist()),
        intensity=tuple(intensity.tolist()),
        noise=10.0 * float(noise),
    )
    return Problem(library, [spectrum], {"31P": REFERENCE}, MatchSettings())


def nested(problem: Problem, members: tuple[int, ...], *, live: int, seed: int = 1) -> tuple[float, float]:
    """Log evidence of a subset by nested sampling, and its error."""
    import dynesty
    from scipy.special import log_ndtr
    from scipy.stats import norm

    table = problem.table("31P", members)
    shares = problem.shares(table, members)
    task = problem.tasks[0]
    grid = task.grid
    base = np.linalg.qr(baseline_columns(grid.axis) / grid.error[:, None])[0]
    target = grid.intensity / grid.error
    target = target - base @ (base.T @ target)
    width_mean, width_sd = broadening_prior(grid, problem.settings, problem.settings.resolution_ppm("31P"))
    n, m = len(table), len(members)
    volume = grid.frame / float(np.bincount(table.member, shares, m).mean())
    dim = 2 * n + 2 + (m - 1)
    positions = np.linalg.cholesky(table.offset_rows @ table.offset_rows.T + np.diag(table.delta_error**2))
    squared = float(target @ target)

    def transform(cube: np.ndarray) -> np.ndarray:
        normal = norm.ppf(np.clip(cube[: 2 * n + 2], 1e-12, 1.0 - 1e-12))
        result = np.array(cube, dtype=float)
        result[:n] = table.delta + positions @ normal[:n]
        result[n : 2 * n] = normal[n : 2 * n] * problem.settings.width_spread
        result[2 * n] = width_mean + width_sd * normal[-2]
        result[2 * n + 1] = width_mean + math.log(0.2) + width_sd * normal[-1]
        return result

    def log_likelihood(x: np.ndarray) -> float:
        population = np.array([1.0]) if m == 1 else np.array([x[-1], 1.0 - x[-1]])
        total = np.zeros(len(grid.axis))
        for s in range(n):
            gaussian = math.exp(x[2 * n] + x[n + s])
            total += population[table.member[s]] * shares[s] * voigt(grid.axis, x[s], gaussian, math.exp(x[2 * n + 1]))
        line = total / grid.error
        line = line - base @ (base.T @ line)
        # the integral of exp(-|target - gain line|^2 / 2) over gains from 0 to the volume
        size = float(line @ line)
        gain = float(line @ target) / size
        inside = log_ndtr(math.sqrt(size) * gain) + math.log1p(-math.exp(min(0.0, _log_beyond(size, gain, volume))))
        return float(
            -0.5 * (squared - gain**2 * size) + 0.5 * math.log(2.0 * math.pi / size) + inside - math.log(volume)
        )

    sampler = dynesty.NestedSampler(
        log_likelihood, transform, dim, nlive=live, sample="rwalk", walks=20, rstate=np.random.default_rng(seed)
    )
    sampler.run_nested(dlogz=0.02, print_progress=False)
    return float(sampler.results.logz[-1]), float(sampler.results.logzerr[-1])


def _log_beyond(size: float, gain: float, volume: float) -> float:
    """Log of the share of positive gains that lie above the volume."""
    from scipy.special import log_ndtr

    root = math.sqrt(size)
    return float(log_ndtr(root * (gain - volume)) - log_ndtr(root * gain)) - 1e-15


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--share", type=float, default=0.97, help="population of the larger part")
    given = parser.parse_args()
    print("| case | match | nested sampling | difference |")
    print("|---|---|---|---|")
    for seed in given.seeds:
        problem = small_problem(seed, share=given.share)
        start = time.process_time()
        theirs = [nested(problem, members, live=given.live) for members in ((0,), (0, 1))]
        seconds = time.process_time() - start
        ours = problem.fit((0,)).log_evidence - problem.fit((0, 1)).log_evidence
        nest, error = theirs[0][0] - theirs[1][0], math.hypot(theirs[0][1], theirs[1][1])
        row = f"| {seed} | {ours:.2f} | {nest:.2f} ± {error:.2f} | {ours - nest:+.2f} |"
        print(f"{row}  ({seconds:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
