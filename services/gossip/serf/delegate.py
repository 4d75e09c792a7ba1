"""What SWIM asks of Serf: who may join, what to tell others, and what to make of what they tell."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from services.gossip.codec import limits
from services.gossip.codec.errors import PacketError
from services.gossip.codec.messages import STATE_LEFT, Alive, NodeRecord
from services.gossip.codec.serf_messages import (
    JoinIntent,
    LeaveIntent,
    QueryMessage,
    QueryResponseMessage,
    Relay,
    SerfState,
    UserEventMessage,
    decode_serf,
    decode_state,
    encode_state,
)
from services.gossip.serf.coalescing import Coalescer
from services.gossip.serf.counters import CountersByName
from services.gossip.serf.effects import Effect, UserEvent
from services.gossip.serf.lamport import LTIME_MAX
from services.gossip.serf.member import Member, Status
from services.gossip.swim.address import Address, format_ip
from services.gossip.swim.effects import Log, Metric
from services.gossip.swim.nodes import Node
from services.gossip.swim.timers import Timers

if TYPE_CHECKING:
    from services.gossip.serf.core import Serf

MergeCheck = Callable[[Sequence[Member]], str | None]
_REMEMBERED = 128

# Every rumour reaches a member many times, in the same bytes.
_decoded = lru_cache(_REMEMBERED)(decode_serf)


class SerfDelegate:
    """Connects one pool's SWIM with its Serf part. See swim.delegate.Delegate for what the methods promise."""

    def __init__(self, serf: "Serf", merge_check: MergeCheck, timers: Timers, emit: Callable[[Effect], None]) -> None:
        self._serf = serf
        self._merge_check = merge_check
        self._emit = emit
        self._coalescer = Coalescer(serf.settings.coalesce_s, serf.settings.quiescent_s, timers, emit)
        self._count_event = CountersByName("consul.serf.events", emit).incr
        self.ignore_old_events = False
        """Set while the answer to an own join is merged: what was before does not concern us."""

    def node_joined(self, node: Node, now: float) -> None:
        self._serf.members.joined(node, now)

    def node_updated(self, node: Node, now: float) -> None:
        self._serf.members.updated(node)

    def node_left(self, node: Node, now: float) -> None:
        self._serf.members.gone(node, now)

    def name_conflict(self, node: Node, other: Alive) -> None:
        theirs = f"{format_ip(other.addr)}:{other.port}"
        if node.name != self._serf.settings.name:
            mine = f"{format_ip(node.addr)}:{node.port}"
            self._log("warn", f"serf: Name conflict for '{node.name}' both {mine} and {theirs} are claiming")
            return
        self._log(
            "error",
            f"serf: Node name conflicts with another node at {theirs}. Names must be unique! "
            f"(Resolution enabled: {str(self._serf.settings.resolves_conflicts).lower()})",
        )
        if self._serf.settings.resolves_conflicts:
            self._serf.asking.ask_whose_name()

    def check_alive(self, alive: Alive) -> str | None:
        tags = self._serf.members.tags_of(alive.meta)
        return self._merge_check([Member(alive.node, alive.addr, alive.port, tags, alive.vsn, Status.NONE)])

    def check_merge(self, nodes: Sequence[NodeRecord]) -> str | None:
        candidates = []
        for record in nodes:
            status = Status.LEFT if record.state == STATE_LEFT else Status.NONE
            tags = self._serf.members.tags_of(record.meta)
            candidates.append(Member(record.name, record.addr, record.port, tags, record.vsn, status))
        return self._merge_check(candidates)

    def user_message(self, payload: bytes, now: float) -> None:
        """A Serf message; what is news is passed on as it came."""
        try:
            message = (_decoded if len(payload) <= limits.PACKET_BUDGET else decode_serf)(payload)
        except PacketError as error:
            self._emit(Metric("incr", "consul.serf.msgs.malformed"))
            self._log("error", f"serf: Error decoding message: {error}")
            return
        serf, rumours = self._serf, self._serf.rumours
        self._emit(Metric("sample", "consul.serf.msgs.received", len(payload)))
        if isinstance(message, JoinIntent):
            self._log("debug", f"serf: messageJoinType: {message.node}")
            if serf.members.join_intent(message, now):
                rumours.add(rumours.intents, payload)
        elif isinstance(message, LeaveIntent):
            self._log("debug", f"serf: messageLeaveType: {message.node}")
            if serf.members.leave_intent(message, now):
                rumours.add(rumours.intents, payload)
        elif isinstance(message, UserEventMessage):
            self._log("debug", f"serf: messageUserEventType: {message.name}")
            if self.deliver(message, now):
                rumours.add(rumours.events, payload)
        elif isinstance(message, QueryMessage):
            self._log("debug", f"serf: messageQueryType: {message.name}")
            if serf.asking.on_query(message, now):
                rumours.add(rumours.queries, payload)
        elif isinstance(message, QueryResponseMessage):
            self._log("debug", f"serf: messageQueryResponseType: {message.source}")
            serf.asking.on_response(message)
        elif isinstance(message, Relay):
            to = Address(message.address.ip, message.address.port)
            self._log("debug", f"serf: Relaying response to addr: {to}")
            serf.swim.send_user(to, message.payload)

    def deliver(self, event: UserEventMessage, now: float) -> bool:
        """Hand a user event to the application if it is new."""
        events = self._serf.events
        verdict = events.accept(event)
        if verdict == "old":
            self._log(
                "warn",
                f"serf: received old event {event.name} from time {event.ltime} (current: {events.clock.time})",
            )
        if verdict != "new":
            return False
        self._emit(Metric("incr", "consul.serf.events"))
        self._count_event(event.name)
        self._serf.recorder.on_user_event(event.ltime)
        self._coalescer.take(UserEvent(event.ltime, event.name, event.payload or b"", event.coalesce), now)
        return True

    def ack_payload(self) -> bytes | None:
        return self._serf.coordinates.ack_payload()

    def ping_done(self, node: Node, rtt_s: float, payload: bytes | None, now: float) -> None:
        if payload:
            self._serf.coordinates.learn(node.name, payload, rtt_s)

    def has_broadcasts(self) -> bool:
        return bool(self._serf.rumours)

    def take_broadcasts(self, overhead: int, budget: int, max_parts: int) -> list[bytes]:
        return self._serf.rumours.take(overhead, budget, max_parts)

    def local_state(self) -> bytes:
        serf = self._serf
        # Serf lists those that left alone. The time of one that is leaving would then pass for that of a join, and its
        # intent, when that comes, for an old one: it would be shown as failed. Who hears of a leaving counts one tick
        # more than it is told: one less gives everybody the time of the intent, and no rumour outgrows a refutation.
        leaving = [one for one in serf.members if one.status == Status.LEAVING]
        ltimes = {member.name: member.status_ltime for member in serf.members}
        ltimes.update((one.name, max(one.status_ltime - 1, 0)) for one in leaving)
        return encode_state(
            SerfState(
                serf.clock.time,
                ltimes,
                (*serf.members.left_names, *(one.name for one in leaving)),
                serf.events.clock.time,
                serf.events.past(),
                serf.asking.ring.clock.time,
            )
        )

    def merge_state(self, data: bytes, join: bool, now: float) -> None:
        try:
            state = decode_state(data)
        except PacketError as error:
            self._log("error", f"serf: Failed to decode remote state: {error}")
            return
        serf = self._serf
        # The peer has not used these clock values yet.
        serf.clock.witness(state.ltime - 1)
        serf.events.clock.witness(state.event_ltime - 1)
        serf.asking.ring.clock.witness(state.query_ltime - 1)
        # Those that left or are leaving come first, with a time after that of their join: the real one is not told.
        left = dict.fromkeys(state.left_members or ())
        for name in left:
            ltime = min(state.status_ltimes.get(name, 0) + 1, LTIME_MAX)
            serf.members.leave_intent(LeaveIntent(ltime, name), now)
        for name, ltime in state.status_ltimes.items():
            if name not in left and not serf.members.says_nothing_new(name, ltime):
                serf.members.join_intent(JoinIntent(ltime, name), now)
        if join and self.ignore_old_events:
            serf.events.ignore_before(state.event_ltime)
        for past in filter(None, state.events or ()):
            for event in filter(None, past.events or ()):
                self.deliver(UserEventMessage(past.ltime, event.name, event.payload, False), now)

    def _log(self, level: Literal["debug", "info", "warn", "error"], text: str) -> None:
        self._emit(Log("serf", level, text))
