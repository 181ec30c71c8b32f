"""How long a match of spectra takes, side by side with fitting candidate by candidate.

Run from a checkout with the package installed:

    python benchmarks/matching_speed.py --candidates 200

Invented candidates have three 31P, four 27Al and three 1H sites each. The sample is a mixture of two of them, with site
errors, offsets of the references and noise, in three spectra of 2,048 points. Once all candidates are
matched with surfshift; then candidates are fitted one by one with mrsimulator and lmfit (shift and CQ of every site,
widths, intensity and baseline free, 27Al shapes simulated at every step), and the time for all is extrapolated from
``--rival`` of them, the truth among them. Times are processor times, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings

import numpy as np
from surfshift.analysis.matching import MatchSettings
from surfshift.analysis.matching.search import Problem
from surfshift.analysis.matching.verdict import assignment_of
from surfshift.analysis.vocabulary import Method, PredictedSite, Reference, Spectrum
from surfshift.structures.vocabulary import Region

FIELD_TESLA, RATE_HZ, POINTS = 9.4, 12500.0, 2048
METHOD = Method(engine="synthetic", engine_version="1", functional="none", protocol="none", protocol_hash="0")
WINDOWS = {"31P": (-70.0, 30.0), "27Al": (-80.0, 120.0), "1H": (-8.0, 20.0)}
WIDTHS = {"31P": 2.5, "27Al": 3.0, "1H": 0.7}
ERRORS = {"31P": 1.6, "27Al": 2.0, "1H": 0.4}
NOISE = 0.02


def reference(isotope: str) -> Reference:
    """Reference with an uncertainty at its pivot of the size of a site error, and 0.03 in the slope."""
    pivot, sd = 300.0, 0.03
    at_pivot = 0.7 * ERRORS[isotope]
    return Reference(
        isotope=isotope,
        method=METHOD,
        slope=-1.0,
        intercept_ppm=pivot,
        covariance=((sd**2, -pivot * sd**2), (-pivot * sd**2, at_pivot**2 + (pivot * sd) ** 2)),
        sigma_mean_ppm=pivot,
        site_error_ppm=ERRORS[isotope],
        compounds=(),
    )


REFERENCES = {isotope: reference(isotope) for isotope in WINDOWS}


def site(name: str, isotope: str, index: int, rng: np.random.Generator) -> PredictedSite:
    """One invented site."""
    centre, spread = {"31P": (-20.0, 12.0), "27Al": (40.0, 18.0), "1H": (4.0, 2.5)}[isotope]
    delta = float(rng.normal(centre, spread if index else 0.1 * spread))
    cq = float(rng.uniform(2.0, 8.0)) if isotope == "27Al" else 0.0
    return PredictedSite(
        candidate_id=name,
        candidate_name=name,
        isotope=isotope,
        atom_indices=tuple(range(100 * index, 100 * index + int(rng.integers(1, 3)))),
        region=Region.SURFACE,
        sigma_iso_ppm=300.0 - delta,
        delta_iso_ppm=delta,
        delta_error_ppm=ERRORS[isotope],
        zeta_csa_ppm=float(rng.normal(0.0, {"31P": 15.0, "27Al": 10.0, "1H": 3.0}[isotope])),
        eta_csa=float(rng.uniform(0, 1)),
        cq_mhz=cq,
        cq_error_mhz=float(np.hypot(0.08 * cq, 0.2)) if cq else 0.0,
        eta_q=float(rng.uniform(0.1, 0.9)),
        distance_to_h_ang=3.0,
    )


def library(count: int, rng: np.random.Generator) -> dict[str, list[PredictedSite]]:
    """Invented candidates with ten sites each."""
    sizes = {"31P": 3, "27Al": 4, "1H": 3}
    return {
        f"c{i:04d}": [site(f"c{i:04d}", isotope, k, rng) for isotope, n in sizes.items() for k in range(n)]
        for i in range(count)
    }


def true_sites(
    sites: list[PredictedSite], offsets: dict[str, np.ndarray], rng: np.random.Generator
) -> list[PredictedSite]:
    """The same sites with their true shifts and couplings."""
    return [
        s.model_copy(
            update={
                "delta_iso_ppm": s.delta_iso_ppm
                + float(offsets[s.isotope] @ [s.sigma_iso_ppm, 1.0])
                + float(rng.normal(0.0, s.delta_error_ppm)),
                "cq_mhz": max(0.3, s.cq_mhz + float(rng.normal()) * s.cq_error_mhz) if s.cq_mhz else 0.0,
            }
        )
        for s in sites
    ]


def spectra(
    parts: list[tuple[float, list[PredictedSite]]],
    rng: np.random.Generator,
    *,
    points: int = POINTS,
    width_jitter: float = 0.1,
    isotopes: tuple[str, ...] = tuple(WINDOWS),
) -> list[Spectrum]:
    """Spectra of a mixture given as (population, sites), simulated with mrsimulator; every line has its own width."""
    from surfshift.analysis.lines import line

    offsets = {n: rng.multivariate_normal([0.0, 0.0], np.array(r.covariance)) for n, r in REFERENCES.items()}
    moved = [(population, true_sites(sites, offsets, rng)) for population, sites in parts]
    result = []
    for isotope in isotopes:
        axis = np.linspace(*WINDOWS[isotope], points)
        intensity = np.zeros(points)
        for population, sites in moved:
            atoms = sum(s.multiplicity for s in sites if s.isotope in isotopes)
            for s in sites:
                if s.isotope == isotope:
                    width = WIDTHS[isotope] * float(np.exp(rng.normal(0.0, width_jitter)))
                    intensity += population * s.multiplicity / atoms * line(s, axis, FIELD_TESLA, RATE_HZ, width)
        noise = NOISE * intensity.max()
        intensity += rng.normal(0.0, noise, points) + 0.03 * intensity.max()
        result.append(
            Spectrum(
                name=isotope,
                isotope=isotope,
                field_tesla=FIELD_TESLA,
                mas_rate_hz=RATE_HZ,
                axis_ppm=tuple(axis.tolist()),
                intensity=tuple(intensity.tolist()),
                noise=float(noise),
            )
        )
    return result


def rival_fit(sites: list[PredictedSite], data: list[Spectrum]) -> float:
    """Chi-square of one candidate fitted with mrsimulator and lmfit; shifts and CQ within three of their errors."""
    import lmfit
    from mrsimulator import Simulator, Site, SpinSystem
    from mrsimulator.method import SpectralDimension
    from mrsimulator.method.lib import BlochDecayCTSpectrum, BlochDecaySpectrum

    total = 0.0
    for spectrum in data:
        own = [s for s in sites if s.isotope == spectrum.isotope]
        axis, measured = np.array(spectrum.axis_ppm), np.array(spectrum.intensity)
        make = BlochDecayCTSpectrum if spectrum.isotope == "27Al" else BlochDecaySpectrum
        larmor = abs(Site(isotope=spectrum.isotope).isotope.gyromagnetic_ratio) * FIELD_TESLA
        span = float(axis[-1] - axis[0])
        method = make(
            channels=[spectrum.isotope],
            magnetic_flux_density=FIELD_TESLA,
            rotor_frequency=RATE_HZ,
            spectral_dimensions=[
                SpectralDimension(
                    count=len(axis), spectral_width=span * larmor, reference_offset=float(axis.mean()) * larmor
                )
            ],
        )
        systems = [
            SpinSystem(
                sites=[
                    Site(
                        isotope=s.isotope,
                        isotropic_chemical_shift=s.delta_iso_ppm,
                        shielding_symmetric={"zeta": -s.zeta_csa_ppm, "eta": s.eta_csa},
                        **({"quadrupolar": {"Cq": s.cq_mhz * 1e6, "eta": s.eta_q}} if s.cq_mhz else {}),
                    )
                ],
                abundance=20.0 * s.multiplicity,
            )
            for s in own
        ]
        simulator = Simulator(spin_systems=systems, methods=[method])
        parameters = lmfit.Parameters()
        for k, s in enumerate(own):
            reach = 3.0 * float(np.hypot(s.delta_error_ppm, 0.8 * ERRORS[s.isotope]))
            parameters.add(f"d{k}", s.delta_iso_ppm, min=s.delta_iso_ppm - reach, max=s.delta_iso_ppm + reach)
            if s.cq_mhz:
                low = max(0.1, s.cq_mhz - 3.0 * s.cq_error_mhz)
                parameters.add(f"q{k}", s.cq_mhz, min=low, max=s.cq_mhz + 3.0 * s.cq_error_mhz)
        parameters.add(
            "width", WIDTHS[spectrum.isotope], min=0.3 * WIDTHS[spectrum.isotope], max=3.0 * WIDTHS[spectrum.isotope]
        )
        frequency = np.fft.fftfreq(2 * len(axis), axis[1] - axis[0])

        def model(values: lmfit.Parameters) -> np.ndarray:
            for k in range(len(own)):  # noqa: B023
                one = simulator.spin_systems[k].sites[0]  # noqa: B023
                one.isotropic_chemical_shift = values[f"d{k}"].value
                if f"q{k}" in values:
                    one.quadrupolar.Cq = values[f"q{k}"].value * 1e6
            simulator.run()  # noqa: B023
            shape = np.asarray(simulator.methods[0].simulation.y[0].components[0].real)  # noqa: B023
            shape = shape[::-1] if simulator.methods[0].simulation.x[0].coordinates.value[0] > 0 else shape  # noqa: B023
            damp = np.exp(-2.0 * (np.pi * values["width"].value / 2.3548 * frequency) ** 2)  # noqa: B023
            return np.fft.ifft(np.fft.fft(shape, 2 * len(shape)) * damp).real[: len(shape)]

        def residual(values: lmfit.Parameters) -> np.ndarray:
            columns = np.stack([model(values), np.ones(len(axis)), np.linspace(-1, 1, len(axis))], axis=1)  # noqa: B023
            best = np.linalg.lstsq(columns, measured, rcond=None)[0]  # noqa: B023
            return (measured - columns @ best) / spectrum.noise  # noqa: B023

        found = lmfit.minimize(residual, parameters, method="leastsq", max_nfev=60 * len(parameters))
        total += float(found.chisqr)
    return total


def own_chi2(problem: Problem, name: str, data: list[Spectrum]) -> float:
    """Chi-square of one candidate in the same measure: all points, noise alone."""
    from surfshift.analysis.matching.spectra import curve_parts

    fit = problem.fit([problem.ids.index(name)])
    total = 0.0
    for spectrum in data:
        table = fit.tables[spectrum.isotope]
        baseline, parts = curve_parts(
            table,
            spectrum,
            0,
            fit.spectra[spectrum.isotope],
            shares=problem.shares(table, fit.members),
            settings=problem.settings,
            store=problem.store,
            n_members=1,
        )
        total += float((((np.array(spectrum.intensity) - baseline - parts.sum(axis=0)) / spectrum.noise) ** 2).sum())
    return total


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, nargs="+", default=[200])
    parser.add_argument("--rival", type=int, default=3, help="candidates fitted with mrsimulator and lmfit")
    parser.add_argument("--truth", type=int, default=2, help="true candidates in the sample")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    for count in given.candidates:
        rng = np.random.default_rng(given.seed)
        candidates = library(count, rng)
        names = sorted(candidates)[: given.truth]
        shares = np.arange(given.truth, 0, -1) / np.arange(1, given.truth + 1).sum()
        data = spectra([(float(w), candidates[n]) for w, n in zip(shares, names, strict=True)], rng)
        start, wall = time.process_time(), time.perf_counter()
        problem = Problem(candidates, data, REFERENCES, MatchSettings())
        answer = assignment_of(problem, problem.weigh())
        seconds, wall = time.process_time() - start, time.perf_counter() - wall
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        print(f"{count} candidates: {seconds:.1f} cpu s, {wall:.1f} s, {memory:.2f} GB, {len(problem._fits)} fits; "
              f"{answer.verdict.value}: {', '.join(answer.members)} ({answer.probability:.2f}), "
              f"p = {answer.fit_probability:.2g}", flush=True)  # fmt: skip
        for population in answer.populations[:4]:
            print(f"  {population.candidate_name}: {population.mean:.3f} [{population.low:.3f}, {population.high:.3f}] "
                  f"present {population.probability_present:.2f}")  # fmt: skip
        chosen = sorted(candidates)[: given.rival]
        if not chosen:
            continue
        start = time.process_time()
        rivals = [rival_fit(candidates[name], data) for name in chosen]
        per_candidate = (time.process_time() - start) / len(chosen)
        start = time.process_time()
        ours = [own_chi2(problem, name, data) for name in chosen]
        own = (time.process_time() - start) / len(chosen)
        print(f"  one by one with mrsimulator and lmfit: {per_candidate:.1f} s each, {per_candidate * count:.0f} for "
              f"all: {per_candidate * count / seconds:.0f} times; one fit here: <= {own:.2f} s")  # fmt: skip
        print(
            "  chi-square, theirs / ours: " + ", ".join(f"{a:.0f} / {b:.0f}" for a, b in zip(rivals, ours, strict=True))
        )


if __name__ == "__main__":
    main()
