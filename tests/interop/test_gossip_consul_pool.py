"""Our gossip process among real Consul servers and clients: what is told arrives, who goes is seen, on every side."""

from __future__ import annotations

import contextlib
import math
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from services.rpc_core.local.user_event import UserEvent, encode
from tests.integration.gossip.gossip_process import wait_for
from tests.interop.gossip_members import (
    ALIVE,
    FAILED,
    GONE,
    KEY,
    LEFT,
    NO_ANSWER,
    QUICK,
    ConsulMember,
    OurMember,
    in_thread,
    wait_all,
)

pytestmark = pytest.mark.real_consul

Loopback = Callable[[], str]


class Four:
    """server and client are real; o1 was joined by the server before that led, o2 joined the client."""

    def __init__(self, loopback: Loopback, directory: Path, consul: Path, key: str = "") -> None:
        self.o1, self.o2 = (OurMember(loopback(), directory / name, name, QUICK, encrypt=key) for name in ("o1", "o2"))

        def real(name: str, server: int) -> ConsulMember:
            options = ["-retry-join", self.o1.lan, "-retry-interval=1s", *(["-encrypt", key] if key else [])]
            return ConsulMember(
                loopback(), directory / name, consul, name, server=server, timing=QUICK, arguments=options
            )

        self.server, self.client = real("server", 1), real("client", 0)
        self.everybody = [self.server, self.client, self.o1, self.o2]
        self.heard: list[tuple[str, bytes]] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.o1.running(), self.o2.running():
            self.o1.call.link.subscribe("events", lambda one: self.heard.append((one["name"], one["payload"])))
            await self.o1.call("Stats", pool="lan")  # answered after the subscription
            async with self.server.running(), self.client.running():
                await wait_all([self.server, self.client, self.o1], {"server": ALIVE, "client": ALIVE, "o1": ALIVE})
                await self.o2.join(self.client.lan)
                await wait_all(self.everybody, {one.name: ALIVE for one in self.everybody})
                await self.wait_health("server", "passing")  # there is a leader
                yield

    async def health(self, node: str) -> str | None:
        """Of the node in the catalog; None if it is not there."""
        checks = (await in_thread(self.server.agent.http, "GET", f"/v1/health/node/{node}")).json()
        return next((one["Status"] for one in checks if one["CheckID"] == "serfHealth"), None)

    async def wait_health(self, node: str, status: str | None) -> None:
        with trio.fail_after(60):
            while True:
                with contextlib.suppress(*NO_ANSWER):
                    if await self.health(node) == status:
                        return
                await trio.sleep(0.05)


@pytest.mark.parametrize("key", ["", KEY], ids=["plain", "encrypted"])
async def test_everything_that_is_told_in_the_pool_arrives_on_both_sides(
    loopback: Loopback, tmp_path: Path, real_consul: Path, key: str
) -> None:
    pool = Four(loopback, tmp_path, real_consul, key)
    async with pool.running():
        views = [await one.members() for one in pool.everybody]
        for name in views[0]:
            for what in ("Addr", "Port", "Tags", "ProtocolMax", "ProtocolCur", "DelegateMax", "DelegateCur"):
                assert all(view[name][what] == views[0][name][what] for view in views), (name, what)
        assert views[0]["o1"]["Tags"] == {**views[0]["client"]["Tags"], "id": pool.o1.process.config.node_id}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange_events, pool)
            nursery.start_soon(ask_from_ours, pool)
            nursery.start_soon(agree_on_coordinates, pool)
            for node in views[0]:
                nursery.start_soon(pool.wait_health, node, "passing")


