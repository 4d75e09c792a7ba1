"""Whatever peers send, in whatever order: the core never raises, stays bounded and stays itself."""

import math
import random
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.gossip.api import member_wire
from services.gossip.codec.messages import (
    Ack,
    Alive,
    Dead,
    Err,
    IndirectPing,
    Nack,
    NodeRecord,
    Ping,
    Suspect,
    User,
)
from services.gossip.codec.packet import decode_packet, encode_packet
from services.gossip.codec.serf_messages import (
    CoordinateMessage,
    JoinIntent,
    LeaveIntent,
    PastEvent,
    PastEvents,
    QueryMessage,
    QueryResponseMessage,
    Relay,
    RelayAddress,
    SerfState,
    UserEventMessage,
    encode_coordinate,
    encode_key_request,
    encode_node_filter,
    encode_serf,
    encode_state,
    encode_tag_filter,
    encode_tags,
)
from services.gossip.codec.stream import PushPull, StreamDecoder, encode_stream
from services.gossip.consul.merge_rules import LanRules
from services.gossip.serf import Serf, SerfSettings, Status
from services.gossip.serf.effects import SnapshotAppend
from services.gossip.serf.snapshot import Recovered, SnapshotLog, replay
from services.gossip.swim import MergeError, SwimSettings
from services.gossip.swim.address import Address
from services.gossip.swim.effects import SendPacket

VSN = bytes((1, 5, 2, 2, 5, 4))
ME = Address(bytes((10, 0, 0, 1)), 8301)

names = st.sampled_from(["me", "a", "b", "c", "", "n\nleave", "\udcff\udcfe"])
numbers32 = st.sampled_from([0, 1, 2, 3, 2**31, 2**32 - 2, 2**32 - 1])
numbers64 = st.sampled_from([0, 1, 2, 5, 513, 2000, 2**63, 2**64 - 2, 2**64 - 1])
ports = st.sampled_from([0, 1, 8301, 65535])
ips = st.sampled_from(
    [ME.ip, bytes((10, 0, 0, 2)), bytes((10, 0, 0, 3)), b"", b"\1", bytes(16), bytes(10) + b"\xff\xff\x0a\0\0\2"]
)
versions = st.sampled_from([VSN, VSN, VSN, VSN + b"\7", VSN[:5], b"", bytes(6), bytes((1, 5, 2, 2, 5, 6))])
metas = st.one_of(
    st.just(encode_tags({"role": "node", "dc": "dc1", "id": "x"})),
    st.just(encode_tags({"role": "node", "dc": "dc9"})),
    st.binary(max_size=12),
    st.just(b"\xff\xc1"),
)
payloads = st.one_of(st.none(), st.binary(max_size=12), st.just(encode_key_request(bytes(16))), st.just(b"a"))
good_filters = [encode_node_filter(("me",)), encode_tag_filter("role", "^n")]
bad_filters = [encode_tag_filter("x", "((("), b"", b"\7"]
filters = st.none() | st.lists(st.sampled_from(good_filters + bad_filters), max_size=2).map(tuple)
coordinates = st.builds(
    CoordinateMessage, st.lists(st.floats(), min_size=7, max_size=8).map(tuple), st.floats(), st.floats(), st.floats()
).map(encode_coordinate)
serf = st.one_of(
    st.builds(LeaveIntent, numbers64, names, st.booleans()),
    st.builds(JoinIntent, numbers64, names),
    st.builds(UserEventMessage, numbers64, names, payloads, st.booleans()),
    st.builds(
        QueryMessage,
        numbers64,
        numbers32,
        ips,
        ports,
        names,
        filters,
        st.sampled_from([0, 1, 2, 3]),
        st.sampled_from([0, 1, 255]),
        st.just(10**9),
        st.sampled_from(["_serf_ping", "_serf_conflict", "_serf_install-key", "_serf_list-keys", "_serf_x", "other"]),
        payloads,
    ),
    st.builds(QueryResponseMessage, numbers64, numbers32, names, st.sampled_from([0, 1]), payloads),
    st.builds(Relay, st.just(RelayAddress(bytes((10, 0, 0, 2)), 8301)), names, st.binary(max_size=9)),
).map(lambda message: User(encode_serf(message)))
memberlist = st.one_of(
    st.builds(Ping, numbers32, names, ips, ports, names),
    st.builds(IndirectPing, numbers32, ips, ports, names, st.booleans(), ips, ports, names),
    st.builds(Ack, st.integers(0, 9), coordinates | st.binary(max_size=5)),
    st.builds(Nack, st.integers(0, 9)),
    st.builds(Suspect, numbers32, names, names),
    st.builds(Dead, numbers32, names, names),
    st.builds(Alive, numbers32, names, ips, ports, metas, versions),
    st.just(Err("x")),
    st.binary(max_size=20).map(User),
)
records = st.lists(
    st.builds(NodeRecord, names, ips, ports, metas, numbers32, st.integers(-1, 5), versions), max_size=4
).map(tuple)
past_events = st.none() | st.lists(st.builds(PastEvent, names, payloads), max_size=2).map(tuple)
past = st.builds(PastEvents, numbers64, past_events)
states = st.builds(
    SerfState,
    numbers64,
    st.dictionaries(names, numbers64, max_size=3),
    st.none() | st.lists(names, max_size=3).map(tuple),
    numbers64,
    st.none() | st.lists(st.none() | past, max_size=4).map(tuple),
    numbers64,
).map(encode_state)
steps = st.one_of(
    memberlist,
    serf,
    st.builds(PushPull, st.booleans(), records, states | st.binary(max_size=9)),
    st.sampled_from([0.05, 0.6, 5.0, 40.0, 4000.0]),
    st.sampled_from(["leave", "event", "query", "tags", "keys", "force", "tcp"]),
)


