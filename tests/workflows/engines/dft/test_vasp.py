"""VASP as a relaxing engine: written inputs, a published OUTCAR read as ase reads it, and refusals by name.

VASP is not at hand. A stand-in leaves the published OUTCAR of AlPO-14, so that files, restarts and the ladder are
tested and no physics; the numbers of that file are VASP's own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pytest
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar
from surfshift.analysis.tensor_files import read_tensors
from surfshift.analysis.vocabulary import Relaxation
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.vocabulary import Candidate, Region
from surfshift.workflows.dft_relaxation import relax_by_dft
from surfshift.workflows.engines.dft import errors
from surfshift.workflows.engines.dft.calculator import ProgramCalculator
from surfshift.workflows.engines.dft.protocols import DFT_ENGINES, PROTOCOL_FILES, dft_protocol, scf_ladder
from surfshift.workflows.engines.dft.vasp import parse_vasp, vasp_relax_inputs
from surfshift.workflows.engines.inputs.protocols import protocol_data
from surfshift.workflows.engines.inputs.upf import MissingPotentialError
from surfshift.workflows.engines.protocols import UnknownProtocolError
from surfshift.workflows.study import DftSettings, RelaxSettings

if TYPE_CHECKING:
    from surfshift.structures.vocabulary import AtomicStructure

GOLDEN = Path(__file__).parent / "golden"
BULK = build_crystal(load_crystal("AlPO4_berlinite"))
NORMAL = scf_ladder("vasp")[0]


def bulk(structure: AtomicStructure) -> Candidate:
    return Candidate(
        name="AlPO4 bulk", kind="bulk", structure=structure, parent="x", regions=(Region.BULK,) * len(structure)
    )


@pytest.fixture(scope="module")
def outcar(shared_data: Path) -> Path:
    return shared_data / "parsers" / "vasp" / "AlPO-14.OUTCAR"


@pytest.fixture(scope="module")
def published(outcar: Path) -> Candidate:
    return bulk(read_tensors(outcar).structure(oxidation_states={"Al": 3, "P": 5, "O": -2}))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with POTCARs that hold nothing, and a PATH without VASP."""
    monkeypatch.delenv("SURFSHIFT_VASP", raising=False)
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "potcars"))
    for symbol in ("Al", "O", "P"):
        (tmp_path / "potcars" / symbol).mkdir(parents=True)
        (tmp_path / "potcars" / symbol / "POTCAR").write_text(f"licensed {symbol}\n")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    return tmp_path


def program(folder: Path, *lines: str) -> None:
    file = folder / "bin" / "vasp_std"
    note = 'grep -o "ISTART = ." INCAR >> ../starts'
    file.write_text("\n".join(["#!/bin/sh", "set -e", note, *lines, ""]), encoding="utf-8")
    file.chmod(0o755)


def starts(folder: Path) -> list[str]:
    return re.findall(r"\d", (folder / "starts").read_text())


@pytest.mark.parametrize("kind", ["bulk", "slab"])
def test_golden_files(kind: str, makes: dict[str, Candidate]) -> None:
    protocol = dft_protocol("vasp", "balanced" if kind == "bulk" else "fast")
    files = vasp_relax_inputs(makes[kind], protocol, rung=NORMAL, is_restart=kind == "slab")
    text = "".join(f"=== {name}\n{content}" for name, content in files.items())
    assert text == (GOLDEN / f"vasp-{kind}.txt").read_text()


@pytest.mark.parametrize("rung", scf_ladder("vasp"))
def test_only_documented_tags_are_written_and_pymatgen_knows_them(
    rung: dict[str, object], makes: dict[str, Candidate], tmp_path: Path
) -> None:
    files = vasp_relax_inputs(makes["slab"], dft_protocol("vasp", "balanced"), rung=rung)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    incar = Incar.from_file(tmp_path / "INCAR")
    incar.check_params()
    assert set(incar) <= set(protocol_data("keywords")["vasp"]["incar"])
    assert (incar["NSW"], incar["IBRION"], incar["ISYM"], incar["ISIF"]) == (0, -1, 0, 2)
    assert (incar["LDIPOL"], incar["IDIPOL"]) == (True, 3)
    assert all(str(incar[key]) == str(value) for key, value in rung.items() if key != "name")
    assert Kpoints.from_file(tmp_path / "KPOINTS").kpts[0][2] == 1
    assert len(Poscar.from_file(tmp_path / "POSCAR").structure) == len(BULK)
    flat = makes["slab"].model_copy(update={"dipole_e_ang": 0.0})
    assert "DIPOL" not in vasp_relax_inputs(flat, dft_protocol("vasp"), rung=rung)["INCAR"]


