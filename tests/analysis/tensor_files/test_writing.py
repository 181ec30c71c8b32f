"""Writing .magres: what is written reads back, here and in ase."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.io.magres import read_magres as ase_read
from hypothesis import given, settings
from hypothesis import strategies as st
from surfshift.analysis.tensor_files import (
    errors,
    export_magres,
    magres_text,
    read_magres,
    site_tensors,
    tensors_of_sites,
)
from surfshift.analysis.tensor_files.magres import parse_magres
from surfshift.analysis.tensor_files.result import build
from surfshift.analysis.vocabulary import Method, SiteTensors
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.symmetry import distinct_sites

if TYPE_CHECKING:
    from pathlib import Path

    from surfshift.analysis.tensor_files import PeriodicTensors

NUMBERS = st.floats(-1e4, 1e4, allow_nan=False)
TENSORS = st.tuples(*[st.tuples(NUMBERS, NUMBERS, NUMBERS)] * 3)


@pytest.fixture
def sites() -> tuple[SiteTensors, ...]:
    """Invented tensors of P and Al of berlinite, as an engine that computes site by site gives them."""
    structure = build_crystal(load_crystal("AlPO4_berlinite"))
    method = Method(engine="cluster", engine_version="x", functional="pbe", protocol="fast", protocol_hash="abc")
    rng = np.random.default_rng(5)
    found = []
    for orbit in distinct_sites(structure, elements={"P", "Al"}):
        raw = rng.normal(size=(3, 3))
        gradient = raw + raw.T - np.eye(3) * 2.0 * np.trace(raw) / 3.0
        found.append(
            SiteTensors(
                structure_id=structure.content_id,
                element=orbit.element,
                atom_indices=orbit.atom_indices,
                shielding_ppm=orbit.expand(300.0 * np.eye(3) + 10.0 * rng.normal(size=(3, 3))),
                efg_au=orbit.expand(gradient),
                method=method,
            )
        )
    return tuple(found)


def test_round_trip(run: PeriodicTensors) -> None:
    back = parse_magres(magres_text(run))
    for name in ("shielding_ppm", "efg_au", "frac_coords", "lattice_ang"):
        np.testing.assert_allclose(np.array(getattr(back, name)), np.array(getattr(run, name)), rtol=1e-10, atol=1e-10)
    for name in (
        "elements",
        "labels",
        "engine",
        "engine_version",
        "functional",
        "cutoff_ev",
        "potentials",
        "macroscopic",
    ):
        assert getattr(back, name) == getattr(run, name)
    assert back.method("P").key == run.method("P").key


@settings(max_examples=30)
@given(st.lists(st.one_of(st.none(), TENSORS), min_size=2, max_size=2).filter(lambda t: t[0] or t[1]))
def test_round_trip_of_any_shieldings(tensors: list) -> None:
    run = build(
        "x",
        lattice_ang=((5.0, 0.0, 0.0), (0.0, 5.0, 0.0), (0.0, 0.0, 5.0)),
        elements=("P", "P"),
        frac_coords=((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)),
        labels=(("P", 1), ("P", 2)),
        shielding_ppm=tuple(tensors),
        efg_au=(None, None),
        engine="castep",
        engine_version="1",
        functional="pbe",
    )
    for one, other in zip(parse_magres(magres_text(run)).shielding_ppm, run.shielding_ppm, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_ase_reads_what_is_written(run: PeriodicTensors) -> None:
    atoms = ase_read(io.StringIO(magres_text(run)))
    assert tuple(atoms.get_chemical_symbols()) == run.elements
    np.testing.assert_allclose(atoms.cell.array, run.lattice, atol=1e-10)
    # ase keeps the rows of the file, which are the external field
    own = np.array(run.shielding_ppm).transpose(0, 2, 1)
    np.testing.assert_allclose(atoms.get_array("ms"), own, atol=1e-8)
    np.testing.assert_allclose(atoms.get_array("efg"), np.array(run.efg_au), atol=1e-8)


def test_sites_of_a_study_go_out_and_come_back(sites: tuple[SiteTensors, ...], tmp_path: Path) -> None:
    structure = build_crystal(load_crystal("AlPO4_berlinite"))
    export_magres(tmp_path / "study.magres", structure, sites)
    run = read_magres(tmp_path / "study.magres")
    assert [run.shielding_ppm[k] is None for k in range(18)] == [e == "O" for e in structure.elements]
    back = site_tensors(run, structure, elements={"P", "Al"})
    for one, other in zip(back, sites, strict=True):
        assert (one.atom_indices, one.method) == (other.atom_indices, other.method)
        np.testing.assert_allclose(np.array(one.shielding_ppm), np.array(other.shielding_ppm), atol=1e-8)
        np.testing.assert_allclose(np.array(one.efg_au), np.array(other.efg_au), atol=1e-8)


def test_what_does_not_belong_together_is_refused(sites: tuple[SiteTensors, ...]) -> None:
    structure = build_crystal(load_crystal("AlPO4_berlinite"))
    with pytest.raises(errors.MissingTensorsError, match="no tensors to write"):
        tensors_of_sites(structure, [])
    with pytest.raises(errors.InconsistentFileError, match="give each site once"):
        tensors_of_sites(structure, [*sites, sites[0]])
    with pytest.raises(errors.InconsistentFileError, match="another structure"):
        tensors_of_sites(build_crystal(load_crystal("LiOH")), sites)
    other = sites[1].model_copy(update={"method": sites[1].method.model_copy(update={"functional": "pbe0"})})
    with pytest.raises(errors.InconsistentFileError, match="one file per method"):
        tensors_of_sites(structure, [sites[0], other])
