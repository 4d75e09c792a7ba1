"""LeaderWatch: notices that the last connection of a leader to this server has ended, which is when its process dies.

Long before the heartbeat timeout: the kernel closes a dead process's connections at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from services.raft_node.core import events as ev


class LeaderWatch:
    """Counts the open connections by the leader that has sent something over them. Leaders are known by address."""

    def __init__(self, feed: Callable[[ev.Event], None]) -> None:
        self._feed = feed
        self._open: Counter[str] = Counter()

    def used(self, before: str, leader: str) -> None:
        """A connection carries a request of `leader`, after those of `before` ("" for a new one)."""
        self._open[leader] += 1
        if before:
            self._release(before)

    def ended(self, leader: str) -> None:
        """A connection that carried requests of `leader` ("" if of none) has ended."""
        if leader and self._release(leader):
            self._feed(ev.LeaderGone(leader))

    def _release(self, leader: str) -> bool:
        self._open[leader] -= 1
        if self._open[leader] > 0:
            return False
        del self._open[leader]
        return True
