"""Amplitudes of the members in all spectra: populations shared within groups of spectra times a gain per spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_ROUNDS = 30


class Amplitudes(NamedTuple):
    """Weights (groups, m), not normalised, gains (k,) and their products (m,) per spectrum."""

    weights: NDArray[np.float64]
    gains: NDArray[np.float64]
    by_spectrum: list[NDArray[np.float64]]

    def tangents(self, columns: Sequence[NDArray[np.float64]], groups: NDArray[np.int64]) -> list[NDArray[np.float64]]:
        """Changes (d, p) of each spectrum by the free directions: active weights, then gains relative to the first."""
        members = self.weights.shape[1] if self.weights.size else 0
        active = [(g, j) for g in range(len(self.weights)) for j in range(members) if self.weights[g, j] > 0]
        first = {int(g): int(np.flatnonzero(groups == g)[0]) for g in np.unique(groups)}
        loose = [k for k in range(len(groups)) if k != first[int(groups[k])]]
        result = []
        for k, column in enumerate(columns):
            rows = np.zeros((len(active) + len(loose), column.shape[1]))
            for row, (g, j) in enumerate(active):
                if g == groups[k]:
                    rows[row] = self.gains[k] * column[j]
            if k in loose:
                rows[len(active) + loose.index(k)] = self.weights[groups[k]] @ column
            result.append(rows)
        return result


def solve_amplitudes(
    columns: Sequence[NDArray[np.float64]],
    targets: Sequence[NDArray[np.float64]],
    groups: NDArray[np.int64],
    before: Amplitudes | None,
) -> Amplitudes:
    """Least-squares weights (not negative, shared within groups) and gains, from columns (m, p) and targets (p,).

    Weights and gains are solved for in turn; ``before`` is where to start.
    """
    count = len(columns)
    members = columns[0].shape[0] if count else 0
    n_groups = int(groups.max()) + 1 if count else 0
    weights, gains = np.zeros((n_groups, members)), np.ones(count)
    if not members:
        return Amplitudes(weights, gains, [np.zeros(0) for _ in range(count)])
    normals = [column @ column.T for column in columns]
    rights = [column @ target for column, target in zip(columns, targets, strict=True)]
    for group in range(n_groups):
        chosen = np.flatnonzero(groups == group)
        if not len(chosen):
            continue
        if len(chosen) == 1:
            weights[group] = nonnegative(normals[chosen[0]], rights[chosen[0]])
            continue
        weights[group], gains[chosen] = _shared(
            [normals[k] for k in chosen],
            [rights[k] for k in chosen],
            None if before is None else (before.weights[group], before.gains[chosen]),
        )
    return Amplitudes(weights, gains, [weights[groups[k]] * gains[k] for k in range(count)])


def _shared(
    normals: Sequence[NDArray[np.float64]],
    rights: Sequence[NDArray[np.float64]],
    before: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if before is not None and before[0].any():
        weight, gain = before
    else:
        singles = [nonnegative(normal, right) for normal, right in zip(normals, rights, strict=True)]
        totals = np.array([single.sum() for single in singles])
        shape = sum((s / t for s, t in zip(singles, totals, strict=True) if t > 0), np.zeros(len(singles[0])))
        weight = shape if shape.any() else np.ones(len(singles[0]))
        gain = np.ones(len(normals))
    last = np.inf
    for _ in range(_ROUNDS):
        overlap = np.array([float(weight @ normal @ weight) for normal in normals])
        along = np.array([float(right @ weight) for right in rights])
        gain = np.where(overlap > 0, np.clip(along, 0.0, None) / np.maximum(overlap, 1e-300), 0.0)
        value = -0.5 * float(gain @ along)
        normal = sum((g * g * n for g, n in zip(gain, normals, strict=True)), np.zeros_like(normals[0]))
        right = sum((g * r for g, r in zip(gain, rights, strict=True)), np.zeros_like(rights[0]))
        new = nonnegative(normal, right)
        if not new.any():
            return np.zeros_like(weight), np.ones(len(normals))
        weight = new
        if last - value < 1e-4:
            break
        last = value
    scale = gain[0] if gain[0] > 0 else 1.0
    return weight * scale, gain / scale


def nonnegative(normal: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minimum (m,) of x N x / 2 - r x over x >= 0, from the normal matrix (m, m) and right-hand side (m,)."""
    from scipy.optimize import nnls

    count = len(right)
    if count == 1:
        return np.array([max(0.0, float(right[0]) / max(float(normal[0, 0]), 1e-300))])
    scale = np.sqrt(np.maximum(np.diagonal(normal), 1e-12 * max(float(np.trace(normal)), 1e-300)))
    scaled = normal / np.outer(scale, scale) + 1e-9 * np.eye(count)
    free = np.linalg.solve(scaled, right / scale)
    if (free >= 0).all():
        return np.asarray(free / scale)
    factor = np.linalg.cholesky(scaled)
    return np.asarray(nnls(factor.T, np.linalg.solve(factor, right / scale))[0] / scale)
