"""SyncThread: syncs of the log beside the loop, one at a time, at the price of two wake-ups.

A thread of its own instead of trio's: a busy server syncs a thousand times a second, and a task and a borrowed thread
for each cost more than the sync leaves to gain."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

import trio

from shared.ipc.flusher import Flusher

Done = Callable[[Exception | None], None]
"""Told in the loop what became of a sync: an AppendError, or whatever else went wrong, or None."""


class SyncThread:
    """`done` must not raise. The thread begins with the first sync."""

    def __init__(self, done: Done) -> None:
        self._done = done
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    def start(self, sync: Callable[[], None]) -> None:
        """Runs `sync` in the thread, then `done` in the loop."""
        if self._thread is None:
            self._token = trio.lowlevel.current_trio_token()
            self._thread = Thread(target=self._work, name="log sync", daemon=True)
            self._thread.start()
        self._jobs.put(sync)

    def close(self) -> None:
        """Waits for the disk to answer a sync that is under way: its file must stay open until then."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        assert self._token is not None
        while sync := self._jobs.get():
            error: Exception | None = None
            try:
                sync()
            except Exception as caught:
                error = caught
            try:
                self._token.run_sync_soon(self._finish, error)
            except trio.RunFinishedError:
                return

    def _finish(self, error: Exception | None) -> None:
        flusher = Flusher.current()
        flusher.begin()
        try:
            self._done(error)
        finally:
            flusher.end()
