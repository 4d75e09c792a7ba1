"""Servers in the Raft configuration as gossip knows them: one that comes is added without a vote, one that
leaves is removed. Who gets a vote is autopilot's decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.rpc_core.core import Core
from services.rpc_core.errors import from_neighbour
from services.rpc_core.members import Server
from shared.ipc import IpcError
from shared.log import get_logger

_log = get_logger("agent.server")

ADD_NON_VOTER, REMOVE_SERVER = "AddNonvoter", "RemoveServer"
READ_TIMEOUT_S = 10.0
CHANGE_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class RaftServer:
    """One entry of the Raft configuration."""

    server_id: str
    address: str
    voter: bool


def stale_entries(configured: Sequence[RaftServer], server_id: str, address: str) -> list[RaftServer] | None:
    """Entries that have to go before a server can be added, None if it is there already.

    An entry with only one of its id and address is its former self, or a server that had its address."""
    if any(one.server_id == server_id and one.address == address for one in configured):
        return None
    return [one for one in configured if one.server_id == server_id or one.address == address]


async def raft_servers(core: Core) -> list[RaftServer]:
    """The latest configuration. Raises RpcError."""
    try:
        answer = await core.raft.call("Raft.Configuration", timeout_s=READ_TIMEOUT_S, retry_safe=True)
    except IpcError as error:
        _log.error("failed to get raft configuration", error=str(error))
        raise from_neighbour(error) from None
    return [RaftServer(one["id"], one["address"], one["voter"]) for one in answer["servers"]]


async def add_server(core: Core, configured: Sequence[RaftServer], server: Server) -> None:
    """Put a server that gossip has found into the configuration. Raises RpcError."""
    stale = stale_entries(configured, server.node_id, server.address)
    if stale is None:
        return
    for one in stale:
        await change(core, REMOVE_SERVER, one.server_id, one.address)
        if one.address == server.address:
            _log.info("removed server with duplicate address", address=one.address)
        else:
            _log.info("removed server with duplicate ID", id=one.server_id)
    try:
        await change(core, ADD_NON_VOTER, server.node_id, server.address)
    except Exception as error:
        _log.error("failed to add raft peer", error=str(error))
        raise


async def remove_server(core: Core, server_id: str, address: str) -> None:
    """Take a server that has left out of the configuration, found by id or else by address. Raises RpcError."""
    configured = await raft_servers(core)
    found = next((one for one in configured if one.server_id == server_id), None)
    if found is None:
        found = next((one for one in configured if one.address == address), None)
    if found is None:
        return
    _log.info("removing server by ID", id=found.server_id)
    try:
        await change(core, REMOVE_SERVER, found.server_id, found.address)
    except Exception as error:
        _log.error("failed to remove raft peer", id=found.server_id, error=str(error))
        raise


async def change(core: Core, command: str, server_id: str, address: str) -> None:
    """Change the configuration by one server. Raises RpcError."""
    payload = {"command": command, "id": server_id, "address": address, "prev_index": 0}
    try:
        await core.raft.call("Raft.ChangeConfiguration", payload, timeout_s=CHANGE_TIMEOUT_S)
    except IpcError as error:
        raise from_neighbour(error) from None
