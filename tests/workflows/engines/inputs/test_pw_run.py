"""pw.x really takes the written input: a pseudopotential made by ld1.x, a small cell, and the output read back."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from surfshift.analysis.tensor_files import errors, match_atoms, read_pw_output
from surfshift.analysis.tensor_files.qe import parse_pw_output
from surfshift.structures.vocabulary import AtomicStructure, Candidate, Region
from surfshift.workflows.engines.inputs import qe_inputs, qe_protocol, read_upf
from surfshift.workflows.engines.periodic import PeriodicSettings, compute_periodic

if TYPE_CHECKING:
    from pathlib import Path

LD1_INPUT = """&input
  title='H', zed=1., rel=1, config='1s1 2p0', iswitch=3, dft='PBE'
/
&inputp
  lpaw=.false., pseudotype=1, file_pseudopw='H.pbe-tm-gipaw.UPF', lloc=0, tm=.true., lgipaw_reconstruction=.true.
/
1
1S 1 0 1.00 0.00 1.20 1.20 0.0
&test
/
2
1S 1 0 1.00 0.00 1.20 1.20 0.0
2P 2 1 0.00 0.10 1.20 1.20 0.0
"""
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


def run(program: str, text: str, folder: Path) -> str:
    done = subprocess.run(
        [program], input=text, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def pseudo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (shutil.which("pw.x") and shutil.which("ld1.x")):
        pytest.skip("Quantum ESPRESSO (pw.x and ld1.x) is not installed")
    folder = tmp_path_factory.mktemp("pseudo")
    printed = run("ld1.x", LD1_INPUT, folder)
    assert (folder / "H.pbe-tm-gipaw.UPF").is_file(), printed[-2000:]
    return folder


def hydrogen(*, is_slab: bool) -> Candidate:
    """A hydrogen molecule in a box; as a slab it has vacuum and a formal dipole along the third vector."""
    structure = AtomicStructure(
        lattice_ang=((4.0, 0.0, 0.0), (0.0, 4.2, 0.0), (0.0, 0.0, 5.0)),
        elements=("H", "H"),
        frac_coords=((0.1, 0.2, 0.3), (0.1, 0.28, 0.43)),
        oxidation_states=(1.0, -1.0),
        periodic=(True, True, not is_slab),
    )
    return Candidate(
        name="H2",
        kind="slab" if is_slab else "bulk",
        structure=structure,
        parent="H2",
        miller=(0, 0, 1) if is_slab else None,
        regions=(Region.BULK,) * 2,
        dipole_e_ang=0.6 if is_slab else 0.0,
    )


@pytest.mark.parametrize("is_slab", [False, True])
def test_pw_runs_the_written_input_and_its_output_is_read(pseudo: Path, tmp_path: Path, is_slab: bool) -> None:
    assert read_upf(pseudo / "H.pbe-tm-gipaw.UPF").has_gipaw
    candidate = hydrogen(is_slab=is_slab)
    protocol = qe_protocol("fast", cutoff_ry=20.0, kpoint_spacing_per_ang=0.5, scf_tolerance_ry=1e-6)
    inputs = qe_inputs(candidate, protocol, pseudo)
    output = run("pw.x", inputs.files["nmr-scf.in"], tmp_path)
    (tmp_path / "nmr-scf.out").write_text(output)
    result = read_pw_output(tmp_path / "nmr-scf.out")
    assert match_atoms(candidate.structure, result, tolerance_ang=1e-4).is_identity
    np.testing.assert_allclose(result.lattice, candidate.structure.lattice, atol=1e-4)
    assert (result.functional, result.n_electrons) == ("pbe", 2.0)
    assert result.cutoff_ev == pytest.approx(20.0 * 13.605693, abs=1e-3)
    # the molecule is bound: below twice the atom's -12.49 eV, above the complete-basis -31.7 eV of PBE
    assert -33.0 < result.energy_ev < -25.0
    with pytest.raises(errors.TruncatedOutputError):
        parse_pw_output(output[: int(0.9 * len(output))].replace("JOB DONE", ""))


def test_an_unconverged_run_is_refused(pseudo: Path, tmp_path: Path) -> None:
    protocol = qe_protocol("fast", cutoff_ry=20.0, kpoint_spacing_per_ang=0.5, scf_tolerance_ry=1e-12, max_scf_cycles=2)
    output = run("pw.x", qe_inputs(hydrogen(is_slab=False), protocol, pseudo).files["nmr-scf.in"], tmp_path)
    with pytest.raises(errors.UnconvergedOutputError, match="electron_maxstep"):
        parse_pw_output(output)


def test_a_real_ground_state_is_not_computed_twice_for_the_response(
    pseudo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pw.x and the pseudopotential are real; gipaw.x is not installed, and its stand-in never converges."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    real = shutil.which("pw.x")
    for name, body in (
        ("pw.x", f'exec {real} "$@"'),
        (
            "gipaw.x",
            'grep conv_threshold "$2" >> thresholds\n'
            'printf "     Program GIPAW v.7.4 starts\\n     cgsolve_all: root not converged\\n"\nexit 1',
        ),
    ):
        (bin_folder / name).write_text(f'#!/bin/sh\necho start >> "{tmp_path}/{name}.starts"\n{body}\n')
        (bin_folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    monkeypatch.setenv("SURFSHIFT_UPF_DIR", str(pseudo))
    numbers: dict[str, float | str] = {"cutoff_ry": 25.0, "kpoint_spacing_per_ang": 0.9}
    settings = PeriodicSettings(engine="qe", protocol="fast", numbers=numbers)
    for n_tries in (1, 2):  # the second try of the job goes on with the response
        with pytest.raises(errors.UnconvergedResponseError, match="tried were: as the protocol says, ten times the"):
            compute_periodic(hydrogen(is_slab=False), settings, tmp_path / "work")
        assert (tmp_path / "pw.x.starts").read_text().split() == ["start"]
        thresholds = [
            line.split("=")[1].strip() for line in (tmp_path / "work" / "thresholds").read_text().splitlines()
        ]
        assert thresholds == ["1d-14", "1d-13"] * n_tries
    assert read_pw_output(tmp_path / "work" / "nmr-scf.out").elements == ("H", "H")
