"""A bulk and a slab of berlinite for the writers of inputs."""

from __future__ import annotations

import pytest
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.vocabulary import Candidate, Region


@pytest.fixture(scope="session")
def makes() -> dict[str, Candidate]:
    """Berlinite, and berlinite with vacuum along its third vector and a dipole: for an input file a slab."""
    crystal = build_crystal(load_crystal("AlPO4_berlinite"))
    bulk = Candidate(
        name="AlPO4 bulk", kind="bulk", structure=crystal, parent="x", regions=(Region.BULK,) * len(crystal)
    )
    lattice = crystal.lattice * [[1.0], [1.0], [2.0]]
    layer = crystal.model_copy(
        update={
            "lattice_ang": tuple(tuple(float(x) for x in row) for row in lattice),
            "frac_coords": tuple((x, y, 0.5 * (z % 1.0) + 0.1) for x, y, z in crystal.frac_coords),
            "periodic": (True, True, False),
        }
    )
    changes = {"name": "AlPO4(001) $(x)", "structure": layer, "kind": "slab", "miller": (0, 0, 1), "dipole_e_ang": 1.3}
    return {"bulk": bulk, "slab": bulk.model_copy(update=changes)}
