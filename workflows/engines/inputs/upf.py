"""Pseudopotential files of Quantum ESPRESSO: what they say, and whether they hold the data that GIPAW needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ....structures.vocabulary import Frozen
from .common import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

ENDINGS = (".upf", ".UPF")
_HEADER_BYTES = 20_000


class MissingPotentialError(InputError):
    """A pseudopotential file that is needed and not there, or not usable for NMR."""


class UpfFile(Frozen):
    """One pseudopotential file. ``functional`` is as the file writes it; ``has_gipaw`` says whether NMR is possible."""

    path: str
    element: str
    functional: str
    has_gipaw: bool

    @property
    def name(self) -> str:
        """File name without its folder."""
        return Path(self.path).name


def read_upf(path: str | Path) -> UpfFile:
    """Element, functional and GIPAW data of a UPF file, of either format version.

    Raises
    ------
    MissingPotentialError
        If the file cannot be read or is no UPF file.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise MissingPotentialError(f"cannot read {str(file)!r}: {error}") from error
    head = text[text.find("<PP_HEADER") :][:_HEADER_BYTES] if "<PP_HEADER" in text else ""
    element = re.search(r'element\s{0,9}=\s{0,9}"\s{0,9}([A-Z][a-z]?)', head) or re.search(
        r"^\s{0,9}([A-Z][a-z]?)\s{1,40}Element", head, flags=re.MULTILINE
    )
    functional = re.search(r'functional\s{0,9}=\s{0,9}"([^"]{1,60})"', head) or re.search(
        r"^(.{1,60}?)Exchange-Correlation", head, flags=re.MULTILINE
    )
    if element is None:
        raise MissingPotentialError(f"{str(file)!r} is no UPF pseudopotential; give one of Quantum ESPRESSO's format")
    return UpfFile(
        path=str(file),
        element=element.group(1),
        functional=" ".join(functional.group(1).split()) if functional else "unknown",
        has_gipaw="<PP_GIPAW" in text,
    )


def find_upf(folder: str | Path, elements: Iterable[str]) -> dict[str, UpfFile]:
    """The GIPAW pseudopotential of each element in a folder; the first by name where there are several.

    Raises
    ------
    MissingPotentialError
        If the folder is missing, or an element has no file with GIPAW data; the message says which and what to do.
    """
    place = Path(folder)
    if not place.is_dir():
        raise MissingPotentialError(f"no folder {str(place)!r} of pseudopotentials; name one with SURFSHIFT_UPF_DIR")
    wanted = sorted(set(elements))
    found: dict[str, UpfFile] = {}
    without: dict[str, str] = {}
    for path in sorted(p for p in place.iterdir() if p.suffix in ENDINGS):
        # a name begins with its element by custom; other files are not opened, there may be hundreds
        stem = re.match(r"[A-Za-z]{1,2}", path.name)
        if stem is None or not {stem.group().capitalize(), stem.group()[0].upper()} & set(wanted):
            continue
        upf = read_upf(path)
        if upf.element in wanted and upf.has_gipaw:
            found.setdefault(upf.element, upf)
        elif upf.element in wanted:
            without.setdefault(upf.element, path.name)
    missing = [element for element in wanted if element not in found]
    if missing:
        reasons = [
            f"{element} ({without[element]} has no GIPAW data)" if element in without else f"{element} (no file)"
            for element in missing
        ]
        raise MissingPotentialError(
            f"no GIPAW pseudopotential in {str(place)!r} for {', '.join(reasons)}; put UPF files with a <PP_GIPAW> "
            "section there, for example made with ld1.x and lgipaw_reconstruction = .true."
        )
    return found
