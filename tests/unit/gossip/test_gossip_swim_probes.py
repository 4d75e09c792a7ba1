"""The SWIM core: pings, whom it asks to ping for it, and what saves a silent node."""

import pytest
from gossip_rigs import VSN, SwimRig, ip

from services.gossip.codec.messages import (
    STATE_ALIVE,
    STATE_SUSPECT,
    Ack,
    Alive,
    IndirectPing,
    Nack,
    Ping,
    Suspect,
    User,
)
from services.gossip.swim.address import Address
from services.gossip.swim.effects import SendPacket, TcpPing


def test_a_ping_is_answered_with_the_payload_and_only_for_our_name() -> None:
    rig = SwimRig()
    source = Address(ip(7), 9999)
    rig.hear(Ping(4, "me"), source=source)
    rig.hear(Ping(5, ""), source=source)
    rig.hear(Ping(6, "somebody"), source=source)
    rig.hear(Ping(7, "me", ip(8), 1234, "n8"), source=source)
    assert rig.sent() == [
        (source, [Ack(4, b"coordinate")]),
        (source, [Ack(5, b"coordinate")]),
        (Address(ip(8), 1234), [Ack(7, b"coordinate")]),
    ]


def test_pending_rumours_ride_along_with_an_ack() -> None:
    rig = SwimRig()
    rig.alive("a")
    rig.sent()
    rig.upper.queue = [b"\x01serf"]
    rig.hear(Ping(4, "me"))
    [(_, messages)] = rig.sent()
    assert messages == [
        Ack(4, b"coordinate"),
        Alive(1, "a", ip(2), 8301, b"m", VSN),
        User(b"\x01serf"),
    ]


def test_a_ping_for_somebody_else_is_relayed_and_acked() -> None:
    rig = SwimRig()
    requester = Address(ip(7), 8301)
    rig.hear(IndirectPing(31, ip(4), 8301, "d", True), source=requester)
    [(to, [ping])] = rig.sent()
    assert to == Address(ip(4), 8301)
    assert isinstance(ping, Ping)
    assert (ping.node, ping.source_node) == ("d", "me")
    rig.hear(Ack(ping.seq_no, b"x"))
    assert rig.sent() == [(requester, [Ack(31, None)])]
    rig.run(5)
    assert rig.sent() == []


def test_a_relayed_ping_without_answer_is_nacked_if_wanted() -> None:
    rig = SwimRig()
    requester = Address(ip(7), 8301)
    rig.hear(IndirectPing(31, ip(4), 8301, "d", True), IndirectPing(32, ip(4), 8301, "d", False), source=requester)
    rig.sent()
    rig.run(0.49)
    assert rig.sent() == []
    rig.run(0.02)
    assert rig.sent() == [(requester, [Nack(31)])]


def test_relays_are_bounded() -> None:
    rig = SwimRig(max_relays=3)
    for number in range(10):
        rig.hear(IndirectPing(number, ip(4), 8301, "d", True))
    assert len(rig.sent()) == 3


def probe_of(rig: SwimRig) -> tuple[Address, Ping]:
    rig.run(1.0)
    pings = [(to, message) for to, messages in rig.sent() for message in messages if isinstance(message, Ping)]
    assert len(pings) == 1
    return pings[0]


def test_a_probe_that_is_answered_teaches_the_round_trip() -> None:
    rig = SwimRig()
    rig.alive("a")
    rig.drain()
    to, ping = probe_of(rig)
    assert to == Address(ip(2), 8301)
    assert ping.node == "a"
    rig.hear(Ack(ping.seq_no, b"theirs"))
    [(name, rtt, payload)] = rig.upper.rtts
    assert (name, payload) == ("a", b"theirs")
    assert 0 <= rtt <= 1
    assert rig.state("a") == STATE_ALIVE


def test_the_probe_sequence_in_time() -> None:
    rig = SwimRig(probe_interval_s=1.0, probe_timeout_s=0.5)
    rig.alive("a", last=2)
    rig.alive("b", last=3)
    rig.drain()
    while not any(isinstance(effect, SendPacket) for effect in rig.effects):
        rig.now = rig.timers.deadline
        rig.timers.run_due(rig.now)
        rig.swim.arm(rig.now)
    started = rig.now
    [(target, [ping])] = rig.sent()
    assert isinstance(ping, Ping)
    rig.run(0.49)
    assert rig.effects == []
    rig.run(0.02)
    [tcp] = [effect for effect in rig.effects if isinstance(effect, TcpPing)]
    assert (tcp.node, tcp.to, tcp.ping) == (ping.node, target, ping)
    assert tcp.deadline == pytest.approx(started + 1.0)
    [(helper, [request])] = rig.sent()
    assert isinstance(request, IndirectPing)
    assert (request.seq_no, request.node, request.nack) == (ping.seq_no, ping.node, True)
    assert helper != target


@pytest.mark.parametrize(
    ("tcp", "udp", "state"),
    [
        (True, False, STATE_ALIVE),
        (False, True, STATE_ALIVE),
        (False, False, STATE_SUSPECT),
    ],
)
def test_what_saves_a_silent_node(tcp: bool, udp: bool, state: int) -> None:
    rig = SwimRig()
    rig.alive("a")
    rig.drain()
    _, ping = probe_of(rig)
    rig.run(0.3)
    if tcp:
        rig.run(0.25)
        rig.swim.tcp_ping_done(ping.seq_no, True)
    if udp:
        rig.hear(Ack(ping.seq_no))
    rig.run(0.5)
    assert rig.state("a") == state


def test_a_suspect_is_told_that_it_is_one_when_probed() -> None:
    rig = SwimRig()
    rig.alive("a")
    rig.hear(Suspect(1, "a", "x"))
    rig.drain()
    rig.sent()
    rig.run(1.0)
    compounds = [messages for _, messages in rig.sent() if isinstance(messages[0], Ping)]
    assert compounds[0][1:] == [Suspect(1, "a", "me")]


def test_missing_nacks_hurt_our_own_health() -> None:
    rig = SwimRig()
    rig.alive("a", last=2)
    rig.alive("b", last=3)
    rig.drain()
    rig.run(3.5)
    assert rig.swim.awareness.score >= 1
