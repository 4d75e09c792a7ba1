"""Link: the client side of the local IPC. Connects when needed, reconnects for ever, ends every call once."""

from __future__ import annotations

import contextlib
import errno
import math
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import outcome
import trio

from shared.ipc import frames
from shared.ipc.calls import Call, CallTable, OnDone
from shared.ipc.errors import BusyError, ConnectionLostError, DeadlineError, IpcError, ProtocolError, RemoteError
from shared.ipc.flusher import Flusher
from shared.ipc.reading import Reader
from shared.ipc.transport import Transport, check_path

_BACKOFF_S_FIRST: Final = 0.005
_BACKOFF_S_MAX: Final = 0.25
_STREAM_WINDOW: Final = 64


class _Incoming:
    """Client half of one stream: items that wait for their consumer, bounded by the credit given out."""

    __slots__ = ("items", "reader")

    def __init__(self) -> None:
        self.items, self.reader = trio.open_memory_channel[outcome.Outcome[Any]](_STREAM_WINDOW + 1)

    def end(self, error: IpcError | None) -> None:
        if error is not None:
            with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError):
                self.items.send_nowait(outcome.Error(error))
        self.items.close()


class Link:
    """The way to one neighbour. Start it once with `await nursery.start(link.run)`; use it from any task.

    path: the neighbour's Unix socket. name: who we are, for the neighbour's log. max_calls, max_queued_bytes: bounds
    on what may wait here; beyond them calls fail at once with BusyError.
    Raises SocketPathError if `path` cannot be a Unix socket.
    """

    def __init__(self, path: str, *, name: str, max_calls: int = 65_536, max_queued_bytes: int = 64 << 20) -> None:
        self.path = check_path(path)
        self.neighbour = path.rsplit("/", 1)[-1].removesuffix(".sock")
        self._name = name
        self._max_calls = max_calls
        self._max_queued_bytes = max_queued_bytes
        self._calls = CallTable(self.neighbour)
        self._streams: dict[int, _Incoming] = {}
        self._subscriptions: dict[str, list[Callable[[Any], None]]] = {}
        self._on_subscribed: dict[str, Callable[[], None]] = {}
        self._on_up: list[Callable[[], None]] = []
        self._on_down: list[Callable[[], None]] = []
        self._transport: Transport | None = None
        self._up = trio.Event()
        self._wanted = trio.Event()
        self._expiry_wanted = trio.Event()
        self._expiry_at = -math.inf
        self._next_id = 0
        self.after_batch: Callable[[], None] | None = None
        """Called after all frames of one read were handled, before anything they caused is flushed."""

    # -- what a process may ask -----------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._transport is not None

    @property
    def pending_calls(self) -> int:
        return len(self._calls)

    def on_up(self, callback: Callable[[], None]) -> None:
        """`callback()` after every (re)connect, before calls that waited are sent."""
        self._on_up.append(callback)

    def on_down(self, callback: Callable[[], None]) -> None:
        """`callback()` whenever the connection is lost."""
        self._on_down.append(callback)

    def subscribe(
        self, topic: str, callback: Callable[[Any], None], *, begun: Callable[[], None] | None = None
    ) -> None:
        """`callback(value)` for every event of `topic`, in order. Events from before the subscription has reached the
        neighbour, now or after a reconnect, are missing: look at the current state again in `begun()`, which is called
        whenever it has (one per topic, given with its first subscription)."""
        if begun is not None:
            self._on_subscribed[topic] = begun
        self._subscriptions.setdefault(topic, []).append(callback)
        if self._transport is not None and len(self._subscriptions[topic]) == 1:
            self._transport.write(frames.encode((frames.SUBSCRIBE, topic)))
        self._wanted.set()

    def unsubscribe(self, topic: str) -> None:
        """Ends all subscriptions of `topic`."""
        self._on_subscribed.pop(topic, None)
        if self._subscriptions.pop(topic, None) is not None and self._transport is not None:
            self._transport.write(frames.encode((frames.UNSUBSCRIBE, topic)))

    # -- calls ----------------------------------------------------------------------------------

    def post(self, method: str, payload: Any, on_done: OnDone, *, timeout_s: float, retry_safe: bool = False) -> int:
        """Starts a call without a task: `on_done(value, error)` is called once, from the link's own task.

        timeout_s: seconds until `on_done` gets a DeadlineError. retry_safe: the call may be sent again if the
        neighbour dies. A BusyError reaches `on_done` before `post` returns. Returns an id for `cancel`.
        """
        self._next_id = call_id = self._next_id + 1
        transport = self._transport
        if len(self._calls) >= self._max_calls or (
            transport is not None and transport.queued_bytes > self._max_queued_bytes
        ):
            on_done(None, BusyError(self.neighbour, method))
            return call_id
        frame = frames.encode((frames.CALL, call_id, method, int(timeout_s * 1000), payload))
        deadline = trio.current_time() + timeout_s
        if transport is not None:
            transport.write(frame)
            call = Call(method, on_done, deadline, retry_safe, frame if retry_safe else None)
            call.sent = True
        else:
            call = Call(method, on_done, deadline, retry_safe, frame)
            self._wanted.set()
        self._calls.add(call_id, call)
        if deadline < self._expiry_at or self._expiry_at < 0:
            self._expiry_wanted.set()
        return call_id

    async def call(self, method: str, payload: Any = None, *, timeout_s: float, retry_safe: bool = False) -> Any:
        """The neighbour's answer. Raises an IpcError; cancelling the caller cancels the call at the neighbour."""
        task = trio.lowlevel.current_task()
        answer: outcome.Outcome[Any] | None = None
        parked = False

        def on_done(value: Any, error: IpcError | None) -> None:
            nonlocal answer
            answer = outcome.Error(error) if error is not None else outcome.Value(value)
            if parked:
                trio.lowlevel.reschedule(task)

        call_id = self.post(method, payload, on_done, timeout_s=timeout_s, retry_safe=retry_safe)

        def abort(_: Any) -> trio.lowlevel.Abort:
            self.cancel(call_id)
            return trio.lowlevel.Abort.SUCCEEDED

        if answer is None:
            parked = True
            await trio.lowlevel.wait_task_rescheduled(abort)
        else:
            await trio.lowlevel.checkpoint()
        assert answer is not None
        return answer.unwrap()

    def cancel(self, call_id: int) -> None:
        """Nobody waits for this call any more; `on_done` will not be called."""
        call = self._calls.discard(call_id)
        if call is not None and call.sent and self._transport is not None:
            self._transport.write(frames.encode((frames.CANCEL, call_id)))

    def notify(self, method: str, payload: Any = None) -> bool:
        """One-way message; False (and nothing sent) while the neighbour is away or far behind."""
        return self.send_fds(method, payload, ())

    def send_fds(self, method: str, payload: Any, fds: Sequence[int]) -> bool:
        """One-way message with descriptors (duplicated: the caller still owns and closes its own)."""
        if self._transport is None or self._transport.queued_bytes > self._max_queued_bytes:
            self._wanted.set()
            return False
        frame = frames.encode((frames.NOTIFY, method, payload, len(fds)))
        if fds:
            self._transport.write_fds(frame, list(fds))
        else:
            self._transport.write(frame)
        return True

    @asynccontextmanager
    async def stream(
        self, method: str, payload: Any = None, *, timeout_s: float = 7.0
    ) -> AsyncGenerator[AsyncIterator[Any], None]:
        """`async with link.stream(...) as items: async for item in items`. timeout_s: for reaching the neighbour.

        The producer is held back by a window of items. Raises an IpcError from the iteration if the producer
        fails or is lost.
        """
        self._wanted.set()
        with trio.move_on_after(timeout_s) as scope:
            while self._transport is None:
                await self._up.wait()
        if scope.cancelled_caught or self._transport is None:
            raise DeadlineError(self.neighbour, method, sent=False)
        self._next_id = stream_id = self._next_id + 1
        incoming = self._streams[stream_id] = _Incoming()
        transport = self._transport
        transport.write(frames.encode((frames.OPEN, stream_id, method, int(timeout_s * 1000), payload, _STREAM_WINDOW)))
        try:
            yield self._items(stream_id, incoming)
        finally:
            if self._streams.pop(stream_id, None) is not None and self._transport is transport:
                transport.write(frames.encode((frames.CANCEL, stream_id)))
            incoming.items.close()
            incoming.reader.close()

    async def _items(self, stream_id: int, incoming: _Incoming) -> AsyncIterator[Any]:
        consumed = 0
        async for item in incoming.reader:
            yield item.unwrap()
            consumed += 1
            if consumed == _STREAM_WINDOW // 2:
                if self._transport is not None and stream_id in self._streams:
                    self._transport.write(frames.encode((frames.CREDIT, stream_id, consumed)))
                consumed = 0

    def flush(self) -> None:
        """Sends what is queued now instead of at the end of the batch or loop turn."""
        if self._transport is not None:
            self._transport.flush()

    # -- the link's own tasks -------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keeps the link alive until cancelled. Connects when first used."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._expire_for_ever)
                task_status.started()
                while True:
                    await self._wanted.wait()
                    sock = await self._connect()
                    greeted = await self._converse(Transport(sock))
                    # A neighbour that accepts and closes at once must not become a busy loop.
                    await trio.sleep(_BACKOFF_S_FIRST if greeted else _BACKOFF_S_MAX)
        finally:
            self._calls.close(ConnectionLostError(self.neighbour, "shutdown"))

    async def _connect(self) -> socket.socket:
        backoff_s = _BACKOFF_S_FIRST
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            sock.setblocking(False)
            result = sock.connect_ex(self.path)
            if result == 0:
                return sock
            sock.close()
            if result not in (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN):
                backoff_s = _BACKOFF_S_MAX
            await trio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _BACKOFF_S_MAX)

    async def _converse(self, transport: Transport) -> bool:
        """Serves one connection until it ends; tells whether the neighbour got as far as its greeting."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transport.finish_sending)
                transport.write(frames.encode((frames.HELLO, frames.PROTOCOL_VERSION, self._name)))
                await self._read(transport)
                nursery.cancel_scope.cancel()
        finally:
            greeted = self._went_down(transport)
        return greeted

    def _came_up(self, transport: Transport) -> None:
        self._transport = transport
        for topic in self._subscriptions:  # here and not before: from now on `subscribe` sends its own
            transport.write(frames.encode((frames.SUBSCRIBE, topic)))
        for callback in self._on_up:
            callback()
        for call in self._calls.unsent():
            assert call.frame is not None
            transport.write(call.frame)
            call.sent = True
            if not call.retry_safe:
                call.frame = None
        self._up.set()
        self._up = trio.Event()

    def _went_down(self, transport: Transport) -> bool:
        was_up = self._transport is transport
        self._transport = None
        transport.close()
        self._calls.disconnected()
        streams, self._streams = self._streams, {}
        for incoming in streams.values():
            incoming.end(ConnectionLostError(self.neighbour, "a stream"))
        if was_up:
            for callback in self._on_down:
                callback()
        return was_up

    async def _read(self, transport: Transport) -> None:
        reader = Reader(transport, partial(self._handle, transport), lambda: ("neighbour", self.neighbour))
        while True:
            await transport.wait_readable()
            if not reader.turn(self.after_batch):
                return

    def _handle(self, transport: Transport, frame: frames.Frame) -> None:
        kind = frame[0]
        if kind == frames.RESULT:
            self._calls.finish(frame[1], frame[2], None)
        elif kind == frames.RESULTS:
            finish = self._calls.finish
            for call_id, value in frame[1]:
                finish(call_id, value, None)
        elif kind == frames.EVENT:
            for callback in self._subscriptions.get(frame[1], ()):
                callback(frame[2])
        elif kind == frames.SUBSCRIBED:
            begun = self._on_subscribed.get(frame[1])
            if begun is not None:
                begun()
        elif kind == frames.ERROR:
            error = RemoteError(frame[2], frame[3], frame[4])
            incoming = self._streams.pop(frame[1], None)
            if incoming is not None:
                incoming.end(error)
            else:
                self._calls.finish(frame[1], None, error)
        elif kind == frames.ITEM:
            incoming = self._streams.get(frame[1])
            if incoming is not None:
                try:
                    incoming.items.send_nowait(outcome.Value(frame[2]))
                except trio.WouldBlock:
                    raise ProtocolError(f"{self.neighbour} sends more than its credit") from None
        elif kind == frames.END:
            incoming = self._streams.pop(frame[1], None)
            if incoming is not None:
                incoming.end(None)
        elif kind == frames.HELLO:
            frames.check_hello(frame)
            if self._transport is None:
                self._came_up(transport)
        else:
            raise ProtocolError(f"unexpected frame kind {kind} from {self.neighbour}")

    async def _expire_for_ever(self) -> None:
        while True:
            if not self._calls:
                self._expiry_at = -1.0
                self._expiry_wanted = trio.Event()
                await self._expiry_wanted.wait()
            self._expiry_at = max(self._calls.earliest, trio.current_time() + 0.01)
            self._expiry_wanted = trio.Event()
            with trio.move_on_at(self._expiry_at):
                await self._expiry_wanted.wait()
                continue
            flusher = Flusher.current()
            flusher.begin()
            for call_id in self._calls.expire(trio.current_time()):
                if self._transport is not None:
                    self._transport.write(frames.encode((frames.CANCEL, call_id)))
            flusher.end()
