"""Reading Quantum ESPRESSO: pw.x and gipaw.x outputs, and the two .magres files that gipaw.x writes.

gipaw.x writes one .magres file per job (``PREFIX.nmr.magres``, ``PREFIX.efg.magres``), with four decimals. Its
printed output has six for the EFG, and says whether the response converged; so both are read where both are there.
EFG tensors are in Hartree/bohr^2 with the sign of the potential's second derivative.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...structures.vocabulary import Frozen, Tensor3, Vector3, as_tensor3
from .errors import (
    InconsistentFileError,
    MissingTensorsError,
    TruncatedOutputError,
    UnconvergedOutputError,
    UnconvergedResponseError,
    UnreadableFileError,
)
from .magres import BOHR_ANG, HARTREE_EV, read_magres
from .merging import merge
from .result import LEFT_OUT, SPHERE, UNKNOWN, PeriodicTensors, clean_efg, fractional, functional_name
from .text import element, integer, number, numbers, read_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DONE = "JOB DONE"
_START = re.compile(r"Program\s{1,4}(PWSCF|GIPAW)\s{1,4}v\.?\s{0,4}(\S{1,20})")
_ERROR = re.compile(r"Error in routine\s{1,8}(\S{1,60})")
_ATOM_LINE = re.compile(r"^\s{0,12}\d{1,7}\s{1,12}(\S{1,8})\s{1,12}tau\(")
_SITE = re.compile(r"^\s{1,8}Atom\s{1,8}(\d{1,9})\s{1,8}([A-Za-z]\S{0,7})\s{1,8}pos:")
_PRINTED_EFG_AU = 1e-6
_MAGRES_AU = 1e-4
_MAGRES_PPM = 1e-3


class PwRun(Frozen):
    """What a finished pw.x output says.

    ``frac_coords`` are of the input positions, in the order of the output; ``energy_ev`` is the total energy.
    """

    version: str
    lattice_ang: Tensor3
    elements: tuple[str, ...]
    frac_coords: tuple[Vector3, ...]
    functional: str
    cutoff_ev: float
    energy_ev: float
    n_electrons: float

    @property
    def lattice(self) -> NDArray[np.float64]:
        """Lattice vectors as rows, shape (3, 3), angstrom."""
        return np.array(self.lattice_ang)


class GipawRun(Frozen):
    """Tensors of a finished gipaw.x output; ``efg_au`` or ``shielding_ppm`` is empty, as the job was."""

    version: str
    elements: tuple[str, ...]
    shielding_ppm: tuple[Tensor3, ...] = ()
    efg_au: tuple[Tensor3, ...] = ()
    macroscopic: str = UNKNOWN


def _checked_lines(text: str, program: str, name: str) -> tuple[list[str], str]:
    """Lines and version of a finished output of ``program``."""
    start = _START.search(text)
    if start is None or start.group(1) != program:
        raise UnreadableFileError(
            f"{name} is not an output of {'pw.x' if program == 'PWSCF' else 'gipaw.x'}; check the path"
        )
    if "convergence NOT achieved" in text:
        raise UnconvergedOutputError(
            f"{name}: the self-consistent field did not converge; raise electron_maxstep or lower mixing_beta"
        )
    if "root not converged" in text and program == "GIPAW":
        raise UnconvergedResponseError(
            f"{name}: the Green's function did not converge (cgsolve_all); raise ecutwfc or loosen conv_threshold"
        )
    if _DONE not in text:
        crash = _ERROR.search(text)
        because = f"it stopped with an error in routine {crash.group(1)}" if crash else "it does not end with JOB DONE"
        raise TruncatedOutputError(f"{name}: {because}; {TruncatedOutputError.reaction}")
    return text.splitlines(), start.group(2)


def read_pw_output(path: str | Path) -> PwRun:
    """Read the printed output of a pw.x calculation, and refuse one that did not finish or converge.

    Raises
    ------
    TensorFileError
        Any of the named refusals of this package.
    """
    return parse_pw_output(read_text(path), name=str(path))


def parse_pw_output(text: str, *, name: str = "pw.x output") -> PwRun:
    """Read the text of a pw.x output; see ``read_pw_output``.

    Raises
    ------
    TensorFileError
        Any of the named refusals of this package.
    """
    lines, version = _checked_lines(text, "PWSCF", name)
    if "convergence has been achieved" not in text:
        raise UnconvergedOutputError(f"{name}: no self-consistent field converged; give the output of an scf run")

    def value(label: str) -> float:
        line = next((line for line in lines if label in line), None)
        if line is None:
            raise TruncatedOutputError(f"{name} does not state {label!r}; {TruncatedOutputError.reaction}")
        tokens = line.split(label, 1)[1].replace("=", " ").split()
        return number(tokens[0] if tokens else "", f"{name}, {label}")

    alat_ang = value("lattice parameter (alat)") * BOHR_ANG
    axes = [i for i, line in enumerate(lines) if line.strip().startswith("a(1) = (")]
    if not axes or axes[0] + 3 > len(lines):
        raise TruncatedOutputError(f"{name} has no crystal axes; {TruncatedOutputError.reaction}")
    lattice = alat_ang * np.array([_bracket(lines[axes[0] + k], f"{name}, crystal axes") for k in range(3)])
    elements, positions = [], []
    for line in lines:
        if (found := _ATOM_LINE.match(line)) is not None:
            elements.append(element(found.group(1), f"{name}, positions"))
            positions.append(_bracket(line.split("tau(", 1)[1].split("=", 1)[-1], f"{name}, positions"))
        elif elements:
            break
    n_atoms = value("number of atoms/cell")
    if len(elements) != round(n_atoms):
        raise InconsistentFileError(f"{name}: {len(elements)} positions for {n_atoms:g} atoms; the file is damaged")
    energies = [line for line in lines if line.startswith("!") and "total energy" in line]
    if not energies:
        raise TruncatedOutputError(f"{name} states no total energy; {TruncatedOutputError.reaction}")
    energy = number((energies[-1].split("=", 1)[-1].split() or [""])[0], f"{name}, total energy")
    functional = next((line.split("=", 1)[1] for line in lines if "Exchange-correlation" in line and "=" in line), "")
    return PwRun(
        version=version,
        lattice_ang=as_tensor3(lattice),
        elements=tuple(elements),
        frac_coords=fractional(alat_ang * np.array(positions), lattice, name),
        functional=functional_name(functional.split("(")[0]),
        cutoff_ev=value("kinetic-energy cutoff") * 0.5 * HARTREE_EV,
        energy_ev=energy * 0.5 * HARTREE_EV,
        n_electrons=value("number of electrons"),
    )


def _bracket(line: str, where: str) -> list[float]:
    inside = line.rsplit("(", 1)[-1].split(")", maxsplit=1)[0]
    return numbers(inside.split(), 3, where)


def read_gipaw_output(path: str | Path) -> GipawRun:
    """Read the printed output of gipaw.x, job ``nmr`` or ``efg``, and refuse one that did not finish or converge.

    Raises
    ------
    TensorFileError
        Any of the named refusals of this package.
    """
    return parse_gipaw_output(read_text(path), name=str(path))


def parse_gipaw_output(text: str, *, name: str = "gipaw.x output") -> GipawRun:
    """Read the text of a gipaw.x output; see ``read_gipaw_output``.

    Raises
    ------
    TensorFileError
        Any of the named refusals of this package.
    """
    lines, version = _checked_lines(text, "GIPAW", name)
    shift = "NMR macroscopic correction: "
    macroscopic = SPHERE if f"{shift}yes" in text else LEFT_OUT if f"{shift}no" in text else UNKNOWN
    elements, shielding = _printed_shielding(lines, name)
    if shielding:
        return GipawRun(
            version=version, elements=tuple(elements), shielding_ppm=tuple(shielding), macroscopic=macroscopic
        )
    elements, efg = _printed_efg(lines, name)
    if not efg:
        raise MissingTensorsError(
            f"{name} holds neither shieldings nor field gradients; run gipaw.x with job nmr or efg"
        )
    return GipawRun(version=version, elements=tuple(elements), efg_au=tuple(efg))


def _printed_shielding(lines: list[str], name: str) -> tuple[list[str], list[Tensor3]]:
    start = next((i for i, line in enumerate(lines) if "Total NMR chemical shifts in ppm" in line), None)
    elements: list[str] = []
    tensors: list[Tensor3] = []
    if start is None:
        return elements, tensors
    for i in range(start, len(lines)):
        site = _SITE.match(lines[i])
        if site is None:
            continue
        where = f"{name}, line {i + 1}"
        if int(site.group(1)) != len(tensors) + 1:
            raise InconsistentFileError(
                f"{where}: atom {site.group(1)} where {len(tensors) + 1} belongs; the file is damaged"
            )
        if i + 3 >= len(lines):
            raise TruncatedOutputError(f"{where}: the tensor is cut; {TruncatedOutputError.reaction}")
        elements.append(element(site.group(2), where))
        raw = np.array([numbers(lines[i + k].split(), 3, where) for k in (1, 2, 3)])
        printed = lines[i].rsplit("Total sigma:", 1)
        if len(printed) == 2:
            iso, from_tensor = number(printed[1].strip(), where), float(np.trace(raw)) / 3.0
            if abs(iso - from_tensor) > 0.01:
                raise InconsistentFileError(
                    f"{where}: isotropic {iso:g} ppm, {from_tensor:.4f} from the tensor; the file is damaged"
                )
        tensors.append(as_tensor3(raw.T))
    return elements, tensors


def _printed_efg(lines: list[str], name: str) -> tuple[list[str], list[Tensor3]]:
    starts = [i for i, line in enumerate(lines) if line.strip().startswith("----- total EFG")]
    elements: list[str] = []
    tensors: list[Tensor3] = []
    if not starts:
        return elements, tensors
    rows: list[list[float]] = []
    for i in range(starts[-1] + 1, len(lines)):
        tokens = lines[i].split()
        where = f"{name}, line {i + 1}"
        if not tokens:
            continue
        if len(tokens) != 5 or not tokens[1].isdigit():
            break
        if integer(tokens[1], where) != len(tensors) + 1:
            raise InconsistentFileError(
                f"{where}: atom {tokens[1]} where {len(tensors) + 1} belongs; the file is damaged"
            )
        rows.append(numbers(tokens[2:], 3, where))
        if len(rows) == 3:
            elements.append(element(tokens[0], where))
            tensors.append(clean_efg(np.array(rows), where, printed_au=_PRINTED_EFG_AU))
            rows = []
    if rows:
        raise TruncatedOutputError(f"{name}: the last EFG tensor is cut; {TruncatedOutputError.reaction}")
    return elements, tensors


def read_qe(
    nmr_magres: str | Path,
    efg_magres: str | Path | None = None,
    *,
    nmr_output: str | Path | None = None,
    efg_output: str | Path | None = None,
    scf_output: str | Path | None = None,
) -> PeriodicTensors:
    """Tensors of a QE-GIPAW calculation from its two .magres files, checked against the printed outputs.

    Parameters
    ----------
    nmr_magres, efg_magres
        ``PREFIX.nmr.magres`` and ``PREFIX.efg.magres``.
    nmr_output, efg_output
        Printed output of the two gipaw.x jobs. Where given they must be finished, and agree with the .magres files;
        the EFG is taken from there, where it has more decimals.
    scf_output
        Printed output of pw.x. Where given it must be finished and converged, and of the same atoms.

    Raises
    ------
    TensorFileError
        Any of the named refusals of this package.
    """
    run = read_magres(nmr_magres)
    if efg_magres is not None:
        run = merge(run, read_magres(efg_magres))
    if scf_output is not None:
        pw = read_pw_output(scf_output)
        if pw.elements != run.elements or not np.allclose(pw.lattice, run.lattice, atol=1e-3):
            raise InconsistentFileError(
                f"{scf_output} is of other atoms or another cell than {nmr_magres}; give the files of one calculation"
            )
    if nmr_output is not None:
        run = with_printed(run, read_gipaw_output(nmr_output), name=str(nmr_output))
    if efg_output is not None:
        run = with_printed(run, read_gipaw_output(efg_output), name=str(efg_output))
    return run


def with_printed(run: PeriodicTensors, printed: GipawRun, *, name: str = "gipaw.x output") -> PeriodicTensors:
    """The tensors of .magres files, replaced by the printed ones, which have at least as many decimals.

    Raises
    ------
    InconsistentFileError
        If the two are of different atoms or differ by more than rounding.
    """
    if printed.elements != run.elements:
        raise InconsistentFileError(
            f"{name} is of other atoms than the .magres file; give the files of one calculation"
        )
    update: dict[str, object] = {}
    for field, tensors, rounding in (
        ("shielding_ppm", printed.shielding_ppm, _MAGRES_PPM),
        ("efg_au", printed.efg_au, _MAGRES_AU),
    ):
        stored: tuple[Tensor3 | None, ...] = getattr(run, field)
        for k, tensor in enumerate(tensors):
            other = stored[k]
            if other is not None and np.abs(np.array(tensor) - np.array(other)).max() > 1.5 * rounding:
                raise InconsistentFileError(
                    f"{name}: the {field} of atom {k + 1} is not that of the .magres file; give the files of "
                    "one calculation"
                )
        if tensors:
            update[field] = tensors
    if printed.macroscopic != UNKNOWN:
        update["macroscopic"] = printed.macroscopic
    return run.model_copy(update=update)


def find_qe_files(folder: str | Path) -> dict[str, Path]:
    """The files of a QE-GIPAW calculation in a folder, by the argument names of ``read_qe``.

    Raises
    ------
    UnreadableFileError
        If there is no .nmr.magres file, or more than one.
    """
    place = Path(folder)
    nmr = sorted(place.glob("*.nmr.magres"))
    if len(nmr) != 1:
        raise UnreadableFileError(f"{str(place)!r} holds {len(nmr)} files *.nmr.magres; one is needed")
    prefix = nmr[0].name.removesuffix(".nmr.magres")
    names = {
        "nmr_magres": nmr[0],
        "efg_magres": place / f"{prefix}.efg.magres",
        "nmr_output": place / f"{prefix}-nmr.out",
        "efg_output": place / f"{prefix}-efg.out",
        "scf_output": place / f"{prefix}-scf.out",
    }
    return {argument: path for argument, path in names.items() if path.is_file()}
