"""Protocols of the periodic engines, read from data and validated."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError

from ....structures.errors import nearest
from ....structures.vocabulary import Frozen, content_hash
from ..protocols import UnknownProtocolError

RYDBERG_EV = 13.605693122994
Functional = Literal["pbe", "pbesol"]
PeriodicEngine = Literal["vasp", "castep", "qe"]
P = TypeVar("P", bound="PeriodicProtocol")


class PeriodicProtocol(Frozen):
    """What the protocols of all periodic engines have.

    ``kpoint_spacing_per_ang`` is the largest distance of k-points in 1/angstrom, without the factor 2 pi.
    ``convergence`` says how to show that the numbers are converged.
    """

    name: str
    description: str
    convergence: str
    functional: Functional
    max_scf_cycles: int = Field(ge=1)
    kpoint_spacing_per_ang: float = Field(gt=0.005, lt=1.0)

    @property
    def wavefunction_cutoff_ry(self) -> float:
        """Plane-wave cutoff of the orbitals, Ry, whichever unit the program takes."""
        cutoff_ev: float | None = getattr(self, "cutoff_ev", None)
        cutoff_ry: float = getattr(self, "cutoff_ry", 0.0)
        return cutoff_ry if cutoff_ev is None else cutoff_ev / RYDBERG_EV

    @property
    def hash(self) -> str:
        """Content hash of every number that a tensor depends on."""
        words = {"name", "description", "convergence", "max_scf_cycles"}
        return content_hash(self.model_dump(mode="json", exclude=words))


class VaspProtocol(PeriodicProtocol):
    """Numbers of a VASP run; energies in eV, ``response_step_per_ang`` (DQ) in 1/angstrom."""

    cutoff_ev: float = Field(ge=200, le=2000)
    scf_tolerance_ev: float = Field(gt=0, le=1e-4)
    real_space_projectors: bool
    smearing_ev: float = Field(gt=0, le=0.2)
    response_step_per_ang: float = Field(gt=0, le=0.1)
    response_order: Literal[1, 2, 3]


class CastepProtocol(PeriodicProtocol):
    """Numbers of a CASTEP run; energies in eV. ``potentials`` is ``default`` or the name of an on-the-fly library."""

    cutoff_ev: float = Field(ge=200, le=3000)
    scf_tolerance_ev: float = Field(gt=0, le=1e-4)
    potentials: str = Field(pattern=r"^[A-Za-z0-9]{1,12}$")


class PwProtocol(PeriodicProtocol):
    """Numbers of a pw.x run; energies in Ry."""

    cutoff_ry: float = Field(ge=20, le=300)
    density_cutoff_factor: float = Field(ge=4, le=20)
    scf_tolerance_ry: float = Field(gt=0, le=1e-4)
    mixing: float = Field(gt=0, le=1)


class QeProtocol(PwProtocol):
    """Numbers of a pw.x and gipaw.x run; energies in Ry, ``q_gipaw_per_bohr`` in 1/bohr."""

    q_gipaw_per_bohr: float = Field(gt=0, le=0.1)
    response_tolerance_ry2: float = Field(gt=0, le=1e-6)


@cache
def protocol_data(file: str) -> dict[str, Any]:
    """Content of one of the data files of ``workflows/protocols``."""
    text = resources.files("surfshift.workflows.protocols").joinpath(f"{file}.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


def periodic_protocol_names() -> tuple[str, ...]:
    """Names that every periodic engine has, cheapest first."""
    return tuple(protocol_data("vasp")["protocols"])


def load_periodic(
    engine: str, model: type[P], name: str, overrides: dict[str, object], *, file: str | None = None
) -> P:
    """One protocol of an engine's data file, which is ``file`` where it is not called as the engine.

    Raises
    ------
    UnknownProtocolError
        If the name or an override is unknown or a value does not fit.
    """
    data = protocol_data(file or engine)
    if name not in data["protocols"]:
        raise UnknownProtocolError(f"unknown {engine} protocol {name!r}; {nearest(name, data['protocols'])}")
    unknown = sorted(set(overrides) - set(data["defaults"]))
    if unknown:
        raise UnknownProtocolError(
            f"unknown {engine} protocol key {unknown[0]!r}; {nearest(unknown[0], data['defaults'])}"
        )
    try:
        return model.model_validate({**data["defaults"], **data["protocols"][name], "name": name, **overrides})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UnknownProtocolError(
            f"{engine} protocol {name!r}: {where} = {first['input']!r}: {first['msg']}"
        ) from error


def vasp_protocol(name: str = "balanced", **overrides: object) -> VaspProtocol:
    """A shipped VASP protocol, optionally with some numbers replaced.

    Raises
    ------
    UnknownProtocolError
        If the name or an override is unknown or a value does not fit.
    """
    return load_periodic("vasp", VaspProtocol, name, overrides)


def castep_protocol(name: str = "balanced", **overrides: object) -> CastepProtocol:
    """A shipped CASTEP protocol; see ``vasp_protocol``.

    Raises
    ------
    UnknownProtocolError
        If the name or an override is unknown or a value does not fit.
    """
    return load_periodic("castep", CastepProtocol, name, overrides)


def qe_protocol(name: str = "balanced", **overrides: object) -> QeProtocol:
    """A shipped Quantum ESPRESSO protocol; see ``vasp_protocol``.

    Raises
    ------
    UnknownProtocolError
        If the name or an override is unknown or a value does not fit.
    """
    return load_periodic("qe", QeProtocol, name, overrides)


MODELS: dict[PeriodicEngine, type[PeriodicProtocol]] = {
    "vasp": VaspProtocol,
    "castep": CastepProtocol,
    "qe": QeProtocol,
}


def periodic_protocol(engine: PeriodicEngine, name: str = "balanced", **overrides: object) -> PeriodicProtocol:
    """A shipped protocol of a periodic NMR engine; see ``vasp_protocol``.

    Raises
    ------
    UnknownProtocolError
        If the name or an override is unknown or a value does not fit.
    """
    return load_periodic(engine, MODELS[engine], name, overrides)
