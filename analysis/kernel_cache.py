"""Arrays that are dear to compute, kept in the user's cache folder.

A file's name carries a hash of everything the arrays depend on, so another version never reads it. Files are
written beside their place and moved into it in one step: several processes may build the same table at once, and
each reader sees a whole file or none. A folder that cannot be written only costs the time of building again.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CACHE_VARIABLE = "SURFSHIFT_CACHE_DIR"
"""Environment variable that names another cache folder."""


def cache_folder() -> Path:
    """The folder of cached arrays: ``SURFSHIFT_CACHE_DIR``, else the platform's place for caches."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "surfshift"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home() / "AppData" / "Local"))) / "surfshift" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "surfshift"


def stored(name: str, key: str, build: Callable[[], dict[str, NDArray[np.generic]]]) -> dict[str, NDArray[np.generic]]:
    """Arrays of a name under a key, read from the cache or built and kept there."""
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = cache_folder() / f"{name}-{digest}.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            return {entry: file[entry] for entry in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        pass
    arrays = build()
    _write(path, arrays)
    return arrays


def _write(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as handle:
            temporary = Path(handle.name)
            np.savez(handle, **arrays)  # type: ignore[arg-type]
        temporary.replace(path)
    except OSError:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
