"""The archive of a study: complete, checked before it gets its name, and its verdict follows from what is in it."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from surfshift.analysis.matching import match
from surfshift.analysis.prediction import predict_sites
from surfshift.analysis.report import write_report
from surfshift.analysis.tensor_files import read_magres
from surfshift.analysis.vocabulary import Relaxation, SiteTensors, StudyResult
from surfshift.structures.symmetry import distinct_sites
from surfshift.workflows.archive import Replay, check_archive, relocated, study_paths, write_archive
from surfshift.workflows.archive_files import ArchiveError, DamagedArchiveError, Manifest, archived, write_zip
from surfshift.workflows.candidates import build_candidates, load_inputs
from surfshift.workflows.cli import main
from surfshift.workflows.collect import match_settings
from surfshift.workflows.engines.cluster import method_of
from surfshift.workflows.engines.protocols import load_protocol
from surfshift.workflows.queue.folder import RunFolder
from surfshift.workflows.study import StudyFile, load_study

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """\
study: packed
crystal: AlPO4_berlinite
nmr: {isotopes: [27Al, 31P]}
measured:
  - {peaks: ../data/aluminium.csv, isotope: 27Al, field_tesla: 9.4}
  - {peaks: ../data/phosphorus.csv, isotope: 31P, field_tesla: 9.4}
run: {hpc: workers.yaml}
"""
SHIELDING = {"Al": 521.0, "P": 336.0}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a study whose tensors are invented and whose predictions, match and report are real."""
    folder = tmp_path_factory.mktemp("template")
    home, data = folder / "home", folder / "data"
    home.mkdir()
    data.mkdir()
    (home / "workers.yaml").write_text("secret-host: here\n")
    (data / "phosphorus.csv").write_text("label,delta_iso_ppm,delta_error_ppm\nP,-25.0,1.0\n")
    (data / "aluminium.csv").write_text("label,cq_mhz,cq_error_mhz\nAl,4.1,0.5\n")
    path = home / "study.yaml"
    path.write_text(STUDY)
    study = load_study(path)
    run = RunFolder(home / "packed-run")
    run.path.mkdir()
    run.state_file.write_text(json.dumps({"job_hash": study.job_hash, "versions": {}}))
    inputs, (bulk,) = load_inputs(study), build_candidates(study)
    method = method_of(load_protocol("fast"))
    efg = 0.118 / 2 * np.diag([-0.7, -1.3, 2.0])
    tensors = tuple(
        SiteTensors(
            structure_id=bulk.structure.content_id,
            element=site.element,
            atom_indices=site.atom_indices,
            shielding_ppm=(tuple(map(tuple, (SHIELDING[site.element] * np.eye(3)).tolist())),) * len(site.atom_indices),
            efg_au=(tuple(map(tuple, (efg * (site.element == "Al")).tolist())),) * len(site.atom_indices),
            method=method,
        )
        for site in distinct_sites(bulk.structure)
        if site.element in SHIELDING
    )
    sites = predict_sites(bulk, tensors, inputs.references, tuple(inputs.references))
    found = match({bulk.id: sites}, inputs.measurements, inputs.references, match_settings(study, [bulk], None))
    relaxed = Relaxation(
        start_id=bulk.id,
        candidate=bulk,
        energy_ev=-1.0,
        max_force_ev_per_ang=0.0,
        n_steps=0,
        is_converged=True,
        model="none",
    )
    result = StudyResult(
        name=study.study,
        relaxations=(relaxed,),
        tensors={bulk.id: tensors},
        references=tuple(inputs.references.values()),
        sites=sites,
        measurements=inputs.measurements,
        assignment=found,
        provenance={},
    )
    write_report(result, run.report)
    return folder


