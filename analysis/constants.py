"""Nuclear constants: one table for spin, frequencies, abundance, quadrupole moment and the compound at 0 ppm."""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import Field

from ..structures.errors import SurfshiftError, nearest
from ..structures.vocabulary import Frozen, Grade

BARN_AU_TO_MHZ = 234.9648
"""CQ in MHz of a moment of 1 barn in a gradient of 1 atomic unit (e^2 barn a0^-3 / h)."""

EFG_AU_IN_V_PER_M2 = 9.717362e21
"""One atomic unit of electric field gradient in V/m^2 (CODATA 2018)."""


class UnknownNucleusError(SurfshiftError):
    """An isotope or element that is not in the table of nuclear constants."""


class Isotope(Frozen):
    """Constants of one nucleus.

    Attributes
    ----------
    gamma_rad_per_s_t
        Gyromagnetic ratio of the free nucleus, rad/(s T), with its sign.
    xi_percent
        Frequency of the reference compound at 0 ppm in percent of that of 1H in TMS, in one field (IUPAC 2001).
    abundance_percent
        Natural abundance.
    quadrupole_barn
        Electric quadrupole moment, 0 for spin 1/2.
    reference_compound
        What lies at 0 ppm.
    reference_shielding_ppm, reference_shielding_error_ppm
        Rough absolute shielding of the reference compound as DFT for solids sees it, with a wide standard deviation.
    """

    name: str
    element: str
    spin: float = Field(gt=0)
    gamma_rad_per_s_t: float
    xi_percent: float = Field(gt=0)
    abundance_percent: float = Field(ge=0, le=100)
    quadrupole_barn: float
    reference_compound: str
    reference_shielding_ppm: float
    reference_shielding_error_ppm: float = Field(gt=0)

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
            xi_percent=row["xi"],
            abundance_percent=row["abundance"],
            quadrupole_barn=row["quadrupole"],
            reference_compound=row["reference"],
            reference_shielding_ppm=row["shielding"][0],
            reference_shielding_error_ppm=row["shielding"][1],
        )
        for name, row in _table()["nuclei"].items()
    }


def table_sources() -> dict[str, str]:
    """Where each column of the table comes from."""
    return {column: entry["source"] for column, entry in _table()["columns"].items()}


def constant_source(name: str, column: str) -> tuple[str, Grade]:
    """Source and grade of one number of the table, for example ``constant_source("27Al", "quadrupole")``.

    Raises
    ------
    UnknownNucleusError
        If the isotope or the column is not in the table.
    """
    isotope(name)
    columns = _table()["columns"]
    if column not in columns:
        raise UnknownNucleusError(
            f"the table of nuclear constants has no column {column!r}; {nearest(column, columns)}"
        )
    entry = _table()["nuclei"][name].get("own", {}).get(column, columns[column])
    return entry["source"], Grade(entry["grade"])


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


def field_of_reference(nucleus: Isotope, reference_mhz: float) -> float:
    """Field in tesla in which the reference compound of a nucleus (0 ppm) resonates at a frequency in MHz."""
    proton_mhz = 100.0 * reference_mhz / nucleus.xi_percent
    return proton_mhz / larmor_mhz(isotope("1H"), 1.0)


def reference_of_field(nucleus: Isotope, field_tesla: float) -> float:
    """Frequency in MHz of the reference compound of a nucleus (0 ppm) in a field in tesla."""
    return larmor_mhz(isotope("1H"), field_tesla) * nucleus.xi_percent / 100.0
