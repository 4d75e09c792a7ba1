"""Network coordinates. Index of all of them: coordinates."""

from __future__ import annotations

from shared.state.answer import Answer
from shared.state.keys import fold
from shared.state.snapshot import Snapshot
from shared.state.tables import unpack_row
from shared.state.topics import ALL, COORDINATE
from shared.structs.coordinate import Coordinate


def nodes(snap: Snapshot) -> Answer[list[Coordinate]]:
    """Coordinates of all nodes, by node and segment."""
    found = [Coordinate.from_row(unpack_row(row)) for _key, row in snap.scan(snap.tables.coordinates)]
    return Answer(max(1, snap.index("coordinates")), found, ((COORDINATE, ALL),))


def node(snap: Snapshot, name: str) -> Answer[list[Coordinate]]:
    """Coordinates of one node in all segments."""
    rows = snap.scan(snap.tables.coordinates, fold(name))
    found = [Coordinate.from_row(unpack_row(row)) for _key, row in rows]
    return Answer(max(1, snap.index("coordinates")), found, ((COORDINATE, name.lower()),))