class Driven:
    """A pool that checks itself after every step."""

    def __init__(self) -> None:
        self.now = 50.0
        self.serf = Serf(
            SerfSettings(SwimSettings("me", ME, max_nodes=20), {"role": "node", "dc": "dc1", "id": "mine"}),
            random.Random(1),
            LanRules("dc1", "mine", "me", ""),
            recovered=Recovered(),
            snapshot=SnapshotLog(Recovered(), 0, rejoin_after_leave=False),
        )
        self.snapshot = ""
        self.left = False
        self.take(self.serf.start(self.now))

    def take(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, SendPacket):
                assert len(effect.to.ip) in (4, 16)
                packet = decode_packet(encode_packet(effect.parts, crc=effect.crc))
                assert len(packet.messages) + len(packet.problems) == len(effect.parts)
            elif isinstance(effect, SnapshotAppend):
                self.snapshot += effect.text

    def step(self, step: Any) -> None:
        if isinstance(step, float):
            end = self.now + step
            for _ in range(30):  # a long time is cut into its first events
                if self.serf.deadline > end:
                    break
                self.now = max(self.now, self.serf.deadline)
                self.take(self.serf.tick(self.now))
            self.now = max(self.now, end)
            self.take(self.serf.tick(self.now))
        elif isinstance(step, PushPull):
            with suppress(MergeError):
                self.take(self.serf.merge(step, self.now))
        elif isinstance(step, str):
            self.command(step)
        else:
            self.take(self.serf.receive([step], Address(bytes((10, 0, 0, 2)), 8301), self.now))

    def command(self, name: str) -> None:
        now = self.now
        if name == "leave":
            self.left = True
            self.take(self.serf.leave(now, name))
        elif name == "event":
            self.take(self.serf.user_event("e", b"p", False, now))
        elif name == "query":
            self.take(self.serf.query("_serf_ping", None, now, ack=True, relay_factor=1)[1])
        elif name == "tags" and not self.left:
            self.take(self.serf.set_tags({"role": "node", "n": str(now)}, now, name))
        elif name == "keys":
            self.take(self.serf.key_operation("list-keys", b"", 0, now, name))
        elif name == "force":
            self.take(self.serf.force_leave("a", True, now, name))
        elif name == "tcp":
            self.take(self.serf.tcp_ping_done(1, True, now))

    def check(self) -> None:
        swim, members = self.serf.swim, self.serf.members
        assert not math.isnan(self.serf.deadline)
        assert len(swim.nodes) <= 20
        assert [swim.nodes.count(state) for state in range(4)] == [
            sum(node.state == state for node in swim.nodes) for state in range(4)
        ]
        me = members.get("me")
        if not self.left:
            assert me is not None
            assert me.status == Status.ALIVE
            assert swim.me.address == ME
        assert self.serf.coordinates.own.is_valid()
        state = self.serf.push_pull(False)
        assert StreamDecoder().feed(encode_stream(state)) == state
        for member in members:
            assert len(member_wire(member)["Tags"]) == len(member.tags) or "\ufffd" in str(member_wire(member)["Tags"])
        assert not replay(self.snapshot.split("\n"), rejoin_after_leave=True).problems[1:]


@settings(max_examples=300, deadline=None)
@given(script=st.lists(steps, max_size=25))
def test_nothing_that_peers_send_breaks_the_core(script: list[Any]) -> None:
    driven = Driven()
    for step in script:
        driven.step(step)
    driven.check()
