"""Guards of what is shipped: names, versions, dependencies and the built wheel."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("analysis", "hpc_templates", "structures", "workflows")
TOP_LEVEL = {
    ".ci", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in",
    "Makefile", "README.md", "benchmarks", "conftest.py", "constraints.txt", "docs", "examples", "pyproject.toml",
    "tests", *FOLDERS,
}  # fmt: skip
MAX_LINES = 600
# The direction of the project: what each folder may import from its siblings.
MAY_IMPORT = {
    "structures": set(),
    "analysis": {"structures"},
    "hpc_templates": set(),
    "workflows": {"analysis", "hpc_templates", "structures"},
}
# Seconds each; they are imported where they are used, so that the command line answers at once.
HEAVY = {"ase", "matplotlib", "mrsimulator", "plotly", "pymatgen", "pyscf", "sevenn", "torch"}

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def tracked_files() -> list[Path]:
    """Files under version control and new ones that are not ignored; every file of the folders without git."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0 and listed.stdout:
        found = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:
        found = [
            path
            for name in TOP_LEVEL
            for path in [ROOT / name, *(ROOT / name).rglob("*")]
            if not any(part == "__pycache__" or part.endswith("-run") for part in path.parts)
        ]
    return sorted(path for path in found if path.is_file())


FILES = tracked_files()
MODULES = [path for path in FILES if path.suffix == ".py"]
SHIPPED = [path for path in FILES if path.relative_to(ROOT).parts[0] in FOLDERS]


def as_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> list[tuple[str, bool]]:
    """Absolute dotted name of every import of a module, and whether it runs when the module is imported."""
    found: list[tuple[str, bool]] = []
    package = ["surfshift", *path.relative_to(ROOT).parts[:-1]]

    def visit(node: ast.AST, runs: bool) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            runs = False
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for child in node.body:
                visit(child, False)
            for child in node.orelse:
                visit(child, runs)
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, runs) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names = [alias.name for alias in node.names] if node.module is None else [""]
            found.extend((".".join(filter(None, [*base, node.module or "", name])), runs) for name in names)
        for child in ast.iter_child_nodes(node):
            visit(child, runs)

    visit(ast.parse(path.read_text(encoding="utf-8"), filename=str(path)), True)
    return found


def test_declared_packages_are_the_folders_with_an_init() -> None:
    declared = PYPROJECT["tool"]["setuptools"]["packages"]
    present = {
        ".".join(["surfshift", *path.parent.relative_to(ROOT).parts])
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert set(declared) == present
    assert declared == sorted(declared)
    assert PYPROJECT["tool"]["setuptools"]["package-dir"] == {f"surfshift.{name}": name for name in FOLDERS}


def test_every_folder_of_modules_is_a_package() -> None:
    bare = {as_id(path.parent) for path in SHIPPED if not (path.parent / "__init__.py").is_file()}
    assert not bare, f"folders without __init__.py are left out of the wheel: {sorted(bare)}"


def test_top_level_is_the_agreed_one() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == TOP_LEVEL


@pytest.mark.parametrize("path", MODULES, ids=as_id)
def test_no_folder_is_imported_as_a_top_level_name(path: Path) -> None:
    wrong = [name for name, _ in imported(path) if name.split(".")[0] in FOLDERS]
    assert not wrong, f"{as_id(path)} imports {wrong}; write surfshift.NAME, or a relative import inside the project"


@pytest.mark.parametrize("path", [p for p in SHIPPED if p.suffix == ".py"], ids=as_id)
def test_imports_follow_the_direction_of_the_project(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    siblings = {parts[1] for name, _ in imported(path) if (parts := name.split("."))[0] == "surfshift" and parts[1:]}
    assert siblings - {folder} <= MAY_IMPORT[folder]


@pytest.mark.parametrize("path", [p for p in SHIPPED if p.suffix == ".py"], ids=as_id)
def test_heavy_packages_are_imported_where_they_are_used(path: Path) -> None:
    early = [name for name, runs in imported(path) if runs and name.split(".")[0] in HEAVY]
    assert not early, f"{as_id(path)} imports {early} when it is imported; move this into the functions"


@pytest.mark.parametrize("path", MODULES, ids=as_id)
def test_module_fits_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_import_finder_sees_all_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    module = tmp_path / "analysis" / "matching" / "m.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "import torch\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ase\n"
        "def f():\n    import pyscf\nfrom ...workflows.x import y\nfrom .. import lines\nfrom structures import z\n"
    )
    assert imported(module) == [
        ("torch", True),
        ("typing", True),
        ("ase", False),
        ("pyscf", False),
        ("surfshift.workflows.x", True),
        ("surfshift.analysis.lines", True),
        ("structures", True),
    ]


def dependency_lines() -> list[str]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    tables = re.findall(
        r"^(?:dependencies|databases|view|chgnet|docs|dev) = \[\n(.*?)^\]", text, flags=re.MULTILINE | re.DOTALL
    )
    return [line for table in tables for line in table.splitlines() if line.strip()]


def declared_requirements() -> list[Requirement]:
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    return [Requirement(text) for text in [*PYPROJECT["project"]["dependencies"], *(t for e in extras for t in e)]]


def test_every_dependency_says_what_it_is_for() -> None:
    lines = dependency_lines()
    assert len(lines) == len(declared_requirements()), "one dependency per line"
    bare = [line for line in lines if not re.fullmatch(r'\s*"[^"]+",\s+# \w.+', line)]
    assert not bare


def test_constraints_pin_every_dependency_in_its_range() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all([spec.operator for spec in pin.specifier] == ["=="] for pin in pins)
    versions = {normal(pin.name): next(iter(pin.specifier)).version for pin in pins}
    assert len(versions) == len(pins), "a package is pinned twice"
    for requirement in declared_requirements():
        assert requirement.specifier.contains(versions[normal(requirement.name)]), requirement
    assert versions["torch"] == "2.13.0"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("path", MODULES, ids=as_id)
def test_every_import_is_a_declared_dependency(path: Path) -> None:
    is_shipped = path in SHIPPED
    extras = PYPROJECT["project"]["optional-dependencies"]
    # these are imported where they are asked for, with a message if missing
    allowed = [
        *extras["databases"],
        *extras["view"],
        *extras["chgnet"],
        *([] if is_shipped else [*extras["docs"], *extras["dev"]]),
    ]
    declared = {normal(Requirement(text).name) for text in [*PYPROJECT["project"]["dependencies"], *allowed]}
    known = packages_distributions()
    names = {name.split(".")[0] for name, _ in imported(path)} - {"surfshift", "__future__"} - sys.stdlib_module_names
    if not is_shipped:
        # scripts of benchmarks import each other
        names -= {neighbour.stem for neighbour in path.parent.glob("*.py")}
    missing = {name for name in names if not declared & {normal(found) for found in known.get(name, [name])}}
    assert not missing, f"{as_id(path)} imports {sorted(missing)}; add to pyproject.toml what provides it"


def test_the_version_stands_in_one_place() -> None:
    stated = re.compile(r"^\s*(?:__version__|version)\s*[:=]\s*[\"']?\d", re.MULTILINE)
    places = [
        as_id(path) for path in FILES if path.suffix in {".py", ".toml", ".cff"} and stated.search(path.read_text())
    ]
    assert places == ["pyproject.toml"]
    try:
        installed = version("surfshift")
    except PackageNotFoundError:
        pytest.skip("surfshift is not installed in this environment; `make test` installs it")
    assert installed == PYPROJECT["project"]["version"]


# Written in parts, so that this file does not find itself.
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.}>])/(?:work" + r"|root|tmp|home/\w+)/"),
    "a package registry": re.compile(
        r"py"
        + r"pi\.org|pythonhosted"
        + r"\.org|npm"
        + r"js\.|deb"
        + r"ian\.org|conda"
        + r"\.anaconda|pytorch\.org"
        + r"/whl"
    ),
    "a registry option": re.compile(r"--(?:extra-)?index" + r"-url"),
}


