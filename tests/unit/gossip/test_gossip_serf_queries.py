"""The Serf core: user events and queries, each delivered once, and what is answered."""

import json

import pytest
from gossip_rigs import ME, PEER, VECTORS, VSN, SerfRig, answers, query, serf_messages

from services.gossip.codec.messages import Alive, Dead, decode_message
from services.gossip.codec.serf_messages import (
    FLAG_ACK,
    QueryResponseMessage,
    UserEventMessage,
    decode_conflict_response,
    encode_node_filter,
    encode_tag_filter,
    encode_tags,
)
from services.gossip.serf import SerfError
from services.gossip.serf.effects import (
    UserEvent,
)
from services.gossip.swim.address import Address
from services.gossip.swim.effects import Log, Metric, SendPacket


def test_a_user_event_is_delivered_once_and_passed_on_as_it_came() -> None:
    rig = SerfRig()
    event = UserEventMessage(3, "deploy", b"x", True)
    first, second = rig.hear_serf(event), rig.hear_serf(event)
    assert [one for one in first if isinstance(one, UserEvent)] == [UserEvent(3, "deploy", b"x", True)]
    assert not [one for one in second if isinstance(one, UserEvent)]
    assert event in serf_messages(rig.run(1))
    assert rig.serf.events.clock.time == 4


def test_events_older_than_the_ring_are_dropped() -> None:
    rig = SerfRig()
    rig.hear_serf(UserEventMessage(2000, "new", None, False))
    rig.hear_serf(UserEventMessage(1400, "old", None, False))
    rig.hear_serf(UserEventMessage(1489, "in", None, False))
    assert [one.name for one in rig.effects if isinstance(one, UserEvent)] == ["new", "in"]


@pytest.mark.parametrize(("name", "payload"), [("n" * 500, b"p" * 13), ("n", b"p" * 490)])
def test_too_large_events_are_refused_and_cost_no_time(name: str, payload: bytes) -> None:
    rig = SerfRig()
    with pytest.raises(SerfError, match="exceeds configured limit of 512 bytes"):
        rig.serf.user_event(name, payload, False, rig.now)
    assert rig.serf.events.clock.time == 1


def test_a_query_is_acked_if_wanted_and_seen_once() -> None:
    rig = SerfRig()
    asked = query("anything", flags=FLAG_ACK)
    assert answers(rig.hear_serf(asked)) == [QueryResponseMessage(3, 99, "me", FLAG_ACK, None)]
    assert answers(rig.hear_serf(asked)) == []
    assert asked in serf_messages(rig.run(1))


def test_a_query_meant_for_others_is_only_passed_on() -> None:
    for filters, meant in (
        ((encode_node_filter(("b",)),), False),
        ((encode_node_filter(("b", "me")),), True),
        ((encode_tag_filter("role", "^no"),), True),
        ((encode_tag_filter("role", "^server"),), False),
        ((encode_tag_filter("missing", "^$"),), True),
        ((encode_tag_filter("role", "(((("),), False),
        ((encode_tag_filter("role", "(a*)*" * 20 + "$"), encode_node_filter(("b",))), False),
        ((b"\x07junk",), False),
        ((b"",), False),
    ):
        rig = SerfRig()
        asked = query("x", flags=FLAG_ACK, filters=filters)
        assert bool(answers(rig.hear_serf(asked))) == meant
        assert asked in serf_messages(rig.run(1))


def test_a_query_that_asks_for_silence_is_not_passed_on() -> None:
    rig = SerfRig()
    rig.hear_serf(query("x", flags=2))
    assert rig.serf.stats()["query_queue"] == "0"


def test_conflict_queries_tell_where_we_see_a_node_but_not_ourselves() -> None:
    rig = SerfRig()
    [answer] = answers(rig.hear_serf(query("_serf_conflict", b"a")))
    member = decode_conflict_response(answer.payload or b"")
    assert member is not None
    assert (member.name, member.addr, member.port, member.status) == ("a", PEER.ip, PEER.port, 1)
    [answer] = answers(rig.hear_serf(query("_serf_conflict", b"nobody", id=2)))
    assert answer.payload == b"\x06\xc0"
    assert answers(rig.hear_serf(query("_serf_conflict", b"me", id=3))) == []


def test_only_so_many_living_members_relay_an_answer() -> None:
    rig = SerfRig()
    for last in range(3, 103):
        rig.hear(Alive(1, f"n{last}", bytes((10, 0, 0, last)), 8301, encode_tags({"role": "node"}), VSN))
    rig.hear(Dead(1, "n50", "x"))
    effects = rig.hear_serf(query("anything", flags=FLAG_ACK, relay_factor=5))
    to = [effect.to for effect in effects if isinstance(effect, SendPacket)]
    assert len(to) == len(set(to)) == 6  # who asked, and five more
    assert ME not in to
    assert Address(bytes((10, 0, 0, 50)), 8301) not in to


def test_a_queue_that_does_not_empty_itself_is_reported() -> None:
    rig = SerfRig()
    rig.run(20)
    for number in range(200):
        rig.hear_serf(UserEventMessage(number + 1, f"event-{number}", b"x" * 300, False))
    effects = rig.run(10.5)
    depths = {one.name: one.value for one in effects if isinstance(one, Metric) and "serf.queue." in one.name}
    assert depths.keys() == {f"consul.serf.queue.{name}" for name in ("Intent", "Event", "Query")}
    deep = [one.text for one in effects if isinstance(one, Log) and "queue depth" in one.text]
    assert depths["consul.serf.queue.Event"] >= 128
    assert deep == [f"serf: Event queue depth: {depths['consul.serf.queue.Event']:.0f}"]


def test_a_query_without_a_usable_address_is_not_answered() -> None:
    rig = SerfRig()
    assert answers(rig.hear_serf(query("x", flags=FLAG_ACK, addr=b"\x01"))) == []
    assert answers(rig.hear_serf(query("x", flags=FLAG_ACK, port=0, id=2))) == []


def test_a_relay_hands_the_inner_message_on_unchanged() -> None:
    rig = SerfRig()
    vectors = json.loads((VECTORS / "serf_udp.json").read_text())["vectors"]
    relay = next(vector for vector in vectors if vector["shows"] == ["user:relay"])
    data = bytes.fromhex(relay["hex"])
    [sent] = [one for one in rig.hear(decode_message(data)) if isinstance(one, SendPacket)]
    assert sent.to == Address(bytes((127, 0, 0, 1)), 21501)
    assert data.endswith(sent.parts[0][1:])
