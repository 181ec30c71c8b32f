"""Molecules that are put on surfaces: kept geometries, and any other from its SMILES.

Oxidation states follow the usual rule (IUPAC): the electrons of a bond belong to the more electronegative atom. So a
molecule is neutral, H bonded to C or O is +1, the C of CH3-O is -2, of CH3-Si is -4, of CO2 is +4.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import model_validator

from .errors import SurfshiftError, nearest
from .vocabulary import Frozen, Vector3

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

EMBEDDING_SEED = 7
"""Seed of RDKit's distance geometry, so that a SMILES always gives the same conformer."""


class MoleculeError(SurfshiftError):
    """A molecule that is not known or cannot be built."""


class MolecularBond(Frozen):
    """A covalent bond between atoms ``i`` and ``j``, with its order."""

    i: int
    j: int
    order: float


class Molecule(Frozen):
    """A neutral molecule with its geometry.

    Attributes
    ----------
    name
        Name in the library, or the SMILES.
    elements, positions_ang
        One entry per atom, angstrom.
    bonds
        Covalent bonds.
    oxidation_states
        One per atom, e; they sum to zero.
    anchor
        Atom that binds to a cation of the surface.
    source
        Where the geometry comes from.
    """

    name: str
    elements: tuple[str, ...]
    positions_ang: tuple[Vector3, ...]
    bonds: tuple[MolecularBond, ...]
    oxidation_states: tuple[float, ...]
    anchor: int
    source: str

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        n = len(self.elements)
        if not n == len(self.positions_ang) == len(self.oxidation_states) > 0:
            raise ValueError(
                f"{self.name}: {n} elements, {len(self.positions_ang)} positions and {len(self.oxidation_states)} "
                "oxidation states; equally many are needed"
            )
        if not 0 <= self.anchor < n or any(not 0 <= k < n for bond in self.bonds for k in (bond.i, bond.j)):
            raise ValueError(f"{self.name}: the anchor or a bond names an atom outside 0 to {n - 1}")
        if abs(sum(self.oxidation_states)) > 1e-6:
            raise ValueError(f"{self.name} has charge {sum(self.oxidation_states):+g}; only neutral molecules are kept")
        return self

    @property
    def coords(self) -> NDArray[np.float64]:
        """Positions, shape (n, 3), angstrom."""
        return np.array(self.positions_ang)

    def neighbours(self, atom: int) -> tuple[int, ...]:
        """Atoms bonded to an atom."""
        return tuple(b.j if b.i == atom else b.i for b in self.bonds if atom in (b.i, b.j))

    def branch(self, atom: int, away_from: int) -> tuple[int, ...]:
        """The atoms on ``atom``'s side of its bond to ``away_from``, ``atom`` first."""
        found, queue = [atom], [atom]
        while queue:
            for k in self.neighbours(queue.pop()):
                if k != away_from and k not in found:
                    found.append(k)
                    queue.append(k)
        return tuple(found)


def oxidation_states(elements: Sequence[str], bonds: Sequence[MolecularBond]) -> tuple[float, ...]:
    """Oxidation states of a neutral molecule without formal charges, from Pauling's electronegativities."""
    from pymatgen.core.periodic_table import Element

    strengths = [float(Element(e).X) for e in elements]
    states = [0.0] * len(elements)
    for bond in bonds:
        if elements[bond.i] == elements[bond.j]:
            continue
        giver, taker = (bond.i, bond.j) if strengths[bond.i] < strengths[bond.j] else (bond.j, bond.i)
        states[giver] += bond.order
        states[taker] -= bond.order
    return tuple(states)


