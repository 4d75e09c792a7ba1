"""Status.*: who leads, who votes, how far this server has come. Answered by any server, leader or not."""

from __future__ import annotations

from typing import Any

from services.rpc_core.core import Core
from services.rpc_core.errors import from_neighbour
from shared.ipc import IpcError
from shared.structs.query import DCSpecificRequest

CALL_TIMEOUT_S = 10.0


async def ping(core: Core, body: Any) -> dict[str, Any]:
    return {}


async def leader(core: Core, body: Any) -> str:
    """ "ip:port" of the Raft leader, "" if there is none. An empty datacenter means ours."""
    _check_datacenter(core, "Status.Leader", body)
    return core.router.leadership().leader_address


async def peers(core: Core, body: Any) -> list[str]:
    """Addresses in the Raft configuration."""
    _check_datacenter(core, "Status.Peers", body)
    try:
        configuration = await core.raft.call("Raft.Configuration", timeout_s=CALL_TIMEOUT_S, retry_safe=True)
    except IpcError as error:
        raise from_neighbour(error) from None
    return [server["address"] for server in configuration["servers"]]


async def raft_stats(core: Core, body: Any) -> dict[str, Any]:
    """What autopilot asks of each server: the age of the leader's last word, and the end of the log."""
    try:
        stats = await core.raft.call("Raft.Stats", timeout_s=CALL_TIMEOUT_S, retry_safe=True)
    except IpcError as error:
        raise from_neighbour(error) from None
    return {
        "LastContact": stats["last_contact"],
        "LastIndex": int(stats["last_log_index"]),
        "LastTerm": int(stats["last_log_term"]),
    }


def _check_datacenter(core: Core, method: str, body: Any) -> None:
    datacenter = DCSpecificRequest.from_wire(body).datacenter
    if datacenter:
        core.router.check_datacenter(method, datacenter)


METHODS = {
    "Status.Ping": ping,
    "Status.Leader": leader,
    "Status.Peers": peers,
    "Status.RaftStats": raft_stats,
}
