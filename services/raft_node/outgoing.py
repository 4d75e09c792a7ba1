"""Outgoing: what leaves on one connection, at once while the socket takes it.

A request that is handed to a task leaves one turn of the loop later. In that turn the leader may have waited for its
own disk; and the answer of a follower would come a turn later for every batch. So bytes are written where they arise,
and only what the socket has no room for is left to the task."""

from __future__ import annotations

import os

import trio


class Outgoing:
    """`write` and, in a task, `run`. `close` it before its stream: its descriptor may be another's afterwards.

    stream: TCP, or anything over it, which is then written to by the task alone. timeout_s: for the other side to take
    what is left over."""

    def __init__(self, stream: trio.abc.Stream, timeout_s: float) -> None:
        self._stream = stream
        self._timeout_s = timeout_s
        self._descriptor = stream.socket.fileno() if isinstance(stream, trio.SocketStream) else -1
        self._left: list[bytes] = []
        self._sending = False
        self._ready = trio.Event()

    def write(self, data: bytes) -> None:
        """Never waits, never fails: a broken connection is met by `run`."""
        if self._descriptor >= 0 and not (self._left or self._sending):
            try:
                sent = os.write(self._descriptor, data)
            except OSError:  # no room, or no connection: the task sees
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        self._left.append(data)
        self._ready.set()

    async def run(self) -> None:
        """Raises BrokenResourceError, ClosedResourceError, TooSlowError."""
        while True:
            await self._ready.wait()
            self._ready = trio.Event()
            parts, self._left = self._left, []
            self._sending = True
            with trio.fail_after(self._timeout_s):
                await self._stream.send_all(b"".join(parts))
            self._sending = False

    def close(self) -> None:
        self._descriptor = -1
