"""The SWIM core: what each rumour does, which of them are refuted, and when a suspect dies."""

import pytest
from gossip_rigs import ME, VSN, SwimRig, ip

from services.gossip.codec.messages import (
    STATE_ALIVE,
    STATE_DEAD,
    STATE_LEFT,
    STATE_SUSPECT,
    Alive,
    Dead,
    Message,
    Suspect,
)
from services.gossip.swim.address import Address


def test_alone_there_is_nothing_to_do() -> None:
    rig = SwimRig()
    rig.swim.arm(rig.now)
    assert rig.timers.deadline == float("inf")
    assert rig.upper.events == [("join", "me")]


def test_a_new_node_joins_and_is_passed_on() -> None:
    rig = SwimRig()
    rig.alive("a")
    assert rig.upper.events[-1] == ("join", "a")
    rig.run(0.25)
    assert (Address(ip(2), 8301), [Alive(1, "a", ip(2), 8301, b"m", VSN)]) in rig.sent()


def test_incarnation_zero_never_comes_to_life() -> None:
    rig = SwimRig()
    rig.alive("a", incarnation=0)
    assert rig.state("a") == STATE_DEAD
    assert rig.upper.events == [("join", "me")]
    rig.alive("a", incarnation=1, last=3)  # nor does it hold its name, or get any gossip
    assert rig.upper.events[-1] == ("join", "a")
    assert rig.upper.conflicts == []


def test_what_is_known_of_a_node_is_a_value_that_later_news_do_not_touch() -> None:
    rig = SwimRig()
    rig.alive("a")
    before = rig.swim.nodes.get("a")
    assert before is not None
    rig.hear(Suspect(1, "a", "x"))
    assert before.state == STATE_ALIVE
    assert rig.state("a") == STATE_SUSPECT


@pytest.mark.parametrize("vsn", [b"", VSN[:5], bytes((0, 5, 2, 2, 5, 4)), bytes((3, 2, 2, 2, 5, 4))])
def test_an_alive_without_sound_versions_is_ignored(vsn: bytes) -> None:
    rig = SwimRig()
    rig.alive("a", vsn=vsn)
    assert rig.state("a") is None


def test_an_alive_that_consul_does_not_want_is_ignored() -> None:
    rig = SwimRig()
    rig.upper.refuse = "Member 'a' part of wrong datacenter 'dc9'"
    rig.alive("a")
    assert rig.state("a") is None


def test_old_news_are_ignored_and_changed_meta_is_an_update() -> None:
    rig = SwimRig()
    rig.alive("a", incarnation=3)
    rig.alive("a", incarnation=3, meta=b"other")
    rig.alive("a", incarnation=2, meta=b"other")
    assert rig.upper.events == [("join", "me"), ("join", "a")]
    rig.alive("a", incarnation=4, meta=b"other")
    assert rig.upper.events[-1] == ("update", "a")


def test_another_address_with_a_living_name_is_a_conflict() -> None:
    rig = SwimRig()
    rig.alive("a")
    rig.alive("a", incarnation=7, last=3)
    assert rig.upper.conflicts == ["a"]
    assert rig.swim.nodes.get("a").addr == ip(2)  # type: ignore[union-attr]


def test_the_name_of_a_node_that_left_is_free_at_any_incarnation() -> None:
    rig = SwimRig()
    rig.alive("a", incarnation=5)
    rig.hear(Dead(5, "a", "a"))
    assert rig.state("a") == STATE_LEFT
    rig.alive("a", incarnation=1, last=3)
    assert rig.state("a") == STATE_ALIVE
    assert rig.swim.nodes.get("a").addr == ip(3)  # type: ignore[union-attr]


def test_the_name_of_a_dead_node_is_free_after_the_reclaim_time() -> None:
    rig = SwimRig(gossip_to_the_dead_s=1000.0)
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
    rig = SwimRig()
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
    rig = SwimRig()
    rig.alive("a")
    rig.drain()
    rig.hear(rumour)
    assert rig.swim.me.incarnation == expected
    assert rig.swim.awareness.score == 1
    rig.run(0.25)
    assert next(messages for _, messages in rig.sent()) == [Alive(expected, "me", ME.ip, ME.port, b"meta", VSN)]


def test_the_same_news_about_ourselves_need_no_refutation() -> None:
    rig = SwimRig()
    rig.hear(Alive(1, "me", ME.ip, ME.port, b"meta", VSN), Suspect(0, "me", "x"))
    assert rig.swim.me.incarnation == 1


def test_a_suspect_dies_unless_it_refutes() -> None:
    rig = SwimRig()
    rig.alive("a")
    rig.hear(Suspect(1, "a", "x"))
    assert rig.state("a") == STATE_SUSPECT
    rig.run(3.9)
    assert rig.state("a") == STATE_SUSPECT
    rig.run(0.2)  # too few members to confirm: 4 s from the start
    assert rig.state("a") == STATE_DEAD
    assert rig.upper.events[-1] == ("dead", "a")


def test_a_refutation_ends_the_suspicion() -> None:
    rig = SwimRig(probe_interval_s=1.0)
    rig.alive("a")
    rig.hear(Suspect(1, "a", "x"))
    rig.alive("a", incarnation=2)
    assert rig.state("a") == STATE_ALIVE
    assert rig.suspicion("a") is None


def test_confirmations_shorten_the_suspicion() -> None:
    rig = SwimRig()
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
