"""Prepared query reads, and which query a name leads to. Index of all of them: prepared-queries."""

from __future__ import annotations

from hashlib import blake2b

from shared.state.answer import Answer
from shared.state.errors import StateLookupError
from shared.state.keys import fold, text_bytes
from shared.state.snapshot import Snapshot
from shared.state.tables import unpack_row
from shared.state.topics import ALL, PREPARED_QUERY
from shared.structs.prepared_query import PreparedQuery
from shared.structs.uuids import is_uuid, uuid_index_problem

_PREFIX_BYTES_MAX = 400
"""Longer name prefixes of templates are cut in their key and have a hash there."""


def query_key(query_id: str) -> bytes:
    """Table key of a query: the hex digits of its id."""
    return query_id.replace("-", "").lower().encode("utf-8", "surrogateescape")[:64]


def template_key(name: str) -> bytes:
    """Key of a template by its name prefix, which may be empty."""
    raw = text_bytes(name.lower())
    if len(raw) <= _PREFIX_BYTES_MAX:
        return b"\0" + raw
    return b"\1" + raw[:_PREFIX_BYTES_MAX] + blake2b(raw, digest_size=16).digest()


def find(snap: Snapshot, query_id: str) -> PreparedQuery | None:
    """The query of an id. Raises StateLookupError if the text cannot be one."""
    problem = uuid_index_problem(query_id)
    if problem is not None:
        raise StateLookupError(f"failed prepared query lookup: index error: {problem}")
    return read(snap, query_key(query_id))


def read(snap: Snapshot, key: bytes) -> PreparedQuery | None:
    row = snap.get(key, None, snap.tables.prepared_queries)
    return None if row is None else PreparedQuery.from_row(unpack_row(row))


def find_by_name(snap: Snapshot, name: str) -> PreparedQuery | None:
    """The query or template that is called exactly so, in any case."""
    key = snap.get(fold(name), None, snap.tables.prepared_queries_by_name) if name else None
    return None if key is None else read(snap, key)


def find_template(snap: Snapshot, name: str) -> PreparedQuery | None:
    """The template of exactly this name prefix."""
    key = snap.get(template_key(name), None, snap.tables.prepared_queries_by_template)
    return None if key is None else read(snap, key)


def longest_template(snap: Snapshot, name: str) -> PreparedQuery | None:
    """The template with the longest name that `name` begins with."""
    raw, table = text_bytes(name.lower()), snap.tables.prepared_queries_by_template
    if len(raw) > _PREFIX_BYTES_MAX:
        cut = [read(snap, key) for _, key in snap.scan(table, b"\1" + raw[:_PREFIX_BYTES_MAX])]
        fitting = [query for query in cut if query is not None and name.lower().startswith(query.name.lower())]
        if fitting:
            return max(fitting, key=lambda query: len(query.name))
    for length in range(min(len(raw), _PREFIX_BYTES_MAX), -1, -1):
        key = snap.get(b"\0" + raw[:length], None, table)
        if key is not None:
            return read(snap, key)
    return None


def lookup(snap: Snapshot, id_or_name: str) -> PreparedQuery | None:
    """The query an id or name leads to, a template as it is stored: id, then exact name, then longest prefix.

    Raises StateLookupError with Consul's text for an empty name, and for a template that is asked for by its id."""
    if not id_or_name:
        raise StateLookupError("Missing Query ID")
    if is_uuid(id_or_name):
        query = find(snap, id_or_name)
        if query is not None and query.is_template:
            raise StateLookupError("prepared query templates can only be resolved up by name, not by ID")
        if query is not None:
            return query
    return find_by_name(snap, id_or_name) or longest_template(snap, id_or_name)


def get(snap: Snapshot, query_id: str) -> Answer[PreparedQuery | None]:
    """One query. Raises StateLookupError."""
    return Answer(_index(snap), find(snap, query_id), ((PREPARED_QUERY, query_id.lower()),))


def queries(snap: Snapshot) -> Answer[list[PreparedQuery]]:
    """All queries by id."""
    found = [PreparedQuery.from_row(unpack_row(row)) for _, row in snap.scan(snap.tables.prepared_queries)]
    return Answer(_index(snap), found, ((PREPARED_QUERY, ALL),))


def _index(snap: Snapshot) -> int:
    return max(1, snap.index("prepared-queries"))
