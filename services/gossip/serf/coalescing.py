"""User events that may be coalesced: those of one name are held for a while, and only the latest are delivered.

Latest by Lamport time; several of the same time are all delivered. Events of a while are those until none came for
`quiescent_s`, and no more than `period_s` of them."""

from collections.abc import Callable

from services.gossip.serf.effects import UserEvent
from services.gossip.swim.timers import Timer, Timers

_HELD_MAX = 4096


class Coalescer:
    """period_s 0 delivers everything at once, as Consul has it."""

    def __init__(
        self, period_s: float, quiescent_s: float, timers: Timers, deliver: Callable[[UserEvent], None]
    ) -> None:
        self._period_s = period_s
        self._quiescent_s = quiescent_s
        self._timers = timers
        self._deliver = deliver
        self._latest: dict[str, list[UserEvent]] = {}
        self._held = 0
        self._flush_by = 0.0
        self._timer: Timer | None = None

    def take(self, event: UserEvent, now: float) -> None:
        """An event that is new to this member."""
        if not (event.coalesce and self._period_s):
            self._deliver(event)
            return
        if self._timer is None:
            self._flush_by = now + self._period_s
        else:
            self._timer.cancel()
        self._timer = self._timers.at(min(now + self._quiescent_s, self._flush_by), self._flush)
        self._hold(event)
        if self._held >= _HELD_MAX:  # peers must not fill our memory with what waits
            self._flush(now)

    def _hold(self, event: UserEvent) -> None:
        latest = self._latest.setdefault(event.name, [])
        if latest and event.ltime < latest[0].ltime:
            return
        if latest and event.ltime > latest[0].ltime:
            self._held -= len(latest)
            latest.clear()
        latest.append(event)
        self._held += 1

    def _flush(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        latest, self._latest = self._latest, {}
        self._held, self._timer = 0, None
        for events in latest.values():
            for event in events:
                self._deliver(event)
