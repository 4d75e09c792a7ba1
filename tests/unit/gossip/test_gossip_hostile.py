"""Forged, replayed and oversized messages: refused, counted, and never more memory than a known amount."""

import random
import tracemalloc
from collections import Counter
from collections.abc import Callable

import pytest

from services.gossip.codec import limits
from services.gossip.codec.errors import StreamError
from services.gossip.codec.keyring import Keyring
from services.gossip.codec.messages import (
    NODE_RECORD,
    PUSH_PULL_HEADER,
    Alive,
    Dead,
    Message,
    NodeRecord,
    PushPullHeader,
    Suspect,
    User,
)
from services.gossip.codec.serf_messages import (
    JoinIntent,
    LeaveIntent,
    PastEvent,
    PastEvents,
    QueryMessage,
    QueryResponseMessage,
    SerfState,
    UserEventMessage,
    decode_state,
    encode_key_request,
    encode_key_response,
    encode_serf,
    encode_state,
    encode_tags,
)
from services.gossip.codec.serf_messages import KeyResponse as WireKeyResponse
from services.gossip.codec.stream import PushPull, StreamDecoder, encode_stream
from services.gossip.consul.merge_rules import LanRules
from services.gossip.serf import Serf, SerfSettings, Status
from services.gossip.serf.effects import CommandDone, Effect, MemberEvent, UserEvent
from services.gossip.swim import MergeError, SwimSettings
from services.gossip.swim.address import Address
from services.gossip.swim.effects import Log, Metric, SendPacket

VSN = bytes((1, 5, 2, 2, 5, 4))
ME = Address(bytes((10, 0, 0, 1)), 8301)
PEER = Address(bytes((10, 0, 0, 2)), 8301)
THIEF = Address(bytes((10, 0, 0, 66)), 8301)
MIB = 1024 * 1024


def tags(**more: str) -> bytes:
    return encode_tags({"role": "node", "dc": "dc1", **more})


class Pool:
    """This node and one honest other, "peer", at `now`."""

    def __init__(self, keyring: Keyring | None = None) -> None:
        self.now = 100.0
        settings = SerfSettings(SwimSettings("me", ME), {"role": "node", "dc": "dc1", "id": "mine"})
        self.serf = Serf(settings, random.Random(3), LanRules("dc1", "mine", "me", ""), keyring=keyring)
        self.effects: list[Effect] = [*self.serf.start(self.now)]
        self.hear(Alive(1, "peer", PEER.ip, PEER.port, tags(id="peers"), VSN))
        self.effects.clear()

    def hear(self, *messages: Message) -> None:
        self.effects += self.serf.receive(messages, PEER, self.now)

    def hear_serf(self, message: object) -> None:
        self.hear(User(encode_serf(message)))  # type: ignore[arg-type]

    def pull(self, *records: NodeRecord, state: bytes = b"", join: bool = False) -> None:
        self.effects += self.serf.merge(PushPull(join, records, state), self.now)

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.serf.deadline <= end:
            self.now = max(self.now, self.serf.deadline)
            self.effects += self.serf.tick(self.now)
        self.now = end

    def counted(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for effect in self.effects:
            if isinstance(effect, Metric) and effect.kind == "incr":
                found[effect.name] += int(effect.value)
        return found

    def logged(self, level: str) -> list[str]:
        return [effect.text for effect in self.effects if isinstance(effect, Log) and effect.level == level]

    def names(self) -> set[str]:
        return {member.name for member in self.serf.members}


def alive(name: str, at: Address = PEER, incarnation: int = 1, meta: bytes = b"", vsn: bytes = VSN) -> Alive:
    return Alive(incarnation, name, at.ip, at.port, meta or tags(), vsn)


# ---- forged members ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(alive("stranger", meta=encode_tags({"role": "node", "dc": "dc9"})), id="other datacenter"),
        pytest.param(alive("stranger", meta=tags(id="mine")), id="our id"),
        pytest.param(alive("stranger", meta=tags(segment="other")), id="other segment"),
        pytest.param(alive("stranger", vsn=b"\1\5\2"), id="half a version"),
        pytest.param(alive("stranger", vsn=bytes((0, 5, 2, 2, 5, 4))), id="version 0"),
        pytest.param(alive("stranger", at=Address(b"\1\2\3", 1)), id="no address"),
        pytest.param(alive("stranger", meta=tags(x="y" * 600)), id="long Meta"),
        pytest.param(alive("s" * 600), id="long name"),
        pytest.param(alive("ä" * 300), id="long name in UTF-8"),
        pytest.param(alive(""), id="no name"),
    ],
)
def test_members_that_do_not_belong_here_are_refused_and_counted(forged: Alive) -> None:
    pool = Pool()
    pool.hear(forged)
    assert pool.names() == {"me", "peer"}
    assert pool.counted()["consul.memberlist.alive.refused"] == 1
    assert len(pool.logged("warn")) == 1
    record = NodeRecord(forged.node, forged.addr, forged.port, forged.meta, forged.incarnation, 0, forged.vsn)
    fine = NodeRecord("new", PEER.ip, 1, tags(), 1, 0, VSN)
    try:
        pool.pull(record, fine)
    except MergeError:  # versions must fit for all of them
        assert forged.vsn[0] == 0 or len(forged.vsn) < 6
    else:
        assert pool.names() == {"me", "peer", "new"}


