"""Deviation of table lines from direct mrsimulator simulations over random sites, relative to the height of the line.

Run from a checkout with the package installed:

    python benchmarks/kernels.py --draws 40
    python benchmarks/kernels.py --only domain --draws 300

The last case draws from everything that a user of lines under spinning may meet: 27Al, 17O, 23Na, 35Cl and 7Li, 4.7 to
28.2 T, 5 to 100 kHz, shift anisotropies up to 200 ppm, couplings as in oxides, phosphates and halides, and
patterns up to 39 times as wide as their broadening. It says which of them came from tables and which were simulated.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from typing import TYPE_CHECKING

import numpy as np
from surfshift.analysis import lines
from surfshift.analysis.constants import isotope, larmor_mhz
from surfshift.analysis.kernels import MIXED_RATIO, SiteKernels, SiteShape, table_line
from surfshift.analysis.tensors import second_order_width_ppm

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = ("infinite speed", "finite speed", "static", "CSA sidebands", "CSA static", "finite speed with CSA", "domain")

COUPLINGS_MHZ = {"27Al": (0.3, 12.0), "17O": (0.3, 9.0), "23Na": (0.2, 5.0), "35Cl": (0.2, 6.0), "7Li": (0.02, 0.4)}
FIELDS_TESLA = (4.7, 7.05, 9.4, 11.7, 14.1, 16.4, 18.8, 20.0, 23.5, 28.2)
MOST_POINTS = 8192
DOMAIN = {"from tables": "spinning", "averaged on its own": "mixed", "simulated": "direct"}
USUAL = lines._INTEGRATION_DENSITY, lines._RESOLUTION_PPM, lines._MAX_POINTS


def direct(site: SiteShape, nucleus: str, axis: np.ndarray, *, field: float, rate: float, width: float) -> np.ndarray:
    """The line simulated by mrsimulator and convolved by fast Fourier transform."""
    unit = lines.shape(
        nucleus,
        field_tesla=field,
        mas_rate_hz=rate,
        zeta_csa_ppm=site.zeta_csa_ppm,
        eta_csa=site.eta_csa,
        cq_mhz=site.cq_mhz,
        eta_q=site.eta_q,
    )
    n = len(unit.density)
    f = np.fft.rfftfreq(4 * n, unit.step_ppm)
    damp = np.exp(-2.0 * (np.pi * width / 2.3548200450309493 * f) ** 2 - 2j * np.pi * f * n * unit.step_ppm)
    density = np.fft.irfft(np.fft.rfft(unit.density, 4 * n) * damp, 4 * n)
    return np.interp(axis, unit.axis_ppm[0] + site.delta_ppm + (np.arange(4 * n) - n) * unit.step_ppm, density)


def deviation(case: str, rng: np.random.Generator) -> float:
    """Largest deviation of one random site."""
    is_shift = case.startswith("CSA")
    nucleus = "31P" if is_shift else str(rng.choice(["27Al", "23Na", "17O"]))
    field = float(rng.uniform(7.0, 23.0))
    larmor = larmor_mhz(isotope(nucleus), field)
    cq = 0.0 if is_shift else float(rng.uniform(1.0, 8.0 if nucleus == "27Al" else 4.0))
    rate = 0.0 if "static" in case else float(rng.uniform(1e4, 3e4))
    if case == "infinite speed":
        rate = math.inf
    if case == "CSA sidebands":
        rate = float(rng.uniform(3e3, 2e4))
    zeta = float(rng.uniform(-100.0, 100.0)) if is_shift else 0.0
    if case == "finite speed with CSA":
        zeta = float(rng.uniform(-MIXED_RATIO, MIXED_RATIO)) * rate / larmor
    eta = float(rng.uniform(0.0, 1.0))
    broad = second_order_width_ppm(isotope(nucleus), cq_mhz=cq, eta=eta, larmor_mhz=larmor, is_spinning=rate > 0)
    if case == "CSA static":
        broad = 2.0 * abs(zeta)
    width = max(broad / float(rng.uniform(8.0, 30.0)), 1.5)
    site = SiteShape(20.0, zeta, float(rng.uniform(0.0, 1.0)), cq, 0.0, eta)
    half = max(1.5 * broad, 20.0 * width, 30.0)
    axis = np.arange(20.0 - 1.3 * half, 20.0 + 0.8 * half, width / 5.0)
    expected = direct(site, nucleus, axis, field=field, rate=rate, width=width)
    found = table_line(site, nucleus, axis, field_tesla=field, mas_rate_hz=rate, gaussian_ppm=width)
    return float(np.abs(found - expected).max() / expected.max())


def in_domain(rng: np.random.Generator) -> tuple[float, str]:
    """Largest deviation of one random site of the whole domain, and how its line was made."""
    nucleus = str(rng.choice(list(COUPLINGS_MHZ)))
    low, high = COUPLINGS_MHZ[nucleus]
    field, rate = float(rng.choice(FIELDS_TESLA)), float(np.exp(rng.uniform(np.log(5e3), np.log(1e5))))
    larmor = larmor_mhz(isotope(nucleus), field)
    cq, eta = float(np.exp(rng.uniform(np.log(low), np.log(high)))), float(rng.uniform(0.0, 1.0))
    zeta = float(rng.choice([-1.0, 1.0]) * 200.0 ** rng.uniform(0.0, 1.0))
    broad = second_order_width_ppm(isotope(nucleus), cq_mhz=cq, eta=eta, larmor_mhz=larmor)
    width = max(broad / float(rng.uniform(2.0, 39.0)), 1.5)
    site = SiteShape(20.0, zeta, float(rng.uniform(0.0, 1.0)), cq, 0.0, eta)
    half = min(max(1.5 * broad, 20.0 * width, 2.2 * rate / larmor), MOST_POINTS * width / 11.0)
    axis = np.arange(20.0 - 1.3 * half, 20.0 + 0.8 * half, width / 5.0)
    expected = direct(site, nucleus, axis, field=field, rate=rate, width=width)
    with coarse():
        found = table_line(site, nucleus, axis, field_tesla=field, mas_rate_hz=rate, gaussian_ppm=width)
    made = SiteKernels([site], nucleus, field, rate, frequencies=np.arange(3.0))
    return float(np.abs(found - expected).max() / expected.max()), made.kinds[0]


@contextlib.contextmanager
def coarse() -> Iterator[None]:
    """Direct simulations as in a fit."""
    fine = lines._INTEGRATION_DENSITY, lines._RESOLUTION_PPM, lines._MAX_POINTS
    lines._INTEGRATION_DENSITY, lines._RESOLUTION_PPM, lines._MAX_POINTS = USUAL
    lines._shape.cache_clear()
    yield
    lines._INTEGRATION_DENSITY, lines._RESOLUTION_PPM, lines._MAX_POINTS = fine
    lines._shape.cache_clear()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--only", choices=CASES, help="one case")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    # the yardstick needs more orientations and points than a fit
    lines._INTEGRATION_DENSITY, lines._RESOLUTION_PPM, lines._MAX_POINTS = 200, 0.005, 2**19
    print("| case | median | largest |")
    print("|---|---|---|")
    for case in [given.only] if given.only else CASES:
        rng = np.random.default_rng([given.seed, CASES.index(case)])
        if case == "domain":
            drawn = []
            for index in range(given.draws):
                drawn.append(in_domain(rng))
                print(f"{index} {drawn[-1][1]} {drawn[-1][0]:.4%}", file=sys.stderr, flush=True)
            for name, kind in DOMAIN.items():
                values = [value for value, made in drawn if made == kind]
                if values:
                    print(f"| whole domain, {name}: {len(values)} | {np.median(values):.3%} | {max(values):.3%} |")
            continue
        values = [deviation(case, rng) for _ in range(given.draws)]
        print(f"| {case} | {np.median(values):.3%} | {max(values):.3%} |", flush=True)


if __name__ == "__main__":
    main()
