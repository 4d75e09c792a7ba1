"""The RPC port on a real socket: what each first byte gets, limits, and calls over both framings."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio

from services.rpc_core import connection
from services.rpc_core.listener import RpcListener
from shared.wire import rpc, yamux
from shared.wire.demux import ConnectionKind
from tests.integration.rpc.rpc_neighbours import until
from tests.loopback import LoopbackPool

fresh_address = LoopbackPool()


@dataclass
class Rig:
    """A listener whose methods are `Echo` (returns its body), `Wait`, `KVS.Apply` (until `go`) and `Bad` (closes)."""

    address: tuple[str, int]
    listener: RpcListener
    go: trio.Event = field(default_factory=trio.Event)
    handed_over: list[tuple[int, str, ConnectionKind]] = field(default_factory=list)
    running: int = 0

    async def answer(self, call: rpc.Request) -> tuple[bytes, bool]:
        if call.method == "Bad":
            return rpc.encode_error(call.seq, call.method, "rpc: can't find method Bad"), False
        if call.method in ("Wait", "KVS.Apply"):
            self.running += 1
            try:
                await self.go.wait()
            finally:
                self.running -= 1
        else:
            await trio.lowlevel.checkpoint()
        return rpc.encode_response(call.seq, call.method, call.body), True

    def handoff(self, fd: int, source: str, kind: ConnectionKind) -> bool:
        self.handed_over.append((os.dup(fd), source, kind))
        return True

    async def connect(self, first: bytes) -> trio.SocketStream:
        stream = await trio.open_tcp_stream(*self.address)
        await stream.send_all(first)
        return stream


@asynccontextmanager
async def serving(**changes: Any) -> AsyncIterator[Rig]:
    async def snapshot(stream: trio.SocketStream) -> None:
        await stream.send_all(b"snapshot")

    address = (fresh_address(), 8300)
    options: dict[str, Any] = {"handshake_timeout_s": 30.0, "connections_per_client_max": 100, **changes}
    listener = RpcListener(
        f"{address[0]}:{address[1]}",
        answer=lambda call: rig.answer(call),
        handoff=lambda fd, source, kind: rig.handoff(fd, source, kind),
        serve_snapshot=snapshot,
        **options,
    )
    rig = Rig(address, listener)
    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.run)
            yield rig
            nursery.cancel_scope.cancel()


class Client:
    """The client end of a yamux connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.session = yamux.Session(client=True, now=trio.current_time())
        self.decoders: dict[int, rpc.ResponseDecoder] = {}
        self.answers: dict[int, list[rpc.Response]] = {}
        self.ended: set[int] = set()

    def call(self, seq: int, method: str, body: Any = None, stream_id: int | None = None) -> int:
        if stream_id is None:
            stream_id = self.session.open_stream()
            self.decoders[stream_id] = rpc.ResponseDecoder()
            self.answers[stream_id] = []
        self.session.send(stream_id, rpc.encode_request(seq, method, body))
        return stream_id

    async def flush(self) -> None:
        await self.stream.send_all(self.session.take_outgoing())

    async def half_close(self, stream_id: int) -> None:
        """Sends a FIN, but goes on reading, which our own session (like Go's) would not."""
        await self.flush()
        await self.stream.send_all(yamux.HEADER.pack(0, yamux.TYPE_WINDOW_UPDATE, yamux.FLAG_FIN, stream_id, 0))

    async def pump(self, until: Callable[[], bool]) -> None:
        with trio.fail_after(30):
            await self.flush()
            while not until():
                data = await self.stream.receive_some(65536)
                assert data, "the server has closed the connection"
                for event in self.session.receive(bytes(data), trio.current_time()):
                    if isinstance(event, yamux.StreamData):
                        self.answers[event.stream_id] += self.decoders[event.stream_id].feed(event.data)
                        self.session.consumed(event.stream_id, len(event.data))
                    elif isinstance(event, yamux.StreamEnded | yamux.StreamReset):
                        self.ended.add(event.stream_id)
                await self.flush()


