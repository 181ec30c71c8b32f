"""The embedded potentials: real relaxations of small crystals, and what is said where a package is missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.vocabulary import Candidate, Region
from surfshift.workflows.interatomic import ModelMissingError, embedded, model_name
from surfshift.workflows.relaxation import relax_candidate
from surfshift.workflows.study import RelaxSettings


def lithium_oxide() -> Candidate:
    structure = build_crystal(load_crystal("Li2O"))
    regions = (Region.BULK,) * len(structure)
    return Candidate(name="Li2O", kind="bulk", structure=structure, parent="Li2O", regions=regions)


def test_chgnet_relaxes_a_crystal_to_its_published_cell(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("chgnet", reason="pip install 'surfshift[chgnet]'")
    candidate = lithium_oxide()
    settings = RelaxSettings(model="chgnet", relax_bulk_cell=True, fmax_ev_per_ang=0.02)
    relaxed = relax_candidate(candidate, settings)
    assert relaxed.model == model_name("chgnet")
    assert relaxed.model.startswith("chgnet 0.")
    assert relaxed.is_converged
    published = np.linalg.det(candidate.structure.lattice)
    assert np.linalg.det(relaxed.candidate.structure.lattice) == pytest.approx(published, rel=0.04)
    assert capsys.readouterr().out == "", "a program that reads --json must not meet words of the potential"


def test_two_potentials_agree_on_the_forces_of_a_displaced_crystal() -> None:
    pytest.importorskip("chgnet", reason="pip install 'surfshift[chgnet]'")
    atoms = lithium_oxide().structure.to_ase()
    atoms.rattle(0.05, seed=7)
    forces = {}
    for model in ("chgnet", "7net-0"):
        atoms.calc = embedded(model)
        forces[model] = atoms.get_forces().ravel()
    assert np.corrcoef(*forces.values())[0, 1] > 0.98
    # CHGNet is known to be too soft off equilibrium (Deng et al., npj Comput. Mater. 11, 9, 2025)
    assert 0.7 < np.std(forces["chgnet"]) / np.std(forces["7net-0"]) < 1.0


def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chgnet.model.dynamics", None)
    with pytest.raises(ModelMissingError, match=r"pip install surfshift\[chgnet\]"):
        embedded("chgnet")
