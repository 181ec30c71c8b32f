"""Pages that the documentation makes from the code: commands, protocols, API, benchmarks, changes, gallery.

They are written to ``docs/_generated``, which is not under version control.
"""

from __future__ import annotations

import html
import importlib
import json
import pkgutil
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "structures": "Crystals, slabs, terminations and decorations.",
    "analysis": "References, lines, the fit, the report, coatings and thermodynamics.",
    "workflows": "Study files, engines, jobs, the queue and clusters.",
    "hpc_templates": "Project files of the queue and workers of centres.",
}
PROTOCOLS = {
    "cluster": "The embedded NMR engine",
    "vasp": "VASP",
    "castep": "CASTEP",
    "qe": "Quantum ESPRESSO with GIPAW",
    "cp2k": "CP2K, relaxations",
    "pw": "pw.x, relaxations",
}
GALLERY = {
    "berlinite-dry": ("Berlinite (100), dry", "candidates"),
    "berlinite-hydroxylated": ("The same termination with split water", "candidates"),
    "berlinite-water": ("With whole molecules of water", "decorations"),
    "berlinite-reconstructed": ("A polar facet after moving ions", "slabs"),
    "berlinite-silane": ("With a grafted silane", "decorations"),
    "ltp-012": ("LiTi2(PO4)3 (012): every phosphate stays whole", "slabs"),
    "li3incl6-001": ("Li3InCl6 (001)", "slabs"),
    "llzo-exchange": ("LLZO in moist air: protons for lithium", "candidates"),
    "llzo-carbonate": ("LLZO with carbonate", "candidates"),
    "coating": ("A coating on an electrolyte", "interfaces"),
    "coatings-page": ("The page of a screening", "coatings"),
    "coatings-lines": ("NMR lines of reaction products", "coatings"),
    "view-page": ("A study in the browser: sliders move the model", "view"),
    "matching-reliability": ("How often stated intervals hold", "matching"),
    "thermodynamics-map": ("The stable termination by temperature and humidity", "thermodynamics"),
}

# Units by the ending of a key, the longest ending first.
UNITS = {
    "_per_ang": "1/Å",
    "_hartree": "Hartree",
    "_ang": "Å",
    "_ev": "eV",
    "_ry": "Ry",
    "_ppm": "ppm",
    "_percent": "%",
}


