"""Times of experiments that rest on dipolar couplings."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from ..structures.errors import nearest
from ..structures.vocabulary import Frozen
from .constants import isotopes


class Transfer(Frozen):
    """How long magnetisation was transferred or dephased.

    Attributes
    ----------
    contact_time_ms, t1rho_ms
        Contact time of CP from 1H and T1rho of 1H; without the latter nothing is lost.
    dephasing_isotope, dephasing_time_ms
        Nucleus that dephases in REDOR and TRAPDOR, and the whole time N Tr of dephasing.
    dephasing_abundance
        Part of that element that is this isotope, where the sample is enriched; natural abundance without it.
    """

    contact_time_ms: float | None = Field(default=None, gt=0, le=1000)
    t1rho_ms: float | None = Field(default=None, gt=0)
    dephasing_isotope: str | None = None
    dephasing_time_ms: float | None = Field(default=None, gt=0, le=1000)
    dephasing_abundance: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.dephasing_isotope is not None and self.dephasing_isotope not in isotopes():
            raise ValueError(
                f"{self.dephasing_isotope!r} is no nucleus of the table; {nearest(self.dephasing_isotope, isotopes())}"
            )
        if (self.dephasing_isotope is None) != (self.dephasing_time_ms is None):
            raise ValueError("dephasing_isotope and dephasing_time_ms belong together; give both")
        if self.t1rho_ms is not None and self.contact_time_ms is None:
            raise ValueError("t1rho_ms says nothing without contact_time_ms; give both")
        if self.dephasing_abundance is not None and self.dephasing_isotope is None:
            raise ValueError("dephasing_abundance belongs to dephasing_isotope, which is missing")
        return self

    @property
    def partners(self) -> tuple[str, ...]:
        """Elements to which distances count."""
        found = ["H"] if self.contact_time_ms is not None else []
        if self.dephasing_isotope is not None:
            found.append(isotopes()[self.dephasing_isotope].element)
        return tuple(dict.fromkeys(found))

    @property
    def abundance(self) -> float:
        """Part of the dephasing element that dephases."""
        if self.dephasing_abundance is not None:
            return self.dephasing_abundance
        return 1.0 if self.dephasing_isotope is None else isotopes()[self.dephasing_isotope].abundance_percent / 100.0
