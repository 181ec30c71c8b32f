"""``surfshift structures`` as a user meets it, on cells so small that SevenNet really runs."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from surfshift.workflows.candidates import build_candidates
from surfshift.workflows.cli import EXIT_BAD_INPUT, main
from surfshift.workflows.proposals import StudyContentError, propose
from surfshift.workflows.queue.records import snapshot
from surfshift.workflows.study import StudyFile, load_study
from surfshift.workflows.study_run import run_folder, start
from surfshift.workflows.study_yaml import StudyError

LITHIUM_FLUORIDE = """\
study: fluoride
crystal: LiF
candidates:
  surfaces:
    - {miller: [1, 0, 0], thickness_ang: 4}
    - {miller: [1, 1, 0], thickness_ang: 4}
    - {miller: [0, 1, 0], thickness_ang: 4}
relax: {model: 7net-0, fmax_ev_per_ang: 0.1}
nmr:
  isotopes: [7Li]
"""

BERLINITE = """\
study: wet
crystal: AlPO4_berlinite
candidates:
  surfaces:
    - miller: [1, 0, 0]
      thickness_ang: 4
      hydroxylation: [0, 1.0]
      keep: [t0]
      decorations:
        - {kind: molecular_water, max_variants: 1}
        - [{kind: split_water, coverage: 0.5, max_variants: 1}, {kind: molecular_water, max_variants: 1}]
nmr:
  isotopes: [27Al, 1H]
