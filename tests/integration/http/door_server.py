"""Doors as raft_node has them, with handlers of the test behind them, or with odd things to say."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import trio

from shared.ipc import Request, frames
from shared.ipc.remote import VERSION, RemoteConnection
from shared.ipc.serving import Handlers
from shared.server_rpc.door import DOOR_BYTE

HELLO = (frames.HELLO, VERSION, "raft_node")


class _Listener(ABC):
    """Accepts connections at `host`, port 8300."""

    def __init__(self, host: str) -> None:
        self.host, self.address = host, f"{host}:8300"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(8300, host=self.host)
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._serve, listeners)
            task_status.started()

    @abstractmethod
    async def _serve(self, stream: trio.SocketStream) -> None: ...


class DoorServer(_Listener):
    """Listens at `host`, port 8300. Each method is answered by its handler, or never."""

    def __init__(self, host: str, **methods: Callable[[Request], None]) -> None:
        super().__init__(host)
        self.handlers = Handlers("raft_node", None)
        for name, handler in methods.items():
            self.handlers.fast[f"Raft.{name}"] = handler
        self.connections: list[RemoteConnection] = []

    async def _serve(self, stream: trio.SocketStream) -> None:
        source = stream.socket.getpeername()[0]
        assert await stream.receive_some(1) == DOOR_BYTE
        connection = RemoteConnection(self.handlers, socket.socket(fileno=stream.socket.detach()), source)
        self.connections.append(connection)
        await connection.serve()

    def cut(self) -> None:
        """Every connection ends."""
        for connection in self.connections:
            connection.transport.close()


class RawDoor(_Listener):
    """Says `greeting` to whoever comes, and then what it is told to say. calls: what it has been asked."""

    def __init__(self, host: str, greeting: bytes = frames.encode(HELLO)) -> None:
        super().__init__(host)
        self._greeting = greeting
        self.calls: list[frames.Frame] = []
        self.streams: list[trio.SocketStream] = []

    async def _serve(self, stream: trio.SocketStream) -> None:
        assert await stream.receive_some(1) == DOOR_BYTE
        self.streams.append(stream)
        decoder = frames.FrameDecoder()
        try:
            await stream.send_all(self._greeting)
            while data := await stream.receive_some(frames.READ_BYTES):
                self.calls += [frame for frame in decoder.feed(bytes(data)) if frame[0] == frames.CALL]
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def say(self, *said: Any) -> None:
        """Frames to the caller that came last. It may hang up before it has heard all."""
        await self.say_raw(b"".join(frames.encode(frame) for frame in said))

    async def say_raw(self, data: bytes) -> None:
        try:
            await self.streams[-1].send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
