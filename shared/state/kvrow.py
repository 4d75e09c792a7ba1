"""Rows of the kvs table, packed by hand: the hottest rows of the store.

create u64, modify u64, lock u64, flags u64, session length u8, long-key length u32 (0 unless the table key is
a cut key), then session, long key, value. A read of one field is one unpack_from; nothing is parsed twice."""

from __future__ import annotations

from struct import Struct as Packing

from shared.state.keys import MAX_KV_BYTES, bytes_text, text_bytes
from shared.structs.kv import DirEntry

HEADER = Packing("<QQQQBI")
unpack_header = HEADER.unpack_from
HEADER_SIZE = HEADER.size
_MODIFY = Packing("<8xQ").unpack_from


def make_row(create: int, modify: int, lock: int, flags: int, session: bytes, key: bytes, value: bytes | None) -> bytes:
    """A row. `session` is at most 255 bytes (they are UUIDs)."""
    long_key = key if len(key) > MAX_KV_BYTES else b""
    head = HEADER.pack(create, modify, lock, flags, len(session), len(long_key))
    return b"".join((head, session, long_key, value or b""))


def modify_index(row: bytes) -> int:
    return int(_MODIFY(row)[0])


def row_session(row: bytes) -> bytes:
    return row[HEADER_SIZE : HEADER_SIZE + row[32]]


def full_key(table_key: bytes, row: bytes) -> bytes:
    """The KV key of a row, which the table key may hold only in part."""
    if len(table_key) <= MAX_KV_BYTES:
        return table_key
    _create, _modify, _lock, _flags, session_length, key_length = unpack_header(row)
    start = HEADER_SIZE + session_length
    return row[start : start + key_length]


def entry_of(table_key: bytes, row: bytes) -> DirEntry:
    """The record of a row."""
    create, modify, lock, flags, session_length, key_length = unpack_header(row)
    start = HEADER_SIZE
    session = ""
    if session_length:
        session = row[start : start + session_length].decode()
        start += session_length
    if key_length:
        table_key = row[start : start + key_length]
        start += key_length
    return DirEntry(lock, bytes_text(table_key), flags, row[start:] or None, session, create, modify)


def row_of(entry: DirEntry) -> bytes:
    """The row of a record, indexes as they are in it."""
    return make_row(
        entry.create_index,
        entry.modify_index,
        entry.lock_index,
        entry.flags,
        entry.session.encode(),
        text_bytes(entry.key),
        entry.value,
    )
