"""Small command families: coordinates (6), tombstone reaping (5), autopilot configuration (9)."""

from __future__ import annotations

import math

from services.raft_node.fsm import kv
from services.raft_node.fsm.errors import CommandError
from shared.state.keys import fold, pair
from shared.state.queries.operator import autopilot_config
from shared.state.tables import pack_row
from shared.state.topics import AUTOPILOT, COORDINATE
from shared.state.transaction import WriteTransaction
from shared.structs import wire
from shared.structs.coordinate import Coordinate, Vivaldi
from shared.structs.errors import WireTypeError
from shared.structs.kv import TombstoneRequest
from shared.structs.operator import AutopilotConfig, AutopilotSetConfigRequest


def is_finite(coordinate: Vivaldi | None) -> bool:
    """Whether a coordinate has no part that is infinite or not a number."""
    if coordinate is None:
        return False
    parts = (*(coordinate.vec or ()), coordinate.error, coordinate.adjustment, coordinate.height)
    return all(map(math.isfinite, parts))


def update_coordinates(tx: WriteTransaction, index: int, data: bytes) -> None:
    """Applies a batch of coordinates. Bad ones and those of unknown nodes are skipped; the index moves
    in any case."""
    updates = wire.unpack(data)
    if not isinstance(updates, list):
        raise WireTypeError(f"Coordinates: expected a list, got {type(updates).__name__}")
    for item in updates:
        update = Coordinate.from_wire(item)
        if not is_finite(update.coord) or tx.get(fold(update.node), None, tx.tables.nodes) is None:
            continue
        insert_coordinate(tx, update)
        tx.touch(COORDINATE, update.node.lower(), index)
    tx.set_index("coordinates", index)


def insert_coordinate(tx: WriteTransaction, coordinate: Coordinate) -> None:
    key = pair(coordinate.node, coordinate.segment)
    tx.put(key, pack_row(coordinate.to_row()), db=tx.tables.coordinates)


def reap(tx: WriteTransaction, index: int, data: bytes) -> None:
    """Applies one TombstoneRequest."""
    request = TombstoneRequest.from_wire(wire.unpack(data))
    if request.op != "reap":
        raise CommandError(f"Invalid Tombstone operation '{request.op}'")
    kv.reap_tombstones(tx, index, request.reap_index)


def set_autopilot(tx: WriteTransaction, index: int, data: bytes) -> bool | None:
    """Applies one AutopilotSetConfigRequest: None, or with CAS whether the index given was the current one."""
    request = AutopilotSetConfigRequest.from_wire(wire.unpack(data))
    existing = autopilot_config(tx).value
    config = request.config
    if request.cas and (existing is None or existing.modify_index != config.modify_index):
        return False
    config.create_index = index if existing is None else existing.create_index
    config.modify_index = index
    insert_autopilot(tx, config)
    tx.touch(AUTOPILOT, "", index)
    return True if request.cas else None


def insert_autopilot(tx: WriteTransaction, config: AutopilotConfig) -> None:
    tx.put(b"autopilot", pack_row(config.to_row()), db=tx.tables.settings)