def test_one_oversized_member_does_not_spoil_the_state_of_a_peer() -> None:
    """Real agents take such members in, and tell them in their states."""
    pool = Pool()
    records = (
        NodeRecord("m", PEER.ip, 1, bytes(30_000), 1, 0, VSN),
        NodeRecord("n" * 30_000, PEER.ip, 1, tags(), 1, 0, VSN),
        NodeRecord("good", PEER.ip, 2, tags(), 1, 0, VSN),
    )
    told = SerfState(9, {"n" * 30_000: 3, "good": 2}, ("l" * 20_000,), 1, None, 1)
    sent = PushPull(False, records, encode_state(told))
    received = StreamDecoder().feed(encode_stream(sent))
    assert received == sent
    pool.pull(*records, state=sent.user_state)
    assert pool.names() == {"me", "peer", "good"}
    assert pool.serf.clock.time == 9
    good = pool.serf.members.get("good")
    assert good is not None
    assert good.status_ltime == 2


def test_names_of_others_are_not_taken_over() -> None:
    pool = Pool()
    for incarnation in (1, 2, 99):
        pool.hear(alive("peer", at=THIEF, incarnation=incarnation))
        pool.pull(NodeRecord("peer", THIEF.ip, THIEF.port, tags(), incarnation, 0, VSN))
    pool.hear(alive("me", at=THIEF, incarnation=7))
    member = pool.serf.members.get("peer")
    assert member is not None
    assert (member.address, member.status) == (PEER, Status.ALIVE)
    assert pool.serf.swim.me.address == ME
    assert pool.counted()["consul.memberlist.conflict"] >= 4
    assert any("Name conflict for 'peer' both 10.0.0.2:8301 and 10.0.0.66:8301" in text for text in pool.logged("warn"))
    assert any("conflicts with another node at 10.0.0.66:8301" in text for text in pool.logged("error"))
    assert not [effect for effect in pool.effects if isinstance(effect, MemberEvent)]


def test_a_name_is_free_once_its_owner_is_gone_for_good() -> None:
    pool = Pool()
    pool.hear(Dead(1, "peer", "other"))
    pool.hear(alive("peer", at=THIEF, incarnation=2))
    member = pool.serf.members.get("peer")
    assert member is not None
    assert (member.status, member.address) == (Status.FAILED, PEER)
    pool.pass_time(31)
    pool.hear(alive("peer", at=THIEF, incarnation=2))
    member = pool.serf.members.get("peer")
    assert member is not None
    assert (member.status, member.address) == (Status.ALIVE, THIEF)


