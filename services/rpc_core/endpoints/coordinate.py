"""Coordinate.*: network coordinates, gathered and written to the log in batches."""

from __future__ import annotations

import math
from typing import Any

import trio

from services.rpc_core.core import Core
from services.rpc_core.errors import RpcError, from_neighbour
from services.rpc_core.members import server_of
from services.rpc_core.pool import WAN
from shared.ipc import IpcError
from shared.log import get_logger
from shared.state.queries import coordinate
from shared.structs.commands import COORDINATE_BATCH
from shared.structs.coordinate import Coordinate, CoordinateUpdateRequest, Vivaldi
from shared.structs.query import DCSpecificRequest, NodeSpecificRequest
from shared.structs.wire import pack

_log = get_logger("agent.server.coordinate")

DIMENSIONS = 8
CALL_TIMEOUT_S = 10.0


async def update(core: Core, args: CoordinateUpdateRequest) -> None:
    """Remember the newest coordinate of a node until the next batch. Raises RpcError."""
    await core.router.answer_here("Coordinate.Update", args.datacenter)
    coord = args.coord
    if coord is None or not _is_finite(coord):
        raise RpcError("invalid coordinate")
    if len(coord.vec or ()) != DIMENSIONS:
        raise RpcError("incompatible coordinate")
    core.coordinate_updates[args.node, args.segment] = coord


def _is_finite(coord: Vivaldi) -> bool:
    parts = (*(coord.vec or ()), coord.error, coord.adjustment, coord.height)
    return all(math.isfinite(part) for part in parts)


async def _update(core: Core, body: Any) -> dict[str, Any]:
    await update(core, CoordinateUpdateRequest.from_wire(body))
    return {}


async def flush_for_ever(core: Core, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Writes what was gathered, once a period, in batches; more than they hold is discarded."""
    task_status.started()
    while True:
        await trio.sleep(core.config.coordinate.update_period_s)
        if not core.coordinate_updates:
            continue
        pending, core.coordinate_updates = core.coordinate_updates, {}
        limits = core.config.coordinate
        room = limits.update_batch_size * limits.update_max_batches
        if len(pending) > room:
            _log.warn("Discarded coordinate updates", number_discarded=len(pending) - room)
        updates = [
            Coordinate(node=node, segment=segment, coord=coord).to_wire()
            for (node, segment), coord in list(pending.items())[:room]
        ]
        try:
            for start in range(0, len(updates), limits.update_batch_size):
                batch = updates[start : start + limits.update_batch_size]
                await core.apply_command(bytes((COORDINATE_BATCH,)) + pack(batch))
        except RpcError as error:
            _log.warn("Batch update failed", error=str(error))


async def _list_datacenters(core: Core, body: Any) -> list[dict[str, Any]]:
    """Datacenters of the WAN pool with the coordinates of their servers there, as far as they are known."""
    if WAN not in core.pools.names:
        return []
    try:
        known = await core.gossip.call("Gossip.Coordinates", {"pool": "wan"}, timeout_s=CALL_TIMEOUT_S, retry_safe=True)
    except IpcError as error:
        raise from_neighbour(error) from None
    by_datacenter: dict[str, list[dict[str, Any]]] = {name: [] for name in core.pools.datacenters()}
    for member in core.pools.wan():
        server = server_of(member)
        if server is not None and member.name in known and server.datacenter in by_datacenter:
            node = member.name.removesuffix(f".{server.datacenter}")
            entry = {"Node": node, "Segment": "", "Coord": known[member.name]}
            by_datacenter[server.datacenter].append(entry)
    return [
        {"Datacenter": name, "AreaID": "wan", "Coordinates": found or None} for name, found in by_datacenter.items()
    ]


async def _list_nodes(core: Core, body: Any) -> dict[str, Any]:
    args = DCSpecificRequest.from_wire(body)
    reply = await core.read("Coordinate.ListNodes", args.datacenter, args, coordinate.nodes)
    return reply.to_wire("Coordinates", [one.to_wire() for one in reply.value] or None)


async def _node(core: Core, body: Any) -> dict[str, Any]:
    args = NodeSpecificRequest.from_wire(body)
    reply = await core.read("Coordinate.Node", args.datacenter, args, lambda snap: coordinate.node(snap, args.node))
    return reply.to_wire("Coordinates", [one.to_wire() for one in reply.value] or None)


METHODS = {
    "Coordinate.Update": _update,
    "Coordinate.ListDatacenters": _list_datacenters,
    "Coordinate.ListNodes": _list_nodes,
    "Coordinate.Node": _node,
}
