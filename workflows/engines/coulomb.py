"""Coulomb terms by density fitting, without exchange and without a transformed three-index tensor.

A pure functional needs the Coulomb matrix only, so the integrals (mn|P) are contracted as they are:
first with the density, then, after one solution in the Coulomb metric, with the fit (Eichkorn et al.,
Chem. Phys. Lett. 240, 283, 1995). Atom pairs that do not overlap are left out. As many integrals stay in
memory as fit; the rest is computed again in every cycle. All are rounded to single precision, which moves a shielding
by less than 0.001 ppm, so that twice as many fit and a result does not depend on the memory that was there.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MIN_OVERLAP = 1e-9
"""Blocks of atoms whose functions overlap less than this are left out."""

MAX_BLOCK_FUNCTIONS = 40
"""Functions in one block of atoms; larger blocks waste memory, smaller ones time."""


class CoulombFitting:
    """Density-fitted Coulomb matrices of one molecule.

    Parameters
    ----------
    mol
        PySCF molecule with n functions.
    auxiliary
        Molecule with the fitting basis at the same atoms.
    max_memory_mb
        Memory for stored integrals.
    """

    def __init__(self, mol: Any, auxiliary: Any, *, max_memory_mb: float) -> None:
        from scipy.linalg import cho_factor

        self.mol, self.auxiliary = mol, auxiliary
        self._joined = mol + auxiliary
        self._metric = cho_factor(auxiliary.intor("int2c2e"), overwrite_a=True)
        self._pairs = list(self._overlapping_pairs())
        sizes_mb = np.cumsum([4e-6 * float(np.prod(pair.shape)) * auxiliary.nao for pair in self._pairs])
        n_stored = int(np.searchsorted(sizes_mb, max_memory_mb))
        self.stored_share = float(sizes_mb[n_stored - 1] / sizes_mb[-1]) if n_stored else 0.0
        self._recomputed = self._pairs[n_stored:]
        self._stored = [
            (pair, integrals.astype(np.float32))
            for pair, integrals in self._integrals("int3c2e", 1, self._pairs[:n_stored])
        ]

    def fit(self, density: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fitting coefficients, shape (naux,), of a symmetric density matrix (n, n)."""
        from scipy.linalg import cho_solve

        moments = np.zeros(self.auxiliary.nao)
        for pair, integrals in self._three_index():
            weight = 1.0 if pair.is_diagonal else 2.0
            moments += weight * density[pair.rows, pair.columns].ravel(order="F") @ integrals
        solution: NDArray[np.float64] = cho_solve(self._metric, moments)
        return solution

    def potential(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coulomb matrix (n, n) of a fitted density."""
        result = np.zeros((self.mol.nao, self.mol.nao))
        for pair, integrals in self._three_index():
            block = (integrals @ coefficients).reshape(pair.shape, order="F")
            result[pair.rows, pair.columns] = block
            result[pair.columns, pair.rows] = block.T
        return result

    def get_j(self, _mol: Any, density: Any, *_args: Any, **_options: Any) -> NDArray[np.float64]:
        """Coulomb matrix of a density, with the signature that PySCF's mean-field objects call."""
        return self.potential(self.fit(np.asarray(density)))

    def field_derivative(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coulomb matrix's derivative with the magnetic field through the London phases.

        Shape (3, n, n), antisymmetric; only one of each two blocks is computed.
        """
        result = np.zeros((3, self.mol.nao, self.mol.nao))
        for pair, integrals in self._integrals("int3c2e_ig1", 3, self._pairs):
            for component, values in zip(result, integrals, strict=True):
                block = (values @ coefficients).reshape(pair.shape, order="F")
                component[pair.columns, pair.rows] = -block.T
                component[pair.rows, pair.columns] = block
        return result

    def _three_index(self) -> Iterator[tuple[_Pair, NDArray[np.float64]]]:
        """Integrals of every pair of blocks; they share one piece of memory, so a caller keeps none."""
        computed = (
            (pair, integrals.astype(np.float32)) for pair, integrals in self._integrals("int3c2e", 1, self._recomputed)
        )
        largest = max(np.prod(pair.shape) for pair in self._pairs)
        room = np.empty(int(largest) * self.auxiliary.nao)
        for pair, rounded in itertools.chain(self._stored, computed):
            integrals = room[: rounded.size].reshape(rounded.shape, order="F")
            np.copyto(integrals, rounded)
            yield pair, integrals

    def _integrals(
        self, name: str, n_components: int, pairs: list[_Pair]
    ) -> Iterator[tuple[_Pair, NDArray[np.float64]]]:
        """Integrals of every pair of blocks: (pq, naux), or (3, pq, naux) for a field derivative."""
        from pyscf import gto

        joined = self._joined
        intor = joined._add_suffix(name)
        optimizer = gto.moleintor.make_cintopt(joined._atm, joined._bas, joined._env, intor)
        last = self.mol.nbas
        for pair in pairs:
            slices = (*pair.row_shells, *pair.column_shells, last, last + self.auxiliary.nbas)
            values = gto.moleintor.getints(
                intor, joined._atm, joined._bas, joined._env, slices, n_components, 0, "s1", cintopt=optimizer
            )
            flat = (-1, self.auxiliary.nao)
            if n_components == 1:
                yield pair, values.reshape(flat, order="F")
            else:
                yield pair, np.stack([component.reshape(flat, order="F") for component in values])

    def _overlapping_pairs(self) -> Iterator[_Pair]:
        ao = self.mol.aoslice_by_atom()
        overlap = np.abs(self.mol.intor("int1e_ovlp"))
        blocks = _atom_blocks(ao)
        for k, (i0, i1) in enumerate(blocks):
            for j0, j1 in blocks[: k + 1]:
                rows, columns = slice(ao[i0, 2], ao[i1, 3]), slice(ao[j0, 2], ao[j1, 3])
                if overlap[rows, columns].max() > MIN_OVERLAP:
                    yield _Pair(rows, columns, (ao[i0, 0], ao[i1, 1]), (ao[j0, 0], ao[j1, 1]))


@dataclass(frozen=True)
class _Pair:
    """Two blocks of atoms: their functions and their shells."""

    rows: slice
    columns: slice
    row_shells: tuple[int, int]
    column_shells: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        return (self.rows.stop - self.rows.start, self.columns.stop - self.columns.start)

    @property
    def is_diagonal(self) -> bool:
        return bool(self.rows == self.columns)


def _atom_blocks(slices: NDArray[np.int64]) -> list[tuple[int, int]]:
    """First and last atom of runs that hold at most ``MAX_BLOCK_FUNCTIONS`` functions (one atom at least)."""
    blocks: list[tuple[int, int]] = []
    for atom in range(len(slices)):
        if blocks and slices[atom, 3] - slices[blocks[-1][0], 2] <= MAX_BLOCK_FUNCTIONS:
            blocks[-1] = (blocks[-1][0], atom)
        else:
            blocks.append((atom, atom))
    return blocks
