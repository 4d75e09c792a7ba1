"""Serf: one gossip pool. Packets, streams and commands go in with the time, effects come out."""

import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

from services.gossip.codec import limits
from services.gossip.codec.keyring import Keyring
from services.gossip.codec.messages import Message, NodeRecord
from services.gossip.codec.serf_messages import (
    JoinIntent,
    LeaveIntent,
    UserEventMessage,
    encode_serf,
    encode_tags,
)
from services.gossip.codec.stream import PushPull
from services.gossip.serf.asking import Asking
from services.gossip.serf.coordinates import Coordinates
from services.gossip.serf.delegate import MergeCheck, SerfDelegate
from services.gossip.serf.effects import CommandDone, Effect, MemberEvent
from services.gossip.serf.errors import SerfError
from services.gossip.serf.lamport import LamportClock
from services.gossip.serf.members import Members
from services.gossip.serf.queries import Collector
from services.gossip.serf.recorder import Recorder
from services.gossip.serf.rumours import Rumours
from services.gossip.serf.settings import SerfSettings
from services.gossip.serf.snapshot import Recovered, SnapshotLog
from services.gossip.serf.user_events import EventRing
from services.gossip.swim.address import Address
from services.gossip.swim.core import Swim
from services.gossip.swim.effects import Log, StartPushPull
from services.gossip.swim.timers import Phase, Timer, Timers, void