def test_energy_forces_and_stress_are_those_that_ase_reads(outcar: Path, published: Candidate) -> None:
    atoms = ase.io.read(outcar, format="vasp-out")
    point = parse_vasp(outcar.read_text(), published.structure, with_stress=True)
    assert point.energy_ev == pytest.approx(-358.57809048, abs=1e-8)
    assert point.energy_ev == pytest.approx(atoms.get_potential_energy(force_consistent=True), abs=1e-8)
    np.testing.assert_allclose(point.forces_ev_per_ang, atoms.get_forces(), atol=1e-9)
    np.testing.assert_allclose(point.stress_ev_per_ang3, atoms.get_stress(), rtol=1e-6)
    # the external pressure of 6.91 kbar that VASP prints is minus a third of the trace
    assert -sum(point.stress_ev_per_ang3[:3]) / 3 * 1602.1766208 == pytest.approx(6.91, abs=0.005)
    assert parse_vasp(outcar.read_text(), published.structure).stress_ev_per_ang3 is None


def test_forces_follow_the_atoms_and_not_their_order(outcar: Path, published: Candidate) -> None:
    text = outcar.read_text()
    whole = np.array(parse_vasp(text, published.structure).forces_ev_per_ang)
    mixed = np.random.default_rng(3).permutation(len(whole))
    structure = published.structure.model_copy(
        update={
            key: tuple(getattr(published.structure, key)[k] for k in mixed)
            for key in ("elements", "frac_coords", "oxidation_states")
        }
    )
    np.testing.assert_array_equal(parse_vasp(text, structure).forces_ev_per_ang, whole[mixed])


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("EDIFF is reached", "EDIFF was not reached (unconverged)", errors.ScfNotConvergedError),
        ("General timing and accounting", "General", errors.TruncatedOutputError),
        ("TOTAL-FORCE (eV/Angst)", "TOTAL", errors.TruncatedOutputError),
        ("  in kB ", "  in bar ", errors.TruncatedOutputError),
        ("free  energy   TOTEN  =      -358.57809048", "free  energy   TOTEN  =   **********", "NotFinite"),
        ("-0.016562", "*********", errors.NotFiniteOutputError),
        ("-0.016562", "      NaN", errors.NotFiniteOutputError),
        ("     10.87608 ", "     10.57608 ", errors.WrongAtomOrderError),
    ],
)
def test_damage_is_named(outcar: Path, published: Candidate, old: str, new: str, error: type[Exception] | str) -> None:
    text = outcar.read_text()
    if error == "NotFinite":
        text = re.sub(r"free  energy   TOTEN  =\s+\S+", new, text)
        error = errors.NotFiniteOutputError
    else:
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(error, match="VASP"):
        parse_vasp(text, published.structure, with_stress=True)


def test_cut_outputs_and_other_structures_are_refused(outcar: Path, published: Candidate) -> None:
    text = outcar.read_text()
    for share in (0.02, 0.3, 0.6, 0.9):
        with pytest.raises((errors.TruncatedOutputError, errors.ScfNotConvergedError)):
            parse_vasp(text[: int(share * len(text))], published.structure)
    with pytest.raises(errors.WrongAtomOrderError, match="cell of the output"):
        parse_vasp(text, BULK)
    swapped = tuple({"Al": "P", "P": "Al"}.get(e, e) for e in published.structure.elements)
    with pytest.raises(errors.WrongAtomOrderError, match="at their places"):
        parse_vasp(text, published.structure.model_copy(update={"elements": swapped}))