def test_obituaries_of_this_node_are_refuted_every_time() -> None:
    pool = Pool()
    for incarnation in range(1, 200):
        pool.hear(Dead(incarnation, "me", "peer"), Suspect(incarnation, "me", "peer"))
        pool.hear_serf(LeaveIntent(incarnation, "me", prune=True))
    me = pool.serf.members.get("me")
    assert me is not None
    assert me.status == Status.ALIVE
    assert pool.serf.swim.me.incarnation > 199
    assert pool.serf.swim.awareness.score <= 7


# ---- replays -------------------------------------------------------------------------------------------------------


def conversation(keyring: Keyring | None) -> list[Message]:
    """What an honest pool might say in some minutes."""
    said: list[Message] = [
        alive("a", Address(b"\x0a\0\0\5", 1)),
        alive("b", Address(b"\x0a\0\0\6", 1), meta=tags(version="1")),
        alive("b", Address(b"\x0a\0\0\6", 1), incarnation=2, meta=tags(version="2")),
        Suspect(1, "a", "b"),
        alive("a", Address(b"\x0a\0\0\5", 1), incarnation=2),
        Dead(2, "b", "a"),
        alive("b", Address(b"\x0a\0\0\6", 1), incarnation=3),
        *(
            User(encode_serf(message))
            for message in (
                JoinIntent(2, "a"),
                UserEventMessage(1, "deploy", b"1", False),
                UserEventMessage(2, "deploy", b"2", False),
                LeaveIntent(5, "a"),
            )
        ),
        Dead(2, "a", "a"),
    ]
    if keyring is not None:
        for number, operation in enumerate(("install-key", "use-key", "remove-key")):
            key = b"first key 123456" if operation == "remove-key" else b"other key 123456"
            payload = encode_key_request(key)
            query = QueryMessage(
                number + 1, number, PEER.ip, 8301, "peer", None, 0, 0, 10**9, f"_serf_{operation}", payload
            )
            said.append(User(encode_serf(query)))
    return said


@pytest.mark.parametrize("seed", range(5))
def test_what_was_said_once_changes_nothing_when_it_is_said_again(seed: int) -> None:
    ring = Keyring([b"first key 123456"])
    pool = Pool(ring)
    said = conversation(ring)
    for message in said:
        pool.hear(message)
        pool.pass_time(0.5)
    assert ring.keys == [b"other key 123456"]
    ring.add(b"first key 123456")  # a new operation, which the old ones must not undo
    ring.use(b"first key 123456")

    def state() -> object:
        swim = [(node.name, node.incarnation, node.state, node.meta) for node in pool.serf.swim.nodes]
        serf = [(one.name, one.status, one.status_ltime, one.tags) for one in pool.serf.members]
        return sorted(swim), sorted(serf, key=str), ring.keys, pool.serf.clock.time, pool.serf.events.clock.time

    before = state()
    pool.effects.clear()
    rng = random.Random(seed)
    for _ in range(10):
        for message in rng.sample(said, len(said)):
            pool.hear(message)
    assert state() == before
    assert not [effect for effect in pool.effects if isinstance(effect, MemberEvent | UserEvent)]
    sent = [part for effect in pool.effects if isinstance(effect, SendPacket) for part in effect.parts]
    assert not sent  # nobody gets an answer, nothing is passed on


# ---- floods --------------------------------------------------------------------------------------------------------


