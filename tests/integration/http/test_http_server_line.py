"""The gateway's own lines to servers: what goes over them, and what is left to rpc_core."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from services.http_gateway import server_line
from services.http_gateway.client_line import ClientLine
from services.http_gateway.leader_line import LeaderLine
from shared.ipc import DeadlineError, IpcError, Link, RemoteError, Request, Server
from shared.many_reads import METHOD as READ
from shared.server_rpc import hearing, pool
from shared.state.leadership import FOLLOWER, LEADER, NOBODY
from shared.wire import rpc, yamux
from tests.agents import PATIENCE_S
from tests.integration.http.door_server import DoorServer
from tests.integration.rpc.rpc_neighbours import until
from tests.integration.rpc.test_rpc_server_pool import Other
from tests.loopback import LoopbackPool

WRITE = "KVS.Apply"


class World:
    """A line, the rpc_core that it hears from, and what came of its calls."""

    def __init__(self, directory: Path, own: str) -> None:
        self.rpc_core = Server(str(directory / "rpc.sock"), name="rpc_core")
        self.link = Link(str(directory / "rpc.sock"), name="http_gateway")
        self.server: Any = None
        self.told: list[tuple[str, Any]] = []
        self.rpc_core.fast("Agent.Server", lambda request: request.reply(self.server))
        for method in ("Agent.ServerFailed", "Agent.ServerSilent"):
            self.rpc_core.fast(method, self._take)
        self.batches = 0
        self.line = ClientLine(self.link, own, self._after_batch, "dc1")
        self.line.may_pass, self.line.hold_timeout_s = True, 7.0
        self.outcomes: list[tuple[Any, IpcError | None] | str] = []

    def _take(self, request: Request) -> None:
        self.told.append((request.method, request.payload))

    def _after_batch(self) -> None:
        self.batches += 1

    async def uses(self, address: str, *, knows_many_reads: bool = True) -> None:
        """The line is told of a server."""
        self.server = [address, knows_many_reads]
        self.rpc_core.publish("server", self.server)
        await until(lambda: self.line.server() == address)

    def post(self, method: str, *, timeout_s: float = 30.0) -> bool:
        is_read = method == READ
        return (self.line.knows_many_reads or not is_read) and self.line.post(
            method,
            rpc.pack({"N": 1}),
            lambda value, error: self.outcomes.append((value, error)),
            lambda left_s: self.outcomes.append("otherwise"),
            timeout_s=timeout_s,
            repeatable=is_read,
        )

    async def outcome(self, method: str, *, timeout_s: float = 30.0) -> Any:
        """Of a call that the line takes, as soon as it has a connection."""
        await until(lambda: self.post(method, timeout_s=timeout_s))
        before = len(self.outcomes)
        await until(lambda: len(self.outcomes) > before)
        return self.outcomes[-1]


@asynccontextmanager
async def world(directory: Path, own: str, *others: Other) -> AsyncIterator[World]:
    made = World(directory, own)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            for one in (made.rpc_core, made.link, *others):
                await nursery.start(one.run)
            nursery.start_soon(made.line.run)
            await made.link.call("Agent.Server", timeout_s=PATIENCE_S)
            yield made
            nursery.cancel_scope.cancel()


async def echo(call: rpc.Request) -> object:
    return call.body


async def test_calls_go_to_the_server_that_rpc_core_names(loopback: LoopbackPool, tmp_path: Path) -> None:
    first, second = Other(loopback(), echo), Other(loopback(), echo)
    async with world(tmp_path, loopback(), first, second) as made:
        assert not made.post(WRITE)  # no server is known
        for other in (first, second):
            await made.uses(other.address)
            assert await made.outcome(WRITE) == (rpc.pack({"N": 1}), None)
            assert await made.outcome(READ) == (rpc.pack({"N": 1}), None)
            assert len(other.connections) == 1
        made.server = None
        made.rpc_core.publish("server", None)
        await until(lambda: not made.post(WRITE))
        assert made.batches >= 4
        assert not made.told


async def test_what_the_line_may_not_take_is_left_to_rpc_core(loopback: LoopbackPool, tmp_path: Path) -> None:
    other = Other(loopback(), echo)
    async with world(tmp_path, loopback(), other) as made:
        await made.uses(other.address, knows_many_reads=False)
        assert await made.outcome(WRITE) == (rpc.pack({"N": 1}), None)
        assert not made.post(READ)
        made.line.may_pass = False
        assert not made.post(WRITE)


async def test_a_server_is_asked_for_again_when_rpc_core_is_back(loopback: LoopbackPool, tmp_path: Path) -> None:
    other = Other(loopback(), echo)
    async with world(tmp_path, loopback(), other) as made:
        made.server = [other.address, True]
        made.line._ask()
        assert await made.outcome(READ) == (rpc.pack({"N": 1}), None)


@pytest.mark.parametrize(
    ("method", "error", "outcome"),
    [
        (READ, "stream closed", "otherwise"),
        (READ, "rpc: can't find method", "otherwise"),
        (READ, "No cluster leader", "otherwise"),
        (READ, "it broke", "rpc error making call: it broke"),
        (WRITE, "it broke", "rpc error making call: it broke"),
        (WRITE, "No cluster leader", "otherwise"),
    ],
)
async def test_an_error_is_told_and_ends_what_cannot_be_tried_again(
    loopback: LoopbackPool, tmp_path: Path, method: str, error: str, outcome: str
) -> None:
    async def fail(call: rpc.Request) -> object:
        raise ValueError(error)

    other = Other(loopback(), fail)
    async with world(tmp_path, loopback(), other) as made:
        await made.uses(other.address)
        found = await made.outcome(method)
        if found != "otherwise":
            assert isinstance(found[1], RemoteError)
            found = str(found[1])
        assert found == outcome
        await until(lambda: made.told)
        assert made.told == [("Agent.ServerFailed", [other.address, method, f"rpc error making call: {error}"])]


async def test_without_a_leader_a_write_is_held_no_longer_than_rpc_core_would(
    loopback: LoopbackPool, tmp_path: Path
) -> None:
    async def fail(call: rpc.Request) -> object:
        raise ValueError("No cluster leader")

    other = Other(loopback(), fail)
    async with world(tmp_path, loopback(), other) as made:
        await made.uses(other.address)
        made.line.hold_timeout_s = 0.0
        _, error = await made.outcome(WRITE)
        assert str(error) == "rpc error making call: No cluster leader"


async def test_the_end_of_the_connection_leaves_the_outcome_of_writes_unknown(
    loopback: LoopbackPool, tmp_path: Path
) -> None:
    async def never(call: rpc.Request) -> object:
        await trio.sleep_forever()

    other = Other(loopback(), never)
    async with world(tmp_path, loopback(), other) as made:
        await made.uses(other.address)
        await until(lambda: made.post(READ))
        assert made.post(WRITE)
        await until(lambda: other.connections)
        await other.cut()
        await until(lambda: len(made.outcomes) == 2)
        assert "otherwise" in made.outcomes
        [error] = [str(one[1]) for one in made.outcomes if one != "otherwise"]
        assert error.startswith("rpc error making call: ")
        assert made.batches  # the end of a connection is in no batch of its own


async def test_reads_leave_a_server_that_is_gone_and_writes_wait_until_their_deadline(
    loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(call: rpc.Request) -> object:
        await trio.sleep_forever()

    monkeypatch.setattr(server_line, "EXPIRY_S", 0.01)
    other = Other(loopback(), never)
    async with world(tmp_path, loopback(), other) as made:
        await made.uses(other.address)
        await until(lambda: made.post(READ))
        assert made.post(WRITE)
        made.rpc_core.publish("server_gone", [other.address])
        await until(lambda: made.outcomes)
        assert made.outcomes == ["otherwise"]
        _, error = await made.outcome(WRITE, timeout_s=0.05)
        assert isinstance(error, DeadlineError)
        assert "the outcome is unknown" in str(error)


async def test_a_server_that_says_nothing_is_told_to_rpc_core(
    loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "REAP_INTERVAL_S", 0.02)
    for name, value in (("PROBE_AFTER_S", 0.1), ("PROBE_TIMEOUT_S", 2.0)):  # the server here shares its processor
        monkeypatch.setattr(hearing, name, value)
    hushed = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        """Answers pings, and no calls, until it is hushed."""
        assert await stream.receive_some(1) == b"\x04"
        session = yamux.Session(client=False, now=trio.current_time())
        async for data in stream:
            session.receive(data, trio.current_time())
            if not hushed.is_set():
                await stream.send_all(session.take_outgoing())

    host = loopback()
    listeners = await trio.open_tcp_listeners(8300, host=host)
    async with world(tmp_path, loopback()) as made, trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, listeners)
        await made.uses(f"{host}:8300")
        await until(lambda: made.post(READ))
        assert made.post(WRITE)
        hushed.set()
        await until(lambda: ("Agent.ServerSilent", [f"{host}:8300"]) in made.told)
        assert made.outcomes == ["otherwise"]  # whether the write is done only its own server can tell
        assert not made.post(READ)
        assert not made.post(WRITE)
        nursery.cancel_scope.cancel()


async def test_a_connection_is_not_used_before_the_server_has_said_something(
    loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One above the limit of connections per client is accepted, and then closed."""
    monkeypatch.setattr(server_line, "DIAL_PAUSE_S", 0.01)
    accepted: list[trio.SocketStream] = []

    async def refuse(stream: trio.SocketStream) -> None:
        accepted.append(stream)
        await trio.sleep(0.001 * len(accepted))
        await stream.aclose()

    host = loopback()
    listeners = await trio.open_tcp_listeners(8300, host=host)
    async with world(tmp_path, loopback()) as made, trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, refuse, listeners)
        await made.uses(f"{host}:8300")

        def refused_again() -> bool:
            assert not made.post(WRITE)
            return len(accepted) >= 4

        await until(refused_again)
        nursery.cancel_scope.cancel()