def test_a_run_starts_from_the_last_one_and_leaves_a_bad_start(
    machine: Path, outcar: Path, published: Candidate
) -> None:
    keep = ["echo orbitals > WAVECAR", "echo density > CHGCAR"]
    program(machine, f'cp "{outcar}" OUTCAR', *keep)
    calculator = ProgramCalculator("vasp", published, machine / "work", protocol="fast")
    assert (machine / "work" / "POTCAR").read_text() == "licensed Al\nlicensed O\nlicensed P\n"
    atoms = published.structure.to_ase()
    first = calculator.get_forces(atoms)
    moved = atoms.copy()
    moved.positions[0, 0] += 0.002  # within what the published OUTCAR is accepted for
    calculator.get_potential_energy(moved)
    np.testing.assert_allclose(calculator.get_stress(moved).shape, (6,))
    assert starts(machine) == ["0", "1", "1"]
    np.testing.assert_allclose(first, ase.io.read(outcar, format="vasp-out").get_forces(), atol=1e-9)
    # a start that breaks the program is thrown away; an empty file is none
    program(machine, 'grep -q "ISTART = 0" INCAR || exit 7', f'cp "{outcar}" OUTCAR', ": > WAVECAR", keep[1])
    moved.positions[1, 0] += 0.002
    calculator.get_forces(moved)
    moved.positions[2, 0] += 0.002
    calculator.get_forces(moved)
    assert starts(machine)[3:] == ["1", "0", "0"]
    program(machine)
    moved.positions[3, 0] += 0.002
    with pytest.raises(errors.TruncatedOutputError, match="wrote no OUTCAR"):
        calculator.get_forces(moved)


def test_a_field_that_does_not_converge_goes_down_the_ladder(machine: Path, outcar: Path, published: Candidate) -> None:
    open_ended = f'sed "s/EDIFF is reached/EDIFF was not reached/" "{outcar}" > OUTCAR'
    program(machine, f'if grep -q "ALGO = All" INCAR; then cp "{outcar}" OUTCAR; else {open_ended}; exit 1; fi')
    calculator = ProgramCalculator("vasp", published, machine / "work", protocol="fast")
    calculator.get_forces(published.structure.to_ase())
    assert calculator.n_runs == len(scf_ladder("vasp")) == 3
    program(machine, open_ended)
    with pytest.raises(errors.ScfNotConvergedError, match="blocked Davidson, nearly linear mixing, all bands at once"):
        ProgramCalculator("vasp", published, machine / "stuck").get_forces(published.structure.to_ase())


def test_a_static_step_of_a_study(machine: Path, outcar: Path, published: Candidate) -> None:
    start = Relaxation(
        start_id="built",
        candidate=published,
        energy_ev=0.0,
        max_force_ev_per_ang=0.0,
        n_steps=0,
        is_converged=True,
        model="m",
    )
    step = DftSettings(engine="vasp", task="static", protocol="fast", numbers={"cutoff_ev": 480})
    program(machine, f'grep -q "ENCUT = 480" INCAR && cp "{outcar}" OUTCAR')
    found = relax_by_dft(start, RelaxSettings(), step, machine)
    forces = ase.io.read(outcar, format="vasp-out").get_forces()
    assert found.energy_ev == pytest.approx(-358.57809048)
    assert found.max_force_ev_per_ang == pytest.approx(np.linalg.norm(forces, axis=1).max())
    assert found.model.startswith("vasp pbe fast ")
    (machine / "potcars" / "P" / "POTCAR").unlink()
    with pytest.raises(MissingPotentialError, match="POTCAR P"):
        relax_by_dft(start, RelaxSettings(), step, machine / "again")


@pytest.mark.parametrize("engine", DFT_ENGINES)
def test_protocols_state_only_differences_and_every_engine_has_a_ladder(engine: str) -> None:
    data = protocol_data(PROTOCOL_FILES[engine])
    assert tuple(data["protocols"]) == ("fast", "balanced", "stringent")
    for own in data["protocols"].values():
        assert all(data["defaults"].get(key) != value for key, value in own.items())
    assert len({dft_protocol(engine, name).hash for name in data["protocols"]}) == 3
    assert len(scf_ladder(engine)) >= 2
    with pytest.raises(UnknownProtocolError, match=f"unknown {engine} protocol key 'functionl'; did you mean"):
        dft_protocol(engine, functionl="pbe")
