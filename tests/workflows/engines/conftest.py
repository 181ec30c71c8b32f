"""Crystals and cheap protocols for the engine's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.workflows.engines.protocols import ClusterProtocol, load_protocol

if TYPE_CHECKING:
    from surfshift.structures.vocabulary import AtomicStructure


@pytest.fixture(scope="session")
def berlinite() -> AtomicStructure:
    return build_crystal(load_crystal("AlPO4_berlinite"))


@pytest.fixture(scope="session")
def small_protocol() -> ClusterProtocol:
    """One shell and small bases: real DFT in seconds, with grids fine enough to test invariances."""
    return load_protocol(
        "fast",
        shells=1,
        target_basis="pcSseg-0",
        outer_basis="STO-3G",
        target_grid=(50, 302),
        outer_grid=(40, 194),
        cap_grid=(30, 110),
        scf_tolerance_hartree=1e-9,
    )
