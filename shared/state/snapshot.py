"""Snapshot: one consistent view of the store, as short-lived as the batch of requests it serves.

An old snapshot keeps freed pages alive, so it must be closed before the next await."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from shared.state.keys import bytes_text, fold, kv_key, text_bytes
from shared.state.kvrow import modify_index
from shared.state.tables import Tables, unpack_u64
from shared.state.topics import (
    ALL,
    CATALOG_VERSIONS,
    KEY,
    READS,
    SERVICE,
    V_KVS,
    V_NODES,
    V_SERVICES,
    Watch,
    service_version,
)


class Snapshot:
    """Read access for queries. `get` is the transaction's own get: get(key, default=None, db=table)."""

    __slots__ = ("_txn", "generation", "get", "tables")

    def __init__(self, txn: Any, tables: Tables, generation: int) -> None:
        self._txn, self.tables, self.generation = txn, tables, generation
        self.get: Callable[..., bytes | None] = txn.get

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._txn.abort()

    close = __exit__

    def scan(self, table: Any, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """(key, row) of all rows whose key starts with `prefix`, in key order."""
        with self._txn.cursor(table) as cursor:
            if not (cursor.set_range(prefix) if prefix else cursor.first()):
                return
            for key, row in cursor:
                if not key.startswith(prefix):
                    return
                yield key, row

    def scan_keys(self, table: Any, prefix: bytes) -> Iterator[bytes]:
        """What follows `prefix` in every key of an index table that starts with it."""
        with self._txn.cursor(table) as cursor:
            if not (cursor.set_range(prefix) if prefix else cursor.first()):
                return
            length = len(prefix)
            for key in cursor.iternext(keys=True, values=False):
                if not key.startswith(prefix):
                    return
                yield key[length:]

    def has_prefix(self, table: Any, prefix: bytes) -> bool:
        """Whether any key of the table starts with `prefix`."""
        with self._txn.cursor(table) as cursor:
            return bool(cursor.set_range(prefix)) and cursor.key().startswith(prefix)

    def count(self, table: Any) -> int:
        """Number of rows of a table."""
        return int(self._txn.stat(table)["entries"])

    def index(self, *names: str) -> int:
        """The highest of Consul's index rows of these names, 0 where there is none."""
        best = 0
        for name in names:
            row = self.get(fold(name), None, self.tables.index)
            if row is not None:
                best = max(best, unpack_u64(row))
        return best

    def index_row(self, name: str) -> int | None:
        """One of Consul's index rows, None if it does not exist (which is not the same as 0)."""
        row = self.get(fold(name), None, self.tables.index)
        return None if row is None else unpack_u64(row)

    def index_rows(self) -> Iterator[tuple[str, int]]:
        """All index rows by key, as they are spelled."""
        for _key, row in self.scan(self.tables.index):
            yield bytes_text(row[8:]), unpack_u64(row)

    def applied(self) -> tuple[int, int]:
        """(index, term) of the last log entry this view contains."""
        row = self.get(b"applied", None, self.tables.meta)
        return (0, 0) if row is None else (unpack_u64(row), unpack_u64(row[8:]))

    def mark(self) -> tuple[int, int]:
        """(generation, number of the last write transaction this view contains): equal marks, the same state."""
        return self.generation, self._txn.id()

    def versions(self, watch: Watch) -> tuple[int | None, ...]:
        """Fingerprint of everything a watch covers: equal fingerprints mean an equal answer.

        Costs one or a few reads per topic. The store's generation is part of it."""
        get, tables = self.get, self.tables
        found: list[int | None] = [self.generation]
        for table, key in watch:
            if table == KEY:
                row = get(kv_key(text_bytes(key)), None, tables.kvs)
                if row is not None:
                    found.append(modify_index(row))
                    continue
                found.append(None)  # the index of a missing key is that of the whole table
                names: tuple[bytes, ...] = (V_KVS,)
            elif table == SERVICE:
                if key == ALL:
                    names = (V_NODES, V_SERVICES)
                else:
                    row = get(service_version(fold(key)), None, tables.versions)
                    if row is not None:
                        found.append(unpack_u64(row))
                        continue
                    found.append(None)
                    names = CATALOG_VERSIONS
            else:
                names = READS[table]
            for name in names:
                row = get(name, None, tables.versions)
                found.append(None if row is None else unpack_u64(row))
        return tuple(found)
