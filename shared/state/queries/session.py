"""Session reads. Index of all of them: sessions."""

from __future__ import annotations

from shared.state.answer import Answer
from shared.state.errors import StateLookupError
from shared.state.keys import fold
from shared.state.snapshot import Snapshot
from shared.state.tables import unpack_row
from shared.state.topics import ALL, NODE_SESSIONS, SESSION
from shared.structs.session import Session
from shared.structs.uuids import uuid_index_problem


def get(snap: Snapshot, session_id: str) -> Answer[Session | None]:
    """One session. Raises StateLookupError for a text that is no UUID, with the text Consul answers."""
    return Answer(max(1, snap.index("sessions")), find(snap, session_id), ((SESSION, session_id),))


def all_sessions(snap: Snapshot) -> Answer[list[Session]]:
    """All sessions by id."""
    found = [Session.from_row(unpack_row(row)) for _key, row in snap.scan(snap.tables.sessions)]
    return Answer(max(1, snap.index("sessions")), found, ((SESSION, ALL),))


def node_sessions(snap: Snapshot, node: str) -> Answer[list[Session]]:
    """Sessions of a node."""
    found: list[Session] = []
    for session_id in snap.scan_keys(snap.tables.sessions_by_node, fold(node)):
        row = snap.get(session_id, None, snap.tables.sessions)
        if row is not None:
            found.append(Session.from_row(unpack_row(row)))
    return Answer(max(1, snap.index("sessions")), found, ((NODE_SESSIONS, node.lower()),))


def find(snap: Snapshot, session_id: str) -> Session | None:
    """The session of an id. Raises StateLookupError if the text cannot be one."""
    problem = uuid_index_problem(session_id)
    if problem is not None:
        raise StateLookupError(f"failed session lookup: index error: {problem}")
    row = snap.get(session_key(session_id), None, snap.tables.sessions)
    return None if row is None else Session.from_row(unpack_row(row))


def session_key(session_id: str) -> bytes:
    """Table key of a session: the hex digits of its id."""
    return session_id.replace("-", "").lower().encode("utf-8", "surrogateescape")[:64]
