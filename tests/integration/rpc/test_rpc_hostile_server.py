"""A server that answers with other things than were asked for costs the calls it was asked, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from shared.ipc import RemoteError
from shared.server_rpc import pool as server_pool
from shared.server_rpc.errors import ConnectionEndedError, ServerCallError
from shared.server_rpc.pool import ServerPool
from shared.wire import rpc, yamux
from tests.agents import PATIENCE_S
from tests.integration.rpc.rpc_neighbours import until
from tests.integration.rpc.test_rpc_client_core import READ, found, world
from tests.integration.rpc.test_rpc_server_pool import Other, echo, running
from tests.loopback import LoopbackPool

ODD_BODIES: list[Any] = [
    None,
    7,
    -1.5,
    "text",
    [],
    [1, [2]],
    {},
    {"Index": "x", "Entries": 3, "NodeServices": 5, "HealthChecks": 1},
    {"Index": -1, "Entries": [1], "NodeServices": {"Node": 7, "Services": 8}, "HealthChecks": [5]},
    {"Index": None, "Entries": {"a": 1}, "NodeServices": [], "HealthChecks": {"CheckID": []}},
    {"Index": [], "NodeServices": {"Node": {"Node": 5}, "Services": [{"ID": 7, "Port": "x"}]}, "HealthChecks": ["x"]},
    {"Index": 1 << 63, "NodeServices": {"Node": None, "Services": None}, "HealthChecks": [{"Definition": 3}]},
]


async def test_answers_of_any_shape_stop_nobody(loopback: LoopbackPool, tmp_path: Path) -> None:
    """The agent's own questions: anti-entropy, aliases of other nodes, defaults of services, the cache."""
    odd = itertools.cycle(ODD_BODIES)
    asked: dict[str, int] = {}

    async def answer(call: rpc.Request) -> object:
        asked[call.method] = asked.get(call.method, 0) + 1
        return next(odd)

    async def tried(method: str, payload: object) -> str:
        """What the agent says to it, "" if it waits or is content."""
        with trio.move_on_after(0.1):
            try:
                await made.call(method, payload)
            except RemoteError as error:
                return error.code
        return ""

    async with world(tmp_path, loopback(), enable_central_service_config=True) as (made, nursery):
        other = Other(loopback(), answer)
        await nursery.start(other.run)
        await made.comes("odd", other.host)
        made.core.start_sync()
        syncer = made.core.local.agent.syncer
        alias = {"ID": "alias", "Name": "alias", "AliasNode": "elsewhere", "AliasService": "web"}
        for number in range(len(ODD_BODIES)):
            syncer.server_up()
            await syncer._sync_full()
            service = {"definition": {"ID": f"web{number}", "Name": f"web{number}", "Check": dict(alias)}}
            request = {"Type": "health-services", "Request": {"ServiceName": f"w{number}", "Datacenter": "dc1"}}
            for method, payload in (("Agent.RegisterService", service), ("Agent.CacheGet", request)):
                assert await tried(method, payload) != "internal"
        assert {"Catalog.NodeServiceList", "Health.NodeChecks"} <= set(asked), asked
        good = Other(loopback(), made.server("good", found))
        await nursery.start(good.run)
        await made.comes("odd", other.host, "failed")
        await made.comes("good", good.host)
        assert (await made.call("KVS.Get", READ))["Index"] == 7


class Raw:
    """A server of bare yamux: `talk` gets the session, the id and the sequence number of each call, and what to send
    with."""

    def __init__(self, address: str, talk: Callable[[yamux.Session, int, int], Awaitable[None]]) -> None:
        self.host, self.address, self._talk = address, f"{address}:8300", talk
        self.connections = self.open = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(8300, host=self.host)
        task_status.started()
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.open += 1
        try:
            await self._talk_on(stream)
        finally:
            self.open -= 1

    async def _talk_on(self, stream: trio.SocketStream) -> None:
        session, decoders = yamux.Session(client=False, now=0.0), dict[int, rpc.RequestDecoder]()
        assert await stream.receive_some(1) == b"\x04"
        try:
            while data := bytes(await stream.receive_some(1 << 16)):
                for event in session.receive(data, 0.0):
                    if isinstance(event, yamux.StreamData):
                        decoder = decoders.setdefault(event.stream_id, rpc.RequestDecoder())
                        for call in decoder.feed(event.data):
                            await self._talk(session, event.stream_id, call.seq)
                while out := session.take_outgoing():
                    await stream.send_all(out)
        except trio.BrokenResourceError:
            return


