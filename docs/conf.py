"""Sphinx: how the pages of this folder become a site. Built with ``make docs``; every warning is an error."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, cast

sys.path.insert(0, str(Path(__file__).parent))

import make_reference_pages
from pygments.lexers.special import TextLexer

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "surfshift"
author = "The surfshift developers"
project_copyright = author
version = release = installed_version("surfshift")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# Pages that are made by the build are .myst, so that the tests of the code in docs/*.md do not read them.
source_suffix = {".md": "markdown", ".myst": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
# Words that are both a module's own name and an attribute elsewhere; they stay plain text where they are ambiguous.
suppress_warnings = ["ref.python"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": False}
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"surfshift {version}"
html_show_sourcelink = False
html_static_path: list[str] = []
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"


def _benchmarks_are_a_page(app: Sphinx, name: str, source: list[str]) -> None:
    """Links to the benchmarks lead to their page in the site."""
    source[0] = source[0].replace("../benchmarks/README.md", "_generated/benchmarks.myst")


def _plain_bars(*event: object) -> None:
    """A bar in a docstring is a magnitude, not a substitution of reStructuredText; code keeps its bars."""
    lines = cast("list[str]", event[-1])
    for number, line in enumerate(lines):
        parts = line.split("``")
        parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
        lines[number] = "``".join(parts)


def _plain_types(*event: object) -> None:
    """The types that napoleon took from annotations must not end like a link of reStructuredText."""
    lines = cast("list[str]", event[-1])
    lines[:] = [line.replace("np.bool_", "np.bool") for line in lines]


def setup(app: Sphinx) -> None:
    """Make the reference pages before the sources are read."""
    make_reference_pages.write_pages(Path(app.srcdir) / "_generated")
    app.add_lexer("csv", TextLexer)
    app.connect("source-read", _benchmarks_are_a_page)
    app.connect("autodoc-process-docstring", _plain_bars, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", _plain_types, priority=600)  # after it
