"""Licensed and foreign files that engines need, looked for per element before anything is submitted."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..analysis.tensor_files.text import ELEMENTS
from ..structures.errors import SurfshiftError, nearest
from .doctor import Finding
from .engines.inputs.upf import MissingPotentialError, find_upf, read_upf
from .engines.inputs.vasp import potcar_symbols
from .files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence


class UnknownElementError(SurfshiftError):
    """A word that is no element symbol."""


Engine = Literal["vasp", "castep", "qe"]
ENGINES: tuple[Engine, ...] = ("vasp", "castep", "qe")

UPF_VARIABLES = ("SURFSHIFT_UPF_DIR", "ESPRESSO_PSEUDO")
POTCAR_VARIABLE = "PMG_VASP_PSP_DIR"
POTCAR_SETS = ("POT_GGA_PAW_PBE_54", "potpaw_PBE.54", "PBE_54", "potpaw_PBE_54", "POT_GGA_PAW_PBE", "")
"""Folders of the PBE_54 set as pymatgen and VASP's own archives name them; the last is the folder itself."""


def elements_of(text: str) -> tuple[str, ...]:
    """Element symbols from a list such as ``H,O,Al``.

    Raises
    ------
    UnknownElementError
        If one is not a symbol.
    """
    words = tuple(word for word in re.split(r"[,\s]+", text) if word)
    for word in words:
        if word not in ELEMENTS:
            raise UnknownElementError(f"{word!r} is no element symbol; {nearest(word, ELEMENTS)}")
    return words


def upf_folder(given: str | Path | None = None) -> Path | None:
    """Folder of UPF files: given, or from SURFSHIFT_UPF_DIR or ESPRESSO_PSEUDO; None if none is named."""
    named = given or next((os.environ[name] for name in UPF_VARIABLES if os.environ.get(name)), None)
    return Path(named) if named else None


def potcar_folder() -> Path | None:
    """Folder of POTCARs as pymatgen knows it: PMG_VASP_PSP_DIR in the environment or in ~/.config/.pmgrc.yaml."""
    named = os.environ.get(POTCAR_VARIABLE) or _pmgrc().get(POTCAR_VARIABLE)
    return Path(named).expanduser() if named else None


def _pmgrc() -> dict[str, str]:
    import yaml

    for path in (Path.home() / ".config" / ".pmgrc.yaml", Path.home() / ".pmgrc.yaml"):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError):
            continue
        if isinstance(content, dict):
            return {str(key): str(value) for key, value in content.items()}
    return {}


def find_potcar(folder: Path, symbol: str) -> Path | None:
    """The POTCAR of a symbol, where pymatgen would find it; it is not opened."""
    for name in POTCAR_SETS:
        for tail in (f"POTCAR.{symbol}", f"POTCAR.{symbol}.gz", f"{symbol}/POTCAR", f"{symbol}/POTCAR.gz"):
            if (path := folder / name / tail).is_file():
                return path
    return None


def write_potcar(folder: Path, symbols: Sequence[str]) -> None:
    """Join the user's POTCARs in the order of the species, as VASP reads them.

    Parameters
    ----------
    folder
        Where POTCAR is written.
    symbols
        Names as in ``POTCAR.spec``.

    Raises
    ------
    MissingPotentialError
        If the folder of POTCARs lacks one.
    """
    source = potcar_folder()
    texts = []
    for symbol in symbols:
        path = find_potcar(source, symbol) if source else None
        if path is None:
            require_potentials("vasp", [symbol.split("_")[0]])
            continue
        texts.append((gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode())
    write_atomically(folder / "POTCAR", "".join(texts))


def examine_potentials(
    elements: Sequence[str], *, upf: str | Path | None = None, engines: Sequence[Engine] = ENGINES
) -> tuple[Finding, ...]:
    """Per engine and element: whether its potential is there. Nothing is a problem, since each engine is optional."""
    checks = {"vasp": _vasp, "castep": _castep, "qe": _qe}
    unknown = [engine for engine in engines if engine not in checks]
    if unknown:
        raise MissingPotentialError(f"unknown engine {unknown[0]!r}; {nearest(unknown[0], checks)}")
    findings: list[Finding] = []
    for engine in engines:
        findings += checks[engine](tuple(dict.fromkeys(elements)), upf)
    return tuple(findings)


def require_potentials(engine: Engine, elements: Sequence[str], *, upf: str | Path | None = None) -> None:
    """Refuse to go on if an engine lacks a file for an element; to be called before anything is submitted.

    Raises
    ------
    MissingPotentialError
        With every missing element and what to do.
    """
    missing = [finding for finding in examine_potentials(elements, upf=upf, engines=(engine,)) if finding.advice]
    if missing:
        raise MissingPotentialError(
            f"{engine} cannot run: " + "; ".join(f"{f.what}: {f.found} ({f.advice})" for f in missing)
        )


def _vasp(elements: Sequence[str], upf: str | Path | None) -> list[Finding]:
    del upf
    folder = potcar_folder()
    if folder is None or not folder.is_dir():
        found = f"{POTCAR_VARIABLE} is not set" if folder is None else f"no folder {folder}"
        return [
            Finding(what="VASP POTCARs", found=found, advice="pmg config -p SOURCE TARGET, with your licensed files")
        ]
    findings = []
    for element in elements:
        try:
            (symbol,) = potcar_symbols((element,))
        except ValueError:
            findings.append(
                Finding(what=f"VASP POTCAR {element}", found="no symbol chosen", advice="name one in potentials")
            )
            continue
        path = find_potcar(folder, symbol)
        findings.append(
            Finding(what=f"VASP POTCAR {element}", found=f"{symbol} in {path.parent}")
            if path
            else Finding(
                what=f"VASP POTCAR {element}",
                found=f"{symbol} is not in {folder}",
                advice="put the PBE_54 set there with pmg config -p",
            )
        )
    return findings


def _castep(elements: Sequence[str], upf: str | Path | None) -> list[Finding]:
    del elements, upf
    program = next((path for name in ("castep.mpi", "castep", "castep.serial") if (path := shutil.which(name))), None)
    return [
        Finding(
            what="CASTEP potentials",
            found="made on the fly, no files needed" + (f"; program {program}" if program else "; no castep on PATH"),
        )
    ]


def _qe(elements: Sequence[str], upf: str | Path | None) -> list[Finding]:
    folder = upf_folder(upf)
    if folder is None or not folder.is_dir():
        found = f"{UPF_VARIABLES[0]} is not set" if folder is None else f"no folder {folder}"
        return [Finding(what="GIPAW UPF files", found=found, advice=f"set {UPF_VARIABLES[0]} to their folder")]
    findings = []
    for element in elements:
        what = f"GIPAW UPF {element}"
        try:
            file = find_upf(folder, [element])[element]
        except MissingPotentialError:
            plain = _without_gipaw(folder, element)
            found = f"{plain} has no GIPAW data" if plain else f"no file in {folder}"
            findings.append(Finding(what=what, found=found, advice="put a UPF file with a <PP_GIPAW> section there"))
        else:
            findings.append(Finding(what=what, found=f"{file.name} ({file.functional})"))
    return findings


def _without_gipaw(folder: Path, element: str) -> str | None:
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() == ".upf" and p.name.startswith(element)):
        try:
            if read_upf(path).element == element:
                return path.name
        except MissingPotentialError:
            continue
    return None