async def test_a_follower_asks_and_writes_to_the_leader_of_the_moment(loopback: LoopbackPool, tmp_path: Path) -> None:
    first = DoorServer(loopback(), Apply=lambda request: None)
    second, own = DoorServer(loopback(), Apply=lambda request: request.reply(request.payload)), loopback()
    leadership = NOBODY
    raft = Server(str(tmp_path / "raft.sock"), name="raft_node")
    link = Link(str(tmp_path / "raft.sock"), name="http_gateway")
    line = LeaderLine(link, lambda: leadership, own, lambda: None)
    line.may_pass, line.hold_timeout_s = True, 7.0
    outcomes: list[Any] = []

    def post(*, repeatable: bool) -> bool:
        return line.post(
            "Raft.Apply",
            b"a command",
            lambda value, error: outcomes.append((value, error)),
            lambda left_s: outcomes.append(left_s),
            timeout_s=30.0,
            repeatable=repeatable,
        )

    def leads(address: str, *, has_door: bool = True) -> None:
        nonlocal leadership
        leadership = NOBODY._replace(
            role=FOLLOWER, leader_address=address, peers=f"the-leader {address}" if has_door else ""
        )
        raft.publish("leadership", None)

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            for one in (raft, link, first, second):
                await nursery.start(one.run)
            nursery.start_soon(line.run)
            await until(lambda: link.connected)
            assert not post(repeatable=True)  # nobody leads
            leads(first.address)
            await until(lambda: post(repeatable=True))
            assert post(repeatable=False)
            leads(second.address)
            await until(lambda: outcomes)  # a leader of before may hang
            [left_s] = outcomes
            assert 0 < left_s < 30.0
            await until(lambda: post(repeatable=False))
            await until(lambda: len(outcomes) == 2)
            assert outcomes[1] == (b"a command", None)
            leads(second.address, has_door=False)  # a Consul server
            assert not post(repeatable=False)
            leadership = leadership._replace(role=LEADER, peers=f"a-follower {first.address}")
            assert not post(repeatable=False)
            nursery.cancel_scope.cancel()
