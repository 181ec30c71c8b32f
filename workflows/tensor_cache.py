"""Tensors by content, so that no site of one structure is computed twice by one protocol, in whatever study it appears.

The key holds the whole structure with its oxidation states, the site, and every number of the protocol with the
engine's version. A structure that differs by 1e-5 angstrom is another one: nothing is taken for nearly the same.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ..analysis.vocabulary import SiteTensors
from ..structures.vocabulary import content_hash
from .files import write_atomically

if TYPE_CHECKING:
    from ..analysis.vocabulary import Method
    from ..structures.symmetry import SiteOrbit
    from ..structures.vocabulary import AtomicStructure

VARIABLE = "SURFSHIFT_CACHE"
OFF = "off"
FROM_CACHE = "from_cache"
"""Entry of ``checks`` that a tensor from the cache has."""


def cache_folder() -> Path | None:
    """Where tensors are kept: SURFSHIFT_CACHE, else ``surfshift`` in the user's cache folder; None if it is ``off``."""
    named = os.environ.get(VARIABLE, "").strip()
    if named.lower() == OFF:
        return None
    base = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "surfshift"
    return base / "tensors"


def key_of(structure: AtomicStructure, orbit: SiteOrbit, method: Method) -> str:
    """Content hash of a structure, one of its sites and a method."""
    return content_hash(
        {
            "structure": structure.content_id,
            "states": list(structure.oxidation_states),
            "element": orbit.element,
            "atoms": list(orbit.atom_indices),
            "method": method.model_dump(mode="json"),
        }
    )


def find(structure: AtomicStructure, orbit: SiteOrbit, method: Method) -> SiteTensors | None:
    """The tensors of a site, if they were computed before with this very method; a damaged entry counts as none."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        text = (folder / f"{key_of(structure, orbit, method)}.json").read_text(encoding="utf-8")
        tensors = SiteTensors.model_validate_json(text)
    except (OSError, ValidationError, UnicodeDecodeError):
        return None
    fits = (tensors.structure_id, tensors.element, tensors.atom_indices, tensors.method) == (
        structure.content_id,
        orbit.element,
        orbit.atom_indices,
        method,
    )
    return tensors.model_copy(update={"checks": {**tensors.checks, FROM_CACHE: 1.0}}) if fits else None


def keep(structure: AtomicStructure, orbit: SiteOrbit, tensors: SiteTensors) -> None:
    """Note the tensors of a site. A cache that cannot be written is left out: it saves time and is never needed."""
    folder = cache_folder()
    if folder is None:
        return
    try:
        write_atomically(folder / f"{key_of(structure, orbit, tensors.method)}.json", tensors.model_dump_json())
    except OSError:
        return