class Serf:
    """One pool.

    merge_check: says why members (of a peer's list, or a single one) must not be let in, None if they may.
    keyring: the keys of the pool if it is encrypted; key queries change it, and save_keyring() then stores it and
    returns an error text or None. recovered, snapshot: what the snapshot file told, and its log; None without one.

    Every public method that changes something takes `now` (seconds on any monotonic clock) and returns effects in
    the order in which they have to happen. `deadline` tells when to call tick()."""

    def __init__(
        self,
        settings: SerfSettings,
        rng: random.Random,
        merge_check: MergeCheck,
        *,
        keyring: Keyring | None = None,
        save_keyring: Callable[[], str | None] = lambda: None,
        recovered: Recovered | None = None,
        snapshot: SnapshotLog | None = None,
    ) -> None:
        self.settings = settings
        self.tags = settings.tags
        self._rng = rng
        self._out: list[Effect] = []
        self._timers = Timers()
        self.clock = LamportClock()
        self.recorder = Recorder(snapshot, self.clock, self._timers, self._emit)
        self.events = EventRing(settings.ring_size)
        self.members = Members(
            settings, self.clock, self._timers, self._emit, self._broadcast_join, self._on_member, self._on_erase
        )
        self.rumours = Rumours(
            settings.swim.retransmit_mult,
            settings.queue_min,
            settings.queue_depth_warning,
            self.members.__len__,
            self._emit,
        )
        self.coordinates = Coordinates(settings.name, rng, self._emit)
        self._delegate = SerfDelegate(self, merge_check, self._timers, self._emit)
        incarnation = 0 if recovered is None else recovered.incarnation
        self.swim = Swim(settings.swim, self._delegate, self._timers, rng, self._emit, incarnation)
        self.asking = Asking(self, rng, self._timers, self._emit, keyring, save_keyring)
        self._meta = encode_tags(settings.tags)
        self._encrypted = keyring is not None
        self._state: Literal["alive", "leaving", "left"] = "alive"
        self._leave_waiters: list[Any] = []
        # Both as Serf has them, in step with the start; a pool with nothing to do for them is not woken up.
        self._reconnect_phase = Phase(settings.reconnect_interval_s, 0.0)
        self._queue_check_phase = Phase(settings.queue_check_interval_s, 0.0)
        self._reconnect_timer: Timer | None = None
        self._queue_check_timer: Timer | None = None
        self._gone_before = [] if recovered is None else list(recovered.gone.values())
        if recovered is not None:
            self.clock.witness(recovered.clock)
            self.events.clock.witness(recovered.event_clock)
            self.asking.ring.clock.witness(recovered.query_clock)
            self.events.min_ltime = recovered.event_clock + 1
            self.asking.ring.min_ltime = recovered.query_clock + 1

    # ---- driving -------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """When to call tick(); infinity while there is nothing to wait for."""
        return self._timers.deadline

    def start(self, now: float) -> list[Effect]:
        check_tags(self.tags)
        self._reconnect_phase = Phase(self.settings.reconnect_interval_s, now)
        self._queue_check_phase = Phase(self.settings.queue_check_interval_s, now)
        self.swim.start(self._meta, now)
        self.members.restore(self._gone_before, now)
        return self._finish(now)

    def tick(self, now: float) -> list[Effect]:
        self._timers.run_due(now)
        return self._finish(now)

    def receive(self, messages: Sequence[Message], source: Address, now: float) -> list[Effect]:
        """The messages of one datagram."""
        for message in messages:
            self.swim.receive(message, source, now)
        return self._finish(now)

    def receive_user(self, payload: bytes, now: float) -> list[Effect]:
        """A user message that came over a stream."""
        self._delegate.user_message(payload, now)
        return self._finish(now)

    def tcp_ping_done(self, seq_no: int, answered: bool, now: float) -> list[Effect]:
        self.swim.tcp_ping_done(seq_no, answered)
        return self._finish(now)

    def push_pull(self, join: bool) -> PushPull:
        """Our state, to be sent to a peer."""
        return self.swim.push_pull(join)

    def merge(self, state: PushPull, now: float, *, ignore_old: bool = False) -> list[Effect]:
        """Merge a peer's state: check_merge, merge_nodes and merge_user_state at once.

        Raises MergeError; then nothing was taken over."""
        self.check_merge(state)
        effects = self.merge_nodes(state.nodes, now)
        return effects + self.merge_user_state(state, now, ignore_old=ignore_old)

    def check_merge(self, state: PushPull) -> None:
        """Raises MergeError if a peer's state must not be merged."""
        self.swim.check_merge(state)

    def merge_nodes(self, nodes: Sequence[NodeRecord], now: float) -> list[Effect]:
        """Take over some or all nodes of a state that was checked; 1,000 new ones take about 40 ms."""
        self.swim.merge_nodes(nodes, now)
        return self._finish(now)

    def merge_user_state(self, state: PushPull, now: float, *, ignore_old: bool = False) -> list[Effect]:
        """The rest of it. ignore_old: user events from before are not to be delivered (own joins)."""
        self._delegate.ignore_old_events = ignore_old
        try:
            self.swim.merge_user_state(state, now)
        finally:
            self._delegate.ignore_old_events = False
        return self._finish(now)

    # ---- commands ------------------------------------------------------------------------------------------------

    def check_can_join(self) -> None:
        if self._state != "alive":
            raise SerfError("Serf can't Join after Leave or Shutdown")

    def joined(self, now: float) -> list[Effect]:
        """At least one push/pull of a join succeeded: tell the pool, unless this node began to leave meanwhile.

        Serf tells it even then, and is shown as failed by whoever hears it after the leaving."""
        if self._state == "alive":
            self._broadcast_join(now)
        return self._finish(now)

    def leave(self, now: float, token: Any) -> list[Effect]:
        """Leave gracefully; CommandDone(token) follows once the others had a chance to hear of it.

        Where no other member is alive there is nobody to wait for, and it follows at once."""
        if self._state == "left":
            self._emit(CommandDone(token))
            return self._finish(now)
        self._leave_waiters.append(token)
        if self._state == "leaving":
            return self._finish(now)
        self._state = "leaving"
        self.members.leaving = True
        self.recorder.on_leave()
        intent = LeaveIntent(self.clock.take(), self.settings.name)
        self.members.leave_intent(intent, now)
        if not self.members.any_other_alive():
            self._leave_swim(now)
        else:
            self._when_sent(
                now,
                lambda on_sent: self._queue_intent(intent, on_sent),
                lambda at, late: self._leave_swim(at, "serf: timeout while waiting for graceful leave" * late),
            )
        return self._finish(now)

    def force_leave(self, name: str, prune: bool, now: float, token: Any) -> list[Effect]:
        """Declare another member gone for good; CommandDone(token) when the pool was told."""
        intent = LeaveIntent(self.clock.take(), name, prune)
        self.members.leave_intent(intent, now)
        if self.members.any_other_alive():
            self._when_sent(
                now,
                lambda on_sent: self._queue_intent(intent, on_sent),
                lambda at, late: self._emit(
                    CommandDone(token, "timed out broadcasting node removal" if late else None)
                ),
            )
        else:
            self._emit(CommandDone(token))
        return self._finish(now)

    def set_tags(self, tags: dict[str, str], now: float, token: Any) -> list[Effect]:
        """Announce other tags; CommandDone(token) when the pool was told. Raises SerfError if they are too long."""
        meta = check_tags(tags)
        self.tags, self._meta = tags, meta
        if self.swim.any_other_alive():
            self._when_sent(
                now,
                lambda on_sent: self.swim.update_meta(meta, now, on_sent),
                lambda at, late: self._emit(
                    CommandDone(token, "timeout waiting for update broadcast" if late else None)
                ),
            )
        else:
            self.swim.update_meta(meta, now)
            self._emit(CommandDone(token))
        return self._finish(now)

    def user_event(self, name: str, payload: bytes, coalesce: bool, now: float) -> list[Effect]:
        """Send an event to all members, this one included. Raises SerfError if it is too large."""
        limit = limits.USER_EVENT
        if len(name.encode("utf-8", "surrogateescape")) + len(payload) > limit:
            raise SerfError(f"user event exceeds configured limit of {limit} bytes before encoding")
        event = UserEventMessage(self.events.clock.time, name, payload, coalesce)
        data = encode_serf(event)
        if len(data) > limit:
            raise SerfError(f"encoded user event exceeds configured limit of {limit} bytes after encoding")
        self.events.clock.take()
        self._delegate.deliver(event, now)
        self.rumours.add(self.rumours.events, data)
        return self._finish(now)

    def key_operation(self, operation: str, key: bytes, relay_factor: int, now: float, token: Any) -> list[Effect]:
        """Run install-key, use-key, remove-key or list-keys on all members; CommandDone(token, ..., result)."""
        self.asking.start_key_operation(operation, key, relay_factor, now, token)
        return self._finish(now)

    def query(
        self,
        name: str,
        payload: bytes | None,
        now: float,
        *,
        filters: tuple[bytes, ...] | None = None,
        ack: bool = False,
        relay_factor: int = 0,
        timeout_s: float = 0.0,
        collector: Collector | None = None,
    ) -> tuple[int, list[Effect]]:
        """Ask all members; QueryAck, QueryAnswer and QueryDone effects carry the returned id.

        With a collector there are none of them, but its CommandDone in the end."""
        started = self.asking.start(name, payload, now, filters, ack, relay_factor, timeout_s, collector)
        return started.id, self._finish(now)

    def stats(self) -> dict[str, str]:
        """The pool's section of `consul info`."""
        members, failed, left = self.members.counts()
        return {
            "coordinate_resets": str(self.coordinates.resets),
            "encrypted": "true" if self._encrypted else "false",
            "event_queue": str(len(self.rumours.events)),
            "event_time": str(self.events.clock.time),
            "failed": str(failed),
            "health_score": str(self.swim.awareness.score),
            "intent_queue": str(len(self.rumours.intents)),
            "left": str(left),
            "member_time": str(self.clock.time),
            "members": str(members),
            "query_queue": str(len(self.rumours.queries)),
            "query_time": str(self.asking.ring.clock.time),
        }

    # ---- inside --------------------------------------------------------------------------------------------------

    def _broadcast_join(self, now: float) -> None:
        intent = JoinIntent(self.clock.time, self.settings.name)
        self.members.join_intent(intent, now)
        self._queue_intent(intent)

    def _queue_intent(self, intent: JoinIntent | LeaveIntent, on_sent: Callable[[], None] | None = None) -> None:
        self.rumours.add(self.rumours.intents, encode_serf(intent), on_sent)

    def _leave_swim(self, now: float, problem: str = "") -> None:
        """The intent is out (or nobody is there to hear it): now the member list has to know."""
        if problem:
            self._log("warn", problem)
        had_company = self.swim.any_other_alive()
        if not had_company:
            self.swim.leave(now)
            self._left(now)
            return

        def left_swim(at: float, late: bool) -> None:
            if late:
                self._log("warn", "serf: timeout waiting for leave broadcast")
            # Others may still probe this node until they have heard of it.
            self._timers.at(at + self.settings.leave_propagate_s, self._left)

        self._when_sent(now, lambda on_sent: self.swim.leave(now, on_sent), left_swim)

    def _left(self, now: float) -> None:
        self._state = "left"
        for token in self._leave_waiters:
            self._emit(CommandDone(token))
        self._leave_waiters.clear()

    def _when_sent(
        self,
        now: float,
        send: Callable[[Callable[[], None]], None],
        then: Callable[[float, bool], None],
    ) -> None:
        """send(on_sent) queues a broadcast; then(now, late) follows when it is out, or late after the timeout."""

        def finish(at: float, late: bool) -> None:
            if timer.active or late:
                timer.cancel()
                then(at, late)

        timer = self._timers.at(now + self.settings.broadcast_timeout_s, lambda at: finish(at, True))
        # A timer of its own: on_sent is called while packets are being filled, when no rumour may be added.
        send(lambda: void(self._timers.at(0.0, lambda at: finish(at, False))))

    def _reconnect(self, now: float) -> None:
        """Try one failed member again, as often as keeps the whole pool's attempts at one per member and interval."""
        failed = self.members.failed
        if not failed:
            return
        total, failed_count, left_count = self.members.counts()
        alive = max(total - failed_count - left_count, 1)
        if self._rng.random() > failed_count / alive:
            self._log("debug", "serf: forgoing reconnect for random throttling")
            return
        member = self._rng.choice(failed)
        self._log("info", f"serf: attempting reconnect to {member.name} {member.address}")
        self._emit(StartPushPull(member.name, member.address, join=True))

    def _on_member(self, event: MemberEvent) -> None:
        self.recorder.on_member(event)

    def _on_erase(self, name: str) -> None:
        self.coordinates.forget(name)

    def _finish(self, now: float) -> list[Effect]:
        """End of every call: schedule what the new state needs, and hand out the effects."""
        self.swim.arm(now)
        self.members.arm(now)
        if self.members.any_failed() and (self._reconnect_timer is None or not self._reconnect_timer.active):
            self._reconnect_timer = self._timers.at(self._reconnect_phase.next_after(now), self._reconnect)
        if self.rumours and (self._queue_check_timer is None or not self._queue_check_timer.active):
            self._queue_check_timer = self._timers.at(
                self._queue_check_phase.next_after(now), lambda at: self.rumours.check_depths()
            )
        self.recorder.flush(now, self.swim.incarnation)
        effects, self._out = self._out, []
        return effects

    def _emit(self, effect: Effect) -> None:
        self._out.append(effect)

    def _log(self, level: Literal["debug", "info", "warn", "error"], text: str) -> None:
        self._emit(Log("serf", level, text))


def check_tags(tags: dict[str, str]) -> bytes:
    """Tags as Meta. Raises SerfError if they are longer than members accept."""
    meta = encode_tags(tags)
    if len(meta) > limits.META:
        raise SerfError(f"Encoded length of tags exceeds limit of {limits.META} bytes")
    return meta
