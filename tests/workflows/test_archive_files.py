"""Archives from elsewhere cannot write outside their folder, grow without bound, or hold what no manifest lists."""

from __future__ import annotations

import stat
import zipfile
from typing import TYPE_CHECKING

import pytest
from surfshift.workflows.archive_files import (
    MANIFEST_NAME,
    ArchiveError,
    DamagedArchiveError,
    Manifest,
    UnsafeArchiveError,
    archived,
    extract,
    safe_name,
    write_zip,
)

if TYPE_CHECKING:
    from pathlib import Path


def make(path: Path, contents: dict[str, bytes], listed: dict[str, bytes] | None = None) -> Path:
    """An archive of a manifest that lists ``listed`` (the contents without it)."""
    files = tuple(archived(name, content, "") for name, content in (listed or contents).items())
    manifest = Manifest(study="s", created="now", surfshift_version="0", files=files)
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST_NAME, manifest.model_dump_json())
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def test_round_trip_is_exact_private_and_the_same_every_time(tmp_path: Path) -> None:
    contents = {"a.txt": b"one", "deep/er/b.bin": bytes(range(256)) * 40}
    manifest = Manifest(
        study="s",
        created="now",
        surfshift_version="0",
        files=tuple(archived(name, content, "") for name, content in contents.items()),
    )
    for name in ("one.zip", "two.zip"):
        write_zip(tmp_path / name, manifest, contents)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    folder = tmp_path / "out"
    folder.mkdir()
    assert extract(tmp_path / "one.zip", folder) == manifest
    assert {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == contents
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in folder.rglob("*") if p.is_file())
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o700 for p in folder.rglob("*") if p.is_dir())


@pytest.mark.parametrize(
    "name",
    [
        "../escaped",
        "a/../../escaped",
        "/escaped",
        "~/escaped",
        "a\\..\\..\\escaped",
        "C:escaped",
        "a//escaped",
        "./escaped",
        "a/nul.txt",
        "bell\x07",
        "x" * 500,
    ],
)
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / "evil.zip", {name: b"x"})
    folder = tmp_path / "a" / "out"
    folder.mkdir(parents=True)
    with pytest.raises(UnsafeArchiveError):
        extract(path, folder)
    assert not list(folder.iterdir())
    assert not list(tmp_path.rglob("escaped*"))
    with pytest.raises(UnsafeArchiveError):
        safe_name(name)


def test_a_link_is_refused_and_so_is_a_file_written_through_one(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    path = make(tmp_path / "evil.zip", {"link/file": b"x"}, {"link": str(outside).encode(), "link/file": b"x"})
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo("link")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, str(outside))
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(UnsafeArchiveError, match="link or a device"):
        extract(path, folder)
    assert not list(outside.iterdir())
    # a folder that somebody turned into a link beforehand
    (folder / "deep").symlink_to(outside)
    with pytest.raises(UnsafeArchiveError, match="leave the folder"):
        extract(make(tmp_path / "plain.zip", {"deep/file": b"x"}), folder)
    assert not list(outside.iterdir())


def test_sizes_are_counted_not_believed(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    bomb = make(tmp_path / "bomb.zip", {"zeros": bytes(5_000_000)})
    assert bomb.stat().st_size < 10_000
    with pytest.raises(UnsafeArchiveError, match="larger than"):
        extract(bomb, folder, max_bytes=1_000_000)
    assert sum(p.stat().st_size for p in folder.iterdir()) <= 1_000_000
    longer = make(tmp_path / "longer.zip", {"file": b"x" * 100}, {"file": b"x" * 10})
    (tmp_path / "second").mkdir()
    with pytest.raises(UnsafeArchiveError, match="larger than"):
        extract(longer, tmp_path / "second")
    many = make(tmp_path / "many.zip", {f"f{k}": b"" for k in range(30)})
    with pytest.raises(UnsafeArchiveError, match="more than 20"):
        extract(many, folder, max_files=20)


@pytest.mark.parametrize(
    ("contents", "listed", "told"),
    [
        ({"a": b"changed"}, {"a": b"written"}, "SHA-256"),
        ({"a": b"x", "extra": b"y"}, {"a": b"x"}, "extra"),
        ({"a": b"x"}, {"a": b"x", "missing": b"y"}, "missing"),
    ],
)
def test_what_the_manifest_does_not_say_is_refused(
    tmp_path: Path, contents: dict[str, bytes], listed: dict[str, bytes], told: str
) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(DamagedArchiveError, match=told):
        extract(make(tmp_path / "a.zip", contents, listed), tmp_path / "out")


def test_names_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UnsafeArchiveError, match="twice"):
        extract(make(tmp_path / "a.zip", {"a": b"x", "A": b"y"}), tmp_path / "out")


@pytest.mark.parametrize("damage", ["text", "cut", "empty", "no manifest", "missing", "folder"])
def test_no_archive_is_one_message(tmp_path: Path, damage: str) -> None:
    path = make(tmp_path / "a.zip", {"a": b"x" * 1000})
    if damage == "text":
        path.write_text("no archive")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "no manifest":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", "x")
    elif damage == "missing":
        path.unlink()
    else:
        path = tmp_path
    (tmp_path / "out").mkdir()
    with pytest.raises(ArchiveError):
        extract(path, tmp_path / "out")
