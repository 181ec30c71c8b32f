"""What changed in a collection is told exactly, and one document is found without copying the others."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from surfshift.workflows.queue.changes import Changes
from surfshift.workflows.queue.store import LiteMongoStore, close_clients

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADD_ONE = """
import sys
from surfshift.workflows.queue.store import LiteMongoStore
store = LiteMongoStore(sys.argv[1])
store.connect()
store._collection.insert_one({"uuid": "from elsewhere"})
"""


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    folder = tmp_path_factory.mktemp("queue")
    store = LiteMongoStore(str(folder))
    store.connect()
    yield store._collection
    close_clients(folder)


def uuids(changed: dict[object, dict[str, object] | None]) -> list[object]:
    return sorted(str(document["uuid"]) if document else "removed" for document in changed.values())


def test_only_what_changed_is_told(tmp_path: Path) -> None:
    store = LiteMongoStore(str(tmp_path))
    store.connect()
    jobs = store._collection
    jobs.insert_many([{"uuid": name, "state": "READY"} for name in "abc"])
    changes = Changes(jobs)
    changed, is_all = changes.take()
    assert (uuids(changed), is_all) == (["a", "b", "c"], True)
    assert changes.take() == ({}, False)
    jobs.update_one({"uuid": "b"}, {"$set": {"state": "RUNNING"}})
    jobs.find_one_and_update({"uuid": "c"}, {"$set": {"state": "RUNNING"}})
    jobs.update_one({"uuid": "a"}, {"$set": {"state": "READY"}})  # no change
    changed, is_all = changes.take()
    assert (uuids(changed), is_all) == (["b", "c"], False)
    assert {document["state"] for document in changed.values() if document} == {"RUNNING"}
    jobs.delete_one({"uuid": "a"})
    jobs.insert_one({"uuid": "d"})
    assert uuids(changes.take()[0]) == ["d", "removed"]
    subprocess.run([sys.executable, "-c", ADD_ONE, str(tmp_path)], check=True)
    changed, is_all = changes.take()
    assert (uuids(changed), is_all) == (["b", "c", "d", "from elsewhere"], True)
    jobs.drop()
    assert changes.take() == ({}, True)
    close_clients(tmp_path)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12),
    st.sampled_from([None, [("a", 1)], [("a", -1), ("b", 1)], [("b", -1), ("a", -1)]]),
    st.integers(0, 3),
)
def test_the_first_document_is_that_of_a_full_search(
    collection: object, rows: list[tuple[int, int]], sort: list[tuple[str, int]] | None, least: int
) -> None:
    jobs: Any = collection
    jobs.delete_many({})
    if rows:
        jobs.insert_many([{"a": a, "b": b, "k": k} for k, (a, b) in enumerate(rows)])
    query = {"a": {"$gte": least}}
    everything = list(jobs.find(query, projection=["k"], sort=sort))
    one = jobs.find_one(query, projection=["k"], sort=sort)
    assert one == (everything[0] if everything else None)
