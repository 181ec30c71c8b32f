"""The common result of a periodic NMR calculation: a tensor per atom of the whole cell, whichever program made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator

from ...structures.vocabulary import Frozen, Tensor3, Vector3, as_tensor3, content_hash
from ..vocabulary import Method
from .errors import InconsistentFileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ...structures.vocabulary import AtomicStructure

SPHERE = "sphere"
"""The macroscopic (G = 0) term of the shielding is that of a sphere."""
LEFT_OUT = "left out"
"""The shielding has no macroscopic (G = 0) term."""
UNKNOWN = "unknown"


class PeriodicTensors(Frozen):
    """Tensors of every atom of a periodic calculation, in the frame and the atom order of its file.

    Attributes
    ----------
    lattice_ang
        Lattice vectors as rows, angstrom.
    elements, frac_coords
        One entry per atom.
    labels
        Name and number of each atom in its file, for example ``("Al", 3)``.
    shielding_ppm
        3x3 shielding per atom, rows the induced field, columns the external field; None where the file has none.
    efg_au
        Symmetric traceless 3x3 EFG per atom, atomic units; None where the file has none.
    engine, engine_version, functional
        ``castep``, ``vasp`` or ``qe-gipaw`` (or what the file says), its version, and the functional in small letters.
    cutoff_ev
        Plane-wave cutoff, eV; None where the file does not say.
    macroscopic
        How the G = 0 term of the shielding is treated: ``sphere``, ``left out`` or ``unknown``.
    potentials
        Pseudopotential of each element, as the program names it.
    settings
        Other settings that the file states, as text.
    other_records
        Lines of a .magres file that this project does not use (couplings, susceptibility), kept for writing.
    notes
        What a reader must know, for example that a version line was missing.
    """

    lattice_ang: Tensor3
    elements: tuple[str, ...] = Field(min_length=1)
    frac_coords: tuple[Vector3, ...]
    labels: tuple[tuple[str, int], ...]
    shielding_ppm: tuple[Tensor3 | None, ...]
    efg_au: tuple[Tensor3 | None, ...]
    engine: str
    engine_version: str
    functional: str
    cutoff_ev: float | None = Field(default=None, gt=0)
    macroscopic: str = UNKNOWN
    potentials: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, str] = Field(default_factory=dict)
    other_records: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_entry_per_atom(self) -> Self:
        counts = {
            len(entries) for entries in (self.elements, self.frac_coords, self.labels, self.shielding_ppm, self.efg_au)
        }
        if len(counts) != 1:
            raise ValueError("elements, positions, labels, shielding and EFG need one entry per atom each")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("two atoms have the same label")
        if not is_cell(self.lattice):
            raise ValueError(f"the lattice vectors {self.lattice_ang} span no cell")
        return self

    def __len__(self) -> int:
        return len(self.elements)

    @property
    def lattice(self) -> NDArray[np.float64]:
        """Lattice vectors as rows, shape (3, 3), angstrom."""
        return np.array(self.lattice_ang)

    @property
    def sigma_iso_ppm(self) -> tuple[float | None, ...]:
        """Isotropic shielding of every atom, trace / 3."""
        return tuple(None if t is None else (t[0][0] + t[1][1] + t[2][2]) / 3.0 for t in self.shielding_ppm)

    def method(self, element: str, *, protocol: str = "as in file") -> Method:
        """What identifies the tensors of one element, for referencing.

        The hash covers what must agree between a compound and its reference: cutoff, G = 0 term and the
        pseudopotential of the element itself. Potentials of other elements and k-points differ between compounds.
        A file that this project wrote from its own tensors names their protocol, and that is kept.
        """
        if (hashed := self.settings.get("surfshift_protocol_hash")) is not None:
            named, digest = self.settings.get("surfshift_protocol", protocol), hashed
        else:
            named, digest = protocol, self._hash(element)
        return Method(
            engine=self.engine,
            engine_version=self.engine_version,
            functional=self.functional,
            protocol=named,
            protocol_hash=digest,
        )

    def _hash(self, element: str) -> str:
        facts = {
            "cutoff_ev": None if self.cutoff_ev is None else round(self.cutoff_ev, 1),
            "macroscopic": self.macroscopic,
            "potential": self.potentials.get(element, UNKNOWN),
        }
        return content_hash(facts)

    def structure(
        self,
        *,
        oxidation_states: Mapping[str, float] | None = None,
        periodic: tuple[bool, bool, bool] = (True, True, True),
    ) -> AtomicStructure:
        """The structure of the file, with oxidation states given or found.

        Raises
        ------
        OxidationStateError, OverlapError
            As for any structure file.
        """
        from ...structures.importing import structure_from_atoms

        return structure_from_atoms(
            self.lattice,
            self.elements,
            np.array(self.frac_coords),
            label=f"the structure of the {self.engine} file",
            oxidation_states=oxidation_states,
            periodic=periodic,
        )


def is_cell(lattice: NDArray[np.float64]) -> bool:
    """Whether lattice vectors (3, 3) in angstrom span a cell that is at least 0.3 angstrom high in every direction."""
    if not abs(np.linalg.det(lattice)) > 0.03:
        return False
    return bool(np.linalg.norm(np.linalg.inv(lattice), axis=0).max() < 1.0 / 0.3)


def build(where: str, **values: Any) -> PeriodicTensors:
    """A validated result.

    Raises
    ------
    InconsistentFileError
        If the values do not fit each other.
    """
    try:
        return PeriodicTensors.model_validate(values)
    except ValidationError as error:
        reason = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise InconsistentFileError(f"{where}: {reason}; the file is damaged") from error


def fractional(cart: NDArray[np.float64], lattice: NDArray[np.float64], where: str) -> tuple[Vector3, ...]:
    """Fractional coordinates (n, 3) from Cartesian ones (n, 3) and a lattice (3, 3), both in angstrom.

    Raises
    ------
    InconsistentFileError
        If the lattice vectors span no volume.
    """
    if not is_cell(lattice):
        raise InconsistentFileError(
            f"{where}: the lattice vectors {lattice.tolist()} span no cell; the file is damaged"
        )
    frac = cart @ np.linalg.inv(lattice)
    return tuple((float(x), float(y), float(z)) for x, y, z in frac)


def clean_efg(raw: NDArray[np.float64], where: str, *, printed_au: float) -> Tensor3:
    """A symmetric traceless EFG tensor in a.u. from one printed to ``printed_au``.

    Raises
    ------
    InconsistentFileError
        If it is further from symmetric and traceless than printing can explain.
    """
    allowed = 4.0 * printed_au + 1e-3 * float(np.abs(raw).max())
    if abs(np.trace(raw)) > allowed or np.abs(raw - raw.T).max() > allowed:
        raise InconsistentFileError(
            f"{where}: an EFG tensor is symmetric and traceless, this one is not: {raw.tolist()}; the file is damaged"
        )
    symmetric = 0.5 * (raw + raw.T)
    return as_tensor3(symmetric - np.eye(3) * np.trace(symmetric) / 3.0)


def numbered(elements: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Labels as CASTEP writes them: the element, and the atom's number within its element, from 1."""
    counts: dict[str, int] = {}
    labels = []
    for symbol in elements:
        counts[symbol] = counts.get(symbol, 0) + 1
        labels.append((symbol, counts[symbol]))
    return tuple(labels)


def functional_name(text: str) -> str:
    """One spelling of a functional's name: small letters, no spaces at the ends."""
    words = text.strip().lower().split()
    return "-".join(words) if words else UNKNOWN
