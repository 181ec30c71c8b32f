"""The way through a periodic engine: what is missing is named before anything runs, and what comes back is proven.

The programs are not at hand: a stand-in checks that it finds its inputs and leaves a published output of the program
(NaCl by CASTEP), so that files, order and refusals are tested, and no physics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from jobflow import run_locally
from surfshift.analysis.tensor_files import candidate_of, read_tensors, site_tensors
from surfshift.analysis.tensor_files.errors import (
    TensorFileError,
    TruncatedOutputError,
    UnconvergedOutputError,
    UnconvergedResponseError,
)
from surfshift.analysis.vocabulary import Relaxation
from surfshift.workflows.engines.dft.errors import LicenceMissingError, ProgramFailedError, ProgramMissingError
from surfshift.workflows.engines.inputs.upf import MissingPotentialError
from surfshift.workflows.engines.periodic import (
    PeriodicSettings,
    Rungs,
    compute_periodic,
    inputs_of,
    ladder,
)
from surfshift.workflows.engines.protocols import UnknownProtocolError
from surfshift.workflows.flows import PeriodicNmrMaker
from surfshift.workflows.potentials import write_potcar

if TYPE_CHECKING:
    from pathlib import Path

    from surfshift.structures.vocabulary import Candidate
    from surfshift.workflows.engines.inputs import PeriodicEngine

CASTEP = PeriodicSettings(engine="castep", protocol="fast")


@pytest.fixture
def published(shared_data: Path) -> Path:
    return shared_data / "parsers" / "castep" / "nacl.magres"


@pytest.fixture
def rocksalt(published: Path) -> Candidate:
    return candidate_of(read_tensors(published), "NaCl", oxidation_states={"Na": 1, "Cl": -1})


@pytest.fixture(autouse=True)
def empty_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No program, no pseudopotential, no settings of this machine."""
    for name in ("SURFSHIFT_UPF_DIR", "ESPRESSO_PSEUDO", "PMG_VASP_PSP_DIR", "SURFSHIFT_CASTEP", "SURFSHIFT_VASP"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    monkeypatch.setenv("HOME", str(tmp_path))


def program(folder: Path, name: str, *lines: str) -> None:
    """A stand-in that notes each start beside itself."""
    file = folder / "bin" / name
    file.write_text("\n".join(["#!/bin/sh", "set -e", f'echo start >> "{file}.starts"', *lines, ""]), encoding="utf-8")
    file.chmod(0o755)


ENDED = 'printf " CASTEP version 24.1 \\nTotal time          =      9.33 s\\n" > nmr.castep'
"""What a finished run leaves beside its tensors."""


def starts(folder: Path, name: str) -> int:
    file = folder / "bin" / f"{name}.starts"
    return len(file.read_text().split()) if file.exists() else 0


def test_tensors_come_back_as_the_program_wrote_them_and_are_computed_once(
    tmp_path: Path, published: Path, rocksalt: Candidate
) -> None:
    program(
        tmp_path,
        "castep.mpi",
        'test "$1" = nmr && grep -qi "magres_task : nmr" nmr.param && grep -qi "%block lattice" nmr.cell',
        ENDED,
        f'cp "{published}" nmr.magres',
    )
    found = compute_periodic(rocksalt, CASTEP, tmp_path / "work", elements=["Na"])
    (sodium,) = found
    assert found == site_tensors(read_tensors(published), rocksalt.structure, elements={"Na"}, protocol="fast")
    assert sodium.method.engine == "castep"
    assert len(sodium.atom_indices) == rocksalt.structure.elements.count("Na")
    # a job that is started again takes what is finished
    assert compute_periodic(rocksalt, CASTEP, tmp_path / "work", elements=["Na"]) == found
    assert starts(tmp_path, "castep.mpi") == 1


def test_an_output_of_other_atoms_is_refused(tmp_path: Path, published: Path, rocksalt: Candidate) -> None:
    program(tmp_path, "castep.mpi", ENDED, f'cp "{published.with_name("ethanol.magres")}" nmr.magres')
    with pytest.raises(TensorFileError, match="file"):
        compute_periodic(rocksalt, CASTEP, tmp_path / "work")
    program(tmp_path, "castep.mpi", ENDED, f'head -c 3000 "{published}" > nmr.magres')
    with pytest.raises(TensorFileError):
        compute_periodic(rocksalt, CASTEP, tmp_path / "cut off")
    # what was refused is computed anew by the next try, and what it left does not count
    program(tmp_path, "castep.mpi", ENDED, f'test ! -e nmr.magres && cp "{published}" nmr.magres')
    assert compute_periodic(rocksalt, CASTEP, tmp_path / "cut off", elements=["Na"])


def test_failures_of_the_program_have_names(tmp_path: Path, published: Path, rocksalt: Candidate) -> None:
    program(tmp_path, "castep.mpi", 'echo "Error: no License server answered"', "exit 3")
    with pytest.raises(LicenceMissingError, match="ended with code 3"):
        compute_periodic(rocksalt, CASTEP, tmp_path / "work")
    program(tmp_path, "castep.mpi", 'echo "segmentation fault"', "exit 139")
    with pytest.raises(ProgramFailedError, match="segmentation fault"):
        compute_periodic(rocksalt, CASTEP, tmp_path / "work")
    program(tmp_path, "castep.mpi", 'echo "Error in cell_read: no atoms" > nmr.0001.err', "exit 1")
    with pytest.raises(ProgramFailedError, match="no atoms"):
        compute_periodic(rocksalt, CASTEP, tmp_path / "work")
    program(tmp_path, "castep.mpi")
    with pytest.raises(ProgramFailedError, match=r"it wrote no nmr\.castep"):
        compute_periodic(rocksalt, CASTEP, tmp_path / "work")
    program(tmp_path, "castep.mpi", 'echo "CASTEP version 24.1" > nmr.castep', f'cp "{published}" nmr.magres')
    with pytest.raises(TruncatedOutputError, match="no total time"):
        compute_periodic(rocksalt, CASTEP, tmp_path / "work")


def test_a_response_that_does_not_converge_goes_down_the_ladder(
    tmp_path: Path, published: Path, rocksalt: Candidate
) -> None:
    stuck = 'echo "CASTEP: Calculation of first order wavefunctions not fully converged." > nmr.castep'
    program(
        tmp_path,
        "castep.mpi",
        f"grep -q 'MAGRES_CONV_TOL : 1.0e-11 eV' nmr.param || {{ {stuck}; exit 1; }}",
        ENDED,
        f'cp "{published}" nmr.magres',
    )
    (sodium,) = compute_periodic(rocksalt, CASTEP, tmp_path / "work", elements=["Na"])
    assert starts(tmp_path, "castep.mpi") == len(ladder("castep", "response")) == 3
    assert sodium.checks["response_ladder_step"] == 2.0
    assert "scf_ladder_step" not in sodium.checks
    program(tmp_path, "castep.mpi", stuck)
    with pytest.raises(UnconvergedResponseError, match="tried were: as the protocol says, four times the steps"):
        compute_periodic(rocksalt, CASTEP, tmp_path / "never")
    program(tmp_path, "castep.mpi", 'echo "CASTEP: electronic minimisation did not converge" > nmr.castep', "exit 1")
    with pytest.raises(UnconvergedOutputError, match="density mixing with a small amplitude"):
        compute_periodic(rocksalt, CASTEP, tmp_path / "no ground state")
    assert "METALS_METHOD : dm" in (tmp_path / "no ground state" / "nmr.param").read_text()


@pytest.mark.parametrize("engine", ["vasp", "castep", "qe"])
def test_every_rung_of_a_ladder_can_be_written(
    engine: PeriodicEngine, rocksalt: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for element in ("Na", "Cl"):
        tail = '<PP_GIPAW gipaw_data_format="2">\n</PP_GIPAW>\n'
        (tmp_path / f"{element}.UPF").write_text(f'<PP_HEADER element="{element}" functional="PBE"/>\n{tail}')
    monkeypatch.setenv("SURFSHIFT_UPF_DIR", str(tmp_path))
    settings = PeriodicSettings(engine=engine, protocol="fast")
    normal = inputs_of(rocksalt, settings)
    rungs = [Rungs(scf=k) for k in range(1, len(ladder(engine, "scf")))]
    rungs += [Rungs(response=k) for k in range(1, len(ladder(engine, "response")))]
    for rung in rungs:
        assert inputs_of(rocksalt, settings, rung).files != normal.files


def test_what_numbers_a_method_tells() -> None:
    plain = PeriodicSettings(engine="castep", numbers={"cutoff_ev": 800, "functional": "pbesol"})
    assert (plain.label, plain.family) == ("balanced", "castep/pbesol/balanced")  # the file tells the cutoff
    coarse = PeriodicSettings(engine="qe", protocol="fast", numbers={"kpoint_spacing_per_ang": 0.1, "cutoff_ry": 90})
    assert coarse.family == "qe-gipaw/pbe/fast, kpoint_spacing_per_ang 0.1"


def test_what_is_missing_is_named_before_anything_runs(
    tmp_path: Path, rocksalt: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ProgramMissingError, match=r"castep\.mpi is not on the PATH.*SURFSHIFT_CASTEP"):
        compute_periodic(rocksalt, CASTEP, work)
    with pytest.raises(MissingPotentialError, match="PMG_VASP_PSP_DIR is not set"):
        compute_periodic(rocksalt, PeriodicSettings(engine="vasp"), work)
    with pytest.raises(MissingPotentialError, match="SURFSHIFT_UPF_DIR is not set"):
        compute_periodic(rocksalt, PeriodicSettings(engine="qe"), work)
    pseudo = tmp_path / "pseudo"
    pseudo.mkdir()
    for element in ("Na", "Cl"):
        tail = '<PP_GIPAW gipaw_data_format="2">\n</PP_GIPAW>\n'
        (pseudo / f"{element}.UPF").write_text(f'<PP_HEADER element="{element}" functional="PBE"/>\n{tail}')
    monkeypatch.setenv("SURFSHIFT_UPF_DIR", str(pseudo))
    program(tmp_path, "pw.x", "exit 1")
    with pytest.raises(ProgramMissingError, match=r"gipaw\.x is not on the PATH"):
        compute_periodic(rocksalt, PeriodicSettings(engine="qe"), work)
    assert starts(tmp_path, "pw.x") == 0
    assert not work.exists()


def test_potcars_are_joined_in_the_order_of_the_species(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path))
    for symbol in ("Cl", "Na_pv"):
        (tmp_path / symbol).mkdir()
        (tmp_path / symbol / "POTCAR").write_text(f"licensed {symbol}\n")
    write_potcar(tmp_path, ["Na_pv", "Cl"])
    assert (tmp_path / "POTCAR").read_text() == "licensed Na_pv\nlicensed Cl\n"
    with pytest.raises(MissingPotentialError, match="POTCAR P"):
        write_potcar(tmp_path, ["P"])


def test_the_job_refuses_early_and_returns_the_tensors(
    tmp_path: Path, published: Path, rocksalt: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    start = Relaxation(
        start_id=rocksalt.id,
        candidate=rocksalt,
        energy_ev=0.0,
        max_force_ev_per_ang=0.0,
        n_steps=0,
        is_converged=True,
        model="literature",
    )
    with pytest.raises(MissingPotentialError):
        PeriodicNmrMaker(PeriodicSettings(engine="vasp"), checks_potentials=True).make(start, rocksalt)
    wrong = PeriodicNmrMaker(PeriodicSettings(engine="castep", numbers={"cutof_ev": 600}))
    with pytest.raises(UnknownProtocolError, match="cutoff_ev"):
        wrong.make(start, rocksalt)
    program(tmp_path, "castep.mpi", ENDED, f'cp "{published}" nmr.magres')
    job = PeriodicNmrMaker(CASTEP).make(start, rocksalt, elements=["Cl"])
    assert job.name == "nmr castep NaCl"
    responses = run_locally(job, create_folders=False, ensure_success=True, log=False)
    (chlorine,) = responses[job.uuid][1].output
    assert chlorine.element == "Cl"
