"""Inputs of the periodic NMR engines: VASP, CASTEP and Quantum ESPRESSO with GIPAW, written by protocol."""

from .castep import castep_inputs
from .common import InputError, InputFiles, kpoint_grid
from .protocols import (
    CastepProtocol,
    PeriodicEngine,
    QeProtocol,
    VaspProtocol,
    castep_protocol,
    periodic_protocol,
    periodic_protocol_names,
    qe_protocol,
    vasp_protocol,
)
from .qe import qe_inputs
from .upf import UpfFile, find_upf, read_upf
from .vasp import vasp_inputs

__all__ = [
    "CastepProtocol",
    "InputError",
    "InputFiles",
    "PeriodicEngine",
    "QeProtocol",
    "UpfFile",
    "VaspProtocol",
    "castep_inputs",
    "castep_protocol",
    "find_upf",
    "kpoint_grid",
    "periodic_protocol",
    "periodic_protocol_names",
    "qe_inputs",
    "qe_protocol",
    "read_upf",
    "vasp_inputs",
    "vasp_protocol",
]
