"""Reading VASP's OUTCAR of a run with LCHIMAG, LEFG or both.

What stands in an OUTCAR, and what is made of it:

- ``Absolute Chemical Shift tensors`` are minus the shielding, without core and without the G = 0 term, one row per
  direction of the external field (the rows of the tables ``EXTERNAL FIELD APPLIED IN DIRECTION``). The symmetrised
  ones are taken where both stand.
- ``G=0 CONTRIBUTION TO CHEMICAL SHIFT`` is the macroscopic term of a sphere, from the susceptibility without core.
- ``Core NMR properties`` give a shift per species and the core's susceptibility, whose G = 0 term is
  (8 pi / 3) chi / V.
- ``ISO_SHIFT ... (absolute, valence and core)`` is minus the isotropic shielding. It serves as a check.
- EFG tensors are in V/A^2, with the sign of the potential's second derivative; CQ = e Q Vzz / h as elsewhere.

So sigma = -(T + T_G0)^t - (core + core_G0). See the VASP wiki, pages LCHIMAG and LEFG.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

import numpy as np

from ...structures.vocabulary import Tensor3, as_tensor3
from ..constants import EFG_AU_IN_V_PER_M2
from .errors import (
    InconsistentFileError,
    MissingTensorsError,
    TruncatedOutputError,
    UnconvergedGeometryError,
    UnconvergedOutputError,
    UnreadableFileError,
)
from .result import LEFT_OUT, SPHERE, UNKNOWN, PeriodicTensors, build, clean_efg, fractional, numbered
from .text import element, integer, number, numbers, read_text

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

T = TypeVar("T")
AVOGADRO = 6.02214076e23
EFG_AU_IN_V_PER_ANG2 = EFG_AU_IN_V_PER_M2 * 1e-20
_EFG_PRINTED_AU = 1e-3 / EFG_AU_IN_V_PER_ANG2
MAX_ATOMS = 1_000_000

FUNCTIONALS = {
    "PE": "pbe", "8": "pbe", "PS": "pbesol", "RP": "rpbe", "RE": "revpbe", "CA": "lda", "91": "pw91", "AM": "am05",
    "ML": "optb86b-vdw", "BO": "optb88-vdw",
}  # fmt: skip
"""Names of GGA and LEXCH values (VASP wiki, page GGA)."""

_DONE = "General timing and accounting informations for this job"
_ITERATION = re.compile(r"Iteration\s{1,10}(\d{1,9})\(\s{0,10}(\d{1,9})\)")
_TAG = re.compile(
    r"^\s{1,8}(NIONS|NSW|ENCUT|GGA|LEXCH|LCHIMAG|LVGVAPPL|DQ|ISYM|LREAL|METAGGA|LHFCALC|LLRAUG)\s{0,12}=\s{0,12}(\S{1,20})"
)
_NIONS = re.compile(r"NIONS\s{0,10}=\s{0,10}(\d{1,9})")


class Outcar(NamedTuple):
    """An OUTCAR of a run that finished and converged, in lines, with the tags that it states."""

    lines: list[str]
    name: str
    tags: dict[str, str]
    n_atoms: int

    def find(self, text: str, *, start: int = 0) -> int | None:
        """Index of the first line from ``start`` that holds a text."""
        return next((i for i in range(start, len(self.lines)) if text in self.lines[i]), None)

    def find_last(self, text: str) -> int | None:
        """Index of the last line that holds a text."""
        return next((i for i in range(len(self.lines) - 1, -1, -1) if text in self.lines[i]), None)

    def row(self, index: int, count: int, what: str, *, skip: int = 0) -> list[float]:
        """``count`` numbers of a line, after ``skip`` leading words."""
        if index >= len(self.lines):
            raise TruncatedOutputError(f"{self.name} ends within {what}; {TruncatedOutputError.reaction}")
        return numbers(self.lines[index].split()[skip:], count, f"{self.name}, line {index + 1} ({what})")

    def rows(self, start: int, n_rows: int, count: int, what: str, *, skip: int = 0) -> NDArray[np.float64]:
        """Numbers (n_rows, count) of consecutive lines."""
        if start + n_rows > len(self.lines):
            raise TruncatedOutputError(f"{self.name} ends within {what}; {TruncatedOutputError.reaction}")
        return np.array([self.row(start + k, count, what, skip=skip) for k in range(n_rows)])

    def elements(self) -> list[str]:
        """Chemical symbol of every atom."""
        symbols, counts, _ = _species(self)
        return _per_atom(symbols, counts)

    def lattice(self) -> NDArray[np.float64]:
        """The last lattice vectors as rows, angstrom."""
        return _lattice(self)


def read_outcar(path: str | Path, *, macroscopic: Literal["sphere", "left out"] = "sphere") -> PeriodicTensors:
    """Read an OUTCAR (or OUTCAR.gz).

    Parameters
    ----------
    path
        The file.
    macroscopic
        Whether the G = 0 term of a sphere is part of the shielding. It is the same for all atoms of a cell and
        scales with the share of the cell that is matter, so bulk and slab must be treated alike.

    Raises
    ------
    TensorFileError
        Any of the named refusals of this package.
    """
    return parse_outcar(read_text(path), name=str(path), macroscopic=macroscopic)


def parse_outcar(
    text: str, *, name: str = "OUTCAR text", macroscopic: Literal["sphere", "left out"] = "sphere"
) -> PeriodicTensors:
    """Read the text of an OUTCAR; see ``read_outcar``.

    Raises
    ------
    TensorFileError
        Any of the named refusals of this package.
    """
    outcar = open_outcar(text, name)
    symbols, counts, potentials = _species(outcar)
    elements = _per_atom(symbols, counts)
    lattice = _lattice(outcar)
    frac = _positions(outcar, lattice)
    efg = _efg(outcar)
    shielding = _shielding(outcar, counts, lattice, with_g0=macroscopic == SPHERE)
    if efg is None and shielding is None:
        raise MissingTensorsError(f"{name} holds no tensors; run VASP with LCHIMAG = .TRUE. and LEFG = .TRUE.")
    cutoff = number(outcar.tags["ENCUT"], f"{name}, ENCUT") if "ENCUT" in outcar.tags else None
    g0 = "vGv" if outcar.tags.get("LVGVAPPL") == "T" else "pGv"
    return build(
        name,
        lattice_ang=as_tensor3(lattice),
        elements=tuple(elements),
        frac_coords=frac,
        labels=numbered(elements),
        shielding_ppm=shielding or (None,) * len(elements),
        efg_au=efg or (None,) * len(elements),
        engine="vasp",
        engine_version=_version(outcar),
        functional=_functional(outcar),
        cutoff_ev=cutoff,
        macroscopic=UNKNOWN if shielding is None else SPHERE if macroscopic == SPHERE else LEFT_OUT,
        potentials=potentials,
        settings={"susceptibility": g0}
        | {key.lower(): outcar.tags[key] for key in ("DQ", "ISYM", "LREAL", "LLRAUG") if key in outcar.tags},
    )


def open_outcar(text: str, name: str) -> Outcar:
    """The text of an OUTCAR whose run finished and whose fields converged.

    Raises
    ------
    UnreadableFileError, TruncatedOutputError, UnconvergedOutputError, UnconvergedGeometryError, BadNumberError
    """
    lines = text.splitlines()
    if not any("vasp." in line for line in lines[:5]):
        raise UnreadableFileError(f"{name} does not begin as an OUTCAR does (vasp.VERSION); give VASP's OUTCAR")
    tags: dict[str, str] = {}
    n_atoms = 0
    for line in lines:
        if "=" not in line:
            continue
        if (found := _TAG.match(line)) is not None:
            tags[found.group(1)] = found.group(2)
        if not n_atoms and (ions := _NIONS.search(line)) is not None:
            n_atoms = int(ions.group(1))
    if not 0 < n_atoms <= MAX_ATOMS:
        raise TruncatedOutputError(f"{name} does not say how many atoms it has; {TruncatedOutputError.reaction}")
    outcar = Outcar(lines, name, tags, n_atoms)
    _check_converged(outcar)
    if outcar.find(_DONE) is None:
        raise TruncatedOutputError(
            f"{name} has no timing at its end, so VASP did not finish; {TruncatedOutputError.reaction}"
        )
    return outcar


def _check_converged(outcar: Outcar) -> None:
    is_open, last = False, 0
    where = ""

    def refuse() -> None:
        raise UnconvergedOutputError(
            f"{outcar.name}: the self-consistent field of iteration {where} did not reach EDIFF; raise NELM, or "
            "try ALGO = All"
        )

    for line in outcar.lines:
        if "Iteration" in line and (found := _ITERATION.search(line)) is not None:
            step = int(found.group(2))
            if step <= last and is_open:
                refuse()
            is_open, last, where = True, step, f"{found.group(1)}({step})"
        elif "aborting loop" in line:
            if "EDIFF is reached" not in line:
                refuse()
            is_open = False
    finished = outcar.find(_DONE) is not None
    if is_open and finished:
        refuse()
    nsw = outcar.tags.get("NSW", "0").rstrip(";")
    if finished and integer(nsw, f"{outcar.name}, NSW") > 0 and outcar.find("reached required accuracy") is None:
        raise UnconvergedGeometryError(
            f"{outcar.name}: NSW = {nsw} steps ended before the forces converged; {UnconvergedGeometryError.reaction}"
        )


def _version(outcar: Outcar) -> str:
    first = next(line for line in outcar.lines[:5] if "vasp." in line)
    return first[first.index("vasp.") + 5 :].split()[0] if first[first.index("vasp.") + 5 :].split() else UNKNOWN


def _functional(outcar: Outcar) -> str:
    tags = outcar.tags
    code = tags.get("GGA", "--")
    name = FUNCTIONALS.get(code if code != "--" else tags.get("LEXCH", ""), code.lower() if code != "--" else UNKNOWN)
    if tags.get("METAGGA", "F") not in {"F", "--", "F;"}:
        name = tags["METAGGA"].lower()
    return f"{name}-hybrid" if tags.get("LHFCALC") == "T" else name


def _species(outcar: Outcar) -> tuple[list[str], list[int], dict[str, str]]:
    symbols: list[str] = []
    titles: list[str] = []
    counts: list[int] | None = None
    for i, line in enumerate(outcar.lines):
        where = f"{outcar.name}, line {i + 1}"
        if "VRHFIN" in line and "=" in line:
            symbols.append(element(line.split("=", 1)[1].strip().split(":")[0].strip(), where))
        elif "TITEL" in line and "=" in line:
            titles.append(" ".join(line.split("=", 1)[1].split())[:80])
        elif "ions per type" in line and "=" in line:
            counts = [integer(token, where) for token in line.split("=", 1)[1].split()]
    if counts is None or not symbols:
        raise TruncatedOutputError(f"{outcar.name} does not name its species; {TruncatedOutputError.reaction}")
    if len(counts) != len(symbols) or sum(counts) != outcar.n_atoms or min(counts) < 1:
        raise InconsistentFileError(
            f"{outcar.name}: {len(symbols)} species {', '.join(symbols[:12])} with {counts} atoms do not make "
            f"{outcar.n_atoms} atoms; the file is damaged"
        )
    return symbols, counts, dict(zip(symbols, titles, strict=False))


def _per_atom(values: list[T], counts: list[int]) -> list[T]:
    return [value for value, count in zip(values, counts, strict=True) for _ in range(count)]


def _lattice(outcar: Outcar) -> NDArray[np.float64]:
    start = outcar.find_last("direct lattice vectors")
    if start is None:
        raise TruncatedOutputError(f"{outcar.name} has no lattice vectors; {TruncatedOutputError.reaction}")
    return outcar.rows(start + 1, 3, 6, "lattice vectors")[:, :3]


def _positions(outcar: Outcar, lattice: NDArray[np.float64]) -> tuple[tuple[float, float, float], ...]:
    n, nsw = outcar.n_atoms, integer(outcar.tags.get("NSW", "0").rstrip(";"), f"{outcar.name}, NSW")
    start = outcar.find_last("position of ions in fractional coordinates")
    if nsw == 0 and start is not None:
        return tuple((float(x), float(y), float(z)) for x, y, z in outcar.rows(start + 1, n, 3, "positions"))
    start = outcar.find_last("TOTAL-FORCE (eV/Angst)")
    if start is None:
        raise TruncatedOutputError(f"{outcar.name} has no positions; {TruncatedOutputError.reaction}")
    return fractional(outcar.rows(start + 2, n, 6, "positions")[:, :3], lattice, outcar.name)


def _efg(outcar: Outcar) -> tuple[Tensor3, ...] | None:
    start = outcar.find_last("Electric field gradients (V/A^2)")
    if start is None:
        return None
    rows = outcar.rows(start + 4, outcar.n_atoms, 7, "electric field gradients")
    tensors = []
    for k, (ion, xx, yy, zz, xy, xz, yz) in enumerate(rows):
        where = f"{outcar.name}, EFG of ion {k + 1}"
        if ion != k + 1:
            raise InconsistentFileError(f"{where}: the table names ion {ion:g} here; the file is damaged")
        raw = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) / EFG_AU_IN_V_PER_ANG2
        tensors.append(clean_efg(raw, where, printed_au=_EFG_PRINTED_AU))
    _check_efg(outcar, tensors)
    return tuple(tensors)


def _check_efg(outcar: Outcar, tensors: list[Tensor3]) -> None:
    start = outcar.find_last("Electric field gradients after diagonalization (V/A^2)")
    if start is None:
        return
    for k, row in enumerate(outcar.rows(start + 5, outcar.n_atoms, 5, "diagonal field gradients")):
        largest = float(np.abs(np.linalg.eigvalsh(np.array(tensors[k]))).max()) * EFG_AU_IN_V_PER_ANG2
        if abs(largest - abs(row[3])) > 0.01:
            raise InconsistentFileError(
                f"{outcar.name}: ion {k + 1} has V_zz = {row[3]:g} V/A^2 in one table and {largest:.3f} from its "
                "tensor; the file is damaged"
            )


def _shielding(
    outcar: Outcar, counts: list[int], lattice: NDArray[np.float64], *, with_g0: bool
) -> tuple[Tensor3, ...] | None:
    start = outcar.find_last("Absolute Chemical Shift tensors")
    if start is None:
        if outcar.tags.get("LCHIMAG") == "T":
            raise TruncatedOutputError(
                f"{outcar.name} was run with LCHIMAG but has no shift tensors; {TruncatedOutputError.reaction}"
            )
        return None
    valence = _valence_tensors(outcar, start)
    macroscopic, core, core_g0 = _other_terms(outcar, start, lattice)
    if len(core) != len(counts):
        raise InconsistentFileError(
            f"{outcar.name}: core shifts for {len(core)} species, atoms of {len(counts)}; the file is damaged"
        )
    core_of_atom = _per_atom(core, counts)
    g0 = macroscopic + core_g0 * np.eye(3) if with_g0 else np.zeros((3, 3))
    shielding = [-(valence[k] + g0).T - core_of_atom[k] * np.eye(3) for k in range(outcar.n_atoms)]
    _check_isotropic(outcar, start, [float(np.trace(tensor)) / 3.0 for tensor in shielding], column=4 if with_g0 else 1)
    return tuple(as_tensor3(tensor) for tensor in shielding)


def _valence_tensors(outcar: Outcar, start: int) -> NDArray[np.float64]:
    heads = {outcar.lines[i].strip(): i for i in range(start, len(outcar.lines)) if "TENSORS" in outcar.lines[i]}
    begin = heads.get("SYMMETRIZED TENSORS", heads.get("UNSYMMETRIZED TENSORS"))
    if begin is None:
        raise TruncatedOutputError(f"{outcar.name} ends before its shift tensors; {TruncatedOutputError.reaction}")
    tensors = []
    for k in range(outcar.n_atoms):
        at = begin + 1 + 4 * k
        words = outcar.lines[at].split() if at < len(outcar.lines) else []
        if words != ["ion", str(k + 1)]:
            raise TruncatedOutputError(
                f"{outcar.name}, line {at + 1}: the tensor of ion {k + 1} should begin here; the file is cut or damaged"
            )
        tensors.append(outcar.rows(at + 1, 3, 3, f"shift tensor of ion {k + 1}"))
    return np.array(tensors)


def _other_terms(
    outcar: Outcar, start: int, lattice: NDArray[np.float64]
) -> tuple[NDArray[np.float64], list[float], float]:
    """G = 0 tensor (ppm), core shift per species (ppm), and the core's G = 0 term (ppm)."""
    at = outcar.find("CONTRIBUTION TO CHEMICAL SHIFT (field along BDIR)", start=start)
    core_at = outcar.find("Core NMR properties", start=start)
    if at is None or core_at is None or (head := outcar.find("BDIR  ", start=at + 1)) is None:
        raise TruncatedOutputError(
            f"{outcar.name} ends before its G=0 and core contributions; {TruncatedOutputError.reaction}"
        )
    macroscopic = outcar.rows(head + 2, 3, 4, "G=0 contribution")[:, 1:]
    core: list[float] = []
    susceptibility: float | None = None
    for i in range(core_at + 1, len(outcar.lines)):
        words = outcar.lines[i].split()
        where = f"{outcar.name}, line {i + 1} (core properties)"
        if len(words) == 3 and words[0] == str(len(core) + 1):
            core.append(number(words[2], where))
        elif "Core contribution to magnetic susceptibility" in outcar.lines[i]:
            value = outcar.lines[i].split(":", 1)[-1].split()
            susceptibility = number(value[0] if value else "", where)
            break
    if susceptibility is None:
        raise TruncatedOutputError(f"{outcar.name} ends within its core properties; {TruncatedOutputError.reaction}")
    molar_volume_cm3 = abs(float(np.linalg.det(lattice))) * 1e-24 * AVOGADRO
    if molar_volume_cm3 <= 0.0:
        raise InconsistentFileError(f"{outcar.name}: the lattice vectors span no cell; the file is damaged")
    return macroscopic, core, 8.0 * math.pi / 3.0 * susceptibility / molar_volume_cm3


def _check_isotropic(outcar: Outcar, start: int, sigma: list[float], *, column: int) -> None:
    at = outcar.find("(absolute, valence and core)", start=start)
    if at is None:
        return
    for k, row in enumerate(outcar.rows(at + 1, outcar.n_atoms, 7, "isotropic shifts")):
        if abs(row[column] + sigma[k]) > 0.01:
            raise InconsistentFileError(
                f"{outcar.name}: ion {k + 1} has an isotropic shift of {row[column]:g} ppm in VASP's table and "
                f"{-sigma[k]:.4f} from its tensors; the file is damaged"
            )
