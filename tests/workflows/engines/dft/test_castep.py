"""CASTEP as a relaxing engine: written inputs, an output of CASTEP 23.1 read as ase reads it, and refusals by name.

CASTEP is not at hand. The output of eight silicon atoms is the one that ase brings for its own tests; a stand-in leaves
it, so that files, restarts and the ladder are tested and no physics.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from surfshift.structures.vocabulary import AtomicStructure, Candidate, Region, as_tensor3
from surfshift.workflows.engines.dft import errors
from surfshift.workflows.engines.dft.calculator import ProgramCalculator
from surfshift.workflows.engines.dft.castep import castep_relax_inputs, parse_castep
from surfshift.workflows.engines.dft.protocols import dft_protocol, scf_ladder
from surfshift.workflows.engines.inputs.protocols import protocol_data

GOLDEN = Path(__file__).parent / "golden"
HYDROXIDE = AtomicStructure(
    lattice_ang=((4.0, 0.0, 0.0), (0.0, 4.2, 0.0), (0.0, 0.0, 5.0)),
    elements=("O", "H"),
    frac_coords=((0.5, 0.5, 0.5), (0.5, 0.5, 0.694)),
    oxidation_states=(-2.0, 1.0),
)
SMALL = """\
 | Welcome to Academic Release CASTEP version 23.1 |
 ************************************ Title ************************************
 *******************************************************************************
                                      Unit Cell
        Real Lattice(A)                      Reciprocal Lattice(1/A)
     4.0000000     0.0000000     0.0000000        1.570796327   0.000000000   0.000000000
     0.0000000     4.2000000     0.0000000        0.000000000   1.495996502   0.000000000
     0.0000000     0.0000000     5.0000000        0.000000000   0.000000000   1.256637061

                                     Cell Contents
                         Total number of ions in cell =    2

            xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
            x  Element    Atom        Fractional coordinates of atoms  x
            x            Number           u          v          w      x
            x----------------------------------------------------------x
            x  H            1         0.500000   0.500000  -0.306000   x
            x  O            1         0.500000   0.500000   0.500000   x
            xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
Final energy =  -451.2500000000     eV
 *********************** Forces ***********************
 *                                                    *
 *            Cartesian components (eV/A)             *
 * -------------------------------------------------- *
 *                   x            y            z      *
 *                                                    *
 * H         1      0.00000      0.01000      0.30000 *
 * O         1      0.00000     -0.01000     -0.30000 *
 *                                                    *
 ******************************************************
 *********** Symmetrised Stress Tensor ***********
 *                                               *
 *          Cartesian components (GPa)           *
 * --------------------------------------------- *
 *             x             y             z     *
 *                                               *
 *  x     -2.000000      0.100000      0.200000  *
 *  y      0.100000     -3.000000      0.300000  *
 *  z      0.200000      0.300000     -4.000000  *
 *                                               *
 *  Pressure:    3.0000                          *
 *                                               *
 *************************************************
Finalisation time   =      0.10 s
Total time          =      5.00 s
"""
"""Hand-made after the layout of CASTEP's outputs; ase reads the same numbers from it."""


def bulk(structure: AtomicStructure) -> Candidate:
    return Candidate(
        name="silicon", kind="bulk", structure=structure, parent="x", regions=(Region.BULK,) * len(structure)
    )


def read_by_ase(file: Path) -> ase.Atoms:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # ase repeats warnings that stand in the file
        atoms: ase.Atoms = ase.io.read(file, format="castep-castep")
    return atoms


@pytest.fixture(scope="module")
def silicon_file() -> Path:
    file = Path(ase.__file__).parent / "test" / "testdata" / "castep" / "md.castep"
    if not file.is_file():
        pytest.skip("this version of ase does not bring its test data")
    return file


@pytest.fixture(scope="module")
def silicon(silicon_file: Path) -> Candidate:
    atoms = read_by_ase(silicon_file)
    structure = AtomicStructure(
        lattice_ang=as_tensor3(np.array(atoms.cell)),
        elements=tuple(atoms.get_chemical_symbols()),
        frac_coords=tuple((float(x), float(y), float(z)) for x, y, z in atoms.get_scaled_positions()),
        oxidation_states=(0.0,) * len(atoms),
    )
    return bulk(structure)


@pytest.mark.parametrize("kind", ["bulk", "slab"])
def test_golden_files(kind: str, makes: dict[str, Candidate]) -> None:
    protocol = dft_protocol("castep", "balanced" if kind == "bulk" else "fast")
    is_slab = kind == "slab"
    files = castep_relax_inputs(
        makes[kind], protocol, rung=scf_ladder("castep")[is_slab], is_restart=is_slab, with_stress=not is_slab
    )
    text = "".join(f"=== {name}\n{content}" for name, content in files.items())
    assert text == (GOLDEN / f"castep-{kind}.txt").read_text()


@pytest.mark.parametrize("rung", scf_ladder("castep"))
def test_only_documented_keywords_are_written(rung: dict[str, object], makes: dict[str, Candidate]) -> None:
    files = castep_relax_inputs(makes["slab"], dft_protocol("castep", "fast"), rung=rung, is_restart=True)
    documented = protocol_data("keywords")["castep"]
    words = set(re.findall(r"^([A-Z_]+) :", files["surfshift.param"], re.MULTILINE))
    assert {"TASK", "CUT_OFF_ENERGY", "DIPOLE_CORRECTION", "REUSE"} <= words <= set(documented["param"])
    cell = set(re.findall(r"^(?:%BLOCK )?([A-Z_]+)(?: :.*)?$", files["surfshift.cell"], re.MULTILINE))
    assert cell <= set(documented["cell"])
    assert "SYMMETRY_GENERATE" not in cell
    assert re.search(r"KPOINT_MP_GRID : \d \d 1\n", files["surfshift.cell"])


