"""Line shapes from tables: a site costs microseconds instead of a simulation.

A table holds the Fourier transform K(tau) of a powder pattern in the units of its interaction (see ``powder``). The
transform of a line at frequency f (cycles per ppm) is then

    L(f) = exp(-2 pi i f delta) * sum_n exp(-2 pi i f n rate) * K_n(A f) * B(f)

with A the interaction in ppm, n the spinning sidebands and B the broadening: coupling, field, shift and broadening
need no table of their own. Tabulated are eta, tau and, under finite spinning, A over the rate; between nodes
cubic Lagrange polynomials interpolate. Tables are built once and kept in memory and in the user's cache folder.

Within ``VALID_WIDTH_RATIO`` a line deviates from a direct mrsimulator simulation by at most ``ERROR_BOUND`` of its
height (tests/analysis/test_kernels.py, benchmarks/kernels.py). A small shift anisotropy enters a central transition to
second order in the table; a larger one by an average of the site's own. Spinning slower than the tables cover and
static central transitions with shift anisotropy are simulated with mrsimulator instead.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from . import powder
from .constants import isotope as nucleus_of
from .constants import larmor_mhz
from .kernel_cache import stored
from .lines import LineShapeError, shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import csr_array

    from .constants import Isotope

ERROR_BOUND = 0.005
"""Largest deviation from a direct simulation, relative to the height of the line."""

VALID_WIDTH_RATIO = 40.0
"""Largest width of a powder pattern, in units of the Gaussian broadening (full width at half maximum)."""

MIXED_RATIO = 0.25
"""Largest zeta nu0 over the rate at which a shift anisotropy enters a central transition by the table (to second order:
what is left out stays below 0.2 % of the height). Beyond it the site is averaged over orientations on its own."""

MOST_MIXED = 20.0
"""Largest zeta nu0 over the rate for which that is done; beyond it the site is simulated by mrsimulator."""

N_SIDEBANDS = 8
RATIO_STEP, RATIO_NODES = 2.0, 13
ETA_NODES = 33
TAU_COUNT = 768
SHIFT_RATIO_STEP, SHIFT_RATIO_NODES, SHIFT_SIDEBANDS = 0.5, 25, 24
TAU_STEP = {"spinning": 0.75, "static": 0.25, "shift": 0.05}
_DENSITIES = (40, 80)
"""Two grids of orientations; their errors fall with the square of the density, which Richardson's rule takes out."""
_VERSION = 2
_CENTRAL_MINIMUM_MHZ = 0.02


def _key(kind: str) -> str:
    numbers = (_VERSION, N_SIDEBANDS, RATIO_STEP, ETA_NODES, TAU_COUNT, SHIFT_RATIO_STEP, SHIFT_RATIO_NODES)
    return "-".join(str(value) for value in (kind, *numbers, SHIFT_SIDEBANDS, TAU_STEP, _DENSITIES))


def centre(eta: ArrayLike) -> NDArray[np.float64]:
    """Centre of gravity of the central transition in units of A: -(1 + eta^2/3) / 30 (Samoson, 1985)."""
    return np.asarray(-(1.0 + np.asarray(eta, dtype=float) ** 2 / 3.0) / 30.0)


_BINS = 8192
Bins = TypeVar("Bins", "NDArray[np.float64]", "csr_array")
_SPINNING_PARTS = 6


class _Pattern(NamedTuple):
    """Orientations of the coarse grid at one eta: harmonics of the coupling and of the two parts of a unit CSA, and
    the matrix (bins, v) from amplitudes to the extrapolated pattern.
    """

    harmonics: NDArray[np.complex128]
    shifts: tuple[NDArray[np.complex128], NDArray[np.complex128]]
    bins: csr_array


