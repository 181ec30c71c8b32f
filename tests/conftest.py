"""What all tests share: property-test settings, figures without a screen, and the reference data beside the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")
# Tests compute what they check; a test of the cache names a folder of its own.
os.environ["SURFSHIFT_CACHE"] = "off"

# No deadline: how long a test takes says more about the machine than about the code.
settings.register_profile("surfshift", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("surfshift")


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """Top folder of the project."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data(repo_root: Path) -> Path:
    """Folder of published reference files, which lies beside the project and is not part of it."""
    folder = repo_root.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the reference data (../shared/data) are not beside this checkout")
    return folder
