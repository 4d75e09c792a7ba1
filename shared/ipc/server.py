"""Server: the answering side of the local IPC. One task per connection, handlers by method name."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import trio

from shared import metrics
from shared.ipc import frames
from shared.ipc.errors import IpcError, ProtocolError, RemoteError, SocketPathError
from shared.ipc.reading import Reader
from shared.ipc.together import Together
from shared.ipc.transport import Peer, Transport, check_path, peer_of
from shared.log import get_logger

_log = get_logger("agent.ipc")

_MAX_CONNECTIONS: Final = 64
_MAX_SLOW_CALLS: Final = 4096
_ANSWERS_HIGH_BYTES: Final = 8 << 20
_EVENTS_HIGH_BYTES: Final = 16 << 20

Send = Callable[[Any], Awaitable[None]]


class Request:
    """One incoming call. Answer it exactly once, now or later; answers to a caller that has gone are dropped."""

    __slots__ = ("_connection", "_id", "_on_cancel", "cancelled", "deadline", "fds", "method", "payload")

    def __init__(self, connection: _Connection, request_id: int, method: str, payload: Any, deadline: float) -> None:
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


async def _profile(request: Request) -> str:
    """Every process tells what it is doing. Payload: kind, seconds; see shared.profiling."""
    from shared import profiling

    return await profiling.take(request.payload["kind"], request.payload["seconds"])


class Server:
    """Serves one Unix socket. Register handlers, then `await nursery.start(server.run)`.

    path: where to listen; a dead predecessor's socket is replaced, a living one refused. name: who we are.
    on_batch_end: called after all frames of one read were handled, before the answers are flushed: the place for
    group commits. Only processes of the same user (or root) may connect.
    Raises SocketPathError from `run` if the socket cannot be bound.
    """

    def __init__(self, path: str, *, name: str, on_batch_end: Callable[[], None] | None = None) -> None:
        self.path = check_path(path)
        self.name = name
        self.on_batch_end = on_batch_end
        self._fast: dict[str, Fast] = {}
        self._slow: dict[str, Slow] = {"Process.Profile": _profile}
        self._streams: dict[str, Stream] = {}
        self._connections: set[_Connection] = set()
        self._topics: dict[str, dict[_Connection, None]] = {}

    def fast(self, method: str, handler: Fast) -> None:
        """`handler(request)` runs inline and answers now or keeps the request for later. Must not block."""
        self._fast[method] = handler

    def slow(self, method: str, handler: Slow) -> None:
        """`await handler(request)` runs in a task of its own until the caller's deadline; its value is the answer."""
        self._slow[method] = handler

    def stream(self, method: str, handler: Stream) -> None:
        """`await handler(request, send)`; `await send(item)` waits while the consumer is behind."""
        self._streams[method] = handler

    def publish(self, topic: str, value: Any) -> None:
        """Sends an event to all subscribers of `topic`.

        One that does not keep up is disconnected instead of buffered without bound: it comes back and looks at
        the current state again."""
        subscribers = self._topics.get(topic)
        if not subscribers:
            return
        frame = frames.encode((frames.EVENT, topic, value))
        for connection in list(subscribers):
            if connection.transport.queued_bytes > _EVENTS_HIGH_BYTES:
                _log.warn("Dropping a slow subscriber", topic=topic, process=connection.peer_name)
                connection.transport.close()
            else:
                connection.transport.write(frame)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listens until cancelled."""
        listener = _bind(self.path)
        end_metrics = metrics.collect(self._gauges)
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    await trio.lowlevel.wait_readable(listener)
                    with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
                        sock, _ = listener.accept()
                        self._admit(sock, nursery)
        finally:
            end_metrics()
            listener.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)

    def _gauges(self) -> dict[str, float]:
        connections = self._connections
        return {
            f"consul.ipc.server.{self.name}.connections": len(connections),
            f"consul.ipc.server.{self.name}.running_calls": sum(len(one._running) for one in connections),
            f"consul.ipc.server.{self.name}.queued_bytes": sum(one.transport.queued_bytes for one in connections),
        }

    def _admit(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        peer = peer_of(sock)
        if peer.uid not in (os.getuid(), 0):
            _log.warn("Refusing a local connection of another user", uid=peer.uid, pid=peer.pid)
            sock.close()
        elif len(self._connections) >= _MAX_CONNECTIONS:
            _log.warn("Refusing a local connection: too many", pid=peer.pid, limit=_MAX_CONNECTIONS)
            sock.close()
        else:
            nursery.start_soon(_Connection(self, sock, peer).serve)


class _Connection:
    """One connected process."""

    def __init__(self, server: Server, sock: socket.socket, peer: Peer) -> None:
        self.server = server
        self.peer = peer
        self.peer_name = f"pid {peer.pid}"
        self.transport = Transport(sock, receive_fds=True)
        self._greeted = False
        self._running: dict[int, trio.CancelScope] = {}
        self.parked: dict[int, Request] = {}
        self._credits: dict[int, _Credit] = {}

    async def serve(self) -> None:
        server = self.server
        server._connections.add(self)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.transport.finish_sending)
                await self._read(nursery)
                nursery.cancel_scope.cancel()
        finally:
            server._connections.discard(self)
            while self.parked:
                self.parked.popitem()[1].forget()
            for subscribers in server._topics.values():
                subscribers.pop(self, None)
            self.transport.close()

    async def _read(self, nursery: trio.Nursery) -> None:
        transport, server = self.transport, self.server
        reader = Reader(transport, partial(self._handle, nursery), lambda: ("process", self.peer_name))
        transport.write(frames.encode((frames.HELLO, frames.PROTOCOL_VERSION, server.name)))
        while not transport.closed:
            try:
                await transport.wait_readable()
            except trio.ClosedResourceError:
                return
            if not reader.turn(server.on_batch_end):
                return
            # A client that does not read its answers is not read from either.
            await transport.wait_room(_ANSWERS_HIGH_BYTES)

    def _handle(self, nursery: trio.Nursery, frame: frames.Frame) -> None:
        kind = frame[0]
        if kind == frames.CALL:
            _, request_id, method, timeout_ms, payload = frame[:5]
            request = Request(self, request_id, method, payload, trio.current_time() + timeout_ms / 1000)
            fast = self.server._fast.get(method)
            if fast is not None:
                try:
                    fast(request)
                except Exception as error:  # a bug in one handler must not end the others' calls
                    request.fail_with(error)
                return
            slow = self.server._slow.get(method)
            if slow is None:
                request.fail("unknown_method", f"{self.server.name} has no method {method}")
            elif len(self._running) >= _MAX_SLOW_CALLS:
                request.fail("unavailable", f"{self.server.name} is busy: {_MAX_SLOW_CALLS} calls are running")
            else:
                scope = self._running[request_id] = trio.CancelScope(deadline=request.deadline)
                nursery.start_soon(self._run_slow, slow, request, request_id, scope)
        elif kind == frames.CANCEL:
            scope_or_none = self._running.get(frame[1])
            if scope_or_none is not None:
                scope_or_none.cancel()
            elif frame[1] in self.parked:
                self.parked.pop(frame[1]).forget()
        elif kind == frames.NOTIFY:
            self._notified(frame, nursery)
        elif kind == frames.SUBSCRIBE:
            self.server._topics.setdefault(frame[1], {})[self] = None
            self.transport.write(frames.encode((frames.SUBSCRIBED, frame[1])))
        elif kind == frames.UNSUBSCRIBE:
            self.server._topics.get(frame[1], {}).pop(self, None)
        elif kind == frames.OPEN:
            self._open(frame, nursery)
        elif kind == frames.CREDIT:
            credit = self._credits.get(frame[1])
            if credit is not None:
                credit.give(frame[2])
        elif kind == frames.HELLO and not self._greeted:
            self.peer_name = f"{frames.check_hello(frame)} (pid {self.peer.pid})"
            self._greeted = True
        else:
            raise ProtocolError(f"unexpected frame kind {kind}")

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
            self._running.pop(request_id, None)

    def _notified(self, frame: frames.Frame, nursery: trio.Nursery) -> None:
        _, method, payload, count = frame[:4]
        request = Request(self, 0, method, payload, trio.current_time() + 60)
        request.fds = self.transport.claim_fds(count)
        fast = self.server._fast.get(method)
        if fast is None:
            for fd in request.fds:
                os.close(fd)
            return
        try:
            fast(request)
        except Exception as error:
            request.fail_with(error)

    def _open(self, frame: frames.Frame, nursery: trio.Nursery) -> None:
        _, stream_id, method, _, payload, window = frame[:6]
        request = Request(self, stream_id, method, payload, float("inf"))
        handler = self.server._streams.get(method)
        if handler is None:
            request.fail("unknown_method", f"{self.server.name} has no stream {method}")
            return
        credit = self._credits[stream_id] = _Credit(window)
        scope = self._running[stream_id] = trio.CancelScope()
        nursery.start_soon(self._run_stream, handler, request, stream_id, credit, scope)

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
            self._running.pop(stream_id, None)
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


def _bind(path: str) -> socket.socket:
    """A listening socket at `path`, mode 0600. Replaces a dead socket, refuses a living one."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.settimeout(1.0)
    try:
        probe.connect(path)
    except (FileNotFoundError, ConnectionRefusedError, TimeoutError):
        pass
    except OSError as error:
        raise SocketPathError(f"cannot use the socket path {path}: {error.strerror}") from None
    else:
        raise SocketPathError(f"another process serves {path}: stop it, or choose another -run-dir")
    finally:
        probe.close()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    # Bound under a second name and renamed: a neighbour that connects meanwhile finds the old or the new socket.
    fresh = check_path(f"{path}.{os.getpid() % 1000}")
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        listener.bind(fresh)
        os.chmod(fresh, 0o600)
        listener.listen(_MAX_CONNECTIONS)
        listener.setblocking(False)
        os.rename(fresh, path)
    except OSError as error:
        listener.close()
        raise SocketPathError(f"cannot listen on {path}: {error.strerror}; is the run dir writable?") from None
    return listener
