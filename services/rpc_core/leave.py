"""How this server leaves gracefully: WAN pool, LAN pool, then a pause in which others finish their calls.

Order and lines are Consul's. Alone in its pools a server has nobody to wait for, so it does not wait: it is
done in a moment, where Consul takes eleven seconds. A leader hands its office over first, as later versions of Consul
do; 1.8 takes itself out of the configuration and leaves the others to an election."""

from __future__ import annotations

import trio

from services.rpc_core.core import Core
from services.rpc_core.errors import RpcError
from services.rpc_core.leader.raft_membership import give_up_leadership, raft_servers, remove_server
from services.rpc_core.members import MemberStatus
from shared.ipc import IpcError
from shared.log import get_logger
from shared.state.leadership import LEADER

_log = get_logger("agent.server")

LEAVE_TIMEOUT_S = 20.0
"""For leaving one pool: the leave message is spread first."""
REMOVAL_TIMEOUT_S = 5.0
REMOVAL_LOOK_INTERVAL_S = 0.05


async def leave(core: Core) -> None:
    """Returns when the process may be stopped. Failures are logged; leaving goes on."""
    _log.info("server starting leave")
    others = [
        member
        for member in (*core.pools.lan(), *core.pools.wan())
        if member.name not in (core.config.node_name, f"{core.config.node_name}.{core.config.datacenter}")
        and member.status == MemberStatus.ALIVE
    ]
    removed = await _give_up_office(core)
    for pool in core.pools.names:
        try:
            await core.gossip.call("Gossip.Leave", {"pool": pool}, timeout_s=LEAVE_TIMEOUT_S)
        except IpcError as error:
            _log.error(f"failed to leave {pool.upper()} Serf cluster", error=str(error))
    drain_s = core.config.performance.leave_drain_time_s if others else 0.0
    _log.info("Waiting to drain RPC traffic", drain_time=_duration(drain_s))
    core.router.start_leaving()
    await trio.sleep(drain_s)
    if not removed:
        await _wait_for_removal(core)


async def _give_up_office(core: Core) -> bool:
    """What a leader does before it leaves. False if somebody else has to take this server out of the configuration.

    One that is not alone hands its office over, so that the others need not wait for an election timeout; the new
    leader then removes it as any server that leaves. Where nobody takes the office it removes itself, so that the
    quorum shrinks while it can still be asked."""
    if core.router.leadership().role != LEADER:
        return False
    try:
        if sum(server.voter for server in await raft_servers(core)) < 2:
            return True
        if await give_up_leadership(core):
            return False
        await remove_server(core, core.config.node_id, core.config.rpc_advertise_addr)
    except RpcError as error:
        _log.error("failed to remove ourself as raft peer", error=str(error))
    return True


async def _wait_for_removal(core: Core) -> None:
    """The leader takes servers that have left out of the configuration. One that is gone before the others know of
    the smaller quorum could cost them theirs."""
    give_up_at = trio.current_time() + REMOVAL_TIMEOUT_S
    while trio.current_time() < give_up_at:
        await trio.sleep(REMOVAL_LOOK_INTERVAL_S)
        try:
            servers = await raft_servers(core)
        except RpcError:
            break
        if all(server.address != core.config.rpc_advertise_addr for server in servers):
            return
    _log.warn("failed to leave raft configuration gracefully, timeout")


def _duration(seconds: float) -> str:
    from shared.gotext.durations import format_duration_s

    return format_duration_s(seconds)
