"""Calls to another server over real connections: sharing, failures, connections that end, large bodies."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from services.rpc_core.connection import MultiplexedConnection
from shared.server_rpc.errors import ConnectionEndedError, DialError, RemoteCallError
from shared.server_rpc.pool import ServerPool
from shared.wire import rpc
from tests.agents import PATIENCE_S
from tests.integration.rpc.rpc_neighbours import until
from tests.loopback import LoopbackPool

Handler = Callable[[rpc.Request], Awaitable[object]]


class Other:
    """A server that answers with `handler`; an exception's text is its error."""

    def __init__(self, address: str, handler: Handler) -> None:
        self.host, self._handler = address, handler
        self.address = f"{address}:8300"
        self.connections: list[trio.SocketStream] = []
        self.sources: list[str] = []

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(8300, host=self.host)
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._serve, listeners)
            task_status.started()

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.connections.append(stream)
        self.sources.append(stream.socket.getpeername()[0])
        assert await stream.receive_some(1) == b"\x04"
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await MultiplexedConnection(stream, self._answer, "test").run()

    async def _answer(self, call: rpc.Request) -> tuple[bytes, bool]:
        try:
            return rpc.encode_response(call.seq, call.method, await self._handler(call)), True
        except Exception as error:
            return rpc.encode_error(call.seq, call.method, str(error)), True

    async def cut(self) -> None:
        """Every connection ends."""
        for stream in self.connections:
            await stream.aclose()


@asynccontextmanager
async def running(other: Other, own: str) -> AsyncIterator[ServerPool]:
    pool = ServerPool(own)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(other.run)
            await nursery.start(pool.run)
            yield pool
            nursery.cancel_scope.cancel()


async def echo(call: rpc.Request) -> object:
    return call.body


def made(loopback: LoopbackPool, handler: Handler) -> Other:
    return Other(loopback(), handler)


async def test_calls_at_once_share_one_connection(loopback: LoopbackPool) -> None:
    arrived, everybody = 0, trio.Event()

    async def wait_for_all(call: rpc.Request) -> object:
        nonlocal arrived
        arrived += 1
        if arrived == 300:
            everybody.set()
        await everybody.wait()
        return call.body

    other, own = made(loopback, wait_for_all), loopback()
    answers: set[int] = set()
    async with running(other, own) as pool:

        async def call(number: int) -> None:
            answers.add((await pool.call(other.address, "A.B", rpc.pack({"N": number})))["N"])

        async with trio.open_nursery() as nursery:
            for number in range(300):  # more than a session may open without acknowledgements
                nursery.start_soon(call, number)
    assert answers == set(range(300))
    assert other.sources == [own]


async def test_bodies_larger_than_a_window_go_both_ways(loopback: LoopbackPool) -> None:
    other = made(loopback, echo)
    async with running(other, loopback()) as pool:
        body = {"Value": "\udcff" + "x" * 3_000_000}
        for _ in range(3):
            assert await pool.call(other.address, "A.B", rpc.pack(body)) == body


async def test_errors_of_the_other_server(loopback: LoopbackPool) -> None:
    async def refuse(call: rpc.Request) -> object:
        raise ValueError(call.body)

    other = made(loopback, refuse)
    async with running(other, loopback()) as pool:
        for text, always, reads in (
            ("Permission denied", False, False),
            ("No cluster leader", True, False),
            ("rpc error making call: stream closed", False, True),
            ("rpc error making call: EOF", False, True),
            ("rpc error getting client: failed to get conn: dial tcp: refused", True, False),
        ):
            with pytest.raises(RemoteCallError) as caught:
                await pool.call(other.address, "A.B", rpc.pack(text))
            assert str(caught.value) == f"rpc error making call: {text}"
            assert (caught.value.retry_always, caught.value.retry_reads) == (always, reads)
    assert len(other.connections) == 1


async def test_nobody_there(loopback: LoopbackPool) -> None:
    other, own, address = made(loopback, echo), loopback(), f"{loopback()}:8300"
    async with running(other, own) as pool:
        with pytest.raises(DialError) as caught:
            await pool.call(address, "A.B", rpc.pack({}))
    said = f"rpc error getting client: failed to get conn: dial tcp {own}:0->{address}: connect: connection refused"
    assert str(caught.value) == said


async def test_a_connection_that_ends_fails_its_calls_and_is_replaced(loopback: LoopbackPool) -> None:
    arrived = trio.Event()

    async def hang(call: rpc.Request) -> object:
        if call.body == "hang":
            arrived.set()
            await trio.sleep_forever()
        return call.body

    other = made(loopback, hang)
    async with running(other, loopback()) as pool:

        async def fail() -> None:
            with pytest.raises(ConnectionEndedError, match="rpc error making call: "):
                await pool.call(other.address, "A.B", rpc.pack("hang"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await arrived.wait()
            await other.cut()
        assert await pool.call(other.address, "A.B", rpc.pack("again")) == "again"
    assert len(other.connections) == 2


async def test_who_gives_up_leaves_the_others_alone(loopback: LoopbackPool) -> None:
    async def sometimes(call: rpc.Request) -> object:
        if call.body == "hang":
            await trio.sleep_forever()
        return call.body

    other = made(loopback, sometimes)
    async with running(other, loopback()) as pool:
        for _ in range(5):
            with trio.move_on_after(0.01):
                await pool.call(other.address, "A.B", rpc.pack("hang"))
            assert await pool.call(other.address, "A.B", rpc.pack("x")) == "x"
        with pytest.raises(ConnectionEndedError, match="i/o timeout"):
            await pool.call(other.address, "A.B", rpc.pack("hang"), timeout_s=0.01)
    assert len(other.connections) == 1


async def test_a_post_needs_a_connection_that_is_there(loopback: LoopbackPool) -> None:
    other = made(loopback, echo)
    async with running(other, loopback()) as pool:
        answers: list[object] = []
        answered = trio.Event()

        def on_reply(value: object, error: Exception | None) -> None:
            answers.append((value, error))
            answered.set()

        assert not pool.post(other.address, "A.B", rpc.pack(1), on_reply)
        await pool.call(other.address, "A.B", rpc.pack(1))
        assert pool.post(other.address, "A.B", rpc.pack(2), on_reply)
        await answered.wait()
    assert answers == [(2, None)]


async def test_only_what_can_be_repeated_is_given_up_for_another_leader(loopback: LoopbackPool) -> None:
    go_on, arrived = trio.Event(), 0

    async def hang(call: rpc.Request) -> object:
        nonlocal arrived
        arrived += 1
        await go_on.wait()
        return call.body

    other = made(loopback, hang)
    outcomes: list[object] = []
    async with running(other, loopback()) as pool:

        async def call(body: str, repeatable: bool) -> None:
            try:
                outcomes.append(await pool.call(other.address, "A.B", rpc.pack(body), repeatable=repeatable))
            except ConnectionEndedError as error:
                outcomes.append(str(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, "read", True)
            nursery.start_soon(call, "write", False)
            await until(lambda: arrived == 2)
            pool.leader_is(other.address)
            await trio.testing.wait_all_tasks_blocked()
            assert not outcomes
            pool.leader_is("10.0.0.1:8300")
            await until(lambda: outcomes)
            assert outcomes == ["rpc error making call: another server leads"]
            go_on.set()
    assert outcomes[1:] == ["write"]
