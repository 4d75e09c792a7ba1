"""A SWIM core and a Serf core under a virtual clock, and the messages that the tests of both send them."""

import random
from collections.abc import Sequence
from pathlib import Path

from services.gossip.codec.keyring import Keyring
from services.gossip.codec.messages import (
    STATE_LEFT,
    Alive,
    Message,
    NodeRecord,
    User,
    decode_message,
)
from services.gossip.codec.serf_messages import (
    QueryMessage,
    QueryResponseMessage,
    decode_serf,
    encode_serf,
    encode_tags,
)
from services.gossip.codec.stream import PushPull
from services.gossip.serf import Serf, SerfSettings, Status
from services.gossip.serf.effects import Effect as SerfEffect
from services.gossip.serf.effects import MemberEvent
from services.gossip.swim import Swim, SwimSettings, Timers
from services.gossip.swim.address import Address
from services.gossip.swim.effects import Effect, SendPacket
from services.gossip.swim.nodes import Node
from services.gossip.swim.suspicion import Suspicion

VECTORS = Path(__file__).parents[2] / "vectors" / "gossip"

VSN = bytes((1, 5, 2, 2, 5, 4))
ME = Address(b"\x0a\x00\x00\x01", 8301)


def ip(last: int) -> bytes:
    return bytes((10, 0, 0, last))


PEER = Address(ip(2), 8301)
"""Where the other member of a Serf pool is."""
STRANGER = Address(ip(9), 8301)
"""Whose packets a SWIM core hears when nothing else is said."""


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


class SwimRig:
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

    def hear(self, *messages: Message, source: Address = STRANGER) -> None:
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


class SerfRig:
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
        self.effects: list[SerfEffect] = [*self.serf.start(self.now)]
        if not alone:
            self.hear(Alive(1, "a", PEER.ip, PEER.port, encode_tags({"role": "node"}), VSN))

    def _save(self) -> str | None:
        self.saved += 1
        return None

    def hear(self, *messages: object) -> list[SerfEffect]:
        effects = self.serf.receive(messages, PEER, self.now)  # type: ignore[arg-type]
        self.effects += effects
        return effects

    def hear_serf(self, message: object) -> list[SerfEffect]:
        return self.hear(User(encode_serf(message)))  # type: ignore[arg-type]

    def run(self, seconds: float) -> list[SerfEffect]:
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


def serf_messages(effects: list[SerfEffect]) -> list[object]:
    """Serf messages in the packets that would be sent."""
    found = []
    for effect in effects:
        if isinstance(effect, SendPacket):
            for part in effect.parts:
                message = decode_message(part)
                if isinstance(message, User):
                    found.append(decode_serf(message.payload))
    return found


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


def answers(effects: list[SerfEffect]) -> list[QueryResponseMessage]:
    return [one for one in serf_messages(effects) if isinstance(one, QueryResponseMessage)]
