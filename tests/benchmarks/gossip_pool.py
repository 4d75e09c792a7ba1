"""A LAN pool of many members, as one agent in it sees it: what they tell, how often, and what they answer.

No sockets in here. Rates are those of memberlist's LAN profile for a node of a pool of n members:

- each member probes one other a second, so each is pinged once a second and pings once a second;
- each member gossips 5 times a second to 3 others while it has rumours, so each gets 15 packets a second;
- each member sends a rumour RetransmitMult * ceil(log10(n + 1)) times (16 for 1,000), so each member gets it about as
  often: it is in every packet for 16 / 15 s;
- each starts a push/pull every 30 s * (ceil(log2 n - 5) + 1) (180 s for 1,000), so each is asked for one as often.

What happens in the pool: a member is suspected falsely once a second (0.1 % of the probes of 1,000 members), which is
confirmed by two others and then refuted; a user event every five seconds. Nobody joins, fails or leaves, so that no
part of an agent but its gossip has work to do."""

from __future__ import annotations

import math
import random
import uuid
from collections import deque
from typing import Final

from services.gossip.codec.keyring import Keyring
from services.gossip.codec.messages import (
    STATE_ALIVE,
    Ack,
    Alive,
    IndirectPing,
    NodeRecord,
    Ping,
    Suspect,
    User,
    encode_message,
)
from services.gossip.codec.packet import encode_packet
from services.gossip.codec.serf_messages import (
    CoordinateMessage,
    SerfState,
    UserEventMessage,
    encode_coordinate,
    encode_serf,
    encode_state,
    encode_tags,
)
from services.gossip.codec.stream import PushPull

GOSSIP_IN_PER_S: Final = 15.0
PINGS_IN_PER_S: Final = 1.0
INDIRECT_PINGS_IN_PER_S: Final = 0.1
SUSPICIONS_PER_S: Final = 1.0
USER_EVENTS_PER_S: Final = 0.2
_CONFIRMED_AFTER_S, _REFUTED_AFTER_S = 0.2, 0.6
_VSN: Final = bytes((1, 5, 2, 2, 5, 4))
_BUDGET: Final = 1400
_RING: Final = 512


def retransmits(members: int) -> int:
    return 4 * math.ceil(math.log10(members + 1))


def push_pull_s(members: int) -> float:
    return 30.0 if members <= 32 else 30.0 * (math.ceil(math.log2(members) - 5) + 1)


class Member:
    """One simulated member; port: of its sockets, all members share one address."""

    __slots__ = ("incarnation", "meta", "name", "port")

    def __init__(self, name: str, port: int, meta: bytes) -> None:
        self.name = name
        self.port = port
        self.meta = meta
        self.incarnation = 1


class LoadPool:
    """The members and their rumours. `packet` and the other methods that make packets return datagrams."""

    def __init__(self, ip: bytes, ports: list[int], rng: random.Random, keyring: Keyring | None) -> None:
        self._ip = ip
        self._rng = rng
        self._keyring = keyring
        self.members = [Member(f"load-{number:04}", port, _meta(number, rng)) for number, port in enumerate(ports)]
        self._rumours: deque[tuple[float, bytes]] = deque()
        self._coming: list[tuple[float, bytes]] = []
        self._seq_no = 0
        self._event_ltime = 0
        self._body: tuple[tuple[bytes, ...], bytes] | None = None

    def step(self, now: float, speed: float) -> None:
        """Bring the rumours up to date. speed: how much faster than in a real pool they come and go."""
        due = [item for item in self._coming if item[0] <= now]
        self._coming = [item for item in self._coming if item[0] > now]
        self._rumours.extend((now, data) for _, data in due)
        window_s = retransmits(len(self.members)) / GOSSIP_IN_PER_S / speed
        while self._rumours and self._rumours[0][0] < now - window_s:
            self._rumours.popleft()

    def suspicion(self, now: float, speed: float) -> None:
        """A member is suspected by three others, and refutes."""
        suspect, *accusers = self._rng.sample(self.members, 4)
        for number, accuser in enumerate(accusers):
            data = encode_message(Suspect(suspect.incarnation, suspect.name, accuser.name))
            self._coming.append((now + number * _CONFIRMED_AFTER_S / speed, data))
        suspect.incarnation += 1
        self._coming.append((now + _REFUTED_AFTER_S / speed, encode_message(self._alive(suspect))))

    def user_event(self, now: float) -> None:
        self._event_ltime += 1
        event = UserEventMessage(self._event_ltime, "deploy", self._rng.randbytes(100), True)
        self._coming.append((now, encode_message(User(encode_serf(event)))))

    def gossip(self) -> bytes | None:
        """What a member sends at its tick, None while it knows no rumour."""
        parts = self._parts(_BUDGET - 31)
        return encode_packet(parts, crc=True, keyring=self._keyring) if parts else None

    def ping(self, source: Member, target: str) -> bytes:
        self._seq_no += 1
        ping = Ping(self._seq_no, target, self._ip, source.port, source.name)
        return self._with_rumours(encode_message(ping))

    def indirect_ping(self, source: Member, target: Member) -> bytes:
        self._seq_no += 1
        request = IndirectPing(
            self._seq_no, self._ip, target.port, target.name, True, self._ip, source.port, source.name
        )
        return self._with_rumours(encode_message(request))

    def ack(self, seq_no: int) -> bytes:
        vec = tuple(self._rng.uniform(-1e-4, 1e-4) for _ in range(8))
        coordinate = encode_coordinate(CoordinateMessage(vec, 0.3, 1e-5, 1e-5))
        return self._with_rumours(encode_message(Ack(seq_no, coordinate)))

    def state(self, join: bool) -> PushPull:
        """What any of the members sends in a push/pull."""
        records = tuple(
            NodeRecord(m.name, self._ip, m.port, m.meta, m.incarnation, STATE_ALIVE, _VSN) for m in self.members
        )
        ltimes = {member.name: 1 for member in self.members}
        serf = SerfState(2, ltimes, None, self._event_ltime + 1, (None,) * _RING, 1)
        return PushPull(join, records, encode_state(serf))

    def _alive(self, member: Member) -> Alive:
        return Alive(member.incarnation, member.name, self._ip, member.port, member.meta, _VSN)

    def _with_rumours(self, message: bytes) -> bytes:
        return encode_packet([message, *self._parts(_BUDGET - 31 - len(message))], keyring=self._keyring)

    def _parts(self, budget: int) -> list[bytes]:
        parts: list[bytes] = []
        for _, data in reversed(self._rumours):
            if len(data) + 2 <= budget and len(parts) < 100:
                parts.append(data)
                budget -= len(data) + 2
        return parts


def _meta(number: int, rng: random.Random) -> bytes:
    """Tags of a Consul 1.8 client."""
    return encode_tags(
        {
            "role": "node",
            "dc": "dc1",
            "segment": "",
            "id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "vsn": "2",
            "vsn_min": "2",
            "vsn_max": "3",
            "build": "1.8.7:1f4c8a5b",
            "acls": "0",
        }
    )
