"""Runs the code of README.md and docs/ as tests, each document in a folder of its own.

- ``python`` blocks run in one namespace per document; ``>>>`` examples compare their output.
- ``console`` blocks run each line that starts with ``$`` and compare what is printed; ``...`` stands for any text.
- a block whose first line is ``# NAME.yaml`` or ``# NAME.csv`` is written to that file, for the blocks after it.
- ``sh`` and ``text`` blocks are only read: they take minutes or need a cluster.

The folder holds a copy of ``examples/``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

if TYPE_CHECKING:
    from sybil import Example

ROOT = Path(__file__).parent
FLAGS = ELLIPSIS | NORMALIZE_WHITESPACE
# The same entry point, for a checkout that is on the path without being installed.
NOT_INSTALLED = f"surfshift() {{ '{sys.executable}' -c 'from surfshift.workflows.cli import main; main()' \"$@\"; }}\n"


def enter_folder(namespace: dict[str, Any]) -> None:
    """Start a document in an empty folder with a copy of the examples."""
    folder = tempfile.TemporaryDirectory(prefix="surfshift-docs-")
    namespace.update(_folder=folder, _came_from=Path.cwd())
    if (ROOT / "examples").is_dir():
        shutil.copytree(ROOT / "examples", Path(folder.name) / "examples", ignore=shutil.ignore_patterns("*-run"))
    os.chdir(folder.name)


def leave_folder(namespace: dict[str, Any]) -> None:
    """Go back and remove the document's folder."""
    os.chdir(namespace["_came_from"])
    namespace["_folder"].cleanup()


def run_console(example: Example) -> str | None:
    """Run the commands of a console block; a text is a failure, told to the reader."""
    commands = re.split(r"^\$ ", str(example.parsed), flags=re.MULTILINE)
    if commands[0].strip():
        return f"the block must start with '$ ', not with {commands[0]!r}"
    search_path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    preamble = "" if shutil.which("surfshift", path=search_path) else NOT_INSTALLED
    for block in commands[1:]:
        command, _, expected = block.partition("\n")
        done = subprocess.run(
            ["bash", "-c", preamble + command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PATH": search_path, "COLUMNS": "100", "NO_COLOR": "1"},
            text=True,
            check=False,
        )
        if not OutputChecker().check_output(expected.strip() + "\n", done.stdout.strip() + "\n", FLAGS):
            return f"{command}\nexpected:\n{expected}\nprinted (exit code {done.returncode}):\n{done.stdout}"
    return None


def write_file(example: Example) -> None:
    """Write a block that starts with the comment ``# NAME`` to the file NAME."""
    text = str(example.parsed)
    named = re.match(r"# ([\w.-]+\.(?:yaml|csv))\n", text)
    if named:
        Path(named.group(1)).write_text(text, encoding="utf-8")


pytest_collect_file = Sybil(
    parsers=[
        PythonCodeBlockParser(doctest_optionflags=FLAGS),
        CodeBlockParser(language="console", evaluator=run_console),
        CodeBlockParser(language="yaml", evaluator=write_file),
        CodeBlockParser(language="csv", evaluator=write_file),
    ],
    patterns=["README.md", "docs/*.md"],
    setup=enter_folder,
    teardown=leave_folder,
).pytest()
