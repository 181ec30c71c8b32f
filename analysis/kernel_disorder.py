"""Kernel tables of Czjzek-distributed couplings: the line of a disordered site costs as little as that of any other.

A Czjzek distribution has one number, sigma. In units of A of its typical coupling (see ``typical_coupling``) its line
is a function of that A over the spinning rate alone, so that one table serves all disordered sites.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .disorder import TYPICAL_ETA, czjzek_nodes, typical_coupling
from .kernel_cache import stored
from .kernels import (
    ETA_NODES,
    N_SIDEBANDS,
    RATIO_NODES,
    RATIO_STEP,
    TAU_COUNT,
    TAU_STEP,
    centre,
    lagrange,
    mix_eta,
    spinning_table,
    static_table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .kernels import Patterns, SiteShape

STEP = {"spinning": 0.12, "static": 0.1}
"""Spacing of tau: couplings of a distribution reach some times further than its typical one."""

_LEAST_WEIGHT = 3e-5


@lru_cache(maxsize=RATIO_NODES)
def czjzek_table(node: int) -> NDArray[np.complex64]:
    """Spinning line with the typical A over the rate = node * RATIO_STEP: (2 N_SIDEBANDS + 1, TAU_COUNT).

    Couplings so large that their own ratio lies beyond the tables take the intensities of sidebands at its end.
    """

    def build() -> dict[str, NDArray[np.generic]]:
        tau: NDArray[np.float64] = STEP["spinning"] * np.arange(TAU_COUNT, dtype=np.float64)
        total: NDArray[np.complex128] = np.zeros((2 * N_SIDEBANDS + 1, TAU_COUNT), dtype=np.complex128)
        for scale, eta, weight in _components():
            position = min(scale * node, RATIO_NODES - 1.0)
            first, ratios = lagrange(np.array(position), RATIO_NODES)
            own: NDArray[np.complex128] = np.zeros((2 * N_SIDEBANDS + 1, TAU_COUNT), dtype=np.complex128)
            for k, share in enumerate(ratios.tolist()):
                if share:
                    own += share * mix_eta(spinning_table(int(first) + k)[0], eta)
            total += weight * _stretched(own, TAU_STEP["spinning"], tau * scale) * _carrier(tau, scale, eta)
        return {"table": total.astype(np.complex64)}

    return np.asarray(stored(f"czjzek-spinning-{node}", _key(), build)["table"])


@lru_cache(maxsize=1)
def czjzek_static_table() -> NDArray[np.complex64]:
    """Line at rest, (TAU_COUNT,)."""

    def build() -> dict[str, NDArray[np.generic]]:
        tau: NDArray[np.float64] = STEP["static"] * np.arange(TAU_COUNT, dtype=np.float64)
        total: NDArray[np.complex128] = np.zeros((1, TAU_COUNT), dtype=np.complex128)
        for scale, eta, weight in _components():
            own = mix_eta(static_table(), eta)[None].astype(complex)
            total += weight * _stretched(own, TAU_STEP["static"], tau * scale) * _carrier(tau, scale, eta)
        return {"table": total[0].astype(np.complex64)}

    return np.asarray(stored("czjzek-static", _key(), build)["table"])


def disordered_rows(patterns: Patterns, sites: Sequence[SiteShape]) -> list[NDArray[np.complex64]]:
    """Rows (nodes, sidebands, TAU_COUNT) of Czjzek-distributed sites, and what the patterns must know of them."""
    owner = patterns.owner
    patterns.eta = np.full(len(sites), TYPICAL_ETA)
    patterns.tau_step = np.full(len(sites), STEP["static" if owner.rate == 0 else "spinning"])
    if owner.rate == 0:
        return [czjzek_static_table()[None, None]] * len(sites)
    if owner.rate == math.inf:
        return [czjzek_table(0)[None, N_SIDEBANDS : N_SIDEBANDS + 1]] * len(sites)
    patterns.orders = np.arange(-N_SIDEBANDS, N_SIDEBANDS + 1)
    spans = [patterns.span(site) for site in sites]
    patterns.first = np.array([first for first, _ in spans])
    patterns.depth = np.array([last - first for first, last in spans])
    rows = []
    for first, last in spans:
        row = np.zeros((int(patterns.depth.max()), len(patterns.orders), TAU_COUNT), dtype=np.complex64)
        row[: last - first] = [czjzek_table(node) for node in range(first, last)]
        rows.append(row)
    return rows


def _key() -> str:
    numbers = (N_SIDEBANDS, RATIO_STEP, ETA_NODES, TAU_COUNT, TAU_STEP, STEP, _LEAST_WEIGHT)
    return "-".join(map(str, ("czjzek-1", *numbers)))


def _components() -> list[tuple[float, float, float]]:
    """A over the typical A, eta and weight of the couplings that stand for a distribution."""
    cq, eta, weight = czjzek_nodes(1.0)
    kept = weight > _LEAST_WEIGHT * weight.max()
    cq, eta, weight = cq[kept], eta[kept], weight[kept] / weight[kept].sum()
    scale = (cq / typical_coupling(1.0)) ** 2
    return list(zip(scale.tolist(), eta.tolist(), weight.tolist(), strict=True))


def _stretched(rows: NDArray[np.complex128], step: float, tau: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Tabulated rows (n, TAU_COUNT) at other tau (t,), zero beyond their end."""
    position = tau / step
    first, weights = lagrange(position, TAU_COUNT)
    value = np.zeros((len(rows), len(tau)), dtype=complex)
    for k in range(4):
        value += rows[:, first + k] * weights[:, k]
    value[:, position > TAU_COUNT - 2] = 0.0
    return value


def _carrier(tau: NDArray[np.float64], scale: float, eta: float) -> NDArray[np.complex128]:
    """Phase from the centre of one coupling to that of the typical one."""
    return np.asarray(np.exp(-2j * math.pi * tau * (scale * float(centre(eta)) - float(centre(TYPICAL_ETA)))))
