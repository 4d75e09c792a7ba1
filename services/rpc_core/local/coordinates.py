"""The agent tells the servers its network coordinate, so that answers can be sorted by distance from it.

All agents together send at most `coordinate.sync_rate_target` updates a second, one agent at most every
`coordinate.sync_interval_min`."""

from __future__ import annotations

import random

import trio

from services.rpc_core.agent_core import AgentCore
from services.rpc_core.errors import RpcError
from services.rpc_core.local.sync import EndpointCall
from shared.ipc import IpcError
from shared.log import get_logger
from shared.structs.coordinate import CoordinateUpdateRequest, Vivaldi

_log = get_logger("agent")

CALL_TIMEOUT_S = 10.0


def wait_s(members: int, rate_target: float, interval_min_s: float, rng: random.Random) -> float:
    """Seconds until the next update: what the rate leaves to each of `members`, and up to as much again."""
    interval_s = max(interval_min_s, members / rate_target)
    return interval_s * (1 + rng.random())


async def send_for_ever(
    core: AgentCore, call: EndpointCall, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Sends until cancelled; does nothing while coordinates are disabled."""
    task_status.started()
    while True:
        knobs = core.config.coordinate
        members = max(1, len(core.pools.lan()))
        await trio.sleep(wait_s(members, knobs.sync_rate_target, knobs.sync_interval_min_s, core.rng))
        if core.config.disable_coordinates:
            continue
        try:
            own = await core.gossip.call(
                "Gossip.Coordinate", {"pool": "lan"}, timeout_s=CALL_TIMEOUT_S, retry_safe=True
            )
            request = CoordinateUpdateRequest(
                datacenter=core.config.datacenter,
                node=core.config.node_name,
                segment=core.config.segment,
                coord=Vivaldi.from_wire(own),
                token=core.config.acl.tokens.agent or core.config.acl.tokens.default,
            )
            await call("Coordinate.Update", request.to_wire())
        except (IpcError, RpcError) as error:
            _log.error("Coordinate update error", error=str(error))