def grown(act: Callable[[], None]) -> int:
    """Bytes that are still in use afterwards."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        act()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_a_flood_of_large_events_is_forgotten_and_honest_ones_still_arrive() -> None:
    pool = Pool()

    def flood() -> None:
        for number in range(2000):
            pool.hear_serf(UserEventMessage(1 + number // 200, f"e{number}", bytes(20_000), False))
            pool.effects.clear()

    assert grown(flood) < 3 * limits.EVENT_RING
    assert len(pool.serf.push_pull(False).user_state) < 2 * limits.EVENT_RING
    late = pool.serf.events.clock.time
    pool.hear_serf(UserEventMessage(late, "honest", b"x", False))
    assert [effect.name for effect in pool.effects if isinstance(effect, UserEvent)] == ["honest"]


def test_honest_events_are_all_remembered() -> None:
    pool = Pool()
    for number in range(2000):
        pool.hear_serf(UserEventMessage(1 + number // 8, f"deploy-{number}", bytes(480), False))
    assert sum(len(slot.events or ()) for slot in pool.serf.events.past() if slot) == 2000
    pool.effects.clear()
    for number in range(2000):
        pool.hear_serf(UserEventMessage(1 + number // 8, f"deploy-{number}", bytes(480), False))
    assert not [effect for effect in pool.effects if isinstance(effect, UserEvent)]


@pytest.mark.parametrize("kind", ["events", "queries"])
def test_names_of_events_and_queries_do_not_become_any_number_of_measurements(kind: str) -> None:
    pool = Pool()
    names = [*(f"name-{number}" for number in range(3000)), "x" * 500, "line\nbreak:1|c"]
    for number, name in enumerate(names):
        if kind == "events":
            pool.hear_serf(UserEventMessage(1 + number // 200, name, b"", False))
        else:
            pool.hear_serf(QueryMessage(1 + number // 200, number, PEER.ip, 1, "p", None, 0, 0, 10**9, name, None))
    counted = pool.counted()
    assert counted[f"consul.serf.{kind}"] == 3002
    assert 100 <= len(counted) < 150
    assert all(len(name) < 200 and name.isprintable() for name in counted)


@pytest.mark.parametrize("kind", ["event", "query", "intent"])
def test_rumours_too_large_to_be_passed_on_are_not_kept(kind: str) -> None:
    pool = Pool()

    def flood() -> None:
        for number in range(1200):
            data = bytes(15_000)
            if kind == "event":
                pool.hear_serf(UserEventMessage(5000 + number, "e", data, False))
            elif kind == "query":
                query = QueryMessage(1 + number // 200, number, PEER.ip, 1, "p", None, 0, 0, 10**9, "q", data)
                pool.hear_serf(query)
            else:
                pool.hear_serf(LeaveIntent(1 + number, f"{number}{'n' * 15_000}"))
            pool.effects.clear()

    assert grown(flood) < 8 * MIB


@pytest.mark.parametrize("size", range(limits.RUMOUR - 40, limits.PACKET_BUDGET))
def test_a_rumour_is_sent_to_the_end_or_not_at_all(size: int) -> None:
    """One that no packet has room for would wait for ever, and a pool with rumours does not rest."""
    pool = Pool(Keyring([b"k" * 16]))
    pool.pass_time(30)
    pool.hear_serf(UserEventMessage(5, "e", bytes(size), False))
    assert [effect.name for effect in pool.effects if isinstance(effect, UserEvent)] == ["e"]
    pool.pass_time(30)
    assert pool.serf.stats()["event_queue"] == "0"


def test_intents_of_nobody_are_few_and_short() -> None:
    pool = Pool()
    pool.hear_serf(JoinIntent(3, "n" * 600))
    pool.hear_serf(JoinIntent(4, "short"))
    assert len(pool.serf.members._intents) == 1


def test_forged_answers_to_a_key_query_are_bounded() -> None:
    ring = Keyring([b"k" * 16])
    pool = Pool(ring)
    for number in range(50):
        pool.hear(alive(f"n{number}", Address(bytes((10, 1, 0, number)), 1)))
    token = object()
    pool.effects += pool.serf.key_operation("list-keys", b"", 0, pool.now, token)
    query = next(iter(pool.serf.asking._running._running.items()))
    ltime, query_id = query[0], query[1].id
    forged = encode_key_response(WireKeyResponse(True, "m" * 60_000, ("key" * 2000,) * 9, "p"))

    def answer() -> None:
        for number in range(50):
            pool.hear_serf(QueryResponseMessage(ltime, query_id, f"n{number}", 0, forged))
            pool.hear_serf(QueryResponseMessage(ltime, query_id, f"n{number}", 0, forged))
            pool.effects[:] = [effect for effect in pool.effects if isinstance(effect, CommandDone)]

    assert grown(answer) < MIB
    pool.pass_time(60)
    (done,) = [effect for effect in pool.effects if isinstance(effect, CommandDone)]
    assert done.result["NumErr"] == 50
    assert all(len(message) < 1000 for message in done.result["Messages"].values())


def test_a_full_list_takes_nobody_else() -> None:
    settings = SerfSettings(SwimSettings("me", ME, max_nodes=50), {"role": "node", "dc": "dc1"})
    serf = Serf(settings, random.Random(1), LanRules("dc1", "mine", "me", ""))
    effects = [*serf.start(1.0)]
    for number in range(200):
        effects += serf.receive([alive(f"n{number}", Address(bytes((10, 9, 0, number)), 1))], PEER, 1.0)
    assert len(serf.swim.nodes) == len(serf.members) == 50
    refused = [one for one in effects if isinstance(one, Metric) and one.name == "consul.memberlist.alive.refused"]
    assert len(refused) == 200 - 49


@pytest.mark.parametrize("goodbye", [True, False])
def test_members_under_ever_new_names_are_bounded_and_leave_room_for_honest_ones(goodbye: bool) -> None:
    settings = SerfSettings(SwimSettings("me", ME, max_nodes=50), {"role": "node", "dc": "dc1"})
    serf = Serf(settings, random.Random(1), LanRules("dc1", "mine", "me", ""))
    now, kinds = 1.0, Counter[str]()
    serf.start(now)

    def hear(*messages: Message) -> None:
        for effect in serf.receive(messages, PEER, now):
            if isinstance(effect, MemberEvent):
                kinds[effect.kind] += 1

    for number in range(500):
        name = f"n{number}"
        hear(alive(name, Address(bytes((10, 9, number >> 8, number & 255)), 1)))
        if goodbye:
            hear(User(encode_serf(LeaveIntent(number + 1, name))))
        hear(Dead(1, name, name if goodbye else "peer"))
        now += 10
        serf.tick(now)
        assert len(serf.members) <= 50
        assert len(serf.swim.nodes) <= 50
    assert kinds["join"] == 500
    assert kinds["reap"] == 500 - 49
    hear(alive("honest"))
    member = serf.members.get("honest")
    assert member is not None
    assert member.status == Status.ALIVE


def test_a_ring_of_foreign_events_is_bounded_as_well() -> None:
    pool = Pool()
    past = tuple(
        PastEvents(ltime, tuple(PastEvent(f"e{ltime}-{number}", bytes(9000)) for number in range(20)))
        for ltime in range(1, 60)
    )
    state = encode_state(SerfState(1, {}, None, 60, past, 1))
    pool.pull(state=state)
    kept = decode_state(pool.serf.push_pull(False).user_state)
    assert len(encode_state(kept)) < 2 * limits.EVENT_RING


def test_records_of_a_stream_are_charged_for_what_they_take() -> None:
    decoder = StreamDecoder()
    record = NODE_RECORD.encode(NodeRecord("", b"", 0, b"", 0, 0, b""))
    decoder.feed(b"\x06" + PUSH_PULL_HEADER.encode(PushPullHeader(20_000, 0, False)))
    used = grown(lambda: void(decoder.feed(record * 10_000)))
    assert decoder.held >= 10_000 * 256
    assert used < 1.2 * decoder.held


@pytest.mark.parametrize("record", [b"\x80", b"\x90", b"\x81\xa4Name\xa1x", b"\xc0", b"\x97" + b"\xc0" * 7])
def test_records_without_all_fields_end_a_stream_at_once(record: bytes) -> None:
    decoder = StreamDecoder()
    with pytest.raises(StreamError, match="incomplete record of a node"):
        decoder.feed(b"\x06" + PUSH_PULL_HEADER.encode(PushPullHeader(60_000, 0, False)) + record * 50_000)


def void(value: object) -> None:
    """For lambdas whose value does not matter."""