export: {formats: [extxyz]}
"""


def study_file(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def study_of(folder: Path, text: str) -> StudyFile:
    return load_study(study_file(folder, text))


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["surfshift", "structures", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def candidates_in(folder: Path) -> dict[str, dict[str, Any]]:
    data = json.loads((folder / "candidates.json").read_text(encoding="utf-8"))
    return {entry["name"]: entry for entry in data["candidates"]}


def test_older_study_files_keep_their_candidates_and_their_jobs(repo_root: Path) -> None:
    study = load_study(repo_root / "examples" / "alpo4" / "study.yaml")
    # of the version before facets, decorations and interfaces came to the study file: finished runs stay valid
    assert study.job_hash == "7283d3f65bed2fb8"
    assert [candidate.id for candidate in build_candidates(study)] == [
        "70eb454253ac0605",
        "1ece52ca66790628",
        "8aac3ea521805079",
        "906e4a450dd4b25b",
    ]


def test_every_new_key_changes_the_jobs(tmp_path: Path) -> None:
    plain = "study: x\ncrystal: LiF\ncandidates:\n  surfaces:\n    - miller: [1, 0, 0]\n"
    end = "nmr:\n  isotopes: [7Li]\n"
    base = study_of(tmp_path, plain + end).job_hash
    hashes = {base}
    surface = [
        "reconstruct: true",
        "keep_polar: true",
        "off_stoichiometric: true",
        "ion: Na",
        "min_width_ang: 8",
        "orthogonal: true",
        "keep_units: [LiF6]",
        "decorations: [{kind: molecular_water}]",
        "decorations: [{kind: molecular_water, per_face: 2}]",
    ]
    for line in surface:
        hashes.add(study_of(tmp_path, f"{plain}      {line}\n{end}").job_hash)
    hashes.add(study_of(tmp_path, f"{plain}  ordering: {{cells: 2}}\n{end}").job_hash)
    film = "  interfaces:\n    - {film: LiCl, film_miller: [1, 0, 0], miller: [1, 0, 0]}\n"
    hashes.add(study_of(tmp_path, plain + film + end).job_hash)
    assert len(hashes) == len(surface) + 3
    for unused in ("      reconstruct: false\n", "      decorations: []\n", "  max_candidates: 7\n"):
        assert study_of(tmp_path, plain + unused + end).job_hash == base
    assert study_of(tmp_path, plain + end + "export: {formats: [cif]}\n").job_hash == base


def test_the_plan_writes_nothing_and_counts_what_is_built_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study_file(tmp_path, BERLINITE)
    assert call(monkeypatch, str(path), "--plan") == 0
    told = capsys.readouterr().out
    assert "estimates" in told
    assert {entry.name for entry in tmp_path.iterdir()} == {"study.yaml"}
    assert call(monkeypatch, str(path), "--plan", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    by_origin = {row["origin"]: row for row in plan["plan"]}
    assert set(by_origin) == {"bulk", "cut", "split_water", "molecular_water", "split_water + molecular_water", "all"}
    assert by_origin["all"]["candidates"] == len(plan["candidates"]) == 5
    assert by_origin["all"]["sites"] == {
        isotope: sum(row["sites"][isotope] for origin, row in by_origin.items() if origin != "all")
        for isotope in ("27Al", "1H")
    }
    assert by_origin["bulk"]["sites"] == {"27Al": 1, "1H": 0}
    # measured: 32 s for one site of bulk berlinite
    assert 16 < by_origin["bulk"]["nmr_cpu_seconds"] < 64


def test_files_of_a_study_agree_and_go_round_through_other_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ase.io import read
    from pymatgen.core import Structure

    path = study_file(tmp_path, BERLINITE)
    assert call(monkeypatch, str(path), "--export", "cif,poscar") == 0
    assert "gallery" in capsys.readouterr().out
    out = tmp_path / "wet-structures"
    found = candidates_in(out)
    rows = {row["name"]: row for row in csv.DictReader((out / "candidates.csv").open(encoding="utf-8"))}
    assert set(rows) == set(found)
    for candidate in build_candidates(load_study(path)):
        entry = found[candidate.name]
        assert entry["id"] == candidate.id
        assert int(rows[candidate.name]["n_atoms"]) == len(candidate.structure)
        files = {Path(name).suffix: out / name for name in entry["files"]}
        assert set(files) == {".cif", ".vasp", ".xyz"}
        atoms = read(files[".xyz"], format="extxyz")
        assert atoms.get_chemical_symbols() == list(candidate.structure.elements)
        assert np.allclose(atoms.get_positions(), candidate.structure.cart_coords, atol=1e-6)
        assert np.allclose(atoms.arrays["oxidation_state"], candidate.structure.oxidation_states)
        assert list(atoms.arrays["region"]) == [region.value for region in candidate.regions]
        assert set(np.flatnonzero(atoms.arrays["undercoordinated"])) == set(entry["undercoordinated"])
        assert atoms.info["candidate_id"] == candidate.id
        whole = candidate.structure.model_copy(update={"periodic": (True, True, True)}).to_pymatgen()
        cif, poscar = Structure.from_file(files[".cif"]), Structure.from_file(files[".vasp"])
        assert cif.composition == whole.composition
        # a CIF lists atoms in its own order
        assert np.allclose(np.sort(cif.distance_matrix.ravel()), np.sort(whole.distance_matrix.ravel()), atol=1e-4)
        assert poscar.composition.as_dict() == whole.composition.element_composition.as_dict()
    dry = found["AlPO4_berlinite(100)-t0"]
    assert (dry["origin"], dry["tasker"], dry["n_broken_bonds"], len(dry["undercoordinated"])) == ("cut", 1, 8, 8)
    wet = found["AlPO4_berlinite(100)-t0+4H2O"]
    assert (wet["origin"], wet["tasker"], len(wet["undercoordinated"])) == ("split_water", 1, 0)


def test_a_second_call_with_another_study_leaves_no_stale_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study_file(tmp_path, LITHIUM_FLUORIDE)
    assert call(monkeypatch, str(path), "--export", "extxyz") == 0
    out = tmp_path / "fluoride-structures"
    (out / "structures" / "mine.xyz").write_text("kept", encoding="utf-8")
    assert len(list((out / "structures").iterdir())) > 2
    path.write_text(LITHIUM_FLUORIDE.replace("[1, 1, 0]", "[1, 0, 0]"), encoding="utf-8")
    assert call(monkeypatch, str(path), "--export", "extxyz") == 0
    # (010) is (100) again and no candidate of its own
    assert {file.name for file in (out / "structures").iterdir()} == {"mine.xyz", "LiF.xyz", "LiF_100_-t0.xyz"}
    assert "same structure" not in capsys.readouterr().err


def test_equal_structures_of_different_origin_are_kept_once(tmp_path: Path) -> None:
    made = propose(study_of(tmp_path, LITHIUM_FLUORIDE))
    assert [proposal.candidate.name for proposal in made.proposals] == ["LiF", "LiF(100)-t0", "LiF(110)-t0"]
    # (010) may be the very same cell, or the same one with other axes
    assert made.duplicates in ((), (("LiF(010)-t0", "LiF(100)-t0"),))
    # the same water, asked for in two ways
    text = BERLINITE.replace(
        "        - [{kind: split_water, coverage: 0.5, max_variants: 1}, {kind: molecular_water, max_variants: 1}]\n",
        "        - {kind: split_water}\n",
    )
    made = propose(study_of(tmp_path, text))
    names = [proposal.candidate.name for proposal in made.proposals]
    assert sum("+4H2O" in name for name in names) == 1
    assert len({proposal.candidate.id for proposal in made.proposals}) == len(names)


def test_a_frozen_bottom_reaches_every_kind(tmp_path: Path) -> None:
    made = propose(study_of(tmp_path, BERLINITE + "relax: {mode: fixed-bottom}\n"))
    for proposal in made.proposals:
        assert bool(proposal.candidate.frozen_atoms) == (proposal.candidate.kind == "slab")


def test_ordered_cells_are_candidates_of_a_run(tmp_path: Path) -> None:
    from pymatgen.core import Lattice, Structure

    mixed = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.2), [{"Li+": 0.5, "Co3+": 0.5}, "O2-"], [(0, 0, 0), (0.5, 0.5, 0.5)]
    )
    mixed.to(str(tmp_path / "mixed.cif"))
    text = """\
