"""What a study file can ask of its candidates: facets, reconstructions, decorations, ordered cells, interfaces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationInfo, model_validator

from ..structures.decorations.settings import DecorationSettings
from ..structures.interfaces import InterfaceSettings
from ..structures.vocabulary import Frozen

Miller = tuple[int, int, int]


def _from_study_folder(path: Path | None, info: ValidationInfo) -> Path | None:
    folder = (info.context or {}).get("folder")
    return path if path is None or folder is None else (Path(folder) / path.expanduser()).resolve()


StudyPath = Annotated[Path | None, AfterValidator(_from_study_folder)]


def _is_a_facet(miller: Miller | None) -> Miller | None:
    if miller == (0, 0, 0):
        raise ValueError("(0, 0, 0) is no facet; give three integers that are not all zero, for example [1, 0, 0]")
    return miller


Facet = Annotated[Miller, AfterValidator(_is_a_facet)]


def _as_steps(raw: Any) -> Any:
    """One decoration stands for a list of one."""
    return [raw] if isinstance(raw, Mapping | BaseModel) else raw


def _not_empty(steps: tuple[DecorationSettings, ...]) -> tuple[DecorationSettings, ...]:
    if not steps:
        raise ValueError("the list is empty; give at least one decoration, for example {kind: molecular_water}")
    return steps


DecorationSteps = Annotated[tuple[DecorationSettings, ...], BeforeValidator(_as_steps), AfterValidator(_not_empty)]
"""Decorations that follow one another on the same slab."""


class SurfaceSettings(Frozen):
    """One facet, or all up to a Miller index, and what to put on it.

    Attributes
    ----------
    miller, max_miller
        The facet; or every symmetry-distinct facet whose indices are at most so large. One of the two.
    hydroxylation
        Coverages: the share of undercoordinated sites that split a water molecule; 0 is the dry slab.
    keep
        Limits the terminations to those named, for example ``t0``; all are kept without it.
    reconstruct, keep_polar, off_stoichiometric, ion, keep_units, min_width_ang, orthogonal
        As in ``surfshift.structures.slabs.cut_slabs``.
    decorations
        Each is put on every dry slab; a list of several is put on one after the other.
    max_atoms
        Largest number of atoms of any candidate of this entry, decorated ones included.
    """

    miller: Facet | None = None
    max_miller: int | None = Field(default=None, ge=1, le=4)
    thickness_ang: float = Field(default=10.0, gt=0, le=100)
    vacuum_ang: float = Field(default=12.0, ge=5, le=100)
    hydroxylation: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.0,)
    max_atoms: int = Field(default=200, ge=1)
    keep: tuple[str, ...] | None = Field(default=None, min_length=1)
    reconstruct: bool = False
    keep_polar: bool = False
    off_stoichiometric: bool = False
    ion: str = Field(default="Li", pattern=r"^[A-Z][a-z]?$")
    keep_units: tuple[str, ...] = ()
    min_width_ang: float = Field(default=0.0, ge=0, le=60)
    orthogonal: bool = False
    decorations: tuple[DecorationSteps, ...] = ()

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if (self.miller is None) == (self.max_miller is None):
            raise ValueError("give either 'miller: [h, k, l]' or 'max_miller: N', exactly one of them")
        if self.keep is not None and self.miller is None:
            raise ValueError("keep: terminations are numbered facet by facet; use 'keep' with 'miller'")
        if not self.hydroxylation and not self.decorations:
            raise ValueError("hydroxylation: the list is empty; use [0] for the dry surface")
        return self


class CoatingSettings(InterfaceSettings):
    """A film of another crystal on a facet of the study's own; limits of the stacking as in ``InterfaceSettings``.

    Attributes
    ----------
    film, film_structure
        A crystal of the library, or a file; one of the two.
    film_miller, film_thickness_ang, film_keep
        Facet, thickness and terminations of the film.
    miller, thickness_ang, keep
        The same of the study's crystal.
    reconstruct
        Whether polar cuts of both sides get their dipole taken away.
    rank
        What chooses shift and gap: the ionic contact model, or unrelaxed SevenNet energies.
    max_pairs
        Pairs of terminations that are kept, the best first.
    """

    film: str | None = None
    film_structure: StudyPath = None
    film_miller: Facet
    film_thickness_ang: float = Field(default=6.0, gt=0, le=100)
    film_keep: tuple[str, ...] | None = Field(default=None, min_length=1)
    miller: Facet
    thickness_ang: float = Field(default=8.0, gt=0, le=100)
    keep: tuple[str, ...] | None = Field(default=None, min_length=1)
    reconstruct: bool = False
    rank: Literal["ionic", "sevennet"] = "ionic"
    max_pairs: int = Field(default=2, ge=1, le=50)

    @model_validator(mode="after")
    def _one_film(self) -> Self:
        if (self.film is None) == (self.film_structure is None):
            raise ValueError("give either 'film: NAME' (library) or 'film_structure: FILE', exactly one of them")
        return self


class OrderingSettings(Frozen):
    """How many ordered cells stand for a crystal with partial occupancies; see ``order_structure``.

    ``cells`` symmetry-distinct cells are candidates, each with its surfaces. ``rank`` chooses them: by the Ewald energy
    of formal charges, or by unrelaxed SevenNet energies; or with ``quasirandom`` the elements that share sites are as
    in a random solution and the others where their Ewald energy is low, see ``order_quasirandom``.
    """

    cells: int = Field(default=2, ge=1, le=20)
    seed: int = Field(default=0, ge=0)
    supercell: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = (
        None
    )
    max_atoms: int = Field(default=250, ge=1)
    min_distance_ang: float = Field(default=2.2, gt=0, le=5)
    rank: Literal["ewald", "sevennet", "quasirandom"] = "ewald"


class CandidateSettings(Frozen):
    """Which candidates the study weighs against each other."""

    bulk: bool = True
    ordering: OrderingSettings | None = None
    surfaces: tuple[SurfaceSettings, ...] = ()
    interfaces: tuple[CoatingSettings, ...] = ()
    max_candidates: int = Field(default=300, ge=1)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not (self.bulk or self.surfaces or self.interfaces):
            raise ValueError("no candidate is left: set bulk to true or list at least one surface")
        return self


class ExportSettings(Frozen):
    """Formats in which ``surfshift structures`` writes every candidate; more by ``--export``."""

    formats: tuple[Literal["cif", "poscar", "extxyz"], ...] = ()


LATER_KEYS: dict[type[Frozen], tuple[str, ...]] = {
    CandidateSettings: ("ordering", "interfaces"),
    SurfaceSettings: (
        "max_miller",
        "reconstruct",
        "keep_polar",
        "off_stoichiometric",
        "ion",
        "keep_units",
        "min_width_ang",
        "orthogonal",
        "decorations",
    ),
}
"""Keys that did not exist in the first studies."""


def hashed_candidates(settings: CandidateSettings) -> dict[str, Any]:
    """What decides the candidates, for ``StudyFile.job_hash``.

    A key that came later appears only where it is used, so that runs of older study files stay valid.
    """
    payload = settings.model_dump(mode="json")
    del payload["max_candidates"]  # a limit, which changes no candidate
    _drop_unused(payload, CandidateSettings)
    for surface in payload["surfaces"]:
        _drop_unused(surface, SurfaceSettings)
    for coating in payload.get("interfaces", ()):
        if coating["film_structure"] is not None:
            coating["film_structure"] = Path(coating["film_structure"]).name
    return payload


def _drop_unused(payload: dict[str, Any], model: type[Frozen]) -> None:
    for key in LATER_KEYS[model]:
        default = model.model_fields[key].default
        if payload[key] == (list(default) if isinstance(default, tuple) else default):
            del payload[key]
