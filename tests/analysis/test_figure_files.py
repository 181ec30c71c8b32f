"""A figure is written, or the caller's own error says why not."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from surfshift.analysis.figure_files import save_figure
from surfshift.structures.errors import SurfshiftError


class DrawingError(SurfshiftError):
    """Of this test."""


def test_a_figure_is_written(tmp_path: Path) -> None:
    target = save_figure(Figure(figsize=(1, 1)), tmp_path / "figure.png", DrawingError)
    assert target.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["nowhere/figure.png", "figure.unknown"])
def test_what_cannot_be_written_is_the_callers_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(DrawingError, match=r"cannot write the picture .*give a PNG"):
        save_figure(Figure(figsize=(1, 1)), tmp_path / name, DrawingError)
