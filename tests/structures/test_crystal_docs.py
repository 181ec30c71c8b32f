"""The table of docs/crystals.md against the library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from surfshift.structures.library import crystal_names, disordered_crystal_names, load_crystal

if TYPE_CHECKING:
    from pathlib import Path


def test_documented_table_is_the_library(repo_root: Path) -> None:
    lines = (repo_root / "docs" / "crystals.md").read_text(encoding="utf-8").splitlines()
    start = lines.index("|---|---|---|---|---|---|") + 1
    documented = lines[start : lines.index("", start)]
    expected = [
        f"| {crystal.name} | {crystal.formula} | {crystal.space_group} | "
        f"{'ordered' if crystal.is_ordered else 'disordered'} | {crystal.grade} | {crystal.source} |"
        for crystal in map(load_crystal, (*crystal_names(), *disordered_crystal_names()))
    ]
    assert documented == expected
