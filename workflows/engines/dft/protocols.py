"""Protocols of the relaxing engines, read from data, and the ladder for a field that does not converge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ..inputs.protocols import CastepProtocol, PeriodicProtocol, PwProtocol, load_periodic, protocol_data

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..inputs.common import Value

DftEngine = Literal["cp2k", "pw", "vasp", "castep"]
DFT_ENGINES: tuple[DftEngine, ...] = ("cp2k", "pw", "vasp", "castep")
PROTOCOL_FILES: dict[DftEngine, str] = {"cp2k": "cp2k", "pw": "pw", "vasp": "vasp_relax", "castep": "castep_relax"}
"""Data files of the relaxing engines; ``vasp`` and ``castep`` are those of their NMR runs."""


class Cp2kProtocol(PeriodicProtocol):
    """Numbers of a CP2K run; cutoffs in Ry, ``scf_tolerance`` without unit."""

    cutoff_ry: float = Field(ge=100, le=2000)
    relative_cutoff_ry: float = Field(ge=20, le=200)
    scf_tolerance: float = Field(gt=0, le=1e-4)
    basis: str = Field(pattern=r"^[A-Za-z0-9-]{1,40}$")


class VaspRelaxProtocol(PeriodicProtocol):
    """Numbers of a VASP run of one geometry; energies in eV."""

    cutoff_ev: float = Field(ge=200, le=2000)
    scf_tolerance_ev: float = Field(gt=0, le=1e-3)
    real_space_projectors: bool
    smearing_ev: float = Field(gt=0, le=0.2)


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


def vasp_relax_protocol(name: str = "balanced", **overrides: object) -> VaspRelaxProtocol:
    """A shipped protocol of VASP's relaxations; see ``cp2k_protocol``.

    Raises
    ------
    UnknownProtocolError
        If the name or an override is unknown or a value does not fit.
    """
    return load_periodic("vasp", VaspRelaxProtocol, name, overrides, file=PROTOCOL_FILES["vasp"])


def castep_relax_protocol(name: str = "balanced", **overrides: object) -> CastepProtocol:
    """A shipped protocol of CASTEP's relaxations; see ``cp2k_protocol``.

    Raises
    ------
    UnknownProtocolError
        If the name or an override is unknown or a value does not fit.
    """
    return load_periodic("castep", CastepProtocol, name, overrides, file=PROTOCOL_FILES["castep"])


LOADERS: dict[DftEngine, Callable[..., PeriodicProtocol]] = {
    "cp2k": cp2k_protocol,
    "pw": pw_protocol,
    "vasp": vasp_relax_protocol,
    "castep": castep_relax_protocol,
}


def dft_protocol(engine: DftEngine, name: str = "balanced", **overrides: object) -> PeriodicProtocol:
    """A shipped protocol of a relaxing engine; see ``cp2k_protocol``.

    Raises
    ------
    UnknownProtocolError
        If the name or an override is unknown or a value does not fit.
    """
    return LOADERS[engine](name, **overrides)


def rung_words(rung: Mapping[str, object]) -> dict[str, Value]:
    """Keywords of a rung of the ladder, numbers as numbers and everything else as text; its name is none."""
    return {
        key: value if isinstance(value, int | float) else str(value) for key, value in rung.items() if key != "name"
    }


def scf_ladder(engine: DftEngine) -> tuple[dict[str, Any], ...]:
    """Settings that are tried one after the other until the self-consistent field converges."""
    return tuple(protocol_data(PROTOCOL_FILES[engine])["scf_ladder"])
