"""Crystals from the Materials Project and from OPTIMADE databases, through their own clients."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .errors import SurfshiftError, redacted
from .importing import from_pymatgen

if TYPE_CHECKING:
    from .vocabulary import AtomicStructure


class FetchError(SurfshiftError):
    """A database that cannot be asked, or has no such entry."""


def fetch_materials_project(material_id: str, *, api_key: str | None = None) -> AtomicStructure:
    """A structure of the Materials Project, such as ``mp-7848``.

    Parameters
    ----------
    material_id
        Its id there.
    api_key
        The user's key; by default what the client finds, for example ``MP_API_KEY`` in the environment.

    Raises
    ------
    FetchError
        If the client is not installed, the key or the id is refused, or the database cannot be reached.
    """
    try:
        from mp_api.client import MPRester
    except ImportError as error:
        raise FetchError(
            f"{material_id}: the Materials Project needs its client; install it with: pip install mp-api"
        ) from error
    try:
        with MPRester(api_key) as client:
            structure = client.get_structure_by_material_id(material_id, conventional_unit_cell=True)
    except Exception as error:
        # The cause is left out: the client's errors may repeat the key.
        told = redacted(str(error), api_key, os.environ.get("MP_API_KEY"), os.environ.get("PMG_MAPI_KEY"))
        raise FetchError(
            f"{material_id}: the Materials Project did not give a structure: {told}; check the id, the key "
            "(api_key or MP_API_KEY) and the connection"
        ) from None
    return from_pymatgen(structure, name=material_id)


def fetch_optimade(entry_id: str, *, provider: str) -> AtomicStructure:
    """A structure of an OPTIMADE database.

    Parameters
    ----------
    entry_id
        Its id in that database.
    provider
        Short name of the database as pymatgen's client lists it, such as ``cod`` or ``mcloud.mc3d``.

    Raises
    ------
    FetchError
        If the client is not installed, the provider is not known, the entry is not there, or the database cannot be
        reached.
    """
    try:
        from pymatgen.core.structure import Structure
        from pymatgen.ext.optimade import OptimadeRester
    except ImportError as error:
        raise FetchError(
            f"{entry_id}: OPTIMADE needs pymatgen's client; install it with: pip install pymatgen requests"
        ) from error
    known = tuple(OptimadeRester.aliases)
    if provider not in known:
        raise FetchError(f"OPTIMADE provider {provider!r} is not known; known: {', '.join(sorted(known))}")
    try:
        found = OptimadeRester([provider]).get_structures_with_filter(f'id="{entry_id}"')
    except Exception as error:
        raise FetchError(f"{provider} {entry_id}: no answer: {error}; check the connection") from error
    structures = found.get(provider, {})
    if not structures:
        raise FetchError(f"{provider} has no structure {entry_id!r}; check the id")
    structure = next(iter(structures.values()))
    if not isinstance(structure, Structure):
        raise FetchError(f"{provider} {entry_id} is a molecule; give the id of a crystal")
    return from_pymatgen(structure, name=entry_id)
