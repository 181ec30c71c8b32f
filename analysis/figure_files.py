"""Writing a figure to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..structures.errors import SurfshiftError


def save_figure(figure: Figure, path: Path | str, error_type: type[SurfshiftError], **options: Any) -> Path:
    """Write a figure and return where it is; ``options`` go to ``Figure.savefig``.

    Raises
    ------
    error_type
        If the file cannot be written.
    """
    target = Path(path)
    try:
        figure.savefig(target, **options)
    except (OSError, ValueError) as error:
        raise error_type(f"cannot write the picture {target}: {error}; give a PNG in a folder that exists") from error
    return target