def test_energy_forces_and_stress_are_those_that_ase_reads(silicon_file: Path, silicon: Candidate) -> None:
    atoms = read_by_ase(silicon_file)
    point = parse_castep(silicon_file.read_text(), silicon.structure, with_stress=True)
    assert point.energy_ev == pytest.approx(-1351.294716003)
    assert point.energy_ev == pytest.approx(atoms.get_potential_energy(force_consistent=True))
    np.testing.assert_allclose(point.forces_ev_per_ang, atoms.get_forces(), atol=1e-9)
    assert np.abs(point.forces_ev_per_ang).max() > 0.2
    np.testing.assert_allclose(point.stress_ev_per_ang3, atoms.get_stress(), rtol=1e-6)


def test_atoms_are_found_by_their_places_where_castep_orders_them_by_number(tmp_path: Path) -> None:
    point = parse_castep(SMALL, HYDROXIDE, with_stress=True)
    assert point.energy_ev == -451.25
    assert point.forces_ev_per_ang == ((0.0, -0.01, -0.3), (0.0, 0.01, 0.3))
    assert point.stress_ev_per_ang3 is not None
    np.testing.assert_allclose(
        np.array(point.stress_ev_per_ang3) * 160.21766208, [-2.0, -3.0, -4.0, 0.3, 0.2, 0.1], rtol=1e-9
    )
    (tmp_path / "small.castep").write_text(SMALL)
    atoms = read_by_ase(tmp_path / "small.castep")
    np.testing.assert_allclose(atoms.get_forces()[::-1], point.forces_ev_per_ang)
    np.testing.assert_allclose(atoms.get_stress(), point.stress_ev_per_ang3, rtol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("Total time", "Time", errors.TruncatedOutputError),
        ("Forces *", "Force *", errors.TruncatedOutputError),
        ("Final energy", "Some energy", errors.TruncatedOutputError),
        (" * O         1 ", " * O           ", errors.TruncatedOutputError),
        ("Stress Tensor", "Tensor", errors.TruncatedOutputError),
        ("-451.2500000000", "NaN", errors.NotFiniteOutputError),
        ("     -0.30000", "     ********", errors.NotFiniteOutputError),
        ("-0.306000", "-0.206000", errors.WrongAtomOrderError),
        ("4.2000000", "4.3000000", errors.WrongAtomOrderError),
        ("x  H            1", "x  F            1", errors.WrongAtomOrderError),
        (
            "Final energy",
            "*Warning* max. SCF cycles performed but system has not reached the groundstate.\nFinal energy",
            errors.ScfNotConvergedError,
        ),
    ],
)
def test_damage_is_named(old: str, new: str, error: type[Exception]) -> None:
    assert old in SMALL
    with pytest.raises(error, match="CASTEP"):
        parse_castep(SMALL.replace(old, new), HYDROXIDE, with_stress=True)
    for cut in range(40, len(SMALL) - 60, 97):
        with pytest.raises(errors.TruncatedOutputError):
            parse_castep(SMALL[:cut], HYDROXIDE)


def test_runs_through_the_calculator(
    silicon_file: Path, silicon: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "castep.mpi"

    def stand_in(*lines: str) -> None:
        note = "(grep REUSE $1.param || echo fresh) >> ../starts; test ! -e $1.castep"
        program.write_text("\n".join(["#!/bin/sh", "set -e", note, *lines, ""]), encoding="utf-8")
        program.chmod(0o755)

    monkeypatch.delenv("SURFSHIFT_CASTEP", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    stand_in(f'cp "{silicon_file}" $1.castep', "echo orbitals > $1.check")
    calculator = ProgramCalculator("castep", silicon, tmp_path / "work", protocol="fast")
    atoms = silicon.structure.to_ase()
    forces = calculator.get_forces(atoms)
    np.testing.assert_allclose(forces, read_by_ase(silicon_file).get_forces(), atol=1e-9)
    atoms.positions[0] += 0.002
    calculator.get_potential_energy(atoms)
    assert (tmp_path / "starts").read_text().splitlines() == ["fresh", "REUSE : default"]
    stand_in('echo "Error in cell_read: no such potential" > $1.0001.err', "exit 1")
    atoms.positions[0] += 0.002
    with pytest.raises(errors.ProgramFailedError, match="no such potential"):
        calculator.get_forces(atoms)
    stuck = 'echo "CASTEP: electronic minimisation did not converge" > $1.castep'
    stand_in(f'grep -q "MIX_CHARGE_AMP : 0.1" $1.param || {{ {stuck}; exit 1; }}', f'cp "{silicon_file}" $1.castep')
    again = ProgramCalculator("castep", silicon, tmp_path / "hard", protocol="fast")
    again.get_forces(silicon.structure.to_ase())
    assert again.n_runs == len(scf_ladder("castep")) == 3
    stand_in(stuck)
    with pytest.raises(errors.ScfNotConvergedError, match="all bands together, density mixing with a small amplitude"):
        ProgramCalculator("castep", silicon, tmp_path / "stuck").get_forces(silicon.structure.to_ase())
