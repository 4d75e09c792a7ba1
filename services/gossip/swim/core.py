"""Swim: one pool's member list, kept current by probing, gossip and state exchanges."""

import random
from collections.abc import Callable, Sequence

from services.gossip.codec import limits
from services.gossip.codec.keyring import OVERHEAD as ENCRYPTION_OVERHEAD
from services.gossip.codec.messages import (
    STATE_ALIVE,
    STATE_DEAD,
    STATE_SUSPECT,
    Ack,
    Alive,
    Dead,
    Err,
    IndirectPing,
    Message,
    Nack,
    NodeRecord,
    Ping,
    Suspect,
    User,
    encode_message,
)
from services.gossip.codec.stream import PushPull
from services.gossip.swim.address import Address
from services.gossip.swim.awareness import Awareness
from services.gossip.swim.broadcasts import BroadcastQueue, Done
from services.gossip.swim.delegate import Delegate
from services.gossip.swim.effects import Effect, Log, SendPacket, StartPushPull
from services.gossip.swim.formulas import push_pull_interval_s
from services.gossip.swim.nodes import Node, NodeTable
from services.gossip.swim.probing import PMAX_CRC, Prober
from services.gossip.swim.rules import Rules
from services.gossip.swim.settings import SwimSettings
from services.gossip.swim.timers import Phase, Timer, Timers
from services.gossip.swim.versions import incompatibility

_COMPOUND_HEADER = 2
_COMPOUND_PART = 2
_USER_PART = 3  # the part's length and the user message's type byte
_QUEUED_MAX = 65536


class MergeError(Exception):
    """A peer's state must not be merged; the text says why, as memberlist words it."""