async def test_what_follows_an_answer_is_not_taken_for_the_next_one(loopback: LoopbackPool) -> None:
    """A stream is used again for the next call: what comes on it beside the answer belongs to no call."""
    seen: list[int] = []
    halves: dict[int, bytes] = {}

    async def repeats(session: yamux.Session, stream: int, seq: int) -> None:
        session.send(stream, rpc.encode_response(seq, "A.B", seq))
        session.send(stream, rpc.encode_response(seq, "A.B", "again"))

    async def goes_on(session: yamux.Session, stream: int, seq: int) -> None:
        """Begins to answer the call before once more; the rest comes when its stream is used again."""
        session.send(stream, halves.pop(stream, b"") + rpc.encode_response(seq, "A.B", seq))
        for answered in seen:
            more = rpc.encode_response(seq, "A.B", "again")
            session.send(answered, more[:-3])
            halves[answered] = more[-3:]
        seen[:] = [] if seen else [stream]

    for talk in (repeats, goes_on):
        other = Raw(loopback(), talk)
        async with running(other, loopback()) as pool:  # type: ignore[arg-type]
            answers: list[object] = []

            async def call(pool: ServerPool = pool, other: Raw = other, answers: list[object] = answers) -> None:
                answers.append(await pool.call(other.address, "A.B", rpc.pack({})))

            for at_once in (2, 1, 1, 2, 1, 1):
                async with trio.open_nursery() as nursery:
                    for _ in range(at_once):
                        nursery.start_soon(call)
            assert len({one for one in answers if isinstance(one, int)}) == 8, answers
            assert other.connections == 1


async def test_streams_that_a_server_opens_are_refused(loopback: LoopbackPool) -> None:
    """Nobody asked for them, and they would take the place of calls."""

    async def opens_streams(session: yamux.Session, stream: int, seq: int) -> None:
        opened.append(session.open_stream())
        session.send(opened[-1], b"hello")
        session.send(stream, rpc.encode_response(seq, "A.B", "good"))

    opened: list[int] = []
    other = Raw(loopback(), opens_streams)
    async with running(other, loopback()) as pool:  # type: ignore[arg-type]
        for _ in range(5):
            assert await pool.call(other.address, "A.B", rpc.pack({})) == "good"
        (connection,) = pool._connections.values()
        assert opened == [2, 4, 6, 8, 10]
        assert connection._session.stream_count == 1


