"""A door as raft_node has it, with handlers of the test behind it."""

from __future__ import annotations

import socket
from collections.abc import Callable

import trio

from shared.ipc import Request
from shared.ipc.remote import RemoteConnection
from shared.ipc.serving import Handlers
from shared.server_rpc.door import DOOR_BYTE


class DoorServer:
    """Listens at `host`, port 8300. Each method is answered by its handler, or never."""

    def __init__(self, host: str, **methods: Callable[[Request], None]) -> None:
        self.host, self.address = host, f"{host}:8300"
        self.handlers = Handlers("raft_node", None)
        for name, handler in methods.items():
            self.handlers.fast[f"Raft.{name}"] = handler
        self.connections: list[RemoteConnection] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(8300, host=self.host)
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._serve, listeners)
            task_status.started()

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
