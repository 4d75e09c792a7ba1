"""The SWIM core: what each rumour does, what is sent, and when."""

import random
from collections.abc import Sequence

import pytest

from services.gossip.codec.messages import (
    STATE_ALIVE,
    STATE_DEAD,
    STATE_LEFT,
    STATE_SUSPECT,
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Message,
    Nack,
    NodeRecord,
    Ping,
    Suspect,
    User,
    decode_message,
)
from services.gossip.codec.stream import PushPull
from services.gossip.swim import MergeError, Swim, SwimSettings, Timers
from services.gossip.swim.address import Address, AddressFilter, format_ip
from services.gossip.swim.broadcasts import BroadcastQueue
from services.gossip.swim.effects import Effect, SendPacket, StartPushPull, TcpPing
from services.gossip.swim.nodes import Node
from services.gossip.swim.suspicion import Suspicion
from services.gossip.swim.timers import Phase

VSN = bytes((1, 5, 2, 2, 5, 4))
ME = Address(b"\x0a\x00\x00\x01", 8301)


def ip(last: int) -> bytes:
    return bytes((10, 0, 0, last))


PEER = Address(ip(9), 8301)


class Upper:
    """The layer above: notes what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.conflicts: list[str] = []
        self.refuse: str | None = None
        self.rtts: list[tuple[str, float, bytes | None]] = []
        self.queue: list[bytes] = []
        self.merged: list[bytes] = []

    def node_joined(self, node: Node, now: float) -> None:
        self.events.append(("join", node.name))

    def node_updated(self, node: Node, now: float) -> None:
        self.events.append(("update", node.name))

    def node_left(self, node: Node, now: float) -> None:
        self.events.append(("left" if node.state == STATE_LEFT else "dead", node.name))

    def name_conflict(self, node: Node, other: Alive) -> None:
        self.conflicts.append(node.name)

    def check_alive(self, alive: Alive) -> str | None:
        return self.refuse

    def check_merge(self, nodes: Sequence[NodeRecord]) -> str | None:
        return self.refuse

    def user_message(self, payload: bytes, now: float) -> None:
        self.events.append(("user", payload.decode()))

    def ack_payload(self) -> bytes | None:
        return b"coordinate"

    def ping_done(self, node: Node, rtt_s: float, payload: bytes | None, now: float) -> None:
        self.rtts.append((node.name, rtt_s, payload))

    def has_broadcasts(self) -> bool:
        return bool(self.queue)

    def take_broadcasts(self, overhead: int, budget: int, max_parts: int) -> list[bytes]:
        taken, self.queue = self.queue[:max_parts], self.queue[max_parts:]
        return taken

    def local_state(self) -> bytes:
        return b"state"

    def merge_state(self, state: bytes, join: bool, now: float) -> None:
        self.merged.append(state)


class Rig:
    """A Swim with a virtual clock."""

    def __init__(self, **changes: object) -> None:
        self.upper = Upper()
        self.timers = Timers()
        self.effects: list[Effect] = []
        settings = SwimSettings("me", ME, **changes)  # type: ignore[arg-type]
        self.swim = Swim(settings, self.upper, self.timers, random.Random(5), self.effects.append)
        self.now = 100.0
        self.swim.start(b"meta", self.now)
        self.drain()

    def drain(self) -> None:
        """Use up the pending broadcasts, so that packets show only what a test is about."""
        while self.swim.queued:
            self.swim._take_broadcasts(1400, 100)

    def hear(self, *messages: Message, source: Address = PEER) -> None:
        for message in messages:
            self.swim.receive(message, source, self.now)
        self.swim.arm(self.now)

    def alive(self, name: str, incarnation: int = 1, last: int = 2, meta: bytes = b"m", vsn: bytes = VSN) -> None:
        self.hear(Alive(incarnation, name, ip(last), 8301, meta, vsn))

    def merge(self, state: PushPull) -> None:
        self.swim.check_merge(state)
        self.swim.merge_nodes(state.nodes, self.now)
        self.swim.merge_user_state(state, self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers.deadline <= end:
            self.now = max(self.now, self.timers.deadline)
            self.timers.run_due(self.now)
            self.swim.arm(self.now)
        self.now = end

    def sent(self) -> list[tuple[Address, list[Message]]]:
        packets = [effect for effect in self.effects if isinstance(effect, SendPacket)]
        self.effects.clear()
        return [(packet.to, [decode_message(part) for part in packet.parts]) for packet in packets]

    def state(self, name: str) -> int | None:
        node = self.swim.nodes.get(name)
        return None if node is None else node.state

    def suspicion(self, name: str) -> Suspicion | None:
        return self.swim._rules._suspicions.get(name)


def test_alone_there_is_nothing_to_do() -> None:
    rig = Rig()
    rig.swim.arm(rig.now)
    assert rig.timers.deadline == float("inf")
    assert rig.upper.events == [("join", "me")]


def test_a_new_node_joins_and_is_passed_on() -> None:
    rig = Rig()
    rig.alive("a")
    assert rig.upper.events[-1] == ("join", "a")
    rig.run(0.25)
    assert (Address(ip(2), 8301), [Alive(1, "a", ip(2), 8301, b"m", VSN)]) in rig.sent()


def test_incarnation_zero_never_comes_to_life() -> None:
    rig = Rig()
    rig.alive("a", incarnation=0)
    assert rig.state("a") == STATE_DEAD
    assert rig.upper.events == [("join", "me")]
    rig.alive("a", incarnation=1, last=3)  # nor does it hold its name, or get any gossip
    assert rig.upper.events[-1] == ("join", "a")
    assert rig.upper.conflicts == []


def test_what_is_known_of_a_node_is_a_value_that_later_news_do_not_touch() -> None:
    rig = Rig()
    rig.alive("a")
    before = rig.swim.nodes.get("a")
    assert before is not None
    rig.hear(Suspect(1, "a", "x"))
    assert before.state == STATE_ALIVE
    assert rig.state("a") == STATE_SUSPECT


@pytest.mark.parametrize("vsn", [b"", VSN[:5], bytes((0, 5, 2, 2, 5, 4)), bytes((3, 2, 2, 2, 5, 4))])
def test_an_alive_without_sound_versions_is_ignored(vsn: bytes) -> None:
    rig = Rig()
    rig.alive("a", vsn=vsn)
    assert rig.state("a") is None


def test_an_alive_that_consul_does_not_want_is_ignored() -> None:
    rig = Rig()
    rig.upper.refuse = "Member 'a' part of wrong datacenter 'dc9'"
    rig.alive("a")
    assert rig.state("a") is None


def test_old_news_are_ignored_and_changed_meta_is_an_update() -> None:
    rig = Rig()
    rig.alive("a", incarnation=3)
    rig.alive("a", incarnation=3, meta=b"other")
    rig.alive("a", incarnation=2, meta=b"other")
    assert rig.upper.events == [("join", "me"), ("join", "a")]
    rig.alive("a", incarnation=4, meta=b"other")
    assert rig.upper.events[-1] == ("update", "a")


def test_another_address_with_a_living_name_is_a_conflict() -> None:
    rig = Rig()
    rig.alive("a")
    rig.alive("a", incarnation=7, last=3)
    assert rig.upper.conflicts == ["a"]
    assert rig.swim.nodes.get("a").addr == ip(2)  # type: ignore[union-attr]


def test_the_name_of_a_node_that_left_is_free_at_any_incarnation() -> None:
    rig = Rig()
    rig.alive("a", incarnation=5)
    rig.hear(Dead(5, "a", "a"))
    assert rig.state("a") == STATE_LEFT
    rig.alive("a", incarnation=1, last=3)
    assert rig.state("a") == STATE_ALIVE
    assert rig.swim.nodes.get("a").addr == ip(3)  # type: ignore[union-attr]


def test_the_name_of_a_dead_node_is_free_after_the_reclaim_time() -> None:
    rig = Rig(gossip_to_the_dead_s=1000.0)
    rig.alive("a", incarnation=5)
    rig.hear(Dead(5, "a", "b"))
    assert rig.state("a") == STATE_DEAD
    rig.run(29)
    rig.alive("a", incarnation=9, last=3)
    assert rig.state("a") == STATE_DEAD
    rig.run(2)
    rig.alive("a", incarnation=1, last=3)
    assert rig.state("a") == STATE_ALIVE


def test_a_left_node_needs_a_higher_incarnation_at_its_old_address() -> None:
    rig = Rig()
    rig.alive("a")
    rig.hear(Dead(1, "a", "a"))
    rig.alive("a", incarnation=1)
    assert rig.state("a") == STATE_LEFT
    rig.alive("a", incarnation=2)
    assert rig.state("a") == STATE_ALIVE


@pytest.mark.parametrize(
    ("rumour", "expected"),
    [
        (Suspect(50, "me", "x"), 51),
        (Dead(60, "me", "x"), 61),
        (Dead(70, "me", "me"), 71),
        (Alive(80, "me", ME.ip, ME.port, b"meta", VSN), 81),
        (Alive(1, "me", ME.ip, ME.port, b"other", VSN), 2),
        (Suspect(1, "me", "x"), 2),
    ],
)
def test_rumours_about_ourselves_are_refuted(rumour: Message, expected: int) -> None:
    rig = Rig()
    rig.alive("a")
    rig.drain()
    rig.hear(rumour)
    assert rig.swim.me.incarnation == expected
    assert rig.swim.awareness.score == 1
    rig.run(0.25)
    assert next(messages for _, messages in rig.sent()) == [Alive(expected, "me", ME.ip, ME.port, b"meta", VSN)]


def test_the_same_news_about_ourselves_need_no_refutation() -> None:
    rig = Rig()
    rig.hear(Alive(1, "me", ME.ip, ME.port, b"meta", VSN), Suspect(0, "me", "x"))
    assert rig.swim.me.incarnation == 1


def test_a_suspect_dies_unless_it_refutes() -> None:
    rig = Rig()
    rig.alive("a")
    rig.hear(Suspect(1, "a", "x"))
    assert rig.state("a") == STATE_SUSPECT
    rig.run(3.9)
    assert rig.state("a") == STATE_SUSPECT
    rig.run(0.2)  # too few members to confirm: 4 s from the start
    assert rig.state("a") == STATE_DEAD
    assert rig.upper.events[-1] == ("dead", "a")


def test_a_refutation_ends_the_suspicion() -> None:
    rig = Rig(probe_interval_s=1.0)
    rig.alive("a")
    rig.hear(Suspect(1, "a", "x"))
    rig.alive("a", incarnation=2)
    assert rig.state("a") == STATE_ALIVE
    assert rig.suspicion("a") is None


def test_confirmations_shorten_the_suspicion() -> None:
    rig = Rig()
    for number in range(2, 7):
        rig.alive(f"n{number}", last=number)
    rig.drain()
    rig.hear(Suspect(1, "n2", "n3"))
    suspicion = rig.suspicion("n2")
    assert suspicion is not None
    assert suspicion.deadline == pytest.approx(rig.now + 24)
    rig.drain()
    rig.hear(Suspect(1, "n2", "n3"))  # the first accuser does not count twice
    assert rig.swim.queued == 0
    rig.hear(Suspect(1, "n2", "n4"))
    assert suspicion.deadline == pytest.approx(rig.now + 11.381)
    assert rig.swim.queued == 1  # a new confirmation is news
    rig.hear(Suspect(1, "n2", "n5"), Suspect(1, "n2", "n6"))
    assert suspicion.deadline == pytest.approx(rig.now + 4)


def test_a_ping_is_answered_with_the_payload_and_only_for_our_name() -> None:
    rig = Rig()
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
    rig = Rig()
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
    rig = Rig()
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
    rig = Rig()
    requester = Address(ip(7), 8301)
    rig.hear(IndirectPing(31, ip(4), 8301, "d", True), IndirectPing(32, ip(4), 8301, "d", False), source=requester)
    rig.sent()
    rig.run(0.49)
    assert rig.sent() == []
    rig.run(0.02)
    assert rig.sent() == [(requester, [Nack(31)])]


def test_relays_are_bounded() -> None:
    rig = Rig(max_relays=3)
    for number in range(10):
        rig.hear(IndirectPing(number, ip(4), 8301, "d", True))
    assert len(rig.sent()) == 3


def probe_of(rig: Rig) -> tuple[Address, Ping]:
    rig.run(1.0)
    pings = [(to, message) for to, messages in rig.sent() for message in messages if isinstance(message, Ping)]
    assert len(pings) == 1
    return pings[0]


def test_a_probe_that_is_answered_teaches_the_round_trip() -> None:
    rig = Rig()
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
    rig = Rig(probe_interval_s=1.0, probe_timeout_s=0.5)
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
    rig = Rig()
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
    rig = Rig()
    rig.alive("a")
    rig.hear(Suspect(1, "a", "x"))
    rig.drain()
    rig.sent()
    rig.run(1.0)
    compounds = [messages for _, messages in rig.sent() if isinstance(messages[0], Ping)]
    assert compounds[0][1:] == [Suspect(1, "a", "me")]


def test_missing_nacks_hurt_our_own_health() -> None:
    rig = Rig()
    rig.alive("a", last=2)
    rig.alive("b", last=3)
    rig.drain()
    rig.run(3.5)
    assert rig.swim.awareness.score >= 1


def test_dead_nodes_vanish_after_gossiping_to_them_and_left_ones_stay() -> None:
    rig = Rig()
    rig.alive("dead", last=2)
    rig.alive("left", last=3)
    rig.hear(Dead(1, "dead", "x"), Dead(1, "left", "left"))
    rig.run(29)
    assert rig.state("dead") == STATE_DEAD
    rig.run(6)
    assert rig.state("dead") is None
    assert rig.state("left") == STATE_LEFT
    assert rig.timers.deadline == float("inf")  # nobody left to talk to


def record(name: str, state: int, incarnation: int = 1, last: int = 2, vsn: bytes = VSN) -> NodeRecord:
    return NodeRecord(name, ip(last), 8301, b"m", incarnation, state, vsn)


def test_a_merge_takes_over_the_living_and_suspects_the_dead() -> None:
    rig = Rig()
    rig.alive("a", last=2)
    rig.alive("b", last=3)
    rig.alive("c", last=4)
    nodes = (
        record("a", STATE_DEAD),
        record("b", STATE_LEFT, last=3),
        record("c", STATE_SUSPECT, last=4),
        record("d", STATE_ALIVE, last=5),
        record("e", STATE_DEAD, last=6),
        record("f", STATE_LEFT, last=7),
    )
    rig.merge(PushPull(False, nodes, b"serf"))
    assert [rig.state(name) for name in "abcdef"] == [
        STATE_SUSPECT,
        STATE_LEFT,
        STATE_SUSPECT,
        STATE_ALIVE,
        None,
        None,
    ]
    assert rig.upper.merged == [b"serf"]


@pytest.mark.parametrize(
    "vsn", [b"", VSN[:5], bytes((1, 5, 2, 2, 5, 6)), bytes((1, 5, 2, 5, 5, 5)), bytes((3, 5, 3, 2, 5, 4))]
)
def test_incompatible_versions_merge_nothing(vsn: bytes) -> None:
    rig = Rig()
    nodes = (record("a", STATE_ALIVE), record("b", STATE_ALIVE, last=3, vsn=vsn))
    with pytest.raises(MergeError, match="is incompatible"):
        rig.merge(PushPull(False, nodes, b""))
    assert rig.state("a") is None


def test_consul_can_refuse_a_join_but_a_periodic_sync_only_single_nodes() -> None:
    rig = Rig()
    rig.upper.refuse = "no"
    with pytest.raises(MergeError, match="no"):
        rig.merge(PushPull(True, (record("a", STATE_ALIVE),), b""))
    rig.merge(PushPull(False, (record("a", STATE_ALIVE),), b"s"))
    assert rig.state("a") is None
    assert rig.upper.merged == [b"s"]


def test_periodic_push_pull_with_a_living_member() -> None:
    rig = Rig()
    rig.alive("a")
    partners: list[str] = []
    while not partners:
        rig.run(0.1)
        partners = [effect.node for effect in rig.effects if isinstance(effect, StartPushPull)]
        pings = [message for _, messages in rig.sent() for message in messages if isinstance(message, Ping)]
        rig.hear(*(Ack(ping.seq_no) for ping in pings))
        assert rig.now <= 100 + 31  # anywhere within the first interval
    assert partners == ["a"]


def test_leaving_is_told_and_then_rumours_about_us_no_longer_count() -> None:
    rig = Rig()
    rig.alive("a")
    rig.drain()
    sent = []
    rig.swim.leave(rig.now, lambda: sent.append(True))
    assert rig.upper.events[-1] == ("left", "me")
    rig.swim.arm(rig.now)
    rig.run(2)
    told = [message for _, messages in rig.sent() for message in messages if isinstance(message, Dead)]
    assert told == [Dead(1, "me", "me")] * 4
    assert sent == [True]
    rig.hear(Alive(9, "me", ME.ip, ME.port, b"meta", VSN))
    assert rig.swim.me.state == STATE_LEFT
    rig.hear(Ping(4, "me"))
    assert any(isinstance(message, Ack) for _, messages in rig.sent() for message in messages)


def test_networks_outside_the_allowed_ones_are_shut_out() -> None:
    rig = Rig(allowed=AddressFilter(["10.0.0.0/29"]))
    inside, outside = Address(ip(3), 8301), Address(b"\x0b\0\0\1", 8301)
    rig.hear(Alive(1, "a", ip(2), 8301, b"", VSN), source=outside)
    rig.hear(Alive(1, "b", b"\x0b\0\0\2", 8301, b"", VSN), source=inside)
    rig.hear(Alive(1, "c", ip(4), 8301, b"", VSN), source=inside)
    assert [rig.state(name) for name in "abc"] == [None, None, STATE_ALIVE]


def test_the_member_list_is_bounded() -> None:
    rig = Rig(max_nodes=5)
    for number in range(2, 20):
        rig.alive(f"n{number}", last=number)
    assert len(rig.swim.nodes) == 5


def test_those_that_left_make_room_in_a_full_list() -> None:
    rig = Rig(max_nodes=5)
    for number in range(2, 30):
        rig.now += 1
        rig.alive(f"n{number}", last=number)
        rig.hear(Dead(1, f"n{number}", f"n{number}"))
        assert len(rig.swim.nodes) <= 5
        assert len(list(rig.swim.nodes)) == sum(map(rig.swim.nodes.count, range(4)))
    assert [rig.state(f"n{number}") for number in (2, 29)] == [None, STATE_LEFT]
    for number in range(30, 40):
        rig.alive(f"n{number}", last=number)
    rig.run(10)
    assert {node.name for node in rig.swim.nodes} == {"me", "n30", "n31", "n32", "n33"}


def test_port_zero_means_our_own_port() -> None:
    rig = Rig(bind_port=7777)
    rig.hear(Alive(1, "a", ip(2), 0, b"", VSN))
    assert rig.swim.nodes.get("a").port == 7777  # type: ignore[union-attr]


def test_the_queue_sends_fresh_then_large_then_new() -> None:
    queue = BroadcastQueue(4, 100)
    queue.add(b"old-small")
    queue.add(b"new-small")
    queue.add(b"large--------------")
    assert queue.take(2, 60, 1, 10) == [b"large--------------", b"new-small", b"old-small"]
    queue.add(b"fresh")
    assert queue.take(2, 7, 1, 10) == [b"fresh"]
    assert queue.take(2, 6, 1, 10) == []
    assert queue.take(2, 1000, 1, 2) == [b"large--------------", b"new-small"]


def test_the_queue_sends_each_rumour_to_the_limit_and_says_when_it_is_done() -> None:
    queue = BroadcastQueue(4, 100)
    done: list[str] = []
    queue.add(b"a", name="n", on_done=lambda: done.append("replaced"))
    queue.add(b"b", name="n", on_done=lambda: done.append("sent"))
    assert done == ["replaced"]
    assert [queue.take(2, 100, 9, 10) for _ in range(5)] == [[b"b"]] * 4 + [[]]
    assert done == ["replaced", "sent"]
    assert len(queue) == 0


def test_the_queue_is_bounded() -> None:
    queue = BroadcastQueue(4, 3)
    dropped = sum(queue.add(b"x" * size) for size in range(1, 8))
    assert dropped == 4
    assert len(queue) == 3


def test_timers_keep_their_order_and_can_be_cancelled() -> None:
    timers = Timers()
    seen: list[str] = []
    timers.at(2.0, lambda now: seen.append("b"))
    timers.at(1.0, lambda now: seen.append("a"))
    timers.at(2.0, lambda now: seen.append("c"))
    timers.at(1.5, lambda now: seen.append("never")).cancel()
    assert timers.deadline == 1.0
    timers.run_due(2.0)
    assert seen == ["a", "b", "c"]
    assert timers.deadline == float("inf")


def test_a_phase_never_stands_still() -> None:
    rng = random.Random(3)
    for _ in range(2000):
        phase = Phase(rng.choice([0.1, 0.2, 1.0, 30.0]), 0.0)
        phase = Phase(phase.interval_s, rng.random() * phase.interval_s)
        at = rng.random() * 1e6
        first = phase.next_after(at)
        second = phase.next_after(first)
        assert first > at
        assert second - first == pytest.approx(phase.interval_s, rel=1e-3)


def test_addresses_are_shown_as_go_does() -> None:
    assert str(Address(bytes((127, 0, 0, 1)), 8301)) == "127.0.0.1:8301"
    assert str(Address(bytes(15) + b"\1", 8301)) == "[::1]:8301"
    assert format_ip(bytes(10) + b"\xff\xff\x7f\0\0\1") == "127.0.0.1"
    assert format_ip(b"") == "<nil>"
