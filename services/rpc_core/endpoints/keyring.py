"""Internal.KeyringOperation: keys of the WAN pool, of our LAN pool, and of the LAN pools of all other datacenters."""

from __future__ import annotations

from typing import Any

import trio

from services.rpc_core.core import Core
from services.rpc_core.errors import RpcError
from services.rpc_core.members import MemberStatus, Server, server_of
from services.rpc_core.pool import LAN, WAN
from shared.gotext.quoting import quote
from shared.ipc import IpcError, RemoteError
from shared.log import get_logger
from shared.server_rpc.errors import ServerCallError
from shared.structs.keyring import INSTALL, LIST, REMOVE, USE, KeyringRequest, KeyringResponse, KeyringResponses
from shared.wire import rpc

_rpc_log = get_logger("agent.server.rpc")

METHOD = "Internal.KeyringOperation"
SERF_OPERATIONS = {LIST: "list-keys", INSTALL: "install-key", USE: "use-key", REMOVE: "remove-key"}
POOL_TIMEOUT_S = 60.0
"""Longer than any query: that of a WAN pool of 10,000 servers takes 40 s."""
REMOTE_TIMEOUT_S = 90.0


async def _keyring_operation(core: Core, body: Any) -> dict[str, Any]:
    args = KeyringRequest.from_wire(body)
    if args.local_only and args.operation != LIST:
        raise RpcError("argument error: LocalOnly can only be used for List operations")
    if args.operation not in SERF_OPERATIONS:
        raise RpcError(f"invalid keyring operation {quote(args.operation)}")
    responses = []
    beyond = not (args.local_only or args.forwarded) and bool(core.config.serf_wan_bind_addr)
    if beyond:
        responses.append(await _in_pool(core, args, WAN))
    responses.append(await _in_pool(core, args, LAN))
    if beyond:
        responses += await _in_other_datacenters(core, args.replace(forwarded=True))
    return KeyringResponses(responses=responses).to_wire()


async def _in_pool(core: Core, args: KeyringRequest, pool: str) -> KeyringResponse:
    """What the members of one pool of this agent answer. Raises RpcError where gossip itself cannot be asked."""
    payload = {
        "pool": pool,
        "operation": SERF_OPERATIONS[args.operation],
        "key": args.key,
        "relay_factor": args.relay_factor,
    }
    response = KeyringResponse(
        wan=pool == WAN, datacenter=core.config.datacenter, messages={}, keys={}, primary_keys={}
    )
    try:
        sums = await core.gossip.call("Gossip.Keyring", payload, timeout_s=POOL_TIMEOUT_S)
    except IpcError as error:
        if isinstance(error, RemoteError) and error.code == "rpc":
            return response.replace(error=str(error))
        raise RpcError(str(error)) from None
    return response.replace(
        messages=sums["Messages"],
        keys=sums["Keys"],
        primary_keys=sums["PrimaryKeys"],
        num_nodes=sums["NumNodes"],
        error=sums["Error"],
    )


async def _in_other_datacenters(core: Core, args: KeyringRequest) -> list[KeyringResponse]:
    """Asked all at once; the first that cannot be asked fails the whole call. Raises RpcError."""
    servers = _servers_elsewhere(core)
    found: dict[str, list[KeyringResponse]] = {}
    problems: list[RpcError] = []
    async with trio.open_nursery() as nursery:

        async def ask(datacenter: str) -> None:
            try:
                found[datacenter] = await _in_datacenter(core, args, datacenter, servers[datacenter])
            except RpcError as error:
                problems.append(error)
                nursery.cancel_scope.cancel()

        for datacenter in servers:
            nursery.start_soon(ask, datacenter)
    if problems:
        raise problems[0]
    return [response for datacenter in sorted(found) for response in found[datacenter]]


def _servers_elsewhere(core: Core) -> dict[str, list[tuple[Server, int]]]:
    """Datacenter -> its servers with their status; those that left count no more."""
    found: dict[str, list[tuple[Server, int]]] = {}
    for member in core.pools.wan():
        server = server_of(member)
        if server is None or server.datacenter == core.config.datacenter:
            continue
        if member.status in (MemberStatus.ALIVE, MemberStatus.FAILED):
            found.setdefault(server.datacenter, []).append((server, member.status))
    return found


async def _in_datacenter(
    core: Core, args: KeyringRequest, datacenter: str, servers: list[tuple[Server, int]]
) -> list[KeyringResponse]:
    alive = [server for server, status in servers if status == MemberStatus.ALIVE]
    server = core.rng.choice(alive or [server for server, _ in servers])
    try:
        request = rpc.pack(args.to_wire())
        reply = await core.servers.call(server.address, METHOD, request, timeout_s=REMOTE_TIMEOUT_S)
    except ServerCallError as error:
        _rpc_log.error(
            "RPC failed to server in DC",
            server=server.address,
            datacenter=datacenter,
            method=METHOD,
            error=str(error),
        )
        raise RpcError(str(error)) from None
    return KeyringResponses.from_wire(reply).responses or []


METHODS = {METHOD: _keyring_operation}
