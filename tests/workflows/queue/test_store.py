"""The store: documents survive, and two processes never take the same job."""

import subprocess
import sys
from pathlib import Path

import pytest
from monty.json import MontyDecoder, jsanitize
from surfshift.workflows.queue.store import FolderLock, LiteMongoStore, close_clients

TAKE_ALL = """
import sys
from surfshift.workflows.queue.store import LiteMongoStore
store = LiteMongoStore(sys.argv[1])
store.connect()
while (taken := store._collection.find_one_and_update({"state": "READY"}, {"$set": {"state": "TAKEN"}})):
    print(taken["number"], flush=True)
"""


def test_documents_are_kept_in_files(tmp_path: Path) -> None:
    store = LiteMongoStore(str(tmp_path))
    store.connect()
    store.update([{"uuid": "a", "value": 1}], key="uuid")
    store.update([{"uuid": "a", "value": 2}], key="uuid")
    close_clients(tmp_path)
    again = LiteMongoStore(str(tmp_path))
    again.connect()
    assert [document["value"] for document in again.query({"uuid": "a"})] == [2]
    close_clients(tmp_path)


def test_the_store_survives_its_own_description(tmp_path: Path) -> None:
    store = LiteMongoStore(str(tmp_path), collection_name="outputs")
    again = MontyDecoder().process_decoded(jsanitize(store.as_dict()))
    assert again == store
    assert hash(again) == hash(store)
    assert again.collection_name == "outputs"


def test_two_processes_take_every_job_once(tmp_path: Path) -> None:
    store = LiteMongoStore(str(tmp_path))
    store.connect()
    store._collection.insert_many([{"number": k, "state": "READY"} for k in range(80)])
    close_clients(tmp_path)
    takers = [
        subprocess.Popen([sys.executable, "-c", TAKE_ALL, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    taken = [[int(line) for line in taker.communicate()[0].split()] for taker in takers]
    assert all(taker.returncode == 0 for taker in takers)
    assert sorted(taken[0] + taken[1]) == list(range(80))


def test_the_lock_is_re_entrant_and_freed_after_an_error(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / ".lock")
    with pytest.raises(RuntimeError, match="inside"), lock, lock:
        raise RuntimeError("inside")
    with lock:
        pass


def test_writes_are_locked_without_touching_other_clients(tmp_path: Path) -> None:
    import litemongo

    store = LiteMongoStore(str(tmp_path / "ours"))
    store.connect()
    plain = litemongo.connect(str(tmp_path / "theirs"))["db"]["jobs"]
    assert type(store._collection).__name__ == "LockedCollection"
    assert type(plain).__name__ == "Collection"
    plain.insert_one({"a": 1})
    plain.database.client.close()
    close_clients(tmp_path / "ours")