@pytest.fixture
def finished(template: Path, tmp_path: Path) -> tuple[RunFolder, StudyFile, Path]:
    """A copy of that study, to be changed: its run, its settings and its file."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "home" / "study.yaml"
    return RunFolder(path.parent / "packed-run"), load_study(path), path


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(path: Path, target: Path, changes: dict[str, bytes]) -> Path:
    """The same archive with other files and a manifest that fits them."""
    contents = {name: text for name, text in members(path).items() if name != "manifest.json"} | changes
    files = tuple(archived(name, content, "") for name, content in contents.items())
    write_zip(target, Manifest(study="packed", created="", surfshift_version="0", files=files), contents)
    return target


def test_the_archive_holds_everything_and_reproduces(
    finished: tuple[RunFolder, StudyFile, Path], tmp_path: Path
) -> None:
    run, study, path = finished
    target = tmp_path / "packed.zip"
    manifest, found = write_archive(run, study, target)
    assert found.reproduces
    assert found.verdict.startswith(("identified: ", "one of these: "))
    assert "AlPO4_berlinite (0.9" in found.verdict or found.verdict.startswith("identified")
    assert found.largest_shift_change_ppm == 0.0
    held = members(target)
    assert {file.path for file in manifest.files} | {"manifest.json"} == set(held)
    for wanted in (
        "study.yaml",
        "inputs/phosphorus.csv",
        "inputs/aluminium.csv",
        "report/report.html",
        "environment.txt",
    ):
        assert wanted in held
    assert b"secret-host" not in b"".join(held.values())
    assert str(tmp_path).encode() not in held["study.yaml"]
    (magres,) = [name for name in held if name.endswith(".magres")]
    (tmp_path / "a.magres").write_bytes(held[magres])
    assert {round(np.trace(np.array(t)) / 3) for t in read_magres(tmp_path / "a.magres").shielding_ppm if t} == {
        521,
        336,
    }
    # it moves: the inputs are gone, the archive is enough
    (path.parent.parent / "data" / "phosphorus.csv").unlink()
    again = check_archive(target)
    assert again.reproduces
    assert again.n_files == len(manifest.files)
    # the study in it says the same, in full
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(target) as archive:
        archive.extractall(folder)
    inner = load_study(folder / "study.yaml")
    assert inner.job_hash == study.job_hash
    assert inner.run.hpc is None
    assert all(p.is_relative_to(folder) for p in study_paths(inner))
    assert yaml.safe_load(held["study.yaml"])["relax"]["fmax_ev_per_ang"] == study.relax.fmax_ev_per_ang


def test_a_changed_tensor_measurement_or_verdict_is_noticed(
    finished: tuple[RunFolder, StudyFile, Path], tmp_path: Path
) -> None:
    run, study, _ = finished
    target = tmp_path / "packed.zip"
    write_archive(run, study, target)
    held = members(target)
    peaks = held["inputs/phosphorus.csv"].replace(b"-25.0", b"-15.0")
    changed = check_archive(rewritten(target, tmp_path / "a.zip", {"inputs/phosphorus.csv": peaks}))
    assert not changed.reproduces
    assert "measured files" in changed.differences[0]
    result = json.loads(held["report/result.json"])
    (key,) = result["tensors"]
    for site in result["tensors"][key]:
        site["shielding_ppm"] = [[[value + 1.0 for value in row] for row in t] for t in site["shielding_ppm"]]
    moved = check_archive(rewritten(target, tmp_path / "b.zip", {"report/result.json": json.dumps(result).encode()}))
    assert any("shift changed" in text for text in moved.differences)
    assert moved.largest_shift_change_ppm > 0.5
    result = json.loads(held["report/result.json"])
    result["assignment"]["verdict"] = "none of these"
    lied = check_archive(rewritten(target, tmp_path / "c.zip", {"report/result.json": json.dumps(result).encode()}))
    assert any("verdict" in text for text in lied.differences)
    replay = Replay.model_validate_json(held["matching.json"])
    other = replay.model_copy(update={"settings": replay.settings.model_copy(update={"none_prior": 0.9})})
    shifted = check_archive(rewritten(target, tmp_path / "d.zip", {"matching.json": other.model_dump_json().encode()}))
    assert shifted.largest_share_change > 0.0


def test_a_study_that_names_files_outside_is_refused(
    finished: tuple[RunFolder, StudyFile, Path], tmp_path: Path
) -> None:
    run, study, _ = finished
    target = tmp_path / "packed.zip"
    write_archive(run, study, target)
    (tmp_path / "private.csv").write_text("label,delta_iso_ppm,delta_error_ppm\nP,-25.0,1.0\n")
    text = members(target)["study.yaml"].decode()
    for path in (str(tmp_path / "private.csv"), "../private.csv"):
        evil = text.replace("inputs/phosphorus.csv", path).encode()
        with pytest.raises((DamagedArchiveError, ValueError)):
            check_archive(rewritten(target, tmp_path / "evil.zip", {"study.yaml": evil}))


def test_what_does_not_follow_is_not_archived(finished: tuple[RunFolder, StudyFile, Path], tmp_path: Path) -> None:
    run, study, path = finished
    (path.parent.parent / "data" / "phosphorus.csv").write_text("label,delta_iso_ppm,delta_error_ppm\nP,-5.0,1.0\n")
    target = tmp_path / "packed.zip"
    with pytest.raises(ArchiveError, match="surfshift report"):
        write_archive(run, study, target)
    assert not [p for p in tmp_path.iterdir() if ".zip" in p.name]
    target.write_text("mine")
    with pytest.raises(ArchiveError, match="not overwritten"):
        write_archive(run, study, target)
    assert target.read_text() == "mine"
    (run.report / "result.json").unlink()
    with pytest.raises(ArchiveError, match="there is no report"):
        write_archive(run, study, tmp_path / "other.zip")


def test_whole_bruker_experiments_are_taken(tmp_path: Path) -> None:
    experiment = tmp_path / "lab" / "7"
    (experiment / "pdata" / "1").mkdir(parents=True)
    for name in ("acqus", "fid", "pdata/1/1r", "pdata/1/procs"):
        (experiment / name).write_bytes(b"x")
    (experiment / "link").symlink_to(tmp_path)
    for spectrum in ("lab/7", "lab/7/pdata/1", "lab/7/pdata/1/1r"):
        path = tmp_path / "study.yaml"
        path.write_text(
            "study: a\ncrystal: AlPO4_berlinite\nnmr: {isotopes: [31P]}\n"
            f"measured: [{{spectrum: {spectrum}}}, {{spectrum: {spectrum}, row: 1}}]\n"
        )
        data, inputs = relocated(load_study(path))
        assert {name.split("/", 2)[2] for name in inputs} == {"acqus", "fid", "pdata/1/1r", "pdata/1/procs"}
        inner = spectrum.removeprefix("lab/7")
        assert [m["spectrum"] for m in data["measured"]] == [f"inputs/7{inner}"] * 2


def test_the_command_writes_and_checks(
    finished: tuple[RunFolder, StudyFile, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, path = finished

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["surfshift", "archive", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0), *capsys.readouterr()

    code, out, _ = call(str(path))
    assert code == 0
    assert out.rstrip().endswith("reproduces")
    target = path.parent / "packed.zip"
    code, out, _ = call("--check", str(target), "--json")
    assert code == 0
    assert json.loads(out)["differences"] == []
    peaks = members(target)["inputs/phosphorus.csv"].replace(b"-25.0", b"-15.0")
    code, out, _ = call("--check", str(rewritten(target, path.parent / "b.zip", {"inputs/phosphorus.csv": peaks})))
    assert code == 1
    assert "differs: " in out
    target.write_bytes(target.read_bytes()[:100])
    code, _, err = call("--check", str(target))
    assert code == 2
    assert err.startswith("surfshift: ")