study: mixed
structure: mixed.cif
candidates:
  ordering: {cells: 2, seed: 3, supercell: [1, 1, 2]}
  surfaces:
    - {miller: [1, 0, 0], thickness_ang: 4, reconstruct: true}
nmr:
  isotopes: [7Li]
matching: {always_present: [bulk]}
"""
    candidates = build_candidates(study_of(tmp_path, text))
    bulks = [candidate for candidate in candidates if candidate.kind == "bulk"]
    assert [bulk.name for bulk in bulks] == ["mixed-o0", "mixed-o1"]
    assert all(bulk.structure.formula == "LiCoO2" for bulk in bulks)
    slabs = [candidate for candidate in candidates if candidate.kind == "slab"]
    assert {slab.parent for slab in slabs} == {bulk.name for bulk in bulks}
    assert all(abs(slab.structure.total_charge) < 1e-6 for slab in slabs)
    by_chance = build_candidates(study_of(tmp_path, text.replace("cells: 2,", "cells: 1, rank: quasirandom,")))
    assert [candidate.name for candidate in by_chance if candidate.kind == "bulk"] == ["mixed-o0"]
    assert all(abs(candidate.structure.total_charge) < 1e-6 for candidate in by_chance)
    with pytest.raises(StudyContentError, match="cells: 2"):
        build_candidates(
            study_of(tmp_path, text.replace("  ordering: {cells: 2, seed: 3, supercell: [1, 1, 2]}\n", ""))
        )


def test_interfaces_are_candidates_of_a_run(tmp_path: Path) -> None:
    coating = """\
study: coating
crystal: LiCl
candidates:
  bulk: false
  interfaces:
    - {film: LiF, film_miller: [1, 0, 0], film_thickness_ang: 4, miller: [1, 0, 0], thickness_ang: 5, n_shifts: 2,
       max_area_ang2: 125}
nmr:
  isotopes: [7Li]
