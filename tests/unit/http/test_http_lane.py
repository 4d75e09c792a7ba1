"""The lane with real sockets: one client's misfortune is not that of others."""

from __future__ import annotations

import contextlib
import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from services.http_gateway.lane import patience
from services.http_gateway.lane.connection import ConnectionLimits
from services.http_gateway.lane.loop import Lane, LaneLimits
from services.http_gateway.message import Request
from tests.agents import PATIENCE_S
from tests.loopback import LoopbackPool


class Work:
    """Answers every request with its path; a request for /bug meets one."""

    def answer_known(self, head: bytes) -> bytes | None:
        return None

    def begin_batch(self) -> None: ...

    def end_batch(self) -> None: ...

    def dispatch(self, request: Request) -> None:
        if request.path == "/bug":
            raise RuntimeError("a bug")
        request.channel.finish(request, request.path.encode())


async def connect(address: tuple[str, int]) -> trio.SocketStream:
    return await trio.open_tcp_stream(*address)


async def test_a_bug_met_by_one_client_costs_that_client_its_connection_only(
    loopback: LoopbackPool,
) -> None:
    listener = socket.create_server((loopback(), 0))
    address = listener.getsockname()
    lane = Lane(Work(), limits=LaneLimits(), connection_limits=ConnectionLimits())
    lane.listen(listener)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(lane.run)
            other, unlucky = await connect(address), await connect(address)
            await unlucky.send_all(b"GET /bug HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await unlucky.receive_some() == b""
            await other.send_all(b"GET /fine HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await other.receive_some() == b"/fine"
            await wait_all_tasks_blocked()
            assert lane.connections == 1
            nursery.cancel_scope.cancel()
            for stream in (other, unlucky):
                with trio.CancelScope(shield=True):
                    await stream.aclose()


class Slowly(Work):
    """Requests that a neighbour has to answer."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def dispatch(self, request: Request) -> None:
        self.requests.append(request)


class SlowAtFirst(Slowly):
    """Only the first request has to wait for its answer."""

    def dispatch(self, request: Request) -> None:
        super().dispatch(request)
        if len(self.requests) > 1:
            request.channel.finish(request, b".")


async def test_a_long_pipeline_behind_an_answer_from_outside_is_served_to_its_end(loopback: LoopbackPool) -> None:
    listener = socket.create_server((loopback(), 0))
    work = SlowAtFirst()
    lane = Lane(work, limits=LaneLimits(), connection_limits=ConnectionLimits())
    lane.listen(listener)
    ask = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with trio.fail_after(PATIENCE_S), socket.socket() as client:
        async with trio.open_nursery() as nursery:
            await nursery.start(lane.run)
            client.connect(listener.getsockname())
            client.sendall(ask)
            while not work.requests:
                await trio.sleep(0.001)
            work.requests[0].channel.finish(work.requests[0], b".")
            lane.flush()
            client.sendall(200 * ask)
            lane.serve_on()
            client.setblocking(False)
            answers = b""
            while len(answers) < 201:
                await trio.sleep(0.001)
                with contextlib.suppress(BlockingIOError):
                    answers += client.recv(1000)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("alone", [True, False])
async def test_a_lone_client_that_a_neighbour_has_answered_is_awaited_awake(
    loopback: LoopbackPool, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "WAIT_S", 1.0)  # a busy kernel may hand the request on late
    listener = socket.create_server((loopback(), 0))
    work = Slowly()
    lane = Lane(work, limits=LaneLimits(), connection_limits=ConnectionLimits())
    lane.listen(listener)
    ask = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
    with trio.fail_after(PATIENCE_S), socket.socket() as client, socket.socket() as other:
        async with trio.open_nursery() as nursery:
            await nursery.start(lane.run)
            client.connect(listener.getsockname())
            client.sendall(ask % 1)
            if not alone:
                other.connect(listener.getsockname())
                other.sendall(ask % 2)
            while len(work.requests) < 2 - alone:
                await trio.sleep(0.001)
            first = next(one for one in work.requests if one.path == "/1")
            first.channel.finish(first, b"answer")
            lane.flush()
            client.sendall(ask % 3)
            lane.serve_on()
            assert (work.requests[-1].path == "/3") is alone  # before anything else in this process had its turn
            assert client.recv(100) == b"answer"
            while work.requests[-1].path != "/3":
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
