"""Servers in the Raft configuration as gossip knows them: one that comes is added without a vote, one that
leaves is removed. Who gets a vote is autopilot's decision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import trio

from services.rpc_core.core import Core
from services.rpc_core.errors import RpcError, from_neighbour
from services.rpc_core.leader.autopilot.protocol import WITH_IDS, WITH_NON_VOTERS, min_raft_protocol
from services.rpc_core.leader.autopilot.succession import successor
from services.rpc_core.leader.raft_server import RaftServer, stale_entries
from services.rpc_core.members import Member, Server, server_of
from shared.gotext.quoting import quote
from shared.ipc import IpcError, RemoteError
from shared.log import get_logger

_log = get_logger("agent.server")

ADD_VOTER, ADD_NON_VOTER, REMOVE_SERVER = "AddStaging", "AddNonvoter", "RemoveServer"
READ_TIMEOUT_S = 10.0
CHANGE_TIMEOUT_S = 30.0
CHANGE_PENDING = "change_pending"
"""Code of raft_node for "the change before this one is not committed yet"."""
PENDING_PAUSE_S = 0.05
TRANSFER_ATTEMPTS = 3


async def raft_servers(core: Core) -> list[RaftServer]:
    """The latest configuration. Raises RpcError."""
    try:
        answer = await core.raft.call("Raft.Configuration", timeout_s=READ_TIMEOUT_S, retry_safe=True)
    except IpcError as error:
        _log.error("failed to get raft configuration", error=str(error))
        raise from_neighbour(error) from None
    return [RaftServer(one["id"], one["address"], one["voter"]) for one in answer["servers"]]


def other_bootstrap_server(members: Iterable[Member], server: Server) -> Server | None:
    """Another server that was told to begin a cluster of its own, if `server` was told so, too."""
    if not server.bootstrap:
        return None
    others = (server_of(member) for member in members if member.name != server.name)
    return next((other for other in others if other is not None and other.bootstrap), None)


async def add_server(core: Core, configured: Sequence[RaftServer], server: Server, members: Sequence[Member]) -> bool:
    """Put a server that gossip has found into the configuration. False if it was there already.

    Servers too old for ids go by their address. Raises RpcError, NoServersError."""
    oldest = min_raft_protocol(members)
    by_id = oldest >= WITH_IDS and server.raft_version >= WITH_NON_VOTERS
    if not by_id and any(one.address == server.address for one in configured):
        return False
    stale = stale_entries(configured, server.node_id, server.address)
    if stale is None:
        return False
    for one in stale:
        try:
            await change(core, REMOVE_SERVER, one.server_id, one.address)
        except RpcError as error:
            raise RpcError(f"error removing server with duplicate address {quote(one.address)}: {error}") from None
        _log.info("removed server with duplicate address", address=one.address)
    try:
        if oldest >= WITH_NON_VOTERS:
            await change(core, ADD_NON_VOTER, server.node_id, server.address)
        else:
            await change(core, ADD_VOTER, server.node_id if by_id else server.address, server.address)
    except Exception as error:
        _log.error("failed to add raft peer", error=str(error))
        raise
    return True


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
    """Change the configuration by one server, after all changes that were asked for before. Raises RpcError."""
    payload = {"command": command, "id": server_id, "address": address, "prev_index": 0}
    give_up_at = trio.current_time() + CHANGE_TIMEOUT_S
    async with core.raft_changes:
        while True:
            try:
                await core.raft.call("Raft.ChangeConfiguration", payload, timeout_s=CHANGE_TIMEOUT_S)
            except RemoteError as error:
                if error.code != CHANGE_PENDING or trio.current_time() > give_up_at:
                    raise from_neighbour(error) from None
                await trio.sleep(PENDING_PAUSE_S)  # one whose caller has given up is still on its way
            except IpcError as error:
                raise from_neighbour(error) from None
            else:
                return


async def transfer_leadership(core: Core, target: str = "") -> None:
    """Hand the leadership to the server with the id `target`, or to any other voter, a healthy one if there is one.
    Raises RpcError."""
    payload = {"target": target or successor(core.judgement)}
    try:
        await core.raft.call("Raft.TransferLeadership", payload, timeout_s=CHANGE_TIMEOUT_S)
    except IpcError as error:
        raise from_neighbour(error) from None


async def give_up_leadership(core: Core) -> bool:
    """Try some times to hand the leadership to any other server; whether it worked."""
    for attempt in range(TRANSFER_ATTEMPTS):
        try:
            await transfer_leadership(core)
        except RpcError as error:
            _log.error(
                "failed to transfer leadership attempt, will retry",
                attempt=attempt,
                retry_limit=TRANSFER_ATTEMPTS,
                error=str(error),
            )
        else:
            _log.info("successfully transferred leadership", attempt=attempt, retry_limit=TRANSFER_ATTEMPTS)
            return True
    return False
