"""Memory of what streams have received: when all together hold too much, the one that holds most is ended.

So whoever sends much, or holds much open, is in nobody's way but his own."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Share:
    """What one stream holds, bytes. Its scope ends when it has to go, and `evicted` tells so."""

    __slots__ = ("_memory", "evicted", "held", "scope")

    def __init__(self, memory: "StreamMemory") -> None:
        self._memory = memory
        self.held = 0
        self.evicted = False
        self.scope = trio.CancelScope()

    def holds(self, count: int) -> None:
        self._memory.take(self, count)


class StreamMemory:
    """limit: bytes of all streams together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._total = 0
        self._shares: set[Share] = set()

    @contextmanager
    def share(self) -> Iterator[Share]:
        """For the time in which one message is received."""
        share = Share(self)
        self._shares.add(share)
        try:
            with share.scope:
                yield share
        finally:
            self._forget(share)

    def take(self, share: Share, count: int) -> None:
        if share.evicted:
            return
        self._total += count - share.held
        share.held = count
        while self._total > self._limit:
            largest = max(self._shares, key=lambda one: one.held)
            largest.evicted = True
            largest.scope.cancel()
            self._forget(largest)

    def _forget(self, share: Share) -> None:
        """Its memory is as good as free: it ends at its next step."""
        if share in self._shares:
            self._shares.remove(share)
            self._total -= share.held
