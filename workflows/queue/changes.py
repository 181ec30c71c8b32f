"""Which documents of a collection changed since one last looked, so that a large queue is not read again and again.

LiteMongo finds documents by hash indexes, but it copies every match of a query that wants only one, and it
intersects the whole collection where one field names the document already. Both are put right here.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from litemongo._vendor.mongomock import filtering, helpers
from litemongo._vendor.mongomock.collection import Collection
from litemongo.sqlite_store import CollectionStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NAMING_FIELDS = ("_id", "uuid", "db_id", "jobs", "batch_uid")
"""Fields whose value belongs to one document, or to very few."""


class FollowedStore(CollectionStore):  # type: ignore[misc]
    """Documents of one collection in a SQLite file, which tells its followers what was written."""

    followers: weakref.WeakSet[Changes]

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        for follower in self.followers:
            follower.keys.add(self._index_key(key))

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(key)
        for follower in self.followers:
            follower.keys.add(self._index_key(key))

    def drop(self) -> None:
        """Empty the collection."""
        super().drop()
        self._lose_track()

    def find_candidates(self, query: Any) -> Iterable[dict[str, Any]]:
        """Documents that may match a query: those of a naming field alone, where one is given."""
        for field in NAMING_FIELDS:
            if isinstance(query, dict) and isinstance(query.get(field), str):
                query = {field: query[field]}
                break
        found: Iterable[dict[str, Any]] = super().find_candidates(query)
        return found

    def _query_index_is_stale(self) -> bool:
        is_stale: bool = super()._query_index_is_stale()
        if is_stale:
            self._lose_track()
        return is_stale

    def _lose_track(self) -> None:
        for follower in self.followers:
            follower.is_lost = True

    @classmethod
    def follow(cls, store: Any) -> None:
        """Turn a collection store of LiteMongo into one that tells what was written."""
        if not isinstance(store, cls):
            store.__class__ = cls
            store.followers = weakref.WeakSet()


class Changes:
    """The documents of a collection that were written or removed since the last look.

    Parameters
    ----------
    collection
        A collection of this project's store; its documents count as changed at first, all of them.
    """

    def __init__(self, collection: PickyCollection) -> None:
        self.keys: set[Any] = set()
        self.is_lost = True
        self._store: Any = collection.store
        self._store.followers.add(self)

    def take(self) -> tuple[dict[Any, dict[str, Any] | None], bool]:
        """Changed documents by key, None for removed ones; and whether these are all that the collection holds.

        What another process wrote is noticed too; then everything is read again.
        """
        self._store._get_query_index()  # notices what other connections wrote
        if self.is_lost:
            self.keys.clear()
            self.is_lost = False
            return dict(self._store._iter_items()), True
        keys, self.keys = sorted(self.keys), set()
        changed: dict[Any, dict[str, Any] | None] = dict.fromkeys(keys)
        for document in self._store._get_many(keys):
            changed[self._store._index_key(document["_id"])] = document
        return changed, False


class PickyCollection(Collection):
    """A collection that copies only the document that is asked for."""

    @property
    def store(self) -> FollowedStore:
        """Where the documents lie."""
        found: FollowedStore = self._store
        return found

    def find_one(self, filter: Any = None, *more: Any, **options: Any) -> Any:  # noqa: A002
        """The first matching document in the given order, or None."""
        projection = more[0] if more else options.get("projection")
        is_plain = len(more) <= 1 and not set(options) - {"projection", "sort"}
        if not is_plain or not isinstance(filter, dict) or self.codec_options.tz_aware:
            return super().find_one(filter, *more, **options)  # type: ignore[no-untyped-call]
        plain: Any = self
        matching = plain._iter_documents(helpers.patch_datetime_awareness_in_document(filter))
        first = _first(matching, options.get("sort") or ())
        return None if first is None else plain._copy_only_fields(first, projection, dict)


def _first(documents: Iterable[dict[str, Any]], sort: Mapping[str, int] | Sequence[tuple[str, int]]) -> Any:
    """The document that comes first, by the rules of a MongoDB sort."""
    keys: list[Any] = list(sort.items()) if isinstance(sort, dict) else list(sort)
    if not keys:
        return next(iter(documents), None)
    ordered = list(documents)
    for key, direction in reversed(keys):
        ordered.sort(key=partial(filtering.resolve_sort_key, key), reverse=direction < 0)
    return ordered[0] if ordered else None
