"""CP2K and pw.x as calculators: inputs for slabs, outputs that are refused by name, and real runs of small cells."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from surfshift.analysis.vocabulary import Relaxation
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.vocabulary import AtomicStructure, Candidate, Region
from surfshift.workflows.dft_relaxation import relax_by_dft
from surfshift.workflows.engines.dft import errors, gth
from surfshift.workflows.engines.dft.calculator import ProgramCalculator
from surfshift.workflows.engines.dft.cp2k import cp2k_input, parse_cp2k, valence
from surfshift.workflows.engines.dft.launch import launch_line, named_failure
from surfshift.workflows.engines.dft.protocols import cp2k_protocol, pw_protocol, scf_ladder
from surfshift.workflows.engines.dft.pw import parse_pw, place_potentials, pw_input
from surfshift.workflows.engines.inputs.protocols import protocol_data
from surfshift.workflows.engines.inputs.upf import MissingPotentialError
from surfshift.workflows.study import DftSettings, RelaxSettings

if TYPE_CHECKING:
    from pathlib import Path

needs_cp2k = pytest.mark.skipif(shutil.which("cp2k.psmp") is None, reason="CP2K is not installed (Debian package cp2k)")
needs_pw = pytest.mark.skipif(
    shutil.which("pw.x") is None, reason="pw.x is not installed (Debian package quantum-espresso)"
)
HYDROGEN = AtomicStructure(
    lattice_ang=((4.6, 0.0, 0.0), (0.0, 4.4, 0.0), (0.0, 0.0, 5.2)),
    elements=("H", "H"),
    frac_coords=((0.5, 0.5, 0.42), (0.5, 0.5, 0.42 + 0.80 / 5.2)),
    oxidation_states=(1.0, -1.0),
)
SMALL = {"cutoff_ry": 360.0, "relative_cutoff_ry": 50.0, "kpoint_spacing_per_ang": 0.9, "basis": "TZV2P-MOLOPT-GTH"}


def bulk(structure: AtomicStructure = HYDROGEN) -> Candidate:
    return Candidate(
        name="test", kind="bulk", structure=structure, parent="test", regions=(Region.BULK,) * len(structure)
    )


def slab(dipole: float) -> Candidate:
    structure = HYDROGEN.model_copy(update={"periodic": (True, True, False)})
    return bulk(structure).model_copy(update={"kind": "slab", "miller": (0, 0, 1), "dipole_e_ang": dipole})


def test_valence_electrons_are_those_of_the_potentials_that_cp2k_ships() -> None:
    try:
        folder = gth.data_folder()
    except MissingPotentialError:
        pytest.skip("CP2K's data are not installed (Debian package cp2k-data)")
    basis = (folder / "BASIS_MOLOPT").read_text(encoding="utf-8")
    for element, count in protocol_data("cp2k")["valence"].items():
        potential = gth.read_gth(element, folder=folder)
        assert potential.n_valence == count == valence(element)
        assert re.search(rf"^ *{element} +DZVP-MOLOPT-SR-GTH.*-q{count}\b", basis, re.MULTILINE), element
    with pytest.raises(MissingPotentialError, match="no potential GTH-NONE-q6 of O"):
        gth.read_gth("O", functional="NONE", folder=folder)
    with pytest.raises(errors.UnsupportedElementError, match="La has no basis set"):
        valence("La")


def test_a_gth_potential_keeps_every_number(tmp_path: Path) -> None:
    (tmp_path / "GTH_POTENTIALS").write_text(
        "#\nAl GTH-PBE-q3 GTH-PBE\n    2    1\n     0.45000000    1    -7.55476126\n    2\n"
        "     0.48743529    2     6.95993832    -1.88883584\n"
        "                                        2.43847659\n"
        "     0.56218949    1     1.86529857\n#\n"
        "H GTH-PBE-q1 GTH-PBE\n    1\n     0.20000000    2    -4.17890044     0.72446331\n    0\n#\n",
        encoding="utf-8",
    )
    text = gth.psp10_text(gth.read_gth("Al", folder=tmp_path))
    assert text.splitlines()[1:] == [
        "13 3 0",
        "10 11 1 0 2001 0",
        "0.45000000 1 -7.55476126",
        "2",
        "0.48743529 2 6.95993832 -1.88883584",
        "2.43847659",
        "0.56218949 1 1.86529857",
        "0.0",
    ]
    assert gth.psp10_text(gth.read_gth("H", folder=tmp_path)).splitlines()[-2:] == ["0", "0.20000000 0"]
    (tmp_path / "GTH_POTENTIALS").write_text("H GTH-PBE-q1 GTH-PBE\n 1\n 0.2 3 -4.1\n 0\n", encoding="utf-8")
    with pytest.raises(MissingPotentialError, match="damaged"):
        gth.read_gth("H", folder=tmp_path)


def test_slabs_get_one_point_along_the_normal_and_a_dipole_correction_only_where_there_is_a_dipole() -> None:
    berlinite = build_crystal(load_crystal("AlPO4_berlinite"))
    dense = cp2k_protocol("fast", kpoint_spacing_per_ang=0.1)
    rung = scf_ladder("cp2k")[0]
    assert "MONKHORST-PACK 3 3 1" in cp2k_input(bulk(berlinite), dense, rung=rung)
    cut = bulk(berlinite.model_copy(update={"periodic": (True, True, False)}))
    assert "MONKHORST-PACK 3 3 1" in cp2k_input(cut, cp2k_protocol("stringent", kpoint_spacing_per_ang=0.09), rung=rung)
    flat = cp2k_input(slab(0.0), cp2k_protocol("fast", kpoint_spacing_per_ang=0.9), rung=rung)
    assert "SURFACE_DIPOLE_CORRECTION" not in flat
    assert "&OT" in flat
    assert "SURF_DIP_DIR Z" in cp2k_input(slab(0.6), cp2k_protocol("fast"), rung=rung)
    names = {"H": "H.gth"}
    text = pw_input(slab(0.6), pw_protocol("fast"), names, rung=scf_ladder("pw")[1], is_restart=True, with_stress=True)
    assert re.search(r"tefield = \.true\.\s+", text)
    assert re.search(r"K_POINTS automatic\n\d \d 1 0 0 0", text)
    for words in (
        "startingpot = 'file'",
        "mixing_beta = 0.2",
        "mixing_mode = 'local-TF'",
        "tstress = .true.",
        "nosym = .true.",
    ):
        assert words in text
    assert "tefield" not in pw_input(slab(0.0), pw_protocol("fast"), names, rung=scf_ladder("pw")[0])


CP2K_OUTPUT = """
 ENERGY| Total FORCE_EVAL ( QS ) energy [a.u.]:               -1.160000000000000
 ATOMIC FORCES in [a.u.]

 # Atom   Kind   Element          X              Y              Z
      1      1      H           0.00000000     0.00000000     0.03000000
      2      1      H           0.00000000     0.00000000    -0.03000000
 SUM OF ATOMIC FORCES           0.00000000     0.00000000     0.00000000     0.00000000
  **** **** ******  **  PROGRAM ENDED AT                 2026-01-01 00:00:00.000
