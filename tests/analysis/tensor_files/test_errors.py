"""Every refusal has a meaning and a reaction, and the table in docs/engines.md says the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from surfshift.analysis.tensor_files import errors

if TYPE_CHECKING:
    from pathlib import Path

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.TensorFileError)]
NAMED = [kind for kind in KINDS if kind is not errors.TensorFileError]


@pytest.mark.parametrize("kind", NAMED)
def test_documented_as_in_the_code(kind: type[errors.TensorFileError], repo_root: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", (repo_root / "docs" / "engines.md").read_text(), re.MULTILINE)
    table = {name: (meaning, reaction) for name, meaning, reaction in rows}
    meaning = (kind.__doc__ or "").strip().rstrip(".").replace("``", "`")
    assert table[kind.__name__] == (meaning[0].lower() + meaning[1:], kind.reaction)


def test_every_reaction_is_its_own() -> None:
    assert len({kind.reaction for kind in NAMED}) == len(NAMED) == 13
