"""What protects the user: YAML and arrays run nothing, texts stay texts, keys stay secret, temporary files are private.

Archives that try to leave their folder are in ``workflows/test_archive_files.py``; the local page's token, origins and
hosts in ``workflows/view/test_server.py``.
"""

from __future__ import annotations

import ast
import os
import pickle
import re
import stat
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from surfshift.analysis import kernel_cache
from surfshift.analysis.coatings.energies import EnergyTable
from surfshift.analysis.coatings.errors import EnergyTableError
from surfshift.analysis.report.write import write_files
from surfshift.structures.errors import SurfshiftError, redacted
from surfshift.structures.fetching import FetchError, fetch_materials_project
from surfshift.workflows.files import write_atomically
from surfshift.workflows.hpc.workers import load_workers
from surfshift.workflows.materials_project import fetch_table
from surfshift.workflows.queue.folder import RunFolder
from surfshift.workflows.study import load_study

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(
    path
    for folder in ("analysis", "hpc_templates", "structures", "workflows")
    for path in (ROOT / folder).rglob("*.py")
)
SAFE_LOADERS = {"SafeLoader", "CSafeLoader", "loader", "_NumberedLoader"}
RUNS_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
SECRET = "s3cret-K3y-0123456789abcdef"


def calls(path: Path) -> list[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def faults(path: Path) -> list[str]:
    """Calls and imports of a module that could run code from a file."""
    found = []
    for call in calls(path):
        name = ast.unparse(call.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if re.fullmatch(r"yaml\.(unsafe_load|full_load|load_all|unsafe_load_all|full_load_all)", name):
            found.append(name)
        if name == "yaml.load" and not any(safe in keywords.get("Loader", "") for safe in SAFE_LOADERS):
            found.append(ast.unparse(call))
        if name in {"np.load", "numpy.load"} and keywords.get("allow_pickle") != "False":
            found.append(ast.unparse(call))
        if name in {"torch.load", "pd.read_pickle", "eval", "exec", "compile", "os.system", "tarfile.open"}:
            found.append(name)
        if name.endswith(".extractall") or keywords.get("shell") == "True":
            found.append(ast.unparse(call))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in RUNS_CODE]
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in RUNS_CODE:
            found.append(node.module or "")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_module_loads_yaml_unsafely_or_unpickles(path: Path) -> None:
    assert faults(path) == []


def test_the_search_for_unsafe_calls_finds_them(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text(
        "import pickle\nimport yaml\nyaml.load(a)\nyaml.load(a, Loader=yaml.Loader)\nnp.load(f)\n"
        "np.load(f, allow_pickle=True)\ntorch.load(f)\nsubprocess.run(a, shell=True)\narchive.extractall(x)\n"
    )
    assert len(faults(path)) == 8


@pytest.mark.parametrize(
    "payload",
    [
        "!!python/object/apply:os.mkdir [{folder}]",
        "!!python/object/new:os.mkdir [{folder}]",
        "!!python/name:os.system",
        "!!python/module:os",
    ],
)
@pytest.mark.parametrize("load", [load_study, load_workers])
def test_yaml_runs_nothing(tmp_path: Path, payload: str, load: Any) -> None:
    folder = tmp_path / "made-by-yaml"
    path = tmp_path / "file.yaml"
    path.write_text(f"study: {payload.format(folder=folder)}\nworkers: {{}}\n")
    with pytest.raises(SurfshiftError, match=r"file\.yaml"):
        load(path)
    assert not folder.exists()
    path.write_text("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b\n")
    with pytest.raises(SurfshiftError):
        load(path)


class Payload:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_arrays_from_files_are_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "made-by-pickle"
    monkeypatch.setenv(kernel_cache.CACHE_VARIABLE, str(tmp_path / "cache"))
    good = {"a": np.arange(3.0)}
    kernel_cache.stored("table", "key", lambda: good)
    (path,) = (tmp_path / "cache").iterdir()
    evil = np.empty(1, dtype=object)
    evil[0] = Payload(folder)
    np.savez(path, a=evil)
    assert kernel_cache.stored("table", "key", lambda: good)["a"].tolist() == [0.0, 1.0, 2.0]
    path.write_bytes(pickle.dumps(Payload(folder)))
    assert kernel_cache.stored("table", "key", lambda: good)["a"].tolist() == [0.0, 1.0, 2.0]
    assert not folder.exists()


def test_pages_mark_nothing_of_the_user_as_safe() -> None:
    """Beside the project's own styles and scripts, and JSON without ``<``, no template switches escaping off."""
    allowed = {"style|safe", "text|safe", "data|safe"}
    found = {
        match
        for path in ROOT.rglob("*.jinja")
        if "html" in path.name and "build" not in path.relative_to(ROOT).parts
        for match in re.findall(r"\{\{[^}]*?([\w.]+\|safe)", path.read_text(encoding="utf-8"))
    }
    assert found == allowed


def test_a_screening_page_escapes_names(tmp_path: Path) -> None:
    from surfshift.analysis.coatings.page import render_page
    from surfshift.analysis.coatings.screening import Settings
    from surfshift.workflows.screening import load_table

    evil = "<script>alert(1)</script><!--<script>"
    table = load_table("sevennet", tmp_path, ["Li"])
    text = render_page([], {}, refused={evil: evil}, table=table, settings=Settings())
    assert isinstance(table, EnergyTable)
    assert "<script>alert" not in text
    assert "<!--<script" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_errors_hold_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client of the Materials Project may repeat the key in its errors, as it does for one with a line break."""

    class Client:
        def __init__(self, key: str | None = None) -> None:
            raise RuntimeError(f"Invalid header value {key!r}, also {key}")

    module = types.ModuleType("mp_api.client")
    module.MPRester = Client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mp_api", types.ModuleType("mp_api"))
    monkeypatch.setitem(sys.modules, "mp_api.client", module)
    for key in (SECRET, f"{SECRET}\n"):
        with pytest.raises(FetchError) as fetched:
            fetch_materials_project("mp-1", api_key=key)
        monkeypatch.setenv("MP_API_KEY", key)
        with pytest.raises(EnergyTableError) as asked:
            fetch_table(["Li"], tmp_path)
        for error in (fetched.value, asked.value):
            assert SECRET not in str(error)
            assert error.__cause__ is None
            assert error.__suppress_context__
    assert not list(tmp_path.iterdir())
    assert redacted("none here", None, "") == "none here"


@pytest.mark.parametrize(
    "text",
    [
        "workers:\n  w: {type: remote, host: h, password: SECRET, work_dir: 3, scheduler_type: nonsense}\n",
        "workers:\n  w: {type: remote, password: [SECRET, host: h}\n",
        "workers:\n  w: {type: remote, connect_kwargs: {passphrase: SECRET}, unknown_key: SECRET}\n",
        "queue: {store: {uri: 'mongodb://me:SECRET@host'}}\nworkers: 3\n",
    ],
)
def test_a_wrong_workers_file_does_not_show_its_passwords(tmp_path: Path, text: str) -> None:
    path = tmp_path / "workers.yaml"
    path.write_text(text.replace("SECRET", SECRET))
    with pytest.raises(SurfshiftError) as caught:
        load_workers(path)
    assert SECRET not in str(caught.value)
    assert "workers.yaml" in str(caught.value)


def test_passwords_of_workers_are_readable_by_the_user_alone_and_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "workers.yaml"
    worker = {
        "type": "remote",
        "host": "cluster.example",
        "work_dir": "/home-of-me/w",
        "scheduler_type": "slurm",
        "password": SECRET,
        "connect_kwargs": {"passphrase": SECRET},
    }
    limits = {"cores_per_node": 8, "memory_gb_per_node": 32, "max_nodes": 1, "max_hours": 2}
    surfshift = {"python": "python3", "limits": limits}
    project_file = {"name": "surfshift", "queue": {"store": {"type": "MemoryStore"}}, "workers": {"far": worker}}
    path.write_text(yaml.safe_dump(project_file | {"metadata": {"surfshift": surfshift}}))
    with caplog.at_level("DEBUG"):
        workers = load_workers(path)
        run = RunFolder(tmp_path / "run")
        run.write_project(parallel_jobs=1, workers=workers)
    (project,) = (run.path / "project").iterdir()
    assert SECRET in project.read_text()
    assert stat.S_IMODE(project.stat().st_mode) == 0o600
    assert SECRET not in caplog.text
    assert SECRET not in "".join(capsys.readouterr())


def test_temporary_files_are_private_while_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = os.fsync

    def watch(descriptor: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    before = os.umask(0)
    try:
        write_atomically(tmp_path / "text", "content")
        write_atomically(tmp_path / "secret", "content", mode=0o600)
        write_files(tmp_path / "report", {"page.html": b"content"})
    finally:
        os.umask(before)
    assert seen == [0o600] * 3
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "text").stat().st_mode) == 0o644
    names = [p.name for p in tmp_path.rglob("*") if p.is_file()]
    assert sorted(names) == ["page.html", "secret", "text"]


def test_no_module_picks_a_predictable_temporary_name() -> None:
    unsafe = {"tempfile.mktemp", "mktemp", "tempfile.gettempdir", "gettempdir"}
    found = {path.name: ast.unparse(c.func) for path in MODULES for c in calls(path) if ast.unparse(c.func) in unsafe}
    assert found == {}
    assert not [
        path.name for path in MODULES if re.search(r"[\"']/(?:var/)?tmp[/\"']", path.read_text(encoding="utf-8"))
    ]
