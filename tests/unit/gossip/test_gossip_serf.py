"""The Serf core: intents, events, queries, keys, snapshots; Consul's tags and merge rules."""

import json
import random
from pathlib import Path

import pytest

from services.gossip.codec.keyring import Keyring, KeyringError
from services.gossip.codec.messages import Alive, Dead, NodeRecord, User, decode_message
from services.gossip.codec.serf_messages import (
    FLAG_ACK,
    JoinIntent,
    LeaveIntent,
    PastEvent,
    PastEvents,
    QueryMessage,
    QueryResponseMessage,
    SerfState,
    UserEventMessage,
    decode_conflict_response,
    decode_key_response,
    decode_serf,
    decode_state,
    encode_key_request,
    encode_node_filter,
    encode_serf,
    encode_state,
    encode_tag_filter,
    encode_tags,
)
from services.gossip.codec.stream import PushPull
from services.gossip.consul.merge_rules import LanRules, is_server, wan_rules
from services.gossip.consul.tags import pool_tags
from services.gossip.flood_join import missing_in_wan
from services.gossip.serf import Member, Serf, SerfError, SerfSettings, Status
from services.gossip.serf.effects import (
    CommandDone,
    Effect,
    MemberEvent,
    SnapshotAppend,
    SnapshotReplace,
    UserEvent,
)
from services.gossip.serf.lamport import LamportClock
from services.gossip.serf.snapshot import Recovered, SnapshotLog, replay
from services.gossip.swim import SwimSettings
from services.gossip.swim.address import Address
from services.gossip.swim.effects import Log, Metric, SendPacket, StartPushPull
from shared.config import sections
from shared.config.runtime import RuntimeConfig

VECTORS = Path(__file__).parents[2] / "vectors" / "gossip"
VSN = bytes((1, 5, 2, 2, 5, 4))
ME = Address(bytes((10, 0, 0, 1)), 8301)
PEER = Address(bytes((10, 0, 0, 2)), 8301)


class Rig:
    """A pool with one other member, "a"."""

    def __init__(self, *, keyring: Keyring | None = None, alone: bool = False, **kwargs: object) -> None:
        self.now = 100.0
        self.saved = 0
        settings = SerfSettings(SwimSettings("me", ME), {"role": "node", "dc": "dc1"})
        self.serf = Serf(
            settings,
            random.Random(3),
            lambda members: None,
            keyring=keyring,
            save_keyring=self._save,
            **kwargs,  # type: ignore[arg-type]
        )
        self.effects: list[Effect] = [*self.serf.start(self.now)]
        if not alone:
            self.hear(Alive(1, "a", PEER.ip, PEER.port, encode_tags({"role": "node"}), VSN))

    def _save(self) -> str | None:
        self.saved += 1
        return None

    def hear(self, *messages: object) -> list[Effect]:
        effects = self.serf.receive(messages, PEER, self.now)  # type: ignore[arg-type]
        self.effects += effects
        return effects

    def hear_serf(self, message: object) -> list[Effect]:
        return self.hear(User(encode_serf(message)))  # type: ignore[arg-type]

    def run(self, seconds: float) -> list[Effect]:
        end, found = self.now + seconds, []
        while self.serf.deadline <= end:
            self.now = max(self.now, self.serf.deadline)
            found += self.serf.tick(self.now)
        self.now = end
        self.effects += found
        return found

    def status(self, name: str) -> Status:
        member = self.serf.members.get(name)
        return Status.NONE if member is None else member.status

    def events(self) -> list[tuple[str, str]]:
        return [(one.kind, one.member.name) for one in self.effects if isinstance(one, MemberEvent)]


def serf_messages(effects: list[Effect]) -> list[object]:
    """Serf messages in the packets that would be sent."""
    found = []
    for effect in effects:
        if isinstance(effect, SendPacket):
            for part in effect.parts:
                message = decode_message(part)
                if isinstance(message, User):
                    found.append(decode_serf(message.payload))
    return found