"""
PW_OUTPUT = """
!    total energy              =      -2.32000000 Ry
     Forces acting on atoms (cartesian axes, Ry/au):
     atom    1 type  1   force =     0.00000000    0.00000000    0.06000000
     atom    2 type  1   force =     0.00000000    0.00000000   -0.06000000
   JOB DONE.
"""


@pytest.mark.parametrize(("parse", "text"), [(parse_cp2k, CP2K_OUTPUT), (parse_pw, PW_OUTPUT)])
def test_outputs_are_read_in_ev_and_angstrom_and_damage_is_named(parse: object, text: str) -> None:
    assert callable(parse)
    point = parse(text, HYDROGEN)
    assert point.energy_ev == pytest.approx(-1.16 * 27.211386, abs=1e-4)
    assert point.forces_ev_per_ang[0][2] == pytest.approx(0.03 * 27.211386 / 0.529177, rel=1e-5)
    for cut in range(20, len(text) - 60, 25):
        with pytest.raises(errors.TruncatedOutputError):
            parse(text[:cut], HYDROGEN)
    with pytest.raises(errors.NotFiniteOutputError):
        parse(text.replace("-0.03000000", "*" * 11).replace("-0.06000000", "*" * 11), HYDROGEN)
    with pytest.raises(errors.NotFiniteOutputError):
        parse(text.replace("-1.160000000000000", "NaN").replace("-2.32000000", "NaN"), HYDROGEN)
    other = HYDROGEN.model_copy(update={"elements": ("H", "F")})
    with pytest.raises(errors.WrongAtomOrderError):
        parse(text, other)
    marks = "SCF run NOT converged  convergence NOT achieved"
    with pytest.raises(errors.ScfNotConvergedError):
        parse(marks + text, HYDROGEN)


def test_programs_that_are_missing_or_fail_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURFSHIFT_CP2K", "no-such-launcher cp2k.psmp")
    with pytest.raises(errors.ProgramMissingError, match="no-such-launcher is not on the PATH"):
        launch_line("cp2k")
    monkeypatch.setenv("SURFSHIFT_CP2K", "env 'a b' $(touch x)")
    assert launch_line("cp2k") == ["env", "a b", "$(touch", "x)"]
    monkeypatch.delenv("SURFSHIFT_PW", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.ProgramMissingError, match="Debian package quantum-espresso"):
        launch_line("pw")
    assert isinstance(named_failure("pw", "forrtl: No space left on device", 1), errors.OutputDiskFullError)
    assert isinstance(named_failure("cp2k", "", -9), errors.OutOfMemoryError)
    monkeypatch.setenv("SURFSHIFT_PW_UPF_DIR", str(tmp_path))
    with pytest.raises(MissingPotentialError, match="no UPF file of H"):
        place_potentials(["H"], tmp_path)


@needs_cp2k
@needs_pw
def test_both_programs_give_the_same_forces_with_the_same_potentials(tmp_path: Path) -> None:
    """The Hamiltonian is one; what differs is the basis: Gaussians (DZVP) against plane waves."""
    found = {}
    for engine, numbers in (("cp2k", SMALL), ("pw", {"cutoff_ry": 70.0, "kpoint_spacing_per_ang": 0.9})):
        atoms = HYDROGEN.to_ase()
        atoms.calc = ProgramCalculator(engine, bulk(), tmp_path / engine, protocol="fast", **numbers)
        found[engine] = (atoms.get_potential_energy(), atoms.get_forces())
        np.testing.assert_allclose(found[engine][1].sum(axis=0), 0.0, atol=0.04)
    assert found["cp2k"][0] == pytest.approx(found["pw"][0], abs=0.4)
    force = found["pw"][1][0, 2]
    # at 0.80 A the bond is stretched (0.76 A in this small cell) and pulls the lower atom up
    assert 0.9 < force < 2.0
    np.testing.assert_allclose(found["cp2k"][1], found["pw"][1], atol=0.12 * force)


@pytest.mark.slow
@needs_cp2k
def test_a_relaxation_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    start = Relaxation(
        start_id="built",
        candidate=bulk(),
        energy_ev=0.0,
        max_force_ev_per_ang=0.0,
        n_steps=0,
        is_converged=True,
        model="m",
    )
    step = DftSettings(engine="cp2k", protocol="fast", max_steps=2, numbers=SMALL)
    with pytest.raises(ValueError, match="after 2 steps"):
        relax_by_dft(start, RelaxSettings(), step, tmp_path)
    assert (tmp_path / "cp2k.json").is_file()
    relaxed = relax_by_dft(start, RelaxSettings(), step.model_copy(update={"max_steps": 12}), tmp_path)
    positions = relaxed.candidate.structure.cart_coords
    assert np.linalg.norm(positions[1] - positions[0]) == pytest.approx(0.758, abs=0.02)
    assert (relaxed.start_id, relaxed.is_converged) == ("built", True)
    assert relaxed.model.startswith("cp2k pbe fast ")
    assert relaxed.n_steps < 10


@needs_cp2k
def test_a_field_that_does_not_converge_goes_down_the_ladder(tmp_path: Path) -> None:
    atoms = HYDROGEN.to_ase()
    numbers = {**SMALL, "scf_tolerance": 1e-14, "max_scf_cycles": 1}
    atoms.calc = ProgramCalculator("cp2k", bulk(), tmp_path, protocol="fast", **numbers)
    with pytest.raises(errors.ScfNotConvergedError, match="direct minimisation, conjugate gradients"):
        atoms.get_potential_energy()
    assert atoms.calc.n_runs == len(scf_ladder("cp2k"))
