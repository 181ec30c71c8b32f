"""A job store in SQLite files that several processes may use at once.

LiteMongo keeps Mongo-like collections in SQLite files, but its ``find_one_and_update`` reads and
writes in two steps, so two processes can take one job. Every writing call is therefore made under a
lock of the whole folder. Nothing outside this module knows that, and a MongoDB store can replace it
in the project file.
"""

from __future__ import annotations

import fcntl
import functools
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litemongo._vendor.mongomock.database import Database
from litemongo.client import MongoClient
from litemongo.sqlite_store import ServerStore
from maggma.stores.mongolike import MemoryStore

from .changes import FollowedStore, PickyCollection

if TYPE_CHECKING:
    from collections.abc import Callable

WRITING_CALLS = (
    "find_one_and_update",
    "find_one_and_replace",
    "find_one_and_delete",
    "update_one",
    "update_many",
    "replace_one",
    "insert_one",
    "insert_many",
    "delete_one",
    "delete_many",
    "bulk_write",
    "create_index",
    "drop_index",
    "drop_indexes",
    "drop",
)


class FolderLock:
    """Lock of a folder: exclusive between processes and threads, re-entrant within a thread.

    The operating system frees it when its process ends, however it ends.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._thread_lock = threading.RLock()
        self._depth = 0
        self._descriptor = -1

    def __enter__(self) -> None:
        self._thread_lock.acquire()
        try:
            if self._depth == 0:
                self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except BaseException:
            self._thread_lock.release()
            raise
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            os.close(self._descriptor)
        self._thread_lock.release()


def _under_lock(name: str) -> Callable[..., Any]:
    call = getattr(PickyCollection, name)

    @functools.wraps(call)
    def locked(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.database.client.folder_lock:
            return call(self, *args, **kwargs)

    return locked


LockedCollection = type("LockedCollection", (PickyCollection,), {name: _under_lock(name) for name in WRITING_CALLS})


class LockedDatabase(Database):
    """A LiteMongo database whose collections write under the lock of the folder."""

    def get_collection(self, *args: Any, **kwargs: Any) -> Any:
        """A collection, created on first use."""
        collection = super().get_collection(*args, **kwargs)  # type: ignore[no-untyped-call]
        collection.__class__ = LockedCollection
        FollowedStore.follow(collection.store)
        return collection


class LockedClient(MongoClient):  # type: ignore[misc]
    """A LiteMongo client for one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder_lock = FolderLock(folder / ".lock")
        super().__init__(ServerStore(folder))

    def get_database(self, *args: Any, **kwargs: Any) -> Any:
        """A database, created on first use."""
        database = super().get_database(*args, **kwargs)
        database.__class__ = LockedDatabase
        return database


_CLIENTS: dict[tuple[int, int, Path], LockedClient] = {}


def _client(folder: Path) -> LockedClient:
    """One client per process and thread: SQLite connections must not be carried over to others."""
    key = (os.getpid(), threading.get_ident(), folder)
    if key not in _CLIENTS:
        folder.mkdir(parents=True, exist_ok=True)
        _CLIENTS[key] = LockedClient(folder)
    return _CLIENTS[key]


def close_clients(folder: Path) -> None:
    """Close this thread's connections to a folder, for example before the folder is moved."""
    client = _CLIENTS.pop((os.getpid(), threading.get_ident(), folder.resolve()), None)
    if client is not None:
        client.close()


class LiteMongoStore(MemoryStore):
    """A maggma store in a folder of SQLite files, usable as jobflow-remote's queue store.

    Parameters
    ----------
    path
        Folder of the files; made on first use.
    collection_name, database
        Names within the folder.
    """

    def __init__(self, path: str, collection_name: str = "jobs", database: str = "jobflow", **kwargs: Any) -> None:
        self.path = str(path)
        self.database = database
        super().__init__(collection_name=collection_name, **kwargs)

    def connect(self, force_reset: bool = False) -> None:
        """Open the collection."""
        if self._coll is None or force_reset:
            self._coll = _client(Path(self.path).expanduser().resolve())[self.database][self.collection_name]

    def close(self) -> None:
        """Do nothing: the client is shared by all stores of the folder, and holds no more than SQLite files."""

    @property
    def name(self) -> str:
        """Address of the collection."""
        return f"litemongo://{self.path}/{self.database}/{self.collection_name}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LiteMongoStore) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)
