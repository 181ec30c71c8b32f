"""Files of computed tensors, of CASTEP, VASP and Quantum ESPRESSO: read, checked, mapped to sites, and written."""

from .castep import CastepRun, read_castep, read_castep_output
from .errors import MissingTensorsError, TensorFileError
from .magres import read_magres
from .merging import merge
from .ordering import AtomMap, match_atoms
from .qe import GipawRun, PwRun, read_gipaw_output, read_pw_output, read_qe
from .reading import read_tensors
from .result import PeriodicTensors
from .sites import candidate_of, site_tensors
from .vasp import read_outcar
from .writing import export_magres, magres_text, tensors_of_sites, write_magres

__all__ = [
    "AtomMap",
    "CastepRun",
    "GipawRun",
    "MissingTensorsError",
    "PeriodicTensors",
    "PwRun",
    "TensorFileError",
    "candidate_of",
    "export_magres",
    "magres_text",
    "match_atoms",
    "merge",
    "read_castep",
    "read_castep_output",
    "read_gipaw_output",
    "read_magres",
    "read_outcar",
    "read_pw_output",
    "read_qe",
    "read_tensors",
    "site_tensors",
    "tensors_of_sites",
    "write_magres",
]