class Swim:
    """Events go in as method calls with the time; what is to be done comes out through `emit`.

    delegate: the layer above. timers: shared with it; their owner runs them. incarnation: the last one of this node
    before it was restarted, 0 if there was none. After every call the owner calls `arm`, which schedules periodic work
    only while there is some: a pool of one has no deadline at all."""

    def __init__(
        self,
        settings: SwimSettings,
        delegate: Delegate,
        timers: Timers,
        rng: random.Random,
        emit: Callable[[Effect], None],
        incarnation: int = 0,
    ) -> None:
        self.settings = settings
        self.nodes = NodeTable(rng)
        self.awareness = Awareness(settings.awareness_max)
        self._delegate = delegate
        self._timers = timers
        self._emit = emit
        self._queue = BroadcastQueue(settings.retransmit_mult, _QUEUED_MAX)
        self._rules = Rules(settings, delegate, timers, self.nodes, self._queue, self.awareness, emit)
        self._rules.incarnation = incarnation
        self._prober = Prober(
            settings, delegate, timers, self.nodes, self.awareness, emit, self._send, self._rules.suspect
        )
        self._gossip_phase = Phase(settings.gossip_interval_s, rng.random() * settings.gossip_interval_s)
        self._probe_phase = Phase(settings.probe_interval_s, rng.random() * settings.probe_interval_s)
        self._push_pull_phase = Phase(settings.push_pull_interval_s, rng.random() * settings.push_pull_interval_s)
        self._gossip_timer = self._probe_timer = self._push_pull_timer = Timer(0.0, lambda now: None)
        for timer in (self._gossip_timer, self._probe_timer, self._push_pull_timer):
            timer.cancel()

    @property
    def leaving(self) -> bool:
        return self._rules.leaving

    @property
    def incarnation(self) -> int:
        """The number of the newest word on this node, by itself."""
        return self._rules.incarnation

    @property
    def queued(self) -> int:
        """Rumours about members that still have to be gossiped."""
        return len(self._queue)

    @property
    def me(self) -> Node:
        node = self.nodes.get(self.settings.name)
        assert node is not None, "start() was not called"
        return node

    def start(self, meta: bytes, now: float) -> None:
        """Become the pool's first known member. `meta`: see Alive."""
        self._rules.announce_self(meta, now)

    def update_meta(self, meta: bytes, now: float, on_sent: Done | None = None) -> None:
        """Gossip new Meta. on_sent: called when it was sent to the retransmit limit."""
        self._rules.announce_self(meta, now, on_sent)

    def leave(self, now: float, on_sent: Done | None = None) -> None:
        """Tell that this node goes by its own will; it goes on answering until its owner stops it."""
        if not self._rules.leaving:
            self._rules.leaving = True
            me = self.me
            self._rules.dead(Dead(me.incarnation, me.name, me.name), now, on_sent)

    def any_other_alive(self) -> bool:
        own = 0 if self.me.is_gone else 1
        return self.nodes.count(STATE_ALIVE) + self.nodes.count(STATE_SUSPECT) > own

    def receive(self, message: Message, source: Address, now: float) -> None:
        """One message of a datagram from `source`."""
        if isinstance(message, Ping):
            self._prober.on_ping(message, source)
        elif isinstance(message, Ack):
            self._prober.on_ack(message, now)
        elif isinstance(message, User):
            self._delegate.user_message(message.payload, now)
        elif isinstance(message, Alive):
            self._receive_alive(message, source, now)
        elif isinstance(message, Suspect):
            self._rules.suspect(message, now)
        elif isinstance(message, Dead):
            self._rules.dead(message, now)
        elif isinstance(message, IndirectPing):
            self._prober.on_indirect_ping(message, source, now)
        elif isinstance(message, Nack):
            self._prober.on_nack(message)
        elif isinstance(message, Err):
            self._emit(Log("memberlist", "error", f"memberlist: msg type (13) not supported from={source}"))

    def tcp_ping_done(self, seq_no: int, answered: bool) -> None:
        self._prober.tcp_ping_done(seq_no, answered)

    def push_pull(self, join: bool) -> PushPull:
        """Our whole state, for a stream."""
        return PushPull(join, tuple(node.record() for node in self.nodes), self._delegate.local_state())

    def check_merge(self, state: PushPull) -> None:
        """Raises MergeError if a peer's state must not be merged."""
        reason = incompatibility(self.nodes, state.nodes)
        if reason is None and state.join:
            reason = self._delegate.check_merge(state.nodes)
        if reason is not None:
            raise MergeError(reason)

    def merge_nodes(self, nodes: Sequence[NodeRecord], now: float) -> None:
        """Take over some or all nodes of a state that was checked."""
        self._rules.merge(nodes, now)

    def merge_user_state(self, state: PushPull, now: float) -> None:
        """The rest of it, after its nodes."""
        if state.user_state:
            self._delegate.merge_state(state.user_state, state.join, now)

    def send_user(self, to: Address, payload: bytes) -> None:
        """Send a Serf message to one node, without piggybacked gossip."""
        self._emit(SendPacket(to, (b"\x08" + payload,)))

    def arm(self, now: float) -> None:
        """Schedule the periodic work that the present state needs."""
        gossips = self._gossip_timer.active or not self._has_rumours()
        if (gossips and self._probe_timer.active and self._push_pull_timer.active) or len(self.nodes) <= 1:
            return
        reachable = self._count_others(STATE_ALIVE, STATE_SUSPECT, STATE_DEAD) > 0
        if reachable and not gossips:
            self._gossip_timer = self._timers.at(self._gossip_phase.next_after(now), self._gossip)
        if reachable and not self._probe_timer.active:
            self._probe_timer = self._timers.at(self._probe_phase.next_after(now), self._prober.tick)
        if not self._push_pull_timer.active and self._count_others(STATE_ALIVE) > 0:
            # The grid is only the start: as in memberlist, the interval grows with the pool.
            grown_s = push_pull_interval_s(self.settings.push_pull_interval_s, len(self.nodes))
            start = self._push_pull_phase.next_after(now)
            self._push_pull_timer = self._timers.at(
                start + grown_s - self.settings.push_pull_interval_s, self._start_push_pull
            )

    def _has_rumours(self) -> bool:
        return bool(len(self._queue)) or self._delegate.has_broadcasts()

    def _count_others(self, *states: int) -> int:
        count = sum(map(self.nodes.count, states))
        return count - 1 if self.me.state in states else count

    def _receive_alive(self, alive: Alive, source: Address, now: float) -> None:
        allowed = self.settings.allowed
        if allowed is not None and not allowed.allows(source.ip):
            self._emit(Log("memberlist", "debug", f"memberlist: Blocked alive message from={source}"))
            return
        if not alive.port:
            alive = Alive(alive.incarnation, alive.node, alive.addr, self.settings.bind_port, alive.meta, alive.vsn)
        self._rules.alive(alive, now)

    def _gossip(self, now: float) -> None:
        """Send pending rumours to a few random members, also to the recently dead: they may refute."""
        dead_since = now - self.settings.gossip_to_the_dead_s
        targets = self.nodes.sample(
            self.settings.gossip_nodes,
            lambda node: (
                node.name != self.settings.name
                and (
                    node.state in (STATE_ALIVE, STATE_SUSPECT)
                    or (node.state == STATE_DEAD and node.changed_at >= dead_since)
                )
            ),
        )
        for target in targets:
            parts = self._take_broadcasts(self._budget, limits.COMPOUND_PARTS_SENT)
            if not parts:
                return
            self._emit(SendPacket(target.address, tuple(parts), crc=target.protocol_max >= PMAX_CRC))

    def _start_push_pull(self, now: float) -> None:
        partners = self.nodes.sample(1, lambda node: node.state == STATE_ALIVE and node.name != self.settings.name)
        for partner in partners:
            self._emit(StartPushPull(partner.name, partner.address))

    @property
    def _budget(self) -> int:
        """Bytes for the parts of one packet."""
        sealed = ENCRYPTION_OVERHEAD if self.settings.encrypted else 0
        return limits.PACKET_BUDGET - _COMPOUND_HEADER - sealed

    def _send(self, to: Address, message: Message) -> None:
        """Send a message, with as many pending rumours as fit behind it."""
        data = encode_message(message)
        extra = self._take_broadcasts(self._budget - len(data), limits.COMPOUND_PARTS_SENT - 1)
        self._emit(SendPacket(to, (data, *extra)))

    def _take_broadcasts(self, budget: int, max_parts: int) -> list[bytes]:
        if not self._has_rumours():
            return []
        parts = self._queue.take(_COMPOUND_PART, budget, len(self.nodes), max_parts)
        left = budget - sum(len(part) + _COMPOUND_PART for part in parts)
        if left > _USER_PART:
            parts += [
                b"\x08" + message
                for message in self._delegate.take_broadcasts(_USER_PART, left, max_parts - len(parts))
            ]
        return parts
