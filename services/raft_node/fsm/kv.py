"""KV commands (message type 2): set, delete, cas, lock, unlock and their relatives.

Every operation validates before it writes, so a failed one leaves no trace. Indexes, tombstones and lock
counters follow Consul exactly, since they are visible to clients and must be equal on all servers."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgpack

from services.raft_node.fsm.errors import CommandError
from shared.gotext.quoting import quote
from shared.state.keys import MAX_KV_BYTES, bytes_text, kv_key
from shared.state.kvrow import HEADER, HEADER_SIZE, entry_of, full_key, row_session, unpack_header
from shared.state.queries.kv import rows_under
from shared.state.queries.session import session_key
from shared.state.tables import pack_u64, unpack_u64
from shared.state.topics import KEY, TREE, V_KVS
from shared.state.transaction import WriteTransaction
from shared.structs.kv import DirEntry
from shared.structs.uuids import uuid_index_problem

_pack_header = HEADER.pack
_U64_MAX = 2**64 - 1


def apply(tx: WriteTransaction, index: int, data: bytes) -> Any:
    """Applies one KVSRequest. Returns a bool for the cas and lock operations, else None.

    Raises CommandError. Raises ValueError, TypeError or KeyError for a request that is not one."""
    # Decoded by hand: this is the hottest command, and a value must not be taken for text.
    request = msgpack.unpackb(data, raw=True)
    entry = request[b"DirEnt"]
    operation = request[b"Op"]
    key = entry[b"Key"]
    if operation == b"set":
        put(tx, index, key, entry.get(b"LockIndex") or 0, entry.get(b"Flags") or 0, entry.get(b"Value"))
        return None
    if operation == b"delete":
        delete(tx, index, key)
        return None
    if operation == b"delete-tree":
        delete_tree(tx, index, key)
        return None
    wanted = entry.get(b"ModifyIndex") or 0
    if operation == b"delete-cas":
        return delete_cas(tx, index, key, wanted)
    flags, value = entry.get(b"Flags") or 0, entry.get(b"Value")
    if operation == b"cas":
        return put_cas(tx, index, key, entry.get(b"LockIndex") or 0, flags, value, wanted)
    session = bytes_text(entry.get(b"Session") or b"")
    if operation == b"lock":
        return lock(tx, index, key, flags, value, session)
    if operation == b"unlock":
        return unlock(tx, index, key, flags, value, session)
    raise CommandError(f"Invalid KVS operation '{bytes_text(operation or b'')}'")


def put(tx: WriteTransaction, index: int, key: bytes, lock_index: int, flags: int, value: bytes | None) -> None:
    """Sets a key. Keeps the lock holder of the existing row, but takes the lock counter from the request:
    that is how a plain PUT resets it."""
    table_key = key if len(key) <= MAX_KV_BYTES else kv_key(key)
    kvs = tx.tables.kvs
    old = tx.get(table_key, None, kvs) if table_key else None
    if old is None:
        write(tx, index, key, table_key, index, lock_index, flags, b"", value, b"")
        return
    create, _modify, old_lock_index, old_flags, session_length, key_length = unpack_header(old)
    start = HEADER_SIZE + session_length
    if old_lock_index == lock_index and old_flags == flags and old[start + key_length :] == (value or b""):
        return
    session = old[HEADER_SIZE:start]
    write(tx, index, key, table_key, create, lock_index, flags, session, value, session)


def write(
    tx: WriteTransaction,
    index: int,
    key: bytes,
    table_key: bytes,
    create: int,
    lock_index: int,
    flags: int,
    session: bytes,
    value: bytes | None,
    old_session: bytes,
) -> None:
    """Writes a row that is known to differ from the old one, with everything that follows from it."""
    if not table_key:
        raise CommandError("failed inserting kvs entry: object missing primary index")
    if table_key is key:
        head = _pack_header(create, index, lock_index, flags, len(session), 0)
        row = b"".join((head, session, value)) if value else head + session
    else:
        head = _pack_header(create, index, lock_index, flags, len(session), len(key))
        row = b"".join((head, session, key, value or b""))
    tx.put(table_key, row, db=tx.tables.kvs)
    if session != old_session:
        _move_session(tx, table_key, old_session, session)
    tx.key_changed(KEY, key, index)


def _move_session(tx: WriteTransaction, table_key: bytes, old: bytes, new: bytes) -> None:
    if old:
        tx.delete(held_key(old, table_key), db=tx.tables.kvs_by_session)
    if new:
        tx.put(held_key(new, table_key), table_key, db=tx.tables.kvs_by_session)


def held_key(session: bytes, table_key: bytes) -> bytes:
    """Key of kvs_by_session; its value is the table key of the held key."""
    return session_key(bytes_text(session)) + blake2b(table_key, digest_size=16).digest()


def put_cas(
    tx: WriteTransaction,
    index: int,
    key: bytes,
    lock_index: int,
    flags: int,
    value: bytes | None,
    wanted: int,
) -> bool:
    """Sets a key if its ModifyIndex is `wanted`, or, with 0, if it does not exist."""
    old = read(tx, key)
    if (wanted == 0) != (old is None):
        return False
    if old is not None and old.modify_index != wanted:
        return False
    put(tx, index, key, lock_index, flags, value)
    return True


def delete(tx: WriteTransaction, index: int, key: bytes) -> None:
    """Deletes a key, leaving a tombstone; nothing happens if it does not exist."""
    table_key = kv_key(key)
    row = tx.get(table_key, None, tx.tables.kvs) if table_key else None
    if row is None:
        return
    bury(tx, index, key)
    _remove(tx, table_key, row)
    tx.key_changed(KEY, key, index)


def bury(tx: WriteTransaction, index: int, key: bytes) -> None:
    """Puts up a tombstone."""
    table_key = kv_key(key)
    long_key = key if len(table_key) > MAX_KV_BYTES else b""
    tx.put(table_key, pack_u64(index) + long_key, db=tx.tables.tombstones)
    tx.set_index("tombstones", index)


def _remove(tx: WriteTransaction, table_key: bytes, row: bytes) -> None:
    tx.delete(table_key, db=tx.tables.kvs)
    session = row_session(row)
    if session:
        _move_session(tx, table_key, session, b"")


def delete_cas(tx: WriteTransaction, index: int, key: bytes, wanted: int) -> bool:
    """Deletes a key if its ModifyIndex is `wanted`. True also if it does not exist."""
    old = read(tx, key)
    if old is None:
        return True
    if old.modify_index != wanted:
        return False
    delete(tx, index, key)
    return True


def delete_tree(tx: WriteTransaction, index: int, prefix: bytes) -> None:
    """Deletes all keys under a prefix, leaving one tombstone for the prefix (none if it is empty)."""
    doomed = list(rows_under(tx, prefix))
    if not doomed:
        return
    for table_key, row in doomed:
        _remove(tx, table_key, row)
    if prefix:
        bury(tx, index, prefix)
    tx.key_changed(TREE, prefix, index)


def lock(tx: WriteTransaction, index: int, key: bytes, flags: int, value: bytes | None, session: str) -> bool:
    """Sets a key and makes `session` its holder. False if somebody else holds it."""
    holder = known_session(tx, session)
    old = read(tx, key)
    if old is not None and old.session and old.session != session:
        return False
    relocked = old is not None and old.session == session
    lock_index = ((old.lock_index if old is not None else 0) + (0 if relocked else 1)) & _U64_MAX
    _put_locked(tx, index, key, flags, value, holder, lock_index, old)
    return True


def unlock(tx: WriteTransaction, index: int, key: bytes, flags: int, value: bytes | None, session: str) -> bool:
    """Sets a key and gives up the lock. False if `session` does not hold it."""
    if not session:
        raise CommandError("missing session")
    old = read(tx, key)
    if old is None or old.session != session:
        return False
    _put_locked(tx, index, key, flags, value, b"", old.lock_index, old)
    return True


def release(tx: WriteTransaction, index: int, table_key: bytes) -> bytes | None:
    """Takes the lock off a key whose session has ended. Returns the key, None if there is no such row."""
    row = tx.get(table_key, None, tx.tables.kvs)
    if row is None:
        return None
    key = full_key(table_key, row)
    old = entry_of(table_key, row)
    _put_locked(tx, index, key, old.flags, old.value, b"", old.lock_index, old)
    return key


def delete_row(tx: WriteTransaction, index: int, table_key: bytes) -> bytes | None:
    """Deletes a key whose session has ended. Returns the key, None if there is no such row."""
    row = tx.get(table_key, None, tx.tables.kvs)
    if row is None:
        return None
    key = full_key(table_key, row)
    delete(tx, index, key)
    return key


def _put_locked(
    tx: WriteTransaction,
    index: int,
    key: bytes,
    flags: int,
    value: bytes | None,
    session: bytes,
    lock_index: int,
    old: DirEntry | None,
) -> None:
    table_key = key if len(key) <= MAX_KV_BYTES else kv_key(key)
    if old is None:
        write(tx, index, key, table_key, index, lock_index, flags, session, value, b"")
        return
    old_session = old.session.encode()
    unchanged = (
        old.lock_index == lock_index
        and old.flags == flags
        and (old.value or b"") == (value or b"")
        and old_session == session
    )
    if not unchanged:
        write(tx, index, key, table_key, old.create_index, lock_index, flags, session, value, old_session)


def known_session(tx: WriteTransaction, session: str) -> bytes:
    """The id of a session as rows hold it. Raises CommandError if there is no such session."""
    if not session:
        raise CommandError("missing session")
    problem = uuid_index_problem(session)
    if problem is not None:
        raise CommandError(f"failed session lookup: index error: {problem}")
    if tx.get(session_key(session), None, tx.tables.sessions) is None:
        raise CommandError(f"invalid session {quote(session)}")
    return session.encode()


def read(tx: WriteTransaction, key: bytes) -> DirEntry | None:
    """The record of a key as the batch has left it so far."""
    table_key = kv_key(key)
    row = tx.get(table_key, None, tx.tables.kvs) if table_key else None
    return None if row is None else entry_of(table_key, row)


def reap_tombstones(tx: WriteTransaction, index: int, up_to: int) -> None:
    """Removes tombstones with an index up to `up_to`. No table index moves, but prefix answers change."""
    doomed = [key for key, row in tx.scan(tx.tables.tombstones) if unpack_u64(row) <= up_to]
    for key in doomed:
        tx.delete(key, db=tx.tables.tombstones)
    if doomed:
        tx.bump_version(V_KVS, index)