async def test_a_server_that_goes_away_and_stays_is_left(
    loopback: LoopbackPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that takes no more calls ends with its last one, whatever the server does."""
    monkeypatch.setattr(server_pool, "REAP_INTERVAL_S", 0.01)

    async def goes_away(session: yamux.Session, stream: int, seq: int) -> None:
        session.go_away()
        session.send(stream, rpc.encode_response(seq, "A.B", "good"))

    other = Raw(loopback(), goes_away)
    async with running(other, loopback()) as pool:  # type: ignore[arg-type]
        for _ in range(5):
            assert await pool.call(other.address, "A.B", rpc.pack({})) == "good"
        assert other.connections == 5
        await until(lambda: other.open == 1)
        assert len(pool._connections) == 1


async def test_a_bug_met_on_one_connection_ends_that_one_only(
    loopback: LoopbackPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def receive(session: yamux.Session, data: bytes, now: float) -> list[yamux.Event]:
        if b"poison" in data:
            raise KeyError("a bug")
        return received(session, data, now)

    received = yamux.Session.receive
    monkeypatch.setattr(yamux.Session, "receive", receive)

    async def poisons(session: yamux.Session, stream: int, seq: int) -> None:
        session.send(stream, rpc.encode_response(seq, "A.B", "poison"))

    bad, good = Raw(loopback(), poisons), Other(loopback(), echo)
    async with running(good, loopback()) as pool, trio.open_nursery() as nursery:
        await nursery.start(bad.run)
        with pytest.raises(ConnectionEndedError):
            await pool.call(bad.address, "A.B", rpc.pack({}))
        assert await pool.call(good.address, "A.B", rpc.pack(7)) == 7
        nursery.cancel_scope.cancel()


async def test_an_answer_to_another_call_fails_its_call(loopback: LoopbackPool) -> None:
    async def late(session: yamux.Session, stream: int, seq: int) -> None:
        session.send(stream, rpc.encode_response(seq + 1, "A.B", "of another"))

    other = Raw(loopback(), late)
    async with running(other, loopback()) as pool:  # type: ignore[arg-type]
        with pytest.raises(ConnectionEndedError, match="sequence"):
            await pool.call(other.address, "A.B", rpc.pack({}))


async def test_an_answer_without_an_end_is_not_held(loopback: LoopbackPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "RESPONSE_BYTES_MAX", 1 << 20)

    async def endless(session: yamux.Session, stream: int, seq: int) -> None:
        session.send(stream, rpc.encode_response(seq, "A.B", None)[:-1] + b"\xdd\x00\x10\x00\x00" + bytes(4 << 10))
        for _ in range(3 << 6):
            session.send(stream, b"\xda\x3f\xfd" + bytes(0x3FFD))

    other = Raw(loopback(), endless)
    async with running(other, loopback()) as pool:  # type: ignore[arg-type]
        with pytest.raises(ServerCallError, match="message is larger than"):
            await pool.call(other.address, "A.B", rpc.pack({}))


async def test_a_server_that_falls_silent_is_given_up(loopback: LoopbackPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and what is sent, and never says a word: keepalive finds out."""
    limits = yamux.Limits(keepalive_interval_s=0.1, ping_timeout_s=0.2)
    monkeypatch.setattr(yamux, "Limits", lambda: limits)

    async def silent(stream: trio.SocketStream) -> None:
        while await stream.receive_some(1 << 16):
            pass

    pool, host = ServerPool(loopback()), loopback()
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(8300, host=host)
            await nursery.start(trio.serve_listeners, silent, listeners)
            await nursery.start(pool.run)
            with pytest.raises(ConnectionEndedError, match="keepalive timeout"):
                await pool.call(f"{host}:8300", "A.B", rpc.pack({}))
            await until(lambda: not pool._connections)
            nursery.cancel_scope.cancel()


async def test_a_connection_without_calls_is_closed_after_a_while(
    loopback: LoopbackPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one on which a call waits, however long."""
    monkeypatch.setattr(server_pool, "REAP_INTERVAL_S", 0.01)
    wanted, answered = trio.Event(), trio.Event()

    async def waits(call: rpc.Request) -> object:
        wanted.set()
        await answered.wait()
        return call.body

    busy, idle = Other(loopback(), waits), Other(loopback(), echo)
    async with running(busy, loopback()) as pool, trio.open_nursery() as nursery:
        pool._idle_timeout_s = 0.1
        await nursery.start(idle.run)
        answers: list[object] = []

        async def call() -> None:
            answers.append(await pool.call(busy.address, "A.B", rpc.pack({})))

        nursery.start_soon(call)
        await wanted.wait()
        await pool.call(idle.address, "A.B", rpc.pack({}))  # used later than the busy one
        await until(lambda: idle.address not in pool._connections)
        assert list(pool._connections) == [busy.address]
        answered.set()
        await until(lambda: not pool._connections)
        assert answers == [{}]
        assert await pool.call(busy.address, "A.B", rpc.pack({"N": 1})) == {"N": 1}
        assert len(busy.connections) == 2
        nursery.cancel_scope.cancel()