@lru_cache(maxsize=2 * ETA_NODES)
def _pattern(eta: float, densities: tuple[int, int] = _DENSITIES) -> _Pattern:
    coarse, fine = (powder.octant(density) for density in densities)
    mean, harmonics = powder.spinning_frequencies(coarse, eta, "quadrupole")
    axial, full = (powder.spinning_frequencies(coarse, value, "shift")[1] for value in (0.0, 1.0))
    fine_mean, _ = powder.spinning_frequencies(fine, eta, "quadrupole")
    refined = _deposit(fine, fine_mean, "spinning") @ powder.refinement(densities[0])
    bins = _extrapolated(_deposit(coarse, mean, "spinning"), refined)
    return _Pattern(harmonics, (axial, full - axial), bins)


def _deposit(grid: powder.Octant, frequency: NDArray[np.float64], kind: str) -> csr_array:
    return powder.deposit(grid, frequency, -0.5 / TAU_STEP[kind], 1.0 / (_BINS * TAU_STEP[kind]), _BINS)


def _transforms(bins: NDArray[np.float64], kind: str, carrier: float) -> NDArray[np.complex128]:
    """K(tau) of binned patterns (bins, c), (c, TAU_COUNT), with the carrier taken out."""
    tau = TAU_STEP[kind] * np.arange(TAU_COUNT)
    spectrum = np.fft.rfft(bins, axis=0)[:TAU_COUNT]
    phase = np.exp(2j * math.pi * tau * (0.5 / TAU_STEP[kind] + carrier))
    # a bin's content is spread over its width
    phase = phase / np.sinc(np.arange(TAU_COUNT) / _BINS)
    return np.asarray((spectrum * phase[:, None]).T)


@lru_cache(maxsize=RATIO_NODES)
def spinning_table(node: int) -> NDArray[np.complex64]:
    """Central transition under spinning with A over the rate = node * RATIO_STEP: (6, ETA_NODES, 2 N + 1, TAU_COUNT).

    The first part has no shift anisotropy; the others are the coefficients of z, z e, z^2, z^2 e and z^2 e^2, with z
    zeta over the rate and e the asymmetry of a coaxial shift tensor. Node 0 is the limit of infinite speed.
    """

    def build() -> dict[str, NDArray[np.generic]]:
        table = np.zeros((_SPINNING_PARTS, ETA_NODES, 2 * N_SIDEBANDS + 1, TAU_COUNT), dtype=np.complex64)
        for i, eta in enumerate(np.linspace(0.0, 1.0, ETA_NODES)):
            pattern = _pattern(float(eta))
            parts = powder.sideband_changes(node * RATIO_STEP * pattern.harmonics, pattern.shifts, N_SIDEBANDS)
            bins = pattern.bins @ np.concatenate(parts, axis=1)
            transforms = _transforms(bins, "spinning", float(centre(eta)))
            table[:, i] = transforms.reshape(_SPINNING_PARTS, 2 * N_SIDEBANDS + 1, TAU_COUNT)
        return {"table": table}

    return np.asarray(stored(f"spinning-{node}", _key("spinning"), build)["table"])


_MANY_SIDEBANDS = 6.0


def _mixed(site: SiteShape, rate_ppm: float, node: int, orders: NDArray[np.int64]) -> NDArray[np.complex128]:
    """Sidebands ``orders`` (n,) with any shift anisotropy and A over the rate = node * RATIO_STEP: (n, TAU_COUNT)."""
    ratio = site.zeta_csa_ppm / rate_ppm
    densities = _DENSITIES if abs(ratio) < _MANY_SIDEBANDS else (2 * _DENSITIES[0], 2 * _DENSITIES[1])
    eta = round(min(1.0, max(0.0, site.eta_q)), 4)
    pattern = _pattern(eta, densities)
    axial, change = pattern.shifts
    harmonics = node * RATIO_STEP * pattern.harmonics + ratio * (axial + site.eta_csa * change)
    count = _mixed_count(ratio)
    amplitudes = powder.sideband_changes(harmonics, [], count)[0][:, orders + count]
    return _transforms(pattern.bins @ amplitudes, "spinning", float(centre(eta)))