@pytest.mark.parametrize("path", FILES, ids=as_id)
def test_no_machine_path_or_registry_is_named(path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return  # a picture
    found = {what: match.group() for what, pattern in FORBIDDEN.items() if (match := pattern.search(text))}
    assert not found


@pytest.mark.parametrize(
    "text",
    ["see /work" + "/x", "'/root" + "/.cache'", "cd /tmp" + "/a", "/home/me" + "/b", "https://py" + "pi.org/p"],
)
def test_forbidden_text_is_recognised(text: str) -> None:
    assert any(pattern.search(text) for pattern in FORBIDDEN.values())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the wheel and the source archive, built from a copy so that the checkout stays clean."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in FILES:
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    # building changes sys.argv
    code = "import sys; from setuptools import build_meta as b; to = sys.argv[1]; b.build_wheel(to); b.build_sdist(to)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def wheel(built: Path) -> list[str]:
    """Names in the wheel."""
    (path,) = built.glob("*.whl")
    assert path.stat().st_size < 2_000_000
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_source_archive_holds_what_is_installed_and_no_more(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tops = {name.split("/")[0] for name in names} - {"", "setup.cfg", "PKG-INFO", "surfshift.egg-info"}
    assert tops == {
        *FOLDERS, "CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "README.md", "constraints.txt",
        "pyproject.toml",
    }  # fmt: skip
    assert {as_id(path) for path in SHIPPED} <= names


def test_the_wheel_holds_only_surfshift(wheel: list[str]) -> None:
    top = {name.split("/")[0] for name in wheel}
    assert top == {"surfshift", f"surfshift-{PYPROJECT['project']['version']}.dist-info"}
    assert "surfshift/__init__.py" not in wheel, "surfshift is an implicit namespace"


def test_the_wheel_holds_every_module_and_data_file(wheel: list[str]) -> None:
    expected = {f"surfshift/{as_id(path)}" for path in SHIPPED}
    assert {name for name in wheel if name.startswith("surfshift/")} == expected
    assert {f"surfshift/{folder}/py.typed" for folder in FOLDERS} <= expected


def test_the_wheel_holds_the_licence_and_the_command(wheel: list[str]) -> None:
    assert any(name.endswith("licenses/LICENSE") for name in wheel)
    assert any(name.endswith("entry_points.txt") for name in wheel)


def test_every_page_of_the_docs_is_in_the_table_of_contents() -> None:
    docs = ROOT / "docs"
    listed = {line.strip() for line in (docs / "index.md").read_text(encoding="utf-8").splitlines()}
    pages = {page.stem for page in docs.glob("*.md")} - {"index"}
    assert pages
    assert pages <= listed, f"add to a toctree of docs/index.md: {sorted(pages - listed)}"
