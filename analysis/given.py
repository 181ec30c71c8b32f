"""Phases known by measured lines instead of tensors: metals, paramagnetic solids, anything with published lines."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from ..structures.errors import nearest
from ..structures.vocabulary import Frozen, content_hash
from .constants import isotopes


class GivenLine(Frozen):
    """One measured line of a phase, on the measured scale: no reference and no error of DFT applies to it.

    Attributes
    ----------
    delta_iso_ppm, delta_error_ppm
        Isotropic shift (Knight or paramagnetic shift included) and how far it may be off, ppm.
    atoms
        Atoms of this line in the formula, or in a common multiple of it.
    cq_mhz, cq_error_mhz, eta_q
        Quadrupolar coupling; a coupling needs an error.
    czjzek_mhz
        In place of ``cq_mhz``: sigma of a Czjzek distribution of couplings, as in mrsimulator.
    zeta_csa_ppm, eta_csa
        Shift anisotropy after Haeberlen, shift scale.
    width_ppm
        Full width at half maximum that the line has of its own, ppm, beside what broadens all lines of a spectrum.
    distance_to_h_ang
        Distance to the nearest hydrogen; without it the line is not seen under CP and TRAPDOR.
    label
        What the line is called.
    """

    isotope: str
    delta_iso_ppm: float
    delta_error_ppm: float = Field(gt=0)
    atoms: int = Field(default=1, ge=1, le=10_000)
    cq_mhz: float = Field(default=0.0, ge=0)
    cq_error_mhz: float | None = Field(default=None, gt=0)
    eta_q: float = Field(default=0.0, ge=0, le=1)
    czjzek_mhz: float = Field(default=0.0, ge=0)
    zeta_csa_ppm: float = 0.0
    eta_csa: float = Field(default=0.0, ge=0, le=1)
    width_ppm: float = Field(default=0.0, ge=0)
    distance_to_h_ang: float | None = Field(default=None, gt=0)
    label: str = Field(default="", max_length=80)

    @field_validator("isotope")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in isotopes():
            raise ValueError(f"{name!r} is no nucleus of the table; {nearest(name, isotopes())}")
        return name

    @model_validator(mode="after")
    def _coupling_is_whole(self) -> Self:
        if self.cq_mhz > 0 and not isotopes()[self.isotope].is_quadrupolar:
            raise ValueError(f"{self.isotope} has spin 1/2 and no cq_mhz; leave it out")
        if self.czjzek_mhz > 0 and not isotopes()[self.isotope].is_half_integer_quadrupolar:
            raise ValueError(f"{self.isotope} has no central transition and no czjzek_mhz; leave it out")
        if self.czjzek_mhz > 0 and self.cq_mhz > 0:
            raise ValueError("give either cq_mhz or czjzek_mhz, a coupling or the sigma of a distribution")
        if self.cq_mhz > 0 and self.cq_error_mhz is None:
            raise ValueError("cq_mhz needs cq_error_mhz beside it; give how far the coupling may be off")
        return self


class GivenPhase(Frozen):
    """A candidate without structure and tensors: its formula, and the lines that it is known to have.

    Attributes
    ----------
    phase
        What it is called.
    formula
        Chemical formula, for example ``Li3PO4``; says which elements should show a line.
    source
        Where the numbers were measured or published.
    lines
        Its lines. Those of an isotope hold all its atoms, so that their numbers follow the formula.
    """

    phase: str = Field(min_length=1, max_length=80)
    formula: str
    source: str = Field(min_length=1)
    lines: tuple[GivenLine, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _follows_its_formula(self) -> Self:
        counts = self.elements
        multiples = set()
        for isotope in self.isotopes:
            element = isotopes()[isotope].element
            if element not in counts:
                raise ValueError(f"a line of {isotope}, but no {element} in the formula {self.formula}")
            atoms = sum(line.atoms for line in self.lines if line.isotope == isotope)
            if atoms % counts[element]:
                raise ValueError(
                    f"the lines of {isotope} have {atoms} atoms, which is no multiple of the {counts[element]} in "
                    f"{self.formula}; set 'atoms' of each line so that they sum up"
                )
            multiples.add(atoms // counts[element])
        if len(multiples) > 1:
            raise ValueError(
                f"the atoms of the isotopes' lines are {' and '.join(map(str, sorted(multiples)))} times those of "
                f"{self.formula}; use one multiple for all"
            )
        return self

    @property
    def id(self) -> str:
        """Content hash: equal phases have equal ids, also where later versions know more keys."""
        return f"given-{content_hash(self.model_dump(mode='json', exclude_defaults=True))}"

    @property
    def elements(self) -> dict[str, int]:
        """Atoms of each element in the formula.

        Raises
        ------
        ValueError
            If the formula cannot be read.
        """
        from ase.formula import Formula

        try:
            return {str(element): int(count) for element, count in Formula(self.formula).count().items()}
        except (ValueError, KeyError) as error:
            raise ValueError(f"formula {self.formula!r} cannot be read; write it like Li3PO4") from error

    @property
    def isotopes(self) -> tuple[str, ...]:
        """Isotopes that have a line."""
        return tuple(dict.fromkeys(line.isotope for line in self.lines))
