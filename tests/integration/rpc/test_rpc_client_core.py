"""rpc_core of a client beside a gossip that is played, and servers that answer, refuse, hang or talk rubbish."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from services.rpc_core.client.service import ClientRpcCore
from shared import metrics
from shared.config.runtime import RuntimeConfig
from shared.config.sections import Performance
from shared.ipc import DeadlineError, Link, RemoteError
from shared.wire import rpc
from tests.agents import PATIENCE_S
from tests.integration.rpc.rpc_neighbours import LonelyGossip, until
from tests.integration.rpc.test_rpc_server_pool import Other
from tests.loopback import LoopbackPool

READ = {"Datacenter": "dc1", "Key": "a"}
HELD_FOR_LONG = Performance(rpc_hold_timeout_s=10 * PATIENCE_S)
"""What is tried again until this is over gets no answer in the test."""


class World:
    """The client between its neighbours. `asked` has what each server was asked."""

    def __init__(self, config: RuntimeConfig, gossip: LonelyGossip, core: ClientRpcCore, link: Link) -> None:
        self.config, self.gossip, self.core, self.link = config, gossip, core, link
        self.asked: list[str] = []

    async def call(self, method: str, payload: Any, timeout_s: float = PATIENCE_S) -> Any:
        return await self.link.call(method, payload, timeout_s=timeout_s)

    async def comes(self, name: str, address: str, event: str = "join") -> None:
        """Gossip tells of a server, and the client has heard it."""
        known = len(self.core.manager.servers)
        tags = {"role": "consul", "dc": "dc1", "id": name, "port": "8300", "vsn": "2", "build": "1.8.7:"}
        status = 1 if event == "join" else 4
        self.gossip.event(event, self.gossip.member(name, status, Addr=address, Tags=tags))
        await self.until(lambda: len(self.core.manager.servers) != known)

    async def until(self, condition: Callable[[], object]) -> None:
        await until(condition)

    def server(self, name: str, answer: Callable[[rpc.Request], Awaitable[object]]) -> Callable[[rpc.Request], Any]:
        async def handler(call: rpc.Request) -> object:
            self.asked.append(f"{name} {call.method}")
            return await answer(call)

        return handler


@asynccontextmanager
async def world(directory: Path, address: str, **changes: Any) -> AsyncIterator[tuple[World, trio.Nursery]]:
    run_dir = Path(tempfile.mkdtemp(dir=directory))
    config = RuntimeConfig.dev(run_dir, node_name="c1", bind_addr=address)
    config = config.replace(server=False, serf_wan_bind_addr="", **changes)
    gossip, link = LonelyGossip(config), Link(config.socket_path("rpc"), name="test")
    gossip.members["lan"] = [gossip.member("c1", Tags={"role": "node", "dc": "dc1"})]
    with trio.fail_after(3 * PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(gossip.server.run)
            core = ClientRpcCore(config)
            await nursery.start(core.run)
            await nursery.start(link.run)
            await core.core.pools.known.wait()
            yield World(config, gossip, core, link), nursery
            nursery.cancel_scope.cancel()


async def found(call: rpc.Request) -> object:
    return {"Index": 7, "Entries": None}


async def refuses(call: rpc.Request) -> object:
    raise ValueError("Permission denied")


async def hangs(call: rpc.Request) -> object:
    await trio.sleep_forever()


async def test_without_servers_calls_fail_at_once(loopback: LoopbackPool, tmp_path: Path) -> None:
    async with world(tmp_path, loopback(), performance=HELD_FOR_LONG) as (made, _):
        for method, payload in (("KVS.Get", READ), ("KVS.ApplyEncoded", ["set", b"a", b"\x80"])):
            with pytest.raises(RemoteError, match=r"^No known Consul servers$"):
                await made.call(method, payload)


async def test_the_first_server_gets_all_calls_until_one_fails(loopback: LoopbackPool, tmp_path: Path) -> None:
    async with world(tmp_path, loopback()) as (made, nursery):
        answers = {"a": found, "b": refuses, "c": found}
        for name, answer in answers.items():
            other = Other(loopback(), made.server(name, answer))
            await nursery.start(other.run)
            await made.comes(name, other.host)
        for _ in range(3):
            assert (await made.call("KVS.Get", READ))["Index"] == 7
        assert made.asked == ["a KVS.Get"] * 3
        made.core.manager.turn_away(made.core.manager.servers.all()[0])
        with pytest.raises(RemoteError, match=r"^rpc error making call: Permission denied$"):
            await made.call("KVS.Get", READ)
        assert (await made.call("KVS.Get", READ))["Index"] == 7
        assert made.asked[3:] == ["b KVS.Get", "c KVS.Get"]


async def test_servers_that_cannot_be_reached_are_passed_over(loopback: LoopbackPool, tmp_path: Path) -> None:
    async with world(tmp_path, loopback(), performance=HELD_FOR_LONG) as (made, nursery):
        for name in "ab":
            await made.comes(name, loopback())
        with pytest.raises(RemoteError, match=r"failed to get conn: dial tcp .*connection refused"):
            await made.call("Session.Apply", {})  # each was tried
        other = Other(loopback(), made.server("c", found))
        await nursery.start(other.run)
        await made.comes("c", other.host)
        for method in ("KVS.Get", "Session.Apply"):
            assert (await made.call(method, READ))["Index"] == 7


async def test_rubbish_and_sudden_ends_cost_no_read(loopback: LoopbackPool, tmp_path: Path) -> None:
    async def talk_rubbish(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20)
        await stream.receive_some(1 << 16)

    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some(20)

    async with world(tmp_path, loopback()) as (made, nursery):
        good = Other(loopback(), made.server("good", found))
        await nursery.start(good.run)
        for name, behaviour in (("rubbish", talk_rubbish), ("hangs up", hang_up)):
            address = loopback()
            listeners = await trio.open_tcp_listeners(8300, host=address)
            await nursery.start(trio.serve_listeners, behaviour, listeners)
            for method, done in (("KVS.Get", True), ("Session.Apply", False)):
                for each, host in ((name, address), ("good", good.host)):
                    await made.comes(each, host)
                if done:
                    assert (await made.call(method, READ))["Index"] == 7
                else:  # whether it was done nobody knows
                    with pytest.raises(RemoteError, match="rpc error making call"):
                        await made.call(method, READ)
                for each, host in ((name, address), ("good", good.host)):
                    await made.comes(each, host, "failed")


async def test_reads_leave_a_server_that_gossip_has_given_up(loopback: LoopbackPool, tmp_path: Path) -> None:
    async with world(tmp_path, loopback()) as (made, nursery):
        hosts = {}
        for name, answer in (("hangs", hangs), ("good", found)):
            other = Other(loopback(), made.server(name, answer))
            await nursery.start(other.run)
            await made.comes(name, other.host)
            hosts[name] = other.host
        answers: list[Any] = []

        async def read() -> None:
            answers.append(await made.call("KVS.Get", READ))

        for _ in range(3):
            nursery.start_soon(read)
        await made.until(lambda: made.asked == ["hangs KVS.Get"] * 3)
        await made.comes("hangs", hosts["hangs"], "failed")
        await made.until(lambda: len(answers) == 3)
        assert made.asked[3:] == ["good KVS.Get"] * 3


async def test_a_call_that_nobody_waits_for_is_let_go(loopback: LoopbackPool, tmp_path: Path) -> None:
    async with world(tmp_path, loopback()) as (made, nursery):
        other = Other(loopback(), made.server("hangs", hangs))
        await nursery.start(other.run)
        await made.comes("hangs", other.host)
        connections = made.core.core.servers._connections
        for number in range(1, 6):
            async with trio.open_nursery() as callers:
                callers.start_soon(made.call, "KVS.Get", READ)
                await made.until(lambda number=number: len(made.asked) == number)
                callers.cancel_scope.cancel()
        await made.until(lambda: all(one.calls == 0 for one in connections.values()))
        with pytest.raises(DeadlineError):
            await made.call("KVS.Get", READ, timeout_s=0.1)  # the caller's own deadline
        await made.until(lambda: all(one.calls == 0 for one in connections.values()))
        assert len(other.connections) == 1
        await made.until(lambda: made.core.caller._tasks == 0)


async def test_an_end_with_calls_under_way_is_a_clean_one(loopback: LoopbackPool, tmp_path: Path) -> None:
    """Which of its parts ends first is a matter of chance."""
    for _ in range(12):
        async with world(tmp_path, loopback()) as (made, nursery):
            for name in "ab":
                other = Other(loopback(), made.server(name, hangs))
                await nursery.start(other.run)
                await made.comes(name, other.host)
            for _ in range(3):
                nursery.start_soon(made.call, "KVS.Get", READ)
            await made.until(lambda: len(made.asked) == 3)


async def test_the_agents_own_limit_counts_every_call(
    loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: Counter[str] = Counter()
    monkeypatch.setattr(metrics, "incr", lambda name, n=1, labels=(): counted.update({name: n}))
    config = RuntimeConfig.dev(tmp_path, node_name="c1", bind_addr="127.0.0.1")
    limits = config.limits.replace(rpc_rate=0.001, rpc_max_burst=2)
    async with world(tmp_path, loopback(), limits=limits) as (made, nursery):
        other = Other(loopback(), made.server("a", found))
        await nursery.start(other.run)
        await made.comes("a", other.host)
        for _ in range(2):
            await made.call("KVS.Get", READ)
        for method, payload in (("KVS.Get", READ), ("KVS.ApplyEncoded", ["set", b"a", b"\x80"])):
            with pytest.raises(RemoteError) as caught:
                await made.call(method, payload)
            assert (caught.value.code, str(caught.value)) == ("rate_limited", "RPC rate limit exceeded")
        assert counted["consul.client.rpc"] == 4
        assert counted["consul.client.rpc.exceeded"] == 2
        unlimited = made.config.replace(limits=config.limits)
        await made.core.configure(unlimited)
        assert (await made.call("KVS.Get", READ))["Index"] == 7


async def test_encoded_writes_are_answered_with_their_outcome(loopback: LoopbackPool, tmp_path: Path) -> None:
    async def applied(call: rpc.Request) -> object:
        return bool(call.body.get("Yes"))

    async with world(tmp_path, loopback()) as (made, nursery):
        other = Other(loopback(), made.server("a", applied))
        await nursery.start(other.run)
        await made.comes("a", other.host)
        for op, body, outcome in (
            ("set", {}, True),
            ("cas", {}, False),
            ("lock", {"Yes": 1}, True),
            ("delete-tree", {}, True),
        ):
            assert await made.call("KVS.ApplyEncoded", [op, b"k", rpc.pack(body)]) is outcome
        assert await made.call("Catalog.ApplyEncoded", [b"\x00" + rpc.pack({})]) is True
        assert made.asked == ["a KVS.Apply"] * 4 + ["a Catalog.Register"]


async def test_snapshots_are_asked_for_from_the_agents_own_address(loopback: LoopbackPool, tmp_path: Path) -> None:
    sources: list[str] = []

    async def refuse(stream: trio.SocketStream) -> None:
        sources.append(stream.socket.getpeername()[0])
        while await stream.receive_some(1 << 16):
            pass
        await stream.send_all(rpc.pack({"Error": "not now"}))

    own, host = loopback(), loopback()
    request = {"Datacenter": "dc1", "Op": 0, "path": str(tmp_path / "archive")}
    async with world(tmp_path, own) as (made, nursery):
        await made.comes("a", host)
        refused = f"^dial tcp {own}:0->{host}:8300: connect: connection refused$"
        with pytest.raises(RemoteError, match=refused):
            await made.call("Agent.Snapshot", request)
        listeners = await trio.open_tcp_listeners(8300, host=host)
        await nursery.start(trio.serve_listeners, refuse, listeners)
        with pytest.raises(RemoteError, match=r"^not now$"):
            await made.call("Agent.Snapshot", request)
    assert sources == [own]


async def test_the_list_is_shuffled_and_begins_with_a_server_that_answers(
    loopback: LoopbackPool, tmp_path: Path
) -> None:
    async with world(tmp_path, loopback()) as (made, nursery):
        other = Other(loopback(), made.server("good", found))
        await nursery.start(other.run)
        for name, host in (("x", loopback()), ("good", other.host), ("y", loopback())):
            await made.comes(name, host)
        for _ in range(5):
            await made.core.manager.rebalance()
            first = made.core.manager.find()
            assert first is not None
            assert first.name == "good"
        await made.comes("good", other.host, "failed")
        before = made.core.manager.servers.all()
        await made.core.manager.rebalance()
        assert made.core.manager.servers.all() == before
