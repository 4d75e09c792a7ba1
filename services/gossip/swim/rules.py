"""What a rumour does to the member list: the alive, suspect and dead rules, refutation, suspicion timeouts."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from services.gossip.codec import limits
from services.gossip.codec.messages import (
    STATE_ALIVE,
    STATE_DEAD,
    STATE_LEFT,
    STATE_SUSPECT,
    Alive,
    Dead,
    Message,
    NodeRecord,
    Suspect,
    encode_message,
)
from services.gossip.swim.address import Address, format_ip
from services.gossip.swim.awareness import Awareness
from services.gossip.swim.broadcasts import BroadcastQueue, Done
from services.gossip.swim.delegate import Delegate
from services.gossip.swim.effects import Effect, Log, Metric
from services.gossip.swim.formulas import suspicion_timeout_s
from services.gossip.swim.nodes import STATE_NAMES, Node, NodeTable
from services.gossip.swim.settings import SwimSettings
from services.gossip.swim.suspicion import Suspicion
from services.gossip.swim.timers import Timers

Emit = Callable[[Effect], None]
_INCARNATION_MAX = 0xFFFFFFFF


class Rules:
    """Applies rumours to `nodes`, queues what has to be passed on, tells the delegate who came and went."""

    def __init__(
        self,
        settings: SwimSettings,
        delegate: Delegate,
        timers: Timers,
        nodes: NodeTable,
        queue: BroadcastQueue,
        awareness: Awareness,
        emit: Emit,
    ) -> None:
        self._settings = settings
        self._delegate = delegate
        self._timers = timers
        self._nodes = nodes
        self._queue = queue
        self._awareness = awareness
        self._emit = emit
        self._suspicions: dict[str, Suspicion] = {}
        self.incarnation = 0
        self.leaving = False

    def announce_self(self, meta: bytes, now: float, on_done: Done | None = None) -> None:
        """Become alive, or alive with new Meta: the next incarnation is gossiped."""
        self.incarnation = min(self.incarnation + 1, _INCARNATION_MAX)
        own = self._settings
        alive = Alive(self.incarnation, own.name, own.advertise.ip, own.advertise.port, meta, own.vsn)
        self._accept(self._nodes.get(own.name), alive, now, on_done)

    def alive(self, alive: Alive, now: float) -> None:
        """A rumour (or a peer's state) says that a node lives."""
        is_self = alive.node == self._settings.name
        if is_self and self.leaving:
            return
        known = self._nodes.get(alive.node)
        if known is not None and not is_self and _says_nothing_new(alive, known):
            return
        refusal = self._alive_refusal(alive)
        if refusal is not None:
            self._metric("consul.memberlist.alive.refused")
            self._log("warn", refusal)
            return
        readdressed = False
        if known is None:
            if not alive.incarnation:
                # Nobody sends this. memberlist notes the name as that of a dead node.
                self._nodes.put(_unknown(alive))
                return
        elif (known.addr, known.port) != (alive.addr, alive.port):
            if not self._may_take_over(known, alive, now):
                return
            readdressed = True
        if is_self and known is not None:
            self._alive_self(known, alive)
        elif known is None or alive.incarnation > known.incarnation or readdressed:
            self._accept(known, alive, now, None)

    def suspect(self, suspect: Suspect, now: float) -> None:
        """Somebody got no answer from a node."""
        known = self._nodes.get(suspect.node)
        if known is None or suspect.incarnation < known.incarnation:
            return
        suspicion = self._suspicions.get(suspect.node)
        if suspicion is not None:
            if suspicion.confirm(suspect.source):
                self._start_suspicion_timer(suspect.node, suspicion)
                self._broadcast(suspect.node, suspect)
            return
        if known.state != STATE_ALIVE:
            return
        if known.name == self._settings.name:
            self._refute(known, suspect.incarnation)
            self._log("warn", f"memberlist: Refuting a suspect message (from: {suspect.source})")
            return
        self._broadcast(suspect.node, suspect)
        self._metric("consul.memberlist.msg.suspect")
        self._nodes.put(replace(known, incarnation=suspect.incarnation, state=STATE_SUSPECT, changed_at=now))
        suspicion = self._suspicions[suspect.node] = self._new_suspicion(suspect.source, now)
        self._start_suspicion_timer(suspect.node, suspicion)

    def dead(self, dead: Dead, now: float, on_done: Done | None = None) -> None:
        """A node is declared dead, or says itself that it leaves."""
        known = self._nodes.get(dead.node)
        if known is None or dead.incarnation < known.incarnation:
            return
        self._clear_suspicion(dead.node)
        if known.is_gone:
            return
        if known.name == self._settings.name and not self.leaving:
            self._refute(known, dead.incarnation)
            self._log("warn", f"memberlist: Refuting a dead message (from: {dead.source})")
            return
        self._broadcast(dead.node, dead, on_done)
        self._metric("consul.memberlist.msg.dead")
        state = STATE_LEFT if dead.source == dead.node else STATE_DEAD
        gone = replace(known, incarnation=dead.incarnation, state=state, changed_at=now)
        self._nodes.put(gone)
        self._delegate.node_left(gone, now)

    def merge(self, records: Sequence[NodeRecord], now: float) -> None:
        """Take over a peer's view. A node it calls dead is only suspected here: it may still refute."""
        me, bind_port = self._settings.name, self._settings.bind_port
        for record in records:
            if record.state == STATE_ALIVE:
                known = self._nodes.get(record.name)
                if known is not None and record.name != me and _says_nothing_new(record, known):
                    continue
                port = record.port or bind_port
                alive = Alive(record.incarnation, record.name, record.addr, port, record.meta, record.vsn)
                self.alive(alive, now)
            elif record.state == STATE_LEFT:
                self.dead(Dead(record.incarnation, record.name, record.name), now)
            elif record.state in (STATE_DEAD, STATE_SUSPECT):
                self.suspect(Suspect(record.incarnation, record.name, me), now)

    def _alive_refusal(self, alive: Alive) -> str | None:
        where = f"'{alive.node}' ({format_ip(alive.addr)}:{alive.port})"
        if len(alive.vsn) >= 3:
            low, high, current = alive.vsn[:3]
            if low == 0 or high == 0 or low > high:
                return (
                    f"memberlist: Ignoring an alive message for {where} because protocol version(s) are wrong: "
                    f"{low} <= {current} <= {high} should be >0"
                )
        if len(alive.vsn) < 6:
            return f"memberlist: ignoring alive message for {where} because Vsn is not present"
        if not alive.node or len(alive.addr) not in (4, 16):
            return f"memberlist: ignoring alive message for {where}: it has no name or no usable address"
        if len(alive.meta) > limits.META or len(alive.node.encode("utf-8", "surrogateescape")) > limits.NAME:
            return f"memberlist: ignoring alive message for {where}: its name or Meta is too long"
        if self._nodes.get(alive.node) is None and not self._has_room():
            return f"memberlist: ignoring alive message for {where}: the list is full"
        reason = self._delegate.check_alive(alive)
        if reason is not None:
            return f"memberlist: ignoring alive message for '{alive.node}': {reason}"
        allowed = self._settings.allowed
        if allowed is not None and not allowed.allows(alive.addr):
            known = self._nodes.get(alive.node)
            if known is None or known.addr != alive.addr:
                return f"memberlist: Rejected node {alive.node} ({format_ip(alive.addr)}): address is not allowed"
        return None

    def _has_room(self) -> bool:
        limit = self._settings.max_nodes
        if len(self._nodes) >= limit and self._nodes.count(STATE_LEFT):
            self._nodes.forget_half_of_the_left()
        return len(self._nodes) < limit

    def _may_take_over(self, known: Node, alive: Alive, now: float) -> bool:
        """Another address uses a known name: fine if that node is gone for good, else a conflict."""
        reclaim_s = self._settings.dead_node_reclaim_s
        expired = reclaim_s > 0 and now - known.changed_at > reclaim_s
        theirs = Address(alive.addr, alive.port)
        if known.state == STATE_LEFT or (known.state == STATE_DEAD and expired):
            self._log(
                "info",
                f"memberlist: Updating address for left or failed node {known.name} from {known.address} to {theirs}",
            )
            return True
        self._log(
            "error",
            f"memberlist: Conflicting address for {known.name}. Mine: {known.address} Theirs: {theirs} "
            f"Old state: {STATE_NAMES[known.state]}",
        )
        self._metric("consul.memberlist.conflict")
        self._delegate.name_conflict(known, alive)
        return False

    def _alive_self(self, me: Node, alive: Alive) -> None:
        """Somebody tells us about ourselves: refute whatever is newer or different from what we are."""
        if alive.incarnation < me.incarnation:
            return
        if alive.incarnation == me.incarnation and (alive.meta, alive.vsn) == (me.meta, me.vsn):
            return
        self._refute(me, alive.incarnation)
        self._log(
            "warn",
            f"memberlist: Refuting an alive message for '{alive.node}' ({format_ip(alive.addr)}:{alive.port}) "
            f"meta:({list(alive.meta)} VS {list(me.meta)}), vsn:({list(alive.vsn)} VS {list(me.vsn)})",
        )

    def _accept(self, known: Node | None, alive: Alive, now: float, on_done: Done | None) -> None:
        self._clear_suspicion(alive.node)
        self._broadcast(alive.node, alive, on_done)
        was_alive = known is not None and known.state == STATE_ALIVE
        node = replace(
            _unknown(alive),
            incarnation=alive.incarnation,
            state=STATE_ALIVE,
            changed_at=known.changed_at if known is not None and was_alive else now,
        )
        self._nodes.put(node)
        self._metric("consul.memberlist.msg.alive")
        if known is None or known.is_gone:
            self._delegate.node_joined(node, now)
        elif node.meta != known.meta:
            self._delegate.node_updated(node, now)

    def _refute(self, me: Node, accused_incarnation: int) -> None:
        # At the end of the range an accusation cannot be outbid; memberlist wraps to 0 there, which no peer ever
        # believes again, while the highest number is believed as soon as the peers have forgotten us.
        self.incarnation = min(max(self.incarnation, accused_incarnation) + 1, _INCARNATION_MAX)
        me = replace(me, incarnation=self.incarnation)
        self._nodes.put(me)
        self._awareness.change(1)
        # memberlist queues this under the node's address and not its name, so that it does not replace a pending
        # rumour about us, which peers may need to see refuted.
        alive = Alive(me.incarnation, me.name, me.addr, me.port, me.meta, me.vsn)
        self._broadcast(format_ip(me.addr), alive)

    def _new_suspicion(self, accuser: str, now: float) -> Suspicion:
        own = self._settings
        count = len(self._nodes)
        wanted = own.suspicion_mult - 2
        if count - 2 < wanted:  # without us and the suspect there are too few to confirm
            wanted = 0
        min_s = suspicion_timeout_s(own.suspicion_mult, count, own.probe_interval_s)
        return Suspicion(accuser, wanted, min_s, own.suspicion_max_mult * min_s, now)

    def _start_suspicion_timer(self, name: str, suspicion: Suspicion) -> None:
        if suspicion.timer is not None:
            suspicion.timer.cancel()

        def expired(now: float) -> None:
            self._metric("consul.memberlist.degraded.timeout", suspicion.is_short_of_confirmations)
            self._log(
                "info",
                f"memberlist: Marking {name} as failed, suspect timeout reached "
                f"({suspicion.confirmations} peer confirmations)",
            )
            suspect = self._nodes.get(name)
            if suspect is not None:
                self.dead(Dead(suspect.incarnation, name, self._settings.name), now)

        suspicion.timer = self._timers.at(suspicion.deadline, expired)

    def _clear_suspicion(self, name: str) -> None:
        suspicion = self._suspicions.pop(name, None)
        if suspicion is not None and suspicion.timer is not None:
            suspicion.timer.cancel()

    def _broadcast(self, name: str, message: Message, on_done: Done | None = None) -> None:
        self._queue.add(encode_message(message), name=name, on_done=on_done)

    def _metric(self, name: str, wanted: bool = True) -> None:
        if wanted:
            self._emit(Metric("incr", name))

    def _log(self, level: str, text: str) -> None:
        self._emit(Log("memberlist", level, text))  # type: ignore[arg-type]


def _says_nothing_new(alive: Alive | NodeRecord, known: Node) -> bool:
    """Most of what gossip brings was seen before; it is dropped before anything is looked at in detail."""
    return alive.incarnation <= known.incarnation and known.port == alive.port and known.addr == alive.addr


def _unknown(alive: Alive) -> Node:
    """The node of a rumour, before anything of it is believed."""
    return Node(alive.node, alive.addr, alive.port, alive.meta, alive.vsn[:6])