async def exchange_events(pool: Four) -> None:
    for coalesce in (True, False):
        event = UserEvent(str(uuid.uuid4()), f"ours-{coalesce}", b"payload \xff")
        await pool.o1.call("UserEvent", name=f"consul:event:{event.name}", payload=encode(event), coalesce=coalesce)
    fired = await in_thread(pool.client.agent.http, "PUT", "/v1/event/fire/theirs", b"payload \xff")
    assert fired.status == 200

    async def listed(at: ConsulMember) -> list[tuple[str, str]]:
        events = (await in_thread(at.agent.http, "GET", "/v1/event/list")).json()
        return sorted((event["Name"], event["Payload"]) for event in events)

    expected = [(name, "cGF5bG9hZCD/") for name in ("ours-False", "ours-True", "theirs")]
    for real in (pool.server, pool.client):
        with trio.fail_after(60):
            while await listed(real) != expected:
                await trio.sleep(0.05)
    names = {f"consul:event:{name}" for name, _ in expected}
    await wait_for(lambda: {name for name, _ in pool.heard} >= names, 60)
    # The first thing that the server said was that it leads.
    await wait_for(lambda: ("consul:new-leader", b"server") in pool.heard, 60)


async def ask_from_ours(pool: Four) -> None:
    """Consul acks queries that it does not know, and answers its own for keys and conflicts."""

    async def until(acks: list[str], options: dict[str, Any]) -> None:
        for attempt in range(1, 9):
            query = {"pool": "lan", "name": "who", "ack": True, "timeout_s": float(attempt), **options}
            found = await pool.o1.call.link.call("Gossip.Query", query, timeout_s=30.0)
            if (sorted(found["Acks"]), found["Answers"]) == (acks, {}):
                return
        assert (sorted(found["Acks"]), found["Answers"]) == (acks, {})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(until, ["client", "o1", "o2", "server"], {"relay_factor": 3})
        nursery.start_soon(until, ["server"], {"tags": {"role": "^cons", "dc": "dc1"}})
        nursery.start_soon(until, ["client", "o2"], {"nodes": ["client", "o2", "nobody"]})


async def agree_on_coordinates(pool: Four) -> None:
    """Our idea of where a real agent is becomes what that agent says of itself."""

    async def differ_ms(real: ConsulMember) -> float:
        theirs = (await in_thread(real.agent.http, "GET", "/v1/agent/self")).json()["Coord"]
        ours = await pool.o1.call("Coordinate", pool="lan", node=real.name)
        if ours is None:
            return float("inf")
        # Each ping moves it a little.
        distance: float = math.dist(ours["Vec"], theirs["Vec"]) + abs(ours["Height"] - theirs["Height"])
        return 1000 * distance

    for real in (pool.server, pool.client):
        with trio.fail_after(60):
            while await differ_ms(real) > 1:
                await trio.sleep(0.05)


async def test_the_dead_are_sent_away_and_forgotten_by_either_kind_and_the_living_stay(
    loopback: Loopback, tmp_path: Path, real_consul: Path
) -> None:
    pool = Four(loopback, tmp_path, real_consul)
    server, client, o1, o2 = pool.server, pool.client, pool.o1, pool.o2
    async with pool.running():
        o2.freeze()
        client.kill()
        began = trio.current_time()
        await wait_all([server, o1], {"o2": FAILED, "client": FAILED}, QUICK.detection_within_s(4))
        assert trio.current_time() - began >= QUICK.detection_s_min(4)
        await pool.wait_health("o2", "critical")
        # One by each kind.
        await o1.call("ForceLeave", node="client", prune=False)
        assert (await in_thread(server.agent.cli, "force-leave", "o2")).returncode == 0
        await wait_all([server, o1], {"client": LEFT, "o2": LEFT})
        for gone in ("client", "o2"):
            await pool.wait_health(gone, None)
        # It only seemed to be dead: it refutes, also what was said of it meanwhile.
        o2.thaw()
        await wait_all([server, o1, o2], {"o2": ALIVE, "o1": ALIVE, "server": ALIVE})
        await pool.wait_health("o2", "passing")
        # A forced departure of the living is refuted, too.
        assert (await in_thread(server.agent.cli, "force-leave", "o1")).returncode == 0
        await wait_for(lambda: "Refuting an older leave intent" in o1.log())
        await wait_all([server, o2], {"o1": ALIVE})
        # They are forgotten when either says so.
        await o1.call("ForceLeave", node="client", prune=True)
        o2.kill()
        await wait_all([server, o1], {"client": GONE, "o2": FAILED})
        assert (await in_thread(server.agent.cli, "force-leave", "-prune", "o2")).returncode == 0
        await wait_all([server, o1], {"o2": GONE})
