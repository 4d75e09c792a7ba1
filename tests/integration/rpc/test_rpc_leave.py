"""A server that leaves while others stay gives them time to finish their calls."""

from __future__ import annotations

from pathlib import Path

import trio

from shared.config.sections import Performance
from tests.integration.rpc.rpc_neighbours import Rig, running

DRAIN_S = 0.3
LONG_DRAIN_S = 60.0


async def leaving(rig: Rig) -> tuple[float, list[str]]:
    """Seconds it took, and the pools in the order in which they were left."""
    started = trio.current_time()
    await rig.call("Agent.Leave", {}, timeout_s=2 * LONG_DRAIN_S)
    left = [payload["pool"] for name, payload in rig.gossip.calls if name == "Gossip.Leave"]
    return trio.current_time() - started, left


async def test_alone_nobody_is_waited_for(tmp_path: Path) -> None:
    async with running(tmp_path, performance=Performance(leave_drain_time_s=LONG_DRAIN_S)) as rig:
        took_s, pools = await leaving(rig)
    assert took_s < LONG_DRAIN_S
    assert pools == ["wan", "lan"]


async def test_others_get_the_drain_time(tmp_path: Path) -> None:
    async with running(tmp_path, performance=Performance(leave_drain_time_s=DRAIN_S)) as rig:
        tags = {"role": "node", "dc": "dc1", "id": "", "vsn": "2"}
        rig.gossip.event("join", rig.gossip.member("n2", Addr="10.0.0.2", Tags=tags))
        with trio.fail_after(30):
            while len(rig.core.core.pools.lan()) < 2:
                await trio.sleep(0.01)
        took_s, pools = await leaving(rig)
    assert took_s >= DRAIN_S
    assert pools == ["wan", "lan"]
