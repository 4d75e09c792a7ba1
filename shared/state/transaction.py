"""WriteTransaction: one batch of log entries becoming state, all or nothing.

Collects what LMDB need not be told at once: Consul's index rows, version rows and touched topics are written
when the batch commits, once each, however many entries moved them. A savepoint makes one entry atomic inside the
batch: `rollback` undoes what was written since the `savepoint`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.state.keys import fold, text_bytes
from shared.state.snapshot import Snapshot
from shared.state.tables import Tables, pack_u64
from shared.state.topics import SERVICE, SERVICE_VERSIONS, V_KVS, VERSION_OF, VERSION_OF_INDEX, Topic, service_version

_Collected = tuple[dict[str, tuple[str, int] | None], dict[bytes, int], dict[Topic, None]]
"""Index rows by folded name, version rows, touched topics."""


class WriteTransaction(Snapshot):
    """Also a Snapshot: queries over it see what the batch has written so far (index rows included)."""

    __slots__ = ("_indexes", "_journal", "_kept", "_versions", "delete", "put", "topics")

    def __init__(self, txn: Any, tables: Tables, generation: int) -> None:
        super().__init__(txn, tables, generation)
        self._indexes: dict[str, tuple[str, int] | None] = {}
        self._versions: dict[bytes, int] = {}
        self._journal: list[tuple[Any, bytes, bytes | None]] | None = None
        self._kept: _Collected | None = None
        self.topics: dict[Topic, None] = {}
        self.put: Callable[..., Any] = txn.put
        self.delete: Callable[..., Any] = txn.delete

    # Index rows ------------------------------------------------------------------------------------------

    def index(self, *names: str) -> int:
        best = 0
        for name in names:
            best = max(best, self.index_row(name) or 0)
        return best

    def index_row(self, name: str) -> int | None:
        folded = name.lower()
        for pending in (self._indexes, self._kept[0] if self._kept is not None else {}):
            if folded in pending:
                row = pending[folded]
                return None if row is None else row[1]
        return super().index_row(name)

    def set_index(self, name: str, index: int) -> None:
        """Sets one of Consul's index rows. The index of a table shows in answers, so its version moves too;
        for a service's own row call `touch_service` as well."""
        self._indexes[name.lower()] = (name, index)
        version = VERSION_OF_INDEX.get(name)
        if version is not None:
            self._versions[version] = index

    def advance_index(self, name: str, index: int) -> None:
        """Moves an index row up to the entry being applied. Of several spellings of the name within one
        entry the first is kept, as Consul's "update if higher" does."""
        pending = self._indexes.get(name.lower())
        if pending is None or pending[1] < index:
            self.set_index(name, index)

    def raise_index(self, name: str, index: int) -> None:
        """Sets an index row unless it is already higher."""
        if index > (self.index_row(name) or 0):
            self.set_index(name, index)

    def drop_index(self, name: str) -> None:
        self._indexes[name.lower()] = None

    # Topics and versions ---------------------------------------------------------------------------------

    def touch(self, table: str, key: str, index: int) -> None:
        """Notes that a topic changed at `index`: it goes into the change record and moves its version."""
        self.topics[table, key] = None
        self._versions[VERSION_OF[table]] = index

    def key_changed(self, table: str, key: bytes, index: int) -> None:
        """Notes a changed key (KEY) or deleted tree (TREE): topic, version and Consul's kvs index at once."""
        self.topics[table, key.decode("utf-8", "surrogateescape")] = None
        self._indexes["kvs"] = ("kvs", index)
        self._versions[V_KVS] = index

    def touch_service(self, name: str, index: int) -> None:
        """Notes that something visible in a service's instances changed."""
        folded = name.lower()
        self.topics[SERVICE, folded] = None
        self._versions[VERSION_OF[SERVICE]] = index
        self._versions[service_version(fold(folded))] = index

    def bump_version(self, row: bytes, index: int) -> None:
        """Moves a version row without waking anybody."""
        self._versions[row] = index

    # Writing with a way back -----------------------------------------------------------------------------

    def savepoint(self) -> None:
        """Starts a part that can be undone, until `release` or `rollback`: put and delete keep a journal, and what
        is collected goes into dictionaries of its own, so that the cost is that of the part alone."""
        self._journal = []
        self.put, self.delete = self._put_journalled, self._delete_journalled
        self._kept = (self._indexes, self._versions, self.topics)
        self._indexes, self._versions, self.topics = {}, {}, {}

    def release(self) -> None:
        """Keeps what was written since the savepoint."""
        assert self._kept is not None
        indexes, versions, topics = self._kept
        indexes.update(self._indexes)
        versions.update(self._versions)
        topics.update(self.topics)
        self._end_part()

    def rollback(self) -> None:
        """Undoes everything since the savepoint."""
        journal = self._journal or []
        self._end_part()
        for table, key, before in reversed(journal):
            if before is None:
                self.delete(key, db=table)
            else:
                self.put(key, before, db=table)

    def _end_part(self) -> None:
        assert self._kept is not None
        self._indexes, self._versions, self.topics = self._kept
        self._kept = self._journal = None
        self.put, self.delete = self._txn.put, self._txn.delete

    def _put_journalled(self, key: bytes, value: bytes, db: Any) -> bool:
        assert self._journal is not None
        self._journal.append((db, key, self.get(key, None, db)))
        return bool(self._txn.put(key, value, db=db))

    def _delete_journalled(self, key: bytes, db: Any) -> bool:
        assert self._journal is not None
        before = self.get(key, None, db)
        if before is None:
            return False
        self._journal.append((db, key, before))
        return bool(self._txn.delete(key, db=db))

    # The end of the batch --------------------------------------------------------------------------------

    def flush(self) -> None:
        """Writes the collected index and version rows. The store calls it when the batch commits."""
        put, delete, tables = self._txn.put, self._txn.delete, self.tables
        for folded, row in self._indexes.items():
            if row is None:
                delete(fold(folded), db=tables.index)
            else:
                put(fold(folded), pack_u64(row[1]) + text_bytes(row[0]), db=tables.index)
        for name, index in self._versions.items():
            if name.startswith(SERVICE_VERSIONS) and not self.has_prefix(
                tables.services_by_name, name[len(SERVICE_VERSIONS) :]
            ):
                # Without an instance left a service's answers follow the tables' versions. (The index row of
                # a name may outlive its instances in Consul, so that row does not tell.)
                delete(name, db=tables.versions)
            else:
                put(name, pack_u64(index), db=tables.versions)
        self._indexes.clear()
        self._versions.clear()

    def set_applied(self, index: int, term: int) -> None:
        """Notes how far the log has been applied; `Snapshot.applied` reads it."""
        self._txn.put(b"applied", pack_u64(index) + pack_u64(term), db=self.tables.meta)
