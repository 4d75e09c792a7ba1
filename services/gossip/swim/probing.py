"""Failure detection: one member after the other is pinged, directly, through others and over TCP."""

from collections.abc import Callable

from services.gossip.codec.messages import (
    STATE_ALIVE,
    Ack,
    IndirectPing,
    Message,
    Nack,
    Ping,
    Suspect,
    encode_message,
)
from services.gossip.swim.address import Address
from services.gossip.swim.awareness import Awareness
from services.gossip.swim.delegate import Delegate
from services.gossip.swim.effects import Effect, Log, Metric, SendPacket, TcpPing
from services.gossip.swim.nodes import Node, NodeTable
from services.gossip.swim.settings import SwimSettings
from services.gossip.swim.timers import Timer, Timers

_PMAX_TCP_PING = 3
_PMAX_NACK = 4
PMAX_CRC = 5


class _Probe:
    """The probe that is under way."""

    __slots__ = (
        "deadline", "direct", "expected_nacks", "nacks", "node", "ping", "sent_at", "tcp_answered",
        "timers",
    )  # fmt: skip

    def __init__(self, node: Node, ping: Ping, now: float, deadline: float) -> None:
        self.node = node
        self.ping = ping
        self.sent_at = now
        self.deadline = deadline
        self.direct = True
        self.expected_nacks = self.nacks = 0
        self.tcp_answered = False
        self.timers: list[Timer] = []


class _Relay:
    """A ping sent for somebody else."""

    __slots__ = ("requester", "seq_no", "timer")

    def __init__(self, requester: Address, seq_no: int) -> None:
        self.requester = requester
        self.seq_no = seq_no
        self.timer: Timer | None = None