def test_the_clock_stays_ahead_of_what_it_witnesses() -> None:
    clock = LamportClock()
    assert clock.time == 1
    clock.witness(0)
    assert clock.time == 1
    clock.witness(1)
    assert clock.time == 2
    clock.witness(40)
    assert (clock.take(), clock.time) == (41, 42)
    clock.witness((1 << 64) - 1)
    assert clock.time == 42


def test_a_member_that_announced_it_left_and_one_that_did_not_failed() -> None:
    rig = Rig()
    rig.hear_serf(LeaveIntent(5, "a"))
    assert rig.status("a") == Status.LEAVING
    rig.hear(Dead(1, "a", "a"))
    assert rig.status("a") == Status.LEFT
    other = Rig()
    other.hear(Dead(1, "a", "me"))
    assert other.status("a") == Status.FAILED
    assert (rig.events()[-1], other.events()[-1]) == (("leave", "a"), ("failed", "a"))


def test_without_the_intent_a_leaving_node_counts_as_failed() -> None:
    rig = Rig()
    rig.hear(Dead(1, "a", "a"))
    assert rig.status("a") == Status.FAILED


def test_intents_are_passed_on_once_and_old_ones_not() -> None:
    rig = Rig()
    rig.hear_serf(JoinIntent(7, "a"))
    before = int(rig.serf.stats()["intent_queue"])
    rig.hear_serf(JoinIntent(7, "a"))
    rig.hear_serf(JoinIntent(6, "a"))
    assert int(rig.serf.stats()["intent_queue"]) == before == 1
    assert rig.serf.clock.time == 8


def test_an_intent_may_arrive_before_its_node() -> None:
    rig = Rig()
    rig.hear_serf(LeaveIntent(9, "b"))
    rig.hear(Alive(1, "b", bytes((10, 0, 0, 3)), 8301, encode_tags({}), VSN))
    assert rig.status("b") == Status.LEAVING
    rig.hear_serf(JoinIntent(10, "b"))
    assert rig.status("b") == Status.ALIVE


def test_a_forced_leave_about_ourselves_is_refuted() -> None:
    rig = Rig()
    effects = [*rig.hear_serf(LeaveIntent(20, "me")), *rig.run(2)]
    assert rig.status("me") == Status.ALIVE
    assert JoinIntent(21, "me") in serf_messages(effects)


def test_failed_becomes_left_by_an_intent_and_prune_erases() -> None:
    rig = Rig()
    rig.hear(Dead(1, "a", "me"))
    rig.hear_serf(LeaveIntent(20, "a"))
    assert rig.status("a") == Status.LEFT
    rig.hear_serf(LeaveIntent(21, "a", True))
    assert rig.status("a") == Status.NONE
    assert rig.events()[-2:] == [("leave", "a"), ("reap", "a")]


def test_prune_of_a_living_member_waits_until_it_is_gone() -> None:
    rig = Rig()
    rig.hear_serf(LeaveIntent(20, "a", True))
    assert rig.status("a") == Status.LEAVING
    rig.run(8.1)
    assert rig.status("a") == Status.NONE


def test_leaving_alone_takes_no_time() -> None:
    rig = Rig(alone=True)
    effects = rig.serf.leave(rig.now, "token")
    assert CommandDone("token") in effects
    assert rig.status("me") == Status.LEFT


def test_leaving_with_only_failed_members_takes_no_time() -> None:
    rig = Rig()
    rig.hear(Dead(1, "a", "me"))
    assert CommandDone("token") in rig.serf.leave(rig.now, "token")


def test_leaving_a_pool_whose_members_do_not_answer_ends_all_the_same() -> None:
    rig = Rig()
    assert CommandDone("token") not in rig.serf.leave(rig.now, "token")
    effects = rig.run(5 + 5 + 3 + 1)
    assert CommandDone("token") in effects
    assert rig.serf.leave(rig.now, "again") == [CommandDone("again")]
    with pytest.raises(SerfError, match="can't Join after Leave"):
        rig.serf.check_can_join()