async def test_calls_on_a_plain_connection_are_answered_in_order() -> None:
    async with serving() as rig:
        stream = await rig.connect(b"\x00" + rpc.encode_request(1, "Echo", {"a": 1}))
        await stream.send_all(rpc.encode_request(2, "Echo", {"b": "x" * 100_000}))
        decoder, answers = rpc.ResponseDecoder(), list[rpc.Response]()
        while len(answers) < 2:
            answers += decoder.feed(bytes(await stream.receive_some(65536)))
        assert [(answer.seq, answer.body) for answer in answers] == [(1, {"a": 1}), (2, {"b": "x" * 100_000})]
        await stream.send_all(rpc.encode_request(3, "Bad", {}))
        [refused] = decoder.feed(bytes(await stream.receive_some(65536)))
        assert refused.error == "rpc: can't find method Bad"
        assert await stream.receive_some(1) == b""


async def test_streams_are_served_at_the_same_time_and_one_stream_in_order() -> None:
    async with serving() as rig:
        client = Client(await rig.connect(b"\x04"))
        waiting = client.call(1, "Wait")
        client.call(2, "Echo", {"n": 2}, stream_id=waiting)
        quick = client.call(3, "Echo", {"n": 3})
        await client.pump(lambda: bool(client.answers[quick]))
        assert client.answers[waiting] == []
        rig.go.set()
        await client.pump(lambda: len(client.answers[waiting]) == 2)
        assert [answer.seq for answer in client.answers[waiting]] == [1, 2]


async def test_large_requests_and_answers_pass_the_window() -> None:
    async with serving() as rig:
        client = Client(await rig.connect(b"\x04"))
        body = {"Value": "v" * 3_000_000}
        stream_id = client.call(1, "Echo", body)
        await client.pump(lambda: bool(client.answers[stream_id]))
        assert client.answers[stream_id][0].body == body


async def test_an_unknown_method_ends_its_stream_only() -> None:
    async with serving() as rig:
        client = Client(await rig.connect(b"\x04"))
        bad = client.call(1, "Bad")
        await client.pump(lambda: bad in client.ended)
        assert client.answers[bad][0].error == "rpc: can't find method Bad"
        good = client.call(2, "Echo", {})
        await client.pump(lambda: bool(client.answers[good]))


async def test_an_undecodable_body_is_answered_and_ends_its_stream() -> None:
    async with serving() as rig:
        client = Client(await rig.connect(b"\x04"))
        stream_id = client.call(1, "Echo", {})
        await client.pump(lambda: bool(client.answers[stream_id]))
        client.session.send(stream_id, rpc.pack({"Seq": 5, "ServiceMethod": "Echo"}) + b"\xc1")
        await client.pump(lambda: stream_id in client.ended)
        assert client.answers[stream_id][1].seq == 5
        assert client.answers[stream_id][1].error.startswith("codec.decoder: ")


async def test_a_reset_stream_cancels_its_call() -> None:
    async with serving() as rig:
        client = Client(await rig.connect(b"\x04"))
        stream_id = client.call(1, "Wait")
        await client.flush()
        await until(lambda: rig.running == 1)
        client.session.reset_stream(stream_id)
        await client.flush()
        await until(lambda: rig.running == 0)


async def test_a_lost_connection_cancels_its_calls() -> None:
    async with serving() as rig:
        client = Client(await rig.connect(b"\x04"))
        for seq in range(5):
            client.call(seq, "Wait")
        await client.flush()
        await until(lambda: rig.running == 5)
        await client.stream.aclose()
        await until(lambda: rig.running == 0)


async def test_a_closed_stream_still_gets_its_answer_within_the_grace_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving() as rig:
        client = Client(await rig.connect(b"\x04"))
        stream_id = client.call(1, "Wait")
        await client.half_close(stream_id)
        await until(lambda: rig.running == 1)
        rig.go.set()
        await client.pump(lambda: stream_id in client.ended)
        assert [answer.seq for answer in client.answers[stream_id]] == [1]
        monkeypatch.setattr(connection, "ENDED_GRACE_S", 0.2)
        rig.go = trio.Event()
        stream_id = client.call(2, "Wait")
        await client.half_close(stream_id)
        await client.pump(lambda: stream_id in client.ended)
        assert client.answers[stream_id] == []


