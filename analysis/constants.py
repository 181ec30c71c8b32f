"""Nuclear constants: one table for spin, gyromagnetic ratio, abundance and quadrupole moment."""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import Field

from ..structures.errors import SurfshiftError, nearest
from ..structures.vocabulary import Frozen

BARN_AU_TO_MHZ = 234.9648
"""CQ in MHz of a moment of 1 barn in a gradient of 1 atomic unit (e^2 barn a0^-3 / h)."""

EFG_AU_IN_V_PER_M2 = 9.717362e21
"""One atomic unit of electric field gradient in V/m^2 (CODATA 2018)."""


class UnknownNucleusError(SurfshiftError):
    """An isotope or element that is not in the table of nuclear constants."""


class Isotope(Frozen):
    """Constants of one nucleus.

    ``gamma_rad_per_s_t`` is the gyromagnetic ratio in rad/(s T), with its sign; ``abundance_percent``
    the natural abundance; ``quadrupole_barn`` the electric quadrupole moment, 0 for spin 1/2.
    """

    name: str
    element: str
    spin: float = Field(gt=0)
    gamma_rad_per_s_t: float
    abundance_percent: float = Field(ge=0, le=100)
    quadrupole_barn: float

    @property
    def is_quadrupolar(self) -> bool:
        """Whether the spin is above 1/2."""
        return self.spin > 0.5

    @property
    def is_half_integer_quadrupolar(self) -> bool:
        """Whether the nucleus is quadrupolar and has a central transition."""
        return self.is_quadrupolar and (2 * self.spin) % 2 == 1


@cache
def _table() -> dict[str, Any]:
    import yaml

    text = (files(f"{__package__}.data") / "nuclei.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table


@cache
def isotopes() -> dict[str, Isotope]:
    """All isotopes of the table by name."""
    return {
        name: Isotope(
            name=name,
            element=name.lstrip("0123456789"),
            spin=row["spin"],
            gamma_rad_per_s_t=row["gamma"] * 1e7,
            abundance_percent=row["abundance"],
            quadrupole_barn=row["quadrupole"],
        )
        for name, row in _table()["nuclei"].items()
    }


def table_sources() -> dict[str, str]:
    """Where each column of the table comes from."""
    return dict(_table()["sources"])


def isotope(name: str) -> Isotope:
    """Constants of one nucleus, for example ``isotope("27Al")``.

    Raises
    ------
    UnknownNucleusError
        If the name is not in the table; names the nearest known isotope.
    """
    table = isotopes()
    if name not in table:
        raise UnknownNucleusError(
            f"unknown nucleus {name!r}: write the mass number before the symbol; {nearest(name, table)}"
        )
    return table[name]


def default_isotope(element: str) -> Isotope:
    """The isotope that is usually measured for an element.

    Raises
    ------
    UnknownNucleusError
        If the table has no isotope of the element.
    """
    defaults: dict[str, str] = _table()["default_isotopes"]
    if element not in defaults:
        raise UnknownNucleusError(f"no NMR isotope of element {element!r} in the table; {nearest(element, defaults)}")
    return isotope(defaults[element])


def larmor_mhz(nucleus: Isotope, field_tesla: float) -> float:
    """Magnitude of the Larmor frequency in MHz in a field in tesla."""
    return abs(nucleus.gamma_rad_per_s_t) * field_tesla / (2.0 * math.pi) / 1e6
