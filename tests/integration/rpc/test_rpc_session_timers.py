"""Session timers go with the leadership: a follower ends nothing, a new leader gives every session its full time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from tests.integration.rpc.rpc_neighbours import Rig, running

TTL_S = 1.0
"""A session lives twice as long: enough to take the office from the leader that made it, before it ends it."""


async def _create(rig: Rig, ttl: str) -> str:
    session = {"Node": "n1", "TTL": ttl, "LockDelay": 0, "NodeChecks": []}
    made: str = await rig.call("Session.Apply", {"Datacenter": "dc1", "Op": "create", "Session": session})
    return made


async def _living(rig: Rig) -> set[str]:
    reply: dict[str, Any] = await rig.call("Session.List", {"Datacenter": "dc1", "AllowStale": True})
    return {each["ID"] for each in reply["Sessions"] or ()}


async def _wait_ended(rig: Rig, session: str) -> float:
    """Until it is gone; the time."""
    with trio.fail_after(30):
        while session in await _living(rig):
            await trio.sleep(0.02)
    return trio.current_time()


async def _wait_registered(rig: Rig) -> None:
    """Until n1 is in the catalog: sessions need it."""
    with trio.fail_after(30):
        while not (await rig.call("Catalog.NodeServices", {"Datacenter": "dc1", "Node": "n1"}))["NodeServices"]:
            await trio.sleep(0.02)


async def test_a_change_of_leader_starts_all_timers_again(tmp_path: Path) -> None:
    async with running(tmp_path, session_ttl_min_s=0.1) as rig:
        await _wait_registered(rig)
        lasting, short = await _create(rig, ""), await _create(rig, f"{TTL_S}s")
        rig.raft.follow()
        await trio.sleep(3 * TTL_S)  # whoever leads meanwhile keeps the time; here nobody does
        assert await _living(rig) == {short, lasting}
        assert len(rig.core.core.session_timers) == 0
        rig.raft.term += 1
        leads_since = trio.current_time()
        rig.raft.lead()
        ended_at = await _wait_ended(rig, short)
        assert ended_at - leads_since >= 2 * TTL_S
        assert await _living(rig) == {lasting}


async def test_what_the_log_refuses_is_tried_again_by_the_next_leader(tmp_path: Path) -> None:
    async with running(tmp_path, session_ttl_min_s=0.1) as rig:
        await _wait_registered(rig)
        session = await _create(rig, f"{TTL_S}s")
        rig.raft.refusing = True
        await trio.sleep(3 * TTL_S)  # its time passes, and still it is not ended
        assert session in await _living(rig)
        rig.raft.refusing = False
        rig.raft.term += 1
        rig.raft.lead()
        await _wait_ended(rig, session)


async def test_a_session_that_was_ended_otherwise_has_no_timer(tmp_path: Path) -> None:
    async with running(tmp_path, session_ttl_min_s=0.1) as rig:
        await _wait_registered(rig)
        session = await _create(rig, "10s")
        assert len(rig.core.core.session_timers) == 1
        body = {"Datacenter": "dc1", "Op": "destroy", "Session": {"ID": session}}
        assert await rig.call("Session.Apply", body) == ""
        assert len(rig.core.core.session_timers) == 0
        renewed = await rig.call("Session.Renew", {"Datacenter": "dc1", "SessionID": session})
        assert renewed["Sessions"] is None
        assert len(rig.core.core.session_timers) == 0
