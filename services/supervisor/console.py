"""The console: text for a terminal, pipe or file that may be slower than the log, without ever waiting for it."""

from __future__ import annotations

import os
import select
from collections import deque

import trio

BACKLOG_BYTES_MAX = 1 << 20
_CHUNK_BYTES = 4096
"""PIPE_BUF: a pipe that polls as writable takes this much without blocking."""


class Console:
    """Writes at once what the descriptor takes and keeps the rest, at most BACKLOG_BYTES_MAX; then drops lines.

    The descriptor stays in blocking mode: it is shared with the shell and whoever else has it."""

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0
        self._stalled = trio.Event()
        self._broken = False
        self.dropped = 0

    def write(self, text: str) -> None:
        """Append text (whole lines)."""
        data = text.encode("utf-8", "replace")
        if self._broken:
            return
        if self._backlog_bytes + len(data) > BACKLOG_BYTES_MAX:
            self.dropped += 1
            return
        if self.dropped and not self._backlog:
            data = f"    ({self.dropped} log lines dropped: the console did not take them)\n".encode() + data
            self.dropped = 0
        self._backlog.append(data)
        self._backlog_bytes += len(data)
        self._push()

    async def run(self) -> None:
        """Writes the backlog as the descriptor takes it. Without this task it is only written with later lines."""
        while not self._broken:
            await self._stalled.wait()
            await trio.lowlevel.wait_writable(self._descriptor)
            self._push()

    def drain(self, timeout_s: float) -> None:
        """Blocks until all is out, at most `timeout_s`: the last act of the process."""
        while self._backlog and not self._broken and self._poll.poll(timeout_s * 1000):
            self._push()

    def _push(self) -> None:
        while self._backlog and self._poll.poll(0):
            data = self._backlog[0]
            try:
                written = os.write(self._descriptor, data[:_CHUNK_BYTES])
            except BlockingIOError:  # somebody else set O_NONBLOCK
                break
            except OSError:  # the terminal or the reader is gone; the agent goes on
                self._broken = True
                self._backlog.clear()
                break
            self._backlog_bytes -= written
            if written == len(data):
                self._backlog.popleft()
            else:
                self._backlog[0] = data[written:]
        if self._backlog and not self._stalled.is_set():
            self._stalled.set()
        elif not self._backlog and self._stalled.is_set():
            self._stalled = trio.Event()
