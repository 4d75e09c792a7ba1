"""Keeps the snapshot log current with what happens in the pool; does nothing for a pool without one."""

from collections.abc import Callable

from services.gossip.serf.effects import Effect, MemberEvent, SnapshotAppend, SnapshotReplace
from services.gossip.serf.lamport import LamportClock
from services.gossip.serf.snapshot import SnapshotLog
from services.gossip.swim.timers import Timer, Timers

_CLOCK_LINE_DELAY_S = 0.5


class Recorder:
    def __init__(
        self, log: SnapshotLog | None, clock: LamportClock, timers: Timers, emit: Callable[[Effect], None]
    ) -> None:
        self._log = log
        self._clock = clock
        self._timers = timers
        self._emit = emit
        self._clock_timer: Timer | None = None

    def on_member(self, event: MemberEvent) -> None:
        if self._log is None:
            return
        if event.kind == "join":
            self._log.joined(event.member.name, event.member.address)
        elif event.kind in ("leave", "failed"):
            self._log.gone(event.member)
        elif event.kind == "reap":
            self._log.forgotten(event.member.name)
        self._log.clock_is(self._clock.time - 1)

    def on_user_event(self, ltime: int) -> None:
        if self._log is not None:
            self._log.event(ltime)

    def on_query(self, ltime: int) -> None:
        if self._log is not None:
            self._log.query(ltime)

    def on_leave(self) -> None:
        if self._log is not None:
            self._log.left()

    def flush(self, now: float, incarnation: int) -> None:
        """Emit what has to be written. The clock alone is worth a line only every half second.

        incarnation: this node's own."""
        log = self._log
        if log is None:
            return
        log.incarnation_is(incarnation)
        if log.is_behind(self._clock.time - 1) and (self._clock_timer is None or not self._clock_timer.active):
            self._clock_timer = self._timers.at(
                now + _CLOCK_LINE_DELAY_S, lambda at: log.clock_is(self._clock.time - 1)
            )
        compacted = log.compacted()
        if compacted is not None:
            self._emit(SnapshotReplace(compacted))
            return
        text = log.take()
        if text:
            self._emit(SnapshotAppend(text, sync="leave\n" in text))
