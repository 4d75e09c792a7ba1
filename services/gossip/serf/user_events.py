"""The ring of recent user events: tells new ones from those already seen, and old ones from both."""

from services.gossip.codec import limits
from services.gossip.codec.serf_messages import PastEvent, PastEvents, UserEventMessage
from services.gossip.serf.lamport import LamportClock

_EVENTS_PER_LTIME = 256


class EventRing:
    """Slot ltime mod size holds the events of one Lamport time.

    Large events can fill it up: then the oldest times are given up, and events of them count as seen."""

    def __init__(self, size: int) -> None:
        self.clock = LamportClock()
        self.min_ltime = 0
        self._size = size
        self._slots: list[tuple[int, list[PastEvent]] | None] = [None] * size
        self._bytes = 0

    def accept(self, event: UserEventMessage) -> str:
        """ "new" if it is to be delivered and passed on; else "seen" or "old"."""
        self.clock.witness(event.ltime)
        if event.ltime < self.min_ltime:
            return "seen"
        if self.clock.time > self._size and event.ltime < self.clock.time - self._size:
            return "old"
        index = event.ltime % self._size
        slot = self._slots[index]
        past = PastEvent(event.name, event.payload or None)
        if slot is None or slot[0] != event.ltime:
            self._empty(index)
            slot = self._slots[index] = (event.ltime, [])
        elif past in slot[1] or len(slot[1]) >= _EVENTS_PER_LTIME:
            return "seen"
        slot[1].append(past)
        self._bytes += _size(past)
        if self._bytes > limits.EVENT_RING:
            self._forget_oldest()
        return "new"

    def ignore_before(self, ltime: int) -> None:
        """Events older than this are none of our business (what happened before we joined)."""
        self.min_ltime = max(self.min_ltime, ltime)

    def _forget_oldest(self) -> None:
        """Make room for some time, so that not every event of a flood has to search the ring."""
        for ltime, index in sorted((slot[0], index) for index, slot in enumerate(self._slots) if slot is not None):
            if self._bytes <= limits.EVENT_RING // 2:
                break
            self._empty(index)
            self.min_ltime = max(self.min_ltime, ltime + 1)

    def _empty(self, index: int) -> None:
        slot = self._slots[index]
        if slot is not None:
            self._bytes -= sum(map(_size, slot[1]))
            self._slots[index] = None

    def past(self) -> tuple[PastEvents | None, ...]:
        """The whole ring, for a push/pull."""
        return tuple(None if slot is None else PastEvents(slot[0], tuple(slot[1])) for slot in self._slots)


def _size(event: PastEvent) -> int:
    return len(event.name) + len(event.payload or b"")