def test_a_user_event_is_delivered_once_and_passed_on_as_it_came() -> None:
    rig = Rig()
    event = UserEventMessage(3, "deploy", b"x", True)
    first, second = rig.hear_serf(event), rig.hear_serf(event)
    assert [one for one in first if isinstance(one, UserEvent)] == [UserEvent(3, "deploy", b"x", True)]
    assert not [one for one in second if isinstance(one, UserEvent)]
    assert event in serf_messages(rig.run(1))
    assert rig.serf.events.clock.time == 4


def test_events_older_than_the_ring_are_dropped() -> None:
    rig = Rig()
    rig.hear_serf(UserEventMessage(2000, "new", None, False))
    rig.hear_serf(UserEventMessage(1400, "old", None, False))
    rig.hear_serf(UserEventMessage(1489, "in", None, False))
    assert [one.name for one in rig.effects if isinstance(one, UserEvent)] == ["new", "in"]


@pytest.mark.parametrize(("name", "payload"), [("n" * 500, b"p" * 13), ("n", b"p" * 490)])
def test_too_large_events_are_refused_and_cost_no_time(name: str, payload: bytes) -> None:
    rig = Rig()
    with pytest.raises(SerfError, match="exceeds configured limit of 512 bytes"):
        rig.serf.user_event(name, payload, False, rig.now)
    assert rig.serf.events.clock.time == 1


def query(name: str, payload: bytes | None = None, **changes: object) -> QueryMessage:
    fields: dict[str, object] = {
        "ltime": 3,
        "id": 99,
        "addr": PEER.ip,
        "port": PEER.port,
        "source_node": "a",
        "filters": None,
        "flags": 0,
        "relay_factor": 0,
        "timeout_ns": 10**9,
        "name": name,
        "payload": payload,
    }
    return QueryMessage(**{**fields, **changes})  # type: ignore[arg-type]


def answers(effects: list[Effect]) -> list[QueryResponseMessage]:
    return [one for one in serf_messages(effects) if isinstance(one, QueryResponseMessage)]


def test_a_query_is_acked_if_wanted_and_seen_once() -> None:
    rig = Rig()
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
        rig = Rig()
        asked = query("x", flags=FLAG_ACK, filters=filters)
        assert bool(answers(rig.hear_serf(asked))) == meant
        assert asked in serf_messages(rig.run(1))


def test_a_query_that_asks_for_silence_is_not_passed_on() -> None:
    rig = Rig()
    rig.hear_serf(query("x", flags=2))
    assert rig.serf.stats()["query_queue"] == "0"


def test_conflict_queries_tell_where_we_see_a_node_but_not_ourselves() -> None:
    rig = Rig()
    [answer] = answers(rig.hear_serf(query("_serf_conflict", b"a")))
    member = decode_conflict_response(answer.payload or b"")
    assert member is not None
    assert (member.name, member.addr, member.port, member.status) == ("a", PEER.ip, PEER.port, 1)
    [answer] = answers(rig.hear_serf(query("_serf_conflict", b"nobody", id=2)))
    assert answer.payload == b"\x06\xc0"
    assert answers(rig.hear_serf(query("_serf_conflict", b"me", id=3))) == []


def test_only_so_many_living_members_relay_an_answer() -> None:
    rig = Rig()
    for last in range(3, 103):
        rig.hear(Alive(1, f"n{last}", bytes((10, 0, 0, last)), 8301, encode_tags({"role": "node"}), VSN))
    rig.hear(Dead(1, "n50", "x"))
    effects = rig.hear_serf(query("anything", flags=FLAG_ACK, relay_factor=5))
    to = [effect.to for effect in effects if isinstance(effect, SendPacket)]
    assert len(to) == len(set(to)) == 6  # who asked, and five more
    assert ME not in to
    assert Address(bytes((10, 0, 0, 50)), 8301) not in to


def test_a_failed_member_is_tried_again_in_step_with_the_start() -> None:
    rig = Rig()
    rig.run(25)
    rig.hear(Dead(1, "a", "x"))
    tries = [one for one in rig.run(10) if isinstance(one, StartPushPull)]
    assert [(one.node, one.to, one.join) for one in tries] == [("a", PEER, True)]
    assert len([one for one in rig.run(60) if isinstance(one, StartPushPull)]) == 2


