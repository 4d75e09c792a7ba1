"""Prepared query commands (message type 7). Names are unique, a template must compile and is found by its name
prefix, and a query that is bound to a session goes with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.raft_node.fsm.errors import CommandError
from shared.gotext.quoting import quote
from shared.state.errors import StateLookupError
from shared.state.keys import fold
from shared.state.queries import session as sessions
from shared.state.queries.prepared_query import (
    find,
    find_by_name,
    find_template,
    query_key,
    read,
    template_key,
)
from shared.state.snapshot import Snapshot
from shared.state.tables import pack_row, unpack_row
from shared.state.topics import PREPARED_QUERY
from shared.state.transaction import WriteTransaction
from shared.structs import wire
from shared.structs.prepared_query import CREATE, DELETE, UPDATE, PreparedQuery, PreparedQueryRequest
from shared.structs.uuids import is_uuid, uuid_index_problem

TABLE = "prepared-queries"


def apply(tx: WriteTransaction, index: int, data: bytes) -> None:
    """Applies one PreparedQueryRequest. Raises CommandError, WireTypeError."""
    request = PreparedQueryRequest.from_wire(wire.unpack(data))
    query = request.query or PreparedQuery()
    if request.op in (CREATE, UPDATE):
        try:
            _set(tx, index, query)
        except StateLookupError as error:
            raise CommandError(str(error)) from None
    elif request.op == DELETE:
        try:
            existing = find(tx, query.id)
        except StateLookupError as error:
            raise CommandError(f"failed prepared query delete: {error}") from None
        if existing is not None:
            _delete(tx, index, existing)
    else:
        raise CommandError(f"Invalid PreparedQuery operation '{request.op}'")


def _set(tx: WriteTransaction, index: int, query: PreparedQuery) -> None:
    if not query.id:
        raise CommandError("Missing Query ID")
    existing = find(tx, query.id)
    query.create_index = existing.create_index if existing is not None else index
    query.modify_index = index
    _check_name(tx, query, existing)
    if query.session:
        _check_session(tx, query.session)
    if query.is_template:
        from shared.query_template import TemplateError, compile_template

        try:
            compile_template(query)
        except TemplateError as error:
            raise CommandError(f"failed compiling template: {error}") from None
    if existing is not None:
        _remove(tx, existing)
    insert(tx, query)
    tx.set_index(TABLE, index)
    tx.touch(PREPARED_QUERY, query.id.lower(), index)


def _check_name(tx: WriteTransaction, query: PreparedQuery, existing: PreparedQuery | None) -> None:
    """Queries are found by id or name: no name may lead to two, nor look like the id of another."""
    if query.name:
        other = find_by_name(tx, query.name)
        if other is not None and (existing is None or existing.id != other.id):
            raise CommandError(f"name '{query.name}' aliases an existing query name")
    elif query.is_template:
        other = find_template(tx, "")
        if other is not None and (existing is None or existing.id != other.id):
            raise CommandError("a query template with an empty name already exists")
    if is_uuid(query.name) and find(tx, query.name) is not None:
        raise CommandError(f"name '{query.name}' aliases an existing query ID")


def _check_session(tx: WriteTransaction, session_id: str) -> None:
    problem = uuid_index_problem(session_id)
    if problem is not None:
        raise CommandError(f"invalid session: index error: {problem}")
    if tx.get(sessions.session_key(session_id), None, tx.tables.sessions) is None:
        raise CommandError(f"invalid session {quote(session_id)}")


def _delete(tx: WriteTransaction, index: int, query: PreparedQuery) -> None:
    _remove(tx, query)
    tx.set_index(TABLE, index)
    tx.touch(PREPARED_QUERY, query.id.lower(), index)


def delete_of_session(tx: WriteTransaction, index: int, session_key: bytes) -> None:
    """Removes the queries that are bound to a session which has ended."""
    for key in list(tx.scan_keys(tx.tables.prepared_queries_by_session, session_key)):
        query = read(tx, key)
        if query is not None:
            _delete(tx, index, query)


# Rows -----------------------------------------------------------------------------------------------------


def insert(tx: WriteTransaction, query: PreparedQuery) -> None:
    """Writes the rows of a query, without index rows."""
    key, tables = query_key(query.id), tx.tables
    tx.put(key, pack_row(query.to_row()), db=tables.prepared_queries)
    if query.name:
        tx.put(fold(query.name), key, db=tables.prepared_queries_by_name)
    if query.is_template:
        tx.put(template_key(query.name), key, db=tables.prepared_queries_by_template)
    if query.session:
        tx.put(sessions.session_key(query.session) + key, b"", db=tables.prepared_queries_by_session)


def _remove(tx: WriteTransaction, query: PreparedQuery) -> None:
    key, tables = query_key(query.id), tx.tables
    tx.delete(key, db=tables.prepared_queries)
    if query.name:
        tx.delete(fold(query.name), db=tables.prepared_queries_by_name)
    if query.is_template:
        tx.delete(template_key(query.name), db=tables.prepared_queries_by_template)
    if query.session:
        tx.delete(sessions.session_key(query.session) + key, db=tables.prepared_queries_by_session)


def restore(tx: WriteTransaction, query: PreparedQuery) -> None:
    """Takes over a query of a snapshot."""
    insert(tx, query)
    tx.raise_index(TABLE, query.modify_index)


def records(snap: Snapshot) -> Iterator[dict[str, Any]]:
    """All queries as a snapshot holds them, by id."""
    for _key, row in snap.scan(snap.tables.prepared_queries):
        yield PreparedQuery.from_row(unpack_row(row)).to_wire()
