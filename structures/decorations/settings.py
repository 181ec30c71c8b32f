"""What can be asked of a decoration: one frozen model per kind, told apart by ``kind``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from ..vocabulary import Frozen


class Placed(Frozen):
    """What all decorations share.

    Attributes
    ----------
    coverage
        Share of the possible sites of each face, above 0 and at most 1.
    per_face
        Number of sites of each face instead of a coverage; one by default.
    supercell
        In-plane repeats; ``auto`` takes the smallest that the coverage and the group's size need.
    faces
        ``both`` treats the two faces alike; ``upper`` leaves the lower one as it is.
    max_variants
        At most so many symmetry-distinct choices of sites.
    max_atoms
        Atom budget of a decorated cell.
    """

    coverage: float | None = Field(default=None, gt=0.0, le=1.0)
    per_face: int | None = Field(default=None, ge=1)
    supercell: tuple[Annotated[int, Field(ge=1, le=12)], Annotated[int, Field(ge=1, le=12)]] | Literal["auto"] = (1, 1)
    faces: Literal["both", "upper"] = "both"
    max_variants: int = Field(default=2, ge=1, le=26)
    max_atoms: int = Field(default=400, ge=1)

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if self.coverage is not None and self.per_face is not None:
            raise ValueError("give coverage or per_face, not both")
        return self


class SplitWater(Placed):
    """Water split over the bonds that the cut broke: M-OH and X-OH. Full coverage by default."""

    kind: Literal["split_water"] = "split_water"


class OpenBridges(Placed):
    """Water that opens intact M-O-X bridges of the surface into M-OH and HO-X, such as Al-O-P.

    ``cation`` is M; by default any cation of charge two or more outside the unit of X. Bridges whose O lies up to
    ``depth_ang`` below the outermost atom count.
    """

    kind: Literal["open_bridges"] = "open_bridges"
    cation: str | None = None
    depth_ang: float = Field(default=4.0, gt=0.0)


class MolecularWater(Placed):
    """Whole water molecules: on undercoordinated cations, or hydrogen-bonded to surface hydroxyls.

    ``second_layer`` further molecules are hydrogen-bonded to each of the first.
    """

    kind: Literal["molecular_water"] = "molecular_water"
    on: Literal["cation", "hydroxyl"] = "cation"
    second_layer: int = Field(default=0, ge=0, le=2)


class ProtonExchange(Placed):
    """Surface Li+ (or ``ion``) replaced by H+ on a neighbouring anion, up to ``depth_ang`` below the outermost atom."""

    kind: Literal["proton_exchange"] = "proton_exchange"
    ion: str = "Li"
    depth_ang: float = Field(default=3.5, gt=0.0)


class IonVacancies(Placed):
    """Surface ions taken away, the cell kept neutral by ``compensation``.

    - proton: for each ion an H+ on the most open surface anion, not necessarily where the ion was;
    - hydroxide: a surface OH- leaves with each ion (LiOH lost); needs hydroxyls that belong to no unit;
    - anion: a surface anion of charge -z leaves with z ions (Li2O or LiCl lost).
    """

    kind: Literal["ion_vacancies"] = "ion_vacancies"
    ion: str = "Li"
    compensation: Literal["proton", "hydroxide", "anion"] = "proton"
    depth_ang: float = Field(default=3.5, gt=0.0)


class IonAdatoms(Placed):
    """Ions added on the surface, the cell kept neutral by ``compensation``.

    - proton: each ion takes the place of the H+ of a surface hydroxyl;
    - hydroxide: each ion brings an OH- (LiOH added);
    - halide: each ion brings the crystal's own monovalent anion (LiCl added).
    """

    kind: Literal["ion_adatoms"] = "ion_adatoms"
    ion: str = "Li"
    compensation: Literal["proton", "hydroxide", "halide"] = "hydroxide"


class Drying(Placed):
    """Hydroxyls condensed step by step: an ordered series from the fullest coverage to the dry surface.

    Every step takes one more water from each face. ``max_variants``, ``coverage`` and ``per_face`` are not used.
    """

    kind: Literal["drying"] = "drying"


class Carbonate(Placed):
    """CO2 taken up by surface O2- as carbonate, or whole Li2CO3 units on surface cations."""

    kind: Literal["carbonate"] = "carbonate"
    form: Literal["co2", "li2co3"] = "co2"


class GraftedSilane(Placed):
    """R-Si(OCH3)3 condensed with surface hydroxyls: ``n_bonds`` Si-O-M bonds, as many CH3OH released.

    ``remaining`` says whether the methoxy groups that are left stay or are hydrolysed to OH.
    """

    kind: Literal["grafted_silane"] = "grafted_silane"
    n_bonds: Literal[1, 2, 3] = 1
    rest: Literal["H", "methyl", "propyl"] = "methyl"
    remaining: Literal["methoxy", "hydroxyl"] = "methoxy"


class Fragment(Placed):
    """A molecule, such as a piece of PEO or PCL, physisorbed with its donor atom towards a surface site.

    ``molecule`` is a kept name (``molecule_names()``) or a SMILES. ``height_ang`` is the distance from the cation, or
    from the H of the hydroxyl, to the donor; by default a bond length or 1.8 angstrom.
    """

    kind: Literal["fragment"] = "fragment"
    molecule: str = "dimethyl_ether"
    on: Literal["cation", "hydroxyl"] = "cation"
    height_ang: float | None = Field(default=None, gt=1.4, le=6.0)


DecorationSettings = Annotated[
    SplitWater
    | OpenBridges
    | MolecularWater
    | ProtonExchange
    | IonVacancies
    | IonAdatoms
    | Drying
    | Carbonate
    | GraftedSilane
    | Fragment,
    Field(discriminator="kind"),
]
"""Any of the decorations; ``kind`` tells which."""


def read_settings(raw: object) -> DecorationSettings:
    """Settings from a mapping, as a study file holds them.

    Raises
    ------
    pydantic.ValidationError
        If the kind is unknown or a value does not fit; the message says which.
    """
    adapter: TypeAdapter[DecorationSettings] = TypeAdapter(DecorationSettings)
    return adapter.validate_python(raw)