def test_a_queue_that_does_not_empty_itself_is_reported() -> None:
    rig = Rig()
    rig.run(20)
    for number in range(200):
        rig.hear_serf(UserEventMessage(number + 1, f"event-{number}", b"x" * 300, False))
    effects = rig.run(10.5)
    depths = {one.name: one.value for one in effects if isinstance(one, Metric) and "serf.queue." in one.name}
    assert depths.keys() == {f"consul.serf.queue.{name}" for name in ("Intent", "Event", "Query")}
    deep = [one.text for one in effects if isinstance(one, Log) and "queue depth" in one.text]
    assert depths["consul.serf.queue.Event"] >= 128
    assert deep == [f"serf: Event queue depth: {depths['consul.serf.queue.Event']:.0f}"]


def test_key_queries_change_the_ring_and_store_it() -> None:
    first, second = bytes(range(16)), bytes(range(32))
    ring = Keyring([first])
    rig = Rig(keyring=ring)

    def ask(operation: str, key: bytes, number: int) -> tuple[bool, str]:
        [answer] = answers(rig.hear_serf(query(f"_serf_{operation}", encode_key_request(key), id=number)))
        response = decode_key_response(answer.payload or b"")
        return response.result, response.message

    assert ask("install-key", second, 1) == (True, "")
    assert ask("install-key", second, 2) == (True, "")
    assert ask("install-key", b"short", 3) == (False, "key size must be 16, 24 or 32 bytes")
    assert ask("remove-key", first, 4) == (False, "Removing the primary key is not allowed")
    assert ask("use-key", b"x" * 16, 5) == (False, "Requested key is not in the keyring")
    assert ask("use-key", second, 6) == (True, "")
    assert ring.keys == [second, first]
    assert ask("remove-key", first, 7) == (True, "")
    assert ring.keys == [second]
    assert rig.saved == 4
    [answer] = answers(rig.hear_serf(query("_serf_list-keys", encode_key_request(b""), id=8)))
    response = decode_key_response(answer.payload or b"")
    assert response.keys == (response.primary_key,)
    [answer] = answers(rig.hear_serf(query("_serf_use-key", b"\x07junk", id=9)))
    assert decode_key_response(answer.payload or b"").result is False


def test_key_queries_without_encryption_say_so() -> None:
    rig = Rig()
    [answer] = answers(rig.hear_serf(query("_serf_list-keys", encode_key_request(b""))))
    assert decode_key_response(answer.payload or b"").message == "Keyring is empty (encryption not enabled)"
    [answer] = answers(rig.hear_serf(query("_serf_use-key", encode_key_request(bytes(16)), id=2)))
    assert decode_key_response(answer.payload or b"").message == "No keyring to modify (encryption not enabled)"


def test_a_long_list_of_keys_is_cut_to_fit_a_packet() -> None:
    rig = Rig(keyring=Keyring([bytes([n]) * 32 for n in range(60)]))
    [answer] = answers(rig.hear_serf(query("_serf_list-keys", encode_key_request(b""))))
    response = decode_key_response(answer.payload or b"")
    assert len(encode_serf(answer)) <= 1024
    assert response.keys is not None
    assert 5 < len(response.keys) < 60
    assert response.message == f"truncated key list response, showing first {len(response.keys)} of 60 keys"


def test_a_query_without_a_usable_address_is_not_answered() -> None:
    rig = Rig()
    assert answers(rig.hear_serf(query("x", flags=FLAG_ACK, addr=b"\x01"))) == []
    assert answers(rig.hear_serf(query("x", flags=FLAG_ACK, port=0, id=2))) == []


def test_a_relay_hands_the_inner_message_on_unchanged() -> None:
    rig = Rig()
    vectors = json.loads((VECTORS / "serf_udp.json").read_text())["vectors"]
    relay = next(vector for vector in vectors if vector["shows"] == ["user:relay"])
    data = bytes.fromhex(relay["hex"])
    [sent] = [one for one in rig.hear(decode_message(data)) if isinstance(one, SendPacket)]
    assert sent.to == Address(bytes((127, 0, 0, 1)), 21501)
    assert data.endswith(sent.parts[0][1:])


