"""Operator.*: the Raft configuration and autopilot's settings."""

from __future__ import annotations

from typing import Any

from services.rpc_core.core import Core
from services.rpc_core.errors import RpcError, from_neighbour
from shared.ipc import IpcError
from shared.state.queries import operator
from shared.structs.operator import AutopilotSetConfigRequest, RaftConfigurationResponse, RaftServer
from shared.structs.query import DCSpecificRequest

CALL_TIMEOUT_S = 10.0


async def _raft_get_configuration(core: Core, body: Any) -> dict[str, Any]:
    """The servers Raft knows, with the names gossip has for them."""
    args = DCSpecificRequest.from_wire(body)
    await core.router.answer_here(
        "Operator.RaftGetConfiguration", args.datacenter, stale=args.allow_stale
    )
    try:
        configuration = await core.raft.call("Raft.Configuration", timeout_s=CALL_TIMEOUT_S, retry_safe=True)
    except IpcError as error:
        raise from_neighbour(error) from None
    names = {server.address: server for server in core.pools.lan_servers()}
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
    await core.router.answer_here(
        "Operator.AutopilotGetConfiguration", args.datacenter, stale=args.allow_stale
    )
    with core.snapshot() as snap:
        config = operator.autopilot_config(snap).value
    if config is None:
        raise RpcError("autopilot config not initialized yet")
    return config.to_wire()


async def _autopilot_set_configuration(core: Core, body: Any) -> bool:
    """Whether it was written: with CAS only if the ModifyIndex is still the current one."""
    args = AutopilotSetConfigRequest.from_wire(body)
    await core.router.answer_here("Operator.AutopilotSetConfiguration", args.datacenter)
    result = await core.apply(args, "Operator.AutopilotSetConfiguration")
    return result if isinstance(result, bool) else False


METHODS = {
    "Operator.RaftGetConfiguration": _raft_get_configuration,
    "Operator.AutopilotGetConfiguration": _autopilot_get_configuration,
    "Operator.AutopilotSetConfiguration": _autopilot_set_configuration,
}
