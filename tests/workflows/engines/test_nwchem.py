"""NWChem as second program: the same cluster gives the same tensors, and nothing half-done is taken."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.symmetry import distinct_sites
from surfshift.workflows.engines.cluster import compute_site
from surfshift.workflows.engines.dft.errors import ProgramMissingError
from surfshift.workflows.engines.errors import EngineError, ScfNotConvergedError, UnsupportedEnvironmentError
from surfshift.workflows.engines.fragment import cut_cluster
from surfshift.workflows.engines.molecule import ClusterMolecule, build_molecule
from surfshift.workflows.engines.nwchem import INPUT, OUTPUT, NwchemFailedError, nwchem_input, parse_nwchem, run_nwchem
from surfshift.workflows.engines.protocols import ClusterProtocol, load_protocol

if TYPE_CHECKING:
    from pathlib import Path

    from surfshift.structures.symmetry import SiteOrbit
    from surfshift.structures.vocabulary import AtomicStructure

needs_nwchem = pytest.mark.skipif(
    shutil.which("nwchem") is None, reason="NWChem is not installed (Debian package nwchem)"
)


@pytest.fixture(scope="module")
def hydroxide() -> AtomicStructure:
    return build_crystal(load_crystal("LiOH"))


@pytest.fixture(scope="module")
def proton(hydroxide: AtomicStructure) -> SiteOrbit:
    return distinct_sites(hydroxide, elements=["H"])[0]


def small(**numbers: object) -> ClusterProtocol:
    """One shell with fine grids, so that only the programs differ."""
    fine = {"target_grid": (75, 302), "outer_grid": (75, 302), "cap_grid": (75, 302), "scf_tolerance_hartree": 1e-9}
    return load_protocol("fast", **{"shells": 1, **fine, **numbers})


def molecule_of(structure: AtomicStructure, orbit: SiteOrbit, protocol: ClusterProtocol) -> ClusterMolecule:
    return build_molecule(
        cut_cluster(
            structure, orbit.atom_indices[0], shells=protocol.shells, max_cap_rescaling=protocol.max_cap_rescaling
        ),
        protocol,
    )


@needs_nwchem
def test_both_programs_give_the_tensors_of_one_cluster(
    hydroxide: AtomicStructure, proton: SiteOrbit, tmp_path: Path
) -> None:
    own = compute_site(hydroxide, proton, small())
    other = compute_site(hydroxide, proton, small(program="nwchem"), max_memory_mb=800, folder=tmp_path)
    assert other.sigma_iso_ppm == pytest.approx(own.sigma_iso_ppm, abs=0.05)
    symmetric = [0.5 * (np.array(t) + np.array(t).T) for t in (own.shielding_ppm[0], other.shielding_ppm[0])]
    assert symmetric[1] == pytest.approx(symmetric[0], abs=0.1)
    scale = np.abs(own.efg_au[0]).max()
    assert np.array(other.efg_au[0]) == pytest.approx(np.array(own.efg_au[0]), abs=0.005 * scale)
    assert other.checks["gap_ev"] == pytest.approx(own.checks["gap_ev"], abs=0.1)
    assert other.checks["n_electrons"] == own.checks["n_electrons"]
    assert (other.method.engine_version, other.method.key) != (own.method.engine_version, own.method.key)
    assert other.cpu_seconds > 0.0
    # a finished output is not computed again, a cut one is
    finished = (tmp_path / OUTPUT).read_text()
    stamp = (tmp_path / OUTPUT).stat().st_mtime_ns
    again = compute_site(hydroxide, proton, small(program="nwchem"), max_memory_mb=800, folder=tmp_path)
    assert (again.shielding_ppm, (tmp_path / OUTPUT).stat().st_mtime_ns) == (other.shielding_ppm, stamp)
    with pytest.raises(NwchemFailedError, match="cut off"):
        parse_nwchem(finished[: finished.index("Total Shielding Tensor")])
    with pytest.raises(NwchemFailedError, match="the gap cannot be checked"):
        parse_nwchem(finished.replace("Occ=", "Occ "))
    with pytest.raises(NwchemFailedError, match="stands where numbers belong"):
        parse_nwchem(finished.replace("isotropic =", "isotropic = ********"))
    with pytest.raises(ScfNotConvergedError, match="max_scf_cycles"):
        parse_nwchem(finished + "\n Calculation failed to converge\n")


@needs_nwchem
def test_hybrid_equals_the_independent_code(hydroxide: AtomicStructure, proton: SiteOrbit, tmp_path: Path) -> None:
    """The coupled equations with exact exchange, against pyscf-properties on the very same molecule."""
    rks = pytest.importorskip("pyscf.prop.nmr.rks", reason="pip install pyscf-properties-sidereus==0.1.1")
    from pyscf import dft

    protocol = small(program="nwchem", functional="pbe0")
    molecule = molecule_of(hydroxide, proton, protocol)
    mean_field = dft.RKS(molecule.mol)
    mean_field.xc, mean_field.grids.atom_grid, mean_field.conv_tol = "pbe0", (75, 302), 1e-10
    mean_field.kernel(molecule.guess)
    code = rks.NMR(mean_field)
    code.shielding_nuc = [0]
    expected = np.asarray(code.kernel())[0]
    shielding, _, _ = run_nwchem(molecule, protocol, tmp_path, memory_mb=800)
    assert np.trace(shielding) / 3 == pytest.approx(np.trace(expected) / 3, abs=0.05)
    assert shielding == pytest.approx(0.5 * (expected + expected.T), abs=0.1)


@needs_nwchem
def test_a_field_that_does_not_converge_is_named(hydroxide: AtomicStructure, proton: SiteOrbit, tmp_path: Path) -> None:
    with pytest.raises(ScfNotConvergedError, match="NWChem"):
        compute_site(hydroxide, proton, small(program="nwchem", max_scf_cycles=2), max_memory_mb=800, folder=tmp_path)


def test_input_holds_the_cluster(hydroxide: AtomicStructure, proton: SiteOrbit) -> None:
    protocol = load_protocol("hybrid", shells=1)
    molecule = molecule_of(hydroxide, proton, protocol)
    text = nwchem_input(molecule, protocol)
    rows = text.split("nocenter\n")[1].split("\nend")[0].splitlines()
    assert len(rows) == molecule.mol.natm
    charges = np.array([float(row.split()[-1]) for row in rows])
    assert charges == pytest.approx(molecule.mol.atom_charges(), abs=1e-9)
    per_tag = {row.split()[0]: row.split()[-1] for row in rows}
    assert all(per_tag[row.split()[0]] == row.split()[-1] for row in rows), "a tag has one charge"
    assert "xc pbe0" in text
    electrons = charges.sum() - float(text.split("\ncharge ")[1].split()[0])
    assert electrons == pytest.approx(molecule.mol.nelectron, abs=1e-6)


def test_what_nwchem_cannot_do_is_refused_before_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zirconate = build_crystal(load_crystal("Li2ZrCl6_trigonal"))
    chlorine = distinct_sites(zirconate, elements=["Cl"])[0]
    molecule = molecule_of(zirconate, chlorine, load_protocol("fast"))
    with pytest.raises(UnsupportedEnvironmentError, match="effective core potential"):
        nwchem_input(molecule, load_protocol("hybrid"))
    hydroxide = build_crystal(load_crystal("LiOH"))
    site = distinct_sites(hydroxide, elements=["H"])[0]
    with pytest.raises(UnsupportedEnvironmentError, match="pbe0"):
        nwchem_input(molecule_of(hydroxide, site, load_protocol("fast", shells=1)), small(functional="scan"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SURFSHIFT_NWCHEM", raising=False)
    with pytest.raises(ProgramMissingError, match="SURFSHIFT_NWCHEM"):
        compute_site(hydroxide, site, load_protocol("hybrid", shells=1), folder=tmp_path / "work")
    assert not (tmp_path / "work" / INPUT).exists()
    with pytest.raises(EngineError, match="program: nwchem"):
        compute_site(hydroxide, site, load_protocol("fast", shells=1, functional="pbe0"))