class Prober:
    """Pings members in turn, answers pings, relays them. `suspect` is called for who does not answer."""

    def __init__(
        self,
        settings: SwimSettings,
        delegate: Delegate,
        timers: Timers,
        nodes: NodeTable,
        awareness: Awareness,
        emit: Callable[[Effect], None],
        send: Callable[[Address, Message], None],
        suspect: Callable[[Suspect, float], None],
    ) -> None:
        self._settings = settings
        self._delegate = delegate
        self._timers = timers
        self._nodes = nodes
        self._awareness = awareness
        self._emit = emit
        self._send = send
        self._suspect = suspect
        self._seq_no = 0
        self._index = 0
        self._probe: _Probe | None = None
        self._overdue = False
        self._relays: dict[int, _Relay] = {}

    def tick(self, now: float) -> None:
        """A probe interval has passed: probe the next member that is not known to be gone.

        While the last probe still runs (a bad health score stretches it) the next one waits for its end."""
        if self._probe is not None:
            self._overdue = True
            return
        self._overdue = False
        looked_at = 0
        while looked_at < len(self._nodes):
            if self._index >= len(self._nodes):
                self._nodes.forget_dead_and_shuffle(now - self._settings.gossip_to_the_dead_s)
                self._index = 0
                looked_at += 1
                continue
            node = self._nodes[self._index]
            self._index += 1
            looked_at += 1
            if node.name != self._settings.name and not node.is_gone:
                self._start(node, now)
                return

    def on_ping(self, ping: Ping, source: Address) -> None:
        if ping.node and ping.node != self._settings.name:
            self._log("warn", f"memberlist: Got ping for unexpected node '{ping.node}' from={source}")
            return
        self._send(_reply_address(ping, source), Ack(ping.seq_no, self._delegate.ack_payload()))

    def on_indirect_ping(self, request: IndirectPing, source: Address, now: float) -> None:
        """Ping the target for the requester; forward its ack, or tell that there was none."""
        if len(request.target) not in (4, 16) or len(self._relays) >= self._settings.max_relays:
            self._emit(Metric("incr", "consul.memberlist.relay.dropped"))
            return
        relay = _Relay(_reply_address(request, source), request.seq_no)
        own_seq_no = self._next_seq_no()
        self._relays[own_seq_no] = relay

        def expired(now: float) -> None:
            del self._relays[own_seq_no]
            if request.nack:
                self._send(relay.requester, Nack(relay.seq_no))

        relay.timer = self._timers.at(now + self._settings.probe_timeout_s, expired)
        target = Address(request.target, request.port or self._settings.bind_port)
        self._send(target, self._own_ping(own_seq_no, request.node))

    def on_ack(self, ack: Ack, now: float) -> None:
        relay = self._relays.pop(ack.seq_no, None)
        if relay is not None:
            if relay.timer is not None:
                relay.timer.cancel()
            self._send(relay.requester, Ack(relay.seq_no))
            return
        probe = self._probe
        if probe is None or ack.seq_no != probe.ping.seq_no:
            return  # late or unknown
        if probe.direct:
            self._delegate.ping_done(probe.node, now - probe.sent_at, ack.payload, now)
        self._finish(-1, now)

    def on_nack(self, nack: Nack) -> None:
        if self._probe is not None and nack.seq_no == self._probe.ping.seq_no:
            self._probe.nacks += 1

    def tcp_ping_done(self, seq_no: int, answered: bool) -> None:
        """The outcome of a TcpPing effect."""
        if self._probe is not None and seq_no == self._probe.ping.seq_no:
            self._probe.tcp_answered = answered

    def _start(self, node: Node, now: float) -> None:
        interval_s = self._awareness.stretched_s(self._settings.probe_interval_s)
        if self._awareness.score:
            self._emit(Metric("incr", "consul.memberlist.degraded.probe"))
        ping = self._own_ping(self._next_seq_no(), node.name)
        probe = self._probe = _Probe(node, ping, now, now + interval_s)
        probe.timers = [
            self._timers.at(now + self._settings.probe_timeout_s, self._on_no_direct_ack),
            self._timers.at(probe.deadline, self._on_deadline),
        ]
        if node.state == STATE_ALIVE:
            self._send(node.address, ping)
            return
        # A suspect gets the accusation along with the ping, so that it can refute at once.
        accusation = Suspect(node.incarnation, node.name, self._settings.name)
        parts = (encode_message(ping), encode_message(accusation))
        self._emit(SendPacket(node.address, parts, crc=node.protocol_max >= PMAX_CRC))

    def _on_no_direct_ack(self, now: float) -> None:
        probe = self._probe
        assert probe is not None
        probe.direct = False
        name = probe.node.name
        self._log("debug", f"memberlist: Failed ping: {name} (timeout reached)")
        helpers = self._nodes.sample(
            self._settings.indirect_checks,
            lambda node: node.state == STATE_ALIVE and node.name not in (name, self._settings.name),
        )
        ping = probe.ping
        for helper in helpers:
            nack = helper.protocol_max >= _PMAX_NACK
            probe.expected_nacks += nack
            request = IndirectPing(
                ping.seq_no,
                probe.node.addr,
                probe.node.port,
                name,
                nack,
                ping.source_addr,
                ping.source_port,
                ping.source_node,
            )
            self._send(helper.address, request)
        if probe.node.protocol_max >= _PMAX_TCP_PING and probe.deadline > now:
            self._emit(TcpPing(name, probe.node.address, ping, probe.deadline))

    def _on_deadline(self, now: float) -> None:
        probe = self._probe
        assert probe is not None
        name = probe.node.name
        if probe.tcp_answered:
            self._log(
                "warn",
                f"memberlist: Was able to connect to {name} but other probes failed, network may be misconfigured",
            )
            self._finish(-1, now)
            return
        # Helpers that nack prove that we are heard; those that stay silent may mean that we are the sick one.
        missing = max(probe.expected_nacks - probe.nacks, 0) if probe.expected_nacks else 1
        self._log("info", f"memberlist: Suspect {name} has failed, no acks received")
        accusation = Suspect(probe.node.incarnation, name, self._settings.name)
        # Order matters: finishing may start the next probe, whose ping should already carry the new rumour.
        self._suspect(accusation, now)
        self._finish(missing, now)

    def _finish(self, health_delta: int, now: float) -> None:
        assert self._probe is not None
        for timer in self._probe.timers:
            timer.cancel()
        self._emit(Metric("sample", "consul.memberlist.probeNode", (now - self._probe.sent_at) * 1000))
        self._probe = None
        self._awareness.change(health_delta)
        self._emit(Metric("gauge", "consul.memberlist.health.score", self._awareness.score))
        if self._overdue:
            self.tick(now)

    def _own_ping(self, seq_no: int, node: str) -> Ping:
        own = self._settings
        return Ping(seq_no, node, own.advertise.ip, own.advertise.port, own.name)

    def _next_seq_no(self) -> int:
        self._seq_no = (self._seq_no + 1) & 0xFFFFFFFF
        return self._seq_no

    def _log(self, level: str, text: str) -> None:
        self._emit(Log("memberlist", level, text))  # type: ignore[arg-type]


def _reply_address(request: Ping | IndirectPing, source: Address) -> Address:
    """Where the sender wants its answer; older ones do not say, then it is where the packet came from."""
    if len(request.source_addr) in (4, 16) and request.source_port:
        return Address(request.source_addr, request.source_port)
    return source
