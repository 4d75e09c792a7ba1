"""When tombstones may be reaped: 15 minutes after their delete, in bins of 30 seconds.

A tombstone keeps the index of a prefix from going back after a delete. The leader alone keeps the time; a
new leader hints its last index, so that whatever it inherited goes 15 minutes later at the latest."""

from __future__ import annotations

TTL_S = 15 * 60.0
GRANULARITY_S = 30.0


class TombstoneTimer:
    """Bins of (expiry, highest index). Sans-IO; times are wall-clock-like seconds of one clock."""

    __slots__ = ("_bins", "enabled")

    def __init__(self) -> None:
        self.enabled = False
        self._bins: dict[float, int] = {}  # expiry -> highest index, in order of expiry

    def enable(self) -> None:
        self.enabled = True

    def disable(self) -> None:
        """This server leads no more: another one keeps the time."""
        self.enabled = False
        self._bins.clear()

    def hint(self, index: int, now: float) -> None:
        """Something was deleted at `index`."""
        if not self.enabled:
            return
        expiry = (now + TTL_S) // GRANULARITY_S * GRANULARITY_S + GRANULARITY_S
        self._bins[expiry] = max(index, self._bins.get(expiry, 0))

    @property
    def deadline(self) -> float | None:
        """When `expire` has something to say next."""
        return next(iter(self._bins), None)

    def expire(self, now: float) -> int | None:
        """The index up to which tombstones are to be reaped, None if none is due."""
        due: int | None = None
        while self._bins and (expiry := next(iter(self._bins))) <= now:
            index = self._bins.pop(expiry)
            due = index if due is None else max(due, index)
        return due