@pytest.mark.parametrize("kind", [ConnectionKind.RAFT, ConnectionKind.DOOR])
async def test_connections_to_raft_node_are_handed_over_with_everything_behind_the_first_byte(
    kind: ConnectionKind,
) -> None:
    async with serving() as rig:
        stream = await rig.connect(bytes((kind,)) + b"\x00rest")
        await until(lambda: bool(rig.handed_over))
        fd, source, kind_told = rig.handed_over[0]
        assert kind_told == kind
        assert source == "{}:{}".format(*stream.socket.getsockname())
        with socket.socket(fileno=fd) as taken:
            taken.setblocking(False)
            assert taken.recv(10) == b"\x00rest"
            taken.send(b"hello")
            assert await stream.receive_some(5) == b"hello"


@pytest.mark.parametrize("first", [2, 6, 8, 9, 22, 255])
async def test_unknown_first_bytes_are_closed(first: int) -> None:
    async with serving() as rig:
        stream = await rig.connect(bytes([first]))
        assert await stream.receive_some(1) == b""


@pytest.mark.parametrize("first", [3, 7])
async def test_tls_without_a_certificate_gets_an_alert(first: int) -> None:
    async with serving() as rig:
        stream = await rig.connect(bytes([first]) + b"\x16\x03\x01\x00\x05hello")
        assert await stream.receive_some(10) == b"\x15\x03\x01\x00\x02\x02\x50"


async def test_silence_is_closed_after_the_handshake_timeout() -> None:
    async with serving(handshake_timeout_s=0.1) as rig:
        stream = await rig.connect(b"")
        assert await stream.receive_some(1) == b""


async def test_a_source_gets_its_share_of_connections() -> None:
    async with serving(connections_per_client_max=2) as rig:
        first, second = await rig.connect(b"\x04"), await rig.connect(b"\x04")
        third = await rig.connect(b"")
        assert await third.receive_some(1) == b""
        await first.aclose()

        async def admitted() -> bool:
            try:
                stream = await rig.connect(b"\x00" + rpc.encode_request(1, "Echo", {}))
                return bool(await stream.receive_some(10))
            except trio.BrokenResourceError:
                return False

        with trio.fail_after(30):
            while not await admitted():
                await trio.sleep(0.01)
        await second.aclose()


@pytest.mark.parametrize("first", [0, 4, 5])
async def test_garbage_ends_a_connection_and_nothing_else(first: int) -> None:
    async with serving() as rig:
        stream = await rig.connect(bytes([first]) + b"\xc1\xc1\xc1 garbage and more garbage")
        try:
            while await stream.receive_some(100):
                pass
        except trio.BrokenResourceError:
            pass
        client = Client(await rig.connect(b"\x04"))
        stream_id = client.call(1, "Echo", {})
        await client.pump(lambda: bool(client.answers[stream_id]))


async def test_writes_under_way_are_answered_before_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who come later are sent elsewhere; who only waits for something is not waited for."""
    monkeypatch.setattr("services.rpc_core.listener.DRAIN_S", 30.0)
    async with serving() as rig:
        client = Client(await rig.connect(b"\x04"))
        writing = client.call(1, "KVS.Apply", {})
        await client.flush()
        await until(lambda: rig.running == 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.listener.drain)
            await client.pump(lambda: client.session.remote_going_away)
            with pytest.raises(OSError, match="connect"):
                await trio.open_tcp_stream(*rig.address)
            assert not client.answers[writing]
            rig.go.set()
        await client.pump(lambda: bool(client.answers[writing]))
        assert client.answers[writing][0].error == ""


async def test_who_waits_for_a_change_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.rpc_core.listener.DRAIN_S", 90.0)
    async with serving() as rig:
        client = Client(await rig.connect(b"\x04"))
        client.call(1, "Wait", {})
        await client.flush()
        await until(lambda: rig.running == 1)
        with trio.fail_after(30):
            await rig.listener.drain()
