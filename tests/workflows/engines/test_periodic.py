"""The way through a periodic engine: what is missing is named before anything runs, and what comes back is proven.

The programs are not at hand: a stand-in checks that it finds its inputs and leaves a published output of the program
(NaCl by CASTEP), so that files, order and refusals are tested, and no physics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from jobflow import run_locally
from surfshift.analysis.tensor_files import candidate_of, read_tensors, site_tensors
from surfshift.analysis.tensor_files.errors import TensorFileError
from surfshift.analysis.vocabulary import Relaxation
from surfshift.workflows.engines.dft.errors import LicenceMissingError, ProgramFailedError, ProgramMissingError
from surfshift.workflows.engines.inputs.upf import MissingPotentialError
from surfshift.workflows.engines.periodic import PeriodicSettings, compute_periodic, write_potcar
from surfshift.workflows.engines.protocols import UnknownProtocolError
from surfshift.workflows.flows import PeriodicNmrMaker

if TYPE_CHECKING:
    from pathlib import Path

    from surfshift.structures.vocabulary import Candidate

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
    program(tmp_path, "castep.mpi", f'cp "{published.with_name("ethanol.magres")}" nmr.magres')
    with pytest.raises(TensorFileError, match="file"):
        compute_periodic(rocksalt, CASTEP, tmp_path / "work")
    program(tmp_path, "castep.mpi", f'head -c 3000 "{published}" > nmr.magres')
    with pytest.raises(TensorFileError):
        compute_periodic(rocksalt, CASTEP, tmp_path / "cut off")


def test_failures_of_the_program_have_names(tmp_path: Path, rocksalt: Candidate) -> None:
    program(tmp_path, "castep.mpi", 'echo "Error: no License server answered"', "exit 3")
    with pytest.raises(LicenceMissingError, match="ended with code 3"):
        compute_periodic(rocksalt, CASTEP, tmp_path / "work")
    program(tmp_path, "castep.mpi", 'echo "segmentation fault"', "exit 139")
    with pytest.raises(ProgramFailedError, match="segmentation fault"):
        compute_periodic(rocksalt, CASTEP, tmp_path / "work")


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
    program(tmp_path, "castep.mpi", f'cp "{published}" nmr.magres')
    job = PeriodicNmrMaker(CASTEP).make(start, rocksalt, elements=["Cl"])
    assert job.name == "nmr castep NaCl"
    responses = run_locally(job, create_folders=False, ensure_success=True, log=False)
    (chlorine,) = responses[job.uuid][1].output
    assert chlorine.element == "Cl"
