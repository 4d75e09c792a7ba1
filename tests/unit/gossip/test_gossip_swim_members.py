"""The SWIM core: how member lists merge, who is shut out, who leaves, and how long the list gets."""

import pytest
from gossip_rigs import ME, VSN, SwimRig, ip

from services.gossip.codec.messages import (
    STATE_ALIVE,
    STATE_DEAD,
    STATE_LEFT,
    STATE_SUSPECT,
    Ack,
    Alive,
    Dead,
    NodeRecord,
    Ping,
)
from services.gossip.codec.stream import PushPull
from services.gossip.swim import MergeError
from services.gossip.swim.address import Address, AddressFilter
from services.gossip.swim.effects import StartPushPull


def test_dead_nodes_vanish_after_gossiping_to_them_and_left_ones_stay() -> None:
    rig = SwimRig()
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
    rig = SwimRig()
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
    rig = SwimRig()
    nodes = (record("a", STATE_ALIVE), record("b", STATE_ALIVE, last=3, vsn=vsn))
    with pytest.raises(MergeError, match="is incompatible"):
        rig.merge(PushPull(False, nodes, b""))
    assert rig.state("a") is None


def test_consul_can_refuse_a_join_but_a_periodic_sync_only_single_nodes() -> None:
    rig = SwimRig()
    rig.upper.refuse = "no"
    with pytest.raises(MergeError, match="no"):
        rig.merge(PushPull(True, (record("a", STATE_ALIVE),), b""))
    rig.merge(PushPull(False, (record("a", STATE_ALIVE),), b"s"))
    assert rig.state("a") is None
    assert rig.upper.merged == [b"s"]


def test_periodic_push_pull_with_a_living_member() -> None:
    rig = SwimRig()
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
    rig = SwimRig()
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
    rig = SwimRig(allowed=AddressFilter(["10.0.0.0/29"]))
    inside, outside = Address(ip(3), 8301), Address(b"\x0b\0\0\1", 8301)
    rig.hear(Alive(1, "a", ip(2), 8301, b"", VSN), source=outside)
    rig.hear(Alive(1, "b", b"\x0b\0\0\2", 8301, b"", VSN), source=inside)
    rig.hear(Alive(1, "c", ip(4), 8301, b"", VSN), source=inside)
    assert [rig.state(name) for name in "abc"] == [None, None, STATE_ALIVE]


def test_the_member_list_is_bounded() -> None:
    rig = SwimRig(max_nodes=5)
    for number in range(2, 20):
        rig.alive(f"n{number}", last=number)
    assert len(rig.swim.nodes) == 5


def test_those_that_left_make_room_in_a_full_list() -> None:
    rig = SwimRig(max_nodes=5)
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
    rig = SwimRig(bind_port=7777)
    rig.hear(Alive(1, "a", ip(2), 0, b"", VSN))
    assert rig.swim.nodes.get("a").port == 7777  # type: ignore[union-attr]