def test_state_of_a_push_pull_is_complete_and_merges() -> None:
    rig = Rig()
    rig.hear_serf(JoinIntent(4, "a"))
    rig.serf.user_event("deploy", b"1", False, rig.now)
    state = decode_state(rig.serf.push_pull(True).user_state)
    assert (state.ltime, state.event_ltime, state.query_ltime) == (5, 2, 1)
    assert state.status_ltimes == {"me": 0, "a": 4}
    assert state.left_members == ()
    assert state.events is not None
    assert len(state.events) == 512
    assert state.events[1] == PastEvents(1, (PastEvent("deploy", b"1"),))

    remote = SerfState(30, {"a": 12, "gone": 8}, ("gone",), 9, (PastEvents(8, (PastEvent("e", None),)), None), 5)
    effects = rig.serf.merge(PushPull(False, (), encode_state(remote)), rig.now)
    assert (rig.serf.clock.time, rig.serf.events.clock.time, rig.serf.asking.ring.clock.time) == (30, 9, 5)
    assert [one.name for one in effects if isinstance(one, UserEvent)] == ["e"]


def test_a_join_may_ignore_what_was_before() -> None:
    rig = Rig()
    remote = SerfState(1, {}, (), 9, (PastEvents(8, (PastEvent("e", None),)),), 1)
    effects = rig.serf.merge(PushPull(True, (), encode_state(remote)), rig.now, ignore_old=True)
    assert not [one for one in effects if isinstance(one, UserEvent)]
    rig.hear_serf(UserEventMessage(9, "new", None, False))
    assert [one.name for one in rig.effects if isinstance(one, UserEvent)] == ["new"]


def test_junk_instead_of_serf_state_changes_nothing() -> None:
    rig = Rig()
    for junk in (b"\x05abc", b"\x02\xc1", b"\x02"):
        rig.serf.merge(PushPull(False, (), junk), rig.now)
    rig.hear(User(b""), User(b"\xff\xff"), User(b"\x01\xc1"))
    assert rig.status("a") == Status.ALIVE


def test_too_long_tags_are_refused() -> None:
    rig = Rig(alone=True)
    with pytest.raises(SerfError, match="Encoded length of tags exceeds limit of 512 bytes"):
        rig.serf.set_tags({"x": "y" * 600}, rig.now, "t")
    effects = rig.serf.set_tags({"x": "y"}, rig.now, "t")
    assert CommandDone("t") in effects
    assert rig.serf.members.get("me").tags == {"x": "y"}  # type: ignore[union-attr]


# ---- snapshot --------------------------------------------------------------------------------------------------------


def test_real_snapshot_files_are_understood() -> None:
    files = json.loads((VECTORS / "files.json").read_text())
    server = replay(files["serf/local.snapshot of a server"].splitlines(), rejoin_after_leave=False)
    assert server == Recovered({"s2": "127.0.0.1:21321", "s1": "127.0.0.1:21301"}, 5, 3, 0)
    left = files["serf/local.snapshot of a client after graceful leave"].splitlines()
    assert replay(left, rejoin_after_leave=False) == Recovered({}, 2, 0, 0)
    again = replay(left, rejoin_after_leave=True)
    assert (len(again.alive), again.clock, again.event_clock, again.query_clock) == (3, 2, 2, 6)
    assert again.problems == ["serf: Ignoring previous leave in snapshot"]


def test_damaged_snapshot_lines_are_reported_and_skipped() -> None:
    found = replay(
        [
            "alive: x 1.2.3.4:5",
            "alive: broken",
            "clock: abc",
            "clock: " + "9" * 40,
            "???",
            "# note",
            "coordinate: z",
            "not-alive: nobody",
            "event-clock: 7",
            "cloc",
        ],
        rejoin_after_leave=False,
    )
    assert (found.alive, found.event_clock, len(found.problems)) == ({"x": "1.2.3.4:5"}, 7, 5)


