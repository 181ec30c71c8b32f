"""Protocols of the cluster engine, read from data and validated."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from ...structures.errors import SurfshiftError, nearest
from ...structures.vocabulary import Frozen, content_hash

NOT_IN_THE_NUMBERS = {"name", "description", "max_scf_cycles", "min_gap_ev", "max_cap_rescaling"}


class UnknownProtocolError(SurfshiftError):
    """A protocol, or an override of one of its numbers, that does not exist."""


class ClusterProtocol(Frozen):
    """Every number that a shielding or EFG tensor of the cluster engine depends on.

    Basis sets are PySCF names. Grids are (radial, angular) points per atom, and NWChem's own ``fine`` with it;
    auxiliary bases are PySCF's alone. ``shells`` counts cation
    shells: with 2, the cluster holds the target's anions, their cations and the anions of those.
    """

    name: str
    description: str
    program: Literal["pyscf", "nwchem"] = "pyscf"
    functional: str
    shells: int = Field(ge=1, le=4)
    target_basis: str
    outer_basis: str
    heavy_basis: str
    cap_basis: str
    auxiliary_basis: str
    outer_auxiliary_basis: str
    target_grid: tuple[int, int]
    outer_grid: tuple[int, int]
    cap_grid: tuple[int, int]
    scf_tolerance_hartree: float = Field(gt=0)
    max_scf_cycles: int = Field(ge=1)
    min_gap_ev: float = Field(gt=0)
    max_cap_rescaling: float = Field(gt=0, lt=1)

    @property
    def hash(self) -> str:
        """Content hash of every number that a tensor depends on; words and limits of acceptance do not count."""
        left_out = NOT_IN_THE_NUMBERS | ({"program"} if self.program == "pyscf" else set())
        return content_hash(self.model_dump(mode="json", exclude=left_out))


@cache
def _protocol_data() -> dict[str, Any]:
    text = resources.files("surfshift.workflows.protocols").joinpath("cluster.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


def protocol_names() -> tuple[str, ...]:
    """Names of the shipped protocols, cheapest first."""
    return tuple(_protocol_data()["protocols"])


def load_protocol(name: str, **overrides: object) -> ClusterProtocol:
    """A shipped protocol, optionally with some of its numbers replaced.

    Raises
    ------
    UnknownProtocolError
        If the name or an override is unknown or a value does not fit.
    """
    data = _protocol_data()
    if name not in data["protocols"]:
        raise UnknownProtocolError(f"unknown NMR protocol {name!r}; {nearest(name, data['protocols'])}")
    unknown = sorted(set(overrides) - set(ClusterProtocol.model_fields))
    if unknown:
        raise UnknownProtocolError(f"unknown protocol key {unknown[0]!r}; {nearest(unknown[0], data['defaults'])}")
    values = {**data["defaults"], **data["protocols"][name], "name": name, **overrides}
    try:
        return ClusterProtocol.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UnknownProtocolError(f"protocol {name!r}: {where} = {first['input']!r}: {first['msg']}") from error
