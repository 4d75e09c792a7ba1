"""Flusher: one flush per batch. Everything written while a batch is processed leaves the process together.

A process has one flusher for all its links, servers and whatever else queues output. Readers bracket the work on
what they drained with `begin` and `end`; the outermost `end` flushes every output that was written to, in the order
of the first write.
What is written outside a batch (by a task of its own) is flushed at the next turn of the trio loop.
"""

from __future__ import annotations

from typing import Protocol

import trio

_current: trio.lowlevel.RunVar[Flusher] = trio.lowlevel.RunVar("shared.ipc flusher")


class Flushable(Protocol):
    def flush(self) -> None:
        """Sends what is queued, without waiting."""


class Flusher:
    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._dirty: list[Flushable] = []
        self._depth = 0
        self._scheduled = False

    @staticmethod
    def current() -> Flusher:
        """The flusher of this trio run."""
        try:
            return _current.get()
        except LookupError:
            flusher = Flusher()
            _current.set(flusher)
            return flusher

    def mark(self, output: Flushable) -> None:
        """`output` was written to. Call once per output until it was flushed (it keeps the flag)."""
        self._dirty.append(output)
        if self._depth == 0 and not self._scheduled:
            self._scheduled = True
            self._token.run_sync_soon(self.flush)

    def begin(self) -> None:
        self._depth += 1

    def end(self) -> None:
        self._depth -= 1
        if self._depth == 0 and self._dirty:
            self.flush()

    def flush(self) -> None:
        """Sends all that is queued, without waiting."""
        self._scheduled = False
        dirty, self._dirty = self._dirty, []
        for output in dirty:
            output.flush()
