"""One way in for every kind of file: by its name, or by what a folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .castep import read_castep
from .errors import UnreadableFileError
from .magres import read_magres
from .qe import find_qe_files, read_qe
from .vasp import read_outcar

if TYPE_CHECKING:
    from .result import PeriodicTensors


def read_tensors(path: str | Path) -> PeriodicTensors:
    """Read a file of tensors, or the folder of a finished calculation.

    A file whose name ends in ``.magres`` or holds ``OUTCAR`` (``.gz`` too) is read as such. A folder is that of VASP if
    it holds an OUTCAR, of Quantum ESPRESSO if it holds ``PREFIX.nmr.magres`` (with ``PREFIX.efg.magres`` and the
    printed outputs ``PREFIX-scf.out``, ``-nmr.out``, ``-efg.out`` where they are), else of CASTEP with one ``.magres``
    file and the ``.castep`` file of the same name.

    Raises
    ------
    TensorFileError
        Any of the named refusals of this package.
    """
    place = Path(path)
    if place.is_dir():
        return _read_folder(place)
    name = place.name.removesuffix(".gz")
    if name.endswith(".magres"):
        return read_magres(place)
    if "OUTCAR" in name:
        return read_outcar(place)
    if not place.is_file():
        raise UnreadableFileError(f"no file {str(place)!r}; check the path")
    raise UnreadableFileError(
        f"{str(place)!r} is neither a .magres file nor an OUTCAR; printed outputs of gipaw.x and CASTEP are read "
        "together with their .magres files, so give the folder"
    )


def _read_folder(folder: Path) -> PeriodicTensors:
    for name in ("OUTCAR", "OUTCAR.gz"):
        if (folder / name).is_file():
            return read_outcar(folder / name)
    if any(folder.glob("*.nmr.magres")):
        return read_qe(**find_qe_files(folder))
    magres = sorted(folder.glob("*.magres"))
    if len(magres) != 1:
        raise UnreadableFileError(
            f"{str(folder)!r} holds {len(magres)} .magres files and no OUTCAR; give the file, or a folder with one"
        )
    castep = magres[0].with_suffix(".castep")
    return read_castep(magres[0], castep if castep.is_file() else None)
