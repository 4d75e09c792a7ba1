"""Incoming: what arrives on one connection, with as little in between as there can be.

A stream of trio looks whether there is something before it waits for it. Between servers there hardly ever is: each
message is the answer to the one before, so this only costs another system call for every message."""

from __future__ import annotations

import os
from typing import Final

import trio

_READ_BYTES: Final = 64 << 10


class Incoming:
    """`receive` belongs to one task at a time.

    stream: TCP, or anything over it, which is then read by its own means."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None

    async def receive(self) -> bytes:
        """What has arrived, b"" at the end. Raises BrokenResourceError, ClosedResourceError."""
        sock = self._socket
        if sock is None:
            return bytes(await self._stream.receive_some(_READ_BYTES))
        while True:
            await trio.lowlevel.wait_readable(sock)
            try:
                return os.read(sock.fileno(), _READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error
