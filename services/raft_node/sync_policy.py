"""SyncPolicy: whether the log is synced in the loop, or aside in a thread while the loop goes on."""

from __future__ import annotations

from typing import Final

SLOW_SYNC_S: Final = 0.004
"""Above this the loop never waits for the disk. Well above what a thread adds to the measurement, so that a disk which
is fast again is noticed; well below the shortest heartbeat timeout."""
_QUICK_SYNC_S: Final = 0.001
"""Below this a thread costs more than it could save: it has to be woken, and the two wait for each other's lock of the
interpreter, which makes a sync of 0.2 ms look like one of 0.5."""
_MANY: Final = 4
_APPLY_SHARE: Final = 2.0
"""So many times as long as syncing a batch must applying it take for the two to be done side by side. Otherwise larger
batches, each synced in the loop, cost less."""
_WEIGHT: Final = 0.1
"""Of the newest measurement in the moving averages."""


class SyncPolicy:
    """Decides by moving averages of how long the disk and the state machine take for a batch."""

    def __init__(self) -> None:
        self._sync_s = self._apply_s = 0.0

    def synced(self, took_s: float) -> None:
        """May be called from the thread."""
        self._sync_s += (took_s - self._sync_s) * _WEIGHT

    def applied(self, took_s: float) -> None:
        self._apply_s += (took_s - self._apply_s) * _WEIGHT

    def aside(self, entries: int) -> bool:
        """Whether a batch of so many entries is synced in the thread."""
        if self._sync_s > SLOW_SYNC_S:
            return True
        return entries >= _MANY and self._sync_s > _QUICK_SYNC_S and self._apply_s >= _APPLY_SHARE * self._sync_s
