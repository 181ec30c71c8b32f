"""ZIP archives that are read with distrust: nothing leaves the folder or exceeds the limits, every hash is checked."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from ..structures.errors import SurfshiftError
from ..structures.vocabulary import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST_NAME = "manifest.json"
MAX_FILES = 20_000
MAX_BYTES = 4_000_000_000
MAX_MANIFEST_BYTES = 20_000_000
_CHUNK = 1 << 20
_RESERVED = {"con", "prn", "aux", "nul"}


class ArchiveError(SurfshiftError):
    """An archive that cannot be written or read."""


class UnsafeArchiveError(ArchiveError):
    """An archive with a member that would leave its folder, is no plain file, or is too large."""


class DamagedArchiveError(ArchiveError):
    """An archive whose files are not those of its manifest."""


class ArchivedFile(Frozen):
    """One file of an archive: its path with ``/``, size and SHA-256, and in words what it is."""

    path: str
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    what: str = ""


class Manifest(Frozen):
    """What an archive holds; every file but the manifest itself is listed."""

    format: Literal["surfshift archive 1"] = "surfshift archive 1"
    study: str
    created: str
    surfshift_version: str
    files: tuple[ArchivedFile, ...]


def write_zip(path: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
    """Write files and their manifest into a new ZIP file, in the order of the manifest and with fixed dates.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        texts = {MANIFEST_NAME: manifest.model_dump_json(indent=1).encode(), **contents}
        for name in [MANIFEST_NAME, *(file.path for file in manifest.files)]:
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(member, texts[name])


def archived(path: str, content: bytes, what: str) -> ArchivedFile:
    """The entry of a file in the manifest."""
    return ArchivedFile(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest(), what=what)


def safe_name(name: str) -> str:
    """The name of a member as it is, if it stays inside the folder it is extracted to.

    Raises
    ------
    UnsafeArchiveError
        If it is absolute, climbs, names a drive, or holds characters that another system reads as a separator.
    """
    parts = PurePosixPath(name).parts
    reason = ""
    if not name or "\0" in name or any(ord(character) < 32 for character in name):
        reason = "an empty name or control characters"
    elif "\\" in name or ":" in name:
        reason = "a backslash or colon, which other systems read as a path"
    elif name.startswith(("/", "~")):
        reason = "an absolute path"
    elif ".." in parts:
        reason = "a path that climbs out of its folder"
    elif str(PurePosixPath(name)) != name:
        reason = "a path that is not in its plain form"
    elif len(name) > 400 or any(part.split(".")[0].lower() in _RESERVED for part in parts):
        reason = "a name that not every system takes"
    if reason:
        raise UnsafeArchiveError(f"the archive holds {name!r}: {reason}; it was not made by surfshift, do not use it")
    return name


def read_manifest(archive: zipfile.ZipFile, label: str) -> Manifest:
    """The manifest of an open archive.

    Raises
    ------
    DamagedArchiveError
        If it is missing or cannot be read.
    """
    try:
        with archive.open(MANIFEST_NAME) as file:
            text = file.read(MAX_MANIFEST_BYTES + 1)
        if len(text) > MAX_MANIFEST_BYTES:
            raise UnsafeArchiveError(f"{label}: its manifest is larger than {MAX_MANIFEST_BYTES} bytes; do not use it")
        return Manifest.model_validate(json.loads(text))
    except KeyError as error:
        raise DamagedArchiveError(
            f"{label} holds no {MANIFEST_NAME}; it is no archive of 'surfshift archive'"
        ) from error
    except (ValidationError, ValueError, RecursionError, OSError, zipfile.BadZipFile) as error:
        if isinstance(error, ArchiveError):
            raise
        raise DamagedArchiveError(f"{label}: its {MANIFEST_NAME} cannot be read; download the archive again") from error


def extract(path: Path, folder: Path, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> Manifest:
    """Extract an archive into an empty folder and check every file against the manifest.

    Files are readable by the user alone. What a member claims of its size is not believed: bytes are counted as they
    come, and extraction stops at the limit.

    Raises
    ------
    UnsafeArchiveError
        If a member would leave the folder, is a link or device, comes twice, or the limits are exceeded.
    DamagedArchiveError
        If the file is no ZIP archive, or files are missing, changed, or not in the manifest.
    """
    label = path.name
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > max_files:
                raise UnsafeArchiveError(f"{label} holds {len(members)} files, more than {max_files}; it is not used")
            names = _checked_names(members, label)
            manifest = read_manifest(archive, label)
            listed = {file.path: file for file in manifest.files}
            if len(listed) != len(manifest.files) or set(listed) | {MANIFEST_NAME} != set(names):
                wrong = sorted(set(names) ^ (set(listed) | {MANIFEST_NAME}))
                named = ", ".join(wrong[:5]) or "one is listed twice"
                raise DamagedArchiveError(
                    f"{label} and its manifest do not hold the same files: {named}; download the archive again"
                )
            left = max_bytes
            for member in members:
                if member.filename == MANIFEST_NAME or member.is_dir():
                    continue
                left -= _extract_one(archive, member, folder, listed[member.filename], label=label, limit=left)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        raise DamagedArchiveError(f"{label} is no ZIP archive, or it is damaged: {error}; download it again") from error
    except FileNotFoundError as error:
        raise ArchiveError(f"there is no archive {path}; name the file that 'surfshift archive STUDY' wrote") from error
    except IsADirectoryError as error:
        raise ArchiveError(f"{path} is a folder; name the .zip file that 'surfshift archive STUDY' wrote") from error
    return manifest


def _checked_names(members: list[zipfile.ZipInfo], label: str) -> list[str]:
    names: list[str] = []
    for member in members:
        name = safe_name(member.filename.rstrip("/") if member.is_dir() else member.filename)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
            raise UnsafeArchiveError(f"{label}: {name!r} is a link or a device, not a file; do not use this archive")
        if not member.is_dir():
            names.append(name)
    folded = [name.casefold() for name in names]
    if len(set(folded)) != len(folded):
        raise UnsafeArchiveError(f"{label} holds a file twice; do not use it")
    return names


def _extract_one(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, expected: ArchivedFile, *, label: str, limit: int
) -> int:
    """Write one member and check it; returns its size."""
    target = folder / member.filename
    if not target.resolve().is_relative_to(folder.resolve()):
        raise UnsafeArchiveError(f"{label}: {member.filename!r} would leave the folder; do not use this archive")
    for parent in reversed(target.relative_to(folder).parents[:-1]):
        (folder / parent).mkdir(mode=0o700, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with archive.open(member) as source, os.fdopen(handle, "wb") as file:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > min(limit, expected.size):
                raise UnsafeArchiveError(
                    f"{label}: {member.filename!r} is larger than its manifest or the limit allows; do not use it"
                )
            digest.update(chunk)
            file.write(chunk)
    if size != expected.size or digest.hexdigest() != expected.sha256:
        raise DamagedArchiveError(
            f"{label}: {member.filename} is not what the manifest says (SHA-256); download the archive again"
        )
    return size
