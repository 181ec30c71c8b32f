"""surfshift motion: real runs on the queue, killed and taken up again, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
from surfshift.structures.importing import read_structure
from surfshift.workflows.cli import main
from surfshift.workflows.glass import Glass, make_glass
from surfshift.workflows.packing import random_phosphate
from surfshift.workflows.pair_potential import aluminophosphate_calculator
from surfshift.workflows.queue.processes import processes_in
from surfshift.workflows.queue.store import close_clients

if TYPE_CHECKING:
    from pathlib import Path

GLASS = ["motion", "glass", "AlPO4", "--n-phosphorus", "4", "--density", "2.0", "--model", "pair", "--relax-model"]
GLASS += ["pair", "--melt-steps", "500", "--quench-steps", "2500", "--relax-steps", "20", "--folder", "glass"]

CUBIC_AL = """\
data_Al
_cell_length_a 3.994
_cell_length_b 3.994
_cell_length_c 3.994
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Al1 Al 0 0 0
"""


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["surfshift", *arguments])
    try:
        main()
    except SystemExit as done:
        return int(done.code or 0)
    return 0


def test_a_glass_that_was_killed_goes_on_to_the_end_it_would_have_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "from surfshift.workflows.cli import main; main()"
    runner = subprocess.Popen(
        [sys.executable, "-c", code, *GLASS], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300.0
    while not (logs := list(tmp_path.glob("glass/jobs/**/quench/log.csv"))) or len(logs[0].read_text().split()) < 4:
        assert runner.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    runner.kill()
    runner.wait()
    killed = [process for found in processes_in(tmp_path / "glass" / "jobs").values() for process in found]
    assert killed
    for process in killed:
        process.kill()
    assert psutil.wait_procs(killed, timeout=60)[1] == []
    before, begun = logs[0].read_text().split(), (logs[0].parent / "run.json").stat()
    assert 4 <= len(before) < 62
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *GLASS, "--json") == 0
    told = capsys.readouterr()
    assert "was cut off, starts again" in told.err
    found = Glass.model_validate_json(told.out)
    # what was done before the kill was not done again
    after = logs[0].read_text().split()
    assert after[: len(before)] == before
    again = (logs[0].parent / "run.json").stat()
    assert (again.st_ino, again.st_mtime_ns) == (begun.st_ino, begun.st_mtime_ns)
    assert len(after) == 62
    whole = make_glass(
        random_phosphate(4, 2.0, seed=1),
        found.settings,
        tmp_path / "whole",
        aluminophosphate_calculator(),
        aluminophosphate_calculator(),
        models=("pair", "pair"),
    )
    np.testing.assert_allclose(found.quenched.cart_coords, whole.quenched.cart_coords, atol=1e-6)
    # the structure can be given to a study
    assert sorted(read_structure(tmp_path / "glass" / "glass.cif").elements) == sorted(found.structure.elements)
    # more steps of relaxation go on from it, and fewer do not take it back
    longer = [*GLASS[:-3], "60", *GLASS[-2:], "--json"]
    assert call(monkeypatch, *longer) == 0
    further = Glass.model_validate_json(capsys.readouterr().out)
    assert 20 == found.n_relax_steps < further.n_relax_steps <= 60
    assert further.energy_ev < found.energy_ev
    np.testing.assert_array_equal(further.quenched.cart_coords, found.quenched.cart_coords)
    assert (logs[0].parent / "run.json").stat().st_mtime_ns == begun.st_mtime_ns
    assert call(monkeypatch, *GLASS, "--json") == 0
    assert Glass.model_validate_json(capsys.readouterr().out) == further
    # the same command computes nothing more, another glass does not go into the same folder
    assert call(monkeypatch, *GLASS) == 0
    assert call(monkeypatch, *GLASS[:-2], "--seed", "2", *GLASS[-2:]) == 2
    assert "with another structure or other settings" in capsys.readouterr().err
    close_clients(tmp_path / "glass" / "queue")


def test_phonons_of_a_file_are_told_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Al.cif").write_text(CUBIC_AL, encoding="utf-8")
    given = ["motion", "phonons", "Al.cif", "--model", "emt", "--mesh", "4", "4", "4", "--json"]
    assert call(monkeypatch, *given) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert found["vibrations"]["imaginary"] == []
    # four atoms; Dulong and Petit give 24.9 J/(mol K) per atom
    heat = float(told.err.split("Cv ")[1].split()[0]) / 4
    assert 20.0 < heat < 24.9
    assert (tmp_path / "Al-phonons" / "bands.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "Al-phonons" / "phonons.json").read_text(encoding="utf-8")) == found
    close_clients(tmp_path / "Al-phonons" / "queue")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["phonons", "AlPO4_berlinit"], "did you mean 'AlPO4_berlinite'"),
        (["phonons", "AlPO4_berlinite", "--model", "emtt"], "there is no 'emtt'; did you mean 'emt'"),
        (["phonons", "AlPO4_berlinite", "--slab"], "a slab does not repeat along its third axis"),
        (["glass", "LiPN"], "did you mean 'LiPON'"),
        (["glass", "LiPON", "--model", "pair"], "--model pair knows Al, P and O only"),
        (["glass", "LiPON", "--n-nitrogen", "30"], "make no LiPON"),
        (["glass", "AlPO4", "--melt-k", "200"], "is not above the end"),
        (["average", "AlPO4_berlinite", "--isotope", "31P", "--site", "P99"], "P99 is an atom of none"),
        (["average", "AlPO4_berlinite", "--isotope", "31P", "--temperature-k", "-3"], "temperature_k"),
    ],
)
def test_what_means_nothing_is_refused_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "motion", *given) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
