"""A site is found again only for the very structure, site and method; damage counts as nothing known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from surfshift.analysis.vocabulary import Method, SiteTensors
from surfshift.structures.symmetry import distinct_sites
from surfshift.structures.vocabulary import AtomicStructure
from surfshift.workflows import tensor_cache
from surfshift.workflows.engines.cluster import compute_site, method_of
from surfshift.workflows.engines.protocols import load_protocol
from surfshift.workflows.jobs import site_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from surfshift.structures.symmetry import SiteOrbit


def hydrogen_fluoride(distance: float = 0.92) -> AtomicStructure:
    return AtomicStructure(
        lattice_ang=((9.0, 0.0, 0.0), (0.0, 9.0, 0.0), (0.0, 0.0, 9.0)),
        elements=("F", "H"),
        frac_coords=((0.5, 0.5, 0.5), (0.5, 0.5, 0.5 + distance / 9.0)),
        oxidation_states=(-1.0, 1.0),
    )


def site(structure: AtomicStructure, element: str = "H") -> SiteOrbit:
    return distinct_sites(structure, elements={element})[0]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SURFSHIFT_CACHE", str(tmp_path))
    return tmp_path / "tensors"


def test_the_second_study_takes_what_the_first_one_computed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    structure = hydrogen_fluoride()
    first: SiteTensors = site_tensors.original(structure, site(structure), "fast", 1000)
    assert tensor_cache.FROM_CACHE not in first.checks
    monkeypatch.setattr("surfshift.workflows.engines.cluster.compute_site", None)  # a second computation would fail
    second: SiteTensors = site_tensors.original(structure, site(structure), "fast", 1000)
    assert second == first.model_copy(update={"checks": {**first.checks, tensor_cache.FROM_CACHE: 1.0}})
    assert len(list(cache.iterdir())) == 1
    fresh = compute_site(structure, site(structure), load_protocol("fast"), max_memory_mb=1000)
    np.testing.assert_allclose(second.shielding_ppm, fresh.shielding_ppm, atol=1e-4)


def test_anything_else_is_unknown(cache: Path) -> None:
    structure = hydrogen_fluoride()
    method = method_of(load_protocol("fast"))
    tensor = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    kept = SiteTensors(
        structure_id=structure.content_id,
        element="H",
        atom_indices=(1,),
        shielding_ppm=(tensor,),
        efg_au=(((0.0,) * 3,) * 3,),
        method=method,
        checks={},
    )
    tensor_cache.keep(structure, site(structure), kept)
    assert tensor_cache.find(structure, site(structure), method) is not None
    moved = hydrogen_fluoride(0.9201)
    other = Method.model_validate({**method.model_dump(), "protocol_hash": "0"})
    assert tensor_cache.find(moved, site(moved), method) is None
    assert tensor_cache.find(structure, site(structure, "F"), method) is None
    assert tensor_cache.find(structure, site(structure), other) is None
    (file,) = cache.iterdir()
    file.write_text(file.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert tensor_cache.find(structure, site(structure), method) is None


def test_a_cache_that_is_off_or_cannot_be_written_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURFSHIFT_CACHE", "off")
    assert tensor_cache.cache_folder() is None
    (tmp_path / "file").touch()
    monkeypatch.setenv("SURFSHIFT_CACHE", str(tmp_path / "file"))
    structure = hydrogen_fluoride()
    assert tensor_cache.find(structure, site(structure), method_of(load_protocol("fast"))) is None