"""
    study = study_of(tmp_path, coating)
    (interface,) = build_candidates(study)
    assert interface.interface_record is not None
    assert interface.parent == "LiF on LiCl"
    run = run_folder(study, tmp_path / "study.yaml")
    start(run, study, tmp_path / "study.yaml", say=lambda text: None)
    jobs = [job.name for job in snapshot(run.controller()).jobs]
    assert jobs == [f"relax {interface.name}", f"plan sites {interface.name}"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("miller: [1, 0, 0]", "miller: [0, 0, 0]", r"\(0, 0, 0\) is no facet; .* for example \[1, 0, 0\]"),
        ("miller: [1, 0, 0]", "max_miller: 0", "candidates.surfaces.0..max_miller"),
        ("miller: [1, 0, 0]", "miller: [1, 0, 0]\n      max_miller: 1", "exactly one of them"),
        ("thickness_ang: 4", "thickness_ang: 30\n      max_atoms: 100", "the nearest that fits is .* with 84 atoms"),
        (
            "thickness_ang: 4",
            "thickness_ang: 4\n      max_atoms: 33",
            "more than the 33 allowed.* a budget of 42 atoms",
        ),
        ("[0, 1.0]", "[0, 0.3]", "coverage 0.3 is no whole number of OH .*nearest is 0.5"),
        (
            "{kind: molecular_water, max_variants: 1}\n",
            "{kind: molecular_water, coverage: 0.25}\n",
            r"decorations\[0\] \(molecular_water\): coverage 0.25 .* use 0.5, or the supercell \(2, 1\)",
        ),
        ("{kind: molecular_water, max", "{kind: molecular_watr, max", "unknown kind 'molecular_watr', did you mean"),
        ("{kind: molecular_water, max", "{kind: fragment, molecule: ethre, max", "ethre"),
        ("keep: [t0]", "keep: [t7]", "no termination 't7'"),
        ("AlPO4_berlinite", "LATP_x0.3", r"add 'ordering: \{cells: 2\}' to candidates"),
        ("candidates:\n", "candidates:\n  ordering: {cells: 2}\n", "take 'ordering' out"),
        ("candidates:\n", "candidates:\n  max_candidates: 4\n", "set max_candidates: 8"),
        ("27Al, 1H", "27Al, 6Li", "no candidate holds 6Li"),
        ("[extxyz]", "[xyz]", "export.formats"),
        (
            "candidates:\n",
            "candidates:\n  interfaces:\n    - {film: LiF, film_miller: [1, 0, 0], miller: [1, 0, 0], "
            "max_strain: 0.001, max_area_ang2: 60}\n",
            r"interfaces\[0\]: LiF on AlPO4_berlinite: no common cell .* smallest strain found is",
        ),
        (
            "candidates:\n",
            "candidates:\n  interfaces:\n    - {film: LiFF, film_miller: [1, 0, 0], miller: [1, 0, 0]}\n",
            "did you mean 'LiF'",
        ),
    ],
)
def test_what_does_not_fit_is_one_message_with_the_nearest_that_does(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    old: str,
    new: str,
    told: str,
) -> None:
    assert old in BERLINITE
    path = study_file(tmp_path, BERLINITE.replace(old, new, 1))
    assert call(monkeypatch, str(path), "--plan") == EXIT_BAD_INPUT
    message = capsys.readouterr().err
    assert re.search(told, message, re.DOTALL), message
    assert message.startswith("surfshift: ")
    assert "Traceback" not in message
    assert {entry.name for entry in tmp_path.iterdir()} == {"study.yaml"}


def test_an_unknown_format_is_told_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, str(study_file(tmp_path, BERLINITE)), "--export", "poscarr") == EXIT_BAD_INPUT
    assert "unknown format 'poscarr', did you mean 'poscar'?" in capsys.readouterr().err


def test_what_fits_some_facets_only_is_named_for_the_others(tmp_path: Path) -> None:
    text = BERLINITE.replace("miller: [1, 0, 0]", "max_miller: 1").replace(
        "      keep: [t0]\n", "      max_atoms: 40\n"
    )
    text = text.replace("hydroxylation: [0, 1.0]", "hydroxylation: [0]")
    made = propose(study_of(tmp_path, text))
    facets = {proposal.candidate.miller for proposal in made.proposals}
    assert (1, 0, 0) in facets
    assert any("more than the 40 allowed" in line for line in made.left_out)
    assert all(len(proposal.candidate.structure) <= 40 for proposal in made.proposals)
    with pytest.raises(StudyError, match="use 'keep' with 'miller'"):
        study_of(tmp_path, BERLINITE.replace("miller: [1, 0, 0]", "max_miller: 1"))
    with pytest.raises(StudyContentError, match="carbonate"):
        propose(
            study_of(tmp_path, BERLINITE.replace("{kind: molecular_water, max_variants: 1}\n", "{kind: carbonate}\n"))
        )


@pytest.mark.slow
def test_a_ranking_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    path = study_file(tmp_path, LITHIUM_FLUORIDE)
    energies = tmp_path / "fluoride-structures" / "energies"
    command = [
        sys.executable,
        "-c",
        "from surfshift.workflows.cli import main; main()",
        "structures",
        str(path),
        "--unrelaxed",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 300
    while not list(energies.glob("*.json")) and running.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    first = {file: file.stat().st_mtime_ns for file in energies.glob("*.json")}
    assert first
    assert not (tmp_path / "fluoride-structures" / "candidates.csv").exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {file: file.stat().st_mtime_ns for file in first} == first
    found = candidates_in(tmp_path / "fluoride-structures")
    # LiF cleaves at (100), whose surface energy is 0.3 to 0.4 J/m2 with PBE
    values = {name: entry["surface_energy"]["low_j_m2"] for name, entry in found.items() if entry["facet"]}
    assert 0.2 < values["LiF(100)-t0"] < 0.6
    assert values["LiF(110)-t0"] > 1.5 * values["LiF(100)-t0"]
    assert [words.split()[1:] for words in found["LiF(100)-t0"]["surface_energy"]["balance"]] == [["LiF"]]
    assert "J/m2" in done.stdout


def test_damaged_energies_are_computed_again(tmp_path: Path) -> None:
    from ase.calculators.lj import LennardJones
    from surfshift.structures.enumeration import bulk_candidate
    from surfshift.workflows.ranking import EnergyStore
    from surfshift.workflows.study import RelaxSettings

    bulk = bulk_candidate("LiF")

    def store(**change: Any) -> EnergyStore:
        return EnergyStore(
            tmp_path, RelaxSettings(**change), is_relaxed=False, calculator=LennardJones(), calculator_name="lj"
        )

    first = store()
    record = first.energy(bulk)
    assert first.n_computed == 1
    again = store()
    assert again.energy(bulk) == record
    assert again.n_computed == 0
    (file,) = tmp_path.glob("*.json")
    file.write_text(file.read_text(encoding="utf-8")[:40], encoding="utf-8")
    assert again.energy(bulk) == record
    assert again.n_computed == 1
    moved = bulk.model_copy(update={"structure": bulk.structure.moved_to(bulk.structure.cart_coords * 1.001)})
    again.energy(moved)
    assert again.n_computed == 2
