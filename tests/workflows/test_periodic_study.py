"""A study with a periodic NMR engine, from the file to report and archive, through the real queue.

CASTEP is a stand-in that leaves its published output of NaCl, so that this shows the way through and no physics. The
gas-phase scale of 23Na is not in it: without a reference of the very method the shifts are wide.
"""

from __future__ import annotations

import json
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from surfshift.analysis.reference_fit import MixedMethodsError, fit_reference
from surfshift.analysis.reference_table import write_references
from surfshift.analysis.tensor_files import read_tensors, site_tensors
from surfshift.analysis.vocabulary import Method, ReferenceCompound, StudyResult
from surfshift.structures.vocabulary import Grade
from surfshift.workflows.candidates import Inputs, build_candidates, load_inputs
from surfshift.workflows.cli import EXIT_BAD_INPUT, EXIT_ENVIRONMENT, main
from surfshift.workflows.costs import candidate_cost
from surfshift.workflows.engines.periodic import PeriodicSettings
from surfshift.workflows.flows import CandidateMaker, RelaxMaker, nmr_maker
from surfshift.workflows.hpc.estimate import estimate_study
from surfshift.workflows.hpc.place import place_candidate
from surfshift.workflows.hpc.templates import write_workers
from surfshift.workflows.hpc.workers import load_workers
from surfshift.workflows.reference_choice import engine_notes, with_references
from surfshift.workflows.study import load_study

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """\
study: salt
structure: nacl.cif
relax: {model: 7net-0, relax_bulk_positions: false}
nmr: {engine: castep, protocol: balanced, numbers: {cutoff_ev: 490}, isotopes: [23Na]}
measured:
  - {peaks: na.csv, isotope: 23Na, field_tesla: 9.4}
run: {parallel_jobs: 1}
"""
FOREIGN = Method(engine="castep", engine_version="24.1", functional="pbesol", protocol="balanced", protocol_hash="x")


