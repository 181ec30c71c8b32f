"""Phase energies of the Materials Project, with the user's own key, kept on disk. A whole level of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..analysis.coatings.energies import EnergyTable, table_of_totals
from ..analysis.coatings.errors import EnergyTableError, MissingKeyError
from ..structures.errors import redacted
from .files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def fetch_table(elements: Sequence[str], folder: Path, *, key: str | None = None) -> EnergyTable:
    """All entries of some elements, with the Materials Project's own mixing scheme and corrections.

    Raises
    ------
    MissingKeyError
        If there is neither a key nor a file of an earlier fetch.
    EnergyTableError
        If the package mp-api is missing or the server cannot be used.
    """
    system = "-".join(sorted(elements))
    path = folder / f"{system}.json"
    if path.exists():
        return EnergyTable.model_validate_json(path.read_text(encoding="utf-8"))
    key = key or os.environ.get("MP_API_KEY") or os.environ.get("PMG_MAPI_KEY")
    if not key:
        raise MissingKeyError(
            f"the Materials Project needs a key for {system}, and none was given: set MP_API_KEY to the key of your "
            "account, or take another level of energies"
        )
    try:
        from mp_api.client import MPRester
    except ImportError as error:
        raise EnergyTableError(
            "the package mp-api is not installed; install it with: pip install 'surfshift[databases]'"
        ) from error
    try:
        with MPRester(key) as rester:
            entries: list[Any] = rester.get_entries_in_chemsys(sorted(elements))
            version = str(rester.get_database_version())
    except Exception as error:
        # The cause is left out: the client's errors may repeat the key.
        told = redacted(str(error), key)
        raise EnergyTableError(
            f"the Materials Project could not be read for {system}: {told}; check the key and the connection"
        ) from None
    rows = [(str(entry.composition.reduced_formula), float(entry.energy_per_atom)) for entry in entries]
    table = table_of_totals(
        rows, level="materials-project", provenance={"source": "Materials Project", "database": version}
    )
    write_atomically(path, table.model_dump_json())
    return table
