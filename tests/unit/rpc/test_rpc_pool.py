"""What rpc_core knows of the gossip pools: events, missed events, and a gossip that was started again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from services.rpc_core import pool
from services.rpc_core.members import Member, MemberStatus
from services.rpc_core.pool import Pools


def wire(name: str, status: int = 1, **tags: str) -> dict[str, Any]:
    return {
        "Name": name, "Addr": "10.0.0.1", "Port": 8301, "Tags": {"role": "node", "dc": "dc1", **tags},
        "Status": status, "ProtocolMin": 1, "ProtocolMax": 5, "ProtocolCur": 2,
    }  # fmt: skip


class Gossip:
    """The link to a gossip whose answers tests give."""

    def __init__(self) -> None:
        self.connected = False
        self.lists: dict[str, list[dict[str, Any]]] = {"lan": [], "wan": []}
        self._up: Callable[[], None] = lambda: None
        self.event: Callable[[Any], None] = lambda _: None

    def on_up(self, callback: Callable[[], None]) -> None:
        self._up = callback

    def subscribe(self, topic: str, callback: Callable[[Any], None]) -> None:
        assert topic == "members"
        self.event = callback

    def post(self, method: str, payload: Any, on_done: Any, **_: Any) -> None:
        assert method == "Gossip.Members"
        on_done(self.lists[payload["pool"]], None)

    def come_up(self, *lan: dict[str, Any]) -> None:
        self.connected = True
        self.lists["lan"] = list(lan)
        self._up()


@pytest.fixture
async def gossip() -> Gossip:
    return Gossip()


@pytest.fixture
async def seen(gossip: Gossip, nursery: trio.Nursery) -> tuple[Pools, list[tuple[str, int]]]:
    pools, changes = Pools(gossip), []  # type: ignore[arg-type]

    def remember(member: Member) -> None:
        changes.append((member.name, member.status))

    pools.on_lan_member = remember
    await nursery.start(pools.run)
    return pools, changes


async def test_members_come_from_the_list_and_change_by_events(gossip: Gossip, seen: Any, autojump_clock: Any) -> None:
    pools, changes = seen
    gossip.come_up(wire("a"), wire("b"))
    await trio.sleep(1)
    assert pools.known.is_set()
    gossip.event({"pool": "lan", "event": "join", "members": [wire("c")]})
    gossip.event({"pool": "lan", "event": "join", "members": [wire("c")]})  # said twice, heard once
    gossip.event({"pool": "lan", "event": "failed", "members": [wire("a", status=4)]})
    gossip.event({"pool": "lan", "event": "reap", "members": [wire("a", status=4)]})
    assert changes == [("a", 1), ("b", 1), ("c", 1), ("a", 4), ("a", MemberStatus.REAP)]
    assert sorted(member.name for member in pools.lan()) == ["b", "c"]


async def test_a_gossip_that_was_started_again_buries_nobody(gossip: Gossip, seen: Any, autojump_clock: Any) -> None:
    pools, changes = seen
    gossip.come_up(wire("a"), wire("b"))
    await trio.sleep(pool.REJOIN_GRACE_S)
    assert pools.is_complete(trio.current_time())
    gossip.come_up(wire("a"))
    await trio.sleep(1)
    assert not pools.is_complete(trio.current_time())
    assert [member.name for member in pools.lan()] == ["a"]
    gossip.event({"pool": "lan", "event": "join", "members": [wire("b")]})
    assert changes == [("a", 1), ("b", 1), ("b", 1)]
    await trio.sleep(pool.REJOIN_GRACE_S)
    assert pools.is_complete(trio.current_time())


async def test_what_was_missed_is_made_up_for(gossip: Gossip, seen: Any, autojump_clock: Any) -> None:
    _, changes = seen
    gossip.come_up(wire("a"), wire("b"))
    await trio.sleep(1)
    gossip.come_up(wire("a", status=3), wire("b", status=4))
    await trio.sleep(1)
    assert changes == [("a", 1), ("b", 1), ("a", 3), ("b", 4)]