def _mixed_count(ratio: float) -> int:
    """Highest order of sidebands of a site with this zeta nu0 over the rate."""
    return N_SIDEBANDS + 2 + math.ceil(1.6 * abs(ratio))


def _extrapolated(coarse: Bins, fine: Bins) -> Bins:
    ratio = (_DENSITIES[1] / _DENSITIES[0]) ** 2
    result: Bins = (fine * ratio - coarse) * (1.0 / (ratio - 1.0))
    return result


@lru_cache(maxsize=1)
def static_table() -> NDArray[np.complex64]:
    """Central transition at rest, (ETA_NODES, TAU_COUNT)."""
    return _static("static")


@lru_cache(maxsize=1)
def shift_table() -> NDArray[np.complex64]:
    """Shift anisotropy at rest, in units of zeta, (ETA_NODES, TAU_COUNT)."""
    return _static("shift")


def _static(kind: str) -> NDArray[np.complex64]:
    def build() -> dict[str, NDArray[np.generic]]:
        table = np.zeros((ETA_NODES, TAU_COUNT), dtype=np.complex64)
        for i, eta in enumerate(np.linspace(0.0, 1.0, ETA_NODES)):
            found = []
            for density in _DENSITIES:
                grid = powder.octant(density)
                interaction: powder.Interaction = "quadrupole" if kind == "static" else "shift"
                frequency = powder.static_frequencies(grid, float(eta), interaction)
                found.append(_deposit(grid, frequency, kind) @ np.ones((len(frequency), 1)))
            carrier = float(centre(eta)) if kind == "static" else 0.0
            table[i] = _transforms(_extrapolated(found[0], found[1]), kind, carrier)[0]
        return {"table": table}

    return np.asarray(stored(kind, _key(kind), build)["table"])


@lru_cache(maxsize=1)
def shift_sidebands_table() -> NDArray[np.float64]:
    """Sidebands of a shift anisotropy, over zeta nu0 / rate in steps of 0.5 and eta: (nodes, ETA_NODES, 2 N + 1)."""

    def build() -> dict[str, NDArray[np.generic]]:
        grid = powder.octant(50)
        weight = np.bincount(grid.corners.ravel(), np.repeat(grid.weights / 3.0, 3), len(grid.directions))
        table = np.zeros((SHIFT_RATIO_NODES, ETA_NODES, 2 * SHIFT_SIDEBANDS + 1))
        for j, eta in enumerate(np.linspace(0.0, 1.0, ETA_NODES)):
            _, harmonics = powder.spinning_frequencies(grid, float(eta), "shift")
            for i in range(SHIFT_RATIO_NODES):
                amplitudes = powder.sideband_amplitudes(harmonics, i * SHIFT_RATIO_STEP, SHIFT_SIDEBANDS)
                table[i, j] = weight @ amplitudes
        return {"table": table}

    return np.asarray(stored("shift-sidebands", _key("shift-sidebands, 64 phases"), build)["table"])