def molecule_from_smiles(smiles: str, *, name: str = "") -> Molecule:
    """One conformer of a molecule: RDKit's ETKDGv3 with a fixed seed, then MMFF94, or UFF where that lacks a type.

    The anchor is the doubly bonded O if there is one, else the O, N or S nearest to the middle, else the first atom.

    Raises
    ------
    MoleculeError
        If the SMILES is not valid, names a charged, radical or disconnected species, or cannot be embedded.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    with rdBase.BlockLogs():
        parsed = Chem.MolFromSmiles(smiles)
    if parsed is None or parsed.GetNumAtoms() == 0:
        raise MoleculeError(f"{smiles!r} is no valid SMILES; write for example 'COCCOC' for 1,2-dimethoxyethane")
    if any(a.GetFormalCharge() or a.GetNumRadicalElectrons() for a in parsed.GetAtoms()) or "." in smiles:
        raise MoleculeError(f"{smiles!r} is charged, a radical, or several molecules; give one neutral molecule")
    built = Chem.AddHs(parsed)
    Chem.Kekulize(built, clearAromaticFlags=True)
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = EMBEDDING_SEED
    if rdDistGeom.EmbedMolecule(built, parameters) != 0:
        raise MoleculeError(f"RDKit finds no geometry for {smiles!r}; check the SMILES")
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(built):
        rdForceFieldHelpers.MMFFOptimizeMolecule(built, maxIters=5000)
        field = "MMFF94"
    else:
        rdForceFieldHelpers.UFFOptimizeMolecule(built, maxIters=5000)
        field = "UFF"
    coords = np.array(built.GetConformer().GetPositions())
    coords = np.round(coords - coords.mean(axis=0), 4)
    elements = tuple(atom.GetSymbol() for atom in built.GetAtoms())
    bonds = tuple(
        MolecularBond(i=b.GetBeginAtomIdx(), j=b.GetEndAtomIdx(), order=b.GetBondTypeAsDouble())
        for b in built.GetBonds()
    )
    return Molecule(
        name=name or smiles,
        elements=elements,
        positions_ang=tuple((float(x), float(y), float(z)) for x, y, z in coords),
        bonds=bonds,
        oxidation_states=oxidation_states(elements, bonds),
        anchor=_find_anchor(elements, coords, bonds),
        source=f"SMILES {smiles}, RDKit {rdBase.rdkitVersion} ETKDGv3 seed {EMBEDDING_SEED}, {field}",
    )


def _find_anchor(elements: Sequence[str], coords: NDArray[np.float64], bonds: Sequence[MolecularBond]) -> int:
    carbonyl = [k for b in bonds for k in (b.i, b.j) if b.order == 2 and elements[k] == "O"]
    if carbonyl:
        return carbonyl[0]
    donors = [k for k, e in enumerate(elements) if e in ("O", "N", "S")]
    if not donors:
        return 0
    # in steps of 0.1 angstrom, so that two alike atoms do not change places with the last digit
    return min(donors, key=lambda k: (round(float(np.linalg.norm(coords[k] - coords.mean(axis=0))), 1), k))


@cache
def _entries() -> dict[str, dict[str, Any]]:
    import yaml

    text = files("surfshift.structures.data").joinpath("molecules.yaml").read_text(encoding="utf-8")
    entries: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return entries


def molecule_names() -> tuple[str, ...]:
    """Names of the kept molecules."""
    return tuple(_entries())


def load_molecule(name: str) -> Molecule:
    """A kept molecule.

    Raises
    ------
    MoleculeError
        If there is none of that name; the message names the nearest.
    """
    try:
        entry = _entries()[name]
    except KeyError:
        raise MoleculeError(
            f"no molecule {name!r} is kept; {nearest(name, molecule_names())}, or give its SMILES"
        ) from None
    elements = tuple(str(row[0]) for row in entry["atoms"])
    bonds = tuple(MolecularBond(i=i, j=j, order=order) for i, j, order in entry["bonds"])
    return Molecule(
        name=name,
        elements=elements,
        positions_ang=tuple((float(row[1]), float(row[2]), float(row[3])) for row in entry["atoms"]),
        bonds=bonds,
        oxidation_states=oxidation_states(elements, bonds),
        anchor=int(entry["anchor"]),
        source=str(entry["source"]),
    )