def write_pages(folder: Path) -> None:
    """Write every page; a page whose text is unchanged keeps its date, so that it is not built again."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        "cli.myst": commands_page(),
        "protocols.myst": protocols_page(),
        "gallery.myst": gallery_page(),
        "changelog.myst": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "benchmarks.myst": benchmarks_page(),
        **notebook_pages(),
        **api_pages(),
    }
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for stale in {p.name for p in folder.iterdir()} - set(pages):
        (folder / stale).unlink()


def commands_page() -> str:
    """Every command with its arguments and options, from the command line itself."""
    from surfshift.workflows.cli import app
    from typer import Context
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    command = get_command(app)
    text = get_docs_for_click(obj=command, ctx=Context(command, info_name="surfshift"), name="surfshift")
    text = html.unescape(text).replace("```console", "```text")
    return text.replace("# `surfshift`", "# Commands", 1)


def benchmarks_page() -> str:
    """The benchmarks, with links that lead to files of the repository shown as their names."""
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").replace("](../docs/images/", "](../images/")
    return re.sub(r"\]\(\.\./docs/([\w-]+)\.md(#[\w-]+)?\)", r"](../\1.md\2)", text)


@dataclass(frozen=True)
class Setting:
    """A number of a protocol: its key, unit and what the comment beside it says."""

    key: str
    unit: str
    meaning: str


def settings_of(text: str) -> tuple[Setting, ...]:
    """The settings of the ``defaults`` block of a protocol file, with the comments beside them."""
    block = re.search(r"^defaults:\n((?:[ ]{2}.*\n)+)", text, flags=re.MULTILINE)
    found = []
    for line in block.group(1).splitlines() if block else ():
        parts = re.fullmatch(r"  (\w+):\s*(.*?)(?:\s+#\s*(.*))?", line)
        if parts:
            key = parts.group(1)
            unit = next((unit for ending, unit in UNITS.items() if key.endswith(ending)), "")
            found.append(Setting(key, unit, parts.group(3) or ""))
    return tuple(found)


def protocols_page() -> str:
    """Tables of every protocol: each number with its unit, and where a protocol differs."""
    lines = [
        "# Protocols",
        "",
        "A protocol names all numbers that a tensor or a relaxation depends on. Its hash is part of every result, so",
        "that two protocols of one name are never mixed. A dash means: as in the defaults.",
    ]
    folder = resources.files("surfshift.workflows.protocols")
    for name, title in PROTOCOLS.items():
        text = folder.joinpath(f"{name}.yaml").read_text(encoding="utf-8")
        data = yaml.safe_load(text)
        protocols = data["protocols"]
        lines += ["", f"## {title}", ""]
        lines += [f"- **{key}**: {protocol['description']}" for key, protocol in protocols.items()]
        lines += ["", f"| setting | unit | default | {' | '.join(protocols)} | meaning |"]
        lines += ["|" + "---|" * (4 + len(protocols))]
        for setting in settings_of(text):
            default = data["defaults"][setting.key]
            own = [_shown(p[setting.key]) if setting.key in p else "–" for p in protocols.values()]
            cells = [f"`{setting.key}`", setting.unit, _shown(default), *own, _cell(setting.meaning)]
            lines.append(f"| {' | '.join(cells)} |")
        told = {key: p["convergence"] for key, p in protocols.items() if "convergence" in p}
        if told:
            lines += ["", "How to see whether it is converged:", ""]
            lines += [f"- **{key}**: {_cell(advice)}" for key, advice in told.items()]
    return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    return _cell(" × ".join(map(str, value)) if isinstance(value, list) else str(value))


def _cell(text: str) -> str:
    """A text as a cell of a Markdown table."""
    return html.escape(text, quote=False).replace("|", r"\|").replace("*", r"\*").replace("_", r"\_")


def gallery_page() -> str:
    """Pictures that the project made, each with the page that explains it.

    Raises
    ------
    FileNotFoundError
        If a picture is missing, or one of the folder is not in the gallery.
    """
    present = {path.stem for path in (ROOT / "docs" / "images").glob("*.png")}
    if missing := set(GALLERY) - present:
        raise FileNotFoundError(f"the gallery names {sorted(missing)}, which docs/images does not hold")
    lines = ["# Gallery", "", "Every picture is made by a command of this project; the page beside it says how.", ""]
    for name in [*GALLERY, *sorted(present - set(GALLERY))]:
        title, page = GALLERY.get(name, (name.replace("-", " "), "candidates"))
        lines += [f"## {title}", "", f"![{title}](../images/{name}.png)", "", f"From [](../{page}.md).", ""]
    return "\n".join(lines)


def notebook_pages() -> dict[str, str]:
    """One page per notebook: its texts and its code. The tests run them; results are not stored."""
    pages = {}
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        lines = []
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            text = "".join(cell["source"])
            lines += [text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```", ""]
        lines += [f"This page is the notebook `docs/notebooks/{path.name}` of the repository, which the tests run.", ""]
        pages[f"notebook-{path.stem}.myst"] = "\n".join(lines)
    return pages


def api_pages() -> dict[str, str]:
    """One page per folder and subfolder of modules, and their list."""
    pages: dict[str, str] = {}
    tops = []
    for folder, summary in PACKAGES.items():
        root = importlib.import_module(f"surfshift.{folder}")
        groups: dict[str, list[str]] = {root.__name__: []}
        for module in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
            if module.ispkg:
                groups.setdefault(module.name, [])
            elif not module.name.rpartition(".")[2].startswith("_"):
                groups.setdefault(module.name.rpartition(".")[0], []).append(module.name)
        for package, modules in groups.items():
            if modules or package == root.__name__:
                pages[f"{package.replace('.', '-')}.rst"] = _api_page(package, sorted(modules))
        tops.append((folder, summary, [g for g, modules in groups.items() if modules or g == root.__name__]))
    lines = [
        "# API",
        "",
        "Every public module. What passes between folders are the models of `surfshift.structures.vocabulary` and",
        "`surfshift.analysis.vocabulary`, see [architecture and vocabulary](../architecture.md).",
    ]
    for folder, summary, groups in tops:
        lines += ["", f"## {folder}", "", summary, "", "```{toctree}", ":maxdepth: 1", ""]
        lines += [package.replace(".", "-") for package in groups]
        lines += ["```"]
    pages["api.myst"] = "\n".join(lines) + "\n"
    return pages


def _api_page(package: str, modules: list[str]) -> str:
    title = f"``{package}``"
    lines = [title, "=" * len(title), "", f".. automodule:: {package}", "   :no-members:", ""]
    for module in modules:
        heading = module.removeprefix(f"{package}.")
        lines += [heading, "-" * len(heading), "", f".. automodule:: {module}", ""]
    return "\n".join(lines)
