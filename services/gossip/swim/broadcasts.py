"""The queue of rumours to gossip: each is sent a limited number of times, new ones before old ones."""

from bisect import bisect_left, insort
from collections.abc import Callable

from services.gossip.codec import limits
from services.gossip.swim.formulas import retransmit_limit

Done = Callable[[], None]


class _Broadcast:
    """rank: its place among those sent equally often: the largest first, then the newest."""

    __slots__ = ("data", "name", "on_done", "rank", "sent")

    def __init__(self, data: bytes, number: int, name: str | None, on_done: Done | None) -> None:
        self.data = data
        self.rank = (-len(data), -number)
        self.name = name
        self.on_done = on_done
        self.sent = 0


class BroadcastQueue:
    """Broadcasts ordered by times sent, then size, then age.

    mult: memberlist's RetransmitMult. max_queued: beyond it the most sent, smallest, oldest are dropped."""

    def __init__(self, mult: int, max_queued: int) -> None:
        self.max_queued = max_queued
        self._mult = mult
        self._tiers: dict[int, list[tuple[int, int, _Broadcast]]] = {}
        self._named: dict[str, _Broadcast] = {}
        self._next_number = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, data: bytes, *, name: str | None = None, on_done: Done | None = None) -> int:
        """Queue a message. One with a name replaces the pending one of that name.

        One that fits into no packet is dropped at once: it could only wait for ever.
        on_done: called when it was sent to the limit, replaced or dropped. Returns how many were dropped."""
        if len(data) > limits.RUMOUR:
            if on_done is not None:
                on_done()
            return 1
        self._next_number += 1
        if name is not None and name in self._named:
            self._remove(self._named[name])
        broadcast = _Broadcast(data, self._next_number, name, on_done)
        if name is not None:
            self._named[name] = broadcast
        self._insert(broadcast)
        dropped = 0
        while self._size > self.max_queued:
            self._remove(self._tiers[max(self._tiers)][-1][2])
            dropped += 1
        return dropped

    def take(self, overhead: int, budget: int, nodes: int, max_parts: int) -> list[bytes]:
        """Messages for one packet: each costs its size + overhead of the budget; at most max_parts.

        nodes: size of the pool, from which the retransmit limit follows."""
        if not self._size or max_parts <= 0:
            return []
        limit = retransmit_limit(self._mult, nodes)
        taken: list[_Broadcast] = []
        for sent in sorted(self._tiers):
            while len(taken) < max_parts:
                tier = self._tiers.get(sent)
                free = budget - overhead
                if not tier or free <= 0:
                    break
                index = bisect_left(tier, (-free,))
                if index == len(tier):
                    break
                broadcast = tier[index][2]
                self._detach(broadcast)
                taken.append(broadcast)
                budget -= overhead + len(broadcast.data)
        for broadcast in taken:
            broadcast.sent += 1
            if broadcast.sent >= limit:
                self._finish(broadcast)
            else:
                self._insert(broadcast)
        return [broadcast.data for broadcast in taken]

    def _insert(self, broadcast: _Broadcast) -> None:
        insort(self._tiers.setdefault(broadcast.sent, []), (*broadcast.rank, broadcast))
        self._size += 1

    def _detach(self, broadcast: _Broadcast) -> None:
        tier = self._tiers[broadcast.sent]
        del tier[bisect_left(tier, broadcast.rank)]
        if not tier:
            del self._tiers[broadcast.sent]
        self._size -= 1

    def _remove(self, broadcast: _Broadcast) -> None:
        self._detach(broadcast)
        self._finish(broadcast)

    def _finish(self, broadcast: _Broadcast) -> None:
        if broadcast.name is not None and self._named.get(broadcast.name) is broadcast:
            del self._named[broadcast.name]
        if broadcast.on_done is not None:
            broadcast.on_done()
