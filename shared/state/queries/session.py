"""Session reads. Index of all of them: sessions."""

from __future__ import annotations

from shared.state.answer import Answer
from shared.state.keys import fold
from shared.state.snapshot import Snapshot
from shared.state.tables import unpack_row
from shared.state.topics import ALL, NODE_SESSIONS, SESSION
from shared.structs.session import Session


def get(snap: Snapshot, session_id: str) -> Answer[Session | None]:
    """One session."""
    return Answer(max(1, snap.index("sessions")), find(snap, session_id), ((SESSION, session_id),))


def all_sessions(snap: Snapshot) -> Answer[list[Session]]:
    """All sessions by id."""
    found = [Session.from_row(unpack_row(row)) for _key, row in snap.scan(snap.tables.sessions)]
    return Answer(max(1, snap.index("sessions")), found, ((SESSION, ALL),))


def node_sessions(snap: Snapshot, node: str) -> Answer[list[Session]]:
    """Sessions of a node."""
    found: list[Session] = []
    for session_id in snap.scan_keys(snap.tables.sessions_by_node, fold(node)):
        session = find(snap, session_id.decode())
        if session is not None:
            found.append(session)
    return Answer(max(1, snap.index("sessions")), found, ((NODE_SESSIONS, node.lower()),))


def find(snap: Snapshot, session_id: str) -> Session | None:
    key = session_id.encode("utf-8", "surrogateescape")
    row = snap.get(key, None, snap.tables.sessions) if 0 < len(key) <= 255 else None
    return None if row is None else Session.from_row(unpack_row(row))
