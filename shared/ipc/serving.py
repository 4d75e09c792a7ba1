"""Serving one connection of the local IPC: calls in, handlers by method name, answers out in one send per batch."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from shared.ipc import frames
from shared.ipc.errors import IpcError, ProtocolError, RemoteError
from shared.ipc.reading import Reader
from shared.ipc.together import Together
from shared.ipc.transport import Peer, Transport
from shared.log import get_logger

_log = get_logger("agent.ipc")

_MAX_SLOW_CALLS: Final = 4096
_ANSWERS_HIGH_BYTES: Final = 8 << 20

Send = Callable[[Any], Awaitable[None]]


class Request:
    """One incoming call. Answer it exactly once, now or later; answers to a caller that has gone are dropped."""

    __slots__ = ("_connection", "_id", "_on_cancel", "cancelled", "deadline", "fds", "method", "payload")

    def __init__(self, connection: Connection, request_id: int, method: str, payload: Any, deadline: float) -> None:
        self._connection = connection
        self._id = request_id
        self.method = method
        self.payload = payload
        self.deadline = deadline
        """trio time after which nobody waits for the answer."""
        self.cancelled = False
        self.fds: list[int] = []
        """Descriptors that came with a notification; the handler owns them."""

    @property
    def peer(self) -> Peer:
        return self._connection.peer

    def reply(self, value: Any = None) -> None:
        if self._id:
            self._connection.transport.write(frames.encode((frames.RESULT, self._id, value)))

    def reply_with(self, others: Together, value: Any) -> None:
        """The same, when `others` are sent."""
        if self._id:
            others.add(self._connection.transport, self._id, value)

    def park(self, on_cancel: Callable[[], None]) -> None:
        """For a fast handler that answers much later: `on_cancel` is called if the caller no longer waits, or has
        gone. Not at its deadline: look at that yourself. Call `unpark` before the answer."""
        self._on_cancel = on_cancel
        self._connection.parked[self._id] = self

    def unpark(self) -> None:
        self._connection.parked.pop(self._id, None)

    def forget(self) -> None:
        """The caller of a parked request has given up."""
        self.cancelled = True
        self._on_cancel()

    def fail(self, code: str, message: str, data: Any = None) -> None:
        """code: see RemoteError."""
        if self._id:
            self._connection.transport.write(frames.encode((frames.ERROR, self._id, code, message, data)))

    def fail_with(self, error: Exception) -> None:
        """Answers with what an exception says. Unexpected ones are logged and shown without their insides."""
        if isinstance(error, RemoteError):
            self.fail(error.code, str(error), error.data)
        elif isinstance(error, IpcError):
            self.fail("unavailable", str(error))
        else:
            _log.error("A handler failed", method=self.method, error=repr(error))
            self.fail("internal", f"{self.method} failed inside the agent: {type(error).__name__}")


Fast = Callable[[Request], None]
Slow = Callable[[Request], Awaitable[Any]]
Stream = Callable[[Request, Send], Awaitable[None]]


class Handlers:
    """What answers the calls of some connections, and who has subscribed to what. name: of the process, for its
    neighbours' logs. on_batch_end: called after all frames of one read were handled, before the answers are flushed."""

    __slots__ = ("fast", "name", "on_batch_end", "slow", "streams", "topics")

    def __init__(self, name: str, on_batch_end: Callable[[], None] | None) -> None:
        self.name, self.on_batch_end = name, on_batch_end
        self.fast: dict[str, Fast] = {}
        self.slow: dict[str, Slow] = {}
        self.streams: dict[str, Stream] = {}
        self.topics: dict[str, dict[Connection, None]] = {}


