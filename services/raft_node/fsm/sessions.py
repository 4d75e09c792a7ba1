"""Session commands (message type 3), and what follows when a session ends.

Lock delays are no replicated state: each server notes, when it applies the end of a session, until when the
keys it held may not be locked again, on its own clock. Only the leader's check before a lock reads them."""

from __future__ import annotations

from typing import Any

from services.raft_node.fsm import kv, prepared_queries
from services.raft_node.fsm.errors import CommandError
from shared.gotext.quoting import quote
from shared.state.keys import fold, kv_key, pair
from shared.state.queries.session import session_key
from shared.state.records import find_check, find_node
from shared.state.tables import pack_row, pack_u64, unpack_row, unpack_u64
from shared.state.topics import NODE_SESSIONS, SESSION
from shared.state.transaction import WriteTransaction
from shared.structs import wire
from shared.structs.catalog import CRITICAL
from shared.structs.session import CREATE, DELETE, DESTROY, RELEASE, Session, SessionRequest
from shared.structs.uuids import uuid_index_problem

MAX_LOCK_DELAY_NS = 60_000_000_000
_DELAYS_KEPT = 10_000
"""Expired lock delays are swept once this many rows have gathered."""


def apply(tx: WriteTransaction, index: int, data: bytes, now_ns: int) -> Any:
    """Applies one SessionRequest: the id for create, None for destroy. Raises CommandError, WireTypeError."""
    request = SessionRequest.from_wire(wire.unpack(data))
    if request.op == CREATE:
        create(tx, index, request.session)
        return request.session.id
    if request.op == DESTROY:
        destroy(tx, index, request.session.id, now_ns)
        return None
    raise CommandError(f"Invalid Session operation '{request.op}'")


def create(tx: WriteTransaction, index: int, session: Session) -> None:
    """Stores a new session after checking its node and checks."""
    if not session.id:
        raise CommandError("Missing session ID")
    if not session.behavior:
        session.behavior = RELEASE
    elif session.behavior not in (RELEASE, DELETE):
        raise CommandError(f"Invalid session behavior: {session.behavior}")
    if find_node(tx, session.node) is None:
        raise CommandError("Missing node registration")
    for check_id in session.check_ids():
        check = find_check(tx, session.node, check_id)
        if check is None:
            raise CommandError(f"Missing check '{check_id}' registration")
        if check.status == CRITICAL:
            raise CommandError(f"Check '{check_id}' is in {check.status} state")
    problem = uuid_index_problem(session.id)
    if problem is not None:
        raise CommandError(f"failed inserting session: failed to build primary index: {problem}")
    session.create_index = session.modify_index = index
    replaced = tx.get(session_key(session.id), None, tx.tables.sessions)
    if replaced is not None:  # the leader picks fresh ids, but nothing here depends on that
        old = Session.from_row(unpack_row(replaced))
        tx.delete(fold(old.node) + session_key(old.id), db=tx.tables.sessions_by_node)
        _touch(tx, old, index)
    insert(tx, session)
    tx.set_index("sessions", index)
    _touch(tx, session, index)


def insert(tx: WriteTransaction, session: Session) -> None:
    """Writes the rows of a session, without index rows."""
    key = session_key(session.id)
    tx.put(key, pack_row(session.to_row()), db=tx.tables.sessions)
    tx.put(fold(session.node) + key, b"", db=tx.tables.sessions_by_node)
    for check_id in session.check_ids():
        tx.put(pair(session.node, check_id) + key, b"", db=tx.tables.session_checks)


def destroy(tx: WriteTransaction, index: int, session_id: str, now_ns: int) -> None:
    """Ends a session: frees or deletes what it holds. Nothing happens if it does not exist."""
    problem = uuid_index_problem(session_id)
    if problem is not None:
        raise CommandError(f"failed session lookup: index error: {problem}")
    _destroy(tx, index, session_key(session_id), now_ns)


def _destroy(tx: WriteTransaction, index: int, key: bytes, now_ns: int) -> None:
    row = tx.get(key, None, tx.tables.sessions)
    if row is None:
        return
    session = Session.from_row(unpack_row(row))
    remove_row(tx, index, session)
    held = [table_key for _key, table_key in tx.scan(tx.tables.kvs_by_session, key)]
    delay_ns = min(session.lock_delay, MAX_LOCK_DELAY_NS)
    for table_key in held:
        if session.behavior == RELEASE:
            held_key = kv.release(tx, index, table_key)
        elif session.behavior == DELETE:
            held_key = kv.delete_row(tx, index, table_key)
        else:
            raise CommandError(f"unknown session behavior {quote(session.behavior)}")
        if held_key is not None and delay_ns > 0:
            _note_lock_delay(tx, held_key, now_ns, now_ns + delay_ns)
    for check_id in session.check_ids():
        tx.delete(pair(session.node, check_id) + key, db=tx.tables.session_checks)
    prepared_queries.delete_of_session(tx, index, key)


def remove_row(tx: WriteTransaction, index: int, session: Session) -> None:
    """Removes only the session itself: a transaction's session delete does no more than that, so that keys
    stay locked by a session that is gone."""
    if not session.id:
        raise CommandError("failed deleting session: object missing primary index")
    problem = uuid_index_problem(session.id)
    if problem is not None:
        raise CommandError(f"failed deleting session: failed to build primary index: {problem}")
    key = session_key(session.id)
    row = tx.get(key, None, tx.tables.sessions)
    if row is None:
        raise CommandError("failed deleting session: not found")
    stored = Session.from_row(unpack_row(row))
    tx.delete(key, db=tx.tables.sessions)
    tx.delete(fold(stored.node) + key, db=tx.tables.sessions_by_node)
    tx.set_index("sessions", index)
    _touch(tx, stored, index)


def destroy_for_check(tx: WriteTransaction, index: int, node: str, check_id: str, now_ns: int) -> None:
    """Ends all sessions that depend on a check which is critical or gone."""
    for key in list(tx.scan_keys(tx.tables.session_checks, pair(node, check_id))):
        _destroy(tx, index, key, now_ns)


def destroy_for_node(tx: WriteTransaction, index: int, node: str, now_ns: int) -> None:
    """Ends all sessions of a node."""
    for key in list(tx.scan_keys(tx.tables.sessions_by_node, fold(node))):
        _destroy(tx, index, key, now_ns)


def _touch(tx: WriteTransaction, session: Session, index: int) -> None:
    tx.touch(SESSION, session.id, index)
    tx.touch(NODE_SESSIONS, session.node.lower(), index)


def _note_lock_delay(tx: WriteTransaction, key: bytes, now_ns: int, until_ns: int) -> None:
    table = tx.tables.lock_delays
    if tx.count(table) >= _DELAYS_KEPT:
        for old_key in [k for k, row in tx.scan(table) if unpack_u64(row) <= now_ns]:
            tx.delete(old_key, db=table)
    tx.put(kv_key(key), pack_u64(until_ns), db=table)
