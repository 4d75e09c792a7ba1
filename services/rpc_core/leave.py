"""How this server leaves gracefully: WAN pool, LAN pool, then a pause in which others finish their calls.

Order and lines are Consul's. Alone in its pools a server has nobody to wait for, so it does not wait: it is
done in a moment, where Consul takes eleven seconds."""

from __future__ import annotations

import trio

from services.rpc_core.core import Core
from services.rpc_core.errors import RpcError
from services.rpc_core.leader.raft_membership import raft_servers, remove_server
from services.rpc_core.members import MemberStatus
from shared.ipc import IpcError
from shared.log import get_logger
from shared.state.leadership import LEADER

_log = get_logger("agent.server")

LEAVE_TIMEOUT_S = 20.0
"""For leaving one pool: the leave message is spread first."""


async def leave(core: Core) -> None:
    """Returns when the process may be stopped. Failures are logged; leaving goes on."""
    _log.info("server starting leave")
    others = [
        member
        for member in (*core.pools.lan(), *core.pools.wan())
        if member.name not in (core.config.node_name, f"{core.config.node_name}.{core.config.datacenter}")
        and member.status == MemberStatus.ALIVE
    ]
    await _give_up_the_vote(core)
    for pool in ("wan", "lan"):
        try:
            await core.gossip.call("Gossip.Leave", {"pool": pool}, timeout_s=LEAVE_TIMEOUT_S)
        except IpcError as error:
            _log.error(f"failed to leave {pool.upper()} Serf cluster", error=str(error))
    drain_s = core.config.performance.leave_drain_time_s if others else 0.0
    _log.info("Waiting to drain RPC traffic", drain_time=_duration(drain_s))
    core.router.start_leaving()
    await trio.sleep(drain_s)


async def _give_up_the_vote(core: Core) -> None:
    """A leader that is not alone takes itself out of the configuration first, so that the quorum shrinks
    while it can still be asked."""
    if core.router.leadership().role != LEADER:
        return
    try:
        configured = await raft_servers(core)
        if sum(one.voter for one in configured) > 1:
            await remove_server(core, core.config.node_id, core.config.rpc_advertise_addr)
    except RpcError as error:
        _log.error("failed to remove ourself as raft peer", error=str(error))


def _duration(seconds: float) -> str:
    from shared.gotext.durations import format_duration_s

    return format_duration_s(seconds)
