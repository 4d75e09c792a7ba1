"""A coarse timer wheel: deadlines of thousands of connections for the price of an attribute each.

An item's deadline may move at every byte that arrives, so moving it costs nothing: the item stays in the slot
it was put into, and when that slot comes up it is either due or put into a later one.
"""

from __future__ import annotations

import math
from typing import Generic, Protocol, TypeVar


class HasDeadline(Protocol):
    """`deadline`: seconds of the wheel's clock, infinity for never."""

    @property
    def deadline(self) -> float: ...


Item = TypeVar("Item", bound=HasDeadline)


class TimerWheel(Generic[Item]):
    """Items are looked at once per slot of `slot_s` seconds, and at the latest every `horizon_s` seconds."""

    def __init__(self, now: float, slot_s: float = 1.0, horizon_s: float = 60.0) -> None:
        self._slot_s, self._horizon_s = slot_s, horizon_s
        self._slots: dict[int, set[Item]] = {}
        self._where: dict[Item, int] = {}
        self._next_slot = int(now / slot_s)

    def __len__(self) -> int:
        return len(self._where)

    def add(self, item: Item, now: float) -> None:
        """Look at `item` from now on. A deadline that is later moved *earlier* by more than a slot is seen late,
        by at most `horizon_s`."""
        at = min(item.deadline, now + self._horizon_s)
        slot = max(math.ceil(at / self._slot_s), self._next_slot)
        self._slots.setdefault(slot, set()).add(item)
        self._where[item] = slot

    def discard(self, item: Item) -> None:
        slot = self._where.pop(item, None)
        if slot is not None:
            self._slots[slot].discard(item)

    def sooner(self, item: Item, now: float) -> None:
        """The deadline moved earlier: take the item out of a slot that would come too late."""
        self.discard(item)
        self.add(item, now)

    def due(self, now: float) -> list[Item]:
        """Items whose deadline has passed; they leave the wheel."""
        due: list[Item] = []
        current = int(now / self._slot_s)
        while self._next_slot <= current:
            items = self._slots.pop(self._next_slot, None)
            self._next_slot += 1
            for item in items or ():
                del self._where[item]
                if item.deadline <= now:
                    due.append(item)
                else:
                    self.add(item, now)
        return due
