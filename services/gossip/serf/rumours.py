"""Serf's three broadcast queues: intents go out before queries, queries before user events."""

from collections.abc import Callable

from services.gossip.serf.effects import Effect
from services.gossip.swim.broadcasts import BroadcastQueue, Done
from services.gossip.swim.effects import Log, Metric


class Rumours:
    """What still has to be gossiped. members(): how many there are; it sets how often each is sent.

    Each queue holds at least queue_min messages, or two per member; beyond that the most sent ones are dropped.
    depth_warning: so many in one queue are worth a line in the log."""

    def __init__(
        self,
        retransmit_mult: int,
        queue_min: int,
        depth_warning: int,
        members: Callable[[], int],
        emit: Callable[[Effect], None],
    ) -> None:
        self.intents = BroadcastQueue(retransmit_mult, queue_min)
        self.queries = BroadcastQueue(retransmit_mult, queue_min)
        self.events = BroadcastQueue(retransmit_mult, queue_min)
        self._queue_min = queue_min
        self._depth_warning = depth_warning
        self._members = members
        self._emit = emit

    def __bool__(self) -> bool:
        return bool(len(self.intents) or len(self.queries) or len(self.events))

    def add(self, queue: BroadcastQueue, data: bytes, on_sent: Done | None = None) -> None:
        """on_sent: called when it was sent to the limit, or dropped."""
        queue.max_queued = max(self._queue_min, 2 * self._members())
        if queue.add(data, on_done=on_sent):
            self._emit(Metric("incr", "consul.serf.queue.dropped"))

    def check_depths(self) -> None:
        """Tell how much is queued; the operator hears of a queue that does not empty itself."""
        for name, queue in (("Intent", self.intents), ("Event", self.events), ("Query", self.queries)):
            self._emit(Metric("sample", f"consul.serf.queue.{name}", len(queue)))
            if len(queue) >= self._depth_warning:
                self._emit(Log("serf", "warn", f"serf: {name} queue depth: {len(queue)}"))

    def take(self, overhead: int, budget: int, max_parts: int) -> list[bytes]:
        """Messages for one packet; see BroadcastQueue.take."""
        taken: list[bytes] = []
        for queue in (self.intents, self.queries, self.events):
            used = sum(len(message) + overhead for message in taken)
            taken += queue.take(overhead, budget - used, self._members(), max_parts - len(taken))
        for message in taken:
            self._emit(Metric("sample", "consul.serf.msgs.sent", len(message)))
        return taken