def test_a_pool_writes_what_it_needs_to_come_back() -> None:
    rig = Rig(snapshot=SnapshotLog(Recovered(), 0, rejoin_after_leave=False), recovered=Recovered())
    rig.hear_serf(JoinIntent(6, "a"))
    rig.run(0.6)
    rig.hear_serf(UserEventMessage(3, "e", None, False))
    rig.hear_serf(query("_serf_ping", ltime=4))
    rig.hear(Dead(1, "a", "me"))
    rig.effects += rig.serf.leave(rig.now, "t")
    text = "".join(one.text for one in rig.effects if isinstance(one, SnapshotAppend))
    assert text.splitlines() == [
        "alive: me 10.0.0.1:8301",
        "# incarnation 1",
        "alive: a 10.0.0.2:8301",
        "clock: 6",
        "event-clock: 3",
        "query-clock: 4",
        "not-alive: a",
        '# gone  ["a","0a000002",8301,{"role":"node"},"010502020504",4,6]',
        "leave",
        "clock: 7",
    ]
    assert [one.sync for one in rig.effects if isinstance(one, SnapshotAppend)][-1]
    recovered = replay(text.splitlines(), rejoin_after_leave=True)
    back = Rig(alone=True, recovered=recovered)
    assert (back.serf.clock.time, back.serf.events.clock.time, back.serf.events.min_ltime) == (8, 4, 4)


def test_a_grown_snapshot_is_replaced_by_a_short_one() -> None:
    log = SnapshotLog(Recovered({"a": "1.2.3.4:5"}, 3, 2, 1), 128 * 1024 - 10, rejoin_after_leave=False)
    assert log.compacted() is None
    log.joined("b", Address(bytes(4), 1))
    assert log.compacted() == (
        "# incarnation 0\nalive: a 1.2.3.4:5\nalive: b 0.0.0.0:1\nclock: 3\nevent-clock: 2\nquery-clock: 1\n"
    )
    assert log.take() == ""
    assert log.compacted() is None
    rig = Rig(snapshot=SnapshotLog(Recovered(), 1 << 20, rejoin_after_leave=False), alone=True)
    assert any(isinstance(one, SnapshotReplace) for one in rig.effects)


def test_a_hostile_name_cannot_forge_snapshot_lines() -> None:
    log = SnapshotLog(Recovered(), 0, rejoin_after_leave=False)
    log.joined("x\nleave", Address(bytes(4), 1))
    assert "leave" not in log.take().splitlines()


# ---- Consul's rules --------------------------------------------------------------------------------------------------


def config(**changes: object) -> RuntimeConfig:
    ports = sections.Ports(server=21300, serf_wan=21302)
    return RuntimeConfig.dev("/run", node_name="n", ports=ports).replace(node_id="id", **changes)


def settings_of(name: str) -> dict[str, str]:
    document = json.loads((VECTORS / "tags.json").read_text())
    if name in document["with_meta"]:
        found = document["with_meta"][name]["tags"]
    else:
        found = next(tags for title, tags in document["other_settings"].items() if title.startswith(name))
    return {**found, "id": "id"}


@pytest.mark.parametrize(
    ("name", "wan", "changes"),
    [
        ("c1", False, {"server": False}),
        ("s1", False, {"bootstrap": True}),
        ("s1", False, {"bootstrap_expect": 1}),
        ("s1.dc1", True, {"bootstrap": True}),
        ("g1 LAN", False, {"bootstrap_expect": 3, "acl": sections.Acl(enabled=True), "ca_file": "x"}),
        ("g1.dc1 WAN", True, {"bootstrap_expect": 3, "acl": sections.Acl(enabled=True), "ca_file": "x"}),
        ("g2 LAN", False, {"server": False, "acl": sections.Acl(enabled=True)}),
        ("g5 LAN", False, {"datacenter": "dc5"}),
    ],
)
def test_our_tags_are_those_of_a_real_agent(name: str, wan: bool, changes: dict[str, object]) -> None:
    expected = settings_of(name)
    for port in ("port", "wan_join_port"):
        if port in expected:
            expected[port] = "21300" if port == "port" else "21302"
    assert pool_tags(config(**changes), wan=wan) == expected


def member(name: str, *, status: Status = Status.NONE, **tags: str) -> Member:
    return Member(name, PEER.ip, PEER.port, tags, VSN, status)


