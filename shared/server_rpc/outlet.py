"""Outlet: what a session has to send leaves when a batch of work is over, in one system call and without a task.

What the kernel does not take at once is sent by a task, `run`, which sleeps as long as the kernel keeps up."""

from __future__ import annotations

import os
from collections.abc import Callable

import trio

from shared.ipc.flusher import Flusher

CHUNK_BYTES = 1 << 18
WRITE_TIMEOUT_S = 10.0
"""A peer that takes nothing for so long is gone (yamux's connection write timeout)."""


class Outlet:
    """Of one connected socket. take: all bytes that are to be sent now, in order; b"" for none. on_room: called when
    what had been left has gone. first: what goes before everything else."""

    def __init__(
        self,
        stream: trio.SocketStream,
        take: Callable[[], bytes],
        *,
        on_room: Callable[[], object] | None = None,
        first: bytes = b"",
    ) -> None:
        self._stream, self._take, self._on_room, self._left = stream, take, on_room, memoryview(first)
        self._flusher = Flusher.current()
        self._stuck = trio.Event()
        self._is_stuck = False
        self._marked = False
        self._failure: OSError | None = None
        self.closed = False

    def mark(self) -> None:
        """There is something to send: it leaves at the end of the batch, or of this turn of the loop."""
        if not self._marked:
            self._marked = True
            self._flusher.mark(self)

    def flush(self) -> None:
        """Send what the kernel takes. A failure shows in `run`."""
        self._marked = False
        if self.closed or self._is_stuck:
            return
        data = self._take()
        if self._left:
            data, self._left = b"".join((self._left, data)), memoryview(b"")
        if not data:
            return
        try:
            sent = os.write(self._stream.socket.fileno(), data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._failure, sent = error, len(data)
            self._get_stuck(b"")
        if sent < len(data):
            self._get_stuck(memoryview(data)[sent:])

    def _get_stuck(self, left: bytes | memoryview) -> None:
        self._left, self._is_stuck = memoryview(left), True
        self._stuck.set()

    async def run(self) -> None:
        """Sends what is left over, until cancelled. Raises trio.BrokenResourceError, and TooSlowError for a peer that
        takes nothing."""
        while True:
            await self._stuck.wait()
            self._stuck = trio.Event()
            while True:
                if self._failure is not None:
                    raise trio.BrokenResourceError from self._failure
                while self._left:
                    with trio.fail_after(WRITE_TIMEOUT_S):
                        await self._stream.send_all(self._left[:CHUNK_BYTES])
                    self._left = self._left[CHUNK_BYTES:]
                data = self._take()
                if not data:
                    break
                self._left = memoryview(data)
            self._is_stuck = False
            if self._on_room is not None:
                self._on_room()
