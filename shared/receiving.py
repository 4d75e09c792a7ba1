"""Receiving: the next bytes of a connection, with as little in between as there can be.

A stream of trio looks whether there is something before it waits for it. Between servers there hardly ever is: each
message answers the one before, so this only costs another system call and another turn of the loop each time."""

from __future__ import annotations

import os
from typing import Final

import trio

_READ_BYTES: Final = 64 << 10


async def read_some(stream: trio.abc.Stream) -> bytes:
    """What has arrived, b"" at the end. By one task at a time. Anything but TCP (TLS over it) is read by its own means.

    Raises trio.BrokenResourceError, trio.ClosedResourceError."""
    if not isinstance(stream, trio.SocketStream):
        return bytes(await stream.receive_some(_READ_BYTES))
    sock = stream.socket
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            return os.read(sock.fileno(), _READ_BYTES)
        except BlockingIOError:
            continue
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error