@pytest.fixture
def home(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with study, structure and peaks, and a machine without programs and pseudopotentials."""
    run = read_tensors(shared_data / "parsers" / "castep" / "nacl.magres")
    structure = run.structure(oxidation_states={"Na": 1, "Cl": -1})
    structure.to_pymatgen().to(str(tmp_path / "nacl.cif"))
    (tmp_path / "na.csv").write_text("delta_iso_ppm,delta_error_ppm\n7.2,0.3\n", encoding="utf-8")
    (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
    for name in ("SURFSHIFT_UPF_DIR", "ESPRESSO_PSEUDO", "PMG_VASP_PSP_DIR", "SURFSHIFT_CASTEP", "SURFSHIFT_VASP"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def castep(home: Path, published: Path) -> None:
    file = home / "bin" / "castep.mpi"
    file.write_text(
        f'#!/bin/sh\nset -e\ngrep -q "CUT_OFF_ENERGY : 490 eV" $1.param\ncp "{published}" $1.magres\n'
        'printf " CASTEP version 24.1 \\nTotal time          =      9.33 s\\n" > $1.castep\n',
        encoding="utf-8",
    )
    file.chmod(0o755)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["surfshift", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_a_study_runs_from_the_file_to_report_and_archive(
    home: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    published = shared_data / "parsers" / "castep" / "nacl.magres"
    castep(home, published)
    study = str(home / "study.yaml")
    assert call(monkeypatch, "run", study) == 0, capsys.readouterr()
    result = StudyResult.model_validate_json((home / "salt-run" / "report" / "result.json").read_bytes())
    (relaxation,), (tensors,) = result.relaxations, result.tensors.values()
    expected = site_tensors(
        read_tensors(published), relaxation.candidate.structure, elements={"Na"}, protocol="balanced"
    )
    assert tensors == expected
    (site,) = tensors
    assert site.method.family == "castep/pbe/balanced"
    (reference,) = result.references
    assert reference.is_wide
    assert reference.method == site.method
    assert result.failures == ()
    assert result.provenance["NMR method of Na"] == site.method.key
    assert result.provenance["version of castep"] == "24.1"
    assert any("no 23Na compound was computed" in text for text in result.provenance.values())
    (predicted,) = result.sites
    assert predicted.isotope == "23Na"
    capsys.readouterr()
    assert call(monkeypatch, "status", study) == 0
    told = capsys.readouterr().out
    assert "nmr castep" in told
    assert "plan sites" not in told
    assert call(monkeypatch, "archive", study, "--out", str(home / "salt.zip")) == 0, capsys.readouterr()
    with zipfile.ZipFile(home / "salt.zip") as archive:
        names = archive.namelist()
    assert "protocols/castep.yaml" in names
    assert "protocols/cluster.yaml" not in names


def test_what_this_machine_lacks_is_named_before_anything_is_submitted(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(home / "bin"))
    for engine, told in (("castep", "castep.mpi is not on the PATH"), ("vasp", "PMG_VASP_PSP_DIR is not set")):
        file = home / f"{engine}.yaml"
        file.write_text(STUDY.replace("castep", engine), encoding="utf-8")
        assert call(monkeypatch, "run", str(file)) == EXIT_ENVIRONMENT
        message = capsys.readouterr().err
        assert f"surfshift: nmr.engine: {engine} cannot run on this machine, nothing was submitted" in message
        assert told in message
        assert "Traceback" not in message
        assert not (home / "salt-run").exists()
    relaxing = home / "relaxing.yaml"
    relaxing.write_text(STUDY.replace("relax: {", "relax: {dft: {engine: vasp}, "), encoding="utf-8")
    assert call(monkeypatch, "run", str(relaxing)) == EXIT_ENVIRONMENT
    assert "relax.dft: vasp cannot run on this machine, nothing was submitted: vasp cannot" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("nmr", "told"),
    [
        ("{engine: castep, isotopes: [23Na], numbers: {cutof_ev: 800}}", "unknown castep protocol key 'cutof_ev'; did"),
        ("{engine: castep, isotopes: [23Na], numbers: {cutoff_ev: 8}}", "cutoff_ev = 8.0"),
        ("{engine: qe, isotopes: [23Na], numbers: {cutoff_ev: 800}}", "unknown qe protocol key 'cutoff_ev'"),
        ("{isotopes: [23Na], numbers: {cutoff_ev: 800}}", "only castep, vasp and qe take them"),
        ("{engine: castepp, isotopes: [23Na]}", "'cluster', 'castep', 'vasp' or 'qe'"),
        ("{engine: vasp, isotopes: [23Na]}\nrun: {adaptive: true}", "computes a whole candidate at once"),
    ],
)
def test_wrong_numbers_are_refused_when_the_file_is_read(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], nmr: str, told: str
) -> None:
    file = home / "wrong.yaml"
    file.write_text(f"study: salt\nstructure: nacl.cif\nnmr: {nmr}\n", encoding="utf-8")
    assert call(monkeypatch, "run", str(file)) == EXIT_BAD_INPUT
    assert told in capsys.readouterr().err


def test_the_job_hash_follows_engine_and_numbers(home: Path) -> None:
    def hashed(text: str) -> str:
        (home / "other.yaml").write_text(text, encoding="utf-8")
        return load_study(home / "other.yaml").job_hash

    base = hashed(STUDY)
    assert hashed(STUDY.replace("490", "490.0")) == base
    changed = [STUDY.replace("490", "500"), STUDY.replace("castep", "vasp"), STUDY.replace("balanced", "stringent")]
    assert len({base, *map(hashed, changed)}) == 4


def test_references_are_chosen_by_what_the_tensors_are(home: Path, shared_data: Path) -> None:
    study = load_study(home / "study.yaml")
    (candidate,) = build_candidates(study)
    run = read_tensors(shared_data / "parsers" / "castep" / "nacl.magres")
    (site,) = site_tensors(run, candidate.structure, elements={"Na"}, protocol="balanced")
    inputs = load_inputs(study)
    assert inputs.references == {}
    compound = ReferenceCompound(
        name="NaCl", sigma_iso_ppm=560.0, delta_iso_ppm=7.2, delta_error_ppm=0.2, source="test", grade=Grade.MODEL
    )

    def with_own(method: Method) -> tuple[Inputs, tuple[str, ...]]:
        write_references([fit_reference("23Na", method, [compound])], home / "own.json")
        text = STUDY.replace("nmr: {", "nmr: {references: own.json, ")
        (home / "own.yaml").write_text(text, encoding="utf-8")
        mine = load_study(home / "own.yaml")
        return with_references(mine, load_inputs(mine), [site])

    found, problems = with_own(site.method)
    assert problems == ()
    assert found.references["23Na"].compounds
    # another functional is known from the study file alone, another pseudopotential only from the tensors
    with pytest.raises(MixedMethodsError, match="castep/pbesol/balanced, the study computes with castep/pbe/balanced"):
        with_own(FOREIGN)
    found, (problem,) = with_own(site.method.model_copy(update={"protocol_hash": "0" * 16}))
    assert found.references == {}
    assert "--protocol-hash" in problem
    other = site.model_copy(update={"method": site.method.model_copy(update={"protocol_hash": "1" * 16})})
    found, (problem,) = with_references(study, inputs, [site, other])
    assert "mixes 2 methods" in problem
    assert found.references == {}


def test_a_reader_is_told_of_wrong_gradients_functionals_and_lower_rungs(home: Path, shared_data: Path) -> None:
    study = load_study(home / "study.yaml")
    (candidate,) = build_candidates(study)
    run = read_tensors(shared_data / "parsers" / "castep" / "nacl.magres")
    (site,) = site_tensors(run, candidate.structure, elements={"Na"}, protocol="balanced")
    castep_settings = PeriodicSettings(engine="castep", protocol="balanced")
    assert engine_notes(castep_settings, candidate, [site]) == ()
    loosened = site.model_copy(update={"checks": {**site.checks, "response_ladder_step": 2.0}})
    (note,) = engine_notes(castep_settings, candidate, [loosened])
    assert "linear response converged only with other settings (and ten times the tolerance)" in note
    other = castep_settings.model_copy(update={"numbers": {"functional": "pbesol"}})
    (note,) = engine_notes(other, candidate, [site])
    assert "computed with pbe, as its files say, and not with pbesol" in note
    oblique = candidate.structure.model_copy(
        update={"lattice_ang": ((5.64, 0.0, 0.0), (0.0, 5.64, 0.0), (2.0, 0.0, 25.0))}
    )
    slanted = candidate.model_copy(update={"structure": oblique})
    assert "do not trust its CQ" in engine_notes(PeriodicSettings(engine="qe"), slanted, [site])[0]


def test_a_candidate_without_the_wanted_nuclei_gets_no_nmr_job(home: Path) -> None:
    (home / "other.yaml").write_text(STUDY.replace("isotopes: [23Na]", "isotopes: [31P]").split("measured")[0])
    study = load_study(home / "other.yaml")
    (candidate,) = build_candidates(load_study(home / "study.yaml"))
    maker = CandidateMaker(relax_maker=RelaxMaker(settings=study.relax), site_maker=nmr_maker(study.nmr, 1000))
    assert [job.name for job in maker.make(candidate).jobs] == [f"relax {candidate.name}"]
    assert [cost.step for cost in estimate_study(study, [candidate])] == ["relax"]
    assert candidate_cost(candidate, study).nmr_cpu_seconds == 0.0


def test_jobs_on_a_cluster_and_their_estimates(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = load_study(home / "study.yaml")
    (candidate,) = build_candidates(study)
    write_workers("slurm", {"work_dir": "/scratch", "python": "/py", "castep": "castep.mpi"}, home / "workers.yaml")
    file = load_workers(home / "workers.yaml")
    maker = CandidateMaker(relax_maker=RelaxMaker(settings=study.relax), site_maker=nmr_maker(study.nmr, 1000))
    flow = maker.make(candidate)
    place_candidate(flow, candidate, study, file)
    relax, tensors = flow.jobs
    assert tensors.name == f"nmr castep {candidate.name}"
    assert tensors.function_args[2] == ["Na"]
    assert tensors.config.manager_config["worker"] == "cluster"
    assert relax.config.manager_config["worker"] == "cluster-pilot"
    assert "export SURFSHIFT_CASTEP='srun castep.mpi'" in file.workers["cluster"]["pre_run"]
    assert "SURFSHIFT_VASP" not in file.workers["cluster"]["pre_run"]
    # a file of workers from before the step has the worker of the relaxations by DFT
    steps = {name: step for name, step in file.placement.steps.items() if name != "gipaw"}
    older = file.model_copy(update={"placement": file.placement.model_copy(update={"steps": steps})})
    assert older.step("gipaw").worker == "cluster"
    costs = {cost.step: cost for cost in estimate_study(study, [candidate], file)}
    assert list(costs) == ["relax", "gipaw"]
    assert costs["gipaw"].n_jobs == 1
    (home / "fine.yaml").write_text(STUDY.replace("490", "980"), encoding="utf-8")
    fine = {cost.step: cost for cost in estimate_study(load_study(home / "fine.yaml"), [candidate], file)}
    assert fine["gipaw"].core_hours == pytest.approx(2**1.5 * costs["gipaw"].core_hours, rel=0.01)
    assert call(monkeypatch, "hpc", "estimate", str(home / "study.yaml")) == 0
    told = capsys.readouterr().out
    assert "GIPAW jobs of castep is a guess" in told
    assert call(monkeypatch, "structures", str(home / "study.yaml"), "--plan") == 0
    told = capsys.readouterr().out
    assert "one GIPAW job of castep per candidate" in told
    assert "cluster" not in told
    assert call(monkeypatch, "structures", str(home / "study.yaml"), "--plan", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert "nmr_cpu_seconds" in json.dumps(plan)
