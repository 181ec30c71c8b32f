"""Powder averages from first principles: frequencies and sideband amplitudes over orientations.

They fill the kernel tables of ``kernels``. Frequencies are in units of the interaction, so that one
average serves every spin, field and coupling:

- central transition of a half-integer spin to second order: unit A = (nuQ^2 / nu0) [I(I+1) - 3/4] with
  nuQ = 3 CQ / (2I (2I-1)); nu / A = -(2 |V1|^2 - |V2|^2) / 6, where Vq are the spherical components of the coupling in
  the laboratory frame with V0 = 1 along its axis (Man, Encyclopedia of Analytical Chemistry, 2000; for eta = 0
  the textbook -(1 - c^2)(9 c^2 - 1) / 16 follows)
- shift anisotropy: unit zeta nu0; nu / (zeta nu0) = V0
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

Interaction = Literal["quadrupole", "shift"]

MAGIC_ANGLE = math.acos(1.0 / math.sqrt(3.0))
"""Angle between rotor and field, radians."""

_PHASES = ((10, 32), (26, 64), (58, 128))
"""Highest order of sidebands and the number of phases of the rotor that serves it: those of higher order than half the
number of phases fold back."""
_HARMONICS = 16


class Octant(NamedTuple):
    """Directions (v, 3) on one eighth of the sphere, and triangles between them: corners (t, 3), solid angles (t,)
    that sum to 1. An eighth suffices because the tensors are coaxial and of even rank.
    """

    directions: NDArray[np.float64]
    corners: NDArray[np.int64]
    weights: NDArray[np.float64]


def octant(density: int) -> Octant:
    """Octahedral grid with ``density`` divisions of an edge (Alderman et al., J. Chem. Phys. 84 (1986) 3717)."""
    index: dict[tuple[int, int], int] = {}
    points: list[tuple[int, int, int]] = []
    for i in range(density + 1):
        for j in range(density + 1 - i):
            index[i, j] = len(points)
            points.append((i, j, density - i - j))
    corners = []
    for i in range(density):
        for j in range(density - i):
            corners.append((index[i, j], index[i + 1, j], index[i, j + 1]))
            if i + j < density - 1:
                corners.append((index[i + 1, j], index[i, j + 1], index[i + 1, j + 1]))
    directions = np.array(points, dtype=float)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    table = np.array(corners, dtype=np.int64)
    a, b, c = (directions[table[:, k]] for k in range(3))
    # solid angle of a triangle: Van Oosterom and Strackee, IEEE Trans. Biomed. Eng. 30 (1983) 125
    triple = np.abs(np.einsum("ti,ti->t", a, np.cross(b, c)))
    below = 1.0 + (a * b).sum(1) + (b * c).sum(1) + (c * a).sum(1)
    solid = 2.0 * np.arctan2(triple, below)
    return Octant(directions, table, solid / solid.sum())


def refinement(coarse: int) -> csr_array:
    """Matrix (v', v) from amplitudes on an octant to those on the one twice as dense: means of the ends of an edge."""
    from scipy.sparse import csr_array

    index = {pair: at for at, pair in enumerate((i, j) for i in range(coarse + 1) for j in range(coarse + 1 - i))}
    rows, columns = [], []
    fine = 2 * coarse
    pairs = [(i, j) for i in range(fine + 1) for j in range(fine + 1 - i)]
    for row, (i, j) in enumerate(pairs):
        k = fine - i - j
        # of three numbers with an even sum, none or two are odd; those two move in opposite directions along the edge
        if i % 2 and j % 2:
            ends = ((i + 1, j - 1), (i - 1, j + 1))
        elif i % 2 and k % 2:
            ends = ((i + 1, j), (i - 1, j))
        elif j % 2:
            ends = ((i, j + 1), (i, j - 1))
        else:
            ends = ((i, j), (i, j))
        rows += [row, row]
        columns += [index[a // 2, b // 2] for a, b in ends]
    return csr_array((np.full(len(rows), 0.5), (rows, columns)), shape=(len(pairs), len(index)))


def _small_d(beta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reduced Wigner matrices d2[m, m'](beta), rows and columns from -2 to 2, shape (5, 5, v)."""
    c, s = np.cos(beta), np.sin(beta)
    d = np.zeros((5, 5, *np.shape(beta)))
    d22, d21 = 0.25 * (1 + c) ** 2, -0.5 * s * (1 + c)
    d20, d2m1, d2m2 = math.sqrt(0.375) * s**2, -0.5 * s * (1 - c), 0.25 * (1 - c) ** 2
    d11, d10, d1m1 = 0.5 * (2 * c**2 + c - 1), -math.sqrt(1.5) * s * c, 0.5 * (-2 * c**2 + c + 1)
    values = {
        (2, 2): d22, (2, 1): d21, (2, 0): d20, (2, -1): d2m1, (2, -2): d2m2,
        (1, 1): d11, (1, 0): d10, (1, -1): d1m1, (0, 0): 0.5 * (3 * c**2 - 1),
    }  # fmt: skip
    for (m, n), value in values.items():
        sign = (-1.0) ** (m - n)
        d[m + 2, n + 2] = value
        d[n + 2, m + 2] = sign * value
        d[-m + 2, -n + 2] = sign * value
        d[-n + 2, -m + 2] = value
    return d


def _tilted(directions: NDArray[np.float64], eta: float) -> NDArray[np.complex128]:
    """Components (5, v) of a unit tensor with asymmetry eta in frames whose z axis is each direction."""
    beta = np.arccos(np.clip(directions[:, 2], -1.0, 1.0))
    alpha = np.arctan2(directions[:, 1], directions[:, 0])
    d = _small_d(beta)
    own = {-2: eta / math.sqrt(6.0), 0: 1.0, 2: eta / math.sqrt(6.0)}
    result = np.zeros((5, len(directions)), dtype=complex)
    for m, value in own.items():
        result += value * np.exp(-1j * m * alpha) * d[m + 2]
    return result


def _frequency(components: NDArray[np.complex128], interaction: Interaction) -> NDArray[np.float64]:
    """Frequency in units of the interaction from components (5, ...) in the laboratory frame."""
    if interaction == "shift":
        return np.asarray(components[2].real)
    first = np.abs(components[3]) ** 2
    second = np.abs(components[4]) ** 2
    return np.asarray(-(2.0 * first - second) / 6.0)


def static_frequencies(grid: Octant, eta: float, interaction: Interaction) -> NDArray[np.float64]:
    """Frequencies (v,) at rest, in units of the interaction."""
    return _frequency(_tilted(grid.directions, eta), interaction)


def spinning_frequencies(
    grid: Octant, eta: float, interaction: Interaction
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Average frequencies (v,) at the magic angle and Fourier components (v, 16) of their course over a rotor turn."""
    rotor = _tilted(grid.directions, eta)
    turn = 2.0 * math.pi * np.arange(_HARMONICS) / _HARMONICS
    d = _small_d(np.array(MAGIC_ANGLE))
    laboratory = np.zeros((5, len(grid.directions), _HARMONICS), dtype=complex)
    for m in range(-2, 3):
        course = rotor[m + 2][:, None] * np.exp(-1j * m * turn)
        laboratory += d[m + 2][:, None, None] * course[None]
    harmonics = np.fft.fft(_frequency(laboratory, interaction), axis=1) / _HARMONICS
    return harmonics[:, 0].real.copy(), harmonics


def sideband_amplitudes(harmonics: NDArray[np.complex128], ratio: float, n_sidebands: int) -> NDArray[np.float64]:
    """Amplitudes (v, 2 n + 1) of the sidebands -n .. n, each row of sum 1; ``ratio`` is the interaction over the rate.

    The rotor phase is averaged, which leaves the square of the Fourier coefficients of the phase factor
    (Herzfeld and Berger, J. Chem. Phys. 73 (1980) 6021).
    """
    return sideband_changes(ratio * harmonics, [], n_sidebands)[0]


def sideband_changes(
    harmonics: NDArray[np.complex128], others: Sequence[NDArray[np.complex128]], n_sidebands: int
) -> list[NDArray[np.float64]]:
    """Amplitudes (v, 2 n + 1) for harmonics in units of the rate, then how they change with the strengths of others.

    First the coefficients of each strength, then of each product of two (1 1, 1 2, 2 2 for two others): the amplitudes
    to second order. With P the phase of the others, c(P) the Fourier coefficients and c', c'' their derivatives,
    |c|^2 grows by 2 Re(c* c') and, to second order, by |c'|^2 + Re(c* c'').
    """
    phases = next(count for most, count in _PHASES if n_sidebands <= most)
    kept = np.arange(-n_sidebands, n_sidebands + 1) % phases
    factor = np.exp(1j * _phase(harmonics, phases))

    def coefficients(modulation: NDArray[np.complex128]) -> NDArray[np.complex128]:
        return np.asarray(np.fft.fft(modulation, axis=1)[:, kept] / phases)

    unchanged = coefficients(factor)
    results = [np.abs(unchanged) ** 2]
    turned = [_phase(other, phases) for other in others]
    changes = [coefficients(1j * phase * factor) for phase in turned]
    results += [2.0 * (np.conj(unchanged) * change).real for change in changes]
    for i, j in itertools.combinations_with_replacement(range(len(others)), 2):
        second = coefficients(-turned[i] * turned[j] * factor)
        both = (np.conj(changes[i]) * changes[j] + np.conj(unchanged) * second).real
        results.append(both if i == j else 2.0 * both)
    return results


def _phase(harmonics: NDArray[np.complex128], phases: int) -> NDArray[np.float64]:
    """Phase (v, phases) gathered over a rotor turn, up to a constant."""
    orders = np.fft.fftfreq(_HARMONICS, 1.0 / _HARMONICS)
    wide = np.zeros((len(harmonics), phases), dtype=complex)
    for column, order in enumerate(orders):
        if order != 0 and abs(order) <= 4:
            wide[:, int(order) % phases] = harmonics[:, column] / (1j * order)
    return np.asarray((np.fft.ifft(wide, axis=1) * phases).real)


def deposit(grid: Octant, frequency: NDArray[np.float64], low: float, step: float, count: int) -> csr_array:
    """Sparse matrix (count, v) that spreads amplitudes at the grid's directions over frequency bins.

    Within a triangle the frequency is linear, so its share of a bin is the exact area of a tent; the bins are
    centred at low + step * i.
    """
    from scipy.sparse import coo_array

    at = np.sort(frequency[grid.corners], axis=1)
    a, b, c = (at[:, k] for k in range(3))
    first = np.floor((a - low) / step + 0.5).astype(np.int64)
    last = np.floor((c - low) / step + 0.5).astype(np.int64)
    lengths = last - first + 1
    triangle = np.repeat(np.arange(len(at)), lengths)
    bins = first[triangle] + np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)

    def below(x: NDArray[np.float64]) -> NDArray[np.float64]:
        a_, b_, c_ = a[triangle], b[triangle], c[triangle]
        rise = np.clip(x - a_, 0.0, None) ** 2 / np.maximum((b_ - a_) * (c_ - a_), 1e-30)
        fall = 1.0 - np.clip(c_ - x, 0.0, None) ** 2 / np.maximum((c_ - b_) * (c_ - a_), 1e-30)
        inside: NDArray[np.float64] = np.where(x < b_, rise, fall)
        return np.where(x >= c_, 1.0, np.where(x <= a_, 0.0, inside))

    left = low + step * (bins - 0.5)
    mass = (below(left + step) - below(left)) * grid.weights[triangle] / 3.0
    rows = np.repeat(bins % count, 3)
    columns = grid.corners[triangle].ravel()
    return coo_array((np.repeat(mass, 3), (rows, columns)), shape=(count, len(frequency))).tocsr()