def lagrange(position: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """First node and weights (..., 4) of cubic interpolation at a position in units of the node spacing."""
    first = np.clip(np.floor(position).astype(np.int64) - 1, 0, count - 4)
    return first, _weights(position - first)


def _weights(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the nodes 0, 1, 2, 3 at t, (..., 4)."""
    a, b, c = t - 1.0, t - 2.0, t - 3.0
    return np.stack([-a * b * c / 6.0, t * b * c / 2.0, -t * a * c / 2.0, t * a * b / 6.0], axis=-1)


def _slopes(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Derivatives of the weights of the nodes 0, 1, 2, 3 at t, (..., 4)."""
    a, b, c = t - 1.0, t - 2.0, t - 3.0
    return np.stack(
        [
            -(b * c + a * c + a * b) / 6.0,
            (b * c + t * c + t * b) / 2.0,
            -(a * c + t * c + t * a) / 2.0,
            (a * b + t * b + t * a) / 6.0,
        ],
        axis=-1,
    )


def _eta_nodes(eta: float) -> tuple[slice, NDArray[np.float32]]:
    """Six nodes around an eta and their Lagrange weights; done once per site, for edges move with eta."""
    position = min(1.0, max(0.0, eta)) * (ETA_NODES - 1)
    first = min(max(math.floor(position) - 2, 0), ETA_NODES - 6)
    nodes = range(6)
    weights = [math.prod((position - first - j) / (i - j) for j in nodes if j != i) for i in nodes]
    return slice(first, first + 6), np.array(weights, dtype=np.float32)


def mix_eta(table: NDArray[np.complex64], eta: float) -> NDArray[np.complex64]:
    """Table (eta, ...) at one eta, (...)."""
    nodes, weights = _eta_nodes(eta)
    return np.asarray(np.tensordot(weights, table[nodes], axes=(0, 0)))


def shift_sidebands(zeta_over_rate: float, eta: float) -> NDArray[np.float64]:
    """Intensities of the sidebands -24 .. 24 of a shift anisotropy, of sum 1; the ratio may be negative."""
    first, weights = lagrange(np.array(abs(zeta_over_rate) / SHIFT_RATIO_STEP), SHIFT_RATIO_NODES)
    table = np.tensordot(weights, shift_sidebands_table()[int(first) : int(first) + 4], axes=(0, 0))
    mixed = np.asarray(mix_eta(table.astype(np.complex64), eta).real, dtype=float)
    return np.ascontiguousarray(mixed[::-1]) if zeta_over_rate < 0 else mixed


class SiteShape(NamedTuple):
    """What a line's shape and place depend on: shift (only used to leave out sidebands outside a window), CSA, EFG.

    Of a disordered site ``cq_mhz`` is the typical coupling of a Czjzek distribution (``disorder.typical_coupling``);
    its shift anisotropy is left out.
    """

    delta_ppm: float
    zeta_csa_ppm: float = 0.0
    eta_csa: float = 0.0
    cq_mhz: float = 0.0
    cq_error_mhz: float = 0.0
    eta_q: float = 0.0
    is_disordered: bool = False


def unit_ppm(nucleus: Isotope, larmor: float) -> float:
    """A in ppm of a CQ of 1 MHz."""
    spin = nucleus.spin
    nu_q = 3.0 / (2.0 * spin * (2.0 * spin - 1.0))
    return (nu_q / larmor) ** 2 * (spin * (spin + 1.0) - 0.75) * 1e6


class SiteKernels:
    """Transforms of the lines of several sites under one condition, at fixed frequencies.

    Parameters
    ----------
    sites
        Shapes of the sites; ``cq_error_mhz`` says how far CQ may move (four errors are covered).
    isotope, field_tesla, mas_rate_hz
        Condition; a rate of 0 is a static powder, infinity shows no sidebands.
    frequencies
        (f,) ascending from 0, cycles per ppm.
    window_ppm
        Sidebands outside of it are left out.
    """

    def __init__(
        self,
        sites: Sequence[SiteShape],
        isotope: str,
        field_tesla: float,
        mas_rate_hz: float,
        *,
        frequencies: NDArray[np.float64],
        window_ppm: tuple[float, float] = (-math.inf, math.inf),
    ) -> None:
        if not field_tesla > 0 or not mas_rate_hz >= 0:
            raise LineShapeError(f"a field above 0 T and a rate of at least 0 Hz are needed, got {field_tesla} T, "
                                 f"{mas_rate_hz} Hz")  # fmt: skip
        self.nucleus = nucleus_of(isotope)
        self.field_tesla, self.rate = field_tesla, mas_rate_hz
        self.larmor = larmor_mhz(self.nucleus, field_tesla)
        self.rate_ppm = mas_rate_hz / self.larmor
        self.unit = unit_ppm(self.nucleus, self.larmor) if self.nucleus.is_half_integer_quadrupolar else 0.0
        self.frequencies, self.window = frequencies, window_ppm
        central = self.nucleus.is_half_integer_quadrupolar
        self.is_central = np.array([central and abs(site.cq_mhz) > _CENTRAL_MINIMUM_MHZ for site in sites], dtype=bool)
        self.constant = np.zeros((len(sites), len(frequencies)), dtype=np.complex64)
        self.patterns: list[tuple[NDArray[np.int64], Patterns]] = []
        self.kinds = [self._kind(site) if self.is_central[s] else "shift" for s, site in enumerate(sites)]
        groups: dict[str, list[int]] = {}
        for s, site in enumerate(sites):
            if self.is_central[s]:
                groups.setdefault(self.kinds[s], []).append(s)
            else:
                self.constant[s] = self._shift_only(site)
        for kind, members in groups.items():
            self.patterns.append((np.array(members), Patterns(self, [sites[s] for s in members], kind)))

    def _kind(self, site: SiteShape) -> str:
        if site.is_disordered:
            return "disordered"
        largest = self.unit * (abs(site.cq_mhz) + 4.0 * site.cq_error_mhz) ** 2
        if self.rate == 0:
            is_pure = abs(site.zeta_csa_ppm) < 0.01 * 0.2 * self.unit * site.cq_mhz**2
            return "static" if is_pure else "direct"
        if self.rate == math.inf:
            return "spinning"
        ratio = abs(site.zeta_csa_ppm) / self.rate_ppm
        if largest / self.rate_ppm > RATIO_STEP * (RATIO_NODES - 1) or ratio > MOST_MIXED:
            return "direct"
        return "spinning" if ratio <= MIXED_RATIO else "mixed"

    def _orders(self, delta: float, count: int) -> NDArray[np.int64]:
        """Sidebands that may lie in the window."""
        if self.rate_ppm in {math.inf, 0.0}:
            return np.zeros(1, dtype=np.int64)
        orders = np.arange(-count, count + 1)
        at = delta + orders * self.rate_ppm
        return orders[(at > self.window[0]) & (at < self.window[1])]

    def _shift_only(self, site: SiteShape) -> NDArray[np.complex128]:
        f, zeta = self.frequencies, site.zeta_csa_ppm
        if self.rate == 0:
            position = abs(zeta) * f / TAU_STEP["shift"]
            row = mix_eta(shift_table(), site.eta_csa)
            first, weights = lagrange(position, TAU_COUNT)
            value = (row[first[:, None] + np.arange(4)] * weights).sum(axis=1)
            value = np.where(position > TAU_COUNT - 3, 0.0, value)
            return np.asarray(np.conj(value) if zeta < 0 else value)
        ratio = zeta / self.rate_ppm
        if self.rate == math.inf:
            inside = self.window[0] < site.delta_ppm < self.window[1]
            return np.full(len(f), complex(inside))
        if abs(ratio) > SHIFT_RATIO_STEP * (SHIFT_RATIO_NODES - 1):
            return _transform_of_shape(self, site, f)
        orders = self._orders(site.delta_ppm, SHIFT_SIDEBANDS)
        heights = shift_sidebands(ratio, site.eta_csa)[orders + SHIFT_SIDEBANDS]
        return np.asarray(heights @ np.exp(-2j * math.pi * np.outer(orders * self.rate_ppm, f)))

    def evaluate(self, cq_mhz: NDArray[np.float64]) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
        """Transforms about zero shift (n, f) of all sites with the CQ given (n,), and derivatives per MHz (n, f).

        The slow change of sideband intensities with CQ is left out of the derivatives.
        """
        value, by_cq = self.constant.copy(), np.zeros_like(self.constant)
        for members, patterns in self.patterns:
            value[members], by_cq[members] = patterns.evaluate(np.abs(cq_mhz[members]))
        return value, by_cq


class Patterns:
    """Central-transition patterns of several sites, reduced to their eta: (n, nodes, sidebands, tau)."""

    def __init__(self, owner: SiteKernels, sites: Sequence[SiteShape], kind: str) -> None:
        self.owner, self.kind = owner, kind
        self.eta = np.array([site.eta_q for site in sites])
        self.first = np.zeros(len(sites), dtype=np.int64)
        self.tau_step = np.full(len(sites), TAU_STEP["static" if kind == "static" else "spinning"])
        self.orders = np.zeros(1, dtype=np.int64)
        self.bands: NDArray[np.complex64] | None = None
        if kind == "disordered":
            from .kernel_disorder import disordered_rows

            rows = disordered_rows(self, sites)
        elif kind == "static":
            rows = [mix_eta(static_table(), site.eta_q)[None, None] for site in sites]
        elif kind == "direct":
            rows = []
            for s, site in enumerate(sites):
                scale = owner.unit * site.cq_mhz**2
                # fine enough for the extent of the shape, which a shift anisotropy may make wider than the coupling
                self.tau_step[s] = min(0.75, 0.25 / (0.35 + 1.5 * abs(site.zeta_csa_ppm) / scale))
                tau = self.tau_step[s] * np.arange(TAU_COUNT)
                carrier = np.exp(2j * math.pi * tau * float(centre(site.eta_q)))
                rows.append((_transform_of_shape(owner, site, tau / scale) * carrier)[None, None].astype(np.complex64))
        else:
            rows = self._spinning(sites)
        self.rows = np.stack(rows)
        self.cut = self.rows.shape[-1]

    def _spinning(self, sites: Sequence[SiteShape]) -> list[NDArray[np.complex64]]:
        owner = self.owner
        is_mixed = self.kind == "mixed"
        sets = [
            owner._orders(
                site.delta_ppm + owner.unit * site.cq_mhz**2 * float(centre(site.eta_q)),
                _mixed_count(site.zeta_csa_ppm / owner.rate_ppm) if is_mixed else N_SIDEBANDS,
            )
            for site in sites
        ]
        self.orders = np.unique(np.concatenate(sets)) if sets else self.orders
        if not len(self.orders):
            self.orders = np.zeros(1, dtype=np.int64)
        highest = owner.unit * max((abs(s.cq_mhz) + 4.0 * s.cq_error_mhz) ** 2 for s in sites) * owner.frequencies[-1]
        cut = int(min(TAU_COUNT, max(8, math.ceil(highest / TAU_STEP["spinning"]) + 5)))
        if owner.rate == math.inf:
            return [mix_eta(spinning_table(0)[0, :, N_SIDEBANDS : N_SIDEBANDS + 1, :cut], s.eta_q)[None] for s in sites]
        spans = [self.span(site) for site in sites]
        depth = max(last - first for first, last in spans)
        rows = []
        for s, (site, (first, last)) in enumerate(zip(sites, spans, strict=True)):
            self.first[s] = first
            row = np.zeros((depth, len(self.orders), cut), dtype=np.complex64)
            ratio = site.zeta_csa_ppm / owner.rate_ppm
            powers = (ratio, ratio * site.eta_csa)
            squares = (powers[0] ** 2, powers[0] * powers[1], powers[1] ** 2)
            shares = np.array([1.0, *powers, *squares], dtype=np.float32)
            parts = _SPINNING_PARTS if ratio else 1
            nodes, weights = _eta_nodes(site.eta_q)
            mine = np.isin(self.orders, sets[s])
            kept = self.orders[mine] + N_SIDEBANDS
            for node in range(first, last):
                if is_mixed:
                    row[node - first][mine] = _mixed(site, owner.rate_ppm, node, self.orders[mine])[:, :cut]
                    continue
                picked = spinning_table(node)[:parts, nodes][:, :, kept, :cut]
                row[node - first][mine] = np.einsum("p,e,pent->nt", shares[:parts], weights, picked)
            rows.append(row)
        self.depth = np.array([last - first for first, last in spans])
        return rows

    def span(self, site: SiteShape) -> tuple[int, int]:
        """First node, and that behind the last, of A over the rate that a site's coupling may need."""
        owner = self.owner
        low, high = (
            owner.unit * max(0.0, abs(site.cq_mhz) + k * site.cq_error_mhz) ** 2 / owner.rate_ppm / RATIO_STEP
            for k in (-4.0, 4.0)
        )
        first = min(max(0, math.floor(low) - 1), RATIO_NODES - 4)
        return first, min(RATIO_NODES, max(math.floor(high) + 3, first + 4))

    def _bands(self) -> NDArray[np.complex64]:
        """Phases (f, n) of the sidebands; made once."""
        if self.bands is None:
            turns = np.outer(self.owner.frequencies, self.orders * self.owner.rate_ppm)
            self.bands = np.exp(-2j * math.pi * turns).astype(np.complex64)
        return self.bands

    def evaluate(self, cq: NDArray[np.float64]) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
        owner = self.owner
        cq = np.maximum(cq, 1e-3)
        scale = owner.unit * cq**2
        rows = self.rows
        if rows.shape[1] > 1:
            position = scale / owner.rate_ppm / RATIO_STEP - self.first
            first = np.clip(np.floor(position).astype(np.int64) - 1, 0, self.depth - 4)
            weights = _weights(np.clip(position - first, -1.0, 4.0)).astype(np.float32)
            picked = rows[np.arange(len(cq))[:, None], first[:, None] + np.arange(4)]
            rows = np.einsum("sg,sgnt->snt", weights, picked)
        else:
            rows = rows[:, 0]
        f = owner.frequencies
        position = (scale / self.tau_step)[:, None] * f
        first = np.clip(position.astype(np.int64) - 1, 0, self.cut - 4)
        t = position - first
        weights, slopes = _weights(t).astype(np.float32), _slopes(t).astype(np.float32)
        beyond = position > self.cut - 2
        is_banded = len(self.orders) > 1 or self.orders[0] != 0
        # bands are summed before interpolation, which is the same for all of them
        by_time = np.ascontiguousarray(rows.transpose(0, 2, 1)) if is_banded else rows[:, 0, :, None]
        site = np.arange(len(cq))[:, None]
        total, total_slope = np.zeros((2, len(cq), len(f)), dtype=np.complex64)
        for k in range(4):
            picked = by_time[site, first + k]
            summed = np.einsum("sfn,fn->sf", picked, self._bands()) if is_banded else picked[..., 0]
            total += weights[..., k] * summed
            total_slope += slopes[..., k] * summed
        turn = np.exp(-2j * math.pi * (scale * centre(self.eta))[:, None] * f).astype(np.complex64)
        total = np.where(beyond, 0.0, total * turn)
        total_slope = np.where(beyond, 0.0, total_slope * turn)
        by_scale = total_slope * (f / self.tau_step[:, None]) - 2j * math.pi * centre(self.eta)[:, None] * f * total
        by_cq = by_scale * (2.0 * scale / cq)[:, None]
        return total.astype(np.complex64), by_cq.astype(np.complex64)


def _transform_of_shape(owner: SiteKernels, site: SiteShape, f: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Transform at any frequencies of a directly simulated shape about zero shift."""
    unit = shape(
        owner.nucleus.name,
        field_tesla=owner.field_tesla,
        mas_rate_hz=owner.rate,
        zeta_csa_ppm=site.zeta_csa_ppm,
        eta_csa=site.eta_csa,
        cq_mhz=site.cq_mhz,
        eta_q=site.eta_q,
    )
    middle = unit.centre_of_gravity_ppm
    count = 4 * len(unit.axis_ppm)
    # what lies outside of the window would fold back into it
    at = unit.axis_ppm + site.delta_ppm
    inside = (at > owner.window[0]) & (at < owner.window[1])
    fine = np.fft.rfft(unit.density * inside * unit.step_ppm, count)
    own = np.arange(len(fine)) / (count * unit.step_ppm)
    fine = fine * np.exp(-2j * math.pi * own * (unit.axis_ppm[0] - middle))
    value = np.interp(f, own, fine.real, right=0.0) + 1j * np.interp(f, own, fine.imag, right=0.0)
    return np.asarray(value * np.exp(-2j * math.pi * f * middle))


def broadening_transform(f: NDArray[np.float64], gaussian_ppm: float, lorentzian_ppm: float) -> NDArray[np.float64]:
    """Transform (f,) of a Gaussian and a Lorentzian of the given full widths at half maximum, convolved."""
    sigma = gaussian_ppm / 2.3548200450309493
    return np.asarray(np.exp(-2.0 * (math.pi * sigma * f) ** 2 - math.pi * lorentzian_ppm * f))


def table_line(
    site: SiteShape,
    isotope: str,
    axis_ppm: ArrayLike,
    *,
    field_tesla: float,
    mas_rate_hz: float,
    gaussian_ppm: float,
    lorentzian_ppm: float = 0.0,
) -> NDArray[np.float64]:
    """Line of one site on a uniform ascending axis, density per ppm (m,), of unit area over all sidebands.

    Raises
    ------
    LineShapeError
        If the axis is not uniform and ascending, or coarser than the Gaussian broadening.
    """
    axis = np.asarray(axis_ppm, dtype=float)
    steps = np.diff(axis)
    if axis.ndim != 1 or len(axis) < 8 or not steps.min() > 0 or np.ptp(steps) > 1e-3 * steps.mean():
        raise LineShapeError("a table line needs a uniform ascending axis of at least 8 points")
    if not gaussian_ppm > 1.2 * steps.mean():
        raise LineShapeError(
            f"a Gaussian broadening of {gaussian_ppm} ppm is not resolved by steps of {steps.mean():.3g} ppm; "
            f"use at least {1.2 * steps.mean():.3g} ppm or a finer axis"
        )
    synthesis = Synthesis(axis[0], float(steps.mean()), len(axis))
    f = synthesis.frequencies
    kernels = SiteKernels([site], isotope, field_tesla, mas_rate_hz, frequencies=f, window_ppm=synthesis.window_ppm)
    value, _ = kernels.evaluate(np.array([site.cq_mhz]))
    damped = value[0] * broadening_transform(f, gaussian_ppm, lorentzian_ppm) * synthesis.shift_phase(site.delta_ppm)
    return np.asarray(synthesis.to_axis(damped))


class Synthesis:
    """From transforms to points on a uniform axis; the period is longer than the axis, which keeps outer lines out."""

    def __init__(self, start_ppm: float, step_ppm: float, count: int) -> None:
        from scipy.fft import next_fast_len

        self.start, self.step, self.count = start_ppm, step_ppm, count
        self.length = int(next_fast_len(count + max(count // 2, 64), real=True))
        self.frequencies: NDArray[np.float64] = np.asarray(np.fft.rfftfreq(self.length, step_ppm), dtype=np.float64)
        margin = 0.45 * (self.length - count) * step_ppm
        end = start_ppm + step_ppm * (count - 1)
        self.window_ppm = (start_ppm - margin, end + margin)

    def shift_phase(self, delta_ppm: ArrayLike) -> NDArray[np.complex128]:
        """Phase factors (..., f) that move lines to their shifts (...) on this axis."""
        moved = np.asarray(delta_ppm, dtype=float) - self.start
        return np.asarray(np.exp(-2j * math.pi * moved[..., None] * self.frequencies))

    def to_axis(self, transform: NDArray[np.complexfloating]) -> NDArray[np.float64]:
        """Density per ppm (..., count) of transforms (..., f)."""
        from scipy.fft import irfft

        return np.asarray(irfft(transform, self.length, axis=-1)[..., : self.count]) / self.step
