"""KV reads, with Consul's index rules: the key's own index, or that of tombstones, or the whole table's."""

from __future__ import annotations

from collections.abc import Iterator

from shared.state.answer import Answer
from shared.state.keys import MAX_KV_BYTES, bytes_text, kv_key, text_bytes
from shared.state.kvrow import entry_of, full_key, modify_index
from shared.state.snapshot import Snapshot
from shared.state.tables import unpack_u64
from shared.state.topics import KEY, PREFIX, Watch
from shared.structs.kv import DirEntry


def get(snap: Snapshot, key: str) -> Answer[DirEntry | None]:
    """One key. Index: the key's ModifyIndex; missing: that of the whole table with its tombstones."""
    watch: Watch = ((KEY, key),)
    if key:
        table_key = kv_key(text_bytes(key))
        row = snap.get(table_key, None, snap.tables.kvs)
        if row is not None:
            entry = entry_of(table_key, row)
            return Answer(max(1, entry.modify_index), entry, watch)
    return Answer(max(1, table_index(snap)), None, watch)


def tree(snap: Snapshot, prefix: str) -> Answer[list[DirEntry]]:
    """All keys under a prefix, in byte order.

    Index: the highest of these keys and of tombstones under the prefix, if there are any, else the whole
    table's; for the empty prefix always the whole table's."""
    entries = [entry_of(table_key, row) for table_key, row in rows_under(snap, text_bytes(prefix))]
    newest = max((entry.modify_index for entry in entries), default=0)
    return Answer(_tree_index(snap, prefix, newest), entries, ((PREFIX, prefix),))


def keys(snap: Snapshot, prefix: str, separator: str = "") -> Answer[list[str]]:
    """Keys under a prefix; with a separator cut after its first occurrence behind the prefix, without
    repetitions. Index as `tree`."""
    newest = 0
    found: list[str] = []
    start = len(prefix)
    for table_key, row in rows_under(snap, text_bytes(prefix)):
        newest = max(newest, modify_index(row))
        key = bytes_text(full_key(table_key, row))
        if separator:
            at = key.find(separator, start)
            if at >= 0:
                key = key[: at + len(separator)]
                if found and found[-1] == key:
                    continue
        found.append(key)
    return Answer(_tree_index(snap, prefix, newest), found, ((PREFIX, prefix),))


def lock_delay_until(snap: Snapshot, key: str) -> int:
    """CLOCK_MONOTONIC nanoseconds until which a key may not be locked, 0 if nothing stands in the way."""
    row = snap.get(kv_key(text_bytes(key)), None, snap.tables.lock_delays) if key else None
    return 0 if row is None else unpack_u64(row)


def table_index(snap: Snapshot) -> int:
    """Index of the whole KV table."""
    return snap.index("kvs", "tombstones")


def _tree_index(snap: Snapshot, prefix: str, newest: int) -> int:
    if prefix:
        for _key, row in _tombstones_under(snap, text_bytes(prefix)):
            newest = max(newest, unpack_u64(row))
    else:
        newest = table_index(snap)
    return max(1, newest or table_index(snap))


def rows_under(snap: Snapshot, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(table key, row) of all keys with a byte prefix, in the order of the keys."""
    run: list[tuple[bytes, bytes]] = []  # rows whose table key is a cut key: ordered only by their beginning
    for table_key, row in snap.scan(snap.tables.kvs, prefix[:MAX_KV_BYTES]):
        if len(table_key) > MAX_KV_BYTES:
            if run and run[0][0][:MAX_KV_BYTES] != table_key[:MAX_KV_BYTES]:
                yield from _in_order(run, prefix)
                run = []
            run.append((table_key, row))
            continue
        if run:
            yield from _in_order(run, prefix)
            run = []
        if table_key.startswith(prefix):
            yield table_key, row
    if run:
        yield from _in_order(run, prefix)


def _in_order(run: list[tuple[bytes, bytes]], prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    ordered = sorted((full_key(table_key, row), table_key, row) for table_key, row in run)
    for key, table_key, row in ordered:
        if key.startswith(prefix):
            yield table_key, row


def _tombstones_under(snap: Snapshot, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Tombstones whose key has the prefix."""
    for table_key, row in snap.scan(snap.tables.tombstones, prefix[:MAX_KV_BYTES]):
        key = row[8:] if len(table_key) > MAX_KV_BYTES else table_key
        if key.startswith(prefix):
            yield table_key, row