class Connection:
    """One connected process."""

    frame_bytes_max = frames.MAX_FRAME_BYTES
    items_max: int | None = None
    answers_high_bytes = _ANSWERS_HIGH_BYTES
    """A peer that has so much to read is not read from."""
    request_type: Callable[[Any, int, str, Any, float], Request] = Request

    def __init__(self, handlers: Handlers, sock: socket.socket, peer: Peer, *, receive_fds: bool = True) -> None:
        self.handlers, self.peer = handlers, peer
        self.peer_name = f"pid {peer.pid}"
        self.transport = Transport(sock, receive_fds=receive_fds)
        self._greeted = False
        self._nursery: trio.Nursery
        self.running: dict[int, trio.CancelScope] = {}
        self.parked: dict[int, Request] = {}
        self._credits: dict[int, _Credit] = {}

    async def serve(self) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self.transport.finish_sending)
                await self._read()
                self._nursery.cancel_scope.cancel()
        finally:
            while self.parked:
                self.parked.popitem()[1].forget()
            for subscribers in self.handlers.topics.values():
                subscribers.pop(self, None)
            self.transport.close()

    async def _read(self) -> None:
        transport = self.transport
        reader = Reader(
            transport, self.handle, lambda: ("process", self.peer_name), self.frame_bytes_max, self.items_max
        )
        transport.write(frames.encode(self.hello()))
        while not transport.closed:
            try:
                await transport.wait_readable()
            except trio.ClosedResourceError:
                return
            if not reader.turn(self.handlers.on_batch_end):
                return
            await transport.wait_room(self.answers_high_bytes)

    def hello(self) -> frames.Frame:
        """The frame that greets the peer."""
        return [frames.HELLO, frames.PROTOCOL_VERSION, self.handlers.name]

    def handle(self, frame: frames.Frame) -> None:
        """Takes one frame. Raises ProtocolError: the connection is of no further use."""
        kind = frame[0]
        if kind == frames.CALL:
            self._call(*frame[1:5])
        elif kind == frames.CANCEL:
            scope_or_none = self.running.get(frame[1])
            if scope_or_none is not None:
                scope_or_none.cancel()
            elif frame[1] in self.parked:
                self.parked.pop(frame[1]).forget()
        elif kind == frames.NOTIFY:
            self._notified(frame)
        elif kind == frames.SUBSCRIBE:
            self.handlers.topics.setdefault(frame[1], {})[self] = None
            self.transport.write(frames.encode((frames.SUBSCRIBED, frame[1])))
        elif kind == frames.UNSUBSCRIBE:
            self.handlers.topics.get(frame[1], {}).pop(self, None)
        elif kind == frames.OPEN:
            self._open(frame)
        elif kind == frames.CREDIT:
            credit = self._credits.get(frame[1])
            if credit is not None:
                credit.give(frame[2])
        elif kind == frames.HELLO and not self._greeted:
            self.peer_name = f"{frames.check_hello(frame)} (pid {self.peer.pid})"
            self._greeted = True
        else:
            raise ProtocolError(f"unexpected frame kind {kind}")

    def _call(self, request_id: int, method: str, timeout_ms: int, payload: Any) -> None:
        request = self.request_type(self, request_id, method, payload, trio.current_time() + timeout_ms / 1000)
        fast = self.handlers.fast.get(method)
        if fast is not None:
            try:
                fast(request)
            except Exception as error:  # a bug in one handler must not end the others' calls
                request.fail_with(error)
            return
        slow = self.handlers.slow.get(method)
        if slow is None:
            request.fail("unknown_method", f"{self.handlers.name} has no method {method}")
        elif len(self.running) >= _MAX_SLOW_CALLS:
            request.fail("unavailable", f"{self.handlers.name} is busy: {_MAX_SLOW_CALLS} calls are running")
        else:
            scope = self.running[request_id] = trio.CancelScope(deadline=request.deadline)
            self._nursery.start_soon(self._run_slow, slow, request, request_id, scope)

    async def _run_slow(self, handler: Slow, request: Request, request_id: int, scope: trio.CancelScope) -> None:
        try:
            with scope:
                try:
                    request.reply(await handler(request))
                except Exception as error:
                    request.fail_with(error)
            if scope.cancelled_caught:
                request.cancelled = True
                request.fail("timeout", f"{request.method} took longer than its caller waits")
        finally:
            self.running.pop(request_id, None)

    def _notified(self, frame: frames.Frame) -> None:
        _, method, payload, count = frame[:4]
        request = Request(self, 0, method, payload, trio.current_time() + 60)
        request.fds = self.transport.claim_fds(count)
        fast = self.handlers.fast.get(method)
        if fast is None:
            for fd in request.fds:
                os.close(fd)
            return
        try:
            fast(request)
        except Exception as error:
            request.fail_with(error)

    def _open(self, frame: frames.Frame) -> None:
        _, stream_id, method, _, payload, window = frame[:6]
        request = Request(self, stream_id, method, payload, float("inf"))
        handler = self.handlers.streams.get(method)
        if handler is None:
            request.fail("unknown_method", f"{self.handlers.name} has no stream {method}")
            return
        credit = self._credits[stream_id] = _Credit(window)
        scope = self.running[stream_id] = trio.CancelScope()
        self._nursery.start_soon(self._run_stream, handler, request, stream_id, credit, scope)

    async def _run_stream(
        self, handler: Stream, request: Request, stream_id: int, credit: _Credit, scope: trio.CancelScope
    ) -> None:
        async def send(item: Any) -> None:
            await credit.take()
            self.transport.write(frames.encode((frames.ITEM, stream_id, item)))
            await self.transport.wait_room(_ANSWERS_HIGH_BYTES)

        try:
            with scope:
                try:
                    await handler(request, send)
                except Exception as error:
                    request.fail_with(error)
                else:
                    self.transport.write(frames.encode((frames.END, stream_id)))
        finally:
            self.running.pop(stream_id, None)
            self._credits.pop(stream_id, None)


class _Credit:
    """How many items the consumer of one stream still has room for."""

    def __init__(self, window: int) -> None:
        self._left = window
        self._lot = trio.lowlevel.ParkingLot()

    async def take(self) -> None:
        while self._left <= 0:
            await self._lot.park()
        self._left -= 1
        await trio.lowlevel.checkpoint()

    def give(self, items: int) -> None:
        self._left += items
        self._lot.unpark_all()
