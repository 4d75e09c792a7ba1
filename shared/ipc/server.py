"""Server: the answering side of the local IPC. One task per connection (`serving`)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any, Final

import trio

from shared import metrics
from shared.ipc import frames
from shared.ipc.errors import SocketPathError
from shared.ipc.serving import Connection, Fast, Handlers, Request, Slow, Stream
from shared.ipc.transport import check_path, peer_of
from shared.log import get_logger

_log = get_logger("agent.ipc")

_MAX_CONNECTIONS: Final = 64
_EVENTS_HIGH_BYTES: Final = 16 << 20


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
        self._handlers = Handlers(name, on_batch_end)
        self._handlers.slow["Process.Profile"] = _profile
        self._connections: set[Connection] = set()

    def fast(self, method: str, handler: Fast) -> None:
        """`handler(request)` runs inline and answers now or keeps the request for later. Must not block."""
        self._handlers.fast[method] = handler

    def slow(self, method: str, handler: Slow) -> None:
        """`await handler(request)` runs in a task of its own until the caller's deadline; its value is the answer."""
        self._handlers.slow[method] = handler

    def stream(self, method: str, handler: Stream) -> None:
        """`await handler(request, send)`; `await send(item)` waits while the consumer is behind."""
        self._handlers.streams[method] = handler

    def publish(self, topic: str, value: Any) -> None:
        """Sends an event to all subscribers of `topic`.

        One that does not keep up is disconnected instead of buffered without bound: it comes back and looks at
        the current state again."""
        subscribers = self._handlers.topics.get(topic)
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
            f"consul.ipc.server.{self.name}.running_calls": sum(len(one.running) for one in connections),
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
            nursery.start_soon(self._serve, Connection(self._handlers, sock, peer))

    async def _serve(self, connection: Connection) -> None:
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)


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
