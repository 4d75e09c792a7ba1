"""Operator.*: the Raft configuration, who leads, autopilot's settings and its view of the servers."""

from __future__ import annotations

from typing import Any

from services.rpc_core.core import Core
from services.rpc_core.errors import RpcError, from_neighbour
from services.rpc_core.leader import raft_membership
from services.rpc_core.leader.autopilot.protocol import WITH_NON_VOTERS, NoServersError, min_raft_protocol
from services.rpc_core.members import server_of
from shared.gotext.quoting import quote
from shared.ipc import IpcError
from shared.log import get_logger
from shared.state.queries import operator
from shared.structs.operator import (
    AutopilotSetConfigRequest,
    RaftConfigurationResponse,
    RaftRemovePeerRequest,
    RaftServer,
    RaftTransferLeaderRequest,
)
from shared.structs.query import DCSpecificRequest

_log = get_logger("agent.server.operator")

CALL_TIMEOUT_S = 10.0


async def _raft_get_configuration(core: Core, body: Any) -> dict[str, Any]:
    """The servers Raft knows, with the names gossip has for them."""
    args = DCSpecificRequest.from_wire(body)
    await core.router.answer_here("Operator.RaftGetConfiguration", args.datacenter, stale=args.allow_stale)
    try:
        configuration = await core.raft.call("Raft.Configuration", timeout_s=CALL_TIMEOUT_S, retry_safe=True)
    except IpcError as error:
        raise from_neighbour(error) from None
    known = (server_of(member) for member in core.pools.lan())  # the failed ones, too
    names = {server.address: server for server in known if server is not None}
    servers = []
    for raft_server in configuration["servers"]:
        member = names.get(raft_server["address"])
        servers.append(
            RaftServer(
                id=raft_server["id"],
                node="(unknown)" if member is None else member.name,
                address=raft_server["address"],
                leader=raft_server["leader"],
                protocol_version="unknown" if member is None else str(member.raft_version),
                voter=raft_server["voter"],
            )
        )
    # Consul's index is always 0 here: it does not track it in its cached configuration.
    return RaftConfigurationResponse(servers=servers or None, index=0).to_wire()


async def _autopilot_get_configuration(core: Core, body: Any) -> dict[str, Any]:
    args = DCSpecificRequest.from_wire(body)
    await core.router.answer_here("Operator.AutopilotGetConfiguration", args.datacenter, stale=args.allow_stale)
    with core.snapshot() as snap:
        config = operator.autopilot_config(snap).value
    if config is None:
        raise RpcError("autopilot config not initialized yet")
    return config.to_wire()


async def _autopilot_set_configuration(core: Core, body: Any) -> bool:
    """Whether it was written: with CAS only if the ModifyIndex is still the current one."""
    args = AutopilotSetConfigRequest.from_wire(body)
    await core.router.answer_here("Operator.AutopilotSetConfiguration", args.datacenter)
    result = await core.apply(args)
    return result if isinstance(result, bool) else False


async def _raft_remove_peer_by_id(core: Core, body: Any) -> dict[str, Any]:
    """Remove a server from the configuration. One that gossip knows comes back with the next reconciliation."""
    args = RaftRemovePeerRequest.from_wire(body)
    await core.router.answer_here("Operator.RaftRemovePeerByID", args.datacenter)
    if not any(server.server_id == args.id for server in await raft_membership.raft_servers(core)):
        raise RpcError(f"id {quote(args.id)} was not found in the Raft configuration")
    await _remove_peer(core, args.id, "Raft peer with id", peer_id=args.id)
    return {}


async def _raft_remove_peer_by_address(core: Core, body: Any) -> dict[str, Any]:
    args = RaftRemovePeerRequest.from_wire(body)
    await core.router.answer_here("Operator.RaftRemovePeerByAddress", args.datacenter)
    servers = await raft_membership.raft_servers(core)
    server_id = next((server.server_id for server in servers if server.address == args.address), None)
    if server_id is None:
        raise RpcError(f"address {quote(args.address)} was not found in the Raft configuration")
    await _remove_peer(core, server_id, "Raft peer", peer=args.address)
    return {}


async def _remove_peer(core: Core, server_id: str, what: str, **named: str) -> None:
    try:
        await raft_membership.change(core, raft_membership.REMOVE_SERVER, server_id, "")
    except RpcError as error:
        _log.warn(f"Failed to remove {what}", **named, error=str(error))
        raise
    _log.warn(f"Removed {what}", **named)


async def _raft_transfer_leader(core: Core, body: Any) -> dict[str, Any]:
    """Hand the leadership over: to the voter with the given id, or to the one that has most of the log. Returns when
    another server has taken over. Not a method of Consul 1.8; later ones offer it by HTTP in the same way."""
    args = RaftTransferLeaderRequest.from_wire(body)
    await core.router.answer_here("Operator.RaftTransferLeader", args.datacenter)
    if args.id:
        servers = await raft_membership.raft_servers(core)
        target = next((server for server in servers if server.server_id == args.id), None)
        if target is None:
            raise RpcError(f"id {quote(args.id)} was not found in the Raft configuration")
        if not target.voter:
            raise RpcError(f"id {quote(args.id)} has no vote: it cannot lead")
    try:
        await raft_membership.transfer_leadership(core, args.id)
    except RpcError as error:
        _log.warn("Failed to transfer leadership", id=args.id, error=str(error))
        raise
    _log.warn("Transferred leadership", id=args.id)
    return {"Success": True}


async def _server_health(core: Core, body: Any) -> dict[str, Any]:
    """What autopilot thinks of the servers. Only the leader knows, whatever the caller would be content with."""
    args = DCSpecificRequest.from_wire(body)
    await core.router.answer_here("Operator.ServerHealth", args.datacenter)
    try:
        oldest = min_raft_protocol(core.pools.lan())
    except NoServersError as error:
        raise RpcError(f"error getting server raft protocol versions: {error}") from None
    if oldest < WITH_NON_VOTERS:
        raise RpcError("all servers must have raft_protocol set to 3 or higher to use this endpoint")
    return core.judgement.reply.to_wire()


METHODS = {
    "Operator.RaftGetConfiguration": _raft_get_configuration,
    "Operator.RaftRemovePeerByID": _raft_remove_peer_by_id,
    "Operator.RaftRemovePeerByAddress": _raft_remove_peer_by_address,
    "Operator.RaftTransferLeader": _raft_transfer_leader,
    "Operator.ServerHealth": _server_health,
    "Operator.AutopilotGetConfiguration": _autopilot_get_configuration,
    "Operator.AutopilotSetConfiguration": _autopilot_set_configuration,
}
