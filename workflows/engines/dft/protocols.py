"""Protocols of the relaxing engines, read from data, and the ladder for a field that does not converge."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ..inputs.protocols import PeriodicProtocol, PwProtocol, load_periodic, protocol_data

DftEngine = Literal["cp2k", "pw"]
DFT_ENGINES: tuple[DftEngine, ...] = ("cp2k", "pw")


class Cp2kProtocol(PeriodicProtocol):
    """Numbers of a CP2K run; cutoffs in Ry, ``scf_tolerance`` without unit."""

    cutoff_ry: float = Field(ge=100, le=2000)
    relative_cutoff_ry: float = Field(ge=20, le=200)
    scf_tolerance: float = Field(gt=0, le=1e-4)
    basis: str = Field(pattern=r"^[A-Za-z0-9-]{1,40}$")


def cp2k_protocol(name: str = "balanced", **overrides: object) -> Cp2kProtocol:
    """A shipped CP2K protocol, optionally with some numbers replaced.

    Raises
    ------
    UnknownProtocolError
        If the name or an override is unknown or a value does not fit.
    """
    return load_periodic("cp2k", Cp2kProtocol, name, overrides)


def pw_protocol(name: str = "balanced", **overrides: object) -> PwProtocol:
    """A shipped pw.x protocol; see ``cp2k_protocol``.

    Raises
    ------
    UnknownProtocolError
        If the name or an override is unknown or a value does not fit.
    """
    return load_periodic("pw", PwProtocol, name, overrides)


def scf_ladder(engine: DftEngine) -> tuple[dict[str, Any], ...]:
    """Settings that are tried one after the other until the self-consistent field converges."""
    return tuple(protocol_data(engine)["scf_ladder"])
