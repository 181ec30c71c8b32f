"""Whether a CASTEP run finished, as its .castep file says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from surfshift.analysis.tensor_files import errors, magres_text, read_tensors
from surfshift.analysis.tensor_files.castep import parse_castep_output

if TYPE_CHECKING:
    from pathlib import Path

    from surfshift.analysis.tensor_files import PeriodicTensors


def test_a_finished_run(texts: dict[str, str]) -> None:
    run = parse_castep_output(texts["castep"])
    assert (run.version, run.total_seconds) == ("24.1", 815.7)


NO_SCF = "*Warning* max. SCF cycles performed but system has not reached the groundstate.\n"
NO_RESPONSE = "Calculation of first order wavefunctions not fully converged.\n"


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("Total time", "Time", errors.TruncatedOutputError),
        ("815.70", "******", errors.BadNumberError),
        ("CASTEP", "CP2K", errors.UnreadableFileError),
        ("type of", NO_SCF, errors.UnconvergedOutputError),
        ("type of", NO_RESPONSE, errors.UnconvergedResponseError),
    ],
)
def test_an_unfinished_run_is_refused_by_name(
    texts: dict[str, str], old: str, new: str, kind: type[errors.TensorFileError]
) -> None:
    with pytest.raises(kind):
        parse_castep_output(texts["castep"].replace(old, new))


def test_a_folder_needs_its_castep_file_to_be_finished(
    run: PeriodicTensors, texts: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "x.magres").write_text(magres_text(run))
    assert read_tensors(tmp_path).elements == run.elements
    (tmp_path / "x.castep").write_text(texts["castep"].replace("Total time", ""))
    with pytest.raises(errors.TruncatedOutputError, match=r"x\.castep"):
        read_tensors(tmp_path)
    (tmp_path / "y.magres").write_text("")
    with pytest.raises(errors.UnreadableFileError, match=r"2 \.magres files"):
        read_tensors(tmp_path)


def test_unknown_paths(tmp_path: Path) -> None:
    with pytest.raises(errors.UnreadableFileError, match="check the path"):
        read_tensors(tmp_path / "none.magres")
    with pytest.raises(errors.UnreadableFileError, match="check the path"):
        read_tensors(tmp_path / "none.txt")
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(errors.UnreadableFileError, match="give the folder"):
        read_tensors(tmp_path / "file.txt")
    (tmp_path / "OUTCAR.gz").write_bytes(b"not packed")
    with pytest.raises(errors.UnreadableFileError, match="copy it again"):
        read_tensors(tmp_path)
