"""Merge: the records of all processes in the order of their time.

Each process sends its log over a socket of its own, so what gossip wrote first may be read after what rpc_core
wrote because of it. A record waits a moment for older ones; nobody who reads a log sees the difference."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

import trio

from shared.log import Record

HOLD_S = 0.02
HELD_MAX = 4096
"""Records held at most; when there are more they go out at once."""

_time_of = attrgetter("time_s")


class Merge:
    """`accept` holds a record for HOLD_S while `run` runs, and passes it on at once otherwise."""

    def __init__(self, on_record: Callable[[Record], None]) -> None:
        self._on_record = on_record
        self._held: list[Record] = []
        self._running = False
        self._waiting = trio.Event()

    def accept(self, record: Record) -> None:
        """A record of any process."""
        self._held.append(record)
        if not self._running or len(self._held) >= HELD_MAX:
            self.flush()
        else:
            self._waiting.set()

    def flush(self) -> None:
        """Pass on all that is held, oldest first."""
        held, self._held = self._held, []
        held.sort(key=_time_of)
        for record in held:
            self._on_record(record)

    async def settle(self) -> None:
        """Returns when everything that any process had sent before is passed on."""
        await trio.sleep(HOLD_S)
        self.flush()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Holds records until cancelled."""
        self._running = True
        task_status.started()
        try:
            while True:
                await self._waiting.wait()
                self._waiting = trio.Event()
                await self.settle()
        finally:
            self._running = False
            self.flush()
