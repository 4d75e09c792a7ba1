"""The lane with real sockets: one client's misfortune is not that of others."""

from __future__ import annotations

import socket

import trio
from trio.testing import wait_all_tasks_blocked

from services.http_gateway.lane.connection import ConnectionLimits
from services.http_gateway.lane.loop import Lane, LaneLimits
from services.http_gateway.message import Request
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
    with trio.fail_after(10):
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