SERVER = {"role": "consul", "dc": "dc1", "port": "8300", "vsn": "2", "build": "1.8.7:ab", "raft_vsn": "3", "ft_fs": "1"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"role": "node"}, False),
        ({"port": "x"}, False),
        ({"vsn": ""}, False),
        ({"build": "1.8"}, False),
        ({"expect": "3"}, True),
        ({"expect": "three"}, False),
        ({"ft_x": "on"}, False),
        ({"raft_vsn": "-3"}, True),
        ({"wan_join_port": "1e3"}, False),
        ({"sl_a": "1.2.3.4:8300"}, True),
        ({"sl_a": "1.2.3.4"}, False),
        ({"sl_a": "[::1]:8300"}, True),
        ({"sl_a": "::1:8300"}, False),
    ],
)
def test_who_counts_as_a_server(change: dict[str, str], expected: bool) -> None:
    assert is_server(member("s", **{**SERVER, **change})) == expected


def test_lan_merge_rules() -> None:
    rules = LanRules("dc1", "my-id", "me", "")
    assert rules([member("a", id="1", role="node", dc="dc1", build="1.8.7"), member("b", **SERVER)]) is None
    assert rules([member("a")]) is None
    assert rules([member("me", id="my-id", role="node", dc="dc1")]) is None
    assert rules([member("a", id="my-id")]) == "Member 'a' has conflicting node ID 'my-id' with this agent's ID"
    twice = [member("a", id="1", build="1.8.7:"), member("b", id="1")]
    assert rules(twice) == "Member 'b' has conflicting node ID '1' with member 'a'"
    assert rules([member("a", id="1", build="0.8.4:"), member("b", id="1")]) is None
    assert rules([member("a", role="node", dc="dc2")]) == "Member 'a' part of wrong datacenter 'dc2'"
    assert rules([member("a", **{**SERVER, "dc": "dc3"})]) == "Member 'a' part of wrong datacenter 'dc3'"
    assert rules([member("a", role="other", dc="dc3")]) is None
    assert rules([member("a", segment="x")]) == "Member 'a' part of wrong segment 'x' (expected '')"
    assert rules([member("a", id="my-id", status=Status.LEFT, role="node", dc="dc2")]) is None


def test_wan_merge_rules() -> None:
    assert wan_rules([member("a", **SERVER), member("b", **{**SERVER, "dc": "dc2"})]) is None
    assert wan_rules([member("a", **SERVER), member("b", role="node")]) == "Member 'b' is not a server"


def test_a_pool_applies_its_rules_to_joins_and_single_nodes() -> None:
    serf = Serf(SerfSettings(SwimSettings("me", ME), {}), random.Random(1), LanRules("dc1", "my-id", "me", ""))
    serf.start(0.0)
    foreign = encode_tags({"role": "node", "dc": "dc9"})
    serf.receive([Alive(1, "x", PEER.ip, PEER.port, foreign, VSN)], PEER, 0.0)
    assert serf.members.get("x") is None
    record = NodeRecord("x", PEER.ip, PEER.port, foreign, 1, 0, VSN)
    with pytest.raises(Exception, match="part of wrong datacenter 'dc9'"):
        serf.merge(PushPull(True, (record,), b""), 0.0)


def test_which_servers_are_missing_in_the_wan_pool() -> None:
    lan = [
        member("s1", status=Status.ALIVE, **SERVER, wan_join_port="8302"),
        member("s2", status=Status.ALIVE, **SERVER, wan_join_port="8302"),
        member("s3", status=Status.FAILED, **SERVER, wan_join_port="8302"),
        member("s4", status=Status.ALIVE, **SERVER),
        member("c1", status=Status.ALIVE, role="node"),
    ]
    wan = [member("s1.dc1", status=Status.ALIVE, **SERVER), member("s2.dc2", **{**SERVER, "dc": "dc2"})]
    assert missing_in_wan(lan, wan, "dc1") == [("s2.dc1", "10.0.0.2:8302")]


def test_a_keyring_needs_a_key() -> None:
    with pytest.raises(KeyringError):
        Keyring([])
